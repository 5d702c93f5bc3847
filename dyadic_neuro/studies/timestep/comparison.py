"""Discrete against continuous time: how the gradient settles for any step size alpha = dt / tau, on any backend.

`compare` relaxes one network on one batch, measures the errors at every step, and lays the closed forms beside them: the
binomial law for the step size, and the Poisson law that it tends to in continuous time (DESIGN section 2). Tables are
pandas DataFrames. Columns of `Comparison.curves`, a row for each backend, alpha and step from 1 on:

    backend  alpha  step  time (steps * alpha, in tau)
    error                            of the gradient: the largest relative error of a parameter (`settling.Errors`)
    potential_error  sensitivity_error   the same over the populations
    predicted  poisson               the error expected by the binomial law, and in continuous time
    mixture                          the error that 2D unit steps of this network foretell (`mixture`)

and of `Comparison.summary`, a row for each backend, alpha and tolerance:

    backend  alpha  depth  tolerance
    steps  time                      from where the error stays within the tolerance (NaN: not in this run)
    predicted_steps  predicted_time  by the law of the backend's steps and circuit (`relaxation.predicted_steps`)
    poisson_time                     in continuous time
    mixture_steps  mixture_time      foretold by 2D unit steps of this network (NaN for a circuit that is not ideal)
    ratio_to_unit_steps              steps / 2D
    updates  messages                of neurons (as many a step as the integrator has stages), and along projections, for one
                                     sample until then
    seconds                          wall clock of a step (of the whole run, with what any run takes, divided by its steps)
                                     times the steps, for the batch; not what had to be compiled

`predicted` and `mixture` are laws of Euler steps: NaN on a backend that takes others, which has its own `predicted_steps`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import product
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, deployed, resolve
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.errors import DataError, OptionError
from dyadic_neuro.network import Network, in_floats
from dyadic_neuro.progress import counting_bar
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.parallel import check_executor, outcomes
from dyadic_neuro.studies.timestep.mixture import Mixture
from dyadic_neuro.studies.timestep.runs import Run, due, kept, settle
from dyadic_neuro.studies.timestep.settling import (
    TOLERANCES,
    binomial,
    check_list,
    check_plastic,
    check_step_size,
    check_tolerances,
    poisson,
    poisson_time,
    settled_from,
    state_errors,
)

ALPHAS = (1.5, 1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
FILES = ("curves.csv", "summary.csv")
_MOST = 2_000_000  # steps of a run that nobody asked for


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found: the tables of this module, and in `skipped` why a backend did not run with an alpha."""

    depth: int
    curves: Any = field(repr=False)
    summary: Any = field(repr=False)
    skipped: Mapping[tuple[str, float], OptionError]

    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write both tables to `folder`, as `FILES`, and return the paths. Raises FileError and OutputExistsError."""
        return tables.write(folder, dict(zip(FILES, (self.curves, self.summary), strict=True)), overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class Task:
    """One backend, by name or as an object, and one alpha."""

    network: Network
    inputs: Array
    targets: Array
    name: str
    backend: str | Backend
    alpha: float
    tolerances: tuple[float, ...]
    steps: int | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked comparison that has not run yet: a task for each backend and alpha, and in `skipped` those that cannot be."""

    depth: int
    tasks: tuple[Task, ...]
    skipped: Mapping[tuple[str, float], OptionError]

    def run(self, *, executor: Executor | None = None, progress: bool | None = None) -> Comparison:
        """Do the tasks, in parallel with an `executor`.

        Raises SimulatorError, and OptionError for what is no executor, or if no backend could run any alpha.
        """
        check_executor(executor)
        found: dict[tuple[str, float], _Curve | OptionError] = {}
        with counting_bar("comparing", show=progress, total=len(self.tasks)) as advance:
            for i, outcome in outcomes(_measured, self.tasks, executor):
                found[self.tasks[i].name, self.tasks[i].alpha] = outcome
                advance()
        curves = [found[task.name, task.alpha] for task in self.tasks]
        measured = [curve for curve in curves if isinstance(curve, _Curve)]
        skipped = {**self.skipped, **{key: why for key, why in found.items() if isinstance(why, OptionError)}}
        if not measured:
            raise next(iter(skipped.values()))
        return Comparison(
            self.depth,
            tables.frame(_CURVES, [curve.rows for curve in measured]),
            tables.frame(_SUMMARY, [curve.summary for curve in measured]),
            skipped,
        )


def compare(
    network: Network,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    *,
    alphas: Sequence[float] | Array = ALPHAS,
    backends: Sequence[str | Backend] | Mapping[str, str | Backend] = ("reference",),
    tolerances: Sequence[float] | Array = TOLERANCES,
    samples: int | None = 16,
    steps: int | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Relax the network with every alpha on every backend, from the zero state, and return the measured and predicted tables.

    `data` is (inputs (samples, n_input), targets) or a Dataset, of which the first `samples` are taken (None: all).
    `alphas` are dt / tau, in (0, 2). `backends` are names or objects; a mapping gives them other names in the tables.
    `steps=None` runs until the gradient is within the smallest of the `tolerances`, or for four times as long as that should
    take; an alpha that needs more than two million steps is refused. An `executor` runs one task for each backend and alpha.
    `progress` shows a bar (None: on a terminal).

    A backend that cannot run an alpha is left out and named in `skipped`; if there is no other, its error is raised. Raises,
    before anything runs: OptionError, DataError, UnknownNameError, CycleError, and MissingExtraError (pandas, or a backend's).
    While running: SimulatorError.
    """
    check_executor(executor)
    plan = planned(network, data, alphas=alphas, backends=backends, tolerances=tolerances, samples=samples, steps=steps)
    return plan.run(executor=executor, progress=progress)


def planned(
    network: Network,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    *,
    alphas: Sequence[float] | Array = ALPHAS,
    backends: Sequence[str | Backend] | Mapping[str, str | Backend] = ("reference",),
    tolerances: Sequence[float] | Array = TOLERANCES,
    samples: int | None = 16,
    steps: int | None = None,
) -> Plan:
    """Check everything that `compare` takes, every backend's circuit with every alpha among it. Raises as it does."""
    tables.need_pandas()
    levels = check_tolerances(tolerances)
    order = prepare(network, *_batch(data, samples), steps=steps)
    check_plastic(network)
    depth = network.depth  # raises CycleError: with a cycle there is no textbook to compare with
    specs, paces, tasks, skipped = _named(backends), _alphas(alphas), [], {}
    count = None if steps is None else order.steps
    for (name, spec), alpha in product(specs.items(), paces):
        simulator = kept(spec) if isinstance(spec, str) else spec
        task = Task(network, order.inputs, order.targets, name, spec, alpha, levels, count)
        try:
            wanted = prepare(
                network,
                order.inputs,
                order.targets,
                running=deployed(simulator, network),
                backend_alpha=simulator.alpha,
                substrate=getattr(simulator, "substrate", None),
                settling=getattr(simulator, "settling_steps", None),
                steps=count,
                alpha=alpha,
                tolerance=levels[-1],
            )
        except OptionError as error:
            if error.field == "record":  # what a run needs to be kept in memory: `record` is no option of ours
                raise OptionError("alphas", f"{alpha:g}: {error.problem}", "use a larger alpha, or fewer samples") from None
            skipped[name, alpha] = error
        else:
            if count is None and wanted.steps > _MOST:
                problem = f"{alpha:g} takes {wanted.steps} steps to {levels[-1]:g}, and at most {_MOST} are run"
                raise OptionError("alphas", problem, "use a larger alpha")
            tasks.append(task)
    if not tasks:
        raise next(iter(skipped.values()))
    return Plan(depth, tuple(tasks), skipped)


_CURVES = {
    "backend": "object",
    "alpha": "float64",
    "step": "int64",
    "time": "float64",
    "error": "float64",
    "potential_error": "float64",
    "sensitivity_error": "float64",
    "predicted": "float64",
    "poisson": "float64",
    "mixture": "float64",
}
_SUMMARY = {
    "backend": "object",
    "alpha": "float64",
    "depth": "int64",
    "tolerance": "float64",
    "steps": "float64",
    "time": "float64",
    "predicted_steps": "float64",
    "predicted_time": "float64",
    "poisson_time": "float64",
    "mixture_steps": "float64",
    "mixture_time": "float64",
    "ratio_to_unit_steps": "float64",
    "updates": "float64",
    "messages": "float64",
    "seconds": "float64",
}


@dataclass(frozen=True, eq=False)
class _Curve:
    """What one task found: columns of both tables."""

    rows: Mapping[str, Any]
    summary: Mapping[str, Any]


def _measured(task: Task) -> _Curve | OptionError:
    """Relax and measure; return the error of a backend that cannot run this alpha."""
    simulator = kept(task.backend) if isinstance(task.backend, str) else task.backend
    try:
        run = settle(
            task.network,
            task.inputs,
            task.targets,
            simulator,
            alpha=task.alpha,
            tolerance=task.tolerances[-1],
            steps=task.steps,
        )
    except OptionError as error:
        return error
    return _curve(task, simulator, run)


def _curve(task: Task, simulator: Backend, run: Run) -> _Curve:
    trace, alpha = run.trace, task.alpha
    depth, (potential, sensitivity) = trace.network.depth, state_errors(trace)
    step = np.arange(1, trace.steps + 1)
    substrate, unknown = getattr(simulator, "substrate", None), np.full(trace.steps, math.nan)
    euler = getattr(simulator, "settling_steps", None) is None
    ideal = euler and (substrate is None or substrate.ideal)
    mixture = Mixture(in_floats(trace.network), trace.inputs, trace.targets).errors(alpha, step) if ideal else unknown
    rows = {
        "backend": task.name,
        "alpha": alpha,
        "step": step,
        "time": step * alpha,
        "error": run.errors,
        "potential_error": potential,
        "sensitivity_error": sensitivity,
        "predicted": binomial(depth, alpha, trace.steps) if euler else unknown,
        "poisson": poisson(depth, step * alpha),
        "mixture": mixture,
    }
    steps, mixed = (
        np.array([settled_from(curve, level) or math.nan for level in task.tolerances]) for curve in (run.errors, mixture)
    )
    predicted = np.array([due(simulator, task.network, alpha, level) for level in task.tolerances])
    sent = np.cumsum(trace.messages.per_step()) / len(task.inputs)
    updates = 2 * sum(p.size for p in trace.network.dynamic) * getattr(simulator, "stages", 1)
    summary = {
        "backend": task.name,
        "alpha": alpha,
        "depth": depth,
        "tolerance": np.array(task.tolerances),
        "steps": steps,
        "time": steps * alpha,
        "predicted_steps": predicted,
        "predicted_time": predicted * alpha,
        "poisson_time": np.array([poisson_time(depth, level) for level in task.tolerances]),
        "mixture_steps": mixed,
        "mixture_time": mixed * alpha,
        "ratio_to_unit_steps": steps / (2 * depth),
        "updates": updates * steps,
        "messages": np.array([math.nan if math.isnan(n) else sent[int(n) - 1] for n in steps]),
        "seconds": run.seconds * steps,
    }
    return _Curve(rows, summary)


def _batch(data: object, samples: int | None) -> tuple[Any, Any]:
    """Return the first samples of the data. Raises DataError and OptionError."""
    if isinstance(data, Dataset):
        data = (data.inputs, data.targets)
    if not isinstance(data, tuple) or len(data) != 2:
        raise DataError("data", f"is {type(data).__name__}", "pass a pair (inputs, targets) or a Dataset")
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, Integral) or samples < 1):
        raise OptionError("samples", f"{samples!r} is no number of samples", "use an integer of at least 1, or None for all")
    try:
        return data[0][:samples], data[1][:samples]
    except TypeError:
        raise DataError("data", "holds what are no arrays", "pass a pair (inputs (samples, n_input), targets)") from None


def _named(backends: object) -> dict[str, str | Backend]:
    """Return the backends by their names in the tables. Raises what `resolve` raises, and OptionError."""
    if isinstance(backends, Mapping):
        named = {str(name): backend for name, backend in backends.items()}
        for backend in named.values():
            resolve(backend)
    elif isinstance(backends, Sequence) and not isinstance(backends, (str, bytes)):
        named = {}
        for backend in backends:
            name = resolve(backend).name if not isinstance(backend, str) else backend
            resolve(backend)
            if name in named:
                raise OptionError("backends", f"hold {name!r} twice", "tell them apart: pass {name: backend}")
            named[name] = backend
    else:
        raise OptionError("backends", f"{backends!r} are no list", 'pass for example ["reference"]')
    if not named:
        raise OptionError("backends", "are none", 'pass for example ["reference"]')
    return named


def _alphas(alphas: object) -> tuple[float, ...]:
    """Return the step sizes. Raises OptionError."""
    return tuple(dict.fromkeys(check_step_size("alphas", value) for value in check_list("alphas", alphas, ALPHAS)))
