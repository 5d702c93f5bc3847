"""What a sensitivity population does in a step."""

from __future__ import annotations

from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.arrays import Array
from dyadic_neuro.processes.axons import InputAxons, OutputAxons
from dyadic_neuro.processes.local import Inbox, LocalModel, Outbox, taken
from dyadic_neuro.processes.sensitivity.process import Sensitivity
from dyadic_neuro.processes.slices import SensitivitySlice
from dyadic_neuro.projection import Projection


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
        self.record, self.rules = record, record.rules
        self.links = record.links
        self.sensitivity = record.sensitivity
        self.copies: list[Projection] = [copy for _, copy in record.feedback]
        self.arriving = [InputAxons(axons) for axons in record.arriving]
        self.sending = None if record.sending is None else OutputAxons(record.sending)

    def timestep(self, t: int, micro: int) -> None:
        """Send, receive, update the sensitivity; at the end of a window hand it over and learn."""
        record = self.record
        if self.sending is not None:
            if micro == 0:
                self._load(self.sending, t)
            self.sensitivity_out.send(self.sending.plane(micro))
        ended = self.clock.ends_step(micro)
        partner = self.partner_in.recv() if ended and self.copies else None
        for i, axons in enumerate(self.arriving):
            axons.hear(getattr(self, f"sensitivity_in_{i}").recv(), t, micro)
        if not ended:
            return
        arrived = [(copy, axons.latch) for copy, axons in zip(self.copies, self.arriving, strict=True)]
        error = self.error_in.recv() if record.readout else None
        if record.timing.updates(t):
            derivative = None if partner is None else partner[0]
            self.sensitivity = self.rules.sensitivity(arrived, derivative, error, self.sensitivity, record.alpha)
        if self.clock.records(t):
            self.state_out.send(self.sensitivity)
        if self.clock.ends_window(t):
            if record.hands_over:
                self._hand_over(t)
            if record.learning_rate is not None and partner is not None:
                self._learn(partner[1], arrived, record.learning_rate)
        held = [] if record.learning_rate is None else [copy.weights for copy in self.copies]
        self.report(t, [*held, taken(self.rules)] if self.clock.reports(t) else [])

    def _load(self, sending: OutputAxons, t: int) -> None:
        """Begin to tell the sensitivity, and count it."""
        messages = sending.load(self.rules.message(self.sensitivity), t)
        for i, link in enumerate(self.links):
            if not link.local:
                self.count(t, i, messages)

    def _hand_over(self, t: int) -> None:
        """Give the partner what the others are going to hear of the new s, so that all copies learn from the same."""
        message = self.rules.message(self.sensitivity)
        self.partner_out.send(message if self.sending is None else self.sending.handed(message))
        self.count(t, len(self.links) - 1, self.sensitivity.size)

    def _learn(self, own: Array, arrived: list[tuple[Projection, Array]], rate: float) -> None:
        """Let its own r, as others heard it, and the s that arrived change the W^T copies."""
        decay = self.record.weight_decay
        self.copies = [self.rules.weights(c, own, s, rate, decay) if c.plastic else c for c, s in arrived]
