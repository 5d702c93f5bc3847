"""The loss as a Lava Process."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess, Outlet
from dyadic_neuro.processes.slices import Clock, LossSlice, report_size


class Loss(LocalProcess):
    """Knows the targets: receives the readout's potential on `potential_in` and answers with dC/du on `error_out`.

    When learning it sends the recorder the loss of each window and the samples classified right, on `window_out`.
    """

    def __init__(self, record: LossSlice, clock: Clock, dtype: str, failures: int) -> None:
        shape = record.samples.shape
        ports: list[Inlet | Outlet] = [Inlet("potential_in", shape, dtype), Outlet("error_out", shape, dtype)]
        if record.learning:
            ports += [Outlet("window_out", (2,), "float64")]
        ports += [Outlet("report_out", (report_size(clock, record.links, []),), "float64")]
        super().__init__("loss", ports, record, clock, failures, record.widths)
