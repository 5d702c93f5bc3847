"""Plain records: everything a process is given when it is built. No process sees the network or another's record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from dyadic_neuro.arithmetic import Rules
from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Coding
from dyadic_neuro.fixed_point.rules import SATURATIONS
from dyadic_neuro.losses import Loss
from dyadic_neuro.messages import Link
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Timing

PARAMETER, FEEDBACK, POTENTIAL, SENSITIVITY, SATURATED = "parameter", "feedback", "potential", "sensitivity", "saturated"

Key = tuple[str, str, int]
"""What an array is (PARAMETER with gradients for one, FEEDBACK for a W^T copy ...), its name, and its first neuron."""

Widths = Mapping[str, int]
"""The bits that what each out-port sends may have, by the name of the port; empty in floats."""

Contents = list[tuple[Key, tuple[int, ...]]]
"""Keys and shapes of the arrays that a process sends in one message."""


@dataclass(frozen=True)
class Clock:
    """The sample and learning clock, the one signal that all processes share.

    A window of `window` steps holds one batch; in its last step the weights read their factors. Every `report` steps the
    processes send out what they hold. `by_step`: they send their state in every step, else (`final_state`) when they
    report. A step takes `micro_steps` timesteps of Lava, in each of which messages tell a part of what they say; states
    change in the last of them.
    """

    window: int
    report: int
    by_step: bool
    final_state: bool
    micro_steps: int = 1

    def at(self, timestep: int) -> tuple[int, int]:
        """Return the step (the first is 1) that a timestep of Lava belongs to, and its micro-step (the first is 0)."""
        step, micro = divmod(timestep - 1, self.micro_steps)
        return step + 1, micro

    def ends_step(self, micro: int) -> bool:
        """Whether this is the last micro-step."""
        return micro == self.micro_steps - 1

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
class Axons:
    """How the rates, or the sensitivities, of some neurons travel: what both ends are given.

    `timing` says in which steps they are sent, `told` (batch, n) what receivers hold before the first step. `bits` is the width
    of a message (0 in floats, which have no coding but graded). `number` is that of the signal, `first` that of the first
    neuron: they key the noise of the coding.
    """

    coding: Coding
    bits: int
    number: int
    first: int
    told: Array
    timing: Timing

    @property
    def wire_bits(self) -> int:
        """The bits that a message has on the wire."""
        return self.coding.wire_bits(self.bits)

    def of(self, start: int, stop: int) -> Axons:
        """Return those of the neurons `start` .. `stop` - 1."""
        return replace(self, first=self.first + start, told=self.told[:, start:stop])


@dataclass(frozen=True, eq=False)
class InputSlice:
    """The input population: shows the clamped samples."""

    population: str
    samples: Samples
    sending: Axons
    links: tuple[Link, ...]
    widths: Widths


@dataclass(frozen=True, eq=False)
class ForwardSlice:
    """A forward population: its potential (batch, n), bias, and the forward copies of the weights that feed it.

    `arriving` are the axons of each of these copies, `sending` its own, if any projection leaves it. `learning_rate` is None
    when it only reads gradients off.
    """

    population: str
    rules: Rules
    potential: Array
    bias: Array | None
    incoming: tuple[Projection, ...]
    arriving: tuple[Axons, ...]
    sending: Axons | None
    timing: Timing
    alpha: float
    learning_rate: float | None
    weight_decay: float
    readout: bool
    links: tuple[Link, ...]
    widths: Widths

    @property
    def partner(self) -> bool:
        """Whether its sensitivity partner needs phi'(u), and when learning what is heard of r."""
        return self.sending is not None

    @property
    def learns(self) -> bool:
        """Whether it has anything plastic, and so needs its partner's sensitivity."""
        return self.bias is not None or any(copy.plastic for copy in self.incoming)

    @property
    def contents(self) -> Contents:
        """Keys and shapes of what it reports: gradients, or (learning) all its weights and its bias; and saturations."""
        held = parameters_of(self.population, 0, self.incoming, self.bias, learning=self.learning_rate is not None)
        return [*held, saturations_of(self.population, 0)]


@dataclass(frozen=True, eq=False)
class SensitivitySlice:
    """A sensitivity population: its sensitivity (batch, n) and its own W^T copies, by the names of their projections.

    `arriving` are the axons of each of these copies, `sending` its own, if any other population listens.
    """

    population: str
    rules: Rules
    sensitivity: Array
    feedback: tuple[tuple[str, Projection], ...]
    arriving: tuple[Axons, ...]
    sending: Axons | None
    timing: Timing
    alpha: float
    learning_rate: float | None
    weight_decay: float
    hands_over: bool
    readout: bool
    links: tuple[Link, ...]
    widths: Widths

    @property
    def contents(self) -> Contents:
        """Keys and shapes of what it reports: (learning) its W^T copies; and saturations."""
        learning = self.learning_rate is not None
        copies: Contents = [((FEEDBACK, name, 0), copy.weights.shape) for name, copy in self.feedback if learning]
        return [*copies, saturations_of(self.population, 0)]


@dataclass(frozen=True, eq=False)
class LossSlice:
    """The loss: knows the targets, turns the readout's potential into dC/du."""

    population: str
    loss: Loss
    samples: Samples
    timing: Timing
    learning: bool
    links: tuple[Link, ...]
    widths: Widths


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


def saturations_of(population: str, start: int) -> tuple[Key, tuple[int, ...]]:
    """Return key and shape of what neurons from `start` on report of their saturations."""
    return (SATURATED, population, start), (len(SATURATIONS),)


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
    """Return the contents by key, as `dtype`, and the counts (rows, links) of a packed report."""
    found: dict[Key, Array] = {}
    at = 0
    for key, shape in contents:
        found[key] = vector[at : at + prod(shape)].reshape(shape).astype(dtype)
        at += prod(shape)
    return found, vector[at:].reshape(clock.rows, len(links)).astype(np.int64)
