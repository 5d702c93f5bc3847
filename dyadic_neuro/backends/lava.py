"""The Lava backend: a Lava Process a population, exact gradients and learning in the processes, behind a guard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from numbers import Real
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, Relaxation
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import OptionError
from dyadic_neuro.messages import Link, MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.processes.slices import Clock, ForwardSlice, InputSlice, LossSlice, Plan, Samples, SensitivitySlice, unpack
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.trace import Trace

if TYPE_CHECKING:
    from dyadic_neuro.processes.session import GuardedSession


class Lava:
    """Runs the network as Lava Processes on the CPU (lava-nc 0.10.0).

    `timeout` is the longest silence in seconds that a session waits through before it ends everything.
    """

    name = "lava"
    alpha = 1.0
    tolerance = 1e-12
    unsupported: Mapping[str, str] = {}

    def __init__(self, *, timeout: float = 20.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, Real) or not 0 < timeout <= TIMEOUT_MAX:
            problem = f"{timeout!r} is not a number of seconds above 0 and up to {TIMEOUT_MAX:.0f}"
            raise OptionError("timeout", problem, "use for example Lava(timeout=20.0)")
        self.timeout: float = float(timeout)

    def missing(self) -> str | None:
        """Return what must be installed, or None. Lava itself is not imported here, nor anywhere in this process."""
        if sys.platform == "win32":
            return "Lava forks its processes: use Linux, macOS or WSL"
        if find_spec("lava") is None or find_spec("lava.magma") is None or find_spec("cloudpickle") is None:
            needed = "" if sys.version_info < (3, 11) else "use Python 3.10 (lava-nc 0.10.0 has no other) and "
            return f"{needed}pip install 'dyadic-neuro[lava]'"
        return None

    def open(self, network: Network) -> LavaSession:
        """Return a session for the network."""
        from dyadic_neuro.processes.session import GuardedSession

        return LavaSession(network, GuardedSession(self.timeout))


class LavaSession:
    """Relaxes and learns with one network; each run builds its own circuit of processes."""

    def __init__(self, network: Network, guard: GuardedSession) -> None:
        self._network, self._guard = network, guard

    @property
    def pids(self) -> list[int]:
        """The operating system's numbers of the circuit's processes, while one is running."""
        return list(self._guard.pids)

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SimulatorError and SessionClosedError."""
        network, steps, batch = self._network, order.steps, len(order.inputs)
        clock = Clock(steps, steps, order.by_step, final_state=True)
        samples = np.arange(batch)[None]
        plan = _plan(
            network, clock, order.schedule, order.alpha, order.initial, order.feedback, order.inputs, order.targets, samples, None
        )
        names = [part.population for part in plan.forward]
        potentials, sensitivities = (
            _rows(order.initial.potentials, clock, steps),
            _rows(order.initial.sensitivities, clock, steps),
        )
        report = None
        with self._guard.claim():
            self._guard.build(plan)
            for kind, t, content in self._guard.run(steps):
                if kind == "state":
                    for rows, states in ((potentials, content[: len(names)]), (sensitivities, content[len(names) :])):
                        for name, state in zip(names, states, strict=True):
                            rows[name][t if clock.by_step else 0] = state
                elif kind == "report":
                    report = _Report(plan, content)
            self._guard.stop()
        gradients = {key: report.contents[key] for key in network.plastic}  # type: ignore[union-attr]
        ledger = report.ledger(network, learning=False)  # type: ignore[union-attr]
        parts = (potentials, sensitivities, gradients, lambda: ledger)
        return Trace(network, "lava", order.schedule.kind, order.alpha, steps, order.inputs, order.targets, *parts)

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn in the processes, one Lava run an epoch. Raises SimulatorError and SessionClosedError."""
        network, window = self._network, self._network.relaxation_steps
        epochs, windows, batch = order.order.shape
        clock = Clock(window, window * windows, by_step=False, final_state=False)
        rows = order.order.reshape(epochs * windows, batch)
        start = State.zero(network, batch)
        plan = _plan(
            network, clock, order.schedule, 1.0, start, order.feedback, order.inputs, order.targets, rows, order.learning_rate
        )
        with self._guard.claim():
            self._guard.build(plan)
            for _ in range(epochs):
                losses, correct, report = [], 0, None
                for kind, _, content in self._guard.run(clock.report):
                    if kind == "window":
                        losses.append(float(content[0]))
                        correct += int(content[1])
                        on_window(losses[-1])
                    elif kind == "report":
                        report = _Report(plan, content)
                copies = {name: report.feedback[name] for name in order.feedback}  # type: ignore[union-attr]
                parameters = {key: report.contents[key] for key in network.parameters}  # type: ignore[union-attr]
                yield Epoch(parameters, copies, np.array(losses), correct, report.ledger(network, learning=True))  # type: ignore[union-attr]
            self._guard.stop()

    def close(self) -> None:
        """End every process; closing twice is fine."""
        self._guard.close()

    def __enter__(self) -> LavaSession:
        """Return the session."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End every process."""
        self.close()


class _Report:
    """What the processes reported at the end of a run, unpacked."""

    def __init__(self, plan: Plan, vectors: list[Array]) -> None:
        self._clock = plan.clock
        self._counts: dict[Link, Array] = {}
        self.contents: dict[str, Array] = {}
        self.feedback: dict[str, Array] = {}
        above = 1 + len(plan.forward)
        for i, (vector, (links, shapes)) in enumerate(zip(vectors, plan.reports(), strict=True)):
            found, counts = unpack(vector, plan.clock, links, shapes, plan.dtype)
            (self.contents if i < above else self.feedback).update(found)
            self._counts.update(zip(links, counts.T, strict=True))

    def ledger(self, network: Network, *, learning: bool) -> MessageLedger:
        """Return what the processes counted."""
        links = messages.links(network, learning=learning)
        return MessageLedger(tuple(links), np.stack([self._counts[link] for link in links], axis=1), self._clock.by_step)


def _rows(state: Mapping[str, Array], clock: Clock, steps: int) -> dict[str, Array]:
    rows = {name: np.empty((steps + 1 if clock.by_step else 1, *values.shape), values.dtype) for name, values in state.items()}
    for name, values in state.items():
        rows[name][0] = values
    return rows


def _plan(
    network: Network,
    clock: Clock,
    schedule: Schedule,
    alpha: float,
    initial: State,
    feedback: Mapping[str, Projection],
    inputs: Array,
    targets: Array,
    order: Array,
    learning_rate: float | None,
) -> Plan:
    """Cut the network into the records of its processes."""
    every = messages.links(network, learning=learning_rate is not None)

    def sent_by(name: str, *kinds: tuple[str, bool]) -> tuple[Link, ...]:
        return tuple(link for link in every if link.source == name and (link.kind, link.local) in kinds)

    forward, sensitivity = [], []
    for population in network.dynamic:
        name, readout = population.name, population.name == network.output
        learns = messages.learns(network, name)
        bias = None if population.bias is None else np.asarray(population.bias)
        incoming, copies = network.incoming[name], tuple((p.name, feedback[p.name]) for p in network.outgoing[name])
        links = sent_by(name, ("rate", False), ("derivative", True), ("rate", True), ("potential", True))
        timing = schedule.potentials[name]
        forward.append(
            ForwardSlice(
                name,
                population.phi,
                initial.potentials[name],
                bias,
                incoming,
                timing,
                alpha,
                learning_rate,
                bool(copies),
                readout,
                links,
            )
        )
        links = sent_by(name, ("sensitivity", False), ("sensitivity", True))
        sends, timing = any(not link.local for link in links), schedule.sensitivities[name]
        sensitivity.append(
            SensitivitySlice(
                name, initial.sensitivities[name], copies, timing, alpha, learning_rate, sends, learns, readout, links
            )
        )
    first = InputSlice(
        network.input, Samples(inputs, order), schedule.potentials[network.input], sent_by(network.input, ("rate", False))
    )
    timing, links = schedule.potentials[network.output], sent_by(network.output, ("error", True))
    loss = LossSlice(network.output, network.cost, Samples(targets, order), timing, learning_rate is not None, links)
    return Plan(clock, str(np.dtype(network.dtype)), first, tuple(forward), tuple(sensitivity), loss)
