"""What the tests of the Nengo backends share."""

import numpy as np
import pytest


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
