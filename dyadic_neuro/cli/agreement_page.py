"""The page of `dyadic-neuro check --all`: one HTML file that holds its figure and asks nothing of a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

from dyadic_neuro import plotting
from dyadic_neuro.cli.agreement_tables import EXPLAINED, HEADINGS, cells, notes
from dyadic_neuro.testing import tolerances
from dyadic_neuro.testing.agreement import QUANTITIES, Agreement, versions

_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } img { width: 100%; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ccc; text-align: left; vertical-align: top; }
td.passed { color: #006d3c; } td.failed { color: #b00020; font-weight: bold; } td.approximate { color: #005a9c; }
td.missing { color: #7a5c00; }
"""
_CAPTION = (
    "log10 of the error, rows are backends and columns are steps. Left: the gradient's error to backpropagation, exact from 2D "
    "on. Right: the largest difference of any state or gradient to the reference's at the same step. A backend whose dt is "
    "less than tau shows one step of several in each column. The gradient of the last step is the one that synapses did read, "
    "which spiking neurons average."
)


def page(found: Sequence[Agreement]) -> str:
    """Return the page. Raises MissingExtraError if there is nothing to draw its figure with."""
    drawn = BytesIO()
    plotting.error_maps(found).savefig(drawn, dpi=130, format="png", metadata={"Software": None})
    unsupported = [(one.backend, case, reason) for one in found for case, reason in one.unsupported.items()]
    parts = [
        f"<h1>The same networks on every backend</h1><p>{escape(EXPLAINED)}</p>",
        _table(HEADINGS, [cells(one) for one in found]),
        f'<h2>Step by step</h2><img alt="{escape(_CAPTION)}" src="data:image/png;base64,{b64encode(drawn.getvalue()).decode()}">',
        f"<p>{escape(_CAPTION)}</p>",
        "<h2>What ran, and what is to be known of it</h2>",
        _table(("backend", ""), [(one.backend, "\n".join(notes(one))) for one in found]),
        "<h2>What a backend does not do</h2>" + _table(("backend", "case", "reason"), unsupported) if unsupported else "",
        "<h2>What was measured</h2>" + _table(("quantity", "what it is"), QUANTITIES.items()),
        "<h2>Limits</h2>" + _table(("what", "limit", "why"), [(t.name, t.words, t.reason) for t in tolerances.TABLE]),
        "<h2>Versions</h2>" + _table(("package", "version"), versions().items()),
    ]
    head = f'<meta charset="utf-8"><title>Backends of dyadic_neuro</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell that holds a verdict is of that class."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return f"<table><tr>{head}</tr>\n{''.join(f'<tr>{_cells(row)}</tr>' for row in rows)}</table>"


def _cells(row: Sequence[str]) -> str:
    verdicts = ("passed", "failed", "approximate", "missing")
    marked = [(f' class="{cell}"' if cell in verdicts else "", escape(cell).replace("\n", "<br>")) for cell in row]
    return "".join(f"<td{mark}>{cell}</td>" for mark, cell in marked)
