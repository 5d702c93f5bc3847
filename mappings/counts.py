"""Counting events: what every core and every link does in a step in which given populations send and update."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.copies import KINDS, RATE, SENSITIVITY
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import Schedule

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping

Signal = tuple[str, str]
"""A population and a kind: its rates, or its sensitivities."""


COUNTED = ("updated", "fired", "messages_out", "messages_in", "synaptic_events")
"""What cores count, by the names of their counters."""


@dataclass(frozen=True, eq=False)
class StepCounts:
    """The events of one step: (cores,) in the order of `mapping.cores`, and the loads of all links.

    `updated` neurons took a new state, `fired` ones sent; a message goes to one core; a synaptic event is a synapse that
    a message met.

    They are those of one sample, where all are alike. Where the data decide what is sent, they are those of `samples` together,
    in which the slowest cores or links were busy for `busy_s` seconds, sample after sample. (For each sample by itself, arrays
    have an axis of samples before that of cores.)
    """

    updated: Array
    fired: Array
    messages_out: Array
    messages_in: Array
    synaptic_events: Array
    links: Links
    samples: int = 1
    busy_s: float | None = None

    def same_as(self, other: StepCounts) -> bool:
        """Whether all counts are equal."""
        cores = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in COUNTED)
        return cores and np.array_equal(self.links.flat(), other.links.flat())

    def together(self, busy_s: float) -> StepCounts:
        """Return the counts of these samples as those of all of them, which took so long."""
        sums = {name: getattr(self, name).sum(axis=0) for name in COUNTED}
        return StepCounts(**sums, links=self.links.summed(), samples=len(self.updated), busy_s=busy_s)

    def __add__(self, other: StepCounts) -> StepCounts:
        """Return the counts of these samples and of others, in a step of the same place."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        busy_s = None if self.busy_s is None or other.busy_s is None else self.busy_s + other.busy_s
        return StepCounts(**sums, links=self.links + other.links, samples=self.samples + other.samples, busy_s=busy_s)


class Counter:
    """Counts for one mapping, without running it: in a step all neurons of a population send, or none."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._known: dict[tuple[frozenset[Signal], frozenset[Signal]], StepCounts] = {}
        self._windows: dict[str, list[tuple[frozenset[Signal], frozenset[Signal]]]] = {}
        self.priced: WeakKeyDictionary[StepCounts, tuple[dict[str, int], float]] = WeakKeyDictionary()
        """What steps cost that were priced before: steps alike share their counts."""

    @cached_property
    def mapped(self) -> Array:
        """The neurons on each core, (cores,)."""
        m = self._mapping
        each = np.array([m.demand.neurons_per_dyad(name) for name in m.slices.names])
        return self._by_core(m.slices.core, m.slices.sizes * each[m.slices.population])

    @cached_property
    def plastic(self) -> Array:
        """The plastic synapses of each core, (cores,)."""
        m = self._mapping
        return self._by_core(m.slices.core[m.synapses.slice], m.synapses.axons * m.synapses.per_message * m.synapses.plastic)

    @cached_property
    def learning(self) -> Array:
        """The plastic synapses and biases of each core, (cores,)."""
        m = self._mapping
        biased = np.array([m.network.population(name).bias is not None for name in m.slices.names])
        biases = m.slices.sizes * biased[m.slices.population]
        return self.plastic + self._by_core(m.slices.core, biases)

    def step(self, sending: frozenset[Signal], updating: frozenset[Signal]) -> StepCounts:
        """Return the events of a step in which these signals are sent, and these states take a new value."""
        key = (sending, updating)
        if key not in self._known:
            self._known[key] = self._count(sending, updating)
        return self._known[key]

    def scheduled(self, schedule: Schedule, t: int) -> StepCounts:
        """Return the events of step t (the first is 1) of a schedule of the network on the chip."""
        return self.step(*self.signals(schedule, t))

    def signals(self, schedule: Schedule, t: int) -> tuple[frozenset[Signal], frozenset[Signal]]:
        """Return what is sent in step t of a schedule, and what takes a new value. The input is new when it is shown."""
        if schedule.kind not in self._windows:
            self._windows[schedule.kind] = _window(self._mapping.network, schedule)
        window = self._windows[schedule.kind]
        return window[(t - 1) % len(window)]

    def _count(self, sending: frozenset[Signal], updating: frozenset[Signal]) -> StepCounts:
        m = self._mapping
        slices, routes, senders = m.slices, m.routes, m.senders
        active = np.zeros(len(routes), bool)
        for signal in sending:
            active[self._routes_of.get(signal, [])] = True
        neurons = senders.neurons * active[senders.route]
        arriving = (routes.neurons * active)[routes.route_of]
        updated, fired = np.zeros(len(slices), np.int64), np.zeros(len(slices), np.int64)
        for name, _ in updating:
            updated[slices.of(name)] += slices.sizes[slices.of(name)]
        for name, kind in sending:
            fired[slices.of(name)] += self._firing(name, kind)
        return StepCounts(
            self._by_core(slices.core, updated),
            self._by_core(slices.core, fired),
            self._by_core(slices.core[senders.slice], neurons * routes.fan_out[senders.route]),
            self._by_core(routes.core, arriving),
            self._by_core(routes.core, arriving * routes.synapses),
            Links.of(m.chip, slices, routes, senders, neurons),
        )

    @cached_property
    def _routes_of(self) -> dict[Signal, list[int]]:
        """The routes of each signal."""
        routes = self._mapping.routes
        found: dict[Signal, list[int]] = {}
        for r, (population, kind) in enumerate(zip(routes.population, routes.kind, strict=True)):
            found.setdefault((routes.names[population], KINDS[kind]), []).append(r)
        return found

    def _firing(self, name: str, kind: str) -> Array:
        """Return the neurons of each slice of a population that send: those that several routes begin at count once."""
        slices, routes = self._mapping.slices, self._mapping.routes
        own, chosen = slices.of(name), self._routes_of.get((name, kind), [])
        found = np.zeros(own.stop - own.start, np.int64)
        for start, stop in _joined(zip(routes.start[chosen], routes.stop[chosen], strict=True)):
            inside = np.minimum(slices.stop[own], stop) - np.maximum(slices.start[own], start)
            found += np.maximum(inside, 0)
        return found

    def _by_core(self, core: Array, values: Array) -> Array:
        cores = self._mapping.cores
        return np.bincount(np.searchsorted(cores, core), values.astype(np.float64), len(cores)).astype(np.int64)


def _window(network: Network, schedule: Schedule) -> list[tuple[frozenset[Signal], frozenset[Signal]]]:
    """Return what is sent and what takes a new value in every step of a window; under free all steps are alike."""
    sending: list[set[Signal]] = [set() for _ in range(schedule.period or 1)]
    updating: list[set[Signal]] = [set() for _ in sending]
    for p in network.populations:
        for kind, timing in ((RATE, schedule.potentials[p.name]), (SENSITIVITY, schedule.sensitivities[p.name])):
            shown = p.name == network.input
            if shown and kind == SENSITIVITY:
                continue
            sent = 0 if timing.at is None else timing.at % timing.period  # the step after the one of the update
            taken = 0 if timing.at is None else (timing.at - 1) % timing.period
            sending[sent].add((p.name, kind))
            updating[sent if shown else taken].add((p.name, kind))
    return [(frozenset(a), frozenset(b)) for a, b in zip(sending, updating, strict=True)]


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the union of spans as spans that do not touch."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((int(start), int(stop)))
    return found
