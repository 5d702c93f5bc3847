"""`dyadic-neuro codings`: ways to send a number beside each other: what is exact, and what each of them takes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dyadic_neuro.cli import networks
from dyadic_neuro.cli.shared import (
    ActivationName,
    Data,
    Json,
    Layers,
    LossName,
    NetworkFile,
    Schedule,
    Seed,
    print_json,
    reported,
    stderr,
    stdout,
)
from dyadic_neuro.datasets import load
from dyadic_neuro.errors import OptionError
from dyadic_neuro.quantity import Quantity
from dyadic_neuro.studies.coded import Amount, Report, Row, compare_codings

_HEADINGS = (
    "coding",
    "exact",
    "cosine",
    "to float",
    "micro-steps",
    "messages",
    "bits",
    "energy",
    "static",
    "time",
    "test accuracy",
)
_WIDE = 150  # columns, where no terminal tells how many there are


@reported
def run(
    *,
    network: NetworkFile = None,
    layers: Layers = None,
    activation: ActivationName = None,
    loss: LossName = None,
    seed: Seed = 0,
    data: Data = "digits",
    samples: Annotated[int, typer.Option(help="Size of the batch that is relaxed, the first samples of the data.")] = 64,
    epochs: Annotated[int, typer.Option(help="Passes over the training data with each coding; 0 trains nothing.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Samples held for each window of 2D steps.")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Step of plain gradient descent.")] = 0.5,
    schedule: Schedule = "free",
    chip: Annotated[str, typer.Option(help="A chip of `dyadic-neuro chips`, or a TOML file, for energy and time.")] = "loihi1",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Compare graded, delta, bit-serial and rate codings: exactness, traffic, energy and time on a chip, and learning.

    Weights have 8 bits and are rounded stochastically, messages 16, states 24. Rates take hundreds of micro-steps, and train as
    much slower.
    """
    if markdown and as_json:
        raise OptionError("markdown", "is asked for, and JSON too", "leave one out")
    source = load(data)
    net = networks.network_of(network, layers, activation, loss, seed, source)
    report = compare_codings(
        net,
        source,
        chip=chip,
        schedule=schedule,
        samples=samples,
        epochs=epochs,
        batch_size=min(batch_size, len(source.inputs)),
        learning_rate=learning_rate,
        seed=seed,
        tell=None if as_json else lambda row: stderr.print(f"{row.coding}: done", highlight=False),
    )
    if as_json:
        facts = {"network": report.network, "chip": report.chip, "schedule": report.schedule, "samples": samples}
        print_json(facts | {"epochs": epochs, "rows": report.records(), "assumptions": dict(report.assumptions)})
    elif markdown:
        cells = [list(_HEADINGS), ["---"] * len(_HEADINGS), *map(_cells, report.rows)]
        typer.echo("\n".join(f"| {' | '.join(row)} |" for row in cells))
        typer.echo("\n" + "\n".join(_notes(report)))
    else:
        _tell(report)


def _tell(report: Report) -> None:
    table = Table(*_HEADINGS, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in report.rows:
        table.add_row(*_cells(row))
    console = stdout if stdout.is_terminal else Console(width=_WIDE)
    console.print(report.network, highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    for note in _notes(report):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _cells(row: Row) -> list[str]:
    """Return a row under the headings."""
    return [
        row.coding,
        "yes" if row.exact else "no",
        _cosine(row.cosine),
        _cosine(row.float_cosine),
        f"{row.micro_steps:,}",
        f"{row.messages:,.0f}",
        f"{row.bits:,.0f}",
        _amount(row.energy),
        _amount(row.static),
        _amount(row.time),
        "-" if row.accuracy is None else f"{row.accuracy:.1%}",
    ]


def _notes(report: Report) -> list[str]:
    """Return what there is to know of the columns: what each is of, and what the chip's numbers take for granted."""
    learned = f"after {report.epochs} epochs with that coding, and read with it" if report.epochs else "not trained"
    missing = {
        what: ", ".join(dict.fromkeys(name for row in report.rows for name in getattr(row, what).missing))
        for what in ("energy", "time")
    }
    notes = [
        f"Of {report.samples} samples on {report.chip}, each from the zero state; schedule {report.schedule}.",
        "exact: every gradient is bit for bit that of integer backpropagation.",
        "cosine: to that gradient, of the worst parameter; to float: to the float network's.",
        f"Micro-steps, messages, bits, energy and time are of one sample without learning; test accuracy: {learned}.",
        f"Energy and time: a model of {report.chip}, not measurements.",
        "static: what of the energy is static power over that time, of whole chips however few of their cores are in use.",
    ]
    notes += [f"Not known, and left out of the {what}: {names}." for what, names in missing.items() if names]
    alike: dict[tuple[str, ...], list[str]] = {}
    for assumption, names in report.assumptions.items():
        alike.setdefault(names, []).append(assumption)
    notes += [f"Taken for granted{_of(names, report)}: {'; '.join(assumptions)}." for names, assumptions in alike.items()]
    return notes


def _of(names: tuple[str, ...], report: Report) -> str:
    """Return of which rows something holds, in few words."""
    others = [row.coding for row in report.rows if row.coding not in names]
    if not others:
        return ""
    return f" of all but {'; '.join(others)}" if len(others) < len(names) else f" of {'; '.join(names)}"


def _amount(amount: Amount) -> str:
    """Return what is known of an amount, or "unknown" where nothing is."""
    if amount.missing and not amount.value:
        return "unknown"
    return (
        f"{'at least ' if amount.missing else ''}{Quantity(float(f'{amount.value:.3g}'), amount.unit, 'a sum', 'derived').amount}"
    )


def _cosine(value: float) -> str:
    return "1" if value == 1.0 else f"1 - {1.0 - value:.0e}" if value > 0.9995 else f"{value:.4f}"
