"""DESIGN section 2 in integers: what `dynamics` is for floats. Sums are exact; a state is rounded and limited once.

    u_v(t+1) = limit(round(sum W_p r_k + b_v))                            of the potential's scale
    s_v(t+1) = limit(round(phi'_v sum W_p^T m_k + [v = readout] error))   of the sensitivity's scale
    r_v = phi_v(u_v)     m_v = round(s_v)                                 what is sent, of a message's width

Rounding is to nearest with ties up, an addition and an arithmetic shift. Every sum is held at the full width of its products, so
that it does not depend on the order of summation or on the mapping. What leaves the range of its scale is limited to it, and
counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point.format import FixedFormat
from dyadic_neuro.fixed_point.population import FixedPopulation
from dyadic_neuro.fixed_point.scales import Scale, shifted
from dyadic_neuro.fixed_point.synapses import FixedProjection
from dyadic_neuro.projection import Projection

Arrivals = Iterable[tuple[Projection, Array]]
"""What arrived in one step: pairs of the copy of the weights that receives, and the message (batch, n_source)."""

SATURATIONS = ("potential", "sensitivity", "weight", "bias")
"""What can leave its range when it is written, in the order of the counts. Messages are the upper bits of states."""


@dataclass(eq=False)
class FixedRules:
    """The rules of one population, or of the slice of one that begins with neuron `first`.

    `saturated` counts what left its range, in the order of SATURATIONS. `updates` are the changes that the bias went through.
    """

    population: FixedPopulation
    format: FixedFormat
    first: int = 0
    updates: int = 0
    saturated: Array = field(default_factory=lambda: np.zeros(len(SATURATIONS), np.int64))

    def rate(self, potential: Array) -> Array:
        """Return what the population shows of its potential (batch, n)."""
        return self.population.fixed.rate(potential)

    def derivative(self, potential: Array, rate: Array) -> Array:
        """Return phi'(u), with the exponent `slope` of the rate function."""
        return self.population.fixed.derivative(potential, rate)

    def message(self, sensitivity: Array) -> Array:
        """Return what is sent of a sensitivity: its upper bits."""
        scales = self.population.scales
        found = shifted(sensitivity, scales.sensitivity.exponent - scales.message.exponent)
        return np.minimum(found, scales.message.highest)  # rounding up may lead beyond the largest, by one

    def potential(self, arrivals: Arrivals, bias: Array | None, potential: Array, alpha: float = 1.0) -> Array:
        """Return the next potential; bias has the scale of the potential. As `dynamics.potential_update`, for alpha = 1."""
        _needs_unit_steps(alpha)
        scales = self.population.scales
        total = _total(arrivals, potential)
        if bias is not None:
            total += bias << (scales.drive - scales.potential.exponent)
        return self._limited("potential", shifted(total, scales.drive - scales.potential.exponent), scales.potential)

    def sensitivity(
        self, arrivals: Arrivals, derivative: Array | None, error: Array | None, sensitivity: Array, alpha: float = 1.0
    ) -> Array:
        """Return the next sensitivity; error has its scale. As `dynamics.sensitivity_update`, for alpha = 1."""
        _needs_unit_steps(alpha)
        scales = self.population.scales
        if derivative is None:
            found = np.zeros_like(sensitivity) if error is None else error
        else:
            total = _total(arrivals, sensitivity)
            total *= derivative
            places = scales.credit + self.population.fixed.slope - scales.sensitivity.exponent
            if error is not None:
                total += error << places
            found = shifted(total, places)
        return self._limited("sensitivity", found, scales.sensitivity)

    def weights(
        self, copy: Projection, post: Array, pre: Array, learning_rate: float, weight_decay: float = 0.0
    ) -> FixedProjection:
        """Return a copy of the weights after one step of gradient descent, as `dynamics.weight_update`."""
        held = _fixed(copy)
        found, limited = held.learned(post, pre, held.pace(learning_rate, weight_decay, len(pre), self.format))
        if not held.swapped:  # the other copy is the same weight, which counts once
            self._count("weight", limited)
        return found

    def bias(self, bias: Array, message: Array, learning_rate: float) -> Array:
        """Return the bias (n,) after one step of gradient descent on what its neurons send of s."""
        scales, pace = self.population.scales, self.population.pace(learning_rate, len(message), self.format)
        cells = (np.int64(self.population.number) << 48) + self.first + np.arange(len(bias))
        found = pace.changed(bias, message.sum(axis=0), cells, self.updates)
        self.updates += 1
        return self._limited("bias", found, scales.potential)

    def bias_gradient(self, message: Array) -> Array:
        """Return dC/db (n,), real numbers: the mean over the batch of what is sent of s."""
        return np.asarray(self.population.scales.message.real(message.sum(axis=0)) / len(message))

    def _limited(self, what: str, found: Array, scale: Scale) -> Array:
        if scale.holds(found):
            return found
        limited = np.clip(found, scale.lowest, scale.highest)
        self._count(what, int(np.count_nonzero(limited != found)))
        return limited

    def _count(self, what: str, many: int) -> None:
        self.saturated[SATURATIONS.index(what)] += many


def _total(arrivals: Arrivals, state: Array) -> Array:
    total, *others = [copy.forward(signal) for copy, signal in arrivals] or [np.zeros_like(state)]
    for drive in others:
        total += drive
    return total


def _fixed(copy: Projection) -> FixedProjection:
    if not isinstance(copy, FixedProjection):
        raise OptionError("backward", f"{copy.name} holds floats in a network of integers", "quantise it")
    return copy


def _needs_unit_steps(alpha: float) -> None:
    if alpha != 1.0:
        raise OptionError("alpha", f"{alpha} in a network of integers, which takes unit steps", "use alpha=1")
