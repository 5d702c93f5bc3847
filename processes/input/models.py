"""What the input population does in a step."""

from __future__ import annotations

from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.processes.axons import OutputAxons
from dyadic_neuro.processes.input.process import Input
from dyadic_neuro.processes.local import LocalModel, Outbox
from dyadic_neuro.processes.slices import InputSlice


@implements(proc=Input, protocol=LoihiProtocol)
@requires(CPU)
class InputModel(LocalModel):
    """Holds each batch for a window and sends it in every step."""

    rate_out: Outbox

    def prepare(self, record: InputSlice) -> None:
        """Take the samples."""
        self.record = record
        self.links = record.links
        self.sending = OutputAxons(record.sending)

    def timestep(self, t: int, micro: int) -> None:
        """Send the batch of the window that step t lies in."""
        if micro == 0:
            if (t - 1) % self.clock.window == 0:
                self.batch = self.record.samples.at((t - 1) // self.clock.window)
            messages = self.sending.load(self.batch, t)
            for link in range(len(self.links)):
                self.count(t, link, messages)
        self.rate_out.send(self.sending.plane(micro))
        if self.clock.ends_step(micro):
            self.report(t, [])
