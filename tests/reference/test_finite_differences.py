"""Gradients against central differences of the loss, which know nothing of backpropagation, for every activation and loss.

A central difference of step h is wrong by h^2 C''' / 6 and by the rounding of C over h, about 1e-16 C / h. With h = 1e-5, C
below 10 and third derivatives below 10 that is 2e-10 and 1e-10; the tolerance leaves a factor of ten.
"""

import numpy as np
import pytest

from dyadic_neuro import backprop, mean_loss, relax
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

H, TOLERANCE = 1e-5, 3e-9
SIZES = {"input": 3, "a": 4, "b": 2, "c": 3, "output": 3}
SKIPS = ["input->a", "a->b", "b->c", "c->output", "input->c", "a->output", "input->output", "a->c"]
CHAIN = ["input->a", "a->b", "b->c", "c->output"]


def build(edges, activation, loss, seed):
    rng = np.random.default_rng(seed)
    hidden = [Population(name, SIZES[name], activation, rng.normal(size=SIZES[name])) for name in "abc"]
    populations = [Population("input", 3), *hidden, Population("output", 3, bias=rng.normal(size=3))]
    pairs = [edge.split("->") for edge in edges]
    return Network(populations, [Projection(a, b, rng.normal(0, SIZES[a] ** -0.5, (SIZES[b], SIZES[a]))) for a, b in pairs], loss)


def differences(net, inputs, targets):
    """Return dC/dp of every single number p of every parameter."""
    found = {}
    for key, values in net.parameters.items():
        found[key] = np.empty(values.shape)
        for place in np.ndindex(values.shape):
            losses = []
            for sign in (1, -1):
                shifted = values.copy()
                shifted[place] += sign * H
                losses.append(mean_loss(net.with_parameters({key: shifted}), inputs, targets))
            found[key][place] = (losses[0] - losses[1]) / (2 * H)
    return found


@pytest.mark.parametrize("edges", [CHAIN, SKIPS], ids=["chain", "skips"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_after_2d_steps_and_of_the_oracle_are_the_slopes_of_the_loss(activation, loss, edges):
    net = build(edges, activation, loss, seed=4)
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(2, 3))
    targets = rng.uniform(0.1, 1, (2, 3))
    targets /= targets.sum(axis=1, keepdims=True)
    wanted = differences(net, inputs, targets)
    assert set(wanted) == set(net.plastic)
    for found in (
        backprop(net, inputs, targets),
        relax(net, inputs, targets).gradients,
        relax(net, inputs, targets, schedule="wavefront").gradients,
    ):
        for key, slopes in wanted.items():
            np.testing.assert_allclose(found[key], slopes, rtol=0, atol=TOLERANCE, err_msg=key)
    assert max(np.abs(slopes).max() for slopes in wanted.values()) > 1e6 * TOLERANCE  # there was something to find


@pytest.mark.parametrize("loss", LOSSES)
def test_the_sensitivity_of_a_neuron_is_the_slope_of_the_loss_in_its_bias(loss):
    # A bias shifts a potential and nothing else, so dC/du of a single sample is dC/db.
    net = build(SKIPS, "sin", loss, seed=6)
    inputs, targets = np.array([[0.3, -0.7, 1.1]]), np.array([[0.2, 0.5, 0.3]])
    final = relax(net, inputs, targets).final
    slopes = differences(net, inputs, targets)
    for name, s in final.sensitivities.items():
        np.testing.assert_allclose(s[0], slopes[f"{name}.bias"], rtol=0, atol=TOLERANCE)
