"""Codings beside each other: which are exact, how much they send, what that costs on a chip, and that networks learn so."""

import dataclasses

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.codings import BitSerial, Delta, Rate
from dyadic_neuro.errors import DataError, OptionError, UnknownNameError
from dyadic_neuro.studies.coded import CODINGS, LEARNING, compare_codings

EXACT = {"graded", "delta, threshold 0", "bit_serial"}


@pytest.fixture(scope="module")
def points():
    """A data set of three classes."""
    rng = np.random.default_rng(0)
    classes = np.arange(90) % 3
    inputs = rng.normal(size=(90, 4)) + 3.0 * np.eye(4)[classes]
    return dn.Dataset("points", inputs[:60], classes[:60], inputs[60:], classes[60:], 3)


@pytest.fixture(scope="module")
def net():
    return dn.Network.dense([4, 6, 5, 3], "tanh", "cross_entropy", seed=0)


@pytest.fixture(scope="module")
def report(net, points):
    return compare_codings(net, points, samples=5, epochs=0)


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return dn.datasets.load("digits")


def fixed_of(net, points):
    return dn.quantize(net, LEARNING, (points.inputs, points.targets))


def test_exactness_is_measured_and_is_what_the_codings_promise(report):
    assert [row.coding for row in report.rows] == list(CODINGS)
    for row in report.rows:
        assert row.exact == (row.coding in EXACT)
        assert (row.cosine == 1.0) == row.exact
        assert row.accuracy is None
    exact = {row.float_cosine for row in report.rows if row.exact}
    assert len(exact) == 1
    assert 0.999 < exact.pop() < 1.0


def test_delta_sends_the_changes_and_nothing_else(net, points, report):
    """Counted in the states of a graded run: what the whole network shows at each step beside what it showed before."""
    fixed = fixed_of(net, points)
    trace = dn.relax(fixed, points.inputs[:5], points.targets[:5])
    shown = [np.stack([np.zeros_like(trace.inputs), trace.inputs])]
    for p in fixed.dynamic:
        rules = fixed.rules(p.name)
        if fixed.outgoing[p.name]:
            shown.append(rules.rate(trace.potentials[p.name][:-1]))
        if any(q.source != "input" for q in fixed.incoming[p.name]):
            shown.append(rules.message(trace.sensitivities[p.name][:-1]))
    changes = sum(int(np.count_nonzero(np.diff(rows, axis=0))) for rows in shown) / 5
    graded, delta = report.rows[0], report.rows[1]
    assert delta.messages == changes
    assert delta.messages < graded.messages / 2
    assert graded.messages == trace.steps * (4 + 6 + 5 + 5 + 3)
    assert (graded.bits, delta.bits) == (16 * graded.messages, 17 * delta.messages)


def test_spikes_of_single_bits_take_as_many_micro_steps_as_they_are_told(net, report):
    micro_steps = {row.coding: row.micro_steps for row in report.rows}
    windows = {"bit_serial": 16, "rate, Poisson, window 64": 64, "rate, Poisson, window 256": 256, "rate, LIF, window 64": 64}
    assert micro_steps == {name: net.relaxation_steps * windows.get(name, 1) for name in CODINGS}
    assert all(row.bits == row.messages for row in report.rows if row.coding in windows)


def test_energy_and_time_are_those_of_the_chip(net, points):
    chosen = {"whole": "graded", "bits": BitSerial()}
    found = compare_codings(net, points, codings=chosen, samples=3, epochs=0, schedule="wavefront", chip="loihi2")
    backend = dn.backends.MappedChip(dn.map_network(net, "loihi2"))
    for row, coding in zip(found.rows, chosen.values(), strict=True):
        x, y = points.inputs[:3], points.targets[:3]
        cost = dn.relax(fixed_of(net, points), x, y, backend=backend, coding=coding, schedule="wavefront").cost
        assert (row.energy.value, row.energy.missing) == (cost.energy_per_sample_j, cost.unknown)
        assert (row.time.value, row.time.missing) == (cost.latency_per_sample_s, cost.unknown_times)
        assert row.energy.missing  # loihi2 has no published energies of events
        for assumption in cost.assumptions:
            assert row.coding in found.assumptions[assumption]


def test_all_codings_learn_and_exact_ones_learn_the_same(net, points):
    told = []
    chosen = {"graded": "graded", "delta": Delta(), "serial": BitSerial(), "count": Rate(64, "lif")}
    found = compare_codings(net, points, codings=chosen, samples=2, epochs=3, tell=told.append)
    assert tuple(told) == found.rows
    fixed = fixed_of(net, points)
    learned = dn.train(fixed, (points.inputs, points.targets), epochs=3, batch_size=20, learning_rate=0.5).network
    right = dn.accuracy(learned, points.test_inputs, points.test_targets)
    assert [row.accuracy for row in found.rows[:3]] == [right] * 3
    assert min(row.accuracy for row in found.rows) > 0.8
    assert found.records()[1]["accuracy"] == right


def test_binary_spikes_learn_the_digits_bit_for_bit_as_integers_do(digits):
    net = dn.Network.dense([64, 64, 10], "tanh", "cross_entropy", seed=0)
    fixed = dn.quantize(net, LEARNING, digits.inputs)
    found = [
        dn.train(fixed, digits, epochs=6, batch_size=20, learning_rate=0.5, coding=name) for name in ("bit_serial", "graded")
    ]
    serial, graded = (result.network.parameters for result in found)
    assert all(np.array_equal(serial[key], graded[key]) for key in graded)
    trace = dn.relax(found[0].network, digits.test_inputs, digits.test_targets, coding="bit_serial", record="last")
    assert (trace.final.potentials["output"].argmax(axis=1) == digits.test_targets).mean() >= 0.95


@pytest.mark.parametrize(
    ("options", "error", "field"),
    [
        ({"samples": 0}, OptionError, "samples"),
        ({"samples": 61}, OptionError, "samples"),
        ({"epochs": -1}, OptionError, "epochs"),
        ({"epochs": 0.5}, OptionError, "epochs"),
        ({"schedule": "sometimes"}, OptionError, "schedule"),
        ({"chip": "abacus"}, UnknownNameError, "chip"),
        ({"codings": {"new": "morse"}}, UnknownNameError, "coding"),
        ({"codings": {"short": BitSerial(8)}}, OptionError, "bits"),
        ({"form": "narrow"}, OptionError, "format"),
    ],
)
def test_what_makes_no_comparison_is_refused(net, points, refuses, options, error, field):
    with refuses(error, field):
        compare_codings(net, points, **{"samples": 5, "epochs": 0, **options})


def test_data_of_another_size_are_refused(points, refuses):
    with refuses(DataError, "calibration"):
        compare_codings(dn.Network.dense([3, 2], loss="cross_entropy"), points, samples=5, epochs=0)


def test_a_row_is_plain_data(report):
    record = dataclasses.asdict(report.rows[0])
    assert record["energy"] == {"value": report.rows[0].energy.value, "unit": "J", "missing": ()}
