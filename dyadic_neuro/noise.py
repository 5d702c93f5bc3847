"""Noise as a pure function of where and when: every backend, in every order of work, draws the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11 = (np.uint64(bits) for bits in (27, 30, 31, 11))


def words(seed: ArrayLike, step: ArrayLike, cell: ArrayLike) -> NDArray[np.uint64]:
    """Return uniform words of 64 bits, each a pure function of its three integers from 0 to 2**64 - 1, which broadcast.

    Counter-based: the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over the three in turn. A word is as good a seed
    as any, so that more than three integers can key one: words(words(seed, a, b), c, d).
    """
    with np.errstate(over="ignore"):  # integers that wrap are the algorithm; NumPy warns of it for single ones
        return _mixed(_mixed(_mixed(_word(seed) + _GOLDEN) ^ (_word(step) + _GOLDEN)) ^ (_word(cell) + _GOLDEN))


def gauss(seed: ArrayLike, step: ArrayLike, cell: ArrayLike) -> NDArray[np.float64]:
    """Return standard normal numbers, each a pure function of its three integers of at least 0, which broadcast.

    The transform of Box and Muller (1958) makes one normal number of two of 53 bits: of a word, and of the one after it.
    """
    first = words(seed, step, cell)
    with np.errstate(over="ignore"):
        second = _mixed(first + _GOLDEN)
        p = ((first >> _11) + np.uint64(1)) * 2.0**-53  # in (0, 1], so that its logarithm is finite
    q = (second >> _11) * 2.0**-53
    return np.asarray(np.sqrt(-2.0 * np.log(p)) * np.cos(2.0 * np.pi * q))


def _word(values: ArrayLike) -> NDArray[np.uint64]:
    return np.asarray(values).astype(np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words ^ (words >> _30)  # an array of its own, which the rest works on in place
    words *= _FIRST
    words ^= words >> _27
    words *= _SECOND
    words ^= words >> _31
    return np.asarray(words)
