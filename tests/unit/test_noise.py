"""Noise: uniform words and standard normal numbers that are pure functions of where and when."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dyadic_neuro.noise import gauss, words

WORD = 2**64
STEPS, CELLS = np.arange(400)[:, None], np.arange(500)


def mixed(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


GOLDEN = 0x9E3779B97F4A7C15


def word_by_hand(seed, step, cell):
    """The same in Python's integers."""
    a, b, c = ((number + GOLDEN) % WORD for number in (seed, step, cell))
    return mixed(mixed(mixed(a) ^ b) ^ c)


def by_hand(seed, step, cell):
    a = word_by_hand(seed, step, cell)
    b = mixed((a + GOLDEN) % WORD)
    return math.sqrt(-2 * math.log(((a >> 11) + 1) / 2**53)) * math.cos(2 * math.pi * (b >> 11) / 2**53)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**62), st.integers(0, 2**40))
def test_every_number_is_that_of_the_algorithm(seed, step, cell):
    assert float(gauss(seed, step, cell)) == pytest.approx(by_hand(seed, step, cell), rel=1e-12, abs=1e-12)


@given(*[st.integers(0, WORD - 1)] * 3)
def test_every_word_is_that_of_the_algorithm(seed, step, cell):
    assert int(words(seed, step, cell)) == word_by_hand(seed, step, cell)


# What version 0.1.0 drew. Words are integers, and the same on every machine; NumPy's logarithm and cosine may differ in their
# last bits from one processor to another.
DRAWN = {
    (0, 0, 0): (0xFBE988335F36C931, "-0x1.16c6334ebffcbp-3"),
    (1, 0, 0): (0x6DF1421574B0D586, "-0x1.1a1f7262daac9p+0"),
    (1, 1, 2): (0x41820A3B334CAA75, "0x1.3e6c2feee3d69p-1"),
    (2**31 - 1, 2**40, 2**40): (0x1A59846C8B91C432, "-0x1.695ff3826075fp+0"),
    (2**63 - 1, 3, 5): (0x2C5B3CB68333806F, "0x1.8565ba09b7103p+0"),
}


@pytest.mark.parametrize("key", DRAWN)
def test_the_numbers_do_not_change_from_version_to_version(key):
    word, normal = DRAWN[key]
    assert int(words(*key)) == word
    assert float(gauss(*key)) == pytest.approx(float.fromhex(normal), rel=1e-15, abs=0)


def test_seeds_steps_and_cells_broadcast():
    seeds, steps, cells = np.arange(2)[:, None, None], np.arange(3)[:, None], np.arange(4)
    found, drawn = words(seeds, steps, cells), gauss(seeds, steps, cells)
    assert found.tolist() == [[[word_by_hand(a, b, c) for c in range(4)] for b in range(3)] for a in range(2)]
    np.testing.assert_allclose(drawn, [[[by_hand(a, b, c) for c in range(4)] for b in range(3)] for a in range(2)], rtol=1e-12)
    assert (found.dtype, drawn.dtype) == (np.uint64, np.float64)


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


def test_every_bit_of_a_word_is_set_half_of_the_time_also_where_a_word_is_the_seed():
    for drawn in (words(2, STEPS, CELLS), words(words(2, 0, STEPS), 0, CELLS)):
        bits = np.unpackbits(drawn.reshape(-1, 1).view(np.uint8), axis=1)
        assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / math.sqrt(drawn.size)
        assert np.unique(drawn).size == drawn.size
