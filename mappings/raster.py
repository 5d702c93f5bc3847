"""Counting from a raster: any neurons send in any step, not only whole populations. For spiking and event-driven activity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import DataError
from dyadic_neuro.mappings.copies import KINDS, RATE
from dyadic_neuro.mappings.counts import Signal
from dyadic_neuro.mappings.timing import generation_s, receiving_s

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping


@dataclass(frozen=True, eq=False)
class RasterCounts:
    """Events of every step: (steps, cores) in the order of `mapping.cores`, hops (steps,) along rows and along columns."""

    fired: Array
    messages_out: Array
    messages_in: Array
    synaptic_events: Array
    hops_horizontal: Array
    hops_vertical: Array


class Raster:
    """Counts what neurons cause that send in given steps.

    Every total is a sum over neurons, so all of them are products of the raster with matrices that the mapping fixes:
    whole numbers far below 2^53, which float64 adds up exactly in any order.
    """

    def __init__(self, mapping: Mapping) -> None:
        m, chip = mapping, mapping.chip
        self._mapping = mapping
        sizes = {p.name: p.size for p in m.network.populations}
        signals = [(name, kind) for name in m.slices.names for kind in KINDS if kind == RATE or name != m.network.input]
        ends = np.cumsum([sizes[name] for name, _ in signals])
        self.neurons = int(ends[-1])
        self.columns: dict[Signal, slice] = {
            signal: slice(int(end) - sizes[signal[0]], int(end)) for signal, end in zip(signals, ends, strict=True)
        }
        """Which columns of a raster belong to which signal."""
        place = {int(core): i for i, core in enumerate(m.cores)}
        spans, held = [], []  # the neurons of each slice, and where they are
        for i, part in enumerate(m.slices):
            for kind in KINDS:
                if (part.population, kind) in self.columns:
                    first = self.columns[part.population, kind].start
                    spans.append((first + part.start, first + part.stop))
                    held.append(place[int(m.slices.core[i])])
        ways = []  # the neurons of each slice that send on each route
        for r, i in zip(m.senders.route, m.senders.slice, strict=True):
            first = self.columns[m.routes.names[m.routes.population[r]], KINDS[m.routes.kind[r]]].start
            start, stop = max(m.slices.start[i], m.routes.start[r]), min(m.slices.stop[i], m.routes.stop[r])
            ways.append((first + int(start), first + int(stop)))
        every = np.array(spans + ways)
        self._cuts = np.unique(np.append(every, self.neurons))[:-1]
        bounds = np.searchsorted(np.append(self._cuts, self.neurons), every)
        self._spans, self._ways = bounds[: len(spans)], bounds[len(spans) :]
        cores, routes = len(m.cores), len(m.routes)
        self._held = _ones(held, cores)
        self._out = _ones([place[int(m.slices.core[i])] for i in m.senders.slice], cores, m.routes.fan_out[m.senders.route])
        self._route = _ones(m.senders.route, routes)
        reached = np.searchsorted(m.cores, m.routes.core)
        self._in, self._met = np.zeros((routes, cores)), np.zeros((routes, cores))
        self._in[m.routes.route_of, reached] = 1.0
        self._met[m.routes.route_of, reached] = m.routes.synapses
        distances = []
        for r, i in zip(m.senders.route, m.senders.slice, strict=True):
            own, far = m.slices.core[i], m.routes.core[m.routes.first[r] : m.routes.first[r + 1]]
            distances.append([abs(chip.x[far] - chip.x[own]).sum(), abs(chip.y[far] - chip.y[own]).sum()])
        self._hops = np.array(distances, np.float64)

    def count(self, sent: Array) -> RasterCounts:
        """Return the events that `sent` causes, bool (steps, neurons) with the columns of `columns`. Raises DataError."""
        if sent.ndim != 2 or sent.shape[1] != self.neurons or sent.dtype != np.bool_:
            raise DataError("sent", f"is {sent.dtype} {sent.shape}", f"pass bool (steps, {self.neurons})")
        totals = np.zeros((len(sent), len(self._cuts) + 1))
        np.cumsum(np.add.reduceat(sent, self._cuts, axis=1, dtype=np.int32), axis=1, out=totals[:, 1:])
        spans = totals[:, self._spans[:, 1]] - totals[:, self._spans[:, 0]]
        ways = totals[:, self._ways[:, 1]] - totals[:, self._ways[:, 0]]
        routes = ways @ self._route
        hops = ways @ self._hops
        return RasterCounts(spans @ self._held, ways @ self._out, routes @ self._in, routes @ self._met, hops[:, 0], hops[:, 1])

    def steps_s(self, counts: RasterCounts, updated: Array | None = None) -> Array:
        """Return the time of every step (steps,), in s: as `timing.step_s`, links aside.

        `updated` (steps, cores) are the neurons that take a new state, by default those that send.
        """
        chip = self._mapping.chip
        updated = counts.fired if updated is None else updated
        sending = generation_s(chip, self._mapping.counter.mapped, updated, counts.fired, counts.messages_out)
        receiving = receiving_s(chip, counts.messages_in, counts.synaptic_events)
        barrier = float(chip.barrier_s(self._mapping.tiles_in_use) or 0.0)
        return np.asarray(np.maximum(sending.max(axis=1), receiving.max(axis=1)) + barrier)


def _ones(columns: object, count: int, values: object = 1.0) -> Array:
    """Return a matrix (rows, count) with one entry a row, in the given column."""
    where = np.asarray(columns, np.int64)
    found = np.zeros((len(where), count))
    found[np.arange(len(where)), where] = values
    return found
