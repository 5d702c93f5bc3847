"""The noise of a circuit: standard normal numbers that are pure functions of where and when."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dyadic_neuro.noise import gauss

WORD = 2**64
STEPS, CELLS = np.arange(400)[:, None], np.arange(500)


def mixed(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def by_hand(seed, step, cell):
    """The same in Python's integers."""
    g = 0x9E3779B97F4A7C15
    a = mixed(mixed(mixed((seed + g) % WORD) ^ ((step + g) % WORD)) ^ ((cell + g) % WORD))
    b = mixed((a + g) % WORD)
    return math.sqrt(-2 * math.log(((a >> 11) + 1) / 2**53)) * math.cos(2 * math.pi * (b >> 11) / 2**53)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**62), st.integers(0, 2**40))
def test_every_number_is_that_of_the_algorithm(seed, step, cell):
    assert float(gauss(seed, step, cell)) == pytest.approx(by_hand(seed, step, cell), rel=1e-12, abs=1e-12)


def test_the_numbers_do_not_change_from_version_to_version():
    found = gauss(1, np.array([0, 1])[:, None], np.array([0, 1, 2]))
    np.testing.assert_allclose(found, [[by_hand(1, t, c) for c in range(3)] for t in range(2)], rtol=1e-12)
    assert found.shape == (2, 3)
    assert found.dtype == np.float64


def test_the_numbers_are_pure_whatever_the_order_of_work():
    whole = gauss(3, STEPS, CELLS)
    assert gauss(3, STEPS, CELLS).tobytes() == whole.tobytes()
    assert np.array_equal(gauss(3, STEPS[::-1], CELLS[7:90]), whole[::-1, 7:90])
    assert gauss(3, 17, 23) == whole[17, 23]
    assert gauss(np.int64(3), np.int32(17), np.uint8(23)) == whole[17, 23]


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_they_are_standard_normal(seed):
    drawn = gauss(seed, STEPS, CELLS).ravel()
    assert np.isfinite(drawn).all()
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    n = drawn.size
    assert abs(drawn.mean()) < 4 / math.sqrt(n)
    assert abs(drawn.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs(stats.skew(drawn)) < 4 * math.sqrt(6 / n)
    assert abs(stats.kurtosis(drawn)) < 4 * math.sqrt(24 / n)


@pytest.mark.parametrize("power", [1, 2])
def test_neighbours_of_every_kind_are_independent(power):
    """Seeds, steps and cells that follow each other, or are each other's, have nothing in common."""
    drawn, limit = gauss(5, STEPS, CELLS) ** power, 4 / math.sqrt(STEPS.size * CELLS.size)
    others = {
        "seed": gauss(6, STEPS, CELLS),
        "step": gauss(5, STEPS + 1, CELLS),
        "cell": gauss(5, STEPS, CELLS + 1),
        "both": gauss(5, STEPS + 1, CELLS - 1 + 2**20),
        "seed and step exchanged": gauss(6, STEPS - 1 + 2**20, CELLS),
    }
    for name, other in others.items():
        assert abs(np.corrcoef(drawn.ravel(), (other**power).ravel())[0, 1]) < limit, name
    square = gauss(5, CELLS[:, None], CELLS)
    upper = np.triu_indices(len(CELLS), 1)
    assert abs(np.corrcoef(square[upper] ** power, square.T[upper] ** power)[0, 1]) < 4 / math.sqrt(len(upper[0]))
