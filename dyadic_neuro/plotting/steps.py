"""The timetable of a chip: what every core does in every step."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.copies import RATE, SENSITIVITY
from dyadic_neuro.mappings.cost import PIPELINE
from dyadic_neuro.mappings.mapping import Mapping
from dyadic_neuro.plotting.canvas import new_figure, plain
from dyadic_neuro.plotting.system import BLUE, GREEN, ORANGE, cores, in_order, subject
from dyadic_neuro.quantity import Quantity
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies import onchip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CORES = 12  # more are shown together with those that hold the same populations
_ROWS, _COLUMNS = 40, 48  # more are drawn without marks and with fewer labels
_NAMED = 25  # rows that have room for their names
_TIMED = 12  # steps that have room for their times
_PALE = {BLUE: "#b3d4ea", ORANGE: "#f6dda9"}
_COLORS = ("white", _PALE[BLUE], BLUE, _PALE[ORANGE], ORANGE, GREEN)
_NOTHING, _SENDS, _UPDATES, _LEARNS = 0, 1, 2, 5
_KINDS = (RATE, SENSITIVITY)


def timetable(mapping: Mapping, schedule: str = "free") -> Figure:
    """Return the steps of a sample (across) of every core (down), then the change of its weights.

    Each core has two lanes: its potentials above, its sensitivities below. Where there are many cores, those that hold
    the same populations share a row. Of a "pipeline" it is the one step that repeats. Raises OptionError,
    MissingExtraError, CycleError.
    """
    rows = _rows(mapping)
    cells, sends = _lanes(mapping, [populations for _, populations in rows], schedule)
    count, steps = len(rows), cells.shape[1]
    wide, high = (min(9.0, max(0.74 * steps, 2.8)), min(8.0, max(0.42 * count, 1.2)))
    figure = new_figure(wide + 2.4, high + 1.9)
    axes = figure.add_subplot()
    _paint(axes, cells)
    if count <= _ROWS and steps <= _COLUMNS:
        lane, step = np.nonzero(sends)
        axes.plot(step + 0.62, lane / 2 + 0.75, linestyle="none", marker=">", color="black", markersize=3.5)
    _label(axes, mapping, [name for name, _ in rows], schedule)
    axes.set(xlabel="step", ylabel="core" if len(mapping.cores) <= _CORES else "cores, by what they hold")
    title = f"{subject(mapping)}, objective {mapping.objective}, {schedule}\n"
    pace = "a new sample every step" if schedule == PIPELINE else f"{steps - 1} steps a sample"
    figure.suptitle(f"{title}{cores(len(mapping.cores))}, {pace}", fontsize=12)
    _legend(figure, cells, sends=count <= _ROWS and steps <= _COLUMNS)
    return figure


def _rows(mapping: Mapping) -> list[tuple[str, frozenset[str]]]:
    """Return the label of each row, and the populations on the cores that it stands for, in the order of the signal."""
    slices, position = mapping.slices, {name: i for i, name in enumerate(in_order(mapping))}
    held: dict[int, set[int]] = {}
    for core, population in zip(slices.core.tolist(), slices.population.tolist(), strict=True):
        held.setdefault(core, set()).add(population)
    keys = sorted((sorted(position[slices.names[i]] for i in populations), core) for core, populations in held.items())
    names = in_order(mapping)
    if len(keys) <= _CORES:
        return [(f"{core}: {_named([names[i] for i in key])}", frozenset(names[i] for i in key)) for key, core in keys]
    rows = []
    for key, members in groupby(keys, key=lambda found: found[0]):
        count = cores(len(list(members)))
        rows.append((f"{_named([names[i] for i in key])}: {count}", frozenset(names[i] for i in key)))
    return rows


def _named(names: list[str]) -> str:
    return plain(" + ".join(names) if len(names) <= 3 else f"{names[0]} + {len(names) - 1} more")


def _lanes(mapping: Mapping, rows: list[frozenset[str]], schedule: str) -> tuple[Array, Array]:
    """Return what each lane does in each step and in the phase of learning, and whether it sends, (2 rows, steps + 1)."""
    full = schedule == PIPELINE
    timing = Schedule.of(mapping.network, "free" if full else schedule)
    steps = 1 if full else mapping.network.relaxation_steps
    sources = {(copy.source, copy.kind) for copy in mapping.synapses.copies}  # the others have nobody to send to
    biased = {p.name for p in mapping.network.dynamic if p.bias is not None}
    learning = biased | {copy.target for copy in mapping.synapses.copies if copy.plastic}
    cells = np.zeros((2 * len(rows), steps + 1), np.int64)
    sends = np.zeros((2 * len(rows), steps + 1), bool)
    for t in range(1, steps + 1):
        sending, updating = mapping.counter.signals(timing, t)
        for lane, kind in enumerate(_KINDS):
            for i, names in enumerate(rows):
                sends[2 * i + lane, t - 1] = any((name, kind) in sending and (name, kind) in sources for name in names)
                updates = any((name, kind) in updating for name in names)
                does = _UPDATES if updates else _SENDS if sends[2 * i + lane, t - 1] else _NOTHING
                cells[2 * i + lane, t - 1] = does + 2 * lane if does else _NOTHING
    if mapping.learning:
        for i, names in enumerate(rows):
            cells[2 * i : 2 * i + 2, steps] = _LEARNS if names & learning else _NOTHING
    return cells, sends


def _paint(axes: Axes, cells: Array) -> None:
    """Paint the lanes, row i between i + 0.5 and i + 1.5, the first at the top, and part steps and rows."""
    from matplotlib.colors import ListedColormap

    lanes, columns = cells.shape
    rows = lanes // 2
    axes.imshow(
        cells,
        cmap=ListedColormap(_COLORS),
        vmin=-0.5,
        vmax=len(_COLORS) - 0.5,
        extent=(0.5, columns + 0.5, rows + 0.5, 0.5),
        aspect="auto",
        interpolation="nearest",
    )
    if columns <= 2 * _COLUMNS:
        axes.vlines(np.arange(columns + 1) + 0.5, 0.5, rows + 0.5, colors="white", linewidth=1.5)
    if rows <= _ROWS:
        axes.hlines(np.arange(1, rows) + 0.5, 0.5, columns + 0.5, colors="#808080", linewidth=0.6)
        axes.hlines(np.arange(1, rows + 1), 0.5, columns + 0.5, colors="white", linewidth=0.8)
    axes.axvline(columns - 0.5, color="black", linewidth=1.0)
    axes.set(xlim=(0.5, columns + 0.5), ylim=(rows + 0.5, 0.5))


def _label(axes: Axes, mapping: Mapping, names: list[str], schedule: str) -> None:
    """Name the rows, and the steps with how long they take."""
    found = onchip.report(mapping, schedule)
    steps = found.steps
    stride = 1 if steps <= _TIMED else -(-steps // _TIMED)
    shown = [t for t in range(1, steps + 1, stride) if stride == 1 or t <= steps + 1 - stride]  # room for the last label
    labels = [str(t) for t in shown]
    last = "learning"
    if steps <= _TIMED:
        names_of_steps = ["every"] if schedule == PIPELINE else labels
        labels = [f"{name}\n{_time(found.cost.steps_s[t - 1])}" for name, t in zip(names_of_steps, shown, strict=True)]
        known = "learning_update" not in found.cost.unknown_times
        last = f"learning\n{_time(found.cost.learning_s) if known else 'unknown'}"
    axes.set_xticks([*shown, steps + 1], [*labels, last if mapping.learning else ""], fontsize=10)
    each = -(-len(names) // _NAMED)
    axes.set_yticks(range(1, len(names) + 1, each), names[::each], fontsize=10)
    axes.tick_params(length=0)


def _time(time_s: float) -> str:
    return Quantity(float(f"{time_s:.2e}"), "s", "sum", "derived").amount


def _legend(figure: Figure, cells: Array, *, sends: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels = ("", "sends rates only", "updates potentials", "sends sensitivities only", "updates sensitivities", "learns")
    present = set(np.unique(cells).tolist()) - {_NOTHING}
    handles: list[Patch | Line2D] = [Patch(facecolor=_COLORS[i], label=labels[i]) for i in (2, 1, 4, 3, 5) if i in present]
    if sends:
        handles.append(Line2D([], [], linestyle="none", marker=">", color="black", markersize=4, label="sends messages"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
