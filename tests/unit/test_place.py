"""Which core holds which block: valid, reproducible, cheap."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyadic_neuro.mappings import place as module
from dyadic_neuro.mappings.layouts import ORDERS, Mesh, bands, windows
from dyadic_neuro.mappings.place import place, traffic_cost
from dyadic_neuro.mappings.traffic import Flow, Traffic

seeds = st.integers(0, 2**32 - 1)


def chips(across, down, columns=8, rows=4, per_tile=4, used=None):
    """Return a system of chips, of each of which the first `used` cores can be used."""
    tile = np.arange(columns * rows * per_tile)[:used] // per_tile
    x, y = np.meshgrid(np.arange(across) * columns, np.arange(down) * rows)
    x, y = x.reshape(-1, 1) + tile // rows, y.reshape(-1, 1) + tile % rows
    return Mesh(x.ravel(), y.ravel(), across * columns, down * rows, columns, rows)


def random_mesh(rng, least=2, most=60):
    """Return tiles of 0 to 4 cores in no order, on chips of any shape; the last chips may be cut off."""
    while True:
        columns, rows, chip_columns, chip_rows = (int(n) for n in rng.integers(1, [8, 8, 5, 5]))
        capacity = rng.integers(0, rng.integers(2, 6), columns * rows)
        if least <= capacity.sum() <= most:
            tile = rng.permutation(np.repeat(np.arange(columns * rows), capacity))
            crossing = float(rng.choice([1.0, 2.5, 10.0]))
            return Mesh(tile % columns, tile // columns, columns, rows, chip_columns, chip_rows, crossing)


def random_flows(rng, blocks, most=6):
    """Return flows of any blocks to any others, also to themselves."""
    flows = []
    for _ in range(int(rng.integers(1, most + 1))):
        sources, targets = (rng.permutation(blocks)[: rng.integers(1, blocks + 1)] for _ in range(2))
        flows.append(Flow(sources, rng.uniform(0.5, 9.0, len(sources)), targets))
    return flows


def layered(sizes, edges=None, seed=0):
    """Return layers and flows of all-to-all projections, both ways; the messages of slices differ."""
    rng, starts = np.random.default_rng(seed), np.concatenate([[0], np.cumsum(sizes)])
    slices = [np.arange(a, b) for a, b in pairwise(starts)]
    flows = []
    for a, b in edges or [(i, i + 1) for i in range(len(sizes) - 1)]:
        for source, target in ((slices[a], slices[b]), (slices[b], slices[a])):
            flows.append(Flow(source, rng.integers(1, 20, len(source)).astype(float), target))
    return np.repeat(np.arange(len(sizes)), sizes), flows


def one_to_one(width, depth):
    here = np.arange(width * (depth - 1))
    flows = [Flow(np.array([a]), np.array([3.0]), np.array([a + width])) for a in here]
    return np.repeat(np.arange(depth), width), flows


def walked(positions, flows, mesh):
    """The cost by going over every pair and every hop."""
    total = 0.0
    for flow in flows:
        for source, messages in zip(flow.sources, flow.messages, strict=True):
            for target in flow.targets:
                a, b = positions[source], positions[target]
                for line, chip in ((mesh.x, mesh.chip_columns), (mesh.y, mesh.chip_rows)):
                    hops = range(min(line[a], line[b]), max(line[a], line[b]))
                    total += messages * sum(mesh.crossing if (at + 1) % chip == 0 else 1.0 for at in hops)
    return total


NETWORKS = {
    "small": (*layered([6, 9, 4]), chips(2, 2, 2, 2, 2)),
    "even": (*layered([40] * 8), chips(2, 2)),
    "uneven": (*layered([5, 90, 17, 60, 2, 33, 71]), chips(2, 2)),
    "skips": (*layered([20] * 9, [(i, i + 1) for i in range(8)] + [(0, 4), (2, 6), (1, 8)]), chips(3, 1)),
    "wide-narrow-wide": (*layered([100, 30, 3, 30, 100]), chips(2, 2)),
    "within a layer": (*layered([30, 50], [(0, 1), (1, 1)]), chips(2, 1)),
    "one to one": (*one_to_one(40, 6), chips(2, 2)),
    "few blocks on many cores": (*layered([20] * 5), chips(12, 12)),
    "unused cores": (*layered([23] * 9), chips(2, 1, used=122)),
    "single blocks": (*layered([1] * 80), chips(2, 2)),
}


# Cost


@given(seed=seeds)
def test_the_cost_is_that_of_walking_every_pair(seed):
    rng = np.random.default_rng(seed)
    mesh = random_mesh(rng)
    blocks = int(rng.integers(1, min(40, len(mesh.x)) + 1))
    flows, positions = random_flows(rng, blocks), rng.permutation(len(mesh.x))[:blocks]
    assert traffic_cost(positions, flows, mesh) == pytest.approx(walked(positions, flows, mesh), rel=1e-12)


def test_the_cost_counts_borders_of_chips():
    mesh = Mesh(np.array([0, 7, 8, 8]), np.array([0, 0, 0, 4]), 16, 8, 8, 4)
    flow = Flow(np.array([0]), np.array([2.0]), np.array([1]))
    assert [traffic_cost(np.array([0, core]), [flow], mesh) for core in range(4)] == [0.0, 14.0, 34.0, 60.0]


@given(seed=seeds)
@settings(max_examples=min(50, settings().max_examples))
def test_a_swap_changes_the_cost_as_foretold(seed):
    rng = np.random.default_rng(seed)
    mesh, blocks = chips(2, 2), 150
    _, flows = layered([40, 60, 30, 20], [(0, 1), (1, 2), (2, 3), (0, 2), (1, 1)], seed % 100)
    flows += random_flows(rng, blocks, 3) + one_to_one(50, 3)[1]
    traffic, at = Traffic(blocks, flows), rng.permutation(len(mesh.x))[:blocks]
    assert traffic.flows
    assert len(traffic.neighbours)
    who = np.full(len(mesh.x), blocks)
    who[at] = np.arange(blocks)
    field = traffic.field(at, mesh, (0, mesh.columns, 0, mesh.rows))
    p, core = rng.integers(blocks, size=8), rng.integers(len(mesh.x), size=8)
    p, core = p[at[p] != core], core[at[p] != core]
    q, here, there = who[core], (mesh.x[at[p]], mesh.y[at[p]]), (mesh.x[core], mesh.y[core])
    hops = np.abs(mesh.weighted_x[here[0]] - mesh.weighted_x[there[0]]) + np.abs(
        mesh.weighted_y[here[1]] - mesh.weighted_y[there[1]]
    )
    change = traffic.rise(field, mesh, p, here, there) + traffic.rise(field, mesh, q, there, here)
    change += hops * (2.0 * traffic.between(p, q) - traffic.own[p] - traffic.own[q])
    for i in range(len(p)):
        swapped = np.append(at, 0)
        swapped[q[i]], swapped[p[i]] = at[p[i]], core[i]
        assert traffic.cost(swapped[:-1], mesh) - field.cost == pytest.approx(change[i], abs=1e-9 * field.cost)


# Layouts


@given(seed=seeds)
def test_every_layout_gives_each_block_a_core_of_its_own(seed):
    rng = np.random.default_rng(seed)
    mesh = random_mesh(rng)
    count = int(rng.integers(1, len(mesh.x) + 1))
    for order in ORDERS.values():
        assert len(np.unique(order(mesh, count))) == count
    for window in windows(mesh, count):
        left, top, wide, high = window
        for turned in (False, True):
            cores = bands(mesh, count, list(rng.integers(1, 4, rng.integers(1, 4))), window, turned=turned)
            assert len(np.unique(cores)) == count
            assert ((mesh.x[cores] >= left) & (mesh.x[cores] < left + wide)).all()
            assert ((mesh.y[cores] >= top) & (mesh.y[cores] < top + high)).all()


@pytest.mark.parametrize("name", ["snake", "Hilbert over tiles"])
def test_some_orders_only_go_from_a_tile_to_the_next(name):
    mesh = chips(2, 2, 4, 4, 2)
    cores = ORDERS[name](mesh, len(mesh.x))
    assert set((np.abs(np.diff(mesh.x[cores])) + np.abs(np.diff(mesh.y[cores]))).tolist()) == {0, 1}


def test_bands_are_a_snake_of_columns():
    mesh = Mesh(np.arange(12) % 3, np.arange(12) // 3, 3, 4, 3, 4)
    assert bands(mesh, 12, [2], mesh.whole).tolist() == [0, 3, 4, 1, 2, 5, 8, 11, 10, 7, 6, 9]
    assert bands(mesh, 4, [1, 3], mesh.whole, skip=2).tolist() == [2, 5, 8, 11]
    assert bands(mesh, 5, [2], mesh.whole, turned=True).tolist() == [0, 1, 4, 3, 6]


def test_the_squarest_window_comes_first_and_the_whole_last():
    mesh = chips(6, 6)
    assert windows(mesh, 9 * 128)[0] == (0, 0, 24, 12)  # 3 x 3 chips, which are 42 by 30 hops
    assert windows(mesh, 20)[0][2:] in {(2, 3), (3, 2)}
    assert windows(mesh, 9 * 128)[-1] == windows(mesh, 20)[-1] == mesh.whole


# Placement


@given(seed=seeds)
@settings(max_examples=min(40, settings().max_examples))
def test_every_block_gets_a_core_of_its_own_at_no_more_than_any_order_costs(seed):
    rng = np.random.default_rng(seed)
    mesh = random_mesh(rng)
    blocks = int(rng.integers(1, min(30, len(mesh.x)) + 1))
    flows, layers = random_flows(rng, blocks), np.sort(rng.integers(0, 4, blocks))
    positions = place(layers, flows, mesh, seed)
    assert len(np.unique(positions)) == blocks
    assert 0 <= positions.min() <= positions.max() < len(mesh.x)
    for order in ORDERS.values():
        assert traffic_cost(positions, flows, mesh) <= traffic_cost(order(mesh, blocks), flows, mesh) * (1 + 1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_order_is_cheaper(name):
    layers, flows, mesh = NETWORKS[name]
    positions = place(layers, flows, mesh)
    assert positions.shape == layers.shape
    assert len(np.unique(positions)) == len(layers)
    cost = traffic_cost(positions, flows, mesh)
    for order in ORDERS.values():
        assert cost <= traffic_cost(order(mesh, len(layers)), flows, mesh)


@pytest.mark.parametrize("name", ["small", "uneven", "one to one"])
def test_one_seed_gives_the_same_bits(name):
    layers, flows, mesh = NETWORKS[name]
    first, second = place(layers, flows, mesh, seed=3), place(layers, flows, mesh, seed=3)
    assert first.tobytes() == second.tobytes()
    costs = {traffic_cost(place(layers, flows, mesh, seed), flows, mesh) for seed in (0, 1)}
    assert max(costs) <= 1.05 * min(costs)


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_without_flows_any_cores_will_do(blocks):
    positions = place(np.zeros(blocks, int), [], chips(2, 2))
    assert len(np.unique(positions)) == blocks


def lowest(blocks, flows, mesh):
    messages = np.zeros((blocks, blocks))
    for flow in flows:
        messages[np.ix_(flow.sources, flow.targets)] += flow.messages[:, None]
    x = mesh.x + (mesh.crossing - 1) * (mesh.x // mesh.chip_columns)
    y = mesh.y + (mesh.crossing - 1) * (mesh.y // mesh.chip_rows)
    hops = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    every = np.array(list(permutations(range(len(mesh.x)), blocks)))
    return min(sum(messages[a, b] * hops[every[:, a], every[:, b]] for a in range(blocks) for b in range(blocks)))


def test_what_can_be_enumerated_is_placed_at_lowest_cost():
    ratios = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        mesh = random_mesh(rng, most=7)
        blocks = int(rng.integers(2, len(mesh.x) + 1))
        flows = random_flows(rng, blocks)
        if (least := lowest(blocks, flows, mesh)) > 0:
            ratios.append(traffic_cost(place(np.zeros(blocks, int), flows, mesh), flows, mesh) / least)
    ratios = np.array(ratios)
    assert len(ratios) >= 60
    assert np.mean(ratios < 1 + 1e-9) >= 0.95
    assert ratios.max() <= 1.02


def test_layers_over_many_chips_cost_a_tenth_less_than_along_hilbert_curves():
    layers, flows = layered([60] * 20)
    mesh = chips(4, 3)
    cost = traffic_cost(place(layers, flows, mesh), flows, mesh)
    for name in ("Hilbert over tiles", "Hilbert over chips"):
        assert cost <= 0.9 * traffic_cost(ORDERS[name](mesh, len(layers)), flows, mesh)


def test_chains_of_single_blocks_stay_together():
    layers, flows = one_to_one(64, 8)
    mesh = chips(2, 2)
    # 8 blocks are two tiles: each chain has to make one hop
    assert traffic_cost(place(layers, flows, mesh), flows, mesh) <= 1.1 * 64 * 3.0


def test_few_blocks_keep_together_on_a_large_system():
    layers, flows = layered([10] * 3)
    positions, mesh = place(layers, flows, chips(12, 12)), chips(12, 12)
    assert len(set(zip((mesh.x[positions] // 8).tolist(), (mesh.y[positions] // 4).tolist(), strict=True))) == 1


@pytest.mark.parametrize("limit", [0, module.EXPLICIT])
def test_both_searches_reach_about_the_same(monkeypatch, limit):
    layers, flows, mesh = NETWORKS["small"]
    best = traffic_cost(place(layers, flows, mesh), flows, mesh)
    monkeypatch.setattr(module, "EXPLICIT", limit)
    assert traffic_cost(place(layers, flows, mesh), flows, mesh) <= 1.05 * best
