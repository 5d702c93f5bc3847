"""What 2D unit steps foretell of every other step size: the binomial law for a network of its own.

A step of size alpha stays with weight 1 - alpha and takes the unit step with weight alpha. Where the unit step is affine (all
rate functions are linear, the loss is quadratic), the state after n of them is therefore exactly the mean of the unit-step
run's state after K steps, K ~ Binomial(n, alpha) (the same signed sum for alpha > 1). The law of `schedule.missing_weight` is
that for a signal of 2D hops; the mixture knows how strong the signals of each length are, and so also foretells settling
counts of non-linear networks, to which it is an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop, settled
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import relax
from dyadic_neuro.studies.timestep.settling import reading_errors

_POINTS = 256  # of a curve that a settling count is read from; between them its logarithm is as good as straight


class Mixture:
    """The mixtures of a network's unit-step run on a batch, from the zero state.

    Exact where the unit step is affine. Of others it foretells settling steps within 10 % or one step, as far as measured on
    random chains of D = 1 .. 8 at alpha = 0.1 .. 1.5 (about 240 runs for each kind, width and tolerance), in all cases but

        width 16   tanh         2 to 1e-2, up to 12 % off
                   relu         4 to 1e-2, 1 to 1e-4, up to 28 % off
        width 4    tanh         8 to 1e-2, 2 to 1e-4, up to 20 % off
                   sigmoid, softplus   1 each to 1e-2, 15 % off
                   relu         39 to 1e-2, 24 to 1e-4, 7 to 1e-8, some by factors, or not settled in 3 times the law's steps

    Raises as `relax`, CycleError among it.
    """

    def __init__(self, network: Network, inputs: ArrayLike, targets: ArrayLike) -> None:
        unit = relax(network, inputs, targets, steps=network.relaxation_steps)
        self._network, self._inputs = network, unit.inputs
        self._exact = backprop(network, unit.inputs, unit.targets)
        self._potentials, self._sensitivities = settled(network, unit.inputs, unit.targets)
        # what is missing after k < 2D unit steps; nothing after more
        self._missing = {n: rows[:-1] - self._potentials[n] for n, rows in unit.potentials.items()}
        self._absent = {n: rows[:-1] - self._sensitivities[n] for n, rows in unit.sensitivities.items()}

    def errors(self, alpha: float, steps: Array) -> Array:
        """Return the gradient's error expected at the end of each of `steps` >= 1, as `settling.Errors.gradient` has it."""
        hops = self._network.relaxation_steps
        before, after = weights(np.stack([steps - 1, steps]), alpha, hops)

        def arrived(p: Projection, rows: slice) -> Array:
            if p.source == self._network.input:
                return np.broadcast_to(self._inputs, (rows.stop - rows.start, *self._inputs.shape))
            potentials = self._potentials[p.source] + np.tensordot(before[rows], self._missing[p.source], 1)
            return self._network.activations[p.source].rate(potentials)

        with np.errstate(over="ignore", invalid="ignore"):  # steps of almost 2 tau overshoot beyond all numbers: not settled
            sensitivities = {n: self._sensitivities[n] + np.tensordot(after, rows, 1) for n, rows in self._absent.items()}
            return reading_errors(self._network, self._exact, sensitivities, arrived)

    def settling_steps(self, alpha: float, tolerances: Sequence[float], longest: int) -> list[float]:
        """Return for each tolerance the first step from which the error stays within it, NaN if that is past `longest`."""
        steps = np.unique(np.linspace(1, longest, min(longest, _POINTS)).round().astype(np.int64))
        errors = self.errors(alpha, steps)
        return [_crossing(steps, errors, level) for level in tolerances]


def weights(steps: Array, alpha: float, hops: int) -> Array:
    """Return C(n, k) alpha^k (1 - alpha)^(n - k) for n of `steps` and k < `hops`, (..., hops); for alpha <= 1 P[Bin = k]."""
    n, k = np.asarray(steps, np.int64)[..., None], np.arange(hops)
    if alpha == 1.0:
        return np.asarray(n == k, np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, max(int(n.max()), hops) + 1)))])  # of factorials
    left = np.maximum(n - k, 0)
    with np.errstate(over="ignore"):
        found = np.exp(logs[n] - logs[k] - logs[left] + k * math.log(alpha) + left * math.log(abs(1.0 - alpha)))
    found[n < k] = 0.0
    return np.asarray(found * (-1.0) ** left if alpha > 1.0 else found)


def _crossing(steps: Array, errors: Array, tolerance: float) -> float:
    """Return where a curve falls to the tolerance for the last time, straight between its points in the logarithm."""
    above = np.flatnonzero(~(errors <= tolerance))
    if not len(above):
        return float(steps[0])
    last = int(above[-1])
    if last + 1 == len(steps):
        return math.nan
    if steps[last + 1] == steps[last] + 1 or errors[last + 1] == 0.0 or not np.isfinite(errors[last]):
        return float(steps[last + 1])
    part = math.log(errors[last] / tolerance) / math.log(errors[last] / errors[last + 1])
    return float(math.ceil(steps[last] + part * (steps[last + 1] - steps[last])))
