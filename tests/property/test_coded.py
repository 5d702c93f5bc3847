"""Codings at work on the reference: an exact one changes nothing but the traffic, and no coding lets copies drift apart."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.codings import BitSerial, Delta, Rate
from dyadic_neuro.errors import CheckpointError, NetworkError
from dyadic_neuro.testing import networks

SEEDS = st.integers(0, 10_000)


def problem(seed, samples=4, **form):
    network = networks.dag(seed, 3, parts=True, loss=("squared_error", "cross_entropy", "binary_cross_entropy")[seed % 3])
    x, y = networks.batch(network, seed, samples)
    try:
        return dn.quantize(network, dn.FixedFormat(**form), calibration=x), x, y
    except NetworkError:  # one in ten thousand needs 63 bits of the accumulator, and is refused
        reject()


def same(found, wanted):
    return all(np.array_equal(found[key], right) for key, right in wanted.items())


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["free", "wavefront"]), st.integers(1, 12))
def test_an_exact_coding_takes_the_steps_of_graded_messages_and_reads_their_gradients(seed, schedule, steps):
    net, x, y = problem(seed, message_bits=4 + seed % 13)
    graded = dn.relax(net, x, y, schedule=schedule, steps=steps)
    for coding in (Delta(), Delta(1), BitSerial()):
        trace = dn.relax(net, x, y, schedule=schedule, steps=steps, coding=coding)
        assert same(trace.potentials, graded.potentials)
        assert same(trace.sensitivities, graded.sensitivities)
        assert same(trace.gradients, graded.gradients)
        assert same(trace.gradients_at(steps), graded.gradients)
        assert trace.saturations == graded.saturations
        assert trace.micro_steps == steps * (1 if coding.name == "delta" else max(net.message_bits.values()))


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(1, 8))
def test_learning_is_that_of_graded_messages_in_windows_of_any_length(seed, window):
    net, x, y = problem(seed, samples=8, rounding="stochastic")
    options = {"epochs": 2, "batch_size": 2, "learning_rate": 0.3, "window": window}
    graded = dn.train(net, (x, y), **options)
    for coding in ("delta", "bit_serial"):
        result = dn.train(net, (x, y), coding=coding, **options)
        assert same(result.network.parameters, graded.network.parameters)
        assert result.saturations == graded.saturations


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([Delta(40), Rate(16), Rate(16, "lif"), BitSerial()]), st.sampled_from(["free", "wavefront"]))
def test_both_copies_of_a_weight_learn_from_the_same_integers_whatever_the_coding(seed, coding, schedule):
    net, x, y = problem(seed, samples=8, rounding="stochastic", weight_headroom_bits=1)
    result = dn.train(net, (x, y), coding=coding, schedule=schedule, epochs=4, batch_size=2, learning_rate=0.5)
    for copies in result.copies.values():
        if copies.backward is not None:
            assert np.array_equal(copies.forward, copies.backward.T)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_delta_sends_what_changes_and_so_nothing_for_a_sample_that_it_has_told(seed):
    net, x, y = problem(seed)
    first = dn.relax(net, x, y, coding="delta")
    graded = dn.relax(net, x, y)
    assert first.messages.total() <= graded.messages.total()
    per_step = dn.relax(net, x, y, coding="delta", steps=3 * net.relaxation_steps).messages.per_step()
    assert per_step[net.relaxation_steps + 1 :].sum() == 0  # settled: nothing changes any more


def test_a_checkpoint_is_of_one_coding_and_one_count_of_updates(tmp_path):
    net, x, y = problem(1, samples=8, rounding="stochastic")
    options = {"batch_size": 2, "learning_rate": 0.3, "checkpoint": tmp_path / "run.npz"}
    dn.train(net, (x, y), epochs=1, coding="bit_serial", **options)
    for other, coding in ((net, "delta"), (net, "graded"), (net.with_parameters({}, updates=7), "bit_serial")):
        with pytest.raises(CheckpointError):
            dn.train(other, (x, y), epochs=2, coding=coding, **options)
    resumed = dn.train(net, (x, y), epochs=2, coding=BitSerial(16), **options)
    whole = dn.train(net, (x, y), epochs=2, batch_size=2, learning_rate=0.3, coding="bit_serial")
    assert same(resumed.network.parameters, whole.network.parameters)
    assert resumed.network.updates == whole.network.updates == 8
    assert resumed.saturations == whole.saturations
