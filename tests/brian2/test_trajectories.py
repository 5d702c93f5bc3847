"""Every state at every step is the reference's: on every target, at any step size, on any substrate, in either coordinates."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import dyadic_neuro as dn
from dyadic_neuro.backends import Reference
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")

EXACT = 1e-12
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes a second: shrinking one would take minutes
FEW, FEWER = settings(max_examples=10, phases=PHASES), settings(max_examples=5, phases=PHASES)
NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))
ALPHAS = st.one_of(st.just(1.0), st.floats(0.05, 1.5))
KINDS = st.sets(st.sampled_from(["mismatch", "delays", "noise"]))
STEPS = 9


def other_copies(network, seed):
    """Return W^T copies that are transposes of nothing."""
    rng = np.random.default_rng(seed)
    return {p.name: rng.normal(size=p.weights.T.shape) for p in network.projections if p.source != network.input}


@FEW
@given(NETWORKS, SEEDS, st.integers(1, 3), ALPHAS, KINDS, st.booleans())
def test_states_are_those_of_the_reference(
    backend, apart, worst, random_substrate, network, seed, size, alpha, kinds, asymmetric
):
    substrate = random_substrate(network, seed, alpha, *kinds)
    x, y = networks.batch(network, seed, size)
    options = {"alpha": alpha, "steps": STEPS, "initial": networks.state(network, seed, size)}
    if asymmetric:
        options["backward"] = other_copies(network, seed)
    wanted = dn.relax(network, x, y, backend=Reference(substrate), **options)
    found = dn.relax(network, x, y, backend=backend(substrate=substrate), **options)
    assert apart(found, wanted) <= EXACT
    assert worst(found.gradients_at(STEPS), found.gradients) <= EXACT


@pytest.mark.parametrize("kinds", [(), ("mismatch",), ("mismatch", "delays", "noise")], ids="+".join)
@pytest.mark.parametrize("alpha", [1.0, 0.3, 1.5])
def test_states_are_those_of_the_reference_on_every_target(backend, problem, apart, random_substrate, target, alpha, kinds):
    network, x, y = problem
    substrate = random_substrate(network, 0, 1.0, *kinds)
    # the same delays in steps at every step size: a compiled circuit then serves all
    delays = {n: tuple(alpha * delay for delay in pair) for n, pair in substrate.delays.items()}
    substrate = Substrate(substrate.time_constants, delays, substrate.noise, 7)
    options = {
        "alpha": alpha,
        "steps": STEPS,
        "initial": networks.state(network, 3, len(x)),
        "backward": other_copies(network, 4),
    }
    found = dn.relax(network, x, y, backend=backend(target, substrate=substrate), **options)
    assert apart(found, dn.relax(network, x, y, backend=Reference(substrate), **options)) <= EXACT


def test_a_wavefront_is_the_reference_s_on_every_target(backend, problem, apart, target):
    network, x, y = problem
    options = {"schedule": "wavefront", "steps": network.relaxation_steps + 2, "initial": networks.state(network, 3, len(x))}
    found = dn.relax(network, x, y, backend=backend(target), **options)
    assert apart(found, dn.relax(network, x, y, **options)) <= EXACT
    exact = dn.relax(network, x, y, backend=backend(target), schedule="wavefront").gradients
    assert all(np.abs(exact[key] - right).max() <= EXACT for key, right in dn.backprop(network, x, y).items())


@FEWER
@given(NETWORKS, SEEDS)
def test_a_noisy_wavefront_is_the_reference_s(backend, apart, network, seed):
    """A state that is held takes no noise in either."""
    x, y = networks.batch(network, seed, 2)
    substrate = Substrate(noise=(0.1, 0.2), seed=seed)
    options = {"schedule": "wavefront", "initial": networks.state(network, seed, 2)}
    found = dn.relax(network, x, y, backend=backend(substrate=substrate), **options)
    assert apart(found, dn.relax(network, x, y, backend=Reference(substrate), **options)) <= EXACT


@FEWER
@given(chains(3, networks.SMOOTH), SEEDS)
def test_single_precision_stays_single(backend, apart, network, seed):
    single = dn.Network(network.populations, network.projections, network.loss, dtype="float32")
    x, y = networks.batch(single, seed, 2)
    found = dn.relax(single, x, y, backend=backend(), steps=6)
    assert {a.dtype for part in (found.potentials, found.sensitivities, found.gradients) for a in part.values()} == {
        np.dtype("f4")
    }
    assert apart(found, dn.relax(single, x, y, steps=6)) <= 1e-5


# --- dyad coordinates ----------------------------------------------------------------------------------------------------


@FEWER
@given(NETWORKS, SEEDS, ALPHAS, st.booleans(), st.booleans(), st.sampled_from([0.0, (0.1, 0.3)]))
def test_dyad_coordinates_are_a_change_of_variables(
    backend, apart, random_delays, network, seed, alpha, mismatched, delayed, noise
):
    rng = np.random.default_rng(seed)
    constants = {p.name: rng.uniform(0.8, 2.5, p.size) for p in network.dynamic} if mismatched else {}
    substrate = Substrate(constants, random_delays(network, seed, alpha) if delayed else {}, noise, seed)
    x, y = networks.batch(network, seed, 2)
    options = {"alpha": alpha, "steps": STEPS, "initial": networks.state(network, seed, 2)}
    found = dn.relax(network, x, y, backend=backend(substrate=substrate, coordinates="dyad"), **options)
    assert apart(found, dn.relax(network, x, y, backend=Reference(substrate), **options)) <= EXACT


# --- the binomial law ----------------------------------------------------------------------------------------------------


def linear_chain(seed, depth):
    """Return a linear chain without biases, and its weights."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, depth + 1)
    names = ["input", *(f"hidden{i}" for i in range(1, depth)), "output"]
    weights = [rng.normal(size=(after, before)) / before for before, after in pairwise(sizes)]
    populations = [dn.Population(name, int(size)) for name, size in zip(names, sizes, strict=True)]
    return dn.Network(populations, [dn.Projection(a, b, w) for (a, b), w in zip(pairwise(names), weights, strict=True)]), weights


@FEWER
@given(SEEDS, st.integers(1, 5), st.sampled_from([0.05, 0.3, 0.5, 0.9, 1.0]))
def test_linear_chains_follow_the_binomial_law_at_every_step(backend, seed, depth, alpha):
    """u_l(n) = U_l B(l) and s_l(n) = W^T ... (U_L B(2L + 1 - l) - y B(L + 1 - l)), B(k) = P[Binomial(n, alpha) >= k]."""
    network, weights = linear_chain(seed, depth)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, weights[0].shape[1])), rng.normal(size=(2, weights[-1].shape[0]))
    steps = 25
    trace = dn.relax(network, x, y, backend=backend(alpha=alpha), steps=steps)
    arrived = [binom.sf(k - 1, np.arange(steps + 1), alpha)[:, None, None] for k in range(2 * depth + 1)]
    potentials = [x]
    for w in weights:
        potentials.append(potentials[-1] @ w.T)
    for layer, name in enumerate(network.order[1:], 1):
        back = np.eye(len(y[0]))
        for w in reversed(weights[layer:]):
            back = back @ w
        s = (potentials[-1] @ back) * arrived[2 * depth + 1 - layer] - (y @ back) * arrived[depth + 1 - layer]
        assert np.abs(trace.potentials[name] - potentials[layer] * arrived[layer]).max() <= 1e-9
        assert np.abs(trace.sensitivities[name] - s).max() <= 1e-9
