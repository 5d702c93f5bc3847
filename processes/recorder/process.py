"""The recorder as a Lava Process: the way out of the circuit."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess
from dyadic_neuro.processes.slices import Plan, report_size


class Recorder(LocalProcess):
    """Receives states, reports and window losses through its ports and passes them on; it computes nothing.

    `state_in_0` ... come from the forward, then the sensitivity populations; `report_in_0` ... from every process in the
    order of `Plan.reports`; `window_in` from the loss.
    """

    def __init__(self, plan: Plan, failures: int, results: int) -> None:
        clock = plan.clock
        ports = [
            Inlet(f"report_in_{i}", (report_size(clock, links, contents),), "float64")
            for i, (links, contents) in enumerate(plan.reports())
        ]
        states = [part.potential for part in plan.forward] + [part.sensitivity for part in plan.sensitivity]
        if clock.by_step or clock.final_state:
            ports += [Inlet(f"state_in_{i}", state.shape, plan.dtype) for i, state in enumerate(states)]
        if plan.loss.learning:
            ports += [Inlet("window_in", (2,), "float64")]
        counts = (len(states), len(list(plan.reports())), plan.loss.learning)
        super().__init__("recorder", list(ports), counts, clock, failures, results=results)
