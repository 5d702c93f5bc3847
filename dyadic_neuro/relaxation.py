"""`relax`: let a network settle on a batch and read its gradients off."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from numbers import Integral, Real
from typing import Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.backends.base import Backend, Relaxation, deployed, resolve, runs_on, takes
from dyadic_neuro.codings import Coding, Graded
from dyadic_neuro.codings import coding as coding_of
from dyadic_neuro.dynamics import State, feedback_copies
from dyadic_neuro.errors import DataError, OptionError, SaturationError, UnknownNameError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.fixed_point.network import fitting
from dyadic_neuro.fixed_point.scales import Scale
from dyadic_neuro.fixed_point.synapses import FixedProjection
from dyadic_neuro.graph import Graph
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule, settling_steps
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.trace import Stream, Trace


class Settling(Protocol):
    """A backend's own word on how long its circuit takes, where that is not what the Euler steps of its substrate take."""

    def __call__(self, network: Network, alpha: float, tolerance: float, *, switched: bool) -> int:
        """Return the steps after which the state is expected within `tolerance`."""


_GRADED = Graded()
_STATES = {"potentials": "potential", "sensitivities": "sensitivity"}
_STABLE_BELOW = 2.0  # (1 - alpha) is the only eigenvalue of a step, so |1 - alpha| < 1 (DESIGN section 2)


def relax(
    network: Graph,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    backend: str | Backend = "reference",
    steps: int | None = None,
    alpha: float | None = None,
    schedule: str = "free",
    initial: State | None = None,
    backward: Mapping[str, ArrayLike] | None = None,
    record: str = "all",
    tolerance: float = 1e-8,
    coding: str | Coding = "graded",
) -> Trace:
    """Relax the network on a batch and return the trace; its gradients are backpropagation's from 2D steps on.

    `inputs` is (batch, n_input), `targets` integer classes (batch,) or rows (batch, n_output). `steps=None` means 2D, or
    for another alpha the binomial law's count for `tolerance`, or what the backend's substrate predicts (time constants and
    delays of its own; noise it cannot wait for). `alpha` is dt / tau, in (0, 2); None takes the backend's own.
    `schedule` is "free" or "wavefront". `initial` is the state to start from (None: all zero), with arrays (batch, n).
    `backward` gives other matrices (n_source, n_target) in place of named W^T copies. `record` is "all" or "last". A chip
    that had to divide a fan-in runs another network (`trace.network`): 2D and states are then of that one.

    Of a FixedNetwork (`quantize`) inputs and targets become integers, and the trace holds integers; `initial` is one of integers,
    and matrices of `backward` are quantised unless they are integers. `coding` says how its messages are sent: "graded", "delta",
    "bit_serial", "rate", or one of `codings` with options.

    Raises, before anything runs: DataError (shapes, NaN, class range), OptionError (alpha, steps, schedule, record,
    tolerance), UnknownNameError (backend, backward), CycleError (a cyclic network without explicit steps),
    MissingExtraError, and the same for a substrate that does not fit. While running: SimulatorError, and OptionError (backend)
    for one that returns no trace. Afterwards: SaturationError where the format is strict.
    """
    simulator, sending = resolve(backend), coding_of(coding)
    check_network(network)
    unfit = check_unfit(network, *check_data(network, inputs, targets, own=False))
    taken = takes(simulator, network, sending)
    running = deployed(simulator, taken)
    order = prepare(
        network,
        inputs,
        targets,
        running=running,
        backend_alpha=simulator.alpha,
        substrate=getattr(simulator, "substrate", None),
        settling=getattr(simulator, "settling_steps", None),
        steps=steps,
        alpha=alpha,
        schedule=schedule,
        initial=initial,
        backward=backward,
        record=record,
        tolerance=tolerance,
        coding=sending,
    )
    with simulator.open(taken) as session:
        trace = session.relax(order)
    if not isinstance(trace, Trace):  # of a backend of the user's own
        raise OptionError("backend", f"{simulator.name!r} returned {type(trace).__name__}, no Trace", "return one from relax")
    if isinstance(network, FixedNetwork):
        saturations = {**unfit, **trace.saturations}
        check_saturations(network, saturations)
        trace = replace(trace, saturations=saturations, coding=order.coding)
    return trace if trace.runs_on else replace(trace, runs_on=runs_on(simulator))


def check_network(network: object) -> None:
    """Raise OptionError for what is no network, and NetworkError for a specification."""
    if not isinstance(network, (Network, FixedNetwork)):
        problem = f"{type(network).__name__} is not a Network"
        raise OptionError("network", problem, "build one with Network.dense(...) or Network(...)")
    if isinstance(network, Network):
        network.need_weights()


def check_unfit(network: Graph, inputs: Array, targets: Array) -> dict[str, int]:
    """Return how many of real inputs and targets are limited to integers there are, {"data": ...}, or {}.

    Raises SaturationError if there are any and the format is strict.
    """
    lost = network.unfit(inputs, targets) if isinstance(network, FixedNetwork) else 0
    found = {"data": lost} if lost else {}
    if isinstance(network, FixedNetwork):
        check_saturations(network, found)
    return found


def check_saturations(network: FixedNetwork, saturations: Mapping[str, int]) -> None:
    """Raise SaturationError if anything saturated and the format is strict."""
    if saturations and network.format.strict:
        what, many = max(saturations.items(), key=lambda item: item[1])
        others = f", and {len(saturations) - 1} other kinds too" if len(saturations) > 1 else ""
        fixes = {"data": "calibrate with these data", "weight": "use more weight_headroom_bits, or a smaller learning rate"}
        fix = fixes.get(what.split()[-1], "use more headroom_bits, or schedule='wavefront', which has no transients")
        raise SaturationError(what, f"left its range {many:,} times{others}", f"{fix}, or a format that is not strict")


def stream(network: Network, inputs: ArrayLike, targets: ArrayLike, *, backend: str | Backend) -> Stream:
    """Send samples through a pipeline, a new one every step, and return the exact gradients of their mean loss.

    `inputs` is (samples, n_input), `targets` integer classes (samples,) or rows (samples, n_output). Weights are frozen
    meanwhile. The backend must be able to: `backends.MappedChip(map_network(network, chip, pipeline=True))`.

    Raises, before anything runs: DataError, OptionError (backend), UnknownNameError, CycleError, MappingError.
    """
    if not isinstance(network, Network):
        raise OptionError("network", f"{type(network).__name__} is not a Network", "build one with Network.dense(...)")
    network.need_weights()
    simulator = resolve(backend)
    x, y = check_data(network, inputs, targets)
    with simulator.open(network) as session:
        run = getattr(session, "stream", None)
        if run is None:
            fix = "use backends.MappedChip(map_network(network, chip, pipeline=True))"
            raise OptionError("backend", f"{simulator.name!r} has no pipeline", fix)
        found: Stream = run(x, y)
        return found


def prepare(
    network: Graph,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    running: Graph | None = None,
    backend_alpha: float = 1.0,
    substrate: Substrate | None = None,
    settling: Settling | None = None,
    steps: int | None = None,
    alpha: float | None = None,
    schedule: str = "free",
    initial: State | None = None,
    backward: Mapping[str, ArrayLike] | None = None,
    record: str = "all",
    tolerance: float = 1e-8,
    coding: Coding = _GRADED,
) -> Relaxation:
    """Check everything that `relax` takes and return the order a session understands. Raises as `relax`.

    `running` is the network that the backend runs in place of this one, if it is another: it has the steps and the states.
    `substrate` is what the backend's circuit adds to the equations, if anything, and `settling` tells its own settling time.
    """
    check_network(network)
    x, y = check_data(network, inputs, targets, own=record == "all")  # the last state alone needs them no more
    alpha = check_alpha(alpha, backend_alpha)
    running = network if running is None else running
    check_circuit(running, alpha, schedule, substrate)
    if record not in ("all", "last"):
        raise OptionError("record", f"{record!r} is neither 'all' nor 'last'", "use one of them")
    if not (is_real(tolerance) and 0 < tolerance < 1):
        raise OptionError("tolerance", f"{tolerance!r} is outside (0, 1)", "use for example 1e-8")
    count = _given(steps) or predicted_steps(running, alpha, tolerance, substrate, settling)
    timing, start = Schedule.of(running, schedule), _initial(running, initial, len(x))
    if isinstance(running, FixedNetwork):
        running.check_batch(len(x))
        x, y = running.encode(x, y)
        coding = coding.fitted(running.message_bits)
    check_memory(running, count if record == "all" else 0, len(x), coding)
    return Relaxation(x, y, count, alpha, timing, start, check_backward(network, backward), record == "all", coding)


def check_data(network: Graph, inputs: object, targets: object, part: str = "", *, own: bool = True) -> tuple[Array, Array]:
    """Return inputs (batch, n_input) and targets (batch, n_output) in the float network's dtype, as arrays of our own.

    Without `own` the inputs may be the caller's. Raises DataError, naming the field "inputs" or "targets" with `part` before it.
    """
    network = network.described()
    dtype = np.dtype(network.dtype)
    x = checked(f"{part}inputs", inputs, dtype, (None, network.population(network.input).size))
    if not len(x):
        raise DataError(f"{part}inputs", "hold no sample", "pass at least one row")
    y = network.cost.encode(targets, len(x), network.population(network.output).size, dtype, f"{part}targets")
    return _own(x, inputs) if own else x, _own(y, targets)


def check_backward(network: Graph, backward: Mapping[str, ArrayLike] | None) -> dict[str, Projection]:
    """Return all W^T copies, some replaced. Raises OptionError, UnknownNameError and DataError."""
    if backward is not None and not isinstance(backward, Mapping):
        raise OptionError(
            "backward", f"{type(backward).__name__} is no mapping", "pass {projection name: matrix (n_source, n_target)}"
        )
    copies = feedback_copies(network)
    for name, weights in (backward or {}).items():
        if name not in copies:
            raise UnknownNameError(
                "backward", f"{name!r} has no W^T copy", f"use some of {list(copies)} (projections from the input have none)"
            )
        shape = copies[name].weights.shape
        dtype = np.dtype(network.described().dtype)
        matrix = checked(f"backward of {name}, (n_source, n_target)", weights, dtype, shape)
        copy = copies[name]
        if isinstance(copy, FixedProjection):
            integers = np.asarray(weights).dtype.kind in "iu"
            matrix = fitting(f"backward of {name}", matrix, replace(copy.scale, exponent=0) if integers else copy.scale)
        copies[name] = copy.with_weights(matrix)
    return copies


def _own(array: Array, given: object) -> Array:
    """Return a copy of what the caller may still write to: a trace keeps its data."""
    fresh = array is not given and array.flags.owndata and isinstance(given, (np.ndarray, list, tuple))
    return array if fresh else np.array(array)


def is_real(value: object) -> bool:
    """Whether this is a finite real number."""
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < float("inf")  # type: ignore[operator]


def check_alpha(alpha: float | None, own: float) -> float:
    """Return the step size of a run on a backend with its own. Raises OptionError."""
    if alpha is None:
        return own
    if not is_real(alpha) or not 0 < alpha < _STABLE_BELOW:
        raise OptionError(
            "alpha", f"{alpha!r} is outside (0, 2), where a step is stable", "use 1 for exact unit steps, or less for slower ones"
        )
    if math.isclose(own, alpha, rel_tol=1e-12):
        return own  # the same quotient of other times
    if own != 1.0:
        raise OptionError(
            "alpha",
            f"{alpha} contradicts the backend's own dt / tau = {own}",
            "leave alpha out, or build the backend with another dt",
        )
    return float(alpha)


def check_circuit(network: Graph, alpha: float, schedule: str, substrate: Substrate | None) -> None:
    """Check the substrate, and that a wavefront is timed for what the network runs on. Raises as `Substrate.check`."""
    if isinstance(network, FixedNetwork):
        if alpha != 1.0:
            raise OptionError("alpha", f"{alpha} in a network of integers, which takes unit steps", "use alpha=1")
        if substrate is not None:
            raise OptionError("backend", "has a substrate, and this network has integers", "leave the substrate out")
    elif substrate is not None:
        substrate.check(cast(Network, network), alpha)
    if schedule == "wavefront" and alpha != 1.0:
        raise OptionError(
            "alpha",
            f"{alpha} with the wavefront schedule, in which each state updates once per window",
            "use alpha=1 or schedule='free'",
        )
    if schedule == "wavefront" and substrate is not None and not substrate.timely:
        problem = "'wavefront' is timed for units that are alike, and messages that take no longer than a step"
        raise OptionError("schedule", problem, "use schedule='free', or a substrate without time constants and delays")


def _given(steps: int | None) -> int | None:
    if steps is None:
        return None
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1:
        raise OptionError("steps", f"{steps!r} is not a number of steps", "use an integer of at least 1, or None for 2D")
    return int(steps)


def predicted_steps(
    network: Graph,
    alpha: float,
    tolerance: float,
    substrate: Substrate | None,
    settling: Settling | None,
    *,
    switched: bool = False,
) -> int:
    """Return the steps after which the state is expected within `tolerance`: what the backend says, or the laws do.

    `switched` tells that inputs change while the circuit runs. Raises CycleError, and OptionError for too many steps.
    """
    if settling is not None:
        return settling(network.described(), alpha, tolerance, switched=switched)
    if substrate is not None:
        return substrate.settling_steps(network.described(), alpha, tolerance, switched=switched)
    return settling_steps(network.depth, alpha, tolerance)


def check_memory(network: Graph, steps: int, batch: int, coding: Coding = _GRADED) -> None:
    """Refuse to record more than this machine's memory holds, or more spikes of a unit step. Raises OptionError."""
    needed = 2 * (steps + 1) * batch * sum(p.size for p in network.dynamic) * np.dtype(network.dtype).itemsize
    if needed > memory_bytes():
        problem = f"'all' of {steps} steps takes {needed / 1e9:.3g} GB, this machine has {memory_bytes() / 1e9:.3g}"
        raise OptionError("record", problem, "use record='last', or fewer steps")
    spikes = coding.micro_steps * batch * max(p.size for p in network.populations) if coding.micro_steps > 1 else 0
    if spikes > memory_bytes():
        problem = (
            f"{coding} takes {spikes / 1e9:.3g} GB for the spikes of a population, this machine has {memory_bytes() / 1e9:.3g}"
        )
        raise OptionError("coding", problem, "use a shorter window, or a smaller batch")


@cache
def memory_bytes() -> int:
    """Return the physical memory of this machine (where the system does not tell: as if there were no end to it)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def _initial(network: Graph, initial: State | None, batch: int) -> State:
    if initial is None:
        return State.zero(network, batch)
    if not isinstance(initial, State):
        raise OptionError(
            "initial", f"{type(initial).__name__} is not a State", "pass trace.final or State(potentials, sensitivities)"
        )
    names = [population.name for population in network.dynamic]
    parts = []
    for field, values in (("potentials", initial.potentials), ("sensitivities", initial.sensitivities)):
        if not isinstance(values, Mapping) or set(values) != set(names):
            found = list(values) if isinstance(values, Mapping) else type(values).__name__
            raise DataError(f"initial.{field}", f"are of {found}", f"give one array for each of {names}")
        dtype, part = np.dtype(network.dtype), {}
        for p in network.dynamic:
            what = f"initial.{field}[{p.name!r}]"
            part[p.name] = _own(checked(what, values[p.name], dtype, (batch, p.size)), values[p.name])
            if isinstance(network, FixedNetwork):
                scales = network.scales[p.name]
                _check_integers(what, values[p.name], part[p.name], getattr(scales, _STATES[field]))
        parts.append(part)
    return State(*parts)


def _check_integers(what: str, given: object, state: Array, scale: Scale) -> None:
    """Raise DataError for a state that is not of integers, or of ones that are too wide."""
    if np.asarray(given).dtype.kind not in "iu":
        raise DataError(what, "is not of integers", "pass trace.final of a run of this network")
    if not scale.holds(state):
        problem = f"has integers beyond {scale.lowest} .. {scale.highest}, which {scale.bits} bits hold"
        raise DataError(what, problem, "pass trace.final of a run of this network")
