"""How backends agree with each other: the same networks on all of them, beside the slow twin and the oracle, step by step.

`measure` takes one backend, `measure_all` every one that is installed. What a backend cannot do is told with the reason that
its `unsupported` gives; limits are those of `tolerances`. `conformance` asks more of one backend.
"""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, available, dt_over_tau, resolve, runs_on, version_of
from dyadic_neuro.dynamics import State, gradients, rates
from dyadic_neuro.errors import MissingExtraError, SimulatorTimeoutError, UnknownNameError
from dyadic_neuro.network import in_floats
from dyadic_neuro.oracle import backprop, descend
from dyadic_neuro.relaxation import relax
from dyadic_neuro.testing import networks, orders, problems, tolerances
from dyadic_neuro.testing.latency import steps_per_hop
from dyadic_neuro.testing.problems import Problem
from dyadic_neuro.testing.timing import Timing, timed
from dyadic_neuro.testing.tolerances import EXACT, LEARNED, SETTLED
from dyadic_neuro.testing.twin import by_step, cosine, follow
from dyadic_neuro.trace import Trace, relative_error
from dyadic_neuro.training import train

QUANTITIES: Mapping[str, str] = {
    "potentials": "largest difference to the slow twin's potentials at any step",
    "sensitivities": "largest difference to the slow twin's sensitivities at any step",
    "gradients": "largest difference to the slow twin's gradients at any step, relative to backpropagation's",
    "backpropagation": "what the synapses read in the end, relative error to backpropagation",
    "direction": "cosine between that and backpropagation's gradient, all parameters together",
    "first exact": "step from which the gradient is backpropagation's (with dt < tau: within 1e-8)",
    "hop": "steps from a change of the input, or of the target, to the first sign of it, per hop",
    "learning": "learned parameters, relative difference to gradient descent by the oracle",
    "messages": "messages along projections until it is exact, a sample of 4-6-5-3; none more or less than the schedule sends",
}
"""What is measured, in this order."""
CURVES = ("potentials", "sensitivities", "gradients", "backpropagation")
DUE = 2 * 3  # 2D of the networks
_MORE = 2  # steps after 2D
_LONGER = (200, 2000, 20_000)  # steps, of which the fewest are taken that tell the time of one
_RATE, _WINDOWS, _BATCH = 0.2, 4, 3


@dataclass(frozen=True)
class Measure:
    """One quantity: its verdict is "passed", "failed", "unsupported" (with the reason), or "told" where no law judges it."""

    quantity: str
    verdict: str
    value: float | None = None
    limit: float | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Agreement:
    """What was found of one backend.

    `curves` hold by step (steps + 1,) the worst over the networks: the differences to the slow twin, and under
    "backpropagation" the relative error of the gradient to backpropagation's (NaN at step 0, which has no gradient). `stride` is
    how many steps take as long as one of those of which 2D are enough: 1 unless dt < tau. `build_s` is the time of the first
    run that steps do not explain (opening, building, compiling), `step_s` that of a step of one sample (either is None where it
    is too short to tell). `error` says why there is nothing: what was raised, or what must be installed (`missing`).
    """

    backend: str
    runs_on: str = "unknown"
    alpha: float = 1.0
    measures: Mapping[str, Measure] = field(default_factory=dict)
    curves: Mapping[str, Array] = field(default_factory=dict)
    stride: float = 1.0
    build_s: float | None = None
    step_s: float | None = None
    unsupported: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    missing: bool = False

    @property
    def verdict(self) -> str:
        """Of all measures: "failed" if one failed or the backend raised, "missing", "approximate", or "passed"."""
        if self.missing:
            return "missing"
        if self.error or any(m.verdict == "failed" for m in self.measures.values()):
            return "failed"
        return "approximate" if self.measures["backpropagation"].verdict == "unsupported" else "passed"

    def record(self) -> dict[str, Any]:
        """Return all of it as JSON has it; what is not a finite number is null."""
        measures = {
            name: {"verdict": m.verdict, "value": _finite(m.value), "limit": _finite(m.limit), "reason": m.reason}
            for name, m in self.measures.items()
        }
        facts = {"backend": self.backend, "verdict": self.verdict, "runs_on": self.runs_on, "alpha": self.alpha}
        facts |= {"error": self.error, "build_s": self.build_s, "step_s": self.step_s, "steps_a_unit_step": self.stride}
        curves = {name: [_finite(value) for value in curve.tolist()] for name, curve in self.curves.items()}
        return facts | {"measures": measures, "by_step": curves, "unsupported": dict(self.unsupported)}


def measure_all(only: Iterable[str] | None = None, *, limit_s: float = 600.0) -> Iterator[Agreement]:
    """Measure every known backend, or those named in `only`, and yield what was found as it is there.

    What is not installed, what raises, and what takes longer than `limit_s` seconds (where the system has timers, in the main
    thread) is a row that says so, and the others go on. Raises UnknownNameError before any runs.
    """
    known = sorted(available(), key=lambda name: (name != "reference", name))
    wanted = known if only is None else list(only)
    for name in wanted:
        if name not in known:
            raise UnknownNameError("backend", f"{name!r} is not a backend", f"use some of {known}")
    return (_guarded(name, limit_s) for name in wanted)


def versions() -> dict[str, str]:
    """Return the version of each simulator that may be installed, of NumPy, of Python and of this project."""
    names = ("dyadic-neuro", "numpy", "lava-nc", "brian2", "nengo", "nengo-loihi")
    return {"Python": platform.python_version()} | {name: version_of(name) for name in names}


def _guarded(name: str, limit_s: float) -> Agreement:
    found = Agreement(name)
    try:
        backend = resolve(name)
        found = Agreement(name, runs_on(backend), backend.alpha, unsupported=backend.unsupported)
        with _within(name, limit_s), _closing(backend):
            return measure(backend, name)
    except MissingExtraError as error:
        return Agreement(name, runs_on="nothing", error=error.fix, missing=True)
    except Exception as error:  # noqa: BLE001  (whatever a backend throws is a result)
        return Agreement(name, found.runs_on, found.alpha, unsupported=found.unsupported, error=_named(error))


def measure(backend: Backend, name: str | None = None) -> Agreement:
    """Relax and learn on one backend, and return how far it is from the twin and from the oracle.

    Raises what the backend raises when it relaxes; what it raises later, or when it learns, is a failed measure.
    """
    approximate = getattr(backend, "cosine", None) is not None
    first, *others = problems.shown().values()
    trace, timing = _timed(backend, first, approximate=approximate)
    steps = [_steps(backend, problem, approximate=approximate) for problem in others]
    runs = [(first, trace), *((p, relax(*p, backend=backend, steps=n)) for p, n in zip(others, steps, strict=True))]
    found = [_curves(problem, run) for problem, run in runs]
    length = min(len(curve) for curves in found for curve in curves.values())
    worst = {key: np.max([curves[key][:length] for curves in found], axis=0) for key in CURVES}
    judge = _Judge(backend, runs, worst, approximate=approximate)
    asked: dict[str, Callable[[str], Measure]] = {
        **dict.fromkeys(CURVES[:3], judge.trajectory),
        "backpropagation": judge.backpropagation,
        "direction": judge.direction,
        "first exact": judge.first_exact,
        "hop": judge.hop,
        "learning": judge.learning,
        "messages": judge.messages,
    }
    measures = {quantity: _caught(quantity, asked[quantity]) for quantity in QUANTITIES}
    stride = 1.0 if backend.alpha == 1.0 else (length - 1) / DUE
    title = backend.name if name is None else name
    unsupported = dict(backend.unsupported)
    seconds = timing.build_s, timing.step_s
    return Agreement(title, runs_on(backend), backend.alpha, measures, worst, stride, *seconds, unsupported)


@dataclass(frozen=True)
class _Judge:
    """Turns what was run into measures, one method each."""

    backend: Backend
    runs: list[tuple[Problem, Trace]]
    curves: Mapping[str, Array]
    approximate: bool

    def trajectory(self, quantity: str) -> Measure:
        """Hold every recorded step to the twin."""
        own = self.backend.tolerance
        worst = float(np.nanmax(self.curves[quantity]))
        if self.approximate:
            return self._not_exact(quantity, "exact-at-2D", worst)
        return _at_most(quantity, worst, max(own, EXACT.limit) if quantity == "gradients" else own)

    def backpropagation(self, quantity: str) -> Measure:
        """Hold what the synapses read in the end to the oracle."""
        worst = max(max(relative_error(run.gradients, backprop(*problem)).values()) for problem, run in self.runs)
        if self.approximate:
            return self._not_exact(quantity, "exact-at-2D", worst)
        return _at_most(quantity, worst, max(EXACT.limit, self.backend.tolerance))

    def direction(self, quantity: str) -> Measure:
        """Hold the direction to what was promised."""
        least = float(np.min([cosine(run.gradients, backprop(*problem)) for problem, run in self.runs]))
        limit = tolerances.direction(getattr(self.backend, "cosine", None))
        return Measure(quantity, "passed" if least >= limit else "failed", least, limit)

    def first_exact(self, quantity: str) -> Measure:
        """Find the step from which the gradient stays exact."""
        if self.approximate:
            return self._not_exact(quantity, "exact-at-2D", None)
        slow = self.backend.alpha != 1.0
        errors = self.curves["backpropagation"]
        limit = SETTLED.limit if slow else max(EXACT.limit, self.backend.tolerance)
        late = np.flatnonzero(~(errors <= limit))
        step = int(late[-1]) + 1 if len(late) else 0
        found = float(step) if step < len(errors) else None
        if slow:
            law = orders.settled(self.backend, self.runs[0][0][0], tolerance=SETTLED.limit)
            return Measure(quantity, "told", found, None, f"dt is {dt_over_tau(self.backend):.3g} tau: predicted are {law} steps")
        return Measure(quantity, "passed" if found == DUE else "failed", found, float(DUE))

    def hop(self, quantity: str) -> Measure:
        """Count the steps that a change takes."""
        if self.approximate:
            return self._not_exact(
                quantity, "arrival", None, "the first sign of a change is below what spikes or integers resolve"
            )
        ratios = np.concatenate([steps_per_hop(self.backend, problem) for problem, _ in self.runs])
        farthest = float(ratios[np.argmax(np.abs(ratios - 1.0))])
        return Measure(quantity, "passed" if farthest == 1.0 else "failed", farthest, 1.0)

    def learning(self, quantity: str) -> Measure:
        """Learn some windows, and hold the parameters to plain gradient descent."""
        if "learning" in self.backend.unsupported:
            return Measure(quantity, "unsupported", reason=self.backend.unsupported["learning"])
        worst = 0.0
        for (net, _, _), size in zip([problem for problem, _ in self.runs], (1, _BATCH), strict=True):
            x, y = networks.batch(net, 21, _WINDOWS * size)
            window = None if self.approximate else orders.settled(self.backend, net, switched=True)
            options: dict[str, Any] = {"batch_size": size, "learning_rate": _RATE, "shuffle": False, "progress": False}
            learned = train(net, (x, y), backend=self.backend, window=window, **options).network.parameters
            wanted = descend(net, x, y, np.arange(len(x)).reshape(-1, size), _RATE).parameters
            worst = max(worst, *relative_error(learned, wanted).values())
            if self.approximate:  # one network, and how far its weights went astray beside how far they went
                moved, due = ({key: part[key] - net.parameters[key] for key in wanted} for part in (learned, wanted))
                least, limit = cosine(moved, due), tolerances.PROMISED.limit
                return Measure(quantity, "passed" if least >= limit else "failed", least, limit, "the cosine of what was learned")
        return _at_most(quantity, worst, max(LEARNED.limit, self.backend.tolerance))

    def messages(self, quantity: str) -> Measure:
        """Count the messages of a sample, and hold each to the schedule."""
        run = self.runs[0][1]
        if "ledger" in self.backend.unsupported or self.approximate:
            value = run.messages.total() / len(run.inputs)
            return self._not_exact(quantity, "ledger", value, "it sends by a law of its own")
        wrong = 0
        for problem, trace in self.runs:
            count, shape = len(problem[1]), orders.order(self.backend, *problem, steps=trace.steps)
            due = messages.expected(
                trace.network, shape.schedule, trace.steps, count, by_step=True, window=trace.steps, learning=False
            )
            wrong += len(set(trace.messages) ^ set(due))
        steps = DUE if self.backend.alpha == 1.0 else run.steps
        sent = float(run.messages.per_step()[:steps].sum()) / len(run.inputs)
        return Measure(quantity, "failed" if wrong else "passed", sent, reason=_rows(wrong))

    def _not_exact(self, quantity: str, case: str, value: float | None, otherwise: str = "it approximates") -> Measure:
        return Measure(quantity, "unsupported", value, reason=f"not exact: {self.backend.unsupported.get(case, otherwise)}")


def _steps(backend: Backend, problem: Problem, *, approximate: bool) -> int | None:
    """Return the steps of a run: two more than 2D, or until nothing is left to see, or (None) as many as the backend likes."""
    if approximate:
        return None
    return orders.settled(backend, problem[0]) + (_MORE if backend.alpha == 1.0 else 0)


def _timed(backend: Backend, problem: Problem, *, approximate: bool) -> tuple[Trace, Timing]:
    """Return the trace of the usual run, and what building and a step take."""
    usual = orders.order(backend, *problem, steps=_steps(backend, problem, approximate=approximate))
    if backend.alpha == 1.0 and not approximate:
        longer = [orders.order(backend, *problem, steps=steps, record="last") for steps in _LONGER]
        timing = timed(backend, problem[0], usual, longer)
        return timing.first, timing
    short = orders.order(backend, *problem, steps=max(1, usual.steps // 8))  # so few that they hide little of the building
    timing = timed(backend, problem[0], short, [usual])
    return timing.last, timing


def _curves(problem: Problem, trace: Trace) -> dict[str, Array]:
    """Return the differences to the twin, and the error to backpropagation, by step.

    In the last step that is the error of what the synapses did read, which may be an average, and before of what they would
    have read.
    """
    net, (_, x, y) = in_floats(trace.network), problem
    wanted = follow((net, x, y), trace.steps, State.zero(net, len(x)), trace.alpha)
    right = backprop(*problem)
    twins, errors = [np.nan], [np.nan]
    for t in range(1, trace.steps + 1):
        found = trace.gradients_at(t)
        due = trace.restore(gradients(net, wanted[t].sensitivities, rates(net, wanted[t - 1], x)))
        twins.append(_farthest(found, due, right))
        errors.append(_farthest(found, right, right))
    errors[-1] = _farthest(trace.gradients, right, right)
    return {
        "potentials": by_step(trace.potentials, [state.potentials for state in wanted]),
        "sensitivities": by_step(trace.sensitivities, [state.sensitivities for state in wanted]),
        "gradients": np.array(twins),
        "backpropagation": np.array(errors),
    }


def _farthest(found: Mapping[str, Array], due: Mapping[str, Array], scale: Mapping[str, Array]) -> float:
    """Return the largest difference, relative to the largest entry of `scale` under its key; infinite if there are NaN."""
    gaps = [float(np.abs(found[key] - due[key]).max()) / (float(np.abs(scale[key]).max()) or 1.0) for key in due]
    return float("inf") if np.isnan(gaps).any() else max(gaps)


def _at_most(quantity: str, value: float, limit: float) -> Measure:
    return Measure(quantity, "passed" if value <= limit else "failed", value, limit)


def _caught(quantity: str, judge: Callable[[str], Measure]) -> Measure:
    try:
        return judge(quantity)
    except SimulatorTimeoutError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever a backend throws is a result)
        return Measure(quantity, "failed", reason=_named(error))


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _rows(wrong: int) -> str:
    return f"{wrong} rows of the ledgers differ" if wrong else ""


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


@contextmanager
def _closing(backend: Backend) -> Iterator[None]:
    """Let a backend that keeps what it has compiled forget it in the end."""
    try:
        yield
    finally:
        getattr(backend, "close", lambda: None)()


@contextmanager
def _within(name: str, limit_s: float) -> Iterator[None]:
    """Raise SimulatorTimeoutError in what takes longer."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: FrameType | None) -> None:
        raise SimulatorTimeoutError(name, f"took longer than {limit_s:g} s", "give it more time, or leave it out")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
