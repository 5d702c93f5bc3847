"""What a core does in a step."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.arrays import Array
from dyadic_neuro.messages import RATE, SENSITIVITY
from dyadic_neuro.processes.axons import InputAxons, OutputAxons
from dyadic_neuro.processes.core.process import Core
from dyadic_neuro.processes.local import LocalModel, Outbox, taken
from dyadic_neuro.processes.parts import CoreSlice, InputPart, Part, Way
from dyadic_neuro.projection import Projection


class _Dyads:
    """A part at work: what changes of it, and the rate that it shows of the state at the start of the step."""

    def __init__(self, part: Part) -> None:
        self.part, self.rules = part, part.rules
        self.potential, self.sensitivity, self.bias = part.potential, part.sensitivity, part.bias
        self.incoming, self.feedback = list(part.incoming), [copy for _, copy in part.feedback]
        self.start, self.stop = part.start, part.stop
        self.sending = {kind: OutputAxons(axons) for kind, axons in part.sending.items()}
        self.show()

    def show(self) -> None:
        """Turn the potential into the rate."""
        if RATE in self.sending:
            self.rate = _alike(self.rules.rate(self.potential), self.potential)

    def load(self, kind: str, t: int) -> int:
        """Begin to tell what there is of this kind, and return how many messages that takes to each receiver."""
        if kind not in self.sending:
            return 0
        return self.sending[kind].load(self.rate if kind == RATE else self.rules.message(self.sensitivity), t)

    def handed(self) -> Array:
        """Return what its own synapses read of s: what others have heard of it, so that all copies learn from the same."""
        message = self.rules.message(self.sensitivity)
        return self.sending[SENSITIVITY].handed(message) if SENSITIVITY in self.sending else message


class _Clamped:
    """A part of the input at work."""

    def __init__(self, part: InputPart) -> None:
        self.part, self.start, self.stop = part, part.start, part.stop
        self.sending = {RATE: OutputAxons(part.sending)}

    def clamp(self, window: int) -> None:
        """Show the batch of a window."""
        self.rate = self.part.samples.at(window)

    def load(self, t: int) -> int:
        """Begin to tell the batch, and return how many messages that takes to each receiver."""
        return self.sending[RATE].load(self.rate, t)


@implements(proc=Core, protocol=LoihiProtocol)
@requires(CPU)
class CoreModel(LocalModel):
    """Sends what its parts show before it receives (one hop is one step), then takes their states to the next step."""

    state_out: Outbox
    window_out: Outbox

    def prepare(self, record: CoreSlice) -> None:
        """Take the parts, and the axons that synapses here listen to."""
        self.record = record
        self.links = record.links
        self._columns = {link: i for i, link in enumerate(self.links)}
        self.dyads = [_Dyads(part) for part in record.parts]
        self.inputs = [_Clamped(part) for part in record.inputs]
        self.axons = {signal: InputAxons(axons) for signal, axons in record.axons.items()}
        self._owner = {way: self._owner_of(way) for way in (*record.sends, *record.keeps)}

    def _owner_of(self, way: Way) -> _Dyads | _Clamped:
        owners: list[_Dyads | _Clamped] = [*self.dyads, *self.inputs]
        return next(p for p in owners if p.part.population == way.population and p.start <= way.start < p.stop)

    def timestep(self, t: int, micro: int) -> None:
        """Send, receive, update the states; at the end of a window read the factors and learn."""
        clock, record = self.clock, self.record
        if micro == 0:
            if (t - 1) % clock.window == 0:
                self._clamp((t - 1) // clock.window)
            self._load(t)
        self._exchange(t, micro)
        if not clock.ends_step(micro):
            return
        if record.readout is not None and record.readout.learning and clock.ends_window(t):
            self.window_out.send(self._readout().astype(np.float64))
        self._update(t)
        if clock.records(t) and self.dyads:
            states = [d.potential for d in self.dyads] + [d.sensitivity for d in self.dyads]
            self.state_out.send(np.concatenate(states, axis=1))
        if clock.ends_window(t):
            self._read(t)
        self.report(t, self._contents() if clock.reports(t) else [])

    # Messages

    def _clamp(self, window: int) -> None:
        for part in self.inputs:
            part.clamp(window)
        if self.record.readout is not None:
            self.targets = self.record.readout.samples.at(window)

    def _load(self, t: int) -> None:
        """Begin to tell what its parts show, and count it."""
        for clamped in self.inputs:
            self._count(t, clamped.part, RATE, clamped.load(t), local=False)
        for dyads in self.dyads:
            part = dyads.part
            for kind in (RATE, SENSITIVITY):
                self._count(t, part, kind, dyads.load(kind, t), local=False)
            if part.potentials.sends(t):
                for kind in ("derivative", RATE, "potential", "error"):
                    self._count(t, part, kind, part.potential.size, local=True)

    def _exchange(self, t: int, micro: int) -> None:
        """Send what leaves the core, put what stays on its own axons, and receive the rest."""
        record = self.record
        for i, way in enumerate(record.sends):
            getattr(self, f"way_out_{i}").send(self._plane(way, micro))
        arrived = {signal: np.zeros(axons.told.shape, axons.told.dtype) for signal, axons in record.axons.items()}
        for way in record.keeps:
            arrived[way.population, way.kind][:, way.start : way.stop] = self._plane(way, micro)
        for i, way in enumerate(record.receives):
            arrived[way.population, way.kind][:, way.start : way.stop] = getattr(self, f"way_in_{i}").recv()
        for signal, axons in self.axons.items():
            axons.hear(arrived[signal], t, micro)

    def _plane(self, way: Way, micro: int) -> Array:
        owner = self._owner[way]
        return owner.sending[way.kind].plane(micro)[:, way.start - owner.start : way.stop - owner.start]

    def _count(self, t: int, part: InputPart | Part, kind: str, messages: int, *, local: bool) -> None:
        """Enter what a part sends on each of its links of a kind."""
        for link in part.links:
            if link.kind == kind and link.local == local:
                self.count(t, self._columns[link], messages)

    # States

    def _update(self, t: int) -> None:
        """Take the states that are due to the next step, each from the state at the start of this one."""
        errors = self._errors(t)
        for dyads in self.dyads:
            part, u, s = dyads.part, dyads.potential, dyads.sensitivity
            if part.sensitivities.updates(t):
                dyads.sensitivity = self._sensitivity(dyads, u, s, errors.get(part.start) if self._reads(part) else None)
            if part.potentials.updates(t):
                arrived = [(copy, self._heard(copy, RATE)) for copy in dyads.incoming]
                dyads.potential = dyads.rules.potential(arrived, dyads.bias, u, self.record.alpha)
                dyads.show()

    def _heard(self, copy: Projection, kind: str) -> Array:
        """Return the last message that came to these synapses."""
        return self.axons[copy.source, kind].latch

    def _sensitivity(self, dyads: _Dyads, u: Array, s: Array, error: Array | None) -> Array:
        arrived = [(copy, self._heard(copy, SENSITIVITY)) for copy in dyads.feedback]
        # none arrive at a readout, or at neurons that no synapse of a sensitivity reaches
        derivative = _alike(dyads.rules.derivative(u, dyads.rate), u) if arrived else None
        return dyads.rules.sensitivity(arrived, derivative, error, s, self.record.alpha)

    def _reads(self, part: Part) -> bool:
        return self.record.readout is not None and part.population == self.record.readout.population

    def _readout(self) -> Array:
        """Return the potentials of the readout's parts side by side: the loss may couple them."""
        return np.concatenate([d.potential for d in self.dyads if self._reads(d.part)], axis=1)

    def _errors(self, t: int) -> dict[int, Array]:
        """Return dC/du of the readout's parts by where they start, if their sensitivities are due."""
        parts = [d for d in self.dyads if self._reads(d.part) and d.part.sensitivities.updates(t)]
        if self.record.readout is None or not parts:
            return {}
        potential = self._readout()
        error = _alike(self.record.readout.loss.gradient(potential, self.targets), potential)
        ends = np.cumsum([d.stop - d.start for d in parts])[:-1]
        return {d.start: columns for d, columns in zip(parts, np.split(error, ends, axis=1), strict=True)}

    # Weights

    def _read(self, t: int) -> None:
        """Let every part read the factors that met at its synapses: for gradients, or to learn from them."""
        self.gradients: list[list[Array]] = []
        for dyads in self.dyads:
            self._count(t, dyads.part, SENSITIVITY, dyads.part.sensitivity.size, local=True)
            handed = dyads.handed()
            if self.record.learning_rate is None:
                self.gradients.append(self._gradients(dyads, handed))
            else:
                self._learn(dyads, handed, self.record.learning_rate, self.record.weight_decay)

    def _gradients(self, dyads: _Dyads, handed: Array) -> list[Array]:
        found = [copy.outer(handed, self._heard(copy, RATE)) for copy in dyads.incoming if copy.plastic]
        return found if dyads.bias is None else [*found, dyads.rules.bias_gradient(handed)]

    def _learn(self, dyads: _Dyads, handed: Array, speed: float, decay: float) -> None:
        """Let its s of this step and the r that came change the forward copies, its own r and the s that came the W^T copies."""
        rules = dyads.rules
        dyads.incoming = [
            rules.weights(c, handed, self._heard(c, RATE), speed, decay) if c.plastic else c for c in dyads.incoming
        ]
        if RATE in dyads.sending:
            own = dyads.sending[RATE].told
            dyads.feedback = [
                rules.weights(c, own, self._heard(c, SENSITIVITY), speed, decay) if c.plastic else c for c in dyads.feedback
            ]
        if dyads.bias is not None:
            dyads.bias = rules.bias(dyads.bias, handed, speed)

    def _contents(self) -> list[Array]:
        """Return what `CoreSlice.contents` lists."""
        found: list[Array] = []
        for i, d in enumerate(self.dyads):
            if self.record.learning_rate is None:
                found += self.gradients[i]
            else:
                found += [copy.weights for copy in d.incoming]
                found += [] if d.bias is None else [d.bias]
                found += [copy.weights for copy in d.feedback]
            found.append(taken(d.rules))
        return found


def _alike(found: Array, state: Array) -> Array:
    """Refuse what a function of the user's has returned in another shape or type, as a port would."""
    if found.dtype != state.dtype or found.shape != state.shape:
        raise TypeError(f"a message of {found.dtype}{found.shape} where {state.dtype}{state.shape} was due")
    return found
