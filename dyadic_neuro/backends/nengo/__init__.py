"""The Nengo backends: the circuit of the unit step and in continuous time, spiking populations, and NengoLoihi's emulator.

`model` makes Nengo's objects of a network, of `objects` where Nengo has none, with `synapses` that learn; `session` takes
orders, with `units` that take on any state. `spiking` and `loihi` run populations of spiking neurons, which `nef` makes, with
ranges from `calibration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyadic_neuro.backends.nengo.backend import Nengo, on_lowpass, on_spikes
from dyadic_neuro.backends.nengo.model import circuit
from dyadic_neuro.lazy import attach

if TYPE_CHECKING:
    from dyadic_neuro.backends.nengo.loihi import NengoLoihi
    from dyadic_neuro.backends.nengo.nef import spiking_circuit

__all__ = ["Nengo", "NengoLoihi", "circuit", "on_lowpass", "on_spikes", "spiking_circuit"]
__getattr__ = attach(
    __name__,
    {"NengoLoihi": "dyadic_neuro.backends.nengo.loihi", "spiking_circuit": "dyadic_neuro.backends.nengo.nef"},
)
