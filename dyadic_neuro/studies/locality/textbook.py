"""Textbook backpropagation as a backend, for contrast: whole sweeps in a step, and a global switch between two phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation
from dyadic_neuro.dynamics import State, bias_update, gradients, potential_update, rates, sensitivity_update, weight_update
from dyadic_neuro.errors import CycleError, OptionError
from dyadic_neuro.messages import Link, MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.trace import Trace

_RUNS_ON = f"textbook backpropagation, NumPy {np.__version__} in this process, on the CPU"
_SWEEPS = "a signal crosses the whole network in one step, not one hop"
_UNSUPPORTED = {
    "trajectory": _SWEEPS,
    "slow-steps": "a sweep has no dt and no tau",
    "arrival": _SWEEPS,
    "any-initial-state": f"gradients are exact, but states follow no unit steps: {_SWEEPS}",
    "not-before-2D": "every gradient is exact from step 2 on",
    "wavefront": "it has the two phases of its own instead of a schedule",
    "other-copies": "it has no W^T copies: the backward sweep reads the forward weights",
    "cycles": "a sweep needs an order of the populations",
    "ledger": "each phase sends one kind of messages only",
}


class Textbook:
    """Backpropagation as it is taught, in the clothes of a schedule: no backend of this project, but its opposite.

    In odd steps the forward phase sweeps all potentials, layer after layer, while the sensitivities are held; in even steps the
    backward phase sweeps all sensitivities through the transposes of the same weights, while the potentials are held. So
    gradients are exact from step 2 on, whatever the depth, and credit assignment is not local: a step crosses the whole
    network, a global switch tells the phase, and the W^T copies that an order brings are ignored, because weights are
    transported.

    Sessions raise OptionError for another schedule than "free", and for an alpha that is not 1.
    """

    name = "textbook"
    alpha = 1.0
    tolerance = 1e-12
    unsupported: Mapping[str, str] = _UNSUPPORTED
    runs_on = _RUNS_ON

    def missing(self) -> str | None:
        """Return None: it needs nothing but NumPy."""
        return None

    def open(self, network: Network) -> TextbookSession:
        """Return a session for the network. Raises CycleError for one with a cycle."""
        if network.cycle:
            problem = f"has the cycle {' -> '.join(network.cycle)}, so no order of layers to sweep"
            raise CycleError("network", problem, 'remove a projection, or use the backend "reference"')
        return TextbookSession(network)


class TextbookSession(LocalSession):
    """Relaxes and learns with one network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def relax(self, order: Relaxation) -> Trace:
        """Sweep forward and backward in turn and return what happened. Raises SessionClosedError and OptionError."""
        self._check(order)
        network, steps, batch = self._network, order.steps, len(order.inputs)
        states = [order.initial]
        for t in range(1, steps + 1):
            states = [*(states if order.by_step else states[-1:]), _step(network, states[-1], order.inputs, order.targets, t)]
        last, before = states[-1], states[-2]
        kept = states if order.by_step else states[-1:]
        names = [p.name for p in network.dynamic]
        return Trace(
            network,
            Textbook.name,
            order.schedule.kind,
            order.alpha,
            steps,
            order.inputs,
            order.targets,
            {name: np.stack([state.potentials[name] for state in kept]) for name in names},
            {name: np.stack([state.sensitivities[name] for state in kept]) for name in names},
            gradients(network, last.sensitivities, rates(network, before, order.inputs)),
            lambda: _ledger(network, steps, batch, by_step=order.by_step, window=steps),
            runs_on=_RUNS_ON,
        )

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn epoch by epoch, the one copy of every weight. Raises SessionClosedError and OptionError."""
        self._check(order)
        return self._epochs(order, on_window)

    def _epochs(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        network, window, batch = self._network, order.window, order.order.shape[2]
        state = State.zero(network, batch)
        for windows in order.order:
            self.check_open()
            losses, correct = [], 0
            for samples in windows:
                x, y = order.inputs[samples], order.targets[samples]
                before = state
                for t in range(1, window + 1):
                    before, state = state, _step(network, state, x, y, t)
                readout = state.potentials[network.output]
                losses.append(float(network.cost.value(readout, y).mean()))
                correct += int((readout.argmax(axis=1) == y.argmax(axis=1)).sum())
                network = _learned(network, state, rates(network, before, x), order)
                on_window(losses[-1])
            ledger = _ledger(network, window * len(windows), batch, by_step=False, window=window)
            transposes = {p.name: np.array(p.transposed().weights) for p in network.projections if p.source != network.input}
            yield Epoch(dict(network.parameters), transposes, np.array(losses), correct, ledger)

    def _check(self, order: Relaxation | Learning) -> None:
        """Raise SessionClosedError, and OptionError for what sweeps cannot do."""
        self.check_open()
        if order.schedule.kind != "free":
            problem = f"{order.schedule.kind!r} is no schedule of textbook backpropagation, which has two phases of its own"
            raise OptionError("schedule", problem, "use schedule='free'")
        if order.alpha != 1.0:
            raise OptionError("alpha", f"{order.alpha} needs states that relax, and a sweep assigns them", "leave alpha out")


def _step(network: Network, state: State, inputs: Array, targets: Array, t: int) -> State:
    """Return the state after step `t`: the phase that is on sweeps, and what the other one computes is held."""
    if t % 2:
        return State(_forward(network, state, inputs), state.sensitivities)
    return State(state.potentials, _backward(network, state, inputs, targets))


def _forward(network: Network, state: State, inputs: Array) -> dict[str, Array]:
    """Return all potentials after one sweep, each from those that the same sweep has just computed."""
    potentials, shown = {}, {network.input: inputs}
    for name in network.order:
        if name != network.input:
            arrivals = [(p, shown[p.source]) for p in network.incoming[name]]
            bias = network.parameters.get(f"{name}.bias")
            potentials[name] = potential_update(arrivals, bias, state.potentials[name])
            shown[name] = network.activations[name].rate(potentials[name])
    return potentials


def _backward(network: Network, state: State, inputs: Array, targets: Array) -> dict[str, Array]:
    """Return all sensitivities after one sweep, through the transposes of the forward weights."""
    shown, sensitivities = rates(network, state, inputs), dict[str, Array]()
    for name in reversed(network.order):
        if name != network.input:
            u = state.potentials[name]
            arrivals = [(p.transposed(), sensitivities[p.target]) for p in network.outgoing[name]]
            derivative = network.activations[name].derivative(u, shown[name]) if arrivals else None
            error = network.cost.gradient(u, targets) if name == network.output else None
            sensitivities[name] = sensitivity_update(arrivals, derivative, error, state.sensitivities[name])
    return sensitivities


def _learned(network: Network, state: State, sent: Mapping[str, Array], order: Learning) -> Network:
    """Return the network after one update from the state, and the rates sent before it."""
    s, rate = state.sensitivities, order.learning_rate
    weights = {
        p.name: weight_update(p, s[p.target], sent[p.source], rate, order.weight_decay).weights
        for p in network.projections
        if p.plastic
    }
    biases = {f"{p.name}.bias": bias_update(np.asarray(p.bias), s[p.name], rate) for p in network.dynamic if p.bias is not None}
    return network.with_parameters(weights | biases)


def _ledger(network: Network, steps: int, batch: int, *, by_step: bool, window: int) -> MessageLedger:
    """Return what the sweeps send: rates in the forward phase, all other kinds in the backward phase.

    Within a sweep a message is sent in the step in which it was computed, and a layer waits for that before it.
    """
    links = tuple(messages.links(network, learning=False))
    sizes = np.array([network.population(link.source).size * batch for link in links], np.int64)
    counts = sizes * np.array([[_sends(link, t, window) for link in links] for t in range(1, steps + 1)])
    return MessageLedger(links, counts if by_step else counts.sum(axis=0, keepdims=True), by_step)


def _sends(link: Link, t: int, window: int) -> bool:
    if link.local and link.kind == "sensitivity":  # handed over for the weights to read
        return t % window == 0
    return (t % 2 == 1) == (link.kind == "rate")
