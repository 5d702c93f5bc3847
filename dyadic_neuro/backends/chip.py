"""The chip backend: a mapped network core by core, with every event counted, or layer by layer with the same counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.cost import Cost
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.coded import CodedMachine
from dyadic_neuro.mappings.cores import Delivery
from dyadic_neuro.mappings.cost import price
from dyadic_neuro.mappings.counts import StepCounts
from dyadic_neuro.mappings.machine import Machine
from dyadic_neuro.mappings.mapping import AnyNetwork, map_network
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.mappings.pipeline import Pipeline
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.trace import Stream, Trace

_States = tuple[Mapping[str, Array], Mapping[str, Array]]


class MappedChip:
    """Runs a network as it lies on a chip.

    `mapping` says where; without one, each network is mapped onto `chip` first (by default the loihi2 preset), cut as little
    as its limits allow.
    Each core holds only its own arrays and what packets brought it, and counts what it does. With `fast` whole layers are
    computed at once, and counted from the mapping: the same states to rounding, the same counts, in less time.
    Where the mapping divided a fan-in, traces show the populations on the chip, while gradients and learned parameters go
    by the keys of the user's network.
    """

    name = "chip"
    alpha = 1.0
    tolerance = 1e-12
    fixed_point = True

    def __init__(self, mapping: Placed | None = None, *, chip: Chip | str | None = None, fast: bool = False) -> None:
        if mapping is not None and not isinstance(mapping, Placed):
            raise OptionError("mapping", f"{type(mapping).__name__} is not a Mapping", "make one: map_network(network, chip)")
        if mapping is not None and chip is not None:
            raise OptionError("chip", "is given, and a mapping too, which has one", "give one of them")
        if not isinstance(fast, bool):
            raise OptionError("fast", f"{fast!r} is neither True nor False", "use one of them")
        self._given, self._fast = mapping, fast
        self.unsupported: Mapping[str, str] = {"codings": "layer by layer, nobody counts what cores send"} if fast else {}
        self._chip = chip if isinstance(chip, Chip) else Chip.load("loihi2" if chip is None else chip)
        self._made: dict[str, Placed] = {}

    @property
    def runs_on(self) -> str:
        """What really runs."""
        chip, way = self._chip if self._given is None else self._given.chip, "layer by layer" if self._fast else "core by core"
        return f"this project's model of {chip.name}, {way}, NumPy {np.__version__} on the CPU; no chip"

    def missing(self) -> str | None:
        """Return None: it needs nothing but NumPy."""
        return None

    def mapping(self, network: Graph) -> Placed:
        """Return the mapping that the network runs with.

        Raises MappingError if the one given is for another structure, or integers are wider than the chip's, and whatever
        `map_network` raises.
        """
        structure = network.described().fingerprint
        if self._given is None and structure not in self._made:
            self._made[structure] = map_network(network, self._chip)
        found = self._made[structure] if self._given is None else self._given
        found.check(network)
        return found

    def deployed(self, network: AnyNetwork) -> AnyNetwork:
        """Return the network that will run: another one where a fan-in was divided. Raises as `mapping`."""
        return self.mapping(network).apply(network)

    def open(self, network: Graph) -> ChipSession:
        """Return a session for the network. Raises as `mapping`."""
        return ChipSession(network, self.mapping(network), fast=self._fast)


class ChipSession(LocalSession):
    """Relaxes and learns with one network on one chip.

    After a run core by core, `counts` has the events of every step, for one sample, and `learned` the synapses and biases
    that changed on each core in the last learning phase. After a relaxation, `packets` has those of every step, also the ones
    that a core sends to itself.

    Integers that are sent by a coding go through micro-steps: `counts` and `packets` are then those of every micro-step, and
    counts those of all samples of the relaxation, or of the last epoch, together.
    """

    def __init__(self, network: Graph, mapping: Placed, *, fast: bool) -> None:
        self._network, self._mapping, self._fast = network, mapping, fast
        self._running = mapping.apply(network)
        self.counts: list[StepCounts] = []
        self.packets: list[tuple[Delivery, ...]] = []
        self.learned: Array = np.zeros(len(mapping.cores), np.int64)

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened, with its cost. Raises SessionClosedError."""
        self._check(order)
        order = replace(order, feedback=self._mapping.division.apply_feedback(self._running, order.feedback))
        trace = self._relax_layers(order) if self._fast else self._relax_cores(order)
        restore = self._mapping.division.restore
        return replace(trace, backend="chip", gradients=restore(trace.gradients), restore=restore)

    def _relax_layers(self, order: Relaxation) -> Trace:
        with Reference().open(cast(Network, self._running)) as session:  # it takes integers too
            trace = session.relax(order)
        return replace(trace, pricing=lambda: self._price(order, self._scheduled(order.schedule, order.steps)))

    def _relax_cores(self, order: Relaxation) -> Trace:
        net, steps, batch = self._running, order.steps, len(order.inputs)
        machine = self._machine(order, order.initial, batch)
        machine.clamp(order.inputs, order.targets)
        counts: list[StepCounts] = []
        packets: list[tuple[Delivery, ...]] = []
        rows: list[_States] = [(order.initial.potentials, order.initial.sensitivities)]
        for t in range(1, steps + 1):
            counts += machine.step(*self._mapping.counter.signals(order.schedule, t), order.alpha)
            packets += machine.delivered
            rows = [*rows, machine.states()] if order.by_step else [machine.states()]
        self.counts, self.packets = counts, packets
        found = [{n: np.stack([row[kind][n] for row in rows]) for n in rows[0][kind]} for kind in (0, 1)]
        parts = (order.schedule.kind, order.alpha, steps, order.inputs, order.targets, found[0], found[1], machine.gradients())

        def ledger() -> messages.MessageLedger:
            found = messages.expected(net, order.schedule, steps, batch, by_step=order.by_step, window=steps, learning=False)
            return machine.counted(found)

        return Trace(net, "chip", *parts, ledger, lambda: self._price(order, counts), saturations=machine.saturations())

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn in the cores. Raises SessionClosedError, and OptionError if the mapping has no room for learning."""
        self._check(order)
        if not self._mapping.learning:
            raise OptionError("mapping", "has no room for learning", "map_network(..., learning=True)")
        schedule = Schedule.of(self._running, order.schedule.kind)
        feedback = self._mapping.division.apply_feedback(self._running, order.feedback)
        running = replace(order, schedule=schedule, feedback=feedback)
        return self._learn_layers(running, on_window) if self._fast else self._learn_cores(running, on_window)

    def _learn_layers(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        with Reference().open(cast(Network, self._running)) as session:  # it takes integers too
            for epoch in session.learn(order, on_window):
                self.check_open()
                yield self._restored(epoch, order, list(self._scheduled(order.schedule, order.window)))

    def _learn_cores(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        net, mapping, window, batch = self._running, self._mapping, order.window, order.order.shape[2]
        machine = self._machine(order, State.zero(net, batch), batch)
        for windows in order.order:
            self.check_open()
            losses, correct, self.counts = [], 0, []
            for samples in windows:
                x, y = order.inputs[samples], order.targets[samples]
                machine.clamp(x, y)
                counts: list[StepCounts] = []
                for t in range(1, window + 1):
                    if t == window:
                        readout = machine.states()[0][net.output]
                    counts += machine.step(*mapping.counter.signals(order.schedule, t), order.alpha)
                self._add(counts)
                self.learned = machine.learn(order.learning_rate, order.weight_decay)
                losses.append(float(net.cost.value(readout, y).mean()))
                correct += int((readout.argmax(axis=1) == y.argmax(axis=1)).sum())
                on_window(losses[-1])
            steps = window * len(windows)
            ledger = messages.expected(net, order.schedule, steps, batch, by_step=False, window=window, learning=True)
            epoch = Epoch(
                machine.parameters(),
                machine.feedback(),
                np.array(losses),
                correct,
                machine.counted(ledger),
                saturations=machine.saturations(),
            )
            machine.forget()
            yield self._restored(epoch, order, self.counts[: window * order.coding.micro_steps])

    def stream(self, inputs: Array, targets: Array) -> Stream:
        """Send the samples through, a new one every step, core by core. Raises OptionError and SessionClosedError.

        `inputs` is (samples, n_input), `targets` (samples, n_output) rows. The mapping must have room for the lines.
        """
        self.check_open()
        mapping, division = self._mapping, self._mapping.division
        if not (mapping.pipeline and mapping.learning):
            fix = "map_network(..., pipeline=True), with learning"
            raise OptionError("mapping", "has no room for the lines and sums of a pipeline", fix)
        machine = Pipeline(mapping, self._running)
        self.counts, potentials = machine.run(inputs, targets)
        gradients, feedback = machine.summed(len(inputs))
        cost = price(mapping, self.counts, samples=len(inputs), learning=True, pipelined=True)
        restored = (division.restore(gradients), division.restore_feedback(feedback))
        return Stream(self._network, "chip", len(self.counts), targets, potentials, *restored, cost)

    def _restored(self, epoch: Epoch, order: Learning, counts: list[StepCounts]) -> Epoch:
        """Return the epoch by the keys of the user's network, with its cost."""
        division, samples = self._mapping.division, order.order[0].size
        cost = price(
            self._mapping,
            counts,
            samples=samples,
            learning=True,
            batch=order.order.shape[2],
            network=self._running,
            coding=order.coding,
        )
        parameters, feedback = division.restore(epoch.parameters), division.restore_feedback(epoch.feedback)
        return replace(epoch, parameters=parameters, feedback=feedback, cost=cost)

    def _check(self, order: Relaxation | Learning) -> None:
        """Raise SessionClosedError, and OptionError for messages that nobody can count without cores."""
        self.check_open()
        if self._fast and order.coding.name != "graded":
            problem = f"counts messages by the schedule, and with the coding {order.coding.name!r} they hang on the data"
            raise OptionError("fast", problem, "use fast=False, or the coding 'graded'")

    def _machine(self, order: Relaxation | Learning, initial: State, batch: int) -> Machine:
        """Return the chip with the network on it."""
        network = self._running
        if isinstance(network, FixedNetwork) and order.coding.name != "graded":
            return CodedMachine(self._mapping, network, order.feedback, initial, batch, order.coding)
        return Machine(self._mapping, network, order.feedback, initial, batch)

    def _add(self, counts: list[StepCounts]) -> None:
        """Take in the counts of a window: one after the other, or where they are of many samples summed up over windows."""
        if self.counts and counts[0].busy_s is not None:
            self.counts = [one + other for one, other in zip(self.counts, counts, strict=True)]
        else:
            self.counts += counts

    def _scheduled(self, schedule: Schedule, steps: int) -> Iterator[StepCounts]:
        return (self._mapping.counter.scheduled(schedule, t) for t in range(1, steps + 1))

    def _price(self, order: Relaxation, counts: Iterator[StepCounts] | list[StepCounts]) -> Cost:
        samples = len(order.inputs)
        return price(self._mapping, counts, samples=samples, learning=False, network=self._running, coding=order.coding)
