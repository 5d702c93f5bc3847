"""The records of a mapping, read a second time: depths, copies, arrivals and the loads of links, each in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dyadic_neuro.arrays import Array

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping
    from dyadic_neuro.network import Network
    from dyadic_neuro.quantity import Quantity

RATE, SENSITIVITY = "rate", "sensitivity"
KINDS = (RATE, SENSITIVITY)
_CHUNK = 2**18  # pairs looked at at a time, which bounds the memory


class ExpectedCopy(NamedTuple):
    """A copy of a projection that must exist, with the fields of `mappings.copies.Copy`."""

    projection: str
    kind: str
    source: str
    target: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    one_to_one: bool
    plastic: bool


class Steps(NamedTuple):
    """When signals are updated under wavefront, by (population, kind); and D."""

    updated: dict[tuple[str, str], int]
    depth: int


class Arrivals(NamedTuple):
    """Spans of neurons whose messages are alike, on one core: what its synapses want, and what the routes say."""

    signal: Array
    core: Array
    start: Array
    stop: Array
    wanted: Array
    routed: Array
    messages: Array


class Flows(NamedTuple):
    """What enters and what leaves a direction at every tile, (rows, columns), by direction; and messages sent and taken."""

    begins: dict[str, Array]
    ends: dict[str, Array]
    emitted: Array
    absorbed: Array


@dataclass(frozen=True, eq=False)
class View:
    """A mapping with what several laws need. What depends on a record is only asked for once that record was checked.

    Neurons are numbered through: population by population in the order of `slices.names`.
    """

    mapping: Mapping

    @property
    def network(self) -> Network:
        """The network on the chip."""
        return self.mapping.division.network

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The populations, as the records number them."""
        return tuple(self.mapping.slices.names)

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each population."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def size(self) -> Array:
        """The neurons of each population."""
        sizes = {p.name: p.size for p in self.network.populations}
        return np.array([sizes[name] for name in self.names], np.int64)

    @cached_property
    def offset(self) -> Array:
        """Where each population begins when all are put in a row."""
        return np.cumsum(self.size) - self.size

    @cached_property
    def cut(self) -> Array:
        """Where slices begin in the numbers of all neurons, and after the last one: slices follow each other."""
        s = self.mapping.slices
        return np.append(self.offset[s.population] + s.start, self.size.sum())

    @cached_property
    def copies(self) -> tuple[ExpectedCopy, ...]:
        """The copies of weights that must be stored."""
        found = []
        for p in self.network.projections:
            high, wide = p.weights.shape[0], p.weights.shape[-1]
            rows, columns = (p.corner[0], p.corner[0] + high), (p.corner[1], p.corner[1] + wide)
            one = len(p.weights.shape) == 1
            found.append(ExpectedCopy(p.name, RATE, p.source, p.target, rows, columns, one, p.plastic))
            if p.source != self.network.input:
                found.append(ExpectedCopy(p.name, SENSITIVITY, p.target, p.source, columns, rows, one, p.plastic))
        return tuple(found)

    @cached_property
    def steps(self) -> Steps | None:
        """None for a network with a cycle."""
        number = {p.name: i for i, p in enumerate(self.network.populations)}
        ends = [(number[p.source], number[p.target]) for p in self.network.projections]
        source, target = np.array(ends, np.int64).T
        depths, heights = _longest(source, target, len(number)), _longest(target, source, len(number))
        if depths is None or heights is None:
            return None
        last = int(depths[number[self.network.output]])
        updated = {(name, RATE): int(depths[i]) for name, i in number.items()}
        updated |= {(name, SENSITIVITY): last + 1 + int(heights[i]) for name, i in number.items() if name != self.network.input}
        return Steps(updated, last)

    @cached_property
    def cores(self) -> int:
        """The usable cores of the system."""
        mesh = self.mapping.chip.mesh
        return whole(mesh.cores) * whole(mesh.chip_columns) * whole(mesh.chip_rows)

    def tiles(self, core: Array) -> tuple[Array, Array]:
        """Return row and column of the tile of each core, by the numbering that `Mesh` and `Chip` describe."""
        mesh = self.mapping.chip.mesh
        chip, local = np.divmod(core, whole(mesh.cores))
        column, row = np.divmod(local // whole(mesh.cores_per_tile), whole(mesh.rows))
        chip_column, chip_row = np.divmod(chip, whole(mesh.chip_rows))
        return chip_row * whole(mesh.rows) + row, chip_column * whole(mesh.columns) + column

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of tiles of the system."""
        mesh = self.mapping.chip.mesh
        return whole(mesh.rows) * whole(mesh.chip_rows), whole(mesh.columns) * whole(mesh.chip_columns)

    @cached_property
    def route_of(self) -> Array:
        """The route of each entry of `routes.core`."""
        first = self.mapping.routes.first
        return np.searchsorted(first, np.arange(first[-1]), side="right") - 1

    @cached_property
    def route_population(self) -> Array:
        """The number of each route's population in the order of `slices.names`."""
        r = self.mapping.routes
        return np.array([self.index[name] for name in r.names], np.int64)[r.population]

    @cached_property
    def senders(self) -> tuple[Array, Array, Array]:
        """(route, slice, neurons): who sends how much on which route."""
        r = self.mapping.routes
        base = self.offset[self.route_population]
        return self.met(base + r.start, base + r.stop)

    def met(self, low: Array, high: Array) -> tuple[Array, Array, Array]:
        """Return (span, slice, neurons) for every span low .. high - 1 of numbered neurons and every slice that it meets."""
        first = np.searchsorted(self.cut, low, side="right") - 1
        counts = np.searchsorted(self.cut, high, side="left") - first
        span = np.repeat(np.arange(len(low)), counts)
        held = first[span] + np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)
        return span, held, np.minimum(self.cut[held + 1], high[span]) - np.maximum(self.cut[held], low[span])

    @cached_property
    def arrivals(self) -> Arrivals:
        """What every core takes of every signal, swept along the neurons that send it."""
        s, r = self.mapping.synapses, self.mapping.routes
        signals = np.array([2 * self.index[c.source] + KINDS.index(c.kind) for c in s.copies], np.int64)
        single = np.array([c.one_to_one for c in s.copies], bool)[s.copy]
        met = np.where(single, 1, s.row_stop - s.row_start)
        signal = np.concatenate([signals[s.copy], (2 * self.route_population + r.kind)[self.route_of]])
        core = np.concatenate([self.mapping.slices.core[s.slice], r.core])
        ends = [np.concatenate([s.column_start, r.start[self.route_of]]), np.concatenate([s.column_stop, r.stop[self.route_of]])]
        none, none_routed = np.zeros_like(met), np.zeros_like(r.core)
        changes = [
            np.concatenate([met, none_routed]),
            np.concatenate([none, r.synapses]),
            np.concatenate([none, np.ones_like(r.core)]),
        ]
        signal, core, place = np.tile(signal, 2), np.tile(core, 2), np.concatenate(ends)
        order = np.lexsort((place, core, signal))
        totals = [np.concatenate([change, -change])[order].cumsum()[:-1] for change in changes]
        signal, core, place = signal[order], core[order], place[order]
        inside = np.diff(place) > 0
        inside &= (totals[0] != 0) | (totals[1] != 0) | (totals[2] != 0)  # between two groups all is 0 again
        spans = (signal[:-1], core[:-1], place[:-1], place[1:], *totals)
        return Arrivals(*(part[inside] for part in spans))

    @cached_property
    def flows(self) -> Flows:
        """Where messages begin and end to go east, west, north and south.

        A message of a core in (y, x) to one in (v, u) runs along row y from x to u, then along column u from y to v.
        """
        route, held, messages = self.senders
        m, (rows, columns) = self.mapping, self.extent
        y, x = self.tiles(m.slices.core[held])
        end_route, (v, u) = self.route_of, self.tiles(m.routes.core)
        begins = {direction: np.zeros((rows, columns), np.int64) for direction in ("east", "west", "north", "south")}
        ends = {direction: np.zeros((rows, columns), np.int64) for direction in begins}
        # sums over the ends, or the senders, of one route that lie before a tile: positions in one sorted list of all routes
        by_column = _Prefix(((end_route * columns + u) * rows) + v, np.ones_like(u))
        by_row = _Prefix(((route * rows + y) * columns) + x, messages)
        whole = by_column.between(route * columns * rows, (route + 1) * columns * rows)
        here = (route * columns + x) * rows
        west = by_column.between(route * columns * rows, here)
        east = by_column.between(here + rows, (route + 1) * columns * rows)
        np.add.at(begins["west"], (y, x), messages * west)
        np.add.at(begins["east"], (y, x), messages * east)
        there = (end_route * rows + v) * columns
        np.add.at(ends["north"], (v, u), by_row.between(end_route * rows * columns, there))
        np.add.at(ends["south"], (v, u), by_row.between(there + columns, (end_route + 1) * rows * columns))
        # where a row that sends and a column that receives cross, messages turn
        lines, stacks = np.unique(route * rows + y), np.unique(end_route * columns + u)
        for line, stack in _crossings(lines, rows, stacks, columns, len(m.routes.population)):
            row, column = line % rows, stack % columns
            low, middle = line * columns, line * columns + column
            from_west, from_east = by_row.between(low, middle), by_row.between(middle + 1, low + columns)
            sent = by_row.between(low, low + columns)
            bottom, level = stack * rows, stack * rows + row
            south, north = by_column.between(bottom, level), by_column.between(level + 1, bottom + rows)
            taken = by_column.between(bottom, bottom + rows)
            np.add.at(ends["east"], (row, column), from_west * taken)
            np.add.at(ends["west"], (row, column), from_east * taken)
            np.add.at(begins["north"], (row, column), sent * north)
            np.add.at(begins["south"], (row, column), sent * south)
        emitted, absorbed = np.zeros((rows, columns), np.int64), np.zeros((rows, columns), np.int64)
        np.add.at(emitted, (y, x), messages * whole)
        np.add.at(absorbed, (v, u), (m.routes.stop - m.routes.start)[end_route])
        return Flows(begins, ends, emitted, absorbed)

    def loads(self) -> dict[str, Array]:
        """Return what every link carries, in the shapes of `Links`: what began to go its way before it and has not ended."""
        found = {}
        for direction, begin in self.flows.begins.items():
            axis = 1 if direction in ("east", "west") else 0
            carried = (begin - self.flows.ends[direction]).cumsum(axis=axis)
            carried = carried[:, :-1] if axis == 1 else carried[:-1]
            found[direction] = carried if direction in ("east", "north") else -carried  # passed the other way
        return found


@dataclass(frozen=True, eq=False)
class _Prefix:
    """Sums of values over ranges of keys."""

    keys: Array
    values: Array

    @cached_property
    def _sorted(self) -> tuple[Array, Array]:
        order = np.argsort(self.keys, kind="stable")
        return self.keys[order], np.concatenate([[0], np.cumsum(self.values[order])])

    def between(self, low: Array, high: Array) -> Array:
        """Return the sums over the keys from `low` to before `high`, elementwise."""
        keys, sums = self._sorted
        return np.asarray(sums[np.searchsorted(keys, high)] - sums[np.searchsorted(keys, low)])


def _crossings(lines: Array, rows: int, stacks: Array, columns: int, routes: int) -> Iterator[tuple[Array, Array]]:
    """Yield every pair of a line (route * rows + row) and a stack (route * columns + column) of the same route, in chunks."""
    which = np.arange(routes + 1)
    first_line, first_stack = np.searchsorted(lines, which * rows), np.searchsorted(stacks, which * columns)
    wide = np.diff(first_stack)
    pairs = np.concatenate([[0], np.cumsum(np.diff(first_line) * wide)])
    for low in range(0, int(pairs[-1]), _CHUNK):
        pair = np.arange(low, min(low + _CHUNK, int(pairs[-1])))
        route = np.searchsorted(pairs, pair, side="right") - 1
        within = pair - pairs[route]
        yield lines[first_line[route] + within // wide[route]], stacks[first_stack[route] + within % wide[route]]


def _longest(source: Array, target: Array, count: int) -> Array | None:
    """Return the longest path to each of `count` nodes, in edges, or None if there is a cycle."""
    length = np.zeros(count, np.int64)
    for _ in range(count + 1):  # round after round, each edge pushes its end one further than its start
        pushed = length.copy()
        np.maximum.at(pushed, target, length[source] + 1)
        if np.array_equal(pushed, length):
            return length
        length = pushed
    return None


def whole(quantity: Quantity) -> int:
    """Return a number that a chip must know."""
    return int(quantity.value or 0)
