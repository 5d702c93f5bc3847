"""Axons that send events: with threshold 0 nothing is lost, and a larger one trades messages for error."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Reference
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.errors import OptionError
from dyadic_neuro.oracle import descend
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags
from dyadic_neuro.training import batches

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")

EXACT = 1e-12
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes a second: shrinking one would take minutes
FEWER = settings(max_examples=6, phases=PHASES)
NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))
ALPHAS = st.one_of(st.just(1.0), st.floats(0.05, 1.5))


@FEWER
@given(NETWORKS, SEEDS, ALPHAS, st.booleans(), st.sampled_from(["free", "wavefront"]))
def test_at_threshold_0_the_states_are_the_reference_s(
    backend, apart, random_substrate, network, seed, alpha, mismatched, schedule
):
    if schedule == "wavefront":
        alpha, mismatched = 1.0, False
    substrate = random_substrate(network, seed, alpha, *(["mismatch"] if mismatched else []))
    x, y = networks.batch(network, seed, 2)
    options = {"alpha": alpha, "steps": 9, "initial": networks.state(network, seed, 2), "schedule": schedule}
    found = dn.relax(network, x, y, backend=backend(substrate=substrate, threshold=0.0), **options)
    dense = dn.relax(network, x, y, backend=Reference(substrate), **options)
    assert apart(found, dense) <= EXACT
    assert found.messages.total() <= dense.messages.total() or schedule == "wavefront"


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp_standalone", marks=pytest.mark.timeout(400))])
def test_a_circuit_falls_silent_when_it_has_settled(backend, problem, apart, target):
    network, x, y = problem
    settled, steps = network.relaxation_steps, network.relaxation_steps + 4
    initial = networks.state(network, 3, len(x))
    trace = dn.relax(network, x, y, backend=backend(target, threshold=0.0), steps=steps, initial=initial)
    dense = dn.relax(network, x, y, steps=steps, initial=initial)
    assert apart(trace, dense) <= EXACT
    sent = trace.messages.per_step()
    assert np.all(sent[:settled] > 0)
    assert sent[0] <= dense.messages.per_step()[0]  # a neuron without a synapse at the end of its axon has no axon
    assert np.all(sent[settled + 1 :] == 0)


def test_the_ledger_of_a_chain_of_three_neurons_is_what_one_counts_by_hand(backend):
    names = ["input", "hidden1", "output"]
    network = dn.Network([dn.Population(name, 1) for name in names], [dn.Projection(a, b, [[0.5]]) for a, b in pairwise(names)])
    trace = dn.relax(network, [[1.0]], [[3.0]], backend=backend(threshold=0.0), steps=6)
    entries = {(e.step, e.source, e.target): e.messages for e in trace.messages if not e.local}
    assert entries == {
        (1, "input", "hidden1"): 1,  # x, and never again
        (2, "hidden1", "output"): 1,  # u = w x
        (2, "output", "hidden1"): 1,  # s = 0 - y, of the readout's first potential
        (4, "output", "hidden1"): 1,  # s = w w x - y: the readout had its potential in step 2, the loss in step 3
    }
    assert trace.messages.total() == 4
    last = dn.relax(network, [[1.0]], [[3.0]], backend=backend(threshold=0.0), steps=6, record="last")
    assert last.messages.total() == 4
    assert last.messages.total("sensitivity") == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_errors_grow_with_the_threshold_and_messages_fall(backend, worst, seed):
    network = dn.Network.dense([6, 12, 12, 4], activation="tanh", seed=seed)
    x, y = networks.batch(network, seed, 4)
    thresholds, wanted = (0.0, 1e-4, 1e-3, 1e-2, 1e-1), dn.backprop(network, x, y)
    traces = [dn.relax(network, x, y, alpha=0.3, steps=60, backend=backend(threshold=t)) for t in thresholds]
    errors = np.array([worst(trace.gradients, wanted) for trace in traces])
    sent = [trace.messages.total() for trace in traces]
    assert errors[0] < 1e-5
    assert all(after < before for before, after in pairwise(sent))
    ratios = errors[1:] / thresholds[1:]
    assert ratios.min() > 0.02
    assert ratios.max() < 5.0


def test_rates_and_sensitivities_have_thresholds_of_their_own(backend, problem, worst):
    network, x, y = problem
    initial = networks.state(network, 3, len(x))
    dense = dn.relax(network, x, y, steps=9, initial=initial)
    deaf = dn.relax(network, x, y, steps=9, initial=initial, backend=backend(threshold=(0.0, 1e6)))
    assert worst(deaf.potentials, dense.potentials) <= EXACT
    assert worst(deaf.sensitivities, dense.sensitivities) > 1e-3
    assert deaf.messages.total("sensitivity") == 0
    assert deaf.messages.total("rate") > 0


@FEWER
@given(st.one_of(chains(3, networks.SMOOTH), dags(2, networks.SMOOTH)), SEEDS, st.integers(1, 3))
def test_learning_at_threshold_0_is_sgd(backend, worst, network, seed, size):
    x, y = networks.batch(network, seed, 6)
    options = {"epochs": 2, "batch_size": size, "learning_rate": 0.03}
    result = dn.train(network, (x, y), backend=backend(threshold=0.0), **options)
    order = [rows for epoch in range(2) for rows in batches(6, size, epoch, seed=0)]
    assert worst(result.network.parameters, descend(network, x, y, order, 0.03).parameters) <= 1e-10
    assert result.history[0].messages < dn.train(network, (x, y), **options).history[0].messages
    options |= {"weight_decay": 3.0}
    decayed, wanted = (dn.train(network, (x, y), backend=b, **options).network for b in (backend(threshold=0.0), "reference"))
    assert worst(decayed.parameters, wanted.parameters) <= 1e-10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"substrate": Substrate(delays={"input->output": 1.0})}, "delays"),
        ({"plasticity": "continuous"}, "continuous"),
        ({"method": "rk4"}, "events"),
        ({"method": "rk2"}, "events"),
        ({"threshold": -1e-3}, "at least 0"),
        ({"threshold": float("nan")}, "at least 0"),
        ({"threshold": (1e-3, float("inf"))}, "at least 0"),
        ({"threshold": (1e-3,)}, "at least 0"),
        ({"threshold": (1, 2, 3)}, "at least 0"),
        ({"threshold": "much"}, "at least 0"),
        ({"threshold": True}, "at least 0"),
    ],
)
def test_what_does_not_go_with_events_is_refused(options, says):
    with pytest.raises(OptionError, match=says) as caught:
        Brian2(**{"target": "numpy", "threshold": 1e-3} | options)
    assert caught.value.fix
