"""The input population as a Lava Process."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess, Outlet
from dyadic_neuro.processes.slices import Clock, InputSlice, report_size


class Input(LocalProcess):
    """Shows the clamped batch: `rate_out` (batch, n) to every population it feeds."""

    def __init__(self, record: InputSlice, clock: Clock, dtype: str, failures: int) -> None:
        ports: list[Inlet | Outlet] = [
            Outlet("rate_out", record.samples.shape, dtype),
            Outlet("report_out", (report_size(clock, record.links, []),), "float64"),
        ]
        super().__init__(record.population, ports, record, clock, failures, record.widths)
