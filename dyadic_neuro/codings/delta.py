"""Delta: changes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings.base import WIDEST, Coding, Draw, whole


@dataclass(frozen=True)
class Delta(Coding):
    """A neuron sends the change of its message since receivers were last told, if it is at least `threshold`; they add it up.

    `threshold` is a whole number in units of the message's last bit. Receivers are always less than max(threshold, 1) off the
    message, without drift: a sender compares with what they hold. So 0 and 1 are exact. Receivers' sums do not saturate.

    Sigma-delta networks: O'Connor and Welling (2017). Raises OptionError.
    """

    threshold: int = 0
    name: ClassVar[str] = "delta"

    def __post_init__(self) -> None:
        """Check the threshold."""
        threshold = whole("threshold", self.threshold, 0, 2**WIDEST, "give it in units of the message's last bit: 0 is exact")
        object.__setattr__(self, "threshold", threshold)

    @property
    def exact(self) -> bool:
        """Whether every change is sent."""
        return self.threshold <= 1

    def wire_bits(self, bits: int) -> int:
        """Return one bit more than a message has: those of the difference of two."""
        return bits + 1

    def planes(self, message: Array, told: Array, bits: int, draw: Draw) -> Array:  # noqa: ARG002
        """Return the changes that are large enough as one plane, 0 elsewhere."""
        change = message - told
        if self.threshold > 1:
            change[np.abs(change) < self.threshold] = 0
        return np.asarray(change[None])

    def latched(self, latch: Array, partial: Array, bits: int) -> Array:  # noqa: ARG002
        """Return the latch with the change added."""
        return np.asarray(latch + partial)
