"""A population of integer neurons: its bias, its rate function, and the scales of everything that it holds and sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from dyadic_neuro.fixed_point.format import FixedFormat
from dyadic_neuro.fixed_point.functions import FixedActivation
from dyadic_neuro.fixed_point.pace import Pace
from dyadic_neuro.fixed_point.scales import Scale
from dyadic_neuro.population import Population


@dataclass(frozen=True)
class Scales:
    """What the integers of a population stand for.

    `potential` and `sensitivity` are states, `rate` and `message` what is sent of them. `drive` and `credit` are the
    exponents of the sums that the two states are rounded from: of rates, and of sensitivities before phi'.
    """

    potential: Scale
    rate: Scale
    sensitivity: Scale
    message: Scale
    drive: int
    credit: int


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPopulation(Population):
    """`size` neurons with integer states. `bias` is (size,) integers of the potential's scale, or None.

    `number` tells it apart from the projections and populations of the network in the random numbers of its bias.
    """

    scales: Scales
    number: int

    def pace(self, learning_rate: float, batch: int, form: FixedFormat) -> Pace:
        """Return how fast the bias changes. Raises as `Pace.of`."""
        scales = self.scales
        bits = scales.message.bits + batch.bit_length()
        exponent = scales.potential.exponent - scales.message.exponent
        return Pace.of(learning_rate, 0.0, batch, exponent, bits, form.rounding, form.seed)

    @property
    def fixed(self) -> FixedActivation:
        """The rate function on integers."""
        return cast(FixedActivation, self.activation)
