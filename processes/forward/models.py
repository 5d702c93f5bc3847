"""What a forward population does in a step."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import bias_gradient, bias_update, potential_update, weight_update
from dyadic_neuro.processes.forward.process import Forward
from dyadic_neuro.processes.local import Inbox, LocalModel, Outbox
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
        self.record = record
        self.links = record.links
        self.potential = record.potential
        self.bias = record.bias
        self.copies: list[Projection] = list(record.incoming)
        self.gradients: list[Array] = []
        if record.partner:
            self.rate = record.activation.rate(self.potential)

    def timestep(self, t: int) -> None:
        """Send, receive, update the potential; at the end of a window read the factors and learn."""
        record = self.record
        self._send(t)
        arrived = [(copy, getattr(self, f"rate_in_{i}").recv()) for i, copy in enumerate(self.copies)]
        if record.timing.updates(t):
            self.potential = potential_update(arrived, self.bias, self.potential, record.alpha)
            if record.partner:
                self.rate = record.activation.rate(self.potential)
        if self.clock.records(t):
            self.state_out.send(self.potential)
        if record.learns and self.clock.ends_window(t):
            self._read(self.sensitivity_in.recv(), [rate for _, rate in arrived])
        self.report(t, self._contents() if self.clock.reports(t) else [])

    def _send(self, t: int) -> None:
        if self.record.partner:
            self.rate_out.send(self.rate)
            derivative = self.record.activation.derivative(self.potential, self.rate)
            self.partner_out.send(derivative[None] if self.record.learning_rate is None else np.stack([derivative, self.rate]))
        if self.record.readout:
            self.potential_out.send(self.potential)
        if self.record.timing.sends(t):
            for link in range(len(self.links)):
                self.count(t, link, self.potential.size)

    def _read(self, sensitivity: Array, rates: list[Array]) -> None:
        """Use the partner's s of this step with the r that arrived in it."""
        rate, decay = self.record.learning_rate, self.record.weight_decay
        if rate is None:
            self.gradients = [copy.outer(sensitivity, r) for copy, r in zip(self.copies, rates, strict=True) if copy.plastic]
            if self.bias is not None:
                self.gradients.append(bias_gradient(sensitivity))
            return
        self.copies = [
            weight_update(c, sensitivity, r, rate, decay) if c.plastic else c for c, r in zip(self.copies, rates, strict=True)
        ]
        if self.bias is not None:
            self.bias = bias_update(self.bias, sensitivity, rate)

    def _contents(self) -> list[Array]:
        if self.record.learning_rate is None:
            return self.gradients
        held = [copy.weights for copy in self.copies]
        return held if self.bias is None else [*held, self.bias]
