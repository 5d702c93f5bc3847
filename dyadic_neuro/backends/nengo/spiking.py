"""`Spiking`: options of a circuit of spiking neurons, and the session that presents samples to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation, version_of
from dyadic_neuro.backends.nengo import nef
from dyadic_neuro.backends.nengo.calibration import Batch, Range, check_batch, ranges
from dyadic_neuro.backends.nengo.stage import Clock, Stage, arrays
from dyadic_neuro.errors import OptionError, SimulatorError
from dyadic_neuro.messages import Link, MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.spikes import Spikes
from dyadic_neuro.trace import Trace

_MANY = 200
_FROZEN = "decoders are fitted once, for the ranges of the weights at the start: weights do not change in the circuit"
_EXACT = (
    "trajectory",
    "slow-steps",
    "exact-at-2D",
    "arrival",
    "any-initial-state",
    "other-copies",
    "cycles",
    "activations",
    "single-precision",
)


def unsupported(rough: str) -> dict[str, str]:
    """Return the conformance cases that neurons cannot keep, with the reason: `rough` for those that ask for exact values."""
    return dict.fromkeys(_EXACT, rough) | {
        "wavefront": "a wavefront updates each state once a window, which leaves a lowpass on its way",
        "ledger": "messages are spikes, as many as the neurons fire: no schedule implies them",
        "learning": _FROZEN,
        "transposes": _FROZEN,
    }


Fired = Mapping[tuple[str, str], tuple[Array, Array | None]]
"""By population and kind, how many fired in each step (steps,), and if kept which neurons (events,), in order of steps."""


@dataclass(frozen=True)
class Spiking:
    """A circuit of spiking neurons in Nengo's own simulator: `spiking_circuit` has what it is made of.

    - `neurons_per_dimension` represent one scalar; `neuron_type` is "LIF", "LIFRate" (the same without spikes), "AdaptiveLIF", or
      an object of Nengo, `seed` draws their largest rates.
    - `tau` is the time constant of every hop and `dt` a step, both in seconds: alpha = 1 - exp(-dt / tau). The short `tau` of
      0.02 s settles five times as fast as 0.1 s and was measured to be as exact: the error is that of the decoders.
    - `average` are the last seconds of a sample over which each synapse averages both its factors, whose product it reads.
    - `calibration` is a pair (inputs, targets) from whose settled states, by the reference dynamics, every population's ranges
      are taken; None takes the very batch that is relaxed. What leaves its range saturates.

    Samples are presented one after the other, each from the initial state that is asked for; neurons start from random
    voltages. A run of float32 is computed in float64. Potentials and sensitivities of a trace are the filtered ones, which still
    carry spike noise, and so does its loss; its gradients are averages, and not those of `gradients_at`. A message is a spike,
    counted once for each projection that carries it (with LIFRate it is a rate); the clamped input and the loss send a number a
    step. `trace.spikes` holds all spikes of a run with record="all": of kind "rate" those of the ensembles that represent a
    potential, of kind "sensitivity" those of its gate. Weights do not learn.

    The error falls a little faster than 1 / `neurons_per_dimension` (`studies.spiking.trend` measures it: 0.3 % with 200 on an
    8-16-16-4 tanh network); where phi' jumps, as relu's does, it is some times as large. AdaptiveLIF adapts for longer than a
    sample lasts, and keeps an error of about a tenth.

    Raises OptionError and UnknownNameError.
    """

    neurons_per_dimension: int = 200
    neuron_type: Any = "LIF"
    seed: int = 0
    tau: float = 0.02
    dt: float = 0.001
    average: float = 0.2
    calibration: Any = None

    tolerance = 0.1  # what spikes leave on a filtered potential of about 1
    unsupported = unsupported("values are decoded from finitely many neurons, and settle as a lowpass does")

    def __post_init__(self) -> None:
        nef.check_neurons(self.neurons_per_dimension)
        nef.check_neuron_type(self.neuron_type)
        nef.check_seed(self.seed)
        self.clock  # noqa: B018  (raises)

    @property
    def cosine(self) -> float:
        """The least cosine between gradients and backpropagation's: 0.999 from 200 neurons a dimension on, else 0.97."""
        many = self.neurons_per_dimension >= _MANY and self.neuron_type in ("LIF", "LIFRate")
        return 0.999 if many else 0.97

    @property
    def clock(self) -> Clock:
        """The times of the circuit. Raises OptionError."""
        return Clock(self.tau, self.dt, self.average)

    @property
    def alpha(self) -> float:
        """1 - exp(-dt / tau)."""
        return self.clock.alpha

    @property
    def dt_over_tau(self) -> float:
        """The time of a step, in units of tau."""
        return self.clock.dt_over_tau

    def settling_steps(self, network: Network, alpha: float, tolerance: float, *, switched: bool) -> int:
        """Return the steps of `Clock.settling_steps`. Raises CycleError."""
        return self.clock.settling_steps(network, alpha, tolerance, switched=switched)

    def open(self, network: Network) -> SpikingSession:
        """Return a session. Raises OptionError and DataError for a calibration that does not fit the network."""
        tuning = nef.Tuning(int(self.neurons_per_dimension), self.neuron_type)
        batch = None if self.calibration is None else check_batch(network, self.calibration)
        ran = f"Nengo {version_of('nengo')}, its own simulator on the CPU"
        return SpikingSession(network, "nengo-spiking", ran, tuning, self.clock, int(self.seed), batch, NengoMachine)


class Machine(Protocol):
    """A simulator that holds a stage.

    `spiking`: what is fired are spikes. `note` says what ran where, and `elapsed` how many steps so far.
    """

    spiking: bool
    note: str
    elapsed: int

    def restart(self) -> None:
        """Put neurons and filters to rest, where that can be."""

    def run(self, steps: int, *, keep: bool) -> Fired:
        """Run the steps, and the one that shows the state after the last; return what was fired in the steps."""

    def close(self) -> None:
        """Give the simulator back."""


class NengoMachine:
    """Nengo's own simulator."""

    note = ""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        import nengo
        from nengo.builder import Model
        from nengo.cache import NoDecoderCache

        model = Model(dt=clock.dt, label="presentation", decoder_cache=NoDecoderCache())  # no files in the user's folders
        try:
            self._simulator = nengo.Simulator(stage.model, model=model, progress_bar=False)
        except nengo.exceptions.NengoException as error:
            raise SimulatorError("nengo", f"cannot build the circuit ({error})", "check the neuron type, or use 'LIF'") from error
        signals = self._simulator.signals
        self._watched = {
            key: [signals[model.sig[ensemble.neurons]["out"]] for ensemble in ensembles]
            for key, ensembles in arrays(stage.circuit)
        }
        self.spiking = all(ensemble.neuron_type.spiking for ensemble in stage.model.all_ensembles)
        self.elapsed = 0

    def restart(self) -> None:
        """Put neurons and filters to rest, as `Machine` has it."""
        self._simulator.reset()
        self.elapsed = 0

    def run(self, steps: int, *, keep: bool) -> Fired:
        """Run the steps, as `Machine` has it. Raises SimulatorError."""
        import nengo

        counts = {key: np.zeros(steps, np.int64) for key in self._watched}
        fired: dict[tuple[str, str], list[Array]] = {key: [] for key in self._watched}
        try:
            for step in range(steps + 1):
                self._simulator.step()
                for key, outputs in self._watched.items() if step < steps else ():
                    neurons = np.flatnonzero(np.concatenate(outputs))
                    counts[key][step] = len(neurons)
                    if keep:
                        fired[key].append(neurons.astype(np.int32))
        except (nengo.exceptions.NengoException, ArithmeticError) as error:
            raise SimulatorError("nengo", f"failed ({error})", "check the neuron type and the ranges of calibration") from error
        self.elapsed += steps + 1
        return {key: (counts[key], np.concatenate(found) if keep else None) for key, found in fired.items()}

    def close(self) -> None:
        """Give the simulator back."""
        self._simulator.close()


class SpikingSession(LocalSession):
    """Relaxes with one network. A circuit is built for the ranges of a batch, and serves as long as they stay the same.

    A machine that does not reset (`resets`) starts each sample where the one before ended, and so is built for each batch.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        ran: str,
        tuning: nef.Tuning,
        clock: Clock,
        seed: int,
        calibration: Batch | None,
        machine: Callable[[Stage, Clock], Machine],
        *,
        resets: bool = True,
    ) -> None:
        self._network, self._name, self._ran, self._tuning, self._clock = network, name, ran, tuning, clock
        self._seed, self._calibration, self._machine, self._resets = seed, calibration, machine, resets
        self._built: tuple[object, Stage, Machine] | None = None

    def relax(self, order: Relaxation) -> Trace:
        """Run the circuit and return what happened. Raises SessionClosedError, OptionError, CapacityError and SimulatorError."""
        self.check_open()
        network, steps, batch = self._network, order.steps, len(order.inputs)
        window = min(self._clock.window, steps)
        stage, machine = self._circuit(order)
        dtype = np.dtype(network.dtype)
        rows: dict[str, list[Array]] = {p.name: [] for p in network.dynamic}
        sums = {key: np.zeros(network.parameters[key].shape) for key in network.plastic}
        fired: list[Fired] = []
        for i in range(batch):
            machine.restart()
            sample = {"input": order.inputs[i].astype(float), "target": order.targets[i].astype(float)}
            start = {
                name: np.concatenate([u[i], order.initial.sensitivities[name][i]]).astype(float)
                for name, u in order.initial.potentials.items()
            }
            stage.present(sample | start, steps=steps, window=window, before=machine.elapsed, by_step=order.by_step)
            fired.append(machine.run(steps, keep=order.by_step))
            for name, found in stage.rows.items():
                if order.by_step and self._resets:
                    found[0] = start[name]
                rows[name].append(found)
            for key, factors in stage.factors.items():
                sums[key] += factors.read()
        states = {name: np.stack(found, axis=1).astype(dtype) for name, found in rows.items()}
        halves = [{name: np.ascontiguousarray(part) for name, part in half.items()} for half in _halves(states)]
        spiking, by_step = machine.spiking, order.by_step
        gated = {name for name, part in stage.circuit.populations.items() if part.slope is not None}

        def ledger() -> MessageLedger:
            return _ledger(network, fired, gated, steps, window, by_step=by_step, spiking=spiking)

        def firing() -> Spikes:
            events = [
                (name, kind, np.full(len(neurons), i), np.repeat(np.arange(1, steps + 1), counts), neurons)
                for i, found in enumerate(fired)
                for (name, kind), (counts, neurons) in found.items()
                if neurons is not None
            ]
            return Spikes.of(events, batch=batch, steps=steps, dt_ms=1e3 * self._clock.dt)

        return Trace(
            network,
            self._name,
            order.schedule.kind,
            order.alpha,
            steps,
            order.inputs,
            order.targets,
            halves[0],
            halves[1],
            {key: (total / batch).astype(dtype) for key, total in sums.items()},
            ledger,
            firing=firing if spiking and by_step else None,
            runs_on=self._ran + machine.note,
            dt_over_tau=self._clock.dt_over_tau,
        )

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:  # noqa: ARG002
        """Raise OptionError: weights do not change in this circuit."""
        self.check_open()
        raise OptionError(
            "backend", f"{self._name!r} does not learn: {_FROZEN}", "train with backends.Nengo(), and relax with this"
        )

    def close(self) -> None:
        """Give the simulator back; closing twice is fine."""
        super().close()
        if self._built is not None:
            self._built[2].close()
            self._built = None

    def _circuit(self, order: Relaxation) -> tuple[Stage, Machine]:
        """Return a circuit for this order, the last one if it fits."""
        kicked = any(values.any() for part in vars(order.initial).values() for values in part.values())
        if kicked and not self._resets:
            problem = f"{self._name!r} starts at rest, and each sample where the one before ended"
            raise OptionError("initial", problem, "leave it out, or use backends.Nengo('spiking')")
        batch = (order.inputs, order.targets) if self._calibration is None else self._calibration
        found = ranges(self._network, batch, order.feedback, steps=order.steps, alpha=order.alpha)
        key = (found, kicked, {name: copy.weights.tobytes() for name, copy in order.feedback.items()})
        if self._built is None or self._built[0] != key or not self._resets:
            if self._built is not None:
                self._built[2].close()
                self._built = None
            stage = Stage(self._network, lambda: self._model(found, order.feedback), self._clock, kicked=kicked)
            self._built = (key, stage, self._machine(stage, self._clock))
        return self._built[1:]

    def _model(self, found: Mapping[str, Range], feedback: Mapping[str, Projection]) -> Any:  # noqa: ANN401
        return nef.build(self._network, found, feedback, self._tuning, tau=self._clock.tau, seed=self._seed)


def _halves(states: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return potentials and sensitivities of rows that hold both."""
    both = {name: np.split(rows, 2, axis=2) for name, rows in states.items()}
    return {name: parts[0] for name, parts in both.items()}, {name: parts[1] for name, parts in both.items()}


def _ledger(
    network: Network, fired: list[Fired], gated: set[str], steps: int, window: int, *, by_step: bool, spiking: bool
) -> MessageLedger:
    """Return the ledger of what was fired by each sample.

    A rate goes along its projections and, decoded as phi'(u), to its population's own gate, if that is one of `gated`; what a
    gate fires goes back along projections, and in the window to the population's synapses. The input, and the loss, show a number
    a neuron a step.
    """
    counts = {key: np.sum([found[key][0] for found in fired], axis=0) for key in fired[0]}
    links, columns = [], []
    for link in messages.links(network, learning=False):
        analog = link.kind in ("potential", "error") or link.source == network.input
        if analog:
            column = np.full(steps, network.population(link.source).size * len(fired))
        else:
            column = counts[link.source, "rate" if link.kind == "derivative" else link.kind].copy()
        if link.kind == "derivative" and link.source not in gated:
            column[:] = 0
        if link.local and link.kind == "sensitivity":
            column[: steps - window] = 0
        bits = link.bits if analog or not spiking else 1
        links.append(Link(link.source, link.target, link.kind, link.local, bits))
        columns.append(column)
    table = np.stack(columns, axis=1).astype(np.int64)
    return MessageLedger(tuple(links), table if by_step else table.sum(axis=0, keepdims=True), by_step)
