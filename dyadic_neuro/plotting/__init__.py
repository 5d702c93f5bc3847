"""Figures: what relaxing and training did, who knew what when, what lies where on a chip. Needs matplotlib (extra `plot`)."""

from dyadic_neuro.plotting.agreement import error_maps
from dyadic_neuro.plotting.canvas import available, check, save
from dyadic_neuro.plotting.layout import mesh
from dyadic_neuro.plotting.learning import learning_curve, waves
from dyadic_neuro.plotting.locality import dependencies, light_cones, recovery_times, traffic_by_step
from dyadic_neuro.plotting.precision import lost_precision
from dyadic_neuro.plotting.steps import timetable
from dyadic_neuro.plotting.timestep import approach, imperfections, settling_costs
from dyadic_neuro.plotting.traffic import link_loads

__all__ = [
    "approach",
    "available",
    "check",
    "dependencies",
    "error_maps",
    "imperfections",
    "learning_curve",
    "light_cones",
    "link_loads",
    "lost_precision",
    "mesh",
    "recovery_times",
    "save",
    "settling_costs",
    "timetable",
    "traffic_by_step",
    "waves",
]
