"""`dyadic-neuro check`: one backend held to the conformance suite, or all of them beside each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dyadic_neuro import plotting
from dyadic_neuro.backends.base import resolve
from dyadic_neuro.cli.agreement_page import page as page_of
from dyadic_neuro.cli.agreement_tables import markdown as markdown_of
from dyadic_neuro.cli.agreement_tables import record, text
from dyadic_neuro.cli.shared import FAILED, Json, Overwrite, print_json, reported, stderr, stdout
from dyadic_neuro.errors import MissingExtraError, OptionError
from dyadic_neuro.interchange.outputs import writable, writing
from dyadic_neuro.relaxation import is_real
from dyadic_neuro.testing import agreement, conformance

_WIDE = 125  # columns of text, where no terminal says how many there are


@reported
def run(
    *,
    backend: Annotated[
        str | None, typer.Option(help="A simulator; `dyadic-neuro backends` lists them (default: reference).", show_default=False)
    ] = None,
    case: Annotated[list[str] | None, typer.Option("--case", help="Only this case; may be given several times.")] = None,
    compare_all: Annotated[bool, typer.Option("--all", help="Every installed backend on the same networks.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="With --all: only this backend; may be given several times.")] = None,
    limit: Annotated[float, typer.Option(help="With --all: seconds that a backend may take.")] = 600.0,
    page: Annotated[str | None, typer.Option(help="With --all: write a page with heat maps here (.html).")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="With --all: print the table as Markdown.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Hold a backend to the conformance suite, or (--all) compare all of them. Exit code 1 if a law is broken."""
    if not compare_all:
        for name, value in {"only": only, "page": page, "markdown": markdown or None}.items():
            if value:
                raise OptionError(name, "is of a comparison", "give --all too")
        _suite("reference" if backend is None else backend, case, as_json=as_json)
        return
    for name, alone in {"backend": backend, "case": case}.items():
        if alone:
            raise OptionError(name, "is given, and --all too", "leave one out; --only NAME compares some backends")
    if markdown and as_json:
        raise OptionError("markdown", "is asked for, and JSON too", "leave one out")
    if not is_real(limit) or limit <= 0:
        raise OptionError("limit", f"{limit:g} is not a number of seconds above 0", "use for example 600")
    if page is not None:
        _check_page(page, overwrite=overwrite)
    _together(only, limit, page, markdown=markdown, overwrite=overwrite, as_json=as_json)


def _check_page(page: str, *, overwrite: bool) -> None:
    """Raise what writing the page would raise, before any work is done."""
    writable(page, overwrite=overwrite)
    missing = plotting.available()
    if missing is not None:
        raise MissingExtraError("page", "has a figure, and matplotlib is not installed", missing)


def _together(only: list[str] | None, limit: float, page: str | None, *, markdown: bool, overwrite: bool, as_json: bool) -> None:
    found = []
    for one in agreement.measure_all(only or None, limit_s=limit):
        found.append(one)
        stderr.print(f"{one.backend}: {one.verdict}", highlight=False)
    if page is not None:
        with writing(page, overwrite=overwrite) as file:
            file.write(page_of(found).encode())
    if as_json:
        print_json(record(found))
    elif markdown:
        typer.echo(markdown_of(found))
    else:
        console = stdout if stdout.is_terminal else Console(width=_WIDE)
        console.print(text(found), highlight=False)
    if any(one.verdict == "failed" for one in found):
        raise typer.Exit(FAILED)


def _suite(backend: str, case: list[str] | None, *, as_json: bool) -> None:
    simulator = resolve(backend)
    results = []
    for result in conformance.check(simulator, case):
        results.append(result)
        if not as_json:
            stderr.print(f"{result.case}: {result.verdict}", highlight=False)
    if as_json:
        print_json({"backend": backend, "results": [asdict(result) for result in results]})
    else:
        stdout.print(_suite_table(backend, results))
    if any(result.verdict == "failed" for result in results):
        raise typer.Exit(FAILED)


def _suite_table(backend: str, results: list[conformance.Result]) -> Table:
    headings = ("case", "law", "verdict", "measured", "limit", "s")
    table = Table(*headings, title=f"conformance of {backend}", title_justify="left", box=SIMPLE_HEAD)
    for result in results:
        colour = {"passed": "green", "failed": "bold red", "unsupported": "yellow"}[result.verdict]
        numbers = [("" if value is None else f"{value:.2g}") for value in (result.measured, result.limit)]
        law = result.law + (f"\n{result.reason}" if result.reason else "")
        table.add_row(result.case, escape(law), f"[{colour}]{result.verdict}[/]", *numbers, f"{result.seconds:.1f}")
    return table
