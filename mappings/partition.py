"""Cutting populations into slices of dyads that fit on cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from dyadic_neuro.errors import CapacityError
from dyadic_neuro.mappings.copies import Copy, copies
from dyadic_neuro.mappings.demand import (
    CORE_MEMORY,
    INPUT_AXONS,
    NEURONS,
    OUTPUT_AXONS,
    STATE_PER_NEURON,
    SYNAPTIC_MEMORY,
    Demand,
    limit_of,
)

_FIXES = {
    NEURONS: "use a chip with more neurons a core",
    SYNAPTIC_MEMORY: "use fewer bits a weight, or a chip with more synaptic memory a core",
    CORE_MEMORY: "use a chip with more memory a core, or map without learning or pipeline",
    STATE_PER_NEURON: "use a chip with more state a neuron, or map without pipeline",
    INPUT_AXONS: "use a chip with more input axons a core",
    OUTPUT_AXONS: "use a chip with more output axons or larger cores, so that messages go to fewer of them",
}
_SPLIT = "map_network(..., split_fan_in=True) would divide it, and "


@dataclass(frozen=True)
class Excess:
    """A resource of which `neurons` neurons of a population need more than a core has."""

    population: str
    neurons: int
    resource: str
    need: int
    limit: int

    def error(self, hint: str = "") -> CapacityError:
        """Return the error that says so."""
        who = "its readout, which its loss keeps on one core," if self.neurons > 1 else "one neuron of it"
        problem = f"{who} needs {self.need:,} of a core's {self.resource}, which is limited to {self.limit:,}"
        return CapacityError(f"population {self.population}", problem, hint + _FIXES[self.resource])


class Partition:
    """How many slices each population is cut into."""

    def __init__(self, demand: Demand) -> None:
        self.demand, self.network = demand, demand.network
        self.names = tuple(p.name for p in self.network.populations)
        self.sizes = {p.name: p.size for p in self.network.populations}
        self._limits = {r: limit_of(demand.chip, r) for r in _FIXES}
        every = copies(self.network)
        self.driven: dict[str, list[Copy]] = {name: [] for name in self.names}
        self.sent: dict[str, list[Copy]] = {name: [] for name in self.names}
        for copy in every:
            self.driven[copy.target].append(copy)
            self.sent[copy.source].append(copy)

    def smallest(self, population: str) -> int:
        """Return the neurons that may not be parted: one, or all of a readout whose loss couples them."""
        whole = population == self.network.output and not self.network.cost.separable
        return self.sizes[population] if whole else 1

    def needs(self, population: str, neurons: int) -> dict[str, int]:
        """Return what a slice of so many neurons takes at most, without output axons, which depend on the other slices."""
        demand = self.demand
        rows = [min(neurons, copy.rows[1] - copy.rows[0]) for copy in self.driven[population]]
        parts = list(zip(self.driven[population], rows, strict=True))
        each, state = demand.neurons_per_dyad(population), demand.state_bits(population)
        synaptic = sum(int(demand.synaptic_bits(copy, n)) for copy, n in parts)
        lines = sum(int(demand.line_bits(copy, n)) for copy, n in parts)
        return {
            NEURONS: neurons * each,
            SYNAPTIC_MEMORY: synaptic,
            CORE_MEMORY: synaptic + lines + neurons * state,
            STATE_PER_NEURON: -(-state // each),
            INPUT_AXONS: sum(int(demand.axons(copy, n)) for copy, n in parts),
        }

    def excess(self, population: str, neurons: int) -> Excess | None:
        """Return the first resource of which a slice of so many neurons needs more than a core has, or None."""
        for resource, need in self.needs(population, neurons).items():
            limit = self._limits[resource]
            if limit is not None and need > limit:
                return Excess(population, neurons, resource, need, limit)
        return None

    def too_large(self) -> list[Excess]:
        """Return what not even the smallest slices of some populations fit by."""
        found = [self.excess(name, self.smallest(name)) for name in self.names]
        return [excess for excess in found if excess is not None]

    def least_cores(self) -> int:
        """Return how many cores it takes if they could be filled to the last bit: fewer are never enough."""
        demand, neurons, bits = self.demand, 0, 0
        for name, size in self.sizes.items():
            neurons += size * demand.neurons_per_dyad(name)
            for copy in self.driven[name]:
                rows, columns = copy.rows[1] - copy.rows[0], copy.columns[1] - copy.columns[0]
                bits += (rows if copy.one_to_one else rows * columns) * int(demand.chip.widths.weight.value or 0)
        limits = [(need, self._limits[r]) for r, need in ((NEURONS, neurons), (SYNAPTIC_MEMORY, bits))]
        return max((-(-need // limit) for need, limit in limits if limit is not None), default=0)

    @cached_property
    def largest(self) -> Mapping[str, int]:
        """The most neurons of each population that fit on a core, its output axons aside. Raises CapacityError."""
        for excess in self.too_large():
            raise excess.error(_SPLIT)
        return {name: self._most(name, lambda who, n: self.excess(who, n) is None) for name in self.names}

    def fewest(self) -> dict[str, int]:
        """Return the fewest slices of each population. Raises CapacityError."""
        return self.enough_axons({name: -(-self.sizes[name] // self.largest[name]) for name in self.names})

    def enough_axons(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Return at least so many slices, and more where neurons send to so many cores that output axons run out.

        Each slice more is one core more to send to for others, hence the loop. Raises CapacityError.
        """
        counts, limit = dict(counts), self._limits[OUTPUT_AXONS]
        changed = limit is not None
        while changed:
            changed = False
            for name in self.names:
                fan_out, smallest = self.fan_out(name, counts), self.smallest(name)
                most = limit // fan_out if limit is not None and fan_out else self.sizes[name]
                if most < smallest:
                    raise Excess(name, smallest, OUTPUT_AXONS, smallest * fan_out, limit or 0).error()
                needed = -(-self.sizes[name] // most)
                if needed > counts[name]:
                    counts[name], changed = needed, True
        return counts

    def fan_out(self, population: str, counts: Mapping[str, int]) -> int:
        """Return the most cores that a neuron sends to when populations are cut into so many slices, kinds added up."""
        return sum(self._cores_reached(copy, counts[copy.target]) for copy in self.sent[population])

    def _cores_reached(self, copy: Copy, count: int) -> int:
        if copy.one_to_one:
            return 1
        size = self.sizes[copy.target]  # slice i begins at i * size // count
        first, last = (copy.rows[0] * count) // size, ((copy.rows[1] - 1) * count) // size
        return min(count, last - first + 2) if (copy.rows[0], copy.rows[1]) != (0, size) else count

    def fastest(self, cores: int, time_of: TimeOf) -> dict[str, int]:
        """Return the counts, on at most so many cores, whose slowest core is done soonest.

        `time_of(partition, population, neurons, fan_out)` is how long a core with such a slice takes for one sample. A
        budget of time is halved until no cut keeps it. Raises CapacityError.
        """
        best = self.fewest()
        slowest = self.slowest(best, time_of)
        low, high = 0.0, slowest
        for _ in range(30):
            budget = 0.5 * (low + high)
            found = self._within(budget, cores, time_of)
            if found is None:
                low = budget
            elif (reached := self.slowest(found, time_of)) <= high:
                best, high = found, min(reached, budget)
            else:
                low = budget
        return best

    def slowest(self, counts: Mapping[str, int], time_of: TimeOf) -> float:
        """Return how long the slowest core takes for one sample, in s."""
        return max(time_of(self, n, -(-self.sizes[n] // counts[n]), self.fan_out(n, counts)) for n in self.names)

    def _within(self, budget: float, cores: int, time_of: TimeOf) -> dict[str, int] | None:
        """Return the fewest slices that keep the budget, or None if there are none."""
        counts, changed = self.fewest(), True
        while changed:
            changed = False
            for name in self.names:
                fan_out, smallest = self.fan_out(name, counts), self.smallest(name)
                if time_of(self, name, smallest, fan_out) > budget:
                    return None
                most = self._most(name, lambda who, n, f=fan_out: time_of(self, who, n, f) <= budget)  # type: ignore[misc]
                needed = -(-self.sizes[name] // most)
                if needed > counts[name]:
                    counts[name], changed = needed, True
            if sum(counts.values()) > cores:
                return None
        counts = self.enough_axons(counts)
        return counts if sum(counts.values()) <= cores else None

    def _most(self, population: str, holds: Callable[[str, int], bool]) -> int:
        """Return the largest slice of a population for which `holds`, which it does for the smallest, and up to some size."""
        low, high = self.smallest(population), self.sizes[population]
        while low < high:
            middle = (low + high + 1) // 2
            if holds(population, middle):
                low = middle
            else:
                high = middle - 1
        return low


TimeOf = Callable[[Partition, str, int, int], float]
"""How long a core takes for one sample, from the partition, the population, the neurons of its slice and their fan-out."""
