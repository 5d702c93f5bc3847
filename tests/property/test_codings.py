"""Codings on random messages: exact ones are so bit for bit, others have their bounds, and slices send what the whole sends."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyadic_neuro.codings import BitSerial, Delta, Draw, Graded, Rate, replay

HERE = Draw(signal=3, first=5, step=7)
WIDTHS = st.one_of(st.integers(2, 32), st.just(62))
WINDOWS = st.integers(0, 8).map(lambda places: 2**places)


@st.composite
def told(draw, widths=WIDTHS, most=3):
    """The width of messages, what a population tells at successive unit steps (steps, batch, n), and what was held before."""
    bits = draw(widths)
    shape = tuple(draw(st.integers(1, most)) for _ in range(3))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    whole = st.one_of(st.integers(low, high), st.sampled_from([low, -1, 0, 1, high]))
    return bits, draw(arrays.arrays(np.int64, shape, elements=whole)), draw(arrays.arrays(np.int64, shape[1:], elements=whole))


def heard(coding, latch, planes, bits):
    """Receive micro-step by micro-step, with spikes as the widest integers: a simulator's ports may have widened them."""
    partial = 0
    for micro in range(coding.micro_steps):
        partial = coding.hear(partial, planes[micro].astype(np.int64), micro)
    return coding.latched(latch, partial, bits)


def by_hand(coding, latch, planes, bits):
    """What one receiver holds, in Python's integers, from the definition of the code."""
    sent = [int(plane) for plane in planes]
    match coding:
        case Graded():
            return sent[0]
        case Delta():
            return int(latch) + sent[0]
        case BitSerial():
            number = int("".join(map(str, sent)), 2)
            return number - (2 ** len(sent) if sent[0] else 0)
        case Rate(window=window):
            twice = 2 * sum(sent) * 2 ** (bits - 1)
            return min(max((twice + window) // (2 * window), -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def all_codings(bits, window):
    return [
        *(Graded(), Delta(), Delta(1), Delta(5), BitSerial(bits), BitSerial(min(bits + 3, 62))),
        *(Rate(window, "poisson", seed=1), Rate(window, "lif")),
    ]


@given(told())
def test_receivers_of_an_exact_coding_hold_the_messages_bit_for_bit_after_any_history(case):
    bits, messages, latch = case
    for coding in (Graded(), Delta(), Delta(1), BitSerial().fitted({"here": bits}), BitSerial(62)):
        assert coding.exact
        held = latch
        for message in messages:
            held = replay(coding, held, coding.planes(message, held, bits, HERE), bits)
            assert held.dtype == np.int64
            assert np.array_equal(held, message), coding


@given(told(), WINDOWS)
def test_what_receivers_hold_is_what_the_code_says_and_what_the_sender_knows(case, window):
    bits, messages, latch = case
    message = messages[0]
    for coding in all_codings(bits, window):
        planes = coding.planes(message, latch, bits, HERE)
        assert planes.shape == (coding.micro_steps, *message.shape)
        assert planes.dtype.kind == "i"
        held = replay(coding, latch, planes, bits)
        assert np.array_equal(held, heard(coding, latch, planes, bits))
        for row, neuron in np.ndindex(message.shape):
            assert held[row, neuron] == by_hand(coding, latch[row, neuron], planes[:, row, neuron], bits), coding


@given(told(), WINDOWS)
def test_what_is_sent_fits_on_the_wire(case, window):
    bits, messages, latch = case
    for coding in all_codings(bits, window):
        planes, wire = coding.planes(messages[0], latch, bits, HERE), coding.wire_bits(bits)
        if isinstance(coding, Rate):  # either axon of a neuron carries spikes alone
            assert wire == 1
            planes = np.abs(planes)
        low, high = (0, 1) if wire == 1 else (-(2 ** (wire - 1)), 2 ** (wire - 1) - 1)
        assert low <= planes.min() <= planes.max() <= high, coding


@given(told(), st.one_of(st.integers(0, 9), st.integers(0, 2**40)))
def test_delta_is_always_less_than_its_threshold_off(case, threshold):
    bits, messages, held = case
    coding = Delta(threshold)
    for message in messages:
        planes = coding.planes(message, held, bits, HERE)
        far = [abs(int(m) - int(h)) >= max(threshold, 1) for m, h in zip(message.flat, held.flat, strict=True)]
        assert coding.sent(planes).ravel().tolist() == far
        held = replay(coding, held, planes, bits)
        assert np.abs(message - held).max() < max(threshold, 1)


@given(told())
def test_messages_that_do_not_change_are_not_sent_again_by_delta(case):
    bits, messages, latch = case
    coding, message = Delta(), messages[0]
    held = replay(coding, latch, coding.planes(message, latch, bits, HERE), bits)
    assert not coding.sent(coding.planes(message, held, bits, HERE)).any()


@given(told(), WINDOWS)
def test_the_spikes_are_those_that_are_counted_by_hand(case, window):
    bits, messages, latch = case
    message, full = messages[0], 2 ** (bits - 1)
    ones = BitSerial(bits)
    planes = ones.planes(message, latch, bits, HERE)
    assert ones.sent(planes).sum() == sum(f"{int(m) % 2**bits:b}".count("1") for m in message.flat)
    fires = Rate(window, "lif")
    planes = fires.planes(message, latch, bits, HERE)
    nearest = [(2 * window * abs(int(m)) + full) // (2 * full) for m in message.flat]
    assert fires.sent(planes).sum(axis=0).ravel().tolist() == nearest


@given(told(), WINDOWS)
def test_counts_of_integrate_and_fire_are_at_most_half_a_spike_off(case, window):
    bits, messages, latch = case
    message, coding, full = messages[0], Rate(window, "lif"), 2 ** (bits - 1)
    held = replay(coding, latch, coding.planes(message, latch, bits, HERE), bits)
    assert np.abs(held - message).max() <= full // (2 * window)  # 0, and so exact, if the window is as long as `full`


@given(told(), WINDOWS, st.integers(0, 2**63 - 1))
def test_a_window_tells_its_message_alone(case, window, seed):
    bits, messages, latch = case
    for kind in ("poisson", "lif"):
        coding = Rate(window, kind, seed)
        planes = coding.planes(messages[0], latch, bits, HERE)
        assert np.array_equal(planes, coding.planes(messages[0], np.zeros_like(latch), bits, HERE))
        assert np.array_equal(replay(coding, latch, planes, bits), replay(coding, 0 * latch, planes, bits))
        assert (planes * np.sign(messages[0]) >= 0).all()
        assert not planes[:, messages[0] == 0].any()
        assert planes[:, messages[0] == -(2 ** (bits - 1))].sum() == -window * (messages[0] == -(2 ** (bits - 1))).sum()


@given(told(most=6), WINDOWS, st.data())
def test_a_slice_of_a_population_sends_what_the_whole_sends(case, window, data):
    bits, messages, latch = case
    n = latch.shape[1]
    start = data.draw(st.integers(0, n - 1))
    part = slice(start, data.draw(st.integers(start + 1, n)))
    for coding in all_codings(bits, window):
        whole = coding.planes(messages[0], latch, bits, HERE)
        sliced = coding.planes(messages[0][:, part], latch[:, part], bits, HERE._replace(first=HERE.first + start))
        assert np.array_equal(sliced, whole[..., part])
        assert np.array_equal(coding.sent(sliced), coding.sent(whole)[..., part])
        assert np.array_equal(replay(coding, latch[:, part], sliced, bits), replay(coding, latch, whole, bits)[:, part])


@given(told(), WINDOWS)
def test_nothing_that_came_in_is_written_to(case, window):
    bits, messages, latch = case
    message = messages[0]
    for array in (message, latch):
        array.setflags(write=False)
    for coding in all_codings(bits, window):
        planes = coding.planes(message, latch, bits, HERE)
        planes.setflags(write=False)
        replay(coding, latch, planes, bits)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 62), min_size=1))
def test_bit_serial_takes_as_many_micro_steps_as_the_widest_signal_has_bits(bits):
    widest = max(bits.values())
    assert BitSerial().fitted(bits).micro_steps == widest
    for fits in (BitSerial(widest), BitSerial(62), Graded(), Delta(3), Rate(4)):
        assert fits.fitted(bits) == fits
    assert BitSerial().fitted(bits).fitted(bits) == BitSerial(widest)


@pytest.mark.parametrize("kind", ["poisson", "lif"])
@given(bits=st.integers(2, 62), places=st.integers(0, 12))
def test_the_largest_message_never_leaves_the_range(kind, bits, places):
    coding, full = Rate(2**places, kind), 2 ** (bits - 1)
    message = np.array([[full - 1, -full]])
    held = replay(coding, 0 * message, coding.planes(message, 0 * message, bits, HERE), bits)
    assert -full <= held.min() <= held.max() < full
