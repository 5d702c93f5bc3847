"""How fast integer weights change: a learning rate as an integer and a shift, and how a change is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np

from dyadic_neuro import noise
from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point.scales import WIDEST

_MANTISSA = 15
"""Bits of a learning rate, as many as Loihi's learning accumulator has (hardware note 1.1); fewer where sums are wide."""

_FEWEST = 7
"""Bits that a learning rate needs at least: it is then met within 1 %."""

_FRACTION = 44
"""Bits below the last one of a weight that a change is held with; what is finer is cut off (towards minus infinity)."""


@dataclass(frozen=True)
class Pace:
    """Changes are sums * `factor` / 2 ** (`places` + `dropped`), and a weight loses weight * `decay` / 2 ** `places`.

    With stochastic `rounding` a change is rounded up as often as it is near: by comparing the part below the last bit with a
    number that (`seed`, synapse, update) draw.
    """

    factor: int
    decay: int
    places: int
    dropped: int
    rounding: str
    seed: int

    @classmethod
    def of(
        cls, learning_rate: float, weight_decay: float, batch: int, exponent: int, sum_bits: int, rounding: str, seed: int
    ) -> Pace:
        """Return the pace of a learning rate for sums over a batch, of which one unit is 2 ** exponent units of the weight.

        `sum_bits` are those of the sums. Raises OptionError for a learning rate that no weight could follow, and for a batch
        whose sums are too wide.
        """
        mantissa = min(_MANTISSA, WIDEST - 2 - sum_bits)
        if mantissa < _FEWEST:
            left = f"{max(0, mantissa)} of the {_FEWEST} that a learning rate needs"
            problem = f"sums over {batch} samples take {sum_bits} bits, which leaves {left}"
            raise OptionError("batch_size", problem, "use smaller batches, or narrower messages")
        if learning_rate * weight_decay > 1:
            problem = f"{weight_decay} takes more than all of a weight in one update with a learning rate of {learning_rate}"
            raise OptionError("weight_decay", problem, "use less than 1 / learning_rate")
        part, power = frexp(learning_rate / batch)
        factor, places = round(part * 2**mantissa), mantissa - power - exponent
        if places < 0:
            if sum_bits + mantissa - places > WIDEST:
                problem = f"{learning_rate} is so large that one unit of a gradient takes a weight through its range"
                raise OptionError("learning_rate", problem, "use a smaller one")
            factor, places = factor << -places, 0
        kept = min(places, _FRACTION)
        decay = round(learning_rate * weight_decay * 2**kept)
        return cls(factor, decay, kept, min(places - kept, WIDEST), rounding, seed)

    def changed(self, weights: Array, sums: Array, cells: Array, update: int) -> Array:
        """Return weights - change, rounded to integers, before they are limited to their range."""
        change = (-sums * self.factor) >> self.dropped
        if self.decay:
            change -= weights * self.decay
        if self.places == 0:
            return np.asarray(weights + change)
        if self.rounding == "stochastic":
            drawn = noise.words(self.seed, update, cells) >> np.uint64(64 - self.places)
            change += drawn.astype(np.int64)
        else:
            change += 1 << (self.places - 1)
        change >>= self.places
        change += weights
        return np.asarray(change)
