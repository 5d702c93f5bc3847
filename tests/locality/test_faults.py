"""The circuit with axons: without faults it is the dynamics, bit for bit; with them each fault does what it says, no more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro import dynamics
from dyadic_neuro.errors import OptionError
from dyadic_neuro.studies.locality.faults import (
    CLEAN,
    KINDS,
    POTENTIAL,
    RATE,
    SENSITIVITY,
    Axon,
    Circuit,
    Faults,
    Strike,
    anything,
    axons,
    cores_of,
    variables,
)
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

NETWORKS = st.one_of(chains(6), dags(5), dags(4, parts=True))


def same(found, wanted):
    return all(np.array_equal(values, variables(wanted)[v]) for v, values in variables(found).items())


def rigged(schedule="free", transport="every step", cases=4):
    """A chain of depth 3 in a random state: its parts, and the circuit."""
    net = networks.chain(5, 3, activation="tanh")
    x, y = networks.batch(net, 1, cases)
    start = networks.state(net, 1, cases)
    return net, x, y, start, Circuit(net, x, y, start, schedule=schedule, transport=transport)


def way(net, kind, source):
    return next(axon for axon in axons(net) if axon.kind == kind and axon.source == source)


@given(NETWORKS, SEEDS, st.sampled_from([1, 2, 7]))
def test_without_faults_every_step_is_that_of_the_dynamics(network, seed, cases):
    x, y = networks.batch(network, seed, cases)
    state = networks.state(network, seed, cases)
    circuit = Circuit(network, x, y, state)
    for _ in range(network.relaxation_steps + 2):
        state = dynamics.step(network, state, x, y)
        assert circuit.step() == {}
        assert same(circuit.state, state)


@given(NETWORKS, SEEDS, st.sampled_from(["free", "wavefront"]), st.sampled_from(["every step", "changes"]))
def test_without_faults_both_schedules_and_transports_are_the_reference_backend(network, seed, schedule, transport):
    x, y = networks.batch(network, seed, 3)
    start = networks.state(network, seed, 3)
    steps = 2 * network.relaxation_steps + 1
    trace = dn.relax(network, x, y, initial=start, steps=steps, schedule=schedule)
    circuit = Circuit(network, x, y, start, schedule=schedule, transport=transport)
    for t in range(1, steps + 1):
        circuit.step()
        assert same(circuit.state, trace.state(t))


@given(NETWORKS, SEEDS)
def test_other_backward_copies_are_those_of_relax(network, seed):
    x, y = networks.batch(network, seed, 2)
    rng = np.random.default_rng(seed)
    wrong = {name: rng.normal(size=copy.weights.shape) for name, copy in dynamics.feedback_copies(network).items()}
    circuit = Circuit(network, x, y, dn.State.zero(network, 2), backward=wrong)
    for _ in range(network.relaxation_steps):
        circuit.step()
    assert same(circuit.state, dn.relax(network, x, y, backward=wrong).final)


@given(NETWORKS, SEEDS, st.sampled_from(["free", "wavefront"]), st.sampled_from(["every step", "changes"]))
def test_faults_stay_in_their_own_case(network, seed, schedule, transport):
    """Rows are cases: one without faults goes as if the others had none."""
    x, y = networks.batch(network, seed, 6)
    start = networks.state(network, seed, 6)
    faulty, clean = (Circuit(network, x, y, start, schedule=schedule, transport=transport) for _ in range(2))
    struck = np.zeros(6, bool)
    for strike in Faults(**dict.fromkeys(KINDS, 0.02), steps=8, seed=seed).strikes(network, 6):
        for rows in faulty.step(strike).values():
            struck |= rows
        clean.step()
        assert not (faulty.differs(clean.state) & ~struck).any()


def test_a_lost_message_leaves_what_was_there():
    net, _x, _y, start, circuit = rigged()
    rate, lost = np.tanh(start.potentials["hidden1"]), np.zeros((4, net.population("hidden1").size), bool)
    lost[2, 0] = True
    axon = way(net, RATE, "hidden1")
    circuit.step()
    new = np.tanh(circuit.state.potentials["hidden1"])
    hits = circuit.step(Strike(lost={axon: lost}))
    assert {v: list(np.flatnonzero(rows)) for v, rows in hits.items()} == {(POTENTIAL, "hidden2"): [2]}
    arrived = np.where(lost, rate, new)
    p, bias = net.projection("hidden1->hidden2"), np.asarray(net.population("hidden2").bias)
    assert np.array_equal(circuit.state.potentials["hidden2"], p.forward(arrived) + bias)


def test_a_delayed_message_overwrites_the_newer_one_when_it_comes():
    net, x, y, state, circuit = rigged()
    axon, n = way(net, RATE, "hidden2"), net.population("hidden2").size
    p, bias = net.projection("hidden2->output"), np.asarray(net.population("output").bias)
    delay = np.zeros((4, n), int)
    delay[1, 0] = 2
    shown = []
    for t in range(4):
        shown.append(np.tanh(state.potentials["hidden2"]))
        hits = circuit.step(Strike(delayed={axon: delay}) if t == 1 else CLEAN)
        assert [v for v, rows in hits.items() if rows[1]] == ([(POTENTIAL, "output")] if t in (1, 3) else [])
        arrived = shown[t].copy()
        if t == 1:
            arrived[1, 0] = shown[0][1, 0]  # the one before is still there
        if t == 3:
            arrived[1, 0] = shown[1][1, 0]  # the late one
            assert arrived[1, 0] != shown[t][1, 0]
        assert np.array_equal(circuit.state.potentials["output"], p.forward(arrived) + bias)
        state = dynamics.step(net, state, x, y)
        assert np.array_equal(circuit.state.potentials["hidden2"], state.potentials["hidden2"])


def test_garbled_and_duplicated_messages_drive_the_synapses_once_with_another_value_and_twice():
    net, _x, _y, start, circuit = rigged()
    mask = np.zeros((4, net.population("output").size), bool)
    mask[0, 0] = mask[3, 1] = True
    axon, s = way(net, SENSITIVITY, "output"), start.sensitivities["output"]
    assert axon == Axon(SENSITIVITY, "hidden2->output", "output", "hidden2")
    slope = 1 - np.tanh(start.potentials["hidden2"]) ** 2
    back = net.projection("hidden2->output").transposed()
    circuit.step(Strike(duplicated={axon: mask}))
    assert np.allclose(circuit.state.sensitivities["hidden2"], back.forward(np.where(mask, 2 * s, s)) * slope, rtol=1e-13)
    circuit = rigged()[-1]
    circuit.step(Strike(garbled={axon: (mask, np.array([5.0, -7.0]))}))
    garbled = s.copy()
    garbled[0, 0], garbled[3, 1] = 5.0, -7.0
    assert np.allclose(circuit.state.sensitivities["hidden2"], back.forward(garbled) * slope, rtol=1e-13)


def test_a_stalled_core_neither_updates_nor_sends_but_its_axons_take_messages():
    net, x, y, start, circuit = rigged()
    stalled = np.ones((4, net.population("hidden2").size), bool)
    circuit.step()
    before, expected = circuit.state, dynamics.step(net, dynamics.step(net, start, x, y), x, y)
    hits = circuit.step(Strike(stalled={"hidden2": stalled}))
    assert set(hits) == {(POTENTIAL, "hidden2"), (SENSITIVITY, "hidden2"), (POTENTIAL, "output"), (SENSITIVITY, "hidden1")}
    after = circuit.state
    for part in ("potentials", "sensitivities"):
        assert np.array_equal(getattr(after, part)["hidden2"], getattr(before, part)["hidden2"])
    assert np.array_equal(after.potentials["hidden1"], expected.potentials["hidden1"])
    p, bias = net.projection("hidden2->output"), np.asarray(net.population("output").bias)
    assert np.array_equal(after.potentials["output"], p.forward(np.tanh(start.potentials["hidden2"])) + bias)
    lost = {way(net, RATE, "hidden1"): np.ones((4, net.population("hidden1").size), bool)}
    circuit.step(Strike(lost=lost))  # what it reads now came while it was stalled
    p, bias = net.projection("hidden1->hidden2"), np.asarray(net.population("hidden2").bias)
    assert np.array_equal(circuit.state.potentials["hidden2"], p.forward(np.tanh(before.potentials["hidden1"])) + bias)


def test_overwritten_states_are_those_given():
    net, x, y, start, circuit = rigged()
    mask = np.zeros((4, net.population("hidden1").size), bool)
    mask[1] = True
    drawn = np.full(int(mask.sum()), 1e300)
    assert [*circuit.step(Strike(states={(POTENTIAL, "hidden1"): (mask, drawn)}))] == [(POTENTIAL, "hidden1")]
    expected = dynamics.step(net, start, x, y)
    assert np.array_equal(circuit.state.potentials["hidden1"], np.where(mask, 1e300, expected.potentials["hidden1"]))
    assert np.array_equal(circuit.state.potentials["hidden2"], expected.potentials["hidden2"])


def test_a_message_lost_among_changes_stays_wrong_until_the_value_changes_again():
    net, x, y, start, circuit = rigged(transport="changes")
    exact = dn.relax(net, x, y).final
    lost = np.zeros((4, net.population("hidden1").size), bool)
    lost[2, 0] = True
    circuit.step()
    circuit.step(Strike(lost={way(net, RATE, "hidden1"): lost}))  # the last time that hidden1 changes
    for _ in range(20 * net.relaxation_steps):
        circuit.step()
    assert list(circuit.differs(exact)) == [False, False, True, False]
    everywhere = np.ones_like(lost)
    circuit.step(Strike(states={(POTENTIAL, "hidden1"): (everywhere, np.full(everywhere.size, 0.123))}))
    for _ in range(net.relaxation_steps):
        circuit.step()
    assert not circuit.differs(exact).any()
    assert same(start, networks.state(net, 1, 4))  # states are never written to


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whatever_is_left_behind_is_finite_and_some_of_it_huge(rng, dtype):
    values = anything(rng, np.ones((50, 20), bool), np.dtype(dtype))
    assert values.dtype == dtype
    assert np.isfinite(values).all()
    assert np.abs(values).max() > float(np.finfo(dtype).max) ** 0.9
    assert (np.abs(values) < 1).any()


@given(SEEDS)
def test_the_same_seed_gives_the_same_faults(seed):
    net = networks.dag(3, 3)
    first, again, other = ([*Faults(**dict.fromkeys(KINDS, 0.3), seed=s).strikes(net, 4)] for s in (seed, seed, seed + 1))
    assert len(first) == 5
    parts = ("lost", "duplicated", "delayed", "stalled")
    assert all(
        np.array_equal(mask, getattr(b, part)[key]) for a, b in zip(first, again, strict=True) for part in parts
        for key, mask in getattr(a, part).items()
    )  # fmt: skip
    assert any(not np.array_equal(mask, other[0].lost[axon]) for axon, mask in first[0].lost.items())


def test_rates_and_lengths_are_what_was_asked_for():
    net = networks.dag(3, 4)
    strikes = [*Faults(**dict.fromkeys(KINDS, 0.2), steps=40, longest_delay=4, seed=1).strikes(net, 100)]
    size = np.concatenate([np.ravel(s.lost[axon]) for s in strikes for axon in s.lost])
    assert abs(size.mean() - 0.2) < 0.01
    assert set(np.unique(np.concatenate([np.ravel(d) for s in strikes for d in s.delayed.values()]))) == {0, 1, 2, 3, 4}
    # of a cycle of 1 / 0.2 - 1 running steps on average, then 2 stalled ones
    share = np.mean([s.stalled["hidden1"][:, 0] for s in strikes[10:]])
    assert abs(share - 2 / (2 + 4)) < 0.03
    assert not Faults().kinds
    assert Faults(lost=0.1, stalled=0.1).kinds == ("lost", "stalled")
    assert next(iter(Faults(steps=1).strikes(net, 2))).lost == {}


def test_cores_are_populations_or_those_of_a_mapping():
    net = dn.Network.dense([8, 40, 30, 4], seed=0)
    assert {name: set(labels) for name, labels in cores_of(net).items()} == {
        "input": {0}, "hidden1": {1}, "hidden2": {2}, "output": {3},
    }  # fmt: skip
    mapping = dn.map_network(net, dn.Chip.load("loihi1"))
    cores = cores_of(net, mapping)
    assert {name: len(labels) for name, labels in cores.items()} == {"input": 8, "hidden1": 40, "hidden2": 30, "output": 4}
    assert len(set(np.concatenate([*cores.values()]))) == len(mapping.cores)
    for strike in Faults(stalled=0.5, steps=4).strikes(net, 9, cores):
        for name, labels in cores.items():
            for core in set(labels):
                own = strike.stalled[name][:, labels == core]
                assert (own.all(axis=1) == own.any(axis=1)).all()
    with pytest.raises(OptionError, match="mapping"):
        cores_of(networks.chain(1, 2), mapping)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"lost": 1.5}, "lost"),
        ({"potentials": -0.1}, "potentials"),
        ({"garbled": "often"}, "garbled"),
        ({"stalled": float("nan")}, "stalled"),
        ({"steps": -1}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"longest_delay": 0}, "longest_delay"),
        ({"longest_stall": True}, "longest_stall"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_faults_say_which(wrong, field):
    with pytest.raises(OptionError) as error:
        Faults(**wrong)
    assert error.value.field == field


def test_wrong_schedules_and_transports_are_refused():
    with pytest.raises(OptionError, match="transport"):
        rigged(transport="pigeon")
    with pytest.raises(OptionError, match="schedule"):
        rigged(schedule="sometimes")
