"""Graded: one integer message per neuron and unit step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings.base import Coding, Draw


@dataclass(frozen=True)
class Graded(Coding):
    """Every neuron sends its message at every unit step, 0 included: one integer. Exact."""

    name: ClassVar[str] = "graded"

    def wire_bits(self, bits: int) -> int:
        """Return the bits of the message."""
        return bits

    def planes(self, message: Array, told: Array, bits: int, draw: Draw) -> Array:  # noqa: ARG002
        """Return the messages as one plane."""
        return message[None]

    def sent(self, planes: Array) -> Array:
        """Return True for every entry."""
        return np.ones(planes.shape, bool)
