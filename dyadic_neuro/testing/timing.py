"""What building a circuit takes, apart from what its steps take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dyadic_neuro.backends.base import Backend, Relaxation
from dyadic_neuro.network import Network
from dyadic_neuro.trace import Trace


@dataclass(frozen=True, eq=False)
class Timing:
    """The traces of the first and of the last run; seconds of all in the first that is no step, and of a step of one sample.

    `step_s` is None where the longest run was too short to tell.
    """

    first: Trace
    last: Trace
    build_s: float
    step_s: float | None


def timed(backend: Backend, network: Network, short: Relaxation, longer: Sequence[Relaxation]) -> Timing:
    """Open a session, run a short order twice, and then longer ones until one takes twice as long.

    What the longer one takes more is the time of its steps, however much of a run is spent on anything else.
    """
    began = time.perf_counter()
    with backend.open(network) as session:
        first = session.relax(short)
        first_s = time.perf_counter() - began
        began = time.perf_counter()
        session.relax(short)
        short_s = time.perf_counter() - began
        for order in longer:
            began = time.perf_counter()
            last = session.relax(order)
            more_s = time.perf_counter() - began - short_s
            if more_s > short_s:
                break
    step_s = more_s / (order.steps - short.steps)
    told = step_s > 0.0
    build_s = max(0.0, first_s - short.steps * step_s) if told else first_s
    return Timing(first, last, build_s, step_s / len(short.inputs) if told else None)
