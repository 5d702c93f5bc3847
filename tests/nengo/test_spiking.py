"""Populations of spiking neurons: gradients point along backpropagation's, and the more neurons the better."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Reference
from dyadic_neuro.backends.nengo import Nengo, spiking_circuit
from dyadic_neuro.backends.nengo.spiking import Spiking
from dyadic_neuro.errors import CycleError, DataError, DyadicError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.oracle import backprop, predict
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.studies.spiking import trend
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

nengo = pytest.importorskip("nengo", reason="needs pip install 'dyadic-neuro[nengo]'")

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example builds a model: shrinking one would take a minute
FEW = settings(max_examples=6, phases=PHASES)
SMOOTH = ("identity", "tanh", "sigmoid", "softplus", "gelu", "sin")


def few(**options):
    """Return a backend with few neurons, which is built fast."""
    return Nengo("spiking", **{"neurons_per_dimension": 50, **options})


def cosine(found, wanted):
    a, b = (np.concatenate([gradients[key].ravel() for key in wanted]) for gradients in (found, wanted))
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


@pytest.fixture(scope="module")
def small():
    network = dn.Network.dense([4, 6, 2], activation="tanh", seed=1)
    return network, *networks.batch(network, 1, 2)


@FEW
@given(st.one_of(chains(3, SMOOTH), dags(2, SMOOTH), dags(2, SMOOTH, parts=True)), SEEDS)
def test_gradients_point_along_backpropagation(network, seed):
    x, y = networks.batch(network, seed, 3)
    backend = few()
    trace = dn.relax(network, x, y, backend=backend, record="last")
    wanted = backprop(network, x, y)
    assert {key: g.shape for key, g in trace.gradients.items()} == {key: g.shape for key, g in wanted.items()}
    assert cosine(trace.gradients, wanted) >= backend.cosine


def test_two_hundred_neurons_reach_the_documented_cosine():
    network = dn.Network.dense([8, 16, 16, 4], activation="tanh", seed=1)
    x, y = networks.batch(network, 1, 1)
    trace = dn.relax(network, x, y, backend="nengo-spiking", record="last")
    assert cosine(trace.gradients, backprop(network, x, y)) >= 0.999


def test_the_error_falls_with_the_neurons(small):
    found = trend(*small, neurons=(25, 50, 100), repeats=1)
    assert found.exponent < -0.7
    assert found.rows[-1].error < found.rows[0].error / 2
    assert [row["neurons"] for row in found.records()] == [25, 50, 100]
    assert "error = " in str(found)
    assert "Nengo" in str(found)


def test_states_follow_the_reference_from_the_given_state(small):
    network, x, y = small
    backend, judge = few(calibration=networks.batch(network, 5, 20)), Reference()
    judge.alpha = backend.alpha
    initial = networks.state(network, 3, 2)
    found = dn.relax(network, x, y, backend=backend, initial=initial, steps=150)
    wanted = dn.relax(network, x, y, backend=judge, initial=initial, steps=150)
    for part in ("potentials", "sensitivities"):
        for name, rows in getattr(wanted, part).items():
            assert getattr(found, part)[name].shape == rows.shape
            np.testing.assert_array_equal(getattr(found, part)[name][0], rows[0])
            np.testing.assert_allclose(getattr(found, part)[name][:3], rows[:3], atol=0.3)  # decoded spikes are high and rare
    assert abs(found.potentials["output"][-50:].mean(axis=0) - wanted.potentials["output"][-1]).max() < 0.05


def test_samples_do_not_depend_on_each_other_and_runs_repeat(small):
    network, x, y = small
    backend = few(calibration=(x, y))
    order = {"backend": backend, "steps": 120}
    both, first, second = (dn.relax(network, x[part], y[part], **order) for part in (slice(2), [0], [1]))
    for key, gradient in both.gradients.items():
        np.testing.assert_array_equal(gradient, (first.gradients[key] + second.gradients[key]) / 2)
    np.testing.assert_array_equal(both.potentials["output"][:, 1], second.potentials["output"][:, 0])
    other = dn.relax(network, x, y, backend=few(calibration=(x, y), seed=1), steps=120)
    assert any((other.gradients[key] != both.gradients[key]).any() for key in both.gradients)


def test_every_message_is_a_spike_of_the_record(small):
    network, x, y = small
    trace, last = (dn.relax(network, x, y, backend=few(), steps=60, record=record) for record in ("all", "last"))
    entries = {(e.source, e.target, e.kind): 0 for e in trace.messages}
    for e in trace.messages:
        entries[e.source, e.target, e.kind] += e.messages
        assert e.bits == e.messages * (64 if e.kind in ("potential", "error") or e.source == "input" else 1)
    assert entries["hidden1", "output", "rate"] == len(trace.spikes.train("hidden1", "rate"))
    assert entries["output", "hidden1", "sensitivity"] == len(trace.spikes.train("output", "sensitivity"))
    assert entries["input", "hidden1", "rate"] == 60 * 2 * 4
    assert trace.spikes.train("hidden1", "rate").neurons.max() < 6 * 50
    assert trace.spikes.dt_ms == 1.0
    per_step = trace.messages.per_step()
    sent = trace.spikes.per_step("rate") + np.bincount(trace.spikes.train("output", "sensitivity").steps, minlength=61)[1:]
    np.testing.assert_array_equal(per_step, sent + 2 * 4)
    assert (last.spikes, last.messages.total()) == (None, trace.messages.total())
    np.testing.assert_array_equal(last.potentials["output"][0], trace.potentials["output"][-1])


def test_neurons_without_spikes_send_rates(small):
    trace = dn.relax(*small, backend=few(neuron_type="LIFRate"), record="last")
    assert trace.spikes is None
    assert {e.bits // e.messages for e in trace.messages} == {64}
    assert cosine(trace.gradients, backprop(*small)) > 0.999


def test_neurons_may_be_objects_of_nengo(small):
    trace = dn.relax(*small, backend=few(neuron_type=nengo.SpikingRectifiedLinear()), record="last")
    assert cosine(trace.gradients, backprop(*small)) > 0.99


def test_other_copies_are_used(small):
    network, x, y = small
    copies = {"hidden1->output": np.random.default_rng(4).normal(size=(6, 2))}
    found, wanted = (dn.relax(network, x, y, backend=b, backward=copies, record="last") for b in (few(), "reference"))
    assert cosine(found.gradients, wanted.gradients) > 0.99
    assert cosine(found.gradients, backprop(network, x, y)) < 0.98


def test_a_cycle_settles_where_the_reference_does():
    rng = np.random.default_rng(11)
    size = {"input": 3, "a": 3, "output": 2}
    pairs = [*pairwise(size), ("a", "a"), ("output", "a")]
    populations = [Population("input", 3), Population("a", 3, "tanh", rng.normal(size=3)), Population("output", 2)]
    network = dn.Network(populations, [Projection(s, t, rng.normal(0.0, 0.3, (size[t], size[s]))) for s, t in pairs])
    x, y = networks.batch(network, 11, 2)
    found, wanted = (dn.relax(network, x, y, backend=b, steps=500, record="last") for b in (few(), "reference"))
    assert cosine(found.gradients, wanted.gradients) > 0.99
    with pytest.raises(CycleError):
        dn.relax(network, x, y, backend=few())
    with pytest.raises(CycleError):
        spiking_circuit(network, (x, y))


def test_single_precision_is_answered_in_single_precision():
    network = dn.Network.dense([2, 2, 1], activation="tanh", dtype="float32")
    trace = dn.relax(network, *networks.batch(network, 1, 1), backend=few(), steps=20)
    parts = (*trace.potentials.values(), *trace.sensitivities.values(), *trace.gradients.values())
    assert {part.dtype for part in parts} == {np.dtype("float32")}


def test_the_plain_circuit_runs_in_a_model_of_the_users(small):
    network, x, y = small
    with nengo.Network(seed=3) as model:
        embedded = spiking_circuit(network, (x, y), neurons_per_dimension=50)
        nengo.Connection(nengo.Node(x[0]), embedded.input, synapse=None)
        nengo.Connection(nengo.Node(y[0]), embedded.target, synapse=None)
        shown = nengo.Probe(embedded.populations["output"].potential, synapse=None)
    assert {part.label for part in embedded.networks} >= {"hidden1", "output"}
    assert len(embedded.all_ensembles) == 3 * 6 + 2 * 2  # a potential and two halves of a gate; the readout has the gate
    uncached = nengo.builder.Model(dt=0.001, decoder_cache=nengo.cache.NoDecoderCache())
    with nengo.Simulator(model, model=uncached, progress_bar=False) as simulator:
        simulator.run(0.3)
    np.testing.assert_allclose(simulator.data[shown][150:].mean(axis=0), predict(network, x)[0], atol=0.05)


def test_what_crosses_a_projection_is_decoded_from_spikes_and_filtered_behind_its_weights(small):
    network, x, y = small
    model = spiking_circuit(network, (x, y), neurons_per_dimension=50)
    parts = model.populations
    crossing = {
        (c.pre_obj, c.post_obj): c.synapse for c in model.connections if c.label in {"hidden1->output", "output->hidden1"}
    }
    assert crossing == {
        (parts["hidden1"].rate, parts["output"].drive): None,  # which the drive's own filter follows
        (parts["output"].gated, parts["hidden1"].arrived): nengo.Lowpass(0.02),
    }
    decoded = {c.pre_obj for c in parts["output"].connections if c.post_obj is parts["output"].gated}
    assert decoded == {half.gated for half in parts["output"].gating}


def test_a_simulation_leaves_global_settings_as_they_were(small):
    before = (dict(nengo.rc.items("precision")), dict(nengo.rc.items("decoder_cache")), np.random.get_state()[1].tolist())  # noqa: NPY002
    dn.relax(*small, backend=few(), steps=2)
    after = (dict(nengo.rc.items("precision")), dict(nengo.rc.items("decoder_cache")), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert after == before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"neurons_per_dimension": 3}, OptionError),
        ({"neurons_per_dimension": 2.5}, OptionError),
        ({"neuron_type": "Tanh"}, UnknownNameError),
        ({"neuron_type": 7}, OptionError),
        ({"neuron_type": nengo.Direct()}, OptionError),
        ({"seed": -1}, OptionError),
        ({"tau": 0.0}, OptionError),
        ({"dt": 0.05}, OptionError),
        ({"average": 1e-6}, OptionError),
    ],
)
def test_bad_options(options, error):
    with pytest.raises(error, match=next(iter(options))):
        Spiking(**options)


def test_what_the_circuit_cannot_do_is_refused_before_it_is_built(small, monkeypatch):
    monkeypatch.setattr(nengo, "Simulator", None)
    network, x, y = small
    refused = [
        (OptionError, lambda: dn.train(network, (x, y), backend=few(), epochs=1, batch_size=1, learning_rate=0.1)),
        (OptionError, lambda: dn.relax(network, x, y, backend=few(), schedule="wavefront")),
        (OptionError, lambda: dn.relax(network, x, y, backend=few(), alpha=0.5)),
        (DataError, lambda: dn.relax(network, x, y, backend=few(calibration=(x[:, 1:], y)))),
        (OptionError, lambda: dn.relax(network, x, y, backend=few(calibration=x))),
        (OptionError, lambda: trend(network, x, y, neurons=(10,))),
        (OptionError, lambda: few(neurons_per_dimension=10**7)),
        (UnknownNameError, lambda: spiking_circuit(network, (x, y), backward={"a": 1})),
        (DataError, lambda: spiking_circuit(network, (x, y), backward={"hidden1->output": np.ones(2)})),
        (OptionError, lambda: trend(network, x, y, repeats=0)),
    ]
    for error, order in refused:
        with pytest.raises(error):
            order()


def test_neurons_that_cannot_be_tuned_are_a_typed_error(small):
    with pytest.raises(DyadicError, match="neuron type"):
        dn.relax(*small, backend=few(neuron_type=nengo.Tanh(tau_ref=1.0)), steps=2)


def test_a_missing_package_names_the_extra(small, monkeypatch):
    monkeypatch.setattr("dyadic_neuro.backends.nengo.nef.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"dyadic-neuro\[nengo\]"):
        spiking_circuit(small[0], small[1:])


def test_a_constant_derivative_is_not_sent():
    network = networks.chain(1, 3, activation="identity")
    trace = dn.relax(network, *networks.batch(network, 1, 1), backend=few(), steps=30, record="last")
    assert "derivative" not in {entry.kind for entry in trace.messages}
