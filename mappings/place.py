"""Which core holds which block, so that messages x hops is small: constructive starts, then swaps.

A network was cut into blocks, each the contents of one core. Distances are Manhattan over tiles and so the two axes part: of
an all-to-all flow only the histograms of its sources and of its targets along each axis matter, and no pair is ever built.
With them every block has a potential at every tile (its messages x the hops it would then be away from all it talks to), and a
swap of two blocks is judged by four of those. Flows of few pairs are kept as edges instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.layouts import Mesh, bands, starts, windows

__all__ = ["Flow", "Mesh", "place", "traffic_cost"]

EXPLICIT = 64
"""Up to so many blocks, all pairs are written out and every swap is looked at."""

COOLED = 20_000
"""Up to so many blocks, swaps that cost something are let pass for a while. That gains up to 1 %, and less the more blocks."""

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


def traffic_cost(positions: Array, flows: Sequence[Flow], mesh: Mesh) -> float:
    """Return the sum of messages x weighted hops when block i is on core `positions[i]`."""
    return Traffic(len(positions), flows).cost(np.asarray(positions), mesh)


def place(layers: Array, flows: Sequence[Flow], mesh: Mesh, seed: int = 0) -> Array:
    """Return the core of every block (blocks,), all different.

    `layers` (blocks,) is the layer of every block, not decreasing. There have to be as many cores as blocks, or more. The
    result is never dearer than any order of `layouts.ORDERS`, and the same for the same seed.
    """
    layers = np.asarray(layers)
    blocks = len(layers)
    if blocks < 2 or not flows:
        return bands(mesh, blocks, [mesh.chip_rows], windows(mesh, blocks)[0])
    rng = np.random.default_rng(seed)
    traffic = Traffic(blocks, flows)
    keep = int(np.clip(60_000 // blocks, 3, 12))  # few of the large ones: that time grows no faster than the blocks
    # all-to-all there are few flows to a layer: more of them, or of few pairs, mean that parts of layers talk to each other
    local = len(traffic.pair_keys) > 0 or traffic.flows > 4 * len(np.unique(layers))
    found = starts(layers, lambda at: traffic.cost(at, mesh), mesh, rng, keep=keep, local=local)
    if blocks <= EXPLICIT:
        return _search_pairs(traffic, mesh, found, rng)
    return _search(traffic, mesh, found, rng)


# ----------------------------------------------------------------------------------------------------------------- traffic


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


# ----------------------------------------------------------------------------------------------------------------- searches


def _search(traffic: Traffic, mesh: Mesh, found: list[Array], rng: np.random.Generator) -> Array:
    """Improve all starts a little, the best of them more, and shake that one while it cools."""
    # a round takes longer where blocks talk to many, one by one; more rounds make up for fewer blocks, not all the way
    slow = max(1.0, (len(traffic.rows) + 0.5 * len(traffic.neighbours) / traffic.blocks) / 4.0)
    rounds = float(np.clip(3_000_000 / traffic.blocks, 60.0, 300.0)) / slow
    improved = [_improve(traffic, mesh, at, rng, round(30 / slow) + 1) for at in found]
    improved = sorted(improved, key=lambda pair: pair[0])[: max(2, len(found) // 3)]
    improved = [_improve(traffic, mesh, at, rng, round(50 / slow) + 1) for _, at in improved]
    at = min(improved, key=lambda pair: pair[0])[1]
    if traffic.blocks <= COOLED:
        at = _improve(traffic, mesh, at, rng, round(2.0 * rounds) + 1, heat=0.05)[1]
    return _improve(traffic, mesh, at, rng, round(rounds) + 1)[1]


def _improve(
    traffic: Traffic, mesh: Mesh, at: Array, rng: np.random.Generator, rounds: int, heat: float = 0.0
) -> tuple[float, Array]:
    """Return a cheaper placement and its cost, after rounds of many swaps at once.

    Swaps of a round are judged as if each were the only one, and no two touch the same core. Without heat, the best of them
    are applied together only if that makes the whole cheaper, else half of them, and so on: the cost never rises. With heat
    (in mean costs of a block, and falling), swaps that cost something pass at times, and the best placement seen is returned.
    """
    blocks, mx, my = traffic.blocks, np.asarray(mesh.x, np.int64), np.asarray(mesh.y, np.int64)
    x, y = mx[at], my[at]
    left, right = max(0, int(x.min()) - 2), min(mesh.columns, int(x.max()) + 3)  # two tiles more than are in use
    top, bottom = max(0, int(y.min()) - 2), min(mesh.rows, int(y.max()) + 3)
    field = traffic.field(at, mesh, (left, right, top, bottom))
    who = np.full(len(mx), blocks)
    who[at] = np.arange(blocks)
    many = limit = max(256, blocks // 3)
    best, lowest, unit = at, field.cost, field.cost / blocks
    for turn in range(rounds):
        p, core = _proposals(traffic, mesh, field, rng, many)
        q, here, there = who[core], (field.x[p], field.y[p]), (mx[core], my[core])
        hops = np.abs(mesh.weighted_x[here[0]] - mesh.weighted_x[there[0]])
        hops = hops + np.abs(mesh.weighted_y[here[1]] - mesh.weighted_y[there[1]])
        change = traffic.rise(field, mesh, p, here, there) + traffic.rise(field, mesh, q, there, here)
        change = change - hops * (traffic.own[p] + traffic.own[q])
        if heat:
            change = change - heat * 0.02 ** (turn / rounds) * unit * rng.exponential(size=len(change))
        good = np.flatnonzero((change < 0.0) & (hops > 0.0))
        # each was thought away from where the other is going, so what they send each other was counted wrong, twice
        change = change[good] + 2.0 * hops[good] * traffic.between(p[good], q[good])
        good, change = good[change < -1e-9 * unit], change[change < -1e-9 * unit]
        if not heat:
            good = good[np.argsort(change, kind="stable")]
        a, b = _disjoint(at[p[good]], core[good], len(mx))
        take = min(len(a), max(1, blocks // 30) if heat else limit)
        while take:
            trial = np.append(at, 0)  # the last one is where an empty core goes
            moved_a, moved_b = who[a[:take]], who[b[:take]]
            trial[moved_a], trial[moved_b] = b[:take], a[:take]
            after = traffic.field(trial[:-1], mesh, field.span)
            if heat or after.cost < field.cost:
                at, field = trial[:-1], after
                who[b[:take]], who[a[:take]] = moved_a, moved_b
                limit = min(many, 2 * take) if take == limit else limit
                break
            take //= 2
            limit = max(1, take)
        if field.cost < lowest:
            best, lowest = at, field.cost
    return lowest, best


def _disjoint(a: Array, b: Array, cores: int) -> tuple[Array, Array]:
    """Return the pairs of cores of which neither is in an earlier pair."""
    index = np.arange(len(a))
    first = np.full(cores, len(a))
    np.minimum.at(first, a, index)
    np.minimum.at(first, b, index)
    free = (first[a] == index) & (first[b] == index)
    return a[free], b[free]


def _proposals(traffic: Traffic, mesh: Mesh, field: Field, rng: np.random.Generator, many: int) -> tuple[Array, Array]:
    """Return blocks, and cores that they might go to: around them at every scale, or next to one they talk to."""
    left, right, top, bottom = field.span
    p = rng.integers(traffic.blocks, size=many)
    base, scale = p.copy(), (0.5 * max(right - left, bottom - top, 2)) ** rng.random(many)
    visits = many * 3 // 10
    base[:visits], scale[:visits] = traffic.partners(p[:visits], rng), 1.0
    x = field.x[base] + np.rint(scale * rng.normal(size=many)).astype(np.int64)
    y = field.y[base] + np.rint(scale * rng.normal(size=many)).astype(np.int64)
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    p, x, y = p[inside], x[inside], y[inside]
    core = mesh.any_core(x, y, rng.random(len(p)))
    return p[core >= 0], core[core >= 0]


def _search_pairs(traffic: Traffic, mesh: Mesh, found: list[Array], rng: np.random.Generator) -> Array:
    """Improve many starts at once, each by the best of all its swaps until there is none, and then the best of them again."""
    cores = _around(mesh, found, 2 * traffic.blocks + 32)
    weighted = np.stack([mesh.weighted_x[mesh.x[cores]], mesh.weighted_y[mesh.y[cores]]])
    hops = np.abs(weighted[:, :, None] - weighted[:, None, :]).sum(axis=0)
    every = np.arange(traffic.blocks)
    one, other = np.repeat(every, traffic.blocks), np.tile(every, traffic.blocks)
    pairs = np.where(one == other, 0.0, traffic.between(one, other)).reshape(traffic.blocks, traffic.blocks)
    known = np.searchsorted(cores, np.stack(found))
    shuffled = known[np.arange(24) % len(known)]
    scattered = np.argsort(rng.random((8, len(cores))), axis=1)[:, : traffic.blocks]
    at = np.concatenate([known, rng.permuted(shuffled, axis=1), scattered])
    best, lowest = at[0], np.inf
    for kick in (0, 2, 3, 4):
        if kick:
            at = np.repeat(best[None], 24, axis=0)
            for row in at:
                _kick(row, len(cores), kick, rng)
        at, cost = _descend_pairs(pairs, hops, at)
        if cost.min() < lowest:
            best, lowest = at[int(cost.argmin())], float(cost.min())
    return np.asarray(cores[best])


def _around(mesh: Mesh, found: list[Array], spare: int) -> Array:
    """Return the cores (sorted) of the starts, and `spare` others nearest to the middle of the best start."""
    x, y = mesh.weighted_x[mesh.x], mesh.weighted_y[mesh.y]
    far = np.abs(x - x[found[0]].mean()) + np.abs(y - y[found[0]].mean())
    near = np.argsort(far, kind="stable")[: len(found[0]) + spare]
    return np.asarray(np.unique(np.concatenate([near, *found])))


def _kick(row: Array, cores: int, swaps: int, rng: np.random.Generator) -> None:
    """Swap some blocks with others or with empty cores, in place."""
    for _ in range(swaps):
        block, core = int(rng.integers(len(row))), int(rng.integers(cores))
        other = np.flatnonzero(row == core)
        row[other], row[block] = row[block], core


def _descend_pairs(pairs: Array, hops: Array, at: Array) -> tuple[Array, Array]:
    """Return placements (starts, blocks) in which no swap helps any more, and their costs (starts,).

    `pairs` (blocks, blocks) are the messages between two blocks, both ways, and `hops` (cores, cores) their distances.
    """
    at = at.copy()
    blocks, cores = len(pairs), len(hops)
    potential = np.einsum("bc,acs->abs", pairs, hops[at])  # (starts, blocks, cores); no BLAS, as in _away
    least = -1e-12 * pairs.sum() * hops.max()  # what is smaller is rounding
    active = np.arange(len(at))
    for _ in range(20 * blocks + 50):
        here, field = at[active], potential[active]
        own = np.take_along_axis(field, here[:, :, None], axis=2)
        gain = field - own
        at_others = np.take_along_axis(field, np.broadcast_to(here[:, None, :], (len(active), blocks, blocks)), axis=2) - own
        apart = hops[here[:, :, None], here[:, None, :]]
        swapped = at_others + at_others.transpose(0, 2, 1) + 2.0 * pairs * apart
        np.put_along_axis(gain, np.broadcast_to(here[:, None, :], swapped.shape), swapped, axis=2)
        flat = gain.reshape(len(active), -1)
        best = flat.argmin(axis=1)
        good = flat[np.arange(len(active)), best] < least
        active, best, here = active[good], best[good], here[good]
        if not len(active):
            break
        block, core = np.divmod(best, cores)
        before = at[active, block]
        is_other = here == core[:, None]
        weights = pairs[block] - np.where(is_other[:, :, None], pairs, 0.0).sum(axis=1)
        at[active] = np.where(is_other, before[:, None], here)
        at[active, block] = core
        potential[active] += weights[:, :, None] * (hops[core] - hops[before])[:, None, :]
    cost = 0.5 * (pairs * hops[at[:, :, None], at[:, None, :]]).sum(axis=(1, 2))
    return at, cost
