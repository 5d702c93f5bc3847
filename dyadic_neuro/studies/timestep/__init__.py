"""The study of discrete against continuous time.

`compare` takes a network, data, step sizes and backends; `sweeps` has many random networks, deep, mismatched, noisy, delayed,
event-driven or learning too early; `answers` says in words what the tables hold. `settling` measures, `mixture` foretells,
`runs` has one relaxation, `points` one of a sweep.
"""

from dyadic_neuro.studies.timestep import sweeps
from dyadic_neuro.studies.timestep.comparison import ALPHAS, FILES, Comparison, compare
from dyadic_neuro.studies.timestep.points import Point
from dyadic_neuro.studies.timestep.words import answers

__all__ = ["ALPHAS", "FILES", "Comparison", "Point", "answers", "compare", "sweeps"]
