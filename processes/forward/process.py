"""A forward population as a Lava Process."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess, Outlet
from dyadic_neuro.processes.slices import Clock, ForwardSlice, report_size


class Forward(LocalProcess):
    """A population's potentials (batch, n), with the forward copy of every weight matrix that feeds it.

    `rate_in_0`, `rate_in_1` ... receive the rates of the populations before it, `rate_out` shows its own.
    `partner_out` hands its sensitivity partner phi'(u), and when learning r as others hear it: (1 or 2, batch, n).
    `sensitivity_in` receives s from the partner in the last step of a window. The readout shows its potential to the loss on
    `potential_out`. `state_out` and `report_out` lead to the recorder.
    """

    def __init__(self, record: ForwardSlice, clock: Clock, dtype: str, failures: int) -> None:
        shape = record.potential.shape
        ports: list[Inlet | Outlet] = [
            Inlet(f"rate_in_{i}", (shape[0], copy.full_shape[1]), dtype) for i, copy in enumerate(record.incoming)
        ]
        if record.partner:
            ports += [
                Outlet("rate_out", shape, dtype),
                Outlet("partner_out", (1 if record.learning_rate is None else 2, *shape), dtype),
            ]
        if record.readout:
            ports += [Outlet("potential_out", shape, dtype)]
        if record.learns:
            ports += [Inlet("sensitivity_in", shape, dtype)]
        if clock.by_step or clock.final_state:
            ports += [Outlet("state_out", shape, dtype)]
        ports += [Outlet("report_out", (report_size(clock, record.links, record.contents),), "float64")]
        super().__init__(record.population, ports, record, clock, failures, record.widths)
