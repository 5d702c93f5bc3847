"""Calibration: the ranges that the ensembles of a spiking circuit are made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.dynamics import State, rates, step
from dyadic_neuro.errors import DataError, OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

Batch = tuple[Array, Array]
"""Inputs (samples, n_input) and targets (samples, n_output)."""
_MARGIN = 1.1
_POINTS = 1001


@dataclass(frozen=True)
class Range:
    """What a population's ensembles represent, symmetric about 0 unless said otherwise.

    `potential` is the largest |u|. `center` and `spread` are those of phi'(u) over that range of u: it lies between center -
    spread and center + spread, and `spread` is 0 where the derivative is constant. `arrival` is the largest |W^T s + dC/du|,
    what the derivative gates, and `joint` the largest |a| + |b| of both in units of their ranges, a = (phi' - center) / spread
    and b = arrival / (the largest), which is what the two halves of a gate represent.
    """

    potential: float
    center: float
    spread: float
    arrival: float
    joint: float


def ranges(network: Network, batch: Batch, feedback: Mapping[str, Projection], *, steps: int, alpha: float) -> dict[str, Range]:
    """Return the range of every population but the input, from the state that the reference dynamics settle in on a batch.

    Potentials and arrivals get a margin of 10 %. A network with a cycle takes `steps` steps of `alpha`, others 2D unit steps.
    Raises OptionError where the dynamics leave the finite numbers.
    """
    inputs, targets = batch
    copies = {name: copy.weights for name, copy in feedback.items()}
    taken = (steps, alpha) if network.cycle else (network.relaxation_steps, 1.0)
    state = State.zero(network, len(inputs))
    with np.errstate(all="ignore"):  # what is not finite is told below
        for _ in range(taken[0]):
            state = step(network, state, inputs, targets, taken[1], copies)
    shown = rates(network, state, inputs)
    found = {}
    for p in network.dynamic:
        u = state.potentials[p.name]
        arrived = network.cost.gradient(u, targets) if p.name == network.output else np.zeros_like(u)
        for q in network.outgoing[p.name]:
            arrived = arrived + feedback[q.name].forward(state.sensitivities[q.target])
        if not (np.isfinite(u).all() and np.isfinite(arrived).all()):
            raise OptionError(
                "calibration",
                f"{p.name} leaves the finite numbers, so it has no range",
                "use smaller weights, or another backend",
            )
        found[p.name] = _range(p, u, shown[p.name], arrived)
    return found


def _range(population: Population, u: Array, shown: Array, arrived: Array) -> Range:
    phi, potential, arrival = population.phi, _largest(u), _largest(arrived)
    points = np.linspace(-potential, potential, _POINTS)
    slopes = np.asarray(phi.derivative(points, phi.rate(points)), np.float64)
    low, high = float(slopes.min()), float(slopes.max())
    center, spread = (low + high) / 2, (high - low) / 2
    a = (phi.derivative(u, shown) - center) / spread if spread else np.zeros_like(u)
    return Range(potential, center, spread, arrival, _MARGIN * float((np.abs(a) + np.abs(arrived) / arrival).max()) or 1.0)


def _largest(values: Array) -> float:
    return _MARGIN * float(np.abs(values).max()) or 1.0  # a population that stays at 0 may have any range


def check_batch(network: Network, given: object) -> Batch:
    """Return a calibration batch as arrays of the network's dtype. Raises OptionError and DataError."""
    if not (isinstance(given, (tuple, list)) and len(given) == 2):
        raise OptionError("calibration", f"{type(given).__name__} is no pair", "give (inputs, targets)")
    dtype, size = np.dtype(network.dtype), network.population(network.output).size
    inputs = checked("calibration inputs", given[0], dtype, (None, network.population(network.input).size))
    if not len(inputs):
        raise DataError("calibration inputs", "hold no sample", "pass at least one row")
    return inputs, network.cost.encode(given[1], len(inputs), size, dtype, "calibration targets")
