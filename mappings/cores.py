"""The chip at work: cores that hold only their own arrays, and a mesh that carries packets between them, link by link.

A core calls the local rules of `dynamics` on the slices it holds, with what packets have brought to its axons. Everything
is counted where it happens. This is the slow and obvious twin of the counting in `counts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import (
    State,
    bias_gradient,
    bias_update,
    potential_update,
    sensitivity_update,
    weight_update,
)
from dyadic_neuro.losses import Loss
from dyadic_neuro.mappings import mapping as mapped
from dyadic_neuro.mappings.copies import KINDS, RATE, SENSITIVITY
from dyadic_neuro.mappings.counts import Signal, StepCounts
from dyadic_neuro.mappings.links import Links
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection


@dataclass(frozen=True, eq=False)
class Packet:
    """Messages of one kind from neurons start .. stop - 1 of a population, with their values (batch, stop - start)."""

    signal: Signal
    start: int
    stop: int
    values: Array


@dataclass(frozen=True)
class Delivery:
    """A packet without its values: messages of `kind` from neurons `start` .. `stop` - 1 of a population, core to core."""

    sender: int
    receiver: int
    population: str
    kind: str
    start: int
    stop: int


class Part:
    """A slice of dyads on a core: its states, its bias, and its rows of both kinds of copies, by the names of projections."""

    def __init__(self, name: str, start: int, stop: int, activation: Activation) -> None:
        self.name, self.start, self.stop, self.activation = name, start, stop, activation
        self.potential: Array | None = None
        self.sensitivity: Array | None = None
        self.bias: Array | None = None
        self.forward: dict[str, Projection] = {}
        self.feedback: dict[str, Projection] = {}
        self.rate: Array = np.zeros(0)
        """What it shows, of the state at the start of the step."""


@dataclass(frozen=True, eq=False)
class Way:
    """Where a core sends: neurons start .. stop - 1 of a population's signal, which lie in `part`, to which cores."""

    part: Part
    signal: Signal
    start: int
    stop: int
    deliveries: tuple[Delivery, ...]


class Core:
    """One core: parts, axons that keep the last message that came on each, and counters of one step."""

    def __init__(self, number: int, loss: Loss, readout: str) -> None:
        self.number = number
        self.parts: list[Part] = []
        self.ways: list[Way] = []
        self.axons: dict[Signal, Array] = {}
        self.targets: Array | None = None
        self._heard: dict[Signal, list[tuple[int, int, int]]] = {}
        self._loss, self._readout = loss, readout
        self.begin()

    def begin(self) -> None:
        """Set the counters of a step to 0."""
        self.updated = self.fired = self.messages_in = self.messages_out = self.synaptic_events = 0

    def send(self, sending: frozenset[Signal]) -> Iterable[tuple[Delivery, Packet]]:
        """Yield the packets of a step, each with where it goes. The input shows what is clamped."""
        for part in self.parts:
            if part.potential is not None:
                part.rate = part.activation.rate(part.potential)
        firing: dict[tuple[Signal, int], Array] = {}  # neurons from which several ways start fire once
        for way in self.ways:
            if way.signal not in sending:
                continue
            part = way.part
            fired = firing.setdefault((way.signal, part.start), np.zeros(part.stop - part.start, bool))
            fired[way.start - part.start : way.stop - part.start] = True
            values = np.asarray(part.rate if way.signal[1] == RATE else part.sensitivity)
            packet = Packet(way.signal, way.start, way.stop, values[:, way.start - part.start : way.stop - part.start])
            for delivery in way.deliveries:
                self.messages_out += way.stop - way.start
                yield delivery, packet
        self.fired += sum(int(fired.sum()) for fired in firing.values())

    def receive(self, packet: Packet) -> None:
        """Put messages on the axons, and count the synapses that they meet."""
        self.axons[packet.signal][:, packet.start : packet.stop] = packet.values
        self.messages_in += packet.stop - packet.start
        for start, stop, each in self._heard[packet.signal]:
            self.synaptic_events += max(0, min(packet.stop, stop) - max(packet.start, start)) * each

    def listen(self) -> None:
        """Note which neurons the synapses here listen to, and how many of them a message of each meets."""
        for part in self.parts:
            for kind, held in ((RATE, part.forward), (SENSITIVITY, part.feedback)):
                for copy in held.values():
                    each = 1 if copy.one_to_one else copy.weights.shape[0]
                    self._heard.setdefault((copy.source, kind), []).append((copy.columns.start, copy.columns.stop, each))

    def update(self, updating: frozenset[Signal], alpha: float) -> None:
        """Take the states that are due to the next step, each from the state at the start of this one."""
        errors = self._errors() if (self._readout, SENSITIVITY) in updating else {}
        found: list[tuple[Part, str, Array]] = []
        for part in self.parts:
            u, s = part.potential, part.sensitivity
            potential_due, sensitivity_due = ((part.name, kind) in updating for kind in (RATE, SENSITIVITY))
            self.updated += (part.stop - part.start) * (potential_due + sensitivity_due)
            if u is None or s is None:  # an input
                continue
            if potential_due:
                arrivals = [(c, self.arrived(n, RATE, c)) for n, c in part.forward.items()]
                found.append((part, "potential", potential_update(arrivals, part.bias, u, alpha)))
            if sensitivity_due:
                arrivals = [(c, self.arrived(n, SENSITIVITY, c)) for n, c in part.feedback.items()]
                slope = self.slope(part) if arrivals else None
                found.append((part, "sensitivity", sensitivity_update(arrivals, slope, errors.get(id(part)), s, alpha)))
        for part, name, value in found:
            setattr(part, name, value)

    def arrived(self, projection: str, kind: str, copy: Projection) -> Array:  # noqa: ARG002  (a pipeline needs the name)
        """Return what drives the neurons of a copy in this step."""
        return self.axons[copy.source, kind]

    def slope(self, part: Part) -> Array:
        """Return the phi'(u) that belongs to the sensitivities of this step."""
        return part.activation.derivative(np.asarray(part.potential), part.rate)

    def wanted(self) -> Array | None:
        """Return the targets that belong to the readout's potential."""
        return self.targets

    def _errors(self) -> dict[int, Array]:
        """Return dC/du of the readout's parts here, by their ids: of all of them at once, since they may be coupled."""
        parts = [p for p in self.parts if p.name == self._readout]
        targets = self.wanted() if parts else None
        if targets is None:
            return {}
        u = np.concatenate([np.asarray(p.potential) for p in parts], axis=1)
        y = np.concatenate([targets[:, p.start : p.stop] for p in parts], axis=1)
        ends = np.cumsum([p.stop - p.start for p in parts])[:-1]
        return {id(p): error for p, error in zip(parts, np.split(self._loss.gradient(u, y), ends, axis=1), strict=True)}

    def gradients(self) -> Iterable[tuple[str, Part, Array]]:
        """Yield what each plastic synapse and bias reads: (key, part, gradient of its rows)."""
        for part in self.parts:
            if part.sensitivity is None:
                continue
            for name, copy in part.forward.items():
                if copy.plastic:
                    yield name, part, copy.outer(part.sensitivity, self.axons[copy.source, RATE])
            if part.bias is not None:
                yield f"{part.name}.bias", part, bias_gradient(part.sensitivity)

    def learn(self, learning_rate: float, weight_decay: float = 0.0) -> int:
        """Change the weights by what meets at their synapses. Return how many synapses and biases changed."""
        changed = 0
        for part in self.parts:
            if part.sensitivity is None:
                continue
            for name, copy in part.forward.items():
                if copy.plastic:  # its own s, and the r that came
                    came = self.axons[copy.source, RATE]
                    part.forward[name] = weight_update(copy, part.sensitivity, came, learning_rate, weight_decay)
                    changed += copy.weights.size
            for name, copy in part.feedback.items():
                if copy.plastic:  # its own r, and the s that came
                    came = self.axons[copy.source, SENSITIVITY]
                    part.feedback[name] = weight_update(copy, part.rate, came, learning_rate, weight_decay)
                    changed += copy.weights.size
            if part.bias is not None:
                part.bias = bias_update(part.bias, part.sensitivity, learning_rate)
                changed += part.bias.size
        return changed


class Machine:
    """All cores of a mapping with the network's weights on them, and the mesh between them."""

    def __init__(
        self, mapping: mapped.Mapping, network: Network, feedback: Mapping[str, Projection], initial: State, batch: int
    ) -> None:
        self._mapping, self._network = mapping, network
        self._paths: dict[tuple[int, int], Array] = {}
        self._nowhere = np.zeros(0, np.int64)
        self.delivered: tuple[Delivery, ...] = ()
        """The packets of the last step."""
        none = Links.none(mapping.chip)
        places = [(d, int(y), int(x)) for d in ("east", "west", "north", "south") for y, x in np.ndindex(getattr(none, d).shape)]
        self._links = {link: i for i, link in enumerate(places)}
        self.cores = {int(n): self.core(int(n), network) for n in mapping.cores}
        for piece in mapping.slices:
            self._settle(piece.population, piece.start, piece.stop, piece.core, feedback, initial, batch)
        self._join()
        self._fill(initial, batch)

    @staticmethod
    def core(number: int, network: Network) -> Core:
        """Return an empty core."""
        return Core(number, network.cost, network.output)

    def _settle(
        self, name: str, start: int, stop: int, core: int, feedback: Mapping[str, Projection], initial: State, batch: int
    ) -> None:
        """Give a slice its place, its states, and its own copies of the rows of weights that drive it."""
        net, part = self._network, Part(name, start, stop, self._network.activations[name])
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

        An input has sent nothing yet: its axons are undefined (NaN) until a packet comes.
        """
        net, dtype = self._network, np.dtype(self._network.dtype)
        shown = {p.name: p.phi.rate(initial.potentials[p.name]) for p in net.dynamic}
        shown[net.input] = np.broadcast_to(np.array(np.nan, dtype), (batch, net.population(net.input).size))
        for core in self.cores.values():
            for part in core.parts:
                for kind, held in ((RATE, part.forward), (SENSITIVITY, part.feedback)):
                    for copy in held.values():
                        values = shown[copy.source] if kind == RATE else initial.sensitivities[copy.source]
                        core.axons.setdefault((copy.source, kind), np.array(values))

    def clamp(self, inputs: Array, targets: Array) -> None:
        """Show other inputs (batch, n_input) and targets (batch, n_output)."""
        for core in self.cores.values():
            for part in core.parts:
                if part.name == self._network.input:
                    part.rate = np.array(inputs[:, part.start : part.stop])
                if part.name == self._network.output:
                    core.targets = targets

    def step(self, sending: frozenset[Signal], updating: frozenset[Signal], alpha: float) -> StepCounts:
        """Send, carry, update: one step of all cores. Return what was counted, for one sample."""
        for core in self.cores.values():
            core.begin()
        walked, carried = [self._nowhere], [self._nowhere]
        packets = [sent for core in self.cores.values() for sent in core.send(sending)]
        self.delivered = tuple(delivery for delivery, _ in packets)
        for delivery, packet in packets:
            path = self._path(delivery.sender, delivery.receiver)
            walked.append(path)
            carried.append(np.full_like(path, packet.stop - packet.start))
            self.cores[delivery.receiver].receive(packet)
        for core in self.cores.values():
            core.update(updating, alpha)
        loads = np.zeros(len(self._links), np.int64)
        np.add.at(loads, np.concatenate(walked), np.concatenate(carried))
        links = Links.from_flat(self._mapping.chip, loads)
        return StepCounts(
            self._counted("updated"),
            self._counted("fired"),
            self._counted("messages_out"),
            self._counted("messages_in"),
            self._counted("synaptic_events"),
            links,
        )

    def _counted(self, name: str) -> Array:
        return np.array([getattr(core, name) for core in self.cores.values()], np.int64)

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

    def states(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return potentials and sensitivities of every population, put together from the cores."""
        columns: tuple[dict[str, list[Array]], dict[str, list[Array]]] = ({}, {})
        for part in sorted((p for core in self.cores.values() for p in core.parts), key=lambda p: p.start):
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
        parts = [p for core in self.cores.values() for p in core.parts]
        names = [p.name for p in self._network.projections]
        found = {n: _assembled([(q, q.forward[n].weights) for q in parts if n in q.forward]) for n in names}
        biased = [p.name for p in self._network.dynamic if p.bias is not None]
        return found | {f"{n}.bias": _assembled([(q, np.asarray(q.bias)) for q in parts if q.name == n]) for n in biased}

    def feedback(self) -> dict[str, Array]:
        """Return the W^T copies as they are held, by projection name."""
        parts = [p for core in self.cores.values() for p in core.parts]
        names = [p.name for p in self._network.projections if p.source != self._network.input]
        return {n: _assembled([(q, q.feedback[n].weights) for q in parts if n in q.feedback]) for n in names}

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
