"""The orders that a session understands, as `relax` would give them for a backend."""

from __future__ import annotations

from typing import Any

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, Relaxation, deployed
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import predicted_steps, prepare

_TINY = 1e-14  # what is left has no weight beside rounding


def order(backend: Backend, network: Network, inputs: Array, targets: Array, **options: Any) -> Relaxation:  # noqa: ANN401
    """Return the order for a session of the backend. Takes and raises what `relax` does."""
    return prepare(
        network,
        inputs,
        targets,
        running=deployed(backend, network),
        backend_alpha=backend.alpha,
        substrate=getattr(backend, "substrate", None),
        settling=getattr(backend, "settling_steps", None),
        **options,
    )


def settled(backend: Backend, network: Network, *, switched: bool = False, tolerance: float = _TINY) -> int:
    """Return the steps after which the backend should be exact but for rounding: 2D, if its dt is tau.

    `switched` tells that inputs change while the circuit runs, as in learning.
    """
    running, substrate = deployed(backend, network), getattr(backend, "substrate", None)
    settling = getattr(backend, "settling_steps", None)
    return predicted_steps(running, backend.alpha, tolerance, substrate, settling, switched=switched)
