"""How reports of on-chip learning are printed: side by side, and beside what was published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text as Line

from dyadic_neuro.cost import Component
from dyadic_neuro.mappings.chip import Energy
from dyadic_neuro.mappings.cost import PIPELINE
from dyadic_neuro.quantity import Quantity, Text
from dyadic_neuro.studies.onchip import Busy, Fill, Published, Report

_LONG = 10**7  # counts that have no room for all their digits
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
_COUNTED = 1000  # samples a second that are told without fractions
_NAMED = 2  # unknown parts that a cell has room to name; all of them are listed below the tables


def parts(reports: Sequence[Report], published: Published | None) -> Iterator[RenderableType]:
    """Give what to print, two reports side by side at a time."""
    yield Line(_subject(reports[0]))
    for i in range(0, len(reports), 2):
        pair = reports[i : i + 2]
        yield _summary(pair)
        yield _energy(pair)
        yield _memory(pair)
        if published is not None:
            yield _beside(pair, published)
    if published is not None:
        yield _list(f"the measurement: {published.name}, {published.reference}", _published_notes(published, reports))
    unknown = _unknown(reports)
    if unknown:
        yield _list("unknown, so that totals are bounds", unknown)
    yield _list("taken for granted", list(dict.fromkeys(line for found in reports for line in found.assumptions)))


def _subject(found: Report) -> str:
    m = found.mapping
    lines = [f"{m.division.original}", f"on {m.chip} ({m.chip.name})"]
    if m.division.divided:
        more = len(m.network.populations) - len(m.division.original.populations)
        lines.append(
            f"a fan-in too large for a core is divided: {more} population{'s' if more > 1 else ''} of partial sums more, "
            f"depth {found.depth} instead of {found.depth_before}"
        )
    return "\n".join(lines)


def _table(title: str, reports: Sequence[Report], *before: str) -> Table:
    """Return a table of the columns `before`, and then one for each report."""
    table = _empty(title)
    table.add_column(before[0])
    for heading in before[1:]:
        table.add_column(heading, justify="right")
    for found in reports:
        table.add_column(_heading(found))
    return table


def _empty(title: str) -> Table:
    return Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )


def _heading(found: Report) -> str:
    return f"objective {found.mapping.objective}\n{found.schedule}"


def _summary(reports: Sequence[Report]) -> Table:
    table = _table("learning a sample", reports, "")
    rows = {
        "cores in use": [_cores(r) for r in reports],
        "depth D": [str(r.depth) if r.depth == r.depth_before else f"{r.depth} ({r.depth_before} undivided)" for r in reports],
        "steps per sample": [f"1 (of 2D = {2 * r.depth})" if r.schedule == PIPELINE else f"{r.steps} (2D)" for r in reports],
        "time of a sample": [_bound(r.latency_s, "s", r.cost.unknown_times) for r in reports],
        "  relaxation": [_time(r.relaxation_s * (2 * r.depth if r.schedule == PIPELINE else 1)) for r in reports],
        "  learning": [_learning(r) for r in reports],
        "samples per second": [_rate(r) for r in reports],
        "energy of a sample": [_bound(r.cost.energy_per_sample_j, "J", r.cost.unknown) for r in reports],
        "plastic synapses": [_synapses(r) for r in reports],
        "busiest core": [_busiest(r.busiest_core, r) for r in reports],
        "busiest link": [_link(r) for r in reports],
    }
    for label, cells in rows.items():
        table.add_row(label, *map(Line, cells))
    return table


def _energy(reports: Sequence[Report]) -> Table:
    table = _empty("energy of a sample")
    table.add_column("part", no_wrap=True)
    table.add_column("each", justify="right")
    table.add_column("grade")
    for found in reports:
        for heading in ("count", found.mapping.objective if found.schedule != PIPELINE else PIPELINE):
            table.add_column(heading, justify="right")
    kept = [{part.name: part for part in found.cost.components} for found in reports]
    order = [*(event.name for event in fields(Energy)), "static"]
    for name in sorted({name for known in kept for name in known}, key=order.index):
        each = next(known[name].each for known in kept if name in known)
        cells = [cell for known, r in zip(kept, reports, strict=True) for cell in _part(known.get(name), r.mapping.chips_in_use)]
        table.add_row(name, each.amount, each.grade, *cells)
    totals = [cell for found in reports for cell in ("", _joules(found.cost.energy_per_sample_j))]
    known = "known total" if any(found.cost.unknown for found in reports) else "total"
    table.add_row(known, "", "", *totals, style="bold")
    return table


def _part(part: Component | None, chips: int) -> tuple[str, str]:
    """Return the count and the total of a part; a power's count is the time, of so many chips."""
    if part is None:
        return "0", "0 J"
    if part.each.unit == "W":
        count = _time(part.count) if chips == 1 else f"{chips:,} x {_time(part.count / chips)}"
    else:
        count = _count(part.count)
    return count, "unknown" if part.total_j is None else _joules(part.total_j)


def _count(count: float) -> str:
    """Return all digits of a count, or four of a long one."""
    if count < _LONG:
        return f"{count:,}"
    size, prefix = next((size, prefix) for size, prefix in _PREFIXES if count >= size)
    return f"{count / size:.4g} {prefix}"


def _memory(reports: Sequence[Report]) -> Table:
    table = _table("memory of the fullest core", reports, "", "limit")
    for fills in zip(*(found.memory for found in reports), strict=True):
        limit = fills[0].limit
        cells = [f"{fill.used:,}{_share(fill)}, core {fill.core}" for fill in fills]
        table.add_row(fills[0].resource, "not published" if limit is None else f"{limit:,}", *cells)
    return table


def _share(fill: Fill) -> str:
    if fill.limit is None or not fill.used:
        return ""
    share = fill.used / fill.limit
    return f" ({share:.0%})" if share >= 0.01 else " (<1%)"


def _beside(reports: Sequence[Report], published: Published) -> Table:
    layers = "-".join(map(str, published.layers))
    table = _table(f"learning a sample on-chip, {layers}: our model, and a measurement", reports, "")
    table.add_column(published.name)
    table.add_row("", *["model"] * len(reports), "measurement", style="italic")
    hypothetical = " (hypothetical)" if not reports[0].mapping.chip.graded else ""
    per_weight = published.synapses_per_weight
    rows = {
        "steps": ([str(r.steps) for r in reports], f"{published.steps.value}"),
        "plastic synapses per weight": (
            ["-" if r.synapses_per_weight is None else f"{r.synapses_per_weight:.2f}" for r in reports],
            "unknown" if per_weight is None else f"{per_weight:.2f}",
        ),
        "energy": ([_bound(r.cost.energy_per_sample_j, "J", r.cost.unknown) for r in reports], published.energy.amount),
        "time": ([_bound(r.latency_s, "s", r.cost.unknown_times) for r in reports], published.latency.amount),
        "cores": ([f"{r.cores:,}" for r in reports], f"{published.cores.value}"),
        "activations": ([f"graded, signed{hypothetical}"] * len(reports), published.activations.value),
        "errors": (["exact in floats"] * len(reports), published.errors.value),
    }
    for label, (cells, theirs) in rows.items():
        table.add_row(label, *map(Line, cells), theirs)
    return table


def _published_notes(published: Published, reports: Sequence[Report]) -> list[str]:
    entries: dict[str, Quantity | Text] = {
        **published.quantities,
        "activations": published.activations,
        "errors": published.errors,
    }
    notes = [f"{name} ({entry.grade}): {entry.source}" for name, entry in entries.items()]
    if not reports[0].mapping.chip.graded:
        notes.append("hypothetical in ours: messages that carry graded signed values, and memory for them")
    return notes


def _unknown(reports: Sequence[Report]) -> list[str]:
    """Return what is unknown, each once."""
    energies = dict.fromkeys(name for found in reports for name in found.cost.unknown)
    times = dict.fromkeys(name for found in reports for name in found.cost.unknown_times)
    lines = [f"energy: {', '.join(energies)}"] if energies else []
    return lines + ([f"time: {', '.join(times)}"] if times else [])


def _list(title: str, lines: Sequence[str]) -> RenderableType:
    """Return a titled list."""
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row("-", Line(line))
    return Group(Line(f"\n{title}", style="bold"), grid)


def _bound(total: float, unit: str, unknown: tuple[str, ...]) -> str:
    """Return a total, or what is known of it."""
    if not unknown:
        return _amount(total, unit)
    missing = ", ".join(unknown) if len(unknown) <= _NAMED else f"{len(unknown)} parts"
    return f"at least {_amount(total, unit)}, without {missing}"


def _learning(found: Report) -> str:
    if not found.mapping.learning:
        return "none"
    if "learning_update" in found.cost.unknown_times:
        return "unknown"
    return f"{_time(found.cost.learning_s)}{' a step' if found.schedule == PIPELINE else ''}"


def _cores(found: Report) -> str:
    m = found.mapping
    on = f", on {m.chips_in_use:,} of {m.chip.chips:,} chips" if m.chip.chips > 1 else ""
    return f"{found.cores:,} of {m.chip.cores:,}{on}"


def _rate(found: Report) -> str:
    if found.samples_per_s is None:
        return "unknown"
    rate = found.samples_per_s
    if not found.cost.unknown_times:
        return f"{rate:,.0f}" if rate >= _COUNTED else f"{rate:.4g}"
    return f"at most {math.ceil(rate):,}" if rate >= _COUNTED else f"at most {rate * (1 + 1e-3):.4g}"  # rounded, still a bound


def _synapses(found: Report) -> str:
    each = "" if found.synapses_per_weight is None else f" ({found.synapses_per_weight:.2f} per weight)"
    return f"{found.plastic_synapses:,}{each}"


def _busiest(core: Busy, found: Report) -> str:
    held = ", ".join(f"{s.population} {s.start}" + (f"..{s.stop - 1}" if s.size > 1 else "") for s in core.slices[:3])
    more = f" and {len(core.slices) - 3} slices more" if len(core.slices) > 3 else ""
    kinds = {"receiving": core.receiving_s, "sending": core.sending_s, "learning": core.learning_s}
    if "learning_update" in found.cost.unknown_times:
        del kinds["learning"]
    times = ", ".join(f"{name} {_time(time_s)}" for name, time_s in kinds.items() if time_s)
    return f"{core.core}: {held}{more}\n{times}"


def _link(found: Report) -> str:
    load, name = found.busiest_link
    busy = f", {_time(found.busiest_link_s)}" if found.busiest_link_s else ""
    return f"{name}: {load:,} messages{busy}" if load else "no message leaves its tile"


def _amount(value: float, unit: str) -> str:
    return Quantity(value, unit, "sum", "derived").amount


def _time(value: float) -> str:
    return _amount(value, "s")


def _joules(value: float) -> str:
    return _amount(value, "J")
