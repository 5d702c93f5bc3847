"""The figure of what integers lose: direction and size of the gradient's error over the bits of weights, messages, states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dyadic_neuro.plotting.canvas import new_figure, plain
from dyadic_neuro.plotting.system import DISTINCT
from dyadic_neuro.studies.precision import CLOSE, NOTE, SWEEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table: TypeAlias = Any  # a pandas DataFrame: only studies import pandas

_FLOOR = 1e-9  # of 1 - cosine: what is closer is drawn here
_GREY = "#606060"
_WIDTHS = {"weights": "weight_bits", "messages": "message_bits", "states": "state_bits"}
_COSINES = {1.0: "0", 0.1: "0.9", 1e-3: "0.999", 1e-5: "1 - $10^{-5}$", 1e-7: "1 - $10^{-7}$", 1e-9: "1"}
_TEXT = 12  # points: the figure is read at half its size


def lost_precision(table: Table, title: str = "") -> Figure:
    """Return cosine (above) and relative error (below) of each layer's gradient over the bits of weights, messages and states.

    `table` is one of `studies.precision.sweep_widths`. A line is the worst parameter that leads to a population: solid with a
    calibration, dashed without one; crosses mark the widths at which something saturated, the dotted line is a cosine of
    0.999. A note says that messages are never wider than states. Raises MissingExtraError.
    """
    figure = new_figure(11.0, 6.6)
    from matplotlib.ticker import MultipleLocator

    panels = figure.subplots(2, len(SWEEPS), sharex="col", sharey="row")
    table = table[table["reason"] == ""]
    layers = table["parameter"].str.removesuffix(".bias").str.split("->").str[-1]
    table = table.assign(layer=layers, off=np.maximum(1.0 - table["cosine"], _FLOOR))
    colors = {layer: DISTINCT[i % len(DISTINCT)] for i, layer in enumerate(layers.unique())}
    for column, sweep in enumerate(SWEEPS):
        above, below = panels[:, column]
        rows = table[table["sweep"] == sweep]
        for axes, quantity in ((above, "off"), (below, "relative_error")):
            _lines(axes, rows, _WIDTHS[sweep], quantity, colors)
            axes.set_yscale("log")
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=_TEXT)
        above.axhline(1.0 - CLOSE, color=_GREY, linestyle=":", linewidth=1.5)
        below.set_xlabel(f"bits of {sweep}", fontsize=_TEXT)
        below.xaxis.set_major_locator(MultipleLocator(4))
    top, bottom = panels[0, 0], panels[1, 0]
    top.set_ylabel("cosine to the float gradient", fontsize=_TEXT)
    top.set_yticks(list(_COSINES), list(_COSINES.values()))
    top.set_ylim(3.0, _FLOOR / 2)  # better is higher
    bottom.set_ylabel("relative error", fontsize=_TEXT)
    figure.legend(
        handles=_keys(colors),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        title=NOTE,
        fontsize=_TEXT,
        title_fontsize=_TEXT,
    )
    figure.suptitle(plain(title), fontsize=_TEXT)
    return figure


def _lines(axes: Axes, rows: Table, across: str, quantity: str, colors: dict[str, str]) -> None:
    for (layer, calibrated), chosen in rows.groupby(["layer", "calibrated"]):
        worst = chosen.groupby(across).agg({quantity: "max", "saturations": "max"})
        style = "-" if calibrated else "--"
        axes.plot(worst.index, worst[quantity], style, color=colors[layer], linewidth=2.0 if calibrated else 1.5)
        saturated = worst[worst["saturations"] > 0]
        axes.plot(saturated.index, saturated[quantity], "x", color=colors[layer], markersize=7)


def _keys(colors: dict[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=color, linewidth=2.5, label=plain(layer)) for layer, color in colors.items()]
    styles = {"calibrated": {"linestyle": "-"}, "uncalibrated": {"linestyle": "--"}}
    styles |= {"something saturated": {"linestyle": "none", "marker": "x"}, f"cosine {CLOSE}": {"linestyle": ":"}}
    return keys + [Line2D([], [], color=_GREY, label=label, **style) for label, style in styles.items()]  # type: ignore[arg-type]
