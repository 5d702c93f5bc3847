"""What is cut off, and changed: nobody else may learn of it, at any step.

Light cones see what travels too fast. What takes a forbidden way no faster than a lawful one, or only late in a run, shows when
the lawful ways are cut: a sample beside others that change, and a population whose synapses to all others are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State
from dyadic_neuro.studies.locality.interventions import Interventions, spaced, takes_other_targets
from dyadic_neuro.studies.locality.perturbation import BIAS, COPY, STATES, TARGET, WEIGHT, Perturbation, Variable, changeable
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.trace import Trace

_COPIES = 4  # of the batch, every other of which is changed


@dataclass(frozen=True)
class Isolation:
    """How many of `all` things were cut off and changed one at a time, and the first that somebody else learnt of, in words."""

    tried: int
    all: int
    counterexample: str | None


def samples(subject: Subject, *, steps: int | None = None) -> Isolation:
    """Change every other sample of a batch, all of it, then the others: those that stay as they are must keep their bits.

    Steps and errors as `cones.measure`.
    """
    plan = Interventions.of(subject, (), 0, steps)
    control = plan.run(_COPIES)
    rows = len(control.inputs)
    for odd in (0, 1):
        inputs, targets, state, _ = plan.altered([], _COPIES)
        changed = np.arange(rows) % 2 == odd
        inputs[changed] += 1.0
        if state is not None:
            moved = [{name: values + changed[:, None] for name, values in part.items()} for part in _parts(state)]
            state = State(*({name: values.astype(inputs.dtype) for name, values in part.items()} for part in moved))
        trace = subject.relax(plan.steps, inputs=inputs, targets=targets, initial=state)
        stray = _first(control, trace, lambda _, apart, changed=changed: apart & ~changed[:, None])  # type: ignore[misc]
        if stray is not None:
            t, (kind, name), row, neuron = stray
            told = f"{kind} {name}[{neuron}] of sample {row} of {rows} differs at step {t}, though only others were changed"
            return Isolation(rows, rows, told)
    return Isolation(rows, rows, None)


def populations(subject: Subject, *, steps: int | None = None, most: int = 8) -> Isolation:
    """Cut every way from a population to others, and change all that drives its dyads: only its own dyads may differ.

    At most `most` populations, evenly from all. Where a chip had to divide a fan-in, whose synapses are not the network's, none.
    Steps and errors as `cones.measure`.
    """
    plan, network = Interventions.of(subject, (), 0, steps), subject.network
    if subject.running.fingerprint != network.fingerprint:
        return Isolation(0, len(subject.running.dynamic), None)
    chosen = spaced([p.name for p in network.dynamic], most)
    for name in chosen:
        cut = [p.name for p in network.outgoing[name] if p.target != name]
        deaf = [p.name for p in network.incoming[name] if p.source not in (network.input, name)]
        control, trace = plan.run_with([], cut, deaf), plan.run_with(_drives(subject, name), cut, deaf)
        stray = _first(control, trace, lambda of, apart, name=name: apart & (of[1] != name))  # type: ignore[misc]
        if stray is not None:
            t, (kind, other), _, neuron = stray
            told = f"{kind} {other}[{neuron}] differs at step {t} when {name} is changed, though no synapse leads there any more"
            return Isolation(len(chosen), len(network.dynamic), told)
    return Isolation(len(chosen), len(network.dynamic), None)


def _drives(subject: Subject, name: str) -> list[Perturbation]:
    """Return changes of all biases of a population (or of weights), of what drives its sensitivities, and of a target."""
    network, known = subject.network, changeable(subject.network)
    found = [Perturbation(BIAS, name, (i,)) for i in range(*known[BIAS].get(name, (0,)))]
    if not found:
        p = network.incoming[name][0]
        lit = int(np.argmax((subject.inputs[:, p.columns] != 0).any(axis=0))) if p.source == network.input else 0
        found += _row(WEIGHT, p.name, p.weights.shape, 0, lit)
    for p in network.outgoing[name][:1]:
        found += _row(COPY, p.name, p.weights.shape, 1, 0)
    if name == network.output and takes_other_targets(subject):
        found.append(Perturbation(TARGET, name, (0,)))
    return found


def _row(kind: str, name: str, shape: tuple[int, ...], axis: int, other: int) -> list[Perturbation]:
    """Return changes of all synapses along an axis, at one place of the other; of a diagonal all."""
    if len(shape) == 1:
        return [Perturbation(kind, name, (i,)) for i in range(shape[0])]
    places = [(i, other) if axis == 0 else (other, i) for i in range(shape[axis])]
    return [Perturbation(kind, name, place) for place in places]


def _parts(state: State) -> tuple[dict[str, Array], dict[str, Array]]:
    return dict(state.potentials), dict(state.sensitivities)


def _first(control: Trace, trace: Trace, stray: Callable[[Variable, Array], Array]) -> tuple[int, Variable, int, int] | None:
    """Return step, variable, sample and neuron of the first state that differs though it must not."""
    found: tuple[int, Variable, int, int] | None = None
    for kind, states, others in zip(STATES, _states(trace), _states(control), strict=True):
        for name, rows in states.items():
            marks = stray((kind, name), rows != others[name])
            if marks.any():
                t, row, neuron = (int(i) for i in np.argwhere(marks)[0])
                if found is None or t < found[0]:
                    found = (t, (kind, name), row, neuron)
    return found


def _states(trace: Trace) -> tuple[dict[str, Array], dict[str, Array]]:
    return dict(trace.potentials), dict(trace.sensitivities)
