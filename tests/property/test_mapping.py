"""Networks on chips: however they are cut, packed, divided and placed, they compute the same, and what is counted happened."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.errors import CapacityError
from dyadic_neuro.mappings.copies import copies
from dyadic_neuro.mappings.mapping import Mapping, map_network
from dyadic_neuro.mappings.pipeline import Pipeline
from dyadic_neuro.quantity import Quantity
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.testing import chips, networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

EXACT = 1e-12
NETWORKS = st.one_of(chains(4), dags(4), dags(4, parts=True))
SCHEDULES = st.sampled_from(["free", "wavefront"])
OBJECTIVES = st.sampled_from(["cores", "latency"])
# each maps a network, and some run it core by core, several times
FEW = settings(deadline=None, max_examples=min(40, settings().max_examples))


def mapped(network, seed, objective):
    """Return a mapping of the network on a random small chip; networks that do not fit are passed over."""
    try:
        return map_network(network, chips.chip(seed), objective=objective, seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise


def assert_close(found, wanted, tolerance=EXACT):
    assert set(found) == set(wanted)
    size = max(1.0, *(float(np.abs(values).max()) for values in wanted.values()))
    for key, right in wanted.items():
        assert found[key].shape == right.shape
        assert np.abs(found[key] - right).max() <= tolerance * size, key


@FEW
@given(NETWORKS, SEEDS, OBJECTIVES)
def test_every_mapping_passes_the_independent_check(network, seed, objective):
    mapping = mapped(network, seed, objective)
    mapping.verify()
    for resource, cores in mapping.utilization.items():
        assert all(limit is None or used <= limit for used, limit in cores.values()), resource
    assert set(mapping.utilization["neurons"]) == set(mapping.cores)


@FEW
@given(NETWORKS, SEEDS, OBJECTIVES, SCHEDULES, st.sampled_from([1, 3]), st.sampled_from([0.0, 1.0]))
def test_cores_follow_the_reference_at_every_step(network, seed, objective, schedule, batch, scale):
    mapping = mapped(network, seed, objective)
    running = mapping.apply(network)
    x, y = networks.batch(network, seed, batch)
    start = networks.state(running, seed, batch, scale)
    reference = dn.relax(running, x, y, schedule=schedule, initial=start)
    gradients = dn.backprop(network, x, y)
    for fast in (False, True):
        backend = dn.backends.MappedChip(mapping, fast=fast)
        trace = dn.relax(network, x, y, backend=backend, schedule=schedule, initial=start)
        assert trace.steps == running.relaxation_steps
        assert_close(trace.potentials, reference.potentials)
        assert_close(trace.sensitivities, reference.sensitivities)
        assert_close(trace.gradients, gradients)


@FEW
@given(NETWORKS, SEEDS, OBJECTIVES, SCHEDULES, st.integers(1, 9))
def test_what_cores_count_is_what_the_mapping_predicts(network, seed, objective, schedule, steps):
    mapping = mapped(network, seed, objective)
    x, y = networks.batch(network, seed, 2)
    order = prepare(network, x, y, running=mapping.apply(network), schedule=schedule, steps=steps)
    with dn.backends.MappedChip(mapping).open(network) as session:
        slow = session.relax(order).cost
        for t, counts in enumerate(session.counts, 1):
            assert counts.same_as(mapping.counter.scheduled(order.schedule, t))
    with dn.backends.MappedChip(mapping, fast=True).open(network) as session:
        assert session.relax(order).cost == slow


@FEW
@given(NETWORKS, SEEDS, OBJECTIVES, SCHEDULES, st.booleans())
def test_cores_learn_what_the_reference_learns(network, seed, objective, schedule, fast):
    mapping = mapped(network, seed, objective)
    x, y = networks.batch(network, seed, 4)
    options = {"epochs": 2, "batch_size": 2, "learning_rate": 0.05, "schedule": schedule}
    wanted = dn.train(network, (x, y), **options)
    found = dn.train(network, (x, y), backend=dn.backends.MappedChip(mapping, fast=fast), **options)
    assert_close(found.network.parameters, wanted.network.parameters, 1e-11)
    for key, both in wanted.copies.items():
        if both.backward is not None:
            assert np.abs(found.copies[key].backward - both.backward).max() <= 1e-11


@FEW
@given(NETWORKS, SEEDS, OBJECTIVES, SCHEDULES, st.booleans(), st.sampled_from([0.5, 1.0, 1.5]), st.integers(1, 3))
def test_cores_learn_in_any_window_and_at_any_step_size(network, seed, objective, schedule, fast, alpha, length):
    mapping = mapped(network, seed, objective)
    assume(not mapping.division.divided)
    x, y = networks.batch(network, seed, 3)
    wave = schedule == "wavefront"
    clock = (1.0, length * network.relaxation_steps) if wave else (alpha, length + network.depth)
    lesson = _lesson(network, x, y, schedule, *clock)
    with dn.backends.MappedChip(mapping, fast=fast).open(network) as session, dn.backends.Reference().open(network) as other:
        for found, wanted in zip(session.learn(lesson, print), other.learn(lesson, print), strict=True):
            assert_close(found.parameters, wanted.parameters, 1e-11)
            assert found.messages.total() == wanted.messages.total()


@FEW
@given(NETWORKS, SEEDS, SCHEDULES)
def test_cores_count_the_synapses_that_learn(network, seed, schedule):
    mapping = mapped(network, seed, "cores")
    x, y = networks.batch(network, seed, 2)
    learned, window = [], mapping.apply(network).relaxation_steps
    for fast in (False, True):
        backend = dn.backends.MappedChip(mapping, fast=fast)
        with backend.open(network) as session:
            epochs = list(session.learn(_lesson(network, x, y, schedule, 1.0, window), lambda _: None))
            learned.append([epoch.cost for epoch in epochs])
            if not fast:
                assert np.array_equal(session.learned, mapping.counter.learning)
    assert learned[0] == learned[1]
    plastic = sum(network.parameters[key].size for key in network.plastic if not key.endswith(".bias"))
    biases = sum(network.parameters[key].size for key in network.plastic if key.endswith(".bias"))
    back = sum(p.weights.size for p in network.projections if p.plastic and p.source != network.input)
    if not mapping.division.divided:
        assert mapping.counter.learning.sum() == plastic + back + biases


def _lesson(network, x, y, schedule, alpha, window):
    from dyadic_neuro.backends.base import Learning
    from dyadic_neuro.dynamics import feedback_copies
    from dyadic_neuro.schedule import Schedule

    order = np.arange(len(x)).reshape(1, len(x), 1)
    return Learning(x, y, order, 0.1, Schedule.of(network, schedule), feedback_copies(network), alpha, window)


@FEW
@given(NETWORKS, SEEDS, OBJECTIVES)
def test_a_mapping_survives_its_file(tmp_path_factory, network, seed, objective):
    mapping = mapped(network, seed, objective)
    path = tmp_path_factory.mktemp("mapping") / "mapping.json"
    mapping.save(path)
    again = Mapping.load(path)
    assert again.chip == mapping.chip
    assert again.fingerprint == mapping.fingerprint
    assert again.network.fingerprint == mapping.network.fingerprint
    assert list(again.slices) == list(mapping.slices)
    assert again.departures == mapping.departures
    assert np.array_equal(again.links.flat(), mapping.links.flat())
    assert again.utilization == mapping.utilization
    x, y = networks.batch(network, seed, 2)
    assert_close(again.restore(again.apply(network).parameters), network.parameters, 0.0)
    assert dn.relax(network, x, y, backend=dn.backends.MappedChip(again)).cost.energy_j > 0


@FEW
@given(NETWORKS, SEEDS)
def test_the_same_seed_gives_the_same_mapping(network, seed):
    one, other = mapped(network, seed, "cores"), mapped(network, seed, "cores")
    assert list(one.slices) == list(other.slices)


@FEW
@given(NETWORKS, SEEDS)
def test_a_specification_maps_like_its_network(network, seed):
    assert list(mapped(network.structure(), seed, "cores").slices) == list(mapped(network, seed, "cores").slices)


@pytest.mark.parametrize("seed", range(20))
def test_a_divided_fan_in_computes_the_same_one_hop_later(seed):
    """Fan-ins of 30 and 40 on cores with 12 axons."""
    rng = np.random.default_rng(seed)
    chip = chips.chip(3)
    room = {"neurons": 12, "input_axons": 12, "output_axons": 400, "synaptic_memory": 64 * 64}
    limits = {name: replace(getattr(chip.limits, name), value=value) for name, value in room.items()}
    mesh = replace(chip.mesh, chip_columns=replace(chip.mesh.chip_columns, value=60))
    chip = replace(chip, limits=replace(chip.limits, **limits), mesh=mesh)
    sizes = [int(n) for n in rng.integers(20, 41, 2)]
    network = dn.Network.dense([sizes[0], sizes[1], 5], "tanh", str(rng.choice(["squared_error", "cross_entropy"])), seed=seed)
    mapping = map_network(network, chip)
    assert mapping.division.divided
    assert mapping.network.depth > network.depth
    x, y = networks.batch(network, seed, 3)
    trace = dn.relax(network, x, y, backend=dn.backends.MappedChip(mapping))
    assert trace.steps == 2 * mapping.network.depth
    assert_close(trace.gradients, dn.backprop(network, x, y))
    with pytest.raises(CapacityError, match="split_fan_in=True"):
        map_network(network, chip, split_fan_in=False)


@FEW
@given(NETWORKS, SEEDS, st.integers(1, 6))
def test_a_pipeline_gives_the_exact_gradients_of_its_samples(network, seed, samples):
    chip = chips.chip(seed)
    chip = replace(chip, limits=replace(chip.limits, state_per_neuron=UNKNOWN, synaptic_memory=UNKNOWN))
    try:
        mapping = map_network(network, chip, pipeline=True, seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
    x, y = networks.batch(network, seed, samples)
    found = dn.stream(network, x, y, backend=dn.backends.MappedChip(mapping))
    assert found.steps == samples - 1 + mapping.network.relaxation_steps
    wanted = dn.backprop(network, x, y)
    assert_close(found.gradients, wanted)
    assert np.abs(found.potentials - dn.predict(network, x)).max() <= EXACT * max(1.0, np.abs(found.potentials).max())
    back = [p.name for p in network.projections if p.plastic and p.source != network.input]
    assert set(back) <= set(found.feedback)
    for name in back:
        assert np.abs(found.feedback[name].T - found.gradients[name]).max() <= EXACT * max(1.0, np.abs(wanted[name]).max())


@FEW
@given(NETWORKS, SEEDS)
def test_the_lines_of_a_pipeline_are_those_whose_memory_is_counted(network, seed):
    """A line has the entries that are counted, and where nothing learns from it the one that has just come beside them."""
    mapping = map_network(network, dn.Chip.load("kapoho-point"), pipeline=True, seed=seed)
    machine = Pipeline(mapping, mapping.apply(network))
    demand, width = mapping.demand, mapping.demand.width("state")
    for stage in machine.cores.values():
        for part in stage.parts:
            if part.potential is not None and network.outgoing[part.name]:
                bare = replace(demand, pipeline=False).state_bits(part.name)
                sums = demand.width("accumulator") * (network.population(part.name).bias is not None)
                targets = (max(1, network.depth) - 1) * width * (part.name == network.output)
                entries = (demand.state_bits(part.name) - bare - sums - targets) // (2 * width)
                assert [line.entries for line in stage.own[id(part)]] == [entries, entries]
        wanted = {}
        for copy in copies(mapping.network):
            held = [p for p in stage.parts if copy.projection in (p.forward if copy.kind == "rate" else p.feedback)]
            if held and any(p.name == copy.target for p in held):
                counted = demand.line_length(copy) + (0 if copy.kind == "rate" and copy.plastic else 1)
                wanted[copy.source, copy.kind] = max(counted, wanted.get((copy.source, copy.kind), 0))
        assert {signal: line.entries for signal, line in stage.came.items()} == wanted


UNKNOWN = Quantity(None, "bit", "left open for a test", "unknown")
