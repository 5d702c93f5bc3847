"""The Brian2 circuit beside formulations written by hand, and what a new sample costs."""

import json
import subprocess
import sys

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.relaxation import prepare
from tests.benchmarks.measure import Row, medians

SIZES = (784, 128, 10)
FEW, MANY = 3000, 9000  # steps of a sample
SOME, MORE = 1024, 2048  # samples


def rows():
    net = dn.Network.dense(SIZES, "tanh", "squared_error", seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(MORE, SIZES[0])), rng.normal(size=(MORE, SIZES[-1]))
    backend = dn.backends.Brian2(target="cpp_standalone")
    with backend.open(net) as session:
        orders = [prepare(net, x[:1], y[:1], steps=steps, record="last") for steps in (FEW, MANY)]
        few, many = medians(*(lambda order=order: session.relax(order) for order in orders), repeats=7)
        step = (many - few) / (MANY - FEW)
        samples = [prepare(net, x[i : i + 1], y[i : i + 1], record="last") for i in (0, 1)]
        one, other = medians(*(lambda order=order: session.relax(order) for order in samples), repeats=30)
        batches = [prepare(net, x[:n], y[:n], record="last") for n in (SOME, MORE)]
        some, more = medians(*(lambda order=order: session.relax(order) for order in batches), repeats=5)
        changing = (more - some) / (MORE - SOME) / net.relaxation_steps
    backend.close()
    sizes = ",".join(map(str, SIZES))
    command = [sys.executable, "-m", "tests.benchmarks.brian2_by_hand", sizes]
    by_hand = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    reading = by_hand.pop("read")  # the only one that reads gradients
    best = min(by_hand, key=by_hand.get)
    others = ", ".join(f"{name} {us:.0f} us" for name, us in sorted(by_hand.items(), key=lambda item: item[1]))
    sample = max(one, other) - net.relaxation_steps * step
    return [
        Row(
            "Brian2 standalone, 784-128-10: step / the best formulation by hand",
            1e6 * step / by_hand[best],
            2.0,
            "x",
            f"{1e6 * step:.0f} us a step; by hand: {others} (tests/benchmarks/brian2_by_hand.py)",
        ),
        Row(
            "Brian2 standalone, 784-128-10, a sample every 2D steps and its gradient read: the same",
            1e6 * changing / reading,
            2.0,
            "x",
            f"{1e6 * changing:.0f} us a step, handing samples over included; by hand {reading:.0f} us",
        ),
        Row(
            "Brian2 standalone, 784-128-10: ms of a new sample beside its steps", 1e3 * sample, 15.0, "ms", "a program that waits"
        ),
    ]
