"""The Lava backend: time per process and step, beside the reference's step, and its memory."""

import threading
import time

import numpy as np
from threadpoolctl import threadpool_limits

import dyadic_neuro as dn
from dyadic_neuro.backends.lava import Lava
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.relaxation import prepare
from tests.benchmarks.measure import Row


def step_seconds(backend, net, batch, few, many):
    """Return the seconds of one step: the difference between a long and a short run, so that set-up does not count."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, net.population("input").size))
    y = rng.integers(net.population("output").size, size=batch)
    with backend.open(net) as session:
        seconds = []
        for steps in (few, many, few, many, few, many):
            order = prepare(net, x, y, steps=steps, record="last")
            began = time.perf_counter()
            session.relax(order)
            seconds.append(time.perf_counter() - began)
    return (min(seconds[1::2]) - min(seconds[0::2])) / (many - few)


def processes(net):
    """Input, loss and recorder, and two for every other population."""
    return 3 + 2 * len(net.dynamic)


def rows():
    found = []
    for sizes in ((64, 64, 10), (16,) * 9):
        net = dn.Network.dense(sizes, activation="tanh", loss="cross_entropy", seed=0)
        seconds = step_seconds(Lava(), net, 1, 50, 1050)
        name = "-".join(map(str, sizes))
        detail = f"{seconds * 1e3:.2f} ms a step, {processes(net)} processes"
        found.append(Row(f"Lava, {name}, batch 1: ms per process and step", seconds * 1e3 / processes(net), 0.25, "ms", detail))
    net = dn.Network.dense((512,) * 5, activation="tanh", loss="cross_entropy", seed=0)
    for threads, said in ((1, "on one core"), (None, "on all cores")):
        ours = step_seconds(Lava(), net, 64, 10, 210)
        with threadpool_limits(threads):
            reference = step_seconds(Reference(), net, 64, 10, 210)
        detail = f"{ours * 1e3:.2f} ms, reference {reference * 1e3:.2f} ms (4 layers, free)"
        found.append(Row(f"Lava, 512 wide, batch 64: step / the reference's step {said}", ours / reference, 1.5, "x", detail))
    return [*found, memory()]


def memory():
    net = dn.Network.dense((64, 256, 10), activation="tanh", loss="cross_entropy", seed=0)
    peaks = [peak(net, steps) for steps in (200, 4000)]
    detail = f"peaks of all processes together {peaks[0] / 1e6:.1f} and {peaks[1] / 1e6:.1f} MB"
    return Row('record="last", Lava: peak memory of 4000 steps / of 200', peaks[1] / peaks[0], 1.05, "x", detail)


def peak(net, steps):
    """Return the largest private memory of the circuit's processes, looked at every few milliseconds."""
    x, y = np.zeros((8, 64)), np.zeros(8, int)
    with Lava().open(net) as session:
        seen, done = [0], threading.Event()

        def look():
            while not done.is_set():
                seen.append(sum(private_bytes(pid) for pid in session.pids))
                time.sleep(0.02)

        thread = threading.Thread(target=look)
        thread.start()
        session.relax(prepare(net, x, y, steps=steps, record="last"))
        done.set()
        thread.join()
    return max(seen)


def private_bytes(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Private_"))
    except OSError:
        return 0
