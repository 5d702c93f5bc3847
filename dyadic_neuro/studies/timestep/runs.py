"""One relaxation on one simulator, run for as long as the gradient takes to settle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, deployed, resolve
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import predicted_steps, relax
from dyadic_neuro.studies.timestep.settling import gradient_errors, settled_from
from dyadic_neuro.trace import Trace

_SPARE = 2  # steps beyond the predicted ones, so that "stays" means something
_LONGEST = 4  # times the predicted steps, after which a run counts as one that does not settle


@dataclass(frozen=True, eq=False)
class Run:
    """A run, after the `first` one of a single step, in which what has to be compiled was.

    `errors` are of the gradient at the end of each step, (steps,), `seconds` the wall clock of the run divided by its steps:
    what any run takes, however short, is in them.
    """

    first: Trace
    trace: Trace
    errors: Array
    seconds: float


@cache
def kept(name: str) -> Backend:
    """Return the one object of a named backend that this process has: some compile a circuit once for an object."""
    return resolve(name)


def due(simulator: Backend, network: Network, alpha: float, tolerance: float) -> int:
    """Return the steps after which this simulator is expected within `tolerance`. Raises CycleError and OptionError."""
    substrate, settling = getattr(simulator, "substrate", None), getattr(simulator, "settling_steps", None)
    return predicted_steps(deployed(simulator, network), alpha, tolerance, substrate, settling)


def enough(simulator: Backend, network: Network, alpha: float, tolerance: float) -> int:
    """Return steps that should show that the error stays within `tolerance`. Raises as `due`."""
    return due(simulator, network, alpha, 0.1 * tolerance) + _SPARE


def settle(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    simulator: Backend,
    *,
    alpha: float,
    tolerance: float,
    steps: int | None = None,
) -> Run:
    """Relax for these `steps`, or until the gradient stays within `tolerance`, at most four times as long as it should take.

    Raises as `relax`.
    """
    count = enough(simulator, network, alpha, tolerance) if steps is None else steps
    longest = _LONGEST * count if steps is None else steps
    first = relax(network, inputs, targets, backend=simulator, alpha=alpha, steps=1)
    while True:
        began = time.perf_counter()
        trace = relax(network, inputs, targets, backend=simulator, alpha=alpha, steps=count)
        seconds = (time.perf_counter() - began) / count
        errors = gradient_errors(trace)
        if count >= longest or settled_from(errors, tolerance) is not None:
            return Run(first, trace, errors, seconds)
        count = min(2 * count, longest)
