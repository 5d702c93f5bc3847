"""Scales: which real number an integer stands for, how wide it may be, and how a wider one is rounded to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array

WIDEST = 62
"""Bits that any integer here may need, the accumulator's too: it is held in 64, with room for the rounding of a sum."""


@dataclass(frozen=True)
class Scale:
    """Integers of `bits` bits in two's complement, each of the value integer * 2 ** -exponent."""

    exponent: int
    bits: int

    @property
    def lowest(self) -> int:
        """The smallest integer."""
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """The largest integer."""
        return (1 << (self.bits - 1)) - 1

    def real(self, integers: Array) -> Array:
        """Return the values (float64) of integers: exactly, up to 53 bits."""
        return np.asarray(np.ldexp(np.asarray(integers, np.float64), -self.exponent))

    def nearest(self, values: Array) -> Array:
        """Return the integers whose values are nearest to these, ties up, and limited to those there are."""
        return np.asarray(np.clip(self._rounded(values), self.lowest, self.highest), np.int64)

    def beyond(self, values: Array) -> int:
        """Return how many of these values `nearest` limits."""
        scaled = self._rounded(values)
        return int(np.count_nonzero((scaled < self.lowest) | (scaled > self.highest)))

    def _rounded(self, values: Array) -> Array:
        return np.asarray(np.floor(np.ldexp(np.asarray(values, np.float64), self.exponent) + 0.5))

    def holds(self, integers: Array) -> bool:
        """Whether all of these integers are among those there are."""
        return bool(integers.size == 0 or (integers.min() >= self.lowest and integers.max() <= self.highest))


def shifted(integers: Array, places: int) -> Array:
    """Return integers / 2 ** places, rounded to nearest with ties up: an addition and an arithmetic shift.

    A shift to the left (`places` below 0) is exact: the widths are proven where a network is made.
    """
    if places <= 0:
        return integers << -places if places else integers
    if places > WIDEST:
        return np.zeros_like(integers)
    return (integers + (1 << (places - 1))) >> places


def exponent_for(largest: float, bits: int) -> int:
    """Return the largest exponent with which `bits` bits hold values from -largest to largest; 0 for 0."""
    if largest == 0.0:
        return 0
    exponent = bits - 1 - int(np.ceil(np.log2(largest)))
    while np.ldexp(largest, exponent) > (1 << (bits - 1)) - 1:
        exponent -= 1
    return exponent


def bits_for(bound: int) -> int:
    """Return the bits that integers from -bound to bound need in two's complement."""
    return int(bound).bit_length() + 1
