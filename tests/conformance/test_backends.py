"""Every backend of this repository, held to every case of the suite that is shipped for all."""

import os
import warnings
from contextlib import closing, nullcontext
from dataclasses import replace
from importlib.util import find_spec

import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.base import available, resolve
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.backends.brian2.runtime import imported
from dyadic_neuro.errors import MissingExtraError
from dyadic_neuro.testing import agreement, conformance
from dyadic_neuro.testing.timing import Timing

if find_spec("brian2") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a parser that Brian2 uses, by names that the parser deprecates
        imported()
pytestmark = pytest.mark.filterwarnings(r"ignore:'\w+' deprecated - use:DeprecationWarning")


def small_cores():
    """Return a chip on whose cores few neurons of the suite's networks fit, so that these are cut and scattered."""
    chip = dn.Chip.load("loihi1", chips=(2, 2))
    return replace(chip, limits=replace(chip.limits, neurons=replace(chip.limits.neurons, value=16)))


def shared_programs(folders):
    """Return Brian2's standalone backend with a folder for its programs that all workers of this run share."""
    base = folders.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Brian2(target="cpp_standalone", directory=base / "circuits")


BACKENDS = {name: lambda _, name=name: resolve(name) for name in sorted(available())} | {
    "brian2-standalone": shared_programs,
    "chip, layer by layer": lambda _: dn.backends.MappedChip(fast=True),
    "chip, small cores": lambda _: dn.backends.MappedChip(chip=small_cores()),
}
# The first case that needs a circuit waits for its compilation, a minute on Cython; an emulator takes its time for each sample.
SLOW = {"brian2", "brian2-standalone", "nengo-loihi-emulator"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.timeout(400) if name in SLOW else ()) for name in BACKENDS],
)
def backend(request, tmp_path_factory):
    """One object for all cases, which keeps what it has compiled."""
    try:
        made = resolve(BACKENDS[request.param](tmp_path_factory))
    except MissingExtraError as error:
        pytest.skip(str(error))
    with closing(made) if hasattr(made, "close") else nullcontext():
        yield made


@pytest.mark.parametrize("case", [case.name for case in conformance.CASES])
def test_backend_keeps_the_law(backend, case):
    (result,) = conformance.check(backend, only=[case])
    if result.verdict == "unsupported":
        assert result.reason
    else:
        assert result.verdict == "passed", result


def run_once(backend, network, short, longer):
    """Run the usual order, which is the last of all if dt < tau and otherwise the first, and take no time."""
    with backend.open(network) as session:
        trace = session.relax(short if len(longer) > 1 else longer[0])
    return Timing(trace, trace, None, None)


def test_backend_stands_beside_the_others(backend, monkeypatch):
    """Without its times, which are no law, and take an emulator three runs more (tests/unit/test_agreement.py takes them)."""
    monkeypatch.setattr(agreement, "timed", run_once)
    found = agreement.measure(backend)  # a row of `check --all`
    assert found.error == ""
    assert {name: m for name, m in found.measures.items() if m.verdict == "failed"} == {}
    assert found.verdict == ("passed" if getattr(backend, "cosine", None) is None else "approximate")
