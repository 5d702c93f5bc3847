"""The suite that any backend runs: `check(backend)` holds it to DESIGN section 2, case by case.

Every case relaxes or learns small seeded networks and compares with code that the backend does not share: repeated
`dynamics.step` for trajectories, the oracle for gradients and learning, with the limits of `tolerances`. A case that a backend
cannot do stands in its `unsupported`, with the reason. A backend whose dt is not tau steps with its own alpha, and takes until
it has settled where others take 2D.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyadic_neuro import dynamics, messages
from dyadic_neuro.backends.base import Backend, Session
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import CycleError, DataError, DyadicError, OptionError, SessionClosedError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop, descend
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import relax
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import integers, networks, problems, tolerances
from dyadic_neuro.testing.finding import Finding
from dyadic_neuro.testing.orders import order as order_of
from dyadic_neuro.testing.orders import settled
from dyadic_neuro.testing.tolerances import EXACT, LEARNED, SINGLE, WRONG
from dyadic_neuro.testing.twin import cosine, difference, follow
from dyadic_neuro.trace import relative_error
from dyadic_neuro.training import train


@dataclass(frozen=True)
class Case:
    """A law: `run(backend)` measures how well the backend keeps it. Some are of networks of `integers`, which it may not run."""

    name: str
    law: str
    run: Callable[[Backend], Finding]
    integers: bool = False


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
    if case.integers and not (getattr(backend, "fixed_point", False) and backend.alpha == 1.0):
        return Result(case.name, case.law, "unsupported", None, None, "runs no networks of integers in unit steps", 0.0)
    began = time.perf_counter()
    try:
        finding = case.run(backend)
    except Exception as error:  # noqa: BLE001  (whatever a backend under test throws is a result)
        return Result(case.name, case.law, "failed", None, None, f"{type(error).__name__}: {error}", time.perf_counter() - began)
    verdict = "passed" if finding.holds else "failed"
    return Result(case.name, case.law, verdict, finding.measured, finding.limit, "", time.perf_counter() - began)


# Cases

_LEARNED_FROM = 8  # samples


def _few(backend: Backend) -> list[problems.Problem]:
    """Return a chain and a network with skip connections, two samples each; tiny where they take seconds a sample."""
    if getattr(backend, "cosine", None) is not None:
        return problems.tiny()
    return [(net, x[:2], y[:2]) for net, x, y in problems.problems()[1:3]]


def _trajectory(backend: Backend) -> Finding:
    worst = 0.0
    for problem in problems.problems():
        net, x, y = problem
        steps = net.relaxation_steps + 1
        trace = relax(net, x, y, backend=backend, steps=steps)
        worst = max(worst, difference(trace, follow(problem, steps, State.zero(net, len(x)), backend.alpha)))
    return Finding(worst, backend.tolerance)


def _slow_steps(backend: Backend) -> Finding:
    problem = problems.problems()[2]
    net, x, y = problem
    initial = networks.state(net, 5, len(x))
    alpha = 0.3 if backend.alpha == 1.0 else backend.alpha
    trace = relax(net, x, y, backend=backend, steps=20, alpha=alpha, initial=initial)
    return Finding(difference(trace, follow(problem, 20, initial, alpha)), backend.tolerance)


def _any_state(backend: Backend) -> Finding:
    problem = problems.problems()[1]
    net, x, y = problem
    initial = networks.state(net, 6, len(x), scale=100.0)
    trace = relax(net, x, y, backend=backend, initial=initial, steps=settled(backend, net, tolerance=1e-20))
    error = max(relative_error(trace.gradients, backprop(net, x, y)).values())
    far = difference(trace, follow(problem, trace.steps, initial, backend.alpha))
    return Finding(max(error, far), max(EXACT.limit, backend.tolerance))


def _exact(backend: Backend) -> Finding:
    worst = 0.0
    for net, x, y in problems.problems():
        wanted = backprop(net, x, y)
        for more in (0, 3):
            trace = relax(net, x, y, backend=backend, steps=net.relaxation_steps + more, record="last")
            if set(trace.gradients) != set(wanted) or any(trace.gradients[key].shape != wanted[key].shape for key in wanted):
                return Finding(float("inf"), EXACT.limit)
            worst = max(worst, *relative_error(trace.gradients, wanted).values())
    return Finding(worst, max(EXACT.limit, backend.tolerance))


def _not_before(backend: Backend) -> Finding:
    least = float("inf")
    for net, x, y in _few(backend):
        trace = relax(
            net, x, y, backend=backend, steps=net.relaxation_steps - 1, initial=networks.state(net, 7, len(x)), record="last"
        )
        error = relative_error(trace.gradients, backprop(net, x, y))
        first = [f"{name}.bias" for name, height in net.heights.items() if height == net.depth - 1 and name != net.input]
        least = min(least, *(error[key] for key in first))
    return Finding(least, WRONG.limit, at_least=True)


def _arrival(backend: Backend) -> Finding:
    """Measure the steps by which any potential or sensitivity is exact too late, or too early."""
    worst = 0
    for net, x, y in problems.problems()[1:3]:
        trace = relax(net, x, y, backend=backend, steps=net.relaxation_steps + 2, initial=networks.state(net, 8, len(x)))
        for name in trace.potentials:
            for rows, due in (
                (trace.potentials[name], net.depths[name]),
                (trace.sensitivities[name], net.depth + 1 + net.heights[name]),
            ):
                limit = EXACT.limit * max(1.0, float(np.abs(rows[-1]).max()))
                wrong = np.flatnonzero(np.abs(rows - rows[-1]).max(axis=(1, 2)) > limit)
                worst = max(worst, abs((int(wrong[-1]) + 1 if len(wrong) else 0) - due))
    return Finding(worst, 0)


def _wavefront(backend: Backend) -> Finding:
    worst = 0.0
    for problem in problems.problems()[:3]:
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
        worst = max(worst, difference(trace, states))
        whole = relax(net, x, y, backend=backend, schedule="wavefront", initial=initial, record="last")
        worst = max(worst, *relative_error(whole.gradients, backprop(net, x, y)).values())
    return Finding(worst, max(EXACT.limit, backend.tolerance))


def _last(backend: Backend) -> Finding:
    net, x, y = _few(backend)[0]
    whole, last = (relax(net, x, y, backend=backend, record=record) for record in ("all", "last"))
    worst = max(float(np.abs(last.potentials[n][0] - u[-1]).max()) for n, u in whole.potentials.items())
    worst = max(worst, *(float(np.abs(last.sensitivities[n][0] - s[-1]).max()) for n, s in whole.sensitivities.items()))
    return Finding(worst + abs(last.messages.total() - whole.messages.total()), 0.0)


def _other_copies(backend: Backend) -> Finding:
    problem = problems.problems()[2]
    net, x, y = problem
    rng = np.random.default_rng(10)
    copies = {p.name: rng.normal(size=p.weights.T.shape) for p in net.projections if p.source != net.input}
    trace = relax(net, x, y, backend=backend, steps=net.relaxation_steps, backward=copies)
    wanted = follow(problem, trace.steps, State.zero(net, len(x)), backend.alpha, copies)
    return Finding(difference(trace, wanted), backend.tolerance)


def _cycle(backend: Backend) -> Finding:
    problem = problems.cyclic()
    trace = relax(*problem, backend=backend, steps=9)
    return Finding(difference(trace, follow(problem, 9, State.zero(problem[0], 3), backend.alpha)), backend.tolerance)


def _activations(backend: Backend) -> Finding:
    net, x, y = problems.every_activation()
    trace = relax(net, x, y, backend=backend, steps=settled(backend, net), record="last")
    error = max(relative_error(trace.gradients, backprop(net, x, y)).values())
    return Finding(error, max(EXACT.limit, backend.tolerance))


def _single_precision(backend: Backend) -> Finding:
    net = networks.chain(13, 3, activation="tanh", loss="cross_entropy", dtype="float32")
    x, y = networks.batch(net, 13, 8)
    trace = relax(net, x, y, backend=backend)
    arrays = [*trace.potentials.values(), *trace.sensitivities.values(), *trace.gradients.values()]
    wrong = sum(array.dtype != np.float32 for array in arrays)
    return Finding(wrong + max(relative_error(trace.gradients, backprop(net, x, y)).values()), SINGLE.limit)


def _ledger(backend: Backend) -> Finding:
    """Count the rows by which the ledger differs from what the schedule implies."""
    differing = 0
    for schedule in ("free", "wavefront") if backend.alpha == 1.0 else ("free",):
        net, x, y = problems.problems()[2]
        trace = relax(net, x, y, backend=backend, schedule=schedule, steps=net.relaxation_steps)
        wanted = messages.expected(
            net, Schedule.of(net, schedule), trace.steps, len(x), by_step=True, window=trace.steps, learning=False
        )
        differing += len(set(trace.messages) ^ set(wanted))
    return Finding(differing, 0)


def _learning(backend: Backend) -> Finding:
    worst = 0.0
    for net, size in (
        (networks.chain(2, 4, activation="tanh", loss="cross_entropy"), 1),
        (networks.dag(3, 4, activation="sin", loss="binary_cross_entropy"), 4),
    ):
        x, y = networks.batch(net, 14, _LEARNED_FROM)
        window = settled(backend, net, switched=True)
        options: dict[str, Any] = {"epochs": 2, "batch_size": size, "learning_rate": 0.2, "shuffle": False, "window": window}
        result = train(net, (x, y), backend=backend, **options)
        wanted = descend(net, x, y, [*np.arange(_LEARNED_FROM).reshape(-1, size)] * 2, 0.2)
        worst = max(worst, *relative_error(result.network.parameters, wanted.parameters).values())
    decayed = train(net, (x, y), backend=backend, **(options | {"epochs": 1, "weight_decay": 0.5}))
    wanted = descend(net, x, y, np.arange(_LEARNED_FROM).reshape(-1, size), 0.2, 0.5)
    worst = max(worst, *relative_error(decayed.network.parameters, wanted.parameters).values())
    return Finding(worst, max(LEARNED.limit, backend.tolerance))


def _transposes(backend: Backend) -> Finding:
    net, worst = networks.dag(3, 4, activation="tanh", loss="binary_cross_entropy"), 0.0
    window, data = settled(backend, net, switched=True), networks.batch(net, 16, _LEARNED_FROM)
    for size in (1, 4):
        result = train(net, data, backend=backend, epochs=1, batch_size=size, learning_rate=0.2, window=window)
        bit_for_bit = size == 1 and backend.alpha == 1.0
        for copies in result.copies.values():
            if copies.backward is not None:
                gap = float(np.abs(copies.forward - copies.backward.T).max())
                worst = max(worst, float("inf") if bit_for_bit and gap else gap)
    return Finding(worst, max(EXACT.limit, backend.tolerance))


def _direction(backend: Backend) -> Finding:
    runs = [(problem, relax(*problem, backend=backend, record="last")) for problem in _few(backend)]
    least = float(np.min([cosine(trace.gradients, backprop(*problem)) for problem, trace in runs]))
    return Finding(least, tolerances.direction(getattr(backend, "cosine", None)), at_least=True)


def _closing(backend: Backend) -> Finding:
    """Count calls after close that do anything but raise SessionClosedError."""
    net, x, y = problems.problems()[0]
    order = order_of(backend, net, x, y)
    session = backend.open(net)
    first, second = session.relax(order), session.relax(order)
    wrong = int(difference(second, [first.state(row) for row in range(first.steps + 1)]) != 0.0)
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
        self.settling_steps = getattr(backend, "settling_steps", None)
        self._backend = backend
        self.opened = 0

    def missing(self) -> str | None:
        return self._backend.missing()

    def open(self, network: Network) -> Session:
        self.opened += 1
        return self._backend.open(network)


def _typed_errors(backend: Backend) -> Finding:
    """Count bad orders that do not raise the right error, or that open a session first."""
    net, x, y = problems.problems()[1]
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
    Case("transposes", "both copies of a weight stay transposes; bit for bit with one sample a window of 2D", _transposes),
    Case("integers", "integers step as written, bit for bit, and end at integer backpropagation", integers.steps, integers=True),
    Case("integer-learning", "integer weights learn as written, bit for bit, in both copies", integers.learning, integers=True),
    Case("codings", "exact codings end at integer backpropagation, others as on the reference", integers.codings, integers=True),
    Case("direction", "gradients point along backpropagation's, as closely as the backend promises", _direction),
    Case("closing", "a session serves again and again, and after close only says that it is closed", _closing),
    Case("typed-errors", "bad orders raise their typed error before a session is opened", _typed_errors),
)
