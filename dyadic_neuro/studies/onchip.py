"""What learning on a chip takes, in one report, and what on-chip backpropagation was measured to take."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping as Dict
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.cost import Cost
from dyadic_neuro.mappings.cost import PIPELINE, sample_cost, sample_steps
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.mappings.mapping import Mapping
from dyadic_neuro.mappings.slices import Slice
from dyadic_neuro.mappings.timing import generation_s, receiving_s, seconds
from dyadic_neuro.network import Network
from dyadic_neuro.quantity import Quantity, Text

_PACKETS = "a message goes to one core: a neuron that is heard on three cores sends three"
_UNCOUNTED = "not counted: loading samples and targets, embedded processors, the host"
_LEARNING = "each plastic synapse and bias is updated once a sample, at the price of one learning_update"
_LINES = "pipeline: adding a sample's share to a gradient counts as a learning_update, reading delay lines as nothing"


@dataclass(frozen=True)
class Fill:
    """The core that uses most of a resource; `limit` is None where it is not published."""

    resource: str
    core: int
    used: int
    limit: int | None


@dataclass(frozen=True)
class Busy:
    """What a core does for one sample, in s. While it receives it may send, so `busy_s` can be less than the parts."""

    core: int
    slices: tuple[Slice, ...]
    busy_s: float
    sending_s: float
    receiving_s: float
    learning_s: float


@dataclass(frozen=True, eq=False)
class Work:
    """What every core does for one sample, in s, (cores,) in the order of `mapping.cores`, and what every link carries.

    `sending_s` includes going through the neurons. A step keeps a core for the longer of the two, sending or receiving:
    `busy_s` sums that up over the steps, and adds `learning_s`. Times are lower bounds where some are unknown.
    """

    busy_s: Array
    sending_s: Array
    receiving_s: Array
    learning_s: Array
    links: Links


@dataclass(frozen=True, eq=False)
class Report:
    """What one sample takes on a mapping, under "free" or "wavefront", or in a "pipeline" with a new one every step.

    `cost` is that of one sample: 2D steps and a phase of learning, in a pipeline one step and one such phase.
    """

    mapping: Mapping
    schedule: str
    cost: Cost
    work: Work

    @property
    def cores(self) -> int:
        """The cores in use."""
        return len(self.mapping.cores)

    @property
    def depth(self) -> int:
        """D of the network on the chip."""
        return self.mapping.network.depth

    @property
    def depth_before(self) -> int:
        """D of the user's network: less, where dividing a fan-in made paths longer."""
        return self.mapping.division.original.depth

    @property
    def steps(self) -> int:
        """The steps from one sample to the next."""
        return len(self.cost.steps_s)

    @property
    def relaxation_s(self) -> float:
        """The time of those steps."""
        return sum(self.cost.steps_s)

    @property
    def latency_s(self) -> float:
        """The time from showing a sample until the weights have learned from it."""
        shown = 2 * self.depth if self.schedule == PIPELINE else 1
        return shown * self.cost.latency_per_sample_s

    @property
    def samples_per_s(self) -> float | None:
        """The samples that follow each other in a second; at most that, where times are unknown. None if all are."""
        return 1.0 / self.cost.latency_per_sample_s if self.cost.latency_per_sample_s else None

    @property
    def plastic_synapses(self) -> int:
        """The synapses on the chip that learn, both copies of a weight counted."""
        held = self.mapping.synapses
        return int((held.axons * held.per_message)[held.plastic].sum())

    @property
    def plastic_weights(self) -> int:
        """The weights of the user's network that learn, biases aside."""
        return sum(int(np.prod(p.weights.shape)) for p in self.mapping.division.original.projections if p.plastic)

    @property
    def synapses_per_weight(self) -> float | None:
        """Plastic synapses per plastic weight; None if none learns."""
        return self.plastic_synapses / self.plastic_weights if self.plastic_weights else None

    @cached_property
    def memory(self) -> tuple[Fill, ...]:
        """The fullest core of each kind of memory, the first of several."""
        found = []
        for resource, by_core in self.mapping.utilization.items():
            core = max(by_core, key=lambda c: (by_core[c][0], -c))
            found.append(Fill(resource, core, *by_core[core]))
        return tuple(found)

    @cached_property
    def busiest_core(self) -> Busy:
        """The core that works longest for a sample, the first of several."""
        work, i = self.work, int(self.work.busy_s.argmax())
        core, slices = int(self.mapping.cores[i]), self.mapping.slices
        held = tuple(
            Slice(slices.names[slices.population[j]], int(slices.start[j]), int(slices.stop[j]), core)
            for j in np.flatnonzero(slices.core == core)
        )
        times = (float(getattr(work, name)[i]) for name in ("busy_s", "sending_s", "receiving_s", "learning_s"))
        return Busy(core, held, *times)

    @property
    def busiest_link(self) -> tuple[int, str]:
        """The messages per sample over the link that carries most, and which one it is."""
        return self.work.links.busiest()

    @property
    def busiest_link_s(self) -> float | None:
        """How long they keep it within a sample; None if that is unknown. Between chips it may be longer."""
        each = self.mapping.chip.latency.link_message.value
        return None if each is None else self.busiest_link[0] * each

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the numbers take for granted or leave out."""
        learning = (_LEARNING,) if self.mapping.learning else ()
        return (*self.cost.assumptions, _PACKETS, *learning, *((_LINES,) if self.schedule == PIPELINE else ()), _UNCOUNTED)

    def record(self) -> dict[str, Any]:
        """Return all of it as values that JSON can hold."""
        m, cost, busiest = self.mapping, self.cost, self.busiest_core
        load, link = self.busiest_link
        return {
            "chip": m.chip.name,
            "objective": m.objective,
            "schedule": self.schedule,
            "learning": m.learning,
            "seed": m.seed,
            "cores": self.cores,
            "cores_of_chip": m.chip.cores,
            "chips": m.chips_in_use,
            "chips_of_system": m.chip.chips,
            "slices": len(m.slices),
            "depth": self.depth,
            "depth_before": self.depth_before,
            "steps": self.steps,
            "relaxation_s": self.relaxation_s,
            "learning_s": cost.learning_s,
            "latency_s": self.latency_s,
            "samples_per_s": self.samples_per_s,
            "unknown_times": list(cost.unknown_times),
            "energy_j": cost.energy_per_sample_j,
            "unknown_energies": list(cost.unknown),
            "components": [
                {"name": c.name, "count": c.count, "each": c.each.value, "unit": c.each.unit, "grade": c.each.grade}
                | {"source": c.each.source, "total_j": c.total_j}
                for c in cost.components
            ],
            "memory": {f.resource: {"core": f.core, "used": f.used, "limit": f.limit} for f in self.memory},
            "busiest_core": {f.name: getattr(busiest, f.name) for f in fields(busiest) if f.name != "slices"}
            | {"slices": [[s.population, s.start, s.stop] for s in busiest.slices]},
            "busiest_link": {"link": link if load else None, "messages": load, "busy_s": self.busiest_link_s},
            "plastic_synapses": self.plastic_synapses,
            "plastic_weights": self.plastic_weights,
            "synapses_per_weight": self.synapses_per_weight,
            "assumptions": list(self.assumptions),
        }


def report(mapping: Mapping, schedule: str = "free") -> Report:
    """Return what one sample takes, which learns if the mapping is made for learning.

    Raises OptionError for another schedule, or for "pipeline" if the mapping has no room for it; CycleError.
    """
    cost = sample_cost(mapping, schedule, learning=mapping.learning)
    return Report(mapping, schedule, cost, work(mapping, schedule))


def work(mapping: Mapping, schedule: str = "free") -> Work:
    """Return what cores and links do for one sample. Raises as `report`."""
    chip, counter, count = mapping.chip, mapping.counter, len(mapping.cores)
    steps = sample_steps(mapping, schedule)
    busy, sending, receiving = np.zeros(count), np.zeros(count), np.zeros(count)
    links = Links.none(chip)
    for c, times in Tally(steps).items():
        sent = generation_s(chip, counter.mapped, c.updated, c.fired, c.messages_out)
        received = receiving_s(chip, c.messages_in, c.synaptic_events)
        busy += times * np.maximum(sent, received)
        sending += times * sent
        receiving += times * received
        for part in fields(links):
            getattr(links, part.name)[:] += times * getattr(c.links, part.name)
    learning = counter.learning * seconds(chip, "learning_update") if mapping.learning else np.zeros(count)
    return Work(busy + learning, sending, receiving, learning, links)


@dataclass(frozen=True)
class Published:
    """A published measurement of learning on a chip: per training sample of a chain of populations of these sizes."""

    name: str
    reference: str
    layers: tuple[int, ...]
    steps: Quantity
    energy: Quantity
    latency: Quantity
    cores: Quantity
    plastic_synapses: Quantity
    weights: Quantity
    activations: Text
    errors: Text

    @property
    def synapses_per_weight(self) -> float | None:
        """Plastic synapses per weight, None where one of the two is unknown."""
        synapses, weights = self.plastic_synapses.value, self.weights.value
        return None if synapses is None or weights is None else synapses / weights

    @property
    def quantities(self) -> Dict[str, Quantity]:
        """Its numbers by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return MappingProxyType({name: value for name, value in found.items() if isinstance(value, Quantity)})

    def is_of(self, network: Network) -> bool:
        """Whether the network is a chain of the same sizes."""
        chain = len(network.projections) == len(network.populations) - 1
        return not network.cycle and chain and tuple(network.population(n).size for n in network.order) == self.layers

    def record(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        return {
            "name": self.name,
            "reference": self.reference,
            "layers": list(self.layers),
            **{name: dict(vars(quantity)) for name, quantity in self.quantities.items()},
            "synapses_per_weight": self.synapses_per_weight,
            "activations": dict(vars(self.activations)),
            "errors": dict(vars(self.errors)),
        }


_TABLE = "Table 1 of the paper"
_CODE = "the authors' code, lanl/spikingBackprop (f725a74)"

RENNER_2024 = Published(
    name="Renner et al. 2024",
    reference="Nat. Commun. 15:9691, doi 10.1038/s41467-024-53827-9",
    layers=(400, 400, 10),
    steps=Quantity(12, "step", f"{_CODE}: gates g00 to g11", "published"),
    energy=Quantity(0.59e-3, "J", f"{_TABLE}; whether it is total or dynamic energy was not seen", "measured"),
    latency=Quantity(1.5e-3, "s", _TABLE, "measured"),
    cores=Quantity(96, "core", f"{_CODE}: start_core 0, end_core 95", "derived"),
    plastic_synapses=Quantity(
        500_000, "synapse", f"all-to-all plastic ones in {_CODE}: 3 copies of W1, 3 of W2, 2 of its transpose", "derived"
    ),
    weights=Quantity(164_000, "weight", "400 x 400 + 400 x 10", "derived"),
    activations=Text("binary", "spikes", "published"),
    errors=Text("signs", f"signs of the output's errors, as spikes: {_CODE}", "derived"),
)
