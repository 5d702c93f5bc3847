"""What a backend is held to: `conformance` needs neither pytest nor hypothesis; `strategies` serves hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyadic_neuro.lazy import attach

if TYPE_CHECKING:
    from dyadic_neuro.testing import conformance, strategies

__all__ = ["conformance", "strategies"]
__getattr__ = attach(__name__, {name: f"dyadic_neuro.testing.{name}" for name in __all__})
