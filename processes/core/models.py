"""What a core does in a step."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import bias_gradient, bias_update, potential_update, sensitivity_update, weight_update
from dyadic_neuro.processes.core.process import Core
from dyadic_neuro.processes.local import LocalModel, Outbox
from dyadic_neuro.processes.parts import CoreSlice, InputPart, Part, Way

_RATE, _SENSITIVITY = "rate", "sensitivity"


class _Dyads:
    """A part at work: what changes of it, and the rate that it shows of the state at the start of the step."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.potential, self.sensitivity, self.bias = part.potential, part.sensitivity, part.bias
        self.incoming, self.feedback = list(part.incoming), [copy for _, copy in part.feedback]
        self.start, self.stop = part.start, part.stop
        self.show()

    def show(self) -> None:
        """Turn the potential into the rate."""
        if self.part.shows:
            self.rate = _alike(self.part.activation.rate(self.potential), self.potential)

    def signal(self, kind: str) -> Array:
        """Return what it sends of this kind."""
        return self.rate if kind == _RATE else self.sensitivity


class _Clamped:
    """A part of the input at work."""

    def __init__(self, part: InputPart) -> None:
        self.part, self.start, self.stop = part, part.start, part.stop

    def clamp(self, window: int) -> None:
        """Show the batch of a window."""
        self.rate = self.part.samples.at(window)

    def signal(self, kind: str) -> Array:  # noqa: ARG002  (it has rates only)
        """Return the batch."""
        return self.rate


@implements(proc=Core, protocol=LoihiProtocol)
@requires(CPU)
class CoreModel(LocalModel):
    """Sends what its parts show before it receives (one hop is one step), then takes their states to the next step."""

    state_out: Outbox
    window_out: Outbox

    def prepare(self, record: CoreSlice) -> None:
        """Take the parts, and lay out an axon for every neuron that synapses here listen to."""
        self.record = record
        self.links = record.links
        self._columns = {link: i for i, link in enumerate(self.links)}
        self.dyads = [_Dyads(part) for part in record.parts]
        self.inputs = [_Clamped(part) for part in record.inputs]
        dtype = record.parts[0].potential.dtype if record.parts else None
        self.axons = {signal: np.zeros((record.batch, size), dtype) for signal, size in record.axons}
        self._owner = {way: self._owner_of(way) for way in (*record.sends, *record.keeps)}

    def _owner_of(self, way: Way) -> _Dyads | _Clamped:
        owners: list[_Dyads | _Clamped] = [*self.dyads, *self.inputs]
        return next(p for p in owners if p.part.population == way.population and p.start <= way.start < p.stop)

    def timestep(self, t: int) -> None:
        """Send, receive, update the states; at the end of a window read the factors and learn."""
        clock, record = self.clock, self.record
        if (t - 1) % clock.window == 0:
            self._clamp((t - 1) // clock.window)
        self._send(t)
        self._receive()
        before = [(d, d.rate if d.part.shows else None) for d in self.dyads]
        if record.readout is not None and record.readout.learning and clock.ends_window(t):
            self.window_out.send(self._readout().astype(np.float64))
        self._update(t)
        if clock.records(t) and self.dyads:
            states = [d.potential for d in self.dyads] + [d.sensitivity for d in self.dyads]
            self.state_out.send(np.concatenate(states, axis=1))
        if clock.ends_window(t):
            for dyads in self.dyads:
                self._count(t, dyads.part, _SENSITIVITY, local=True)
            if record.learning_rate is not None:
                for dyads, rate in before:
                    self._learn(dyads, rate, record.learning_rate, record.weight_decay)
        self.report(t, self._contents() if clock.reports(t) else [])

    # Messages

    def _clamp(self, window: int) -> None:
        for part in self.inputs:
            part.clamp(window)
        if self.record.readout is not None:
            self.targets = self.record.readout.samples.at(window)

    def _send(self, t: int) -> None:
        """Send what leaves the core, and put what stays on the core's own axons."""
        for i, way in enumerate(self.record.sends):
            getattr(self, f"way_out_{i}").send(self._values(way))
        for way in self.record.keeps:
            self.axons[way.population, way.kind][:, way.start : way.stop] = self._values(way)
        for clamped in self.record.inputs:
            if clamped.timing.sends(t):
                self._count(t, clamped, _RATE, local=False)
        for dyads in self.dyads:
            part = dyads.part
            if part.potentials.sends(t):
                for kind, local in ((_RATE, False), ("derivative", True), (_RATE, True), ("potential", True), ("error", True)):
                    self._count(t, part, kind, local=local)
            if part.sensitivities.sends(t):
                self._count(t, part, _SENSITIVITY, local=False)

    def _values(self, way: Way) -> Array:
        owner = self._owner[way]
        return owner.signal(way.kind)[:, way.start - owner.start : way.stop - owner.start]

    def _receive(self) -> None:
        for i, way in enumerate(self.record.receives):
            self.axons[way.population, way.kind][:, way.start : way.stop] = getattr(self, f"way_in_{i}").recv()

    def _count(self, t: int, part: InputPart | Part, kind: str, *, local: bool) -> None:
        """Enter what a part sends on its links of a kind: each neuron a message for each sample."""
        for link in part.links:
            if link.kind == kind and link.local == local:
                self.count(t, self._columns[link], self.record.batch * (part.stop - part.start))

    # States

    def _update(self, t: int) -> None:
        """Take the states that are due to the next step, each from the state at the start of this one."""
        errors = self._errors(t)
        for dyads in self.dyads:
            part, u, s = dyads.part, dyads.potential, dyads.sensitivity
            if part.sensitivities.updates(t):
                dyads.sensitivity = self._sensitivity(dyads, u, s, errors.get(part.start) if self._reads(part) else None)
            if part.potentials.updates(t):
                arrived = [(copy, self.axons[copy.source, _RATE]) for copy in dyads.incoming]
                dyads.potential = potential_update(arrived, dyads.bias, u, self.record.alpha)
                dyads.show()

    def _sensitivity(self, dyads: _Dyads, u: Array, s: Array, error: Array | None) -> Array:
        arrived = [(copy, self.axons[copy.source, _SENSITIVITY]) for copy in dyads.feedback]
        # none arrive at a readout, or at neurons that no synapse of a sensitivity reaches
        derivative = _alike(dyads.part.activation.derivative(u, dyads.rate), u) if arrived else None
        return sensitivity_update(arrived, derivative, error, s, self.record.alpha)

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

    def _learn(self, dyads: _Dyads, rate: Array | None, speed: float, decay: float) -> None:
        """Let its s of this step and the r that came change the forward copies, its own r and the s that came the W^T copies."""
        own = dyads.sensitivity
        dyads.incoming = [
            weight_update(c, own, self.axons[c.source, _RATE], speed, decay) if c.plastic else c for c in dyads.incoming
        ]
        if rate is not None:
            dyads.feedback = [
                weight_update(c, rate, self.axons[c.source, _SENSITIVITY], speed, decay) if c.plastic else c
                for c in dyads.feedback
            ]
        if dyads.bias is not None:
            dyads.bias = bias_update(dyads.bias, own, speed)

    def _contents(self) -> list[Array]:
        """Return what `CoreSlice.contents` lists."""
        found: list[Array] = []
        for d in self.dyads:
            if self.record.learning_rate is None:
                found += [c.outer(d.sensitivity, self.axons[c.source, _RATE]) for c in d.incoming if c.plastic]
                found += [] if d.bias is None else [bias_gradient(d.sensitivity)]
            else:
                found += [copy.weights for copy in d.incoming]
                found += [] if d.bias is None else [d.bias]
                found += [copy.weights for copy in d.feedback]
        return found


def _alike(found: Array, state: Array) -> Array:
    """Refuse what a function of the user's has returned in another shape or type, as a port would."""
    if found.dtype != state.dtype or found.shape != state.shape:
        raise TypeError(f"a message of {found.dtype}{found.shape} where {state.dtype}{state.shape} was due")
    return found
