"""What the scenes of this folder are made of: small networks, and functions that go wrong inside one chosen process.

A scene is a script of its own; `from faults import ...` works there, because the folder is on its path.
"""

import os
import time
from itertools import pairwise
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.schedule import Schedule

MARK = "DYADIC_TEST_RUN"
"""The environment variable that all processes of a scene carry, and the name of their shared memory with them."""

SLOW = "DYADIC_TEST_SLOW"
"""The environment variable that says how many seconds pass between making a piece of shared memory and noting it."""


class Spoilt:
    """`function`, which from its call number `at` on does `deed` instead, but not in the process that made it.

    A population's process calls phi once when it is built and once a step, phi' and the loss once a step.
    """

    def __init__(self, function, deed=None, at=3):
        self.function, self.deed, self.at = function, deed, at
        self.calls, self.home = 0, os.getpid()

    def __call__(self, *arguments):
        if self.deed is not None and os.getpid() != self.home:
            self.calls += 1
            if self.calls >= self.at:
                return self.deed(*arguments)
        return self.function(*arguments)

    def __setstate__(self, state):
        """Arrive in the interpreter of Lava, and mark all shared memory that it is going to make (see `Scene`)."""
        self.__dict__.update(state)
        shared_memory._SHM_NAME_PREFIX = f"/{os.environ[MARK]}_"
        shared_memory._SHM_SAFE_NAME_LENGTH = 40
        if SLOW in os.environ:
            register, pause = resource_tracker.register, float(os.environ[SLOW])
            resource_tracker.register = lambda *words: (time.sleep(pause), register(*words))


def slope(u):
    return 1.0 - np.tanh(u) ** 2


def half_square(u, y):
    return 0.5 * ((u - y) ** 2).sum(axis=1)


def difference(u, y):
    return u - y


def tanh(deed=None, at=3):
    """An activation whose phi goes wrong."""
    return Spoilt(np.tanh, deed, at), Spoilt(slope)


def chain(*activations, loss=(half_square, difference), width=3, dtype="float64"):
    """A chain with a hidden population for each activation; with none of them, the loss carries the mark."""
    names = ["input", *(f"hidden{i}" for i in range(1, len(activations) + 1)), "output"]
    phis = ["identity", *activations, "identity"]
    rng = np.random.default_rng(1)
    populations = [
        dn.Population(name, width, phi, None if name == "input" else 0.0) for name, phi in zip(names, phis, strict=True)
    ]
    projections = [dn.Projection(a, b, rng.normal(size=(width, width))) for a, b in pairwise(names)]
    return dn.Network(
        populations, projections, tuple(Spoilt(part) if not isinstance(part, Spoilt) else part for part in loss), dtype=dtype
    )


def data(samples=2, width=3):
    rng = np.random.default_rng(2)
    return rng.normal(size=(samples, width)), rng.normal(size=(samples, width))


def endless(network, samples=2):
    """An order that takes for ever."""
    return prepare(network, *data(samples), steps=10**7, record="last")


def learning(network, epochs=3, windows=4, batch=2):
    """An order to learn."""
    x, y = data(windows * batch)
    order = np.tile(np.arange(windows * batch).reshape(1, windows, batch), (epochs, 1, 1))
    return Learning(x, y, order, 0.05, Schedule.of(network, "free"), feedback_copies(network), 1.0, network.relaxation_steps)


# Deeds


def boom(*_):
    raise ZeroDivisionError("boom")


def vanish(*_):
    os._exit(7)


def sleep_for_ever(*_):
    time.sleep(10**6)


def telling(path, function=np.tanh):
    """The right function, which makes a file: the scene is under way."""

    def tell(*arguments):
        Path(path).touch()
        return function(*arguments)

    return tell


# What a scene does


def wait_for(condition):
    """What the condition answers, once that is true."""
    until = time.monotonic() + 30.0
    while not (answer := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
    return answer


def same(trace, right):
    """Whether one trace goes the way of another."""
    return all(np.allclose(trace.potentials[name], right.potentials[name], rtol=0.0, atol=1e-12) for name in right.potentials)


def children():
    """The numbers of the processes that this one has started and not yet waited for."""
    return [
        int(pid) for task in os.listdir("/proc/self/task") for pid in Path(f"/proc/self/task/{task}/children").read_text().split()
    ]


def failure(action):
    """The error that the action raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  (the scene says which one is right)
        return error
    raise AssertionError("it did not fail")
