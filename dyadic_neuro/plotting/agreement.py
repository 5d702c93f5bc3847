"""The figure of `dyadic-neuro check --all`: errors of every backend at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.plotting.canvas import new_figure, plain
from dyadic_neuro.plotting.system import RED
from dyadic_neuro.testing.agreement import DUE, Agreement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR, _CEILING = -16, 0  # log10 of the colours' ends: rounding, and an error of all
_COLUMNS = DUE + 2  # the columns after "start": steps, or as many of them as take as long
_PANELS = (
    ("gradient: error to backpropagation", ("backpropagation",)),
    ("all states and gradients: difference to the reference", ("potentials", "sensitivities", "gradients")),
)
_EMPTY = "#d9d9d9"


def error_maps(found: Sequence[Agreement]) -> Figure:
    """Return two heat maps, a row a backend and a column a step: the error of its gradient, and how far it is from the twin.

    Colours and numbers are log10 of the error. A backend whose dt is not tau shows one step of many in each column, and says
    how many; the last column is then its end. Raises MissingExtraError.
    """
    rows = len(found)
    figure = new_figure(13.0, 2.6 + 0.52 * rows)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, (title, names) in zip((left, right), _PANELS, strict=True):
        image = np.full((rows, _COLUMNS), np.nan)
        for row, one in enumerate(found):
            if one.curves:
                image[row] = _columns(one, names)
        _paint(axes, image)
        axes.set_title(title, fontsize=13)
        axes.set_xlabel("step", fontsize=13)
    left.set_yticks(range(rows), [_label(one) for one in found], fontsize=12)
    bar = figure.colorbar(right.images[0], ax=[left, right], pad=0.01, fraction=0.03, extend="min")
    bar.set_label(r"$\log_{10}$ of the largest error", fontsize=12)
    bar.ax.tick_params(labelsize=11)
    return figure


def _columns(one: Agreement, names: tuple[str, ...]) -> Array:
    """Return log10 of the worst of some curves at each column's step; -inf where there is no difference, NaN after the end."""
    worst = np.max([one.curves[name][1:] for name in names], axis=0)
    at = np.rint(np.arange(1, _COLUMNS + 1) * one.stride).astype(int) - 1
    found = np.full(_COLUMNS, np.nan)
    inside = at < len(worst)
    with np.errstate(divide="ignore"):
        found[inside] = np.log10(worst[at[inside]])
    return found


def _label(one: Agreement) -> str:
    """Return the name of a row, with what its columns are where these are no unit steps, or why it is empty."""
    name = plain(one.backend)
    if one.missing:
        return f"{name}\n(not installed)"
    if not one.curves:
        return f"{name}\n(failed)"
    return name if one.stride == 1.0 else f"{name}\n(a column: {one.stride:.0f} steps)"


def _paint(axes: Axes, image: Array) -> None:
    from matplotlib import colormaps

    colors = colormaps["viridis"].with_extremes(bad=_EMPTY)
    rows, columns = image.shape
    axes.imshow(np.clip(image, _FLOOR, _CEILING), cmap=colors, vmin=_FLOOR, vmax=_CEILING, aspect="auto")
    for row in range(rows):
        for column in range(columns):
            value = image[row, column]
            if not np.isnan(value):
                word = "equal" if value == -np.inf else r"$\infty$" if value == np.inf else f"{round(value)}"
                light = "white" if value < 0.55 * _FLOOR else "black"
                word = word.replace("-", "\N{MINUS SIGN}")
                axes.text(column, row, word, ha="center", va="center", fontsize=11, color=light)
    labels = [f"2D = {t}" if t == DUE else str(t) for t in range(1, columns + 1)]
    axes.set_xticks(range(columns), labels, fontsize=12)
    axes.get_xticklabels()[DUE - 1].set_color(RED)
    axes.axvline(DUE - 1.5, color=RED, linewidth=2.5)
    axes.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=2.0)
    axes.tick_params(which="both", length=0)
