"""Rate functions and losses as integer functions: exact where they are piecewise linear, tables elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dyadic_neuro.activations import ACTIVATIONS, LEAK, Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import NetworkError
from dyadic_neuro.fixed_point.scales import Scale, exponent_for, shifted
from dyadic_neuro.losses import LOSSES, Loss

EXACT = ("identity", "relu", "hard_tanh", "leaky_relu")
"""Rate functions that need no table. The slope of a leaky one is rounded to 14 bits."""

PROBABILITY = 16
"""Exponent of probabilities, and of the exponentials that they are made of."""

REACH = 4
"""Exponent of how far tables of exponentials reach, 2 ** REACH = 16: exp(-16) is below half a unit of PROBABILITY."""

_LEAK_BITS = 14


@dataclass(frozen=True, eq=False)
class Table:
    """A function as 2 ** `pieces` straight pieces between entries at equal distances.

    The argument is an integer of `exponent`; the pieces lie between -2 ** `span` and 2 ** `span` (or from 0, if not
    `signed`), `step` = 2 ** places of its units apart. `entries` are (2 ** pieces + 1,) integers. What lies beyond the ends
    has the values of the ends.
    """

    entries: Array
    first: int
    places: int

    @classmethod
    def of(
        cls,
        name: str,
        function: Callable[[Array], Array],
        argument: Scale,
        span: int,
        bits: int,
        scale: Scale | int,
        *,
        signed: bool = True,
    ) -> tuple[Table, Scale]:
        """Tabulate a function from -2 ** span (or 0) to 2 ** span, as far as arguments reach, in at most 2 ** bits pieces.

        Arguments have the exponent of `argument`; unsigned ones are differences of two such, and reach twice as far. `scale` is
        that of the entries, or their bits: then they have the finest scale that holds the largest. It comes back too.
        Raises NetworkError for a function that is not finite there.
        """
        reach = 1 << min(max(0, argument.exponent + span), argument.bits - int(signed))
        first, length = (-reach, 2 * reach) if signed else (0, reach)
        places = max(0, length.bit_length() - 1 - bits)
        steps = np.arange((length >> places) + 1, dtype=np.float64) * (1 << places)
        with np.errstate(all="ignore"):
            values = np.asarray(function(np.ldexp(first + steps, -argument.exponent)))
        if not np.isfinite(values).all():
            end = np.ldexp(1.0, span)
            problem = f"{name!r} is not finite everywhere between {-end:g} and {end:g}, where it is tabulated"
            raise NetworkError("activation", problem, "use a function that is, or calibrate with smaller inputs")
        if isinstance(scale, int):
            scale = Scale(exponent_for(float(np.abs(values).max()), scale), scale)
        return cls(scale.nearest(values), first, places), scale

    @property
    def last(self) -> int:
        """The argument of the last entry."""
        return self.first + ((len(self.entries) - 1) << self.places)

    @cached_property
    def _rises(self) -> Array:
        return np.diff(self.entries)

    def __call__(self, arguments: Array) -> Array:
        """Return the values at integer arguments, between entries by the line through them, rounded to nearest, ties up."""
        along = np.clip(arguments, self.first, self.last)
        along -= self.first
        piece = along >> self.places
        np.minimum(piece, len(self.entries) - 2, out=piece)
        along -= piece << self.places
        along *= self._rises.take(piece)
        return self.entries.take(piece) + shifted(along, self.places)


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedActivation(Activation):
    """A rate function on integers: potentials of `potential` to rates of `shown`, slopes with the exponent `slope`.

    `tables` are those of rate and slope, None for the functions in EXACT.
    """

    potential: Scale
    shown: Scale
    slope: int
    tables: tuple[Table, Table] | None

    def __reduce__(self) -> str | tuple[object, ...]:
        """Travel to another process by what it is made of: functions made here are of no module."""
        return _made, (self.name, self.potential, self.shown, self.slope, self.tables)

    @property
    def steepest(self) -> int:
        """The largest slope there is, as an integer."""
        return int(np.abs(self.tables[1].entries).max()) if self.tables is not None else 1 << self.slope


def fixed_activation(activation: Activation, potential: Scale, message_bits: int, table_bits: int) -> FixedActivation:
    """Return the integer form of a rate function for potentials of this scale.

    A rate without bounds is the upper `message_bits` of what it would be at the potential's width, so that no rate can
    saturate where the potential has not. What is no exact integer function is tabulated for every potential there is; functions
    of the user's must be finite there. Raises NetworkError.
    """
    name = activation.name
    if ACTIVATIONS.get(name) is activation and name in EXACT:
        bounded = name == "hard_tanh"
        if bounded and potential.exponent < 0:
            problem = (
                f"hard_tanh needs potentials in which 1 is an integer: {potential.bits - potential.exponent} bits for this range"
            )
            raise NetworkError("activation", problem, "use more state_bits, or a smaller range")
        exponent = exponent_for(1.0, message_bits) if bounded else potential.exponent - potential.bits + message_bits
        return _made(name, potential, Scale(exponent, message_bits), _LEAK_BITS if name == "leaky_relu" else 0, None)
    shape = (potential, potential.bits - 1 - potential.exponent, table_bits, message_bits)
    rates, shown = Table.of(name, activation.rate, *shape)
    slopes, slope = Table.of(name, lambda u: activation.derivative(u, activation.rate(u)), *shape)
    return _made(name, potential, shown, slope.exponent, (rates, slopes))


def passing(scale: Scale) -> FixedActivation:
    """Return the identity that shows all bits of a potential."""
    return _made("identity", scale, scale, 0, None)


def _made(name: str, potential: Scale, rate: Scale, slope: int, tables: tuple[Table, Table] | None) -> FixedActivation:
    if tables is not None:
        rates, slopes = tables
        return FixedActivation(name, rates, lambda u, _: slopes(u), potential=potential, shown=rate, slope=slope, tables=tables)
    places, one = potential.exponent - rate.exponent, 1 << max(0, potential.exponent)
    leak, highest = round(LEAK * 2**_LEAK_BITS), rate.highest

    def narrowed(u: Array, more: int = 0) -> Array:
        return np.minimum(shifted(u, places + more), highest)  # rounding up may lead beyond the largest, by one

    functions: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
        "identity": (narrowed, lambda u, _: np.ones_like(u)),
        "relu": (lambda u: narrowed(np.maximum(u, 0)), lambda u, _: (u > 0).astype(np.int64)),
        "hard_tanh": (lambda u: narrowed(np.clip(u, -one, one)), lambda u, _: (np.abs(u) < one).astype(np.int64)),
        "leaky_relu": (
            lambda u: narrowed(np.where(u > 0, u << _LEAK_BITS, u * leak), _LEAK_BITS),
            lambda u, _: np.where(u > 0, 1 << _LEAK_BITS, np.where(u < 0, leak, 0)),
        ),
    }
    return FixedActivation(name, *functions[name], potential=potential, shown=rate, slope=slope, tables=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedLoss(Loss):
    """A loss on integers: `gradient(u, y)` has the scale `error`, `value(u, y)` is a real number, for reports.

    Targets have the scale `target`: that of the readout's potentials for squared_error, probabilities for the others.
    `table` holds exp(-d) for cross_entropy and the logistic function for binary_cross_entropy.
    """

    potential: Scale
    error: Scale
    target: Scale
    table: Table | None

    @property
    def bound(self) -> int:
        """The largest dC/du there is, as an integer, before the sensitivity that takes it up is limited to its range."""
        return (2 * -self.target.lowest) << max(0, self.error.exponent - self.target.exponent)

    def __reduce__(self) -> str | tuple[object, ...]:
        """Travel to another process by what it is made of."""
        return _made_loss, (self.name, self.potential, self.error, self.table)


def fixed_loss(loss: Loss, potential: Scale, error: Scale, table_bits: int) -> FixedLoss:
    """Return the integer form of a loss. Raises NetworkError for one of the user's own.

    The integer softmax: d = max(u) - u, t = exp(-d) from a table of 2 ** table_bits pieces from 0 to 16 with the exponent
    16 (0 beyond), p = t 2 ** 16 / sum(t) rounded to nearest, ties up.
    """
    if LOSSES.get(loss.name) is not loss:
        raise NetworkError(
            "loss", f"{loss.name!r} is a function of your own, without an integer form", f"use one of {sorted(LOSSES)}"
        )
    shape = (potential, REACH, table_bits, Scale(PROBABILITY, PROBABILITY + 2))
    table = None
    if loss.name == "cross_entropy":
        table, _ = Table.of(loss.name, lambda d: np.exp(-d), *shape, signed=False)
    elif loss.name == "binary_cross_entropy":
        table, _ = Table.of(loss.name, lambda u: 0.5 * np.tanh(0.5 * u) + 0.5, *shape)
    return _made_loss(loss.name, potential, error, table)


def _made_loss(name: str, potential: Scale, error: Scale, table: Table | None) -> FixedLoss:
    real = LOSSES[name]
    target = potential if table is None else Scale(PROBABILITY, PROBABILITY + 2)
    places = target.exponent - error.exponent

    def value(u: Array, y: Array) -> Array:
        return real.value(potential.real(u), target.real(y))

    def gradient(u: Array, y: Array) -> Array:
        return shifted((u if table is None else shown(u, table)) - y, places)

    shown = _softmax if name == "cross_entropy" else _tabulated
    return FixedLoss(
        name, value, gradient, real.check, real.separable, potential=potential, error=error, target=target, table=table
    )


def _tabulated(u: Array, table: Table) -> Array:
    return table(u)


def _softmax(u: Array, table: Table) -> Array:
    below = u.max(axis=1, keepdims=True) - u
    parts = table(below)
    total = parts.sum(axis=1, keepdims=True)
    return np.asarray(((parts << (PROBABILITY + 1)) + total) // (2 * total))
