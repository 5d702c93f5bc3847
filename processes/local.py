"""What all processes share: ports given as data, and a step that reports its own failure instead of hanging the rest."""

from __future__ import annotations

import os
import signal
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPortVectorDense, PyOutPortVectorDense
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

from dyadic_neuro.arithmetic import Rules
from dyadic_neuro.arrays import Array
from dyadic_neuro.messages import Link
from dyadic_neuro.processes.axons import check_width
from dyadic_neuro.processes.failures import BORN, FAILED, tell
from dyadic_neuro.processes.slices import Clock, Widths, pack


@dataclass(frozen=True)
class Inlet:
    """A port that receives arrays of one shape."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Outlet:
    """A port that sends arrays of one shape; it may be connected to several inlets."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Inbox(PyInPortVectorDense):
    """An in-port with exactly one sender: what it receives is the message, without Lava's summing over senders."""

    def recv(self) -> Array:
        """Return the next message; waits for it."""
        return np.asarray(self.csp_ports[0].recv())


class Outbox(PyOutPortVectorDense):
    """An out-port that refuses another shape or type, which Lava would cast without a word, and integers that are too wide."""

    label = ""
    bits: int | None = None

    def send(self, data: Array) -> None:
        """Send one message to every receiver. Raises TypeError, and OverflowError for what `bits` do not hold."""
        for port in self.csp_ports:
            if data.dtype != port.d_type or data.shape != port.shape:
                raise TypeError(f"a message of {data.dtype}{data.shape} on a port of {np.dtype(port.d_type)}{port.shape}")
        if self.bits is not None:
            check_width(data, self.bits, f"port {self.label!r}")
        for port in self.csp_ports:
            port.send(data)


class LocalProcess(AbstractProcess):
    """A Lava Process with the given ports; its model gets `record`, `clock` and the pipe for failures.

    `widths` are those of its out-ports, if it computes in integers: `tags` then says "fixed_pt", in Lava's words.
    """

    def __init__(
        self,
        label: str,
        ports: list[Inlet | Outlet],
        record: object,
        clock: Clock,
        failures: int,
        widths: Widths | None = None,
        **more: object,
    ) -> None:
        super().__init__(name=label, label=label, record=record, clock=clock, failures=failures, **more)
        self.tags = ["fixed_pt" if widths else "floating_pt"]
        self.port_types = {}
        for port in ports:
            inward, bits = isinstance(port, Inlet), (widths or {}).get(port.name)
            setattr(self, port.name, (InPort if inward else OutPort)(shape=port.shape))
            kind = Inbox if inward else type("Outbox", (Outbox,), {"label": port.name, "bits": bits})
            self.port_types[port.name] = LavaPyType(kind, np.dtype(port.dtype).type, bits)


class LocalModel(PyLoihiProcessModel):
    """A process model that runs `timestep(t, micro)` in every step (the first is 1) and micro-step (the first is 0).

    Subclasses define `prepare(record)` and `timestep`; they read and send through their ports only. When one of them
    fails, its traceback goes to the guard: the others may be waiting for it for ever.
    """

    report_out: Outbox

    def __init__(self, parameters: Any) -> None:  # noqa: ANN401  (Lava's own type)
        super().__init__(parameters)
        self.label: str = parameters["label"]
        self.clock: Clock = parameters["clock"]
        self._failures: int = parameters["failures"]
        tell(self._failures, BORN, f"{os.getpid()} {self.label}")
        signal.signal(signal.SIGUSR1, self._show_stack)
        try:
            self.prepare(parameters["record"])
            self.counts = np.zeros((self.clock.rows, len(self.links)), np.int64)
        except BaseException:
            tell(self._failures, FAILED, f"process {self.label!r} failed when it was built\n{traceback.format_exc()}")
            raise

    links: tuple[Link, ...] = ()

    def prepare(self, record: Any) -> None:  # noqa: ANN401, ARG002  (each process has its own record)
        """Take what is needed from the record."""
        raise TypeError(f"{type(self).__name__} has no prepare")

    def timestep(self, t: int, micro: int) -> None:  # noqa: ARG002
        """Send what the neighbours need of the state at t - 1, receive, in the last micro-step take the state to t."""
        raise TypeError(f"{type(self).__name__} has no timestep")

    def run_spk(self) -> None:
        """Run one micro-step."""
        try:
            self.timestep(*self.clock.at(self.time_step))
        except BaseException:
            tell(self._failures, FAILED, f"process {self.label!r} failed in {self._now()}\n{traceback.format_exc()}")
            raise

    def _now(self) -> str:
        t, micro = self.clock.at(self.time_step)
        many = self.clock.micro_steps
        return f"step {t}" if many == 1 else f"step {t}, micro-step {micro + 1} of {many}"

    def count(self, t: int, link: int, messages: int) -> None:
        """Enter messages sent in step t on one of `links`."""
        self.counts[(t - 1) % self.clock.report if self.clock.by_step else 0, link] += messages

    def report(self, t: int, contents: list[Array]) -> None:
        """Send out what this process holds and what it sent, if step t is one that reports."""
        if self.clock.reports(t):
            self.report_out.send(pack(contents, self.counts))
            self.counts[:] = 0

    def _show_stack(self, _: int, frame: FrameType | None) -> None:
        stack = "".join(traceback.format_stack(frame)[-6:])
        tell(self._failures, FAILED, f"process {self.label!r} in {self._now()} is at\n{stack}")


def taken(rules: Rules) -> Array:
    """Return what has saturated, in the order of SATURATIONS, and begin to count anew."""
    found = rules.saturated.copy()
    rules.saturated[:] = 0
    return found
