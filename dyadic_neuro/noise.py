"""Noise as a pure function of where and when: every backend, in every order of work, draws the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11 = (np.uint64(bits) for bits in (27, 30, 31, 11))


def gauss(seed: int, step: ArrayLike, cell: ArrayLike) -> NDArray[np.float64]:
    """Return standard normal numbers, each a pure function of its three integers of at least 0, which broadcast.

    Counter-based: the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over the three in turn gives two numbers of 53
    bits, and the transform of Box and Muller (1958) one normal number of those.
    """
    with np.errstate(over="ignore"):  # integers that wrap are the algorithm; NumPy warns of it for single ones
        first = _mixed(_mixed(_mixed(_word(seed) + _GOLDEN) ^ (_word(step) + _GOLDEN)) ^ (_word(cell) + _GOLDEN))
        second = _mixed(first + _GOLDEN)
        p = ((first >> _11) + np.uint64(1)) * 2.0**-53  # in (0, 1], so that its logarithm is finite
    q = (second >> _11) * 2.0**-53
    return np.asarray(np.sqrt(-2.0 * np.log(p)) * np.cos(2.0 * np.pi * q))


def _word(values: ArrayLike) -> NDArray[np.uint64]:
    return np.asarray(values).astype(np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> _30)) * _FIRST
    words = (words ^ (words >> _27)) * _SECOND
    return np.asarray(words ^ (words >> _31))
