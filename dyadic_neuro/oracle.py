"""Textbook backpropagation, a forward and a backward sweep: the judge of everything else, sharing no code with dynamics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dyadic_neuro import integer_oracle
from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.errors import DataError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.graph import Graph
from dyadic_neuro.network import Network, in_floats
from dyadic_neuro.projection import Projection


def backprop(network: Graph, inputs: object, targets: object) -> dict[str, Array]:
    """Return the gradients of the mean loss over the batch with respect to every plastic parameter.

    `inputs` is (batch, n_input), `targets` integer classes (batch,) or rows (batch, n_output). Keys and shapes are those
    of `network.parameters`. Of a network of integers they are those of integer backpropagation (`integer_oracle`), as real
    numbers. Raises DataError for bad data and CycleError for a network with a cycle.
    """
    x, y = _data(network, inputs, targets)
    if isinstance(network, FixedNetwork):
        network.check_batch(len(x))
        return integer_oracle.backprop_mean(network, *network.encode(x, y))
    network = network.described()
    _, activity, delta = _sweep(network, x, y)
    found: dict[str, Array] = {}
    for key in network.plastic:
        if key.endswith(".bias"):
            found[key] = delta[key.removesuffix(".bias")].mean(axis=0)
        else:
            p = network.projection(key)
            whole = np.einsum("bv,bk->vk", delta[p.target], activity[p.source]) / len(x)
            found[key] = _cut_out(whole, p)
    return found


def settled(network: Network, inputs: object, targets: object) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the potentials u and the sensitivities dC/du, per sample (batch, n), of every population but the input.

    This is where a relaxation must end. Raises as `backprop`.
    """
    potentials, _, delta = _sweep(in_floats(network), *_data(network, inputs, targets))
    return potentials, delta


def descend(
    network: Network,
    inputs: object,
    targets: object,
    batches: Iterable[Array],
    learning_rate: float,
    weight_decay: float = 0.0,
) -> Network:
    """Return the network after plain stochastic gradient descent, one update for each array of sample numbers in `batches`.

    With a `weight_decay` plastic weights, not biases, shrink by 1 - learning_rate * weight_decay in each. Raises as `backprop`.
    """
    x, y = _data(in_floats(network), inputs, targets)
    for samples in batches:
        gradients = backprop(network, x[samples], y[samples])
        kept = {key: 1.0 if key.endswith(".bias") else 1.0 - learning_rate * weight_decay for key in gradients}
        changed = {key: kept[key] * network.parameters[key] - learning_rate * gradients[key] for key in gradients}
        network = network.with_parameters(changed)
    return network


def mean_loss(network: Graph, inputs: object, targets: object) -> float:
    """Return C, the mean over the batch of the loss of a forward sweep. Raises as `backprop`."""
    x, y = _data(network, inputs, targets)
    if isinstance(network, FixedNetwork):
        x, y = network.encode(x, y)
        return float(network.cost.value(integer_oracle.predict(network, x), y).mean())
    potentials, _ = _forward(network.described(), x)
    return float(network.cost.value(potentials[network.output], y).mean())


def predict(network: Graph, inputs: object) -> Array:
    """Return the readout's potentials (batch, n_output) of a forward sweep, real numbers. Raises as `backprop`."""
    described = network.described()
    if not isinstance(network, FixedNetwork):
        described.need_weights()
    x = checked("inputs", inputs, np.dtype(described.dtype), (None, described.population(described.input).size))
    if isinstance(network, FixedNetwork):
        inputs, _ = network.encode(x, np.zeros((1, described.population(described.output).size)))
        return network.scales[network.output].potential.real(integer_oracle.predict(network, inputs))
    potentials, _ = _forward(described, x)
    return potentials[described.output]


def accuracy(network: Graph, inputs: object, classes: object) -> float:
    """Return the fraction of samples whose largest potential is that of their class (batch,). Raises as `backprop`."""
    labels = np.asarray(classes)
    found = predict(network, inputs).argmax(axis=1)
    if labels.shape != found.shape or labels.dtype.kind not in "iu":
        raise DataError("classes", f"has shape {labels.shape} and dtype {labels.dtype}", f"pass ({len(found)},) integer classes")
    return float((found == labels).mean())


def _matrix(p: Projection) -> Array:
    """Return all of W (n_target, n_source), with the zeros that stand for no synapse."""
    if p.shape is None and p.weights.ndim == 2:
        return p.weights
    whole = np.zeros(p.shape or 2 * p.weights.shape, p.weights.dtype)
    if p.weights.ndim == 1:
        for i, weight in enumerate(p.weights):
            whole[p.corner[0] + i, p.corner[1] + i] = weight
    else:
        whole[p.corner[0] : p.corner[0] + p.weights.shape[0], p.corner[1] : p.corner[1] + p.weights.shape[1]] = p.weights
    return whole


def _cut_out(whole: Array, p: Projection) -> Array:
    """Return the entries of `whole` (n_target, n_source) at which the projection has synapses, in the shape of its weights."""
    if p.weights.ndim == 1:
        return np.array([whole[p.corner[0] + i, p.corner[1] + i] for i in range(len(p.weights))], whole.dtype)
    return whole[p.corner[0] : p.corner[0] + p.weights.shape[0], p.corner[1] : p.corner[1] + p.weights.shape[1]]


def _data(network: Graph, inputs: object, targets: object) -> tuple[Array, Array]:
    network, fixed = network.described(), isinstance(network, FixedNetwork)
    if not fixed:
        network.need_weights()
    dtype = np.dtype(network.dtype)
    x = checked("inputs", inputs, dtype, (None, network.population(network.input).size))
    if not len(x):
        raise DataError("inputs", "hold no sample", "pass at least one row")
    return x, network.cost.encode(targets, len(x), network.population(network.output).size, dtype)


def _sweep(network: Network, x: Array, y: Array) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    potentials, activity = _forward(network, x)
    delta = {network.output: network.cost.gradient(potentials[network.output], y)}
    for name in reversed(network.order):
        if name in (network.input, network.output):
            continue
        carried = sum(np.einsum("bv,vk->bk", delta[p.target], _matrix(p)) for p in network.outgoing[name])
        delta[name] = carried * network.population(name).phi.derivative(potentials[name], activity[name])
    return potentials, activity, delta


def _forward(network: Network, x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    potentials: dict[str, Array] = {}
    activity = {network.input: x}
    for name in network.order:
        if name == network.input:
            continue
        drive = sum(np.einsum("bk,vk->bv", activity[p.source], _matrix(p)) for p in network.incoming[name])
        bias = network.population(name).bias
        potentials[name] = np.asarray(drive if bias is None else drive + np.asarray(bias))
        activity[name] = network.population(name).phi.rate(potentials[name])
    return potentials, activity
