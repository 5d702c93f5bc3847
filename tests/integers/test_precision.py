"""Few bits: how near the gradient stays to that of floats, learning in 8-bit weights, and what saturates is never silent."""

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import plotting
from dyadic_neuro.errors import CycleError, DataError, OptionError, SaturationError
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.studies import precision
from dyadic_neuro.studies.precision import NOTE, SWEEPS, Finding, Widths, findings, shares, sweep_widths
from dyadic_neuro.testing import networks

LEARNING = {"weight_headroom_bits": 1, "headroom_bits": 3, "rounding": "stochastic"}


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return dn.datasets.load("digits")


@pytest.fixture(scope="module")
def small():
    """A network and a batch."""
    net = dn.Network.dense([5, 6, 4, 3], "tanh", "cross_entropy", seed=1)
    return net, *networks.batch(net, 2, 20)


def tabled(small, **options):
    pytest.importorskip("pandas")
    return sweep_widths(*small, **{"weight_bits": (4, 16), "message_bits": (8, 24), "state_bits": (8, 24)} | options)


def cosines(found, wanted):
    return {key: np.sum(found[key] * g) / np.sqrt(np.sum(found[key] ** 2) * np.sum(g**2)) for key, g in wanted.items()}


# What holds on digits


def least_cosines(digits, network, fixed):
    """The least cosine of a parameter's gradient to that of floats, for each batch of 64."""
    parts = [slice(first, first + 64) for first in range(0, len(digits.inputs) - 63, 64)]
    batches = [(digits.inputs[part], digits.targets[part]) for part in parts]
    traces = [dn.relax(fixed, *batch, record="last", schedule="wavefront") for batch in batches]
    assert not any(trace.saturations for trace in traces)
    pairs = zip(traces, batches, strict=True)
    return [min(cosines(trace.gradients, dn.backprop(network, *batch)).values()) for trace, batch in pairs]


@pytest.mark.parametrize("seed", range(3))
def test_gradients_in_8_bit_weights_and_16_bit_messages_point_where_those_of_floats_do(digits, seed):
    net = dn.Network.dense([64, 64, 10], "tanh", "cross_entropy", seed=seed)
    fixed = dn.quantize(net, dn.FixedFormat(weight_bits=8, message_bits=16, state_bits=24), digits.inputs)
    assert min(least_cosines(digits, net, fixed)) >= 0.999


def test_so_they_do_after_training_but_for_the_rounding_of_the_weights(digits):
    """A trained network's gradients are small differences of large ones: what rounds the weights itself turns some batches."""
    net = dn.Network.dense([64, 64, 10], "tanh", "cross_entropy", seed=0)
    net = dn.train(net, digits, epochs=10, batch_size=20, learning_rate=0.5).network
    fixed = dn.quantize(net, dn.FixedFormat(weight_bits=8, message_bits=16, state_bits=24), digits.inputs)
    assert np.median(least_cosines(digits, net, fixed)) >= 0.999
    assert min(least_cosines(digits, fixed.real(), fixed)) >= 0.99999  # the same weights in floats


def test_8_bit_weights_learn_the_digits_from_first_to_last(digits):
    found = []
    for seed in range(5):
        net = dn.Network.dense([64, 64, 10], "tanh", "cross_entropy", seed=seed)
        fixed = dn.quantize(net, dn.FixedFormat(weight_bits=8, seed=seed, **LEARNING), digits.inputs)
        pair, options = (digits.inputs, digits.targets), {"batch_size": 20, "learning_rate": 0.5, "seed": seed}
        learned = dn.train(fixed, pair, epochs=8, schedule="wavefront", **options).network
        assert all(np.abs(p.weights).max() <= 128 for p in learned.projections)
        found.append(dn.accuracy(learned, digits.test_inputs, digits.test_targets))
    assert np.mean(found) >= 0.96


# Saturation


def test_what_leaves_its_range_is_counted_and_an_error_in_strict_mode(small):
    net, x, y = small
    loud = 8 * x
    fixed = dn.quantize(net, dn.FixedFormat(), (x, y))
    beyond = np.abs(loud) > np.abs(x).max() * 2  # a scale is at most twice as wide as what it has to hold
    lost = dn.relax(fixed, loud, y, schedule="wavefront").saturations
    assert lost["data"] >= beyond.sum() > 0
    assert not dn.relax(fixed, x, y).saturations
    strict = dn.quantize(net, dn.FixedFormat(strict=True), (x, y))
    dn.relax(strict, x, y)
    with pytest.raises(SaturationError, match="calibrate with these data") as refused:
        dn.relax(strict, loud, y)
    assert refused.value.field == "data"


def test_weights_that_learning_drives_to_their_ends_are_counted_and_an_error_in_strict_mode(small):
    net, x, y = small
    kept = dn.quantize(net, dn.FixedFormat(), (x, y))
    result = dn.train(kept, (x, y), epochs=3, batch_size=20, learning_rate=20.0)
    assert sum(many for what, many in result.saturations.items() if what.endswith("weight")) > 0
    strict = dn.quantize(net, dn.FixedFormat(strict=True), (x, y))
    with pytest.raises(SaturationError, match="left its range"):
        dn.train(strict, (x, y), epochs=3, batch_size=20, learning_rate=20.0)


# The study


def test_a_row_is_what_quantising_and_integer_backpropagation_give(small):
    net, x, y = small
    table, wanted = tabled(small), dn.backprop(net, x, y)
    for row in table.itertuples():
        form = dn.FixedFormat(weight_bits=row.weight_bits, message_bits=row.message_bits, state_bits=row.state_bits)
        found = dn.backprop(dn.quantize(net, form, (x, y) if row.calibrated else None), x, y)
        key = row.parameter
        error = np.linalg.norm(found[key] - wanted[key]) / np.linalg.norm(wanted[key])
        assert row.cosine == pytest.approx(cosines(found, wanted)[key], abs=1e-12)
        assert row.relative_error == pytest.approx(error, abs=1e-12)
        alike = dn.backprop(dn.quantize(net, form, (x, y) if row.calibrated else None).real(), x, y)
        assert row.same_weights == pytest.approx(cosines(found, alike)[key], abs=1e-12)


def test_each_sweep_changes_one_width_for_every_parameter_calibrated_and_not(small):
    table = tabled(small)
    assert table["parameter"].value_counts().to_dict() == dict.fromkeys(small[0].parameters, 12)
    widths = table.drop_duplicates(["sweep", "weight_bits", "message_bits", "state_bits"])
    found = set(widths[["sweep", "weight_bits", "message_bits", "state_bits"]].itertuples(index=False, name=None))
    weights = {("weights", 4, 16, 24), ("weights", 16, 16, 24)}
    messages = {("messages", 8, 8, 24), ("messages", 8, 24, 24)}
    assert found == weights | messages | {("states", 8, 8, 8), ("states", 8, 16, 24)}  # no message is wider than a state


def test_more_bits_come_nearer(small):
    table = tabled(small)
    worst = table[table["calibrated"]].groupby(["sweep", "weight_bits", "message_bits", "state_bits"])["relative_error"].max()
    for sweep in SWEEPS:
        few, many = worst[sweep]
        assert many < few / 2


def test_saturations_of_a_run_stand_in_all_its_rows(small):
    net, x, y = small
    table = tabled((net, 100 * x, y), weight_bits=(8,), message_bits=(), state_bits=(), calibration=(x, y))
    counts = table.groupby("calibrated")["saturations"].unique()
    for calibrated, known in ((True, (x, y)), (False, None)):
        trace = dn.relax(dn.quantize(net, None, known), 100 * x, y, schedule="wavefront")
        assert counts[calibrated].tolist() == [sum(trace.saturations.values())]
        assert counts[calibrated][0] > 0


def test_a_format_that_cannot_hold_the_network_says_why_in_its_row(small):
    wide = dn.FixedFormat(weight_bits=16, message_bits=24, state_bits=24)
    table = tabled(small, form=wide, weight_bits=(8, 16), message_bits=(), state_bits=())
    refused = table[table["weight_bits"] == 16]
    assert len(refused) == 2
    assert refused["reason"].str.contains("bits").all()
    assert refused["cosine"].isna().all()
    assert (table["reason"] == "").sum() == 2 * len(small[0].parameters)


def table_of(*rows):
    """A table of (sweep, weight_bits, message_bits, state_bits, calibrated, cosine), None for a format that holds nothing."""
    pd = pytest.importorskip("pandas")
    columns = ["sweep", "weight_bits", "message_bits", "state_bits", "calibrated", "cosine"]
    table = pd.DataFrame(rows, columns=columns).astype({"cosine": float})
    table["reason"] = np.where(table["cosine"].isna(), "too narrow", "")
    return table.assign(parameter="p", same_weights=1.0, relative_error=0.0, saturations=0.0)


def test_a_finding_names_the_widths_of_the_format_that_is_enough():
    weights = [("weights", bits, 16, 24, True, cosine) for bits, cosine in [(4, 0.9), (5, 0.9995), (5, 0.99), (6, 0.999)]]
    states = [("states", 8, bits, bits, known, cosine) for bits, known, cosine in [(8, True, 0.9), (9, True, 1), (9, False, 1)]]
    table = table_of(*weights, ("weights", 6, 16, 24, False, 0.5), *states, ("messages", 8, 24, 24, True, None))
    assert findings(table) == (
        Finding("weights", Widths(6, 16, 24), None),
        Finding("messages", None, None),
        Finding("states", Widths(8, 9, 9), Widths(8, 9, 9)),
    )
    reached, neither = "bits on a cosine of 0.999 is reached in every parameter", "(without calibration the widest does not)"
    others = "with weights of 8 and messages of 9"
    assert [str(finding) for finding in findings(table)] == [
        f"weights: from 6 {reached}, with messages of 16 and states of 24 {neither}",
        f"messages: the widest does not reach a cosine of 0.999 {neither}",
        f"states: from 9 {reached}, {others} (without calibration from 9, {others})",
    ]


def test_a_width_is_enough_only_if_all_wider_ones_are():
    cosines = [(4, 0.9995), (5, 0.99), (6, 0.9995), (7, 1.0), (8, None)]
    table = table_of(*[("weights", bits, 16, 24, True, cosine) for bits, cosine in cosines])
    assert findings(table) == (Finding("weights", Widths(6, 16, 24), None),)
    assert findings(table[table["weight_bits"] < 6]) == (Finding("weights", None, None),)


def test_the_finding_of_narrow_states_has_the_messages_that_were_tried(small):
    table = tabled(small, weight_bits=(), message_bits=(), state_bits=(15, 24))
    found = findings(table)[0].first
    assert found == Widths(8, 15, 15)
    worst = table[table["calibrated"] & (table["state_bits"] == 15) & (table["message_bits"] == 15)]["cosine"].min()
    assert worst >= precision.CLOSE


def test_what_weights_lose_is_told_for_the_format_itself():
    table = table_of(("weights", 6, 16, 24, True, 0.999))
    assert shares(table) is None
    assert shares(table, dn.FixedFormat(weight_bits=6)) == (
        "6-bit weights, 16-bit messages and 24-bit states: the cosine is 1e-03 below 1, and 0e+00 beside floats of the same "
        "rounded weights"
    )


def test_widths_of_an_array_are_those_of_a_tuple(small):
    lists = {"weight_bits": (8,), "message_bits": (24,), "state_bits": (8, 12)}
    whole = tabled(small, form=dn.FixedFormat(state_bits=20), **lists)
    assert whole.equals(tabled(small, form=dn.FixedFormat(state_bits=20), **{k: np.array(v) for k, v in lists.items()}))


def test_cosines_of_what_has_no_direction():
    zero, one = np.zeros(3), np.ones(3)
    assert [precision.cosine(a, b) for a, b in ((zero, zero), (zero, one), (one, one), (one, -one))] == [1.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize(
    ("options", "error", "field"),
    [
        ({"weight_bits": (3,)}, OptionError, "weight_bits"),
        ({"message_bits": (25,)}, OptionError, "message_bits"),
        ({"state_bits": ("8",)}, OptionError, "state_bits"),
        ({"form": "narrow"}, OptionError, "form"),
        ({"calibration": np.zeros((2, 2))}, DataError, "calibration"),
    ],
)
def test_what_makes_no_study_is_refused(small, refuses, options, error, field):
    pytest.importorskip("pandas")
    with refuses(error, field):
        tabled(small, **options)


def test_a_network_with_a_cycle_has_no_gradient_to_compare_with(small, refuses):
    pytest.importorskip("pandas")
    one = np.ones((1, 1))
    names = ("input", "a", "b", "output")
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    net = dn.Network([Population(name, 1) for name in names], [Projection(*edge, one) for edge in edges], "squared_error")
    with refuses(CycleError, "network"):
        tabled((net, np.ones((1, 1)), np.ones((1, 1))))


# Its figure


def test_the_figure_has_a_line_for_each_layer_with_and_without_calibration(small, tmp_path):
    pytest.importorskip("matplotlib")
    net, x, y = small
    table = tabled((net, 100 * x, y), calibration=(x, y))
    figure = plotting.lost_precision(table, "a title")
    panels = np.array(figure.axes).reshape(2, 3)
    for sweep, (above, below) in zip(SWEEPS, panels.T, strict=True):
        for axes in (above, below):
            lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() in ("-", "--")]
            assert len(lines) == 2 * len(net.dynamic)
        assert below.get_xlabel() == f"bits of {sweep}"
    chosen = table[(table["sweep"] == "weights") & table["calibrated"] & (table["weight_bits"] == 4)]
    worst = chosen.loc[chosen["parameter"].isin(["input->hidden1", "hidden1.bias"]), "relative_error"].max()
    assert any(line.get_ydata()[0] == worst for line in panels[1, 0].lines)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["hidden1", "hidden2", "output", "calibrated", "uncalibrated", "something saturated", "cosine 0.999"]
    assert figure.legends[0].get_title().get_text() == NOTE
    plotting.save(figure, tmp_path / "figure.png")
