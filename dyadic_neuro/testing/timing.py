"""What building a circuit takes, apart from what its steps take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dyadic_neuro.backends.base import Backend, Relaxation, Session
from dyadic_neuro.network import Network
from dyadic_neuro.trace import Trace


@dataclass(frozen=True, eq=False)
class Timing:
    """The traces of the first and of the last run; seconds of all in the first that is no step, and of a step of one sample.

    Both are differences of what was measured, and None where that was too short to tell.
    """

    first: Trace
    last: Trace
    build_s: float | None
    step_s: float | None


def timed(backend: Backend, network: Network, short: Relaxation, longer: Sequence[Relaxation]) -> Timing:
    """Open a session, run a short order, and then longer ones until one takes twice as long.

    What the longer one takes more is the time of its steps, however much of a run is spent on anything else. Of two short runs
    the faster counts: the other has waited for something.
    """
    began = time.perf_counter()
    with backend.open(network) as session:
        first = session.relax(short)
        first_s = time.perf_counter() - began
        short_s = min(_run(session, short)[1] for _ in range(2))
        for order in longer:
            last, long_s = _run(session, order)
            if long_s > 2 * short_s:
                break
    step_s = (long_s - short_s) / (order.steps - short.steps)
    if step_s <= 0.0:
        return Timing(first, last, None, None)
    build_s = first_s - short.steps * step_s
    return Timing(first, last, build_s if build_s > 0.0 else None, step_s / len(short.inputs))


def _run(session: Session, order: Relaxation) -> tuple[Trace, float]:
    began = time.perf_counter()
    return session.relax(order), time.perf_counter() - began
