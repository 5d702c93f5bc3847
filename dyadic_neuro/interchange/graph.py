"""What the formats share: a graph of matrices, rate functions and sums, read as populations joined by projections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from dyadic_neuro import topology
from dyadic_neuro.arrays import Array, Room, sealed
from dyadic_neuro.errors import CycleError, DataError, NetworkError
from dyadic_neuro.interchange import records
from dyadic_neuro.interchange.limits import MOST_BYTES, MOST_POPULATIONS, MOST_PROJECTIONS

MOST_NEURONS = 2**24
"""All populations of a file together: neurons cost a file nothing, but every one of them costs memory."""
_STRIP, _PAD = 64, 8  # rows transposed at once, and what keeps the columns of 2^n of them from meeting in one line of the cache


@dataclass(frozen=True, eq=False)
class Slot:
    """Where a file holds (a part of) a parameter: `restore` turns the parameter into the array of that place."""

    place: Hashable
    values: Array
    restore: Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a file says: a record and parameters as `Network.from_record` takes them, and where each of them stands.

    `slots` are the places of each parameter, `nodes` the name of each population's node.
    """

    record: dict[str, Any]
    arrays: dict[str, Array]
    slots: dict[str, list[Slot]]
    nodes: dict[str, str]


@dataclass(frozen=True, eq=False)
class Signal:
    """What flows along an edge: weighted rates of populations, plus biases. A term without a slot is a rate as it is."""

    node: str
    size: int
    terms: tuple[tuple[int, Slot | None, bool], ...] = ()
    biases: tuple[Slot, ...] = ()


@dataclass(frozen=True, eq=False)
class _Part:
    node: str
    size: int
    activation: Any
    drive: Signal | None

    @property
    def nbytes(self) -> int:
        """Of the parameters that come in, in the file's precision, and of a potential and each wire in double precision."""
        terms = [slot for _, slot, _ in self.drive.terms] if self.drive else []
        slots = [slot for slot in terms if slot] + list(self.drive.biases if self.drive else ())
        return sum(slot.values.nbytes for slot in slots) + 8 * self.size * (1 + terms.count(None))


@dataclass
class Reduction:
    """Takes the nodes of a graph, each after its sources, and makes populations and projections of them.

    Sums and matrices make no population; a rate function does, and so does what goes straight into the next matrix, or is
    `shared`: an identity. Raises NetworkError naming the node that does not fit.
    """

    parts: list[_Part] = field(default_factory=list)
    unused: set[Signal] = field(default_factory=set)
    neurons: int = 0
    projections: int = 0

    def input(self, node: str, size: int) -> Signal:
        """Return the signal of the input, which has to be the first."""
        self._grow(node, size, "identity", None)
        return self._keep(Signal(node, size, ((0, None, False),)))

    def affine(self, node: str, x: Signal, weights: Slot | None, bias: Slot | None = None, *, plastic: bool = True) -> Signal:
        """Return W x + b; a vector of weights scales, no weights leave x as it is. Biases are always plastic."""
        if weights is None:
            size, terms, biases = x.size, x.terms, x.biases
            self.unused.discard(x)
        else:
            if weights.values.shape[-1] != x.size:
                problem = f"takes {weights.values.shape[-1]} values and gets {x.size}"
                raise NetworkError(f"node {node}", problem, "check the shapes in the file")
            size, terms, biases = len(weights.values), ((self._population(x), weights, plastic),), ()
        if bias is not None and bias.values.shape != (size,):
            raise NetworkError(f"node {node}", f"has a bias of shape {bias.values.shape}, not ({size},)", "check the file")
        return self._keep(Signal(node, size, terms, biases if bias is None else (*biases, bias)))

    def rate(self, node: str, x: Signal, activation: object) -> Signal:
        """Return phi(x): the rates of a new population."""
        self.unused.discard(x)
        return self._keep(Signal(node, x.size, ((self._grow(node, x.size, activation, x), None, False),)))

    def shared(self, x: Signal) -> Signal:
        """Return what several nodes may take: the rates of one population, so that no weight of x is there twice."""
        return x if _plain(x) else self._keep(Signal(x.node, x.size, ((self._population(x), None, False),)))

    def add(self, node: str, signals: Sequence[Signal]) -> Signal:
        """Return the sum of signals of one size."""
        if len({x.size for x in signals}) != 1:
            raise NetworkError(f"node {node}", f"gets signals of sizes {[x.size for x in signals]}", "check the file")
        if len(signals) == 1:
            return signals[0]
        self.unused.difference_update(signals)
        terms, biases = tuple(one for x in signals for one in x.terms), tuple(one for x in signals for one in x.biases)
        return self._keep(Signal(node, signals[0].size, terms, biases))

    def output(self, x: Signal, most: int) -> Reading:
        """Return what was read, with x as the potential of the readout.

        Raises NetworkError if a node leads nowhere, or the network would take more than `most` bytes.
        """
        self.unused.discard(x)
        if self.unused:
            raise NetworkError("nodes", f"{listed(one.node for one in self.unused)} lead nowhere", "remove them from the file")
        # An identity at the end is the readout. All others are before it: they reach the readout through it.
        last = x.terms[0][0] if _plain(x) else 0
        if last == 0 or not isinstance(self.parts[last].activation, str) or self.parts[last].activation != "identity":
            self._grow("output", x.size, "identity", x)
        held = sum(part.nbytes for part in self.parts)
        if held > most:
            problem = f"make a network of {held} bytes, and {most} are the most for a file of its size"
            raise NetworkError("nodes", problem, "check the file")
        return self._reading()

    def _keep(self, x: Signal) -> Signal:
        self.unused.add(x)
        return x

    def _grow(self, node: str, size: int, activation: object, drive: Signal | None) -> int:
        self.neurons += size
        self.projections += len({source for source, *_ in drive.terms}) if drive else 0
        if size < 1:
            raise NetworkError(f"node {node}", f"of size {size} is empty", "check the file")
        if self.neurons > MOST_NEURONS or len(self.parts) >= MOST_POPULATIONS or self.projections > MOST_PROJECTIONS:
            limits = f"{MOST_NEURONS} neurons, {MOST_POPULATIONS} populations, {MOST_PROJECTIONS} projections"
            raise NetworkError(f"node {node}", f"of size {size} is one too many: the most are {limits}", "use a smaller network")
        self.parts.append(_Part(node, size, activation, drive))
        return len(self.parts) - 1

    def _population(self, x: Signal) -> int:
        """Return the population whose rates x is, a new identity if there is none."""
        self.unused.discard(x)
        return x.terms[0][0] if _plain(x) else self._grow(x.node, x.size, "identity", x)

    def _reading(self) -> Reading:
        names = ["input", *(f"hidden{i}" for i in range(1, len(self.parts) - 1)), "output"]
        populations, projections = [], []
        arrays: dict[str, Array] = {}
        slots: dict[str, list[Slot]] = {}
        for name, part in zip(names, self.parts, strict=True):
            drive = part.drive or Signal(name, part.size)
            populations.append([name, part.size, part.activation, bool(drive.biases)])
            if drive.biases:
                slots[f"{name}.bias"] = list(drive.biases)
                arrays[f"{name}.bias"] = sum_of([slot.values for slot in drive.biases])
            for source in dict.fromkeys(term[0] for term in drive.terms):
                terms = sorted((term for term in drive.terms if term[0] == source), key=lambda term: not term[2])
                key = f"{names[source]}->{name}"
                slots[key] = [slot for _, slot, _ in terms if slot]
                arrays[key] = sum_of([np.ones(part.size, np.float16) if slot is None else slot.values for _, slot, _ in terms])
                whole = [] if arrays[key].ndim == 2 else [[0, 0], [part.size, part.size], [part.size]]
                projections.append([names[source], name, any(plastic for *_, plastic in terms), *whole])
        record = {
            "populations": populations,
            "projections": projections,
            "loss": "squared_error",
            "input": "input",
            "output": "output",
            "dtype": common_dtype(slot.values for group in slots.values() for slot in group),
        }
        return Reading(record, arrays, slots, {name: part.node for name, part in zip(names, self.parts, strict=True)})


def _plain(x: Signal) -> bool:
    """Return whether a signal is the rates of one population as they are."""
    return len(x.terms) == 1 and x.terms[0][1] is None and not x.biases


def sum_of(parts: Sequence[Array]) -> Array:
    """Return the sum of matrices (n, m) and of diagonals (n,); one alone as it is."""
    if len(parts) == 1:
        return parts[0]
    matrices, diagonals = [one for one in parts if one.ndim == 2], [one for one in parts if one.ndim == 1]
    if not matrices or not diagonals:
        return np.asarray(reduce(np.add, parts))
    total = np.array(reduce(np.add, matrices), dtype=np.result_type(*parts))
    total[np.diag_indices_from(total)] += reduce(np.add, diagonals)
    return total


def listed(names: Iterable[str]) -> str:
    """Return the first twenty names, in alphabetical order, for a message."""
    found = sorted(names)
    return ", ".join(name[:80] for name in found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def common_dtype(arrays: Iterable[Array]) -> str:
    """Return the dtype of a network with these parameters: theirs, float64 for a mixture or none at all."""
    kinds = {array.dtype.itemsize for array in arrays}
    return "float32" if kinds == {4} else "float64"


def transposed(matrix: Array) -> Array:
    """Return the transpose in C order, which nobody else holds, made strip by strip."""
    room, width = Room(matrix.shape[::-1], matrix.dtype), matrix.shape[1]
    strip = np.empty((_STRIP, width + _PAD), matrix.dtype)[:, :width]
    for i in range(0, len(matrix), _STRIP):
        rows = matrix[i : i + _STRIP]
        strip[: len(rows)] = rows
        room[:, i : i + _STRIP] = strip[: len(rows)].T
    return sealed(room)


def real(field: str, array: Array) -> Array:
    """Return a parameter in float32 or float64, halves widened. Raises DataError for any other dtype."""
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        raise DataError(field, f"is {array.dtype}", "use float16, float32 or float64")
    return array.astype(np.float32 if array.dtype.itemsize == 2 else array.dtype.newbyteorder("="), copy=False)


def ordered(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """Return the nodes, every source before its targets. Raises CycleError."""
    names, pairs = list(nodes), list(edges)
    cycle = topology.find_cycle(names, pairs)
    if cycle:
        raise CycleError("nodes", f"have the cycle {' -> '.join(cycle)}", "unroll it: only forward networks are read from files")
    return topology.order(names, pairs)


# --- what is written ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """How a file holds a projection: as a scale (n,), or as a matrix (n_target, n_source) with its target's bias or without."""

    source: str
    target: str
    shape: tuple[int, ...]
    corner: tuple[int, int]
    held: tuple[int, ...]
    biased: bool

    @property
    def key(self) -> str:
        """The key of its weights."""
        return f"{self.source}->{self.target}"

    def spread(self, weights: Array) -> Array:
        """Return what the file holds: 0 where the projection has no synapses."""
        if weights.shape == self.shape:
            return weights
        whole = np.zeros(self.shape, weights.dtype)
        self._of(whole)[...] = weights
        return whole

    def gathered(self, whole: Array) -> Array | None:
        """Return the weights that `spread` took, or None if there are others."""
        if whole.shape != self.shape or self.held == self.shape:
            return whole if whole.shape == self.shape else None
        weights = self._of(whole).copy()
        return weights if np.count_nonzero(whole) == np.count_nonzero(weights) else None

    def _of(self, whole: Array) -> Array:
        (row, column), stop = self.corner, (self.corner[0] + self.held[0], self.corner[1] + self.held[-1])
        block = whole[row : stop[0], column : stop[1]]
        return np.einsum("ii->i", block) if len(self.held) == 1 else block


def links(record: Mapping[str, Any]) -> list[Link]:
    """Return how a file holds the projections of a record, those to one target together, in the order of a forward pass.

    Raises KeyError, TypeError, ValueError or LookupError for what is no record, CycleError.
    """
    sizes = {name: int(size) for name, size, *_ in record["populations"]}
    biased = {name for name, _, _, bias in record["populations"] if bias}
    incoming: dict[str, list[Link]] = {name: [] for name in sizes}
    for source, target, _, *part in record["projections"]:
        matrix = (sizes[target], sizes[source])
        corner, held = ((0, 0), matrix) if not part else ((int(part[0][0]), int(part[0][1])), tuple(int(n) for n in part[2]))
        scales = held == (sizes[target],) == (sizes[source],) and corner == (0, 0)
        incoming[target].append(Link(source, target, held if scales else matrix, corner, held, biased=False))
    for target in biased:  # the first matrix carries the bias: what only scales, cannot
        group = incoming[target]
        matrices = [i for i, one in enumerate(group) if len(one.shape) == 2]
        for i in matrices[:1]:
            group[i] = replace(group[i], biased=True)
    order = ordered(sizes, [(one.source, one.target) for group in incoming.values() for one in group])
    return [one for target in order for one in incoming[target]]


def to_write(record: Mapping[str, Any]) -> list[Link]:
    """Return `links`. Raises NetworkError if a file cannot hold their weights, of which a part takes a whole matrix."""
    found = links(record)
    held = sum(math.prod(one.shape) for one in found) * np.dtype(record["dtype"]).itemsize
    if held > MOST_BYTES:
        raise NetworkError("network", f"takes {held} bytes as whole matrices, more than {MOST_BYTES}", "use save")
    return found


def apart(record: Mapping[str, Any], links: Iterable[Link]) -> list[str]:
    """Return the populations whose bias no matrix carries: all that reaches them only scales."""
    carried = {one.target for one in links if one.biased}
    return [name for name, _, _, biased in record["populations"] if biased and name not in carried]


def narrowed(field: str, values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values in the precision of the file that takes them. Raises DataError for what is too large for it."""
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if not np.isfinite(found).all():
        raise DataError(field, f"is too large for {dtype}", "write a new file, without like")
    return found


def replacements(
    reading: Reading, record: Mapping[str, Any], parameters: Mapping[str, Array], like: str
) -> dict[Hashable, Array]:
    """Return the new array of each place in the file `like` that changes; what did not change stays to the last bit.

    Raises NetworkError if the file's network is another one, or a place cannot hold the parameters.
    """
    shapes = {key: np.shape(old) for key, old in reading.arrays.items()}
    if not records.alike(reading.record, record) or shapes != {key: np.shape(parameters[key]) for key in shapes}:
        problem = f"{like} holds another network: {records.structure(reading.record)}, not {records.structure(record)}"
        raise NetworkError("like", problem, "name the file that this one was read from")
    places = Counter(slot.place for group in reading.slots.values() for slot in group)
    found: dict[Hashable, Array] = {}
    for key, group in reading.slots.items():
        new, old = parameters[key], reading.arrays[key]
        same = new == old.astype(new.dtype, copy=False)
        if same.all():
            continue
        if not group:
            raise NetworkError(key, f"is a wire in {like}, of weights 1", "write a new file, without like")
        chosen = max(group, key=lambda slot: slot.values.ndim)  # of what was merged when read, one takes the whole change
        if places[chosen.place] > 1:
            raise NetworkError(key, f"shares {chosen.place} in {like} with another parameter", "write a new file, without like")
        changed = new if old is chosen.values else chosen.values + (new - old)
        found[chosen.place] = chosen.restore(np.where(same, chosen.values, changed))
    return found
