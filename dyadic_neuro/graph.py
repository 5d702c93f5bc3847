"""What networks of every arithmetic share: who is joined to whom, and how long a relaxation takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import DTypeLike

from dyadic_neuro import topology
from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import CycleError, UnknownNameError
from dyadic_neuro.losses import Loss
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

if TYPE_CHECKING:
    from dyadic_neuro.network import Network


class Graph(ABC):
    """Populations joined by projections: what `Network` (float) and `FixedNetwork` (integers) have in common.

    `input` names the population that shows the clamped input, `output` the readout, whose potentials `cost` reads; `dtype` is
    that of every state and message.
    """

    populations: Sequence[Population]
    projections: Sequence[Projection]
    loss: object
    input: str
    output: str
    dtype: DTypeLike

    @abstractmethod
    def described(self) -> Network:
        """Return the float network that this is, or was made of; then it may be a specification, without weights."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return everything but the values of weights and biases as plain JSON values."""

    @abstractmethod
    def bits(self, population: str, kind: str) -> int:
        """Return the width of what a population sends: a "rate" or "sensitivity", or in its dyad also a "derivative" ..."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of everything but the values of weights and biases."""

    # What is where

    def population(self, name: str) -> Population:
        """Return the population of this name. Raises UnknownNameError."""
        if name not in self._by_name:
            raise UnknownNameError("population", f"no population is called {name!r}", f"use one of {list(self._by_name)}")
        return self._by_name[name]

    def projection(self, name: str) -> Projection:
        """Return the projection of this name, "source->target". Raises UnknownNameError."""
        if name in self._projection_by_name:
            return self._projection_by_name[name]
        raise UnknownNameError(
            "projection", f"no projection is called {name!r}", f"use one of {[p.name for p in self.projections]}"
        )

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    @cached_property
    def _projection_by_name(self) -> dict[str, Projection]:
        return {projection.name: projection for projection in self.projections}

    @property
    def cost(self) -> Loss:
        """The loss C(u, y) on the readout's potentials."""
        return cast(Loss, self.loss)

    @cached_property
    def activations(self) -> Mapping[str, Activation]:
        """The rate function of each population."""
        return {population.name: population.phi for population in self.populations}

    @cached_property
    def dynamic(self) -> tuple[Population, ...]:
        """The populations that have a potential and a sensitivity: all but the input."""
        return tuple(population for population in self.populations if population.name != self.input)

    @cached_property
    def incoming(self) -> Mapping[str, tuple[Projection, ...]]:
        """For each population the projections that end there."""
        return _grouped(self.populations, self.projections, "target")

    @cached_property
    def outgoing(self) -> Mapping[str, tuple[Projection, ...]]:
        """For each population the projections that start there."""
        return _grouped(self.populations, self.projections, "source")

    # How long a relaxation takes

    @cached_property
    def _edges(self) -> list[tuple[str, str]]:
        return [(p.source, p.target) for p in self.projections]

    @cached_property
    def cycle(self) -> list[str] | None:
        """One cycle as [a, b, ..., a], or None."""
        return topology.find_cycle(self._by_name, self._edges)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names of the populations, every source before its targets. Raises CycleError."""
        self.need_depth()
        return tuple(topology.order(self._by_name, self._edges))

    @cached_property
    def depths(self) -> Mapping[str, int]:
        """Longest path input -> population, for each population. Raises CycleError."""
        return MappingProxyType(topology.longest_paths(self.order, self._edges, self.input))

    @cached_property
    def heights(self) -> Mapping[str, int]:
        """Longest path population -> readout, for each population. Raises CycleError."""
        return MappingProxyType(topology.longest_paths(self.order[::-1], [(b, a) for a, b in self._edges], self.output))

    @property
    def depth(self) -> int:
        """D, the longest path input -> readout. Raises CycleError."""
        return self.depths[self.output]

    @property
    def relaxation_steps(self) -> int:
        """2D: the unit steps after which the state is the exact gradient (DESIGN section 2). Raises CycleError."""
        return 2 * self.depth

    def need_depth(self) -> None:
        """Raise CycleError if the network has a cycle, and so no depth."""
        if self.cycle:
            raise CycleError(
                "network",
                f"has the cycle {' -> '.join(self.cycle)}, so no depth and no relaxation time",
                "give the number of steps, or remove a projection",
            )

    # What it learns

    @cached_property
    def parameters(self) -> Mapping[str, Array]:
        """All weights ("source->target") and biases ("population.bias"), read-only."""
        weights = {p.name: p.weights for p in self.projections}
        biases = {f"{p.name}.bias": np.asarray(p.bias) for p in self.populations if p.bias is not None}
        return MappingProxyType(weights | biases)

    @cached_property
    def plastic(self) -> tuple[str, ...]:
        """The keys of the parameters that learn: all but the weights of fixed projections."""
        fixed = {p.name for p in self.projections if not p.plastic}
        return tuple(key for key in self.parameters if key not in fixed)


def _grouped(
    populations: Sequence[Population], projections: Sequence[Projection], end: str
) -> Mapping[str, tuple[Projection, ...]]:
    """Return for each population the projections of which it is that end."""
    found: dict[str, list[Projection]] = {population.name: [] for population in populations}
    for projection in projections:
        found[getattr(projection, end)].append(projection)
    return MappingProxyType({name: tuple(group) for name, group in found.items()})
