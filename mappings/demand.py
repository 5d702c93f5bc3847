"""What slices of dyads take of a core: neurons, memory for synapses and state, and the axons that messages come in by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.copies import RATE, Copy
from dyadic_neuro.mappings.routes import Routes
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.mappings.synapses import Synapses
from dyadic_neuro.network import Network

NEURONS, SYNAPTIC_MEMORY, CORE_MEMORY = "neurons", "synaptic_memory", "core_memory"
STATE_PER_NEURON, INPUT_AXONS, OUTPUT_AXONS = "state_per_neuron", "input_axons", "output_axons"
RESOURCES = (NEURONS, SYNAPTIC_MEMORY, CORE_MEMORY, STATE_PER_NEURON, INPUT_AXONS, OUTPUT_AXONS)
_UNKNOWN_WIDTH = 32  # bits of a number on a chip that does not say how wide its own are


def limit_of(chip: Chip, resource: str) -> int | None:
    """Return how much of a resource a core has, or None where that is not published."""
    value = getattr(chip.limits, resource).value
    return None if value is None else int(value)


@dataclass(frozen=True)
class Demand:
    """How much of a core's memory the parts of a network take.

    A potential and a sensitivity are a neuron each, an input neuron is one. A dyad holds u, s and its bias, the readout
    its targets too. Where weights learn (`learning`), a core keeps the last message of each axon that leads to plastic
    synapses: under `wavefront` long after it came. A pipeline keeps lines of them instead, one entry for each step that
    a sample has to wait for its sensitivity, and sums each gradient up in an accumulator beside its weight.
    """

    network: Network
    chip: Chip
    learning: bool
    pipeline: bool

    def neurons_per_dyad(self, population: str) -> int:
        """Return 2, or 1 for the input."""
        return 1 if population == self.network.input else 2

    def state_bits(self, population: str) -> int:
        """Return the bits of state that a dyad of this population takes, lines of a pipeline included."""
        net, width = self.network, self.width("state")
        if population == net.input:
            return width
        numbers = 2 + (net.population(population).bias is not None)
        waiting = self._steps_to_own_sensitivity(population) if self.pipeline else 0
        if net.outgoing[population]:
            numbers += 2 * waiting  # phi'(u) and r
        if population == net.output:
            numbers += max(1, net.depth if self.pipeline else 1)  # targets
        accumulator = self.learning and self.pipeline and net.population(population).bias is not None
        return numbers * width + (self.width("accumulator") if accumulator else 0)

    def line_length(self, copy: Copy) -> int:
        """Return how many messages are kept for each axon of a copy: the last ones that came."""
        net = self.network
        if not self.pipeline:
            return int(self.learning and copy.plastic)
        if copy.kind == RATE:
            late = net.depths[copy.target] - net.depths[copy.source] - 1
            kept = net.depth + net.heights[copy.target] - net.depths[copy.source] + 1
            return kept if self.learning and copy.plastic else late
        return net.heights[copy.target] - net.heights[copy.source] - 1

    def synaptic_bits(self, copy: Copy, rows: Array | int) -> Array:
        """Return the bits of synaptic memory of blocks of `rows` driven neurons of a copy, elementwise."""
        lists, length = self._lists(copy, rows)
        return np.asarray(lists * self.chip.storage_bits(np.asarray(length, np.int64)))

    def line_bits(self, copy: Copy, rows: Array | int) -> Array:
        """Return the bits that such blocks keep of messages and of gradients summed up, elementwise."""
        lists, length = self._lists(copy, rows)
        bits = lists * (self.line_length(copy) * self.message_bits)
        if self.learning and self.pipeline and copy.plastic:
            bits = bits + lists * length * self.width("accumulator")
        return np.asarray(bits)

    def axons(self, copy: Copy, rows: Array | int) -> Array:
        """Return the axons that messages come in by, elementwise."""
        return self._lists(copy, rows)[0]

    def _lists(self, copy: Copy, rows: Array | int) -> tuple[Array, Array]:
        """Return how many lists of synapses such blocks have, and of how many synapses each."""
        rows = np.asarray(rows)
        if copy.one_to_one:
            return rows, np.minimum(rows, 1)
        return np.where(rows > 0, copy.columns[1] - copy.columns[0], 0), rows

    @property
    def message_bits(self) -> int:
        """The bits of a message's value. Where messages carry none, graded ones are hypothetical, and as wide as the state."""
        return self.width("message" if self.chip.graded else "state")

    def _steps_to_own_sensitivity(self, population: str) -> int:
        net = self.network
        return net.depth + net.heights[population] - net.depths[population] + 1

    def width(self, what: str) -> int:
        """Return the bits of a weight, state, message or accumulator on this chip."""
        value = getattr(self.chip.widths, what).value
        return _UNKNOWN_WIDTH if value is None else int(value)


def usage(demand: Demand, slices: Slices, synapses: Synapses, routes: Routes) -> dict[str, Array]:
    """Return how much of each resource every core of `slices.cores` uses, in that order.

    `state_per_neuron` is the largest of the core. An input axon is a neuron that messages of one kind come from, an
    output axon a neuron and a core that its messages of one kind go to.
    """
    place, count = np.searchsorted(slices.cores, slices.core), len(slices.cores)
    each = np.array([demand.neurons_per_dyad(name) for name in slices.names])
    state = np.array([demand.state_bits(name) for name in slices.names])
    synaptic, lines = np.zeros(len(synapses), np.int64), np.zeros(len(synapses), np.int64)
    for i, copy in enumerate(synapses.copies):
        of_copy = slice(int(synapses.bounds[i]), int(synapses.bounds[i + 1]))
        rows = synapses.rows[of_copy]
        synaptic[of_copy], lines[of_copy] = demand.synaptic_bits(copy, rows), demand.line_bits(copy, rows)
    where, senders = place[synapses.slice], routes.senders(slices)
    synaptic_memory = _summed(where, synaptic, count)
    state_memory = _summed(place, slices.sizes * state[slices.population], count) + _summed(where, lines, count)
    largest = np.zeros(count, np.int64)
    np.maximum.at(largest, place, -(-state // each)[slices.population])
    reached = np.searchsorted(slices.cores, routes.core)
    return {
        NEURONS: _summed(place, slices.sizes * each[slices.population], count),
        SYNAPTIC_MEMORY: synaptic_memory,
        CORE_MEMORY: synaptic_memory + state_memory,
        STATE_PER_NEURON: largest,
        INPUT_AXONS: _summed(reached, routes.neurons[routes.route_of], count),
        OUTPUT_AXONS: _summed(place[senders.slice], senders.neurons * routes.fan_out[senders.route], count),
    }


def _summed(where: Array, values: Array, count: int) -> Array:
    return np.bincount(where, values.astype(np.float64), count).astype(np.int64)  # exact: whole numbers below 2^53
