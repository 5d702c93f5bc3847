"""SANA-FE 2.2.9 counts as this project believes it does: its totals against loops over steps, neurons, synapses and hops."""

import importlib.util
import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dyadic_neuro.errors import (
    DataError,
    FileError,
    MissingExtraError,
    NetworkError,
    OptionError,
    OutputExistsError,
    SimulatorError,
    SimulatorTimeoutError,
    UnknownNameError,
)
from dyadic_neuro.studies.sanafe import Edge, Group, Machine, run, write

needs_sanafe = pytest.mark.skipif(
    importlib.util.find_spec("sanafe") is None, reason="sanafe is not installed (pip install 'dyadic-neuro[sanafe]')"
)

# The costs of the Loihi that comes with SANA-FE: fits to a Nahuku board (J. Boyle et al., IEEE TCAD 44(8), 2025, section VI).
LOIHI = Machine(
    columns=8,
    rows=4,
    cores_per_tile=4,
    access_j=51.2e-12,
    update_j=21.6e-12,
    spike_j=69.3e-12,
    synapse_j=35.5e-12,
    message_out_j=111.0e-12,
    message_in_j=0.0,
    hop_x_j=3.0e-12,
    hop_y_j=4.2e-12,
    access_s=6.0e-9,
    update_s=3.7e-9,
    spike_s=30.0e-9,
    synapse_s=3.8e-9,
    message_out_s=5.1e-9,
    message_in_s=16.0e-9,
    hop_x_s=4.1e-9,
    hop_y_s=6.5e-9,
    sync=((1, 0.6e-6), (2, 1.0e-6), (4, 1.4e-6), (29, 1.8e-6)),
)
# Another shape, and every number another, so that none can stand in for its neighbour.
ODD = Machine(
    columns=3,
    rows=5,
    cores_per_tile=2,
    access_j=1.37e-12,
    update_j=2.11e-12,
    spike_j=3.3e-12,
    synapse_j=5.7e-12,
    message_out_j=7.9e-12,
    message_in_j=11.3e-12,
    hop_x_j=13.1e-12,
    hop_y_j=17.9e-12,
    access_s=1.1e-9,
    update_s=0.3e-9,
    spike_s=2.9e-9,
    synapse_s=4.3e-9,
    message_out_s=6.1e-9,
    message_in_s=8.7e-9,
    hop_x_s=1e-9,
    hop_y_s=2e-9,
    sync=((1, 3e-8), (3, 5e-8), (7, 9e-8)),
)


def expected(machine, groups, edges, sent, updates):
    """The convention in full, slowly: who pays what, one event after the other."""
    core_of = {group.name: group.core for group in groups}
    neurons = [(group.name, index) for group in groups for index in range(group.size)]
    synapses = {neuron: Counter() for neuron in neurons}  # for each neuron, synapses by the core they are on
    for edge in edges:
        for i, source in enumerate(range(*edge.source_span)):
            for j, _target in enumerate(range(*edge.target_span)):
                if not edge.one_to_one or i == j:
                    synapses[edge.source, source][core_of[edge.target]] += 1
    tiles = {core // machine.cores_per_tile for core in core_of.values()}
    sync = [seconds for n, seconds in machine.sync if n <= len(tiles)][-1]
    counts = Counter(dict.fromkeys(("synaptic_events", "messages", "hops", "fired", "updated"), 0))
    energy = Counter(dict.fromkeys(("synapse", "dendrite", "soma", "network"), 0.0))
    time_s = 0.0
    for row in sent:
        sending, receiving = Counter(), Counter()  # seconds by core
        for neuron, sends in zip(neurons, row, strict=True):
            core = core_of[neuron[0]]
            energy["soma"] += machine.access_j
            sending[core] += machine.access_s
            if sends or updates == "all":
                counts["updated"] += 1
                energy["soma"] += machine.update_j
                sending[core] += machine.update_s
            if not sends:
                continue
            counts["fired"] += 1
            energy["soma"] += machine.spike_j
            sending[core] += machine.spike_s
            for target, events in synapses[neuron].items():
                counts["messages"] += 1
                energy["network"] += machine.message_out_j + machine.message_in_j
                sending[core] += machine.message_out_s
                receiving[target] += machine.message_in_s
                x, y = divmod(core // machine.cores_per_tile, machine.rows)
                to_x, to_y = divmod(target // machine.cores_per_tile, machine.rows)
                while x != to_x:
                    x += 1 if to_x > x else -1
                    counts["hops"] += 1
                    energy["network"] += machine.hop_x_j
                while y != to_y:
                    y += 1 if to_y > y else -1
                    counts["hops"] += 1
                    energy["network"] += machine.hop_y_j
                for _ in range(events):
                    counts["synaptic_events"] += 1
                    energy["synapse"] += machine.synapse_j
                    receiving[target] += machine.synapse_s
        time_s += max([*sending.values(), *receiving.values()]) + sync
    energy["total"] = sum(energy.values())
    return counts, energy, time_s


def agree(folder, machine, groups, edges, sent, updates, **options):
    write(folder, machine, groups, edges, sent, updates=updates)
    totals = run(folder, timeout=50, **options)
    counts, energy, time_s = expected(machine, groups, edges, sent, updates)
    assert {name: getattr(totals, name) for name in counts} == counts
    assert totals.energy_j == pytest.approx(energy, rel=1e-9, abs=0)
    assert totals.time_s == pytest.approx(time_s, rel=1e-9, abs=0)
    assert totals.steps == len(sent)
    assert totals.seconds > 0
    return totals


def raster(seed, groups, steps, share):
    return np.random.default_rng(seed).random((steps, sum(group.size for group in groups))) < share


def scattered(seed, machine, cores, edges):
    """Groups of all sizes anywhere, some on one core together, and edges between any of them: dense, one to one, spans, twice."""
    rng = np.random.default_rng(seed)
    places = rng.integers(machine.columns * machine.rows * machine.cores_per_tile, size=cores)
    groups = [Group(f"layer.{i} -> {i}/rate", int(place), int(rng.integers(1, 9))) for i, place in enumerate(places)]
    found = []
    for _ in range(edges):
        source, target = (groups[i] for i in rng.integers(len(groups), size=2))
        length, other = int(rng.integers(1, source.size + 1)), int(rng.integers(1, target.size + 1))
        one_to_one = bool(rng.random() < 0.4)
        if one_to_one:
            length = other = min(length, other)
        first, second = int(rng.integers(source.size - length + 1)), int(rng.integers(target.size - other + 1))
        found.append(Edge(source.name, target.name, (first, first + length), (second, second + other), one_to_one))
    return groups, found


both = pytest.mark.parametrize("updates", ["sent", "all"])


@needs_sanafe
def test_two_neurons_on_paper(tmp_path):
    # core 0 is on tile (0, 0), core 77 on tile 19 = (4, 3): 4 hops along x, 3 along y; neuron 0 sends once, to 3 neurons
    groups = [Group("a", 0, 2), Group("b", 77, 3)]
    write(tmp_path, LOIHI, groups, [Edge("a", "b", (0, 1), (0, 3))], np.array([[True, False, False, False, False]]))
    totals = run(tmp_path, timeout=50)
    assert (totals.synaptic_events, totals.messages, totals.hops, totals.fired, totals.updated) == (3, 1, 7, 1, 1)
    assert totals.energy_j["synapse"] == pytest.approx(106.5e-12, rel=1e-9)
    assert totals.energy_j["soma"] == pytest.approx((5 * 51.2 + 21.6 + 69.3) * 1e-12, rel=1e-9)
    assert totals.energy_j["network"] == pytest.approx((111 + 4 * 3.0 + 3 * 4.2) * 1e-12, rel=1e-9)
    # core 0 sends: two accesses, an update, a spike, a message: 50.8 ns; core 77 receives: 16 + 3 x 3.8 = 27.4 ns
    assert totals.time_s == pytest.approx(50.8e-9 + 1.0e-6, rel=1e-9)


@needs_sanafe
@both
@pytest.mark.parametrize("threads", [None, 2])
def test_dense_layers_that_all_send(tmp_path, updates, threads):
    groups = [Group("a", 0, 20), Group("b", 1, 12), Group("c", 9, 12), Group("d", 70, 5)]
    edges = [Edge(a.name, b.name, (0, a.size), (0, b.size)) for a, b in (*((groups[0], g) for g in groups[1:]), groups[1::2])]
    sent = np.ones((4, 49), dtype=bool)
    agree(tmp_path, LOIHI, groups, edges, sent, updates, threads=threads)


@needs_sanafe
@both
@pytest.mark.parametrize("share", [0.0, 0.03, 0.4])
def test_partial_activity(tmp_path, updates, share):
    groups = [Group("in", 5, 40), Group("hidden 0", 6, 30), Group("hidden 1", 40, 30), Group("out", 6, 7)]
    edges = [Edge("in", "hidden 0", (0, 40), (0, 30)), Edge("in", "hidden 1", (0, 40), (0, 30))]
    edges += [Edge(f"hidden {i}", "out", (0, 30), (0, 7)) for i in range(2)]
    agree(tmp_path, LOIHI, groups, edges, raster(3, groups, 9, share), updates)


@needs_sanafe
@both
@pytest.mark.parametrize("machine", [LOIHI, ODD], ids=["loihi", "odd"])
@pytest.mark.parametrize("seed", range(4))
def test_groups_scattered_over_the_machine(tmp_path, updates, machine, seed):
    groups, edges = scattered(seed, machine, cores=(60, 3, 17, 2)[seed], edges=90)
    agree(tmp_path, machine, groups, edges, raster(seed + 10, groups, 7, 0.3), updates)


@needs_sanafe
@both
def test_every_core_of_the_machine(tmp_path, updates):
    groups = [Group(f"g{core}", core, 1 + core % 3) for core in range(128)]
    edges = [Edge(a.name, b.name, (0, a.size), (0, b.size)) for a in groups[::5] for b in groups[::3]]
    agree(tmp_path, LOIHI, groups, edges, raster(5, groups, 4, 0.5), updates)


@needs_sanafe
@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 28, 29])
def test_the_barrier_is_that_of_the_mapped_tiles(tmp_path, tiles):
    groups = [Group(f"g{tile}", 4 * tile, 2) for tile in range(tiles)]
    agree(tmp_path, LOIHI, groups, [], raster(6, groups, 3, 0.3), "sent")


@needs_sanafe
@both
def test_more_neurons_on_a_core_than_a_unit_of_sanafe_has_room_for(tmp_path, updates):
    groups = [Group("a", 2, 1000), Group("b", 2, 1500), Group("c", 3, 4)]
    edges = [
        Edge("a", "b", (990, 1000), (0, 1500)),
        Edge("b", "c", (20, 1500), (0, 4)),
        Edge("c", "b", (0, 4), (1400, 1404), one_to_one=True),
    ]
    agree(tmp_path, LOIHI, groups, edges, raster(7, groups, 5, 0.2), updates)


@needs_sanafe
@both
def test_the_steps_come_in_their_order(tmp_path, updates):
    groups, edges = scattered(8, LOIHI, cores=5, edges=9)
    sent = raster(9, groups, 6, 0.5)
    write(tmp_path, LOIHI, groups, edges, sent, updates=updates)
    for steps in (1, 2, 5):
        (tmp_path / "simulation.json").write_text(json.dumps({"steps": steps}), encoding="utf-8")
        totals = run(tmp_path, timeout=50)
        counts, _, time_s = expected(LOIHI, groups, edges, sent[:steps], updates)
        assert {name: getattr(totals, name) for name in counts} == counts
        assert totals.time_s == pytest.approx(time_s, rel=1e-9, abs=0)


@needs_sanafe
def test_one_to_one_counts_one_event_where_dense_counts_all(tmp_path):
    groups = [Group("a", 0, 6), Group("b", 8, 8)]
    pairs = Edge("a", "b", (1, 5), (4, 8), one_to_one=True)
    sent = np.ones((1, 14), dtype=bool)
    one = agree(tmp_path / "one", LOIHI, groups, [pairs], sent, "sent")
    dense = agree(tmp_path / "dense", LOIHI, groups, [replace(pairs, one_to_one=False)], sent, "sent")
    assert (one.synaptic_events, dense.synaptic_events) == (4, 16)
    assert one.messages == dense.messages == 4


@needs_sanafe
def test_what_sanafe_says_when_it_fails_is_in_the_error(tmp_path):
    write(tmp_path, LOIHI, [Group("a", 0, 1)], [], np.ones((1, 1), dtype=bool))
    (tmp_path / "net.yaml").write_text("network: {name: x, groups: []}\n", encoding="utf-8")
    with pytest.raises(SimulatorError, match="edges"):
        run(tmp_path, timeout=50)


@needs_sanafe
def test_an_older_run_in_the_folder_leaves_nothing_behind(tmp_path):
    old = [Group("a", 0, 3), Group("b", 1, 3)]
    write(tmp_path, LOIHI, old, [], np.ones((2, 6), dtype=bool), updates="all")
    with pytest.raises(OutputExistsError, match="overwrite"):
        write(tmp_path, LOIHI, old[:1], [], np.ones((1, 3), dtype=bool))
    write(tmp_path, LOIHI, old[:1], [], np.ones((1, 3), dtype=bool), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arch.yaml", "net.yaml", "simulation.json"]
    assert run(tmp_path, timeout=50).updated == 3


def interpreter(folder, text):
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_an_interpreter_without_sanafe_is_told_which_extra(tmp_path):
    write(tmp_path / "run", LOIHI, [Group("a", 0, 1)], [], np.ones((1, 1), dtype=bool))
    without = interpreter(tmp_path, f'exec env -u PYTHONPATH "{sys.executable}" -S "$@"')
    with pytest.raises(MissingExtraError, match=r"dyadic-neuro\[sanafe\]"):
        run(tmp_path / "run", timeout=50, python=without)


def test_a_run_past_its_deadline_is_ended(tmp_path):
    write(tmp_path / "run", LOIHI, [Group("a", 0, 1)], [], np.ones((1, 1), dtype=bool))
    with pytest.raises(SimulatorTimeoutError, match=r"1 steps within 0\.2 s"):
        run(tmp_path / "run", timeout=0.2, python=interpreter(tmp_path, "exec sleep 30"))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"updates": "none"}, OptionError, "updates"),
        ({"groups": []}, NetworkError, "none"),
        ({"groups": [Group("a", 0, 2), Group("a", 1, 2)]}, NetworkError, "twice"),
        ({"groups": [Group("a", 0, 4), Group("b", 1, 0)]}, NetworkError, "size 0"),
        ({"groups": [Group("a", 128, 2), Group("b", 1, 2)]}, NetworkError, "0 to 127"),
        ({"edges": [Edge("a", "c", (0, 1), (0, 1))]}, UnknownNameError, "'c'"),
        ({"edges": [Edge("a", "b", (0, 3), (0, 1))]}, NetworkError, r"\[0, 2\)"),
        ({"edges": [Edge("a", "b", (1, 1), (0, 1))]}, NetworkError, r"span \[1, 1\)"),
        ({"edges": [Edge("a", "b", (0, 2), (0, 1), one_to_one=True)]}, NetworkError, "one length"),
        ({"sent": np.ones((2, 5), dtype=bool)}, DataError, "4"),
        ({"sent": np.ones((0, 4), dtype=bool)}, DataError, "no step"),
        ({"sent": np.full((2, 4), 0.5)}, DataError, "bool"),
    ],
)
def test_a_wrong_description_is_refused_before_anything_is_written(tmp_path, change, error, words):
    given = {"machine": LOIHI, "groups": [Group("a", 0, 2), Group("b", 1, 2)], "edges": [], "sent": np.ones((2, 4), dtype=bool)}
    with pytest.raises(error, match=words):
        write(tmp_path / "run", **{**given, **change})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [({"rows": 0}, "rows"), ({"hop_x_j": -1.0}, "hop_x_j"), ({"sync": ((2, 1e-6),)}, "start at 1"), ({"sync": ()}, "sync")],
)
def test_a_wrong_machine_is_refused(change, words):
    with pytest.raises(OptionError, match=words):
        replace(LOIHI, **change)


def test_a_folder_without_a_run_and_a_file_for_a_folder(tmp_path):
    with pytest.raises(FileError, match="write the run first"):
        run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        write(tmp_path / "file", LOIHI, [Group("a", 0, 1)], [], np.ones((1, 1), dtype=bool))
    (tmp_path / "simulation.json").write_text(json.dumps({"steps": 1}))
    with pytest.raises(OptionError, match="interpreter"):
        run(tmp_path, python=tmp_path / "file")
    with pytest.raises(OptionError, match="threads"):
        run(tmp_path, threads=0)
