"""What the loss does in a step."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.processes.local import Inbox, LocalModel, Outbox
from dyadic_neuro.processes.loss.process import Loss
from dyadic_neuro.processes.slices import LossSlice


@implements(proc=Loss, protocol=LoihiProtocol)
@requires(CPU)
class LossModel(LocalModel):
    """Answers in the step in which it is asked: it belongs to the readout's core, and a hop inside a core costs no step."""

    potential_in: Inbox
    error_out: Outbox
    window_out: Outbox

    def prepare(self, record: LossSlice) -> None:
        """Take the targets."""
        self.record = record
        self.links = record.links

    def timestep(self, t: int, micro: int) -> None:
        """Turn the readout's potential into dC/du."""
        if not self.clock.ends_step(micro):
            return
        if (t - 1) % self.clock.window == 0:
            self.targets = self.record.samples.at((t - 1) // self.clock.window)
        potential = self.potential_in.recv()
        self.error_out.send(self.record.loss.gradient(potential, self.targets))
        if self.record.timing.sends(t):
            self.count(t, 0, potential.size)
        if self.record.learning and self.clock.ends_window(t):
            value = self.record.loss.value(potential, self.targets).mean()
            correct = (potential.argmax(axis=1) == self.targets.argmax(axis=1)).sum()
            self.window_out.send(np.array([value, correct], np.float64))
        self.report(t, [])
