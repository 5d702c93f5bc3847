"""The Lava backend: a Lava Process a population, or a core of a mapping; all that is learned is learned in the processes."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from numbers import Real
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro import arithmetic, messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, Relaxation, version_of
from dyadic_neuro.backends.lava_plans import core_plan, population_plan, ways
from dyadic_neuro.codings import Coding, Graded
from dyadic_neuro.cost import Cost
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import MappingError, OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.fixed_point.rules import SATURATIONS
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings.cost import price
from dyadic_neuro.mappings.mapping import AnyNetwork
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.messages import Link, MessageLedger
from dyadic_neuro.processes.parts import AnyPlan, CoreSlice
from dyadic_neuro.processes.slices import (
    FEEDBACK,
    PARAMETER,
    POTENTIAL,
    SATURATED,
    SENSITIVITY,
    Clock,
    Contents,
    Key,
    Plan,
    unpack,
)
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.trace import Trace

if TYPE_CHECKING:
    from dyadic_neuro.processes.session import GuardedSession


class Lava:
    """Runs the network as Lava Processes on the CPU (lava-nc 0.10.0).

    Without a `mapping` each population is two processes, one with its potentials and one with its sensitivities. With one
    each occupied core of it is a process, and messages take its routes; where the mapping divided a fan-in, traces show
    the populations on the chip, while gradients and learned parameters go by the keys of the user's network. `timeout` is
    the longest silence in seconds that a session waits through before it ends everything.

    Networks of integers run with integer ports, which refuse what is wider than they are. A coding takes as many of Lava's
    timesteps for each step as it has micro-steps. What a coded run would cost on the mapping's chip is not worked out here
    (`cost` is None): the backend "chip" counts its events.
    """

    name = "lava"
    alpha = 1.0
    tolerance = 1e-12
    fixed_point = True
    unsupported: Mapping[str, str] = {}

    def __init__(self, *, mapping: Placed | None = None, timeout: float = 20.0) -> None:
        if mapping is not None and not isinstance(mapping, Placed):
            raise OptionError("mapping", f"{type(mapping).__name__} is not a Mapping", "make one: map_network(network, chip)")
        if isinstance(timeout, bool) or not isinstance(timeout, Real) or not 0 < timeout <= TIMEOUT_MAX:
            problem = f"{timeout!r} is not a number of seconds above 0 and up to {TIMEOUT_MAX:.0f}"
            raise OptionError("timeout", problem, "use for example Lava(timeout=20.0)")
        self.mapping: Placed | None = mapping
        self.timeout: float = float(timeout)

    @property
    def runs_on(self) -> str:
        """What really runs."""
        return f"lava-nc {version_of('lava-nc')}, its simulator on the CPU; no Loihi"

    def missing(self) -> str | None:
        """Return what must be installed, or None. Lava itself is not imported here, nor anywhere in this process."""
        if sys.platform == "win32":
            return "Lava forks its processes: use Linux, macOS or WSL"
        if find_spec("lava") is None or find_spec("lava.magma") is None or find_spec("cloudpickle") is None:
            needed = "" if sys.version_info < (3, 11) else "use Python 3.10 (lava-nc 0.10.0 has no other) and "
            return f"{needed}pip install 'dyadic-neuro[lava]'"
        return None

    def deployed(self, network: AnyNetwork) -> AnyNetwork:
        """Return the network that will run: another one where the mapping divided a fan-in. Raises as `open`."""
        return network if self.mapping is None else self.mapping.apply(network)

    def open(self, network: AnyNetwork) -> LavaSession:
        """Return a session for the network.

        Raises, before anything starts, MappingError if the mapping is for another structure, or parts a readout whose loss
        couples its neurons, and OptionError if it needs more channels than the system has files for.
        """
        from dyadic_neuro.processes.session import GuardedSession

        running = self.deployed(network)
        if self.mapping is not None:
            _check(self.mapping, running)
        return LavaSession(running, self.mapping, GuardedSession(self.timeout))


class LavaSession:
    """Relaxes and learns with one network; each run builds its own circuit of processes."""

    def __init__(self, network: Graph, mapping: Placed | None, guard: GuardedSession) -> None:
        self._network, self._mapping, self._guard = network, mapping, guard
        self._cut = partial(population_plan, network) if mapping is None else partial(core_plan, mapping, network)

    @property
    def pids(self) -> list[int]:
        """The operating system's numbers of the circuit's processes, while one is running."""
        return list(self._guard.pids)

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SimulatorError and SessionClosedError."""
        network, steps, batch = self._network, order.steps, len(order.inputs)
        coding = self._coding(order)
        clock = Clock(steps, steps, order.by_step, final_state=True, micro_steps=coding.micro_steps)
        samples, feedback = np.arange(batch)[None], self._copies(order.feedback)
        data = (order.inputs, order.targets, samples)
        plan = self._cut(clock, order.schedule, order.alpha, order.initial, feedback, *data, None, coding=coding)
        rows = {
            POTENTIAL: _rows(order.initial.potentials, clock, steps),
            SENSITIVITY: _rows(order.initial.sensitivities, clock, steps),
        }
        report = None
        with self._guard.claim():
            self._guard.build(plan)
            for kind, t, content in self._guard.run(steps):
                if kind == "state":
                    for (what, name, start), values in _columns(plan.states(), content):
                        rows[what][name][t if clock.by_step else 0][:, start : start + values.shape[1]] = values
                elif kind == "report":
                    report = _Report(plan, content, "float64" if isinstance(network, FixedNetwork) else plan.dtype)
            self._guard.stop()
        gradients = self._restored({key: report.parameters[key] for key in network.plastic})  # type: ignore[union-attr]
        ledger = report.ledger(network, coding, learning=False)  # type: ignore[union-attr]
        parts = (rows[POTENTIAL], rows[SENSITIVITY], gradients, lambda: ledger)
        ran = (network, "lava", order.schedule.kind, order.alpha, steps, order.inputs, order.targets)
        trace = Trace(*ran, *parts, saturations=report.saturations())  # type: ignore[union-attr]
        if self._mapping is None:
            return trace
        mapping = self._mapping
        trace = replace(trace, restore=mapping.division.restore)
        if coding.name != "graded":  # how much is sent depends on the data
            return trace

        def pricing() -> Cost:
            counts = [mapping.counter.scheduled(order.schedule, t) for t in range(1, steps + 1)]
            return price(mapping, counts, samples=len(order.inputs), learning=False, network=network)

        return replace(trace, pricing=pricing)

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn in the processes, one Lava run an epoch. Raises SimulatorError and SessionClosedError."""
        if self._mapping is not None and not self._mapping.learning:
            raise OptionError("mapping", "has no room for learning", "map_network(..., learning=True)")
        network, window = self._network, order.window
        epochs, windows, batch = order.order.shape
        coding = self._coding(order)
        clock = Clock(window, window * windows, by_step=False, final_state=False, micro_steps=coding.micro_steps)
        rows = order.order.reshape(epochs * windows, batch)
        start, schedule = State.zero(network, batch), Schedule.of(network, order.schedule.kind)
        feedback = self._copies(order.feedback)
        data, speed = (order.inputs, order.targets, rows), (order.learning_rate, order.weight_decay)
        plan = self._cut(clock, schedule, order.alpha, start, feedback, *data, *speed, coding)
        with self._guard.claim():
            self._guard.build(plan)
            for _ in range(epochs):
                losses, correct, report = [], 0, None
                for kind, t, content in self._guard.run(clock.report):
                    if kind == "window":
                        loss, right = _told(plan, network, content, order.targets[rows[(t - 1) // window]])
                        losses.append(loss)
                        correct += right
                        on_window(loss)
                    elif kind == "report":
                        report = _Report(plan, content, plan.dtype)
                copies = {name: report.feedback[name] for name in feedback}  # type: ignore[union-attr]
                if self._mapping is not None:
                    copies = self._mapping.division.restore_feedback(copies)
                parameters = self._restored({key: report.parameters[key] for key in network.parameters})  # type: ignore[union-attr]
                ledger, saturations = report.ledger(network, coding, learning=True), report.saturations()  # type: ignore[union-attr]
                yield Epoch(parameters, copies, np.array(losses), correct, ledger, saturations=saturations)
            self._guard.stop()

    def _coding(self, order: Relaxation | Learning) -> Coding:
        """Return how messages are sent: those of floats as they are."""
        return order.coding if isinstance(self._network, FixedNetwork) else Graded()

    def _copies(self, feedback: Mapping[str, Projection]) -> Mapping[str, Projection]:
        """Return the W^T copies of the network that runs, given those of the user's."""
        return feedback if self._mapping is None else self._mapping.division.apply_feedback(self._network, feedback)

    def _restored(self, parameters: dict[str, Array]) -> dict[str, Array]:
        """Return parameters or gradients of the network that runs by the keys of the user's."""
        return parameters if self._mapping is None else self._mapping.division.restore(parameters)

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
    """What the processes reported at the end of a run, unpacked: gradients or parameters, of `dtype`, and counts."""

    def __init__(self, plan: AnyPlan, vectors: list[Array], dtype: str) -> None:
        self._clock = plan.clock
        self._saturated: defaultdict[str, Array] = defaultdict(lambda: np.zeros(len(SATURATIONS), np.int64))
        self._counts: defaultdict[Link, Array] = defaultdict(lambda: np.zeros(plan.clock.rows, np.int64))
        pieces: dict[Key, Array] = {}
        for vector, (links, contents) in zip(vectors, plan.reports(), strict=True):
            found, counts = unpack(vector, plan.clock, links, contents, dtype)
            pieces.update(found)
            for (kind, name, _), values in found.items():
                if kind == SATURATED:
                    self._saturated[name] += values.astype(np.int64)
            for link, column in zip(links, counts.T, strict=True):
                self._counts[link] += column
        self.parameters, self.feedback = _joined(pieces, PARAMETER), _joined(pieces, FEEDBACK)

    def ledger(self, network: Graph, coding: Coding, *, learning: bool) -> MessageLedger:
        """Return what the processes counted."""
        links = messages.links(network, learning=learning)
        counts = np.stack([self._counts[link] for link in links], axis=1)
        wired = [link if link.local else replace(link, bits=coding.wire_bits(link.bits)) for link in links]
        return MessageLedger(tuple(wired), counts, self._clock.by_step)

    def saturations(self) -> dict[str, int]:
        """Return what saturated how often, in the populations and on all cores together."""
        return arithmetic.saturations(self._saturated)


def _joined(pieces: Mapping[Key, Array], what: str) -> dict[str, Array]:
    """Return by name what the processes hold rows of."""
    found: dict[str, list[Array]] = {}
    for kind, name, start in sorted(pieces):
        if kind == what:
            found.setdefault(name, []).append(pieces[kind, name, start])
    return {name: rows[0] if len(rows) == 1 else np.concatenate(rows) for name, rows in found.items()}


def _columns(plan: Iterable[Contents], arrays: Iterable[Array]) -> Iterator[tuple[Key, Array]]:
    """Go through the states (batch, n) that stand side by side in these arrays."""
    for contents, array in zip(plan, arrays, strict=True):
        at = 0
        for key, shape in contents:
            yield key, array[:, at : at + shape[1]]
            at += shape[1]


def _told(plan: AnyPlan, network: Graph, content: list[Array], targets: Array) -> tuple[float, int]:
    """Return the loss of a window, and how many samples were classified right."""
    if isinstance(plan, Plan):
        return float(content[0][0]), int(content[0][1])
    potential = np.empty_like(targets)
    readouts = [core for core in plan.cores if core.readout is not None]
    for (_, _, start), values in _columns((_readout_columns(core) for core in readouts), content):
        potential[:, start : start + values.shape[1]] = values
    right = (potential.argmax(axis=1) == targets.argmax(axis=1)).sum()
    return float(network.cost.value(potential, targets).mean()), int(right)


def _readout_columns(core: CoreSlice) -> Contents:
    name = "" if core.readout is None else core.readout.population
    return [(key, shape) for key, shape in core.states if key[:2] == (POTENTIAL, name)]


def _rows(state: Mapping[str, Array], clock: Clock, steps: int) -> dict[str, Array]:
    rows = {name: np.empty((steps + 1 if clock.by_step else 1, *values.shape), values.dtype) for name, values in state.items()}
    for name, values in state.items():
        rows[name][0] = values
    return rows


def _check(mapping: Placed, network: Graph) -> None:
    """Raise MappingError for what the processes cannot run."""
    cores = np.unique(mapping.slices.core[mapping.slices.of(network.output)])
    if len(cores) > 1 and not network.cost.separable:
        problem = f"parts the readout over {len(cores)} cores, though its loss {network.cost.name!r} couples its neurons"
        raise MappingError("mapping", problem, "keep the readout on one core, or use a loss that is separable")
    import resource  # not on Windows, where Lava does not run either

    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = len(mapping.cores)
    crossing = sum(len(received) for received in ways(mapping)[2].values())
    channels = crossing + 5 * (count + 2)  # with Lava's own, and the recorder's
    files = 2 * channels + 8 * (count + 4)  # in the interpreter that makes them all
    if files > allowed != resource.RLIM_INFINITY:
        problem = f"takes {channels:,} channels between {count} cores, {files:,} open files of the {allowed:,} that are allowed"
        raise OptionError("mapping", problem, 'use fewer cores (map_network(..., objective="cores")), or raise ulimit -Hn')
