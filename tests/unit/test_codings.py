"""Codings: small cases by hand, the chance in Poisson spikes, and what is refused."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

from dyadic_neuro.codings import CODINGS, BitSerial, Delta, Draw, Graded, Rate, coding, replay
from dyadic_neuro.errors import OptionError, UnknownNameError

HERE = Draw(signal=0, first=0, step=0)
ALL = [Graded(), Delta(), Delta(3), BitSerial(6), Rate(8), Rate(8, "lif")]
WORD = 2**64


def row(*numbers):
    return np.array([numbers], np.int64)


def sends(coding, message, held=None, bits=4, draw=HERE):
    return coding.planes(message, np.zeros_like(message) if held is None else held, bits, draw)


# ------------------------------------------------------------------------------------------------------------------ by hand


def test_graded_sends_every_message_at_every_step():
    planes = sends(Graded(), row(3, 0, -8))
    assert planes.tolist() == [[[3, 0, -8]]]
    assert Graded().sent(planes).tolist() == [[[True, True, True]]]


def test_delta_sends_changes_that_reach_the_threshold_as_they_are():
    message, held = row(3, 3, 3, -8), row(3, 2, -1, 7)
    assert sends(Delta(), message, held).tolist() == [[[0, 1, 4, -15]]]
    assert sends(Delta(2), message, held).tolist() == sends(Delta(4), message, held).tolist() == [[[0, 0, 4, -15]]]
    assert sends(Delta(5), message, held).tolist() == [[[0, 0, 0, -15]]]
    assert Delta(4).sent(sends(Delta(4), message, held)).tolist() == [[[False, False, True, True]]]
    assert replay(Delta(5), held, sends(Delta(5), message, held), 4).tolist() == [[3, 2, -1, -8]]


def test_a_drift_below_the_threshold_is_told_once_it_has_added_up():
    held, messages = row(0), 0
    for value in range(1, 8):
        planes = sends(Delta(3), row(value), held)
        messages += int(Delta(3).sent(planes).sum())
        held = replay(Delta(3), held, planes, 4)
    assert (messages, held.item()) == (2, 6)


def test_bits_come_with_the_most_significant_first_and_narrow_messages_keep_their_sign():
    planes = sends(BitSerial(6), row(5, -8, -1, 0))
    assert planes[:, 0].T.tolist() == [[0, 0, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0] * 6]
    sums, partial = [], 0
    for micro, plane in enumerate(planes):
        partial = BitSerial(6).hear(partial, plane, micro)
        sums.append(partial[0].tolist())
    assert sums == [[0, -1, -1, 0], [0, -1, -1, 0], [0, -1, -1, 0], [1, -2, -1, 0], [2, -4, -1, 0], [5, -8, -1, 0]]


def test_integrate_and_fire_spreads_its_spikes_over_the_window():
    planes = sends(Rate(8, "lif"), row(2, -4, -8, 0, 1))
    spread = [[0, 1, 0, 0, 0, 1, 0, 0], [-1, 0] * 4, [-1] * 8, [0] * 8, [0, 0, 0, 1, 0, 0, 0, 0]]
    assert planes[:, 0].T.tolist() == spread
    assert replay(Rate(8, "lif"), row(9, 9, 9, 9, 9), planes, 4).tolist() == [[2, -4, -8, 0, 1]]


def test_a_count_is_scaled_to_nearest_with_ties_up_and_limited():
    def latched(window, *counts):
        return Rate(window).latched(row(*[0] * len(counts)), row(*counts), 4)[0].tolist()

    assert latched(2, 2, 1, -1, -2) == [7, 4, -4, -8]  # a spike means 4
    assert latched(8, 8, 1, -8) == [7, 1, -8]
    assert latched(32, 1, 2, 3, -1, -2, -3, 32) == [0, 1, 1, 0, 0, -1, 7]  # four spikes mean 1


@pytest.mark.parametrize(
    ("what", "exact", "micro_steps", "wire_bits"),
    [
        (Graded(), True, 1, 16),
        (Delta(), True, 1, 17),
        (Delta(1), True, 1, 17),
        (Delta(2), False, 1, 17),
        (BitSerial(16), True, 16, 1),
        (Rate(), False, 64, 1),
        (Rate(128, "lif"), False, 128, 1),
    ],
)
def test_what_a_coding_costs(what, exact, micro_steps, wire_bits):
    assert (what.exact, what.micro_steps, what.wire_bits(16)) == (exact, micro_steps, wire_bits)


# ------------------------------------------------------------------------------------------------------------------- chance


def mixed(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def word(*key):
    a, b, c = ((number + 0x9E3779B97F4A7C15) % WORD for number in key)
    return mixed(mixed(mixed(a) ^ b) ^ c)


@pytest.mark.parametrize("bits", [2, 8, 16, 53, 54, 55, 62])
def test_a_poisson_spike_is_the_comparison_of_a_uniform_number_with_a_probability(bits):
    rng, window, draw = np.random.default_rng(bits), 16, Draw(signal=4, first=9, step=11)
    message = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 5))
    planes = sends(Rate(window, seed=6), message, bits=bits, draw=draw)
    for micro, sample, neuron in np.ndindex(planes.shape):
        number = word(word(6, draw.signal, sample), draw.step * window + micro, draw.first + neuron) >> 11
        size = abs(int(message[sample, neuron]))
        fires = number < size * 2**53 // 2 ** (bits - 1)
        assert planes[micro, sample, neuron] == fires * np.sign(message[sample, neuron])


def test_only_numbers_below_the_probability_spike(monkeypatch):
    """The edges, which chance does not meet: 0 is below no probability of 0, and the largest number below that of 1."""
    for number, spikes in ((0, [0, 1, -1]), (2**52 - 1, [0, 1, -1]), (2**52, [0, 0, -1]), (2**53 - 1, [0, 0, -1])):
        monkeypatch.setattr("dyadic_neuro.codings.rate.words", lambda *_, word=number << 11: np.full((1, 1, 1), word, np.uint64))
        assert sends(Rate(1), row(0, 4, -8)).tolist() == [[spikes]]


@pytest.mark.parametrize(("bits", "window"), [(8, 16), (4, 64), (16, 64)])
def test_poisson_counts_are_unbiased_and_as_uncertain_as_independent_spikes(bits, window):
    """Means of 4,000 windows, within 4.5 of their own standard deviations; variances within 15 %, which is 6 of theirs."""
    full, rate, windows = 2 ** (bits - 1), Rate(window, seed=1), 4000
    levels = np.array([-full, -full * 3 // 4, -full // 8, 0, full // 8, full // 2, full * 7 // 8])
    counts = sends(rate, np.tile(levels, (windows, 1)), bits=bits).sum(axis=0, dtype=np.int64)
    p = np.abs(levels) / full
    variance = window * p * (1 - p)
    wanted = window * levels / full
    assert (np.abs(counts.mean(axis=0) - wanted) <= 4.5 * np.sqrt(variance / windows)).all()
    assert (np.abs(counts.var(axis=0) - variance) <= 0.15 * variance).all()
    held = rate.latched(counts, counts, bits)
    rounding = 0.5 if window > full else 0
    assert (np.abs(held.mean(axis=0) - levels) <= 4.5 * full / window * np.sqrt(variance / windows) + rounding + 1e-9).all()


def test_signals_steps_samples_neurons_micro_steps_and_seeds_draw_numbers_of_their_own():
    message, half = np.full((40, 50), 4), Rate(16, seed=2)
    drawn = sends(half, message)
    others = {
        "signal": sends(half, message, draw=Draw(1, 0, 0)),
        "step": sends(half, message, draw=Draw(0, 0, 1)),
        "signal and step exchanged": sends(half, message, draw=Draw(1, 0, 1)),
        "neuron": np.roll(drawn, 1, axis=2),
        "sample": np.roll(drawn, 1, axis=1),
        "micro-step": np.roll(drawn, 1, axis=0),
        "sample and neuron": np.roll(drawn, (1, -1), axis=(1, 2)),
        "seed": sends(Rate(16, seed=3), message),
    }
    for name, other in others.items():
        together = np.corrcoef(drawn.ravel(), other.ravel())[0, 1]
        assert abs(together) < 4.5 / math.sqrt(drawn.size), name
    assert np.array_equal(drawn, sends(half, message))


def test_a_slice_of_a_population_too_large_for_one_block_draws_what_the_whole_draws():
    message = np.random.default_rng(0).integers(-8, 8, (3, 30_000))
    whole = sends(Rate(4), message)
    few = sends(Rate(4), message[:, 29_000:29_010], draw=Draw(0, 29_000, 0))
    assert np.array_equal(whole[..., 29_000:29_010], few)


# ------------------------------------------------------------------------------------------------------- names and refusals


def test_a_coding_is_meant_by_its_name_or_by_itself():
    assert list(CODINGS) == ["graded", "delta", "bit_serial", "rate"]
    for name, kind in CODINGS.items():
        assert coding(name) == kind()
        assert coding(name).name == name
    for what in ALL:
        assert coding(what) is what


@pytest.mark.parametrize("what", ALL, ids=repr)
def test_codings_are_values(what):
    copied = pickle.loads(pickle.dumps(what))
    assert copied == what
    assert hash(copied) == hash(what)
    assert dataclasses.replace(what) == what
    for field in dataclasses.fields(what):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(what, field.name, 1)


def test_integers_of_numpy_are_options_like_any_others():
    found = (Delta(np.int64(3)), BitSerial(np.uint8(8)), Rate(np.int32(8), seed=np.int64(1)))
    assert found == (Delta(3), BitSerial(8), Rate(8, seed=1))
    assert all(type(number) is int for number in (found[0].threshold, found[1].bits, found[2].window, found[2].seed))


@pytest.mark.parametrize("size", [(0, 3), (2, 0)])
@pytest.mark.parametrize("what", ALL, ids=repr)
def test_no_samples_or_neurons_send_nothing(what, size):
    nothing = np.zeros(size, np.int64)
    planes = sends(what, nothing)
    assert planes.shape == (what.micro_steps, *size)
    assert replay(what, nothing, planes, 4).shape == size


@pytest.mark.parametrize(
    ("make", "field", "says"),
    [
        (lambda: Delta(-1), "threshold", ["-1", "last bit"]),
        (lambda: Delta(0.5), "threshold", ["0.5", "whole number"]),
        (lambda: Delta(True), "threshold", ["True"]),  # noqa: FBT003
        (lambda: Delta("2"), "threshold", ["'2'"]),
        (lambda: Delta(2**62 + 1), "threshold", [str(2**62)]),
        (lambda: BitSerial(1), "bits", ["1 is", "2 to 62"]),
        (lambda: BitSerial(63), "bits", ["63"]),
        (lambda: BitSerial(8.0), "bits", ["8.0"]),
        (lambda: Rate(0), "window", ["0 is", "1 to 1048576"]),
        (lambda: Rate(2**21), "window", ["2097152"]),
        (lambda: Rate(48), "window", ["48 is no power of two", "32 or 64"]),
        (lambda: Rate(64.0), "window", ["64.0"]),
        (lambda: Rate(kind="lfi"), "kind", ["'lfi'", "poisson", "lif"]),
        (lambda: Rate(seed=-1), "seed", ["-1"]),
        (lambda: Rate(seed=2**63), "seed", [str(2**63)]),
        (lambda: BitSerial().micro_steps, "bits", ["open", "fitted"]),
        (lambda: BitSerial(8).fitted({"rate of a": 8, "rate of b": 12, "c": 9}), "bits", ["8 micro", "rate of b", "least 12"]),
        (lambda: BitSerial(8).fitted({"rate of a": 9}), "bits", ["8 micro", "rate of a", "least 9"]),
        (lambda: BitSerial().fitted({"rate of a": 63}), "bits of rate of a", ["63", "2 to 62"]),
        (lambda: Graded().fitted({"rate of a": 1}), "bits of rate of a", ["1 is", "2 to 62"]),
        (lambda: coding(3), "coding", ["3 is neither", "graded"]),
    ],
)
def test_options_outside_their_limits_are_refused(make, field, says, refuses):
    with refuses(OptionError, field, *says):
        make()


def test_an_unknown_name_is_refused_with_those_there_are(refuses):
    with refuses(UnknownNameError, "coding", "'grated'", *CODINGS):
        coding("grated")
