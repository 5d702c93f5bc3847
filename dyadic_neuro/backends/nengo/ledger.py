"""The links of a circuit, found on its own connections: what its ledger counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.messages import Link
from dyadic_neuro.network import Network

_INSIDE: dict[tuple[str | None, str | None], str] = {
    ("potential", "gate"): "derivative",
    ("potential", "loss"): "potential",
    ("rate", "gate"): "rate",
}


def links(network: Network, circuit: Any, *, learning: bool) -> dict[Link, int]:  # noqa: ANN401
    """Return how many values each link passes in a Nengo step, those of `messages.links` first: 0 where nothing connects.

    What arrives at a drive is the rate of a population, and at a gate the sensitivity of one, directly or through a Node of
    weights. What else such a Node, or that of a bias, takes has been handed over inside a dyad. The rate that a gate takes from
    its own population belongs to phi'(u), and is a message only where weights learn from it.
    """
    found = dict.fromkeys(messages.links(network, learning=learning), 0)
    bits = 8 * np.dtype(network.dtype).itemsize

    def passes(source: str, target: str, kind: str, size: int, *, local: bool) -> None:
        found[Link(source, target, kind, local=local, bits=bits)] = size

    shown: dict[Any, tuple[str, str]] = {circuit.input: (network.input, "rate")}
    takers: dict[Any, tuple[str, str]] = {}  # by object the population, and what it shows, or takes
    for name, part in circuit.populations.items():
        role = {vars(part)[word]: word for word in ("potential", "rate", "gate", "loss") if word in vars(part)}
        for connection in part.connections:
            ends = role.get(connection.pre_obj), role.get(connection.post_obj)
            kind = "error" if ends[0] == "loss" else _INSIDE.get(ends)
            if kind is not None and (learning or kind != "rate"):
                passes(name, name, kind, connection.pre_obj.size_out, local=True)
        shown |= {thing: (name, "rate") for thing, word in role.items() if word == "rate"}
        shown[part.sensitivity] = (name, "sensitivity")
        takers |= {thing: (name, "sensitivity") for thing, word in role.items() if word == "gate"}
        takers[part.drive] = (name, "rate")

    into: dict[Any, list[Any]] = {}
    for connection in circuit.connections:
        into.setdefault(connection.post_obj, []).append(connection.pre_obj)
    for taker, (target, carried) in takers.items():
        for pre in into.get(taker, ()):
            for sender in [pre] if pre in shown else into.get(pre, ()):
                source, kind = shown[sender]
                passes(source, target if kind == carried else source, kind, sender.size_out, local=kind != carried)
    return found
