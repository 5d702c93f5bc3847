"""A session: each order becomes a Nengo model, which is built, run and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation
from dyadic_neuro.backends.nengo.ledger import links
from dyadic_neuro.backends.nengo.model import assembled, undisturbed
from dyadic_neuro.backends.nengo.synapses import Lesson
from dyadic_neuro.backends.nengo.units import Presenter, Unit
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import DivergedError, SimulatorError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.trace import Trace

_STRETCH = 256  # Nengo steps after which probes forget, where only the last step is wanted


class NengoSession(LocalSession):
    """Relaxes and learns with one network. A circuit has one state: samples are presented to it one after the other.

    A sample of a relaxation takes one Nengo step more than its unit steps, in which its last state is seen and the next
    sample's initial state taken on. In learning nothing is reset, and a window takes as many Nengo steps as unit steps.

    With `tau` (s) each hop is a lowpass, without one it takes the steps of the order's alpha. `dt` is a Nengo step, in seconds.

    A ledger counts the values that the circuit's connections pass when the schedule has made them new: Nengo passes every value
    in every step, and under the wavefront schedule all but one of a window are old ones, which are not counted.
    """

    def __init__(self, network: Network, name: str, runs_on: str, dt: float, tau: float | None) -> None:
        self._network, self._name, self._runs_on, self._dt, self._tau = network, name, runs_on, dt, tau
        self._running = ExitStack()

    def close(self) -> None:
        """Close the simulator that is running, if any; closing twice is fine."""
        self._running.close()
        super().close()

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SessionClosedError and SimulatorError."""
        self.check_open()
        network, steps, batch = self._network, order.steps, len(order.inputs)
        period = steps + 1
        probed = [(p.name, half) for p in network.dynamic for half in ("potential", "sensitivity")]
        rows = {
            (name, half): np.empty((period if order.by_step else 1, batch, network.population(name).size), network.dtype)
            for name, half in probed
        }
        with self._simulator(order, np.arange(batch), Lesson(period), order.initial, probed) as (sim, net, probes):
            _run(sim, 1, forget=True)
            for sample in range(batch):
                _run(sim, period - 1, forget=not order.by_step)
                _run(sim, 1)
                for key, probe in probes.items():
                    rows[key][:, sample] = sim.data[probe]
                sim.clear_probes()
            gradients = {name: node.output.running.gradient() for name, node in net.weights.items()}
            gradients |= {f"{name}.bias": node.output.running.gradient() for name, node in net.biases.items()}
            passing = links(network, net, learning=False)
        return Trace(
            network,
            self._name,
            order.schedule.kind,
            order.alpha,
            steps,
            order.inputs,
            order.targets,
            {name: values for (name, half), values in rows.items() if half == "potential"},
            {name: values for (name, half), values in rows.items() if half == "sensitivity"},
            gradients,
            lambda: messages.scheduled(passing, order.schedule, steps, batch, by_step=order.by_step, window=steps),
            runs_on=self._runs_on,
            dt_over_tau=None if self._tau is None else self._dt / self._tau,
        )

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn in the circuit. Raises SessionClosedError, DivergedError and SimulatorError."""
        self.check_open()
        network, window, (_, windows, batch) = self._network, order.window, order.order.shape
        lesson = Lesson(window, batch, order.learning_rate, order.weight_decay)
        shown = [(network.output, "potential")]
        with self._simulator(order, order.order.ravel(), lesson, None, shown) as (sim, net, probes):
            (probe,) = probes.values()
            passing = links(network, net, learning=True)
            _run(sim, 1)  # what the last step of a window leaves is seen in the first of the next
            for chosen in order.order:
                losses, correct = [], 0
                for samples in chosen:
                    self.check_open()
                    before = sim.data[probe][-1:]
                    sim.clear_probes()
                    _run(sim, batch * window, learning=order.learning_rate)
                    readout = np.concatenate([before, sim.data[probe]])[window - 1 : -1 : window]
                    y = order.targets[samples]
                    losses.append(float(network.cost.value(readout, y).mean()))
                    correct += int((readout.argmax(axis=1) == y.argmax(axis=1)).sum())
                    on_window(losses[-1])
                ledger = messages.scheduled(passing, order.schedule, window * windows, batch, by_step=False, window=window)
                learned = {name: node.output.weights for name, node in net.weights.items()}
                learned |= {f"{name}.bias": node.output.weights for name, node in net.biases.items()}
                feedback = {n: np.array(copy.weights) for n, copy in order.feedback.items()}
                feedback |= {name: node.output.weights for name, node in net.feedback.items()}
                yield Epoch({**network.parameters, **learned}, feedback, np.array(losses), correct, ledger)

    @contextmanager
    def _simulator(
        self,
        order: Relaxation | Learning,
        samples: Array,
        lesson: Lesson,
        initial: State | None,
        probed: list[tuple[str, str]],
    ) -> Iterator[tuple[Any, Any, dict[tuple[str, str], Any]]]:
        """Open a simulator of the circuit with its data: (simulator, circuit, probes by population and half)."""
        import nengo

        from dyadic_neuro.backends.nengo.objects import Hop, Restarted, Stepped

        network = self._network
        halves: Mapping[str, Mapping[str, Array]] = {}
        if initial is not None:
            halves = {"potential": initial.potentials, "sensitivity": initial.sensitivities}

        def hop(p: Population, half: str) -> Any:  # noqa: ANN401  (a synapse)
            start = halves[half][p.name] if halves else None
            if self._tau is not None:
                return nengo.Lowpass(self._tau) if start is None else Restarted(self._tau, lesson.period, start)
            timings = order.schedule.potentials if half == "potential" else order.schedule.sensitivities
            return Hop(lambda: Unit(order.alpha, timings[p.name], lesson.period, start))

        def data(rows: Array) -> Stepped:
            return Stepped(lambda: Presenter(rows, samples, lesson.period), 0, rows.shape[1])

        with undisturbed(np.dtype(network.dtype)), nengo.Network(seed=0) as model:
            net = assembled(network, hop, order.feedback, lesson)
            for rows, node in ((order.inputs, net.input), (order.targets, net.target)):
                nengo.Connection(nengo.Node(data(rows)), node, synapse=None)
            probes = {(name, half): nengo.Probe(getattr(net.populations[name], half)) for name, half in probed}
            built = nengo.builder.Model(self._dt, decoder_cache=nengo.cache.NoDecoderCache())  # there are no decoders
            simulator = nengo.Simulator(model, self._dt, model=built, progress_bar=False, optimize=False)
        with ExitStack() as running:
            self._running = running
            yield running.enter_context(simulator), net, probes


def _run(sim: Any, steps: int, *, forget: bool = False, learning: float | None = None) -> None:  # noqa: ANN401
    """Take Nengo steps, in stretches after which probes `forget` if told so. Raises SimulatorError, or DivergedError."""
    from nengo.exceptions import SimulationError

    try:
        with np.errstate(over="ignore"):  # in the exponential of Nengo's sigmoid, which is right all the same
            while steps > 0:
                sim.run_steps(min(steps, _STRETCH) if forget else steps)
                steps -= _STRETCH if forget else steps
                if forget:
                    sim.clear_probes()
    except (FloatingPointError, SimulationError) as error:
        if learning is not None:
            problem = f"{learning} led to infinite or undefined weights ({error})"
            raise DivergedError("learning_rate", problem, "use a smaller one") from error
        raise SimulatorError("nengo", f"left the finite numbers ({error})", "use smaller inputs or weights") from error
