"""How many messages each link of the mesh carries under X-Y routing: first along the row, then along the column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array, read_only
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.routes import Routes, Senders
from dyadic_neuro.mappings.slices import Slices

_FEW_PAIRS = 256  # routes of so few pairs of cores are walked pair by pair, the others by histograms of their ends


@dataclass(frozen=True, eq=False)
class Links:
    """Messages over every link, in four arrays by the row and the column of tiles.

    `east[y, x]` and `west[y, x]`, (rows, columns - 1), lie between columns x and x + 1; `north[y, x]` and `south[y, x]`,
    (rows - 1, columns), between rows y and y + 1.
    """

    east: Array
    west: Array
    north: Array
    south: Array

    def frozen(self) -> Links:
        """Return these links with read-only arrays."""
        found = Links(self.east, self.west, self.north, self.south)
        read_only(found)
        return found

    @classmethod
    def none(cls, chip: Chip) -> Links:
        """Return the links of a chip without any messages."""
        columns, rows = extent(chip)
        shapes = (rows, columns - 1), (rows, columns - 1), (rows - 1, columns), (rows - 1, columns)
        return cls(*(np.zeros(shape, np.int64) for shape in shapes))

    @classmethod
    def of(cls, chip: Chip, slices: Slices, routes: Routes, senders: Senders, sent: Array | None = None) -> Links:
        """Return what the links carry when all neurons send once, or `sent` (senders,) of those of each sender."""
        found = cls.none(chip)
        messages = senders.neurons if sent is None else sent
        bounds = np.searchsorted(senders.route, np.arange(len(routes) + 1))
        sources = np.diff(bounds)
        few = sources * routes.fan_out <= _FEW_PAIRS
        loud = np.bincount(senders.route, messages, len(routes)) > 0
        for r in np.flatnonzero(~few & loud):
            low, high = bounds[r], bounds[r + 1]
            ends = routes.core[routes.first[r] : routes.first[r + 1]]
            found.spread(chip, slices.core[senders.slice[low:high]], messages[low:high], ends)
        found.walk(chip, *_pairs(slices, routes, senders, messages, bounds, few & loud))
        return found.frozen()

    def spread(self, chip: Chip, cores: Array, messages: Array, ends: Array) -> None:
        """Add a multicast of `messages` from each of `cores` to all of `ends`."""
        columns, rows = extent(chip)
        x, y, to_x, to_y = chip.x[cores], chip.y[cores], chip.x[ends], chip.y[ends]
        from_here = np.zeros((rows, columns), np.int64)
        np.add.at(from_here, (y, x), messages)
        to_here = np.zeros((rows, columns), np.int64)
        np.add.at(to_here, (to_y, to_x), 1)
        west_of, ends_west_of = from_here.cumsum(axis=1)[:, :-1], to_here.sum(axis=0).cumsum()[:-1]
        self.east[:] += west_of * (len(ends) - ends_west_of)
        self.west[:] += (from_here.sum(axis=1)[:, None] - west_of) * ends_west_of
        # having reached the column of its end, a message has kept its row
        south_of, ends_south_of = from_here.sum(axis=1).cumsum()[:-1, None], to_here.cumsum(axis=0)[:-1]
        self.north[:] += south_of * (to_here.sum(axis=0) - ends_south_of)
        self.south[:] += (messages.sum() - south_of) * ends_south_of

    def walk(self, chip: Chip, cores: Array, ends: Array, messages: Array) -> None:
        """Add `messages` from each core to the end beside it, by where they enter and leave a row or a column."""
        x, y, to_x, to_y = chip.x[cores], chip.y[cores], chip.x[ends], chip.y[ends]
        for carried, axis, start, stop, line in (
            (self.east, 1, x, to_x, y),
            (self.west, 1, to_x, x, y),
            (self.north, 0, y, to_y, to_x),
            (self.south, 0, to_y, y, to_x),
        ):
            used = start < stop
            change = np.zeros((carried.shape[0] + (axis == 0), carried.shape[1] + (axis == 1)), np.int64)
            for place, amount in ((start, messages), (stop, -messages)):
                where = (line[used], place[used]) if axis == 1 else (place[used], line[used])
                np.add.at(change, where, amount[used])
            total = change.cumsum(axis=axis)
            carried[:] += total[:, :-1] if axis == 1 else total[:-1]

    @property
    def hops(self) -> tuple[int, int]:
        """All hops along rows, and along columns."""
        return int(self.east.sum() + self.west.sum()), int(self.north.sum() + self.south.sum())

    def crossing(self, chip: Chip) -> Links:
        """Return the loads of the links between chips, all others 0."""
        width, height = int(chip.mesh.columns.value or 1), int(chip.mesh.rows.value or 1)
        columns, rows = extent(chip)
        borders_x = (np.arange(1, columns) % width == 0)[None, :]
        borders_y = (np.arange(1, rows) % height == 0)[:, None]
        return Links(self.east * borders_x, self.west * borders_x, self.north * borders_y, self.south * borders_y)

    @classmethod
    def from_flat(cls, chip: Chip, loads: Array) -> Links:
        """Return the links whose `flat` is this array; axes before the last one are kept."""
        parts, first = [], 0
        for empty in (none := cls.none(chip)).east, none.west, none.north, none.south:
            parts.append(loads[..., first : first + empty.size].reshape(*loads.shape[:-1], *empty.shape))
            first += empty.size
        return cls(*parts)

    def flat(self) -> Array:
        """Return all loads in one array: east, west, north, south, each row by row."""
        return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in self._parts], axis=-1)

    def summed(self) -> Links:
        """Return the loads summed up over the first axis, that of samples."""
        return Links(*(part.sum(axis=0) for part in self._parts))

    def __add__(self, other: Links) -> Links:
        """Return the loads of both."""
        return Links(*(a + b for a, b in zip(self._parts, other._parts, strict=True)))

    @property
    def _parts(self) -> tuple[Array, Array, Array, Array]:
        return self.east, self.west, self.north, self.south

    def busiest(self) -> tuple[int, str]:
        """Return the largest load, and the link: "east from (x, y)" in tiles."""
        load, name = 0, "none"
        for direction in ("east", "west", "north", "south"):
            part = getattr(self, direction)
            if part.size and int(part.max()) > load:
                y, x = np.unravel_index(int(part.argmax()), part.shape)
                load = int(part.max())
                start = (int(x) + (direction == "west"), int(y) + (direction == "south"))
                name = f"{direction} from tile {start}"
        return load, name


def extent(chip: Chip) -> tuple[int, int]:
    """Return the tiles of the whole system: columns, rows."""
    mesh = chip.mesh
    return int((mesh.columns.value or 1) * (mesh.chip_columns.value or 1)), int(
        (mesh.rows.value or 1) * (mesh.chip_rows.value or 1)
    )


def _pairs(
    slices: Slices, routes: Routes, senders: Senders, messages: Array, bounds: Array, few: Array
) -> tuple[Array, Array, Array]:
    """Return every pair of a sender's core and an end of the chosen routes, with the messages between them."""
    chosen = np.flatnonzero(few)
    sources, fan_out = np.diff(bounds)[chosen], routes.fan_out[chosen]
    counts = sources * fan_out
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    sender = np.repeat(bounds[chosen], counts) + within // np.repeat(fan_out, counts)
    end = np.repeat(routes.first[chosen], counts) + within % np.repeat(fan_out, counts)
    return slices.core[senders.slice[sender]], routes.core[end], messages[sender]
