"""The mesh of a chip: which core holds what, and how long it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.mappings.mapping import Mapping
from dyadic_neuro.plotting.canvas import plain
from dyadic_neuro.plotting.system import DISTINCT, IDLE, LOADS, View, core_image, cores, in_order, subject
from dyadic_neuro.studies import onchip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("population", "load")
_SEVERAL = "#555555"
_NAMED = 14  # populations that a legend has room for


def mesh(mapping: Mapping, color: str = "population", *, schedule: str = "free") -> Figure:
    """Return the cores in their tiles, coloured by the population that they hold, or by their load.

    The load is the share of the time of a sample, learning included, in which a core sends, receives or learns. Only the
    chips in use are drawn. Raises OptionError, MissingExtraError, CycleError (load).
    """
    if color not in COLORS:
        raise OptionError("color", f"{color!r} is no way to colour cores", f"use one of {list(COLORS)}")
    view = View.of(mapping)
    figure, axes, scale = view.figure(2.0 if color == "population" else 0.9)
    every = np.arange(mapping.chip.cores)
    there = core_image(mapping, view, every, np.zeros(len(every)))
    _paint(axes, view, there, [IDLE])
    if color == "population":
        _populations(mapping, figure, axes, view, lacking=bool((there < 0).any()))
        title = f"{subject(mapping)}, objective {mapping.objective}\n"
    else:
        found = onchip.report(mapping, schedule)
        _loads(mapping, figure, axes, view, found)
        title = f"{subject(mapping)}, objective {mapping.objective}, {schedule}\n"
    _lines(axes, view, there.shape, scale)
    view.outline(axes)
    figure.suptitle(f"{title}{len(mapping.cores):,} of {cores(mapping.chip.cores)}{view.where(mapping)}", fontsize=12)
    return figure


def _populations(mapping: Mapping, figure: Figure, axes: Axes, view: View, *, lacking: bool) -> None:
    """Paint each core in the colour of its population, with a legend."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap, to_hex
    from matplotlib.patches import Patch

    names = in_order(mapping)
    held = population_of_cores(mapping)
    spread = colormaps["viridis"](np.linspace(0.0, 1.0, len(names)))
    colors = list(DISTINCT[: len(names)]) if len(names) <= len(DISTINCT) else [to_hex(rgba) for rgba in spread]
    _paint(axes, view, core_image(mapping, view, mapping.cores, held), [*colors, _SEVERAL])
    counts = np.bincount(held, minlength=len(names) + 1)
    handles = [(c, f"{plain(name)}: {cores(n)}") for c, name, n in zip(colors, names, counts, strict=False) if n]
    if len(handles) > _NAMED:
        norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
        bar = figure.colorbar(
            ScalarMappable(norm, ListedColormap(colors)), ax=axes, label="population,\nin the order of the signal"
        )
        ticks = np.unique(np.linspace(0, len(names) - 1, 8).round().astype(int))
        bar.set_ticks(list(ticks), labels=[plain(names[i]) for i in ticks])
        bar.ax.minorticks_off()
        handles = []
    if counts[len(names)]:
        handles.append((_SEVERAL, f"several: {cores(counts[len(names)])}"))
    free = mapping.chip.cores - len(mapping.cores)
    if free:
        handles.append((IDLE, "free" if view.where(mapping) else f"free: {cores(free)}"))
    if lacking:
        handles.append(("white", "no core"))
    patches = [Patch(facecolor=c, edgecolor="grey", linewidth=0.4, label=label) for c, label in handles]
    if patches:
        where = "outside right center" if len(names) <= _NAMED else "outside lower right"
        figure.legend(handles=patches, loc=where, frameon=False, fontsize=10)


def _loads(mapping: Mapping, figure: Figure, axes: Axes, view: View, found: onchip.Report) -> None:
    """Paint each core by its share of the time of a sample, with a colour bar."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    total = found.cost.latency_per_sample_s
    shares = 100.0 * found.work.busy_s / total if total else np.zeros(len(mapping.cores))
    norm = Normalize(0.0, max(float(shares.max()), 1.0))
    image = core_image(mapping, view, mapping.cores, shares)
    axes.imshow(
        np.where(image < 0, np.nan, image), norm=norm, cmap=LOADS, origin="lower", extent=view.extent, interpolation="nearest"
    )
    unknown = " (as far as known)" if found.cost.unknown_times else ""
    figure.colorbar(ScalarMappable(norm, LOADS), ax=axes, label=f"busy, % of the time\nof a sample{unknown}")


def population_of_cores(mapping: Mapping) -> Array:
    """Return the population of each core in use, (cores,), as a position in `in_order`; one more for several."""
    slices, names = mapping.slices, in_order(mapping)
    of_slice = np.array([names.index(name) for name in slices.names])[slices.population]
    place = np.searchsorted(mapping.cores, slices.core)
    low, high = np.full(len(mapping.cores), len(names)), np.full(len(mapping.cores), -1)
    np.minimum.at(low, place, of_slice)
    np.maximum.at(high, place, of_slice)
    return np.where(low == high, low, len(names))


def _paint(axes: Axes, view: View, image: Array, colors: list[str]) -> None:
    """Paint cells of value i >= 0 in colors[i]."""
    from matplotlib.colors import ListedColormap

    axes.imshow(
        np.where(image < 0, np.nan, image),
        cmap=ListedColormap(colors),
        vmin=-0.5,
        vmax=len(colors) - 0.5,
        origin="lower",
        extent=view.extent,
        interpolation="nearest",
    )


def _lines(axes: Axes, view: View, cells: tuple[int, ...], scale: float) -> None:
    """Part cores by thin lines and tiles by thicker ones, where there is room for lines."""
    left, right, bottom, top = view.extent
    for columns, rows, width, room in ((cells[1], cells[0], 0.5, 0.3), (view.columns, view.rows, min(2.0, 5.0 * scale), 0.15)):
        if scale >= room:
            axes.vlines(np.linspace(left, right, columns + 1), bottom, top, colors="white", linewidth=width)
            axes.hlines(np.linspace(bottom, top, rows + 1), left, right, colors="white", linewidth=width)
