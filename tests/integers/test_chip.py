"""Integers on chips: however a network is cut, divided and placed, and its messages are coded, the bits are the reference's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.codings import BitSerial, Delta, Graded, Rate
from dyadic_neuro.dynamics import State, feedback_copies
from dyadic_neuro.errors import CapacityError, NetworkError, OptionError, SaturationError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.cost import price
from dyadic_neuro.mappings.mapping import Mapping, map_network
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import chips, networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

NETWORKS = st.one_of(chains(3), dags(3, parts=True))
SCHEDULES = st.sampled_from(["free", "wavefront"])
EXACT = st.sampled_from([Graded(), Delta(), BitSerial()])
CODINGS = st.one_of(EXACT, st.sampled_from([Delta(9), Rate(8), Rate(4, "lif")]))
FORMATS = st.builds(
    dn.FixedFormat,
    weight_bits=st.integers(4, 8),
    message_bits=st.integers(4, 12),
    state_bits=st.integers(12, 24),
    rounding=st.sampled_from(["nearest", "stochastic"]),
    seed=st.integers(0, 2**63 - 1),
)
# networks are drawn from seeds, which do not become simpler by being smaller
PHASES = [phase for phase in Phase if phase is not Phase.shrink]
FEW = settings(deadline=None, max_examples=min(20, settings().max_examples), phases=PHASES)
SLOW = settings(FEW, max_examples=min(10, settings().max_examples))  # each runs spike by spike, several times


def mapped(network, seed):
    """Return a mapping of the network on a random small chip; networks that do not fit are passed over."""
    try:
        return map_network(network, chips.chip(seed), objective="latency" if seed % 2 else "cores", seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise


def quantized(network, form, seed, batch=2):
    """Return the network in integers, calibrated or not, with data; what the accumulator cannot hold is passed over."""
    x, y = networks.batch(network, seed, batch)
    try:
        return dn.quantize(network, form, (x, y) if seed % 3 else None), x, y
    except NetworkError:
        assume(False)  # noqa: FBT003
        raise


def integers(network, seed, batch):
    """Return a random state of integers."""
    rng = np.random.default_rng(seed)

    def drawn(scale, size):
        return rng.integers(scale.lowest, scale.highest, (batch, size), endpoint=True)

    scales = network.scales
    potentials = {p.name: drawn(scales[p.name].potential, p.size) for p in network.dynamic}
    return State(potentials, {p.name: drawn(scales[p.name].sensitivity, p.size) for p in network.dynamic})


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for key, right in wanted.items():
        assert np.array_equal(found[key], right), key


def assert_same_lessons(found, wanted):
    assert_same(found.network.parameters, wanted.network.parameters)
    assert found.network.updates == wanted.network.updates
    assert [line.loss for line in found.history] == [line.loss for line in wanted.history]
    for key, copies in wanted.copies.items():
        assert (copies.backward is None) == (found.copies[key].backward is None)
        assert copies.backward is None or np.array_equal(found.copies[key].backward, copies.backward)


@FEW
@given(NETWORKS, FORMATS, SEEDS, SCHEDULES, CODINGS, st.booleans())
def test_cores_have_the_bits_of_the_reference_at_every_step(network, form, seed, schedule, coding, zero):
    mapping = mapped(network, seed)
    fixed, x, y = quantized(network, form, seed)
    running = mapping.apply(fixed)
    options = {"schedule": schedule, "coding": coding, "initial": None if zero else integers(running, seed, 2)}
    wanted = dn.relax(running, x, y, **options)
    found = dn.relax(fixed, x, y, backend=dn.backends.MappedChip(mapping), **options)
    assert_same(found.potentials, wanted.potentials)
    assert_same(found.sensitivities, wanted.sensitivities)
    assert_same(found.gradients, mapping.restore(wanted.gradients))
    assert list(found.messages) == list(wanted.messages)
    assert found.saturations == wanted.saturations
    last = dn.relax(fixed, x, y, backend=dn.backends.MappedChip(mapping), record="last", **options)
    assert last.messages.total() == found.messages.total()
    assert last.cost == found.cost


@SLOW
@given(NETWORKS, FORMATS, SEEDS, SCHEDULES, CODINGS)
def test_cores_learn_the_bits_that_the_reference_learns(network, form, seed, schedule, coding):
    mapping = mapped(network, seed)
    assume(coding.fitted({"a message": 8}).exact or not mapping.division.divided)
    fixed, x, y = quantized(network, form, seed, 4)
    options = {"epochs": 2, "batch_size": 2, "learning_rate": 0.1, "weight_decay": 0.1, "schedule": schedule, "coding": coding}
    wanted = dn.train(fixed, (x, y), **options)
    found = dn.train(fixed, (x, y), backend=dn.backends.MappedChip(mapping), **options)
    assert_same_lessons(found, wanted)
    if not mapping.division.divided:
        assert [line.messages for line in found.history] == [line.messages for line in wanted.history]
        assert found.saturations == wanted.saturations
    if coding.exact:
        for copies in found.copies.values():
            assert copies.backward is None or np.array_equal(copies.forward, copies.backward.T)


@FEW
@given(NETWORKS, FORMATS, SEEDS, SCHEDULES)
def test_whole_layers_have_the_bits_of_cores(network, form, seed, schedule):
    mapping = mapped(network, seed)
    fixed, x, y = quantized(network, form, seed)
    slow, fast = (
        dn.relax(fixed, x, y, backend=dn.backends.MappedChip(mapping, fast=fast), schedule=schedule) for fast in (False, True)
    )
    assert_same(fast.potentials, slow.potentials)
    assert_same(fast.gradients, slow.gradients)
    assert (fast.cost, fast.saturations) == (slow.cost, slow.saturations)


@pytest.mark.parametrize(("seed", "coding"), [(0, "graded"), (1, "graded"), (2, "delta"), (3, "bit_serial")])
def test_a_divided_fan_in_has_the_bits_of_the_whole_one(seed, coding):
    """Fan-ins of 13 to 20 on cores with 12 axons: partial sums and relays travel whole."""
    rng, chip = np.random.default_rng(seed), chips.chip(3)
    room = {"neurons": 12, "input_axons": 12, "output_axons": 400, "synaptic_memory": 64 * 64}
    limits = {name: replace(getattr(chip.limits, name), value=value) for name, value in room.items()}
    mesh = replace(chip.mesh, chip_columns=replace(chip.mesh.chip_columns, value=60))
    chip = replace(chip, limits=replace(chip.limits, **limits), mesh=mesh)
    network = dn.Network.dense([*(int(n) for n in rng.integers(13, 21, 2)), 4], "tanh", "cross_entropy", seed=seed)
    fixed, x, y = quantized(network, dn.FixedFormat(rounding="stochastic", seed=seed), seed + 1, 4)
    mapping = map_network(fixed, chip)
    assert mapping.division.divided
    chosen = {"backend": dn.backends.MappedChip(mapping), "coding": coding}
    trace = dn.relax(fixed, x, y, **chosen)
    assert_same(trace.gradients, dn.relax(fixed, x, y).gradients)
    assert any("partial sums travel whole" in text for text in trace.cost.assumptions)
    options = {"batch_size": 2, "learning_rate": 0.5}
    assert_same_lessons(dn.train(fixed, (x, y), **options, **chosen), dn.train(fixed, (x, y), **options))


def cut(network, counts, seed):
    """Return a mapping with populations in so many slices, on cores drawn at random."""
    whole = map_network(network, "loihi2")
    slices = Slices.cut(whole.slices.names, [p.size for p in network.populations], counts)
    cores = np.random.default_rng(seed).permutation(128)[: len(slices)]
    how = {"objective": "cores", "learning": True, "pipeline": False, "seed": 0}
    mapping = Mapping.build(whole.division, whole.chip, slices.on(cores), **how)
    mapping.verify()
    return mapping


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
@pytest.mark.parametrize("coding", [Delta(40), BitSerial(), Rate(16, "poisson", seed=2), Rate(16, "lif")])
def test_each_coding_sends_from_slices_what_whole_populations_send(coding, schedule):
    network = dn.Network.dense([4, 5, 3], "tanh", "cross_entropy", seed=3)
    fixed, x, y = quantized(network, dn.FixedFormat(), 1, 6)
    options = {"schedule": schedule, "coding": coding}
    lesson = {"epochs": 2, "batch_size": 3, "learning_rate": 0.5} | options
    wanted, learned = dn.relax(fixed, x, y, **options), dn.train(fixed, (x, y), **lesson)
    for counts in ([1, 1, 1], [4, 3, 1]):
        backend = dn.backends.MappedChip(cut(network, counts, 2))
        found = dn.relax(fixed, x, y, backend=backend, **options)
        assert_same(found.potentials, wanted.potentials)
        assert_same(found.gradients, wanted.gradients)
        assert list(found.messages) == list(wanted.messages)
        lessons = dn.train(fixed, (x, y), backend=backend, **lesson)
        assert_same_lessons(lessons, learned)
        assert [line.messages for line in lessons.history] == [line.messages for line in learned.history]


def test_both_copies_are_bit_identical_after_1000_stochastic_updates_on_three_mappings():
    network = dn.Network.dense([4, 5, 3], "tanh", "cross_entropy", seed=3)
    x, y = networks.batch(network, 3, 8)
    fixed = dn.quantize(network, dn.FixedFormat(rounding="stochastic", seed=7), (x, y))
    options = {"epochs": 250, "batch_size": 2, "learning_rate": 0.02, "seed": 5}
    results = [dn.train(fixed, (x, y), **options)]
    for counts in ([1, 1, 1], [2, 3, 1], [4, 5, 1]):
        backend = dn.backends.MappedChip(cut(network, counts, sum(counts)))
        results.append(dn.train(fixed, (x, y), backend=backend, schedule="wavefront", **options))
    for found in results:
        assert found.network.updates == 1000
        assert_same_lessons(found, results[0])
        copies = found.copies["hidden1->output"]
        assert np.array_equal(copies.forward, copies.backward.T)
        assert np.array_equal(copies.forward, found.network.parameters["hidden1->output"])
    changed = [np.count_nonzero(results[0].network.parameters[key] != fixed.parameters[key]) for key in fixed.plastic]
    assert min(changed) > 0


# What is counted


def neurons(network, signals):
    return sum(network.population(name).size for name, _ in signals)


@FEW
@given(chains(3), FORMATS, SEEDS, SCHEDULES, st.sampled_from([Delta(), Delta(3), BitSerial(), Rate(8)]))
def test_cores_count_the_messages_that_the_reference_sends(network, form, seed, schedule, coding):
    mapping = mapped(network, seed)
    assume(not mapping.division.divided)
    fixed, x, y = quantized(network, form, seed, 3)
    order = prepare(fixed, x, y, schedule=schedule, coding=coding)
    graded, wanted = (dn.relax(fixed, x, y, schedule=schedule, coding=sent).messages for sent in (Graded(), coding))
    with dn.backends.MappedChip(mapping).open(fixed) as session:
        trace = session.relax(order)
        counts, packets = session.counts, session.packets
    micro = order.coding.micro_steps
    assert len(counts) == len(packets) == order.steps * micro
    assert all(c.samples == 3 for c in counts)
    # a chain: each signal goes along one projection, and each of its messages meets a whole population
    sent = [(entry.step, entry.messages, network.population(entry.target).size) for entry in wanted if not entry.local]
    for step in range(1, order.steps + 1):
        own = counts[(step - 1) * micro : step * micro]
        assert sum(c.fired.sum() for c in own) == sum(n for t, n, _ in sent if t == step)
        assert sum(c.synaptic_events.sum() for c in own) == sum(n * size for t, n, size in sent if t == step)
        assert sum(c.messages_out.sum() for c in own) == sum(c.messages_in.sum() for c in own)
        # in each micro-step senders of a rate integrate or draw, and who is due doubles the bits so far: once, if both
        due = mapping.counter.signals(order.schedule, step)[1]
        telling = {(entry.source, entry.kind) for entry in graded if not entry.local and entry.step == step}
        working = telling if coding.name == "rate" else due
        assert [c.updated.sum() for c in own[:-1]] == [3 * neurons(network, working)] * (micro - 1)
        assert own[-1].updated.sum() == 3 * neurons(network, working | due)
    assert any(trace.cost.components)


@SLOW
@given(NETWORKS, FORMATS, SEEDS, SCHEDULES, st.sampled_from([Delta(), BitSerial(), Rate(8, "lif")]))
def test_a_batch_costs_what_its_samples_cost_one_by_one(network, form, seed, schedule, coding):
    backend = dn.backends.MappedChip(mapped(network, seed))
    fixed, x, y = quantized(network, form, seed, 3)
    options = {"backend": backend, "schedule": schedule, "coding": coding}
    whole = dn.relax(fixed, x, y, **options).cost
    single = [dn.relax(fixed, x[i : i + 1], y[i : i + 1], **options).cost for i in range(3)]
    assert whole.latency_s == pytest.approx(sum(cost.latency_s for cost in single), rel=1e-12)
    assert whole.energy_j == pytest.approx(sum(cost.energy_j for cost in single), rel=1e-12)
    for part in whole.components:
        each = [other.count for cost in single for other in cost.components if other.name == part.name]
        assert part.count == pytest.approx(sum(each), rel=1e-12)


@FEW
@given(NETWORKS, FORMATS, SEEDS)
def test_delta_sends_no_more_than_graded_and_nothing_of_a_sample_that_is_shown_again(network, form, seed):
    mapping = mapped(network, seed)
    fixed, x, y = quantized(network, form, seed, 3)
    running = mapping.apply(fixed)
    window, sent, fired = running.relaxation_steps, {}, {}
    for coding in (Graded(), Delta()):
        order = prepare(fixed, x, y, running=running, schedule="wavefront", coding=coding, steps=2 * window)
        with dn.backends.MappedChip(mapping).open(fixed) as session:
            ledger = session.relax(order).messages
            fired[coding.name] = [int(counts.fired.sum()) * 3 // counts.samples for counts in session.counts]
        rows = [entry for entry in ledger if not entry.local]
        sent[coding.name] = {(row.step, row.source, row.target, row.kind): row.messages for row in rows}
    assert set(sent["delta"]) <= set(sent["graded"])
    assert all(count <= sent["graded"][key] for key, count in sent["delta"].items())
    assert not any(count for (step, *_), count in sent["delta"].items() if step > window)
    assert not any(fired["delta"][window:])
    assert fired["graded"][window:] == fired["graded"][:window]  # which would send it all again
    told = {(source, kind): count for (step, source, _, kind), count in sent["delta"].items() if step <= window and count}
    dynamic = [count for (name, _), count in told.items() if name != running.input]
    assert sum(dynamic) <= 2 * 3 * sum(p.size for p in running.dynamic)


def test_bits_cost_what_is_worked_out_by_hand():
    """One neuron, a core each, on one tile: 6 is 0110 in the 4 bits of a message, so 2 of 4 micro-steps have a spike."""
    chip = Chip.load("loihi1")
    chip = replace(chip, latency=replace(chip.latency, message=replace(chip.latency.message, value=20e-9)))
    network = dn.Network.dense([1, 1], "relu", seed=0)
    x, y = [[0.7]], [[0.1]]
    fixed = dn.quantize(network, dn.FixedFormat(message_bits=4), (x, y))
    assert fixed.encode(x, y)[0].tolist() == [[6]]
    cost = dn.relax(fixed, x, y, backend=dn.backends.MappedChip(chip=chip), coding="bit_serial").cost
    # the output's 2 neurons: 2 x (5.3 + 3.1) ns, or the input's one: 5.3 + 3.1 + 20 ns with its spike; the barrier: 113 ns
    silent, spiking = 113e-9 + 16.8e-9, 113e-9 + 28.4e-9
    assert cost.steps_s == pytest.approx([silent, spiking, spiking, silent] * 2, rel=1e-12)
    assert cost.latency_s == pytest.approx(1084.8e-9, rel=1e-12)
    # 8 micro-steps x 3 neurons x (52 + 29) pJ; 4 spikes of 1.7 pJ, and a synapse of 23.6 pJ each; 104.4 mW all the time
    assert cost.energy_j == pytest.approx(1944e-12 + 101.2e-12 + 0.1044 * 1084.8e-9, rel=1e-12)


def test_an_epoch_with_a_coding_costs_the_mean_of_its_samples():
    network = dn.Network.dense([3, 4, 2], "relu", seed=1)
    fixed, x, y = quantized(network, dn.FixedFormat(), 1, 6)
    held = (*fixed.encode(x, y), np.arange(6).reshape(1, 3, 2), 0.0, Schedule.of(fixed, "free"), feedback_copies(fixed), 1.0, 4)
    lesson = Learning(*held, coding=BitSerial(16))
    with dn.backends.MappedChip(chip="loihi1").open(fixed) as session:
        (epoch,) = session.learn(lesson, lambda _: None)
        counts = session.counts
    assert len(counts) == len(epoch.cost.steps_s) == 4 * 16
    assert {c.samples for c in counts} == {6}
    parts = {part.name: part.count for part in epoch.cost.components}
    assert parts["neuron_access"] == 6 * 4 * 16 * (3 + 2 * 4 + 2 * 2)
    assert parts["synaptic_operation"] == sum(c.synaptic_events.sum() for c in counts)
    assert parts["message"] == sum(c.messages_out.sum() for c in counts)
    assert parts["learning_update"] == 6 * (3 * 4 + 4 * 2 + 2 * 4 + 4 + 2)


# What saturates


def test_saturations_are_counted_alike_on_every_mapping_and_raise_where_a_format_is_strict():
    network = dn.Network.dense([4, 5, 3], "relu", seed=3)
    loud = network.with_parameters({key: 40 * values for key, values in network.parameters.items() if "->" in key})
    x, y = networks.batch(network, 3, 4)
    fixed = dn.quantize(loud, dn.FixedFormat())
    wanted = dn.relax(fixed, x, y).saturations
    lesson = {"epochs": 2, "batch_size": 2, "learning_rate": 100.0, "coding": "delta"}
    learned = dn.train(fixed, (x, y), **lesson).saturations
    assert any(what.endswith("potential") for what in wanted)
    assert any(what.endswith("weight") for what in learned)
    for counts in ([1, 1, 1], [3, 4, 3]):
        backend = dn.backends.MappedChip(cut(network, counts, 1))
        assert dn.relax(fixed, x, y, backend=backend).saturations == wanted
        assert dn.train(fixed, (x, y), backend=backend, **lesson).saturations == learned
    strict = dn.quantize(loud, dn.FixedFormat(strict=True))
    with pytest.raises(SaturationError, match="left its range"):
        dn.relax(strict, x, y, backend="chip")


# What is refused, and what costs say


def test_what_runs_is_what_the_cost_says():
    network = dn.Network.dense([4, 5, 3], "tanh", seed=3)
    fixed, x, y = quantized(network, dn.FixedFormat(), 1)
    said = {}
    for coding in ("graded", "delta", "bit_serial", "rate"):
        said[coding] = dn.relax(fixed, x, y, backend=dn.backends.MappedChip(chip="loihi1"), coding=coding).cost.assumptions
        assert "fixed point: weights 8 bit, messages 16 bit, states 24 bit" in said[coding]
        assert not any("float emulation" in text for text in said[coding])
        hypothetical = any("graded signed messages are hypothetical" in text for text in said[coding])
        assert hypothetical == (coding in ("graded", "delta"))  # spikes are what the chip has
    assert any("coding bit_serial: micro-steps in a step, each with a barrier: 16" in text for text in said["bit_serial"])
    assert any("a sign is an axon of its own" in text for text in said["rate"])


@pytest.mark.parametrize(("message", "coding", "said"), [(16, "delta", True), (17, "delta", False), (16, "bit_serial", False)])
def test_what_is_wider_on_the_wire_than_the_chips_messages_is_said(message, coding, said):
    chip = Chip.load("loihi2")
    chip = replace(chip, widths=replace(chip.widths, message=replace(chip.widths.message, value=message)))
    fixed, x, y = quantized(dn.Network.dense([4, 5, 3], "tanh", seed=3), dn.FixedFormat(), 1)
    assumptions = dn.relax(fixed, x, y, backend=dn.backends.MappedChip(chip=chip), coding=coding).cost.assumptions
    assert any(f"17 bit a message, wider than the chip's {message} bit" in text for text in assumptions) == said
    assert any("wider than the chip's" in text for text in assumptions) == said


def test_what_learning_with_changes_leaves_out_is_said():
    """4-5-3: W forward has 20 + 15 synapses, and 15 back; sums of products with old weights have to be formed again."""
    fixed, x, y = quantized(dn.Network.dense([4, 5, 3], "tanh", seed=3), dn.FixedFormat(), 1, 4)
    held = (*fixed.encode(x, y), np.arange(4).reshape(1, 2, 2), 0.0, Schedule.of(fixed, "free"), feedback_copies(fixed), 1.0, 4)
    said = {}
    with dn.backends.MappedChip(chip="loihi1").open(fixed) as session:
        for coding in (Graded(), Delta()):
            (epoch,) = session.learn(Learning(*held, coding=coding), lambda _: None)
            said[coding.name] = [text for text in epoch.cost.assumptions if text.startswith("delta: ")]
    assert said["graded"] == []
    assert "50 synaptic operations to form the sums again, not counted" in said["delta"][0]
    assert "every sample of a batch has latches of its own" in said["delta"][1]
    trace = dn.relax(fixed, x, y, backend="chip", coding="delta")
    assert not any("form the sums again" in text for text in trace.cost.assumptions)


def test_counts_of_some_samples_are_no_price_of_others():
    fixed, x, y = quantized(dn.Network.dense([4, 5, 3], "tanh", seed=3), dn.FixedFormat(), 1, 2)
    backend = dn.backends.MappedChip(chip="loihi1")
    with backend.open(fixed) as session:
        session.relax(prepare(fixed, x, y, coding=Delta()))
    mapping = backend.mapping(fixed)
    with pytest.raises(OptionError, match=r"^samples: 3 .*the 2 whose events"):
        price(mapping, session.counts, samples=3, learning=False)
    once, twice = (price(mapping, session.counts, samples=samples, learning=False) for samples in (2, 4))
    assert twice.energy_j == pytest.approx(2 * once.energy_j, rel=1e-12)


def test_what_a_chip_cannot_do_is_refused_before_anything_runs():
    network = dn.Network.dense([4, 5, 3], "tanh", seed=3)
    fixed, x, y = quantized(network, dn.FixedFormat(), 1)
    with pytest.raises(OptionError, match=r"^fast: .*'delta'"):
        dn.relax(fixed, x, y, backend=dn.backends.MappedChip(fast=True), coding="delta")
    with pytest.raises(OptionError, match=r"^fast: .*'rate'"):
        dn.train(fixed, (x, y), backend=dn.backends.MappedChip(fast=True), coding="rate")
    mapping = map_network(fixed, "loihi2", pipeline=True)
    with dn.backends.MappedChip(mapping).open(fixed) as session, pytest.raises(OptionError, match=r"^network: .*pipeline"):
        session.stream(x, y)
    other = dn.quantize(dn.Network.dense([4, 6, 3], seed=3))
    with pytest.raises(dn.errors.MappingError, match="map this network"):
        dn.relax(other, x, y, backend=dn.backends.MappedChip(mapping))
