"""`quantize`: which scales it chooses, what it refuses, and how near integers come to real numbers."""

import pickle

import numpy as np
import pytest

from dyadic_neuro import integer_oracle, oracle
from dyadic_neuro.errors import CycleError, DataError, FileError, NetworkError, OptionError, OutputExistsError, UnknownNameError
from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.quantization import quantize
from dyadic_neuro.testing import networks

FORMAT = FixedFormat()


def cosine(found, wanted):
    return float((found * wanted).sum() / np.sqrt((found**2).sum() * (wanted**2).sum()))


def covers(exponent, bits, largest):
    """Whether the scale holds this number, and one twice as fine would not."""
    limit = 2 ** (bits - 1) - 1
    return largest * 2.0**exponent <= limit < largest * 2.0 ** (exponent + 1)


@pytest.fixture
def net():
    return Network.dense([5, 8, 3], activation="relu", loss="cross_entropy", seed=2)


@pytest.fixture
def data(net):
    return networks.batch(net, 3, 40)


# Scales


def test_without_calibration_scales_are_those_of_usual_ranges(net):
    fixed = quantize(net)
    assert fixed.format == FORMAT
    assert fixed.exponents.potentials == {"input": 16 - 1 - 4, "hidden1": 24 - 1 - 4, "output": 24 - 1 - 4}  # 8 itself is held
    assert fixed.exponents.sensitivities == {"hidden1": 24 - 2, "output": 24 - 2}
    for p in net.projections:
        assert covers(fixed.exponents.weights[p.name], 8, np.abs(p.weights).max())


@pytest.mark.parametrize("headroom", [0, 3])
@pytest.mark.parametrize("targets", [True, False])
def test_calibration_makes_scales_the_finest_that_hold_its_states(net, data, headroom, targets):
    x, y = data
    fixed = quantize(net, FixedFormat(headroom_bits=headroom, weight_headroom_bits=1), data if targets else x)
    far = y if targets else np.eye(3)[oracle.predict(net, x).argmin(axis=1)]  # the least likely class
    potentials, sensitivities = oracle.settled(net, x, far)
    assert covers(fixed.exponents.potentials["input"], 16, np.abs(x).max())
    for name in ("hidden1", "output"):
        assert covers(fixed.exponents.potentials[name], 24, 2**headroom * np.abs(potentials[name]).max())
        assert covers(fixed.exponents.sensitivities[name], 24, 2**headroom * np.abs(sensitivities[name]).max())
    for p in net.projections:
        assert covers(fixed.exponents.weights[p.name], 8, 2 * np.abs(p.weights).max())


@pytest.mark.parametrize(("loss", "far"), [("squared_error", lambda u: -u), ("binary_cross_entropy", lambda u: (u < 0) * 1.0)])
def test_targets_that_are_not_given_are_the_furthest(loss, far):
    net = networks.chain(4, 2, loss=loss)
    x, _ = networks.batch(net, 0, 9)
    assert quantize(net, None, x).exponents == quantize(net, None, (x, far(oracle.predict(net, x)))).exponents


@pytest.mark.parametrize(("activation", "reach"), [("tanh", 8.0), ("sigmoid", 8.0), ("hard_tanh", 2.0)])
def test_functions_that_saturate_can_reach_where_they_do(activation, reach):
    net = Network.dense([4, 3, 2], activation=activation)
    fixed = quantize(net, None, np.full((2, 4), 1e-6))
    assert covers(fixed.exponents.potentials["hidden1"], 24, reach)


def test_one_is_an_integer_where_a_hard_tanh_is_clipped():
    net = Network.dense([4, 3, 2], activation="hard_tanh")
    fixed = quantize(net, FixedFormat(8, 8, 8), np.full((2, 4), 1e6))
    assert fixed.exponents.potentials["hidden1"] == 0
    rules = fixed.rules("hidden1")
    assert rules.population.fixed.shown.real(rules.rate(np.array([-9, -1, 0, 1, 9]))).tolist() == [-1, -1, 0, 1, 1]


def test_a_bias_is_held_however_small_the_potentials_of_the_calibration():
    populations = [Population("input", 2), Population("output", 2, bias=np.array([3.0, -100.0]))]
    net = Network(populations, [Projection("input", "output", np.eye(2))])
    fixed = quantize(net, FixedFormat(headroom_bits=0), np.array([[0.0, 100.0]]))
    assert (
        np.abs(fixed.real().parameters["output.bias"] - [3.0, -100.0]).max() <= 2.0 ** -fixed.exponents.potentials["output"] / 2
    )


def test_what_is_0_throughout_gets_the_range_it_has_without_calibration_so_that_it_can_learn(net):
    silent = net.with_parameters({"input->hidden1": np.zeros((8, 5)), "hidden1->output": np.zeros((3, 8))})
    fixed, usual = quantize(silent, None, np.zeros((4, 5))), quantize(silent).exponents
    assert fixed.exponents.potentials == usual.potentials
    assert fixed.exponents.sensitivities["hidden1"] == usual.sensitivities["hidden1"]
    assert set(fixed.exponents.weights.values()) == {6}


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e3, 1e8])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_networks_of_any_size_of_weights_and_inputs_are_held(loss, activation, scale):
    net = networks.chain(0, 3, loss=loss, activation=activation)
    x, y = networks.batch(net, 0, 6)
    small = net.with_parameters({key: value * min(scale, 1e3) for key, value in net.parameters.items()})
    for network, inputs in ((net, x * scale), (small, x)):
        fixed = quantize(network, None, inputs)
        found = integer_oracle.settled(fixed, *fixed.encode(inputs, y))
        wanted = integer_oracle.settled(fixed, *fixed.encode(inputs, y), slow=True)
        assert all(np.array_equal(found[i][name], wanted[i][name]) for i in (0, 1) for name in wanted[i])


def test_targets_that_are_predictions_make_errors_small_and_wrap_nothing():
    net = networks.chain(0, 3)
    x, _ = networks.batch(net, 0, 4)
    for off in (0.0, 1e-9):
        fixed = quantize(net, None, (x, oracle.predict(net, x) + off))
        scale = fixed.scales["output"].potential
        u = np.full((1, fixed.population("output").size), scale.highest)
        assert (fixed.loss.gradient(u, -u) > 0).all()
        assert (fixed.loss.gradient(-u, u) < 0).all()
    with pytest.raises(NetworkError, match=r"error of output.* bits"):
        quantize(net, None, (x, oracle.predict(net, x) + 1e-13))


# How near


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_gradients_of_8_bit_weights_and_16_bit_messages_point_where_those_of_floats_do(loss, activation):
    net = Network.dense([20, 30, 10], activation=activation, loss=loss, seed=1)
    x, y = networks.batch(net, 1, 100)
    found, wanted = integer_oracle.backprop_mean(fixed := quantize(net, None, x), *fixed.encode(x, y)), oracle.backprop(net, x, y)
    assert set(found) == set(wanted)
    least = 0.995 if activation == "relu" else 0.999  # a potential that changes its sign changes the slope of a relu altogether
    assert min(cosine(found[key], wanted[key]) for key in wanted) > least
    assert oracle.backprop(fixed, x, y).keys() == wanted.keys()


def test_more_bits_come_nearer():
    net = Network.dense([10, 12, 4], loss="cross_entropy", seed=1)
    x, y = networks.batch(net, 1, 50)
    wanted, errors = oracle.backprop(net, x, y), []
    for bits in (4, 8, 12, 16):
        fixed = quantize(net, FixedFormat(weight_bits=bits, table_bits=14), x)
        found = integer_oracle.backprop_mean(fixed, *fixed.encode(x, y))
        errors.append(max(float(np.abs(found[key] - wanted[key]).max()) for key in wanted))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 100


def test_data_become_the_nearest_integers_and_what_lies_beyond_is_told(net, data):
    x, y = data
    fixed = quantize(net, None, data)
    inputs, targets = fixed.encode(x, y)
    assert inputs.dtype == targets.dtype == np.int64
    assert np.abs(fixed.scales["input"].rate.real(inputs) - x).max() <= 2.0 ** -fixed.exponents.potentials["input"] / 2
    assert np.array_equal(targets, y * 2**16)
    assert fixed.unfit(x, y) == 0
    assert fixed.unfit(x * 2.1, y) == np.count_nonzero(np.abs(x * 2.1) * 2.0 ** fixed.exponents.potentials["input"] > 2**15 + 0.5)


# What a network of integers is


def test_a_network_of_integers_is_frozen_and_knows_its_float_network(net, data):
    fixed = quantize(net, None, data)
    assert fixed.fingerprint == quantize(net, None, data).fingerprint
    assert fixed.fingerprint != quantize(net, FixedFormat(9), data).fingerprint
    assert fixed.parameters.keys() == net.parameters.keys()
    assert fixed.relaxation_steps == net.relaxation_steps
    assert all(value.dtype == np.int64 and not value.flags.writeable for value in fixed.parameters.values())
    assert fixed.real().fingerprint == net.fingerprint
    assert fixed.described().weightless
    assert "8 bit" in repr(fixed)
    changed = fixed.with_parameters({"input->hidden1": np.zeros((8, 5), int)}, 4)
    assert (changed.updates, fixed.updates) == (4, 0)
    assert not changed.projection("input->hidden1").weights.any()
    assert pickle.loads(pickle.dumps(changed)).updates == 4


def test_a_file_holds_it_all_and_no_other_is_taken(net, data, tmp_path, refuses):
    fixed, path = quantize(net, FixedFormat(rounding="stochastic", seed=5), data).with_parameters({}, 9), tmp_path / "net.npz"
    fixed.save(path)
    found = FixedNetwork.load(path)
    assert (found.fingerprint, found.format, found.updates) == (fixed.fingerprint, fixed.format, 9)
    assert all(np.array_equal(found.parameters[key], value) for key, value in fixed.parameters.items())
    with refuses(OutputExistsError, str(path)):
        fixed.save(path)
    net.save(tmp_path / "float.npz")
    for name in ("float.npz", "none.npz"):
        with pytest.raises(FileError):
            FixedNetwork.load(tmp_path / name)


# What is refused


@pytest.mark.parametrize(
    ("calibration", "field", "says"),
    [
        (np.zeros((0, 5)), "calibration", "no sample"),
        (np.ones((4, 6)), "calibration", "(4, 6)"),
        (np.ones(5), "calibration", "(5,)"),
        (np.full((4, 5), np.nan), "calibration", "nan"),
        (np.array([[1.0, 2.0, np.inf, 0.0, 0.0]]), "calibration", "inf"),
        ("digits", "calibration", "not an array"),
        ((np.ones((4, 5)), np.array([0, 1, 2, 3])), "calibration targets", "class 3"),
        ((np.ones((4, 5)), np.ones((3, 3)) / 3), "calibration targets", "(3, 3)"),
        ((np.ones((4, 5)), np.full((4, 3), np.nan)), "calibration targets", "nan"),
        ((np.ones((4, 5)), np.ones((4, 3))), "calibration targets", "probability"),
        ((np.ones((4, 4)), np.array([0, 1, 2, 2])), "calibration", "(4, 4)"),
        (np.full((1, 5), 1e308), "calibration", "beyond"),
    ],
    ids=str,
)
def test_calibration_data_that_do_not_fit_are_refused(net, calibration, field, says, refuses):
    large = net.with_parameters({"input->hidden1": np.full((8, 5), 10.0)}) if says == "beyond" else net
    with refuses(DataError, field, says):
        quantize(large, None, calibration)


def test_what_is_no_float_network_or_no_format_is_refused(net, refuses):
    with refuses(OptionError, "network", "FixedNetwork", "real()"):
        quantize(quantize(net))
    with refuses(OptionError, "format", "int"):
        quantize(net, 8)
    with refuses(NetworkError, "network"):
        quantize(net.structure())


def test_a_loss_or_a_rate_function_without_an_integer_form_is_refused(refuses):
    own = (lambda u, y: 0.25 * ((u - y) ** 4).sum(axis=1), lambda u, y: (u - y) ** 3)
    with refuses(NetworkError, "loss", "of your own", "squared_error"):
        quantize(Network.dense([2, 3, 2], loss=own))
    with refuses(NetworkError, "targets", "of your own"):
        quantize(Network.dense([2, 3, 2], loss=own), None, np.ones((1, 2)))

    def root(u):
        return np.sqrt(u + 4.0)

    net = Network.dense([2, 3, 2], activation=(root, lambda u: 0.5 / np.sqrt(u + 4.0)))
    with refuses(NetworkError, "activation", "'root'", "not finite", "-16"):
        quantize(net)
    fixed = quantize(net, None, np.full((2, 2), 0.1))  # within (-2, 2) it is
    assert fixed.population("hidden1").fixed.tables is not None


def test_steep_rate_functions_of_the_users_own_are_held_or_refused_with_the_bits():
    net = Network.dense([2, 3, 2], activation=(np.exp, np.exp))
    for calibration in (None, np.ones((2, 2))):
        fixed = quantize(net, None, calibration)
        x, y = fixed.encode(np.ones((1, 2)), np.ones((1, 2)))
        fast, slow = (integer_oracle.settled(fixed, x, y, slow=slow)[1] for slow in (False, True))
        assert all(np.array_equal(fast[name], slow[name]) for name in slow)


def test_a_network_with_a_cycle_is_quantised_without_calibration_only(refuses):
    populations = [Population("input", 2), Population("a", 2, "tanh"), Population("output", 2)]
    pairs = [("input", "a"), ("a", "output"), ("output", "a")]
    net = Network(populations, [Projection(*pair, np.eye(2)) for pair in pairs])
    assert quantize(net).cycle == net.cycle
    with refuses(CycleError, "network", "cycle"):
        quantize(net, None, np.ones((1, 2)))
    with refuses(CycleError, "network", "cycle"):
        integer_oracle.forward(quantize(net), np.ones((1, 2), int))


@pytest.mark.parametrize(
    ("key", "values", "error", "says"),
    [
        ("input->hidden1", np.full((8, 5), 128), DataError, "-128 .. 127"),
        ("input->hidden1", np.zeros((8, 5)), DataError, "float64"),
        ("input->hidden1", np.zeros((5, 8), int), DataError, "(5, 8)"),
        ("hidden1.bias", np.full(8, 2**23), DataError, "24 bits"),
        ("nowhere", np.zeros(1, int), UnknownNameError, "nowhere"),
    ],
)
def test_integers_that_do_not_fit_are_refused(net, key, values, error, says, refuses):
    with refuses(error, "parameters" if error is UnknownNameError else key, says):
        quantize(net).with_parameters({key: values})


def test_real_values_of_a_parameter_must_be_finite_and_of_its_shape(net, refuses):
    fixed = quantize(net)
    for values, says in ((np.full((8, 5), np.nan), "nan"), (np.zeros((5, 8)), "(5, 8)")):
        with refuses(DataError, "input->hidden1", says):
            fixed.quantised("input->hidden1", values)
    with refuses(UnknownNameError, "parameters", "nowhere"):
        fixed.quantised("nowhere", 1.0)


def test_a_missing_parameter_is_named(net, refuses):
    fixed = quantize(net)
    with refuses(DataError, "hidden1->output", "missing"):
        FixedNetwork(net, FORMAT, fixed.exponents, {"input->hidden1": fixed.parameters["input->hidden1"]})
