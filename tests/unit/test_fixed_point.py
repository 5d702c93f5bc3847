"""The arithmetic of integers, number by number: rate functions, tables, losses, and how weights change."""

from dataclasses import replace
from fractions import Fraction
from math import exp, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyadic_neuro import arithmetic, integer_oracle, noise
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import NetworkError, OptionError
from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
from dyadic_neuro.fixed_point.functions import EXACT, fixed_activation, fixed_loss
from dyadic_neuro.fixed_point.network import Exponents, Piece
from dyadic_neuro.fixed_point.pace import Pace
from dyadic_neuro.fixed_point.scales import Scale, exponent_for, shifted
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.quantization import quantize
from dyadic_neuro.testing import networks

TABULATED = sorted(set(ACTIVATIONS) - set(EXACT))
HALF = Fraction(1, 2)


def nearest(value, exponent, bits):
    """A rational number in units of 2 ** -exponent: to nearest with ties up, and limited to the width."""
    found = floor(value * Fraction(2) ** exponent + HALF)
    return min(max(found, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def finest(largest, bits):
    """The largest exponent with which this width holds a number."""
    exponent = 200
    while abs(Fraction(largest)) * Fraction(2) ** exponent > 2 ** (bits - 1) - 1:
        exponent -= 1
    return exponent


def integers(scale, most=4096):
    """All integers of a width, or so many of them with both limits."""
    count = min(most, 2**scale.bits)
    return np.unique(np.linspace(scale.lowest, scale.highest, count).astype(np.int64))


# Scales


@given(st.integers(-(2**61), 2**61), st.integers(-5, 70))
def test_rounding_is_to_nearest_with_ties_up_for_every_shift(integer, places):
    if places < 0:
        integer >>= 6
    found = shifted(np.array([integer]), places)
    assert found.dtype == np.int64
    assert found[0] == floor(Fraction(integer) / Fraction(2) ** places + HALF)


@given(st.floats(1e-30, 1e30), st.integers(4, 32))
def test_the_exponent_for_a_number_is_the_finest_that_holds_it(largest, bits):
    assert exponent_for(largest, bits) == finest(largest, bits)


@given(st.floats(-1e6, 1e6), st.integers(-8, 20), st.integers(4, 32))
def test_real_numbers_become_the_nearest_integers_there_are(value, exponent, bits):
    scale = Scale(exponent, bits)
    assert scale.nearest(np.array([value]))[0] == nearest(Fraction(value), exponent, bits)
    assert float(scale.real(scale.nearest(np.array(0.0)))) == 0.0


# Rate functions


@pytest.mark.parametrize("widths", [(8, 8), (8, 4), (10, 6), (12, 9), (24, 16), (32, 24), (32, 4)], ids=str)
@pytest.mark.parametrize("exponent", [0, 3, 9])
@pytest.mark.parametrize("name", EXACT)
def test_piecewise_linear_functions_are_exact(name, exponent, widths):
    potential = Scale(exponent, widths[0])
    phi, u = fixed_activation(ACTIVATIONS[name], potential, widths[1], 10), integers(potential)
    leak = Fraction(164, 2**14)
    real = {
        "identity": lambda v: (v, 1),
        "relu": lambda v: (max(v, 0), int(v > 0)),
        "hard_tanh": lambda v: (min(max(v, -1), 1), int(abs(v) < 1)),
        "leaky_relu": lambda v: (v if v > 0 else leak * v, 1 if v > 0 else leak if v < 0 else 0),
    }[name]
    wanted = [real(Fraction(int(n)) / 2**exponent) for n in u]
    rates, slopes = phi.rate(u), phi.derivative(u, phi.rate(u))
    assert rates.dtype == slopes.dtype == np.int64
    assert rates.tolist() == [nearest(rate, phi.shown.exponent, widths[1]) for rate, _ in wanted]
    assert [Fraction(int(n), 2**phi.slope) for n in slopes] == [slope for _, slope in wanted]
    assert phi.steepest >= abs(slopes).max()
    assert phi.shown == Scale(widths[1] - 2 if name == "hard_tanh" else exponent - widths[0] + widths[1], widths[1])


@pytest.mark.parametrize("sizes", [(5, 8, 8, 4), (20, 24, 16, 10), (3, 24, 16, 10), (8, 12, 12, 14), (28, 32, 24, 12)], ids=str)
@pytest.mark.parametrize("name", TABULATED)
def test_tables_of_rate_functions_are_those_of_the_specification(name, sizes):
    exponent, bits, message_bits, table_bits = sizes
    phi = fixed_activation(ACTIVATIONS[name], Scale(exponent, bits), message_bits, table_bits)
    pieces = 2 ** min(bits, table_bits)
    points = np.array([float(Fraction(i * 2**bits, pieces) - 2 ** (bits - 1)) * 2.0**-exponent for i in range(pieces + 1)])
    rates = ACTIVATIONS[name].rate(points)
    slopes = ACTIVATIONS[name].derivative(points, rates)
    for table, real, unit in zip(phi.tables, (rates, slopes), (phi.shown.exponent, phi.slope), strict=True):
        assert unit == finest(np.abs(real).max(), message_bits)
        assert table.entries.tolist() == [nearest(Fraction(float(value)), unit, message_bits) for value in real]
        assert (table.first, table.places) == (-(2 ** (bits - 1)), bits - min(bits, table_bits))
    assert phi.steepest == abs(phi.tables[1].entries).max()


@pytest.mark.parametrize("table_bits", [5, 8, 11])
@pytest.mark.parametrize("name", TABULATED)
def test_a_table_is_as_near_as_its_pieces_are_short(name, table_bits):
    potential, dense = Scale(20, 24), np.linspace(-8.0, 8.0, 40001)
    phi, real = fixed_activation(ACTIVATIONS[name], potential, 16, table_bits), ACTIVATIONS[name]
    length, spacing, u = 16.0 / 2**table_bits, dense[1] - dense[0], integers(potential, 20000)
    x = potential.real(u)
    pairs = (
        (phi.rate(u), phi.shown.exponent, real.rate),
        (phi.derivative(u, phi.rate(u)), phi.slope, lambda v: real.derivative(v, real.rate(v))),
    )
    for found, exponent, function in pairs:
        bent = np.abs(np.diff(function(dense), 2)).max() / spacing**2
        error = np.abs(np.ldexp(found.astype(float), -exponent) - function(x)).max()
        assert error <= 1.01 * bent * length**2 / 8 + 2.0**-exponent  # and half a unit each of entry and result


@pytest.mark.parametrize("name", TABULATED)
def test_a_table_goes_through_its_entries_and_keeps_their_order_between_them(name):
    for table in fixed_activation(ACTIVATIONS[name], Scale(9, 12), 16, 6).tables:
        u = np.arange(table.first, table.last + 1)
        found = table(u)
        assert np.array_equal(found[:: 1 << table.places], table.entries)
        assert np.array_equal(table(np.array([table.first - 7, table.last + 7])), table.entries[[0, -1]])
        low, high = (np.repeat(f(table.entries[:-1], table.entries[1:]), 1 << table.places) for f in (np.minimum, np.maximum))
        assert (low <= found[:-1]).all()
        assert (found[:-1] <= high).all()


def test_a_function_of_the_users_own_that_is_not_finite_where_it_is_tabulated_is_refused(refuses):
    square = Network.dense([2, 2, 2], activation=(lambda u: 1 / (u + 3), lambda u: -1 / (u + 3) ** 2))
    exponents = Exponents({"input": 12, "hidden1": 20, "output": 20}, dict.fromkeys(["hidden1", "output"], 23), {})
    with refuses(NetworkError, "activation", "not finite", "-8", "8"):
        fixed_activation(square.activations["hidden1"], Scale(exponents.potentials["hidden1"], 24), 16, 10)


# Losses


@pytest.mark.parametrize(("exponent", "bits", "table_bits"), [(20, 24, 10), (4, 24, 12), (26, 32, 8), (-7, 24, 10), (2, 8, 16)])
def test_tables_of_losses_are_those_of_the_specification(exponent, bits, table_bits):
    functions = {"cross_entropy": lambda d: np.exp(-d), "binary_cross_entropy": lambda u: 0.5 * np.tanh(0.5 * u) + 0.5}
    for name, function in functions.items():
        table = fixed_loss(LOSSES[name], Scale(exponent, bits), Scale(20, 24), table_bits).table
        signed = name == "binary_cross_entropy"
        reach = min(2 ** max(0, exponent + 4), 2 ** (bits - 1) if signed else 2**bits)
        length = 2 * reach if signed else reach
        pieces = min(length, 2**table_bits)
        first = -reach if signed else 0
        points = np.array([(first + i * length // pieces) * 2.0**-exponent for i in range(pieces + 1)])
        assert (table.first, len(table.entries), 2**table.places) == (first, pieces + 1, length // pieces)
        assert table.entries.tolist() == [floor(Fraction(float(p)) * 2**16 + HALF) for p in function(points)]


def test_the_integer_softmax_by_hand():
    loss = fixed_loss(LOSSES["cross_entropy"], Scale(20, 24), Scale(16, 24), 10)
    one = 1 << 20
    u = np.array([[5, 5, 5, 5 - 17 * one], [0, 0, -17 * one, -17 * one], [7 * one, -8 * one, -9 * one, -10 * one]])
    found = loss.gradient(u, np.zeros_like(u))
    assert found[0].tolist() == [21845, 21845, 21845, 0]
    assert found[1].tolist() == [32768, 32768, 0, 0]
    assert found[2].tolist() == [65536, 0, 0, 0]
    assert np.array_equal(loss.gradient(u - 100, np.zeros_like(u)), found)


@given(st.integers(0, 2**31), st.integers(2, 12))
def test_the_integer_softmax_is_a_distribution_near_the_real_one(seed, n):
    rng = np.random.default_rng(seed)
    loss = fixed_loss(LOSSES["cross_entropy"], Scale(20, 24), Scale(16, 24), 10)
    u = rng.integers(-(2**23), 2**23, (1, n)) >> rng.integers(0, 8)
    found = loss.gradient(u, np.zeros_like(u))[0]
    assert (found >= 0).all()
    assert abs(found.sum() - 2**16) <= n / 2
    parts = [exp((int(k) - int(u.max())) / 2**20) for k in u[0]]
    bound = (16 / 2**10) ** 2 / 8 + 2 * 2.0**-16  # of the table; the largest part is exact, so the sum is at least 1
    assert np.abs(found / 2**16 - np.array(parts) / sum(parts)).max() <= (n + 1) * bound


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_gradient_of_a_loss_is_near_the_real_one(name):
    potential, error = Scale(20, 24), Scale(18, 24)
    loss, rng = fixed_loss(LOSSES[name], potential, error, 10), np.random.default_rng(0)
    u, y = rng.normal(0, 2, (50, 4)), np.eye(4)[rng.integers(4, size=50)]
    found = error.real(loss.gradient(potential.nearest(u), loss.target.nearest(y)))
    assert np.abs(found - LOSSES[name].gradient(u, y)).max() < 2e-4
    assert np.allclose(loss.value(potential.nearest(u), loss.target.nearest(y)), LOSSES[name].value(u, y), rtol=1e-4)


# How weights change


@pytest.mark.parametrize(
    ("learning_rate", "decay", "weight", "total", "wanted"),
    [
        (0.5, 0.0, 10, 3, 9),  # 8.5 rounds up
        (0.5, 0.0, 10, 1, 10),  # 9.5 rounds up
        (0.5, 0.0, -10, -3, -8),  # -8.5 rounds up
        (0.25, 0.0, 10, 3, 9),  # 9.25
        (0.25, 0.0, 10, -3, 11),  # 10.75
        (2.0, 0.0, 10, 3, 4),
        (0.5, 0.5, 10, 0, 8),  # 7.5
        (0.5, 0.5, -10, 4, -9),  # -9.5
        (0.0, 0.0, 10, 1000, 10),
    ],
)
def test_changes_rounded_to_nearest_by_hand(learning_rate, decay, weight, total, wanted):
    pace = Pace.of(learning_rate, decay, 1, 0, 20, "nearest", 0)
    assert pace.changed(np.array([weight]), np.array([total]), np.array([0]), 0).tolist() == [wanted]


@given(
    st.floats(1e-6, 10.0),
    st.integers(1, 300),
    st.integers(-40, 0),
    st.integers(8, 56),
    st.integers(0, 2**31),
    st.sampled_from(["nearest", "stochastic"]),
)
def test_a_change_is_the_learning_rates_to_a_rounding_of_its_factor(learning_rate, batch, exponent, bits, seed, rounding):
    rng = np.random.default_rng(seed)
    try:
        pace = Pace.of(learning_rate, 0.0, batch, exponent, bits, rounding, seed)
    except OptionError:
        return
    sums, weights = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 20), rng.integers(-128, 128, 20)
    found = pace.changed(weights, sums, np.arange(20), 3)
    mantissa = min(15, 60 - bits)
    for old, total, new in zip(weights, sums, found, strict=True):
        change = Fraction(learning_rate / batch) * Fraction(2) ** exponent * int(total)
        slack = abs(change) * Fraction(1, 2**mantissa) + Fraction(1, 2**44)
        assert abs(int(old) - change - int(new)) <= (HALF if rounding == "nearest" else 1) + slack


@pytest.mark.parametrize("share", [0.5, 0.3, 0.01, 2.0**-12])
def test_stochastic_rounding_has_no_bias_over_synapses_or_over_updates(share):
    many, one = 200_000, np.arange(200_000)
    pace = Pace.of(2.0**-20, 0.0, 1, 0, 30, "stochastic", 11)
    sums, sigma = np.full(many, -round(share * 2**20)), (share * (1 - share) / many) ** 0.5
    over_synapses = pace.changed(np.zeros(many, np.int64), sums, one, 0)
    drawn = noise.words(11, one, 77) >> np.uint64(64 - pace.places)  # of one synapse, over updates
    over_updates = (drawn.astype(np.int64) + (-sums * pace.factor)) >> pace.places
    for found in (over_synapses, over_updates):
        assert set(found.tolist()) == {0, 1}
        assert abs(found.mean() - share) < 4 * sigma + 2.0**-20


def test_a_change_and_the_draw_that_rounds_it_have_44_bits_below_the_weight():
    pace = Pace.of(2.0**-44, 0.0, 1, 0, 45, "stochastic", 3)
    cells = np.arange(50)
    drawn = (noise.words(3, 8, cells) >> np.uint64(20)).astype(np.int64)
    whole = drawn - 2**44  # the sum whose change is just as much as the draw lacks of one
    assert pace.changed(np.zeros(50, np.int64), whole, cells, 8).tolist() == [1] * 50
    assert pace.changed(np.zeros(50, np.int64), whole + 1, cells, 8).tolist() == [0] * 50


def test_a_draw_hangs_on_seed_synapse_and_update_alone():
    def drawn(seed, update, cells):
        pace = Pace.of(2.0**-20, 0.0, 1, 0, 30, "stochastic", seed)
        return pace.changed(np.zeros(64, np.int64), np.full(64, 2**19), cells, update)

    cells = np.arange(64) + (5 << 48)
    right = drawn(1, 2, cells)
    order = np.random.default_rng(0).permutation(64)
    assert np.array_equal(drawn(1, 2, cells), right)
    assert np.array_equal(drawn(1, 2, cells[order]), right[order])
    for other in (drawn(2, 2, cells), drawn(1, 3, cells), drawn(1, 2, cells + 64)):
        assert 10 < np.count_nonzero(other != right) < 54


@given(*[st.integers(0, 2**64 - 1)] * 3)
def test_the_oracle_draws_the_same_words_with_code_of_its_own(seed, step, cell):
    assert integer_oracle._word(seed, step, cell) == int(noise.words(np.uint64(seed), np.uint64(step), np.uint64(cell)))


def test_weights_and_biases_that_leave_their_range_are_limited_and_counted():
    net = quantize(Network.dense([3, 4, 2], seed=1), FixedFormat(weight_bits=4, message_bits=8, state_bits=8))
    p, rules = net.projection("hidden1->output"), net.rules("output")
    rng = np.random.default_rng(0)
    post, pre = rng.integers(-128, 128, (2, 2)), rng.integers(-128, 128, (2, 4))
    speed = 0.5 * 2.0 ** (p.ways.pre.exponent + p.ways.post.exponent - p.scale.exponent - 9)
    found = rules.weights(p, post, pre, speed).weights
    wanted = p.weights - post.T @ pre * 0.25 * 2.0**-9
    limited = np.clip(np.floor(wanted + 0.5), -8, 7)
    assert np.array_equal(found, limited)
    beyond = np.count_nonzero(np.floor(wanted + 0.5) != limited)
    assert 0 < beyond < p.weights.size
    assert rules.saturated.tolist() == [0, 0, beyond, 0]
    held = rules.bias(net.parameters["output.bias"], np.full((2, 2), 127), 1e3)
    assert held.tolist() == [-128, -128]
    assert rules.saturated.tolist() == [0, 0, beyond, 2]


def test_sums_that_need_more_bits_than_floats_have_are_exact():
    rng, many = np.random.default_rng(0), 1 << 16
    net = quantize(Network.dense([many, 1]), FixedFormat(weight_bits=16, message_bits=24, state_bits=32))
    weights, rates = rng.integers(2**14, 2**15, (1, many)), rng.integers(2**22, 2**23, (1, many))
    p = net.projections[0].with_weights(weights)
    exact = (weights.astype(object) @ rates.astype(object).T)[0, 0]
    assert exact > 2**53
    assert p.forward(rates)[0, 0] == exact << p.ways.shift
    short = quantize(Network.dense([2, 3]), net.format).projections[0]
    post, pre = (rng.integers(2**22, 2**23, (512, n)) for n in (3, 2))
    exact = post.astype(object).T @ pre.astype(object)
    assert exact.min() > 2**53
    assert np.array_equal(short.sums(post, pre), exact)


def test_each_update_of_a_bias_draws_numbers_of_its_own_and_a_slice_those_of_the_whole():
    net = quantize(Network.dense([2, 64]).with_parameters({"output.bias": np.zeros(64)}), FixedFormat(rounding="stochastic"))
    rules, scales, message = net.rules("output"), net.scales["output"], np.full((1, 64), 1)
    half = 2.0 ** (scales.message.exponent - scales.potential.exponent - 1)  # of a unit
    bias = net.parameters["output.bias"]
    first, second = rules.bias(bias, message, half), rules.bias(bias, message, half)
    assert set(first) == set(second) == {-1, 0}
    assert 10 < np.count_nonzero(first != second) < 54
    assert np.array_equal(net.with_parameters({}, 1).rules("output").bias(bias, message, half), second)
    assert np.array_equal(net.rules("output", 20).bias(bias[20:], message[:, 20:], half), first[20:])


@pytest.mark.parametrize(
    ("arguments", "field", "says"),
    [
        ((1.0, 0.0, 2**20, 0, 60), "batch_size", "60 bits"),
        ((1e30, 0.0, 1, 0, 30), "learning_rate", "1e+30"),
        ((10.0, 1.0, 1, 0, 30), "weight_decay", "1.0"),
    ],
)
def test_a_pace_that_no_integer_could_follow_is_refused(arguments, field, says, refuses):
    with refuses(OptionError, field, says):
        Pace.of(*arguments, "nearest", 0)


# Formats, and what they cannot hold


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"weight_bits": 3}, "weight_bits"),
        ({"weight_bits": 17}, "weight_bits"),
        ({"weight_bits": 8.0}, "weight_bits"),
        ({"weight_bits": True}, "weight_bits"),
        ({"message_bits": 25, "state_bits": 32}, "message_bits"),
        ({"message_bits": 3}, "message_bits"),
        ({"state_bits": 33}, "state_bits"),
        ({"message_bits": 4, "state_bits": 7}, "state_bits"),
        ({"message_bits": 16, "state_bits": 15}, "state_bits"),
        ({"table_bits": 3}, "table_bits"),
        ({"table_bits": 17}, "table_bits"),
        ({"headroom_bits": -1}, "headroom_bits"),
        ({"weight_headroom_bits": 9}, "weight_headroom_bits"),
        ({"rounding": "up"}, "rounding"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"strict": 1}, "strict"),
    ],
    ids=str,
)
def test_formats_out_of_their_limits_are_refused(options, field, refuses):
    with refuses(OptionError, field, str(options[field])):
        FixedFormat(**options)


def two_ways(exponents, potential=18, sensitivity=20):
    """A network of 3 inputs, 2 hidden neurons with relu and 1 output, and a skip, with these exponents of weights."""
    names = ["input->hidden1", "hidden1->output", "input->output"]
    populations = [Population("input", 3), Population("hidden1", 2, "relu"), Population("output", 1)]
    shapes = [(2, 3), (1, 2), (1, 3)]
    projections = [Projection(*name.split("->"), np.zeros(shape)) for name, shape in zip(names, shapes, strict=True)]
    net = Network(populations, projections).structure()
    potentials = {"input": 12, "hidden1": 20, "output": potential}
    held = Exponents(potentials, {"hidden1": 20, "output": sensitivity}, dict(zip(names, exponents, strict=True)))
    return FixedNetwork(net, FixedFormat(), held, {p.name: p.weights.astype(int) for p in projections})


def test_sums_that_no_accumulator_holds_are_refused_with_population_and_bits(refuses):
    assert two_ways([6, 6, 6]).drive_bits["output"] == (5 * 2**22).bit_length() + 1
    # 2 products of 2 ** (7 + 15), 30 bits coarser than those of the skip: 2 ** (23 + 30) + 3 * 2 ** 22 needs 55 bits
    assert two_ways([6, 6, 36]).drive_bits["output"] == (2**53 + 3 * 2**22).bit_length() + 1 == 55
    with refuses(NetworkError, "output", "the potential of output", " 65 bits", " 62 "):
        two_ways([6, 6, 46])
    with refuses(NetworkError, "hidden1", "the potential of hidden1", "bits"):
        two_ways([-40, 6, 6])
    with refuses(NetworkError, "hidden1", "the sensitivity of hidden1", "bits"):
        two_ways([6, 6, 6], sensitivity=-40)
    with refuses(NetworkError, "output", "bits"):
        two_ways([6, 6, 6], sensitivity=90)


def test_the_widest_weights_and_messages_leave_no_room_for_a_steep_table(refuses):
    widest = FixedFormat(weight_bits=16, message_bits=24, state_bits=32)
    quantize(Network.dense([4, 8, 4], activation="relu"), widest)
    with refuses(NetworkError, "hidden1", "the sensitivity of hidden1", " 65 bits", "message_bits"):
        quantize(Network.dense([4, 8, 8], activation="tanh"), widest)


# A fan-in that is divided


def halves(fixed):
    """The chain 6-5-4 with the fan-in of its hidden neurons, and that of their sensitivities, divided in two."""
    net, fan, back = fixed.real(), fixed.parameters["input->hidden1"], fixed.parameters["hidden1->output"]
    populations = [*net.populations, *(Population(name, 5) for name in ("sum1", "sum2", "relay1", "relay2"))]
    cut = {
        "input->sum1": (fan[:, :2], (0, 0), (5, 6), Piece(0, 0, 0)),
        "relay1->output": (back[:3], (0, 0), (4, 5), Piece(1, 0, 0)),
        "input->sum2": (fan[:, 2:], (0, 2), (5, 6), Piece(0, 0, 2)),
        "relay2->output": (back[3:], (3, 0), (4, 5), Piece(1, 3, 0)),
    }
    joints = ("sum1->hidden1", "sum2->hidden1", "hidden1->relay1", "hidden1->relay2")
    projections = [Projection(*name.split("->"), np.ones(5), plastic=False) for name in joints]
    projections += [
        Projection(*name.split("->"), w.astype(float), corner=at, shape=shape) for name, (w, at, shape, _) in cut.items()
    ]
    description = replace(net, populations=populations, projections=projections)
    values = {name: np.ones(5, int) for name in joints} | {name: w for name, (w, *_) in cut.items()}
    values |= {key: value for key, value in fixed.parameters.items() if key.endswith(".bias")}
    return fixed.divided(description.structure(), values, {name: piece for name, (*_, piece) in cut.items()})


def together(values):
    """Parameters of the divided network by the keys of the whole one."""
    whole = {key: value for key, value in values.items() if key.endswith(".bias")}
    whole["input->hidden1"] = np.hstack([values["input->sum1"], values["input->sum2"]])
    whole["hidden1->output"] = np.vstack([values["relay1->output"], values["relay2->output"]])
    return whole


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_a_divided_fan_in_keeps_every_integer(rounding):
    net = Network.dense([6, 5, 4], loss="cross_entropy", seed=3)
    net = net.with_parameters({"hidden1.bias": np.linspace(-1, 1, 5), "output.bias": np.linspace(1, -1, 4)})
    x, y = networks.batch(net, 0, 6)
    fixed = quantize(net, FixedFormat(weight_bits=6, message_bits=10, state_bits=14, rounding=rounding, seed=9), x)
    inputs, targets = fixed.encode(x, y)
    parts, wanted = halves(fixed), integer_oracle.settled(fixed, inputs, targets)
    assert parts.relaxation_steps == 2 * fixed.relaxation_steps
    state = State(*({name: z - 3 for name, z in zs.items()} for zs in integer_oracle.settled(parts, inputs, targets)))
    for _ in range(parts.relaxation_steps):
        state = arithmetic.step(parts, state, inputs, targets)
    for name in ("hidden1", "output"):
        assert np.array_equal(state.potentials[name], wanted[0][name])
        assert np.array_equal(state.sensitivities[name], wanted[1][name])
    sums = integer_oracle.backprop(fixed, inputs, targets)
    assert all(
        np.array_equal(found, sums[key]) for key, found in together(integer_oracle.backprop(parts, inputs, targets)).items()
    )
    batches = [np.arange(6)[i % 2 :: 2] for i in range(6)]
    learned, apart = (integer_oracle.descend(n, inputs, targets, batches, 0.5, 0.01).parameters for n in (fixed, parts))
    assert all(np.array_equal(found, learned[key]) for key, found in together(apart).items())
    assert any(not np.array_equal(learned[key], fixed.parameters[key]) for key in learned)
