"""The reference backend: the unit step in NumPy, each population updated only when its schedule says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation
from dyadic_neuro.dynamics import State, bias_gradient, bias_update, potential_update, sensitivity_update, weight_update
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.trace import Trace


class Reference:
    """The backend that the others are compared with: one process, NumPy, the fastest of them."""

    name = "reference"
    alpha = 1.0
    tolerance = 0.0
    unsupported: Mapping[str, str] = {}

    def missing(self) -> str | None:
        """Return None: it needs nothing but NumPy."""
        return None

    def open(self, network: Network) -> ReferenceSession:
        """Return a session for the network."""
        _keep_freed_memory()
        return ReferenceSession(network)


@cache
def _keep_freed_memory() -> None:
    """Teach glibc to keep what a relaxation frees for the next one, instead of faulting the same pages in again.

    It keeps twice the largest block that was ever freed (up to 32 MB), and starts with very little. The block is never
    touched, so this costs no memory; other allocators do not care.
    """
    np.empty(30 * 2**20, np.uint8)


class ReferenceSession(LocalSession):
    """Relaxes and learns with one network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SessionClosedError."""
        self.check_open()
        network, steps = self._network, order.steps
        circuit = _Circuit(network, order.schedule, order.alpha, order.initial, order.feedback)
        rows = _Rows(circuit, steps) if order.by_step else None
        for t in range(1, steps + 1):
            circuit.step(t, order.inputs, order.targets)
            if rows is not None:
                rows.note(circuit, t)
        return Trace(
            network,
            "reference",
            order.schedule.kind,
            order.alpha,
            steps,
            order.inputs,
            order.targets,
            rows.potentials if rows else {name: u[None] for name, u in circuit.potentials.items()},
            rows.sensitivities if rows else {name: s[None] for name, s in circuit.sensitivities.items()},
            circuit.gradients(),
            lambda: messages.expected(
                network, order.schedule, steps, len(order.inputs), by_step=order.by_step, window=steps, learning=False
            ),
        )

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn epoch by epoch, both copies of every weight by their own local updates. Raises SessionClosedError."""
        network, window, batch = self._network, self._network.relaxation_steps, order.order.shape[2]
        circuit = _Circuit(network, order.schedule, 1.0, State.zero(network, batch), order.feedback)
        for windows in order.order:
            self.check_open()
            losses, correct = [], 0
            for samples in windows:
                x, y = order.inputs[samples], order.targets[samples]
                for t in range(1, window + 1):
                    circuit.step(t, x, y)
                circuit.learn(order.learning_rate)
                readout = circuit.before[network.output]
                losses.append(float(network.cost.value(readout, y).mean()))
                correct += int((readout.argmax(axis=1) == y.argmax(axis=1)).sum())
                on_window(losses[-1])
            ledger = messages.expected(
                network, order.schedule, window * len(windows), batch, by_step=False, window=window, learning=True
            )
            yield Epoch(
                circuit.parameters(),
                {n: np.array(c.weights) for n, c in circuit.feedback.items()},
                np.array(losses),
                correct,
                ledger,
            )


class _Circuit:
    """The state and the copies of the weights, stepped together.

    The same composition of local rules as `dynamics.step`, its slow twin; it differs in what it does not do: silent
    populations cost nothing, and a rate is computed once per update of its potential.
    """

    def __init__(
        self, network: Network, schedule: Schedule, alpha: float, initial: State, feedback: Mapping[str, Projection]
    ) -> None:
        self._network, self._schedule, self._alpha = network, schedule, alpha
        self.potentials, self.sensitivities = dict(initial.potentials), dict(initial.sensitivities)
        self.forward = {p.name: p for p in network.projections}
        self.feedback = dict(feedback)
        self.biases = {p.name: np.asarray(p.bias) for p in network.dynamic if p.bias is not None}
        self.before = self.potentials  # at the start of the last step
        self._sent = self.sensitivities  # in the last step
        self._arrived: dict[str, Array] = {}  # rates in the last step, as far as somebody asked for them
        self._held: dict[str, Array] = {}  # rates that are known already for the step to come

    def step(self, t: int, inputs: Array, targets: Array) -> None:
        """Take the state from t - 1 to t."""
        network, forward = self._network, self.forward
        self.before, self._sent = self.potentials, self.sensitivities
        self._arrived = self._held
        self._arrived[network.input] = inputs
        changed, sensed = self._schedule.active(t)
        if changed:
            self.potentials = dict(self.before)
            for name in changed:
                arrivals = [(forward[p.name], self._rate(p.source)) for p in network.incoming[name]]
                self.potentials[name] = potential_update(arrivals, self.biases.get(name), self.before[name], self._alpha)
        if sensed:
            self.sensitivities = dict(self._sent)
            for name in sensed:
                self.sensitivities[name] = self._sensitivity(name, targets)
        self._held = {name: rate for name, rate in self._arrived.items() if name not in changed}

    def _rate(self, name: str) -> Array:
        """Return the rate that a population showed in the last step, computing it once per update of its potential."""
        rate = self._arrived.get(name)
        if rate is None:
            rate = self._arrived[name] = self._network.activations[name].rate(self.before[name])
        return rate

    def _sensitivity(self, name: str, targets: Array) -> Array:
        network, u = self._network, self.before[name]
        arrivals = [(self.feedback[p.name], self._sent[p.target]) for p in network.outgoing[name]]
        derivative = network.activations[name].derivative(u, self._rate(name)) if arrivals else None
        error = network.cost.gradient(u, targets) if name == network.output else None
        return sensitivity_update(arrivals, derivative, error, self._sent[name], self._alpha)

    def gradients(self) -> dict[str, Array]:
        """Return what every plastic parameter reads at the end of the last step."""
        found = {n: p.outer(self.sensitivities[p.target], self._rate(p.source)) for n, p in self.forward.items() if p.plastic}
        return found | {f"{n}.bias": bias_gradient(self.sensitivities[n]) for n in self.biases}

    def learn(self, rate: float) -> None:
        """Update both copies of every plastic weight, and the biases, from what each has at the end of the last step."""
        for name, copy in self.forward.items():
            if copy.plastic:
                arrived = self._rate(copy.source)
                self.forward[name] = weight_update(copy, self.sensitivities[copy.target], arrived, rate)
                if name in self.feedback:  # its own rate, and the sensitivity that arrived
                    self.feedback[name] = weight_update(self.feedback[name], arrived, self._sent[copy.target], rate)
        self.biases = {name: bias_update(bias, self.sensitivities[name], rate) for name, bias in self.biases.items()}

    def parameters(self) -> dict[str, Array]:
        """Return private copies of all parameters, as the forward populations hold them."""
        return {n: np.array(p.weights) for n, p in self.forward.items()} | {
            f"{n}.bias": np.array(b) for n, b in self.biases.items()
        }


class _Rows:
    """The recorded states, name -> (steps + 1, batch, n)."""

    def __init__(self, circuit: _Circuit, steps: int) -> None:
        self.potentials = {name: np.empty((steps + 1, *u.shape), u.dtype) for name, u in circuit.potentials.items()}
        self.sensitivities = {name: np.empty_like(rows) for name, rows in self.potentials.items()}
        self.note(circuit, 0)

    def note(self, circuit: _Circuit, row: int) -> None:
        for rows, state in ((self.potentials, circuit.potentials), (self.sensitivities, circuit.sensitivities)):
            for name, values in state.items():
                rows[name][row] = values
