"""The cores of a chip at work: they hold nothing but their own arrays, and what packets brought them.

A core calls the local rules (`arithmetic`) on the slices it holds. Everything is counted where it happens. `machine` joins
cores by a mesh; together they are the slow and obvious twin of the counting in `counts`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dyadic_neuro.arithmetic import Rules
from dyadic_neuro.arrays import Array
from dyadic_neuro.losses import Loss
from dyadic_neuro.mappings.copies import RATE, SENSITIVITY
from dyadic_neuro.mappings.counts import Signal
from dyadic_neuro.projection import Projection


@dataclass(frozen=True, eq=False)
class Packet:
    """Messages of one kind from neurons start .. stop - 1 of a population, with their values (batch, stop - start).

    All of these neurons send, or, where that depends on the data, those of `sent` (bool, of the shape of the values).
    `messages` is how many these are in a sample: a number, or (batch,).
    """

    signal: Signal
    start: int
    stop: int
    values: Array
    messages: int | Array
    sent: Array | None = None

    def among(self, start: int, stop: int) -> int | Array:
        """Return how many messages of a sample come from neurons `start` .. `stop` - 1: a number, or (batch,)."""
        first, last = max(start, self.start), min(stop, self.stop)
        if self.sent is None or first >= last:
            return max(0, last - first)
        return np.asarray(np.count_nonzero(self.sent[:, first - self.start : last - self.start], axis=1))


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
    """A slice of dyads on a core: its states, its bias, and its rows of both kinds of copies, by the names of projections.

    `rate` is what it shows of the potential at the start of the step, `message` what it sends of the sensitivity it has now.
    """

    def __init__(self, name: str, start: int, stop: int, rules: Rules) -> None:
        self.name, self.start, self.stop, self.rules = name, start, stop, rules
        self.potential: Array | None = None
        self.bias: Array | None = None
        self.forward: dict[str, Projection] = {}
        self.feedback: dict[str, Projection] = {}
        self.rate: Array = np.zeros(0)
        self.message: Array = np.zeros(0)
        self._sensitivity: Array | None = None
        self._shown: Array | None = None

    @property
    def sensitivity(self) -> Array | None:
        """The sensitivity; an input has none."""
        return self._sensitivity

    @sensitivity.setter
    def sensitivity(self, value: Array) -> None:
        self._sensitivity, self.message = value, self.rules.message(value)

    def show(self) -> None:
        """Form the rate of the potential, unless it is that of before. The input shows what is clamped."""
        if self.potential is not None and self.potential is not self._shown:
            self.rate, self._shown = self.rules.rate(self.potential), self.potential

    def handed(self) -> Array:
        """Return what the sensitivity hands its partner at the end of a step: the message of its new value."""
        return self.message

    def own(self) -> Array:
        """Return the rate with which the part's own W^T copies learn: what it showed in this step."""
        return self.rate


@dataclass(frozen=True, eq=False)
class Way:
    """Where a core sends: neurons start .. stop - 1 of a population's signal, which lie in `part`, to which cores."""

    part: Part
    signal: Signal
    start: int
    stop: int
    deliveries: tuple[Delivery, ...]

    @cached_property
    def inside(self) -> slice:
        """Where these neurons are among those of the part."""
        return slice(self.start - self.part.start, self.stop - self.part.start)


class Core:
    """One core: parts, axons that keep the last message that came on each, and counters of one step.

    A counter is a number where all samples are alike, else (batch,).
    """

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
        self.updated = 0
        self.fired: int | Array = 0
        self.messages_in: int | Array = 0
        self.messages_out: int | Array = 0
        self.synaptic_events: int | Array = 0

    def send(self, sending: frozenset[Signal]) -> Iterable[tuple[Delivery, Packet]]:
        """Yield the packets of a step, each with where it goes."""
        for part in self.parts:
            part.show()
        firing: dict[tuple[Signal, int], Array] = {}  # neurons from which several ways start fire once
        for way in self.ways:
            if way.signal not in sending:
                continue
            packet = self.packet(way)
            sent, key = packet.sent, (way.signal, way.part.start)
            if sent is not None and not sent.any():
                continue
            if key not in firing:
                firing[key] = np.zeros((*(() if sent is None else sent.shape[:1]), way.part.stop - way.part.start), bool)
            firing[key][..., way.inside] = True if sent is None else sent
            for delivery in way.deliveries:
                self.messages_out += packet.messages
                yield delivery, packet
        for fired in firing.values():
            self.fired += np.count_nonzero(fired, axis=-1)

    def packet(self, way: Way) -> Packet:
        """Return what goes along a way now."""
        values = way.part.rate if way.signal[1] == RATE else way.part.message
        return Packet(way.signal, way.start, way.stop, values[:, way.inside], way.stop - way.start)

    def receive(self, packet: Packet) -> None:
        """Put messages where they arrive, and count the synapses that they meet."""
        self.arriving(packet.signal)[:, packet.start : packet.stop] = packet.values
        self.messages_in += packet.messages
        for start, stop, each in self._heard[packet.signal]:
            whole = start <= packet.start and packet.stop <= stop
            self.synaptic_events += (packet.messages if whole else packet.among(start, stop)) * each

    def arriving(self, signal: Signal) -> Array:
        """Return where messages of a signal arrive, (batch, n): on the axons."""
        return self.axons[signal]

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
                found.append((part, "potential", part.rules.potential(arrivals, part.bias, u, alpha)))
            if sensitivity_due:
                arrivals = [(c, self.arrived(n, SENSITIVITY, c)) for n, c in part.feedback.items()]
                slope = self.slope(part) if arrivals else None
                found.append((part, "sensitivity", part.rules.sensitivity(arrivals, slope, errors.get(id(part)), s, alpha)))
        for part, name, value in found:
            setattr(part, name, value)

    def arrived(self, projection: str, kind: str, copy: Projection) -> Array:  # noqa: ARG002  (a pipeline needs the name)
        """Return what drives the neurons of a copy in this step."""
        return self.axons[copy.source, kind]

    def slope(self, part: Part) -> Array:
        """Return the phi'(u) that belongs to the sensitivities of this step."""
        return part.rules.derivative(np.asarray(part.potential), part.rate)

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
            handed = part.handed()
            for name, copy in part.forward.items():
                if copy.plastic:
                    yield name, part, copy.outer(handed, self.axons[copy.source, RATE])
            if part.bias is not None:
                yield f"{part.name}.bias", part, part.rules.bias_gradient(handed)

    def learn(self, learning_rate: float, weight_decay: float = 0.0) -> int:
        """Change the weights by what meets at their synapses. Return how many synapses and biases changed."""
        changed = 0
        for part in self.parts:
            if part.sensitivity is None:
                continue
            handed, rules, pace = part.handed(), part.rules, (learning_rate, weight_decay)
            for name, copy in part.forward.items():
                if copy.plastic:  # its own s, and the r that came
                    part.forward[name] = rules.weights(copy, handed, self.axons[copy.source, RATE], *pace)
                    changed += copy.weights.size
            for name, copy in part.feedback.items():
                if copy.plastic:  # its own r, and the s that came
                    part.feedback[name] = rules.weights(copy, part.own(), self.axons[copy.source, SENSITIVITY], *pace)
                    changed += copy.weights.size
            if part.bias is not None:
                part.bias = rules.bias(part.bias, handed, learning_rate)
                changed += part.bias.size
        return changed
