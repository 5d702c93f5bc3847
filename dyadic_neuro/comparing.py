"""Discrete against continuous time in one call: the study's tables, figures and answers, in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from dyadic_neuro import plotting
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.errors import CheckpointError, OptionError, UnknownNameError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.network import Network, in_floats
from dyadic_neuro.studies import tables, timestep
from dyadic_neuro.studies.parallel import check_executor
from dyadic_neuro.studies.timestep.comparison import planned

SWEEPS = "sweeps.csv"
FIGURES: Mapping[str, tuple[str, ...]] = {
    "approach.png": (),
    "settling.png": ("depth", "alpha"),
    "imperfections.png": ("mismatch", "noise", "delay", "threshold", "window"),
}
"""The figures, each with the sweeps that it needs some of."""


@dataclass(frozen=True, eq=False)
class Result:
    """What was found: of the one network, and in `table` of the sweeps (a pandas DataFrame, None without sweeps).

    `answers` are sentences about both, `files` the paths that were written.
    """

    comparison: timestep.Comparison = field(repr=False)
    table: Any = field(repr=False)
    answers: tuple[str, ...]
    files: tuple[Path, ...]


def compare(
    network: Network,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    *,
    alphas: Sequence[float] | Array = timestep.ALPHAS,
    backends: Sequence[str | Backend] | Mapping[str, str | Backend] = ("reference",),
    samples: int | None = 16,
    sweeps: Iterable[str | timestep.Point] = (),
    out: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Result:
    """Compare step sizes on one network, measure the sweeps, and write what was found.

    The network is relaxed as by `studies.timestep.compare`, which says what `data`, `alphas`, `backends` and `samples` are.
    `sweeps` are names of `studies.timestep.sweeps.SWEEPS`, or points. `out` is a folder for the tables (CSV) and, if matplotlib
    is installed, the FIGURES; the answers say so if it is not. The `journal`, a file, keeps points that are done: the same call
    goes on from an interrupted one, whose work `overwrite` discards only if it was another's. An `executor` measures the
    points; the network is relaxed here, alone, so that its seconds are its own. `progress` shows bars (None: on a terminal).

    Raises, before anything runs: OptionError for a network of integers, what `studies.timestep.compare` and `sweeps.run`
    raise, UnknownNameError (sweeps), FileError and OutputExistsError (out, journal). While running: SimulatorError.
    """
    if isinstance(network, FixedNetwork):
        in_floats(network)  # raises: before data, which integers would take otherwise
    check_executor(executor)
    points = _points(sweeps)
    plan = planned(network, data, alphas=alphas, backends=backends, samples=samples)
    missing = plotting.available()
    swept = {point.sweep for point in points}
    figures = [name for name, needs in FIGURES.items() if missing is None and (not needs or swept.intersection(needs))]
    if out is not None:
        _check_outputs(out, [*timestep.FILES, *([SWEEPS] if points else []), *figures], journal, overwrite=overwrite)
        tables.write(out, {})  # makes the folder, which the journal may be in
    table = _swept(points, journal, executor, overwrite=overwrite, progress=progress) if points else None
    comparison = plan.run(progress=progress)
    answers, files = timestep.answers(table, comparison), []
    if out is not None:
        files = comparison.write(out, overwrite=overwrite)
        files += tables.write(out, {SWEEPS: table} if points else {}, overwrite=overwrite)
        of = f" of {data.name}" if isinstance(data, Dataset) else ""
        one = f"{_described(network)} on {len(plan.tasks[0].inputs)} samples{of}"
        files += _drawn(figures, out, comparison, table, one, overwrite=overwrite)
        if missing is not None:
            answers.append(f"No figures were drawn: matplotlib is not installed ({missing}).")
    return Result(comparison, table, tuple(answers), tuple(files))


def _points(sweeps: object) -> list[timestep.Point]:
    """Return the points that are asked for. Raises OptionError and UnknownNameError."""
    if isinstance(sweeps, (str, bytes)) or not isinstance(sweeps, Iterable):
        raise OptionError("sweeps", f"{sweeps!r} are no list", 'pass for example ["depth", "mismatch"]')
    known, found = timestep.sweeps.SWEEPS, []
    for wanted in sweeps:
        if isinstance(wanted, timestep.Point):
            found.append(wanted)
        elif isinstance(wanted, str) and wanted in known:
            found += known[wanted]()
        else:
            raise UnknownNameError("sweeps", f"{wanted!r} is not known", f"use some of {list(known)}, or points")
    return found


def _check_outputs(
    folder: str | os.PathLike[str], names: list[str], journal: str | os.PathLike[str] | None, *, overwrite: bool
) -> None:
    """Raise what writing these files would raise, and OptionError for a journal that is one of them."""
    tables.check(folder, names, overwrite=overwrite)
    if journal is not None and Path(journal).absolute() in [(Path(folder) / name).absolute() for name in names]:
        raise OptionError("journal", f"{str(journal)!r} is an output too", "give the journal another name")


def _swept(
    points: list[timestep.Point],
    journal: str | os.PathLike[str] | None,
    executor: Executor | None,
    *,
    overwrite: bool,
    progress: bool | None,
) -> Any:  # noqa: ANN401
    """Return the table of the points, going on from a journal of them. Raises as `sweeps.run`."""
    measured = partial(timestep.sweeps.run, points, journal=journal, executor=executor, progress=progress)
    try:
        return measured()
    except CheckpointError:
        if not overwrite:
            raise
        return measured(overwrite=True)


def _drawn(
    names: list[str],
    folder: str | os.PathLike[str],
    comparison: timestep.Comparison,
    table: Any,  # noqa: ANN401
    title: str,
    *,
    overwrite: bool,
) -> list[Path]:
    """Draw these figures into the folder and return their paths."""
    chains = "tanh chains: medians of random networks"
    drawings: dict[str, Callable[[], Any]] = {
        "approach.png": partial(plotting.approach, comparison.curves, comparison.depth, title),
        "settling.png": partial(plotting.settling_costs, table, chains),
        "imperfections.png": partial(plotting.imperfections, table, chains),
    }
    for name in names:
        plotting.save(drawings[name](), Path(folder) / name, overwrite=overwrite)
    return [Path(folder) / name for name in names]


def _described(network: Network) -> str:
    sizes = [network.population(name).size for name in network.order]
    chain = network.depth == len(network.projections) == len(sizes) - 1
    return "-".join(map(str, sizes)) if chain else f"{len(sizes)} populations of depth {network.depth}"
