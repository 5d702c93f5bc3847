"""`dyadic-neuro compare`: discrete against continuous time, in tables, figures and words."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dyadic_neuro import plotting
from dyadic_neuro.backends.base import Backend, available, resolve
from dyadic_neuro.cli.networks import network_of
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
from dyadic_neuro.errors import CheckpointError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies import tables, timestep
from dyadic_neuro.studies.timestep import sweeps
from dyadic_neuro.studies.timestep.points import Point
from dyadic_neuro.studies.timestep.settling import check_alpha, check_plastic
from dyadic_neuro.studies.timestep.words import answers

JOURNAL = "journal.jsonl"
SWEEPS = "sweeps.csv"
FIGURES = {"approach.png": (), "settling.png": ("depth", "alpha"), "imperfections.png": ("mismatch", "noise", "delay", "window")}
"""The figures, each with the sweeps that it needs some of."""


@reported
def run(
    *,
    network: NetworkFile = None,
    layers: Layers = None,
    activation: ActivationName = "tanh",
    loss: LossName = "cross_entropy",
    seed: Seed = 0,
    data: Data = "digits",
    samples: Annotated[int, typer.Option(help="Size of the batch, the first samples of the data.")] = 16,
    alpha: Annotated[
        list[float] | None,
        typer.Option(help=f"Step size dt / tau; may be given several times (default: {', '.join(map(str, timestep.ALPHAS))})."),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="A simulator; may be given several times (default: reference, and brian2 where it is ready)."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(sweeps.SWEEPS)}, or none; may be given several times (default: all of them)."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Sweep every step size at every depth: minutes.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes that sweep (default: one a processor).", show_default=False)] = None,
    journal: Annotated[
        str | None,
        typer.Option(help=f"Keep finished points of the sweeps in this file (default: {JOURNAL} in --out, until all is done)."),
    ] = None,
    out: Annotated[str, typer.Option(help="Folder for the tables (CSV) and the figures.")] = "out/compare",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare unit steps with continuous time: settling of one network, and sweeps over circuits and learning windows.

    An interrupted run goes on from the journal when it is started again.
    """
    points = _points(sweep, full=full)
    swept = {point.sweep for point in points}
    figures = [name for name, needs in FIGURES.items() if not needs or swept.intersection(needs)]
    book = Path(out) / JOURNAL if journal is None else Path(journal)
    _check_outputs(out, [*timestep.FILES, *([SWEEPS] if points else []), *figures], book, overwrite=overwrite)
    if jobs is not None and jobs < 1:
        raise OptionError("jobs", f"{jobs} is less than 1", "use 1 to sweep in this process")
    source = load(data)
    net = network_of(network, layers, activation, loss, seed, source)
    if not 1 <= samples <= len(source.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(source.inputs)}", "ask for as many as the data has")
    batch = (source.inputs[:samples], source.targets[:samples])
    alphas = [check_alpha("alpha", value) for value in alpha or timestep.ALPHAS]
    simulators = _simulators(backend)
    prepare(net, *batch)  # raises now what would be wrong after the sweeps
    check_plastic(net)
    tables.write(out, {})  # makes the folder
    show = False if as_json else None
    try:
        table = _swept(points, book, jobs, overwrite=overwrite, show=show) if points else None
        comparison = timestep.compare(net, batch, alphas=alphas, backends=simulators, samples=None, progress=show)
    except KeyboardInterrupt:
        if points:
            stderr.print(f"{book} keeps what is done: the same command goes on from there", highlight=False, markup=False)
        raise
    if comparison.curves.empty:
        raise next(iter(comparison.skipped.values()))
    written = comparison.write(out, overwrite=overwrite)
    written += tables.write(out, {SWEEPS: table} if points else {}, overwrite=overwrite)
    one, many = f"{_described(net)} on {samples} samples of {source.name}", "tanh chains: medians of random networks"
    drawings = {
        "approach.png": partial(plotting.approach, comparison.curves, comparison.depth, one),
        "settling.png": partial(plotting.settling_costs, table, many),
        "imperfections.png": partial(plotting.imperfections, table, many),
    }
    for name in figures:
        plotting.save(drawings[name](), Path(out) / name, overwrite=overwrite)
        written.append(Path(out) / name)
    if journal is None:
        book.unlink(missing_ok=True)
    said = answers(table, comparison)
    files = [str(path) for path in written]
    if as_json:
        skipped = [{"backend": name, "alpha": value, "reason": str(why)} for (name, value), why in comparison.skipped.items()]
        print_json({"summary": _records(comparison.summary), "skipped": skipped, "answers": said, "files": files})
        return
    stdout.print(_table(comparison))
    for sentence in said:
        stdout.print(f"- {sentence}", highlight=False, markup=False)
    for path in files:
        stdout.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


def _points(names: list[str] | None, *, full: bool) -> list[Point]:
    """Return the points of the sweeps that are wanted. Raises UnknownNameError."""
    known: dict[str, Callable[[], list[Point]]] = dict(sweeps.SWEEPS)
    if full:
        known["alpha"] = partial(sweeps.alpha_sweep, depths=sweeps.DEPTHS)
    for name in names or ():
        if name not in (*known, "none"):
            raise UnknownNameError("sweep", f"{name!r} is not known", f"use some of {list(known)}, or none")
    return [point for name in dict.fromkeys(names or known) if name != "none" for point in known[name]()]


def _check_outputs(folder: str, names: list[str], journal: Path, *, overwrite: bool) -> None:
    """Raise what writing these files would raise, MissingExtraError, and OptionError for a journal that is one of them."""
    missing = plotting.available()
    if missing is not None:
        raise MissingExtraError("matplotlib", "is not installed, and draws the figures", missing)
    tables.need_pandas()
    tables.check(folder, names, overwrite=overwrite)
    if journal.absolute() in [(Path(folder) / name).absolute() for name in names]:
        raise OptionError("journal", f"{str(journal)!r} is an output too", "give the journal another name")


def _simulators(names: list[str] | None) -> dict[str, Backend]:
    """Return the backends by name: by default the reference, and Brian2 where it is ready. Raises what `resolve` raises."""
    states = available()
    chosen = names or [name for name in ("reference", "brian2") if states.get(name, "absent") is None]
    return {name: resolve(name) for name in chosen}


def _swept(points: list[Point], journal: Path, jobs: int | None, *, overwrite: bool, show: bool | None) -> Any:  # noqa: ANN401
    """Return the table of the points, going on from a journal of them. Raises as `sweeps.run`."""
    with _workers(os.cpu_count() or 1 if jobs is None else jobs) as executor:
        measured = partial(sweeps.run, points, journal=journal, executor=executor, progress=show)
        try:
            return measured()
        except CheckpointError:
            if not overwrite:
                raise
            return measured(overwrite=True)


@contextmanager
def _workers(jobs: int) -> Iterator[Executor | None]:
    """Give an executor of so many processes, none for one: a fresh Python each, which leaves an interrupt to this process."""
    if jobs == 1:
        yield None
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as executor:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, so that it holds while a worker is starting too
        try:
            for _ in range(jobs):
                executor.submit(os.getpid)  # starts a worker
        finally:
            signal.signal(signal.SIGINT, handler)
        yield executor


def _described(net: Network) -> str:
    sizes = [net.population(name).size for name in net.order]
    chain = net.depth == len(net.projections) == len(sizes) - 1
    return "-".join(map(str, sizes)) if chain else f"{len(sizes)} populations of depth {net.depth}"


def _table(comparison: timestep.Comparison) -> Table:
    """Return a row for each backend and step size; the steps of the binomial law stand in brackets."""
    ordered = comparison.summary.sort_values("tolerance", ascending=False, kind="stable")
    tolerances = list(ordered["tolerance"].unique())
    table = Table(
        title=f"steps until the gradient stays that close (by the binomial law); depth {comparison.depth};\n"
        f"to {tolerances[-1]:g}: time in tau, neuron updates a sample, seconds of wall clock",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("backend", "alpha", *(f"to {level:g}" for level in tolerances), "tau", "updates", "s"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "backend" else "right")
    for (backend, alpha), rows in ordered.groupby(["backend", "alpha"], sort=False):
        counts = [f"{_short(n)} ({m:g})" for n, m in zip(rows["steps"], rows["predicted_steps"], strict=True)]
        last = rows.iloc[-1]
        costs = (f"{last['time']:.3g}", _short(last["updates"]), f"{last['seconds']:.2g}")
        table.add_row(escape(backend), f"{alpha:g}", *counts, *costs)
    return table


def _short(value: float) -> str:
    """Return a number in few characters: 0.0042, 37, 2427, 359k."""
    if math.isnan(value):
        return "-"
    return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e4 else f"{value:.4g}"


def _records(frame: Any) -> list[dict[str, object]]:  # noqa: ANN401
    found: list[dict[str, object]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return found
