"""Where the neurons, axons and synapses of a network stand in the flat arrays of a Brian2 circuit.

Brian2 compiles a code object for every group, and one more for everything that happens in it, with the group's name in the
text. One group for all neurons, one for all axons and one for the synapses of each direction is compiled once, for every
network (measured: 40 s on Cython, a group a population takes that long again for each new depth).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection


@dataclass(frozen=True, eq=False)
class Copies:
    """The synapses of one direction: synapse k leads from `axon[k]` to `neuron[k]`, ordered copy by copy."""

    names: tuple[str, ...]
    axon: Array
    neuron: Array
    shapes: tuple[tuple[int, ...], ...]

    def flat(self, copies: Mapping[str, Projection], dtype: np.dtype[Any]) -> Array:
        """Return the weights of the copies, one after the other, those of an axon together."""
        flat: Array = np.concatenate([copies[name].weights.T.ravel() for name in self.names])
        return flat.astype(dtype)

    def split(self, values: Array) -> dict[str, Array]:
        """Return what `flat` has put together, by the name of the projection, in the shape of the weights."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = zip(self.names, np.split(values, ends), self.shapes, strict=True)
        return {name: np.array(part.reshape(shape[::-1]).T) for name, part, shape in parts}


@dataclass(frozen=True, eq=False)
class Layout:
    """The flat circuit of a network.

    `neurons` gives each population its slice, the input's included. An axon is a row of cells, one for each step of its
    delay and one that its synapses see: cell k takes over from `before[k]`, the `first` ones from the neuron `source[k]`.
    `is_forward` tells axons that carry rates from those that carry sensitivities, `plastic` those whose synapses learn.
    """

    network: Network
    neurons: Mapping[str, slice]
    source: Array
    before: Array
    first: Array
    is_forward: Array
    plastic: Array
    ends: Mapping[tuple[str, bool], slice]
    copies: Mapping[str, Copies]

    @classmethod
    def of(cls, network: Network, delays: Mapping[str, tuple[int, int]], *, parted: bool) -> Layout:
        """Return the layout; `delays` are in steps, (forward, backward) by projection.

        `parted` gives the synapses of the clamped input a way of their own.
        """
        offsets = np.cumsum([0, *(p.size for p in network.populations)]).tolist()
        neurons = {p.name: slice(a, b) for p, a, b in zip(network.populations, offsets[:-1], offsets[1:], strict=True)}
        cells = _Cells()
        ways: dict[str, list[tuple[str, Projection]]] = {"clamped": [], "forward": []}
        for p in network.projections:
            ways["clamped" if parted and p.source == network.input else "forward"].append((p.name, p))
        ways["backward"] = list(feedback_copies(network).items())
        copies = {way: cells.grow(part, neurons, delays, is_forward=way != "backward") for way, part in ways.items() if part}
        source, before, first, is_forward, plastic = cells.arrays()
        return cls(network, neurons, source, before, first, is_forward, plastic, cells.ends, copies)

    @property
    def size(self) -> int:
        """The number of neurons."""
        return sum(population.size for population in self.network.populations)

    @cached_property
    def clamped(self) -> Array:
        """Which neurons are those of the input, (size,)."""
        return self.where(self.network.input)

    @cached_property
    def readout(self) -> Array:
        """Which neurons are those of the readout, (size,)."""
        return self.where(self.network.output)

    def where(self, population: str) -> Array:
        """Return which neurons are those of a population, (size,)."""
        found = np.zeros(self.size, bool)
        found[self.neurons[population]] = True
        return found

    def gather(self, values: Mapping[str, Array | float], default: float = 0.0) -> Array:
        """Return an array over all neurons from arrays (..., n) or numbers by population, `default` for the others."""
        shape = np.broadcast_shapes(*(np.shape(v)[:-1] for v in values.values())) if values else ()
        found = np.full((*shape, self.size), default)
        for name, part in values.items():
            found[..., self.neurons[name]] = part
        return found


class _Cells:
    """The cells of all axons, as they grow."""

    def __init__(self) -> None:
        self._count = 0
        self._parts: list[tuple[Array, Array, Array, Array, Array]] = []
        self.ends: dict[tuple[str, bool], slice] = {}

    def grow(
        self,
        copies: Iterable[tuple[str, Projection]],
        neurons: Mapping[str, slice],
        delays: Mapping[str, tuple[int, int]],
        *,
        is_forward: bool,
    ) -> Copies:
        """Let an axon grow from every neuron that some copy listens to, with synapses where it ends."""
        names, axons, targets, shapes = [], [], [], []
        for name, copy in copies:
            end = self._axons(copy, neurons, delays.get(name, (0, 0))[not is_forward], is_forward=is_forward)
            self.ends[name, is_forward] = slice(int(end[0]), int(end[-1]) + 1)
            ends_on = neurons[copy.target].start + np.arange(copy.rows.start, copy.rows.stop)
            names.append(name)
            shapes.append(copy.weights.shape)
            axons.append(end if copy.one_to_one else np.repeat(end, len(ends_on)))
            targets.append(ends_on if copy.one_to_one else np.tile(ends_on, len(end)))
        return Copies(tuple(names), np.concatenate(axons), np.concatenate(targets), tuple(shapes))

    def _axons(self, copy: Projection, neurons: Mapping[str, slice], delay: int, *, is_forward: bool) -> Array:
        """Add a row of cells for each neuron of the copy's source, and return the last cells."""
        sources = neurons[copy.source].start + np.arange(copy.columns.start, copy.columns.stop)
        n = len(sources)
        for step in range(delay + 1):
            own = self._count + np.arange(n)
            fixed = (np.full(n, step == 0), np.full(n, is_forward), np.full(n, copy.plastic))
            self._parts.append((sources, own - n if step else own, *fixed))
            self._count += n
        return own

    def arrays(self) -> tuple[Array, ...]:
        """Return `source`, `before`, `first`, `is_forward`, `plastic` of all cells."""
        return tuple(np.concatenate(part) for part in zip(*self._parts, strict=True))
