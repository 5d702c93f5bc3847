"""The circuit: neurons, axons and synapses as objects of Brian2, the same for every target.

The order within a step, in which nothing of what happens is seen before the next one (DESIGN section 2, the unit step): the
conductor counts, neurons show their signals, axons carry them, synapses add them up, neurons move, what is due is recorded,
and weights read their factors.
"""

from __future__ import annotations

from collections.abc import Mapping
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

_SLOTS = ["start", "groups", "thresholds", "synapses", "resets", "end"]  # Brian2's own, which a user's preferences may change


@dataclass(frozen=True, eq=False)
class Blueprint:
    """All that a circuit is built from, and what may not change without building another.

    `dt_s` is a step of the clock in seconds. `samples` and `states` are how many samples can be given in a run, and how many
    of them begin from a state of their own; a sample has `clamps` values. `synapses` are the axons and the neurons that those
    of each way join, the other arrays those of the layout.
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
    synapses: Mapping[str, tuple[Array, Array]]
    readout: Array

    @cached_property
    def key(self) -> str:
        """A hash of everything: two blueprints of one circuit have the same."""
        digest = sha256()
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "synapses"}
        parts |= {f"{way} {end}": ends[end] for way, ends in self.synapses.items() for end in (0, 1)}
        for name, part in parts.items():
            digest.update(f"{name} {part.shape if isinstance(part, np.ndarray) else part}".encode())
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
    for way, ends in blueprint.synapses.items():
        objects[way] = _synapses(brian2, form, way, axons, neurons, ends, options, runs)
    if form.softmax:
        readout = blueprint.readout
        # before `drive` and `back`, which need nothing of it
        softmax = brian2.Synapses(neurons, neurons, equations.SOFTMAX, name="dyadic_softmax", **options)
        softmax.connect(i=np.repeat(readout, len(readout)), j=np.tile(readout, len(readout)))
        objects["softmax"] = softmax
    objects["recorder"] = brian2.EventMonitor(neurons, "noted", ["u", "s", "u_before"], name="dyadic_recorder", **runs)
    if form.events:
        objects["events"] = brian2.EventMonitor(axons, "moved", name="dyadic_events", **runs)
    net = brian2.Network(*objects.values(), name="dyadic_circuit")
    net.schedule = _SLOTS
    return net, objects | {"clock": clock}


def _axons(brian2: Any, blueprint: Blueprint, group: Any, neurons: Any, conductor: Any, runs: dict[str, Any]) -> Any:  # noqa: ANN401
    form = blueprint.form
    delivery = {"moved": equations.MOVED} if form.events else {"feeds": equations.FEEDS}
    events = {"read": equations.READ} | delivery
    axons = group(len(blueprint.source), equations.axons(form), "axons", events=events)
    for name in equations.AXON_LINKS:
        setattr(axons, name, brian2.linked_var(conductor, name))
    axons.r_shown = brian2.linked_var(neurons, "r", index=blueprint.source)
    axons.s_shown = brian2.linked_var(neurons, "s", index=blueprint.source)
    if form.delayed:
        axons.ahead = brian2.linked_var(axons, "arrived", index=blueprint.before)
    for order, code in enumerate(equations.transport(form), 3):
        axons.run_regularly(code, when="start", order=order, **runs)
    for event in delivery:
        # it arrives before the neurons move: a hop costs one step, as by sums
        axons.set_event_schedule(event, when="before_groups", order=0)
    if form.events:
        axons.run_on_event("moved", "arrived = shown", when="before_groups", order=2)
    return axons


def _synapses(
    brian2: Any,  # noqa: ANN401
    form: Form,
    way: str,
    axons: Any,  # noqa: ANN401
    neurons: Any,  # noqa: ANN401
    ends: tuple[Array, Array],
    options: dict[str, Any],
    runs: dict[str, Any],
) -> Any:  # noqa: ANN401
    text, on_event = equations.synapses(form, way)
    made = brian2.Synapses(
        axons,
        neurons,
        text,
        on_pre=on_event,
        on_event={event: event for event in on_event},
        name=f"dyadic_{way}",
        **options,
    )
    made.connect(i=ends[0], j=ends[1])
    for event in on_event.keys() - {"read"}:
        delivery = getattr(made, event)
        delivery.when, delivery.order = "before_groups", 1
    if form.continuous:
        # after the neurons: the sensitivity of this step, as in the last step of a window
        made.run_regularly(equations.creeps(way), when="groups", order=1, **runs)
    return made
