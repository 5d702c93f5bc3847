"""The circuit: neurons, axons and synapses as objects of Brian2, the same for every target.

The order within a step, in which nothing of what happens is seen before the next one (DESIGN section 2, the unit step): the
conductor counts, neurons show their signals, axons carry them, synapses add them up, neurons move, what is due is recorded,
and weights read their factors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.brian2 import equations
from dyadic_neuro.backends.brian2.equations import Form
from dyadic_neuro.backends.brian2.functions import functions
from dyadic_neuro.network import Network


@dataclass(frozen=True, eq=False)
class Blueprint:
    """All that a circuit is built from, and what may not change without building another.

    `dt_s` is a step of the clock in seconds. `samples` and `states` are how many samples can be given in a run, and how many
    of them begin from a state of their own; a sample has `clamps` values. `source` ... `readout` are those of the layout.
    """

    form: Form
    dtype: str
    dt_s: float
    neurons: int
    samples: int
    clamps: int
    states: int
    source: Array
    before: Array
    forward_axon: Array
    forward_neuron: Array
    backward_axon: Array
    backward_neuron: Array
    readout: Array

    @cached_property
    def key(self) -> str:
        """A hash of everything: two blueprints of one circuit have the same."""
        digest = sha256()
        for field in fields(self):
            part = getattr(self, field.name)
            digest.update(f"{field.name} {part.shape if isinstance(part, np.ndarray) else part}".encode())
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else b"")
        return digest.hexdigest()[:16]


def build(blueprint: Blueprint, network: Network | None, code_class: Any = None) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
    """Return Brian2's Network and the objects in it by name.

    `network` is wanted for its functions where NumPy runs them; `code_class` is Brian2's class of code objects, None where
    the active device has its own.
    """
    import brian2

    form, space = blueprint.form, functions(network)
    clock = brian2.Clock(blueprint.dt_s * brian2.second, name="dyadic_clock")
    options = {"clock": clock, "namespace": space, "dtype": {"float64": np.float64, "float32": np.float32}[blueprint.dtype]}
    runs = {} if code_class is None else {"codeobj_class": code_class}
    options |= runs

    def group(size: int, text: str, name: str, **more: Any) -> Any:  # noqa: ANN401
        return brian2.NeuronGroup(size, text, name=f"dyadic_{name}", **more, **options)

    conductor = group(1, equations.CONDUCTOR, "conductor")
    conductor.run_regularly(equations.conduct(form), when="start", order=0, **runs)
    given = group(blueprint.samples * blueprint.clamps, "value : 1", "given")
    starts = group(blueprint.states * blueprint.neurons, "u : 1\ns : 1", "starts")
    neurons = group(
        blueprint.neurons,
        equations.neurons(form),
        "neurons",
        method=equations.update(form),
        events={"noted": equations.NOTED, "read": equations.READ},
    )
    for name in equations.LINKS:
        setattr(neurons, name, brian2.linked_var(conductor, name))
    neurons.given = brian2.linked_var(given, "value", index="given_at")
    neurons.u_first = brian2.linked_var(starts, "u", index="first_at")
    neurons.s_first = brian2.linked_var(starts, "s", index="first_at")
    neurons.run_regularly(equations.FIND, when="start", order=1, **runs)
    neurons.run_regularly(equations.show(form), when="start", order=2, **runs)
    if form.continuous:
        neurons.run_on_event("read", equations.BIAS_READS, when="synapses")
        neurons.run_regularly(equations.BIAS_CREEPS, when="synapses", **runs)
    else:
        neurons.run_on_event("read", f"{equations.BIAS_READS}\n{equations.BIAS_LEARNS}", when="synapses")

    axons = _axons(brian2, blueprint, group, neurons, conductor, runs)
    objects = {"conductor": conductor, "given": given, "starts": starts, "neurons": neurons, "axons": axons}
    for name, sum_name, factor, pre, post in (
        ("forward", "drive", "s", blueprint.forward_axon, blueprint.forward_neuron),
        ("backward", "back", "r", blueprint.backward_axon, blueprint.backward_neuron),
    ):
        if len(pre):
            objects[name] = _synapses(brian2, form, (name, sum_name, factor), axons, neurons, (pre, post), options)
    if form.softmax:
        readout = blueprint.readout
        # before `drive` and `back`, which need nothing of it
        softmax = brian2.Synapses(neurons, neurons, equations.SOFTMAX, name="dyadic_softmax", **options)
        softmax.connect(i=np.repeat(readout, len(readout)), j=np.tile(readout, len(readout)))
        objects["softmax"] = softmax
    objects["recorder"] = brian2.EventMonitor(neurons, "noted", ["u", "s", "u_before"], name="dyadic_recorder", **runs)
    if form.events:
        objects["events"] = brian2.EventMonitor(axons, "moved", name="dyadic_events", **runs)
    return brian2.Network(*objects.values(), name="dyadic_circuit"), objects | {"clock": clock}


def _axons(brian2: Any, blueprint: Blueprint, group: Any, neurons: Any, conductor: Any, runs: dict[str, Any]) -> Any:  # noqa: ANN401
    form = blueprint.form
    events = {"read": equations.READ} | ({"moved": equations.MOVED} if form.events else {})
    axons = group(len(blueprint.source), equations.axons(form), "axons", events=events)
    for name in equations.AXON_LINKS:
        setattr(axons, name, brian2.linked_var(conductor, name))
    axons.r_shown = brian2.linked_var(neurons, "r", index=blueprint.source)
    axons.s_shown = brian2.linked_var(neurons, "s", index=blueprint.source)
    if form.delayed:
        axons.ahead = brian2.linked_var(axons, "arrived", index=blueprint.before)
    for order, code in enumerate(equations.transport(form), 3):
        axons.run_regularly(code, when="start", order=order, **runs)
    if form.events:
        # an event arrives before the neurons move: a hop costs one step, as without events
        axons.set_event_schedule("moved", when="before_groups", order=0)
        axons.run_on_event("moved", "arrived = shown", when="before_groups", order=2)
    return axons


def _synapses(
    brian2: Any,  # noqa: ANN401
    form: Form,
    names: tuple[str, str, str],
    axons: Any,  # noqa: ANN401
    neurons: Any,  # noqa: ANN401
    ends: tuple[Array, Array],
    options: dict[str, Any],
) -> Any:  # noqa: ANN401
    name, sum_name, factor = names
    text, on_event = equations.synapses(form, sum_name, factor)
    made = brian2.Synapses(
        axons,
        neurons,
        text,
        on_pre=on_event,
        on_event={event: event for event in on_event},
        method="euler",
        name=f"dyadic_{name}",
        **options,
    )
    made.connect(i=ends[0], j=ends[1])
    if form.events:
        made.moved.when, made.moved.order = "before_groups", 1
    if form.continuous:
        made.state_updater.order = 1  # the sensitivity of this step, as in the last step of a window
    return made
