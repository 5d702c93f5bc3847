"""How long a sweep of the study takes, and what stacking deep and narrow networks is worth to it."""

import os
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies.timestep import Point, sweeps
from tests.benchmarks.measure import Row, medians

ALPHAS = (1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
DEPTHS = (2, 4, 8, 16, 32)
SEEDS = range(20)
STEPS = 500


def sweep():
    points = [Point(depth=depth, alpha=alpha, seed=seed) for depth in DEPTHS for alpha in ALPHAS for seed in SEEDS]
    workers = os.cpu_count() or 1
    began = time.perf_counter()
    with ProcessPoolExecutor(workers) as executor:
        sweeps.run(points, executor=executor, progress=False)
    seconds = time.perf_counter() - began
    what = f"sweep of {len(ALPHAS)} step sizes x {len(DEPTHS)} depths x {len(SEEDS)} seeds on the reference: seconds"
    return Row(what, seconds, 60.0, "s", f"{workers} processes, depths to {max(DEPTHS)}, alpha to {min(ALPHAS)}")


def stacked():
    net, rng = dn.Network.dense([16] * 32 + [10], "tanh", seed=0), np.random.default_rng(0)
    order = prepare(net, rng.normal(size=(4, 16)), rng.normal(size=(4, 10)), alpha=0.1, steps=STEPS)
    plain, fast = Reference().open(net), Reference(stacked=True).open(net)
    slow_s, fast_s = medians(lambda: plain.relax(order), lambda: fast.relax(order), repeats=15)
    detail = f"{fast_s / STEPS * 1e6:.0f} us a step, {slow_s / STEPS * 1e6:.0f} us population by population"
    return Row(
        "32 layers of 16, batch 4: speed of Reference(stacked=True) / plain", slow_s / fast_s, 5.0, "x", detail, at_least=True
    )


def rows():
    return [sweep(), stacked()]
