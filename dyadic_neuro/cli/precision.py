"""`dyadic-neuro precision`: what is left of the gradient in integers of few bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dyadic_neuro import plotting
from dyadic_neuro.cli import networks
from dyadic_neuro.cli.shared import (
    ActivationName,
    Data,
    Json,
    Layers,
    LossName,
    NetworkFile,
    Overwrite,
    Seed,
    print_json,
    reported,
    stderr,
    stdout,
)
from dyadic_neuro.datasets import load
from dyadic_neuro.errors import OptionError
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.precision import FILE, NOTE, SWEEPS, findings, shares, sweep_widths
from dyadic_neuro.training import train

FIGURE = "precision.png"
_HEADINGS = ("sweep", "bits", "cosine", "error", "saturated", "uncalibrated: cosine", "error", "saturated")
_WIDE = 100  # columns, where no terminal tells how many there are
_BATCH, _RATE = 20, 0.5  # as `train` has them


@reported
def run(
    *,
    network: NetworkFile = None,
    layers: Layers = None,
    activation: ActivationName = None,
    loss: LossName = None,
    seed: Seed = 0,
    data: Data = "digits",
    samples: Annotated[int, typer.Option(help="Size of the batch, the first samples of the data.")] = 64,
    epochs: Annotated[int, typer.Option(help="Train in floats for so many passes first.")] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    out: Annotated[str, typer.Option(help=f"Folder for {FILE} and {FIGURE}.")] = "out/precision",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare the gradients of integers with those of floats, over the bits of weights, messages and states.

    A width is changed with the others at their defaults, but messages are never wider than states. Scales are chosen by a
    calibration on the batch, and without one.
    """
    if markdown and as_json:
        raise OptionError("markdown", "is asked for, and JSON too", "leave one out")
    if epochs < 0:
        raise OptionError("epochs", f"{epochs} is no number of passes", "use at least 0")
    tables.need_pandas()
    missing = plotting.available()
    tables.check(out, [FILE, *([] if missing else [FIGURE])], overwrite=overwrite)
    source = load(data)
    net = networks.network_of(network, layers, activation, loss, seed, source)
    if not 1 <= samples <= len(source.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(source.inputs)}", "ask for as many as the data has")
    if epochs:
        options: dict[str, Any] = {"batch_size": min(_BATCH, len(source.inputs)), "learning_rate": _RATE, "seed": seed}
        net = train(net, source, epochs=epochs, progress=False if as_json or markdown else None, **options).network
    table = sweep_widths(net, source.inputs[:samples], source.targets[:samples])
    title = f"{net}, {f'after {epochs} epochs' if epochs else 'untrained'}; {samples} samples"
    files = tables.write(out, {FILE: table}, overwrite=overwrite)
    if missing is None:
        files.append(Path(out) / FIGURE)
        plotting.save(plotting.lost_precision(table, title), files[-1], overwrite=overwrite)
    sentences = [*map(str, findings(table)), *filter(None, [shares(table)])]
    if as_json:
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        facts = {"network": title, "rows": rows, "findings": sentences, "note": NOTE}
        print_json(facts | {"files": [str(path) for path in files]})
        return
    if markdown:
        cells = [list(_HEADINGS), ["---"] * len(_HEADINGS), *_cells(table)]
        typer.echo("\n".join(f"| {' | '.join(row)} |" for row in cells))
        typer.echo(f"\n{NOTE}\n\n" + "\n".join(f"- {sentence}" for sentence in sentences))
        return
    shown = Table(*_HEADINGS, title="of the worst parameter; error is relative", title_justify="left", box=SIMPLE_HEAD)
    for row in _cells(table):
        shown.add_row(*row)
    console = stdout if stdout.is_terminal else Console(width=_WIDE)
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    console.print(shown)
    console.print(NOTE, highlight=False, markup=False, soft_wrap=True)
    for sentence in sentences:
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    if missing is not None:
        stderr.print(f"no figure was drawn: matplotlib is not installed ({missing})", highlight=False, markup=False)
    for path in files:
        stdout.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


def _cells(table: Any) -> list[list[str]]:  # noqa: ANN401
    """Return a row for each width: the worst parameter, calibrated and not."""
    found = []
    for sweep in SWEEPS:
        rows = table[table["sweep"] == sweep]
        width = f"{sweep.removesuffix('s')}_bits"
        for bits in sorted(rows[width].unique()):
            cells = [sweep, str(bits)]
            for calibrated in (True, False):
                one = rows[(rows[width] == bits) & (rows["calibrated"] == calibrated)]
                cells += _measured(one)
            found.append(cells)
    return found


def _measured(rows: Any) -> list[str]:  # noqa: ANN401
    """Return the worst cosine and error, and the saturations; dashes for a format that cannot hold the network."""
    if (rows["reason"] != "").any():
        return ["-", "-", "-"]
    worst = f"{rows['cosine'].min():.6f}", f"{rows['relative_error'].max():.2g}"
    return [*worst, f"{int(rows['saturations'].max()):,}"]
