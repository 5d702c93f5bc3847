"""`dyadic-neuro compare`: discrete against continuous time, in tables, figures and words."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dyadic_neuro.backends.base import available
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
from dyadic_neuro.comparing import compare
from dyadic_neuro.datasets import load
from dyadic_neuro.errors import OptionError, UnknownNameError
from dyadic_neuro.studies import timestep
from dyadic_neuro.studies.parallel import end_with_parent
from dyadic_neuro.studies.timestep import sweeps
from dyadic_neuro.studies.timestep.points import Point

JOURNAL = "journal.jsonl"
_P = ParamSpec("_P")
_T = TypeVar("_T")


@reported
def run(
    *,
    network: NetworkFile = None,
    layers: Layers = None,
    activation: ActivationName = None,
    loss: LossName = None,
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
    full: Annotated[bool, typer.Option("--full", help="The sweep alpha at every depth: minutes.")] = False,
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

    The options from --network to --backend are of the one network. The sweeps have networks (random tanh chains, and some that
    learn the digits), step sizes, seeds and simulators of their own: --sweep, --full, --jobs and --journal are of them.

    An interrupted run goes on from the journal when it is started again.
    """
    points = _points(sweep, full=full)
    book = Path(out) / JOURNAL if journal is None else Path(journal)
    if jobs is not None and jobs < 1:
        raise OptionError("jobs", f"{jobs} is less than 1", "use 1 to sweep in this process")
    source = load(data)
    net = network_of(network, layers, activation, loss, seed, source)
    if not 1 <= samples <= len(source.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(source.inputs)}", "ask for as many as the data has")
    try:
        with _workers(os.cpu_count() or 1 if jobs is None else jobs) as executor:
            result = compare(
                net,
                source,
                alphas=alpha or timestep.ALPHAS,
                backends=list(dict.fromkeys(backend or _ready())),
                samples=samples,
                sweeps=points,
                out=out,
                journal=book if points else None,
                executor=executor,
                overwrite=overwrite,
                progress=False if as_json else None,
            )
    except KeyboardInterrupt:
        if points:
            stderr.print(f"{book} keeps what is done: the same command goes on from there", highlight=False, markup=False)
        raise
    except OptionError as error:
        if error.field != "alphas":
            raise
        raise OptionError("alpha", error.problem, error.fix.replace("a larger alpha", "a larger --alpha")) from None
    if journal is None:
        book.unlink(missing_ok=True)
    comparison, files = result.comparison, [str(path) for path in result.files]
    if as_json:
        skipped = [{"backend": name, "alpha": value, "reason": str(why)} for (name, value), why in comparison.skipped.items()]
        found = {"summary": _records(comparison.summary), "skipped": skipped, "answers": list(result.answers), "files": files}
        print_json(found)
        return
    stdout.print(_table(comparison))
    for sentence in result.answers:
        stdout.print(f"- {sentence}", highlight=False, markup=False)
    for path in files:
        stdout.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


def _points(names: list[str] | None, *, full: bool) -> list[Point]:
    """Return the points of the sweeps that are wanted. Raises UnknownNameError and OptionError."""
    known: dict[str, Callable[[], list[Point]]] = dict(sweeps.SWEEPS)
    if full:
        known["alpha"] = partial(sweeps.alpha_sweep, depths=sweeps.DEPTHS)
    for name in names or ():
        if name not in (*known, "none"):
            raise UnknownNameError("sweep", f"{name!r} is not known", f"use some of {list(known)}, or none")
    if full and names and "alpha" not in names:
        raise OptionError("full", "enlarges the sweep alpha, which is not wanted", "leave it out, or add --sweep alpha")
    return [point for name in dict.fromkeys(names or known) if name != "none" for point in known[name]()]


def _ready() -> list[str]:
    """Return the backends that are compared by default: the reference, and Brian2 where it is ready."""
    states = available()
    return [name for name in ("reference", "brian2") if states.get(name, "absent") is None]


@contextmanager
def _workers(jobs: int) -> Iterator[Executor | None]:
    """Give an executor of so many processes, none for one."""
    if jobs == 1:
        yield None
        return
    with _Processes(jobs) as executor:
        yield executor


class _Processes(ProcessPoolExecutor):
    """Processes, each a fresh Python, that begin with the first task, leave an interrupt to this process, and end with it."""

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs, multiprocessing.get_context("spawn"), end_with_parent)
        self._to_begin = jobs

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Begin if need be, and take a task."""
        if self._to_begin:
            # a worker inherits it, and so is never interrupted, not while it starts either; here an interrupt waits meanwhile
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                for _ in range(self._to_begin):
                    super().submit(os.getpid)  # starts a worker
                self._to_begin = 0
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return super().submit(fn, *args, **kwargs)


def _table(comparison: timestep.Comparison) -> Table:
    """Return a row for each backend and step size; the steps of the binomial law stand in brackets."""
    ordered = comparison.summary.sort_values("tolerance", ascending=False, kind="stable")
    tolerances = list(ordered["tolerance"].unique())
    table = Table(
        title=f"steps until the gradient stays that close (by the binomial law); depth {comparison.depth};\n"
        f"to {tolerances[-1]:g}: time in tau, neuron updates a sample, ms of wall clock",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("backend", "alpha", *(f"to {level:g}" for level in tolerances), "tau", "updates", "ms"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "backend" else "right")
    for (backend, alpha), rows in ordered.groupby(["backend", "alpha"], sort=False):
        counts = [f"{_short(n)} ({m:g})" for n, m in zip(rows["steps"], rows["predicted_steps"], strict=True)]
        last = rows.iloc[-1]
        costs = (_short(last["time"], 3), _short(last["updates"]), _short(1e3 * last["seconds"], 3))
        table.add_row(escape(backend), f"{alpha:g}", *counts, *costs)
    return table


def _short(value: float, digits: int = 4) -> str:
    """Return a number in few characters: 0.0042, 37, 2427, 359k."""
    if math.isnan(value):
        return "-"
    return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e4 else f"{value:.{digits}g}"


def _records(frame: Any) -> list[dict[str, object]]:  # noqa: ANN401
    found: list[dict[str, object]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return found
