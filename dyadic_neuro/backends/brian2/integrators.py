"""The integrators that keep their promise on a circuit whose neurons are driven through synapses.

Brian2's own treat sums over synapses as constant within a step, so that rk4, heun or exact are of first order here, without a
warning. Ours: `euler`, z + a (G - z) with a = dt / tau, which at a = 1 assigns; `rk2` (midpoint) and `rk4`, which take the sums
anew at every stage (a stage is a step of Brian2's clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError, UnknownNameError

_LEAST = 1e-7  # dt / tau: below it, a settling count is hardly what somebody meant


@dataclass(frozen=True)
class Integrator:
    """A way to take a step: `weights` of the stages' slopes, and how far `ahead` the next stage looks, in steps."""

    name: str
    order: int
    weights: tuple[float, ...] = (1.0,)
    ahead: tuple[float, ...] = ()

    @property
    def stages(self) -> int:
        """Steps of Brian2's clock in a step."""
        return len(self.weights)

    def settling_steps(self, hops: int, h: float, tolerance: float) -> int:
        """Return the steps of h = dt / tau after which a signal of that many hops has arrived but for `tolerance`.

        Exact for linear chains from zero: with x for a hop, a step is the polynomial R(h (x - 1)), R the integrator's
        truncated exponential, and what is missing after n of them are the first coefficients of its n-th power (for euler
        those of the binomial law). For h <= 1 none is negative, so that more steps never undo what has arrived.

        Raises OptionError for h outside 1e-7 .. 1.
        """
        if not _LEAST <= h <= 1.0:
            raise OptionError("dt", f"{h:.3g} tau is outside 1e-7 .. 1 tau, where {self.name} has its law", "give the steps")
        one = np.zeros(self.order + 1)
        for power in range(self.order + 1):
            one[: power + 1] += h**power / factorial(power) * np.poly1d([1.0, -1.0]).__pow__(power).coeffs[::-1]
        low, high = 0, 1
        while _power(one, high, hops).sum() > tolerance:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _power(one, middle, hops).sum() > tolerance else (low, middle)
        return high


def _power(polynomial: Array, exponent: int, terms: int) -> Array:
    """Return the first terms of a power of a polynomial, lowest first."""
    found, square = np.ones(1), polynomial[:terms]
    while exponent:
        if exponent & 1:
            found = np.convolve(found, square)[:terms]
        square, exponent = np.convolve(square, square)[:terms], exponent >> 1
    return found


INTEGRATORS = {
    found.name: found
    for found in (
        Integrator("euler", 1),
        Integrator("rk2", 2, weights=(0.0, 1.0), ahead=(0.5, 0.0)),
        Integrator("rk4", 4, weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6), ahead=(0.5, 0.5, 1.0, 0.0)),
    )
}
_FIRST_ORDER = "holds what arrives over synapses constant within a step, so it is of first order here, whatever its name"
_REFUSED = {
    **dict.fromkeys(
        ("exact", "linear", "independent", "exponential_euler"),
        "is euler with steps of 1 - exp(-dt / tau) here: "
        "at dt = tau it goes 63 % of the way, so that no number of steps is exact, and it is of first order",
    ),
    **dict.fromkeys(("gsl", "gsl_rk2", "gsl_rk4", "gsl_rkf45", "gsl_rkck", "gsl_rk8pd"), _FIRST_ORDER),
    "heun": "is euler to the last digit here: it " + _FIRST_ORDER,
    "milstein": "is euler to the last digit here: the noise is additive",
}


def integrator(name: object) -> Integrator:
    """Return the integrator of this name. Raises OptionError for one that breaks its promise here, with the reason."""
    if isinstance(name, str) and name in INTEGRATORS:
        return INTEGRATORS[name]
    if isinstance(name, str) and name in _REFUSED:
        fix = "use 'rk4' for a higher order, 'euler' with dt = tau for unit steps"
        raise OptionError("method", f"{name!r} {_REFUSED[name]}", fix)
    raise UnknownNameError("method", f"{name!r} is no integrator", f"use one of {list(INTEGRATORS)}")
