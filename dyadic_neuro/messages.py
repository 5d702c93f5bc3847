"""The ledger of a run: who sent how many messages, of which kind and width, to whom, at which step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Coding
from dyadic_neuro.graph import Graph
from dyadic_neuro.interchange import netcdf
from dyadic_neuro.interchange.netcdf import Variable
from dyadic_neuro.schedule import Schedule

RATE, SENSITIVITY = "rate", "sensitivity"

Signal = tuple[str, str]
"""A population and a kind: its rates, or its sensitivities."""


@dataclass(frozen=True)
class Link:
    """One way that messages take.

    `kind` is "rate" or "sensitivity" along a projection. Inside a dyad (`local`) it is "rate", "derivative" (phi'(u)) or
    "sensitivity" between the partners, and at the readout "potential" to the loss and "error" (dC/du) from it.
    """

    source: str
    target: str
    kind: str
    local: bool
    bits: int


@dataclass(frozen=True)
class Entry:
    """One row of the ledger; `step` is None where the ledger holds totals only."""

    step: int | None
    source: str
    target: str
    kind: str
    local: bool
    messages: int
    bits: int


@dataclass(frozen=True, eq=False)
class MessageLedger:
    """Counts of messages: `counts` is (steps, links), or (1, links) totals when steps were not recorded one by one.

    A message is one scalar of one neuron for one sample in one step. A token that a simulator makes a silent population
    send is none. `network` is the one that sent them, where it is known.
    """

    links: tuple[Link, ...]
    counts: Array
    by_step: bool
    network: Graph | None = None

    def total(self, kind: str | None = None, *, local: bool = False) -> int:
        """Return the messages of the whole run, along projections or (`local`) inside dyads, of one kind or of all."""
        chosen = [i for i, link in enumerate(self.links) if link.local == local and kind in (None, link.kind)]
        return int(self.counts[:, chosen].sum())

    def bits(self, *, local: bool = False) -> int:
        """Return the bits of the whole run, along projections or (`local`) inside dyads."""
        return sum(int(self.counts[:, i].sum()) * link.bits for i, link in enumerate(self.links) if link.local == local)

    def per_step(self, *, local: bool = False) -> Array:
        """Return the messages of each recorded step, (steps,)."""
        return np.asarray(self.counts[:, [i for i, link in enumerate(self.links) if link.local == local]].sum(axis=1))

    def to_xarray(self) -> Any:  # noqa: ANN401  (an xarray.Dataset)
        """Return the counts as an xarray.Dataset: `messages` (step, link), or (link,) where the ledger holds totals only.

        Links have the coordinates source, target, kind, local and bits. Attributes tell the fingerprint and the record of the
        network (that of a trace's messages is known). Raises MissingExtraError.
        """
        texts = {"source": "who sends", "target": "who receives", "kind": "what it says", "local": "inside a dyad"}
        coordinates = {
            name: Variable(("link",), np.array([getattr(link, name) for link in self.links]), text)
            for name, text in texts.items()
        }
        coordinates["bits"] = Variable(("link",), np.array([link.bits for link in self.links]), "width of a message", "bit")
        dims: tuple[str, ...] = ("link",)
        if self.by_step:
            dims = ("step", "link")
            coordinates["step"] = Variable(("step",), np.arange(1, len(self.counts) + 1), "the step in which they are sent")
        counts = self.counts if self.by_step else self.counts[0]
        about = {} if self.network is None else source(self.network)
        return netcdf.dataset(coordinates, {"messages": Variable(dims, counts, "messages of all samples")}, about)

    def __iter__(self) -> Iterator[Entry]:
        """Go through the rows that hold messages, in order of steps."""
        for row, counts in enumerate(self.counts):
            for link, count in zip(self.links, counts, strict=True):
                if count:
                    step = row + 1 if self.by_step else None
                    yield Entry(step, link.source, link.target, link.kind, link.local, int(count), int(count) * link.bits)


def links(network: Graph, *, learning: bool) -> list[Link]:
    """Return every way that messages take when this network relaxes, or learns, in a fixed order."""

    def link(source: str, target: str, kind: str, *, local: bool) -> Link:
        return Link(source, target, kind, local=local, bits=network.bits(source, kind))

    found = [link(p.source, p.target, "rate", local=False) for p in network.projections]
    found += [link(p.target, p.source, "sensitivity", local=False) for p in network.projections if p.source != network.input]
    for population in network.dynamic:
        name, kinds = population.name, []
        if network.outgoing[name]:
            kinds += ["derivative", "rate"] if learning else ["derivative"]
        if name == network.output:
            kinds += ["potential", "error"]
        if learns(network, name):
            kinds += ["sensitivity"]
        found += [link(name, name, kind, local=True) for kind in kinds]
    return found


def source(network: Graph) -> dict[str, str]:
    """Return the attributes by which a data set tells of what network it is."""
    return {"network_fingerprint": network.fingerprint, "network": json.dumps(network.record())}


def learns(network: Graph, population: str) -> bool:
    """Whether the population has a bias, or a plastic projection ends there."""
    return network.population(population).bias is not None or any(p.plastic for p in network.incoming[population])


def signals(network: Graph) -> list[tuple[int, Signal]]:
    """Return what crosses between populations, each signal with its number, which other backends give it too."""
    found = [(2 * i, (p.name, RATE)) for i, p in enumerate(network.populations) if network.outgoing[p.name]]
    heard = {p.target for p in network.projections if p.source != network.input}
    return found + [(2 * i + 1, (p.name, SENSITIVITY)) for i, p in enumerate(network.populations) if p.name in heard]


def counted(ledger: MessageLedger, sent: Mapping[Signal, Array], coding: Coding) -> MessageLedger:
    """Return the ledger of a run whose messages between populations were counted as a coding sent them.

    `sent` holds for each signal the messages of every step, or (1,) their total, as the ledger has it; each goes along every
    projection.
    """
    found, counts = [], ledger.counts.copy()
    for i, link in enumerate(ledger.links):
        if not link.local:
            counts[:, i] = sent[link.source, link.kind]
        found.append(link if link.local else replace(link, bits=coding.wire_bits(link.bits)))
    return replace(ledger, links=tuple(found), counts=counts)


def expected(
    network: Graph, schedule: Schedule, steps: int, batch: int, *, by_step: bool, window: int, learning: bool
) -> MessageLedger:
    """Return the ledger that the schedule implies for a run of `steps`.

    `window` is the number of steps after which the partners hand over s for a weight to read: all `steps` of a
    relaxation, 2D in learning.
    """
    passing = {link: network.population(link.source).size for link in links(network, learning=learning)}
    return scheduled(passing, schedule, steps, batch, by_step=by_step, window=window)


def scheduled(
    passing: Mapping[Link, int], schedule: Schedule, steps: int, batch: int, *, by_step: bool, window: int
) -> MessageLedger:
    """Return the ledger of links that pass this many values of a sample whenever the schedule sends, as `expected` has it."""
    found = list(passing)
    counts = np.zeros((steps if by_step else 1, len(found)), np.int64)
    for i, link in enumerate(found):
        timing = (schedule.sensitivities if link.kind == "sensitivity" else schedule.potentials)[link.source]
        handed_over = link.local and link.kind == "sensitivity"
        for t in range(1, steps + 1):
            if t % window == 0 if handed_over else timing.sends(t):
                counts[t - 1 if by_step else 0, i] += passing[link] * batch
    return MessageLedger(tuple(found), counts, by_step)
