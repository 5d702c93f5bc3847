"""A projection: the synapses from one population to another, and the three things that signals do with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dyadic_neuro.arrays import Array


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from `source` to `target`: one copy of a weight matrix W (n_target, n_source).

    `weights` is all of W, or, with `shape` = (n_target, n_source), a block of it whose first row and column stand at
    `corner`; W is 0 elsewhere, without synapses. A vector of weights (n,) is the diagonal of such a block: neuron to
    neuron, one to one. Signals are (batch, n). A fixed projection (`plastic=False`) carries messages but never learns.
    """

    source: str
    target: str
    weights: Array
    plastic: bool = True
    corner: tuple[int, int] = (0, 0)
    shape: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The key of the weights: "source->target"."""
        return f"{self.source}->{self.target}"

    @property
    def one_to_one(self) -> bool:
        """Whether each neuron reaches one neuron, and the weights are a diagonal."""
        return np.ndim(self.weights) == 1

    @property
    def rows(self) -> slice:
        """The neurons of the target that have synapses."""
        return slice(self.corner[0], self.corner[0] + self.weights.shape[0])

    @property
    def columns(self) -> slice:
        """The neurons of the source that have synapses."""
        return slice(self.corner[1], self.corner[1] + self.weights.shape[-1])

    @property
    def full_shape(self) -> tuple[int, int]:
        """(n_target, n_source) of the whole matrix."""
        return self.shape or (self.weights.shape[0], self.weights.shape[-1])

    def forward(self, rates: Array) -> Array:
        """Return the drive (batch, n_target) that rates (batch, n_source) cause."""
        if self.shape is None and not self.one_to_one:
            return rates @ self.weights.T
        drive = np.zeros((len(rates), self.full_shape[0]), rates.dtype)
        arrived = rates[:, self.columns]
        drive[:, self.rows] = arrived * self.weights if self.one_to_one else arrived @ self.weights.T
        return drive

    def backward(self, sensitivities: Array) -> Array:
        """Return the drive (batch, n_source) that sensitivities (batch, n_target) cause through the transposed weights."""
        return self.transposed().forward(sensitivities)

    def outer(self, sensitivities: Array, rates: Array) -> Array:
        """Return the mean over the batch of sensitivities (outer) rates, in the shape of the weights."""
        batch = len(rates)
        if self.shape is not None:
            sensitivities, rates = sensitivities[:, self.rows], rates[:, self.columns]
        if self.one_to_one:
            return np.asarray((sensitivities * rates).sum(axis=0) * (1.0 / batch))
        if batch == 1:  # einsum writes the result in one pass, faster than np.outer or a matrix product of inner length 1
            return np.asarray(np.einsum("i,j->ij", sensitivities[0], rates[0]))
        return (sensitivities * (1.0 / batch)).T @ rates

    def transposed(self) -> Projection:
        """Return the backward copy W^T: a projection the other way, sharing memory with this one."""
        shape = None if self.shape is None else self.shape[::-1]
        return Projection(self.target, self.source, self.weights.T, self.plastic, self.corner[::-1], shape)

    def with_weights(self, weights: Array) -> Projection:
        """Return this projection holding other weights of the same shape."""
        return Projection(self.source, self.target, weights, self.plastic, self.corner, self.shape)

    def onto(self, start: int, stop: int) -> Projection | None:
        """Return the synapses that end on neurons `start` .. `stop` - 1 of the target, which become its neurons from 0 on.

        None if there are none. Shares memory with this one.
        """
        first, last = max(start, self.rows.start), min(stop, self.rows.stop)
        if first >= last:
            return None
        skipped = first - self.rows.start
        column = self.corner[1] + (skipped if self.one_to_one else 0)
        weights = self.weights[skipped : last - self.rows.start]
        shape = (stop - start, self.full_shape[1])
        return replace(self, weights=weights, corner=(first - start, column), shape=None if weights.shape == shape else shape)
