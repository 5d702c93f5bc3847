"""The judge itself: against numbers by hand and against differences (tests/reference), and what it refuses."""

import numpy as np
import pytest

from dyadic_neuro import accuracy, backprop, mean_loss, oracle, predict
from dyadic_neuro.errors import CycleError, DataError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

NET = Network.dense([2, 3, 2], activation="tanh", loss="cross_entropy", seed=0)
X = np.array([[1.0, -1], [0.5, 2], [0, 0.3]])


def test_predictions_losses_and_accuracy_are_those_of_a_forward_sweep():
    w, v = NET.parameters["input->hidden1"], NET.parameters["hidden1->output"]
    u = np.tanh(X @ w.T) @ v.T
    np.testing.assert_allclose(predict(NET, X), u, rtol=1e-14)
    p = np.exp(u) / np.exp(u).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mean_loss(NET, X, [0, 1, 1]), -np.log(p[[0, 1, 2], [0, 1, 1]]).mean(), rtol=1e-14)
    best = u.argmax(axis=1)
    assert accuracy(NET, X, best) == 1
    assert accuracy(NET, X, [best[0], 1 - best[1], best[2]]) == 2 / 3


def test_settled_states_make_up_the_gradients():
    u, s = oracle.settled(NET, X, [0, 1, 1])
    found = backprop(NET, X, [0, 1, 1])
    assert set(u) == set(s) == {"hidden1", "output"}
    np.testing.assert_array_equal(u["output"], predict(NET, X))
    np.testing.assert_allclose(found["hidden1->output"], s["output"].T @ np.tanh(u["hidden1"]) / 3, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found["input->hidden1"], s["hidden1"].T @ X / 3, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found["hidden1.bias"], s["hidden1"].mean(axis=0), rtol=0, atol=1e-15)


def test_gradients_of_a_batch_are_the_means_of_its_samples():
    classes = [0, 1, 1]
    whole = backprop(NET, X, classes)
    single = [backprop(NET, X[i : i + 1], classes[i : i + 1]) for i in range(3)]
    for key, values in whole.items():
        np.testing.assert_allclose(values, np.mean([one[key] for one in single], axis=0), rtol=0, atol=1e-15)


def test_bad_data_and_cycles_are_refused(refuses):
    loop = Network(
        [Population("input", 2), Population("a", 1), Population("output", 2)],
        [
            Projection("input", "a", np.ones((1, 2))),
            Projection("a", "a", np.ones((1, 1))),
            Projection("a", "output", np.ones((2, 1))),
        ],
    )
    for call in (backprop, mean_loss, oracle.settled):
        with refuses(DataError, "inputs", "not (any, 2)"):
            call(NET, np.ones((1, 3)), [0])
        with refuses(DataError, "targets", "class 2"):
            call(NET, X, [0, 1, 2])
        with refuses(CycleError, "network", "a -> a"):
            call(loop, X, np.zeros((3, 2)))
    with refuses(DataError, "inputs", "nan"):
        predict(NET, X * np.nan)


@pytest.mark.parametrize("classes", [[0, 1], [[0, 1, 1]], [0.0, 1.0, 1.0], np.eye(2)[[0, 1, 1]], 0])
def test_accuracy_wants_one_class_for_each_sample(classes, refuses):
    with refuses(DataError, "classes", "(3,) integer classes"):
        accuracy(NET, X, classes)
