"""Plain records: everything a process is given when it is built. No process sees the network or another's record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.losses import Loss
from dyadic_neuro.messages import Link
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Timing

PARAMETER, FEEDBACK, POTENTIAL, SENSITIVITY = "parameter", "feedback", "potential", "sensitivity"

Key = tuple[str, str, int]
"""What an array is (PARAMETER with gradients for one, FEEDBACK for a W^T copy ...), its name, and its first neuron."""

Contents = list[tuple[Key, tuple[int, ...]]]
"""Keys and shapes of the arrays that a process sends in one message."""


@dataclass(frozen=True)
class Clock:
    """The sample and learning clock, the one signal that all processes share.

    A window of `window` steps holds one batch; in its last step the weights read their factors. Every `report` steps the
    processes send out what they hold. `by_step`: they send their state in every step, else (`final_state`) when they
    report.
    """

    window: int
    report: int
    by_step: bool
    final_state: bool

    def ends_window(self, step: int) -> bool:
        """Whether this is the last step of a window; the first step is 1."""
        return step % self.window == 0

    def reports(self, step: int) -> bool:
        """Whether the processes report at the end of this step."""
        return step % self.report == 0

    def records(self, step: int) -> bool:
        """Whether the state is sent out at the end of this step."""
        return self.by_step or (self.final_state and self.reports(step))

    @property
    def rows(self) -> int:
        """The rows of counts between two reports: one a step, or one in all."""
        return self.report if self.by_step else 1


@dataclass(frozen=True, eq=False)
class Samples:
    """What is clamped: `values` (samples, n), of which window w holds the rows order[w], (windows, batch)."""

    values: Array
    order: Array

    def at(self, window: int) -> Array:
        """Return the batch (batch, n) of a window, the first being 0."""
        return np.asarray(self.values[self.order[window]])

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, n)."""
        return self.order.shape[1], self.values.shape[1]


@dataclass(frozen=True, eq=False)
class InputSlice:
    """The input population: shows the clamped samples."""

    population: str
    samples: Samples
    timing: Timing
    links: tuple[Link, ...]


@dataclass(frozen=True, eq=False)
class ForwardSlice:
    """A forward population: its potential (batch, n), bias, and the forward copies of the weights that feed it.

    `learning_rate` is None when it only reads gradients off. `partner` says whether its sensitivity partner needs
    phi'(u), `learning_rate` set whether it needs r too.
    """

    population: str
    activation: Activation
    potential: Array
    bias: Array | None
    incoming: tuple[Projection, ...]
    timing: Timing
    alpha: float
    learning_rate: float | None
    weight_decay: float
    partner: bool
    readout: bool
    links: tuple[Link, ...]

    @property
    def learns(self) -> bool:
        """Whether it has anything plastic, and so needs its partner's sensitivity."""
        return self.bias is not None or any(copy.plastic for copy in self.incoming)

    @property
    def contents(self) -> Contents:
        """Keys and shapes of what it reports: gradients, or (learning) all its weights and its bias."""
        return parameters_of(self.population, 0, self.incoming, self.bias, learning=self.learning_rate is not None)


@dataclass(frozen=True, eq=False)
class SensitivitySlice:
    """A sensitivity population: its sensitivity (batch, n) and its own W^T copies, by the names of their projections."""

    population: str
    sensitivity: Array
    feedback: tuple[tuple[str, Projection], ...]
    timing: Timing
    alpha: float
    learning_rate: float | None
    weight_decay: float
    sends: bool
    hands_over: bool
    readout: bool
    links: tuple[Link, ...]

    @property
    def contents(self) -> Contents:
        """Keys and shapes of what it reports: (learning) its W^T copies."""
        return [] if self.learning_rate is None else [((FEEDBACK, name, 0), copy.weights.shape) for name, copy in self.feedback]


@dataclass(frozen=True, eq=False)
class LossSlice:
    """The loss: knows the targets, turns the readout's potential into dC/du."""

    population: str
    loss: Loss
    samples: Samples
    timing: Timing
    learning: bool
    links: tuple[Link, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """All processes of a circuit. `dtype` is that of every message."""

    clock: Clock
    dtype: str
    input: InputSlice
    forward: tuple[ForwardSlice, ...]
    sensitivity: tuple[SensitivitySlice, ...]
    loss: LossSlice

    def reports(self) -> Iterator[tuple[tuple[Link, ...], Contents]]:
        """Go through the reports in the recorder's order: each process's links, and keys and shapes of its contents."""
        yield self.input.links, []
        yield from ((part.links, part.contents) for part in self.forward)
        yield from ((part.links, part.contents) for part in self.sensitivity)
        yield self.loss.links, []

    def states(self) -> Iterator[Contents]:
        """Go through the states in the recorder's order: keys and shapes (batch, n) of what stands side by side in each."""
        yield from ([((POTENTIAL, part.population, 0), part.potential.shape)] for part in self.forward)
        yield from ([((SENSITIVITY, part.population, 0), part.sensitivity.shape)] for part in self.sensitivity)

    def windows(self) -> Iterator[tuple[int, ...]]:
        """Go through the shapes of what is sent at the end of a window: (learning) its loss and the samples classified right."""
        if self.loss.learning:
            yield (2,)


def parameters_of(population: str, start: int, incoming: Sequence[Projection], bias: Array | None, *, learning: bool) -> Contents:
    """Return keys and shapes of the parameters of neurons from `start` on: of all, or of the plastic ones."""
    held: Contents = [((PARAMETER, p.name, start), p.weights.shape) for p in incoming if p.plastic or learning]
    return held if bias is None else [*held, ((PARAMETER, f"{population}.bias", start), bias.shape)]


def beside(contents: Contents) -> tuple[int, int]:
    """Return the shape of arrays (batch, n) that are put side by side."""
    return contents[0][1][0], sum(shape[1] for _, shape in contents)


def report_size(clock: Clock, links: Sequence[Link], contents: Contents) -> int:
    """Return the numbers in a report: the contents, then the counts (rows, links)."""
    return sum(prod(shape) for _, shape in contents) + clock.rows * len(links)


def pack(arrays: Sequence[Array], counts: Array) -> Array:
    """Return one float64 vector of all contents and counts (whole numbers up to 2**53 survive that)."""
    return np.concatenate([np.ravel(part).astype(np.float64) for part in (*arrays, counts)] or [np.zeros(0)])


def unpack(vector: Array, clock: Clock, links: Sequence[Link], contents: Contents, dtype: str) -> tuple[dict[Key, Array], Array]:
    """Return the contents by key and the counts (rows, links) of a packed report."""
    found: dict[Key, Array] = {}
    at = 0
    for key, shape in contents:
        found[key] = vector[at : at + prod(shape)].reshape(shape).astype(dtype)
        at += prod(shape)
    return found, vector[at:].reshape(clock.rows, len(links)).astype(np.int64)
