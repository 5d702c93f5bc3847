"""Rate functions phi: what a population shows of its potential, and the derivative that gates its sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError, UnknownNameError

LEAK = 0.01
_GELU_SCALE = float(np.sqrt(2.0 / np.pi))
_GELU_CUBIC = 0.044715
_GELU_FLAT = 10.0  # beyond it the gate is 0 or 1 to the last bit, and cubes could overflow


@dataclass(frozen=True)
class Activation:
    """An elementwise rate function with its derivative.

    `rate(u)` maps potentials of any shape to rates of that shape; `derivative(u, r)` gets the rates too, because most
    derivatives are cheap once r = phi(u) is known. Both keep the dtype. At a kink the derivative is 0.
    """

    name: str
    rate: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array]

    def __reduce__(self) -> Any:  # noqa: ANN401
        """Travel to another process by name, if built in."""
        return (activation, (self.name,)) if ACTIVATIONS.get(self.name) is self else super().__reduce__()


def _sigmoid(u: Array) -> Array:
    return np.asarray(0.5 * np.tanh(0.5 * u) + 0.5)  # the same function as 1 / (1 + exp(-u)), without its overflow


def _tanh_derivative(_: Array, r: Array) -> Array:
    slope: Array = r * r
    return np.subtract(1.0, slope, out=slope)


def _gelu_gate(u: Array) -> tuple[Array, Array]:
    v = np.clip(u, -_GELU_FLAT, _GELU_FLAT)
    return v, np.tanh(_GELU_SCALE * (v + _GELU_CUBIC * v * v * v))


def _gelu(u: Array) -> Array:
    return 0.5 * u * (1.0 + _gelu_gate(u)[1])


def _gelu_derivative(u: Array, _: Array) -> Array:
    v, t = _gelu_gate(u)
    return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * v * v)


def _mask(condition: Array, u: Array) -> Array:
    return condition.astype(u.dtype)


_BUILT_IN = (
    Activation("identity", lambda u: u, lambda u, _: np.ones_like(u)),
    Activation("relu", lambda u: np.maximum(u, 0.0), lambda u, _: _mask(u > 0, u)),
    Activation(
        "leaky_relu",
        lambda u: np.maximum(u, LEAK * u),
        lambda u, _: _mask(u > 0, u) + LEAK * _mask(u < 0, u),
    ),
    Activation("tanh", np.tanh, _tanh_derivative),
    Activation("sigmoid", _sigmoid, lambda _, r: r * (1.0 - r)),
    Activation("softplus", lambda u: np.logaddexp(0.0, u).astype(u.dtype), lambda u, _: _sigmoid(u)),
    Activation("hard_tanh", lambda u: np.clip(u, -1.0, 1.0), lambda u, _: _mask(np.abs(u) < 1, u)),
    # The tanh form of GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2): numpy has no erf.
    Activation("gelu", _gelu, _gelu_derivative),
    Activation("sin", np.sin, lambda u, _: np.cos(u)),
)
ACTIVATIONS: dict[str, Activation] = {activation.name: activation for activation in _BUILT_IN}


def activation(spec: str | Activation | tuple[Callable[[Array], Array], Callable[[Array], Array]]) -> Activation:
    """Return the activation that `spec` means: a name, an Activation, or a pair (phi, phi') of elementwise functions.

    Raises UnknownNameError for a name that is not built in, and OptionError for a pair whose functions do not keep the
    shape and stay finite on a small sample, or whose phi' is not the slope of phi there.
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        if spec not in ACTIVATIONS:
            raise UnknownNameError(
                "activation", f"no activation is called {spec!r}", f"use one of {sorted(ACTIVATIONS)} or a pair (phi, phi')"
            )
        return ACTIVATIONS[spec]
    if not (isinstance(spec, tuple) and len(spec) == 2 and all(callable(part) for part in spec)):
        raise OptionError(
            "activation", f"{spec!r} is neither a name nor a pair of functions", "pass a name or a pair (phi, phi')"
        )
    phi, slope = spec
    _check_pair(phi, slope)
    return Activation(getattr(phi, "__name__", "custom"), phi, lambda u, _: slope(u))


def named(choice: object) -> Any:  # noqa: ANN401
    """Return `choice`, or what a mapping holds under its keys, as names, activations of the user's own, or None.

    Raises as `activation`.
    """
    if isinstance(choice, Mapping):
        return {key: named(one) for key, one in choice.items()}
    if choice is None:
        return None
    found = activation(cast(Any, choice))
    return found.name if ACTIVATIONS.get(found.name) is found else found


def _check_pair(phi: Callable[[Array], Array], slope: Callable[[Array], Array]) -> None:
    """Compare phi' with a central difference of phi at points away from the usual kinks."""
    points, h = np.array([[-1.37, -0.61, -0.13, 0.17, 0.59, 1.43]]), 1e-6
    points.setflags(write=False)  # as every state is
    try:
        with np.errstate(all="ignore"):  # what is not finite is told below
            rates, slopes = np.asarray(phi(points)), np.asarray(slope(points))
    except Exception as error:
        raise OptionError(
            "activation", f"phi or phi' does not take arrays ({error})", "both must act elementwise on arrays, and not in place"
        ) from error
    if rates.shape != points.shape or slopes.shape != points.shape:
        raise OptionError(
            "activation", "phi or phi' does not keep the shape of its argument", "both must act elementwise on arrays"
        )
    if not (np.isfinite(rates).all() and np.isfinite(slopes).all()):
        raise OptionError(
            "activation", "phi or phi' is not finite between -1.5 and 1.5", "give functions defined on all real numbers"
        )
    with np.errstate(all="ignore"):
        difference = (np.asarray(phi(points + h)) - np.asarray(phi(points - h))) / (2 * h)
    if not np.allclose(slopes, difference, rtol=1e-4, atol=1e-6):
        raise OptionError(
            "activation",
            f"phi' is not the derivative of phi: {slopes.ravel()} against {difference.ravel()} at {points.ravel()}",
            "pass the pair as (phi, phi')",
        )
