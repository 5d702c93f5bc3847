"""DESIGN section 2 as Brian2 equations: tau du/dt = F(u) - u, tau ds/dt = phi'(u) W^T s + dC/du - s.

No text here may hold a size, a name or a number of a network: it is compiled once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dyadic_neuro.backends.brian2.integrators import INTEGRATORS, Integrator

COORDINATES = ("potential", "dyad")


WAYS = {"clamped": ("fed", "s"), "forward": ("drive", "s"), "backward": ("back", "r")}
"""The synapses of each way: the sum that they add up to at their neuron, and the half of the dyad that they multiply with what
arrived to get their gradient. Those of the clamped input have their own: what it causes stays the same as long as it is held."""


@dataclass(frozen=True)
class Form:
    """What decides the text of a circuit's equations, and so what has to be compiled: no sizes, no numbers."""

    method: str = "euler"
    coordinates: str = "potential"
    noisy: bool = False
    delayed: bool = False
    events: bool = False
    continuous: bool = False
    softmax: bool = False

    @property
    def integrator(self) -> Integrator:
        """The integrator."""
        return INTEGRATORS[self.method]


# The one global signal: which sample it is, which step of it, and when to learn. `phase` counts the steps of a sample. A
# `fresh` sample may `reset` the state; axons are filled anew only where nothing went `before`.
CONDUCTOR = """
origin : integer (shared)
span : integer (shared)
period : integer (shared)
batch : integer (shared)
renew : integer (shared)
by_step : integer (shared)
feed : integer (shared)
rate : 1 (shared)
decay : 1 (shared)
before : integer (shared)
sample : integer (shared)
step : integer (shared)
draw : integer (shared)
phase : integer (shared)
stage : integer (shared)
tick : integer (shared)
fresh : integer (shared)
reset : integer (shared)
fill : integer (shared)
feeding : integer (shared)
noting : integer (shared)
last : integer (shared)
keep : integer (shared)
gain : 1 (shared)
creep : 1 (shared)
fade : 1 (shared)
"""


def conduct(form: Form) -> str:
    """Return what the conductor does at the start of every step."""
    stages = form.integrator.stages
    return f"""
_count = t_in_timesteps - origin
step = _count // {stages}
draw = step + before
stage = _count - step * {stages}
sample = step // span
phase = step - sample * span
tick = phase - (phase // period) * period + 1
fresh = int(phase == 0 and stage == 0)
reset = int(fresh == 1 and (sample == 0 or renew == 1))
fill = reset * int(before == 0)
feeding = int(phase < feed and stage == 0)
last = int(phase == span - 1 and stage == {stages - 1})
noting = int(last == 1 or (by_step == 1 and stage == {stages - 1}))
keep = int(sample - (sample // batch) * batch > 0)
gain = rate / batch * int(sample - (sample // batch) * batch == batch - 1)
creep = rate / (batch * span * {stages})
fade = decay * {"1" if form.continuous else "batch"}
"""


_NEURONS = """
drive : 1
fed : 1
back : 1
spread : 1
u_before : 1
bias : 1
gradient : 1
r : 1
slope : 1
y : 1
tau_u : second
tau_s : second
sigma_u : 1
sigma_s : 1
seed : 1
kind : integer (constant)
loss : integer (constant)
clamped : integer (constant)
biased : 1 (constant)
watched : integer
u_at : integer
s_at : integer
given_from : integer (constant)
given_stride : integer (constant)
given_at : integer
first_from : integer (constant)
first_stride : integer
first_at : integer
given : 1 (linked)
u_first : 1 (linked)
s_first : 1 (linked)
sample : integer (linked)
draw : integer (linked)
stage : integer (linked)
tick : integer (linked)
fresh : integer (linked)
reset : integer (linked)
fill : integer (linked)
feeding : integer (linked)
noting : integer (linked)
last : integer (linked)
keep : integer (linked)
gain : 1 (linked)
creep : 1 (linked)
"""
LINKS = ("sample", "draw", "stage", "tick", "fresh", "reset", "fill", "feeding", "noting", "last", "keep", "gain", "creep")
_F = "(drive + fed + bias)"
_G = "(slope * back + dyadic_error(u, y, spread, loss))"


@dataclass(frozen=True)
class _Unit:
    """One state variable of a neuron: it moves towards `target` with its `tau`, in the steps in which it is `active`."""

    name: str
    target: str
    tau: str
    active: str
    noise: str


def _units(form: Form) -> tuple[_Unit, _Unit]:
    if form.coordinates == "potential":
        return (
            _Unit("u", _F, "tau_u", "(u_at == 0 or u_at == tick)", "sigma_u * {0}"),
            _Unit("s", _G, "tau_s", "(s_at == 0 or s_at == tick)", "sigma_s * {1}"),
        )
    return (
        _Unit("z_plus", f"({_F} + 0.5 * {_G})", "tau_u", "True", "(sigma_u * {0} + 0.5 * sigma_s * {1})"),
        _Unit("z_minus", f"({_F} - 0.5 * {_G})", "tau_u", "True", "(sigma_u * {0} - 0.5 * sigma_s * {1})"),
    )


def neurons(form: Form) -> str:
    """Return the equations of a neuron: the two halves of its dyad, and what they hold."""
    lines = []
    for unit in _units(form):
        noise = f" + sqrt(2 / {unit.tau}) * {unit.noise.format('xi_u', 'xi_s')}" if form.noisy else ""
        lines.append(f"d{unit.name}/dt = ({unit.target} - {unit.name}) / {unit.tau}{noise} : 1")
        if form.integrator.stages > 1:
            lines += [f"base_{unit.name} : 1", f"sum_{unit.name} : 1"]
    if form.coordinates == "dyad":
        lines += ["u : 1", "s : 1"]
    return "\n".join(lines) + _NEURONS


def update(form: Form) -> Callable[[Any, Any, Any], str]:
    """Return what Brian2 calls to learn how the differential equations of a neuron take a step."""
    found = form.integrator
    lines = [f"_target_{unit.name} = {unit.target}" for unit in _units(form)]  # all of them, before anything moves
    if form.noisy:
        lines += ["_xi_u = dyadic_gauss(seed, draw, 2 * i)", "_xi_s = dyadic_gauss(seed, draw, 2 * i + 1)"]
    for unit in _units(form):
        lines += _one_stage(unit, noisy=form.noisy) if found.stages == 1 else _a_stage(unit, found)
    if form.coordinates == "dyad":
        lines += ["u = 0.5 * (z_plus + z_minus)", "s = z_plus - z_minus"]
    text = "\n".join(lines)
    return lambda _equations, _variables, _options: text


def _one_stage(unit: _Unit, *, noisy: bool) -> list[str]:
    z = unit.name
    noise = f" + sqrt(2 * _pace_{z}) * {unit.noise.format('_xi_u', '_xi_s')}" if noisy else ""
    return [
        f"_pace_{z} = dt / {unit.tau} * int({unit.active})",
        # at pace 1 it assigns: z + (G - z) would keep rounding dirt of a huge old state, and a NaN for ever
        f"{z} = dyadic_pick(int(_pace_{z} == 1), _target_{z}, {z} + _pace_{z} * (_target_{z} - {z})){noise}",
    ]


def _a_stage(unit: _Unit, found: Integrator) -> list[str]:
    z, last = unit.name, found.stages - 1
    weight = " + ".join(f"{w!r} * int(stage == {k})" for k, w in enumerate(found.weights))
    ahead = " + ".join(f"{a!r} * int(stage == {k})" for k, a in enumerate(found.ahead))
    return [
        f"_move_{z} = (_target_{z} - {z}) * ({found.stages} * dt / {unit.tau})",  # over a whole step
        f"base_{z} = dyadic_pick(int(stage == 0), {z}, base_{z})",
        f"sum_{z} = dyadic_pick(int(stage == 0), 0, sum_{z}) + ({weight}) * _move_{z}",
        f"{z} = base_{z} + dyadic_pick(int(stage == {last}), sum_{z}, ({ahead}) * _move_{z})",
    ]


FIND = """
given_at = given_from + given_stride * sample
first_at = first_from + first_stride * sample
"""
"""Where a neuron finds what it is clamped to, and the state that it starts from."""


def show(form: Form) -> str:
    """Return what a neuron does before it sends: take over what is given, then work out its rate and phi'(u), once."""
    lines = [
        "u = dyadic_pick(fresh * clamped, given, dyadic_pick(reset * (1 - clamped), u_first, u))",
        "s = dyadic_pick(reset, s_first, s)",
        "u_before = u",
        "y = dyadic_pick(int(loss > 0), given, 0)",
        "r = dyadic_rate(u, kind)",
        "slope = dyadic_slope(u, r, kind)",
    ]
    if form.coordinates == "dyad":
        lines += [f"z_{sign} = dyadic_pick(fresh, u {mark} 0.5 * s, z_{sign})" for sign, mark in (("plus", "+"), ("minus", "-"))]
    if form.events:
        lines += [f"{sum_} = dyadic_pick(fill, 0, {sum_})" for sum_ in ("drive", "back")]
    else:
        lines += ["fed = dyadic_pick(feeding, 0, fed)"]
    return "\n".join(lines)


NOTED = "noting * watched == 1"
"""When a neuron's state is recorded."""
READ = "last == 1"
"""When the factors of a gradient are read: in the last step of a sample."""
BIAS_READS = "gradient = dyadic_pick(keep, gradient, 0) + s"
BIAS_LEARNS = "bias -= gain * biased * gradient"
BIAS_CREEPS = "bias -= creep * biased * s"


def axons(form: Form) -> str:
    """Return the equations of an axon's cell: what has arrived there."""
    lines = [
        "arrived : 1",
        "is_forward : integer (constant)",
        "from_input : integer (constant)",
        "plastic : 1 (constant)",
        "r_shown : 1 (linked)",
        "s_shown : 1 (linked)",
        "fill : integer (linked)",
        "feeding : integer (linked)",
        "last : integer (linked)",
        "keep : integer (linked)",
        "gain : 1 (linked)",
        "creep : 1 (linked)",
        "fade : 1 (linked)",
    ]
    if form.delayed:
        lines += ["coming : 1", "first : integer (constant)", "ahead : 1 (linked)"]
    if form.events:
        lines += ["shown : 1", "threshold : 1"]
    return "\n".join(lines)


AXON_LINKS = ("fill", "feeding", "last", "keep", "gain", "creep", "fade")


def transport(form: Form) -> list[str]:
    """Return what the cells of an axon do after the neurons have shown their signals, one after the other."""
    shown = "dyadic_pick(is_forward, r_shown, s_shown)"
    if form.events:
        return [f"shown = {shown}\narrived = dyadic_pick(fill, 0, arrived)"]
    if form.delayed:
        # a line begins as if the first state had been held for ever
        return [f"coming = dyadic_pick(int(first + fill > 0), {shown}, ahead)", "arrived = coming"]
    return [f"arrived = {shown}"]


FEEDS = "feeding * from_input == 1"
"""When an axon of the input delivers: at the start of a sample, as long as something may still be under way."""
MOVED = "abs(shown - arrived) > threshold"
"""When an axon sends an event: its signal has moved away from what it last sent."""


def synapses(form: Form, way: str) -> tuple[str, dict[str, str]]:
    """Return the equations of the synapses of one of the `WAYS`, and what they do on events."""
    total, factor = WAYS[way]
    lines, on_event = ["w : 1", "g : 1"], {}
    read = [f"g = dyadic_pick(keep_pre, g, 0) + {factor}_post * arrived_pre"]
    if not form.continuous:
        read += _descends("gain_pre", "g")
    if form.events:
        # the sum holds each arrived signal times its weight: it moves with the signal, and with the weight
        on_event["moved"] = f"{total}_post += w * (shown_pre - arrived_pre)"
        read += [f"{total}_post -= gain_pre * plastic_pre * g * arrived_pre", f"{total}_post -= _lost * arrived_pre"]
    elif way == "clamped":
        on_event["feeds"] = f"{total}_post += w * arrived_pre"
    else:
        lines.append(f"{total}_post = w * arrived_pre : 1 (summed)")
    return "\n".join(lines), on_event | {"read": "\n".join(read)}


def creeps(way: str) -> str:
    """Return what continuous plasticity does in every step, Euler's of dw/dt, to the weights of one of the `WAYS`."""
    return "\n".join(_descends("creep_pre", f"{WAYS[way][1]}_post * arrived_pre"))


def _descends(pace: str, gradient: str) -> list[str]:
    """Return what changes a weight; its decay is a term of its own, which leaves the bits of the other one alone."""
    return [
        f"_lost = {pace} * plastic_pre * fade_pre * w",
        f"w -= {pace} * plastic_pre * {gradient}",
        "w -= _lost",
    ]


# within 80, beyond which no share is worth a digit: no exp can overflow, in single precision too
SOFTMAX = "spread_post = exp(clip(u_pre - u_post, -80, 80)) : 1 (summed)"
