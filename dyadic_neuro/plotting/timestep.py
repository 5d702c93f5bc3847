"""Figures of the study of discrete against continuous time: the approach to the gradient, its cost, and real circuits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dyadic_neuro.plotting.canvas import new_figure, plain
from dyadic_neuro.plotting.system import BLUE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Table: TypeAlias = Any  # a pandas DataFrame: only studies import pandas
Color: TypeAlias = Any

_FLOOR = 1e-12  # what is smaller is drawn here: rounding, and the exact zeros of unit steps
_GREY = "#606060"
_DOTS = {"color": "white", "linewidth": 1.0, "linestyle": (0, (1, 3))}
_PREDICTED = {"predicted": "--"}
_LAWS = {**_PREDICTED, "mixture": ":"}
_MARKERS = ("o", "s", "^", "D", "v", "P")
_MARKED = 7  # marks on a curve of one of several backends
_TONES = ("#000000", "#5a5a5a", "#9a9a9a")
_COSTS = {"steps": "steps", "time": r"time / $\tau$", "updates": "neuron updates a sample"}


def approach(curves: Table, depth: int, title: str = "") -> Figure:
    """Return the error of the gradient over time in tau (left) and over steps (right), a line a step size.

    `curves` is the table of a `Comparison`, `depth` the D of its network. What was measured is solid, the binomial law
    dashed, its limit of continuous time dotted, and white dots on a line are the mixture of unit steps; with several
    backends each has its marks. Raises MissingExtraError.
    """
    figure = new_figure(9.0, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    colors, backends = _colors(curves["alpha"]), list(curves["backend"].unique())
    predicted = curves.groupby(["alpha", "step"], as_index=False).first()  # of the backends that have the law
    for axes, across in ((left, "time"), (right, "step")):
        for (backend, alpha), curve in curves.groupby(["backend", "alpha"]):
            line = {"linewidth": 2.6, "zorder": 5} if alpha == 1 else {"linewidth": 1.8, "zorder": 4}
            errors = np.maximum(curve["error"], _FLOOR)
            axes.plot(curve[across], errors, color=colors[alpha], **line)
            if len(backends) > 1:
                i = backends.index(backend)
                where = {"markevery": (i / len(backends) / _MARKED, 1 / _MARKED), "zorder": 7}
                marker = _MARKERS[i % len(_MARKERS)]
                axes.plot(curve[across], errors, marker, color=colors[alpha], markeredgecolor="white", **where)
        for alpha, curve in predicted.groupby("alpha"):
            axes.plot(curve[across], np.maximum(curve["predicted"], _FLOOR), "--", color=colors[alpha], linewidth=1.2, zorder=3)
            axes.plot(curve[across], np.maximum(curve["mixture"], _FLOOR), zorder=6, **_DOTS)
        axes.axvline(2 * depth, color=RED, linewidth=0.8, alpha=0.6, zorder=1)
        axes.grid(alpha=0.3)
    finest = predicted[predicted["alpha"] == predicted["alpha"].min()]
    left.plot(finest["time"], np.maximum(finest["poisson"], _FLOOR), ":", color="black", linewidth=2.0, zorder=6)
    left.text(2 * depth, 4 * _FLOOR, f" exact at\n 2D = {2 * depth}", color=RED)
    shown = curves.loc[curves["alpha"] <= max(1.0, curves["alpha"].min()), "time"].max()  # larger steps may take far longer
    left.set(xlabel=r"time / $\tau$  (= steps $\times\ \alpha$)", ylabel="relative error of the gradient")
    left.set_xlim(0, max(shown, 2 * depth + 1))
    right.set(xlabel="steps", xscale="log", xlim=(1, max(curves["step"].max(), 2 * depth + 1)))
    _exact_below(left)
    figure.suptitle(title)
    _letters(figure)
    keys: list[Any] = [*_alphas(colors), _key("measured")]
    if predicted["predicted"].notna().any():
        keys.append(_key("binomial law", linestyle="--", linewidth=1.2))
    keys.append(_key(r"Poisson law, $\alpha \to 0$", color="black", linestyle=":"))
    if len(backends) > 1:
        keys += [_key(plain(name), linestyle="none", marker=_MARKERS[i % len(_MARKERS)]) for i, name in enumerate(backends)]
    labels = [key.get_label() for key in keys]
    if predicted["mixture"].notna().any():
        keys.append((_key("", linewidth=2.6), _key("", **_DOTS)))
        labels.append("mixture of unit steps")
    figure.legend(keys, labels, loc="outside right center", frameon=False)
    return figure


def settling_costs(table: Table, title: str = "") -> Figure:
    """Return what it takes until the gradient stays within a tolerance, over step size (above) and over depth (below).

    `table` is one of `sweeps`, of which the sweeps "alpha" and "depth" are drawn. Marks are medians over the networks, bars
    go from the least to the most, dashes are the binomial law, dots the mixture of unit steps. Raises MissingExtraError.
    """
    figure = new_figure(10.0, 6.4)
    axes = figure.subplots(2, 3)
    table = table[table["sweep"].isin(("alpha", "depth"))]
    each = table["updates"] / table["steps"]
    table = table.assign(predicted_updates=each * table["predicted_steps"], mixture_updates=each * table["mixture_steps"])
    looks, colors = _looks(table), _colors(table["alpha"])
    middle = list(looks)[len(looks) // 2]
    depths = _most(table, "depth", "alpha")
    depth = depths[len(depths) // 2]
    over_alpha = table[table["depth"] == depth]
    over_depth = table[(table["tolerance"] == middle) & table["alpha"].isin(_most(table, "alpha", "depth"))]
    for column, (quantity, label) in enumerate(_COSTS.items()):
        above, below = axes[:, column]
        if column < 2:
            for tolerance, rows in over_alpha.groupby("tolerance"):
                _marks(above, rows, "alpha", quantity, **looks[tolerance], laws=_LAWS)
            above.set(xlabel=r"step size $\alpha$ = dt / $\tau$", ylabel=label, title=f"depth {depth}")
            above.axhline(2 * depth, color=RED, linewidth=0.8, zorder=1)
            above.annotate(f"2D = {2 * depth}", (table["alpha"].min(), 2 * depth), (0, 3), textcoords="offset points", color=RED)
            _powers(above, over_alpha["alpha"], few=quantity == "time")
        for alpha, rows in over_depth.groupby("alpha"):
            _marks(below, rows, "depth", quantity, color=colors[alpha], marker="o", laws=_LAWS)
        below.set(xlabel="depth D", ylabel=label, title=f"to {_power(middle)}")
        _powers(below, over_depth["depth"], few=quantity == "time")
    drawn = {alpha: color for alpha, color in colors.items() if (over_depth["alpha"] == alpha).any()}
    keys = [*_alphas(drawn), *_tolerances(looks), _key("measured", linestyle="none", marker="o")]
    keys += [_key("binomial law", linestyle="--"), _key("mixture of unit steps", linestyle=":")]
    axes[0, 2].set_axis_off()
    axes[0, 2].legend(handles=keys, loc="center", frameon=False, ncols=2)
    figure.suptitle(title)
    _letters(figure)
    return figure


def imperfections(table: Table, title: str = "") -> Figure:
    """Return what mismatch, noise, delays and events of a circuit cost, and learning windows of other lengths than 2D.

    `table` is one of `sweeps`; a sweep that is not in it leaves its panels empty. Marks are medians over the seeds, bars go
    from the least to the most. Raises MissingExtraError.
    """
    figure = new_figure(12.0, 6.4)
    (error, time, noise, delays), (events, share, windows, rest) = figure.subplots(2, 4)
    table = table.assign(percent=100 * table["spread"], correct=100 * table["accuracy"], sent=100 * table["share"])
    parts = {name: table[table["sweep"] == name] for name in ("mismatch", "noise", "delay", "threshold", "window")}
    circuits = table[table["sweep"].isin(("mismatch", "noise", "delay", "threshold"))]
    colors, looks = _colors(circuits["alpha"]), _looks(circuits)
    _mismatch_panels(error, time, parts["mismatch"], colors, looks)
    for alpha, rows in parts["noise"].groupby("alpha"):
        _marks(noise, rows, "noise", "final_error", color=colors[alpha], marker="o")
    for (alpha, tolerance), rows in parts["delay"].groupby(["alpha", "tolerance"]):
        delays.plot(rows["predicted_steps"], rows["steps"], looks[tolerance]["marker"], color=colors[alpha], markersize=4)
    ends = parts["delay"]["predicted_steps"].agg(["min", "max"])
    delays.plot(ends, ends, "--", color=_GREY, linewidth=1.3)
    for alpha, rows in (
        parts["threshold"].assign(final_error=parts["threshold"]["final_error"].clip(lower=_FLOOR)).groupby("alpha")
    ):
        _marks(events, rows, "threshold", "final_error", color=colors[alpha], marker="o")
        _marks(share, rows, "threshold", "sent", color=colors[alpha], marker="o")
    _window_panel(windows, parts["window"])
    noise.set(title="noise", xlabel="noise (std of a free unit)", ylabel="noise floor of the gradient")
    delays.set(title="delays", xlabel="predicted steps", ylabel="measured steps")
    for axes in (noise, delays):
        axes.set(xscale="log", yscale="log")
    _exact_below(events)
    for axes in (events, share):
        _thresholds(axes, parts["threshold"]["threshold"])
    events.set(title="events", xlabel="threshold of an event", ylabel="error of the gradient")
    share.set(title="events", xlabel="threshold of an event", ylabel="messages (% of always sending)", ylim=(0, None))
    panels = {
        "mismatch": (error, time),
        "noise": (noise,),
        "delay": (delays,),
        "threshold": (events, share),
        "window": (windows,),
    }
    for name, drawn in panels.items():
        for axes in drawn:
            axes.grid(alpha=0.3)
            measured = parts[name][parts[name]["reason"].fillna("") == ""] if name == "threshold" else parts[name]
            axes.set_visible(not measured.empty)
    ran = circuits.loc[circuits["reason"].fillna("") == "", "alpha"].unique()
    keys = [*_alphas({alpha: color for alpha, color in colors.items() if alpha in ran}), *_tolerances(looks)]
    keys += [_key("measured", linestyle="none", marker="o"), _key("predicted (with mismatch: at most)", linestyle="--")]
    keys += [_key("unstable", linestyle="none", marker="x", color="black")]
    rest.legend(handles=keys, loc="center", frameon=False)
    rest.set_axis_off()
    figure.suptitle(title)
    _letters(figure)
    return figure


def _mismatch_panels(
    error: Axes, time: Axes, rows: Table, colors: Mapping[float, Color], looks: Mapping[float, Mapping[str, str]]
) -> None:
    largest = rows[rows["alpha"] == rows["alpha"].max()]
    for alpha, chosen in largest.assign(error_at_2d=largest["error_at_2d"].clip(lower=_FLOOR)).groupby("alpha"):
        _marks(error, chosen, "percent", "error_at_2d", color=colors[alpha], marker="o")
    for (alpha, tolerance), chosen in rows.groupby(["alpha", "tolerance"]):
        _marks(time, chosen, "percent", "time", color=colors[alpha], marker=looks[tolerance]["marker"])
    refused = largest.loc[largest["error_at_2d"].isna(), "percent"].unique()
    error.plot(refused, np.ones(len(refused)), "x", color="black")
    _exact_below(error)
    error.set(title="mismatch", xlabel="spread of time constants (%)", ylabel="error of the gradient at 2D")
    time.set(title="mismatch", xlabel="spread of time constants (%)", ylabel=r"time / $\tau$", ylim=(0, None))


def _window_panel(axes: Axes, rows: Table) -> None:
    _marks(axes, rows, "window", "correct", color=BLUE, marker="o")
    for depth in rows["depth"].unique():
        axes.axvline(2 * depth, color=RED, linewidth=0.8, zorder=1)
        axes.annotate(f"2D = {2 * depth}", (2 * depth, 0.03), (4, 0), ("data", "axes fraction"), "offset points", color=RED)
    seeds = rows["seed"].nunique()
    title = f"digits, {'one seed' if seeds == 1 else f'{seeds} seeds'}"
    axes.set(title=title, xlabel="steps a batch is held", ylabel="test accuracy (%)")


def _thresholds(axes: Axes, values: Table) -> None:
    """Give an axis of thresholds, logarithmic but for 0, which stands left of the others."""
    from matplotlib.ticker import NullLocator

    found = sorted(values.dropna().unique())
    above = [value for value in found if value > 0]
    if above:
        axes.set_xscale("symlog", linthresh=above[0], linscale=0.5)
        axes.set_xlim(-0.3 * above[0], 2 * above[-1])
        axes.set_xticks(found, [f"{value:g}" if value == 0 else _power(value) for value in found])
        axes.xaxis.set_minor_locator(NullLocator())


def _marks(
    axes: Axes, rows: Table, across: str, quantity: str, *, color: Color, marker: str, laws: Mapping[str, str] = _PREDICTED
) -> None:
    """Draw medians with bars from the least to the most, and a line for what each of the `laws` (column -> style) says."""
    by = rows.dropna(subset=[quantity]).groupby(across)[quantity]
    middle = by.median()
    bars = np.array([middle - by.min(), by.max() - middle])
    axes.errorbar(
        middle.index,
        middle.to_numpy(),
        bars,
        color=color,
        linestyle="none",
        elinewidth=1.4,
        marker=marker,
        markersize=5,
        zorder=4,
    )
    for law, style in laws.items():
        if f"{law}_{quantity}" in rows:
            expected = rows.groupby(across)[f"{law}_{quantity}"].median()
            axes.plot(expected.index, expected, style, color=color, linewidth=1.3, zorder=3)


def _powers(axes: Axes, values: Table, *, few: bool) -> None:
    """Make both axes logarithmic, with these values across, and up also those between the powers of 10 if there are `few`."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    found = sorted(values.unique())
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(found, [f"{value:g}" for value in found])
    axes.xaxis.set_minor_locator(NullLocator())
    if few:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def _colors(alphas: Table) -> dict[float, Color]:
    """Return the colour of each step size, the largest first: above 1 pink, 1 red, below the smaller the lighter."""
    from matplotlib import colormaps

    def color(alpha: float) -> Color:
        small = colormaps["viridis"](0.47 * min(2.0, -np.log10(min(alpha, 1.0))))
        return RED if alpha == 1 else small if alpha < 1 else colormaps["RdPu"](0.4 + 0.5 * (alpha - 1))

    return {alpha: color(alpha) for alpha in sorted({float(alpha) for alpha in alphas}, reverse=True)}


def _alphas(colors: dict[float, Color]) -> list[Line2D]:
    return [_key(rf"$\alpha$ = {alpha:g}", color=color, linewidth=2.5) for alpha, color in colors.items()]


def _key(label: str, **style: Any) -> Line2D:  # noqa: ANN401
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **{"color": _GREY, "linewidth": 1.8, **style})


def _exact_below(axes: Axes) -> None:
    exponents = range(-10, 1, 2)
    axes.set(yscale="log", ylim=(_FLOOR / 2, 4.0))
    axes.set_yticks([_FLOOR, *(10.0**e for e in exponents)], ["exact", *(f"$10^{{{e}}}$" for e in exponents)])


def _letters(figure: Figure) -> None:
    """Name the panels that are drawn (a), (b) ..."""
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_visible()]
    for letter, axes in zip("abcdefgh", drawn, strict=False):
        axes.set_title(f"({letter})", loc="left")


def _most(table: Table, column: str, other: str) -> list[Any]:
    """Return the values of a column that were measured with the most values of the other one, in order."""
    counts = table.groupby(column)[other].nunique()
    return list(counts[counts == counts.max()].index)


def _looks(table: Table) -> dict[float, dict[str, str]]:
    """Return how each tolerance is drawn, the largest first."""
    ordered = sorted(table["tolerance"].dropna().unique(), reverse=True)
    return {t: {"color": _TONES[i % len(_TONES)], "marker": _MARKERS[i % len(_MARKERS)]} for i, t in enumerate(ordered)}


def _tolerances(looks: dict[float, dict[str, str]]) -> list[Line2D]:
    return [_key(f"to {_power(tolerance)}", linestyle="none", **look) for tolerance, look in looks.items()]


def _power(tolerance: float) -> str:
    return f"$10^{{{np.log10(tolerance):g}}}$"
