"""Textbook backpropagation in integers: the judge of the fixed-point dynamics, sharing no code with them.

It follows the specification in `dyadic_neuro.fixed_point` and reads nothing of a network but its data: who is joined to whom,
integers, exponents, widths and the entries of tables. Inputs and targets are integers, as `FixedNetwork.encode` returns them.

With `slow` everything is computed in Python integers, which have no width; else in 64 bits, for which a FixedNetwork proves
that every sum has room. A CycleError tells that a network has a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import floor, frexp
from typing import Any, cast

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.fixed_point.functions import FixedActivation, FixedLoss, Table
from dyadic_neuro.fixed_point.network import Piece
from dyadic_neuro.fixed_point.scales import Scale
from dyadic_neuro.fixed_point.synapses import FixedProjection

States = dict[str, Array]
"""Integers by the names of populations, or of parameters."""

_LEAK = 164
"""The slope of a leaky rate function below 0, in units of 2 ** -14."""

_WORD = (1 << 64) - 1


def forward(network: FixedNetwork, inputs: Array, *, slow: bool = False) -> States:
    """Return the potentials (batch, n), int64, of every population but the input, for integers (batch, n_input)."""
    return _plain(_forward(network, inputs.astype(object if slow else np.int64))[0])


def predict(network: FixedNetwork, inputs: Array, *, slow: bool = False) -> Array:
    """Return the readout's potentials (batch, n_output), int64."""
    return forward(network, inputs, slow=slow)[network.output]


def settled(network: FixedNetwork, inputs: Array, targets: Array, *, slow: bool = False) -> tuple[States, States]:
    """Return potentials and sensitivities (batch, n), int64, of every population but the input: where a relaxation must end."""
    potentials, _, sensitivities, _ = _sweep(network, inputs.astype(object if slow else np.int64), targets)
    return _plain(potentials), _plain(sensitivities)


def backprop(network: FixedNetwork, inputs: Array, targets: Array, *, slow: bool = False) -> States:
    """Return the exact sums over the batch of message times rate, and of messages, for every plastic parameter.

    They are integers (int64) in the shapes of `network.parameters`; the sums for a projection have the exponent of its target's
    message plus that of its source's rate, those for a bias that of the message.
    """
    _, rates, _, messages = _sweep(network, inputs.astype(object if slow else np.int64), targets)
    found: States = {}
    for key in network.description.plastic:
        if key.endswith(".bias"):
            found[key] = messages[key.removesuffix(".bias")].sum(axis=0)
        else:
            p = network.projection(key)
            found[key] = (messages[p.target].T @ rates[p.source])[_where(p)]
    return _plain(found)


def backprop_mean(network: FixedNetwork, inputs: Array, targets: Array, *, slow: bool = False) -> States:
    """Return the gradients of the mean loss over the batch: the sums of `backprop` as real numbers (float64) per sample."""
    found = {}
    for key, sums in backprop(network, inputs, targets, slow=slow).items():
        found[key] = np.ldexp(sums.astype(np.float64), -_sums_of(network, key)[0]) / len(inputs)
    return found


def descend(
    network: FixedNetwork,
    inputs: Array,
    targets: Array,
    batches: Iterable[Array],
    learning_rate: float,
    weight_decay: float = 0.0,
) -> FixedNetwork:
    """Return the network after stochastic gradient descent in integers, one update for each array of sample numbers.

    All of it is computed in Python integers. Learning rates must be such that the dynamics accept them. Weights, not biases,
    shrink by learning_rate * weight_decay in each update.
    """
    for samples in batches:
        values = {}
        for key, sums in backprop(network, inputs[samples], targets[samples], slow=True).items():
            decay = 0.0 if key.endswith(".bias") else weight_decay
            values[key] = _updated(network, key, sums, len(samples), learning_rate, decay)
        network = network.with_parameters(values, network.updates + 1)
    return network


# The two sweeps


def _forward(network: FixedNetwork, x: Array) -> tuple[States, States]:
    net, potentials, rates = network.description, States(), {network.description.input: x}
    for name in net.order:
        if name == net.input:
            continue
        held, terms = network.scales[name].potential, []
        for p in net.incoming[name]:
            exponent = _unit(network, p.name) + network.scales[p.source].rate.exponent
            terms.append((rates[p.source] @ _matrix(network, p.name, x.dtype).T, exponent))
        bias = network.parameters.get(f"{name}.bias")
        if bias is not None:
            terms.append((np.tile(bias.astype(x.dtype), (len(x), 1)), held.exponent))
        total, exponent = _summed(terms)
        potentials[name] = _limited(_rounded(total, exponent - held.exponent), held)
        rates[name] = _rate(network.population(name).fixed, potentials[name])
    return potentials, rates


def _sweep(network: FixedNetwork, x: Array, y: Array) -> tuple[States, States, States, States]:
    """Return potentials, rates, sensitivities and the messages that are sent of them."""
    net, sensitivities, messages = network.description, States(), States()
    potentials, rates = _forward(network, x)
    for name in reversed(net.order):
        if name == net.input:
            continue
        scales, u = network.scales[name], potentials[name]
        if name == net.output:
            found = _error(cast(FixedLoss, network.loss), u, y)
        else:
            terms = []
            for p in net.outgoing[name]:
                exponent = _unit(network, p.name) + network.scales[p.target].message.exponent
                terms.append((messages[p.target] @ _matrix(network, p.name, x.dtype), exponent))
            total, exponent = _summed(terms)
            phi = network.population(name).fixed
            found = _rounded(total * _slope(phi, u), exponent + phi.slope - scales.sensitivity.exponent)
        s = sensitivities[name] = _limited(found, scales.sensitivity).astype(x.dtype)
        shown = _rounded(s, scales.sensitivity.exponent - scales.message.exponent)
        messages[name] = np.minimum(shown, (1 << (scales.message.bits - 1)) - 1)
    return potentials, rates, sensitivities, messages


def _summed(terms: list[tuple[Array, int]]) -> tuple[Array, int]:
    """Return the exact sum of integers of several exponents, and its exponent, the finest of them."""
    finest = max(exponent for _, exponent in terms)
    return np.asarray(sum(integers << (finest - exponent) for integers, exponent in terms)), finest


def _rounded(integers: Array, places: int) -> Array:
    """Return integers / 2 ** places, to nearest with ties up: the whole part, and one more if the first bit lost is set."""
    if places <= 0:
        return integers << -places
    places = places if integers.dtype == object else min(places, 63)  # beyond it all of 62 bits are rounded to 0
    return (integers >> places) + ((integers >> (places - 1)) & 1)


def _limited(integers: Array, scale: Scale) -> Array:
    half = 1 << (scale.bits - 1)
    return np.asarray(np.maximum(np.minimum(integers, half - 1), -half))


# Functions


def _rate(phi: FixedActivation, u: Array) -> Array:
    if phi.tables is not None:
        return _looked_up(phi.tables[0], u)
    places, one = phi.potential.exponent - phi.shown.exponent, 1 << max(0, phi.potential.exponent)
    if phi.name == "leaky_relu":
        found = _rounded(np.where(u > 0, u << 14, u * _LEAK), places + 14)
    elif phi.name == "relu":
        found = _rounded(np.maximum(u, 0), places)
    elif phi.name == "hard_tanh":
        found = _rounded(np.maximum(np.minimum(u, one), -one), places)
    else:
        found = _rounded(u, places)
    return np.asarray(np.minimum(found, (1 << (phi.shown.bits - 1)) - 1))


def _slope(phi: FixedActivation, u: Array) -> Array:
    if phi.tables is not None:
        return _looked_up(phi.tables[1], u)
    one = 1 << max(0, phi.potential.exponent)
    kinds = {
        "identity": lambda: np.ones_like(u),
        "relu": lambda: np.where(u > 0, 1, 0),
        "hard_tanh": lambda: np.where((u > -one) & (u < one), 1, 0),
        "leaky_relu": lambda: np.where(u > 0, 1 << 14, np.where(u < 0, _LEAK, 0)),
    }
    return kinds[phi.name]().astype(u.dtype)


def _looked_up(table: Table, arguments: Array) -> Array:
    """Return the mean of the two entries around each argument, each weighted by how near it is, to nearest with ties up."""
    entries, width = table.entries.astype(arguments.dtype), 1 << table.places
    along = np.maximum(np.minimum(arguments - table.first, (len(entries) - 1) * width), 0)
    left = np.minimum(along // width, len(entries) - 2)
    index, beyond = left.astype(np.int64), along - left * width
    return _rounded(entries[index] * (width - beyond) + entries[index + 1] * beyond, table.places)


def _error(loss: FixedLoss, u: Array, y: Array) -> Array:
    """Return dC/du before it is limited, in Python integers: a far target may need more than 64 bits."""
    u, y, table = u.astype(object), y.astype(object), loss.table
    if table is None:
        shown = u
    elif loss.name == "binary_cross_entropy":
        shown = _looked_up(table, u)
    else:
        end = table.first + (len(table.entries) - 1) * (1 << table.places)
        below = u.max(axis=1, keepdims=True) - u
        parts = np.where(below > end, 0, _looked_up(table, below)).astype(object)
        total = parts.sum(axis=1, keepdims=True)
        quotient = (parts << 16) // total
        shown = quotient + (2 * ((parts << 16) - quotient * total) >= total)
    return _rounded(shown - y, loss.target.exponent - loss.error.exponent)


# Weights


def _unit(network: FixedNetwork, name: str) -> int:
    """Return the exponent of a projection's weights: 0 where they join the parts of a divided sum."""
    return network.exponents.weights.get(name, 0)


def _matrix(network: FixedNetwork, name: str, dtype: np.dtype[Any]) -> Array:
    """Return all of W (n_target, n_source), with the zeros that stand for no synapse."""
    p = network.projection(name)
    whole = np.zeros(p.shape or (p.weights.shape[0], p.weights.shape[-1]), dtype)
    whole[_where(p)] = p.weights
    return whole


def _where(p: FixedProjection) -> tuple[Any, Any]:
    """Return rows and columns of W that index its synapses, in the shape of the weights."""
    (row, column), shape = p.corner, p.weights.shape
    if len(shape) == 1:
        return np.arange(shape[0]) + row, np.arange(shape[0]) + column
    return slice(row, row + shape[0]), slice(column, column + shape[1])


def _sums_of(network: FixedNetwork, key: str) -> tuple[int, int]:
    """Return the exponent of the sums that a parameter's gradient is made of, and the bits of one product."""
    name = key.removesuffix(".bias")
    if name != key:
        message = network.scales[name].message
        return message.exponent, message.bits
    p = network.projection(key)
    message, rate = network.scales[p.target].message, network.scales[p.source].rate
    return message.exponent + rate.exponent, message.bits + rate.bits


def _updated(network: FixedNetwork, key: str, sums: Array, batch: int, learning_rate: float, weight_decay: float) -> Array:
    """Return the integers of a parameter after one update, as the specification of learning has it."""
    form, old, name = network.format, network.parameters[key], key.removesuffix(".bias")
    width = Scale(_unit(network, key), form.weight_bits) if name == key else network.scales[name].potential
    exponent, bits = _sums_of(network, key)
    part, power = frexp(learning_rate / batch)
    mantissa = min(15, 60 - bits - batch.bit_length())
    factor, places = round(part * 2**mantissa), mantissa - power - width.exponent + exponent
    factor, places = factor << max(0, -places), max(0, places)
    kept = min(places, 44)
    decay = round(Fraction(learning_rate * weight_decay) * 2**kept)
    new = np.empty(old.shape, object)
    for place in np.ndindex(old.shape):
        change = floor(Fraction(-int(sums[place]) * factor, 1 << min(places - kept, 62))) - int(old[place]) * decay
        share = Fraction(1, 2)
        if form.rounding == "stochastic":
            share = Fraction(_word(form.seed, network.updates, _cell(network, key, place)) >> (64 - kept), 1 << kept)
        new[place] = int(old[place]) + floor(Fraction(change, 1 << kept) + share)
    return _limited(new, width).astype(np.int64)


def _cell(network: FixedNetwork, key: str, place: tuple[int, ...]) -> int:
    """Return the number of a synapse, or of a bias, in the whole network."""
    name, net = key.removesuffix(".bias"), network.description
    if name != key:
        return ((1 << 14) + [p.name for p in net.populations].index(name) << 48) + place[0]
    piece = network.pieces.get(key) or Piece([p.name for p in net.projections].index(key), 0, 0)
    return (piece.number << 48) + (piece.row + place[0] << 24) + piece.column + place[-1]


def _word(seed: int, step: int, cell: int) -> int:
    """Return the 64 random bits of a cell in a step: the finaliser of SplitMix64 over the three in turn."""
    found = 0
    for part in (seed, step, cell):
        found ^= (part + 0x9E3779B97F4A7C15) & _WORD
        for places, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            found = (found ^ (found >> places)) * factor & _WORD
        found ^= found >> 31
    return found


def _plain(found: States) -> States:
    return {name: integers.astype(np.int64) for name, integers in found.items()}
