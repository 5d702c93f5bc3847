"""What a forward population does in a step."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.arrays import Array
from dyadic_neuro.processes.axons import InputAxons, OutputAxons
from dyadic_neuro.processes.forward.process import Forward
from dyadic_neuro.processes.local import Inbox, LocalModel, Outbox, taken
from dyadic_neuro.processes.slices import ForwardSlice
from dyadic_neuro.projection import Projection


@implements(proc=Forward, protocol=LoihiProtocol)
@requires(CPU)
class ForwardModel(LocalModel):
    """Sends its rate before it receives (one hop is one step), then takes its potential to the next step."""

    rate_out: Outbox
    partner_out: Outbox
    potential_out: Outbox
    state_out: Outbox
    sensitivity_in: Inbox

    def prepare(self, record: ForwardSlice) -> None:
        """Take the potential, the bias and the copies of the weights."""
        self.record, self.rules = record, record.rules
        self.links = record.links
        self.potential = record.potential
        self.bias = record.bias
        self.copies: list[Projection] = list(record.incoming)
        self.arriving = [InputAxons(axons) for axons in record.arriving]
        self.gradients: list[Array] = []
        if record.sending is not None:
            self.sending = OutputAxons(record.sending)
            self.rate = self.rules.rate(self.potential)

    def timestep(self, t: int, micro: int) -> None:
        """Send, receive, update the potential; at the end of a window read the factors and learn."""
        record = self.record
        if micro == 0:
            self._load(t)
        self._send(micro)
        for i, axons in enumerate(self.arriving):
            axons.hear(getattr(self, f"rate_in_{i}").recv(), t, micro)
        if not self.clock.ends_step(micro):
            return
        arrived = [(copy, axons.latch) for copy, axons in zip(self.copies, self.arriving, strict=True)]
        if record.timing.updates(t):
            self.potential = self.rules.potential(arrived, self.bias, self.potential, record.alpha)
            if record.partner:
                self.rate = self.rules.rate(self.potential)
        if self.clock.records(t):
            self.state_out.send(self.potential)
        if record.learns and self.clock.ends_window(t):
            self._read(self.sensitivity_in.recv(), arrived)
        self.report(t, self._contents() if self.clock.reports(t) else [])

    def _load(self, t: int) -> None:
        """Begin to tell the rate, and count it."""
        messages = self.sending.load(self.rate, t) if self.record.partner else 0
        if self.record.timing.sends(t):
            for i, link in enumerate(self.links):
                self.count(t, i, self.potential.size if link.local else messages)

    def _send(self, micro: int) -> None:
        if self.record.partner:
            self.rate_out.send(self.sending.plane(micro))
        if not self.clock.ends_step(micro):
            return
        if self.record.partner:
            derivative = self.rules.derivative(self.potential, self.rate)
            learning = self.record.learning_rate is not None
            self.partner_out.send(np.stack([derivative, self.sending.told]) if learning else derivative[None])
        if self.record.readout:
            self.potential_out.send(self.potential)

    def _read(self, sensitivity: Array, arrived: list[tuple[Projection, Array]]) -> None:
        """Use what the partner handed over of its s of this step with the r that arrived in it."""
        rate, decay = self.record.learning_rate, self.record.weight_decay
        if rate is None:
            self.gradients = [copy.outer(sensitivity, r) for copy, r in arrived if copy.plastic]
            if self.bias is not None:
                self.gradients.append(self.rules.bias_gradient(sensitivity))
            return
        self.copies = [self.rules.weights(c, sensitivity, r, rate, decay) if c.plastic else c for c, r in arrived]
        if self.bias is not None:
            self.bias = self.rules.bias(self.bias, sensitivity, rate)

    def _contents(self) -> list[Array]:
        held = self.gradients
        if self.record.learning_rate is not None:
            held = [copy.weights for copy in self.copies] + ([] if self.bias is None else [self.bias])
        return [*held, taken(self.rules)]
