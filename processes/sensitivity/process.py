"""A sensitivity population as a Lava Process."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess, Outlet
from dyadic_neuro.processes.slices import Clock, SensitivitySlice, report_size


class Sensitivity(LocalProcess):
    """A population's sensitivities (batch, n), with its own W^T copy of every projection that leaves the population.

    `sensitivity_in_0`, `sensitivity_in_1` ... receive the sensitivities of the populations above, `sensitivity_out` sends
    its own to those below. `partner_in` receives phi'(u), and when learning r, from the forward partner; `partner_out`
    hands over s, as others would hear it, in the last step of a window. The readout receives dC/du from the loss on `error_in`.
    """

    def __init__(self, record: SensitivitySlice, clock: Clock, dtype: str, failures: int) -> None:
        shape = record.sensitivity.shape
        ports: list[Inlet | Outlet] = [
            Inlet(f"sensitivity_in_{i}", (shape[0], copy.full_shape[1]), dtype) for i, (_, copy) in enumerate(record.feedback)
        ]
        if record.feedback:
            ports += [Inlet("partner_in", (1 if record.learning_rate is None else 2, *shape), dtype)]
        if record.sending is not None:
            ports += [Outlet("sensitivity_out", shape, dtype)]
        if record.readout:
            ports += [Inlet("error_in", shape, dtype)]
        if record.hands_over:
            ports += [Outlet("partner_out", shape, dtype)]
        if clock.by_step or clock.final_state:
            ports += [Outlet("state_out", shape, dtype)]
        ports += [Outlet("report_out", (report_size(clock, record.links, record.contents),), "float64")]
        super().__init__(f"{record.population}.sensitivity", ports, record, clock, failures, record.widths)
