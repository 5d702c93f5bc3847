"""What the tests of the Brian2 backend share: backends that keep their circuits, which take seconds to compile."""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.backends.brian2.runtime import imported
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks

HERE = Path(__file__).parent
TAU_MS = 10
SLOW = pytest.mark.timeout(400)  # Cython compiles its first circuit for a minute, on a machine that has nothing else to do

if find_spec("brian2") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a parser that Brian2 uses; the test modules ask for Brian2 themselves
        imported()


def pytest_collection_modifyitems(items):
    """Brian2 calls functions of its parser by names that this parser deprecates: with each equation that it reads."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(r"ignore:'\w+' deprecated - use:DeprecationWarning"))


@pytest.fixture(params=["numpy", pytest.param("cython", marks=SLOW), pytest.param("cpp_standalone", marks=SLOW)])
def target(request):
    """Each of Brian2's targets."""
    return request.param


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return the folder for compiled programs, one for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    found = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "circuits"
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture(scope="session")
def backend(folder):
    """Return a function that makes a backend with dt = alpha tau, or finds the one that it made for the same."""
    from brian2 import ms

    made = {}

    def make(target="numpy", alpha=1.0, **options):
        key = (target, alpha, *sorted(options.items()))
        if target == "numpy" or key not in made:
            where = folder if target == "cpp_standalone" else None
            found = Brian2(TAU_MS * ms, alpha * TAU_MS * ms, target, directory=where, **options)
            if found.missing():
                pytest.skip(found.missing())
            if target == "numpy":
                return found
            made[key] = found
        return made[key]

    yield make
    for found in made.values():
        found.close()


@pytest.fixture(scope="session")
def problem():
    """Return the network that all compiled targets run, with inputs and targets: skips, blocks, fixed projections, all else."""
    network = networks.dag(13, 3, activation="tanh", parts=True)
    return network, *networks.batch(network, 1, 3)


@pytest.fixture(scope="session")
def random_delays():
    """Return a function: delays in units of tau, of up to `longest` steps, on most projections."""

    def make(network, seed, alpha=1.0, longest=3.0):
        rng = np.random.default_rng([seed, 11])
        return {p.name: tuple(alpha * rng.uniform(0, longest, 2)) for p in network.projections if rng.random() < 0.8}

    return make


@pytest.fixture(scope="session")
def random_substrate(random_delays):
    """Return a function: a substrate with the named things added ("mismatch", "delays", "noise")."""

    def make(network, seed, alpha, *kinds):
        rng = np.random.default_rng([seed, 12])
        constants = {}
        for p in network.dynamic if "mismatch" in kinds else ():
            one, each = float(rng.uniform(0.8, 2.5)), rng.uniform(0.8, 2.5, p.size)
            constants[p.name] = [one, each, (one, each), (each, one)][rng.integers(4)]
        delays = random_delays(network, seed, alpha) if "delays" in kinds else {}
        return Substrate(constants, delays, (0.1, 0.3) if "noise" in kinds else 0.0, seed)

    return make
