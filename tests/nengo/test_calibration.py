"""Ranges: what settles on the batch lies within them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from dyadic_neuro.backends.nengo.calibration import check_batch, ranges
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import DataError, OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import settled
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, dags


def measured(network, x, y):
    return ranges(network, (x, y), feedback_copies(network), steps=0, alpha=1.0)


@settings(max_examples=30)
@given(dags(4, parts=True), SEEDS)
def test_what_settles_lies_within_the_ranges(network, seed):
    x, y = networks.batch(network, seed, 4)
    potentials, deltas = settled(network, x, y)
    for name, found in measured(network, x, y).items():
        u, phi = potentials[name], network.activations[name]
        slope = phi.derivative(u, phi.rate(u))
        assert np.abs(u).max() <= found.potential
        # as far as the points that the range was measured at are apart
        assert np.abs(slope - found.center).max() <= found.spread + 0.02 * found.potential
        # s = phi' times what arrived
        assert (np.abs(deltas[name]) <= np.abs(slope) * found.arrival * (1 + 1e-12)).all()
        assert 0 < found.joint <= 2.2 * 1.1


def test_a_margin_is_left_and_a_constant_derivative_has_no_spread():
    network = networks.chain(1, 2, activation="identity")
    x, y = networks.batch(network, 1, 3)
    found = measured(network, x, y)
    potentials, _ = settled(network, x, y)
    for name, u in potentials.items():
        assert found[name].potential == pytest.approx(1.1 * np.abs(u).max())
        assert (found[name].center, found[name].spread) == (1.0, 0.0)


def test_a_population_at_rest_has_a_range_all_the_same():
    network = Network.dense([2, 3, 1], activation="tanh")
    found = measured(network, np.zeros((1, 2)), np.zeros((1, 1)))
    assert all(r.potential == 1.0 and r.arrival == 1.0 and np.isfinite(r.joint) for r in found.values())


def test_ranges_are_those_of_the_copies_that_are_used():
    network = networks.chain(2, 3, activation="tanh")
    x, y = networks.batch(network, 2, 4)
    copies = {name: copy.with_weights(5.0 * copy.weights) for name, copy in feedback_copies(network).items()}
    usual, larger = measured(network, x, y), ranges(network, (x, y), copies, steps=0, alpha=1.0)
    assert larger["hidden2"].arrival == pytest.approx(5.0 * usual["hidden2"].arrival)
    assert larger["hidden2"].potential == usual["hidden2"].potential


def test_what_diverges_has_no_range():
    names = ["input", "a", "output"]
    sizes = dict.fromkeys(names, 2)
    pairs = [*pairwise(names), ("a", "a")]
    projections = [Projection(s, t, np.full((sizes[t], sizes[s]), 1e200)) for s, t in pairs]
    network = Network([Population(n, 2) for n in names], projections)
    with pytest.raises(OptionError, match="leaves the finite numbers"):
        ranges(network, (np.ones((1, 2)), np.ones((1, 2))), feedback_copies(network), steps=9, alpha=0.5)


@pytest.mark.parametrize(
    ("given_batch", "error"),
    [
        (3, OptionError),
        ((np.ones((2, 4)),), OptionError),
        ((np.ones((2, 3)), np.ones((2, 2))), DataError),
        ((np.ones((0, 4)), np.ones((0, 2))), DataError),
        ((np.ones((2, 4)), np.ones((3, 2))), DataError),
        ((np.full((2, 4), np.nan), np.ones((2, 2))), DataError),
    ],
)
def test_bad_batches(given_batch, error):
    with pytest.raises(error, match="calibration"):
        check_batch(Network.dense([4, 3, 2]), given_batch)
