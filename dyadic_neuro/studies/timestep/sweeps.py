"""Sweeps: how depth, step size, mismatch, noise, delays and the learning window decide when the gradient is there.

A `Point` is one run with all its settings, `measure` the pure function that does it, `run` does many and returns a tidy
table (a pandas DataFrame). Its columns are the settings of the point (`Point`, but for `tolerances`), and then

    tolerance                        a row for each, of a settling point; NaN in the one row of a training or event-driven one
    steps  time                      from where the gradient's error stays within it (NaN: not in this run); time in tau, of
                                     a training point that of its window, of an event-driven one that of its run
    predicted_steps  predicted_time  by the law of the backend's steps: the binomial law, with unit steps and delays exactly
    mixture_steps  mixture_time      foretold by 2D unit steps of the same network (`mixture`); NaN if it is not ideal
    error_at_2d                      after 2D steps
    final_error                      mean over the steps after the smallest tolerance is due: with noise its floor; with a
                                     threshold, of what synapses read at the end
    updates  messages  seconds       of neurons and along projections for one sample, of wall clock for the batch, until
                                     then; of training and of event-driven points, those of the whole run
                                     (a step's seconds are those of a run divided by its steps, as in `comparison`)
    share                            of the messages that a run without a threshold sends in as many steps
    accuracy  loss                   of the test data after training, and in its last epoch
    reason                           why the point could not run (else empty; all of the above are NaN then)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from itertools import product
from typing import Any

from dyadic_neuro import datasets
from dyadic_neuro.backends.base import resolve
from dyadic_neuro.errors import OptionError
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.progress import counting_bar
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.journal import Journal, key_of
from dyadic_neuro.studies.parallel import check_executor, outcomes
from dyadic_neuro.studies.timestep.points import COLUMNS, Point, measure

ALPHAS = (1.5, 1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
DEPTHS = (1, 2, 4, 8, 16, 32)
SPREADS = (0.0, 0.01, 0.05, 0.1, 0.3)
NOISES = (1e-4, 1e-3, 1e-2, 1e-1)
DELAYS = (0.0, 1.0, 2.0, 5.0)
THRESHOLDS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
WINDOWS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
SEEDS = (0, 1, 2)
_VERSION = 2  # of what `measure` returns: a journal of another one is not gone on with


def depth_sweep(
    depths: Sequence[int] = DEPTHS, alphas: Sequence[float] = (1.0, 0.5, 0.1), seeds: Sequence[int] = SEEDS
) -> list[Point]:
    """Return ideal circuits of these depths."""
    return [Point(sweep="depth", depth=d, alpha=a, seed=s) for d, a, s in product(depths, alphas, seeds)]


def alpha_sweep(alphas: Sequence[float] = ALPHAS, depths: Sequence[int] = (4,), seeds: Sequence[int] = SEEDS) -> list[Point]:
    """Return ideal circuits that take steps of these sizes."""
    return [Point(sweep="alpha", depth=d, alpha=a, seed=s) for d, a, s in product(depths, alphas, seeds)]


def mismatch_sweep(
    spreads: Sequence[float] = SPREADS,
    alphas: Sequence[float] = (1.0, 0.1),
    depths: Sequence[int] = (4,),
    seeds: Sequence[int] = SEEDS,
) -> list[Point]:
    """Return circuits of neurons whose time constants differ by these parts of their mean (standard deviation)."""
    settings = product(spreads, alphas, depths, seeds)
    return [Point(sweep="mismatch", spread=v, depth=d, alpha=a, seed=s) for v, a, d, s in settings]


def noise_sweep(
    noises: Sequence[float] = NOISES,
    alphas: Sequence[float] = (1.0, 0.1),
    depths: Sequence[int] = (4,),
    seeds: Sequence[int] = SEEDS,
) -> list[Point]:
    """Return circuits with white noise of these standard deviations (of a free unit)."""
    settings = product(noises, alphas, depths, seeds)
    return [Point(sweep="noise", noise=v, depth=d, alpha=a, seed=s) for v, a, d, s in settings]


def delay_sweep(
    delays: Sequence[float] = DELAYS,
    alphas: Sequence[float] = (1.0, 0.2),
    depths: Sequence[int] = (2, 4, 8),
    seeds: Sequence[int] = SEEDS,
) -> list[Point]:
    """Return circuits with these transmission delays, in tau, on every way between two dyads, in both directions."""
    settings = product(delays, alphas, depths, seeds)
    return [Point(sweep="delay", delay=v, depth=d, alpha=a, seed=s) for v, a, d, s in settings]


def threshold_sweep(
    thresholds: Sequence[float] = THRESHOLDS,
    alphas: Sequence[float] = (1.0, 0.2),
    depths: Sequence[int] = (4,),
    seeds: Sequence[int] = (0, 1),
) -> list[Point]:
    """Return event-driven circuits, on Brian2: axons send only when their signal has moved by more than these thresholds."""
    settings = product(thresholds, alphas, depths, seeds)
    return [Point(sweep="threshold", threshold=v, depth=d, alpha=a, seed=s, backend="brian2-numpy") for v, a, d, s in settings]


def window_sweep(
    windows: Sequence[int] = WINDOWS, alphas: Sequence[float] = (1.0,), depth: int = 2, seeds: Sequence[int] = (0,)
) -> list[Point]:
    """Return trainings on the digits, in which the weights learn after these times of a batch, in tau (rounded to steps)."""
    settings = product(windows, alphas, seeds)
    return [
        Point("training", "window", depth=depth, width=32, alpha=a, window=max(1, round(w / a)), seed=s) for w, a, s in settings
    ]


SWEEPS: Mapping[str, Callable[[], list[Point]]] = {
    "depth": depth_sweep,
    "alpha": alpha_sweep,
    "mismatch": mismatch_sweep,
    "noise": noise_sweep,
    "delay": delay_sweep,
    "threshold": threshold_sweep,
    "window": window_sweep,
}
"""The sweeps by name, each with its usual settings."""


def run(
    points: Iterable[Point],
    *,
    journal: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Any:  # noqa: ANN401
    """Measure every point and return the table, in the order of the points, whatever the executor.

    With `journal` each point is written there as soon as it is done; a run that finds the file goes on from it (with
    `overwrite` it begins anew), and its table differs from that of an uninterrupted run in `seconds` only. An `executor`
    measures the points in parallel; without one they are measured here, one by one. After an interrupt what has not begun
    does not begin. `progress` shows a bar (None: on a terminal). A point that its backend refuses, such as one whose
    mismatch makes unit steps unstable, gets a row with the `reason`, and so do event-driven points where Brian2 is not
    installed.

    Raises, before anything runs: OptionError (points, executor), UnknownNameError (a backend), MissingExtraError (pandas,
    scikit-learn for the digits, a backend's), and FileError and CheckpointError (the journal). While running: SimulatorError.
    """
    tables.need_pandas()
    check_executor(executor)
    wanted = _checked(points)
    if journal is None:
        return _table(wanted, _measured(wanted, {}, None, executor, progress=progress))
    with Journal(writable(journal, overwrite=True), wanted, version=_VERSION, overwrite=overwrite) as book:
        return _table(wanted, _measured(wanted, book.done, book, executor, progress=progress))


def _checked(points: Iterable[Point]) -> dict[str, Point]:
    """Return the points by their keys, each once. Raises as `run`."""
    found = list(points) if isinstance(points, Iterable) else [points]
    for point in found:
        if not isinstance(point, Point):
            raise OptionError("points", f"hold {point!r}", "pass a list of Point, as the sweeps of this module return it")
    if not found:
        raise OptionError("points", "are none", "pass for example depth_sweep()")
    for backend in {point.backend for point in found if point.threshold is None}:
        resolve(backend)
    if any(point.what == "training" for point in found):
        datasets.digits()
    return {key_of(asdict(point)): point for point in found}


def _measured(
    wanted: Mapping[str, Point],
    done: Mapping[str, Any],
    book: Journal | None,
    executor: Executor | None,
    *,
    progress: bool | None,
) -> dict[str, Any]:
    """Return the outcomes of all points by key, those that were done already among them."""
    found = dict(done)
    keys = [key for key in wanted if key not in found]
    with counting_bar("sweeping", show=progress, total=len(wanted), done=len(found)) as advance:
        for i, outcome in outcomes(measure, [wanted[key] for key in keys], executor):
            found[keys[i]] = outcome
            if book is not None:
                book.note(keys[i], outcome)
            advance()
    return found


def _table(wanted: Mapping[str, Point], found: Mapping[str, Any]) -> Any:  # noqa: ANN401
    rows = [row for key in wanted for row in found[key]]
    return tables.frame(COLUMNS, rows)
