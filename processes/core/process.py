"""A core as a Lava Process."""

from __future__ import annotations

from dyadic_neuro.processes.local import Inlet, LocalProcess, Outlet
from dyadic_neuro.processes.parts import CoreSlice
from dyadic_neuro.processes.slices import Clock, beside, report_size


class Core(LocalProcess):
    """Slices of dyads (batch, n) with their rows of both copies of the weights, parts of the input, and the loss of a readout.

    `way_out_0`, `way_out_1` ... send rates or sensitivities of some neurons to all other cores that have synapses for them,
    `way_in_0`, `way_in_1` ... each receive those of one way. What stays on the core needs no port. `state_out`,
    `report_out` and (learning, with the readout) `window_out` lead to the recorder.
    """

    def __init__(self, record: CoreSlice, clock: Clock, dtype: str, failures: int) -> None:
        self.record = record
        ports: list[Inlet | Outlet] = [
            *(Inlet(f"way_in_{i}", (record.batch, way.size), dtype) for i, way in enumerate(record.receives)),
            *(Outlet(f"way_out_{i}", (record.batch, way.size), dtype) for i, way in enumerate(record.sends)),
        ]
        if record.parts and (clock.by_step or clock.final_state):
            ports += [Outlet("state_out", beside(record.states), dtype)]
        if record.readout is not None and record.readout.learning:
            ports += [Outlet("window_out", record.readout.samples.shape, "float64")]
        ports += [Outlet("report_out", (report_size(clock, record.links, record.contents),), "float64")]
        super().__init__(f"core {record.number}", ports, record, clock, failures, record.widths)

    def has(self, port: str) -> bool:
        """Whether it has a port of that name."""
        return port in self.port_types
