"""How a relaxation settles: its errors at every step, the step from which they stay small, and what the theory expects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network, in_floats
from dyadic_neuro.oracle import backprop, settled
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import is_real
from dyadic_neuro.schedule import missing_weight
from dyadic_neuro.trace import Trace

TOLERANCES = (1e-2, 1e-4, 1e-8)
"""Relative errors that a study asks for, unless told otherwise."""
_CHUNK = 2**20  # numbers that are worked on at once: they stay in the cache


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors of steps 1 .. n of a run, (n,) each, relative to the largest exact entry of the same array.

    `gradient` is the largest over the parameters, of what synapses read at the end of a step (`Trace.gradients_at`);
    `potential` and `sensitivity` are the largest over the populations.
    """

    gradient: Array
    potential: Array
    sensitivity: Array


def errors(trace: Trace) -> Errors:
    """Return how far a fully recorded run is from textbook backpropagation, of the network that ran, at every step.

    Raises OptionError for a trace that was not fully recorded, CycleError for a network with a cycle.
    """
    return Errors(gradient_errors(trace), *state_errors(trace))


def state_errors(trace: Trace) -> tuple[Array, Array]:
    """Return the largest errors of a potential and of a sensitivity at the end of each step, (steps,) each. Raises CycleError."""
    exact = settled(in_floats(trace.network), trace.inputs, trace.targets)
    potentials, sensitivities = map(_largest, (trace.potentials, trace.sensitivities), exact)
    return potentials, sensitivities


def gradient_errors(trace: Trace) -> Array:
    """Return the largest `relative_error` over the parameters at the end of each step, (steps,). Raises as `errors`."""
    network = in_floats(trace.network)
    if len(trace.potentials[network.output]) != trace.steps + 1:
        raise OptionError("trace", "holds its last step only", 'relax with record="all"')

    def arrived(p: Projection, rows: slice) -> Array:
        if p.source == network.input:
            return np.broadcast_to(trace.inputs, (rows.stop - rows.start, *trace.inputs.shape))
        sent = np.maximum(np.arange(rows.start, rows.stop) - trace.delays.get(p.name, 0), 0)
        return network.activations[p.source].rate(trace.potentials[p.source][sent])

    sensitivities = {name: rows[1:] for name, rows in trace.sensitivities.items()}
    return reading_errors(network, backprop(network, trace.inputs, trace.targets), sensitivities, arrived)


def reading_errors(
    network: Network,
    exact: Mapping[str, Array],
    sensitivities: Mapping[str, Array],
    arrived: Callable[[Projection, slice], Array],
) -> Array:
    """Return the largest relative error over the parameters, (rows,), of what synapses read.

    They read from `sensitivities`, name -> (rows, batch, n), and from the rates (rows of the slice, batch, n_source) that
    `arrived` returns.
    """
    found = np.zeros(len(sensitivities[network.output]))
    for p in network.projections:
        if p.plastic:
            np.maximum(found, _weight_errors(p, exact[p.name], sensitivities[p.target], arrived), out=found)
    for population in network.dynamic:
        if population.bias is not None:
            read, right = sensitivities[population.name].mean(axis=1), exact[f"{population.name}.bias"]
            np.maximum(found, np.abs(read - right).max(axis=1) / scale(right), out=found)
    return found


def settled_from(found: Array, tolerance: float) -> int | None:
    """Return the first step from which errors of steps 1 .. n stay at or below `tolerance`, None if they end above it."""
    above = np.flatnonzero(~(found <= tolerance))
    first = int(above[-1]) + 2 if len(above) else 1
    return first if first <= len(found) else None


def binomial(depth: int, alpha: float, steps: int) -> Array:
    """Return the error expected after steps 1 .. `steps`, (steps,): what has not yet come 2D hops far.

    That is P[Binomial(n, alpha) < 2D] for alpha <= 1, and the modulus of the same sum, which no longer is a probability,
    for alpha > 1 (DESIGN section 2).
    """
    return np.array([missing_weight(n, alpha, 2 * depth) for n in range(1, steps + 1)])


def poisson(depth: int, times: Array) -> Array:
    """Return P[Poisson(t) < 2D] at `times` > 0 in tau: the same for alpha -> 0, in continuous time."""
    terms = [k * np.log(times) - times - math.lgamma(k + 1) for k in range(2 * depth)]
    return np.asarray(np.minimum(1.0, np.exp(terms).sum(axis=0)))


def poisson_time(depth: int, tolerance: float) -> float:
    """Return the time in tau from which `poisson` is at most `tolerance`."""
    low, high = 0.0, 4.0 * depth
    while poisson(depth, np.array(high)) > tolerance:
        low, high = high, 2.0 * high
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if poisson(depth, np.array(middle)) > tolerance else (low, middle)
    return high


def rounding_floor(depth: int, alpha: float) -> float:
    """Return about what error rounding leaves in float64: its precision times the largest transient of the law.

    Up to alpha = 1 there is none. Beyond, signals overshoot on each of 2D hops, and whatever is rounded on the way is
    enlarged again: at 1.5 a million times for D = 8, and beyond all digits for D = 18.
    """
    hops, peak = 2 * depth, 1.0
    if alpha > 1.0:
        last = hops + math.ceil((alpha - 1.0) * hops / (2.0 - alpha))  # from here on the law falls
        peak = max(missing_weight(n, alpha, hops) for n in range(hops, last + 1))
    return max(1.0, peak) * float(np.finfo(np.float64).eps)


def check_step_size(field: str, value: object) -> float:
    """Return a step size alpha = dt / tau as a float. Raises OptionError."""
    if not (is_real(value) and 0 < value < 2):  # type: ignore[operator]
        raise OptionError(field, f"{value!r} is outside (0, 2), where a step is stable", "use 1 for exact unit steps, or less")
    return float(value)  # type: ignore[arg-type]


def check_list(field: str, values: object, example: object) -> Sequence[Any]:
    """Return the values of a sequence, or of an array (n,), that holds some. Raises OptionError."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not values:
        raise OptionError(field, f"{values!r} are no list of numbers", f"use for example {example}")
    return values


def check_tolerances(tolerances: Sequence[float] | Array) -> tuple[float, ...]:
    """Return the tolerances, the largest first. Raises OptionError."""
    values = check_list("tolerances", tolerances, TOLERANCES)
    for value in values:
        if not (is_real(value) and 0 < value < 1):
            raise OptionError("tolerances", f"{value!r} is outside (0, 1)", "use for example 1e-4")
    return tuple(sorted({float(value) for value in values}, reverse=True))


def check_plastic(network: Network) -> None:
    """Raise OptionError for a network of which nothing learns: it has no gradient to be wrong about."""
    if not network.plastic:
        raise OptionError("network", "has no plastic parameter, so no gradient", "make a projection plastic, or give a bias")


def scale(exact: Array) -> float:
    """Return the largest exact entry, which errors are relative to; 1 if all are 0."""
    return float(np.abs(exact).max()) or 1.0


def _weight_errors(p: Projection, exact: Array, posts: Array, arrived: Callable[[Projection, slice], Array]) -> Array:
    found, size = np.empty(len(posts)), max(1, _CHUNK // exact.size)
    for start in range(0, len(posts), size):
        rows = slice(start, min(start + size, len(posts)))
        read = _outer(p, posts[rows], arrived(p, rows))
        read -= exact
        found[rows] = np.abs(read, out=read).reshape(len(read), -1).max(axis=1)
    return np.asarray(found / scale(exact))


def _outer(p: Projection, posts: Array, pres: Array) -> Array:
    """Return `p.outer` for each step, from sensitivities (steps, batch, n_target) and rates (steps, batch, n_source)."""
    posts, pres = posts[:, :, p.rows], pres[:, :, p.columns]
    if p.one_to_one:
        return np.asarray((posts * pres).mean(axis=1))
    return np.asarray((posts * (1.0 / posts.shape[1])).transpose(0, 2, 1) @ pres)


def _largest(rows: Mapping[str, Array], exact: Mapping[str, Array]) -> Array:
    by_population = [np.abs(rows[name][1:] - exact[name]).max(axis=(1, 2)) / scale(exact[name]) for name in rows]
    return np.asarray(np.max(by_population, axis=0))
