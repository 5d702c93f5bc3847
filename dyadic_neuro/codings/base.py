"""What a coding is, and how noise is keyed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError

FEWEST, WIDEST = 2, 62
"""Bits of a message: the change from one to another, and twice a sum, fit in 64."""


class Draw(NamedTuple):
    """Which random numbers are drawn: those of a signal, from a neuron on, at a unit step. All are integers of at least 0.

    `signal` is the number of the signal, `first` that of the first neuron in the array, `step` that of the unit step. Rows
    are numbered from 0. So a slice of a population draws what the whole draws there.
    """

    signal: int
    first: int
    step: int


class Coding(ABC):
    """How messages become planes and latches; as it stands, one micro-step with spikes of one bit that mean the message."""

    name: ClassVar[str]

    @property
    def exact(self) -> bool:
        """Whether what receivers hold is the message, bit for bit."""
        return True

    @property
    def micro_steps(self) -> int:
        """K, the micro-steps of one unit step."""
        return 1

    def fitted(self, bits: Mapping[str, int]) -> Coding:
        """Return the coding for signals of these widths (a readable name -> bits), with what was left open filled in.

        Raises OptionError that names a signal which the coding cannot tell, and the bits that it needs.
        """
        for signal, width in bits.items():
            whole(f"bits of {signal}", width, FEWEST, WIDEST, "narrow or widen the messages of the format")
        return self

    def wire_bits(self, bits: int) -> int:  # noqa: ARG002
        """Return the bits that one sent message has on the wire, if messages have `bits`."""
        return 1

    @abstractmethod
    def planes(self, message: Array, told: Array, bits: int, draw: Draw) -> Array:
        """Return what is sent in each micro-step, (K, batch, n), for messages (batch, n) of `bits` bits.

        `told` (batch, n) is what receivers hold now. `draw` keys the noise, if there is any.
        """

    def hear(self, partial: Array | int, plane: Array, micro: int) -> Array:  # noqa: ARG002
        """Return the partial sum (batch, n) after micro-step `micro`, of K from 0 on, in which `plane` arrived.

        `partial` is the sum before it, which the first micro-step ignores.
        """
        return np.asarray(plane, np.int64)

    def latched(self, latch: Array, partial: Array, bits: int) -> Array:  # noqa: ARG002
        """Return the latch after the last micro-step, from the latch before it and the partial sum."""
        return partial

    def sent(self, planes: Array) -> Array:
        """Return which entries of planes, or of one plane, are sent (bool, of their shape): those that are not 0."""
        return np.asarray(planes != 0)


def replay(coding: Coding, latch: Array, planes: Array, bits: int) -> Array:
    """Return what receivers hold after these planes (K, batch, n), if they held `latch` (batch, n): a sender's knowledge."""
    partial: Array | int = 0
    for micro, plane in enumerate(planes):
        partial = coding.hear(partial, plane, micro)
    return coding.latched(latch, np.asarray(partial), bits)


def whole(field: str, value: object, least: int, most: int, fix: str) -> int:
    """Return an option that is a whole number within limits. Raises OptionError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise OptionError(field, f"{value!r} is no whole number from {least} to {most}", fix)
    return int(value)
