"""Figures: what a relaxation and a training did, and what lies where on a chip. Needs matplotlib (the extra `plot`)."""

from dyadic_neuro.plotting.agreement import error_maps
from dyadic_neuro.plotting.canvas import available, check, save
from dyadic_neuro.plotting.layout import mesh
from dyadic_neuro.plotting.learning import learning_curve, waves
from dyadic_neuro.plotting.steps import timetable
from dyadic_neuro.plotting.timestep import approach, imperfections, settling_costs
from dyadic_neuro.plotting.traffic import link_loads

__all__ = [
    "approach",
    "available",
    "check",
    "error_maps",
    "imperfections",
    "learning_curve",
    "link_loads",
    "mesh",
    "save",
    "settling_costs",
    "timetable",
    "waves",
]
