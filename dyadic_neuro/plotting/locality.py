"""Who knows what, when: light cones in space and time, what a step reads, what is sent, and how circuits recover from faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.network import Network
from dyadic_neuro.plotting.canvas import new_figure, plain
from dyadic_neuro.plotting.system import BLUE, ORANGE, RED
from dyadic_neuro.schedule import arrival_weight
from dyadic_neuro.studies.locality.cones import Cones, Group
from dyadic_neuro.studies.locality.interventions import NEVER
from dyadic_neuro.studies.locality.perturbation import INPUT, POTENTIAL, SENSITIVITY, TARGET, Variable
from dyadic_neuro.studies.locality.stability import Stability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_FLOOR = -6  # log10 of the smallest difference that has a colour of its own
_NAMED = 26  # rows that have room for their names
_LETTERS = 14  # of a name that a figure shows
_NEURONS = 420  # variables that a matrix shows one by one; more are shown by population
_NOTHING, _SILENT, _ACTS, _STRAYS = range(4)
_COLORS = ("white", "#b3d4ea", "#0072b2", RED)
_MEANINGS = ("", "declared, not seen to act", "declared, acts", "acts, not declared")


def light_cones(cones: Cones) -> Figure:
    """Return the space-time diagram of a change of an input, a target, and a potential and a sensitivity half-way.

    Space is the way of the signal: potentials from the input up to the readout, then sensitivities back down again. Colours are
    log10 of the largest difference that a change of one variable there made, red lines the first step that the graph foretells.
    Raises MissingExtraError.
    """
    network = cones.subject.running
    groups, space = _shown(cones), _space(network)
    figure = new_figure(3.3 * len(groups) + 2.6, min(9.0, max(3.6, 0.3 * len(space) + 1.9)))
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups, strict=True):
        image = _cone(axes, cones, group, space)
        axes.set_title(_title(group), fontsize=12)
        axes.set_xlabel("steps after the change", fontsize=12)
    _names(panels[0], [f"{'u' if kind == POTENTIAL else 's'}  {_name(name)}" for kind, name in space])
    panels[0].set_ylabel("population", fontsize=12)
    bar = figure.colorbar(image, ax=list(panels), pad=0.01, fraction=0.04, extend="min")
    bar.set_label(r"$\log_{10}$ of the largest difference", fontsize=12)
    subject = cones.subject
    head = f"Light cones on {plain(subject.backend.name)}, {subject.schedule}: measured, and foretold by the graph (red)"
    figure.suptitle(f"{head}\nu: potential, s: sensitivity", fontsize=13)
    return figure


def dependencies(cones: Cones) -> Figure:
    """Return the matrix of what each state at a step (down) was seen to read of the step before (across).

    Neuron by neuron, or by population where there are more than a few hundred. Raises MissingExtraError.
    """
    network = cones.subject.running
    columns = [group for group in [(INPUT, network.input), *_space(network), (TARGET, network.output)] if group in cones.groups()]
    matrix, widths, heights = _matrix(cones, columns, _space(network))
    figure = new_figure(9.2, 8.2)
    axes = figure.add_subplot()
    _tiles(axes, matrix)
    _parted(axes, widths, heights)
    short = {POTENTIAL: "u", SENSITIVITY: "s"}
    x, y = (np.cumsum(sizes) - np.array(sizes) / 2 - 0.5 for sizes in (widths, heights))
    for axis, places, shown in ((axes.xaxis, x, columns), (axes.yaxis, y, _space(network))):
        apart = _apart(places, matrix.shape[axis is axes.xaxis] / _NAMED)
        axis.set_ticks(
            [places[i] for i in apart], [_tag(short.get(kind, kind), name) for kind, name in (shown[i] for i in apart)]
        )
    axes.tick_params(axis="both", labelsize=10)
    axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("at a step: inputs, potentials u, sensitivities s, targets", fontsize=12)
    axes.set_ylabel("one step later", fontsize=12)
    subject = cones.subject
    axes.set_title(f"What a step reads, on {plain(subject.backend.name)}, {subject.schedule}", fontsize=13)
    _legend(figure, matrix)
    return figure


def _shown(cones: Cones) -> list[Group]:
    """Return the groups of changes that the diagram shows."""
    network, there = cones.subject.running, cones.groups()
    middle = [p.name for p in network.dynamic]
    half = middle[(len(middle) - 1) // 2] if network.cycle else _ordered(network)[(len(middle) - 1) // 2]
    wanted = [(INPUT, network.input), (TARGET, network.output), (POTENTIAL, half), (SENSITIVITY, half)]
    return [group for group in wanted if group in there]


def _title(group: Group) -> str:
    kind, name = group
    return f"an {kind}\nis changed" if kind == INPUT else f"a {kind} of {_name(name)}\nis changed"


def _ordered(network: Network) -> list[str]:
    names = [p.name for p in network.populations] if network.cycle else list(network.order)
    return [name for name in names if name != network.input]


def _space(network: Network) -> list[Variable]:
    """Return the states in the order of the signal: potentials up, sensitivities down."""
    names = _ordered(network)
    return [(POTENTIAL, name) for name in names] + [(SENSITIVITY, name) for name in names[::-1]]


def _cone(axes: Axes, cones: Cones, group: Group, space: list[Variable]) -> AxesImage:
    """Paint the differences that changes of a group make, and the first steps that were foretold."""
    from matplotlib import colormaps

    rows = cones.groups()[group]
    with np.errstate(divide="ignore"):
        sizes = np.log10(np.stack([cones.sizes[group, variable] for variable in space]))
    image = np.where(np.isneginf(sizes), np.nan, np.maximum(sizes, _FLOOR))
    colors = colormaps["viridis"].with_extremes(bad="#e6e6e6")
    painted = axes.imshow(image, origin="lower", aspect="auto", cmap=colors, vmin=_FLOOR, vmax=0.5, interpolation="nearest")
    for row, variable in enumerate(space):
        first = int(cones.could_first[variable][rows].min())
        if first != NEVER:
            axes.plot([first - 0.5, first - 0.5], [row - 0.5, row + 0.5], color=RED, linewidth=2.4, solid_capstyle="butt")
    axes.axhline(len(space) / 2 - 0.5, color="black", linewidth=0.8)
    stride = -(-cones.steps // 10)
    axes.set_xticks(range(0, cones.steps + 1, stride))
    axes.set(xlim=(-0.5, cones.steps + 0.5), ylim=(-0.5, len(space) - 0.5))
    return painted


def _names(axes: Axes, names: list[str]) -> None:
    stride = -(-len(names) // _NAMED)
    axes.set_yticks(range(0, len(names), stride), names[::stride], fontsize=10)


def _matrix(cones: Cones, columns: list[Group], rows: list[Variable]) -> tuple[Array, list[int], list[int]]:
    """Return what is declared and what was seen, by variable or by population, and the widths and heights of populations."""
    groups = cones.groups()
    widths, heights = [len(groups[group]) for group in columns], [cones.acts[variable].shape[1] for variable in rows]
    coarse = max(sum(widths), sum(heights)) > _NEURONS
    parts = []
    for variable in rows:
        line = []
        for group in columns:
            acts, declared = (found[variable][groups[group]].T for found in (cones.acts, cones.could_act))
            cell = np.where(acts, np.where(declared, _ACTS, _STRAYS), np.where(declared, _SILENT, _NOTHING))
            line.append(_worst(cell) if coarse else cell)
        parts.append(line)
    return np.block(parts), [1] * len(widths) if coarse else widths, [1] * len(heights) if coarse else heights


def _worst(cell: Array) -> Array:
    return np.array([[cell.max()]])


def _tiles(axes: Axes, matrix: Array) -> None:
    from matplotlib.colors import ListedColormap

    axes.imshow(matrix, cmap=ListedColormap(_COLORS), vmin=-0.5, vmax=3.5, aspect="auto", interpolation="nearest")


def _parted(axes: Axes, widths: list[int], heights: list[int]) -> None:
    """Draw a line between populations."""
    axes.vlines(np.cumsum(widths)[:-1] - 0.5, -0.5, sum(heights) - 0.5, color="#808080", linewidth=0.8)
    axes.hlines(np.cumsum(heights)[:-1] - 0.5, -0.5, sum(widths) - 0.5, color="#808080", linewidth=0.8)
    axes.tick_params(length=0)


def _tag(short: str, name: str) -> str:
    return _name(name) if short == name else f"{short} {_name(name)}"


def _name(name: str) -> str:
    """Return a name of a user's own as it is drawn: its beginning, if it is long."""
    return plain(name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}")


def _apart(places: Array, least: float) -> list[int]:
    """Return which places leave room for names between them, from the first on."""
    chosen = [0]
    for i, place in enumerate(places):
        if place - places[chosen[-1]] >= least:
            chosen.append(i)
    return chosen


def _legend(figure: Figure, matrix: Array) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=_COLORS[i], label=_MEANINGS[i]) for i in (_ACTS, _SILENT, _STRAYS) if (matrix == i).any()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)


def traffic_by_step(table: Any, title: str) -> Figure:  # noqa: ANN401
    """Return the messages of a sample in each step, by kind, and how many of them have a new value from either start.

    `table` is that of `studies.locality.traffic.traffic`, with the columns schedule and start. Raises MissingExtraError.
    """
    schedules = list(dict.fromkeys(table["schedule"]))
    figure = new_figure(5.4 * len(schedules) + 0.6, 4.4)
    panels = figure.subplots(1, len(schedules), sharey=True, squeeze=False)[0]
    for axes, schedule in zip(panels, schedules, strict=True):
        rows = table[table["schedule"] == schedule]
        _bars(axes, rows[rows["start"] == "cold"])
        wide = {"color": RED, "marker": "s", "markersize": 6, "linewidth": 3.0}
        thin = {"color": "black", "marker": "o", "markersize": 11, "fillstyle": "none", "linewidth": 1.2, "linestyle": "--"}
        for start, look in (("warm", wide), ("cold", thin)):  # where both are equal both are seen
            changed = rows[rows["start"] == start].groupby("step")["changed"].sum()
            axes.plot(changed.index, changed, label=f"of them with a new value, {start} start", **look)
        axes.set_title(schedule, fontsize=12)
        axes.set_xlabel("step", fontsize=12)
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("messages of one sample", fontsize=12)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=11)
    figure.suptitle(f"Messages along projections: {plain(title)}", fontsize=13)
    return figure


def _bars(axes: Axes, rows: Any) -> None:  # noqa: ANN401
    """Stack the messages of each kind."""
    below: Any = 0
    for kind, color in (("rate", BLUE), ("sensitivity", ORANGE)):
        counts = rows[rows["kind"] == kind].groupby("step")["messages"].sum().reindex(sorted(rows["step"].unique()), fill_value=0)
        axes.bar(counts.index, counts, bottom=below, color=color, width=0.8, label=f"{kind} messages")
        below = below + counts


def recovery_times(found: Stability, title: str) -> Figure:
    """Return histograms of the clean steps until all is exact again, by kind of fault and schedule, and of random updates.

    Bars are measured, open circles foretold by the graph and the faults or coins of each case; the line is the closed form of
    chains. Raises MissingExtraError.
    """
    figure = new_figure(13.2, 4.6)
    free, wave, random = figure.subplots(1, 3)
    for axes, schedule in ((free, "free"), (wave, "wavefront")):
        rows = found.recovery[found.recovery["schedule"] == schedule]
        bound = int(rows["bound"].max())
        _counted(axes, rows["steps"], BLUE, "measured")
        if schedule == "free":
            _foretold(axes, rows["predicted"], "foretold, at most")
        limit = "2D" if schedule == "free" else "rest of a window, and one more"
        axes.axvline(bound + 0.5, color=RED, linewidth=2.0, label=f"limit: {limit} = {bound} steps")
        axes.set_title(f"faults of all kinds, {schedule}\n{len(rows):,} cases", fontsize=12)
        axes.set_xlabel("clean steps after the last fault", fontsize=12)
    for per, color in (("population", BLUE), ("neuron", ORANGE)):
        rows = found.asynchrony[found.asynchrony["per"] == per]
        _counted(random, rows["steps"], color, f"a coin a {per}")
        _foretold(random, rows["predicted"], "foretold by the coins")
    p = float(found.asynchrony["probability"].iloc[0])
    if np.isfinite(found.spread["law_mean"]).any():
        _law(random, p, 2 * found.depth, int(found.asynchrony["steps"].max()))
    random.set_title(f"updates at random, p = {p:g} a step\n{len(found.asynchrony):,} cases", fontsize=12)
    random.set_xlabel("steps until all is exact", fontsize=12)
    free.set_ylabel("part of the cases", fontsize=12)
    for axes in (free, wave, random):
        handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        axes.legend(
            handles.values(), handles.keys(), fontsize=9, frameon=False, loc="upper right" if axes is random else "upper left"
        )
        axes.set_ylim(top=1.35 * axes.get_ylim()[1])
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"Coming back to the exact gradient, on the reference backend: {plain(title)}", fontsize=13)
    return figure


def _counted(axes: Axes, steps: Any, color: str, label: str) -> None:  # noqa: ANN401
    """Draw the parts of cases that took so many steps."""
    counts = steps.dropna().astype(int).value_counts(normalize=True).sort_index()
    axes.bar(counts.index, counts, color=color, alpha=0.75, width=0.8, label=label)


def _foretold(axes: Axes, steps: Any, label: str) -> None:  # noqa: ANN401
    counts = steps.astype(int).value_counts(normalize=True).sort_index()
    axes.plot(counts.index, counts, linestyle="none", marker="o", fillstyle="none", color="black", markersize=6, label=label)


def _law(axes: Axes, p: float, hops: int, last: int) -> None:
    """Draw the negative binomial law: P(T = n) = P[Binomial(n, p) >= hops] - P[Binomial(n - 1, p) >= hops]."""
    steps = np.arange(hops, last + 1)
    arrived = np.array([arrival_weight(int(n), p, hops) for n in range(hops - 1, last + 1)])
    axes.plot(steps, np.diff(arrived), color=RED, linewidth=1.8, label=f"negative binomial, mean {hops / p:g}")
