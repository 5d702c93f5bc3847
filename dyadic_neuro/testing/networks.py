"""Random networks, data and states, drawn from a seed: the same seed gives the same bits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.arrays import Array
from dyadic_neuro.datasets import random_batch
from dyadic_neuro.dynamics import State
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

SMOOTH = ("identity", "tanh", "sigmoid", "softplus", "gelu", "sin")
"""Activations whose derivative is never 0 over an interval, so that a wrong potential always shows in the sensitivity."""


def chain(
    seed: int, depth: int, *, activation: str | None = None, loss: str = "squared_error", dtype: str = "float64"
) -> Network:
    """Return a chain of `depth` projections with random sizes, weights and biases; activations vary unless one is named."""
    rng = np.random.default_rng([seed, depth])
    names = ["input", *(f"hidden{i}" for i in range(1, depth)), "output"]
    return _network(rng, names, list(pairwise(names)), activation, loss, dtype)


def dag(
    seed: int,
    hidden: int,
    *,
    activation: str | None = None,
    loss: str = "squared_error",
    dtype: str = "float64",
    parts: bool = False,
) -> Network:
    """Return a random acyclic network of that many hidden populations with skip connections.

    With `parts` some projections are blocks or one to one, and some are fixed.
    """
    rng = np.random.default_rng([seed, hidden, 1])
    names = ["input", *(f"hidden{i}" for i in range(1, hidden + 1)), "output"]
    last = len(names) - 1
    edges = {(i, j) for i in range(last) for j in range(i + 1, last + 1) if rng.random() < 0.5}
    for i in range(1, last):  # every hidden population lies on a path from input to readout
        if not any(j == i for _, j in edges):
            edges.add((int(rng.integers(i)), i))
        if not any(j == i for j, _ in edges):
            edges.add((i, int(rng.integers(i + 1, last + 1))))
    if not any(j == last for _, j in edges):
        edges.add((0, last))
    if not any(i == 0 for i, _ in edges):
        edges.add((0, last))
    pairs = [(names[i], names[j]) for i, j in sorted(edges)]
    network = _network(rng, names, [pairs[i] for i in rng.permutation(len(pairs))], activation, loss, dtype)
    return replace(network, projections=[_part(rng, p) for p in network.projections]) if parts else network


def batch(network: Network, seed: int, size: int) -> tuple[Array, Array]:
    """Return random inputs (size, n_input) and targets (size, n_output) that the network's loss accepts."""
    return random_batch(network, size, seed)


def state(network: Network, seed: int, size: int, scale: float = 1.0) -> State:
    """Return a random state for a batch of that size."""
    rng = np.random.default_rng([seed, size, 3])
    dtype = np.dtype(network.dtype)
    potentials = {p.name: (scale * rng.normal(size=(size, p.size))).astype(dtype) for p in network.dynamic}
    return State(potentials, {p.name: (scale * rng.normal(size=(size, p.size))).astype(dtype) for p in network.dynamic})


def _network(
    rng: np.random.Generator, names: list[str], edges: list[tuple[str, str]], activation: str | None, loss: str, dtype: str
) -> Network:
    sizes = {name: int(rng.integers(2, 7)) for name in names}
    choices = sorted(ACTIVATIONS) if activation is None else [activation]
    populations = [
        Population(
            name,
            sizes[name],
            str(rng.choice(choices)) if name.startswith("hidden") else "identity",
            _bias(rng, name, sizes[name]),
        )
        for name in names
    ]
    projections = [Projection(a, b, rng.normal(0.0, sizes[a] ** -0.5, (sizes[b], sizes[a]))) for a, b in edges]
    return Network(populations, projections, loss, dtype=dtype)


def _part(rng: np.random.Generator, p: Projection) -> Projection:
    """Return a random part of a projection: all of it, a block, or a diagonal; plastic or fixed."""
    kind, plastic, shape = rng.choice(["whole", "block", "diagonal"]), bool(rng.random() < 0.7), p.full_shape
    if kind == "whole":
        return replace(p, plastic=plastic)
    row, column = (int(rng.integers(n)) for n in shape)
    block = p.weights[row : row + int(rng.integers(1, 5)), column : column + int(rng.integers(1, 5))]
    weights = block if kind == "block" else np.diagonal(block)
    return Projection(p.source, p.target, weights, plastic, (row, column), shape)


def _bias(rng: np.random.Generator, name: str, size: int) -> Array | None:
    return None if name == "input" else np.asarray(rng.normal(0.0, 0.3, size))
