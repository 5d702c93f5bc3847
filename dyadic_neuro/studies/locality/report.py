"""The whole study of one network on one backend: a verdict per claim, tables, and what they say in words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.backends.base import Backend, runs_on
from dyadic_neuro.backends.chip import MappedChip
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.datasets import Dataset, random_batch
from dyadic_neuro.errors import CapacityError, DataError, DyadicError, OptionError, UnknownNameError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.network import Network
from dyadic_neuro.progress import counting_bar
from dyadic_neuro.relaxation import check_data
from dyadic_neuro.schedule import SCHEDULES
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.locality import isolation, lock, recovery, release, stability, traffic, transport, updates, verdicts
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.cones import Cones, measure
from dyadic_neuro.studies.locality.copies import claim_copies
from dyadic_neuro.studies.locality.crossings import OneStep, claim_messages, mapping_of
from dyadic_neuro.studies.locality.findings import Findings, Found
from dyadic_neuro.studies.locality.isolation import Isolation
from dyadic_neuro.studies.locality.learning import claim_learning
from dyadic_neuro.studies.locality.perturbation import ROWS, Perturbation
from dyadic_neuro.studies.locality.stability import Stability
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.textbook import Textbook

_DRAWN = 200  # random samples to learn from, where no data is given
_EPOCHS = 5  # of each training
_BATCH = 20
_CASES = 200  # of each kind of fault
VERDICTS = "claims.csv"
_JUDGED = dict.fromkeys(("backend", "name", "verdict", "statement", "found", "counterexample"), "object")


@dataclass(frozen=True, eq=False)
class Report:
    """What was found of a network on a backend.

    `claims` have a verdict each, `contrast` those of textbook backpropagation under the same instrument, as far as it was asked
    for. `tables` are DataFrames by the names of their CSV files, whose column `backend` names what each row was measured on;
    `sentences` are by the part of the study, and in it by that name. `failed` has the error of each part that could not be
    examined to its end; what it had found is here. `cones` and `stability` are what the figures are drawn of, None where that
    part was left out.
    """

    subject: Subject
    claims: tuple[Claim, ...]
    contrast: tuple[Claim, ...] = field(repr=False)
    tables: Mapping[str, Any] = field(repr=False)
    sentences: Mapping[str, Mapping[str, tuple[str, ...]]] = field(repr=False)
    failed: Mapping[str, DyadicError]
    cones: Cones | None = field(repr=False)
    stability: Stability | None = field(repr=False)

    @property
    def broken(self) -> list[Claim]:
        """The claims that do not hold."""
        return [claim for claim in self.claims if claim.broken]

    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write the tables as CSV to `folder` and return their paths. Raises FileError and OutputExistsError."""
        return tables.write(folder, self.tables, overwrite=overwrite)

    def __str__(self) -> str:
        head = f"{self.subject.network}, on {runs_on(self.subject.backend)}, {self.subject.schedule}"
        told = [
            "\n".join([f"{part}, on {backend}:", *(f"- {sentence}" for sentence in said)])
            for part, by_backend in self.sentences.items()
            for backend, said in by_backend.items()
        ]
        return "\n".join([head, *map(str, self.claims), *told])


def examine(
    network: Network,
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    *,
    backend: str | Backend = "reference",
    schedule: str = "free",
    samples: int = 2,
    seed: int = 0,
    at: int = 0,
    steps: int | None = None,
    changes: Iterable[Perturbation] | None = None,
    data: Dataset | tuple[ArrayLike, ArrayLike] | None = None,
    chip: Chip | str = "loihi2",
    parts: Iterable[str] | None = None,
    contrast: bool = True,
    progress: bool | None = None,
) -> Report:
    """Examine a network on a backend, which is a black box: nothing is asked of it but `relax` and `train`.

    `inputs` (samples, n_input) and `targets` are what it is shown, without them `samples` random ones, `data` what it learns
    from, without it random samples. `at`, `steps` and `changes` are those of `cones.measure`. `parts` are some of PARTS (None:
    all): cones, updates, lock and recovery make the claims, and run on the backend, as do the first tables of traffic and
    transport. How traffic grows is measured on a chip, and what learning early or from wrong copies costs, and what faults do,
    on the reference backend. Hops are those on `chip`, unless the backend has a mapping, on a chip of its own.

    A part that the backend or the network does not allow (CapacityError, DataError, DivergedError, OptionError) is told in
    `Report.failed`, and the others go on; after a SimulatorError none does.

    Raises, before anything runs: OptionError, DataError (inputs, targets, data), UnknownNameError (parts, backend, changes,
    chip), FileError (chip), MissingExtraError, CapacityError and MappingError (of the backend), CycleError (a network with a
    cycle wants explicit steps).
    """
    tables.need_pandas()
    wanted = _wanted(parts)
    subject = Subject.of(network, inputs, targets, backend=backend, schedule=schedule, samples=samples, seed=seed)
    _ = subject.running  # raises what a chip has against the network
    study = _Study(subject, at, steps, _listed(changes), _learned(subject, data), _loaded(chip))
    twin = None if network.cycle or not contrast else _twin(subject)
    found, total = Found(subject.backend.name), len(wanted) + (twin is not None)
    for i, name in enumerate(wanted):
        with counting_bar(f"examining {name}", show=progress, total=total, done=i) as advance:
            found.run(name, PARTS[name](study))
            advance()
    if twin is not None:
        with counting_bar("examining textbook backpropagation", show=progress, total=total, done=len(wanted)) as advance:
            for name in (name for name in wanted if name in CLAIMS):
                found.run_contrast(name, Textbook.name, partial(CLAIMS[name], twin))
            advance()
    judged = [{"backend": subject.backend.name, **vars(claim)} for claim in found.claims]
    judged += [{"backend": Textbook.name, **vars(claim)} for claim in found.contrast]
    return Report(
        subject,
        tuple(found.claims),
        tuple(found.contrast),
        {VERDICTS: tables.frame(_JUDGED, judged)} | found.tables,
        {part: {name: tuple(said) for name, said in told.items()} for part, told in found.sentences.items()},
        found.failed,
        found.wholes.get("cones"),
        found.wholes.get("recovery"),
    )


def _wanted(parts: Iterable[str] | None) -> list[str]:
    """Return the parts in the order of PARTS: what the caller asks for is refused in the first."""
    if isinstance(parts, str) or not (parts is None or isinstance(parts, Iterable)):
        raise OptionError("parts", f"{parts!r} are no names", f"pass a list of some of {list(PARTS)}")
    chosen = list(PARTS if parts is None else parts)
    for name in chosen:
        if not isinstance(name, str) or name not in PARTS:
            raise UnknownNameError("parts", f"{name!r} is no part of the study", f"use some of {list(PARTS)}")
    if not chosen:
        raise OptionError("parts", "are none", f"use some of {list(PARTS)}, or None for all")
    return [name for name in PARTS if name in chosen]


def _listed(changes: Iterable[Perturbation] | None) -> tuple[Perturbation, ...] | None:
    if changes is not None and not isinstance(changes, Iterable):
        raise OptionError("changes", f"{changes!r} is no list of changes", "pass a list: [Perturbation('input', 'input', (0,))]")
    return None if changes is None else tuple(changes)


def _learned(subject: Subject, data: Dataset | tuple[ArrayLike, ArrayLike] | None) -> Dataset | tuple[Any, Any]:
    """Return what is learned from, checked: all of it fits the network. Raises DataError."""
    if data is None:
        return random_batch(subject.network, _DRAWN, subject.seed + 1)
    if isinstance(data, Dataset):
        check_data(subject.network, data.inputs, data.targets, "data ")
        check_data(subject.network, data.test_inputs, data.test_targets, "data test ")
        return data
    if not isinstance(data, tuple) or len(data) != 2:
        raise DataError("data", f"is {type(data).__name__}", "pass a pair (inputs, targets) or a Dataset")
    return check_data(subject.network, *data, "data ")


def _loaded(chip: Chip | str) -> Chip:
    if isinstance(chip, Chip):
        return chip
    if not isinstance(chip, (str, os.PathLike)):
        raise OptionError("chip", f"{chip!r} is no chip", "give a Chip, the name of a preset, or a file")
    return Chip.load(chip)


def _twin(subject: Subject) -> Subject:
    return Subject.of(subject.network, subject.inputs, subject.targets, backend=Textbook(), seed=subject.seed)


@dataclass(frozen=True, eq=False)
class _Study:
    """What the parts are given."""

    subject: Subject
    at: int
    steps: int | None
    changes: tuple[Perturbation, ...] | None
    data: Dataset | tuple[Any, Any]
    chip: Chip

    @property
    def on(self) -> str:
        """The name of the backend that is examined."""
        return self.subject.backend.name

    @property
    def batch(self) -> tuple[Network, Any, Any]:
        """The network and the batch that it is shown."""
        return self.subject.network, self.subject.inputs, self.subject.targets


def cone_claims(cones: Cones, apart: Isolation, alone: Isolation) -> list[Claim]:
    """Return the claims of `verdicts.claims`, and that of the messages that carried what acted in one step.

    `apart` is what `isolation.samples` found, `alone` what `isolation.populations` did. Where samples are not independent,
    nothing is said of messages either: they are laid beside what acts from row to row.
    """
    rows = [i for i, change in enumerate(cones.changes) if change.kind in ROWS]
    sources = [(cones.changes[i].kind, cones.changes[i].name, cones.changes[i].index[0]) for i in rows]
    one_step = OneStep(sources, {variable: acts[rows] for variable, acts in cones.acts.items()})
    samples, speed, *others = verdicts.claims(cones, apart, alone)
    messages = claim_messages(cones.subject, one_step)
    if samples.broken:
        messages = Claim.nothing(messages.name, messages.statement, speed.found)
    return [samples, speed, *others, messages]


def _cone_claims(subject: Subject, cones: Cones, steps: int | None = None) -> list[Claim]:
    return cone_claims(cones, isolation.samples(subject, steps=steps), isolation.populations(subject, steps=steps))


CLAIMS: Mapping[str, Callable[[Subject], list[Claim]]] = {
    "cones": lambda subject: _cone_claims(subject, measure(subject)),
    "updates": lambda subject: [updates.claim_updates(subject), claim_copies(subject), claim_learning(subject)],
    "lock": lambda subject: [lock.claim(subject)],
    "recovery": lambda subject: [recovery.claim(subject)],
}
"""The claims of each part that makes some, about any subject."""


def _cones(study: _Study) -> Iterator[Findings]:
    cones = measure(study.subject, study.changes, at=study.at, steps=study.steps)
    yield Findings(study.on, tables={"cones.csv": cones.table()}, whole=cones)
    yield Findings(study.on, _cone_claims(study.subject, cones, study.steps))


def _updates(study: _Study) -> Iterator[Findings]:
    mapping, why = _mapping(study)
    costs = updates.costs(study.subject.network, mapping)
    told = [] if why is None else [why]
    told += [updates.sentence(costs, *([] if mapping is None else [mapping.chip.name]))] if len(costs) else []
    yield Findings(tables={"updates.csv": costs}, sentences=told)
    yield Findings(study.on, CLAIMS["updates"](study.subject))


def _lock(study: _Study) -> Iterator[Findings]:
    claim, locked = lock.measured(study.subject)
    yield Findings(study.on, [claim], {"lock.csv": locked} if len(locked) else {}, lock.sentences(locked=locked))
    if study.subject.network.cycle or not study.subject.network.plastic:
        return
    (network, inputs, targets), seed = study.batch, study.subject.seed
    shown = (inputs, targets) if len(inputs) > 1 else (None, None)  # of a single sample none went before
    released = release.release(network, inputs, targets, seed=seed)
    yield Findings(Reference.name, tables={"release.csv": released}, sentences=lock.sentences(released=released))
    haste = lock.early(network, *shown, seed=seed)
    yield Findings(Reference.name, tables={"early.csv": haste}, sentences=lock.sentences(haste=haste))
    trained = lock.windows(network, study.data, epochs=_EPOCHS, seed=seed)
    yield Findings(Reference.name, tables={"windows.csv": trained}, sentences=lock.sentences(trained=trained))


def _recovery(study: _Study) -> Iterator[Findings]:
    yield Findings(study.on, CLAIMS["recovery"](study.subject))
    if not study.subject.network.cycle:
        found = stability.study(*study.batch, cases=_CASES, seed=study.subject.seed)
        yield Findings(Reference.name, tables=found.tables, sentences=found.sentences(), whole=found)


def _traffic(study: _Study) -> Iterator[Findings]:
    """Measure cold and warm starts under every schedule that the backend takes; a refusal is told, not hidden."""
    subject, (mapping, why) = study.subject, _mapping(study)
    if subject.network.cycle:
        yield Findings(sentences=["Traffic was not measured: a cycle leaves no number of steps to count messages in."])
        return
    own = mapping_of(subject)
    where: dict[str, Any] = {} if mapping is None else {"chip": mapping.chip.name, "ran": own is not None}
    if why is not None:
        yield Findings(sentences=[why])
    steps = subject.running.relaxation_steps
    others = [np.roll(values, 1, axis=0) for values in (subject.inputs, subject.targets)]  # each sample follows another
    for schedule in SCHEDULES:
        try:
            cold = subject.relax(steps, schedule=schedule)
            before = subject.relax(steps, inputs=others[0], targets=others[1], schedule=schedule)
            warm = subject.relax(steps, schedule=schedule, initial=before.final)
            sent, again = (traffic.traffic(trace, previous=previous) for trace, previous in ((cold, None), (warm, before)))
        except OptionError as error:
            if error.field in ("backend", "network"):  # what is wrong is not this schedule
                raise
            yield Findings(sentences=[f"Traffic under {schedule} was not measured: {error}."])
            continue
        starts = ((sent, traffic.COLD), (again, traffic.WARM))
        found = [{"traffic.csv": table.assign(schedule=schedule, start=start)} for table, start in starts]
        crossed = None if mapping is None else traffic.packets(cold, mapping)
        found += [] if crossed is None else [{"packets.csv": crossed.assign(schedule=schedule)}]
        yield from (Findings(study.on, tables=table) for table in found)
        words = traffic.sentences(sent, crossed, **where)
        yield Findings(study.on, sentences=[f"Under {schedule}: {sentence}" for sentence in words])
    chip = study.chip if own is None else own.chip
    try:
        grown = traffic.growth(chip=chip, seed=subject.seed)
    except CapacityError as error:
        yield Findings(MappedChip.name, sentences=[f"How traffic grows was not measured on {chip.name}: {error}."])
        return
    yield Findings(MappedChip.name, tables={"growth.csv": grown}, sentences=traffic.sentences(grown=grown))


def _transport(study: _Study) -> Iterator[Findings]:
    (network, inputs, targets), seed = study.batch, study.subject.seed
    if network.cycle or not any(p.plastic and p.source != network.input for p in network.projections):
        yield Findings(sentences=["Wrong copies were not measured: the network has no W^T copies that learn, or a cycle."])
        return
    angled = transport.angles(network, inputs, targets, backend=study.subject.backend, seed=seed)
    yield Findings(study.on, tables={"angles.csv": angled}, sentences=transport.answers(angled))
    samples = len(study.data.inputs if isinstance(study.data, Dataset) else study.data[0])
    settings: dict[str, Any] = {"epochs": _EPOCHS, "batch_size": min(_BATCH, samples), "seed": seed}
    aligned = transport.alignment(network, study.data, schedule="wavefront", **settings)  # learns the same, in less time
    yield Findings(Reference.name, tables={"alignment.csv": aligned}, sentences=transport.answers(aligned=aligned))


def _mapping(study: _Study) -> tuple[Placed | None, str | None]:
    """Return where the network that runs lies on a chip, for the hops that its messages take, or why that is not known."""
    own = mapping_of(study.subject)
    if own is not None:
        return own, None
    try:
        mapping = map_network(study.subject.network, study.chip)
    except CapacityError as error:
        return None, f"Hops are not known: {error}."
    if mapping.division.divided:
        return None, f"Hops are not known: on {mapping.chip.name} a fan-in has to be divided, and another network would run."
    return mapping, None


PARTS: Mapping[str, Callable[[_Study], Iterator[Findings]]] = {
    "cones": _cones,
    "updates": _updates,
    "lock": _lock,
    "recovery": _recovery,
    "traffic": _traffic,
    "transport": _transport,
}

FILES: Mapping[str, tuple[str, ...]] = {
    "cones": ("cones.csv",),
    "updates": ("updates.csv",),
    "lock": ("lock.csv", "release.csv", "early.csv", "windows.csv"),
    "recovery": ("recovery.csv", "lasting.csv", "asynchrony.csv", "spread.csv", "weights.csv"),
    "traffic": ("traffic.csv", "packets.csv", "growth.csv"),
    "transport": ("angles.csv", "alignment.csv"),
}
"""The tables that each part may have."""
