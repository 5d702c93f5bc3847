"""The chip at work: the cores of a mapping with a network on them, and a mesh that carries packets between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dyadic_neuro import arithmetic
from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State
from dyadic_neuro.fixed_point.rules import SATURATIONS
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings import mapping as mapped
from dyadic_neuro.mappings.copies import KINDS, RATE, SENSITIVITY
from dyadic_neuro.mappings.cores import Core, Delivery, Part, Way
from dyadic_neuro.mappings.counts import COUNTED, Signal, StepCounts
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.projection import Projection


class Machine:
    """All cores of a mapping with the network's weights on them, and the mesh between them."""

    def __init__(
        self, mapping: mapped.Mapping, network: Graph, feedback: Mapping[str, Projection], initial: State, batch: int
    ) -> None:
        self._mapping, self._network = mapping, network
        self._paths: dict[tuple[int, int], Array] = {}
        self.delivered: list[tuple[Delivery, ...]] = []
        """The packets of the last step, or of each of its micro-steps."""
        none = Links.none(mapping.chip)
        places = [(d, int(y), int(x)) for d in ("east", "west", "north", "south") for y, x in np.ndindex(getattr(none, d).shape)]
        self._links = {link: i for i, link in enumerate(places)}
        self.cores = {int(n): self.core(int(n)) for n in mapping.cores}
        for piece in mapping.slices:
            self._settle(piece.population, piece.start, piece.stop, piece.core, feedback, initial, batch)
        self._join()
        self._fill(initial, batch)

    def core(self, number: int) -> Core:
        """Return an empty core."""
        return Core(number, self._network.cost, self._network.output)

    def part(self, name: str, start: int, stop: int) -> Part:
        """Return a slice of a population without its arrays."""
        return Part(name, start, stop, arithmetic.rules(self._network, name, start))

    def _settle(
        self, name: str, start: int, stop: int, core: int, feedback: Mapping[str, Projection], initial: State, batch: int
    ) -> None:
        """Give a slice its place, its states, and its own copies of the rows of weights that drive it."""
        net, part = self._network, self.part(name, start, stop)
        self.cores[core].parts.append(part)
        if name == net.input:
            part.rate = np.zeros((batch, stop - start), np.dtype(net.dtype))
            return
        part.potential, part.sensitivity = (np.array(s[name][:, start:stop]) for s in (initial.potentials, initial.sensitivities))
        bias = net.population(name).bias
        part.bias = None if bias is None else np.array(np.asarray(bias)[start:stop])
        part.forward = {p.name: own for p in net.incoming[name] if (own := _own(p, start, stop)) is not None}
        part.feedback = {p.name: own for p in net.outgoing[name] if (own := _own(feedback[p.name], start, stop)) is not None}

    def _join(self) -> None:
        """Tell every core where its neurons send: the entries of its output axons."""
        m = self._mapping
        for r, i in zip(m.senders.route, m.senders.slice, strict=True):
            signal = (m.routes.names[m.routes.population[r]], KINDS[m.routes.kind[r]])
            start, stop = int(max(m.slices.start[i], m.routes.start[r])), int(min(m.slices.stop[i], m.routes.stop[r]))
            core = self.cores[int(m.slices.core[i])]
            ends = m.routes.core[m.routes.first[r] : m.routes.first[r + 1]]
            deliveries = tuple(Delivery(core.number, int(end), *signal, start, stop) for end in ends)
            part = next(p for p in core.parts if p.name == signal[0] and p.start == m.slices.start[i])
            core.ways.append(Way(part, signal, start, stop, deliveries))
        for core in self.cores.values():
            core.listen()

    def _fill(self, initial: State, batch: int) -> None:
        """Lay the axons out, with the messages of the initial state on them: whoever sets a state sets what it had sent.

        An input has sent nothing yet: its axons are undefined (NaN) until a packet comes, or 0 where there are integers alone.
        """
        net, dtype = self._network, np.dtype(self._network.dtype)
        rules = {p.name: arithmetic.rules(net, p.name) for p in net.dynamic}
        shown = {name: rules[name].rate(u) for name, u in initial.potentials.items()}
        told = {name: rules[name].message(s) for name, s in initial.sensitivities.items()}
        nothing = np.array(np.nan if dtype.kind == "f" else 0, dtype)
        shown[net.input] = np.broadcast_to(nothing, (batch, net.population(net.input).size))
        for core in self.cores.values():
            for part in core.parts:
                for kind, held in ((RATE, part.forward), (SENSITIVITY, part.feedback)):
                    for copy in held.values():
                        values = (shown if kind == RATE else told)[copy.source]
                        core.axons.setdefault((copy.source, kind), np.array(values))

    def clamp(self, inputs: Array, targets: Array) -> None:
        """Show other inputs (batch, n_input) and targets (batch, n_output)."""
        for core in self.cores.values():
            for part in core.parts:
                if part.name == self._network.input:
                    part.rate = np.array(inputs[:, part.start : part.stop])
                if part.name == self._network.output:
                    core.targets = targets

    def step(self, sending: frozenset[Signal], updating: frozenset[Signal], alpha: float) -> list[StepCounts]:
        """Send, carry, update: one step of all cores. Return what was counted, for one sample."""
        self.delivered = []
        loads = self._carry(sending)
        for core in self.cores.values():
            core.update(updating, alpha)
        return [self._counts(loads)]

    def _carry(self, sending: frozenset[Signal], samples: tuple[int, ...] = ()) -> Array:
        """Let all cores send and receive. Return the loads of all links, (*samples, links)."""
        for core in self.cores.values():
            core.begin()
        packets = [sent for core in self.cores.values() for sent in core.send(sending)]
        self.delivered.append(tuple(delivery for delivery, _ in packets))
        loads = np.zeros((len(self._links), *samples), np.int64)
        for delivery, packet in packets:
            if len(path := self._path(delivery.sender, delivery.receiver)):
                loads[path] += packet.messages
            self.cores[delivery.receiver].receive(packet)
        return loads.T

    def _counts(self, loads: Array) -> StepCounts:
        """Return what the cores counted, with the loads of the links."""
        samples, links = loads.shape[:-1], Links.from_flat(self._mapping.chip, loads)
        none = np.zeros(samples, np.int64) if samples else 0  # a counter may be one number for all samples
        counted: dict[str, Any] = {}
        for name in COUNTED:
            counted[name] = np.array([none + getattr(core, name) for core in self.cores.values()], np.int64).T
        return StepCounts(**counted, links=links)

    def _path(self, start: int, end: int) -> Array:
        """Return the links from core to core, as positions in `Links.flat`: along the row first, then along the column."""
        if (start, end) not in self._paths:
            chip, path = self._mapping.chip, []
            x, y, to_x, to_y = int(chip.x[start]), int(chip.y[start]), int(chip.x[end]), int(chip.y[end])
            while x != to_x:
                east = to_x > x
                path.append(("east", y, x) if east else ("west", y, x - 1))
                x += 1 if east else -1
            while y != to_y:
                north = to_y > y
                path.append(("north", y, x) if north else ("south", y - 1, x))
                y += 1 if north else -1
            self._paths[start, end] = np.array([self._links[link] for link in path], np.int64)
        return self._paths[start, end]

    # What the host reads

    @property
    def _parts(self) -> list[Part]:
        return [part for core in self.cores.values() for part in core.parts]

    def states(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return potentials and sensitivities of every population, put together from the cores."""
        columns: tuple[dict[str, list[Array]], dict[str, list[Array]]] = ({}, {})
        for part in sorted(self._parts, key=lambda p: p.start):
            if part.potential is not None and part.sensitivity is not None:
                columns[0].setdefault(part.name, []).append(part.potential)
                columns[1].setdefault(part.name, []).append(part.sensitivity)
        names = [population.name for population in self._network.dynamic]
        potentials, sensitivities = ({n: np.concatenate(values[n], axis=1) for n in names} for values in columns)
        return potentials, sensitivities

    def gradients(self) -> dict[str, Array]:
        """Return what the plastic parameters read at the end of the last step, put together from the cores."""
        rows = [entry for core in self.cores.values() for entry in core.gradients()]
        return {key: _assembled([(part, found) for k, part, found in rows if k == key]) for key in self._network.plastic}

    def parameters(self) -> dict[str, Array]:
        """Return weights and biases as the forward copies hold them."""
        parts = self._parts
        names = [p.name for p in self._network.projections]
        found = {n: _assembled([(q, q.forward[n].weights) for q in parts if n in q.forward]) for n in names}
        biased = [p.name for p in self._network.dynamic if p.bias is not None]
        return found | {f"{n}.bias": _assembled([(q, np.asarray(q.bias)) for q in parts if q.name == n]) for n in biased}

    def feedback(self) -> dict[str, Array]:
        """Return the W^T copies as they are held, by projection name."""
        parts = self._parts
        names = [p.name for p in self._network.projections if p.source != self._network.input]
        return {n: _assembled([(q, q.feedback[n].weights) for q in parts if n in q.feedback]) for n in names}

    def saturations(self) -> dict[str, int]:
        """Return what saturated since the last time, by "<population> <what>", on all cores together."""
        found = {p.name: np.zeros(len(SATURATIONS), np.int64) for p in self._network.dynamic}
        for part in self._parts:
            if part.name in found:
                found[part.name] += part.rules.saturated
                part.rules.saturated[:] = 0
        return arithmetic.saturations(found)

    def counted(self, ledger: MessageLedger) -> MessageLedger:
        """Return the ledger that the schedule implies with the messages that were really sent: they are the same."""
        return ledger

    def forget(self) -> None:
        """Begin to count messages anew."""

    def learn(self, learning_rate: float, weight_decay: float = 0.0) -> Array:
        """Let every core learn. Return how many synapses and biases changed on each, (cores,)."""
        return np.array([core.learn(learning_rate, weight_decay) for core in self.cores.values()], np.int64)


def _assembled(rows: list[tuple[Part, Array]]) -> Array:
    """Put what parts hold of a parameter together, in the order of their neurons."""
    return np.concatenate([values for _, values in sorted(rows, key=lambda row: row[0].start)], axis=0)


def _own(projection: Projection, start: int, stop: int) -> Projection | None:
    """Return a private copy of the rows that drive neurons start .. stop - 1, or None."""
    found = projection.onto(start, stop)
    return None if found is None else found.with_weights(np.array(found.weights))
