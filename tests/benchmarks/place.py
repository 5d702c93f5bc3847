"""Placement beside enumeration where that is possible, and beside orders that know nothing of the network; and its time."""

import math
import time
from functools import cache
from itertools import pairwise, permutations

import numpy as np

from dyadic_neuro.mappings.layouts import ORDERS, Mesh
from dyadic_neuro.mappings.place import place, traffic_cost
from dyadic_neuro.mappings.traffic import Flow
from tests.benchmarks.measure import Row

COMPARED = ("row-major", "snake", "Hilbert over tiles", "Hilbert over chips")


def chips(across, down, used=128):
    """Return a system of chips of 8 x 4 tiles with 4 cores each, of which a chip's first `used` can be used."""
    tile = np.tile(np.arange(used) // 4, across * down)
    chip = np.repeat(np.arange(across * down), used)
    return Mesh(chip % across * 8 + tile // 4, chip // across * 4 + tile % 4, across * 8, down * 4, 8, 4)


def dense(sizes, edges=None, seed=0):
    """Return the layers and flows of all-to-all projections (a chain, if no others are given), with uneven messages."""
    rng, starts = np.random.default_rng(seed), np.concatenate([[0], np.cumsum(sizes)])
    slices = [np.arange(a, b) for a, b in pairwise(starts)]
    edges = edges or [(i, i + 1) for i in range(len(sizes) - 1)]
    flows = []
    for layer, sources in enumerate(slices):
        messages = rng.integers(200, 257, len(sources)).astype(float)
        above, below = [b for a, b in edges if a == layer], [a for a, b in edges if b == layer and a > 0]
        flows += [Flow(sources, messages, np.concatenate([slices[t] for t in to])) for to in (above, below) if to]
    return np.repeat(np.arange(len(sizes)), sizes), flows


def one_to_one(width, depth):
    """Return the layers and flows of chains of single blocks."""
    here = np.arange(width * (depth - 1))
    pairs = [*zip(here, here + width, strict=True), *zip(here + width, here, strict=True)]
    return np.repeat(np.arange(depth), width), [Flow(np.array([a]), np.array([256.0]), np.array([b])) for a, b in pairs]


def networks():
    """Return name -> ((layers, flows), mesh) of the networks that placement is compared on."""
    rng = np.random.default_rng(0)
    skips = [(i, i + 1) for i in range(29)] + [(i, i + 4) for i in range(0, 26, 3)]
    return {
        "20 x 60, 16 chips": (dense([60] * 20), chips(4, 4)),
        "20 x 100, 16 chips": (dense([100] * 20), chips(4, 4)),
        "20 x 150, 25 chips": (dense([150] * 20), chips(5, 5)),
        "20 x 200, 36 chips": (dense([200] * 20), chips(6, 6)),
        "25 x 400, 81 chips": (dense([400] * 25), chips(9, 9)),
        "100 x 100, 1152 chips": (dense([100] * 100), chips(32, 36)),
        "uneven, 30 layers of 5 to 200": (dense(rng.integers(5, 200, 30)), chips(6, 6)),
        "uneven, 60 layers, log-normal": (dense(np.ceil(rng.lognormal(4.0, 1.0, 60)).astype(int)), chips(9, 9)),
        "skips, 30 x 80": (dense([80] * 30, skips), chips(5, 5)),
        "all to all later, 15 x 60": (dense([60] * 15, [(a, b) for b in range(15) for a in range(b)]), chips(3, 3)),
        "wide-narrow-wide": (dense([400, 150, 40, 10, 40, 150, 400]), chips(4, 4)),
        "one narrow layer between": (dense([300, 3, 300, 3, 300]), chips(3, 3)),
        "one to one, 200 x 10": (one_to_one(200, 10), chips(4, 4)),
        "122 of 128 cores, 20 x 180": (dense([180] * 20), chips(6, 5, used=122)),
        "100 blocks": (dense([20] * 5), chips(2, 2)),
    }


@cache
def compared():
    """Return name -> each order's cost, divided by ours."""
    found = {}
    for name, ((layers, flows), mesh) in networks().items():
        ours = traffic_cost(place(layers, flows, mesh), flows, mesh)
        found[name] = {o: traffic_cost(ORDERS[o](mesh, len(layers)), flows, mesh) / ours for o in COMPARED}
    return found


def table():
    """Return the table of all networks, as text: how many times dearer each order is."""
    lines = [f"{'cost / cost of place()':32}" + "".join(f"{order:>20}" for order in COMPARED)]
    lines += [f"{name:32}" + "".join(f"{cost:20.3f}" for cost in costs.values()) for name, costs in compared().items()]
    return "\n".join(lines)


# Small enough to enumerate


def small(seed):
    """Return a network of at most 9 blocks and a mesh of at most 9 cores, over tiles and chips of any size."""
    rng = np.random.default_rng(seed)
    cores = blocks = 0
    while cores < 2:
        columns, rows, chip_columns, chip_rows = (int(n) for n in rng.integers(1, [7, 7, 4, 4]))
        capacity = rng.integers(0, rng.integers(2, 6), columns * rows)
        cores = int(capacity.sum()) if capacity.sum() <= 9 else 0
    tile = rng.permutation(np.repeat(np.arange(columns * rows), capacity))
    mesh = Mesh(tile % columns, tile // columns, columns, rows, chip_columns, chip_rows, float(rng.choice([1.0, 3.0, 10.0])))
    blocks = int(rng.integers(2, cores + 1))
    sizes = np.bincount(rng.integers(0, rng.integers(1, 5), blocks))
    if seed % 2:
        return dense(sizes[sizes > 0], seed=seed), mesh
    flows = []
    for _ in range(int(rng.integers(1, 7))):
        sources, targets = (rng.permutation(blocks)[: rng.integers(1, blocks + 1)] for _ in range(2))
        flows.append(Flow(sources, rng.uniform(1, 9, len(sources)), targets))
    return (np.repeat(np.arange(len(sizes)), sizes), flows), mesh


def cheapest(blocks, flows, mesh):
    """Return the lowest cost there is, by trying all placements."""
    messages = np.zeros((blocks, blocks))
    for flow in flows:
        messages[np.ix_(flow.sources, flow.targets)] += flow.messages[:, None]
    at = [v + (mesh.crossing - 1) * (v // n) for v, n in ((mesh.x, mesh.chip_columns), (mesh.y, mesh.chip_rows))]
    hops = sum(np.abs(v[:, None] - v) for v in at)
    every = np.array(list(permutations(range(len(mesh.x)), blocks)), np.int8)
    cost = np.zeros(len(every))
    for a in range(blocks):
        for b in range(a):
            cost += (messages[a, b] + messages[b, a]) * hops[every[:, a], every[:, b]]
    return cost.min()


def gaps(seeds):
    """Return cost / lowest cost of small networks (those that can cost nothing left out)."""
    found = []
    for seed in seeds:
        (layers, flows), mesh = small(seed)
        lowest = cheapest(len(layers), flows, mesh)
        if lowest > 0:
            found.append(traffic_cost(place(layers, flows, mesh), flows, mesh) / lowest)
    return np.array(found)


def rows():
    found = gaps(range(300))
    what, detail = "placement, up to 9 cores", f"{len(found)} networks, all placements tried"
    yield Row(f"{what}: part of the networks placed at lowest cost", np.mean(found < 1 + 1e-9), 0.95, "", detail, at_least=True)
    yield Row(f"{what}: worst cost / lowest cost", found.max(), 1.02, "x", detail)
    costs = compared()
    # where a layer fills about one chip, a Hilbert curve over chips is near the best there is: hence the mean, and the worst
    ratios = {name: 1 / min(costs[name][order] for order in COMPARED[2:]) for name in costs if "chips" in name}
    worst = max(ratios, key=ratios.get)
    detail = f"mean of {len(ratios)}; worst {ratios[worst]:.3f}: {worst}"
    mean = math.exp(np.mean(np.log(list(ratios.values()))))
    yield Row("placement, even layers over many chips: cost / better Hilbert order", mean, 0.9, "x", detail)
    worst = min(costs, key=lambda name: min(costs[name].values()))
    detail = f"worst of {len(costs)}: {worst}"
    yield Row("placement: cost / best of row-major, snake, two Hilbert orders", 1 / min(costs[worst].values()), 1.0, "x", detail)
    yield from speed()


def seconds(network, mesh):
    """Return the processor's seconds of one placement: it has one thread, and other programs do not count."""
    began = time.process_time()
    place(*network, mesh)
    return time.process_time() - began


def speed():
    detail = "100 layers, all-to-all, once, seconds of the processor"
    yield Row("placement of 147,400 blocks on 1152 chips", seconds(dense([1474] * 100), chips(32, 36)), 10.0, "s", detail)
    cases = [(dense([side * side * 128 // n] * n), chips(side, side)) for side, n in ((1, 4), (3, 10), (9, 25), (28, 80))]
    times, sizes = [seconds(*case) for case in cases], [len(network[0]) for network, _ in cases]
    steepest = max(math.log(times[3] / times[i]) / math.log(sizes[3] / sizes[i]) for i in range(3))
    detail = ", ".join(f"{t:.2f} s for {n:,}" for n, t in zip(sizes, times, strict=True))
    yield Row("placement: exponent of its time over the blocks", steepest, 1.1, "", detail)
