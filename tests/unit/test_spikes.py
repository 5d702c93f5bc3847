"""The record of events: whoever sent them, in any order, they come out sorted and counted."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyadic_neuro.errors import DataError, UnknownNameError
from dyadic_neuro.spikes import Spikes

BATCH, STEPS = 3, 5
EVENTS = st.lists(st.tuples(st.integers(0, BATCH - 1), st.integers(1, STEPS), st.integers(0, 3)), max_size=30)


def of(rows, population="hidden1", kind="spike", dt_ms=2.0):
    columns = np.array(rows, int).reshape(-1, 3).T
    return Spikes.of([(population, kind, *columns)], batch=BATCH, steps=STEPS, dt_ms=dt_ms)


@given(EVENTS)
def test_events_come_out_in_order_and_none_is_lost(rows):
    train = of(rows).train("hidden1")
    assert sorted(rows) == list(zip(train.samples.tolist(), train.steps.tolist(), train.neurons.tolist(), strict=True))


@given(EVENTS, EVENTS)
def test_counts_are_those_of_the_events(rates, sensitivities):
    parts = [("a", "rate", rates), ("b", "rate", sensitivities), ("a", "sensitivity", sensitivities)]
    events = [(name, kind, *np.array(rows, int).reshape(-1, 3).T) for name, kind, rows in parts]
    spikes = Spikes.of(events, batch=BATCH, steps=STEPS, dt_ms=1.0)
    assert [train.name for train in spikes.trains] == ["a.rate", "b.rate", "a.sensitivity"]
    assert spikes.total() == len(rates) + 2 * len(sensitivities) == spikes.per_step().sum()
    assert spikes.total("sensitivity") == len(sensitivities)
    wanted = [sum(step == k for _, step, _ in rates + sensitivities) for k in range(1, STEPS + 1)]
    assert spikes.per_step("rate").tolist() == wanted


@given(EVENTS)
def test_events_in_pieces_are_the_same_as_at_once(rows):
    pieces = [("hidden1", "spike", *np.array([row]).T) for row in rows] or [("hidden1", "spike", [], [], [])]
    at_once, joined = of(rows).train("hidden1"), Spikes.of(pieces, batch=BATCH, steps=STEPS, dt_ms=2.0).train("hidden1")
    assert all(np.array_equal(getattr(at_once, part), getattr(joined, part)) for part in ("samples", "steps", "neurons"))


@given(EVENTS, st.sampled_from([0.001, 0.0001, 0.1, 1 / 3]))
def test_times_and_steps_say_the_same(rows, dt_s):
    samples, steps, neurons = np.array(rows, int).reshape(-1, 3).T
    found = Spikes.of_times([("hidden1", steps * dt_s, neurons, samples)], batch=BATCH, steps=STEPS, dt_s=dt_s)
    train, wanted = found.train("hidden1"), of(rows).train("hidden1")
    assert np.array_equal(train.steps, wanted.steps)
    in_turn = train.samples * found.duration_ms + train.steps * found.dt_ms
    assert np.allclose(found.times_ms(train), in_turn, rtol=1e-14, atol=0)
    assert np.array_equal(np.rint(found.times_ms(train) / found.dt_ms), train.samples * STEPS + train.steps)


def test_arrays_are_read_only_also_in_a_copy():
    train = copy.deepcopy(of([(0, 1, 2)])).train("hidden1")
    with pytest.raises(ValueError, match="read-only"):
        train.neurons[0] = 1
    assert "hidden1 1" in repr(of([(0, 1, 2)]))
    assert len(train) == 1


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        (([3], [1], [0]), "samples"),
        (([-1], [1], [0]), "samples"),
        (([0], [0], [0]), "steps"),
        (([0], [6], [0]), "steps"),
        (([0], [1.5], [0]), "steps"),
        (([0], [np.nan], [0]), "steps"),
        (([0], [1], [-1]), "neurons"),
        (([0], [1], ["a"]), "neurons"),
        (([0], [1], [[0]]), "neurons"),
        (([0, 0], [1], [0]), "samples"),
    ],
)
def test_events_of_another_run_are_refused(columns, field, refuses):
    with refuses(DataError, f"{field} of hidden1"):
        Spikes.of([("hidden1", "spike", *columns)], batch=BATCH, steps=STEPS, dt_ms=1.0)


def test_an_unknown_train_names_those_there_are(refuses):
    with refuses(UnknownNameError, "population", "hidden1"):
        of([]).train("hidden2")
    with refuses(UnknownNameError, "population", "rate"):
        of([], kind="rate").train("hidden1")
