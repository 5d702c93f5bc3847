"""A projection is a matrix: whole, a block of one, or a diagonal. Compared with the matrix itself."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.errors import DataError, NetworkError, UnknownNameError
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS


def drawn(seed):
    """Return a random projection and the matrix that it means."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 7, 2))
    row, column = (int(rng.integers(n)) for n in shape)
    height, width = int(rng.integers(1, shape[0] - row + 1)), int(rng.integers(1, shape[1] - column + 1))
    matrix, kind = np.zeros(shape), rng.integers(3)
    if kind == 0:
        weights = rng.normal(size=shape)
        matrix[:] = weights
        return Projection("a", "b", weights), matrix
    if kind == 1:
        weights = rng.normal(size=(height, width))
        matrix[row : row + height, column : column + width] = weights
    else:
        weights = rng.normal(size=min(height, width))
        for i, w in enumerate(weights):
            matrix[row + i, column + i] = w
    return Projection("a", "b", weights, corner=(row, column), shape=shape), matrix


@given(SEEDS, st.sampled_from([1, 3]))
def test_signals_go_through_the_matrix(seed, batch):
    projection, matrix = drawn(seed)
    rng = np.random.default_rng(seed)
    rates, sensitivities = rng.normal(size=(batch, matrix.shape[1])), rng.normal(size=(batch, matrix.shape[0]))
    assert np.allclose(projection.forward(rates), rates @ matrix.T, rtol=0, atol=1e-12)
    assert np.allclose(projection.backward(sensitivities), sensitivities @ matrix, rtol=0, atol=1e-12)
    assert np.allclose(projection.transposed().forward(sensitivities), sensitivities @ matrix, rtol=0, atol=1e-12)
    outer = sensitivities.T @ rates / batch
    rows, columns = projection.rows, projection.columns
    wanted = np.diagonal(outer[rows, columns]) if projection.one_to_one else outer[rows, columns]
    assert np.allclose(projection.outer(sensitivities, rates), wanted, rtol=0, atol=1e-12)


@given(SEEDS, st.integers(0, 6), st.integers(1, 6))
def test_the_part_onto_some_neurons_is_those_rows(seed, start, size):
    projection, matrix = drawn(seed)
    stop = min(start + size, len(matrix))
    if start >= stop:
        return
    part = projection.onto(start, stop)
    rates = np.random.default_rng(seed).normal(size=(2, matrix.shape[1]))
    wanted = rates @ matrix[start:stop].T
    if part is None:
        assert not (set(range(start, stop)) & set(range(projection.rows.start, projection.rows.stop)))
    else:
        assert np.allclose(part.forward(rates), wanted, rtol=0, atol=1e-12)
        assert np.shares_memory(part.weights, projection.weights)


@pytest.mark.parametrize(
    ("weights", "corner", "shape"),
    [
        (np.ones((2, 2)), (2, 0), (3, 2)),
        (np.ones((2, 2)), (-1, 0), (3, 2)),
        (np.ones((2, 2)), (0, 0), (2, 2)),
        (np.ones(4), (0, 0), (3, 2)),
        (np.ones((0, 2)), (0, 0), (3, 2)),
    ],
)
def test_a_part_that_does_not_lie_in_the_matrix_is_refused(weights, corner, shape):
    populations = [dn.Population("input", 2), dn.Population("output", 3)]
    with pytest.raises(DataError, match="input->output"):
        dn.Network(populations, [Projection("input", "output", weights, corner=corner, shape=shape)])


@given(SEEDS)
def test_files_keep_parts(tmp_path_factory, seed):
    network = networks.dag(seed, 3, activation="tanh", parts=True)
    path = tmp_path_factory.mktemp("net") / "net.npz"
    network.save(path)
    again = dn.Network.load(path)
    assert again.fingerprint == network.fingerprint
    assert [vars(a) | {"weights": 0} for a in again.projections] == [vars(b) | {"weights": 0} for b in network.projections]
    x, y = networks.batch(network, seed, 2)
    assert all(np.array_equal(dn.backprop(again, x, y)[key], value) for key, value in dn.backprop(network, x, y).items())


# Specifications


def test_a_specification_is_a_network_without_values():
    network = dn.Network.dense([4, 3, 2], "relu", "cross_entropy")
    specification = dn.Network.specification([4, 3, 2], activation="relu", loss="cross_entropy")
    assert specification.weightless
    assert specification.fingerprint == network.fingerprint == network.structure().fingerprint
    assert specification.structure() is specification
    assert {key: v.shape for key, v in specification.parameters.items()} == {k: v.shape for k, v in network.parameters.items()}
    filled = specification.with_parameters(network.parameters)
    assert not filled.weightless
    assert np.array_equal(dn.predict(filled, np.ones((1, 4))), dn.predict(network, np.ones((1, 4))))
    assert "Specification" in repr(specification)


def test_a_specification_may_be_larger_than_memory():
    huge = dn.Network.specification([10**7] * 3)
    assert huge.parameters["input->hidden1"].shape == (10**7, 10**7)
    assert huge.depth == 2


def test_copies_of_a_specification_hold_shapes_only():
    huge = dn.Network.specification([10**6, 10**6, 10], activation="relu", loss="cross_entropy")
    text = pickle.dumps(huge)
    assert len(text) < 10_000
    again = pickle.loads(text)
    assert again.fingerprint == huge.fingerprint
    assert again.weightless
    assert again.parameters["input->hidden1"].shape == (10**6, 10**6)
    assert copy.deepcopy(huge).depth == 2


def test_a_specification_of_populations():
    populations = [dn.Population("input", 4), dn.Population("a", 3, "tanh", 0.0), dn.Population("output", 2)]
    found = dn.Network.specification(populations, [("input", "a"), ("a", "output"), ("input", "output")])
    assert found.depth == 2
    assert found.plastic == ("input->a", "a->output", "input->output", "a.bias")


def test_a_specification_cannot_run(tmp_path):
    specification = dn.Network.specification([4, 3, 2])
    x, y = np.ones((1, 4)), np.ones((1, 2))
    for use in (
        lambda: dn.relax(specification, x, y),
        lambda: dn.backprop(specification, x, y),
        lambda: dn.predict(specification, x),
        lambda: dn.train(specification, (x, y)),
        lambda: specification.save(tmp_path / "net.npz"),
    ):
        with pytest.raises(NetworkError, match="with_parameters"):
            use()
    with pytest.raises(UnknownNameError, match="needs all of them"):
        specification.with_parameters({"input->hidden1": np.ones((3, 4))})


@pytest.mark.parametrize("wrong", [[3], "abc", 7, [4, 0], [4, -1, 2], [4, "x"], [10, 10**18, 10], [10, 10**30]])
def test_no_specification(wrong):
    with pytest.raises(NetworkError):
        dn.Network.specification(wrong)


@pytest.mark.parametrize("wrong", [[("input", "nowhere")], ["ab"], [3], 7])
def test_no_projections(wrong):
    populations = [dn.Population("input", 4), dn.Population("output", 2)]
    with pytest.raises(NetworkError):
        dn.Network.specification(populations, wrong)
