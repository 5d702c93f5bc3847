"""The laws of a mapping, and how a broken one is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dyadic_neuro.arrays import Array

SHOWN = 3  # findings of one law that are spelled out; the rest is counted


class Law(Enum):
    """What holds for every mapping."""

    FORM = "the arrays of a record fit together"
    EVERY_NEURON = "every neuron lies in a slice"
    ONE_SLICE = "no neuron lies in two slices"
    CORE_EXISTS = "cores are cores of the chip"
    READOUT_WHOLE = "a readout whose loss couples its neurons lies on one core"
    COPIES = "the copies of the weights are those of the network"
    EVERY_SYNAPSE = "every synapse is stored"
    ONE_SYNAPSE = "no synapse is stored twice"
    SYNAPSE_PLACE = "synapses lie with the neurons that they drive, and within their copy"
    EVERY_MESSAGE = "every message reaches all cores that have synapses for it"
    ONE_MESSAGE = "no message reaches a core twice"
    NO_WASTE = "no message goes where no synapse waits for it"
    SYNAPSES_MET = "a message meets as many synapses as are stored for it"
    LINK_LOAD = "links carry what X-Y routing sends over them"
    FLOW = "what enters a tile or starts there leaves it or ends there"
    LIMIT = "no core uses more than it has"
    EVERY_DEPARTURE = "every signal with a route has a step in which it leaves"
    ONE_DEPARTURE = "no signal leaves in two steps"
    AFTER_UPDATE = "signals leave after their state is updated"
    BEFORE_USE = "signals leave before they are used"
    WINDOW = "steps lie within the window of 2D steps, and a network with a cycle has none"
    KNOWN_SIGNAL = "only rates and sensitivities of the network leave"
    EVERY_WEIGHT = "every weight is in a piece of the divided network"
    ONE_PIECE = "no weight is in two pieces"
    SAME_SUM = "the divided network computes what the original one does"


@dataclass(frozen=True)
class Fault:
    """A law that is broken, and where and how."""

    law: Law
    problem: str

    def __str__(self) -> str:
        return f"{self.problem} (law: {self.law.value})"


def each(law: Law, bad: Array, say: Callable[[int], str]) -> Iterator[Fault]:
    """Yield a fault for the first few places in `bad`, and one that counts the others."""
    for place in bad[:SHOWN]:
        yield Fault(law, say(int(place)))
    if len(bad) > SHOWN:
        yield Fault(law, f"{say(int(bad[SHOWN]))}, and {len(bad) - SHOWN - 1:,} more like this")


def where(law: Law, wrong: Array, say: Callable[[int], str]) -> Iterator[Fault]:
    """Yield a fault for each true entry, as `each`."""
    return each(law, np.flatnonzero(wrong), say)


def alike(record: str, arrays: dict[str, Array], ranges: dict[str, int]) -> Iterator[Fault]:
    """Find arrays that are no lists of whole numbers, or of unlike length; or positions outside 0 .. range - 1."""
    bad = [name for name, array in arrays.items() if not is_whole(array, 1)]
    if bad:
        yield Fault(Law.FORM, f"{record}.{bad[0]} is no array of whole numbers of one dimension")
        return
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        yield Fault(Law.FORM, f"arrays of {record} are of unlike length: {lengths}")
        return
    for name, count in ranges.items():
        wrong = (arrays[name] < 0) | (arrays[name] >= count)
        law = Law.CORE_EXISTS if name == "core" else Law.FORM
        yield from where(law, wrong, lambda i, n=name, c=count: f"{record}.{n}[{i}] is {arrays[n][i]}, not below {c:,}")  # type: ignore[misc]


def is_whole(array: object, ndim: int) -> bool:
    """Return whether this is an array of whole numbers with so many dimensions."""
    return isinstance(array, np.ndarray) and array.ndim == ndim and array.dtype.kind in "iu"
