"""Simulators that run a network, found through the entry-point group `dyadic_neuro.backends`.

The classes are loaded when they are asked for: `dn.backends.Lava(timeout=20.0)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyadic_neuro.lazy import attach

if TYPE_CHECKING:
    from dyadic_neuro.backends.base import available, resolve
    from dyadic_neuro.backends.brian2 import Brian2
    from dyadic_neuro.backends.chip import MappedChip
    from dyadic_neuro.backends.lava import Lava
    from dyadic_neuro.backends.nengo import Nengo, NengoLoihi
    from dyadic_neuro.backends.reference import Reference

__all__ = ["Brian2", "Lava", "MappedChip", "Nengo", "NengoLoihi", "Reference", "available", "resolve"]
__getattr__ = attach(
    __name__,
    {
        "Brian2": "dyadic_neuro.backends.brian2",
        "Lava": "dyadic_neuro.backends.lava",
        "MappedChip": "dyadic_neuro.backends.chip",
        "Nengo": "dyadic_neuro.backends.nengo",
        "NengoLoihi": "dyadic_neuro.backends.nengo",
        "Reference": "dyadic_neuro.backends.reference",
        "available": "dyadic_neuro.backends.base",
        "resolve": "dyadic_neuro.backends.base",
    },
)
