"""How a backend is found by name."""

import numpy as np
import pytest

from dyadic_neuro import backends, relax
from dyadic_neuro.backends import base
from dyadic_neuro.errors import MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.network import Network

NET = Network.dense([2, 2], seed=0)


class Absent(backends.Reference):
    """A backend whose simulator is not installed."""

    name = "absent"

    def missing(self):
        return "install it: pip install 'dyadic-neuro[absent]'"

    def open(self, network):
        pytest.fail("work began")


class Point:
    """An entry point."""

    def __init__(self, kind):
        self.load = lambda: kind


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(base, "_points", lambda: {"absent": Point(Absent), "reference": Point(backends.Reference)})


def test_the_backends_of_this_package_are_found():
    states = backends.available()
    assert states["reference"] is None
    assert "lava" in states
    assert isinstance(backends.resolve("reference"), backends.Reference)


def test_an_object_is_taken_as_it_is():
    own = backends.Reference()
    assert backends.resolve(own) is own


def test_an_unknown_name_lists_what_is_installed_and_what_to_install(installed, refuses):
    assert backends.available() == {"absent": "install it: pip install 'dyadic-neuro[absent]'", "reference": None}
    with refuses(
        UnknownNameError, "backend", "'absnt'", "installed: reference", "absent is known", "pip install 'dyadic-neuro[absent]'"
    ):
        relax(NET, np.ones((1, 2)), [[0, 0]], backend="absnt")


@pytest.mark.parametrize("spec", ["absent", Absent()])
def test_a_missing_simulator_is_named_with_what_to_install(installed, spec, refuses):
    with refuses(MissingExtraError, "backend", "'absent'", "pip install 'dyadic-neuro[absent]'"):
        relax(NET, np.ones((1, 2)), [[0, 0]], backend=spec)


@pytest.mark.parametrize("spec", [None, 3, object(), Absent, backends.Reference])
def test_what_is_no_backend_is_refused(spec, refuses):
    with refuses(OptionError, "backend", "is no backend", "open"):
        backends.resolve(spec)
