"""`Brian2`, the backend."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from numbers import Real
from typing import Any

import numpy as np

from dyadic_neuro.backends.base import version_of
from dyadic_neuro.backends.brian2.circuit import Blueprint
from dyadic_neuro.backends.brian2.deployment import Engine, Setting
from dyadic_neuro.backends.brian2.equations import COORDINATES, Form
from dyadic_neuro.backends.brian2.functions import own_functions
from dyadic_neuro.backends.brian2.integrators import integrator
from dyadic_neuro.backends.brian2.runtime import Runtime, imported
from dyadic_neuro.backends.brian2.session import Brian2Session
from dyadic_neuro.backends.brian2.standalone import Standalone
from dyadic_neuro.errors import FileError, OptionError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.substrate import Substrate

NAMES = {"cython": "brian2", "numpy": "brian2-numpy", "cpp_standalone": "brian2-standalone"}
"""The name of the backend on each of Brian2's targets."""
_RUNS = {"cython": "compiled by Cython", "numpy": "its NumPy code", "cpp_standalone": "a C++ program of its own"}
PLASTICITY = ("windowed", "continuous")
_TAU_S = 0.01
_ROUNDED = 1.0 + 1e-14  # dt / tau that differs from 1 by rounding
_KEPT = 16  # circuits of a backend object; the longest unused one goes
_LIMIT = 2.0  # dt / tau from which a step is unstable
_COMPILER = (
    "install a C++ compiler (apt install g++ make; or name yours in CXX), or use Brian2(target='numpy'), or Brian2(fallback=True)"
)


class Brian2:
    """Runs a network as a Brian2 circuit: tau du/dt = F(u) - u, tau ds/dt = phi'(u) W^T s + dC/du - s.

    - `tau` and `dt` are times with Brian2's units (10 ms; dt = tau, which is the unit step and exact at 2D).
    - `target` is "cython", "numpy" or "cpp_standalone"; where no compiler is found, `fallback` takes numpy instead of an error,
      and `target` says so.
    - `method` is "euler", or "rk2" or "rk4" with dt <= tau: of orders 1, 2 and 4, as measured.
    - `substrate` adds unequal time constants, delays and noise.
    - `coordinates` are "potential" (u, s) or "dyad" (z+ = u + s/2, z- = u - s/2).
    - `threshold`, a number or a pair (rates, sensitivities): axons send an event only when their signal has moved by more than
      that. `trace.messages` counts them.
    - `plasticity` is "windowed" (weights change in the last step of a sample's window) or "continuous" (dw/dt all the time, from
      transients too: with dt = 0.5 tau the weights' change was measured 76 % off gradient descent's in windows of 12 steps, 12 %
      from 120 steps on).
    - `directory` keeps what is compiled for later programs. Without one, Cython's goes where Brian2 keeps it, and standalone
      programs go when the backend does.

    Keep the object: it compiles a circuit once, and then serves every sample, weight and schedule with it. On Cython that is one
    text for all networks, compiled in the very first run (about a minute); a standalone program takes some ten seconds for each
    network and object. Samples are presented one after the other, those of a batch too: where windows are too short to settle,
    learning differs from the reference, which has a circuit for each sample of a batch. With rk2 and rk4 `trace.gradients` are
    read in the last stage, and differ from `gradients_at` until the circuit has settled.

    Raises OptionError, UnknownNameError and FileError.
    """

    tolerance = 1e-12
    unsupported: Mapping[str, str] = {}

    def __init__(
        self,
        tau: Any = None,  # noqa: ANN401  (a quantity of Brian2, which is not there yet)
        dt: Any = None,  # noqa: ANN401
        target: str = "cython",
        *,
        method: str = "euler",
        substrate: Substrate | None = None,
        coordinates: str = "potential",
        threshold: float | tuple[float, float] | None = None,
        plasticity: str = "windowed",
        directory: str | os.PathLike[str] | None = None,
        fallback: bool = False,
    ) -> None:
        for field, value, known in (
            ("target", target, tuple(NAMES)),
            ("coordinates", coordinates, COORDINATES),
            ("plasticity", plasticity, PLASTICITY),
        ):
            if value not in known:
                raise UnknownNameError(field, f"{value!r} is not known", f"use one of {list(known)}")
        if not isinstance(fallback, bool):
            raise OptionError("fallback", f"{fallback!r} is neither True nor False", "use one of them")
        if substrate is not None and not isinstance(substrate, Substrate):
            raise OptionError("substrate", f"{type(substrate).__name__} is not a Substrate", "pass dn.Substrate(...)")
        found = integrator(method)
        tau_s = _TAU_S if tau is None else _seconds("tau", tau)
        dt_s = tau_s if dt is None else _seconds("dt", dt)
        if not dt_s < _LIMIT * tau_s:
            raise OptionError("dt", f"{dt} is not below 2 tau = {2 * tau_s:g} s: a step is unstable", "use dt = tau, or less")
        if found.stages > 1 and dt_s > tau_s * _ROUNDED:
            raise OptionError("dt", f"{dt} is beyond tau, where {method} follows continuous time no more", "use dt <= tau")
        if tau_s / _ROUNDED < dt_s < tau_s * _ROUNDED:
            dt_s = tau_s  # the same time in other units
        self.substrate = substrate
        self.alpha = dt_s / tau_s
        self._directory = None if directory is None else _writable(directory)
        self.target = target if not (fallback and _compiler_missing(target)) else "numpy"
        self.name = NAMES[self.target]
        form = Form(method, coordinates, events=threshold is not None, continuous=plasticity == "continuous")
        _check(form, substrate or Substrate())
        self._setting = Setting(self.name, form, dt_s, substrate or Substrate(), _thresholds(threshold))
        self._integrator = found
        self._circuits: dict[Any, Engine] = {}

    @property
    def runs_on(self) -> str:
        """What really runs."""
        return f"Brian2 {version_of('brian2')}, {_RUNS[self.target]} on the CPU"

    def missing(self) -> str | None:
        """Return what must be installed: Brian2 itself, or a compiler for the target."""
        if find_spec("brian2") is None:
            return "pip install 'dyadic-neuro[brian2]'"
        return _COMPILER if _compiler_missing(self.target) else None

    @property
    def stages(self) -> int:
        """Updates of every neuron in a step."""
        return self._integrator.stages

    @property
    def settling_steps(self) -> Callable[..., int] | None:
        """What tells how many steps a relaxation takes, where they are not Euler's, whose law is the substrate's."""
        return None if self._integrator.order == 1 else self._settling_steps

    def _settling_steps(self, network: Network, alpha: float, tolerance: float, *, switched: bool) -> int:  # noqa: ARG002
        """Return the steps of the integrator's own law for the slowest unit. Raises OptionError, CycleError."""
        paces = [np.asarray(p) for pair in self._setting.substrate.paces(network, alpha).values() for p in pair]
        if max(float(pace.max()) for pace in paces) > _ROUNDED:
            fix = "use a smaller dt, or give the steps"
            raise OptionError("dt", "is beyond the shortest time constant, where the integrator has no law", fix)
        slowest = min(float(pace.min()) for pace in paces)
        return self._integrator.settling_steps(network.relaxation_steps, min(slowest, 1.0), tolerance)

    def open(self, network: Network) -> Brian2Session:
        """Return a session. Raises OptionError for functions of a user's own that the target cannot compile."""
        own = own_functions(network)
        if own and self.target != "numpy":
            fix = "use Brian2(target='numpy'), or another backend"
            raise OptionError("network", f"has functions of your own ({', '.join(own)}), which are not compiled", fix)
        return Brian2Session(network, self._setting, self._engine)

    def close(self) -> None:
        """Forget the compiled circuits; what is temporary goes with them."""
        for circuit in self._circuits.values():
            circuit.close()
        self._circuits.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the compiled circuits behind: they belong to this process."""
        return {**self.__dict__, "_circuits": {}}

    def _engine(self, blueprint: Blueprint, network: Network) -> Engine:
        """Return the circuit for this blueprint, compiling it the first time."""
        key = (blueprint.key, network.fingerprint if self.target == "numpy" else "")  # NumPy runs the network's own functions
        found = self._circuits.pop(key, None) or (
            Standalone(blueprint, self._directory)
            if self.target == "cpp_standalone"
            else Runtime(blueprint, network, self.target, self._directory)
        )
        self._circuits[key] = found  # the last used at the end
        if len(self._circuits) > _KEPT:
            self._circuits.pop(next(iter(self._circuits))).close()
        return found


def on_numpy() -> Brian2:
    """Return the backend on the target that needs no compiler."""
    return Brian2(target="numpy")


def on_standalone() -> Brian2:
    """Return the backend on the target that compiles a circuit into a program of its own."""
    return Brian2(target="cpp_standalone")


def stepped(alpha: float, target: str = "cython", **options: Any) -> Brian2:  # noqa: ANN401
    """Return the backend with dt = alpha tau, and other options of `Brian2`, without a thought of units."""
    ms = imported().ms
    return Brian2(10 * ms, 10 * alpha * ms, target, **options)


def _seconds(field: str, value: Any) -> float:  # noqa: ANN401
    """Return a positive time of Brian2's in seconds. Raises OptionError."""
    fix = f"give a time, as in {field}=10*ms with `from brian2 import ms`"
    if not hasattr(value, "dim"):
        raise OptionError(field, f"{value!r} has no unit", fix)
    second = imported().second
    ratio = value / second
    if hasattr(ratio, "dim") and not ratio.dim.is_dimensionless:
        raise OptionError(field, f"{value} is not a time", fix)
    if np.ndim(ratio):
        raise OptionError(field, f"{value} is not one number", fix)
    found = float(ratio)
    if not 0 < found < math.inf:
        raise OptionError(field, f"{value} is not a positive time", fix)
    return found


def _thresholds(threshold: object) -> tuple[float, float]:
    """Return the thresholds of rates and of sensitivities. Raises OptionError."""
    if threshold is None:
        return 0.0, 0.0
    pair: tuple[Any, ...] = threshold if isinstance(threshold, tuple) and len(threshold) == 2 else (threshold, threshold)
    for value in pair:
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            problem = f"{threshold!r} is not a number of at least 0, nor a pair (rates, sensitivities)"
            raise OptionError("threshold", problem, "use for example 1e-3; 0 sends every change")
    return float(pair[0]), float(pair[1])


def _check(form: Form, substrate: Substrate) -> None:
    """Refuse what cannot be had together. Raises OptionError."""
    delayed, noisy = any(d for pair in substrate.delays.values() for d in pair), any(substrate.noise)
    unequal = any(not np.array_equal(*pair) for pair in substrate.time_constants.values())
    staged = form.integrator.stages > 1
    for field, wrong, problem, fix in (
        ("threshold", form.events and delayed, "and delays: an event carries what is shown when it arrives", "use one of them"),
        ("threshold", form.events and form.continuous, "and continuous plasticity: sums follow events only", "use 'windowed'"),
        ("method", staged and delayed, f"{form.method!r} and delays, which are whole steps", "use 'euler'"),
        ("method", staged and noisy, f"{form.method!r} and noise, of which it is no order", "use 'euler'"),
        ("method", staged and form.events, f"{form.method!r} and events", "use 'euler'"),
        (
            "coordinates",
            form.coordinates == "dyad" and unequal,
            "'dyad' and a potential that is not as fast as its sensitivity",
            "give one time constant for both, or coordinates='potential'",
        ),
    ):
        if wrong:
            raise OptionError(field, problem, fix)


def _compiler_missing(target: str) -> bool:
    compiler, *_ = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    tools = {"cython": (compiler,), "cpp_standalone": (compiler, "make")}.get(target, ())
    return any(shutil.which(tool) is None for tool in tools)


def _writable(directory: str | os.PathLike[str]) -> str:
    """Return the folder, making it if need be. Raises FileError."""
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (OSError, TypeError, ValueError) as error:
        raise FileError(str(directory), f"cannot hold compiled circuits ({error})", "name a folder of yours") from None
    return os.path.abspath(os.fspath(directory))
