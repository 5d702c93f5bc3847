"""The mesh of cores, and orders in which blocks can be laid on it before anything is improved.

A layout returns core ids: the i-th is the core of the i-th block. All of them fill a tile before they go on to the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from dyadic_neuro.arrays import Array

Window = tuple[int, int, int, int]
"""A rectangle of tiles: its first column and row, its columns and rows."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Where the cores are, and how far it is from one to another.

    `x` and `y` (cores,) are the tile of every usable core, a core id being a position in them; several cores share a tile,
    and a tile may have none. The system has `columns` x `rows` tiles and a chip `chip_columns` x `chip_rows` of them. A hop
    counts 1, and `crossing` where it leaves a chip.
    """

    x: Array
    y: Array
    columns: int
    rows: int
    chip_columns: int
    chip_rows: int
    crossing: float = 10.0

    @cached_property
    def weighted_x(self) -> Array:
        """The hops (columns,) from column 0 to every column, chip borders counted with their weight."""
        at = np.arange(self.columns)
        return at + (self.crossing - 1.0) * (at // self.chip_columns)

    @cached_property
    def weighted_y(self) -> Array:
        """The same for rows, (rows,)."""
        at = np.arange(self.rows)
        return at + (self.crossing - 1.0) * (at // self.chip_rows)

    @cached_property
    def capacity(self) -> Array:
        """How many cores every tile has, (rows, columns)."""
        tiles = np.bincount(self._tile, minlength=self.rows * self.columns)
        return tiles.reshape(self.rows, self.columns)

    @cached_property
    def _tile(self) -> Array:
        return np.asarray(self.y, np.int64) * self.columns + np.asarray(self.x, np.int64)

    @cached_property
    def _by_tile(self) -> Array:
        return np.argsort(self._tile, kind="stable")

    @cached_property
    def _first(self) -> Array:
        counts = self.capacity.ravel()
        return np.asarray(np.cumsum(counts) - counts)

    @cached_property
    def whole(self) -> Window:
        """The window that is the whole system."""
        return 0, 0, self.columns, self.rows

    def cores_of(self, tiles: Array, count: int) -> Array:
        """Return the first `count` cores (count,) on a way over tiles (y * columns + x), in a tile the lower ids first."""
        counts = self.capacity.ravel()[tiles]
        ends = np.cumsum(counts)
        enough = int(np.searchsorted(ends, count)) + 1
        tiles, counts, ends = tiles[:enough], counts[:enough], ends[:enough]
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self._first[tiles] - (ends - counts), counts)
        return np.asarray(self._by_tile[at[:count]])

    def any_core(self, x: Array, y: Array, draw: Array) -> Array:
        """Return a core of each tile, chosen by a number in [0, 1), or -1 where the tile has none."""
        tile = y * self.columns + x
        room = self.capacity.ravel()[tile]
        at = np.minimum(self._first[tile] + (draw * room).astype(np.int64), len(self.x) - 1)
        return np.where(room > 0, self._by_tile[at], -1)


# Orders that know nothing of the network


def by_number(mesh: Mesh, count: int) -> Array:
    """Return the first `count` core ids: the order in which the mesh lists its cores."""
    return np.arange(min(count, len(mesh.x)))


def row_major(mesh: Mesh, count: int) -> Array:
    """Return the first `count` cores, row after row."""
    return mesh.cores_of(np.arange(mesh.rows * mesh.columns), count)


def snake(mesh: Mesh, count: int) -> Array:
    """Return the first `count` cores, row after row, every other row backwards."""
    tiles = np.arange(mesh.rows * mesh.columns).reshape(mesh.rows, mesh.columns)
    tiles[1::2] = tiles[1::2, ::-1].copy()
    return mesh.cores_of(tiles.ravel(), count)


def hilbert_tiles(mesh: Mesh, count: int) -> Array:
    """Return the first `count` cores on a Hilbert curve over the tiles."""
    y, x = np.divmod(np.arange(mesh.rows * mesh.columns), mesh.columns)
    return mesh.cores_of(np.argsort(_along_hilbert(x, y, max(mesh.columns, mesh.rows)), kind="stable"), count)


def hilbert_chips(mesh: Mesh, count: int) -> Array:
    """Return the first `count` cores on a Hilbert curve over the chips, each chip as a snake of its rows."""
    y, x = np.divmod(np.arange(mesh.rows * mesh.columns), mesh.columns)
    across, down = -(-mesh.columns // mesh.chip_columns), -(-mesh.rows // mesh.chip_rows)
    chip = _along_hilbert(x // mesh.chip_columns, y // mesh.chip_rows, max(across, down))
    inner = y % mesh.chip_rows
    along = np.where(inner & 1, mesh.chip_columns - 1 - x % mesh.chip_columns, x % mesh.chip_columns)
    key = (chip * mesh.chip_rows + inner) * mesh.chip_columns + along
    return mesh.cores_of(np.argsort(key, kind="stable"), count)


ORDERS: dict[str, Callable[[Mesh, int], Array]] = {
    "as numbered": by_number,
    "row-major": row_major,
    "snake": snake,
    "Hilbert over tiles": hilbert_tiles,
    "Hilbert over chips": hilbert_chips,
}
"""The orders that a placement is compared with, by name."""


def _along_hilbert(x: Array, y: Array, extent: int) -> Array:
    """Return how far along the curve each point is; the curve fills the smallest square of a power of two that holds them."""
    x, y = np.array(x), np.array(y)
    along = np.zeros_like(x)
    side = 1 << max(0, (extent - 1).bit_length())
    half = side // 2
    while half:
        right, upper = (x & half) > 0, (y & half) > 0
        along += half * half * ((3 * right) ^ upper)
        # the curve within a quarter is turned, so that its end touches the next quarter
        turned, flipped = ~upper, right & ~upper
        x, y = np.where(flipped, side - 1 - x, x), np.where(flipped, side - 1 - y, y)
        x, y = np.where(turned, y, x), np.where(turned, x, y)
        half //= 2
    return along


# Orders that fit a network of layers


def bands(mesh: Mesh, count: int, heights: Sequence[int], window: Window, *, turned: bool = False, skip: int = 0) -> Array:
    """Return `count` cores of a window, band after band, each column by column and every other one backwards.

    `heights` are the tiles across each band, the last of them repeated as needed; `turned` makes the bands columns in place of
    rows. `skip` cores at the start stay empty.
    """
    left, top, wide, high = window
    across = wide if turned else high
    steps = np.concatenate([np.asarray(heights, np.int64), np.full(across // max(1, heights[-1]) + 1, max(1, heights[-1]))])
    band_of = np.repeat(np.arange(len(steps)), steps)[:across]
    length = high if turned else wide
    u, v = np.meshgrid(np.arange(length), np.arange(across))  # along the band and across it
    band = band_of[v]
    along = np.where(band & 1, length - 1 - u, u)
    deep = np.where(along & 1, across - 1 - v, v)  # a column starts where the one before it has ended
    order = np.argsort(((band * length + along) * across + deep).ravel(), kind="stable")
    x, y = (v, u) if turned else (u, v)
    tiles = ((top + y) * mesh.columns + left + x).ravel()[order]
    return mesh.cores_of(tiles, count + skip)[skip:]


def windows(mesh: Mesh, count: int, most: int = 6) -> list[Window]:
    """Return rectangles that hold `count` cores and little more: of whole chips, or of tiles where one chip is enough.

    The squarest (in weighted hops) come first, at most `most` of them; the last one is the whole system.
    """
    across, down = -(-mesh.columns // mesh.chip_columns), -(-mesh.rows // mesh.chip_rows)
    padded = np.zeros((down * mesh.chip_rows, across * mesh.chip_columns), np.int64)
    padded[: mesh.rows, : mesh.columns] = mesh.capacity
    chips = padded.reshape(down, mesh.chip_rows, across, mesh.chip_columns).sum(axis=(1, 3))
    found: list[Window] = []
    if chips.max() >= count:
        row, column = np.unravel_index(int(chips.argmax()), chips.shape)
        left, top = int(column) * mesh.chip_columns, int(row) * mesh.chip_rows
        tiles = padded[top : top + mesh.chip_rows, left : left + mesh.chip_columns]
        found = [(left + x, top + y, w, h) for x, y, w, h in _holding(tiles, count)]
    found = found or [
        (x * mesh.chip_columns, y * mesh.chip_rows, w * mesh.chip_columns, h * mesh.chip_rows)
        for x, y, w, h in _holding(chips, count)
    ]
    clipped = [(x, y, min(w, mesh.columns - x), min(h, mesh.rows - y)) for x, y, w, h in found]
    clipped.sort(key=lambda w: abs(math.log(_extent(mesh.weighted_x, w[0], w[2]) / _extent(mesh.weighted_y, w[1], w[3]))))
    return [*dict.fromkeys([*clipped[:most], mesh.whole])]


def _extent(weighted: Array, first: int, length: int) -> float:
    return float(weighted[first + length - 1] - weighted[first]) + 1.0


def _holding(capacity: Array, count: int) -> list[Window]:
    """Return, for every width, the lowest rectangle of `capacity` (rows, columns) that holds `count`, where it holds most."""
    rows, columns = capacity.shape
    total = np.zeros((rows + 1, columns + 1), np.int64)
    total[1:, 1:] = capacity.cumsum(axis=0).cumsum(axis=1)
    found: list[Window] = []
    high = rows
    for wide in range(1, columns + 1):
        fitting = None
        while high:
            inside = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
            if inside.max() < count:
                break
            y, x = np.unravel_index(int(inside.argmax()), inside.shape)
            fitting = (int(x), int(y), wide, high)
            high -= 1
        if fitting is not None:
            found.append(fitting)  # the next one is wider, so it only counts if it is lower
    return found


# The starts of a search


@dataclass(frozen=True)
class Plan:
    """How to lay out the blocks: along an order of `ORDERS`, by its name, or else folded into bands.

    `across` takes the layers side by side in place of one after the other, the i-th parts of all of them together, which is
    right where those talk to each other alone (one-to-one projections).
    """

    order: str = ""
    window: Window = (0, 0, 0, 0)
    heights: tuple[int, ...] = ()
    turned: bool = False
    skip: int = 0
    across: bool = False


class Plans:
    """The plans tried so far for one network on one mesh, and what they cost."""

    def __init__(self, layers: Array, cost: Callable[[Array], float], mesh: Mesh) -> None:
        self._count, self._cost, self._mesh = len(layers), cost, mesh
        first = np.searchsorted(layers, layers)
        size = np.searchsorted(layers, layers, side="right") - first
        self._across = np.argsort((np.arange(self._count) - first) / size, kind="stable")
        self._costs: dict[Plan, float] = {}

    def positions(self, plan: Plan) -> Array:
        """Return the core of every block (blocks,)."""
        if plan.order:
            cores = ORDERS[plan.order](self._mesh, self._count)
        else:
            cores = bands(self._mesh, self._count, plan.heights, plan.window, turned=plan.turned, skip=plan.skip)
        if not plan.across:
            return cores
        positions = np.empty_like(cores)
        positions[self._across] = cores
        return positions

    def cost(self, plan: Plan) -> float:
        """Return the cost of a plan, which is worked out once."""
        if plan not in self._costs:
            self._costs[plan] = self._cost(self.positions(plan))
        return self._costs[plan]

    def spare(self, plan: Plan) -> int:
        """Return how many cores of its window a plan leaves empty."""
        left, top, wide, high = plan.window
        return int(self._mesh.capacity[top : top + high, left : left + wide].sum()) - self._count

    def best(self, count: int, *, folded: bool) -> list[Plan]:
        """Return the cheapest plans (of bands only, if `folded`), no two of the same cost: those would be mirror images."""
        unlike: list[Plan] = []
        for plan in sorted((plan for plan in self._costs if not (folded and plan.order)), key=self.cost):
            if len(unlike) < count and not (unlike and self.cost(plan) <= self.cost(unlike[-1]) * (1.0 + 1e-9)):
                unlike.append(plan)
        return unlike


def starts(
    layers: Array, cost: Callable[[Array], float], mesh: Mesh, rng: np.random.Generator, *, keep: int, local: bool
) -> list[Array]:
    """Return up to `keep` placements that are worth improving, the cheapest of all layouts first, then others unlike it.

    `layers` (blocks,) is the layer of every block, `cost` judges the cores of all blocks, and `local` says whether parts of
    layers talk to parts of others, and not all to all.
    """
    plans, everywhere = Plans(layers, cost, mesh), windows(mesh, len(layers))
    for across in (False, True) if local else (False,):
        for order in ORDERS:
            plans.cost(Plan(order, across=across))
        for turned in (False, True):
            for heights in _heights(layers, mesh, everywhere[0], turned=turned):
                plans.cost(Plan("", everywhere[0], heights, turned, across=across))
    for window, plan in product(everywhere[1:], plans.best(3, folded=True)):
        plans.cost(replace(plan, window=window))
    for plan in plans.best(3, folded=True):
        spare = plans.spare(plan)
        if plan.window != mesh.whole or len(everywhere) == 1:
            for skip in (spare // 3, spare // 2, spare):
                plans.cost(replace(plan, skip=skip))
    tuned = []
    for plan in plans.best(keep, folded=True):
        best = plan
        for _ in range(int(np.clip(100_000 // len(layers), 4, 25))):
            best = min(best, _varied(best, plans.spare(best), rng), key=plans.cost)
        tuned.append(best)
    chosen = dict.fromkeys([*plans.best(1, folded=False), *sorted(tuned, key=plans.cost)])
    return [plans.positions(plan) for plan in chosen][:keep]


def _varied(plan: Plan, spare: int, rng: np.random.Generator) -> Plan:
    """Return the plan with a border between two bands moved, one band higher or lower, or another start."""
    across = plan.window[2 if plan.turned else 3]
    heights = list(plan.heights)
    while sum(heights) < across:
        heights.append(min(heights[-1], across - sum(heights)))
    kind, i, by = int(rng.integers(3)), int(rng.integers(len(heights))), int(rng.choice([-2, -1, 1, 2]))
    if kind == 0 and spare > 0:
        return replace(plan, skip=int(rng.integers(spare + 1)))
    heights[i] = max(1, heights[i] + by)
    if kind == 1 and i + 1 < len(heights):
        heights[i + 1] = max(1, heights[i + 1] - by)
    return replace(plan, heights=tuple(heights))


def _heights(layers: Array, mesh: Mesh, window: Window, *, turned: bool) -> list[tuple[int, ...]]:
    """Return the bands worth trying: of one height, of a number that fills the window, of heights that follow the layers.

    In a band of height h, a layer of n tiles is n / h long: the hops to the next layer are n / h along the band and h / 3
    across it in the mean, least in all for h = sqrt(3 n).
    """
    left, top, wide, high = window
    across, chip = (wide, mesh.chip_columns) if turned else (high, mesh.chip_rows)
    inside = mesh.capacity[top : top + high, left : left + wide]
    per_tile = max(1.0, inside.sum() / max(1, np.count_nonzero(inside)))
    tiles = np.bincount(layers - layers[0])[layers - layers[0]] / per_tile  # of the layer of every block
    ideal = float(np.sqrt(3.0 * np.median(tiles)))
    if across <= 16:
        found = [(h,) for h in range(1, across + 1)]
    else:
        sizes = {round(ideal * f) for f in (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.2)}
        sizes |= {round(across / k) for k in range(1, across) if 0.6 * ideal < across / k < 2.0 * ideal}
        sizes |= {chip * max(1, round(ideal / chip))}
        found = [(min(across, max(1, h)),) for h in sorted(sizes)][:20]
    filled = np.concatenate([[0], np.cumsum(inside.sum(axis=0 if turned else 1))])
    varying = [_following(tiles, filled, factor) for factor in (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7)]
    return list(dict.fromkeys([*found, *varying]))


def _following(tiles: Array, filled: Array, factor: float) -> tuple[int, ...]:
    """Return heights of `factor` x the best for the layers in each band: `filled` (lines + 1,) are the blocks before a line."""
    across, line, heights = len(filled) - 1, 0, list[int]()
    while line < across and filled[line] < len(tiles):
        height = across - line
        for _ in range(2):  # the mean layer of a band depends on its height
            mean = tiles[filled[line] : max(filled[line] + 1, filled[line + height])].mean()
            height = min(across - line, max(1, round(factor * float(np.sqrt(3.0 * mean)))))
        heights.append(height)
        line += height
    return tuple(heights) or (1,)
