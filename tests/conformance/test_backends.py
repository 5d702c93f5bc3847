"""Every backend of this repository, held to every case of the suite that is shipped for all."""

from dataclasses import replace

import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.base import available, resolve
from dyadic_neuro.testing import conformance


def small_cores():
    """Return a chip on whose cores few neurons of the suite's networks fit, so that these are cut and scattered."""
    chip = dn.Chip.load("loihi1", chips=(2, 2))
    return replace(chip, limits=replace(chip.limits, neurons=replace(chip.limits.neurons, value=16)))


BACKENDS = {name: lambda name=name: resolve(name) for name in sorted(available())} | {
    "chip, layer by layer": lambda: dn.backends.MappedChip(fast=True),
    "chip, small cores": lambda: dn.backends.MappedChip(chip=small_cores()),
}


@pytest.mark.parametrize("case", [case.name for case in conformance.CASES])
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_keeps_the_law(backend, case):
    (result,) = conformance.check(BACKENDS[backend](), only=[case])
    if result.verdict == "unsupported":
        assert result.reason
    else:
        assert result.verdict == "passed", result
