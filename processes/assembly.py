"""Builds the processes of a plan and connects their ports. What is not connected here cannot exchange anything."""

from __future__ import annotations

from dyadic_neuro.processes.forward.process import Forward
from dyadic_neuro.processes.input.process import Input
from dyadic_neuro.processes.loss.process import Loss
from dyadic_neuro.processes.recorder.process import Recorder
from dyadic_neuro.processes.sensitivity.process import Sensitivity
from dyadic_neuro.processes.slices import Plan


def assemble(plan: Plan, failures: int, results: int) -> Input:
    """Return one process of the connected circuit (Lava finds the others from it).

    `failures` and `results` are the file descriptors of the guard's pipes.
    """
    first = Input(plan.input, plan.clock, plan.dtype, failures)
    forward = {part.population: Forward(part, plan.clock, plan.dtype, failures) for part in plan.forward}
    sensitivity = {part.population: Sensitivity(part, plan.clock, plan.dtype, failures) for part in plan.sensitivity}
    loss = Loss(plan.loss, plan.clock, plan.dtype, failures)
    recorder = Recorder(plan, failures, results)

    for part in plan.forward:
        for i, copy in enumerate(part.incoming):
            source = forward.get(copy.source, first)
            source.rate_out.connect(getattr(forward[part.population], f"rate_in_{i}"))
        if part.partner:
            forward[part.population].partner_out.connect(sensitivity[part.population].partner_in)
        if part.learns:
            sensitivity[part.population].partner_out.connect(forward[part.population].sensitivity_in)
        if part.readout:
            forward[part.population].potential_out.connect(loss.potential_in)
            loss.error_out.connect(sensitivity[part.population].error_in)
    for below in plan.sensitivity:
        for i, (_, copy) in enumerate(below.feedback):  # a W^T copy's source is the population above
            sensitivity[copy.source].sensitivity_out.connect(getattr(sensitivity[below.population], f"sensitivity_in_{i}"))

    states = [*forward.values(), *sensitivity.values()]
    if plan.clock.by_step or plan.clock.final_state:
        for i, process in enumerate(states):
            process.state_out.connect(getattr(recorder, f"state_in_{i}"))
    for i, process in enumerate([first, *states, loss]):
        process.report_out.connect(getattr(recorder, f"report_in_{i}"))
    if plan.loss.learning:
        loss.window_out.connect(recorder.window_in)
    return first
