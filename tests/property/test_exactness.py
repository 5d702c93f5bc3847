"""The theorem: over random networks and states, the gradient is backpropagation's at 2D, not sooner, and for ever after."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags
from dyadic_neuro.trace import relative_error

EXACT = 1e-12
NETWORKS = st.one_of(chains(8), dags(6), dags(5, parts=True))
SMOOTH = st.one_of(chains(8, networks.SMOOTH), dags(6, networks.SMOOTH))
BATCHES = st.sampled_from([1, 2, 7])
SCALES = st.sampled_from([0.0, 1.0, 30.0])


@given(NETWORKS, SEEDS, BATCHES, SCALES, st.sampled_from(["free", "wavefront"]))
def test_gradients_equal_the_oracle_at_2d_from_any_state(network, seed, batch, scale, schedule):
    x, y = networks.batch(network, seed, batch)
    trace = dn.relax(network, x, y, initial=networks.state(network, seed, batch, scale), schedule=schedule)
    assert trace.steps == 2 * network.depth
    wanted = dn.backprop(network, x, y)
    assert set(trace.gradients) == set(wanted)
    size = max(1.0, *(float(np.abs(gradient).max()) for gradient in wanted.values()))
    for key, right in wanted.items():
        assert trace.gradients[key].shape == network.parameters[key].shape
        assert np.abs(trace.gradients[key] - right).max() <= EXACT * size


@given(NETWORKS, SEEDS, BATCHES, st.integers(1, 12))
def test_the_exact_state_is_absorbing(network, seed, size, more):
    x, y = networks.batch(network, seed, size)
    trace = dn.relax(network, x, y, initial=networks.state(network, seed, size), steps=network.relaxation_steps + more)
    for t in range(network.relaxation_steps + 1, trace.steps + 1):
        for name in trace.potentials:
            assert np.array_equal(trace.potentials[name][t], trace.potentials[name][t - 1])
            assert np.array_equal(trace.sensitivities[name][t], trace.sensitivities[name][t - 1])


@given(SMOOTH, SEEDS, BATCHES)
def test_at_2d_minus_1_the_farthest_populations_are_still_wrong(network, seed, size):
    x, y = networks.batch(network, seed, size)
    wanted = dn.backprop(network, x, y)
    far = [name for name, height in network.heights.items() if height == network.depth - 1 and name != network.input]
    assert far
    assume(all(np.abs(wanted[f"{name}.bias"]).max() > 1e-9 for name in far))  # gradients that have not vanished
    last = network.relaxation_steps
    trace = dn.relax(network, x, y, initial=networks.state(network, seed, size), steps=last)
    before = trace.gradients_at(last - 1)
    for name in far:
        # beside skips, what is still to come by the longest way may be as little as a slope of a quarter to the power of D
        least = 1e-9 if len(network.projections) == network.depth else 0.0
        assert relative_error(before, wanted)[f"{name}.bias"] > least
        assert np.abs(before[f"{name}.bias"] - trace.gradients[f"{name}.bias"]).max() > 0.0


@given(SMOOTH, SEEDS, BATCHES)
def test_each_population_is_exact_from_its_own_step_and_not_before(network, seed, size):
    x, y = networks.batch(network, seed, size)
    trace = dn.relax(network, x, y, initial=networks.state(network, seed, size), steps=network.relaxation_steps + 2)
    for name in trace.potentials:
        for rows, due in (
            (trace.potentials[name], network.depths[name]),
            (trace.sensitivities[name], network.depth + 1 + network.heights[name]),
        ):
            wrong = np.abs(rows - rows[-1]).max(axis=(1, 2))
            assert wrong[due:].max() == 0.0
            assert wrong[due - 1] > 0.0
    assert np.abs(trace.potentials[network.output][-1] - dn.predict(network, x)).max() <= EXACT * 10


@given(NETWORKS, SEEDS, st.integers(0, 20), st.sampled_from([np.nan, np.inf, 1e300, -3.0]))
def test_self_stabilising_whatever_the_fault(network, seed, when, value):
    """A corrupted state, even NaN, is gone 2D clean steps later (schedule free, alpha = 1, intact weights)."""
    x, y = networks.batch(network, seed, 2)
    clean = dn.relax(network, x, y, steps=max(when, 1))
    rng = np.random.default_rng(seed)
    hit = {name: np.where(rng.random(u.shape) < 0.3, value, u) for name, u in clean.final.potentials.items()}
    state = dn.State(hit, {name: np.where(rng.random(s.shape) < 0.3, value, s) for name, s in clean.final.sensitivities.items()})
    with np.errstate(all="ignore"):
        for _ in range(network.relaxation_steps):
            state = dn.dynamics.step(network, state, x, y)
    right = dn.relax(network, x, y).final
    for name in right.potentials:
        assert np.array_equal(state.potentials[name], right.potentials[name])
        assert np.array_equal(state.sensitivities[name], right.sensitivities[name])


@given(NETWORKS, SEEDS)
def test_samples_may_follow_each_other_without_a_reset(network, seed):
    first, second = networks.batch(network, seed, 3), networks.batch(network, seed + 1, 3)
    after = dn.relax(network, *second, initial=dn.relax(network, *first).final)
    alone = dn.relax(network, *second)
    for key in network.plastic:
        assert np.array_equal(after.gradients[key], alone.gradients[key])


@pytest.mark.parametrize("p", [0.3, 0.7])
@given(chains(4, networks.SMOOTH), SEEDS)
def test_random_asynchronous_updates_still_end_exact(p, network, seed):
    """Populations that update with probability p a step reach the same fixed point (DESIGN section 2)."""
    x, y = networks.batch(network, seed, 2)
    rng, state = np.random.default_rng(seed), networks.state(network, seed, 2)
    right = dn.relax(network, x, y).final
    for _ in range(80 * network.depth):
        new = dn.dynamics.step(network, state, x, y)
        pick = {name: (rng.random() < p, rng.random() < p) for name in new.potentials}
        state = dn.State(
            {n: (new if pick[n][0] else state).potentials[n] for n in pick},
            {n: (new if pick[n][1] else state).sensitivities[n] for n in pick},
        )
    for name in right.potentials:
        assert np.array_equal(state.potentials[name], right.potentials[name])
        assert np.array_equal(state.sensitivities[name], right.sensitivities[name])
