"""The comparisons that users come for, one study a module; loaded when they are asked for: `dn.studies.timestep`."""

from __future__ import annotations

from dyadic_neuro.lazy import attach

__all__ = ["convergence", "crosscheck", "locality", "onchip", "timestep"]
__getattr__ = attach(__name__, {name: f"{__name__}.{name}" for name in __all__})
