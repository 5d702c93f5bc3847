"""A mapping: which core holds which slice of which dyads, where its synapses lie, and which routes its messages take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.cost import Cost
from dyadic_neuro.errors import CapacityError, MappingError, OptionError
from dyadic_neuro.mappings import fan_in, files, verify
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.copies import KINDS, RATE, copies
from dyadic_neuro.mappings.cost import sample_cost
from dyadic_neuro.mappings.counts import Counter
from dyadic_neuro.mappings.demand import RESOURCES, Demand, limit_of, usage
from dyadic_neuro.mappings.fan_in import Division
from dyadic_neuro.mappings.layouts import Mesh
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.mappings.packing import packed
from dyadic_neuro.mappings.partition import Partition
from dyadic_neuro.mappings.place import place
from dyadic_neuro.mappings.routes import Routes, Senders
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.mappings.synapses import Synapses
from dyadic_neuro.mappings.timing import time_of_slice
from dyadic_neuro.mappings.traffic import Flow
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import Schedule

OBJECTIVES = ("cores", "latency")


@dataclass(frozen=True)
class Departure:
    """Under wavefront, messages of this kind leave a population in this step of every window; the first step is 1."""

    population: str
    kind: str
    step: int


@dataclass(frozen=True, eq=False)
class Mapping:
    """A network on a chip. It belongs to the network's structure, not to its weights.

    `network` is the specification of what runs on the chip, `division` the way to it from the user's network (another
    one where a fan-in had to be divided). `slices` says what lies on which core, `synapses` what each slice stores,
    `routes` which cores every message goes to, `links` what each link carries when all neurons send once, `departures`
    when messages leave under wavefront (none for a network with a cycle).
    """

    division: Division
    chip: Chip
    objective: str
    learning: bool
    pipeline: bool
    seed: int
    slices: Slices
    synapses: Synapses
    routes: Routes
    links: Links
    departures: tuple[Departure, ...]

    @classmethod
    def build(
        cls, division: Division, chip: Chip, slices: Slices, *, objective: str, learning: bool, pipeline: bool, seed: int
    ) -> Mapping:
        """Return the mapping that follows from where the slices lie."""
        synapses = Synapses.of(copies(division.network), slices)
        routes = Routes.of(slices, synapses)
        links = Links.of(chip, slices, routes, routes.senders(slices))
        departures = _departures(division.network)
        return cls(division, chip, objective, learning, pipeline, seed, slices, synapses, routes, links, departures)

    @property
    def network(self) -> Network:
        """The specification of the network that runs on the chip."""
        return self.division.network

    @property
    def demand(self) -> Demand:
        """What parts of the network take of a core."""
        return Demand(self.network, self.chip, self.learning, self.pipeline)

    @property
    def cores(self) -> Array:
        """The cores that hold something, ascending."""
        return self.slices.cores

    @cached_property
    def tiles_in_use(self) -> int:
        """How many tiles hold something."""
        return len(np.unique(self.chip.tile_of[self.cores]))

    @cached_property
    def chips_in_use(self) -> int:
        """How many chips hold something."""
        return len(np.unique(self.chip.chip_of[self.cores]))

    @cached_property
    def senders(self) -> Senders:
        """Which slices send how many messages on which route."""
        return self.routes.senders(self.slices)

    @cached_property
    def counter(self) -> Counter:
        """Counts the events of steps of this mapping."""
        return Counter(self)

    @property
    def fingerprint(self) -> str:
        """The structure that it belongs to: that of the user's network."""
        return self.division.original.fingerprint

    @cached_property
    def utilization(self) -> dict[str, dict[int, tuple[int, int | None]]]:
        """For each resource and core in use (used, limit); the limit is None where it is not published."""
        used = usage(self.demand, self.slices, self.synapses, self.routes)
        return {
            resource: {
                int(core): (int(amount), limit_of(self.chip, resource))
                for core, amount in zip(self.cores, used[resource], strict=True)
            }
            for resource in RESOURCES
        }

    def apply(self, network: Network) -> Network:
        """Return the network that runs on the chip, with the weights of `network`. Raises MappingError for another structure."""
        self.check(network)
        if not self.division.divided:
            return network
        network.need_weights()
        return self.network.with_parameters(self.division.apply(network.parameters))

    def restore(self, parameters: dict[str, ArrayLike]) -> dict[str, Array]:
        """Return parameters or gradients of the network on the chip by the keys of the user's network."""
        return self.division.restore(parameters)

    def check(self, network: Network) -> None:
        """Raise MappingError if the network is of another structure than the one that was mapped."""
        if network.fingerprint != self.fingerprint:
            problem = f"is for a network of structure {self.fingerprint}, not {network.fingerprint} ({network!r})"
            raise MappingError("mapping", problem, "map this network: map_network(network, chip)")

    def cost(self, schedule: str = "free", *, learning: bool = True) -> Cost:
        """Return what one sample takes: 2D steps and (`learning`) the change of its weights. Raises CycleError, OptionError.

        `schedule` is "free", "wavefront", or for a mapping with room for it "pipeline".
        """
        return sample_cost(self, schedule, learning=learning)

    def verify(self) -> None:
        """Check every limit and law again, by code that shares nothing with what made the mapping. Raises MappingError."""
        verify.check(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the mapping as text, a line a slice. Raises OutputExistsError and FileError."""
        files.write(path, self, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Mapping:
        """Read a mapping that `save` wrote, with its chip. Raises FileError for a file that is foreign, edited or truncated."""
        found = files.read(path)
        return cls.build(
            found.division,
            found.chip,
            found.slices,
            objective=found.objective,
            learning=found.learning,
            pipeline=found.pipeline,
            seed=found.seed,
        )

    def __repr__(self) -> str:
        divided = ", fan-in divided" if self.division.divided else ""
        return (
            f"Mapping({len(self.slices)} slices on {len(self.cores)} of {self.chip.cores:,} cores of {self.chip.name}{divided})"
        )


def map_network(
    network: Network,
    chip: Chip | str,
    *,
    objective: str = "cores",
    learning: bool = True,
    pipeline: bool = False,
    split_fan_in: bool = True,
    seed: int = 0,
) -> Mapping:
    """Return a mapping of the network (or of a specification without weights) onto a chip, or onto a system of chips.

    Populations are cut into slices of dyads, each on a core of its own; only where there are fewer cores than slices do
    several share one. `objective` "cores" uses as few cores as the limits allow, "latency" as many as make a sample
    faster, on as few chips. `learning` counts the memory that on-chip learning needs, `pipeline` that of a new sample
    every step. With `split_fan_in` a neuron whose fan-in no core can hold gets partial sums (exact; the depth grows). The
    same `seed` gives the same mapping.

    Raises CapacityError for what does not fit, OptionError, UnknownNameError and FileError (chip), CycleError (pipeline).
    """
    if not isinstance(network, Network):
        raise OptionError("network", f"{type(network).__name__} is not a Network", "build one, or Network.specification(...)")
    if not isinstance(chip, Chip):
        chip = Chip.load(chip)
    if objective not in OBJECTIVES:
        raise OptionError("objective", f"{objective!r} is no objective", f"use one of {list(OBJECTIVES)}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError("seed", f"{seed!r} is not a seed", "give an integer of at least 0")
    structure = network.structure()
    if pipeline:
        _ = structure.depth  # raises CycleError
    demand = Demand(structure, chip, learning, pipeline)
    division = fan_in.divide(structure, demand) if split_fan_in else Division.none(structure)
    demand = Demand(division.network, chip, learning, pipeline)
    slices = _arranged(_cut(demand, objective), division.network, chip, int(seed))
    return Mapping.build(division, chip, slices, objective=objective, learning=learning, pipeline=pipeline, seed=int(seed))


def _cut(demand: Demand, objective: str) -> Slices:
    """Return slices on numbered cores, as many as the chip has at most. Raises CapacityError."""
    partition, chip = Partition(demand), demand.chip
    counts = partition.fewest()
    if objective == "latency":
        one_chip = chip.cores // chip.chips
        chips = -(-sum(counts.values()) // one_chip)  # as few as there have to be: between chips messages are slow and dear
        counts = partition.fastest(min(chip.cores, chips * one_chip), time_of_slice)
    names = partition.names
    slices = Slices.cut(names, [partition.sizes[name] for name in names], [counts[name] for name in names])
    if len(slices) <= chip.cores:
        return slices
    found = packed(partition, counts, slices)
    if len(found.cores) > chip.cores:
        problem = f"needs {len(found.cores):,} cores of {chip.name}, which has {chip.cores:,}"
        raise CapacityError("network", problem, f"use more chips: Chip.load({chip.name!r}, chips=(columns, rows))")
    return found


def _arranged(slices: Slices, network: Network, chip: Chip, seed: int) -> Slices:
    """Return the slices on the cores of the chip on which their messages travel least."""
    levels = {p.name: i for i, p in enumerate(network.populations)} if network.cycle else network.depths
    level = np.array([levels[name] for name in slices.names])[slices.population]
    first = np.full(int(slices.core.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, slices.core, level)
    order = np.argsort(first, kind="stable")  # blocks: cores in the order of the signal
    block = np.empty_like(order)
    block[order] = np.arange(len(order))
    slices = slices.on(block[slices.core])
    routes = Routes.of(slices, Synapses.of(copies(network), slices))
    senders = routes.senders(slices)
    bounds = np.searchsorted(senders.route, np.arange(len(routes) + 1))
    flows = []
    for r in range(len(routes)):
        own = slice(int(bounds[r]), int(bounds[r + 1]))
        cores, index = np.unique(slices.core[senders.slice[own]], return_inverse=True)
        messages = np.bincount(index, senders.neurons[own].astype(np.float64))
        flows.append(Flow(cores, messages, routes.core[routes.first[r] : routes.first[r + 1]]))
    positions = place(first[order], flows, mesh_of(chip), seed)
    return slices.on(positions[slices.core])


def mesh_of(chip: Chip) -> Mesh:
    """Return where the cores of a chip are, for placement."""
    mesh = chip.mesh
    width, height = int(mesh.columns.value or 1), int(mesh.rows.value or 1)
    size = (width * int(mesh.chip_columns.value or 1), height * int(mesh.chip_rows.value or 1))
    return Mesh(chip.x, chip.y, *size, width, height, float(chip.placement.crossing_weight.value or 1.0))


def _departures(network: Network) -> tuple[Departure, ...]:
    if network.cycle:
        return ()
    schedule, found = Schedule.of(network, "wavefront"), []
    for copy in copies(network):
        timing = (schedule.potentials if copy.kind == RATE else schedule.sensitivities)[copy.source]
        step = next(t for t in range(1, network.relaxation_steps + 1) if timing.sends(t))
        found.append(Departure(copy.source, copy.kind, step))
    return tuple(dict.fromkeys(sorted(found, key=lambda d: (d.step, KINDS.index(d.kind), d.population))))
