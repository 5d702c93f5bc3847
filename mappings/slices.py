"""Which neurons of which population lie on which core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dyadic_neuro.arrays import Array, ReadOnly


@dataclass(frozen=True)
class Slice:
    """Dyads `start` .. `stop` - 1 of a population, on a core."""

    population: str
    start: int
    stop: int
    core: int

    @property
    def size(self) -> int:
        """Its number of dyads."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Slices(ReadOnly):
    """All slices, as arrays (slices,) sorted by population and start: there may be more than a hundred thousand.

    `population` is a position in `names`. `core` numbers the cores of the chip, or before placement any cores.
    """

    names: tuple[str, ...]
    population: Array
    start: Array
    stop: Array
    core: Array

    @classmethod
    def cut(cls, names: Sequence[str], sizes: Sequence[int], counts: Sequence[int]) -> Slices:
        """Cut populations of these sizes into so many slices of nearly equal size, each on a core of its own."""
        starts = [np.arange(count) * size // count for size, count in zip(sizes, counts, strict=True)]
        stops = [np.arange(1, count + 1) * size // count for size, count in zip(sizes, counts, strict=True)]
        population = np.repeat(np.arange(len(names)), counts)
        return cls(tuple(names), population, np.concatenate(starts), np.concatenate(stops), np.arange(len(population)))

    def on(self, core: Array) -> Slices:
        """Return the same slices on other cores, `core` (slices,)."""
        return Slices(self.names, self.population, self.start, self.stop, core)

    @property
    def sizes(self) -> Array:
        """The number of dyads of each slice."""
        return np.asarray(self.stop - self.start)

    @cached_property
    def cores(self) -> Array:
        """The cores that hold something, ascending."""
        return np.unique(self.core)

    @cached_property
    def bounds(self) -> Array:
        """(populations + 1,): slices bounds[i] .. bounds[i + 1] - 1 are those of population i."""
        return np.searchsorted(self.population, np.arange(len(self.names) + 1))

    def of(self, name: str) -> slice:
        """Return where the slices of a population stand."""
        i = self.names.index(name)
        return slice(int(self.bounds[i]), int(self.bounds[i + 1]))

    def __len__(self) -> int:
        return len(self.core)

    def __iter__(self) -> Iterator[Slice]:
        for i, start, stop, core in zip(self.population, self.start, self.stop, self.core, strict=True):
            yield Slice(self.names[i], int(start), int(stop), int(core))
