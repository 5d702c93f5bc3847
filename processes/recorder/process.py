"""The recorder as a Lava Process: the way out of the circuit."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess
from dyadic_neuro.processes.parts import AnyPlan
from dyadic_neuro.processes.slices import beside, report_size


class Recorder(LocalProcess):
    """Receives states, reports and window losses through its ports and passes them on; it computes nothing.

    `state_in_0` ..., `report_in_0` ... and `window_in_0` ... come from the processes in the order in which the plan goes
    through its states, reports and windows.
    """

    def __init__(self, plan: AnyPlan, failures: int, results: int) -> None:
        clock = plan.clock
        reports = [
            Inlet(f"report_in_{i}", (report_size(clock, links, contents),), "float64")
            for i, (links, contents) in enumerate(plan.reports())
        ]
        states = [Inlet(f"state_in_{i}", beside(contents), plan.dtype) for i, contents in enumerate(plan.states())]
        windows = [Inlet(f"window_in_{i}", shape, "float64") for i, shape in enumerate(plan.windows())]
        if not (clock.by_step or clock.final_state):
            states = []
        counts = (len(states), len(reports), len(windows))
        super().__init__("recorder", [*reports, *states, *windows], counts, clock, failures, results=results)
