"""`dyadic-neuro chips`: the chips there are, and every number of one of them with its source."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dyadic_neuro.cli.shared import Json, print_json, reported, stdout
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.quantity import GRADES

app = typer.Typer(help="The chips that networks can be mapped to, as data.", invoke_without_command=True)


@app.callback()
@reported
def overview(*, context: typer.Context, as_json: Json = False) -> None:
    """List the chips, and how well each one is known."""
    if context.invoked_subcommand is not None:
        return
    facts: dict[str, dict[str, Any]] = {}
    for chip in map(Chip.load, Chip.names()):
        grades = Counter(quantity.grade for quantity in chip.quantities().values())
        facts[chip.name] = {
            "title": chip.title,
            "chips": chip.chips,
            "cores": chip.cores,
            "payload": chip.widths.payload.value,
            "grades": {grade: grades[grade] for grade in GRADES},
        }
    if as_json:
        print_json(facts)
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("chip", no_wrap=True)
    table.add_column("title")
    for heading in ("chips", "cores"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("payload", no_wrap=True)
    table.add_column("numbers")
    for name, fact in facts.items():
        numbers = ", ".join(f"{count} {grade}" for grade, count in fact["grades"].items() if count)
        table.add_row(name, escape(fact["title"]), f"{fact['chips']:,}", f"{fact['cores']:,}", fact["payload"], numbers)
    stdout.print(table)


@app.command()
@reported
def show(
    *,
    name: Annotated[str, typer.Argument(help="A chip that `dyadic-neuro chips` lists, or a TOML file.")],
    as_json: Json = False,
) -> None:
    """Show every number of a chip with its unit, its grade and its source."""
    chip = Chip.load(name)
    if as_json:
        print_json(chip.record() | {"fingerprint": chip.fingerprint, "hypotheses": chip.hypotheses})
        return
    stdout.print(escape("\n".join([str(chip), *filter(None, [chip.note]), *chip.hypotheses])), highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("entry", "value", "grade"):
        table.add_column(heading, no_wrap=True)
    table.add_column("source", overflow="fold")
    last = ""
    for key, content in chip.entries().items():
        section, entry = key.split(".")
        if section != last:
            table.add_row(f"[bold]{section}[/]")
            last = section
        label = f"  tiles {entry}" if entry.isdigit() else f"  {entry}"
        table.add_row(label, content.amount, content.grade, escape(content.source))
    stdout.print(table)
