"""Which synapses are stored where: for every slice, its rows of each copy that drives its population."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dyadic_neuro.arrays import Array, ReadOnly
from dyadic_neuro.mappings.copies import Copy
from dyadic_neuro.mappings.slices import Slices


@dataclass(frozen=True, eq=False)
class Synapses(ReadOnly):
    """Blocks of synapses, as arrays (blocks,) sorted by copy: each is what `slice` stores of `copy`, a position in `copies`.

    Neurons `column_start` .. `column_stop` - 1 of the copy's source reach neurons `row_start` .. `row_stop` - 1 of its
    target: each all of those, or one to one.
    """

    copies: tuple[Copy, ...]
    copy: Array
    slice: Array
    row_start: Array
    row_stop: Array
    column_start: Array
    column_stop: Array

    @classmethod
    def of(cls, copies: tuple[Copy, ...], slices: Slices) -> Synapses:
        """Store each copy with the neurons that it drives."""
        parts = []
        for i, copy in enumerate(copies):
            where = slices.of(copy.target)
            first, last = np.maximum(slices.start[where], copy.rows[0]), np.minimum(slices.stop[where], copy.rows[1])
            held = np.flatnonzero(first < last)
            first, last = first[held], last[held]
            if copy.one_to_one:
                columns = (first - copy.rows[0] + copy.columns[0], last - copy.rows[0] + copy.columns[0])
            else:
                columns = (np.full_like(first, copy.columns[0]), np.full_like(first, copy.columns[1]))
            parts.append((np.full_like(first, i), held + where.start, first, last, *columns))
        return cls(copies, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @cached_property
    def bounds(self) -> Array:
        """(copies + 1,): blocks bounds[i] .. bounds[i + 1] - 1 are those of copy i."""
        return np.searchsorted(self.copy, np.arange(len(self.copies) + 1))

    @property
    def rows(self) -> Array:
        """The neurons of each block that are driven."""
        return np.asarray(self.row_stop - self.row_start)

    @property
    def axons(self) -> Array:
        """The neurons from which messages reach each block: one list of synapses for each."""
        return np.asarray(self.column_stop - self.column_start)

    @property
    def per_message(self) -> Array:
        """The synapses of each block that one message meets."""
        return np.where(np.array([copy.one_to_one for copy in self.copies])[self.copy], 1, self.rows)

    @property
    def plastic(self) -> Array:
        """Whether each block learns."""
        return np.asarray(np.array([copy.plastic for copy in self.copies])[self.copy])

    def __len__(self) -> int:
        return len(self.copy)
