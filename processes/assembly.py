"""Builds the processes of a plan and connects their ports. What is not connected here cannot exchange anything."""

from __future__ import annotations

from dyadic_neuro.processes.core.process import Core
from dyadic_neuro.processes.forward.process import Forward
from dyadic_neuro.processes.input.process import Input
from dyadic_neuro.processes.local import LocalProcess
from dyadic_neuro.processes.loss.process import Loss
from dyadic_neuro.processes.parts import AnyPlan, MappedPlan
from dyadic_neuro.processes.recorder.process import Recorder
from dyadic_neuro.processes.sensitivity.process import Sensitivity
from dyadic_neuro.processes.slices import Plan


def assemble(plan: AnyPlan, failures: int, results: int) -> LocalProcess:
    """Return one process of the connected circuit (Lava finds the others from it).

    `failures` and `results` are the file descriptors of the guard's pipes.
    """
    return _cores(plan, failures, results) if isinstance(plan, MappedPlan) else _populations(plan, failures, results)


def _populations(plan: Plan, failures: int, results: int) -> Input:
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
        loss.window_out.connect(recorder.window_in_0)
    return first


def _cores(plan: MappedPlan, failures: int, results: int) -> Recorder:
    cores = [Core(record, plan.clock, plan.dtype, failures) for record in plan.cores]
    recorder = Recorder(plan, failures, results)
    senders = {way: getattr(core, f"way_out_{i}") for core in cores for i, way in enumerate(core.record.sends)}
    states = windows = 0
    for number, core in enumerate(cores):
        for i, way in enumerate(core.record.receives):
            senders[way].connect(getattr(core, f"way_in_{i}"))
        core.report_out.connect(getattr(recorder, f"report_in_{number}"))
        if core.has("state_out"):
            core.state_out.connect(getattr(recorder, f"state_in_{states}"))
            states += 1
        if core.has("window_out"):
            core.window_out.connect(getattr(recorder, f"window_in_{windows}"))
            windows += 1
    return recorder
