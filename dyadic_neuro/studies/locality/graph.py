"""What the graph alone foretells: which states a change can have reached after so many steps, one hop a step.

Potentials are reached along projections, sensitivities against them, a sensitivity also by the potential of its own dyad
(phi' and, at the readout, dC/du) and by the targets. No dynamics runs here: sets of neurons spread over the synapses there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.locality.perturbation import BIAS, COPY, INPUT, POTENTIAL, SENSITIVITY, WEIGHT, Perturbation, Variable

Reached = dict[Variable, Array]
"""Which neurons each change may have reached, (changes, n) bool."""

_POINTS = np.concatenate([np.linspace(-3.0, 3.0, 61), np.linspace(-40.0, 40.0, 41)])


@dataclass(frozen=True)
class Pace:
    """How fast changes spread in a circuit.

    They take `hops` a step, as many as its integrator has stages; a state `keeps` a part of what it was, where alpha is not 1;
    and `delays` are the steps that the (rates, sensitivities) of a projection are late.
    """

    hops: int = 1
    keeps: bool = False
    delays: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Graph:
    """The variables of a network, and which of them a step reads of which."""

    def __init__(self, network: Network, schedule: Schedule, pace: Pace | None = None) -> None:
        self._network, self._schedule, self._pace = network, schedule, Pace() if pace is None else pace
        self._forward = {p.name: _Synapses.of(p) for p in network.projections}
        self._backward = {p.name: _Synapses.of(p.transposed()) for p in network.projections}
        self._bends = {p.name: bends(p.phi) for p in network.dynamic}

    def spread(
        self, changes: Sequence[Perturbation], moved: Array, steps: int, *, rests: bool = False, lit: Array | None = None
    ) -> Iterator[Reached]:
        """Give what the changes may have reached after 0, 1, ... `steps` steps.

        `moved` (changes, n_output) tells which targets each of them changes. `rests`: the state before was all zero instead of
        generic, and sensitivities arrive nowhere yet. `lit` (n_input,) tells which inputs are not 0 (None: all): others drive
        nothing, whatever their weights.
        """
        net, count, hops = self._network, len(changes), self._pace.hops
        start = {(kind, p.name): np.zeros((count, p.size), bool) for kind in (POTENTIAL, SENSITIVITY) for p in net.dynamic}
        sources = _Sources(net, changes, moved, start, lit)
        past, alive = [start], [{p.name: np.full((1, p.size), not rests) for p in net.dynamic}]
        yield start
        for t in range(1, steps + 1):
            for _ in range(hops):
                reached, signals = self._hop(t, past, alive, sources)
                past.append(reached)
                alive.append(signals)
            yield past[-1]

    def _hop(
        self, t: int, past: list[Reached], alive: list[dict[str, Array]], sources: _Sources
    ) -> tuple[Reached, dict[str, Array]]:
        """Return what is reached one hop later, and which sensitivities (1, n) are then anything but 0."""
        net, now, reached = self._network, past[-1], dict(past[-1])
        signals = dict(alive[-1])
        changed, sensed = self._schedule.active(t)
        for name in changed:
            marks = sources.potential[name].copy()
            for p in net.incoming[name]:
                rates = sources.shown if p.source == net.input else self._earlier(past, p.name, 0)[POTENTIAL, p.source]
                self._forward[p.name].spread(rates, marks)
            reached[POTENTIAL, name] = marks | now[POTENTIAL, name] if self._pace.keeps else marks
        for name in sensed:
            drive, marks = np.zeros_like(alive[-1][name]), np.zeros_like(now[SENSITIVITY, name])
            for p in net.outgoing[name]:
                self._backward[p.name].spread(self._earlier(alive, p.name, 1)[p.target], drive)
                self._backward[p.name].spread(self._earlier(past, p.name, 1)[SENSITIVITY, p.target], marks)
            sources.read_copies(name, alive[-1], marks)
            if self._bends[name]:
                marks |= now[POTENTIAL, name] & drive  # phi' times nothing stays nothing
            if name == net.output:
                error = now[POTENTIAL, name]
                marks |= (error if net.cost.separable else error.any(axis=1, keepdims=True)) | sources.targets
                drive = np.ones_like(drive)
            reached[SENSITIVITY, name] = marks | now[SENSITIVITY, name] if self._pace.keeps else marks
            signals[name] = drive | alive[-1][name] if self._pace.keeps else drive
        return reached, signals

    def _earlier(self, history: list[Any], projection: str, way: int) -> Any:  # noqa: ANN401
        """Return what now arrives along a projection: before the first step the state was held for ever."""
        late = self._pace.delays.get(projection, (0, 0))[way] * self._pace.hops
        return history[max(0, len(history) - 1 - late)]


class _Sources:
    """Where changes act, once (`start` is marked) or in every step."""

    def __init__(
        self, network: Network, changes: Sequence[Perturbation], moved: Array, start: Reached, lit: Array | None
    ) -> None:
        count, projections = len(changes), {p.name: p for p in network.projections}
        self.shown: Array = np.zeros((count, network.population(network.input).size), bool)
        self.targets = moved
        self.potential: dict[str, Array] = {p.name: np.zeros((count, p.size), bool) for p in network.dynamic}
        self._copies: list[tuple[int, Projection, int, int]] = []
        for row, change in enumerate(changes):
            if change.kind in (POTENTIAL, SENSITIVITY):
                start[change.kind, change.name][row, change.index[0]] = True
            elif change.kind == INPUT:
                self.shown[row, change.index[0]] = True
            elif change.kind == BIAS:
                self.potential[change.name][row, change.index[0]] = True
            elif change.kind in (WEIGHT, COPY):
                p = projections[change.name]
                post, pre = p.rows.start + change.index[0], p.columns.start + change.index[-1]
                if change.kind == WEIGHT:
                    self.potential[p.target][row, post] = p.source != network.input or lit is None or bool(lit[pre])
                else:
                    self._copies.append((row, p, post, pre))

    def read_copies(self, name: str, alive: Mapping[str, Array], marks: Array) -> None:
        """Mark the sensitivities of a population whose W^T copies were changed where something arrives."""
        for row, p, post, pre in self._copies:
            if p.source == name and alive[p.target][0, post]:
                marks[row, pre] = True


@dataclass(frozen=True, eq=False)
class _Synapses:
    """Which synapses there are: those of one copy that are not 0. `mask` is None where all of a block are."""

    rows: slice
    columns: slice
    mask: Array | None
    one_to_one: bool

    @classmethod
    def of(cls, p: Projection) -> _Synapses:
        there = p.weights != 0
        mask = None if there.all() and not p.one_to_one else there.astype(np.float32)
        return cls(p.rows, p.columns, mask, p.one_to_one)

    def spread(self, sources: Array, marks: Array) -> None:
        """Mark (changes, n_target) what sources (changes, n_source) reach."""
        inside = sources[:, self.columns]
        if self.mask is None:
            marks[:, self.rows] |= inside.any(axis=1, keepdims=True)
        elif self.one_to_one:
            marks[:, self.rows] |= inside & (self.mask > 0)
        else:
            marks[:, self.rows] |= inside.astype(np.float32) @ self.mask.T > 0


def bends(phi: Activation) -> bool:
    """Whether phi' depends on the potential at all, as seen at a few points."""
    return bool(np.ptp(_slopes(phi)) > 0)


def has_flat_parts(phi: Activation) -> bool:
    """Whether phi bends, but not everywhere (relu and its like): there a change of the potential need not show in phi'."""
    slopes = _slopes(phi)[:61]  # of -3 .. 3
    return bends(phi) and bool((np.diff(slopes) == 0).any())


def _slopes(phi: Activation) -> Array:
    with np.errstate(all="ignore"):
        slopes: Array = phi.derivative(_POINTS[None], phi.rate(_POINTS[None]))[0]
    return slopes
