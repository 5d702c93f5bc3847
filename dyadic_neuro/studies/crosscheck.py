"""Counts and costs of a mapping beside those of SANA-FE, for the same network, cores and activity.

Both count what a raster of messages causes; SANA-FE knows neither learning updates nor static power, and its simple model
of time has no links.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.copies import KINDS
from dyadic_neuro.mappings.cost import components
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.mappings.raster import Raster
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.sanafe import Edge, Group, Machine, Totals, run, write


@dataclass(frozen=True)
class Line:
    """One number, as this project and as SANA-FE have it."""

    name: str
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        """The relative difference."""
        return abs(self.ours - self.theirs) / (abs(self.theirs) or 1.0)


def crosscheck(
    mapping: Placed,
    sent: Array,
    folder: str | os.PathLike[str],
    *,
    updates: Literal["sent", "all"] = "sent",
    timeout: float = 600.0,
    overwrite: bool = False,
) -> list[Line]:
    """Count a raster here and in SANA-FE, which is given its files in `folder`.

    `sent` is bool (steps, neurons), as `scheduled` returns it. `updates`: whether a neuron takes a new state when it sends,
    or in every step. Raises OptionError for a chip that SANA-FE has no model of, and as `sanafe.write` and `sanafe.run`.
    """
    write_files(mapping, sent, folder, updates=updates, overwrite=overwrite)
    ours, theirs = totals(mapping, sent, updates=updates), _flat(run(folder, timeout=timeout))
    return [Line(name, ours[name], theirs[name]) for name in theirs]


def scheduled(mapping: Placed, schedule: str, steps: int) -> Array:
    """Return which neurons send in each step of a schedule, bool (steps, neurons) with the columns of `Raster`."""
    raster, timing, routes = Raster(mapping), Schedule.of(mapping.network, schedule), mapping.routes
    sent = np.zeros((steps, raster.neurons), bool)
    for t in range(1, steps + 1):
        sending = mapping.counter.signals(timing, t)[0]
        for population, kind, start, stop in zip(routes.population, routes.kind, routes.start, routes.stop, strict=True):
            signal = (routes.names[population], KINDS[kind])
            if signal in sending:  # neurons that no synapse listens to send nothing
                first = raster.columns[signal].start
                sent[t - 1, first + start : first + stop] = True
    return sent


def write_files(
    mapping: Placed, sent: Array, folder: str | os.PathLike[str], *, updates: Literal["sent", "all"], overwrite: bool = False
) -> None:
    """Write the mapped network and its activity as files of SANA-FE. Raises as `crosscheck`."""
    columns = Raster(mapping).columns
    groups, order = [], []
    for i, part in enumerate(mapping.slices):
        for kind in KINDS:
            if (part.population, kind) in columns:
                groups.append(Group(_name(i, kind), part.core, part.size))
                first = columns[part.population, kind].start
                order.append(np.arange(first + part.start, first + part.stop))
    write(
        folder,
        machine(mapping.chip),
        groups,
        _edges(mapping),
        sent[:, np.concatenate(order)],
        updates=updates,
        overwrite=overwrite,
    )


def totals(mapping: Placed, sent: Array, *, updates: Literal["sent", "all"]) -> dict[str, float]:
    """Return what this project counts for a raster, by the names of SANA-FE's totals; energies in J, time in s."""
    raster, chip = Raster(mapping), mapping.chip
    counts = raster.count(sent)
    mapped = mapping.counter.mapped
    updated = counts.fired if updates == "sent" else np.broadcast_to(mapped, counts.fired.shape)
    events = {
        "neuron_access": float(mapped.sum() * len(sent)),
        "neuron_update": float(updated.sum()),
        "neuron_fire": float(counts.fired.sum()),
        "synaptic_operation": float(counts.synaptic_events.sum()),
        "message": float(counts.messages_out.sum()),
        "message_in": float(counts.messages_in.sum()),
        "hop_horizontal": float(counts.hops_horizontal.sum()),
        "hop_vertical": float(counts.hops_vertical.sum()),
    }
    energy = {part.name: part.total_j or 0.0 for part in components(chip, events)}
    of = {name: sum(energy.get(event, 0.0) for event in events if event.startswith(start)) for name, start in _PARTS.items()}
    return {
        "synaptic_events": events["synaptic_operation"],
        "messages": events["message"],
        "hops": events["hop_horizontal"] + events["hop_vertical"],
        "fired": events["neuron_fire"],
        "updated": events["neuron_update"],
        "synapse energy": of["synapse"],
        "soma energy": of["soma"],
        "network energy": of["messages"] + of["hops"],
        "total energy": sum(of.values()),
        "time": float(raster.steps_s(counts, updated).sum()),
    }


def machine(chip: Chip) -> Machine:
    """Return the chip as SANA-FE needs it: one chip, all of whose costs are known. Raises OptionError for another."""
    energy, latency = chip.energy, chip.latency
    if chip.chips > 1 or not chip.barrier.entries or chip.barrier.interpolation.value != "step":
        raise OptionError("chip", f"{chip.name} is no single chip with a stepped barrier", 'use Chip.load("loihi1-sanafe")')
    numbers = {
        "access": (energy.neuron_access, latency.neuron_access),
        "update": (energy.neuron_update, latency.neuron_update),
        "spike": (energy.neuron_fire, latency.neuron_fire),
        "synapse": (energy.synaptic_operation, latency.synaptic_operation),
        "message_out": (energy.message, latency.message),
        "message_in": (energy.message_in, latency.message_in),
        "hop_x": (energy.hop_horizontal, latency.hop_horizontal),
        "hop_y": (energy.hop_vertical, latency.hop_vertical),
    }
    costs: dict[str, Any] = {}
    for name, (joules, seconds) in numbers.items():
        if joules.value is None or seconds.value is None:
            raise OptionError("chip", f"{chip.name} has an unknown cost of {name}", 'use Chip.load("loihi1-sanafe")')
        costs |= {f"{name}_j": float(joules.value), f"{name}_s": float(seconds.value)}
    mesh = [int(number.value or 1) for number in (chip.mesh.columns, chip.mesh.rows, chip.mesh.cores_per_tile)]
    sync = tuple((tiles, float(time.value or 0.0)) for tiles, time in chip.barrier.entries)
    return Machine(columns=mesh[0], rows=mesh[1], cores_per_tile=mesh[2], sync=sync, **costs)


_PARTS = {"synapse": "synaptic", "soma": "neuron", "messages": "message", "hops": "hop"}


def _name(number: int, kind: str) -> str:
    return f"{kind}{number}"


def _edges(mapping: Placed) -> list[Edge]:
    """Return the synapses between slices, dense or one to one."""
    slices, synapses, found = mapping.slices, mapping.synapses, []
    for block in range(len(synapses)):
        copy, onto = synapses.copies[synapses.copy[block]], int(synapses.slice[block])
        rows = (int(synapses.row_start[block]), int(synapses.row_stop[block]))
        columns = (int(synapses.column_start[block]), int(synapses.column_stop[block]))
        own = slices.of(copy.source)
        for i in range(own.start, own.stop):
            first, last = max(columns[0], int(slices.start[i])), min(columns[1], int(slices.stop[i]))
            if first >= last:
                continue
            reached = (rows[0] + first - columns[0], rows[0] + last - columns[0]) if copy.one_to_one else rows
            source_span = (int(first - slices.start[i]), int(last - slices.start[i]))
            target_span = (int(reached[0] - slices.start[onto]), int(reached[1] - slices.start[onto]))
            ends = (_name(i, copy.kind), _name(onto, copy.kind))
            found.append(Edge(*ends, source_span, target_span, copy.one_to_one))
    return found


def _flat(theirs: Totals) -> Mapping[str, float]:
    energy = theirs.energy_j
    return {
        "synaptic_events": theirs.synaptic_events,
        "messages": theirs.messages,
        "hops": theirs.hops,
        "fired": theirs.fired,
        "updated": theirs.updated,
        "synapse energy": energy["synapse"],
        "soma energy": energy["soma"],
        "network energy": energy["network"],
        "total energy": energy["total"],
        "time": theirs.time_s,
    }
