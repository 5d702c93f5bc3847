"""In which numbers a population computes: the local rules in floats or in integers, behind one interface.

Backends ask `rules` for those of a slice, and compose them without knowing which they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dyadic_neuro import dynamics
from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.fixed_point.rules import SATURATIONS, Arrivals
from dyadic_neuro.graph import Graph
from dyadic_neuro.projection import Projection


class Rules(Protocol):
    """What one population, or a slice of it, computes from what it holds and what arrived there.

    `dynamics` says what the rules are, for floats; `fixed_point.rules` for integers. `saturated` counts what left the range of
    its integers, in the order of SATURATIONS; in floats nothing does.
    """

    saturated: Array

    def rate(self, potential: Array) -> Array:
        """Return what the population shows of its potential."""

    def derivative(self, potential: Array, rate: Array) -> Array:
        """Return phi'(u)."""

    def message(self, sensitivity: Array) -> Array:
        """Return what is sent of a sensitivity."""

    def potential(self, arrivals: Arrivals, bias: Array | None, potential: Array, alpha: float = 1.0) -> Array:
        """Return the next potential."""

    def sensitivity(
        self, arrivals: Arrivals, derivative: Array | None, error: Array | None, sensitivity: Array, alpha: float = 1.0
    ) -> Array:
        """Return the next sensitivity."""

    def weights(self, copy: Projection, post: Array, pre: Array, learning_rate: float, weight_decay: float = 0.0) -> Projection:
        """Return a copy of the weights after one step of gradient descent."""

    def bias(self, bias: Array, message: Array, learning_rate: float) -> Array:
        """Return the bias after one step of gradient descent."""

    def bias_gradient(self, message: Array) -> Array:
        """Return dC/db, real numbers."""


@dataclass(eq=False)
class FloatRules:
    """The rules of `dynamics`, for a population with this rate function."""

    activation: Activation
    saturated: Array = field(default_factory=lambda: np.zeros(len(SATURATIONS), np.int64))

    def rate(self, potential: Array) -> Array:
        """Return phi(u)."""
        return self.activation.rate(potential)

    def derivative(self, potential: Array, rate: Array) -> Array:
        """Return phi'(u)."""
        return self.activation.derivative(potential, rate)

    def message(self, sensitivity: Array) -> Array:
        """Return the sensitivity: it is sent as it is."""
        return sensitivity

    def potential(self, arrivals: Arrivals, bias: Array | None, potential: Array, alpha: float = 1.0) -> Array:
        """Return the next potential."""
        return dynamics.potential_update(arrivals, bias, potential, alpha)

    def sensitivity(
        self, arrivals: Arrivals, derivative: Array | None, error: Array | None, sensitivity: Array, alpha: float = 1.0
    ) -> Array:
        """Return the next sensitivity."""
        return dynamics.sensitivity_update(arrivals, derivative, error, sensitivity, alpha)

    def weights(self, copy: Projection, post: Array, pre: Array, learning_rate: float, weight_decay: float = 0.0) -> Projection:
        """Return a copy of the weights after one step of gradient descent."""
        return dynamics.weight_update(copy, post, pre, learning_rate, weight_decay)

    def bias(self, bias: Array, message: Array, learning_rate: float) -> Array:
        """Return the bias after one step of gradient descent."""
        return dynamics.bias_update(bias, message, learning_rate)

    def bias_gradient(self, message: Array) -> Array:
        """Return dC/db."""
        return dynamics.bias_gradient(message)


def rules(network: Graph, name: str, first: int = 0) -> Rules:
    """Return the rules of a population, or of the slice of it that begins with neuron `first`."""
    if isinstance(network, FixedNetwork):
        return network.rules(name, first)
    return FloatRules(network.activations[name])


def step(network: Graph, state: State, inputs: Array, targets: Array) -> State:
    """Return the state one unit step later, of floats or of integers: every population from the state at t alone.

    The slow, obvious twin of every backend's, as `dynamics.step`; `inputs` and `targets` are what a Trace holds.
    """
    held = {p.name: rules(network, p.name) for p in network.dynamic}
    shown = {network.input: inputs} | {name: held[name].rate(u) for name, u in state.potentials.items()}
    sent = {name: held[name].message(s) for name, s in state.sensitivities.items()}
    copies = dynamics.feedback_copies(network)
    potentials, sensitivities = {}, {}
    for name, own in held.items():
        u, s = state.potentials[name], state.sensitivities[name]
        arrived = [(p, shown[p.source]) for p in network.incoming[name]]
        potentials[name] = own.potential(arrived, network.parameters.get(f"{name}.bias"), u)
        returned = [(copies[p.name], sent[p.target]) for p in network.outgoing[name]]
        error = network.cost.gradient(u, targets) if name == network.output else None
        sensitivities[name] = own.sensitivity(returned, own.derivative(u, shown[name]) if returned else None, error, s)
    return State(potentials, sensitivities)


def gradients(
    network: Graph, sensitivities: Mapping[str, Array], sent: Mapping[str, Array], late: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Return what the plastic parameters read off, as `dynamics.gradients`, of states of either arithmetic: real numbers."""
    if not isinstance(network, FixedNetwork):
        return dynamics.gradients(network, sensitivities, sent, late)
    held = {name: network.rules(name) for name in sensitivities}
    told = {name: held[name].message(s) for name, s in sensitivities.items()}
    found = {p.name: p.outer(told[p.target], sent[p.source]) for p in network.projections if p.plastic}
    return found | {f"{p.name}.bias": held[p.name].bias_gradient(told[p.name]) for p in network.dynamic if p.bias is not None}


def saturations(counts: Mapping[str, Array]) -> dict[str, int]:
    """Return what saturated how often, by "<population> <what>", of counts by population in the order of SATURATIONS."""
    found = {f"{name} {what}": int(n) for name, row in counts.items() for what, n in zip(SATURATIONS, row, strict=True)}
    return {what: n for what, n in found.items() if n}
