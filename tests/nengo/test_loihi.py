"""The emulator of NengoLoihi: a small network relaxes, and what the chip cannot hold is told by name."""

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.nengo import NengoLoihi
from dyadic_neuro.errors import CapacityError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.oracle import backprop
from dyadic_neuro.testing import networks

nengo = pytest.importorskip("nengo", reason="needs pip install 'dyadic-neuro[nengo]'")
pytest.importorskip("nengo_loihi", reason="needs pip install 'dyadic-neuro[nengo]'", exc_type=ImportError)


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
