"""The circuit of the reference backend: the state of a network and the copies of its weights, stepped together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State, bias_gradient, bias_update, potential_update, sensitivity_update, weight_update
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule


class Circuit:
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

    def _arriving(self, projection: Projection) -> Array:
        """Return the rates that arrived along a projection in the last step."""
        return self._rate(projection.source)

    def _returning(self, projection: Projection) -> Array:
        """Return the sensitivities that arrived along a projection, backward, in the last step."""
        return self._sent[projection.target]

    def _sensitivity(self, name: str, targets: Array) -> Array:
        network, u = self._network, self.before[name]
        arrivals = [(self.feedback[p.name], self._sent[p.target]) for p in network.outgoing[name]]
        derivative = network.activations[name].derivative(u, self._rate(name)) if arrivals else None
        error = network.cost.gradient(u, targets) if name == network.output else None
        return sensitivity_update(arrivals, derivative, error, self._sent[name], self._alpha)

    def gradients(self) -> dict[str, Array]:
        """Return what every plastic parameter reads at the end of the last step."""
        found = {n: p.outer(self.sensitivities[p.target], self._arriving(p)) for n, p in self.forward.items() if p.plastic}
        return found | {f"{n}.bias": bias_gradient(self.sensitivities[n]) for n in self.biases}

    def learn(self, rate: float, weight_decay: float = 0.0) -> None:
        """Update both copies of every plastic weight, and the biases, from what each has at the end of the last step."""
        for name, copy in self.forward.items():
            if copy.plastic:
                self.forward[name] = weight_update(
                    copy, self.sensitivities[copy.target], self._arriving(copy), rate, weight_decay
                )
                if name in self.feedback:  # its own rate, and the sensitivity that arrived
                    own, arrived = self._rate(copy.source), self._returning(copy)
                    self.feedback[name] = weight_update(self.feedback[name], own, arrived, rate, weight_decay)
        self.biases = {name: bias_update(bias, self.sensitivities[name], rate) for name, bias in self.biases.items()}

    def parameters(self) -> dict[str, Array]:
        """Return private copies of all parameters, as the forward populations hold them."""
        return {n: np.array(p.weights) for n, p in self.forward.items()} | {
            f"{n}.bias": np.array(b) for n, b in self.biases.items()
        }
