"""Linear chains without biases, from zero: transients follow P[Binomial(n, alpha) >= k] (DESIGN section 2).

For 1 < alpha < 2 the same sum is no probability, and the same law.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, poisson

import dyadic_neuro as dn
from dyadic_neuro.schedule import arrival_weight
from dyadic_neuro.testing.strategies import SEEDS

EXACT = 1e-12


def linear_chain(seed, depth):
    """A linear chain without biases, scaled so that no product of weights leaves the range where 1e-12 means something."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, depth + 1)
    names = ["input", *(f"hidden{i}" for i in range(1, depth)), "output"]
    populations = [dn.Population(name, int(size)) for name, size in zip(names, sizes, strict=True)]
    weights = [rng.normal(size=(sizes[i + 1], sizes[i])) / sizes[i] for i in range(depth)]
    projections = [dn.Projection(names[i], names[i + 1], w) for i, w in enumerate(weights)]
    return dn.Network(populations, projections, "squared_error"), names, weights


@given(SEEDS, st.integers(1, 6), st.sampled_from([0.05, 0.3, 0.5, 0.9, 1.0, 1.05, 1.3, 1.5, 1.8]), st.integers(1, 3))
def test_potentials_and_sensitivities_follow_the_law_at_every_step(seed, depth, alpha, size):
    network, names, weights = linear_chain(seed, depth)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(size, network.population("input").size)), rng.normal(size=(size, network.population("output").size))
    steps = 40
    trace = dn.relax(network, x, y, steps=steps, alpha=alpha)
    n = np.arange(steps + 1)
    if alpha <= 1.0:
        law = {k: binom.sf(k - 1, n, alpha) for k in range(2 * depth + 1)}  # P[Binomial(n, alpha) >= k]
    else:
        law = {k: np.array([arrival_weight(t, alpha, k) for t in n]) for k in range(2 * depth + 1)}
    arrived = {k: weight[:, None, None] for k, weight in law.items()}
    exact = [x]
    for w in weights:
        exact.append(exact[-1] @ w.T)
    for layer in range(1, depth + 1):
        back = np.eye(weights[-1].shape[0])
        for w in reversed(weights[layer:]):
            back = back @ w
        u = exact[layer] * arrived[layer]
        s = (exact[depth] @ back) * arrived[2 * depth + 1 - layer] - (y @ back) * arrived[depth + 1 - layer]
        lifted = [max(1.0, np.abs(arrived[k]).max()) for k in (layer, 2 * depth + 1 - layer)]  # by overshoots, rounding too
        assert np.abs(trace.potentials[names[layer]] - u).max() <= EXACT * lifted[0]
        assert np.abs(trace.sensitivities[names[layer]] - s).max() <= EXACT * lifted[1]


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_default_step_count_meets_the_tolerance_on_linear_chains(alpha):
    network, _, _ = linear_chain(3, 4)
    x, y = np.ones((1, network.population("input").size)), np.zeros((1, network.population("output").size))
    trace = dn.relax(network, x, y, alpha=alpha, tolerance=1e-6)
    wanted = dn.backprop(network, x, y)
    error = max(np.abs(trace.gradients[key] - wanted[key]).max() / np.abs(wanted[key]).max() for key in wanted)
    assert 1e-8 < error < 3e-6  # products of two quantities that have each arrived to 1e-6; and no steps wasted


def test_small_steps_tend_to_the_poisson_law():
    network, names, weights = linear_chain(5, 3)
    x, y = np.ones((1, network.population("input").size)), np.zeros((1, network.population("output").size))
    trace = dn.relax(network, x, y, alpha=1e-3, steps=5000)
    exact = x @ weights[0].T @ weights[1].T
    found = trace.potentials[names[2]][:, 0] / exact
    assert np.abs(found - poisson.sf(1, np.arange(5001) * 1e-3)[:, None]).max() < 1e-3


@settings(max_examples=min(20, settings().max_examples))
@given(SEEDS, st.sampled_from([0.5, 1.5, 1.8]), st.sampled_from([1.0, 10.0]))
def test_stable_for_alpha_below_2_whatever_the_weights(seed, alpha, gain):
    network, _, _ = linear_chain(seed, 3)
    network = network.with_parameters({key: gain * w for key, w in network.parameters.items()})
    x, y = np.ones((1, network.population("input").size)), np.zeros((1, network.population("output").size))
    trace = dn.relax(network, x, y, alpha=alpha, steps=600, record="last")
    wanted = dn.backprop(network, x, y)
    size = max(1.0, *(float(np.abs(right).max()) for right in wanted.values()))
    for key, right in wanted.items():
        # not 1e-12: for alpha > 1 the transient C(n, k) alpha^k |1 - alpha|^(n - k) lifts rounding a thousandfold on its way
        assert np.abs(trace.gradients[key] - right).max() <= 1e-9 * size
