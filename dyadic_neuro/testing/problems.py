"""The networks, with data, that backends are held to: small, seeded, and few structures, so that programs are compiled once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.arrays import Array
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing import networks

Problem = tuple[Network, Array, Array]
BATCH = 32  # the samples that a compiled program has room for at least, on a backend that compiles


def problems() -> list[Problem]:
    """Return chains and networks with skip connections, batches of 1 and more, all losses."""
    nets = [
        (networks.chain(1, 1, loss="squared_error"), 1),
        (networks.chain(2, 4, activation="tanh", loss="cross_entropy"), BATCH),
        (networks.dag(3, 4, activation="sigmoid", loss="binary_cross_entropy"), BATCH),
        (networks.dag(4, 5, loss="cross_entropy"), 1),
        (networks.dag(5, 4, activation="tanh", parts=True), 8),
    ]
    return [(net, *networks.batch(net, i, size)) for i, (net, size) in enumerate(nets)]


def tiny() -> list[Problem]:
    """Return 4-6-2 as a chain and with a skip connection, two samples each: emulators take seconds a sample."""
    sizes = {"input": 4, "hidden1": 6, "output": 2}
    skips = [("input", "hidden1"), ("hidden1", "output"), ("input", "output")]
    return [_joined(17, sizes, skips[:2], 2), _joined(22, sizes, skips, 2)]


def shown() -> dict[str, Problem]:
    """Return the two that backends are compared on, step by step: as deep, one with skip connections, two samples each."""
    chain = {"input": 4, "hidden1": 6, "hidden2": 5, "output": 3}
    graph = {"input": 3, "hidden1": 5, "hidden2": 4, "output": 2}
    skips = [("input", "hidden2"), ("hidden1", "output")]
    return {
        "chain 4-6-5-3": _joined(19, chain, list(pairwise(chain)), 2),
        "3-5-4-2 with skips": _joined(20, graph, [*pairwise(graph), *skips], 2),
    }


def cyclic() -> Problem:
    """Return a network with cycles: two populations that excite each other, one itself, and the readout back into one."""
    rng = np.random.default_rng(11)
    populations = [
        Population("input", 3),
        Population("a", 4, "tanh", rng.normal(size=4)),
        Population("b", 4, "tanh"),
        Population("output", 2),
    ]
    pairs = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output"), ("a", "a"), ("output", "b")]
    size = {population.name: population.size for population in populations}
    net = Network(populations, [Projection(s, t, rng.normal(0.0, 0.3, (size[t], size[s]))) for s, t in pairs])
    return (net, *networks.batch(net, 11, 3))


def every_activation() -> Problem:
    """Return one chain with every activation in it."""
    names = sorted(ACTIVATIONS)
    rng = np.random.default_rng(12)
    populations = [
        Population("input", 4),
        *(Population(f"hidden{i}", 4, n, rng.normal(size=4)) for i, n in enumerate(names, 1)),
        Population("output", 3),
    ]
    weights = [Projection(a.name, b.name, rng.normal(0.0, 0.6, (b.size, a.size))) for a, b in pairwise(populations)]
    net = Network(populations, weights)
    return (net, *networks.batch(net, 12, 5))


def _joined(seed: int, sizes: Mapping[str, int], pairs: list[tuple[str, str]], samples: int) -> Problem:
    """Return a tanh network of populations in order, with biases, and data for it."""
    rng = np.random.default_rng(seed)
    populations = [
        Population(
            name, n, "tanh" if name.startswith("hidden") else "identity", None if name == "input" else rng.normal(0, 0.3, n)
        )
        for name, n in sizes.items()
    ]
    net = Network(populations, [Projection(s, t, rng.normal(0.0, sizes[s] ** -0.5, (sizes[t], sizes[s]))) for s, t in pairs])
    return (net, *networks.batch(net, seed, samples))
