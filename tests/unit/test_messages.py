"""The ledger, counted by hand: input (2) -> hidden1 (3) -> output (1), four samples at a time."""

import numpy as np
import pytest

from dyadic_neuro import relax, train
from dyadic_neuro.messages import Entry, Link, MessageLedger, expected, learns, links
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule

CHAIN = Network.dense([2, 3, 1], seed=0)  # D = 2, so a window is 4 steps
X, Y = np.ones((4, 2)), np.zeros((4, 1))
UP, ON, BACK = ("input", "hidden1", "rate"), ("hidden1", "output", "rate"), ("output", "hidden1", "sensitivity")
GATE, LOGIT, ERROR = ("hidden1", "hidden1", "derivative"), ("output", "output", "potential"), ("output", "output", "error")
HAND1, HAND2 = ("hidden1", "hidden1", "sensitivity"), ("output", "output", "sensitivity")
SHOWN = ("hidden1", "hidden1", "rate")


def rows(ledger):
    """Return {link: {step: messages}}."""
    found = {}
    for entry in ledger:
        found.setdefault((entry.source, entry.target, entry.kind), {})[entry.step] = entry.messages
    return found


def test_free_sends_everything_in_every_step_and_hands_s_over_in_the_last():
    ledger = relax(CHAIN, X, Y).messages
    every = range(1, 5)
    assert rows(ledger) == {
        UP: dict.fromkeys(every, 8),
        ON: dict.fromkeys(every, 12),
        BACK: dict.fromkeys(every, 4),
        GATE: dict.fromkeys(every, 12),
        LOGIT: dict.fromkeys(every, 4),
        ERROR: dict.fromkeys(every, 4),
        HAND1: {4: 12},
        HAND2: {4: 4},
    }
    assert (ledger.total(), ledger.total(local=True)) == (4 * 24, 4 * 20 + 16)
    assert (ledger.total("rate"), ledger.total("sensitivity"), ledger.total("error")) == (80, 16, 0)
    assert (ledger.total("sensitivity", local=True), ledger.total("error", local=True), ledger.total("rate", local=True)) == (
        16,
        16,
        0,
    )
    assert ledger.per_step().tolist() == [24] * 4
    assert ledger.per_step(local=True).tolist() == [20, 20, 20, 36]
    assert (ledger.bits(), ledger.bits(local=True)) == (64 * 96, 64 * 96)


def test_a_wavefront_sends_each_message_once():
    ledger = relax(CHAIN, X, Y, schedule="wavefront").messages
    assert rows(ledger) == {
        UP: {1: 8},
        ON: {2: 12},
        BACK: {4: 4},
        GATE: {2: 12},
        LOGIT: {3: 4},
        ERROR: {3: 4},
        HAND1: {4: 12},
        HAND2: {4: 4},
    }
    assert ledger.per_step().tolist() == [8, 12, 0, 4]  # in step 3 the error is on its way inside the readout's pair
    assert ledger.per_step(local=True).tolist() == [0, 12, 8, 16]


def test_iteration_goes_by_step_and_skips_silence():
    entries = list(relax(CHAIN, X[:1], Y[:1], schedule="wavefront").messages)
    assert entries[0] == Entry(1, "input", "hidden1", "rate", local=False, messages=2, bits=128)
    assert [entry.step for entry in entries] == [1, 2, 2, 3, 3, 4, 4, 4]
    assert all(entry.messages for entry in entries)


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
@pytest.mark.parametrize("steps", [3, 4, 10])
def test_totals_are_the_sum_of_the_steps(schedule, steps):
    whole = relax(CHAIN, X, Y, schedule=schedule, steps=steps).messages
    last = relax(CHAIN, X, Y, schedule=schedule, steps=steps, record="last").messages
    assert (whole.by_step, last.by_step) == (True, False)
    assert whole.counts.shape == (steps, len(whole.links))
    assert last.counts.tolist() == [whole.counts.sum(axis=0).tolist()]
    assert {entry.step for entry in last} == {None}
    for local in (False, True):
        assert (
            whole.total(local=local)
            == last.total(local=local)
            == whole.per_step(local=local).sum()
            == last.per_step(local=local)[0]
        )
        assert whole.bits(local=local) == last.bits(local=local) == sum(entry.bits for entry in whole if entry.local == local)


def test_bits_follow_the_type():
    assert relax(Network.dense([2, 3, 1], dtype="float32"), X, Y).messages.bits() == 32 * 96


def test_a_ledger_adds_up_links_of_unlike_width():
    wide, narrow, inside = (
        Link("a", "b", "rate", local=False, bits=64),
        Link("b", "a", "sensitivity", local=False, bits=8),
        Link("a", "a", "derivative", local=True, bits=16),
    )
    ledger = MessageLedger((wide, narrow, inside), np.array([[1, 2, 3], [0, 5, 0]]), by_step=True)
    assert (ledger.total(), ledger.total("rate"), ledger.total(local=True)) == (8, 1, 3)
    assert (ledger.bits(), ledger.bits(local=True)) == (64 + 7 * 8, 48)
    assert list(ledger) == [
        Entry(1, "a", "b", "rate", local=False, messages=1, bits=64),
        Entry(1, "b", "a", "sensitivity", local=False, messages=2, bits=16),
        Entry(1, "a", "a", "derivative", local=True, messages=3, bits=48),
        Entry(2, "b", "a", "sensitivity", local=False, messages=5, bits=40),
    ]


@pytest.mark.parametrize(("schedule", "between"), [("free", 4 * 24), ("wavefront", 24)])
def test_learning_counts_the_messages_of_every_window(schedule, between):
    data = np.ones((9, 2)), np.zeros((9, 1))
    # two windows an epoch, one sample is left over
    history = train(CHAIN, data, batch_size=4, epochs=2, schedule=schedule).history
    assert [line.messages for line in history] == [2 * between] * 2


def test_learning_hands_over_rates_too_once_per_update():
    ledger = expected(CHAIN, Schedule.of(CHAIN, "free"), 8, 4, by_step=True, window=4, learning=True)
    found = rows(ledger)
    assert found[SHOWN] == dict.fromkeys(range(1, 9), 12)  # the W^T copy below reads its own rate
    assert found[HAND1] == {4: 12, 8: 12}
    assert found[HAND2] == {4: 4, 8: 4}


def test_links_are_those_of_the_weights_and_of_the_dyads():
    net = Network(
        [Population("input", 1), Population("a", 2), Population("b", 1, bias=0.0), Population("output", 1)],
        [
            Projection("input", "a", np.ones((2, 1)), plastic=False),
            Projection("a", "b", np.ones((1, 2)), plastic=False),
            Projection("b", "output", np.ones((1, 1))),
            Projection("input", "output", np.ones((1, 1))),
        ],
    )
    assert [learns(net, name) for name in ("a", "b", "output")] == [False, True, True]  # b by its bias alone
    assert {(x.source, x.target, x.kind) for x in links(net, learning=False) if not x.local} == {
        ("input", "a", "rate"),
        ("a", "b", "rate"),
        ("b", "output", "rate"),
        ("input", "output", "rate"),
        ("b", "a", "sensitivity"),
        ("output", "b", "sensitivity"),
    }
    assert {(x.source, x.kind) for x in links(net, learning=False) if x.local} == {
        ("a", "derivative"),
        ("b", "derivative"),
        ("b", "sensitivity"),
        ("output", "potential"),
        ("output", "error"),
        ("output", "sensitivity"),
    }


def test_labelled_it_tells_the_network_that_sent_it_where_that_is_known():
    pytest.importorskip("xarray", reason="needs pip install 'dyadic-neuro[interchange]'")
    trace = relax(CHAIN, X, Y)
    told = trace.messages.to_xarray().attrs
    assert told["network_fingerprint"] == CHAIN.fingerprint
    assert told["network"] == trace.to_xarray().attrs["network"]
    assert (
        "network"
        not in expected(CHAIN, Schedule.of(CHAIN, "free"), 4, 4, by_step=True, window=4, learning=False).to_xarray().attrs
    )
