"""What light cones, and what was cut off, say of a backend: claims, each with the first counterexample."""

from __future__ import annotations

import numpy as np

from dyadic_neuro.losses import LOSSES
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.cones import Cones, steps_of
from dyadic_neuro.studies.locality.graph import has_flat_parts
from dyadic_neuro.studies.locality.interventions import NEVER
from dyadic_neuro.studies.locality.isolation import Isolation
from dyadic_neuro.studies.locality.perturbation import ROWS

_SAMPLES = "a sample's states depend on no other sample, and not on the run"
_SPEED = "nothing acts faster than a hop a step, nor where no way of that many hops leads, nor on anybody when it is cut off"
_ARRIVAL = "every change that floating point can show arrives as soon as the graph lets it"
_NEIGHBOURS = "a step reads the states of declared neighbours, the own dyad, inputs and targets, and no others"
_OTHERS = (("speed", _SPEED), ("arrival", _ARRIVAL), ("neighbours", _NEIGHBOURS))
_FAINT = 1e5  # in units in the last place: smaller differences may vanish in the next sums
_FLAT = 1e-9  # of a slope: beyond it a change is lost beside the rest of a sum


def claims(cones: Cones, apart: Isolation, alone: Isolation) -> list[Claim]:
    """Return the claims "samples", "speed", "arrival" and "neighbours".

    `apart` is what `isolation.samples` found, `alone` what `isolation.populations` did. The changes of one run are rows of one
    batch: where samples are not independent, nothing can be said of the others.
    """
    samples = _samples(cones, apart)
    if samples.broken:
        why = "the states of a sample are not its own here (see samples), so a change cannot be told from another's"
        return [samples, *(Claim.nothing(*claim, why) for claim in _OTHERS)]
    return [samples, _speed(cones, alone), _arrival(cones), _neighbours(cones)]


def _samples(cones: Cones, apart: Isolation) -> Claim:
    found = f"{apart.tried} samples kept their bits while every other one was changed"
    if cones.runs:
        found += f", and rows that nobody changed in {cones.runs} {'run' if cones.runs == 1 else 'runs'} beside rows that were"
    stray = apart.counterexample or cones.stray
    if stray is not None:
        found = "samples that nobody changed differ"
        if getattr(cones.subject.backend, "cosine", None) is not None:
            found += "; this backend declares itself approximate: it may fit itself to a batch, or carry a sample into the next"
    return Claim.judged("samples", _SAMPLES, found, stray)


def _speed(cones: Cones, alone: Isolation) -> Claim:
    found = f"{len(cones.changes):,} variables changed one at a time, {cones.cells:,} states watched over {steps_of(cones.steps)}"
    if cones.outside:
        found += f", {cones.outside:,} differ outside the cone of the graph"
    if alone.tried:
        found += f"; {alone.tried} of {alone.all} populations cut off from all others and changed"
    return Claim.judged("speed", _SPEED, found, cones.outside_first or alone.counterexample)


def _arrival(cones: Cones) -> Claim:
    cells = sum(could.size for could in cones.could_first.values())
    equal = sum(int((cones.first[v] == could).sum()) for v, could in cones.could_first.items())
    found = f"the first step is the predicted one for {equal:,} of {cells:,} pairs of a change and a neuron"
    late = _late(cones)
    hidden = None if late is None else _hidden(cones)
    if hidden is not None:
        return Claim.nothing("arrival", _ARRIVAL, f"{found}; {hidden}, where a change need not show")
    return Claim.judged("arrival", _ARRIVAL, found, late)


def _hidden(cones: Cones) -> str | None:
    """Return why changes may be there and not show: flat functions, saturated units, differences at the end of the digits."""
    network, start = cones.subject.running, cones.resting
    flat = sorted({p.phi.name for p in network.dynamic if has_flat_parts(p.phi)})
    if flat:
        return f"{', '.join(flat)} has flat parts"
    if start:
        return "this backend starts from rest, and zeros carry nothing"
    if LOSSES.get(network.cost.name) is not network.cost:
        return f"the loss {network.cost.name!r} is your own, and may be flat or not couple its neurons"
    if cones.slope < _FLAT:
        return f"units or the loss are saturated (the smallest slope is {cones.slope:.0e})"
    if cones.faintest < _FAINT * float(np.finfo(str(np.dtype(network.dtype))).eps):
        return f"differences fade to the last digits (the faintest is {cones.faintest:.0e} of its state)"
    return None


def _late(cones: Cones) -> str | None:
    """Return in words the first change that arrives later than it could, or never."""
    for variable, could in cones.could_first.items():
        late = np.argwhere(cones.first[variable] > could)
        if len(late):
            row, neuron = (int(i) for i in late[0])
            seen = cones.first[variable][row, neuron]
            when = "never differs" if seen == NEVER else f"first differs {steps_of(int(seen))}"
            due = steps_of(int(could[row, neuron]))
            return f"{variable[0]} {variable[1]}[{neuron}] {when} after {cones.changes[row]} was changed, and could {due} after"
    return None


def _neighbours(cones: Cones) -> Claim:
    rows = [i for i, change in enumerate(cones.changes) if change.kind in ROWS]
    acting, declared, counterexample = 0, 0, None
    for variable, acts in cones.acts.items():
        seen, may = acts[rows], cones.could_act[variable][rows]
        acting, declared = acting + int(seen.sum()), declared + int(may.sum())
        strays = np.argwhere(seen & ~may)
        if len(strays) and counterexample is None:
            row, neuron = (int(i) for i in strays[0])
            source = cones.changes[rows[row]]
            counterexample = f"{variable[0]} {variable[1]}[{neuron}] reads {source}, which is none of its neighbours"
    found = f"{acting:,} pairs act on one another within one step, of {declared:,} that are declared"
    return Claim.judged("neighbours", _NEIGHBOURS, found, counterexample)
