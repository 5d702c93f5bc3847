"""A point of a sweep, which is one run with all its settings, and the pure function that measures it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np

from dyadic_neuro import datasets
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, resolve
from dyadic_neuro.backends.brian2.backend import NAMES, stepped
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.errors import DivergedError, MissingExtraError, OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop
from dyadic_neuro.relaxation import is_real, relax
from dyadic_neuro.studies.timestep.mixture import Mixture
from dyadic_neuro.studies.timestep.runs import due, enough, kept, settle
from dyadic_neuro.studies.timestep.settling import TOLERANCES, check_step_size, check_tolerances, settled_from
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.trace import relative_error
from dyadic_neuro.training import train

_KINDS = ("settling", "training")
_TARGETS = {name: target for target, name in NAMES.items()}  # of Brian2
_AFTER = 20.0  # tau to watch what noise leaves
_RATE = 0.5  # trains the digits


@dataclass(frozen=True)
class Point:
    """One run.

    `what` is "settling" (a random tanh chain of `depth` projections between populations of `width` relaxes on a random
    `batch`) or "training" (64-`width`-...-10 learns the digits for some `epochs`). `sweep` is the name of the sweep it
    belongs to, `alpha` dt / tau. `spread` is the relative standard deviation of the time constants, `noise` the standard
    deviation of a free unit, `delay` that between dyads in tau, `window` the steps that a batch is held in training (None:
    as `train` has it). With a `threshold` signals are sent as events, when they have moved by more than that; it and circuits
    that are not ideal are to be had on the reference (but for the threshold) and on Brian2. The `seed` draws network, data and
    circuit. Raises OptionError.
    """

    what: str = "settling"
    sweep: str = ""
    depth: int = 4
    width: int = 16
    batch: int = 2
    alpha: float = 1.0
    spread: float = 0.0
    noise: float = 0.0
    delay: float = 0.0
    threshold: float | None = None
    window: int | None = None
    epochs: int = 3
    seed: int = 0
    backend: str = "reference"
    tolerances: tuple[float, ...] = TOLERANCES

    def __post_init__(self) -> None:
        """Check every setting."""
        if self.what not in _KINDS:
            raise OptionError("what", f"{self.what!r} is no kind of point", f"use one of {list(_KINDS)}")
        for name, least in (("depth", 1), ("width", 1), ("batch", 1), ("epochs", 1), ("seed", 0), ("window", 1)):
            value = getattr(self, name)
            if name == "window" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise OptionError(name, f"{value!r} is not an integer of at least {least}", f"use for example {least}")
            object.__setattr__(self, name, int(value))
        for name in ("spread", "noise", "delay", "threshold"):
            value = getattr(self, name)
            if name == "threshold" and value is None:
                continue
            if not (is_real(value) and value >= 0):
                raise OptionError(name, f"{value!r} is not a number of at least 0", "use for example 0.1")
            object.__setattr__(self, name, float(value))
        if self.window is not None and self.what != "training":
            raise OptionError("window", "is given for a point that does not learn", 'leave it out, or use what="training"')
        for name in ("sweep", "backend"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(name, f"{getattr(self, name)!r} is no name", "use text")
        if self.threshold is not None and self.backend not in _TARGETS:
            raise OptionError("threshold", f"is given, and {self.backend!r} sends no events", f"use one of {list(_TARGETS)}")
        object.__setattr__(self, "alpha", check_step_size("alpha", self.alpha))
        object.__setattr__(self, "tolerances", check_tolerances(self.tolerances))


_MEASURED = (
    "tolerance",
    "steps",
    "time",
    "predicted_steps",
    "predicted_time",
    "mixture_steps",
    "mixture_time",
    "error_at_2d",
    "final_error",
    "updates",
    "messages",
    "share",
    "seconds",
    "accuracy",
    "loss",
)
_DTYPES = {"str": "object", "int": "int64", "float": "float64", "int | None": "float64", "float | None": "float64"}
COLUMNS: Mapping[str, str] = {
    **{f.name: _DTYPES[str(f.type)] for f in fields(Point) if f.name != "tolerances"},
    **dict.fromkeys(_MEASURED, "float64"),
    "reason": "object",
}
"""The columns of a table of points, with their dtypes."""


def measure(point: Point) -> list[dict[str, Any]]:
    """Return the rows of a point, with `COLUMNS`, as plain values of JSON: a row a tolerance, or one of training or events.

    The same point gives the same rows but for `seconds`. A point that its backend refuses, or whose backend is not installed,
    gives one row with the `reason`.
    """
    measured = _training if point.what == "training" else _settling if point.threshold is None else _events
    try:
        found = measured(point)
    except (OptionError, DivergedError, MissingExtraError) as error:
        found = [{"reason": str(error)}]
    empty = dict.fromkeys(_MEASURED) | {"reason": ""}
    settings = {name: value for name, value in asdict(point).items() if name != "tolerances"}
    return [settings | empty | row for row in found]


def _chain(point: Point) -> tuple[Network, Array, Array]:
    """Return the network, the inputs and the targets of a point that does not learn."""
    network = Network.dense([point.width] * (point.depth + 1), seed=point.seed)
    rng = np.random.default_rng([point.seed, point.depth, point.width])
    inputs, targets = rng.normal(size=(2, point.batch, point.width))
    return network, inputs, targets


def _settling(point: Point) -> list[dict[str, Any]]:
    network, inputs, targets = _chain(point)
    substrate, last = _substrate(point, network), point.tolerances[-1]
    if substrate is not None:
        substrate.check(network, point.alpha)
    simulator, alpha = _simulator(point, substrate)
    predicted = [due(simulator, network, alpha, level) for level in point.tolerances]
    foretold: list[float | None] = [None] * len(predicted)
    if substrate is None:
        foretold = list(Mixture(network, inputs, targets).settling_steps(point.alpha, point.tolerances, 2 * predicted[-1]))
    watched = enough(simulator, network, alpha, last) + math.ceil(_AFTER / alpha) if point.noise else None
    run = settle(network, inputs, targets, simulator, alpha=alpha, tolerance=last, steps=watched)
    sent = run.first.messages.total() / point.batch
    return [
        {
            "tolerance": level,
            "steps": n,
            "time": n and n * point.alpha,
            "predicted_steps": law,
            "predicted_time": law * point.alpha,
            "mixture_steps": mixed,
            "mixture_time": mixed and mixed * point.alpha,
            "error_at_2d": float(run.errors[min(2 * point.depth, len(run.errors)) - 1]),
            "final_error": float(run.errors[predicted[-1] :].mean()),
            "updates": n and 2 * point.depth * point.width * n,
            "messages": n and n * sent,
            "seconds": n and n * run.seconds,
        }
        for level, law, mixed in zip(point.tolerances, predicted, foretold, strict=True)
        for n in [settled_from(run.errors, level)]
    ]


def _events(point: Point) -> list[dict[str, Any]]:
    network, inputs, targets = _chain(point)
    substrate = _substrate(point, network)
    if substrate is not None:
        substrate.check(network, point.alpha)
    simulator, alpha = _simulator(point, substrate)
    steps = enough(simulator, network, alpha, point.tolerances[-1])
    began = time.perf_counter()
    run = relax(network, inputs, targets, backend=simulator, alpha=alpha, steps=steps, record="last")
    seconds, sent = time.perf_counter() - began, run.messages.total()
    dense = relax(network, inputs, targets, alpha=point.alpha, steps=1).messages.total() * steps
    return [
        {
            "time": steps * point.alpha,
            "final_error": max(relative_error(run.gradients, backprop(network, inputs, targets)).values()),
            "updates": 2 * point.depth * point.width * steps,
            "messages": sent / point.batch,
            "share": sent / dense,
            "seconds": seconds,
        }
    ]


def _training(point: Point) -> list[dict[str, Any]]:
    data = _digits()
    hidden = [point.width] * (point.depth - 1)
    network = Network.dense([data.features, *hidden, data.classes], loss="cross_entropy", seed=point.seed)
    substrate = _substrate(point, network)
    slowed = substrate if point.backend in _TARGETS else _slowed(substrate, network, point.alpha)
    simulator, _ = _simulator(point, slowed)
    began = time.perf_counter()
    done = train(
        network,
        data,
        backend=simulator,
        epochs=point.epochs,
        learning_rate=_RATE,
        seed=point.seed,
        window=point.window,
        progress=False,
    )
    seconds, last = time.perf_counter() - began, done.history[-1]
    samples = len(data.inputs) * point.epochs
    return [
        {
            "time": point.window and point.window * point.alpha,
            "accuracy": last.validation,
            "loss": last.loss,
            "messages": sum(epoch.messages for epoch in done.history) / samples,
            "seconds": seconds,
        }
    ]


@cache
def _digits() -> datasets.Dataset:
    return datasets.digits()


def _substrate(point: Point, network: Network) -> Substrate | None:
    """Return what the circuit is made of, None for an ideal one."""
    if not (point.spread or point.noise or point.delay):
        return None
    between = [p.name for p in network.projections if p.source != network.input]
    delays = dict.fromkeys(between, point.delay) if point.delay else {}
    if point.spread:
        return Substrate.mismatch(network, point.spread, point.seed, noise=point.noise, delays=delays)
    return Substrate(delays=delays, noise=point.noise, seed=point.seed)


def _slowed(substrate: Substrate | None, network: Network, alpha: float) -> Substrate | None:
    """Return a circuit whose steps of dt = tau are steps of `alpha` in the one given: all its times are 1 / alpha as long."""
    if alpha == 1.0:
        return substrate
    given = substrate or Substrate()
    ratios = {p.name: given.time_constants.get(p.name, (1.0, 1.0)) for p in network.dynamic}
    return Substrate(
        {name: (potential / alpha, sensitivity / alpha) for name, (potential, sensitivity) in ratios.items()},
        {name: (forward / alpha, backward / alpha) for name, (forward, backward) in given.delays.items()},
        given.noise,
        given.seed,
    )


def _simulator(point: Point, substrate: Substrate | None) -> tuple[Backend, float]:
    """Return the backend, made of the substrate, and its step size. Raises OptionError if it cannot be, MissingExtraError."""
    if point.backend == "reference":
        return Reference(substrate, stacked=substrate is None), point.alpha
    plain = substrate is None and point.threshold is None
    if point.backend in _TARGETS and not (plain and point.what == "settling"):
        resolve(point.backend)  # raises what is missing
        circuit = stepped(point.alpha, _TARGETS[point.backend], substrate=substrate, threshold=point.threshold)
        return circuit, circuit.alpha  # which has been in seconds, and may differ in its last digit
    if not plain:
        problem = f"{point.backend!r} has no time constants, noise or delays of its own in sweeps"
        raise OptionError("backend", problem, "use 'reference' or Brian2, or timestep.compare, which takes backends as objects")
    return kept(point.backend), point.alpha
