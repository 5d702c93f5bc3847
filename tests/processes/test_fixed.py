"""Networks of integers on Lava, message by message and in micro-steps: every bit as on the reference, at every step."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import codings
from dyadic_neuro.backends import Lava, Reference
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.codings import BitSerial, Delta, Rate
from dyadic_neuro.dynamics import State, feedback_copies
from dyadic_neuro.errors import OptionError, SaturationError
from dyadic_neuro.fixed_point import FixedFormat
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.fan_in import Division
from dyadic_neuro.mappings.mapping import Mapping, map_network
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.quantization import quantize
from dyadic_neuro.relaxation import check_data, prepare
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import networks

CHIP = Chip.load("loihi2")
TIGHT = FixedFormat(weight_bits=6, message_bits=7, state_bits=12, headroom_bits=0)
"""A format that everything saturates in which a calibration has not met."""


def integers(network, form=None, seed=0):
    """The network quantised on half of the size that data will have."""
    x, y = networks.batch(network, seed, 4)
    return quantize(network, form, (0.5 * x, y))


def anywhere(network, seed, size):
    """A random state of the network's integers, limits included."""
    rng = np.random.default_rng([seed, size, 5])

    def of(name, kind):
        scale = getattr(network.scales[name], kind)
        found = rng.integers(scale.lowest, scale.highest + 1, (size, network.population(name).size))
        found[rng.random(found.shape) < 0.2] = scale.lowest
        return found

    names = [p.name for p in network.dynamic]
    return State({n: of(n, "potential") for n in names}, {n: of(n, "sensitivity") for n in names})


def scattered(network, seed, division=None):
    """A mapping by hand: slices of random sizes on three random cores, so that cores share everything there is."""
    division = Division.none(network.described()) if division is None else division
    rng, net = np.random.default_rng(seed), division.network
    counts = [int(rng.integers(1, min(p.size, 3) + 1)) for p in net.populations]
    names = [p.name for p in net.populations]
    if not net.cost.separable:
        counts[names.index(net.output)] = 1
    slices = Slices.cut(names, [p.size for p in net.populations], counts)
    slices = slices.on(rng.integers(3, size=len(slices)))
    return Mapping.build(division, CHIP, slices, objective="cores", learning=True, pipeline=False, seed=0)


def narrow(axons):
    """A chip whose cores have so few axons that a larger fan-in has to be divided."""
    chip = Chip.load("loihi1")
    limits = chip.limits
    few = replace(limits, input_axons=replace(limits.input_axons, value=axons), neurons=replace(limits.neurons, value=32))
    return replace(chip, name="narrow", limits=few)


def assert_same_trace(found, wanted):
    for part in ("potentials", "sensitivities", "gradients"):
        one, other = getattr(found, part), getattr(wanted, part)
        assert set(one) == set(other)
        for name, right in other.items():
            assert one[name].dtype == right.dtype == ("float64" if part == "gradients" else "int64")
            assert np.array_equal(one[name], right), (part, name)
    assert found.saturations == wanted.saturations
    assert_same_ledger(found.messages, wanted.messages)


def assert_same_ledger(found, wanted):
    assert found.links == wanted.links
    assert np.array_equal(found.counts, wanted.counts)


def assert_same_epochs(found, wanted):
    """Learned integers, both copies, losses, guesses, messages and saturations; returns all saturations."""
    together = Counter()
    for one, other in zip(found, wanted, strict=True):
        for part in ("parameters", "feedback"):
            held, right = getattr(one, part), getattr(other, part)
            assert set(held) == set(right)
            assert all(held[key].dtype == "int64" and np.array_equal(held[key], right[key]) for key in right), part
        assert all(np.array_equal(weights, one.parameters[name].T) for name, weights in one.feedback.items())
        assert np.array_equal(one.losses, other.losses)
        assert one.correct == other.correct
        assert one.saturations == other.saturations
        assert_same_ledger(one.messages, other.messages)
        together.update(one.saturations)
    return together


# Relaxation

CASES = {
    "chain": (networks.chain(2, 3, activation="leaky_relu", loss="cross_entropy"), FixedFormat(message_bits=9), None),
    "dag with parts": (networks.dag(8, 3, loss="binary_cross_entropy", parts=True), FixedFormat(8, 12, 20), None),
    "dag, on cores": (networks.dag(9, 3, loss="cross_entropy"), FixedFormat(4, 9, 16), 1),
    "dag with parts, on cores": (networks.dag(11, 3, parts=True), FixedFormat(8, 8, 24, rounding="stochastic"), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_references_bit_for_bit(name):
    """From any state, with saturations, under both schedules, in populations and on cores."""
    network, form, seed = CASES[name]
    fixed = integers(network, form)
    x, y = networks.batch(network, 4, 3)
    with Lava(mapping=None if seed is None else scattered(network, seed)).open(fixed) as session:
        for schedule, start in (("free", anywhere(fixed, 4, 3)), ("wavefront", anywhere(fixed, 5, 3)), ("free", None)):
            order = prepare(fixed, x, y, schedule=schedule, initial=start)
            assert_same_trace(session.relax(order), Reference().open(fixed).relax(order))


@pytest.mark.parametrize("mapped", [False, True], ids=["populations", "cores"])
def test_what_saturates_is_counted_as_on_the_reference(mapped):
    fixed = integers(networks.chain(5, 3, activation="relu"), TIGHT)
    x, y = networks.batch(fixed, 6, 5)
    backend = Lava(mapping=scattered(fixed, 3) if mapped else None)
    found, wanted = (dn.relax(fixed, 4 * x, 4 * y, backend=b, initial=anywhere(fixed, 7, 5)) for b in (backend, Reference()))
    assert {what.split()[-1] for what in found.saturations} >= {"potential", "sensitivity"}
    assert_same_trace(found, wanted)
    if not mapped:
        strict = integers(networks.chain(5, 3, activation="relu"), replace(TIGHT, strict=True))
        with pytest.raises(SaturationError, match="left its range"):
            dn.relax(strict, 4 * x, 4 * y, backend=backend)


def test_a_divided_fan_in_computes_what_the_reference_does_with_the_network_that_runs():
    """Partial sums travel whole, so that gradients and learned weights are those of the network before it was divided."""
    network = dn.Network.dense([7, 4, 7], "tanh", "squared_error", seed=3)
    mapping = scattered(network, 1, map_network(network, narrow(5)).division)
    names = [p.name for p in mapping.network.populations]
    assert all(any(part in name for name in names) for part in ("_sum", "_relay"))
    fixed = integers(network, FixedFormat(6, 10, 18, rounding="stochastic"))
    running, backend = mapping.apply(fixed), Lava(mapping=mapping)
    x, y = networks.batch(network, 8, 3)
    with backend.open(fixed) as session:
        for coding, schedule in (("graded", "free"), ("delta", "wavefront")):
            order = prepare(fixed, x, y, running=running, coding=codings.coding(coding), schedule=schedule)
            found, wanted = (
                session.relax(order),
                Reference().open(running).relax(replace(order, feedback=feedback_copies(running))),
            )
            assert_same_trace(replace(found, gradients=wanted.gradients), wanted)
            whole = dn.relax(fixed, x, y).gradients
            assert all(np.array_equal(found.gradients[key], whole[key]) for key in whole)
    learned, wanted = (dn.train(fixed, (x, y), batch_size=1, learning_rate=0.5, backend=b) for b in (backend, Reference()))
    for key, right in wanted.network.parameters.items():
        assert np.array_equal(learned.network.parameters[key], right)
    hidden = learned.copies["hidden1->output"]
    assert np.array_equal(hidden.backward, hidden.forward.T)


# Codings

CODINGS = [Delta(), Delta(3), BitSerial(), Rate(8, seed=4)]


@pytest.mark.parametrize("seed", [None, 5], ids=["populations", "cores"])
def test_micro_steps_tell_what_they_do_on_the_reference(seed):
    """Every state of every step, what was sent in each, and how wide; an odd number of steps ends between two waves."""
    network = networks.dag(13, 3, activation="tanh", loss="cross_entropy")
    fixed = integers(network, FixedFormat(5, 6, 14))
    x, y = networks.batch(network, 9, 3)
    with Lava(mapping=None if seed is None else scattered(network, seed)).open(fixed) as session:
        for i, coding in enumerate([*CODINGS, Rate(4)]):
            schedule, record = ("free", "wavefront")[i % 2], "last" if coding == Rate(4) else "all"
            options = {"coding": coding, "schedule": schedule, "record": record, "initial": anywhere(fixed, i, 3)}
            order = prepare(fixed, x, y, steps=fixed.relaxation_steps + 1, **options)
            assert_same_trace(session.relax(order), Reference().open(fixed).relax(order))


def test_a_trace_tells_the_coding_and_a_cost_only_where_it_is_known():
    network = networks.chain(3, 2, activation="relu")
    fixed = integers(network)
    x, y = networks.batch(network, 1, 2)
    mapping = map_network(network, CHIP, objective="latency")
    found = dn.relax(fixed, x, y, backend=Lava(mapping=mapping), coding="bit_serial")
    assert found.coding == BitSerial(16)
    assert found.cost is None
    graded = dn.relax(fixed, x, y, backend=Lava(mapping=mapping))
    assert graded.cost == dn.relax(fixed, x, y, backend=dn.backends.MappedChip(mapping)).cost


def test_floats_have_no_bits_to_code(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    network = networks.chain(1, 2)
    x, y = networks.batch(network, 1, 2)
    for coding in CODINGS:
        with pytest.raises(OptionError, match="bits of integers"):
            dn.relax(network, x, y, backend=Lava(), coding=coding)
        with pytest.raises(OptionError, match="bits of integers"):
            dn.train(network, (x, y), backend=Lava(), coding=coding)


# Learning


@pytest.mark.parametrize("seed", [None, 6], ids=["populations", "cores"])
def test_learning_ends_with_the_references_bits(seed):
    """Stochastic rounding in both copies, over windows and epochs; weights that run into their limits are counted."""
    network = networks.dag(14, 2, activation="tanh", loss="cross_entropy")
    fixed = integers(network, FixedFormat(4, 6, 9, rounding="stochastic", seed=2)).with_parameters({}, updates=5)
    x, y = networks.batch(network, 3, 6)
    samples = np.random.default_rng(3).permutation(12).reshape(2, 3, 2) % 6
    together = Counter()
    with Lava(mapping=None if seed is None else scattered(network, seed)).open(fixed) as session:
        for coding, schedule in (("graded", "wavefront"), (Delta(), "free"), (BitSerial(), "free"), (Rate(4), "wavefront")):
            given = fixed.encode(*check_data(fixed, x, y))
            order = Learning(
                *given,
                order=samples,
                learning_rate=0.7,
                schedule=Schedule.of(fixed, schedule),
                feedback=feedback_copies(fixed),
                alpha=1.0,
                window=fixed.relaxation_steps,
                weight_decay=0.01,
                coding=codings.coding(coding).fitted(fixed.message_bits),
            )
            said, told = [], []
            found, wanted = session.learn(order, said.append), Reference().open(fixed).learn(order, told.append)
            together += assert_same_epochs(found, wanted)
            assert said == told
    assert any(what.endswith(" weight") for what in together)


def test_training_is_that_of_the_reference():
    """From quantised random feedback, through `train`."""
    network = networks.chain(6, 3, activation="relu")
    fixed = integers(network, FixedFormat(8, 8, 20, rounding="stochastic"))
    x, y = networks.batch(network, 3, 8)
    shape = fixed.projection("hidden1->hidden2").weights.T.shape
    backward = {"hidden1->hidden2": np.random.default_rng(1).uniform(-0.9, 0.9, size=shape)}
    options = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "backward": backward, "coding": "delta"}
    found, wanted = (dn.train(fixed, (x, y), backend=b, **options) for b in (Lava(), Reference()))
    assert found.saturations == wanted.saturations
    assert found.network.updates == wanted.network.updates == 4
    for key, right in wanted.network.parameters.items():
        assert np.array_equal(found.network.parameters[key], right)
    for key, pair in wanted.copies.items():
        if pair.backward is not None:
            assert np.array_equal(found.copies[key].backward, pair.backward)
    assert [line.messages for line in found.history] == [line.messages for line in wanted.history]


# What goes wrong


def test_what_is_too_wide_is_refused_where_it_is_sent_and_nothing_stays_behind(play):
    """Also by a coding that would send its lowest bits; the error names process, step and micro-step."""
    play(
        """
        from dataclasses import replace
        from dyadic_neuro.codings import BitSerial, Delta, Graded
        from dyadic_neuro.mappings.mapping import map_network
        from dyadic_neuro.processes.local import Outbox
        from dyadic_neuro.testing import networks

        network = networks.chain(1, 2, activation="tanh")
        x, y = networks.batch(network, 1, 2)
        fixed = dn.quantize(network, dn.FixedFormat(message_bits=8), x)
        for coding, mapping in ((Graded(), None), (BitSerial(), None), (Delta(), map_network(network, "loihi2"))):
            order = prepare(fixed, x, y, coding=coding)
            with Lava(mapping=mapping, timeout=10.0).open(fixed) as session:
                assert session.relax(order).steps == 4, "in range"
                error = failure(lambda: session.relax(replace(order, inputs=order.inputs + 128)))
            assert type(error) is SimulatorError, error
            assert f"process '{'input' if mapping is None else 'core'}" in str(error), error
            assert "failed in step 1" in str(error) and "8 bits hold -128 to 127" in str(error), error
            assert ("micro-step 1 of 8" in str(error)) == (coding.name == "bit_serial"), error

        from dyadic_neuro.backends.lava_plans import population_plan
        from dyadic_neuro.processes.input.process import Input
        from dyadic_neuro.processes.registry import Registry
        from dyadic_neuro.processes.slices import Clock

        for net, tags in ((fixed, ["fixed_pt"]), (network, ["floating_pt"])):
            o = prepare(net, x, y)
            data = (o.initial, o.feedback, o.inputs, o.targets, np.arange(2)[None])
            plan = population_plan(net, Clock(4, 4, True, final_state=True), o.schedule, 1.0, *data, None)
            assert Registry()[Input(plan.input, plan.clock, plan.dtype, 0)].tags == tags

        class Channel:
            d_type, shape = np.int64, (1, 2)
            def send(self, data):
                print(data.tolist(), flush=True)

        box = type("Outbox", (Outbox,), {"label": "rate_out", "bits": 4})([Channel()], None, (1, 2), np.int64)
        box.send(np.array([[-8, 7]]))
        for values in ([[-9, 0]], [[0, 8]]):
            error = failure(lambda: box.send(np.array(values)))
            assert type(error) is OverflowError and "'rate_out'" in str(error) and "4 bits hold -8 to 7" in str(error), error
        assert type(failure(lambda: box.send(np.zeros((1, 2))))) is TypeError
        assert not children()
    """,
        said="[[-8, 7]]",
    )


def test_a_long_step_is_not_taken_for_silence():
    """The recorder gives signs of life between micro-steps too: a window of spikes may take longer than the timeout."""
    network = networks.chain(1, 1)
    fixed = integers(network)
    with Lava().open(fixed) as session:
        told, get = [], session._guard._next

        def noted(verb):
            told.append(get(verb))
            return told[-1]

        session._guard._next = noted
        session.relax(prepare(fixed, *networks.batch(network, 1, 1), steps=1, record="last", coding=Rate(8192, "lif")))
    kinds = [kind for kind, _, _ in told]
    assert "alive" in kinds[: kinds.index("report")]
    assert {step for kind, step, _ in told if kind == "alive"} == {1}
