"""Formulations of the circuit as one would write them in Brian2 by hand: prints the microseconds of a step of each.

Run in a process of its own (`python -m tests.benchmarks.brian2_by_hand SIZES`), because it changes Brian2's device. A chain of
tanh populations with a squared error, one sample, cpp_standalone, nothing recorded. The formulations:

- both: one Synapses a pair of populations for both directions, phi and phi' worked out at each synapse
- stored: the same, with the rate and phi' worked out once a neuron
- parted: the same, and nothing sent back to the input, which has no sensitivity
- fused: all neurons one group, one Synapses for both directions, the clamped input a group of its own
- held: the same, and what the input causes is summed once a sample (every 2D steps), in a group with a clock of its own
- read: the same, and every synapse reads its gradient once a sample
"""

import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise

import brian2
import numpy as np
from brian2 import NeuronGroup, Synapses, linked_var, ms

NEURON = """
dm/dt = (drive + bias - m)/tau : 1
ds/dt = (error - s)/tau : 1
drive : 1
back : 1
bias : 1
y : 1 (constant)
"""
STORED = "r : 1\ngate : 1\n"
SHOWN = "r = tanh(m) : 1\ngate = s*(1 - tanh(m)**2) : 1\n"


def chain(sizes, *, stored, to_input):
    """One group a population, one Synapses a pair."""
    groups, objects = [], []
    for layer, size in enumerate(sizes):
        last = layer == len(sizes) - 1
        error = "m - y" if last else "back*slope" if stored else "back*(1 - tanh(m)**2)"
        text = NEURON.replace("error", error) + ("r : 1\nslope : 1\n" if stored else "r = tanh(m) : 1\n")
        text = "r : 1\nback : 1\ns : 1\n" if layer == 0 else text
        group = NeuronGroup(size, text, method="euler", namespace={"tau": 10 * ms}, dt=10 * ms)
        if stored and layer:
            group.run_regularly(f"r = {'m' if last else 'tanh(m)'}\nslope = 1 - r**2", when="groups", order=-3)
        groups.append(group)
    for layer, (a, b) in enumerate(pairwise(groups)):
        back = "\nback_pre = w*s_post : 1 (summed)" if layer or to_input else ""
        synapses = Synapses(a, b, f"w : 1\ndrive_post = w*r_pre : 1 (summed){back}", dt=10 * ms)
        synapses.connect()
        synapses.w = f"{1 / len(a)}*sin(1.0*i*j)"
        synapses.summed_updaters["drive_post"].order = -2
        objects.append(synapses)
    return [*groups, *objects]


def fused(sizes, *, held=False, read=False):
    """One group for all neurons but the input's, one Synapses for both directions."""
    space, (first, *rest) = {"tau": 10 * ms}, sizes
    last, total = rest[-1], sum(rest)
    text = NEURON.replace("error", "back*slope + is_last*(m - y)") + "r : 1\nslope : 1\nis_last : 1 (constant)\nx_drive : 1"
    text += " (linked)\n" if held else "\n"
    neurons = NeuronGroup(total, text.replace("(drive +", "(drive + x_drive +"), method="euler", namespace=space, dt=10 * ms)
    neurons.run_regularly("r = tanh(m)\nslope = 1 - r**2", when="groups", order=-3)
    neurons.is_last[total - last :] = 1
    step = 2 * len(rest) * 10 * ms if held else 10 * ms
    given = NeuronGroup(first, "r : 1", dt=step)
    relay = NeuronGroup(rest[0] + 1, "x_drive : 1\ns : 1", dt=step) if held else neurons  # its last cell stays 0
    from_input = Synapses(given, relay, "w : 1\ng : 1\nx_drive_post = w*r_pre : 1 (summed)", dt=step)
    from_input.connect(i=np.repeat(np.arange(first), rest[0]), j=np.tile(np.arange(rest[0]), first))
    if held:
        neurons.x_drive = linked_var(relay, "x_drive", index=np.minimum(np.arange(total), rest[0]))
    starts = np.cumsum([0, *rest])
    pairs = [(np.arange(a, b), np.arange(b, c)) for a, b, c in zip(starts[:-2], starts[1:-1], starts[2:], strict=True)]
    pre = np.concatenate([np.repeat(a, len(b)) for a, b in pairs])
    post = np.concatenate([np.tile(b, len(a)) for a, b in pairs])
    synapses = Synapses(
        neurons, neurons, "w : 1\ng : 1\ndrive_post = w*r_pre : 1 (summed)\nback_pre = w*s_post : 1 (summed)", dt=10 * ms
    )
    synapses.connect(i=pre, j=post)
    for made in (from_input, synapses):
        made.w = "0.01*sin(1.0*i*j)"
        if read:
            made.run_regularly("g = s_post*r_pre", dt=step, when="end")
    return [neurons, given, from_input, synapses, *([relay] if held else [])]


FORMULATIONS = {
    "both": lambda sizes: chain(sizes, stored=False, to_input=True),
    "stored": lambda sizes: chain(sizes, stored=True, to_input=True),
    "parted": lambda sizes: chain(sizes, stored=True, to_input=False),
    "fused": fused,
    "held": lambda sizes: fused(sizes, held=True),
    "read": lambda sizes: fused(sizes, held=True, read=True),
}


def seconds_per_step(make, sizes, steps):
    """Return the seconds of a step: those of `steps` more steps, divided by them."""
    with tempfile.TemporaryDirectory() as folder:
        device = brian2.get_device()
        device.reinit()
        device.activate(build_on_run=False)
        net = brian2.Network(*make(sizes), name="byhand")
        net.run(0 * ms)
        device.insert_code("main", 'byhand.run(atof(std::getenv("DURATION")), NULL, 10.0);')
        device.build(directory=folder, compile=True, run=False, with_output=False)
        found = []
        for count in (steps, 3 * steps) * 3:
            began = time.perf_counter()
            subprocess.run(
                ["./main", "--results_dir", f"{folder}/results/"], cwd=folder, check=True, env={"DURATION": str(count * 0.01)}
            )
            found.append(time.perf_counter() - began)
    return (min(found[1::2]) - min(found[::2])) / (2 * steps)


def main():
    sizes = [int(size) for size in sys.argv[1].split(",")]
    brian2.set_device("cpp_standalone", build_on_run=False)
    print(json.dumps({name: 1e6 * seconds_per_step(make, sizes, 3000) for name, make in FORMULATIONS.items()}))


if __name__ == "__main__":
    main()
