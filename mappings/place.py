"""Which core holds which block, so that messages x hops is small: constructive starts, then swaps.

A network was cut into blocks, each the contents of one core. A swap of two blocks is judged by what each costs at the tile
of the other (see `traffic`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.layouts import Mesh, bands, starts, windows
from dyadic_neuro.mappings.traffic import Field, Flow, Traffic

EXPLICIT = 64
"""Up to so many blocks, all pairs are written out and every swap is looked at."""

COOLED = 20_000
"""Up to so many blocks, swaps that cost something are let pass for a while. That gains up to 1 %, and less the more blocks."""


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
