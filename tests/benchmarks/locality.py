"""What the locality study takes: the light cones of a deep network, and cases of faults beside clean runs of them."""

import tracemalloc

import dyadic_neuro as dn
from dyadic_neuro.dynamics import State
from dyadic_neuro.studies.locality.cones import measure
from dyadic_neuro.studies.locality.subject import Subject
from tests.benchmarks.measure import Row, medians

SIZES = [100] * 11  # 10 layers, 1,000 neurons and as many of each kind of state


def subject():
    return Subject.of(dn.Network.dense(SIZES, "tanh", seed=0))


def cones():
    return measure(subject())


def one_by_one():
    """Return how long a change takes that is made in runs of its own: with it, and without."""
    found, (inputs, targets) = subject(), (subject().inputs.copy(), subject().targets)
    state, steps = found.state(1), 3 * found.running.depth  # as many as the cones are watched
    inputs[0, 0] += 1.0

    def pair():
        found.relax(steps, initial=State(state.potentials, state.sensitivities))
        found.relax(steps, inputs=inputs, targets=targets, initial=state)

    return pair


def rows():
    all_s, pair_s = medians(cones, one_by_one(), repeats=5)
    changes = len(cones().changes)
    tracemalloc.start()
    cones()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    what = "light cones of 10 layers, 1,000 neurons, every input, target and state changed"
    return [
        Row(f"{what}: seconds", all_s, 10.0, "s", f"{changes:,} changes"),
        Row(
            f"{what}: runs of their own / batched",
            changes * pair_s / all_s,
            5.0,
            "x",
            f"{pair_s * 1e3:.1f} ms a pair",
            at_least=True,
        ),
        Row(f"{what}: peak memory", peak / 1e9, 1.0, "GB", "of arrays and objects"),
    ]
