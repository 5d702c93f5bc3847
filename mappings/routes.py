"""Who sends to which cores: the multicast routes, small enough to hold for systems of a hundred thousand cores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dyadic_neuro.arrays import Array, ReadOnly
from dyadic_neuro.mappings.copies import KINDS
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.mappings.synapses import Synapses


@dataclass(frozen=True, eq=False)
class Routes(ReadOnly):
    """Messages of one kind from neurons start .. stop - 1 of a population to a set of cores, as arrays (routes,).

    `population` is a position in `names`, `kind` in KINDS. Route r leads to `core[first[r] : first[r + 1]]`, where one
    message meets `synapses` (of the same length) synapses. Each neuron sends one message to a core, however many slices
    and synapses it reaches there: routes of the same neurons never share a core.
    """

    names: tuple[str, ...]
    population: Array
    kind: Array
    start: Array
    stop: Array
    first: Array
    core: Array
    synapses: Array

    @classmethod
    def of(cls, slices: Slices, synapses: Synapses) -> Routes:
        """Work out the routes that these synapses need."""
        names = slices.names
        source = np.array([names.index(copy.source) for copy in synapses.copies])[synapses.copy]
        kind = np.array([KINDS.index(copy.kind) for copy in synapses.copies])[synapses.copy]
        reached = np.stack(
            [source, kind, synapses.column_start, synapses.column_stop, slices.core[synapses.slice], synapses.per_message]
        )
        reached = _one_message_a_core(reached)
        reached = reached[:, np.lexsort(reached[[4, 3, 2, 1, 0]])]
        changes = np.flatnonzero((np.diff(reached[:4], axis=1) != 0).any(axis=0)) + 1
        first = np.concatenate([[0], changes, [reached.shape[1]]])
        head = reached[:4, first[:-1]]
        return cls(names, head[0], head[1], head[2], head[3], first, reached[4], reached[5])

    @property
    def neurons(self) -> Array:
        """The neurons that send on each route."""
        return np.asarray(self.stop - self.start)

    @property
    def fan_out(self) -> Array:
        """The cores that each route leads to."""
        return np.diff(self.first)

    @property
    def route_of(self) -> Array:
        """The route of each entry of `core`."""
        return np.repeat(np.arange(len(self)), self.fan_out)

    def senders(self, slices: Slices) -> Senders:
        """Return which cores send how many messages on each route when all of its neurons do."""
        routes, held, neurons = [], [], []
        for r in range(len(self)):
            low, high = int(slices.bounds[self.population[r]]), int(slices.bounds[self.population[r] + 1])
            first = low + int(np.searchsorted(slices.stop[low:high], self.start[r], side="right"))
            last = low + int(np.searchsorted(slices.start[low:high], self.stop[r], side="left"))
            held.append(np.arange(first, last))
            inside = np.minimum(slices.stop[first:last], self.stop[r]) - np.maximum(slices.start[first:last], self.start[r])
            neurons.append(inside)
            routes.append(np.full(last - first, r))
        return Senders(np.concatenate(routes), np.concatenate(held), np.concatenate(neurons))

    def __len__(self) -> int:
        return len(self.population)


@dataclass(frozen=True, eq=False)
class Senders:
    """The slices that send on each route, as arrays: `slice` sends from `neurons` neurons on `route`."""

    route: Array
    slice: Array
    neurons: Array


def _one_message_a_core(reached: Array) -> Array:
    """Join what the same neurons send to the same core, (6, entries): where spans overlap, they are cut into pieces.

    Only cores that hold several slices can have such entries.
    """
    order = np.lexsort(reached[[2, 4, 1, 0]])
    reached = reached[:, order]
    same = (np.diff(reached[[0, 1, 4]], axis=1) == 0).all(axis=0)
    groups = np.concatenate([[0], np.cumsum(~same)])
    sizes = np.bincount(groups)
    shared = sizes[groups] > 1
    if not shared.any():
        return reached
    pieces = [reached[:, ~shared]]
    for group in np.unique(groups[shared]):
        rows = reached[:, groups == group]
        cuts = np.unique(rows[2:4])
        for low, high in pairwise(cuts):
            inside = (rows[2] <= low) & (rows[3] >= high)
            if inside.any():
                head = rows[:, 0]
                pieces.append(np.array([[head[0]], [head[1]], [low], [high], [head[4]], [rows[5, inside].sum()]]))
    return np.concatenate(pieces, axis=1)
