"""The emulator of NengoLoihi: a small network relaxes, and what the chip cannot hold is told by name."""

import re
import sys
from contextlib import nullcontext

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.nengo import NengoLoihi
from dyadic_neuro.errors import CapacityError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.oracle import backprop
from dyadic_neuro.testing import networks

nengo = pytest.importorskip("nengo", reason="needs pip install 'dyadic-neuro[nengo]'")
nengo_loihi = pytest.importorskip("nengo_loihi", reason="needs pip install 'dyadic-neuro[nengo]'", exc_type=ImportError)


@pytest.fixture(scope="module")
def small():
    network = dn.Network.dense([4, 6, 2], activation="tanh", seed=1)
    return network, *networks.batch(network, 1, 2)


@pytest.fixture(scope="module")
def trace(small):
    return dn.relax(*small, backend=NengoLoihi())


def test_a_small_network_relaxes(small, trace):
    wanted = backprop(*small)
    found, right = (np.concatenate([gradients[key].ravel() for key in wanted]) for gradients in (trace.gradients, wanted))
    assert found @ right / (np.linalg.norm(found) * np.linalg.norm(right)) >= NengoLoihi.cosine == 0.97


def test_every_report_says_that_it_was_the_emulator(trace):
    assert trace.backend == "nengo-loihi-emulator"
    assert trace.runs_on.startswith(NengoLoihi().runs_on)
    assert all(word in trace.runs_on for word in ("emulator", "no Loihi", "1400 neurons", "the host runs"))
    assert "integers" in NengoLoihi.unsupported["exact-at-2D"]
    assert trace.dt_over_tau == NengoLoihi().dt_over_tau == pytest.approx(0.1)


def test_messages_are_the_spikes_of_the_emulated_cores(trace):
    sent = trace.messages.per_step() - 2 * 4  # the input's
    readout = np.bincount(trace.spikes.train("output", "sensitivity").steps, minlength=trace.steps + 1)[1:]
    np.testing.assert_array_equal(sent, trace.spikes.per_step("rate") + readout)
    assert sent.sum() > 1000


def test_the_same_seed_gives_the_same_bits(small, trace):
    network, x, y = small
    backend = NengoLoihi(calibration=(x, y))
    again = dn.relax(network, x[:1], y[:1], backend=backend, steps=trace.steps)
    np.testing.assert_array_equal(again.potentials["output"][:, 0], trace.potentials["output"][:, 0])


def test_weights_below_the_chips_exponents_are_an_error_that_names_the_populations(small):
    with pytest.raises(CapacityError, match=r"(hidden1|output) -> (hidden1|output)") as found:
        dn.relax(*small, backend=NengoLoihi(tau=0.1), steps=2)
    assert "exponent" in found.value.problem
    assert "tau" in found.value.fix
    assert "prune" in found.value.fix


def test_more_cores_than_the_chips_have_are_an_error_before_anything_is_built(small, trace, monkeypatch):
    (cores,) = re.findall(r"(\d+) emulated cores \(of 1 chip with 128 each\)", trace.runs_on)
    loihi = sys.modules["dyadic_neuro.backends.nengo.loihi"]
    for limit, fits in ((int(cores), True), (int(cores) - 1, False)):
        monkeypatch.setattr(loihi, "_CORES", limit)
        with (
            nullcontext()
            if fits
            else pytest.raises(CapacityError, match=f"{cores} emulated cores.*the {limit} of 1 chips") as found
        ):
            dn.relax(*small, backend=NengoLoihi(chips=1), steps=1)
        monkeypatch.setattr(nengo_loihi, "Simulator", None)  # where the second one does not come
    assert found.value.field == "output"  # whose relays to hidden1 take most
    assert found.value.fix.endswith("chips=2")


def test_cores_that_only_the_build_shows_count_too(small, monkeypatch):
    closed, close = [], nengo_loihi.Simulator.close
    monkeypatch.setattr(nengo_loihi.Simulator, "close", lambda sim: closed.append(1) or close(sim))
    monkeypatch.setattr("dyadic_neuro.backends.nengo.loihi._CORES", 100)
    monkeypatch.setattr("dyadic_neuro.backends.nengo.loihi._placed", lambda _: [])
    with pytest.raises(CapacityError, match="more than the 100 of 1 chips"):
        dn.relax(*small, backend=NengoLoihi(chips=1), steps=1)
    assert closed


def test_limits_of_a_core_are_told_of_nengo_loihi_s_own_words():
    from dyadic_neuro.backends.nengo.loihi import _quiet, _refusal

    n = 4100
    with nengo.Network(seed=0) as model:
        many = nengo.Ensemble(n, 1, label="hidden1.sum_0", gain=np.ones(n), bias=np.full(n, 3.0), n_eval_points=9)
        few = nengo.Ensemble(20, 1, label="output.sum_0")
        nengo.Connection(many, few, solver=nengo.solvers.NoSolver(np.full((n, 1), 1e-3)))
    with _quiet(), pytest.raises(nengo.exceptions.BuildError) as found:
        nengo_loihi.Simulator(model, target="sim")
    refused = _refusal(found.value)
    assert isinstance(refused, CapacityError)
    assert refused.field == "hidden1 -> output"
    assert "Input axons (4100) exceeded max (4096)" in refused.problem
    assert "neurons_per_dimension" in refused.fix


def test_another_initial_state_is_refused(small):
    network, x, y = small
    with pytest.raises(OptionError, match="initial"):
        dn.relax(network, x, y, backend=NengoLoihi(), initial=networks.state(network, 1, 2))


def test_learning_is_refused(small):
    network, x, y = small
    with pytest.raises(OptionError, match="does not learn"):
        dn.train(network, (x, y), backend=NengoLoihi(), epochs=1, batch_size=1, learning_rate=0.1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"neurons_per_dimension": 1}, OptionError),
        ({"neuron_type": "Tanh"}, UnknownNameError),
        ({"neuron_type": nengo.Tanh()}, OptionError),
        ({"tau": -1.0}, OptionError),
        ({"prune": 1.5}, OptionError),
        ({"chips": 0}, OptionError),
        ({"seed": 0.5}, OptionError),
        ({"average": 0.0}, OptionError),
    ],
)
def test_bad_options(options, error):
    with pytest.raises(error, match=next(iter(options))):
        NengoLoihi(**options)


def test_a_missing_package_names_the_extra(small, monkeypatch):
    monkeypatch.setattr("dyadic_neuro.backends.nengo.loihi.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"dyadic-neuro\[nengo\]"):
        dn.relax(*small, backend=NengoLoihi())
