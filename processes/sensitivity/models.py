"""What a sensitivity population does in a step."""

from __future__ import annotations

from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.dynamics import sensitivity_update, weight_update
from dyadic_neuro.processes.local import Inbox, LocalModel, Outbox
from dyadic_neuro.processes.sensitivity.process import Sensitivity
from dyadic_neuro.processes.slices import SensitivitySlice


@implements(proc=Sensitivity, protocol=LoihiProtocol)
@requires(CPU)
class SensitivityModel(LocalModel):
    """Sends its sensitivity before it receives, then takes it to the next step."""

    partner_in: Inbox
    partner_out: Outbox
    sensitivity_out: Outbox
    error_in: Inbox
    state_out: Outbox

    def prepare(self, record: SensitivitySlice) -> None:
        """Take the sensitivity and the W^T copies."""
        self.record = record
        self.links = record.links
        self.sensitivity = record.sensitivity
        self.copies = [copy for _, copy in record.feedback]

    def timestep(self, t: int) -> None:
        """Send, receive, update the sensitivity; at the end of a window hand it over and learn."""
        record = self.record
        if record.sends:
            self.sensitivity_out.send(self.sensitivity)
        if record.timing.sends(t):
            for link, _ in enumerate(link for link in self.links if not link.local):
                self.count(t, link, self.sensitivity.size)
        partner = self.partner_in.recv() if self.copies else None
        arrived = [(copy, getattr(self, f"sensitivity_in_{i}").recv()) for i, copy in enumerate(self.copies)]
        error = self.error_in.recv() if record.readout else None
        if record.timing.updates(t):
            derivative = None if partner is None else partner[0]
            self.sensitivity = sensitivity_update(arrived, derivative, error, self.sensitivity, record.alpha)
        if self.clock.records(t):
            self.state_out.send(self.sensitivity)
        if self.clock.ends_window(t):
            if record.hands_over:
                self.partner_out.send(self.sensitivity)
                self.count(t, len(self.links) - 1, self.sensitivity.size)
            rate, decay = record.learning_rate, record.weight_decay
            if rate is not None and partner is not None:  # its own r, and the s that arrived
                self.copies = [weight_update(c, partner[1], s, rate, decay) if c.plastic else c for c, s in arrived]
        self.report(t, [copy.weights for copy in self.copies] if record.learning_rate is not None else [])
