"""What cannot be is refused before anything is compiled, with the fix."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.base import resolve
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.errors import DataError, FileError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")
from brian2 import Hz, metre, ms, mV, second  # noqa: E402  (only where there is Brian2)

NETWORK = dn.Network.dense([3, 4, 2], activation="tanh", seed=1)
X, Y = networks.batch(NETWORK, 1, 2)


@pytest.mark.parametrize("field", ["tau", "dt"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (10, "no unit"),
        (0.01, "no unit"),
        ("10*ms", "no unit"),
        (True, "no unit"),
        ([10, 10], "no unit"),
        (10 * mV, "not a time"),
        (10 * Hz, "not a time"),
        (ms / metre, "not a time"),
        (10 * ms / ms, "no unit"),
        (-1 * ms, "not a positive time"),
        (0 * ms, "not a positive time"),
        (float("nan") * ms, "not a positive time"),
        (float("inf") * second, "not a positive time"),
        ([10, 20] * ms, "not one number"),
        ([10] * ms, "not one number"),
        ([] * ms, "not one number"),
    ],
    ids=repr,
)
def test_times_have_units(field, value, says):
    with pytest.raises(OptionError, match=says) as caught:
        Brian2(target="numpy", **{field: value})
    assert caught.value.field == field
    assert "ms" in caught.value.fix


@pytest.mark.parametrize("dt", [20 * ms, 20.001 * ms, 1 * second])
@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_a_step_of_two_tau_is_unstable(dt, method):
    with pytest.raises(OptionError, match="unstable") as caught:
        Brian2(10 * ms, dt, "numpy", method=method)
    assert caught.value.field == "dt"
    assert "dt = tau" in caught.value.fix


@pytest.mark.parametrize("tau", [1 * second, 10 * ms, 1e-3 * ms, 1e-9 * second])
@pytest.mark.parametrize("alpha", [1.0, 0.3, 1.9])
def test_the_size_of_tau_is_no_matter(tau, alpha):
    found = dn.relax(NETWORK, X, Y, backend=Brian2(tau, alpha * tau, "numpy"), steps=5)
    wanted = dn.relax(NETWORK, X, Y, alpha=alpha, steps=5)
    assert all(np.abs(found.potentials[n] - u).max() <= 1e-12 for n, u in wanted.potentials.items())
    assert found.alpha == pytest.approx(alpha, rel=1e-15)


@pytest.mark.parametrize("field", ["target", "coordinates", "plasticity"])
@pytest.mark.parametrize("value", ["weave", "", None, 3, "Numpy"])
def test_unknown_names_come_with_the_known_ones(field, value):
    with pytest.raises(UnknownNameError, match="is not known") as caught:
        Brian2(**{"target": "numpy", field: value})
    assert caught.value.field == field
    assert "use one of" in caught.value.fix


@pytest.mark.parametrize("value", [{"delays": {}}, "mismatch", 0.3, Substrate])
def test_a_substrate_is_a_substrate(value):
    with pytest.raises(OptionError, match="is not a Substrate"):
        Brian2(target="numpy", substrate=value)


@pytest.mark.parametrize(
    "substrate",
    [
        {"delays": {"input->hidden1": -1.0}},
        {"delays": {"input->hidden1": (0.0, float("nan"))}},
        {"delays": {"input->hidden1": 5 * ms}},
        {"time_constants": {"hidden1": 10 * ms}},
        {"noise": 1 * mV},
    ],
)
def test_delays_and_time_constants_are_numbers_in_units_of_tau(substrate):
    with pytest.raises(OptionError) as caught:
        Substrate(**substrate)
    assert "tau" in caught.value.fix or "give a finite one" in caught.value.fix


def test_a_substrate_is_checked_against_the_network_before_it_runs(monkeypatch):
    monkeypatch.setattr(Brian2, "open", lambda *_: pytest.fail("opened"))
    for substrate, error in (
        (Substrate({"hidden9": 1.0}), UnknownNameError),
        (Substrate({"hidden1": np.ones(5)}), DataError),
        (Substrate({"hidden1": 0.4}), OptionError),
        (Substrate(delays={"hidden1->hidden1": 1.0}), UnknownNameError),
    ):
        backend = Brian2(target="numpy", substrate=substrate)
        with pytest.raises(error):
            dn.relax(NETWORK, X, Y, backend=backend)
        with pytest.raises(error):
            dn.train(NETWORK, (X, Y), backend=backend)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"coordinates": "dyad", "substrate": Substrate({"hidden1": (1.0, 1.5)})}, "coordinates"),
        ({"method": "rk4", "substrate": Substrate(delays={"input->hidden1": 1.0})}, "method"),
        ({"method": "rk2", "substrate": Substrate(noise=0.1)}, "method"),
    ],
)
def test_what_does_not_go_together_is_refused_by_the_constructor(options, field):
    with pytest.raises(OptionError) as caught:
        Brian2(target="numpy", **options)
    assert caught.value.field == field
    assert caught.value.fix


@pytest.mark.parametrize("options", [{"coordinates": "dyad"}, {"method": "rk4"}, {"method": "rk2"}])
def test_a_wavefront_moves_one_half_at_a_time(options):
    with pytest.raises(OptionError, match="wavefront") as caught:
        dn.relax(NETWORK, X, Y, backend=Brian2(target="numpy", **options), schedule="wavefront")
    assert caught.value.field == "schedule"
    with pytest.raises(OptionError, match="wavefront"):
        dn.train(NETWORK, (X, Y), backend=Brian2(target="numpy", **options), schedule="wavefront", window=4)


def test_an_alpha_beside_the_backend_s_own():
    with pytest.raises(OptionError, match="contradicts"):
        dn.relax(NETWORK, X, Y, backend=Brian2(10 * ms, 5 * ms, "numpy"), alpha=0.3)


@pytest.mark.parametrize("target", ["numpy", "cython", "cpp_standalone"])
def test_a_folder_that_cannot_be_written_to(tmp_path, target):
    (tmp_path / "file").touch()
    for where in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nope", "", "a\0b"):
        with pytest.raises(FileError, match="cannot hold compiled circuits") as caught:
            Brian2(target=target, directory=where)
        assert "folder" in caught.value.fix


# --- no compiler ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.parametrize(("target", "name"), [("cython", "brian2"), ("cpp_standalone", "brian2-standalone")])
def test_without_a_compiler_the_error_says_what_to_install(no_compiler, target, name):
    for spec in (name, Brian2(target=target)):
        with pytest.raises(MissingExtraError, match="cannot run") as caught:
            dn.relax(NETWORK, X, Y, backend=spec)
        assert "g++" in caught.value.fix
        assert "fallback" in caught.value.fix
    assert resolve("brian2-numpy").missing() is None


@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_without_a_compiler_numpy_is_taken_if_asked_for(no_compiler, target):
    backend = Brian2(target=target, fallback=True)
    assert (backend.target, backend.name) == ("numpy", "brian2-numpy")
    trace = dn.relax(NETWORK, X, Y, backend=backend)
    assert trace.backend == "brian2-numpy"
    wanted = dn.backprop(NETWORK, X, Y)
    assert all(np.abs(trace.gradients[key] - right).max() <= 1e-12 for key, right in wanted.items())


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_a_compiler_may_have_arguments(monkeypatch):
    """As in CXX="ccache g++", which build tools take for a command and its arguments."""
    monkeypatch.setenv("CXX", "g++ -O1")
    assert Brian2(target="cython").missing() is None


def test_with_a_compiler_the_fallback_is_not_needed(backend):
    assert backend("cython", fallback=True).target == "cython"


def test_numpy_wants_no_compiler_whatever_the_user_prefers(no_compiler):
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "cython"
    try:
        substrate = Substrate(noise=0.1, delays={"input->hidden1": 1.0})
        for options in ({}, {"substrate": substrate}, {"threshold": 0.0}, {"plasticity": "continuous"}, {"method": "rk4"}):
            dn.relax(NETWORK, X, Y, backend=Brian2(target="numpy", **options), steps=2)
            dn.train(NETWORK, (X, Y), backend=Brian2(target="numpy", **options), window=2)
    finally:
        brian2.prefs.codegen.target = before


# --- functions of one's own ----------------------------------------------------------------------------------------------


def swish(u):
    return u / (1 + np.exp(-u))


def swish_slope(u):
    gate = 1 / (1 + np.exp(-u))
    return gate * (1 + u * (1 - gate))


def quartic(u, y):
    return 0.25 * ((u - y) ** 4).sum(axis=1)


def own_functions():
    populations = [replace(p, activation=(swish, swish_slope)) if p.name == "hidden1" else p for p in NETWORK.populations]
    slope = (quartic, lambda u, y: (u - y) ** 3)
    return {
        "swish": dn.Network(populations, NETWORK.projections, "cross_entropy"),
        "quartic": dn.Network(NETWORK.populations, NETWORK.projections, slope),
    }


@pytest.mark.parametrize("name", ["swish", "quartic"])
@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_own_functions_are_not_compiled(name, target, backend):
    network = own_functions()[name]
    found = backend(target)
    before = dict(found._circuits)
    for call in (
        lambda: dn.relax(network, X, np.eye(2), backend=found),
        lambda: dn.train(network, (X, np.eye(2)), backend=found),
    ):
        with pytest.raises(OptionError, match=name) as caught:
            call()
        assert caught.value.field == "network"
        assert "numpy" in caught.value.fix
    assert found._circuits == before


@pytest.mark.parametrize("name", ["swish", "quartic"])
def test_own_functions_run_on_numpy(name, backend, apart):
    network = own_functions()[name]
    initial = networks.state(network, 3, 2)
    found = dn.relax(network, X, np.eye(2), backend=backend(), steps=7, initial=initial, alpha=0.5)
    assert apart(found, dn.relax(network, X, np.eye(2), steps=7, initial=initial, alpha=0.5)) <= 1e-12
