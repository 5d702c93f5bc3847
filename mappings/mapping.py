"""A mapping: which core holds which slice of which dyads, where its synapses lie, and which routes its messages take."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.cost import Cost
from dyadic_neuro.errors import CapacityError, FileError, MappingError, OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.fixed_point.network import Piece
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings import fan_in, files, verify
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.copies import KINDS, RATE, copies
from dyadic_neuro.mappings.cost import price, sample_cost
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

AnyNetwork = TypeVar("AnyNetwork", bound=Graph)

OBJECTIVES = ("cores", "latency")
_WORTH_CHIPS = 0.7  # "latency" takes more chips than it has to where that makes the slowest core so much faster


@dataclass(frozen=True)
class Departure:
    """Under wavefront, messages of this kind leave a population in this step of every window; the first step is 1."""

    population: str
    kind: str
    step: int


@dataclass(frozen=True, eq=False)
class Mapping:
    """A network on a chip. It belongs to the structure of the network (a FixedNetwork has that of its float network).

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

    def apply(self, network: AnyNetwork) -> AnyNetwork:
        """Return the network that runs on the chip, with the weights of `network`. Raises MappingError as `check`."""
        self.check(network)
        if not self.division.divided:
            return network
        if isinstance(network, FixedNetwork):
            numbers = {p.name: i for i, p in enumerate(self.division.original.projections)}
            pieces = {name: Piece(numbers[p.original], p.row, p.column) for name, p in self.division.pieces.items()}
            return cast(AnyNetwork, network.divided(self.network, self.division.apply(network.parameters), pieces))
        network.described().need_weights()
        return cast(AnyNetwork, self.network.with_parameters(self.division.apply(network.parameters)))

    def restore(self, parameters: dict[str, ArrayLike]) -> dict[str, Array]:
        """Return parameters or gradients of the network on the chip by the keys of the user's network."""
        return self.division.restore(parameters)

    def check(self, network: Graph) -> None:
        """Raise MappingError if the network is of another structure than the one that was mapped, or wider than the chip."""
        structure = network.described().fingerprint
        if structure != self.fingerprint:
            problem = f"is for a network of structure {self.fingerprint}, not {structure} ({network!r})"
            raise MappingError("mapping", problem, "map this network: map_network(network, chip)")
        if isinstance(network, FixedNetwork):
            self.chip.check_format(network.format)

    def cost(self, schedule: str = "free", *, learning: bool | None = None) -> Cost:
        """Return what one sample takes: 2D steps and (`learning`) the change of the weights. Raises CycleError, OptionError.

        `schedule` is "free", "wavefront", or for a mapping with room for it "pipeline". `learning` None means as the mapping
        was made.
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
        """Read a mapping that `save` wrote, with its chip, and verify it.

        Raises FileError for a file that is foreign, edited or truncated, or whose mapping breaks a law.
        """
        found = files.read(path)
        try:
            mapping = cls.build(
                found.division,
                found.chip,
                found.slices,
                objective=found.objective,
                learning=found.learning,
                pipeline=found.pipeline,
                seed=found.seed,
            )
            mapping.verify()
        except (MappingError, IndexError, ValueError) as error:
            problem = f"does not hold a mapping that can be used ({error})"
            raise FileError(str(path), problem, "map the network again, or use another copy") from None
        return mapping

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is worked out again when needed: copies and pickles hold the mapping only."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        divided = ", fan-in divided" if self.division.divided else ""
        return (
            f"Mapping({len(self.slices)} slices on {len(self.cores)} of {self.chip.cores:,} cores of {self.chip.name}{divided})"
        )


def map_network(
    network: Graph,
    chip: Chip | str,
    *,
    objective: str = "cores",
    learning: bool = True,
    pipeline: bool = False,
    split_fan_in: bool = True,
    seed: int = 0,
) -> Mapping:
    """Return a mapping of the network (of floats or integers, or a specification) onto a chip, or onto a system of chips.

    Populations are cut into slices of dyads, each on a core of its own; only where there are fewer cores than slices do
    several share one. `objective` "cores" cuts as little as the limits allow, "latency" as much as makes a sample faster
    (under `free`), on more chips only where that is worth it. `learning` counts the memory that on-chip learning needs,
    `pipeline` that of a new sample every step. With `split_fan_in` a neuron whose fan-in no core can hold gets partial sums
    (exact; the depth grows). The same `seed` gives the same mapping.

    Raises CapacityError for what does not fit, MappingError for integers wider than the chip's, OptionError, UnknownNameError
    and FileError (chip), CycleError (pipeline).
    """
    if not isinstance(network, (Network, FixedNetwork)):
        raise OptionError("network", f"{type(network).__name__} is not a Network", "build one, or Network.specification(...)")
    if not isinstance(chip, Chip):
        chip = Chip.load(chip)
    if objective not in OBJECTIVES:
        raise OptionError("objective", f"{objective!r} is no objective", f"use one of {list(OBJECTIVES)}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError("seed", f"{seed!r} is not a seed", "give an integer of at least 0")
    for name, value in (("learning", learning), ("pipeline", pipeline), ("split_fan_in", split_fan_in)):
        if not isinstance(value, bool):
            raise OptionError(name, f"{value!r} is neither True nor False", "use one of them")
    if isinstance(network, FixedNetwork):
        chip.check_format(network.format)
    structure = network.described().structure()
    if pipeline:
        _ = structure.depth  # raises CycleError
    demand = Demand(structure, chip, learning, pipeline)
    _check_room(Partition(demand).least_cores(), chip)
    division = fan_in.divide(structure, demand) if split_fan_in else Division.none(structure)
    demand = Demand(division.network, chip, learning, pipeline)

    def made(cut: str) -> Mapping:
        slices = _arranged(_cut(demand, cut), division.network, chip, int(seed))
        return Mapping.build(division, chip, slices, objective=objective, learning=learning, pipeline=pipeline, seed=int(seed))

    if objective == "cores":
        return made("cores")
    return min(made("latency"), made("cores"), key=_sample_s)  # what the cut left out (barriers, links) may decide otherwise


def _check_room(least: int, chip: Chip) -> None:
    """Raise CapacityError if a network takes more cores than there are however it is cut."""
    if least > chip.cores:
        raise _too_many(f"needs at least {least:,} cores, more than", least, chip)


def _too_many(problem: str, cores: int, chip: Chip) -> CapacityError:
    chips = -(-cores * chip.chips // chip.cores)
    fix = f"use more chips, about {chips:,}: Chip.load({chip.name!r}, chips=(columns, rows)), or --chips COLUMNSxROWS"
    return CapacityError("network", f"{problem} the {chip.cores:,} cores of {chip.name}", fix)


def _sample_s(mapping: Mapping) -> float:
    """Return how long a sample takes, or in a network with a cycle one step, in s."""
    steps = 1 if mapping.network.cycle else mapping.network.relaxation_steps
    one = mapping.counter.scheduled(Schedule.of(mapping.network, "free"), 1)
    found = price(mapping, [one], samples=1, learning=mapping.learning)
    return steps * found.steps_s[0] + found.learning_s


def _cut(demand: Demand, objective: str) -> Slices:
    """Return slices on numbered cores, as many as the chip has at most. Raises CapacityError."""
    partition, chip = Partition(demand), demand.chip
    counts = partition.fewest()
    if objective == "latency":
        one_chip = chip.cores // chip.chips
        few = min(chip.cores, -(-sum(counts.values()) // one_chip) * one_chip)
        counts = partition.fastest(few, time_of_slice)
        more = partition.fastest(chip.cores, time_of_slice) if few < chip.cores else counts
        # more chips take more static power, and what messages between them cost is unknown: they have to be worth it
        if partition.slowest(more, time_of_slice) < _WORTH_CHIPS * partition.slowest(counts, time_of_slice):
            counts = more
    names = partition.names
    slices = Slices.cut(names, [partition.sizes[name] for name in names], [counts[name] for name in names])
    if len(slices) <= chip.cores:
        return slices
    found = packed(partition, counts, slices, chip.cores)
    if len(found.cores) > chip.cores:
        raise _too_many(f"is cut into {len(found):,} slices, which do not fit on", len(found), chip)
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
    allowed = _cores_of_chips(chip, len(order))
    positions = place(first[order], flows, mesh_of(chip, allowed), seed)
    return slices.on(allowed[positions][slices.core])


def _cores_of_chips(chip: Chip, blocks: int) -> Array:
    """Return the cores of as few chips as hold so many blocks, in a rectangle of chips as compact as there is.

    Each chip more takes static power and has borders that messages cross at an unknown cost.
    """
    columns, rows = int(chip.mesh.chip_columns.value or 1), int(chip.mesh.chip_rows.value or 1)
    needed = -(-blocks * chip.chips // chip.cores)
    wide = np.arange(1, columns + 1)
    high = -(-needed // wide)
    sizes = [(w * h, w + h, w, h) for w, h in zip(wide, high, strict=True) if h <= rows]
    _, _, width, height = min(sizes)
    inside = [(c * rows) + (r if c % 2 == 0 else height - 1 - r) for c in range(width) for r in range(height)]
    chosen = np.zeros(chip.chips, bool)
    chosen[inside[:needed]] = True
    return np.flatnonzero(chosen[chip.chip_of])


def mesh_of(chip: Chip, cores: Array) -> Mesh:
    """Return where these cores of a chip are, for placement."""
    mesh = chip.mesh
    width, height = int(mesh.columns.value or 1), int(mesh.rows.value or 1)
    size = (width * int(mesh.chip_columns.value or 1), height * int(mesh.chip_rows.value or 1))
    return Mesh(chip.x[cores], chip.y[cores], *size, width, height, float(chip.placement.crossing_weight.value or 1.0))


def _departures(network: Network) -> tuple[Departure, ...]:
    if network.cycle:
        return ()
    schedule, found = Schedule.of(network, "wavefront"), []
    for copy in copies(network):
        timing = (schedule.potentials if copy.kind == RATE else schedule.sensitivities)[copy.source]
        step = next(t for t in range(1, network.relaxation_steps + 1) if timing.sends(t))
        found.append(Departure(copy.source, copy.kind, step))
    return tuple(dict.fromkeys(sorted(found, key=lambda d: (d.step, KINDS.index(d.kind), d.population))))
