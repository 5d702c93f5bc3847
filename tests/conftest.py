"""What all tests share: hypothesis profiles, numbers that may not go wrong in silence, and deadlines (pyproject.toml)."""

import os
import signal
from contextlib import contextmanager

# Workers side by side take the processors. Threads of a BLAS beside them would spin while they wait for one: small matrices then
# take three times as long. It has to be said before numpy is there, and what the tests start inherits it.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from dyadic_neuro import errors

# A shell starts what runs in the background without it, and what a test starts and interrupts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Wall-clock time is the bench's business; a shared machine can be slow without being wrong.
settings.register_profile("thorough", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("thorough"), max_examples=5)
settings.load_profile(os.environ.get("DYADIC_HYPOTHESIS_PROFILE", "thorough"))


@pytest.fixture(autouse=True)
def strict_numbers():
    """Overflow, division by zero and invalid operations raise. Underflow to 0 is what exp(-1000) should do."""
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def worst():
    """Return a function: the largest difference between two mappings of arrays, beside the largest number that is right."""

    def measure(found, wanted):
        assert set(found) == set(wanted)
        size = max(1.0, *(float(np.abs(right).max()) for right in wanted.values()))
        return max(float(np.abs(found[key] - right).max()) for key, right in wanted.items()) / size

    return measure


@pytest.fixture(scope="session")
def apart(worst):
    """Return a function: how far two traces are apart, in any state and in the gradients."""

    def measure(found, wanted):
        parts = ("potentials", "sensitivities", "gradients")
        return max(worst(getattr(found, part), getattr(wanted, part)) for part in parts)

    return measure


BUILTINS = {
    errors.NetworkError: ValueError,
    errors.CycleError: ValueError,
    errors.DataError: ValueError,
    errors.OptionError: ValueError,
    errors.UnknownNameError: LookupError,
    errors.MissingExtraError: ImportError,
    errors.FileError: ValueError,
    errors.CheckpointError: ValueError,
    errors.OutputExistsError: FileExistsError,
    errors.SessionClosedError: RuntimeError,
    errors.DivergedError: ArithmeticError,
    errors.SaturationError: OverflowError,
}


@pytest.fixture(scope="session")
def refuses():
    """The context in which exactly this error is raised, with its field, these words, and a fix."""

    @contextmanager
    def context(error, field, *says):
        with pytest.raises(error) as caught:
            yield
        found = caught.value
        assert type(found) is error
        assert isinstance(found, errors.DyadicError)
        assert isinstance(found, BUILTINS[error])
        assert found.field == field
        assert found.fix
        assert str(found) == f"{field}: {found.problem}; {found.fix}"
        for word in says:
            assert word in str(found)

    return context
