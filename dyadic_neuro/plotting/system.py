"""Where the tiles, cores and chips of a system lie in a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.mapping import Mapping
from dyadic_neuro.plotting.canvas import new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color Universal Design": told apart by everyone
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"
DISTINCT = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW)
IDLE = "#e4e4e4"
_ROUND = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 10_000_000, 2**31)
LOADS = "viridis_r"  # dark is much
_MOST_CELLS = 1500  # along one side of an image: about what a figure has pixels


@dataclass(frozen=True)
class View:
    """The chips that are drawn: those in use, and what lies between them. Tiles x .. x + columns - 1, y .. y + rows - 1.

    A tile is 1 x 1 around its whole numbers, and a chip is `width` x `height` tiles.
    """

    x: int
    y: int
    columns: int
    rows: int
    width: int
    height: int

    @classmethod
    def of(cls, mapping: Mapping) -> View:
        """Return the smallest view of whole chips that has all cores in use."""
        mesh = mapping.chip.mesh
        width, height = int(mesh.columns.value or 1), int(mesh.rows.value or 1)
        across, up = mapping.chip.x[mapping.cores] // width, mapping.chip.y[mapping.cores] // height
        x, y = int(across.min()), int(up.min())
        columns, rows = int(across.max()) + 1 - x, int(up.max()) + 1 - y
        return cls(x * width, y * height, columns * width, rows * height, width, height)

    @property
    def chips(self) -> int:
        """The chips that are drawn."""
        return (self.columns // self.width) * (self.rows // self.height)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top."""
        return self.x - 0.5, self.x + self.columns - 0.5, self.y - 0.5, self.y + self.rows - 0.5

    def figure(self, beside: float) -> tuple[Figure, Axes, float]:
        """Return a figure with axes for this view, `beside` inches free on its right, and the inches that a tile is wide."""
        scale = min(6.0 / self.columns, 4.0 / self.rows, 0.64)
        width, height = self.columns * scale, self.rows * scale
        figure = new_figure(max(width + 0.9 + beside, 6.6), max(height, 2.0) + 1.6)
        axes = figure.add_subplot()
        left, right, bottom, top = self.extent
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xlabel="column of tiles", ylabel="row of tiles")
        for axis, first, count in ((axes.xaxis, self.x, self.columns), (axes.yaxis, self.y, self.rows)):
            every = next(n for n in _ROUND if count <= 10 * n)
            axis.set_ticks(range(-(-first // every) * every, first + count, every))
        axes.tick_params(length=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return figure, axes, scale

    def outline(self, axes: Axes) -> None:
        """Draw the borders of the chips."""
        left, right, bottom, top = self.extent
        width = 1.4 if self.chips <= 64 else 0.3
        for x in range(0, self.columns + 1, self.width):
            axes.plot([left + x] * 2, [bottom, top], color="black", linewidth=width, clip_on=False, zorder=5)
        for y in range(0, self.rows + 1, self.height):
            axes.plot([left, right], [bottom + y] * 2, color="black", linewidth=width, clip_on=False, zorder=5)

    def where(self, mapping: Mapping) -> str:
        """Return how much of the system is drawn, for a line of a title: nothing if all of it is."""
        return "" if self.chips == mapping.chip.chips else f"\n{self.chips:,} of {mapping.chip.chips:,} chips shown"


def core_image(mapping: Mapping, view: View, cores: Array, values: Array) -> Array:
    """Return an image (rows, columns) of the cores of a view with `values` >= 0 of some `cores`, the others -1.

    The cores of a tile are a square within it. Where there are more cores than pixels, the largest value counts.
    """
    chip = mapping.chip
    per_tile = int(chip.mesh.cores_per_tile.value or 1)
    across = int(np.ceil(np.sqrt(per_tile)))
    up = -(-per_tile // across)
    place = cores % int(chip.mesh.cores.value or 1) % per_tile
    column = (chip.x[cores] - view.x) * across + place % across
    row = (chip.y[cores] - view.y) * up + place // across
    shape = view.rows * up, view.columns * across
    coarser = -(-max(shape) // _MOST_CELLS)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    image = np.full((-(-shape[0] // coarser), -(-shape[1] // coarser)), -1.0)
    np.maximum.at(image, (row[inside] // coarser, column[inside] // coarser), values[inside])
    return image


def subject(mapping: Mapping) -> str:
    """Return what is mapped where, for a title: "400-400-10 on loihi1"."""
    net = mapping.division.original
    chain = len(net.projections) == len(net.populations) - 1
    short = chain and not net.cycle and len(net.populations) <= 6
    sizes = "-".join(str(net.population(name).size) for name in net.order) if short else f"{len(net.populations)} populations"
    return f"{sizes} on {plain(mapping.chip.name)}"


def in_order(mapping: Mapping) -> tuple[str, ...]:
    """Return the names of the populations in the order of the signal, or as they were given where there is a cycle."""
    net = mapping.network
    return tuple(p.name for p in net.populations) if net.cycle else net.order


def cores(count: int) -> str:
    """Return "1 core", "2 cores"."""
    return f"{count:,} core" if count == 1 else f"{count:,} cores"
