"""Mapping: hand-counted cases, and everything that can be wrong with an order or a file."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.errors import (
    CapacityError,
    CycleError,
    DataError,
    FileError,
    MappingError,
    NetworkError,
    OptionError,
    OutputExistsError,
    SessionClosedError,
    UnknownNameError,
)
from dyadic_neuro.mappings.copies import copies
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.mappings.raster import Raster
from dyadic_neuro.projection import Projection
from dyadic_neuro.quantity import Quantity
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import networks


def small_chip(**limits):
    """Return Loihi 1 with other limits of a core."""
    chip = dn.Chip.load("loihi1")
    changed = {name: replace(getattr(chip.limits, name), value=value) for name, value in limits.items()}
    return replace(chip, limits=replace(chip.limits, **changed))


SPECIFICATION = dn.Network.specification([4, 3, 2], loss="cross_entropy")


# Counted by hand: 4-3-2, a core each, all on one tile


def test_events_of_a_step_by_hand():
    mapping = dn.map_network(SPECIFICATION, "loihi1")
    assert [(s.population, s.start, s.stop) for s in mapping.slices] == [("input", 0, 4), ("hidden1", 0, 3), ("output", 0, 2)]
    assert len(set(mapping.slices.core)) == 3
    counts = mapping.counter.scheduled(Schedule.of(SPECIFICATION, "free"), 1)
    order = [list(mapping.cores).index(core) for core in mapping.slices.core]
    assert list(counts.updated[order]) == [4, 6, 4]  # potentials and sensitivities
    assert list(counts.fired[order]) == [4, 3, 2]  # nobody hears hidden1's sensitivities, nor the readout's rates
    assert list(counts.messages_out[order]) == [4, 3, 2]
    assert list(counts.messages_in[order]) == [0, 4 + 2, 3]
    assert list(counts.synaptic_events[order]) == [0, 4 * 3 + 2 * 3, 3 * 2]
    assert counts.links.hops == (0, 0)
    assert list(mapping.counter.learning[order]) == [0, 12 + 6 + 3, 6 + 2]  # W1, W2^T and biases; W2 and biases


def test_energy_and_time_by_hand():
    cost = dn.map_network(SPECIFICATION, "loihi1").cost()
    neurons = 4 + 6 + 4
    pico = 4 * (neurons * 52 + neurons * 29 + 24 * 23.6 + 9 * 1.7) + 29 * 120
    # a step: the hidden core goes through 6 neurons and sends 3 messages, or receives 18 synaptic events; barrier of a tile
    step = max(6 * 8.4 + 3 * 2.1, 4 * 8.4 + 4 * 2.1, 18 * 3.5) + 113
    nano = 4 * step + 21 * 6.1 + 113
    assert cost.latency_s == pytest.approx(nano * 1e-9, rel=1e-12)
    assert cost.energy_j == pytest.approx(pico * 1e-12 + 0.1044 * nano * 1e-9, rel=1e-3)
    dynamic = sum(part.total_j for part in cost.components if part.name != "static")
    assert dynamic == pytest.approx(pico * 1e-12, rel=1e-12)
    assert not cost.unknown
    assert not cost.unknown_times
    assert any("hypothetical" in line for line in cost.assumptions)
    assert any("float emulation" in line for line in cost.assumptions)


def test_every_part_of_a_cost_is_positive_and_has_a_source():
    network = dn.Network.dense([4, 3, 2], loss="cross_entropy")
    trace = dn.relax(network, np.ones((5, 4)), np.zeros(5, int), backend="chip")
    assert trace.cost.samples == 5
    assert trace.cost.components
    for part in trace.cost.components:
        assert part.count > 0
        assert part.total_j is None or part.total_j > 0
        assert part.each.source
    assert "synaptic_operation" in trace.cost.unknown  # of Loihi 2 no energy of an event is published
    assert "at least" in trace.cost.energy_text
    assert "synaptic_operation" in trace.cost.energy_text
    assert trace.cost.energy_j > 0  # static power
    assert dn.relax(network, np.ones((5, 4)), np.zeros(5, int)).cost is None


def test_a_sample_costs_the_same_in_any_batch():
    network = dn.Network.dense([4, 3, 2])
    mapping = dn.map_network(network, "loihi1")
    costs = [dn.relax(network, np.ones((n, 4)), np.ones((n, 2)), backend=dn.backends.MappedChip(mapping)).cost for n in (1, 7)]
    assert costs[0].energy_j == costs[0].energy_per_sample_j == pytest.approx(costs[1].energy_per_sample_j, rel=1e-12)
    assert costs[1].latency_s == pytest.approx(7 * costs[0].latency_s, rel=1e-12)


def test_wavefront_and_free_differ_in_events_only():
    mapping = dn.map_network(SPECIFICATION, "loihi1")
    events = {s: {p.name: p.count for p in mapping.cost(s).components} for s in ("free", "wavefront")}
    assert events["wavefront"]["message"] == 4 + 3 + 2
    assert events["free"]["message"] == 4 * 9
    assert events["wavefront"]["learning_update"] == events["free"]["learning_update"] == 29


def test_links_of_two_cores_by_hand():
    """6 neurons in the west send to a core 2 tiles east and 1 north: east, east, north."""
    chip = dn.Chip.load("loihi1")
    mapping = dn.map_network(dn.Network.specification([6, 2]), chip)
    west = next(c for c in range(chip.cores) if (chip.x[c], chip.y[c]) == (0, 0))
    east = next(c for c in range(chip.cores) if (chip.x[c], chip.y[c]) == (2, 1))
    slices = mapping.slices.on(np.array([west, east]))
    moved = type(mapping).build(mapping.division, chip, slices, objective="cores", learning=True, pipeline=False, seed=0)
    assert moved.links.hops == (12, 6)
    assert moved.links.east[0, 0] == moved.links.east[0, 1] == moved.links.north[0, 2] == 6
    assert moved.links.busiest() == (6, "east from tile (0, 0)")
    assert sum(moved.links.flat()) == 18
    moved.verify()


def test_flat_links_come_back():
    chip = dn.Chip.load("loihi1", chips=(2, 1))
    loads = np.arange(len(Links.none(chip).flat()))
    assert np.array_equal(Links.from_flat(chip, loads).flat(), loads)


# What fits, and what does not


@pytest.mark.parametrize(
    ("limits", "resource"),
    [
        ({"neurons": 1}, "neurons"),
        ({"synaptic_memory": 64}, "synaptic_memory"),
        ({"core_memory": 100}, "core_memory"),
        ({"state_per_neuron": 8}, "state_per_neuron"),
        ({"input_axons": 2}, "input_axons"),
        ({"output_axons": 1}, "output_axons"),
    ],
)
def test_what_cannot_fit_names_population_resource_need_limit_and_fix(limits, resource):
    with pytest.raises(CapacityError) as raised:
        dn.map_network(SPECIFICATION, small_chip(**limits))
    text = str(raised.value)
    (value,) = limits.values()
    assert raised.value.field.startswith("population ")
    assert resource in text
    assert f"limited to {value}" in text
    assert "use a chip" in raised.value.fix or "use fewer" in raised.value.fix


def test_too_few_cores_name_the_chip_and_the_fix():
    with pytest.raises(CapacityError, match=r"needs at least 283 cores, more than the 128 .* use more chips, about 3"):
        dn.map_network(dn.Network.specification([1000] * 20), "loihi1")
    assert dn.map_network(dn.Network.specification([1000] * 20), dn.Chip.load("loihi1", chips=(3, 2)))


def test_slices_share_cores_only_where_there_are_too_few():
    chip = dn.Chip.load("loihi1")
    two = replace(chip, mesh=replace(chip.mesh, cores=replace(chip.mesh.cores, value=2)))
    shared = dn.map_network(SPECIFICATION, two)
    shared.verify()
    assert len(shared.cores) == 1  # all of it fits on one
    assert len(dn.map_network(SPECIFICATION, chip).cores) == 3


def test_messages_to_two_slices_on_one_core_are_sent_once():
    populations = [dn.Population("input", 5), dn.Population("a", 3, bias=0.0), dn.Population("output", 2, bias=0.0)]
    network = dn.Network.specification(populations, [("input", "a"), ("a", "output"), ("input", "output")])
    chip = dn.Chip.load("loihi1")
    one = replace(chip, mesh=replace(chip.mesh, cores=replace(chip.mesh.cores, value=1)))
    mapping = dn.map_network(network, one)
    mapping.verify()
    counts = mapping.counter.scheduled(Schedule.of(network, "free"), 1)
    assert counts.messages_out.sum() == 5 + 3 + 2
    assert counts.synaptic_events.sum() == 5 * 3 + 5 * 2 + 3 * 2 * 2


def test_a_readout_with_softmax_stays_on_one_core_and_others_may_not():
    chip = small_chip(neurons=20)
    for loss, cores in (("cross_entropy", 1), ("squared_error", 2), ("binary_cross_entropy", 2)):
        network = dn.Network.specification([4, 4, 10 if cores == 1 else 12], loss=loss)
        mapping = dn.map_network(network, chip)
        assert len(np.unique(mapping.slices.core[mapping.slices.of("output")])) == cores
    with pytest.raises(CapacityError, match=r"its readout, which its loss keeps on one core, needs 22"):
        dn.map_network(dn.Network.specification([4, 4, 11], loss="cross_entropy"), chip)


def test_more_cores_make_a_sample_faster():
    network = dn.Network.specification([400, 400, 10], loss="cross_entropy")
    few, fast = (dn.map_network(network, "loihi1", objective=o) for o in ("cores", "latency"))
    assert len(few.cores) < len(fast.cores) <= 128
    assert fast.cost().latency_s < 0.2 * few.cost().latency_s


@pytest.mark.parametrize("sizes", [[2, 12], [3, 17], [7, 6], [40, 30, 20], [12] * 8])
@pytest.mark.parametrize("chip", ["loihi1", "loihi1-sanafe"])
def test_the_objective_latency_is_never_slower(sizes, chip):
    few, fast = (dn.map_network(dn.Network.specification(sizes), chip, objective=o) for o in ("cores", "latency"))
    assert fast.cost().latency_s <= few.cost().latency_s


def test_cores_fill_up_only_as_far_as_they_must():
    """A chain of one population more than there are cores does not end on three of them."""
    whole, more = (dn.map_network(dn.Network.specification([8] * n), "loihi1") for n in (128, 129))
    more.verify()
    assert len(whole.cores) == 128
    assert 64 <= len(more.cores) < 128


def test_axons_that_slices_share_are_counted_once():
    names = [f"a{i}" for i in range(40)] + [f"b{i}" for i in range(40)]
    populations = [dn.Population("input", 1), *(dn.Population(n, 1) for n in names), dn.Population("output", 1)]
    pairs = (
        [("input", n) for n in names[:40]]
        + [(a, b) for a in names[:40] for b in names[40:]]
        + [(n, "output") for n in names[40:]]
    )
    chip = small_chip(output_axons=256)
    one = replace(chip, mesh=replace(chip.mesh, cores=replace(chip.mesh.cores, value=1)))
    mapping = dn.map_network(dn.Network.specification(populations, pairs), one)
    mapping.verify()
    assert mapping.utilization["output_axons"][0][0] <= 256


def test_as_few_chips_as_hold_the_cores_are_used():
    system = dn.Chip.load("loihi1", chips=(2, 2))
    for sizes, chips in (([784, 800, 10], 1), ([784, 4000, 4000, 10], 3)):
        mapping = dn.map_network(dn.Network.specification(sizes, loss="cross_entropy"), system)
        assert mapping.chips_in_use == -(-len(mapping.cores) // 128) == chips


def test_a_mapping_without_room_for_learning_does_not_learn():
    network = dn.Network.dense([4, 3, 2], loss="cross_entropy")
    mapping = dn.map_network(network, "loihi1", learning=False)
    for fast in (False, True):
        with pytest.raises(OptionError, match="learning=True"):
            dn.train(network, (np.ones((2, 4)), np.zeros(2, int)), backend=dn.backends.MappedChip(mapping, fast=fast))
    with pytest.raises(OptionError, match="learning=True"):
        mapping.cost(learning=True)
    assert mapping.cost().learning_s == 0


def test_an_energy_is_a_bound_where_a_time_is():
    chip = dn.Chip.load("loihi1")
    slow = replace(chip, latency=replace(chip.latency, learning_update=replace(UNKNOWN, unit="s")))
    whole, part = (dn.map_network(SPECIFICATION, c).cost() for c in (chip, slow))
    assert part.energy_j < whole.energy_j
    assert part.unknown == ("static during learning_update",)
    assert part.energy_text.startswith("at least")


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_a_core_knows_only_what_packets_brought(schedule, monkeypatch):
    """Deafen the cores to one signal after the other: the gradients are wrong, or undefined."""
    from dyadic_neuro.mappings import cores

    network = networks.chain(3, 3, activation="tanh")
    backend = dn.backends.MappedChip(dn.map_network(network, "loihi1"))
    x, y = networks.batch(network, 0, 2)
    exact = dn.backprop(network, x, y)
    heard = cores.Core.receive
    signals = {(c.source, c.kind) for c in copies(network)}
    assert len(signals) == 5
    for signal in signals:
        monkeypatch.setattr(cores.Core, "receive", lambda core, p, s=signal: None if p.signal == s else heard(core, p))
        with np.errstate(all="ignore"):
            found = dn.relax(network, x, y, backend=backend, schedule=schedule).gradients
        assert not all(np.allclose(found[key], exact[key], rtol=0, atol=1e-9) for key in exact), signal


def test_records_of_a_mapping_are_read_only():
    mapping = dn.map_network(SPECIFICATION, "loihi1", objective="latency")
    cost = mapping.cost()
    copied = pickle.loads(pickle.dumps(mapping))
    assert copied.cost() == cost
    for found in (mapping, copied):
        for array in (found.slices.core, found.synapses.row_stop, found.routes.core):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
    with pytest.raises(ValueError, match="read-only"):
        mapping.links.east[...] = 0


@pytest.mark.parametrize("options", [{"learning": "no"}, {"pipeline": None}, {"split_fan_in": 1}, {"learning": np.bool_(1)}])
def test_switches_are_true_or_false(options):
    with pytest.raises(OptionError):
        dn.map_network(SPECIFICATION, "loihi1", **options)


def test_a_chip_or_a_mapping():
    mapping = dn.map_network(SPECIFICATION, "loihi1")
    for wrong in ({"chip": "loihi2"}, {"fast": "yes"}):
        with pytest.raises(OptionError):
            dn.backends.MappedChip(mapping, **wrong)
    with pytest.raises(UnknownNameError):
        dn.backends.MappedChip(chip="loihi3")
    with pytest.raises(FileError):
        dn.backends.MappedChip(chip="")


def test_a_pipeline_takes_memory_and_gives_throughput():
    network = dn.Network.specification([60, 50, 40, 10], loss="cross_entropy")
    plain, piped = (dn.map_network(network, "loihi2", pipeline=p) for p in (False, True))
    memory = [sum(used for used, _ in m.utilization["core_memory"].values()) for m in (plain, piped)]
    assert memory[1] > memory[0]
    assert len(piped.cost("pipeline").steps_s) == 1
    assert piped.cost("pipeline").latency_per_sample_s < plain.cost().latency_per_sample_s
    with pytest.raises(OptionError, match="pipeline=True"):
        plain.cost("pipeline")


def test_a_network_with_a_cycle_is_mapped_and_relaxes():
    rng = np.random.default_rng(0)
    populations = [dn.Population("input", 3), dn.Population("a", 4, "tanh", 0.0), dn.Population("output", 2, bias=0.0)]
    pairs = [("input", "a"), ("a", "output"), ("output", "a")]
    sizes = {p.name: p.size for p in populations}
    weights = [Projection(a, b, rng.normal(size=(sizes[b], sizes[a])) * 0.3) for a, b in pairs]
    network = dn.Network(populations, weights)
    mapping = dn.map_network(network, "loihi1")
    mapping.verify()
    assert mapping.departures == ()
    x, y = np.ones((2, 3)), np.ones((2, 2))
    found = dn.relax(network, x, y, steps=30, backend=dn.backends.MappedChip(mapping))
    wanted = dn.relax(network, x, y, steps=30)
    assert np.allclose(found.sensitivities["a"], wanted.sensitivities["a"], rtol=0, atol=1e-12)
    with pytest.raises(CycleError):
        dn.map_network(network, "loihi1", pipeline=True)


# Orders that are wrong


@pytest.mark.parametrize(
    ("options", "error", "field"),
    [
        ({"objective": "speed"}, OptionError, "objective"),
        ({"seed": -1}, OptionError, "seed"),
        ({"seed": True}, OptionError, "seed"),
        ({"chip": "loihi3"}, UnknownNameError, None),
        ({"chip": "/nowhere/chip.toml"}, FileError, None),
        ({"network": [4, 3, 2]}, OptionError, "network"),
    ],
)
def test_wrong_orders(options, error, field):
    order = {"network": SPECIFICATION, "chip": "loihi1"} | options
    with pytest.raises(error) as raised:
        dn.map_network(order.pop("network"), order.pop("chip"), **order)
    assert field is None or raised.value.field == field


def test_a_mapping_is_for_one_structure():
    mapping = dn.map_network(SPECIFICATION, "loihi1")
    other = dn.Network.dense([4, 3, 3], loss="cross_entropy")
    backend = dn.backends.MappedChip(mapping)
    x, y = np.ones((1, 4)), np.zeros(1, int)
    for use in (
        lambda: dn.relax(other, x, y, backend=backend),
        lambda: dn.train(other, (x, y), backend=backend),
        lambda: backend.open(other),
        lambda: mapping.apply(other),
        lambda: dn.stream(other, x, y, backend=backend),
    ):
        with pytest.raises(MappingError, match=mapping.fingerprint):
            use()
    dn.relax(dn.Network.dense([4, 3, 2], loss="cross_entropy", seed=5), x, y, backend=backend)  # other weights are fine


def test_what_is_no_mapping():
    with pytest.raises(OptionError, match="map_network"):
        dn.backends.MappedChip("mapping.json")


def test_a_pipeline_needs_a_mapping_for_it():
    network = dn.Network.dense([4, 3, 2], loss="cross_entropy")
    x, y = np.ones((2, 4)), np.zeros(2, int)
    with pytest.raises(OptionError, match="pipeline=True"):
        dn.stream(network, x, y, backend=dn.backends.MappedChip(dn.map_network(network, "loihi2")))
    with pytest.raises(OptionError, match="no pipeline"):
        dn.stream(network, x, y, backend="reference")
    piped = dn.backends.MappedChip(dn.map_network(network, "loihi2", pipeline=True))
    with pytest.raises(DataError):
        dn.stream(network, np.ones((2, 5)), y, backend=piped)
    with pytest.raises(NetworkError, match="with_parameters"):
        dn.stream(network.structure(), x, y, backend=piped)
    session = piped.open(network)
    session.close()
    with pytest.raises(SessionClosedError):
        session.stream(x, np.eye(2))


def test_a_line_that_is_one_entry_shorter_is_too_short(monkeypatch):
    from dyadic_neuro.mappings import pipeline

    network = dn.Network.dense([4, 3, 3, 2], loss="cross_entropy")
    backend = dn.backends.MappedChip(dn.map_network(network, "loihi2", pipeline=True))
    x, y = np.random.default_rng(0).normal(size=(9, 4)), np.zeros(9, int)
    dn.stream(network, x, y, backend=backend)
    whole = pipeline.Line
    monkeypatch.setattr(pipeline, "Line", lambda entries: whole(entries - 1 if entries > 1 else entries))
    with pytest.raises(IndexError):
        dn.stream(network, x, y, backend=backend)


def test_the_lines_of_a_pipeline_are_as_long_as_counted():
    """DESIGN's facts: D + height - depth + 1 entries of phi' and r in a dyad, D + height(v) - depth(k) + 1 on an axon."""
    network = dn.Network.specification([4, 3, 5, 2], loss="cross_entropy")
    demand = dn.map_network(network, "loihi2", pipeline=True).demand
    lengths = {(c.projection, c.kind): demand.line_length(c) for c in copies(network)}
    assert lengths["input->hidden1", "rate"] == 3 + 2 - 0 + 1
    assert lengths["hidden1->hidden2", "rate"] == 3 + 1 - 1 + 1
    assert lengths["hidden2->output", "rate"] == 3 + 0 - 2 + 1
    assert lengths["hidden1->hidden2", "sensitivity"] == lengths["hidden2->output", "sensitivity"] == 0
    width = 24
    assert demand.state_bits("hidden1") == (3 + 2 * (3 + 2 - 1 + 1)) * width + accumulator(demand)
    assert demand.state_bits("output") == (3 + 3) * width + accumulator(demand)


def accumulator(demand):
    value = demand.chip.widths.accumulator.value
    return 32 if value is None else value


def test_rasters_of_a_wrong_shape():
    raster = Raster(dn.map_network(SPECIFICATION, "loihi1"))
    for wrong in (np.zeros((3, 4), bool), np.zeros((3, raster.neurons)), np.zeros(raster.neurons, bool)):
        with pytest.raises(DataError, match=str(raster.neurons)):
            raster.count(wrong)


# Files


def test_a_file_is_readable_and_has_a_line_for_every_slice(tmp_path):
    path = tmp_path / "mapping.json"
    dn.map_network(dn.Network.specification([40, 30, 2]), small_chip(neurons=20)).save(path)
    text = path.read_text()
    assert '    ["hidden1", 0, 10, ' in text
    assert json.loads(text)["fingerprint"] == dn.Network.specification([40, 30, 2]).fingerprint
    with pytest.raises(OutputExistsError):
        dn.map_network(SPECIFICATION, "loihi1").save(path)
    assert path.read_text() == text
    dn.map_network(SPECIFICATION, "loihi1").save(path, overwrite=True)
    assert dn.Mapping.load(path).fingerprint == SPECIFICATION.fingerprint


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('["hidden1", 0, 3', '["hidden1", 0, 2'),
        lambda text: text.replace('"value": 1024', '"value": 4096'),
        lambda text: text.replace('"seed": 0', '"seed": 1'),
        lambda text: text.replace('"kind": "mapping"', '"kind": "network"'),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda _: "[1, 2]",
        lambda _: "",
        lambda _: "\x00\x01",
        lambda _: "[" * 100_000,
        lambda text: text.replace(text[text.index('"digest"') :], '"digest": "0"}'),
    ],
)
def test_edited_and_truncated_files_are_refused(tmp_path, damage):
    path = tmp_path / "mapping.json"
    dn.map_network(SPECIFICATION, "loihi1").save(path)
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    with pytest.raises(FileError, match="mapping"):
        dn.Mapping.load(path)


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(FileError):
            dn.Mapping.load(path)
    with pytest.raises(FileError, match="folder"):
        dn.map_network(SPECIFICATION, "loihi1").save(tmp_path / "no" / "folder.json")


def test_a_well_formed_file_that_contradicts_itself_is_refused(tmp_path):
    """With a digest that fits: what a program of someone else's could write."""
    from dyadic_neuro.mappings import files

    path = tmp_path / "mapping.json"
    dn.map_network(SPECIFICATION, "loihi1").save(path)
    record = json.loads(path.read_text())
    record.pop("digest")
    for change in (
        {"slices": [["nowhere", 0, 4, 0]]},
        {"slices": [["input", 0, 4]]},
        {"slices": [["input", 0, 4, 10**6], ["hidden1", 0, 3, 1], ["output", 0, 2, 2]]},
        {"slices": [["input", 0, 4, -1], ["hidden1", 0, 3, 1], ["output", 0, 2, 2]]},
        {"slices": [["input", 0, 4, 0.7], ["hidden1", 0, 3, 1], ["output", 0, 2, 2]]},
        {"slices": [["input", 0, 3, 0], ["hidden1", 0, 3, 1], ["output", 0, 2, 2]]},
        {"slices": [["input", 0, 4, 0], ["hidden1", 0, 2, 1], ["output", 0, 2, 2]]},
        {"slices": [["input", 0, 4, 0]]},
        {"learning": "no"},
        {"seed": None},
        {"objective": 5},
        {"fingerprint": "0"},
        {"network": {}},
        {"chip": {"name": "x"}},
    ):
        changed = record | change
        path.write_text(json.dumps({**changed, "digest": files._digest(changed)}))
        with pytest.raises(FileError):
            dn.Mapping.load(path)


def test_functions_of_the_users_own_are_mapped_but_not_written(tmp_path):
    own = (np.tanh, lambda u: 1 - np.tanh(u) ** 2)
    network = dn.Network.dense([3, 4, 2], activation=own)
    mapping = dn.map_network(network, "loihi1")
    with pytest.raises(NetworkError, match="of your own"):
        mapping.save(tmp_path / "mapping.json")
    x, y = networks.batch(network, 0, 2)
    found = dn.relax(network, x, y, backend=dn.backends.MappedChip(mapping)).gradients
    assert np.allclose(found["input->hidden1"], dn.backprop(network, x, y)["input->hidden1"], rtol=0, atol=1e-12)


UNKNOWN = Quantity(None, "J", "left open for a test", "unknown")


def test_an_unknown_energy_is_never_zero_nor_another_chips():
    chip = dn.Chip.load("loihi1")
    less = replace(chip, energy=replace(chip.energy, synaptic_operation=UNKNOWN))
    whole, part = (dn.map_network(SPECIFICATION, c).cost() for c in (chip, less))
    assert part.unknown == ("synaptic_operation",)
    missing = next(p.total_j for p in whole.components if p.name == "synaptic_operation")
    assert part.energy_j == pytest.approx(whole.energy_j - missing, rel=1e-12)
    assert part.energy_text.startswith("at least")
