"""How the agreement of backends is written: as text, as Markdown, as JSON, and in the cells of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dyadic_neuro.quantity import Quantity
from dyadic_neuro.testing import problems, tolerances
from dyadic_neuro.testing.agreement import DUE, QUANTITIES, Agreement, Measure, versions

COLOURS = {"passed": "green", "failed": "bold red", "approximate": "cyan", "missing": "yellow"}
HEADINGS = ("backend", "verdict", "states", "gradient", "cosine", "exact at", "hop", "learning", "messages", "build", "step")
EXPLAINED = (
    f"states: largest difference to the reference's states and gradients at any step. gradient, cosine: error and direction "
    f"beside backpropagation. exact at: first step of an exact gradient, 2D = {DUE}. hop: steps that a change takes. learning: "
    "difference to gradient descent (or, where approximate, the cosine of the change). messages: a sample, until it is exact. "
    "build, step: seconds, of all in the first run that is no step, and of a step of one sample. (In brackets: not exact.)"
)


def cells(one: Agreement) -> list[str]:
    """Return a backend's row under the HEADINGS."""
    m = one.measures
    if not m:
        return [one.backend, one.verdict, *[""] * (len(HEADINGS) - 2)]
    worst = max((m[name] for name in ("potentials", "sensitivities", "gradients")), key=_badness)
    cosine = m["direction"].value
    return [
        one.backend,
        one.verdict,
        _cell(worst),
        _cell(m["backpropagation"]),
        "" if cosine is None else _cosine(cosine),
        _cell(m["first exact"], ".0f"),
        _cell(m["hop"], "g"),
        _cell(m["learning"], ".4f" if one.verdict == "approximate" else ".0e"),
        _cell(m["messages"], ",.0f"),
        _seconds(one.build_s),
        _seconds(one.step_s),
    ]


def notes(one: Agreement) -> list[str]:
    """Return what there is to know about a backend beside its row: what ran, what failed, and what is not exact, and why."""
    if one.error:
        return [one.error]
    found = [f"ran: {one.runs_on}"]
    for m in one.measures.values():
        if m.verdict == "failed":
            measured = "" if m.value is None or m.limit is None else f" {m.value:.3g}, where {m.limit:.3g} is the limit"
            found.append(f"{m.quantity} failed:{measured} {m.reason}".rstrip())
    reasons: dict[str, list[str]] = {}
    for m in one.measures.values():
        if m.verdict != "failed" and m.reason:
            reasons.setdefault(m.reason, []).append(m.quantity)
    return found + [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def text(found: Sequence[Agreement]) -> RenderableType:
    """Return the table, what is to be known of each row, and the limits."""
    table = Table(title="the same networks on every backend", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if i < 2 else "right", no_wrap=True)
    remarks = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for one in found:
        name, verdict, *others = cells(one)
        table.add_row(name, f"[{COLOURS[verdict]}]{verdict}[/]", *others)
        remarks.add_row(name, Text("\n".join(notes(one))))
    return Group(table, Text(EXPLAINED + "\n"), remarks, Text(), _limits())


def markdown(found: Sequence[Agreement]) -> str:
    """Return the table as Markdown, with what ran."""
    rows = [[*HEADINGS[:2], "what ran", *HEADINGS[2:]], ["---"] * (len(HEADINGS) + 1)]
    for one in found:
        name, verdict, *others = cells(one)
        ran = one.error or one.runs_on
        rows.append([f"`{name}`", verdict, ran.replace("|", r"\|").replace("\n", " "), *others])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def record(found: Sequence[Agreement]) -> dict[str, Any]:
    """Return everything as JSON has it."""
    limits = [{"name": t.name, "limit": t.limit, "at_least": t.at_least, "reason": t.reason} for t in tolerances.TABLE]
    described = {title: problem[0].fingerprint for title, problem in problems.shown().items()}
    facts = {"versions": versions(), "networks": described, "quantities": dict(QUANTITIES), "tolerances": limits}
    return facts | {"backends": [one.record() for one in found]}


def _limits() -> Table:
    table = Table("what", "limit", "why", title="limits", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for t in tolerances.TABLE:
        table.add_row(escape(t.name), t.words, escape(t.reason))
    return table


def _badness(m: Measure) -> tuple[bool, float]:
    return m.verdict == "failed", float("-inf") if m.value is None else m.value


def _cosine(value: float) -> str:
    if value >= tolerances.DIRECTION.limit:
        return "1"
    return f"1 - {1.0 - value:.0e}" if value > 0.999 else f"{value:.4f}"


def _cell(m: Measure, form: str = ".0e") -> str:
    if m.value is None:
        return "failed" if m.verdict == "failed" else "-"
    number = "0" if m.value == 0.0 else f"{m.value:{form}}"
    return f"({number})" if m.verdict in ("unsupported", "told") else number


def _seconds(value: float | None) -> str:
    return "-" if value is None else Quantity(float(f"{value:.1e}"), "s", "a clock", "measured").amount
