"""`Nengo`, the backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from dyadic_neuro.backends.base import Session, version_of
from dyadic_neuro.backends.nengo.model import INSTALL, positive
from dyadic_neuro.backends.nengo.session import NengoSession
from dyadic_neuro.errors import OptionError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import settling_steps

_OPTIONS = {
    "exact": (),
    "lowpass": ("tau", "dt"),
    "spiking": ("tau", "dt", "neurons_per_dimension", "neuron_type", "seed", "average", "calibration"),
}
_TAU_S, _DT_S = 0.1, 0.01
_SETTLES = "it settles as a lowpass does, exponentially: there is no step from which on it is exact"
_SMALL_STEPS: Mapping[str, str] = {
    "exact-at-2D": _SETTLES,
    "arrival": _SETTLES,
    "wavefront": "a wavefront updates each state once a window, which leaves a lowpass on its way",
}


class Nengo:
    """Runs a network as a Nengo model: populations are subnetworks of nodes and ensembles, and talk through connections.

    `mode` is one of

    - "exact": each hop takes one Nengo step, every state is the unit step's, gradients are exact at 2D. It takes any `alpha`
      in (0, 2) that `relax` is given.
    - "lowpass": continuous time, each hop is a `nengo.Lowpass(tau)`, which a sample to relax begins in its initial state; `tau`
      and `dt` in seconds (0.1 and 0.01): alpha = 1 - exp(-dt / tau).
    - "spiking": populations of spiking neurons, with `neurons_per_dimension`, `neuron_type`, `seed`, `average`,
      `calibration`, `tau` and `dt` as in `Spiking`.

    Samples are presented one after the other, those of a batch too: where windows are too short to settle, learning differs
    from the reference, which has a circuit for each sample of a batch. `circuit(network)` gives the model itself.

    Raises UnknownNameError for another mode, OptionError for an option of another mode or out of its limits.
    """

    def __init__(
        self,
        mode: str = "exact",
        *,
        tau: float | None = None,
        dt: float | None = None,
        neurons_per_dimension: int | None = None,
        neuron_type: Any = None,  # noqa: ANN401  (a name, or an object of Nengo)
        seed: int | None = None,
        average: float | None = None,
        calibration: Any = None,  # noqa: ANN401  (a pair of arrays)
    ) -> None:
        if mode not in _OPTIONS:
            raise UnknownNameError("mode", f"{mode!r} is not known", f"use one of {list(_OPTIONS)}")
        options: dict[str, Any] = {
            "tau": tau,
            "dt": dt,
            "neurons_per_dimension": neurons_per_dimension,
            "neuron_type": neuron_type,
            "seed": seed,
            "average": average,
            "calibration": calibration,
        }
        given = {name: value for name, value in options.items() if value is not None}
        for name in given:
            if name not in _OPTIONS[mode]:
                known = [m for m, names in _OPTIONS.items() if name in names]
                raise OptionError(name, f"is no option of mode {mode!r}", f"leave it out, or use mode={known[0]!r}")
        self.mode = mode
        self.name = "nengo" if mode == "exact" else f"nengo-{mode}"
        self.tolerance = 1e-12
        self.unsupported: Mapping[str, str] = {}
        self.alpha = self.dt_over_tau = self._dt = 1.0
        self._tau, self._spiking = None, None
        if mode == "lowpass":
            self._dt = positive("dt", given.get("dt", _DT_S), "a time in seconds, above 0")
            self._tau = positive("tau", given.get("tau", _TAU_S), "a time in seconds, above 0")
            self.dt_over_tau = self._dt / self._tau
            self.alpha = -math.expm1(-self.dt_over_tau)
            self.unsupported = _SMALL_STEPS
        if mode == "spiking":
            from dyadic_neuro.backends.nengo.spiking import Spiking

            self._spiking = Spiking(**given)
            self.alpha, self.tolerance, self.cosine = self._spiking.alpha, self._spiking.tolerance, self._spiking.cosine
            self.dt_over_tau, self.unsupported = self._spiking.dt_over_tau, self._spiking.unsupported

    @property
    def runs_on(self) -> str:
        """What really runs."""
        return f"Nengo {version_of('nengo')}, its own simulator on the CPU"

    def missing(self) -> str | None:
        """Return what must be installed: Nengo."""
        return None if find_spec("nengo") else INSTALL

    def settling_steps(self, network: Network, alpha: float, tolerance: float, *, switched: bool) -> int:
        """Return the steps after which the state is expected within `tolerance`. Raises CycleError and OptionError."""
        if self._spiking is not None:
            return self._spiking.settling_steps(network, alpha, tolerance, switched=switched)
        return settling_steps(network.depth, alpha, tolerance)

    def open(self, network: Network) -> Session:
        """Return a session for the network."""
        if self._spiking is not None:
            return self._spiking.open(network)
        return NengoSession(network, self.name, self.runs_on, self._dt, self._tau)


def on_lowpass() -> Nengo:
    """Return the backend in continuous time."""
    return Nengo("lowpass")


def on_spikes() -> Nengo:
    """Return the backend with spiking neurons."""
    return Nengo("spiking")
