"""Every backend of this repository, held to every case of the suite that is shipped for all."""

import pytest

from dyadic_neuro.backends.base import available, resolve
from dyadic_neuro.testing import conformance

BACKENDS = sorted(available())


@pytest.mark.parametrize("case", [case.name for case in conformance.CASES])
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_keeps_the_law(backend, case):
    (result,) = conformance.check(resolve(backend), only=[case])
    if result.verdict == "unsupported":
        assert result.reason
    else:
        assert result.verdict == "passed", result
