"""Plain records of a mapped network: everything a core is given when it is built. No core sees the network or another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dyadic_neuro.arithmetic import Rules
from dyadic_neuro.arrays import Array
from dyadic_neuro.losses import Loss
from dyadic_neuro.messages import Link, Signal
from dyadic_neuro.processes.slices import (
    FEEDBACK,
    POTENTIAL,
    SENSITIVITY,
    Axons,
    Clock,
    Contents,
    Plan,
    Samples,
    Widths,
    parameters_of,
    saturations_of,
)
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Timing


@dataclass(frozen=True)
class Way:
    """Messages of one `kind` (that of a Link) from neurons `start` .. `stop` - 1 of a population to the same cores."""

    population: str
    kind: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Its number of neurons."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class InputPart:
    """Neurons of the input from `start` on: shows its columns of the clamped samples."""

    population: str
    start: int
    samples: Samples
    sending: Axons
    links: tuple[Link, ...]

    @property
    def stop(self) -> int:
        """The neuron after its last one."""
        return self.start + self.samples.shape[1]


@dataclass(frozen=True, eq=False)
class Part:
    """Dyads of a population from `start` on: their states (batch, n), their bias, and their rows of the weights.

    `incoming` are the forward copies and `feedback` the W^T copies, by the names of their projections, that end on these
    neurons (Projection.onto). `potentials` and `sensitivities` say when the states are updated; `sending` has the axons of
    what it sends, by kind.
    """

    population: str
    start: int
    rules: Rules
    potential: Array
    sensitivity: Array
    bias: Array | None
    incoming: tuple[Projection, ...]
    feedback: tuple[tuple[str, Projection], ...]
    potentials: Timing
    sensitivities: Timing
    sending: Mapping[str, Axons]
    links: tuple[Link, ...]

    @property
    def stop(self) -> int:
        """The neuron after its last one."""
        return int(self.start + self.potential.shape[1])


@dataclass(frozen=True, eq=False)
class Readout:
    """The loss of the readout's neurons on a core, side by side: `samples` has their columns of the targets."""

    population: str
    loss: Loss
    samples: Samples
    learning: bool


@dataclass(frozen=True, eq=False)
class CoreSlice:
    """A core: its parts, and what it sends to other cores, keeps for itself and receives from others.

    `axons` are those of each population and kind that the core has synapses for. Without a `learning_rate` it only reads
    gradients off.
    """

    number: int
    batch: int
    inputs: tuple[InputPart, ...]
    parts: tuple[Part, ...]
    readout: Readout | None
    axons: Mapping[Signal, Axons]
    sends: tuple[Way, ...]
    keeps: tuple[Way, ...]
    receives: tuple[Way, ...]
    alpha: float
    learning_rate: float | None
    weight_decay: float
    widths: Widths

    @property
    def links(self) -> tuple[Link, ...]:
        """What its parts count, each link once."""
        found = [link for part in self.inputs for link in part.links] + [link for part in self.parts for link in part.links]
        return tuple(dict.fromkeys(found))

    @property
    def contents(self) -> Contents:
        """Keys and shapes of what it reports: gradients, or (learning) all its weights, biases and W^T copies; saturations."""
        found: Contents = []
        for part in self.parts:
            learning = self.learning_rate is not None
            found += parameters_of(part.population, part.start, part.incoming, part.bias, learning=learning)
            if learning:
                found += [((FEEDBACK, name, part.start), copy.weights.shape) for name, copy in part.feedback]
            found.append(saturations_of(part.population, part.start))
        return found

    @property
    def states(self) -> Contents:
        """Keys and shapes of its states, as they stand side by side in a message."""
        potentials: Contents = [((POTENTIAL, part.population, part.start), part.potential.shape) for part in self.parts]
        return [*potentials, *(((SENSITIVITY, name, start), shape) for (_, name, start), shape in potentials)]


@dataclass(frozen=True, eq=False)
class MappedPlan:
    """All cores of a circuit. `dtype` is that of every message."""

    clock: Clock
    dtype: str
    cores: tuple[CoreSlice, ...]

    def reports(self) -> Iterator[tuple[tuple[Link, ...], Contents]]:
        """Go through the reports in the recorder's order: each core's links, and keys and shapes of its contents."""
        yield from ((core.links, core.contents) for core in self.cores)

    def states(self) -> Iterator[Contents]:
        """Go through the states in the recorder's order: keys and shapes (batch, n) of what stands side by side in each."""
        yield from (core.states for core in self.cores if core.parts)

    def windows(self) -> Iterator[tuple[int, ...]]:
        """Go through the shapes of what is sent at the end of a window: (learning) the readout's potentials on each core."""
        yield from (core.readout.samples.shape for core in self.cores if core.readout is not None and core.readout.learning)


AnyPlan = Plan | MappedPlan
