"""What the recorder does in a step."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from dyadic_neuro.arrays import Array
from dyadic_neuro.processes.local import LocalModel
from dyadic_neuro.processes.recorder.process import Recorder

_SIGN_OF_LIFE_S = 0.1  # far below any sensible timeout, far above the cost of a message


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
class RecorderModel(LocalModel):
    """Passes everything on as ("state" | "window" | "report" | "alive", step, content)."""

    def __init__(self, parameters: Any) -> None:  # noqa: ANN401  (Lava's own type)
        super().__init__(parameters)
        self._results = Connection(parameters["results"], readable=False)
        self._told = time.monotonic()

    def prepare(self, record: tuple[int, int, int]) -> None:
        """Take the numbers of ports."""
        self.states, self.reports, self.windows = record

    def timestep(self, t: int, micro: int) -> None:
        """Receive what is sent in this step; also between two steps give a sign of life."""
        ended = self.clock.ends_step(micro)
        if ended and self.clock.records(t):
            self._tell("state", t, self._received("state", self.states))
        if ended and self.windows and self.clock.ends_window(t):
            self._tell("window", t, self._received("window", self.windows))
        if ended and self.clock.reports(t):
            self._tell("report", t, self._received("report", self.reports))
        elif time.monotonic() - self._told > _SIGN_OF_LIFE_S:
            self._tell("alive", t, None)

    def _received(self, kind: str, count: int) -> list[Array]:
        return [getattr(self, f"{kind}_in_{i}").recv() for i in range(count)]

    def _tell(self, kind: str, t: int, content: object) -> None:
        self._results.send((kind, t, content))
        self._told = time.monotonic()
