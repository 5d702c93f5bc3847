"""What the tests of files share."""

from contextlib import contextmanager

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.testing import networks


@pytest.fixture(scope="session")
def refuses():
    """The context in which exactly this error is raised, with these words and a fix."""

    @contextmanager
    def context(error, *says):
        with pytest.raises(error) as caught:
            yield
        assert type(caught.value) is error
        assert caught.value.fix
        for word in says:
            assert word in str(caught.value)

    return context


@pytest.fixture(scope="session")
def same():
    """Assert that two networks have one structure, the same bits, and the same gradients at 2D."""

    def check(found, network, *, structure=True):
        if structure:
            assert found.fingerprint == network.fingerprint
        assert list(found.parameters) == list(network.parameters)
        for key, values in network.parameters.items():
            assert found.parameters[key].dtype == values.dtype
            assert found.parameters[key].tobytes() == values.tobytes(), key
        inputs, targets = networks.batch(network, 1, 3)
        right, relaxed = dn.backprop(network, inputs, targets), dn.relax(found, inputs, targets, record="last")
        tolerance = 1e-12 if network.dtype == np.float64 else 1e-5
        for key, gradient in right.items():
            assert np.abs(relaxed.gradients[key] - gradient).max() <= tolerance * max(1.0, np.abs(gradient).max())

    return check
