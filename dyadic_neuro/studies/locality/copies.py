"""Whether both copies of a weight act each where it is held: no state is reached through the other one.

The forward copy W is held where its synapses end, the backward copy W^T where they begin (DESIGN section 2). Both are told apart
by making them differ: one of them is changed, and the states are watched. How they learn is another claim (`learning`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.crossings import approximate, counted, mapping_of, untimely
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.updates import CYCLIC_STEPS
from dyadic_neuro.trace import Trace

_NOTICED = 1e-9  # a signal of at least this size shows in a sum of others
_COPIES = "both copies of a weight act only where they are held"


def claim_copies(subject: Subject, *, most: int = 3) -> Claim:
    """Return the claim "copies": each of both copies of a weight acts where it is, whatever the other one holds.

    With a W^T copy changed, potentials keep their bits at every step, and at the first step at which it is used the sensitivities
    of the population that holds it change, and no others. With a forward copy changed, all sensitivities keep theirs until the
    change of a potential has come back. `most` of each are tried. Raises as `Subject.relax`.
    """
    backend, network = subject.backend, subject.network
    if all(p.source == network.input for p in network.projections):
        return Claim.nothing("copies", _COPIES, "nothing is upstream of the readout but the input: no weight has a W^T copy")
    why = approximate(backend) or untimely(backend)
    if why is not None:
        return Claim.nothing("copies", _COPIES, why)
    first, count, steps = _acted(subject, most)
    tried = f"{count} copies were changed one at a time" if count > 1 else "1 copy was changed"
    return Claim.judged("copies", _COPIES, f"{tried}, and all states watched for {counted(steps, 'step')}", first)


def _acted(subject: Subject, most: int) -> tuple[str | None, int, int]:
    """Change copies one at a time. Return the first that acted elsewhere, in words, how many were tried, and steps."""
    net, rng = subject.network, np.random.default_rng([subject.seed, 8])
    steps = CYCLIC_STEPS if subject.running.cycle else subject.running.relaxation_steps
    forward = {p.name: np.array(p.weights, order="C") for p in net.projections}
    backward = {name: np.array(copy.weights, order="C") for name, copy in feedback_copies(net).items()}
    schedule, start = Schedule.of(subject.running, subject.schedule), subject.state(1)
    x, y = subject.inputs[:1], subject.targets[:1]

    def run(name: str | None, held: dict[str, Array]) -> Trace:
        own = {k: v + rng.normal(size=v.shape).astype(v.dtype) if k == name else v for k, v in held.items()}
        weights, copies = (own, backward) if held is forward else (forward, own)
        return subject.relax(steps, network=net.with_parameters(weights), backward=copies, inputs=x, targets=y, initial=start)

    control, first, count = run(None, forward), None, 0
    for held, judge in ((backward, _backward_acts), (forward, _forward_acts)):
        for name in sorted(rng.choice(list(held), min(most, len(held)), replace=False)):
            problem = judge(_holders(subject, str(name)), schedule, control, run(str(name), held))
            count += 1
            if problem is not None and first is None:
                first = f"with another {'W^T' if held is backward else 'forward'} copy of {name} {problem}"
    return first, count, steps


def _holders(subject: Subject, name: str) -> list[Projection]:
    """Return the projections that hold a weight matrix in the network that runs: several, where a fan-in was divided."""
    mapping = mapping_of(subject)
    pieces = {} if mapping is None else {key: piece.original for key, piece in mapping.division.pieces.items()}
    return [p for p in subject.running.projections if pieces.get(p.name, p.name) == name]


def _backward_acts(held: list[Projection], schedule: Schedule, control: Trace, trace: Trace) -> str | None:
    """Return what another W^T copy did that it cannot have done, or did not, in words."""
    for name, values in trace.potentials.items():
        if (at := _differs(control.potentials[name], values)) is not None:
            return f"the potential of {name}[{at[1]}] changed at step {at[0]}"
    first = {p.source: _first(schedule.sensitivities[p.source].updates) for p in held}
    for name, values in trace.sensitivities.items():
        before, due = control.sensitivities[name], first.get(name, min(first.values()) + 1)
        if (at := _differs(before[:due], values[:due])) is not None:
            return f"the sensitivity of {name}[{at[1]}] changed at step {at[0]}, before step {due}"
    for p in held:
        due, phi = first[p.source], trace.network.activations[p.source]
        u = control.potentials[p.source][due - 1]
        arrived = np.abs(control.sensitivities[p.target][due - 1][:, p.rows]) > _NOTICED
        passes = (phi.derivative(u, phi.rate(u)) != 0)[:, p.columns]
        used = (passes & arrived).any() if p.one_to_one else passes.any() and arrived.any()
        if used and _differs(control.sensitivities[p.source][due:][:1], trace.sensitivities[p.source][due:][:1]) is None:
            return f"the sensitivity of {p.source} did not change at step {due}: the copy was not used"
    return None


def _forward_acts(held: list[Projection], schedule: Schedule, control: Trace, trace: Trace) -> str | None:
    """Return what another forward copy did that it cannot have done, in words: sensitivities wait for a potential."""
    due = min(_first(schedule.potentials[p.target].updates) for p in held)
    for name, values in trace.sensitivities.items():
        if (at := _differs(control.sensitivities[name][: due + 1], values[: due + 1])) is not None:
            return f"the sensitivity of {name}[{at[1]}] changed at step {at[0]}, when no potential had changed before"
    return None


def _first(updates: Callable[[int], bool]) -> int:
    step = 1
    while not updates(step):
        step += 1
    return step


def _differs(before: Array, after: Array) -> tuple[int, int] | None:
    """Return step and neuron at which two records (steps, 1, n) first differ, or None."""
    found = np.argwhere(before != after)
    return (int(found[0][0]), int(found[0][2])) if len(found) else None
