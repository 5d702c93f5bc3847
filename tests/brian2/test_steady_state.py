"""Time constants, delays and small steps leave the gradient exact in the end; delays at unit steps, at a step that is known."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags
from dyadic_neuro.trace import relative_error

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")

EXACT, STEADY = 1e-12, 1e-6
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes a second: shrinking one would take minutes
FEW, FEWER = settings(max_examples=6, phases=PHASES), settings(max_examples=5, phases=PHASES)
CHAINS = chains(4, networks.SMOOTH)
NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))
CHAIN = networks.chain(2, 3, activation="tanh")
DELAYS = {"input->hidden1": 3.0, "hidden1->hidden2": (2.0, 1.0), "hidden2->output": (0.0, 3.0)}


@FEWER
@given(NETWORKS, SEEDS, st.booleans())
def test_a_mismatch_of_30_percent_leaves_the_gradient_exact(backend, worst, random_delays, network, seed, delayed):
    x, y = networks.batch(network, seed, 2)
    delays = random_delays(network, seed) if delayed else {}
    substrate = Substrate.mismatch(network, 0.3, seed, delays=delays)
    trace = dn.relax(network, x, y, backend=backend(alpha=0.3, substrate=substrate), tolerance=1e-9, record="last")
    assert worst(trace.gradients, dn.backprop(network, x, y)) <= STEADY


@FEW
@given(CHAINS, SEEDS)
def test_with_delays_unit_steps_are_exact_in_the_predicted_number_and_not_before(backend, random_delays, network, seed):
    x, y = networks.batch(network, seed, 2)
    substrate = Substrate(delays=random_delays(network, seed))
    initial = networks.state(network, seed, 2)
    trace = dn.relax(network, x, y, initial=initial, backend=backend(substrate=substrate))
    assert trace.steps == substrate.settling_steps(network, 1.0, 1e-8) >= network.relaxation_steps
    wanted, first = dn.backprop(network, x, y), f"{network.order[1]}.bias"
    assert max(relative_error(trace.gradients, wanted).values()) <= EXACT * max(1.0, 1.0 / np.abs(wanted[first]).max())
    early = dn.relax(network, x, y, initial=initial, backend=backend(substrate=substrate), steps=trace.steps - 1)
    assert np.abs(early.gradients[first] - wanted[first]).max() > 1e-9 * np.abs(wanted[first]).max()


def test_with_delays_every_target_is_exact_in_the_steps_counted_by_hand(backend, target):
    x, y = networks.batch(CHAIN, 1, 2)
    found = backend(target, substrate=Substrate(delays=DELAYS))
    initial, wanted = networks.state(CHAIN, 2, 2), dn.backprop(CHAIN, x, y)
    trace = dn.relax(CHAIN, x, y, backend=found, initial=initial)
    # to hidden1, hidden2 and the readout: 1 + 3 + 1; the loss 1; back to hidden2 and hidden1: 4 + 2
    assert trace.steps == 12
    assert max(relative_error(trace.gradients, wanted).values()) <= EXACT
    early = dn.relax(CHAIN, x, y, backend=found, initial=initial, steps=11)
    assert relative_error(early.gradients, wanted)["hidden1.bias"] > STEADY


@pytest.mark.parametrize("kind", ["mismatch", "delays"])
def test_the_steady_gradient_is_exact_on_every_target(backend, problem, worst, target, kind):
    network, x, y = problem if kind == "mismatch" else (CHAIN, *networks.batch(CHAIN, 1, 2))
    alpha = 0.25
    # as many steps as in the test above, so that the same program serves
    delays = {n: tuple(alpha * d for d in np.broadcast_to(delay, 2)) for n, delay in DELAYS.items()}
    substrate = Substrate.mismatch(network, 0.3, 5) if kind == "mismatch" else Substrate(delays=delays)
    trace = dn.relax(network, x, y, alpha=alpha, backend=backend(target, substrate=substrate), tolerance=1e-9, record="last")
    assert worst(trace.gradients, dn.backprop(network, x, y)) <= STEADY


def test_noise_spoils_the_gradient_in_proportion(backend, problem, worst):
    network, x, y = problem
    wanted = dn.backprop(network, x, y)
    errors = []
    for noise in (1e-5, 2e-5):
        found = backend(substrate=Substrate(noise=noise, seed=3), alpha=0.5)
        errors.append(worst(dn.relax(network, x, y, backend=found, steps=80, record="last").gradients, wanted))
    assert errors[1] / errors[0] == pytest.approx(2, rel=1e-2)
