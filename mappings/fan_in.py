"""Dividing what no core can hold: partial sums of rates, and relays that sum sensitivities up in parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings.copies import RATE, SENSITIVITY
from dyadic_neuro.mappings.demand import CORE_MEMORY, INPUT_AXONS, SYNAPTIC_MEMORY, Demand, limit_of
from dyadic_neuro.mappings.partition import Excess, Partition
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

_DIVIDED = (SYNAPTIC_MEMORY, CORE_MEMORY, INPUT_AXONS)  # what a smaller fan-in makes smaller


@dataclass(frozen=True)
class Piece:
    """Where a projection of the divided network comes from: row and column in the weights of projection `original`."""

    original: str
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class Division:
    """A network whose fan-in was divided, `network`, and the way between its parameters and those of `original`.

    Both are specifications. `pieces` names for every projection of `network` that holds weights of the original which
    part they are; those it does not name are fixed, one to one, of weight 1.
    """

    original: Network
    network: Network
    pieces: Mapping[str, Piece]

    @classmethod
    def none(cls, network: Network) -> Division:
        """Leave the network as it is."""
        structure = network.structure()
        return cls(structure, structure, {p.name: Piece(p.name, 0, 0) for p in structure.projections})

    @property
    def divided(self) -> bool:
        """Whether the two networks differ."""
        return self.network is not self.original

    def apply(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """Return parameters of `network` that compute what these parameters of `original` do, floats or integers."""
        found = {}
        integers = all(np.asarray(values).dtype.kind in "iu" for values in parameters.values())
        for p in self.network.projections:
            piece, one = self.pieces.get(p.name), np.int64(1) if integers else 1.0
            found[p.name] = np.full(p.weights.shape, one) if piece is None else parameters[piece.original][_where(p, piece)]
        return found | {key: value for key, value in parameters.items() if key.endswith(".bias")}

    def restore(self, parameters: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Return parameters (or gradients) of `network` by the keys of `original`, put together again."""
        if not self.divided:
            return {key: np.asarray(value) for key, value in parameters.items()}
        found: dict[str, Array] = {}
        for key, value in parameters.items():
            part = np.asarray(value)
            if key.endswith(".bias"):
                found[key] = part
            elif key in self.pieces:
                piece, projection = self.pieces[key], self.network.projection(key)
                shape = self.original.projection(piece.original).weights.shape
                whole = found.setdefault(piece.original, np.zeros(shape, part.dtype))
                whole[_where(projection, piece)] = part
        return found

    def apply_feedback(self, running: Graph, feedback: Mapping[str, Projection]) -> dict[str, Projection]:
        """Return the W^T copies of the network `running`, which has the structure of `network`, by those of the original."""
        if not self.divided:
            return dict(feedback)
        found = feedback_copies(running)
        for name, copy in found.items():
            piece = self.pieces.get(name)
            if piece is not None and piece.original in feedback:
                whole = feedback[piece.original].weights.T
                found[name] = copy.with_weights(whole[_where(running.projection(name), piece)].T)
        return found

    def restore_feedback(self, copies: Mapping[str, Array]) -> dict[str, Array]:
        """Return W^T copies of `network` by the projections of `original`, put together again."""
        if not self.divided:
            return dict(copies)
        whole = self.restore({name: np.asarray(weights).T for name, weights in copies.items()})
        return {p.name: whole[p.name].T for p in self.original.projections if p.name in whole and p.source != self.original.input}


def divide(network: Network, demand: Demand) -> Division:
    """Return the network with every fan-in that no core can hold divided.

    Where rates are too many, populations of partial sums are put before the population: identity, without bias, each
    with a part of the weights, and joined to it one to one with fixed weights of 1. Where sensitivities are too many,
    relays are put after it in the same way. The sums are those of before, one hop later.

    Raises CapacityError for what does not fit even so.
    """
    division = Division.none(network)
    names = count(1)
    while True:
        partition = Partition(replace(demand, network=division.network))
        excesses = partition.too_large()
        if not excesses:
            return division
        for excess in excesses:
            if _as_before(division.network, partition.network, excess.population):
                division = _divided(division, partition, excess, names)


def _as_before(now: Network, before: Network, population: str) -> bool:
    """Whether no neighbour's division has changed what is joined to a population: else it is looked at again."""
    joined = [(net.incoming[population], net.outgoing[population]) for net in (now, before)]
    names = [[[p.name for p in side] for side in sides] for sides in joined]
    return names[0] == names[1]


def _divided(division: Division, partition: Partition, excess: Excess, names: count[int]) -> Division:
    """Return the network with one fan-in of one population divided."""
    net, name = division.network, excess.population
    if excess.resource not in _DIVIDED:
        raise excess.error()
    needs = dict.fromkeys((True, False), 0)
    for copy in partition.driven[name]:
        rows = min(excess.neurons, copy.rows[1] - copy.rows[0])
        demand = partition.demand
        need = demand.axons if excess.resource == INPUT_AXONS else demand.synaptic_bits
        needs[copy.kind == RATE] += int(need(copy, np.asarray(rows)))
    forward = needs[True] >= needs[False]
    joined = net.incoming[name] if forward else net.outgoing[name]
    room = _room(partition.demand, _kept(partition, name, forward=forward))
    lengths = [1 if p.one_to_one else p.weights.shape[1 if forward else 0] for p in joined]
    groups = -(-sum(lengths) // max(room, 1))
    already = all(p.one_to_one and not p.plastic for p in joined)
    added = name not in {p.name for p in division.original.populations}
    # a sum of one term, as many sums as there are terms, or a sum that takes over all terms of a sum: no progress
    if room < 2 or (already and groups >= len(joined)) or (added and groups < 2):
        raise excess.error()
    size, kept = net.population(name).size, [p for p in net.projections if p not in joined]
    pieces = {key: piece for key, piece in division.pieces.items() if key not in {p.name for p in joined}}
    populations, projections = list(net.populations), list(kept)
    for terms in _grouped(joined, lengths, -(-sum(lengths) // groups)):
        middle = _name(net, name, names, forward=forward)
        populations.append(Population(middle, size))
        for p, start, stop in terms:
            part, piece = _part(p, start, stop, division.pieces.get(p.name), middle, forward=forward)
            projections.append(part)
            if piece is not None:
                pieces[part.name] = piece
        ends = (middle, name) if forward else (name, middle)
        projections.append(Projection(*ends, np.ones(size), plastic=False))
    divided = replace(net, populations=populations, projections=projections)
    return Division(division.original, divided, pieces)


def _room(demand: Demand, kept: int) -> int:
    """Return how many synapses of one neuron a partial sum can have, beside the one that joins it to its population.

    `kept` are the bits that a core keeps for each of them, beside the synapse.
    """
    chip = demand.chip
    synapse, state = int(chip.storage_bits(1)), 2 * demand.width("state")
    rooms = []
    for resource, fixed, each in (
        (INPUT_AXONS, 1, 1),
        (SYNAPTIC_MEMORY, synapse, synapse),
        (CORE_MEMORY, synapse + state, synapse + kept),
    ):
        limit = limit_of(chip, resource)
        if limit is not None:
            rooms.append((limit - fixed) // each)
    return min(rooms, default=2**62)


def _kept(partition: Partition, name: str, *, forward: bool) -> int:
    """Return the most bits that a core keeps for a synapse of any copy of this kind: messages, and a gradient summed up."""
    demand, kind = partition.demand, RATE if forward else SENSITIVITY
    found = [
        int(demand.line_bits(copy, 1)) // max(1, int(demand.axons(copy, 1)))
        for copy in partition.driven[name]
        if copy.kind == kind
    ]
    return max(found, default=0)


def _grouped(joined: tuple[Projection, ...], lengths: list[int], most: int) -> list[list[tuple[Projection, int, int]]]:
    """Deal the terms out to groups of `most` synapses a neuron; a matrix may be cut, a diagonal counts for one."""
    groups: list[list[tuple[Projection, int, int]]] = [[]]
    free = most
    for p, length in zip(joined, lengths, strict=True):
        start = 0
        while start < length:
            if free == 0:
                groups.append([])
                free = most
            stop = min(length, start + free)
            groups[-1].append((p, start, stop))
            free -= stop - start
            start = stop
    return groups


def _part(
    p: Projection, start: int, stop: int, piece: Piece | None, middle: str, *, forward: bool
) -> tuple[Projection, Piece | None]:
    """Return the part of a projection that goes to (or from) a population in the middle, and where it comes from."""
    ends = (p.source, middle) if forward else (middle, p.target)
    if p.one_to_one:
        return replace(p, source=ends[0], target=ends[1], shape=p.full_shape), piece
    row, column = (0, start) if forward else (start, 0)
    weights = p.weights[:, start:stop] if forward else p.weights[start:stop]
    corner = (p.corner[0] + row, p.corner[1] + column)
    part = Projection(*ends, weights, p.plastic, corner, p.full_shape)
    return part, None if piece is None else Piece(piece.original, piece.row + row, piece.column + column)


def _name(net: Network, name: str, names: count[int], *, forward: bool) -> str:
    taken = {p.name for p in net.populations}
    return next(new for i in names if (new := f"{name}_{'sum' if forward else 'relay'}{i}") not in taken)


def _where(p: Projection, piece: Piece) -> tuple[slice, ...]:
    """Return where the weights of a projection stand in those of the original."""
    if p.one_to_one:
        return (slice(None),)
    return slice(piece.row, piece.row + p.weights.shape[0]), slice(piece.column, piece.column + p.weights.shape[1])
