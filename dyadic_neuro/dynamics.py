"""The dynamics as pure local rules on slices: DESIGN section 2, and the only place where it is written as code.

    u_v(t+1) = sum W_p phi_k(u_k(t)) + b_v
    s_v(t+1) = phi'_v(u_v(t)) * sum W_p^T s_k(t) + [v = readout] dC/du(u_v(t), y)

The saddle-point form is that of "Backpropagation as Physical Relaxation" (Scurria 2026, arXiv 2602.02281), written on
potentials. A rule sees what one population (or a slice of it) holds and what arrived there, nothing else; processes and
cores call the rules, `step` composes them for a whole network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.graph import Graph
from dyadic_neuro.network import Network, in_floats
from dyadic_neuro.projection import Projection


class Synapses(Protocol):
    """What a rule asks of a copy of the weights: a Projection, or many of them in one."""

    def forward(self, rates: Array, /) -> Array:
        """Return the drive that a signal causes."""


Arrivals = Iterable[tuple[Synapses, Array]]
"""What arrived in one step: pairs of the copy of the weights that receives, and the signal (batch, n_source)."""


@dataclass(frozen=True, eq=False)
class State:
    """Potentials and sensitivities of every population but the input, name -> (batch, n).

    Arrays of a state are never written to: a population that holds its state shares the array with the step before.
    """

    potentials: Mapping[str, Array]
    sensitivities: Mapping[str, Array]

    @classmethod
    def zero(cls, network: Graph, batch: int) -> State:
        """Return the state in which every potential and sensitivity is 0."""
        zeros: dict[str, Array] = {p.name: np.zeros((batch, p.size), np.dtype(network.dtype)) for p in network.dynamic}
        for array in zeros.values():
            array.setflags(write=False)  # like every state: one array is the potential and the sensitivity
        return cls(zeros, zeros)


# Local rules


def potential_update(
    arrivals: Arrivals, bias: Array | None, potential: Array, alpha: float | Array = 1.0, noise: Array | None = None
) -> Array:
    """Return the next potential (batch, n) of a slice: its forward copies applied to the rates that arrived, plus bias.

    `alpha` is dt / tau, or each neuron's own (n,); `noise` (batch, n) what a noisy circuit adds in this step.
    """
    return _relaxed(_total(arrivals, bias, potential), potential, alpha, noise)


def sensitivity_update(
    arrivals: Arrivals,
    derivative: Array | None,
    error: Array | None,
    sensitivity: Array,
    alpha: float | Array = 1.0,
    noise: Array | None = None,
) -> Array:
    """Return the next sensitivity (batch, n) of a slice.

    `arrivals` pairs the slice's own W^T copies with the sensitivities that arrived; `derivative` is phi'(u) of the
    forward partner (None where nothing arrives); `error` is dC/du at the readout, None elsewhere. `alpha` and `noise` as in
    `potential_update`.
    """
    if derivative is None:
        return _relaxed(np.zeros_like(sensitivity) if error is None else error, sensitivity, alpha, noise)
    target = _total(arrivals, None, sensitivity)
    target *= derivative
    if error is not None:
        target += error
    return _relaxed(target, sensitivity, alpha, noise)


def weight_update(copy: Projection, post: Array, pre: Array, learning_rate: float, weight_decay: float = 0.0) -> Projection:
    """Return a copy of the weights after one step of gradient descent on the factors that meet at its synapses.

    The forward copy calls it with post = s_v and pre = r_k, the W^T copy with post = r_k and pre = s_v: the same rule on
    the same two factors keeps them transposes of each other. With a `weight_decay` each weight shrinks by the factor
    1 - learning_rate * weight_decay too, and so does the difference of two copies that are no transposes of each other
    (Kolen and Pollack 1994; Akrout et al. 2019, arXiv 1904.05391).
    """
    change = copy.outer(post, pre)
    change *= -learning_rate
    change += copy.weights if weight_decay == 0.0 else copy.weights * (1.0 - learning_rate * weight_decay)
    return copy.with_weights(change)


def bias_gradient(sensitivity: Array) -> Array:
    """Return dC/db (n,), the mean over the batch of the sensitivity (batch, n)."""
    if len(sensitivity) == 1:
        return np.array(sensitivity[0])
    return np.asarray(sensitivity.sum(axis=0) * (1.0 / len(sensitivity)))


def bias_update(bias: Array, sensitivity: Array, learning_rate: float) -> Array:
    """Return the bias (n,) after one step of gradient descent on its own population's sensitivity."""
    return np.asarray(bias - learning_rate * bias_gradient(sensitivity))


def _total(arrivals: Arrivals, bias: Array | None, state: Array) -> Array:
    # neurons that no synapse reaches are a part of a population only: a slice may hold nothing else
    total, *others = [copy.forward(signal) for copy, signal in arrivals] or [np.zeros_like(state)]
    for drive in others:
        total += drive
    if bias is not None:
        total += bias
    return total


def _relaxed(target: Array, old: Array, alpha: float | Array, noise: Array | None) -> Array:
    # alpha = 1 assigns: old + 1 (target - old) would keep rounding dirt of a huge old state, and a NaN for ever
    if isinstance(alpha, np.ndarray):
        target = np.where(alpha == 1.0, target, old + alpha * (target - old))
    elif alpha != 1.0:
        target = old + alpha * (target - old)
    return target if noise is None else target + noise


# The network, all populations at once


def rates(network: Graph, state: State, inputs: Array) -> dict[str, Array]:
    """Return what every population shows: phi(u), and the clamped inputs (batch, n_input)."""
    return {network.input: inputs} | {p.name: p.phi.rate(state.potentials[p.name]) for p in network.dynamic}


def feedback_copies(network: Graph, backward: Mapping[str, Array] | None = None) -> dict[str, Projection]:
    """Return the W^T copy of every projection that has one (those whose source has a sensitivity), by projection name.

    `backward` gives other matrices (n_source, n_target) in place of some of them.
    """
    copies = {p.name: p.transposed() for p in network.projections if p.source != network.input}
    for name, weights in (backward or {}).items():
        copies[name] = copies[name].with_weights(weights)
    return copies


def step(
    network: Network, state: State, inputs: Array, targets: Array, alpha: float = 1.0, backward: Mapping[str, Array] | None = None
) -> State:
    """Return the state one step later: every population at once, each from the state at t alone.

    `inputs` (batch, n_input) and `targets` (batch, n_output) are clamped; `alpha` is dt / tau.
    """
    shown = rates(in_floats(network), state, inputs)
    copies = feedback_copies(network, backward)
    potentials, sensitivities = {}, {}
    for population in network.dynamic:
        name, u, s = population.name, state.potentials[population.name], state.sensitivities[population.name]
        potentials[name] = potential_update(
            [(p, shown[p.source]) for p in network.incoming[name]], network.parameters.get(f"{name}.bias"), u, alpha
        )
        arrivals = [(copies[p.name], state.sensitivities[p.target]) for p in network.outgoing[name]]
        derivative = population.phi.derivative(u, shown[name]) if arrivals else None
        error = network.cost.gradient(u, targets) if name == network.output else None
        sensitivities[name] = sensitivity_update(arrivals, derivative, error, s, alpha)
    return State(potentials, sensitivities)


def gradients(
    network: Graph,
    sensitivities: Mapping[str, Array],
    sent: Mapping[str, Array],
    late: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Return what the plastic parameters read off: s_v (outer) r_k and s_v, means over the batch.

    `sensitivities` are those of the end of a step, `sent` the rates sent at its start, by population, which is what a
    synapse has at that moment; `late`, by projection, those that arrived instead where there is a delay. At the fixed point
    these are dC/dW and dC/db.
    """
    late = late or {}
    in_floats(network)
    pres = {p.name: late[p.name] if p.name in late else sent[p.source] for p in network.projections}
    found = {p.name: p.outer(sensitivities[p.target], pres[p.name]) for p in network.projections if p.plastic}
    biases = {f"{p.name}.bias": bias_gradient(sensitivities[p.name]) for p in network.dynamic if p.bias is not None}
    return found | biases


def energy(network: Network, state: State, inputs: Array, targets: Array) -> Array:
    """Return E(u, s) = sum_v s_v . (F_v(u) - u_v) + C(u_o, y) for each sample, (batch,)."""
    shown = rates(network, state, inputs)
    total = network.cost.value(state.potentials[network.output], targets)
    for population in network.dynamic:
        name = population.name
        u = state.potentials[name]
        drive = potential_update(
            [(p, shown[p.source]) for p in network.incoming[name]], network.parameters.get(f"{name}.bias"), u
        )
        total = total + (state.sensitivities[name] * (drive - u)).sum(axis=1)
    return total


# Dyad coordinates: z+ = u + s/2 climbs E, z- = u - s/2 descends it


def to_dyad(state: State) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return (z+, z-) for every population."""
    names = state.potentials
    plus = {name: state.potentials[name] + 0.5 * state.sensitivities[name] for name in names}
    minus = {name: state.potentials[name] - 0.5 * state.sensitivities[name] for name in names}
    return plus, minus


def from_dyad(plus: Mapping[str, Array], minus: Mapping[str, Array]) -> State:
    """Return the state whose dyad coordinates these are."""
    return State({n: 0.5 * (plus[n] + minus[n]) for n in plus}, {n: plus[n] - minus[n] for n in plus})
