"""The law of the fast path: the same states as repeated steps, at every step, whatever the network."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro import dynamics
from dyadic_neuro.activations import activation
from dyadic_neuro.backends.reference.stacked import Stacked
from dyadic_neuro.dynamics import State, feedback_copies, rates, step
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

SAME = 1e-12
NETWORKS = st.one_of(chains(8), dags(6), dags(5, parts=True))
BATCHES = st.sampled_from([1, 2, 7])
ALPHAS = st.one_of(st.just(1.0), st.floats(0.05, 1.5))
STEPS = st.integers(1, 25)
OWN = (lambda u: np.log1p(u * u), lambda u: 2 * u / (1 + u * u))


def by_steps(network, state, x, y, steps, alpha=1.0, backward=None):
    """Return the states of every step, and what the synapses read in the last one."""
    states = [state]
    for _ in range(steps):
        states.append(step(network, states[-1], x, y, alpha, backward))
    read = dynamics.gradients(network, states[-1].sensitivities, rates(network, states[-2], x))
    return states, read


def assert_same(network, state, x, y, steps, alpha=1.0, backward=None, tolerance=SAME):
    stacked = Stacked(network, alpha, state, feedback_copies(network, backward))
    potentials, sensitivities, read = stacked.run(steps, x, y, by_step=True)
    states, wanted = by_steps(network, state, x, y, steps, alpha, backward)
    for rows, half in ((potentials, "potentials"), (sensitivities, "sensitivities")):
        assert set(rows) == {p.name for p in network.dynamic}
        for name, found in rows.items():
            assert found.shape == (steps + 1, len(x), network.population(name).size)
            assert found.dtype == network.dtype
            for t, right in enumerate(states):
                size = max(1.0, *(float(np.abs(values).max()) for values in getattr(right, half).values()))
                assert np.abs(found[t] - getattr(right, half)[name]).max() <= tolerance * size
    assert set(read) == set(network.plastic)
    size = max(1.0, *(float(np.abs(gradient).max()) for gradient in wanted.values())) if wanted else 1.0
    for key, right in wanted.items():
        assert read[key].shape == network.parameters[key].shape
        assert np.abs(read[key] - right).max() <= tolerance * size


@given(NETWORKS, SEEDS, BATCHES, ALPHAS, STEPS)
def test_every_step_is_a_step_of_the_dynamics(network, seed, batch, alpha, steps):
    x, y = networks.batch(network, seed, batch)
    assert_same(network, networks.state(network, seed, batch), x, y, steps, alpha)


@settings(max_examples=min(25, settings().max_examples))
@given(st.integers(2, 40), SEEDS, st.sampled_from(["tanh", "relu", "identity"]), ALPHAS)
def test_deep_chains_of_one_width(depth, seed, activation, alpha):
    network = dn.Network.dense([5] * depth + [3], activation, "cross_entropy", seed)
    x, y = networks.batch(network, seed, 4)
    assert_same(network, State.zero(network, 4), x, y, 2 * depth, alpha)


@given(NETWORKS, SEEDS, BATCHES, ALPHAS, STEPS)
def test_other_feedback_copies(network, seed, batch, alpha, steps):
    x, y = networks.batch(network, seed, batch)
    rng = np.random.default_rng(seed)
    backward = {n: rng.normal(size=p.weights.shape) for n, p in feedback_copies(network).items() if rng.random() < 0.7}
    assert_same(network, networks.state(network, seed, batch), x, y, steps, alpha, backward)


@given(SEEDS, st.integers(1, 8), st.booleans(), st.sampled_from(networks.SMOOTH), BATCHES, ALPHAS)
def test_float32(seed, size, skips, activation, batch, alpha):
    build = networks.dag if skips else networks.chain
    network = build(seed, size, activation=activation, dtype="float32")
    x, y = networks.batch(network, seed, batch)
    assert_same(network, networks.state(network, seed, batch), x, y, 20, alpha, tolerance=1e-4)


@given(SEEDS, BATCHES, ALPHAS)
def test_cycles_and_functions_of_ones_own(seed, batch, alpha):
    rng = np.random.default_rng(seed)
    own = activation(OWN)
    sizes = {"input": 3, "a": 4, "b": 4, "c": 4, "output": 2}
    pairs = ["input a", "a b", "b c", "c a", "a a", "c output", "output b", "input output"]
    network = dn.Network(
        [dn.Population(n, k, own if n in "ab" else OWN if n == "c" else "identity") for n, k in sizes.items()],
        [dn.Projection(s, t, rng.normal(0.0, 0.3, (sizes[t], sizes[s]))) for s, t in map(str.split, pairs)],
        (lambda u, y: ((u - y) ** 4).sum(axis=1), lambda u, y: 4 * (u - y) ** 3),
    )
    x, y = rng.normal(size=(batch, 3)), rng.normal(size=(batch, 2))
    state = networks.state(network, seed, batch, 0.1)
    assert_same(network, state, x, y, 4, alpha)  # the quartic loss may run away later


@given(NETWORKS, SEEDS, BATCHES, ALPHAS, STEPS)
def test_the_last_step_alone_is_that_of_all(network, seed, batch, alpha, steps):
    x, y = networks.batch(network, seed, batch)
    stacked = Stacked(network, alpha, networks.state(network, seed, batch), feedback_copies(network))
    *rows, read = stacked.run(steps, x, y, by_step=True)
    *last, again = stacked.run(steps, x, y, by_step=False)
    for found, wanted in zip(last, rows, strict=True):
        for name, right in wanted.items():
            assert np.array_equal(found[name], right[-1:])
            assert not any(rows.flags.writeable for rows in (found[name], right))
    for key, right in read.items():
        assert np.array_equal(again[key], right)


@given(NETWORKS, SEEDS, BATCHES)
def test_a_spoilt_neuron_spoils_what_it_reaches_and_is_gone_after_2d_steps(network, seed, batch):
    x, y = networks.batch(network, seed, batch)
    state = networks.state(network, seed, batch)
    name = network.dynamic[seed % len(network.dynamic)].name
    for values in (state.potentials[name], state.sensitivities[name]):
        values[0, 0] = np.nan
    stacked = Stacked(network, 1.0, state, feedback_copies(network))
    with np.errstate(all="ignore"):
        potentials, sensitivities, _ = stacked.run(network.relaxation_steps, x, y, by_step=True)
        states, _ = by_steps(network, state, x, y, network.relaxation_steps)
    for t, right in enumerate(states):
        for key in potentials:
            assert np.array_equal(np.isnan(potentials[key][t]), np.isnan(right.potentials[key]))
            assert np.array_equal(np.isnan(sensitivities[key][t]), np.isnan(right.sensitivities[key]))
    assert not any(np.isnan(rows[key][-1]).any() for rows in (potentials, sensitivities) for key in rows)
