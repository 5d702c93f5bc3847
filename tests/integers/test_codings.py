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
        static = next(part for part in cost.components if part.name == "static")
        assert (row.static.value, row.static.missing) == (static.total_j / 3, cost.unknown_times)
        assert row.energy.missing  # loihi2 has no published energies of events
        for assumption in cost.assumptions:
            assert row.coding in found.assumptions[assumption]


def test_static_power_is_a_part_of_the_energy_and_unknown_where_the_power_is(net, points, report):
    """Loihi 1 publishes both powers and times: energy is 104.4 mW over the time of a sample, and events."""
    for row in report.rows:
        assert row.static.missing == ()
        assert row.static.value == pytest.approx(0.1044 * row.time.value, rel=1e-12)
        assert row.static.value < row.energy.value
    found = compare_codings(net, points, codings={"graded": "graded"}, samples=3, epochs=0, chip="loihi1-sanafe").rows[0]
    assert (found.static.value, found.static.missing) == (0.0, ("static",))
    assert found.energy.value > 0


def test_a_fan_in_that_the_chip_divides_is_measured_as_the_chip_runs_it():
    """Cores that hear 12 neurons: hidden1's 15 inputs are divided, which takes wider messages and more steps."""
    chip = dn.Chip.load("loihi1")
    narrow = dataclasses.replace(chip.limits, input_axons=dataclasses.replace(chip.limits.input_axons, value=12))
    chip = dataclasses.replace(chip, limits=narrow)
    net, rng = dn.Network.dense([15, 14, 4], "tanh", "cross_entropy", seed=0), np.random.default_rng(0)
    data = dn.Dataset("rows", rng.normal(size=(20, 15)), np.arange(20) % 4, rng.normal(size=(8, 15)), np.arange(8) % 4, 4)
    mapping = dn.map_network(net, chip)
    steps = mapping.network.relaxation_steps
    assert steps > net.relaxation_steps
    chosen = {name: CODINGS[name] for name in sorted(EXACT)} | {"count": Rate(16, "lif")}
    found = compare_codings(net, data, codings=chosen, chip=chip, samples=2, epochs=0)
    fixed, backend = fixed_of(net, data), dn.backends.MappedChip(mapping)
    for row in found.rows:
        trace = dn.relax(fixed, data.inputs[:2], data.targets[:2], backend=backend, coding=chosen[row.coding])
        assert row.exact == (row.coding in EXACT)
        assert row.micro_steps == trace.micro_steps == steps * trace.coding.micro_steps
        assert (row.messages, row.bits) == (trace.messages.total() / 2, trace.messages.bits() / 2)
        assert row.time.value == trace.cost.latency_per_sample_s
    widest = max(mapping.apply(fixed).message_bits.values())
    assert {row.coding: row.micro_steps for row in found.rows}["bit_serial"] == steps * widest > steps * 16


def test_nothing_is_trained_before_all_rows_are_measured(net, points, refuses):
    told = []
    with refuses(OptionError, "bits"):
        compare_codings(net, points, codings={"a": "graded", "b": BitSerial(8)}, samples=2, epochs=1, tell=told.append)
    assert not told


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
        ({"learning_rate": -1.0}, OptionError, "learning_rate"),
        ({"batch_size": 0}, OptionError, "batch_size"),
        ({"seed": -1}, OptionError, "seed"),
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
