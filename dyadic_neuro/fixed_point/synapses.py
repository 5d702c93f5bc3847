"""A projection of integer weights: exact products, and changes of weights that every copy of them draws alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.fixed_point.format import FixedFormat
from dyadic_neuro.fixed_point.pace import Pace
from dyadic_neuro.fixed_point.scales import Scale
from dyadic_neuro.projection import Projection

_DOUBLE = 53
"""Bits up to which whole numbers, their products and the sums of these are exact in floating point, in whatever order."""


@dataclass(frozen=True, eq=False)
class Ways:
    """What a copy of the weights must know of the signals that meet at it.

    `pre` is the scale of the signal that it receives and `post` that of the one which meets it in learning; the copy shifts
    its products by `shift` places to the left, to the exponent of its neurons' accumulator.
    """

    pre: Scale
    post: Scale
    shift: int


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedProjection(Projection):
    """Synapses with integer weights (int64) of the scale `scale`.

    `ways` are those of this copy and `back` those of its transpose. `number` and `origin` say which synapse of the whole
    network weights[0, 0] is: projection, row and column in its weights; `swapped` tells that rows here are columns there.
    `updates` counts the changes that the weights went through: the random numbers of the next one hang on it.
    """

    scale: Scale
    ways: Ways
    back: Ways
    number: int
    origin: tuple[int, int] = (0, 0)
    swapped: bool = False
    updates: int = 0

    def bound(self) -> int:
        """Return the largest drive that weights and messages of these widths could cause."""
        terms = 1 if self.one_to_one else self.weights.shape[1]
        return (terms * self.scale.lowest * self.ways.pre.lowest) << self.ways.shift

    @cached_property
    def _in_floats(self) -> bool:
        return self.bound().bit_length() < _DOUBLE

    @cached_property
    def _floats(self) -> Array:
        return self.weights.astype(np.float64)

    def forward(self, rates: Array) -> Array:
        """Return the drive (batch, n_target) that integers (batch, n_source) cause: exact, with the accumulator's exponent.

        Where products and their sums have less than 53 bits they are computed in floating point, which is exact for whole
        numbers up to 2 ** 53 in any order of summation, and faster; else in integers.
        """
        if self.shape is None and not self.one_to_one:
            return self._product(rates)
        drive = np.zeros((len(rates), self.full_shape[0]), np.int64)
        arrived = rates[:, self.columns]
        drive[:, self.rows] = (arrived * self.weights) << self.ways.shift if self.one_to_one else self._product(arrived)
        return drive

    def _product(self, signal: Array) -> Array:
        if self._in_floats:
            product = signal.astype(np.float64) @ self._floats.T
            if self.ways.shift:
                product *= float(1 << self.ways.shift)
            return product.astype(np.int64)
        return self.exact_product(signal)

    def exact_product(self, signal: Array) -> Array:
        """Return the same in integers alone: the slow and obvious twin."""
        return np.asarray((signal @ self.weights.T) << self.ways.shift)

    def sums(self, post: Array, pre: Array) -> Array:
        """Return the sum over the batch of post (outer) pre, integers in the shape of the weights: exact."""
        if self.shape is not None:
            post, pre = post[:, self.rows], pre[:, self.columns]
        if self.one_to_one:
            return np.asarray((post * pre).sum(axis=0))
        if self.ways.pre.bits + self.ways.post.bits + len(pre).bit_length() < _DOUBLE:
            return (post.astype(np.float64).T @ pre.astype(np.float64)).astype(np.int64)
        return post.T @ pre

    def outer(self, sensitivities: Array, rates: Array) -> Array:
        """Return the mean over the batch of the products, real numbers (float64) in the shape of the weights."""
        exponent = self.ways.pre.exponent + self.ways.post.exponent
        return np.ldexp(self.sums(sensitivities, rates).astype(np.float64), -exponent) / len(rates)

    def transposed(self) -> FixedProjection:
        """Return the backward copy W^T: the same synapses, with the ways of the other direction."""
        shape = None if self.shape is None else self.shape[::-1]
        return replace(
            self,
            source=self.target,
            target=self.source,
            weights=self.weights.T,
            corner=self.corner[::-1],
            shape=shape,
            ways=self.back,
            back=self.ways,
            swapped=not self.swapped,
        )

    def with_weights(self, weights: Array) -> FixedProjection:
        """Return this projection holding other integers of the same shape."""
        return replace(self, weights=weights)

    def onto(self, start: int, stop: int) -> FixedProjection | None:
        """Return the synapses that end on neurons `start` .. `stop` - 1 of the target, as `Projection.onto`."""
        found = cast("FixedProjection | None", super().onto(start, stop))
        if found is None:
            return None
        skipped = max(start, self.rows.start) - self.rows.start
        row, column = self.origin
        along = skipped if self.one_to_one else 0
        origin = (row + along, column + skipped) if self.swapped else (row + skipped, column + along)
        return replace(found, origin=origin)

    @cached_property
    def cells(self) -> Array:
        """The numbers of the synapses in the whole network, in the shape of the weights, whichever copy this is."""
        row, column = self.origin
        first = np.int64(self.number) << 48
        if self.one_to_one:
            along = np.arange(len(self.weights), dtype=np.int64)
            return first + ((row + along) << 24) + column + along
        rows, columns = (np.arange(n, dtype=np.int64) for n in (self.weights.shape[::-1] if self.swapped else self.weights.shape))
        numbers = first + ((row + rows[:, None]) << 24) + (column + columns)
        return numbers.T if self.swapped else numbers

    def pace(self, learning_rate: float, weight_decay: float, batch: int, form: FixedFormat) -> Pace:
        """Return how fast the weights change. Raises as `Pace.of`."""
        pre, post = self.ways.pre, self.ways.post
        bits, exponent = pre.bits + post.bits + batch.bit_length(), self.scale.exponent - pre.exponent - post.exponent
        return Pace.of(learning_rate, weight_decay, batch, exponent, bits, form.rounding, form.seed)

    def learned(self, post: Array, pre: Array, pace: Pace) -> tuple[FixedProjection, int]:
        """Return the weights after one step of gradient descent, and how many of them would have left their range.

        Exact sums of products, times the pace, rounded once. A forward copy and its transpose get the same integers.
        """
        sums = self.sums(post, pre)
        found = pace.changed(self.weights, sums, self.cells, self.updates)
        limited = np.clip(found, self.scale.lowest, self.scale.highest)
        changed = replace(self, weights=limited, updates=self.updates + 1)
        vars(changed)["cells"] = self.cells  # of the same synapses
        return changed, int(np.count_nonzero(limited != found))
