"""Hypothesis strategies for networks with all that belongs to them. Needs hypothesis (pip install 'dyadic-neuro[dev]')."""

from __future__ import annotations

from hypothesis import strategies as st

from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.testing import networks

SEEDS = st.integers(0, 2**31 - 1)


def chains(max_depth: int = 8, activations: tuple[str, ...] | None = None) -> st.SearchStrategy[Network]:
    """Chains of 1 to `max_depth` projections with every activation (or one of those given) and loss."""
    return st.builds(_chain, SEEDS, st.integers(1, max_depth), _activation(activations), st.sampled_from(sorted(LOSSES)))


def dags(max_hidden: int = 6, activations: tuple[str, ...] | None = None, *, parts: bool = False) -> st.SearchStrategy[Network]:
    """Acyclic networks of 0 to `max_hidden` hidden populations with skip connections.

    With `parts` some projections are blocks or one to one, some are fixed, and a path may carry nothing.
    """
    losses = st.sampled_from(sorted(LOSSES))
    return st.builds(_dag, SEEDS, st.integers(0, max_hidden), _activation(activations), losses, st.just(parts))


def _activation(names: tuple[str, ...] | None) -> st.SearchStrategy[str | None]:
    return st.none() if names is None else st.sampled_from(names)


def _chain(seed: int, depth: int, activation: str | None, loss: str) -> Network:
    return networks.chain(seed, depth, activation=activation, loss=loss)


def _dag(seed: int, hidden: int, activation: str | None, loss: str, parts: bool) -> Network:  # noqa: FBT001
    return networks.dag(seed, hidden, activation=activation, loss=loss, parts=parts)
