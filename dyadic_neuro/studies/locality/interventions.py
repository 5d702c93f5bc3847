"""Interventions: a network relaxed with one thing or another changed, in its batch, its state, or its weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypedDict, TypeVar

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State, feedback_copies
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.locality.perturbation import (
    BIAS,
    COPY,
    INPUT,
    POTENTIAL,
    ROWS,
    SENSITIVITY,
    STATES,
    TARGET,
    WEIGHT,
    Perturbation,
    every,
    moved,
)
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.trace import Trace

NEVER = np.iinfo(np.int16).max
"""In place of a step: not in this run."""

_MOST = 12  # synapses or biases of a kind that are changed where nobody says which
_CHUNK_BYTES = 48e6  # of recorded states in one run: a few of these are in memory at once


_T = TypeVar("_T")


class Start(TypedDict):
    """Whether the state before the change is all zero, and which inputs (n_input,) are not."""

    rests: bool
    lit: Array


@dataclass(frozen=True, eq=False)
class Interventions:
    """A checked order of changes: to `state` (None: from rest), to the batch of the subject, and to its weights."""

    subject: Subject
    changes: tuple[Perturbation, ...]
    at: int
    steps: int
    schedule: Schedule
    state: State | None

    @classmethod
    def of(cls, subject: Subject, changes: Iterable[Perturbation] | None, at: int, steps: int | None) -> Interventions:
        """Return the order, checked, as `cones.measure` takes and raises."""
        if not isinstance(subject, Subject):
            raise OptionError("subject", f"{type(subject).__name__} is not a Subject", "make one: Subject.of(network)")
        network = subject.running
        schedule = Schedule.of(network, subject.schedule)
        count = 3 * network.relaxation_steps // 2 if steps is None else steps
        if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count < NEVER:
            raise OptionError("steps", f"{steps!r} is not a number of steps from 1 to {NEVER - 1:,}", "use None for 3D")
        if isinstance(at, bool) or not isinstance(at, Integral) or at < 0:
            raise OptionError("at", f"{at!r} is not a number of steps", "use 0 for a random state")
        if schedule.period and at % schedule.period:
            problem = f"{at} is within a window of the wavefront, and a run starts at the beginning of one"
            raise OptionError("at", problem, f"use a multiple of {schedule.period}")
        listed = None if changes is None else list(changes)
        for change in listed or ():
            if not isinstance(change, Perturbation):
                raise OptionError("changes", f"{change!r} is no Perturbation", "make one: Perturbation('input', 'input', (0,))")
            change.check(network)
        same = network.fingerprint == subject.network.fingerprint
        if not same and any(change.kind not in ROWS for change in listed or ()):
            problem = "has a divided fan-in on this chip, and synapses that are not those of your network"
            raise OptionError("perturbation", problem, f"change only {', '.join(ROWS)}")
        start = _start(subject, at)
        if listed is None:
            kinds = [kind for kind in ROWS if start is not None or kind not in STATES]
            listed = every(network, [kind for kind in kinds if kind != TARGET or takes_other_targets(subject)])
            for kind in (WEIGHT, COPY, BIAS) if same else ():  # each takes a run of its own
                listed += spaced(every(network, (kind,), most=1, seed=subject.seed), _MOST)
        elif start is None and any(change.kind in STATES for change in listed):
            raise OptionError(
                "perturbation", f"{subject.backend.name!r} takes no initial state", "change inputs, targets or weights"
            )
        return cls(subject, tuple(listed), int(at) if start is not None else 0, int(count), schedule, start)

    @property
    def start(self) -> Start:
        """What `Graph.spread` has to know of the state before the change."""
        return {"rests": self.state is None, "lit": (self.subject.inputs != 0).any(axis=0)}

    def capacity(self, changes: int) -> int:
        """Return how many changes, and one row of none, a run takes: as many as fit into memory well."""
        network = self.subject.running
        neurons = sum(p.size for p in network.dynamic)
        row = 2 * (self.steps + 1) * neurons * np.dtype(network.dtype).itemsize * len(self.subject.inputs)
        return max(2, min(changes + 1, int(_CHUNK_BYTES // row)))

    def run(self, count: int) -> Trace:
        """Relax the batch `count` times over, all of it alike."""
        inputs, targets, state, _ = self.altered([], count)
        return self.subject.relax(self.steps, inputs=inputs, targets=targets, initial=state)

    def run_with(self, changes: Sequence[Perturbation], cut: Collection[str] = (), deaf: Collection[str] = ()) -> Trace:
        """Relax the batch with synapses, biases or targets changed, all at once, and no other copy with them.

        Projections that are `cut` have weights of 0 in both copies, those that are `deaf` in the backward copy.
        """
        network = cut_off(self.subject.network, cut)
        # all copies, also without a change: as arrays of their own they may be summed over in another order
        copies = {name: np.array(copy.weights, order="C") for name, copy in feedback_copies(network).items()}
        copies |= {name: np.zeros_like(copies[name]) for name in deaf}
        parameters = dict(network.parameters)
        for change in changes:
            if change.kind == COPY:
                copies[change.name] = change.applied(copies[change.name], change.index[::-1])
            elif change.kind in (WEIGHT, BIAS):
                key = f"{change.name}.bias" if change.kind == BIAS else change.name
                parameters[key] = change.applied(parameters[key], change.index)
        _, targets, _, _ = self.altered([change for change in changes if change.kind == TARGET], 1)
        network = network.with_parameters(parameters)
        return self.subject.relax(self.steps, network=network, targets=targets, initial=self.state, backward=copies)

    def altered(self, chunk: Sequence[Perturbation], count: int) -> tuple[Array, Array, State | None, Array]:
        """Return inputs, targets and state of a run: the batch `count` times over, each time with one of the changes.

        The rest stays as it is. Also returns which targets differ, (changes, n_output).
        """
        subject, samples = self.subject, len(self.subject.inputs)
        inputs, targets = np.tile(subject.inputs, (count, 1)), np.tile(subject.targets, (count, 1))
        parts: dict[str, dict[str, Array]] = {}
        if self.state is not None:
            held = {POTENTIAL: self.state.potentials, SENSITIVITY: self.state.sensitivities}
            parts = {kind: {name: np.tile(values, (count, 1)) for name, values in held[kind].items()} for kind in STATES}
        for i, change in enumerate(chunk):
            rows, (neuron,) = slice(i * samples, (i + 1) * samples), change.index
            if change.kind == INPUT:
                inputs[rows, neuron] = change.shifted(inputs[rows, neuron])
            elif change.kind == TARGET:
                cost = subject.network.cost
                targets[rows] = [moved(cost, target, neuron, change.amount) for target in subject.targets]
            else:
                values = parts[change.kind][change.name]
                values[rows, neuron] = change.shifted(values[rows, neuron])
        differ = (targets.reshape(count, samples, -1) != subject.targets).any(axis=1)[: len(chunk)]
        return inputs, targets, State(parts[POTENTIAL], parts[SENSITIVITY]) if parts else None, differ


def _start(subject: Subject, at: int) -> State | None:
    """Return the state that is changed, of one batch, or None for a backend that takes none. Raises as `relax`."""
    state = subject.state(len(subject.inputs))
    try:
        trace = subject.relax(max(1, int(at)), initial=state, record="last")
    except OptionError as error:
        if error.field != "initial":
            raise
        return None
    return trace.final if at else state


def spaced(things: Sequence[_T], most: int) -> list[_T]:
    """Return at most so many of the things, evenly from the first to the last."""
    places = np.unique(np.linspace(0, len(things) - 1, min(most, len(things))).round().astype(int)) if things else []
    return [things[i] for i in places]


def cut_off(network: Network, projections: Collection[str]) -> Network:
    """Return the network with weights of 0 on these projections."""
    return network.with_parameters({name: np.zeros_like(network.parameters[name]) for name in projections})


def takes_other_targets(subject: Subject) -> bool:
    """Whether the loss takes any target but the one that is shown: of a single class there is no other."""
    try:
        moved(subject.network.cost, subject.targets[0], 0, 1.0)
    except OptionError:
        return False
    return True
