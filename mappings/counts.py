"""Counting events: what every core and every link does in a step in which given populations send and update."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.copies import KINDS, RATE, SENSITIVITY
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.schedule import Schedule

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping

Signal = tuple[str, str]
"""A population and a kind: its rates, or its sensitivities."""


@dataclass(frozen=True, eq=False)
class StepCounts:
    """The events of one step and one sample: (cores,) in the order of `mapping.cores`, and the loads of all links.

    `updated` neurons took a new state, `fired` ones sent; a message goes to one core; a synaptic event is a synapse that
    a message met.
    """

    updated: Array
    fired: Array
    messages_out: Array
    messages_in: Array
    synaptic_events: Array
    links: Links

    def same_as(self, other: StepCounts) -> bool:
        """Whether all counts are equal."""
        names = ("updated", "fired", "messages_out", "messages_in", "synaptic_events")
        cores = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return cores and np.array_equal(self.links.flat(), other.links.flat())


class Counter:
    """Counts for one mapping, without running it: in a step all neurons of a population send, or none."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._known: dict[tuple[frozenset[Signal], frozenset[Signal]], StepCounts] = {}

    @cached_property
    def mapped(self) -> Array:
        """The neurons on each core, (cores,)."""
        m = self._mapping
        each = np.array([m.demand.neurons_per_dyad(name) for name in m.slices.names])
        return self._by_core(m.slices.core, m.slices.sizes * each[m.slices.population])

    @cached_property
    def learning(self) -> Array:
        """The plastic synapses and biases of each core, (cores,)."""
        m = self._mapping
        held = m.synapses.axons * m.synapses.per_message * m.synapses.plastic
        biased = np.array([m.network.population(name).bias is not None for name in m.slices.names])
        biases = m.slices.sizes * biased[m.slices.population]
        return self._by_core(m.slices.core[m.synapses.slice], held) + self._by_core(m.slices.core, biases)

    def step(self, sending: frozenset[Signal], updating: frozenset[Signal]) -> StepCounts:
        """Return the events of a step in which these signals are sent, and these states take a new value."""
        key = (sending, updating)
        if key not in self._known:
            self._known[key] = self._count(sending, updating)
        return self._known[key]

    def scheduled(self, schedule: Schedule, t: int) -> StepCounts:
        """Return the events of step t (the first is 1) of a schedule of the network on the chip."""
        return self.step(*signals(self._mapping, schedule, t))

    def _count(self, sending: frozenset[Signal], updating: frozenset[Signal]) -> StepCounts:
        m = self._mapping
        slices, routes, senders = m.slices, m.routes, m.senders
        active = np.array([(routes.names[p], KINDS[k]) in sending for p, k in zip(routes.population, routes.kind, strict=True)])
        neurons = senders.neurons * active[senders.route]
        arriving = (routes.neurons * active)[routes.route_of]
        updated = np.array([sum((name, kind) in updating for kind in KINDS) for name in slices.names])
        return StepCounts(
            self._by_core(slices.core, slices.sizes * updated[slices.population]),
            self._by_core(slices.core, self._firing(active)),
            self._by_core(slices.core[senders.slice], neurons * routes.fan_out[senders.route]),
            self._by_core(routes.core, arriving),
            self._by_core(routes.core, arriving * routes.synapses),
            Links.of(m.chip, slices, routes, senders, neurons),
        )

    def _firing(self, active: Array) -> Array:
        """Return the neurons of each slice that send, (slices,): of those that several routes begin at each counts once."""
        m = self._mapping
        found = np.zeros(len(m.slices), np.int64)
        for i in range(len(m.slices.names)):
            own = slice(int(m.slices.bounds[i]), int(m.slices.bounds[i + 1]))
            for kind in range(len(KINDS)):
                chosen = np.flatnonzero(active & (m.routes.population == i) & (m.routes.kind == kind))
                spans = zip(m.routes.start[chosen], m.routes.stop[chosen], strict=True)
                for start, stop in _joined(spans):
                    inside = np.minimum(m.slices.stop[own], stop) - np.maximum(m.slices.start[own], start)
                    found[own] += np.maximum(inside, 0)
        return found

    def _by_core(self, core: Array, values: Array) -> Array:
        cores = self._mapping.cores
        return np.bincount(np.searchsorted(cores, core), values.astype(np.float64), len(cores)).astype(np.int64)


def signals(mapping: Mapping, schedule: Schedule, t: int) -> tuple[frozenset[Signal], frozenset[Signal]]:
    """Return what is sent in step t of a schedule, and what takes a new value. The input is new when it is shown."""
    net, sending, updating = mapping.network, set(), set()
    for p in net.populations:
        for kind, timing in ((RATE, schedule.potentials[p.name]), (SENSITIVITY, schedule.sensitivities[p.name])):
            if kind == SENSITIVITY and p.name == net.input:
                continue
            if timing.sends(t):
                sending.add((p.name, kind))
            if timing.sends(t) if p.name == net.input else timing.updates(t):
                updating.add((p.name, kind))
    return frozenset(sending), frozenset(updating)


def _joined(spans: object) -> list[tuple[int, int]]:
    """Return the union of spans as spans that do not touch."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(spans):  # type: ignore[call-overload]
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((int(start), int(stop)))
    return found
