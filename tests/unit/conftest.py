"""What the unit tests share. Fixtures of the session, because hypothesis draws many examples within one test."""

import numpy as np
import pytest

from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

SMOOTH = ("identity", "tanh", "sigmoid", "softplus", "gelu", "sin")


@pytest.fixture(scope="session")
def random_network():
    """Return a network of a random DAG: populations in no order, of unlike sizes and rate functions, some without a bias."""

    def make(seed, *, activations=SMOOTH, loss="squared_error", dtype="float64", fixed=0.0, hidden=None):
        rng = np.random.default_rng(seed)
        inner = [f"h{i}" for i in range(int(rng.integers(0, 7)) if hidden is None else hidden)]
        names = ["input", *inner, "output"]
        edges = {(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if rng.random() < 0.4}
        for i, name in enumerate(names):
            if i > 0 and not any(b == name for _, b in edges):
                edges.add((names[rng.integers(i)], name))
            if i < len(names) - 1 and not any(a == name for a, _ in edges):
                edges.add((name, names[rng.integers(i + 1, len(names))]))
        sizes = {name: int(rng.integers(1, 5)) for name in names}
        populations = [Population("input", sizes["input"])]
        for name in names[1:]:
            phi = "identity" if name == "output" else str(rng.choice(activations))
            populations.append(Population(name, sizes[name], phi, rng.normal(size=sizes[name]) if rng.random() < 0.7 else None))
        projections = [
            Projection(a, b, rng.normal(0, sizes[a] ** -0.5, (sizes[b], sizes[a])), plastic=bool(rng.random() >= fixed))
            for a, b in sorted(edges)
        ]
        rng.shuffle(populations)
        rng.shuffle(projections)
        return Network(populations, projections, loss, dtype=dtype)

    return make


@pytest.fixture(scope="session")
def random_data():
    """Return inputs and target rows that fit every loss."""

    def make(network, batch, seed):
        rng = np.random.default_rng([seed, batch])
        inputs = rng.normal(size=(batch, network.population(network.input).size))
        targets = rng.uniform(0.05, 1.0, (batch, network.population(network.output).size))
        targets /= targets.sum(axis=1, keepdims=True)
        return inputs.astype(network.dtype), targets.astype(network.dtype)

    return make


@pytest.fixture(scope="session")
def random_state():
    """Return a state of which nothing is right."""
    from dyadic_neuro.dynamics import State

    def make(network, batch, seed, scale=1.0):
        rng = np.random.default_rng([seed, batch, 7])
        parts = [{p.name: rng.normal(0, scale, (batch, p.size)).astype(network.dtype) for p in network.dynamic} for _ in range(2)]
        return State(*parts)

    return make
