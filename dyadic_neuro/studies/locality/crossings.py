"""Whether anything acted across a boundary, between processes or between cores, that was not sent as a message.

What acts on what in one step was measured by intervention. Here it is laid beside the messages of such a step: those that the
backend's ledger has, and on a chip core by core the packets that its mesh carried. The ledger is the backend's own word, and
nothing outside it tells where it comes from. One that follows from the schedule, as those of the reference and the chip do, shows
that these messages would do; one that is counted at the ports of processes, as Lava's is, that they were there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend
from dyadic_neuro.dynamics import State
from dyadic_neuro.mappings.copies import KINDS, RATE
from dyadic_neuro.mappings.cores import Delivery
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.perturbation import INPUT, POTENTIAL, SENSITIVITY, TARGET, Variable
from dyadic_neuro.studies.locality.subject import Subject

_STATEMENT = "nothing acts across a boundary, of processes or of cores, in a step in which no message was sent that way"


@dataclass(frozen=True, eq=False)
class OneStep:
    """What acts on what in one step.

    `sources` are variables at t, (kind, population, neuron); targets belong to the readout. `acts` maps each (kind, population)
    of states to (sources, n) bool: whether the state at t + 1 depends on the source.
    """

    sources: Sequence[tuple[str, str, int]]
    acts: Mapping[Variable, Array]


def claim_messages(subject: Subject, one_step: OneStep) -> Claim:
    """Return the claim "messages" about the subject, whose influences of one step were measured before.

    A population's potentials, its sensitivities, the input and the loss are places of their own; an influence between two of
    them needs the message of its kind in the ledger of a step, from each neuron that acts. On a chip an influence from core to
    core needs a packet of its kind with the neuron in it, or where a mapped backend shows no packets, a channel for it. Raises
    as `Subject.relax`.
    """
    rough = approximate(subject.backend)
    if rough is not None:
        return Claim.nothing("messages", _STATEMENT, rough)
    start = subject.state(len(subject.inputs))
    sent = _sent(subject, start)
    between, unsent = _without_message(subject.running, one_step, sent)
    total = sum(int(acts.sum()) for acts in one_step.acts.values())
    ledger = f"its ledger, on the backend's word, has {counted(sum(sent.values()), 'message')}"
    needed = f"{between:,} of {counted(total, 'influence')} of one step go from place to place; {ledger}"
    mapping = mapping_of(subject)
    if mapping is None:
        return Claim.judged("messages", _STATEMENT, needed, unsent)
    steps = packets(subject, 1, start)
    seen, ways = ("channel", channels(mapping)) if steps is None else ("packet", list(steps[0]))
    across, uncarried = _without_packet(one_step, mapping, ways)
    crossing = sum(1 for way in ways if way.sender != way.receiver)
    cores = f"{counted(crossing, seen)} between {counted(len(mapping.cores), 'core')} of the mapping that the backend declares"
    found = f"{needed}; {across:,} go from core to core, and there were {cores}"
    return Claim.judged("messages", _STATEMENT, found, unsent or uncarried)


def approximate(backend: Backend) -> str | None:
    """Return why nothing of a backend that declares itself approximate can be judged by its bits, or None."""
    cosine = getattr(backend, "cosine", None)
    if cosine is None:
        return None
    return f"this backend declares itself approximate (cosine >= {cosine:g}), and its states show no single bits"


def untimely(backend: Backend) -> str | None:
    """Return why a step of the backend, as it declares itself, is not one hop for all of its units alike, or None."""
    stages, substrate = getattr(backend, "stages", 1), getattr(backend, "substrate", None)
    if stages > 1:
        return f"this backend declares {stages} stages in a step, and a step is not one hop"
    if substrate is not None and not substrate.timely:
        return "this backend declares a substrate on which a step is not one hop for all units alike"
    return None


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return how many there are of something: "1 step", "2,000 steps"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def mapping_of(subject: Subject) -> Placed | None:
    """Return where the subject's network lies on a chip, or None if its backend knows of none. Raises MappingError."""
    found = getattr(subject.backend, "mapping", None)
    found = found(subject.network) if callable(found) else found
    return found if isinstance(found, Placed) else None


def packets(subject: Subject, steps: int, start: State) -> list[tuple[Delivery, ...]] | None:
    """Return the packets of each step of a relaxation from a state, or None if the backend shows none. Raises as `relax`."""
    backend, batch = subject.backend, len(next(iter(start.potentials.values())))
    order = prepare(
        subject.network,
        subject.inputs[:batch],
        subject.targets[:batch],
        running=subject.running,
        backend_alpha=backend.alpha,
        substrate=getattr(backend, "substrate", None),
        steps=steps,
        schedule=subject.schedule,
        initial=start,
    )
    with backend.open(subject.network) as session:
        if not hasattr(session, "packets"):
            return None
        session.relax(order)
        found: list[tuple[Delivery, ...]] = session.packets
    return found or None


def channels(mapping: Placed) -> list[Delivery]:
    """Return every way from core to core that a mapping's routes lay."""
    routes, slices, senders, found = mapping.routes, mapping.slices, mapping.senders, []
    for r, i in zip(senders.route, senders.slice, strict=True):
        start, stop = max(slices.start[i], routes.start[r]), min(slices.stop[i], routes.stop[r])
        signal = (routes.names[routes.population[r]], KINDS[routes.kind[r]])
        ends = routes.core[routes.first[r] : routes.first[r + 1]]
        found += [Delivery(int(slices.core[i]), int(end), *signal, int(start), int(stop)) for end in ends]
    return found


def covered(ways: Iterable[Delivery]) -> dict[tuple[int, int, str, str], list[tuple[int, int]]]:
    """Return by (sender, receiver, population, kind) the spans of neurons, start .. stop - 1, whose messages go that way."""
    found = defaultdict(list)
    for way in ways:
        found[way.sender, way.receiver, way.population, way.kind].append((way.start, way.stop))
    return found


# Between the places of a network

_Message = tuple[str, str, str, bool]
"""Source, target, kind, and whether it stays inside a dyad."""


def _sent(subject: Subject, start: State) -> Counter[_Message]:
    """Return how many messages of each link the first step had, for one sample."""
    sent: Counter[_Message] = Counter()
    for entry in subject.relax(1, initial=start).messages:
        sent[entry.source, entry.target, entry.kind, entry.local] += entry.messages
    return Counter({link: count // len(subject.inputs) for link, count in sent.items()})


def _needs(source: Variable, affected: Variable, senders: int, readers: int) -> Iterator[dict[_Message, int]]:
    """Yield the sets of messages, with how many of each, any of which carries an influence from place to place in one step."""
    (cause, by), (kind, population) = source, affected
    if cause in (INPUT, POTENTIAL) and kind == POTENTIAL:
        yield {(by, population, "rate", False): senders}
    elif cause == kind == SENSITIVITY:
        yield {(by, population, "sensitivity", False): senders}
    elif cause == POTENTIAL and by == population:
        yield {(by, by, "derivative", True): senders}
        yield {(by, by, "potential", True): senders, (by, by, "error", True): readers}
    elif cause == TARGET and by == population:
        yield {(by, by, "error", True): readers}


def _without_message(network: Network, one_step: OneStep, sent: Counter[_Message]) -> tuple[int, str | None]:
    """Return how many influences go from place to place, and the first that no message carried, in words."""
    groups: dict[Variable, list[int]] = defaultdict(list)
    for row, (kind, population, _) in enumerate(one_step.sources):
        groups[kind, network.output if kind == TARGET else population].append(row)
    joined, count, first = {(p.source, p.target) for p in network.projections}, 0, None
    for source, rows in groups.items():
        for affected, everything in one_step.acts.items():
            acts = everything[rows]
            itself = source == affected and (source[1], source[1]) not in joined
            if not acts.any() or itself:
                continue
            count += int(acts.sum())
            senders, readers = int(acts.any(axis=1).sum()), int(acts.any(axis=0).sum())
            choices = _needs(source, affected, senders, readers)
            if first is None and not any(all(sent[link] >= n for link, n in needed.items()) for needed in choices):
                row, neuron = (int(i) for i in np.argwhere(acts)[0])
                passed = {k: n for k, n in sent.items() if (k[0], k[1]) == (source[1], affected[1]) and n}
                which = ", ".join(f"{n} of {k[2]}" for k, n in passed.items()) or "none"
                told = _words(one_step.sources[rows[row]], affected, neuron)
                first = f"{told}: of {senders} neurons that act so, the messages sent that way were {which}"
    return count, first


# Between the cores of a chip


def _without_packet(one_step: OneStep, mapping: Placed, ways: Iterable[Delivery]) -> tuple[int, str | None]:
    """Return how many influences go from core to core, and the first that no packet carried, in words."""
    core_of: dict[str, Array] = {}
    for name in mapping.slices.names:
        own = mapping.slices.of(name)
        core_of[name] = np.repeat(mapping.slices.core[own], mapping.slices.sizes[own])
    spans, count, first = covered(ways), 0, None
    for row, (cause, by, neuron) in enumerate(one_step.sources):
        name = mapping.network.output if cause == TARGET else by
        here = int(core_of[name][neuron])
        for (kind, population), everything in one_step.acts.items():
            affected = np.flatnonzero(everything[row] & (core_of[population] != here))
            count += len(affected)
            if first is not None or not len(affected):
                continue
            says = {(INPUT, POTENTIAL): RATE, (POTENTIAL, POTENTIAL): RATE, (SENSITIVITY, SENSITIVITY): SENSITIVITY}
            sent = says.get((cause, kind), "")
            for there in np.unique(core_of[population][affected]):
                if not any(start <= neuron < stop for start, stop in spans.get((here, int(there), name, sent), ())):
                    reached = int(affected[core_of[population][affected] == there][0])
                    told = _words((cause, by, neuron), (kind, population), reached)
                    first = f"{told}: from core {here} to core {there}, and nothing went there with it"
                    break
    return count, first


def _words(source: tuple[str, str, int], affected: Variable, neuron: int) -> str:
    kind, name, i = source
    return f"{kind} {name}[{i}] acted in one step on {affected[0]} {affected[1]}[{neuron}]"
