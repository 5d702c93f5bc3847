"""Weights change in the circuit: in windows as gradient descent does, or all the time."""

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro import dynamics
from dyadic_neuro.backends import Reference
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.datasets import digits
from dyadic_neuro.oracle import descend
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags
from dyadic_neuro.training import batches

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")

EXACT = 1e-12
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes a second: shrinking one would take minutes
FEW, FEWER = settings(max_examples=6, phases=PHASES), settings(max_examples=5, phases=PHASES)
NETWORKS = st.one_of(chains(3), dags(3), dags(3, parts=True))
SMOOTH = st.one_of(chains(3, networks.SMOOTH), dags(2, networks.SMOOTH))
RATE = 0.03


def sgd(network, x, y, batch_size, epochs=2, rate=RATE):
    """Return the network after gradient descent in the order in which `dn.train` visits the samples."""
    order = [rows for epoch in range(epochs) for rows in batches(len(x), batch_size, epoch, seed=0)]
    return descend(network, x, y, order, rate)


def transposes_agree(result):
    """Whether both copies of each weight are still transposes of each other."""
    both = [copies for copies in result.copies.values() if copies.backward is not None]
    return all(np.abs(copies.forward - copies.backward.T).max() <= EXACT for copies in both)


@FEW
@given(NETWORKS, SEEDS, st.integers(1, 3))
def test_windows_of_unit_steps_are_gradient_descent(backend, worst, network, seed, size):
    x, y = networks.batch(network, seed, 6)
    result = dn.train(network, (x, y), backend=backend(), epochs=2, batch_size=size, learning_rate=RATE)
    wanted = sgd(network, x, y, size).parameters
    assert worst(result.network.parameters, wanted) <= EXACT
    assert transposes_agree(result)
    fixed = [p.name for p in network.projections if not p.plastic]
    assert all(np.array_equal(result.network.parameters[name], network.parameters[name]) for name in fixed)


def test_windows_of_unit_steps_are_gradient_descent_on_every_target(backend, problem, worst, target):
    network, _, _ = problem
    x, y = networks.batch(network, 5, 12)
    for size, schedule in ((1, "free"), (3, "free"), (3, "wavefront")):
        options = {"epochs": 3, "batch_size": size, "learning_rate": RATE, "schedule": schedule}
        result = dn.train(network, (x, y), backend=backend(target), **options)
        decay = {"weight_decay": 2.0, **options}
        decayed, wanted = (dn.train(network, (x, y), backend=b, **decay) for b in (backend(target), "reference"))
        assert worst(decayed.network.parameters, wanted.network.parameters) <= EXACT
        assert transposes_agree(decayed)
        reference = dn.train(network, (x, y), **options)
        assert worst(result.network.parameters, sgd(network, x, y, size, epochs=3).parameters) <= EXACT
        assert transposes_agree(result)
        for mine, its in zip(result.history, reference.history, strict=True):
            assert mine.loss == pytest.approx(its.loss, rel=EXACT)
            assert (mine.messages, mine.accuracy) == (its.messages, its.accuracy)


@FEWER
@given(SMOOTH, SEEDS, st.sampled_from([(), ("mismatch",), ("noise",), ("delays",), ("mismatch", "delays", "noise")]))
def test_samples_one_by_one_leave_the_weights_of_the_reference(backend, worst, random_substrate, network, seed, kinds):
    """In windows of any length, with what is still under way when the next sample or epoch begins."""
    x, y = networks.batch(network, seed, 4)
    substrate = random_substrate(network, seed, 0.5, *kinds)
    options = {"epochs": 2, "batch_size": 1, "learning_rate": RATE, "window": 5}
    judge = Reference(substrate)
    judge.alpha = 0.5
    wanted = dn.train(network, (x, y), backend=judge, **options)
    assume(all(np.abs(values).max() < 10 for values in wanted.network.parameters.values()))
    found = dn.train(network, (x, y), backend=backend(alpha=0.5, substrate=substrate), **options)
    assert worst(found.network.parameters, wanted.network.parameters) <= EXACT
    copies = [{n: c.backward for n, c in result.copies.items() if c.backward is not None} for result in (found, wanted)]
    assert not copies[0] or worst(*copies) <= EXACT


@FEWER
@given(SMOOTH, SEEDS)
def test_with_delays_windows_of_the_predicted_length_are_gradient_descent(backend, worst, random_delays, network, seed):
    x, y = networks.batch(network, seed, 6)
    substrate = Substrate(delays=random_delays(network, seed, longest=2.0))
    result = dn.train(network, (x, y), backend=backend(substrate=substrate), epochs=2, batch_size=2, learning_rate=RATE)
    assert worst(result.network.parameters, sgd(network, x, y, 2).parameters) <= EXACT


@pytest.mark.parametrize("mismatch", [0.0, 0.2])
def test_settled_windows_of_small_steps_come_close_to_gradient_descent(backend, worst, problem, target, mismatch):
    network, _, _ = problem
    x, y = networks.batch(network, 5, 12)
    found = backend(target, substrate=Substrate.mismatch(network, mismatch, 2))
    found.alpha, before = 0.3, found.alpha  # the circuit serves every step size
    try:
        result = dn.train(network, (x, y), backend=found, epochs=2, batch_size=3, learning_rate=0.1)
    finally:
        found.alpha = before
    assert worst(result.network.parameters, sgd(network, x, y, 3, rate=0.1).parameters) <= 1e-4


@FEWER
@given(chains(3, networks.SMOOTH), SEEDS)
def test_plasticity_all_the_time_is_a_weight_that_follows_its_two_factors(backend, worst, network, seed):
    """A slow twin: in every step dw = -rate / window (s r + decay w), on each copy by what it holds and has arrived there."""
    x, y = networks.batch(network, seed, 4)
    window, alpha, rate, decay = 5, 0.5, 0.1, 0.6
    options = {"epochs": 1, "batch_size": 1, "learning_rate": rate, "weight_decay": decay, "window": window, "shuffle": False}
    result = dn.train(network, (x, y), backend=backend(alpha=alpha, plasticity="continuous"), **options)
    weights = {key: np.array(values) for key, values in network.parameters.items()}
    copies = {p.name: np.array(p.weights.T) for p in network.projections if p.source != network.input}
    state, creep = dynamics.State.zero(network, 1), rate / window
    for i in np.repeat(np.arange(4), window):
        old, running = state, network.with_parameters(weights)
        state = dynamics.step(running, old, x[i : i + 1], y[i : i + 1], alpha, copies)
        rates = {network.input: x[i]} | {n: network.activations[n].rate(u[0]) for n, u in old.potentials.items()}
        for p in network.projections:
            change = np.outer(state.sensitivities[p.target][0], rates[p.source])
            weights[p.name] -= creep * (change + decay * weights[p.name])
            if p.name in copies:
                change = np.outer(rates[p.source], old.sensitivities[p.target][0])
                copies[p.name] -= creep * (change + decay * copies[p.name])
        for name, s in state.sensitivities.items():
            weights[f"{name}.bias"] -= creep * s[0]
    assert worst(result.network.parameters, weights) <= EXACT
    assert not copies or worst({n: result.copies[n].backward for n in copies}, copies) <= EXACT


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=pytest.mark.timeout(400))])
def test_plasticity_all_the_time_learns_and_is_not_gradient_descent(backend, worst, problem, target):
    """With samples of 3, 12, 30 tau it is 38, 2.9, 1.6 % of the largest weight away from SGD, which moves weights by 50 %."""
    network, _, _ = problem
    x, y = networks.batch(network, 5, 12)
    options = {"epochs": 4, "batch_size": 1, "learning_rate": 0.05}
    wanted, away, drift = sgd(network, x, y, 1, epochs=4, rate=0.05).parameters, [], []
    for window in (10, 40, 100):
        learner = backend(target, alpha=0.3, plasticity="continuous")
        result = dn.train(network, (x, y), backend=learner, window=window, **options)
        away.append(worst(result.network.parameters, wanted))
        both = [copies for copies in result.copies.values() if copies.backward is not None]
        drift.append(max(np.abs(copies.forward - copies.backward.T).max() for copies in both))
        assert result.history[-1].loss < 0.7 * result.history[0].loss
        fixed = [p.name for p in network.projections if not p.plastic]
        assert all(np.array_equal(result.network.parameters[name], network.parameters[name]) for name in fixed)
    assert 1e-3 < away[2] < away[1] < 0.1 < away[0] < worst(network.parameters, wanted)
    assert 1e-4 < drift[2] < 0.5 * drift[1] < 0.1 * drift[0]  # the copies see their factors at other moments of a transient


@pytest.mark.timeout(400)
def test_the_digits_in_continuous_time(folder):
    from brian2 import ms

    data = digits()
    network = dn.Network.dense([64, 32, 10], activation="tanh", loss="cross_entropy", seed=0)
    learner = Brian2(10 * ms, 3 * ms, "cpp_standalone", directory=folder)
    if learner.missing():
        pytest.skip(learner.missing())
    result = dn.train(network, data, backend=learner, epochs=18, batch_size=5, learning_rate=0.1)
    learner.close()
    assert result.history[-1].validation >= 0.96
