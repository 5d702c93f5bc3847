"""Circuits that run in this process: Brian2's targets Cython and NumPy."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.brian2.circuit import Blueprint, build
from dyadic_neuro.errors import DyadicError, FileError, SimulatorError
from dyadic_neuro.network import Network

_CACHE = "codegen.runtime.cython.cache_dir"
_PREFERENCES = {
    "core.stop_on_keyboard_interrupt": False,  # or a Ctrl-C would only end the run, half done, without a word
    "core.default_float_dtype": np.float64,  # of what has no type of its own
}
_IMPORTING = threading.Lock()
_ALONE = threading.Lock()  # Brian2 has one active device and one running network in a process


def imported() -> Any:  # noqa: ANN401
    """Return the module brian2.

    Importing it takes Ctrl-C, warnings and uncaught errors into its own hands: they are given back to the program.
    """
    with _IMPORTING:
        if "brian2" in sys.modules:
            return import_module("brian2")  # which waits, if another thread is at it
        with _quiet(), _given_back():
            return import_module("brian2")


@contextmanager
def _given_back() -> Iterator[None]:
    log = logging.getLogger("py.warnings")
    hook, show, handlers = sys.excepthook, warnings.showwarning, list(log.handlers)
    main = threading.current_thread() is threading.main_thread()
    set_signal, interrupt = signal.signal, signal.getsignal(signal.SIGINT)
    if not main:  # where no signal can be set, and Brian2 would fail by trying
        signal.signal = lambda *_: None
    try:
        yield
    finally:
        signal.signal = set_signal
        if main:
            signal.signal(signal.SIGINT, interrupt)
        sys.excepthook = hook
        if warnings.showwarning is not show:
            logging.captureWarnings(capture=False)
        log.handlers[:] = handlers


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to Brian2 what it is warned of: names of pyparsing's that are to go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class Runtime:
    """A circuit of Brian2 objects, to be run any number of times."""

    def __init__(self, blueprint: Blueprint, network: Network, target: str, directory: str | None) -> None:
        self._blueprint, self._network, self._target, self._directory = blueprint, network, target, directory
        self._built: tuple[Any, dict[str, Any]] | None = None

    def run(self, values: Mapping[str, Array | float], steps: int, wanted: Sequence[str]) -> dict[str, Array]:
        """Set the values ("object.variable"), run that many steps of the clock, return what is wanted and "origin".

        Raises SimulatorError if Brian2 fails.
        """
        with self._undisturbed() as brian2:
            net, objects = self._circuit(brian2)
            self._built = None  # whatever ends a run before its end leaves a circuit that nobody wants
            origin = int(objects["clock"].variables["timestep"].get_value().item())
            for name, value in {**values, "conductor.origin": origin}.items():
                owner, variable = name.split(".")
                objects[owner].variables[variable].set_value(value)
            for monitor in (objects[name] for name in ("recorder", "events") if name in objects):
                monitor.resize(0)
                monitor.variables["N"].set_value(0)
            net.run(steps * self._blueprint.dt_s * brian2.second, namespace={})
            self._built = net, objects
            found = {name: np.array(objects[o].variables[v].get_value()) for name in wanted for o, v in [name.split(".")]}
        return found | {"origin": np.array(origin)}

    def _circuit(self, brian2: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        if self._built is not None:
            return self._built
        targets = brian2.codegen.targets.codegen_targets
        return build(self._blueprint, self._network, {code.class_name: code for code in targets}[self._target])

    def close(self) -> None:
        """Forget the circuit."""
        self._built = None

    @contextmanager
    def _undisturbed(self) -> Iterator[Any]:
        """Run on the runtime device whatever device the user has, with a cache of one's own, and leave both as they were."""
        brian2 = imported()
        devices: Any = sys.modules["brian2.devices.device"]  # as an attribute it is hidden by the active device
        with _ALONE, _quiet():
            wanted = _PREFERENCES | ({} if self._directory is None else {_CACHE: self._directory})
            active, before = devices.active_device, {name: brian2.prefs[name] for name in wanted}
            devices.active_device = devices.runtime_device
            _prefer(brian2, wanted)
            try:
                yield brian2
            except (brian2.BrianObjectException, OSError) as error:
                raise _typed(error) from error
            finally:
                devices.active_device = active
                _prefer(brian2, before)


def _prefer(brian2: Any, values: Mapping[str, Any]) -> None:  # noqa: ANN401
    for name, value in values.items():
        brian2.prefs[name] = value


def _typed(error: Exception) -> DyadicError:
    """Return what Brian2's error is to a user: a folder that cannot be written, or a failure of the simulator."""
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        fix = "name a folder of yours: Brian2(directory=...)"
        return FileError("directory", f"cannot hold what Cython compiles ({cause})", fix)
    return SimulatorError("brian2", str(cause), "see Brian2's words")
