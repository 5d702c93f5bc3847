"""What placements are judged by: who sends how much to whom, and what it costs to have a block at a tile.

Distances are Manhattan over tiles and so the two axes part: of an all-to-all flow only the histograms of its sources and of
its targets along each axis matter, and no pair is ever built. With them every block has a potential at every tile (its
messages x the hops it would then be away from all it talks to). Flows of few pairs are kept as edges instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.layouts import Mesh

Span = tuple[int, int, int, int]
"""Tiles from column a to before column b and row c to before row d."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A multicast: each of `sources` (blocks) sends its number of `messages` (> 0) to every block of `targets`, but itself.

    Blocks are integers, unique within `sources` and within `targets`; a block may be in both.
    """

    sources: Array
    messages: Array
    targets: Array


class Traffic:
    """The flows of a network, prepared for being evaluated at many placements."""

    def __init__(self, blocks: int, flows: Sequence[Flow]) -> None:
        self.blocks = blocks
        sources = [np.asarray(f.sources, np.int64) for f in flows]
        messages = [np.asarray(f.messages, np.float64) for f in flows]
        targets = [np.asarray(f.targets, np.int64) for f in flows]
        sizes = np.array([[len(s), len(t)] for s, t in zip(sources, targets, strict=True)], np.int64).reshape(-1, 2)
        few = sizes.prod(axis=1) <= 8 * sizes.sum(axis=1)  # so the pairs are at most 8 times what describes the flows
        self._edges(sources, messages, targets, sizes, np.flatnonzero(few))
        self._histograms(sources, messages, targets, np.flatnonzero(~few))

    def _edges(self, sources: list[Array], messages: list[Array], targets: list[Array], sizes: Array, which: Array) -> None:
        """Write out the pairs of the flows that have few."""
        none = np.zeros(0, np.int64)
        source = np.concatenate([none, *(sources[i] for i in which)])
        target = np.concatenate([none, *(targets[i] for i in which)])
        weight = np.concatenate([np.zeros(0), *(messages[i] for i in which)])
        # the targets of a source's flow begin at `first`; it meets all `many` of them
        ends = np.cumsum(sizes[which, 1])
        first, many = (np.repeat(values, sizes[which, 0]) for values in (ends - sizes[which, 1], sizes[which, 1]))
        source, weight = np.repeat(source, many), np.repeat(weight, many)
        target = target[_ranges(first, many)]
        key = np.minimum(source, target) * self.blocks + np.maximum(source, target)
        key, weight = key[source != target], weight[source != target]
        self.pair_keys, inverse = np.unique(key, return_inverse=True)
        self.pair_weights = np.bincount(inverse.ravel(), weight, minlength=len(self.pair_keys))
        self.one, self.other = np.divmod(self.pair_keys, self.blocks)
        ends = np.concatenate([self.one, self.other])
        by_block = np.argsort(ends, kind="stable")
        self.neighbours = np.concatenate([self.other, self.one])[by_block]
        self.neighbour_weights = np.concatenate([self.pair_weights, self.pair_weights])[by_block]
        self.degrees = np.append(np.bincount(ends, minlength=self.blocks), 0)  # the last one is of an empty core
        self.neighbours_from = np.cumsum(self.degrees) - self.degrees

    def _histograms(self, sources: list[Array], messages: list[Array], targets: list[Array], which: Array) -> None:
        """List who sends and who receives in the other flows, and of which potentials a block's own is made."""
        none = np.zeros(0, np.int64)
        self.flows, blocks = len(which), self.blocks
        self.sender = np.concatenate([none, *(sources[i] for i in which)])
        self.sent = np.concatenate([np.zeros(0), *(messages[i] for i in which)])
        self.sender_flow = np.repeat(np.arange(self.flows), [len(sources[i]) for i in which])
        self.receiver = np.concatenate([none, *(targets[i] for i in which)])
        self.receiver_flow = np.repeat(np.arange(self.flows), [len(targets[i]) for i in which])
        self.receiver_from = np.searchsorted(self.receiver_flow, np.arange(self.flows))
        self.receivers = np.bincount(self.receiver_flow, minlength=self.flows)
        self.receives = np.sort(self.receiver_flow * blocks + self.receiver)
        # Blocks that receive the same flows form a class, known by a sum of random numbers; a class is one potential.
        label = np.random.default_rng(0).integers(2**62, size=self.flows, dtype=np.uint64)
        signature = np.zeros(blocks, np.uint64)
        np.add.at(signature, self.receiver, label[self.receiver_flow])
        _, member, kind = np.unique(signature, return_index=True, return_inverse=True)
        kind = kind.ravel()
        if len(member) > 2 * self.flows + 64:  # unlike blocks: there a potential per class would be one per block
            self.class_flow, self.class_from = np.arange(self.flows), np.arange(self.flows)
            rows, row_block, row_weight = self.receiver_flow, self.receiver, np.ones(len(self.receiver))
        else:
            is_member = np.zeros(blocks, bool)
            is_member[member] = True
            listed = is_member[self.receiver]
            order = np.argsort(kind[self.receiver[listed]], kind="stable")
            self.class_flow = self.receiver_flow[listed][order]
            classes, self.class_from = np.unique(kind[self.receiver[listed]][order], return_index=True)
            position = np.full(len(member), -1)
            position[classes] = np.arange(len(classes))
            row_block = np.flatnonzero(position[kind] >= 0)
            rows, row_weight = position[kind[row_block]], np.ones(len(row_block))
        # Row k < flows of a potential: the way to all targets of flow k; the others: what arrives from all sources of a class.
        row_block = np.concatenate([self.sender, row_block])
        rows = np.concatenate([self.sender_flow, self.flows + rows])
        row_weight = np.concatenate([self.sent, row_weight])
        order = np.argsort(row_block, kind="stable")
        row_block, rows, row_weight = row_block[order], rows[order], row_weight[order]
        count = np.bincount(row_block, minlength=blocks)
        column = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        wide = int(count.max(initial=0))
        self.rows = np.zeros((wide, blocks + 1), np.int64)
        self.weights = np.zeros((wide, blocks + 1))
        self.rows[column, row_block], self.weights[column, row_block] = rows, row_weight
        # A block's potential also holds what it sends itself, as if it stayed behind when the block moves.
        own = self.has_receiver(self.sender_flow, self.sender)
        self.own = np.bincount(self.sender[own], 2.0 * self.sent[own], minlength=blocks + 1)

    def has_receiver(self, flow: Array, block: Array) -> Array:
        """Whether a flow of histograms reaches a block, element by element."""
        return _found(self.receives, flow * self.blocks + block)[1]

    # Cost

    def cost(self, positions: Array, mesh: Mesh) -> float:
        """Return the sum of messages x weighted hops."""
        return self.field(positions, mesh).cost

    def field(self, positions: Array, mesh: Mesh, span: Span | None = None) -> Field:
        """Return cost and potentials with block i on core `positions[i]`, over a span of tiles that holds all blocks."""
        x, y = np.asarray(mesh.x)[positions].astype(np.int64), np.asarray(mesh.y)[positions].astype(np.int64)
        if not len(x):
            return Field(0.0, x, y, np.zeros((0, 0)), np.zeros((0, 0)), (0, 0, 0, 0))
        left, right, top, bottom = span = span or (int(x.min()), int(x.max()) + 1, int(y.min()), int(y.max()) + 1)
        cost_x, along_x = self._axis(x - left, mesh.weighted_x[left:right])
        cost_y, along_y = self._axis(y - top, mesh.weighted_y[top:bottom])
        edges = np.abs(mesh.weighted_x[x[self.one]] - mesh.weighted_x[x[self.other]])
        edges += np.abs(mesh.weighted_y[y[self.one]] - mesh.weighted_y[y[self.other]])
        return Field(cost_x + cost_y + float((edges * self.pair_weights).sum()), x, y, along_x, along_y, span)

    def _axis(self, at: Array, weighted: Array) -> tuple[float, Array]:
        if not self.flows:
            return 0.0, np.zeros((0, len(weighted)))
        size, shape = self.flows * len(weighted), (self.flows, len(weighted))
        sending = np.bincount(self.sender_flow * len(weighted) + at[self.sender], self.sent, minlength=size).reshape(shape)
        receiving = np.bincount(self.receiver_flow * len(weighted) + at[self.receiver], minlength=size).reshape(shape)
        widths = np.diff(weighted)
        to_targets, to_sources = _away(receiving, widths), _away(sending, widths)
        classes = np.add.reduceat(to_sources[self.class_flow], self.class_from)
        return float((sending * to_targets).sum()), np.concatenate([to_targets, classes])

    # Swaps

    def rise(self, field: Field, mesh: Mesh, block: Array, a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
        """Return how the potential of each block rises from tile a to tile b, all else staying where it is.

        The block number past the last one is an empty core, which has no potential.
        """
        rise = np.zeros(len(block))
        flat_x, flat_y, wide, high = field.along_x.ravel(), field.along_y.ravel(), field.along_x.shape[1], field.along_y.shape[1]
        for rows, weights in zip(self.rows, self.weights, strict=True):
            row = rows[block]
            in_x, in_y = row * wide - field.span[0], row * high - field.span[2]
            rise += weights[block] * (flat_x[in_x + b[0]] - flat_x[in_x + a[0]] + flat_y[in_y + b[1]] - flat_y[in_y + a[1]])
        if len(self.neighbours):
            degree = self.degrees[block]
            edge = _ranges(self.neighbours_from[block], degree)
            near, owner = self.neighbours[edge], np.repeat(np.arange(len(block)), degree)
            hops = np.zeros(len(edge))
            for weighted, at, i in ((mesh.weighted_x, field.x, 0), (mesh.weighted_y, field.y, 1)):
                there = weighted[at[near]]
                hops += np.abs(weighted[b[i]][owner] - there) - np.abs(weighted[a[i]][owner] - there)
            rise += np.bincount(owner, hops * self.neighbour_weights[edge], minlength=len(block))
        return rise

    def between(self, p: Array, q: Array) -> Array:
        """Return the messages between p and q, both ways; q may be an empty core."""
        slot, found = _found(self.pair_keys, np.minimum(p, q) * self.blocks + np.maximum(p, q))
        total = np.where(found & (q < self.blocks), self.pair_weights[slot], 0.0) if len(self.pair_keys) else np.zeros(len(p))
        for rows, weights in zip(self.rows, self.weights, strict=True):
            for one, other in ((p, q), (q, p)):
                flow, weight = rows[one], weights[one]
                hit = (flow < self.flows) & (weight > 0) & (other < self.blocks)
                total[hit] += weight[hit] * self.has_receiver(flow[hit], other[hit])
        return total

    def partners(self, block: Array, rng: np.random.Generator) -> Array:
        """Return for each block one that it talks to, drawn at random, or itself if it is not heard of."""
        partner, draw = block.copy(), rng.random((2, len(block)))
        if self.flows:
            row = (draw[0] * len(self.rows)).astype(np.int64)
            flow = self.rows[row, block]
            hit = (flow < self.flows) & (self.weights[row, block] > 0)
            flow = flow[hit]
            partner[hit] = self.receiver[self.receiver_from[flow] + (draw[1][hit] * self.receivers[flow]).astype(np.int64)]
        if len(self.neighbours):
            hit = (self.degrees[block] > 0) & ((partner == block) | (draw[0] < 0.5))
            some = block[hit]
            partner[hit] = self.neighbours[self.neighbours_from[some] + (draw[1][hit] * self.degrees[some]).astype(np.int64)]
        return partner


@dataclass(frozen=True, eq=False)
class Field:
    """A placement as the search sees it: cost, tiles (blocks,), potentials along x and y (rows, length of the span)."""

    cost: float
    x: Array
    y: Array
    along_x: Array
    along_y: Array
    span: Span


def _away(mass: Array, widths: Array) -> Array:
    """Return sum over j of mass[:, j] x distance from i to j, for every i, where i and i + 1 are `widths[i]` apart."""
    left = np.cumsum(mass, axis=1)
    left, right = left[:, :-1], (left[:, -1:] - left[:, :-1])
    away = np.empty(mass.shape)
    away[:, 0] = (right * widths).sum(axis=1)  # no BLAS: the same bits on any number of threads
    away[:, 1:] = away[:, :1] + np.cumsum((left - right) * widths, axis=1)
    return away


def _ranges(first: Array, many: Array) -> Array:
    """Return first[0], first[0] + 1, ... (many[0] of them), first[1], ..."""
    ends = np.cumsum(many)
    return np.asarray(np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - many), many))


def _found(ordered: Array, keys: Array) -> tuple[Array, Array]:
    """Return where each key would be in `ordered`, and whether it is there."""
    if not len(ordered):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
    slot = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return slot, ordered[slot] == keys
