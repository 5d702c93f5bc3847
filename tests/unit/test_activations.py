"""Rate functions: values against independent formulas, derivatives against differences, and which pairs a user may bring."""

import math

import numpy as np
import pytest
from scipy import special

from dyadic_neuro.activations import ACTIVATIONS, Activation, activation
from dyadic_neuro.errors import OptionError, UnknownNameError

FORMULAS = {
    "identity": lambda u: u,
    "relu": lambda u: u if u > 0 else 0.0,
    "leaky_relu": lambda u: u if u > 0 else u / 100,
    "tanh": math.tanh,
    "sigmoid": lambda u: 1 / (1 + math.exp(-u)),
    "softplus": lambda u: math.log1p(math.exp(u)),
    "hard_tanh": lambda u: min(1.0, max(-1.0, u)),
    "gelu": lambda u: u * special.expit(2 * math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)),  # 1/2 (1 + tanh z) = expit(2 z)
    "sin": math.sin,
}
KINKS = {"relu": [0.0, -0.0], "leaky_relu": [0.0, -0.0], "hard_tanh": [1.0, -1.0]}
POINTS = np.linspace(-5, 5, 60).reshape(3, 20) + 0.0123  # none within 1e-3 of a kink
every_activation = pytest.mark.parametrize("name", FORMULAS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def test_every_built_in_is_judged_here():
    assert set(FORMULAS) == set(ACTIVATIONS)
    assert all(name == phi.name for name, phi in ACTIVATIONS.items())


@every_activation
def test_rate_is_the_textbook_formula(name):
    wanted = [[FORMULAS[name](float(u)) for u in row] for row in POINTS]
    np.testing.assert_allclose(activation(name).rate(POINTS), wanted, rtol=1e-14, atol=1e-15)


def test_gelu_is_close_to_the_exact_one():
    exact = POINTS * special.ndtr(POINTS)
    assert 0 < np.abs(activation("gelu").rate(POINTS) - exact).max() < 5e-4


@every_activation
def test_derivative_is_the_slope_of_the_rate(name):
    phi, h = activation(name), 1e-5
    slope = (phi.rate(POINTS + h) - phi.rate(POINTS - h)) / (2 * h)
    # the difference is wrong by h^2 phi''' / 6 (3e-11) and by the rounding of phi over h (5 * 1e-16 / 1e-5)
    np.testing.assert_allclose(phi.derivative(POINTS, phi.rate(POINTS)), slope, rtol=0, atol=1e-9)


@every_dtype
@pytest.mark.parametrize("name", KINKS)
def test_derivative_is_zero_at_a_kink_and_one_sided_beside_it(name, dtype):
    phi, u = activation(name), np.array([KINKS[name]], dtype)
    assert not phi.derivative(u, phi.rate(u)).any()
    for side in (np.inf, -np.inf):
        beside = np.nextafter(u, np.array(side, dtype))
        assert (
            phi.derivative(beside, phi.rate(beside)) == (phi.rate(beside + side_step(side)) - phi.rate(beside)) / side_step(side)
        ).all()


def side_step(side):
    return math.copysign(0.5, side)  # the slopes 0, 0.01 and 1 come out exact over half a unit


@every_dtype
@every_activation
def test_rate_and_derivative_keep_dtype_and_shape_and_leave_the_potential_alone(name, dtype):
    phi, u = activation(name), POINTS.astype(dtype)
    before = u.copy()
    r = phi.rate(u)
    slope = phi.derivative(u, r)
    assert r.dtype == slope.dtype == dtype
    assert r.shape == slope.shape == u.shape
    assert not np.shares_memory(slope, u)
    np.testing.assert_array_equal(u, before)


LIMITS = {  # at +-1000: rate, then derivative
    "identity": ([1000, -1000], [1, 1]),
    "relu": ([1000, 0], [1, 0]),
    "leaky_relu": ([1000, -10], [1, 0.01]),
    "tanh": ([1, -1], [0, 0]),
    "sigmoid": ([1, 0], [0, 0]),
    "softplus": ([1000, 0], [1, 0]),
    "hard_tanh": ([1, -1], [0, 0]),
    "gelu": ([1000, 0], [1, 0]),
    "sin": ([math.sin(1000), -math.sin(1000)], [math.cos(1000)] * 2),
}


@every_dtype
@every_activation
def test_large_potentials_reach_the_limits_without_overflow(name, dtype):
    phi, u = activation(name), np.array([[1000, -1000]], dtype)
    r = phi.rate(u)
    np.testing.assert_allclose(r[0], LIMITS[name][0], rtol=1e-6)
    np.testing.assert_allclose(phi.derivative(u, r)[0], LIMITS[name][1], rtol=1e-5)


@every_dtype
@every_activation
def test_every_finite_potential_has_a_finite_rate_and_derivative(name, dtype):
    # A corrupted state may hold any finite number, and relaxes to the exact gradient all the same.
    phi, u = activation(name), np.array([[0.5, -0.5]], dtype) * np.finfo(dtype).max
    r = phi.rate(u)
    assert np.isfinite(r).all()
    assert np.isfinite(phi.derivative(u, r)).all()


# --- functions of the user -----------------------------------------------------------------------------------------------


def square(u):
    return u * u


def twice(u):
    return 2 * u


def test_a_pair_of_functions_becomes_an_activation():
    phi = activation((square, twice))
    assert phi.name == "square"
    np.testing.assert_array_equal(phi.rate(POINTS), POINTS**2)
    np.testing.assert_array_equal(phi.derivative(POINTS, None), 2 * POINTS)


def test_an_activation_is_taken_as_it_is():
    own = Activation("own", np.sin, lambda u, _: np.cos(u))
    assert activation(own) is own
    assert activation("tanh") is ACTIVATIONS["tanh"]


@pytest.mark.parametrize("pair", [(np.sin, np.cos), (np.arctan, lambda u: 1 / (1 + u * u)), (np.exp, np.exp), (abs, np.sign)])
def test_right_pairs_are_accepted(pair):
    assert activation(pair).rate is pair[0]


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ((twice, square), "not the derivative"),  # swapped
        ((np.cos, np.sin), "not the derivative"),  # a sign
        ((square, lambda u: 2.001 * u), "not the derivative"),
        ((lambda u: u.sum(axis=1), np.ones_like), "shape"),
        ((square, lambda _: 2.0), "shape"),
        ((lambda u: np.tanh(u, out=u), np.ones_like), "in place"),
        ((np.ravel, np.ones_like), "shape"),
        ((lambda u: np.where(u > 1, np.inf, u), np.ones_like), "not finite"),
        ((square, lambda u: np.where(u > 1, np.nan, 2 * u)), "not finite"),
        ((math.tanh, math.sin), "arrays"),  # for single numbers: numpy's TypeError would not say so
        ((np.log, np.reciprocal), "not finite"),  # numpy warns of it too, which must not come first
    ],
)
def test_wrong_pairs_are_refused(pair, says, refuses):
    with refuses(OptionError, "activation", says):
        activation(pair)


@pytest.mark.parametrize("spec", [None, 1, np.tanh, (np.tanh,), (np.tanh, np.tanh, np.tanh), [np.sin, np.cos], ("tanh", "tanh")])
def test_what_is_neither_name_nor_pair_is_refused(spec, refuses):
    with refuses(OptionError, "activation", "neither a name nor a pair", "(phi, phi')"):
        activation(spec)


@pytest.mark.parametrize("name", ["", "Tanh", "swish"])
def test_an_unknown_name_lists_the_names(name, refuses):
    with refuses(UnknownNameError, "activation", repr(name), *FORMULAS):
        activation(name)
