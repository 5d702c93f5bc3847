"""Weights change inside the Nengo model, by the Nodes that hold them, as gradient descent changes them."""

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Reference
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.backends.nengo import Nengo
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import DivergedError, SessionClosedError
from dyadic_neuro.oracle import descend
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags
from dyadic_neuro.training import batches

nengo = pytest.importorskip("nengo", reason="needs pip install 'dyadic-neuro[nengo]'")

EXACT = 1e-12
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example builds a model: shrinking one would take a minute
FEW = settings(max_examples=10, phases=PHASES)
NETWORKS = st.one_of(chains(3), dags(3), dags(3, parts=True))
SMOOTH = st.one_of(chains(3, networks.SMOOTH), dags(2, networks.SMOOTH))
RATE = 0.03


@FEW
@given(NETWORKS, SEEDS, st.integers(1, 3), st.sampled_from(["free", "wavefront"]))
def test_windows_of_2d_steps_are_gradient_descent(worst, network, seed, size, schedule):
    x, y = networks.batch(network, seed, 6)
    options = {"epochs": 2, "batch_size": size, "learning_rate": RATE, "schedule": schedule}
    result = dn.train(network, (x, y), backend=Nengo(), **options)
    order = [rows for epoch in range(2) for rows in batches(len(x), size, epoch, seed=0)]
    assert worst(result.network.parameters, descend(network, x, y, order, RATE).parameters) <= EXACT
    both = [copies for copies in result.copies.values() if copies.backward is not None]
    assert all(np.abs(copies.forward - copies.backward.T).max() <= EXACT for copies in both)
    fixed = [p.name for p in network.projections if not p.plastic]
    assert all(np.array_equal(result.network.parameters[name], network.parameters[name]) for name in fixed)
    reference = dn.train(network, (x, y), **options)
    for mine, its in zip(result.history, reference.history, strict=True):
        assert mine.loss == pytest.approx(its.loss, rel=EXACT)
        assert (mine.messages, mine.accuracy) == (its.messages, its.accuracy)


@FEW
@given(SMOOTH, SEEDS, st.integers(1, 6), st.sampled_from([None, 1.0, 4.0]), st.sampled_from([0.0, 2.0]))
def test_samples_one_by_one_leave_the_weights_of_the_reference_in_windows_of_any_length(
    worst, network, seed, window, ratio, decay
):
    """With what is still under way when the next sample, or the next epoch, begins."""
    backend = Nengo() if ratio is None else Nengo("lowpass", tau=0.01 * ratio, dt=0.01)
    judge = Reference()
    judge.alpha = backend.alpha
    x, y = networks.batch(network, seed, 4)
    options = {"epochs": 2, "batch_size": 1, "learning_rate": RATE, "weight_decay": decay, "window": window}
    wanted = dn.train(network, (x, y), backend=judge, **options)
    assume(all(np.abs(values).max() < 10 for values in wanted.network.parameters.values()))
    found = dn.train(network, (x, y), backend=backend, **options)
    assert worst(found.network.parameters, wanted.network.parameters) <= EXACT
    copies = [{n: c.backward for n, c in result.copies.items() if c.backward is not None} for result in (found, wanted)]
    assert not copies[0] or worst(*copies) <= EXACT
    assert [line.loss for line in found.history] == pytest.approx([line.loss for line in wanted.history], rel=1e-10)


def test_settled_windows_of_a_lowpass_come_close_to_gradient_descent(worst):
    network = networks.chain(14, 3, activation="tanh", loss="cross_entropy")
    x, y = networks.batch(network, 5, 12)
    result = dn.train(network, (x, y), backend=Nengo("lowpass"), batch_size=3, learning_rate=0.1, shuffle=False)
    wanted = descend(network, x, y, np.arange(12).reshape(-1, 3), 0.1).parameters
    assert worst(result.network.parameters, wanted) <= 1e-4


def test_single_precision_learns_in_single_precision(worst):
    network = networks.chain(14, 3, activation="tanh", loss="cross_entropy", dtype="float32")
    x, y = networks.batch(network, 5, 12)
    options = {"batch_size": 3, "epochs": 2, "learning_rate": 0.1}
    found, wanted = (dn.train(network, (x, y), backend=b, **options).network.parameters for b in (Nengo(), Reference()))
    assert {values.dtype for values in found.values()} == {np.dtype("float32")}
    assert worst(found, wanted) <= 1e-6


def test_weights_that_grow_without_end_are_an_error_that_says_so():
    network = dn.Network.dense([2, 3, 2], "relu", seed=0)
    with pytest.raises(DivergedError, match=r"learning_rate: 1e\+100"):
        dn.train(network, networks.batch(network, 0, 8), backend=Nengo(), batch_size=1, epochs=9, learning_rate=1e100)


def test_a_session_that_is_closed_while_it_learns_says_so_and_leaves_no_simulator_open(monkeypatch):
    network = networks.chain(1, 2)
    x, y = networks.batch(network, 1, 4)
    opened, step = [], nengo.Simulator.step
    monkeypatch.setattr(nengo.Simulator, "step", lambda sim: (opened.append(sim), step(sim)))
    session = Nengo().open(network)
    samples = np.arange(4).reshape(1, 4, 1).repeat(2, 0)
    schedule, copies = Schedule.of(network, "free"), feedback_copies(network)
    order = Learning(x, y, samples, RATE, schedule, copies, 1.0, network.relaxation_steps)
    epochs = session.learn(order, lambda _: None)
    next(epochs)
    session.close()
    assert opened[-1].closed
    with pytest.raises(SessionClosedError):
        next(epochs)
