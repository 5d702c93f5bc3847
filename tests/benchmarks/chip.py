"""The chip backend beside SANA-FE and Lava, and the mapper at the size of the largest systems."""

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.mappings.raster import Raster
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies import sanafe
from dyadic_neuro.studies.crosscheck import scheduled, write_files
from tests.benchmarks.lava import step_seconds
from tests.benchmarks.measure import Row, medians

LAYERS = (400, 400, 10)
STEPS = 4  # of a relaxation: 2D


@dataclass(frozen=True)
class Pace:
    """Seconds of a step and sample: as a rule, and in the first run."""

    usual: float
    first: float


def rows():
    network = dn.Network.dense(LAYERS, activation="tanh", loss="cross_entropy", seed=0)
    ours = {batch: relaxing(network, batch) for batch in (1, 64)}
    if importlib.util.find_spec("sanafe"):
        yield from beside_sanafe(network, ours)
    yield from beside_lava(network, ours)
    yield from mapping_large()
    yield from mapping_growth()


def relaxing(network, batch):
    """Return the seconds of a step and sample, all events counted and priced: whole relaxations of 2D steps."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(batch, LAYERS[0])), rng.integers(LAYERS[-1], size=batch)
    backend = dn.backends.MappedChip(dn.map_network(network, "loihi1-sanafe", objective="latency"), fast=True)
    order = prepare(network, x, y, steps=STEPS, record="last")
    with backend.open(network) as session:
        began = time.perf_counter()
        session.relax(order).cost.energy_j  # noqa: B018  (the first run works the counts of a step out)
        first = time.perf_counter() - began
        (seconds,) = medians(lambda: session.relax(order).cost.energy_j, repeats=200)
    return Pace(seconds / STEPS / batch, first / STEPS / batch)


def beside_sanafe(network, ours):
    """Dense activity: every neuron that has somewhere to send sends in every step. SANA-FE with its default threads."""
    mapping = dn.map_network(network, "loihi1-sanafe", objective="latency")
    steps, sent = 100, scheduled(mapping, "free", 100)
    with tempfile.TemporaryDirectory() as folder:
        write_files(mapping, sent, folder, updates="sent")
        theirs = min(sanafe.run(folder).seconds for _ in range(3)) / steps
    what = f"chip, {'-'.join(map(str, LAYERS))} on loihi1: SANA-FE's time for a step / ours"
    for batch, pace in ours.items():
        detail = f"SANA-FE {theirs * 1e3:.2f} ms, ours {pace.usual * 1e6:.1f} us ({pace.first * 1e6:.0f} us in the first run)"
        yield Row(f"{what}, batch {batch}", theirs / pace.usual, 100, "x", detail, at_least=True)
    raster, many = Raster(mapping), np.repeat(sent, 40, axis=0)
    (counting,) = medians(lambda: raster.steps_s(raster.count(many)), repeats=15)
    detail = f"{counting / len(many) * 1e6:.2f} us a step, counts and times of {len(many):,} steps"
    yield Row(f"{what}, counting a raster", theirs / (counting / len(many)), 1000, "x", detail, at_least=True)


def beside_lava(network, ours):
    """One Lava process a core, on the fast mapping and on the one with the fewest cores, where there is little to save."""
    for objective in ("latency", "cores"):
        mapping = dn.map_network(network, "loihi1", objective=objective)
        backend = dn.backends.Lava(mapping=mapping, timeout=60.0)
        theirs = {batch: step_seconds(backend, network, batch, 10, 60) / batch for batch in (1, 64)}
        what = f"chip: a step of Lava with a process for each of {len(mapping.cores)} cores"
        pairs = ((1, 1, 100), (1, 64, 500), (64, 64, 500)) if objective == "latency" else ((1, 1, 100), (64, 64, 500))
        for lava, chip, limit in pairs:
            name = f"{what}, batch {lava} / ours, batch {chip}, per sample"
            detail = f"Lava {theirs[lava] * 1e6:.0f} us, ours {ours[chip].usual * 1e6:.1f} us a step and sample"
            yield Row(name, theirs[lava] / ours[chip].usual, limit, "x", detail, at_least=True)


CHILD = """
import json, sys, time
import dyadic_neuro as dn
sizes, chips = json.loads(sys.argv[1]), tuple(json.loads(sys.argv[2]))
began, cpu = time.perf_counter(), time.process_time()
mapping = dn.map_network(dn.Network.specification(sizes), dn.Chip.load("hala-point", chips=chips))
mapping.verify()
busiest = mapping.links.busiest()
seconds = time.perf_counter() - began, time.process_time() - cpu
status = dict(line.split(":", 1) for line in open("/proc/self/status"))  # ru_maxrss would be the parent's, if that is larger
print(json.dumps([len(mapping.cores), *seconds, int(status["VmHWM"].split()[0]) * 1024]))
"""


def mapped(sizes, chips):
    """Return cores in use, seconds, processor's seconds and peak memory of mapping a chain in a process of its own."""
    out = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(sizes), json.dumps(chips)], capture_output=True, text=True, check=True
    )
    return json.loads(out.stdout)


def mapping_large():
    """1152 chips filled: 105 layers of about 1,340 cores each."""
    cores, seconds, _, peak = mapped([8000] * 104 + [8192] * 2 + [10], (32, 36))
    detail = f"{cores:,} of 140,544 cores of 1152 chips; partition, placement, routes, link loads, verify"
    yield Row("mapping 1152 chips: seconds, everything included", seconds, 30.0, "s", detail)
    yield Row("mapping 1152 chips: peak memory", peak / 1e9, 2.0, "GB", f"{peak / 1e6:.0f} MB of the whole process")


def mapping_growth():
    """100, 1,000, 10,000 and 100,000 cores; with few cores the time is that of starting."""
    cases = [([1300] * 4, (1, 1)), ([2600] * 8, (3, 3)), ([5000] * 16, (10, 10)), ([8000] * 75, (28, 32))]
    found = [mapped(sizes, chips) for sizes, chips in cases]
    steepest = max(math.log(b[2] / a[2]) / math.log(b[0] / a[0]) for i, a in enumerate(found) for b in found[i + 1 :])
    detail = ", ".join(f"{cpu:.2f} s for {cores:,}" for cores, _, cpu, _ in found)
    yield Row("mapping: exponent of its time over the cores", steepest, 1.1, "", detail)
