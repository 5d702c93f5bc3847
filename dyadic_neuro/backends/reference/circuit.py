"""The circuit of the reference backend: the state of a network and the copies of its weights, stepped together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dyadic_neuro import arithmetic
from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State
from dyadic_neuro.graph import Graph
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule


class Circuit:
    """The state and the copies of the weights, stepped together.

    The same composition of local rules as `dynamics.step`, its slow twin; it differs in what it does not do: silent
    populations cost nothing, and a rate is computed once per update of its potential.
    """

    def __init__(
        self, network: Graph, schedule: Schedule, alpha: float, initial: State, feedback: Mapping[str, Projection]
    ) -> None:
        self._network, self._schedule, self._alpha = network, schedule, alpha
        self.potentials, self.sensitivities = dict(initial.potentials), dict(initial.sensitivities)
        self.forward = {p.name: p for p in network.projections}
        self.feedback = dict(feedback)
        self.biases = {p.name: np.asarray(p.bias) for p in network.dynamic if p.bias is not None}
        self.rules = {p.name: arithmetic.rules(network, p.name) for p in network.dynamic}
        self.before = self.potentials  # at the start of the last step
        self._sent = self.sensitivities  # of which messages were sent in the last step
        self._told: dict[str, Array] = {}  # these messages, as far as somebody asked for them
        self._arrived: dict[str, Array] = {}  # rates in the last step, as far as somebody asked for them
        self._held: dict[str, Array] = {}  # rates that are known already for the step to come

    def step(self, t: int, inputs: Array, targets: Array) -> None:
        """Take the state from t - 1 to t."""
        network, forward = self._network, self.forward
        self.before, self._sent = self.potentials, self.sensitivities
        self._arrived, self._told = self._held, {}
        self._arrived[network.input] = inputs
        changed, sensed = self._schedule.active(t)
        if changed:
            self.potentials = dict(self.before)
            for name in changed:
                arrivals = [(forward[p.name], self._arriving(p)) for p in network.incoming[name]]
                self.potentials[name] = self.rules[name].potential(
                    arrivals, self.biases.get(name), self.before[name], self._alpha
                )
        if sensed:
            self.sensitivities = dict(self._sent)
            for name in sensed:
                self.sensitivities[name] = self._sensitivity(name, targets)
        self._held = {name: rate for name, rate in self._arrived.items() if name not in changed}

    def _rate(self, name: str) -> Array:
        """Return the rate that a population showed in the last step, computing it once per update of its potential."""
        rate = self._arrived.get(name)
        if rate is None:
            rate = self._arrived[name] = self.rules[name].rate(self.before[name])
        return rate

    def _arriving(self, projection: Projection) -> Array:
        """Return the rates that arrived along a projection in the last step."""
        return self._rate(projection.source)

    def _returning(self, projection: Projection) -> Array:
        """Return the sensitivities that arrived along a projection, backward, in the last step."""
        name = projection.target
        told = self._told.get(name)
        if told is None:
            told = self._told[name] = self.rules[name].message(self._sent[name])
        return told

    def _own(self, name: str) -> Array:
        """Return the rate with which a population's own synapses learn: what it showed in the last step."""
        return self._rate(name)

    def _handed(self, name: str) -> Array:
        """Return what a sensitivity hands its partner at the end of a step: the message of its new value."""
        return self.rules[name].message(self.sensitivities[name])

    def _sensitivity(self, name: str, targets: Array) -> Array:
        network, u = self._network, self.before[name]
        arrivals = [(self.feedback[p.name], self._returning(p)) for p in network.outgoing[name]]
        derivative = self.rules[name].derivative(u, self._rate(name)) if arrivals else None
        error = network.cost.gradient(u, targets) if name == network.output else None
        return self.rules[name].sensitivity(arrivals, derivative, error, self._sent[name], self._alpha)

    def gradients(self) -> dict[str, Array]:
        """Return what every plastic parameter reads at the end of the last step."""
        handed = {name: self._handed(name) for name in self.sensitivities}
        found = {n: p.outer(handed[p.target], self._arriving(p)) for n, p in self.forward.items() if p.plastic}
        return found | {f"{n}.bias": self.rules[n].bias_gradient(handed[n]) for n in self.biases}

    def learn(self, rate: float, weight_decay: float = 0.0) -> None:
        """Update both copies of every plastic weight, and the biases, from what each has at the end of the last step."""
        handed = {name: self._handed(name) for name in self.sensitivities}
        for name, copy in self.forward.items():
            if copy.plastic:
                post, came = handed[copy.target], self._arriving(copy)
                self.forward[name] = self.rules[copy.target].weights(copy, post, came, rate, weight_decay)
                if name in self.feedback:  # its own rate, and the sensitivity that arrived
                    own, back = self._own(copy.source), self._returning(copy)
                    self.feedback[name] = self.rules[copy.source].weights(self.feedback[name], own, back, rate, weight_decay)
        self.biases = {name: self.rules[name].bias(bias, handed[name], rate) for name, bias in self.biases.items()}

    def counted(self, ledger: MessageLedger) -> MessageLedger:
        """Return the ledger that the schedule implies with the messages that were really sent: they are the same."""
        return ledger

    def forget(self) -> None:
        """Begin to count anew."""

    def saturations(self) -> dict[str, int]:
        """Return what saturated since the last time, by "<population> <what>"."""
        found = arithmetic.saturations({name: rules.saturated for name, rules in self.rules.items()})
        for rules in self.rules.values():
            rules.saturated[:] = 0
        return found

    def parameters(self) -> dict[str, Array]:
        """Return private copies of all parameters, as the forward populations hold them."""
        return {n: np.array(p.weights) for n, p in self.forward.items()} | {
            f"{n}.bias": np.array(b) for n, b in self.biases.items()
        }
