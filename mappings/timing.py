"""How long a core takes: it wakes its neurons and sends, then receives; afterwards, at the end of a sample, it learns."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.counts import StepCounts
from dyadic_neuro.mappings.partition import Partition

UNTIMED = ("hop_horizontal", "hop_vertical")  # how long a packet travels: no core waits for it (see `step_s`)


def seconds(chip: Chip, event: str) -> float:
    """Return how long an event takes, 0 where that is unknown: sums of such times are lower bounds."""
    return float(getattr(chip.latency, event).value or 0.0)


def unknown_times(chip: Chip) -> tuple[str, ...]:
    """Return the events of which nobody knows how long they take."""
    return tuple(e.name for e in fields(chip.latency) if e.name not in UNTIMED and not getattr(chip.latency, e.name).known)


def generation_s(chip: Chip, mapped: Array, updated: Array, fired: Array, messages: Array) -> Array:
    """Return how long cores take to go through their neurons and to send, elementwise."""
    times = mapped * seconds(chip, "neuron_access") + updated * seconds(chip, "neuron_update")
    return np.asarray(times + fired * seconds(chip, "neuron_fire") + messages * seconds(chip, "message"))


def receiving_s(chip: Chip, messages: Array, synaptic_events: Array) -> Array:
    """Return how long cores take to receive, elementwise."""
    return np.asarray(messages * seconds(chip, "message_in") + synaptic_events * seconds(chip, "synaptic_operation"))


def busy_s(chip: Chip, counts: StepCounts, mapped: Array) -> Array:
    """Return how long the slowest core or link of a step is busy, in s; (samples,) where the counts are those of each sample.

    The law of SANA-FE's simple model (Boyle et al. 2025, TCAD 44(8)) and of Timcheck et al. 2026 (arXiv 2601.10035,
    equation 1): the largest of the times, not their sum. Sending and receiving overlap.
    """
    c = counts
    busy = [
        generation_s(chip, mapped, c.updated, c.fired, c.messages_out).max(axis=-1, initial=0.0),
        receiving_s(chip, c.messages_in, c.synaptic_events).max(axis=-1, initial=0.0),
        c.links.flat().max(axis=-1, initial=0) * seconds(chip, "link_message"),
        c.links.crossing(chip).flat().max(axis=-1, initial=0) * seconds(chip, "chip_link_message"),
    ]
    return np.asarray(np.max(busy, axis=0))


def step_s(chip: Chip, counts: StepCounts, mapped: Array, tiles: int) -> float:
    """Return how long a step takes, in s: its slowest core or link, and the barrier. The mean, where samples differ."""
    busy = float(busy_s(chip, counts, mapped)) if counts.busy_s is None else counts.busy_s / counts.samples
    return busy + float(chip.barrier_s(tiles) or 0.0)


def time_of_slice(partition: Partition, population: str, neurons: int, fan_out: int) -> float:
    """Return how long a core with such a slice takes for a sample under `free`, in s: what "latency" makes small."""
    demand, net = partition.demand, partition.network
    chip, steps = demand.chip, 1 if net.cycle else net.relaxation_steps
    mapped = np.asarray(neurons * demand.neurons_per_dyad(population))
    messages = synapses = learned = 0
    for copy in partition.driven[population]:
        rows = min(neurons, copy.rows[1] - copy.rows[0])
        axons = int(demand.axons(copy, np.asarray(rows)))
        messages, held = messages + axons, axons * (1 if copy.one_to_one else rows)
        synapses, learned = synapses + held, learned + held * copy.plastic
    sending = generation_s(chip, mapped, mapped, mapped, np.asarray(neurons * fan_out))
    receiving = receiving_s(chip, np.asarray(messages), np.asarray(synapses))
    learning = learned * seconds(chip, "learning_update") if demand.learning else 0.0
    return steps * float(max(sending, receiving)) + learning
