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

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, Relaxation, version_of
from dyadic_neuro.cost import Cost
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import MappingError, OptionError
from dyadic_neuro.mappings.copies import KINDS
from dyadic_neuro.mappings.cost import price
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.mappings.slices import Slice
from dyadic_neuro.messages import Link, MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.processes.parts import AnyPlan, CoreSlice, InputPart, MappedPlan, Part, Readout, Way
from dyadic_neuro.processes.slices import (
    FEEDBACK,
    PARAMETER,
    POTENTIAL,
    SENSITIVITY,
    Clock,
    Contents,
    ForwardSlice,
    InputSlice,
    Key,
    LossSlice,
    Plan,
    Samples,
    SensitivitySlice,
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
    """

    name = "lava"
    alpha = 1.0
    tolerance = 1e-12
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

    def deployed(self, network: Network) -> Network:
        """Return the network that will run: another one where the mapping divided a fan-in. Raises as `open`."""
        return network if self.mapping is None else self.mapping.apply(network)

    def open(self, network: Network) -> LavaSession:
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

    def __init__(self, network: Network, mapping: Placed | None, guard: GuardedSession) -> None:
        self._network, self._mapping, self._guard = network, mapping, guard
        self._cut = partial(_plan, network) if mapping is None else partial(_mapped_plan, mapping, network)

    @property
    def pids(self) -> list[int]:
        """The operating system's numbers of the circuit's processes, while one is running."""
        return list(self._guard.pids)

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SimulatorError and SessionClosedError."""
        network, steps, batch = self._network, order.steps, len(order.inputs)
        clock = Clock(steps, steps, order.by_step, final_state=True)
        samples, feedback = np.arange(batch)[None], self._copies(order.feedback)
        plan = self._cut(clock, order.schedule, order.alpha, order.initial, feedback, order.inputs, order.targets, samples, None)
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
                    report = _Report(plan, content)
            self._guard.stop()
        gradients = self._restored({key: report.parameters[key] for key in network.plastic})  # type: ignore[union-attr]
        ledger = report.ledger(network, learning=False)  # type: ignore[union-attr]
        parts = (rows[POTENTIAL], rows[SENSITIVITY], gradients, lambda: ledger)
        trace = Trace(network, "lava", order.schedule.kind, order.alpha, steps, order.inputs, order.targets, *parts)
        if self._mapping is None:
            return trace
        mapping = self._mapping

        def pricing() -> Cost:
            counts = [mapping.counter.scheduled(order.schedule, t) for t in range(1, steps + 1)]
            return price(mapping, counts, samples=len(order.inputs), learning=False)

        return replace(trace, restore=mapping.division.restore, pricing=pricing)

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn in the processes, one Lava run an epoch. Raises SimulatorError and SessionClosedError."""
        if self._mapping is not None and not self._mapping.learning:
            raise OptionError("mapping", "has no room for learning", "map_network(..., learning=True)")
        network, window = self._network, order.window
        epochs, windows, batch = order.order.shape
        clock = Clock(window, window * windows, by_step=False, final_state=False)
        rows = order.order.reshape(epochs * windows, batch)
        start, schedule = State.zero(network, batch), Schedule.of(network, order.schedule.kind)
        feedback = self._copies(order.feedback)
        data, speed = (order.inputs, order.targets, rows), (order.learning_rate, order.weight_decay)
        plan = self._cut(clock, schedule, order.alpha, start, feedback, *data, *speed)
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
                        report = _Report(plan, content)
                copies = {name: report.feedback[name] for name in feedback}  # type: ignore[union-attr]
                if self._mapping is not None:
                    copies = self._mapping.division.restore_feedback(copies)
                parameters = self._restored({key: report.parameters[key] for key in network.parameters})  # type: ignore[union-attr]
                yield Epoch(parameters, copies, np.array(losses), correct, report.ledger(network, learning=True))  # type: ignore[union-attr]
            self._guard.stop()

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
    """What the processes reported at the end of a run, unpacked."""

    def __init__(self, plan: AnyPlan, vectors: list[Array]) -> None:
        self._clock = plan.clock
        self._counts: defaultdict[Link, Array] = defaultdict(lambda: np.zeros(plan.clock.rows, np.int64))
        pieces: dict[Key, Array] = {}
        for vector, (links, contents) in zip(vectors, plan.reports(), strict=True):
            found, counts = unpack(vector, plan.clock, links, contents, plan.dtype)
            pieces.update(found)
            for link, column in zip(links, counts.T, strict=True):
                self._counts[link] += column
        self.parameters, self.feedback = _joined(pieces, PARAMETER), _joined(pieces, FEEDBACK)

    def ledger(self, network: Network, *, learning: bool) -> MessageLedger:
        """Return what the processes counted."""
        links = messages.links(network, learning=learning)
        return MessageLedger(tuple(links), np.stack([self._counts[link] for link in links], axis=1), self._clock.by_step)


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


def _told(plan: AnyPlan, network: Network, content: list[Array], targets: Array) -> tuple[float, int]:
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
    weight_decay: float = 0.0,
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
                weight_decay,
                bool(copies),
                readout,
                links,
            )
        )
        links = sent_by(name, ("sensitivity", False), ("sensitivity", True))
        sends, timing = any(not link.local for link in links), schedule.sensitivities[name]
        sensitivity.append(
            SensitivitySlice(
                name,
                initial.sensitivities[name],
                copies,
                timing,
                alpha,
                learning_rate,
                weight_decay,
                sends,
                learns,
                readout,
                links,
            )
        )
    first = InputSlice(
        network.input, Samples(inputs, order), schedule.potentials[network.input], sent_by(network.input, ("rate", False))
    )
    timing, links = schedule.potentials[network.output], sent_by(network.output, ("error", True))
    loss = LossSlice(network.output, network.cost, Samples(targets, order), timing, learning_rate is not None, links)
    return Plan(clock, str(np.dtype(network.dtype)), first, tuple(forward), tuple(sensitivity), loss)


# A mapping as records


def _check(mapping: Placed, network: Network) -> None:
    """Raise MappingError for what the processes cannot run."""
    cores = np.unique(mapping.slices.core[mapping.slices.of(network.output)])
    if len(cores) > 1 and not network.cost.separable:
        problem = f"parts the readout over {len(cores)} cores, though its loss {network.cost.name!r} couples its neurons"
        raise MappingError("mapping", problem, "keep the readout on one core, or use a loss that is separable")
    import resource  # not on Windows, where Lava does not run either

    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = len(mapping.cores)
    channels = sum(len(ways) for ways in _ways(mapping)[2].values()) + 5 * (count + 2)  # with Lava's own, and the recorder's
    files = 2 * channels + 8 * (count + 4)  # in the interpreter that makes them all
    if files > allowed != resource.RLIM_INFINITY:
        problem = f"takes {channels:,} channels between {count} cores, {files:,} open files of the {allowed:,} that are allowed"
        raise OptionError("mapping", problem, 'use fewer cores (map_network(..., objective="cores")), or raise ulimit -Hn')


def _mapped_plan(
    mapping: Placed,
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
    weight_decay: float = 0.0,
) -> MappedPlan:
    """Cut the network into the records of the cores of its mapping."""
    every = messages.links(network, learning=learning_rate is not None)
    links = {p.name: tuple(link for link in every if link.source == p.name) for p in network.populations}
    held: dict[int, list[Slice]] = {int(core): [] for core in mapping.cores}
    for piece in mapping.slices:
        held[piece.core].append(piece)
    sends, keeps, receives = _ways(mapping)

    def shown(piece: Slice) -> InputPart:
        samples = Samples(inputs[:, piece.start : piece.stop], order)
        return InputPart(piece.population, piece.start, samples, schedule.potentials[piece.population], links[piece.population])

    def part(piece: Slice) -> Part:
        name, start, stop = piece.population, piece.start, piece.stop
        bias = network.population(name).bias
        return Part(
            name,
            start,
            network.activations[name],
            initial.potentials[name][:, start:stop],
            initial.sensitivities[name][:, start:stop],
            None if bias is None else np.asarray(bias)[start:stop],
            tuple(own for p in network.incoming[name] if (own := p.onto(start, stop)) is not None),
            tuple((p.name, own) for p in network.outgoing[name] if (own := feedback[p.name].onto(start, stop)) is not None),
            schedule.potentials[name],
            schedule.sensitivities[name],
            bool(network.outgoing[name]),
            links[name],
        )

    def readout(parts: Iterable[Part]) -> Readout | None:
        columns = [np.arange(p.start, p.stop) for p in parts if p.population == network.output]
        if not columns:
            return None
        samples = Samples(targets[:, np.concatenate(columns)], order)
        return Readout(network.output, network.cost, samples, learning_rate is not None)

    def core(number: int, pieces: list[Slice]) -> CoreSlice:
        parts = tuple(part(piece) for piece in pieces if piece.population != network.input)
        signals = [(p.source, "rate") for q in parts for p in q.incoming]
        signals += [(p.source, "sensitivity") for q in parts for _, p in q.feedback]
        return CoreSlice(
            number,
            order.shape[1],
            tuple(shown(piece) for piece in pieces if piece.population == network.input),
            parts,
            readout(parts),
            tuple((signal, network.population(signal[0]).size) for signal in dict.fromkeys(signals)),
            tuple(sends[number]),
            tuple(keeps[number]),
            tuple(receives[number]),
            alpha,
            learning_rate,
            weight_decay,
        )

    return MappedPlan(clock, str(np.dtype(network.dtype)), tuple(core(number, pieces) for number, pieces in held.items()))


def _ways(mapping: Placed) -> tuple[dict[int, list[Way]], dict[int, list[Way]], dict[int, list[Way]]]:
    """Return what each core sends to others, keeps for itself, and receives from others, along the mapping's routes."""
    slices, routes, senders = mapping.slices, mapping.routes, mapping.senders
    ends: dict[Way, tuple[int, set[int]]] = {}
    for r, i in zip(senders.route, senders.slice, strict=True):
        start, stop = int(max(slices.start[i], routes.start[r])), int(min(slices.stop[i], routes.stop[r]))
        way = Way(routes.names[routes.population[r]], KINDS[routes.kind[r]], start, stop)
        _, cores = ends.setdefault(way, (int(slices.core[i]), set()))
        cores.update(int(core) for core in routes.core[routes.first[r] : routes.first[r + 1]])
    sends, keeps, receives = defaultdict(list), defaultdict(list), defaultdict(list)
    for way, (home, cores) in ends.items():
        if cores - {home}:
            sends[home].append(way)
        if home in cores:
            keeps[home].append(way)
        for core in sorted(cores - {home}):
            receives[core].append(way)
    return sends, keeps, receives
