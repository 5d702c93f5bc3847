"""The functions that the equations call, for each of Brian2's targets: one text of C for Cython and C++, NumPy for the other.

Codes stand for names, so that the compiled text is the same for every network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dyadic_neuro.activations import ACTIVATIONS, LEAK, Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.noise import gauss

KINDS = {name: code for code, name in enumerate(sorted(ACTIVATIONS))}
"""The code of each activation; functions of a user's own are numbered after them."""
LOSS_CODES = {"squared_error": 1, "binary_cross_entropy": 2, "cross_entropy": 3}
"""The code of each loss; 0 is a neuron without one, a function of a user's own the next."""
OWN_LOSS = len(LOSS_CODES) + 1

_GELU = "tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))"
_CLIPPED = "const double v = u < -10.0 ? -10.0 : u > 10.0 ? 10.0 : u;"
# the formulas of activations.py
_RATES = {
    "identity": "return u;",
    "relu": "return u > 0.0 ? u : 0.0;",
    "leaky_relu": f"return u > 0.0 ? u : {LEAK} * u;",
    "tanh": "return tanh(u);",
    "sigmoid": "return 0.5 * tanh(0.5 * u) + 0.5;",
    "softplus": "return (u > 0.0 ? u : 0.0) + log1p(exp(-fabs(u)));",
    "hard_tanh": "return u < -1.0 ? -1.0 : u > 1.0 ? 1.0 : u;",
    "gelu": f"{{ {_CLIPPED} return 0.5 * u * (1.0 + {_GELU}); }}",
    "sin": "return sin(u);",
}
_SLOPES = {
    "identity": "return 1.0;",
    "relu": "return u > 0.0 ? 1.0 : 0.0;",
    "leaky_relu": f"return u > 0.0 ? 1.0 : u < 0.0 ? {LEAK} : 0.0;",
    "tanh": "return 1.0 - r * r;",
    "sigmoid": "return r * (1.0 - r);",
    "softplus": "return 0.5 * tanh(0.5 * u) + 0.5;",
    "hard_tanh": "return fabs(u) < 1.0 ? 1.0 : 0.0;",
    "gelu": f"{{ {_CLIPPED} const double t = {_GELU}; return 0.5 * (1.0 + t)"
    " + 0.5 * v * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * v * v); }",
    "sin": "return cos(u);",
}
# `spread` is the sum of exp(u_j - u_i) over the readout: its inverse is the softmax
_ERRORS = {
    "squared_error": "return u - y;",
    "binary_cross_entropy": "return 0.5 * tanh(0.5 * u) + 0.5 - y;",
    "cross_entropy": "return 1.0 / spread - y;",
}
_MIX = """static inline unsigned long long dyadic_mix(unsigned long long z)
{
    z ^= z >> 30; z *= 0xBF58476D1CE4E5B9ULL;
    z ^= z >> 27; z *= 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}
"""
# the algorithm of noise.gauss
_GAUSS = """const unsigned long long G = 0x9E3779B97F4A7C15ULL;
    unsigned long long a = dyadic_mix((unsigned long long)seed + G);
    a = dyadic_mix(a ^ ((unsigned long long)step + G));
    a = dyadic_mix(a ^ ((unsigned long long)cell + G));
    const double p = (double)((a >> 11) + 1) * 1.1102230246251565e-16;
    const double q = (double)(dyadic_mix(a + G) >> 11) * 1.1102230246251565e-16;
    return sqrt(-2.0 * log(p)) * cos(6.283185307179586 * q);"""


def _switch(code: str, cases: Mapping[str, str], codes: Mapping[str, int], otherwise: str) -> str:
    lines = "\n        ".join(f"case {codes[name]}: {body}" for name, body in cases.items())
    return f"switch ((int){code})\n    {{\n        {lines}\n        default: return {otherwise};\n    }}"


# name -> arguments and the body of the function in C
_IN_C = {
    "dyadic_rate": (("u", "kind"), _switch("kind", _RATES, KINDS, "u")),
    "dyadic_slope": (("u", "r", "kind"), _switch("kind", _SLOPES, KINDS, "1.0")),
    "dyadic_error": (("u", "y", "spread", "loss"), _switch("loss", _ERRORS, LOSS_CODES, "0.0")),
    "dyadic_pick": (("condition", "a", "b"), "return condition != 0.0 ? a : b;"),
    "dyadic_gauss": (("seed", "step", "cell"), _GAUSS),
}


def kind_codes(network: Network) -> dict[str, int]:
    """Return the code of each population's activation."""
    return {name: _table(network)[0].index(phi) for name, phi in network.activations.items()}


def loss_code(network: Network) -> int:
    """Return the code of the network's loss."""
    return LOSS_CODES[network.cost.name] if LOSSES.get(network.cost.name) is network.cost else OWN_LOSS


def own_functions(network: Network) -> list[str]:
    """Return the names of the functions that are a user's own, and that nothing but NumPy can call."""
    own = [phi.name for phi in _table(network)[0][len(KINDS) :]]
    return own + ([network.cost.name] if loss_code(network) == OWN_LOSS else [])


def _table(network: Network) -> tuple[list[Activation], list[int]]:
    """Return the activations by code, and the codes that the network uses."""
    phis = [ACTIVATIONS[name] for name in KINDS]
    for phi in network.activations.values():
        if phi not in phis:
            phis.append(phi)
    return phis, sorted({phis.index(phi) for phi in network.activations.values()})


def in_numpy(network: Network) -> dict[str, Callable[..., Array]]:
    """Return the functions in NumPy, on arrays over all neurons."""
    phis, used = _table(network)
    cost, code = network.cost, loss_code(network)

    def rate(u: Array, kind: Array) -> Array:
        return _chosen(u, kind, {k: phis[k].rate for k in used})

    def slope(u: Array, r: Array, kind: Array) -> Array:
        found = np.ones_like(u)
        for k in used:
            here = kind == k
            found[here] = phis[k].derivative(u[here], r[here])
        return found

    def error(u: Array, y: Array, spread: Array, loss: Array) -> Array:  # noqa: ARG001  (the softmax takes all potentials)
        found, here = np.zeros_like(u), loss == code
        found[here] = cost.gradient(u[here][None], y[here][None])[0]
        return found

    def pick(condition: Array, a: Array, b: Array) -> Array:
        return np.where(np.asarray(condition) != 0, a, b)

    return {"dyadic_rate": rate, "dyadic_slope": slope, "dyadic_error": error, "dyadic_pick": pick, "dyadic_gauss": gauss}


def _chosen(u: Array, kind: Array, functions: Mapping[int, Callable[[Array], Array]]) -> Array:
    found = np.array(u)
    for code, function in functions.items():
        here = kind == code
        found[here] = function(u[here])
    return found


def functions(network: Network | None) -> dict[str, Any]:
    """Return Brian2's Function for each name: in C, and with a network in NumPy too."""
    from brian2 import Function

    found, numpy = {}, {} if network is None else in_numpy(network)
    for name, (arguments, body) in _IN_C.items():
        support = _MIX if name == "dyadic_gauss" else ""
        code = f"{support}static inline double {name}({', '.join(f'double {a}' for a in arguments)})\n{{\n    {body}\n}}\n"
        units: list[int] = [1] * len(arguments)
        function = Function(numpy.get(name, _only_compiled), arg_units=units, return_unit=1, arg_names=list(arguments))
        function.implementations.add_implementation("cpp", code)
        function.implementations.add_implementation("cython", _extern(name, code, len(arguments)))
        if network is not None:
            function.implementations.add_implementation("numpy", numpy[name])
        found[name] = function
    return found


def _extern(name: str, code: str, arguments: int) -> str:
    """Return Cython that takes a function over from C as it is."""
    text = "\n".join(f"    {line}" for line in f"#include <math.h>\n{code}".splitlines())
    return f'cdef extern from *:\n    """\n{text}\n    """\n    double {name}({", ".join(["double"] * arguments)})\n'


def _only_compiled(*_: object) -> float:
    raise NotImplementedError
