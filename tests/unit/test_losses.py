"""Losses: values and gradients against independent formulas and differences, and every form that targets may have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from dyadic_neuro.errors import DataError, OptionError, UnknownNameError
from dyadic_neuro.losses import LOSSES, Loss, loss

FORMULAS = {  # value and gradient
    "squared_error": (lambda u, y: ((u - y) ** 2).sum(1) / 2, lambda u, y: u - y),
    "cross_entropy": (lambda u, y: -(y * special.log_softmax(u, axis=1)).sum(1), lambda u, y: special.softmax(u, axis=1) - y),
    "binary_cross_entropy": (
        lambda u, y: -(y * special.log_expit(u) + (1 - y) * special.log_expit(-u)).sum(1),
        lambda u, y: special.expit(u) - y,
    ),
}
F64 = np.dtype("float64")
every_loss = pytest.mark.parametrize("name", FORMULAS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def draw(seed, batch, size, dtype="float64"):
    """Potentials, and rows that suit every loss."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(0.01, 1, (batch, size))
    return rng.normal(0, 3, (batch, size)).astype(dtype), (y / y.sum(1, keepdims=True)).astype(dtype)


def test_every_built_in_is_judged_here():
    assert set(FORMULAS) == set(LOSSES)
    assert all(name == cost.name for name, cost in LOSSES.items())


@every_loss
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 5), size=st.integers(1, 6))
def test_value_and_gradient_are_the_textbook_formulas(name, seed, batch, size):
    u, y = draw(seed, batch, size)
    value, gradient = FORMULAS[name]
    np.testing.assert_allclose(loss(name).value(u, y), value(u, y), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(loss(name).gradient(u, y), gradient(u, y), rtol=1e-12, atol=1e-15)


@every_loss
@given(seed=st.integers(0, 10**6))
def test_gradient_is_the_slope_of_the_value_of_its_own_sample(name, seed):
    u, y = draw(seed, 3, 4)
    found, h = loss(name).gradient(u, y), 1e-5
    for b, i in np.ndindex(u.shape):
        shift = np.zeros_like(u)
        shift[b, i] = h
        slope = (loss(name).value(u + shift, y) - loss(name).value(u - shift, y)) / (2 * h)
        # wrong by h^2 C''' / 6 < 1e-10 and by the rounding of C (below 100) over h
        np.testing.assert_allclose(slope, np.where(np.arange(3) == b, found[b, i], 0), atol=2e-9)


@every_dtype
@every_loss
def test_dtype_and_arguments_are_kept(name, dtype):
    u, y = draw(0, 3, 4, dtype)
    before = u.copy(), y.copy()
    value, gradient = loss(name).value(u, y), loss(name).gradient(u, y)
    assert value.dtype == gradient.dtype == dtype
    assert (value.shape, gradient.shape) == ((3,), (3, 4))
    assert not np.shares_memory(gradient, u)
    assert not np.shares_memory(gradient, y)
    np.testing.assert_array_equal((u, y), before)


@every_dtype
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("size", [50.0, 1e3, 1e30])
def test_extreme_logits_stay_finite_and_right(name, size, dtype):
    u = np.array([[size, -size, 0], [-size, 0, size], [size, size, size]], dtype)
    for y in np.eye(3, dtype=dtype)[[[0, 1, 2], [1, 0, 0]]]:
        value, gradient = loss(name).value(u, y), loss(name).gradient(u, y)
        wide = u.astype("float64"), y.astype("float64")
        np.testing.assert_allclose(value, FORMULAS[name][0](*wide), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(gradient, FORMULAS[name][1](*wide), atol=1e-6)


def test_cross_entropy_does_not_change_when_all_potentials_shift():
    u, y = draw(3, 4, 5)
    np.testing.assert_allclose(loss("cross_entropy").value(u + 700, y), loss("cross_entropy").value(u, y), atol=1e-11)


# --- targets -------------------------------------------------------------------------------------------------------------


@every_dtype
@every_loss
@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64"])
def test_classes_become_one_hot_rows(name, kind, dtype):
    rows = loss(name).encode(np.array([2, 0, 1, 2], kind), 4, 3, np.dtype(dtype))
    assert rows.dtype == dtype
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


@every_loss
@pytest.mark.parametrize(
    "rows", [np.eye(3), np.eye(3, dtype=int), np.eye(3, dtype=bool), np.eye(3).tolist(), [[0.5, 0.25, 0.25]] * 3]
)
def test_rows_are_taken_as_they_are(name, rows):
    found = loss(name).encode(rows, 3, 3, F64)
    assert found.dtype == F64
    np.testing.assert_array_equal(found, np.asarray(rows, F64))


def test_probabilities_of_float32_add_up_to_1_well_enough():
    rows = special.softmax(np.random.default_rng(0).normal(0, 3, (64, 2000)).astype("float32"), axis=1)
    assert loss("cross_entropy").encode(rows, 64, 2000, np.dtype("float32")) is not None


@every_loss
@pytest.mark.parametrize(
    ("targets", "batch", "size", "says"),
    [
        ([0, 3, 1], 3, 3, "class 3 is outside 0 .. 2"),
        ([0, -1, 1], 3, 3, "class -1 is outside 0 .. 2"),
        ([0, 1], 3, 3, "2 classes for 3 inputs"),
        ([0, 1, 2, 0], 1, 4, "4 classes for 1 inputs"),  # a single sample's row of integers has to be two-dimensional
        ([0.0, 1.0, 2.0], 3, 3, "must be integer classes"),
        ([0.0, 1.0, 0.0], 1, 3, "has shape (3,), not (1, 3)"),
        ([0.5, 0.5], 2, 1, "has shape (2,), not (2, 1)"),
        ([0.5], 1, 1, "has shape (1,), not (1, 1)"),
        (0, 1, 3, "has shape (), not (1, 3)"),
        ([[0, 1]], 1, 3, "has shape (1, 2), not (1, 3)"),
        (np.zeros((1, 1, 3)), 1, 3, "has shape (1, 1, 3)"),
        ([[np.nan, 0, 1]], 1, 3, "nan at (0, 0)"),
        ([[0, np.inf, 1]], 1, 3, "inf at (0, 1)"),
        ([["a", "b", "c"]], 1, 3, "not an array of real numbers"),
        ([[1j, 0, 0]], 1, 3, "not an array of real numbers"),
        (None, 1, 3, "not an array of real numbers"),
        ([[1], [0, 1]], 2, 2, "inhomogeneous"),
    ],
)
def test_targets_that_fit_no_loss_are_refused(name, targets, batch, size, says, refuses):
    with refuses(DataError, "targets", says):
        loss(name).encode(targets, batch, size, F64)


@every_loss
@pytest.mark.parametrize("targets", [[0], [0, 0]])
def test_integers_for_a_readout_of_one_neuron_are_refused(name, targets, refuses):
    # As classes, 0 would become the target 1.0: the opposite of what a binary label or a value of 0 means.
    with refuses(DataError, "targets", "(1, 1)" if len(targets) == 1 else "(2, 1)"):
        loss(name).encode(np.array(targets), len(targets), 1, F64)


@pytest.mark.parametrize("name", ["squared_error", "binary_cross_entropy"])
def test_one_neuron_takes_rows(name):
    assert loss(name).encode([[0], [1]], 2, 1, F64).tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("cross_entropy", [0.5, 0.6], "adding up to 1"),
        ("cross_entropy", [1.5, -0.5], "not negative"),
        ("cross_entropy", [0.0, 0.0], "adding up to 1"),
        ("binary_cross_entropy", [0.5, 1.01], "between 0 and 1"),
        ("binary_cross_entropy", [-0.01, 1], "between 0 and 1"),
    ],
)
def test_rows_of_another_kind_are_refused(name, row, says, refuses):
    with refuses(DataError, "targets", name, says):
        loss(name).encode([[0.0, 1.0], row], 2, 2, F64)
    assert loss("squared_error").encode([row], 1, 2, F64).tolist() == [row]


# --- functions of the user -----------------------------------------------------------------------------------------------


def fourth(u, y):
    return ((u - y) ** 4).sum(axis=1)


def fourth_gradient(u, y):
    return 4 * (u - y) ** 3


def test_a_pair_of_functions_becomes_a_loss():
    own = loss((fourth, fourth_gradient))
    u, y = draw(1, 2, 3)
    assert own.name == "fourth"
    np.testing.assert_array_equal(own.value(u, y), fourth(u, y))
    np.testing.assert_array_equal(own.gradient(u, y), fourth_gradient(u, y))
    assert own.encode([1, 0], 2, 3, F64).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert own.encode([[7.5, -3, 0]], 1, 3, F64).tolist() == [[7.5, -3, 0]]  # no range of its own


def test_a_loss_is_taken_as_it_is():
    own = Loss("own", fourth, fourth_gradient)
    assert loss(own) is own
    assert loss("squared_error") is LOSSES["squared_error"]


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ((fourth_gradient, fourth), "(batch,)"),  # swapped
        ((lambda u, y: fourth(u, y).sum(), fourth_gradient), "(batch,)"),  # summed over the batch
        ((fourth, lambda u, y: fourth_gradient(u, y).sum(axis=0)), "(batch, n)"),
        ((fourth, lambda u, y: -fourth_gradient(u, y)), "slope"),
        ((fourth, lambda u, y: fourth_gradient(u, y) / len(u)), "slope"),  # the mean belongs to the weights, not to s
        ((fourth, lambda u, _: np.full_like(u, np.nan)), "slope"),
        # numpy warns too, which must not come first
        ((lambda u, y: np.log(u - y).sum(axis=1), lambda u, y: 1 / (u - y)), "slope"),
    ],
)
def test_wrong_pairs_are_refused(pair, says, refuses):
    with refuses(OptionError, "loss", says):
        loss(pair)


@pytest.mark.parametrize("spec", [None, 1, fourth, (fourth,), [fourth, fourth_gradient], ("squared_error", "squared_error")])
def test_what_is_neither_name_nor_pair_is_refused(spec, refuses):
    with refuses(OptionError, "loss", "neither a name nor a pair", "(C, dC/du)"):
        loss(spec)


@pytest.mark.parametrize("name", ["", "mse", "CrossEntropy"])
def test_an_unknown_name_lists_the_names(name, refuses):
    with refuses(UnknownNameError, "loss", repr(name), *FORMULAS):
        loss(name)
