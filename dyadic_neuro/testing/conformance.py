"""The suite that any backend runs: `check(backend)` holds it to DESIGN section 2, case by case.

Every case relaxes or learns small seeded networks and compares with code that the backend does not share: repeated
`dynamics.step` for trajectories, the oracle for gradients and learning. A case that a backend cannot do stands in its
`unsupported`, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dyadic_neuro import dynamics, messages
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, Session
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import CycleError, DataError, DyadicError, OptionError, SessionClosedError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop, descend
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import prepare, relax
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import networks
from dyadic_neuro.trace import Trace, relative_error
from dyadic_neuro.training import train

EXACT = 1e-12  # rounding of a few hundred float64 operations, relative to the largest entry
LEARNED = 1e-10  # ... of some hundred updates after each other
WRONG = 1e-6  # an error that no rounding explains


@dataclass(frozen=True)
class Finding:
    """What a case measured: it holds when `measured` is at most (or, `at_least`, no less than) `limit`."""

    measured: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the law holds."""
        return bool(self.measured >= self.limit if self.at_least else self.measured <= self.limit)


@dataclass(frozen=True)
class Case:
    """A law: `run(backend)` measures how well the backend keeps it."""

    name: str
    law: str
    run: Callable[[Backend], Finding]


@dataclass(frozen=True)
class Result:
    """The verdict on one case: "passed", "failed" or "unsupported", with the numbers or the reason."""

    case: str
    law: str
    verdict: str
    measured: float | None
    limit: float | None
    reason: str
    seconds: float


def check(backend: Backend, only: Iterable[str] | None = None) -> Iterator[Result]:
    """Run the cases (all, or those named in `only`) and yield each result as it is there.

    Raises UnknownNameError for a case that does not exist, before any runs.
    """
    wanted = [case.name for case in CASES] if only is None else list(only)
    for name in wanted:
        if name not in {case.name for case in CASES}:
            raise UnknownNameError("case", f"no case is called {name!r}", f"use some of {[case.name for case in CASES]}")
    return (_result(case, backend) for case in CASES if case.name in wanted)


def _result(case: Case, backend: Backend) -> Result:
    if case.name in backend.unsupported:
        return Result(case.name, case.law, "unsupported", None, None, backend.unsupported[case.name], 0.0)
    began = time.perf_counter()
    try:
        finding = case.run(backend)
    except Exception as error:  # noqa: BLE001  (whatever a backend under test throws is a result)
        return Result(case.name, case.law, "failed", None, None, f"{type(error).__name__}: {error}", time.perf_counter() - began)
    verdict = "passed" if finding.holds else "failed"
    return Result(case.name, case.law, verdict, finding.measured, finding.limit, "", time.perf_counter() - began)


# Cases

Problem = tuple[Network, Array, Array]


def _problems() -> list[Problem]:
    """Chains and networks with skip connections, batches of 1 and 32, all losses."""
    nets = [
        (networks.chain(1, 1, loss="squared_error"), 1),
        (networks.chain(2, 4, activation="tanh", loss="cross_entropy"), 32),
        (networks.dag(3, 4, activation="sigmoid", loss="binary_cross_entropy"), 32),
        (networks.dag(4, 5, loss="cross_entropy"), 1),
        (networks.dag(5, 4, activation="tanh", parts=True), 8),
    ]
    return [(net, *networks.batch(net, i, size)) for i, (net, size) in enumerate(nets)]


def _twin(
    problem: Problem, steps: int, initial: State, alpha: float = 1.0, backward: Mapping[str, Array] | None = None
) -> list[State]:
    """Return the states 0 .. steps by the slow, obvious way."""
    states = [initial]
    for _ in range(steps):
        states.append(dynamics.step(problem[0], states[-1], problem[1], problem[2], alpha, backward))
    return states


def _difference(trace: Trace, states: list[State]) -> float:
    """Return the largest difference between a trace and the states that it should have gone through."""
    worst = 0.0
    for name in trace.potentials:
        for found, wanted in (
            (trace.potentials[name], [state.potentials[name] for state in states]),
            (trace.sensitivities[name], [state.sensitivities[name] for state in states]),
        ):
            if found.shape != (len(wanted), *wanted[0].shape) or found.dtype != wanted[0].dtype:
                return float("inf")
            worst = max(worst, float(np.abs(found - np.stack(wanted)).max()))
    return worst


def _trajectory(backend: Backend) -> Finding:
    worst = 0.0
    for problem in _problems():
        net, x, y = problem
        steps = net.relaxation_steps + 1
        trace = relax(net, x, y, backend=backend, steps=steps)
        worst = max(worst, _difference(trace, _twin(problem, steps, State.zero(net, len(x)))))
    return Finding(worst, backend.tolerance)


def _slow_steps(backend: Backend) -> Finding:
    problem = _problems()[2]
    net, x, y = problem
    initial = networks.state(net, 5, len(x))
    trace = relax(net, x, y, backend=backend, steps=20, alpha=0.3, initial=initial)
    return Finding(_difference(trace, _twin(problem, 20, initial, alpha=0.3)), backend.tolerance)


def _any_state(backend: Backend) -> Finding:
    problem = _problems()[1]
    net, x, y = problem
    initial = networks.state(net, 6, len(x), scale=100.0)
    trace = relax(net, x, y, backend=backend, initial=initial)
    error = max(relative_error(trace.gradients, backprop(net, x, y)).values())
    return Finding(max(error, _difference(trace, _twin(problem, net.relaxation_steps, initial))), max(EXACT, backend.tolerance))


def _exact(backend: Backend) -> Finding:
    worst = 0.0
    for net, x, y in _problems():
        wanted = backprop(net, x, y)
        for more in (0, 3):
            trace = relax(net, x, y, backend=backend, steps=net.relaxation_steps + more, record="last")
            if set(trace.gradients) != set(wanted) or any(trace.gradients[key].shape != wanted[key].shape for key in wanted):
                return Finding(float("inf"), EXACT)
            worst = max(worst, *relative_error(trace.gradients, wanted).values())
    return Finding(worst, max(EXACT, backend.tolerance))


def _not_before(backend: Backend) -> Finding:
    least = float("inf")
    for net, x, y in _problems()[1:3]:
        trace = relax(
            net, x, y, backend=backend, steps=net.relaxation_steps - 1, initial=networks.state(net, 7, len(x)), record="last"
        )
        error = relative_error(trace.gradients, backprop(net, x, y))
        first = [f"{name}.bias" for name, height in net.heights.items() if height == net.depth - 1 and name != net.input]
        least = min(least, *(error[key] for key in first))
    return Finding(least, WRONG, at_least=True)


def _arrival(backend: Backend) -> Finding:
    """Measure the steps by which any potential or sensitivity is exact too late, or too early."""
    worst = 0
    for net, x, y in _problems()[1:3]:
        trace = relax(net, x, y, backend=backend, steps=net.relaxation_steps + 2, initial=networks.state(net, 8, len(x)))
        for name in trace.potentials:
            for rows, due in (
                (trace.potentials[name], net.depths[name]),
                (trace.sensitivities[name], net.depth + 1 + net.heights[name]),
            ):
                wrong = np.flatnonzero(np.abs(rows - rows[-1]).max(axis=(1, 2)) > EXACT * max(1.0, float(np.abs(rows[-1]).max())))
                worst = max(worst, abs((int(wrong[-1]) + 1 if len(wrong) else 0) - due))
    return Finding(worst, 0)


def _wavefront(backend: Backend) -> Finding:
    worst = 0.0
    for problem in _problems()[:3]:
        net, x, y = problem
        initial = networks.state(net, 9, len(x))
        steps = net.relaxation_steps + 2
        trace = relax(net, x, y, backend=backend, schedule="wavefront", initial=initial, steps=steps)
        states, schedule = [initial], Schedule.of(net, "wavefront")
        for t in range(1, steps + 1):
            old, new = states[-1], dynamics.step(net, states[-1], x, y)
            potentials = {n: (new if schedule.potentials[n].updates(t) else old).potentials[n] for n in new.potentials}
            states.append(
                State(
                    potentials,
                    {n: (new if schedule.sensitivities[n].updates(t) else old).sensitivities[n] for n in new.potentials},
                )
            )
        worst = max(worst, _difference(trace, states))
        whole = relax(net, x, y, backend=backend, schedule="wavefront", initial=initial, record="last")
        worst = max(worst, *relative_error(whole.gradients, backprop(net, x, y)).values())
    return Finding(worst, max(EXACT, backend.tolerance))


def _last(backend: Backend) -> Finding:
    net, x, y = _problems()[1]
    whole, last = (relax(net, x, y, backend=backend, record=record) for record in ("all", "last"))
    worst = max(float(np.abs(last.potentials[n][0] - u[-1]).max()) for n, u in whole.potentials.items())
    worst = max(worst, *(float(np.abs(last.sensitivities[n][0] - s[-1]).max()) for n, s in whole.sensitivities.items()))
    return Finding(worst + abs(last.messages.total() - whole.messages.total()), 0.0)


def _other_copies(backend: Backend) -> Finding:
    problem = _problems()[2]
    net, x, y = problem
    rng = np.random.default_rng(10)
    copies = {p.name: rng.normal(size=p.weights.T.shape) for p in net.projections if p.source != net.input}
    trace = relax(net, x, y, backend=backend, backward=copies)
    return Finding(
        _difference(trace, _twin(problem, net.relaxation_steps, State.zero(net, len(x)), backward=copies)), backend.tolerance
    )


def _cycle(backend: Backend) -> Finding:
    rng = np.random.default_rng(11)
    populations = [
        Population("input", 3),
        Population("a", 4, "tanh", rng.normal(size=4)),
        Population("b", 4, "tanh"),
        Population("output", 2),
    ]
    pairs = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output"), ("a", "a"), ("output", "b")]
    size = {population.name: population.size for population in populations}
    net = Network(populations, [Projection(s, t, rng.normal(0.0, 0.3, (size[t], size[s]))) for s, t in pairs])
    problem = (net, *networks.batch(net, 11, 3))
    trace = relax(*problem, backend=backend, steps=9)
    return Finding(_difference(trace, _twin(problem, 9, State.zero(net, 3))), backend.tolerance)


def _activations(backend: Backend) -> Finding:
    """One chain with every activation in it."""
    names = sorted(ACTIVATIONS)
    rng = np.random.default_rng(12)
    populations = [
        Population("input", 4),
        *(Population(f"hidden{i}", 4, n, rng.normal(size=4)) for i, n in enumerate(names, 1)),
        Population("output", 3),
    ]
    net = Network(
        populations, [Projection(a.name, b.name, rng.normal(0.0, 0.6, (b.size, a.size))) for a, b in pairwise(populations)]
    )
    x, y = networks.batch(net, 12, 5)
    return Finding(
        max(relative_error(relax(net, x, y, backend=backend, record="last").gradients, backprop(net, x, y)).values()),
        max(EXACT, backend.tolerance),
    )


def _single_precision(backend: Backend) -> Finding:
    net = networks.chain(13, 3, activation="tanh", loss="cross_entropy", dtype="float32")
    x, y = networks.batch(net, 13, 8)
    trace = relax(net, x, y, backend=backend)
    arrays = [*trace.potentials.values(), *trace.sensitivities.values(), *trace.gradients.values()]
    wrong = sum(array.dtype != np.float32 for array in arrays)
    # float32 keeps 7 digits; a dozen products and sums lose about one of them
    return Finding(wrong + max(relative_error(trace.gradients, backprop(net, x, y)).values()), 1e-5)


def _ledger(backend: Backend) -> Finding:
    """Count the rows by which the ledger differs from what the schedule implies."""
    differing = 0
    for schedule in ("free", "wavefront"):
        net, x, y = _problems()[2]
        trace = relax(net, x, y, backend=backend, schedule=schedule)
        wanted = messages.expected(
            net, Schedule.of(net, schedule), trace.steps, len(x), by_step=True, window=trace.steps, learning=False
        )
        differing += len(set(trace.messages) ^ set(wanted))
    return Finding(differing, 0)


def _learning(backend: Backend) -> Finding:
    worst = 0.0
    for net, size in (
        (networks.chain(14, 3, activation="tanh", loss="cross_entropy"), 1),
        (networks.dag(15, 4, activation="sin", loss="cross_entropy"), 8),
    ):
        x, y = networks.batch(net, 14, 24)
        result = train(net, (x, y), backend=backend, epochs=2, batch_size=size, learning_rate=0.2, shuffle=False)
        wanted = descend(net, x, y, [*np.arange(24).reshape(-1, size)] * 2, 0.2)
        worst = max(worst, *relative_error(result.network.parameters, wanted.parameters).values())
    return Finding(worst, max(LEARNED, backend.tolerance))


def _transposes(backend: Backend) -> Finding:
    worst = 0.0
    for size in (1, 8):
        net = networks.dag(15, 4, activation="tanh", loss="cross_entropy")
        result = train(net, networks.batch(net, 16, 24), backend=backend, epochs=1, batch_size=size, learning_rate=0.2)
        for copies in result.copies.values():
            if copies.backward is not None:
                difference = float(np.abs(copies.forward - copies.backward.T).max())
                worst = max(worst, difference if size > 1 or difference == 0.0 else float("inf"))  # one sample: bit for bit
    return Finding(worst, max(EXACT, backend.tolerance))


def _closing(backend: Backend) -> Finding:
    """Count calls after close that do anything but raise SessionClosedError."""
    net, x, y = _problems()[0]
    order = prepare(net, x, y, backend_alpha=backend.alpha)
    session = backend.open(net)
    first, second = session.relax(order), session.relax(order)
    wrong = int(_difference(second, [first.state(row) for row in range(first.steps + 1)]) != 0.0)
    session.close()
    session.close()
    try:
        session.relax(order)
    except SessionClosedError:
        return Finding(wrong, 0)
    return Finding(wrong + 1, 0)


class _Unopened:
    """A backend that notes when somebody opens it."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.alpha, self.tolerance, self.unsupported = (
            backend.name,
            backend.alpha,
            backend.tolerance,
            backend.unsupported,
        )
        self._backend = backend
        self.opened = 0

    def missing(self) -> str | None:
        return self._backend.missing()

    def open(self, network: Network) -> Session:
        self.opened += 1
        return self._backend.open(network)


def _typed_errors(backend: Backend) -> Finding:
    """Count bad orders that do not raise the right error, or that open a session first."""
    net, x, y = _problems()[1]
    watched = _Unopened(backend)
    loop = Network(
        [*net.populations],
        [
            *net.projections,
            Projection("hidden2", "hidden1", np.zeros((net.population("hidden1").size, net.population("hidden2").size))),
        ],
        net.cost,
    )
    orders: list[tuple[type[DyadicError], Callable[[], object]]] = [
        (DataError, lambda: relax(net, x[:, 1:], y, backend=watched)),
        (DataError, lambda: relax(net, np.full_like(x, np.nan), y, backend=watched)),
        (DataError, lambda: relax(net, x, np.full(len(x), 99), backend=watched)),
        (OptionError, lambda: relax(net, x, y, backend=watched, alpha=2.0)),
        (OptionError, lambda: relax(net, x, y, backend=watched, steps=0)),
        (OptionError, lambda: relax(net, x, y, backend=watched, schedule="backwards")),
        (CycleError, lambda: relax(loop, x, y, backend=watched)),
        (UnknownNameError, lambda: relax(net, x, y, backend=watched, backward={"input->hidden1": np.zeros((1, 1))})),
        (OptionError, lambda: train(net, (x, y), backend=watched, batch_size=1000)),
    ]
    wrong = 0
    for kind, order in orders:
        try:
            order()
        except kind:
            continue
        except Exception:  # noqa: BLE001  (any other error is the finding)
            wrong += 1
        else:
            wrong += 1
    return Finding(wrong + watched.opened, 0)


CASES = (
    Case("trajectory", "every potential and sensitivity equals the unit step's at every step", _trajectory),
    Case("slow-steps", "alpha < 1 follows z + alpha (G(z) - z)", _slow_steps),
    Case("exact-at-2D", "gradients equal backpropagation's at 2D, and stay so", _exact),
    Case("not-before-2D", "at 2D - 1 the farthest populations' gradients are still wrong", _not_before),
    Case("arrival", "u_v is exact from depth(v), s_v from D + 1 + height(v), not sooner nor later", _arrival),
    Case("any-initial-state", "both hold from any state, a hundred times too large", _any_state),
    Case("wavefront", "each state updates once a window, is held else, and is exact at 2D", _wavefront),
    Case("record-last", "the last step alone is the last of all", _last),
    Case("other-copies", "given W^T copies are used in place of the transposes", _other_copies),
    Case("cycles", "a network with cycles follows the unit step for explicit steps", _cycle),
    Case("activations", "every activation is exact at 2D", _activations),
    Case("single-precision", "a float32 network computes, and answers, in float32", _single_precision),
    Case("ledger", "the ledger holds every message, at its step, and no other", _ledger),
    Case("learning", "learning equals stochastic gradient descent on the oracle's gradients", _learning),
    Case("transposes", "both copies of a weight stay transposes; bit for bit with one sample a window", _transposes),
    Case("closing", "a session serves again and again, and after close only says that it is closed", _closing),
    Case("typed-errors", "bad orders raise their typed error before a session is opened", _typed_errors),
)
