"""The reference backend: `backend`, and the circuits that it runs: population by population, physical, or stacked."""

from dyadic_neuro.backends.reference.backend import Reference

__all__ = ["Reference"]
