"""How long a change takes through a circuit, hop by hop, as its states show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, deployed
from dyadic_neuro.dynamics import State
from dyadic_neuro.oracle import settled
from dyadic_neuro.relaxation import relax
from dyadic_neuro.testing.problems import Problem

_SEEN = 1e-10  # of a change: far above rounding, and far below what dt = tau / 100 lets through in a few hops


def steps_per_hop(backend: Backend, problem: Problem) -> Array:
    """Return for each population the steps until it first moved, divided by its distance in hops: 1 where a hop is a step.

    The network rests at its fixed point; then the input changes, and potentials move, (distance from the input) hops later;
    or the target changes, and sensitivities move, the readout's one hop later and the others as far as they are from there.
    What never moves gives infinity. Raises what `relax` raises.
    """
    net, (_, x, y) = deployed(backend, problem[0]), problem
    rest = State(*settled(net, x, y))
    steps = net.depth + 1
    forward = relax(problem[0], -x, y, backend=backend, initial=rest, steps=steps).potentials
    backward = relax(problem[0], x, np.roll(y, 1, axis=1), backend=backend, initial=rest, steps=steps).sensitivities
    away = _distances(net.input, lambda name: {p.target for p in net.outgoing[name]})
    back = _distances(net.output, lambda name: {p.source for p in net.incoming[name]})
    ratios = [_moved(rows) / away[name] for name, rows in forward.items()]
    ratios += [_moved(rows) / (1 + back[name]) for name, rows in backward.items()]
    return np.array(ratios)


def _distances(start: str, beyond: Callable[[str], set[str]]) -> Mapping[str, int]:
    """Return the fewest hops from `start` to each population that can be reached."""
    found, edge, hops = {start: 0}, {start}, 0
    while edge:
        edge, hops = {name for known in edge for name in beyond(known)} - found.keys(), hops + 1
        found |= dict.fromkeys(edge, hops)
    return found


def _moved(rows: Array) -> float:
    """Return the first step at which a state (steps + 1, batch, n) is another than at the beginning."""
    steps = np.flatnonzero(np.abs(rows - rows[0]).max(axis=(1, 2)) > _SEEN)
    return float(steps[0]) if len(steps) else float("inf")
