"""Bit by bit: an exact integer in binary spikes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings.base import FEWEST, WIDEST, Coding, Draw, whole
from dyadic_neuro.errors import OptionError


@dataclass(frozen=True)
class BitSerial(Coding):
    """A neuron sends its message bit by bit, most significant first, and a spike is a bit that is 1. Exact.

    The micro-steps are `bits` in number (2 to 62); None leaves them open until `fitted` takes those of the widest signal.
    Numbers are in two's complement: the first bit counts negative, and narrower messages are extended by their sign.
    Receivers double what they have and add what arrives. Raises OptionError.
    """

    bits: int | None = None
    name: ClassVar[str] = "bit_serial"

    def __post_init__(self) -> None:
        """Check the bits."""
        if self.bits is not None:
            bits = whole("bits", self.bits, FEWEST, WIDEST, "give as many as the widest message has, or None")
            object.__setattr__(self, "bits", bits)

    @property
    def micro_steps(self) -> int:
        """One for each bit. Raises OptionError while they are open."""
        if self.bits is None:
            raise OptionError("bits", "are open until the coding is fitted to signals", "use fitted(...), or give their number")
        return self.bits

    def fitted(self, bits: Mapping[str, int]) -> BitSerial:
        """Return the coding with the bits of the widest signal, if they were open.

        Raises OptionError that names a signal with more bits than there are micro-steps.
        """
        super().fitted(bits)
        widest = max(bits, key=lambda signal: bits[signal], default=None)
        if widest is None:
            return self
        needed = bits[widest]
        if self.bits is None:
            return replace(self, bits=needed)
        if self.bits < needed:
            problem = f"{self.bits} micro-steps are too few for {widest}, whose messages have {needed} bits"
            raise OptionError("bits", problem, f"use at least {needed}, or None")
        return self

    def planes(self, message: Array, told: Array, bits: int, draw: Draw) -> Array:  # noqa: ARG002
        """Return the bits of the messages, from the sign down."""
        last = self.micro_steps - 1
        spikes = np.empty((last + 1, *message.shape), np.int8)
        for micro, plane in enumerate(spikes):
            plane[...] = (message >> (last - micro)) & 1  # arithmetic, which extends the sign
        return spikes

    def hear(self, partial: Array | int, plane: Array, micro: int) -> Array:
        """Return minus the first bit, and after it twice the sum and the bit that arrived."""
        arrived = np.asarray(plane, np.int64)
        return np.asarray(2 * partial + arrived if micro else -arrived)
