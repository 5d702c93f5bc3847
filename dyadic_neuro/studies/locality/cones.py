"""Light cones, measured by intervention: one variable is changed, and every state is watched for when it differs.

Nothing is asked of a backend but `relax`, with the change and without. Changes of inputs, targets and states are rows of one
batch; the run without any has the same shape, so that sums run in the same order, and what differs in a single bit differs
because of the change. What the graph foretells (`graph`) is laid beside it neuron by neuron and step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.locality.graph import Graph, Pace, Reached
from dyadic_neuro.studies.locality.interventions import NEVER, Interventions, spaced
from dyadic_neuro.studies.locality.perturbation import ROWS, STATES, Perturbation, Variable
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.trace import Trace

Group = tuple[str, str]
"""A kind and a population, or a projection: what was changed."""

_PROBED, _BUMP = 16, 1e-3  # neurons of a readout whose loss is looked at, and by how much they are moved
_COLUMNS = {
    "changed": "object",
    "of": "object",
    "affected": "object",
    "population": "object",
    "changes": "int64",
    "first": "float64",
    "predicted_first": "float64",
    "last": "float64",
    "predicted_last": "float64",
    "neurons": "int64",
    "as_predicted": "int64",
    "early": "int64",
    "largest": "float64",
}


@dataclass(frozen=True, eq=False)
class Cones:
    """What differed because of each of the `changes`, made `at` a step, and what might have.

    Arrays are (changes, n), by (kind, population): `first` and `last` the first and the last step after the change at which a
    state differs (NEVER: at none), `could_first` and `could_last` what the graph foretells, `acts` what differs one step after
    it, `could_act` what may. `sizes` are the largest differences, (steps + 1,), by what was changed and what differs. `outside`
    counts those of the `cells` (a state at a step) that differ where no way leads, and `outside_first` tells the first of them in
    words. `runs` had rows that nobody had changed beside others; `stray` tells the first state of such a row that differed (None:
    none). `faintest` is the smallest relative difference among the states that did not all differ as foretold, `slope`
    the smallest slope of a rate or of the loss in a run without a change; `resting` tells of a start from zero.
    """

    subject: Subject = field(repr=False)
    changes: tuple[Perturbation, ...] = field(repr=False)
    at: int
    steps: int
    first: Mapping[Variable, Array] = field(repr=False)
    last: Mapping[Variable, Array] = field(repr=False)
    could_first: Mapping[Variable, Array] = field(repr=False)
    could_last: Mapping[Variable, Array] = field(repr=False)
    acts: Mapping[Variable, Array] = field(repr=False)
    could_act: Mapping[Variable, Array] = field(repr=False)
    sizes: Mapping[tuple[Group, Variable], Array] = field(repr=False)
    cells: int
    outside: int
    outside_first: str | None
    runs: int
    stray: str | None
    faintest: float
    slope: float
    resting: bool

    @property
    def equal(self) -> bool:
        """Whether every state first differs exactly when the graph says that it can, and last."""
        return all(
            np.array_equal(self.first[v], self.could_first[v]) and np.array_equal(self.last[v], self.could_last[v])
            for v in self.first
        )

    def groups(self) -> dict[Group, Array]:
        """Return the rows of each kind and population, or projection, that was changed."""
        found: dict[Group, list[int]] = {}
        for row, change in enumerate(self.changes):
            found.setdefault((change.kind, change.name), []).append(row)
        return {group: np.array(rows) for group, rows in found.items()}

    def table(self) -> Any:  # noqa: ANN401  (a pandas DataFrame)
        """Return a row for each group that was changed and each kind of state of each population that it may reach.

        Columns: changed, of (a population or projection), affected, population; changes, the number of variables that were
        changed one at a time; first, predicted_first, last, predicted_last, steps after the change, of the neurons the earliest
        and the latest (NaN: never); neurons (pairs of a change and a neuron), as_predicted, those of them whose first step is
        the predicted one, early, those that differ sooner or although they cannot; largest, the largest difference.
        """
        parts = []
        for (kind, name), rows in self.groups().items():
            for variable, first in self.first.items():
                a, b = first[rows], self.could_first[variable][rows]
                ends = (self.last[variable][rows], self.could_last[variable][rows])
                parts.append(
                    {
                        "changed": kind,
                        "of": name,
                        "affected": variable[0],
                        "population": variable[1],
                        "changes": len(rows),
                        "first": _or_nan(a.min()),
                        "predicted_first": _or_nan(b.min()),
                        "last": _latest(ends[0]),
                        "predicted_last": _latest(ends[1]),
                        "neurons": a.size,
                        "as_predicted": int((a == b).sum()),
                        "early": int((a < b).sum()),
                        "largest": float(self.sizes[(kind, name), variable].max()),
                    }
                )
        return tables.frame(_COLUMNS, parts)


def measure(subject: Subject, changes: Iterable[Perturbation] | None = None, *, at: int = 0, steps: int | None = None) -> Cones:
    """Change one variable after another and return what differs within `steps` (None: 3D), beside what the graph foretells.

    `changes` default to those of every input, target and state, and of a synapse or bias of some projections and populations.
    States are those that `at` steps of a relaxation from a random state leave; the run that is watched begins there, and counts
    its own steps from 1. A backend that takes no initial state is watched from rest, and its states are not changed. Each sample
    of the subject is changed; a state differs if it does in any of them.

    Raises, before anything runs: OptionError (steps, at, perturbation, backend), UnknownNameError, CycleError (a network with a
    cycle wants explicit steps), and what `relax` raises.
    """
    plan = Interventions.of(subject, changes, at, steps)
    graph, watched = Graph(subject.running, plan.schedule, pace(subject)), _Watched(subject, plan.steps)
    if not plan.changes:
        raise OptionError("changes", "are none", "leave them out for all")
    rows = [change for change in plan.changes if change.kind in ROWS]
    capacity = plan.capacity(len(rows))
    control = plan.run(capacity) if rows else None
    for begin in range(0, len(rows), capacity - 1):
        chunk = rows[begin : begin + capacity - 1]
        inputs, targets, state, differ = plan.altered(chunk, capacity)
        trace = subject.relax(plan.steps, inputs=inputs, targets=targets, initial=state)
        watched.add(chunk, trace, control, list(graph.spread(chunk, differ, plan.steps, **plan.start)))
    others = [change for change in plan.changes if change.kind not in ROWS]
    if others:
        control = plan.run_with([])
        none = np.zeros((len(others), subject.targets.shape[1]), bool)
        foretold = list(graph.spread(others, none, plan.steps, **plan.start))
        for i, change in enumerate(others):
            alone = [{variable: marks[i : i + 1] for variable, marks in reached.items()} for reached in foretold]
            watched.add([change], plan.run_with([change]), control, alone)
    return watched.cones(plan.at, resting=plan.state is None)


def pace(subject: Subject) -> Pace:
    """Return how fast the backend's circuit lets changes spread, as it describes itself."""
    backend = subject.backend
    substrate: Substrate | None = getattr(backend, "substrate", None)
    hops, keeps = getattr(backend, "stages", 1), backend.alpha != 1.0
    if substrate is None or substrate.ideal:
        return Pace(hops, keeps)
    return Pace(hops, keeps or bool(substrate.time_constants), substrate.delay_steps(subject.running, backend.alpha))


class _Watched:
    """What was seen so far."""

    def __init__(self, subject: Subject, steps: int) -> None:
        self._subject, self._steps = subject, steps
        self._changes: list[Perturbation] = []
        self._found: dict[str, dict[Variable, list[Array]]] = {}
        self._sizes: dict[tuple[Group, Variable], Array] = {}
        self._cells = self._outside = self._runs = 0
        self._first: tuple[int, str] | None = None
        self._stray: str | None = None
        self._faintest = self._slope = np.inf

    def add(self, chunk: Sequence[Perturbation], trace: Trace, control: Trace | None, could: Sequence[Reached]) -> None:
        """Note what differs from the control, a run of the same shape, because of the changes of one run."""
        spare = False
        for kind, states, others in zip(STATES, _states(trace), _states(control), strict=True):
            for name, rows in states.items():
                variable, shape = (kind, name), (self._steps + 1, -1, len(self._subject.inputs), rows.shape[2])
                differs = (rows != others[name]).reshape(shape).any(axis=2)
                spare |= differs.shape[1] > len(chunk)
                if self._stray is None and differs[:, len(chunk) :].any():
                    t, _, neuron = (int(i) for i in np.argwhere(differs[:, len(chunk) :])[0])
                    self._stray = f"{kind} {name}[{neuron}] of a row that nobody changed differs at step {t}"
                seen, may = differs[:, : len(chunk)], np.stack([reached[variable] for reached in could])
                self._note("first", variable, _first(seen))
                self._note("last", variable, _last(seen))
                self._note("could_first", variable, _first(may))
                self._note("could_last", variable, _last(may))
                self._note("acts", variable, seen[1])
                self._note("could_act", variable, may[1])
                self._cells += seen.size
                self._stray_cells(variable, chunk, seen & ~may, _first(may))
                self._measure(chunk, variable, rows, others[name], shape)
                if not np.array_equal(seen, may):
                    self._faintest = min(self._faintest, _faintest(rows, others[name]))
                    self._slope = min(self._slope, self._flattest(control))
        self._runs += spare
        self._changes += chunk

    def _note(self, what: str, variable: Variable, values: Array) -> None:
        self._found.setdefault(what, {}).setdefault(variable, []).append(values)

    def _flattest(self, control: Trace | None) -> float:
        """Return the smallest slope of what populations send, and of the loss, in any step of a run without a change."""
        if control is None:
            return float(np.inf)
        network, samples = self._subject.running, len(self._subject.inputs)
        states = {p.name: control.potentials[p.name][:, :samples].reshape(-1, p.size) for p in network.dynamic}
        senders = [p for p in network.dynamic if network.outgoing[p.name]]
        with np.errstate(all="ignore"):
            slopes = [np.abs(p.phi.derivative(states[p.name], p.phi.rate(states[p.name]))).min() for p in senders]
            u = states[network.output]
            y = np.tile(control.targets[:samples], (len(u) // samples, 1))
            for neuron in spaced(range(u.shape[1]), _PROBED):
                bumped = np.array(u)
                bumped[:, neuron] += _BUMP * np.maximum(1.0, np.abs(u[:, neuron]))
                slopes.append(np.abs(network.cost.gradient(bumped, y) - network.cost.gradient(u, y))[:, neuron].min() / _BUMP)
        return float(min(slopes))

    def _stray_cells(self, variable: Variable, chunk: Sequence[Perturbation], outside: Array, could: Array) -> None:
        """Count the cells that differ where no way leads, and tell the earliest."""
        count = int(np.count_nonzero(outside))
        self._outside += count
        if not count:
            return
        t, i, neuron = (int(axis[0]) for axis in np.nonzero(outside))
        if self._first is None or t < self._first[0]:
            due = could[i, neuron]
            way = "no way leads there" if due == NEVER else f"the graph has no way of {t} hops, the shortest is {due}"
            text = f"{variable[0]} {variable[1]}[{neuron}] differs {steps_of(t)} after {chunk[i]} was changed; {way}"
            self._first = (t, text)

    def _measure(
        self, chunk: Sequence[Perturbation], variable: Variable, rows: Array, others: Array, shape: tuple[int, ...]
    ) -> None:
        """Keep the largest difference of each group of changes at each step."""
        with np.errstate(all="ignore"):
            apart = np.abs(rows - others).reshape(shape).max(axis=(2, 3))
        for i, change in enumerate(chunk):
            key = ((change.kind, change.name), variable)
            old = self._sizes.get(key)
            self._sizes[key] = apart[:, i] if old is None else np.fmax(old, apart[:, i])

    def cones(self, at: int, *, resting: bool) -> Cones:
        """Return all that was seen."""
        joined = {
            what: {variable: np.concatenate(parts) for variable, parts in found.items()} for what, found in self._found.items()
        }
        return Cones(
            self._subject,
            tuple(self._changes),
            at,
            self._steps,
            joined["first"],
            joined["last"],
            joined["could_first"],
            joined["could_last"],
            joined["acts"],
            joined["could_act"],
            self._sizes,
            self._cells,
            self._outside,
            None if self._first is None else self._first[1],
            self._runs,
            self._stray,
            self._faintest,
            self._slope,
            resting,
        )


def _states(trace: Trace | None) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    return ({}, {}) if trace is None else (trace.potentials, trace.sensitivities)


def _faintest(rows: Array, others: Array) -> float:
    """Return the smallest difference between two runs, relative to what differs (inf: none does)."""
    marks = rows != others
    with np.errstate(all="ignore"):
        relative = np.abs(rows[marks] - others[marks]) / np.maximum(np.abs(rows[marks]), np.abs(others[marks]))
    return float(np.nanmin(relative, initial=np.inf))


def _first(marks: Array) -> Array:
    """Return the first step at which (steps + 1, changes, n) are marked."""
    return np.where(marks.any(axis=0), marks.argmax(axis=0), NEVER).astype(np.int16)


def _last(marks: Array) -> Array:
    """Return the last step at which (steps + 1, changes, n) are marked."""
    return np.where(marks.any(axis=0), len(marks) - 1 - marks[::-1].argmax(axis=0), NEVER).astype(np.int16)


def _latest(last: Array) -> float:
    reached = last[last != NEVER]
    return float(reached.max()) if reached.size else float("nan")


def _or_nan(step: int) -> float:
    return float("nan") if step == NEVER else float(step)


def steps_of(count: int) -> str:
    """Return "1 step", "2 steps"."""
    return "1 step" if count == 1 else f"{count} steps"
