"""The pipelined schedule: a new sample every step, with lines in which what a sample left waits for its sensitivity.

Population v works on sample t - depth(v) in step t, and its sensitivity on sample t - (D + 1 + height(v)); the first step
is 1, the first sample 0. Weights are frozen meanwhile, and gradients are summed up beside them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State, feedback_copies
from dyadic_neuro.errors import OptionError
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings.copies import KINDS, RATE, SENSITIVITY, Copy, copies
from dyadic_neuro.mappings.cores import Core, Part
from dyadic_neuro.mappings.counts import Signal, StepCounts
from dyadic_neuro.mappings.machine import Machine
from dyadic_neuro.mappings.mapping import Mapping
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection


@dataclass(frozen=True)
class Delays:
    """How long what belongs to a sample waits, in steps: an age of 0 has come in this step (or been computed in the last)."""

    network: Network

    def sample(self, signal: Signal, t: int) -> int:
        """Return the sample whose potential, or sensitivity, a population computes in step t."""
        name, kind = signal
        net = self.network
        return t - (net.depths[name] if kind == RATE else net.depth + 1 + net.heights[name])

    def axon(self, copy: Copy) -> int:
        """Return the age of a message on its axon when it drives the neurons of a copy: paths of all lengths are matched."""
        net = self.network
        if copy.kind == RATE:
            return net.depths[copy.target] - net.depths[copy.source] - 1
        return net.heights[copy.target] - net.heights[copy.source] - 1

    def learning(self, copy: Copy) -> int:
        """Return the age of a rate on its axon when the sensitivity that it meets at the synapse is there."""
        net = self.network
        return net.depth + net.heights[copy.target] - net.depths[copy.source]

    def own(self, population: str) -> int:
        """Return the age of a population's own phi'(u) and r when the sensitivities of their sample arrive."""
        net = self.network
        return net.depth + net.heights[population] - net.depths[population]


class Line:
    """The last so many values, newest first. Asking for an older one is an IndexError."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self._values: deque[Array] = deque(maxlen=entries)

    def push(self, value: Array) -> None:
        """Take a value in; the oldest falls out."""
        self._values.appendleft(value)

    def __getitem__(self, age: int) -> Array:
        return self._values[age]


class Stage(Core):
    """A core with lines: on its axons, of its own slopes and rates, and of targets."""

    def __init__(self, number: int, network: Network) -> None:
        super().__init__(number, network.cost, network.output)
        self._network, self._delays = network, Delays(network)
        self._copies = {(c.projection, c.kind): c for c in copies(network)}
        self.own: dict[int, tuple[Line, Line]] = {}
        self.came: dict[Signal, Line] = {}
        self._wanted = Line(network.depth + 1)
        self.sums: dict[tuple[str, str, int], Array] = {}

    def prepare(self) -> None:
        """Lay out the lines, once the parts are known: each is as long as the oldest entry that is asked for."""
        oldest: dict[Signal, int] = {}
        for part in self.parts:
            entries = 0 if part.potential is None else self._delays.own(part.name) + 1
            self.own[id(part)] = (Line(entries), Line(entries))
            for kind, held in ((RATE, part.forward), (SENSITIVITY, part.feedback)):
                for name in held:
                    copy = self._copies[name, kind]
                    age = self._delays.learning(copy) if kind == RATE and copy.plastic else self._delays.axon(copy)
                    oldest[copy.source, kind] = max(age, oldest.get((copy.source, kind), 0))
        self.came = {signal: Line(age + 1) for signal, age in oldest.items()}

    def keep(self) -> None:
        """Put what came in this step into the lines; targets come with their inputs."""
        for signal, line in self.came.items():
            line.push(np.array(self.axons[signal]))
        if self.targets is not None:
            self._wanted.push(self.targets)

    def update(self, updating: frozenset[Signal], alpha: float) -> None:
        """Take every state that is due to its next sample, and sum up the gradients of samples that are done."""
        self.keep()
        super().update(updating, alpha)
        for part in self.parts:
            if part.potential is None or part.sensitivity is None:
                continue
            if (part.name, SENSITIVITY) in updating:
                self._sum_up(part, part.sensitivity)
            part.show()
            self.own[id(part)][0].push(part.rules.derivative(part.potential, part.rate))
            self.own[id(part)][1].push(part.rate)

    def arrived(self, projection: str, kind: str, copy: Projection) -> Array:
        """Return what drives the neurons of a copy in this step: it may have waited for longer ways."""
        return self.came[copy.source, kind][self._delays.axon(self._copies[projection, kind])]

    def slope(self, part: Part) -> Array:
        """Return the phi'(u) of the sample whose sensitivities are there."""
        return self.own[id(part)][0][self._delays.own(part.name)]

    def wanted(self) -> Array | None:
        """Return the targets of the sample whose potential the readout has."""
        return None if self.targets is None else self._wanted[self._network.depth]

    def _sum_up(self, part: Part, sensitivity: Array) -> None:
        """Add what meets at the plastic synapses of a part: the gradient of the sample whose sensitivity is there now."""
        for name, weights in part.forward.items():
            if weights.plastic:
                copy = self._copies[name, RATE]
                came = self.came[copy.source, RATE][self._delays.learning(copy)]
                self._add((name, RATE, part.start), weights.outer(sensitivity, came))
        for name, weights in part.feedback.items():
            if weights.plastic:
                own = self.own[id(part)][1][self._delays.own(part.name)]
                self._add((name, SENSITIVITY, part.start), weights.outer(own, self.arrived(name, SENSITIVITY, weights)))
        if part.bias is not None:
            self._add((f"{part.name}.bias", RATE, part.start), part.rules.bias_gradient(sensitivity))

    def _add(self, key: tuple[str, str, int], product: Array) -> None:
        self.sums[key] = self.sums[key] + product if key in self.sums else product


class Pipeline(Machine):
    """A machine into which a new sample goes every step. Raises CycleError, and OptionError for a network of integers."""

    def __init__(self, mapping: Mapping, network: Graph) -> None:
        if not isinstance(network, Network):
            raise OptionError("network", f"{network!r} has integers, and a pipeline floats", "use network.real(), or relax")
        self._floats = network
        super().__init__(mapping, network, feedback_copies(network), State.zero(network, 1), 1)
        self._delays = Delays(network)
        for stage in self.cores.values():
            stage.prepare()  # type: ignore[attr-defined]

    def core(self, number: int) -> Core:
        """Return an empty core with lines."""
        return Stage(number, self._floats)

    def run(self, inputs: Array, targets: Array) -> tuple[list[StepCounts], Array]:
        """Send all samples through. Return the counts of every step, and the readout's potentials (samples, n_output)."""
        counts: list[StepCounts] = []
        shown, readout = [], self._network.output
        for t in range(1, len(inputs) + self._network.relaxation_steps):
            sample = min(t - 1, len(inputs) - 1)
            self.clamp(inputs[sample : sample + 1], targets[sample : sample + 1])
            sending, updating = self._flying(t - 1, len(inputs)), self._flying(t, len(inputs))
            shown_now = {signal for signal in sending if signal[0] == self._network.input}  # an input is new when it is shown
            computed = {signal for signal in updating if signal[0] != self._network.input}
            counts += self.step(sending, frozenset(shown_now | computed), 1.0)
            if 0 <= self._delays.sample((readout, RATE), t) < len(inputs):
                shown.append(self.states()[0][readout][0])
        return counts, np.stack(shown)

    def _flying(self, t: int, samples: int) -> frozenset[Signal]:
        """Return the signals that belonged to a sample when they were computed in step t."""
        names = [(p.name, kind) for p in self._network.populations for kind in KINDS]
        real = [(n, k) for n, k in names if n != self._network.input or k == RATE]
        return frozenset(s for s in real if 0 <= self._delays.sample(s, t) < samples)

    def summed(self, samples: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the gradients (means over the samples) as the forward copies summed them up, and as the W^T copies did."""
        found: list[dict[str, Array]] = []
        for kind in KINDS:
            rows = [(key, stage.sums[key]) for stage in self.cores.values() for key in stage.sums if key[1] == kind]  # type: ignore[attr-defined]
            names = sorted({key[0] for key, _ in rows})
            parts = {n: sorted(((key[2], v) for key, v in rows if key[0] == n), key=lambda row: row[0]) for n in names}
            found.append({n: np.concatenate([v for _, v in own]) / samples for n, own in parts.items()})
        return found[0], found[1]
