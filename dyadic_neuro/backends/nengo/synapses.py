"""The plastic parts of a circuit: copies of weights, and biases, that learn from what arrives at them and nothing else.

Each is called once a Nengo step, with the time and what arrives. In Nengo a state is seen one step after it was computed: what
belongs to the last step of a window is read in the first step of the next, before anything is sent, so that the messages of
that step carry the new weights already and a window is no longer than its steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import bias_gradient, bias_update, weight_update
from dyadic_neuro.projection import Projection


@dataclass(frozen=True)
class Lesson:
    """When to read, and what to do with it.

    The factors of every sample are read after each `period` Nengo steps. With a `learning_rate`, `batch` of them make one
    step of gradient descent, with `weight_decay`; without one they are kept.
    """

    period: int
    batch: int = 1
    learning_rate: float | None = None
    weight_decay: float = 0.0


class Copy:
    """One copy of a projection's weights: passes signals on, and learns.

    `weights` says which way it goes: the forward copy gets its source's rates and has its target's sensitivity, the W^T copy
    gets sensitivities and has the rate. `late`: of its own it reads that of a step before, the one that goes with the signal
    (DESIGN section 2).
    """

    def __init__(self, weights: Projection, lesson: Lesson, *, late: bool) -> None:
        self.weights = weights
        self._lesson, self._late = lesson, late
        self._inputs = weights.full_shape[1]
        self._signal, self._own = np.empty(0), np.empty(0)  # of the step before
        self._signals: list[Array] = []
        self._owns: list[Array] = []
        self._done = 0

    def __call__(self, _: float, arrived: Array) -> Array:
        """Return the drive (n_target,) caused by the signal, the first part of what arrived; its own is the other one."""
        signal, own = arrived[: self._inputs], arrived[self._inputs :]
        if self._done and self._done % self._lesson.period == 0:
            self._read(self._own if self._late else own)
        self._done += 1
        self._signal, self._own = signal, own
        drive: Array = self.weights.forward(signal[None])[0]
        return drive

    def _read(self, own: Array) -> None:
        self._signals.append(self._signal)
        self._owns.append(own)
        rate, decay = self._lesson.learning_rate, self._lesson.weight_decay
        if rate is not None and len(self._owns) == self._lesson.batch:
            self.weights = weight_update(self.weights, *self._factors(), rate, decay)
            self._signals, self._owns = [], []

    def gradient(self) -> Array:
        """Return the mean over what was read and kept of own (outer) signal, in the shape of the weights."""
        return self.weights.outer(*self._factors())

    def _factors(self) -> tuple[Array, Array]:
        return np.stack(self._owns), np.stack(self._signals)


class Bias:
    """The bias of a population, which learns from the population's sensitivity."""

    def __init__(self, weights: Array, lesson: Lesson) -> None:
        self.weights = weights
        self._lesson = lesson
        self._read: list[Array] = []
        self._done = 0

    def __call__(self, _: float, sensitivity: Array) -> Array:
        """Return the bias (n,)."""
        if self._done and self._done % self._lesson.period == 0:
            self._read.append(sensitivity)
            if self._lesson.learning_rate is not None and len(self._read) == self._lesson.batch:
                self.weights = bias_update(self.weights, np.stack(self._read), self._lesson.learning_rate)
                self._read = []
        self._done += 1
        return self.weights

    def gradient(self) -> Array:
        """Return the mean over what was read and kept."""
        return bias_gradient(np.stack(self._read))
