"""A fast path of the reference backend for deep and narrow networks: all populations in flat arrays, stepped at once.

A step of a small population costs what calling NumPy costs. Here the network is one large population whose synapses,
projections of equal shape stacked, are applied by one batched product; the rules are those of `dynamics`, called once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State, gradients, potential_update, sensitivity_update
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection


class Stacked:
    """A network, a state to start from and its W^T copies by projection name, ready to run with the schedule "free".

    The law of `dynamics.step`; states differ from its own by rounding, because sums run in another order.
    """

    def __init__(self, network: Network, alpha: float, initial: State, feedback: Mapping[str, Projection]) -> None:
        self._network, self._alpha, self._initial = network, alpha, initial
        self._layout = layout = _Layout.of(network, len(initial.potentials[network.output]))
        self._forward = _Synapses.of(layout, [p for p in network.projections if p.source != network.input])
        self._feedback = _Synapses.of(layout, feedback.values())

    def run(
        self, steps: int, inputs: Array, targets: Array, *, by_step: bool
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Take `steps` steps (at least 1) from the initial state, with `inputs` (batch, n_input) and `targets` clamped.

        Returns potentials and sensitivities, read-only, by population: (steps + 1, batch, n), or (1, batch, n) of the last
        state without `by_step`; and what every plastic parameter reads in the last step, as `Trace.gradients`.
        """
        network, layout, alpha = self._network, self._layout, self._alpha
        u, s, held = (layout.flat(v) for v in (self._initial.potentials, self._initial.sensitivities, self._held(inputs)))
        rates, derivatives, errors = np.zeros_like(u), np.ones_like(u), np.zeros_like(u)
        readout, error = layout.places[network.output], layout.view(errors, network.output)
        potentials, sensitivities = (np.empty((steps + 1 if by_step else 1, u.size), u.dtype) for _ in range(2))
        potentials[0], sensitivities[0] = u, s
        for t in range(1, steps + 1):
            for phi, block in layout.senders:
                shown = u[None, block]  # a batch of one: functions of the user's are promised two axes
                rates[block] = rate = phi.rate(shown)
                derivatives[block] = phi.derivative(shown, rate)
            error[...] = network.cost.gradient(u[readout].reshape(error.shape), targets)
            u = potential_update([(self._forward, rates)], held, u, alpha)
            s = sensitivity_update([(self._feedback, s)], derivatives, errors, s, alpha)
            if by_step:
                potentials[t], sensitivities[t] = u, s
        potentials[-1], sensitivities[-1] = u, s
        read = gradients(network, layout.views(s), {network.input: inputs} | layout.views(rates))
        return layout.views(potentials), layout.views(sensitivities), read

    def _held(self, inputs: Array) -> dict[str, Array]:
        """Return the part of every drive that stays the same while the input is held: (batch, n)."""
        network, found = self._network, {}
        for name, u in self._initial.potentials.items():
            arrivals = [(p, inputs) for p in network.incoming[name] if p.source == network.input]
            found[name] = potential_update(arrivals, network.parameters.get(f"{name}.bias"), u)
        return found


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where every population but the input stands in a flat array of (batch, n) blocks.

    `senders` are the rate functions, each with the block of neurons that apply it and have somebody to tell.
    """

    batch: int
    places: Mapping[str, slice]
    senders: tuple[tuple[Activation, slice], ...]

    @classmethod
    def of(cls, network: Network, batch: int) -> _Layout:
        kinds: dict[int, Activation] = {id(p.phi): p.phi for p in network.dynamic}
        ranks = {kind: rank for rank, kind in enumerate(kinds)}
        silent = {p.name: not network.outgoing[p.name] for p in network.dynamic}
        # one size after the other, so that stacks of projections are blocks as well
        ordered = sorted(network.dynamic, key=lambda p: (silent[p.name], ranks[id(p.phi)], p.size))
        places: dict[str, slice] = {}
        blocks: dict[int, slice] = {}
        stop = 0
        for p in ordered:
            start, stop = stop, stop + batch * p.size
            places[p.name] = slice(start, stop)
            if not silent[p.name]:
                blocks[id(p.phi)] = slice(blocks.get(id(p.phi), places[p.name]).start, stop)
        return cls(batch, places, tuple((kinds[kind], block) for kind, block in blocks.items()))

    def flat(self, values: Mapping[str, Array]) -> Array:
        """Return the values (batch, n) of all populations as one array."""
        return np.concatenate([values[name].ravel() for name in self.places])

    def view(self, flat: Array, name: str) -> Array:
        """Return the part of one population, (..., batch, n) of a flat array (..., neurons)."""
        return flat[..., self.places[name]].reshape(*flat.shape[:-1], self.batch, -1)

    def views(self, flat: Array) -> dict[str, Array]:
        """Return the parts of all populations, read-only."""
        flat = flat.view()
        flat.setflags(write=False)
        return {name: self.view(flat, name) for name in self.places}

    def positions(self, name: str, neurons: slice) -> Array:
        """Return where these neurons of a population stand, (batch, n)."""
        place = self.places[name]
        return np.arange(place.start, place.stop).reshape(self.batch, -1)[:, neurons]


@dataclass(frozen=True, eq=False)
class _Stack:
    """Projections whose weights have one shape, and that end in different populations.

    `weights` is (projections, n_source, n_target), or (projections, 1, n) of diagonals. `sources` and `targets` are
    positions in flat arrays.
    """

    weights: Array
    one_to_one: bool
    batch: int
    sources: slice | Array
    targets: slice | Array

    @classmethod
    def of(cls, layout: _Layout, projections: list[Projection]) -> _Stack:
        weights, one_to_one = np.stack([p.weights.T for p in projections]), projections[0].one_to_one
        sources = np.stack([layout.positions(p.source, p.columns) for p in projections])
        targets = np.stack([layout.positions(p.target, p.rows) for p in projections])
        return cls(weights[:, None] if one_to_one else weights, one_to_one, layout.batch, _block(sources), _block(targets))

    def add(self, signal: Array, total: Array) -> None:
        """Add to `total` what the signal causes."""
        arrived = signal[self.sources].reshape(len(self.weights), self.batch, -1)
        drive = arrived * self.weights if self.one_to_one else arrived @ self.weights
        total[self.targets] += drive.ravel()


@dataclass(frozen=True, eq=False)
class _Synapses:
    """The synapses of a whole network in one direction."""

    stacks: tuple[_Stack, ...]

    @classmethod
    def of(cls, layout: _Layout, projections: Iterable[Projection]) -> _Synapses:
        groups: dict[tuple[tuple[int, ...], int], list[Projection]] = {}
        before: Counter[tuple[tuple[int, ...], str]] = Counter()
        for p in sorted(projections, key=lambda p: layout.places[p.target].start):
            shape = p.weights.shape
            groups.setdefault((shape, before[shape, p.target]), []).append(p)
            before[shape, p.target] += 1
        return cls(tuple(_Stack.of(layout, group) for group in groups.values()))

    def forward(self, signal: Array) -> Array:
        """Return the drive that a signal causes, both flat."""
        total = np.zeros(signal.shape, signal.dtype)  # zeros_like takes several times as long
        for stack in self.stacks:
            stack.add(signal, total)
        return total


def _block(positions: Array) -> slice | Array:
    """Return positions as a slice if they follow one another (reading them is then free), otherwise flat."""
    first, flat = int(positions.flat[0]), positions.ravel()
    whole = np.array_equal(flat, np.arange(first, first + flat.size))
    return slice(first, first + flat.size) if whole else flat
