"""The links of a chip: how many messages each of them carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.links import Links, extent
from dyadic_neuro.mappings.mapping import Mapping
from dyadic_neuro.plotting.system import IDLE, LOADS, View, subject
from dyadic_neuro.studies import onchip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

_ARROWS = 600  # tiles that are drawn with an arrow for each link; more are an image
_USED = "#8c8c8c"
_WIDE = 30.0  # times that the largest load may be the smallest before colours go by its logarithm


def link_loads(mapping: Mapping, *, schedule: str = "free") -> Figure:
    """Return the messages per sample over every link between tiles: an arrow a link, or in large systems a pixel a tile.

    A pixel has the load of the busiest link that leaves its tile. Raises OptionError, MissingExtraError, CycleError.
    """
    from matplotlib.cm import ScalarMappable

    view = View.of(mapping)
    figure, axes, scale = view.figure(0.9)
    links = onchip.work(mapping, schedule).links
    loads, norm = links.flat(), None
    few = view.columns * view.rows <= _ARROWS
    if few:
        _tiles(mapping, figure, axes, view)
    if loads.any():
        norm = _norm(loads[loads > 0])
        if few:
            _arrows(axes, view, links, norm, scale)
        else:
            _image(mapping, axes, view, links, norm)
        what = "messages per sample\nover a link" if few else "messages per sample\nover a tile's busiest link"
        figure.colorbar(ScalarMappable(norm, LOADS), ax=axes, label=what)
    view.outline(axes)
    load, name = links.busiest()
    told = f"busiest link: {load:,} messages per sample, {name}" if load else "no message leaves its tile"
    figure.suptitle(f"{subject(mapping)}, objective {mapping.objective}, {schedule}\n{told}{view.where(mapping)}", fontsize=12)
    return figure


def _norm(loads: Array) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(loads.min()), float(loads.max())
    return LogNorm(low, high) if high > _WIDE * low else Normalize(0.0, high)


def _tiles(mapping: Mapping, figure: Figure, axes: Axes, view: View) -> None:
    """Draw the tiles as squares, those in use filled."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    used = set(zip(mapping.chip.x[mapping.cores].tolist(), mapping.chip.y[mapping.cores].tolist(), strict=True))
    size = 0.36
    places = [(x, y) for x in range(view.x, view.x + view.columns) for y in range(view.y, view.y + view.rows)]
    squares = [Rectangle((x - size / 2, y - size / 2), size, size) for x, y in places]
    faces = [_USED if place in used else "white" for place in places]
    axes.add_collection(PatchCollection(squares, facecolors=faces, edgecolors=_USED, linewidths=0.6, zorder=3))
    kinds = ((_USED, "tile in use"), ("white", "free tile"))
    handles = [Patch(facecolor=color, edgecolor=_USED, label=label) for color, label in kinds if color in faces]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=10)


def _arrows(axes: Axes, view: View, links: Links, norm: Normalize, scale: float) -> None:
    """Draw an arrow from tile to tile for each link, to the right of the way; without messages it is pale."""
    parts = []
    for name, dx, dy in (("east", 1, 0), ("west", -1, 0), ("north", 0, 1), ("south", 0, -1)):
        load = getattr(links, name)
        y, x = np.indices(load.shape).reshape(2, -1)
        x, y = x + (name == "west"), y + (name == "south")
        parts.append(np.stack([x, y, np.full_like(x, dx), np.full_like(x, dy), load.ravel()]))
    x, y, dx, dy, load = np.concatenate(parts, axis=1)
    inside = (x >= view.x) & (x < view.x + view.columns) & (y >= view.y) & (y < view.y + view.rows)
    inside &= (x + dx >= view.x) & (x + dx < view.x + view.columns) & (y + dy >= view.y) & (y + dy < view.y + view.rows)
    for chosen in (inside & (load == 0), inside & (load > 0)):
        if not chosen.any():
            continue
        start = np.stack([x + 0.2 * dx + 0.09 * dy, y + 0.2 * dy - 0.09 * dx])[:, chosen]
        arrows = axes.quiver(
            *start,
            0.6 * dx[chosen],
            0.6 * dy[chosen],
            angles="xy",
            scale_units="xy",
            scale=1.0,
            units="inches",
            width=0.07 * scale,
            headwidth=2.2,
            headlength=2.2,
            headaxislength=2.2,
            minlength=0,
            zorder=4,
        )
        if load[chosen].any():
            arrows.set(array=load[chosen], norm=norm, cmap=LOADS)
        else:
            arrows.set_facecolor(IDLE)


def _image(mapping: Mapping, axes: Axes, view: View, links: Links, norm: Normalize) -> None:
    """Paint each tile by the busiest of the links that leave it."""
    columns, rows = extent(mapping.chip)
    busiest = np.zeros((rows, columns))
    for name, part in (
        ("east", busiest[:, :-1]),
        ("west", busiest[:, 1:]),
        ("north", busiest[:-1]),
        ("south", busiest[1:]),
    ):
        np.maximum(part, getattr(links, name), out=part)
    shown = busiest[view.y : view.y + view.rows, view.x : view.x + view.columns]
    axes.set_facecolor(IDLE)
    axes.imshow(
        np.where(shown > 0, shown, np.nan), norm=norm, cmap=LOADS, origin="lower", extent=view.extent, interpolation="nearest"
    )
