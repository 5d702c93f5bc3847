"""Rate: signed spikes that are counted over a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings.base import Coding, Draw, whole
from dyadic_neuro.errors import OptionError
from dyadic_neuro.noise import words

_LONGEST = 2**20  # micro-steps of a window: a count of 21 bits is finer than most messages
_WORD_BITS = 53  # of a uniform number that is compared with a probability
_BLOCK = 2**14  # uniform words drawn at a time: they stay in the cache
_KINDS = ("poisson", "lif")


@dataclass(frozen=True)
class Rate(Coding):
    """A neuron sends signed spikes, -1 or 1, at a rate in proportion to its message; receivers count them over a window.

    With T = `window` micro-steps (a power of two up to 2**20, so that a count is scaled by a shift) and `bits` wide messages,
    a spike in every micro-step is +-2 ** (bits - 1), and one spike is 1 / T of that. A sign is an axon of its own, so a spike
    takes one bit. Every window starts anew: what it tells depends on its message alone. `kind` is one of

    - "poisson": each micro-step spikes with probability p = |message| / 2 ** (bits - 1) (to 53 bits), independently of all
      others, drawn from `seed`. Unbiased up to the rounding of the latch, and the largest message, which the range limits
      by one. The standard deviation is sqrt(p (1 - p) / T) of 2 ** (bits - 1).
    - "lif": integrate-and-fire with a leak of 0. A leak would bend the rate and silence small messages. |message| is added to
      a membrane in each micro-step; at 2 ** (bits - 1) it fires and is reduced by that (Rueckauer et al. 2017).
      It starts at half of it, so that the count is rounded to nearest: at most 1 / (2 T) of 2 ** (bits - 1) off, and exact
      for windows of that length or more. Nothing is drawn.

    Raises OptionError for a window, kind or seed outside these limits (seeds are 0 to 2**63 - 1).
    """

    window: int = 64
    kind: str = "poisson"
    seed: int = 0
    name: ClassVar[str] = "rate"

    def __post_init__(self) -> None:
        """Check the options."""
        window = whole("window", self.window, 1, _LONGEST, "use a power of two, like 64")
        if window & (window - 1):
            below = 1 << (window.bit_length() - 1)
            raise OptionError("window", f"{window} is no power of two", f"use {below} or {2 * below}")
        if self.kind not in _KINDS:
            raise OptionError("kind", f"{self.kind!r} is no kind of spikes", f"use one of {list(_KINDS)}")
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "seed", whole("seed", self.seed, 0, 2**63 - 1, "use for example 0"))

    @property
    def exact(self) -> bool:
        """False: a count has fewer values than a message, and may be of chance."""
        return False

    @property
    def micro_steps(self) -> int:
        """Those of the window."""
        return self.window

    def planes(self, message: Array, told: Array, bits: int, draw: Draw) -> Array:  # noqa: ARG002
        """Return the signed spikes."""
        full, size = 1 << (bits - 1), np.abs(message)
        spikes = self._drawn(size, full, draw) if self.kind == "poisson" else self._integrated(size, full)
        spikes *= np.sign(message).astype(np.int8)
        return spikes

    def hear(self, partial: Array | int, plane: Array, micro: int) -> Array:
        """Return the count of signed spikes."""
        arrived = np.asarray(plane, np.int64)
        return np.asarray(partial + arrived if micro else arrived)

    def latched(self, latch: Array, partial: Array, bits: int) -> Array:  # noqa: ARG002
        """Return count * 2 ** (bits - 1) / T, rounded to nearest with ties up, and limited to what a message can be."""
        full = 1 << (bits - 1)
        if full >= self.window:
            value = partial * (full // self.window)
        else:
            steps = self.window // full  # of the count, to the last bit
            value = (partial + steps // 2) // steps
        return np.clip(value, -full, full - 1)

    def _drawn(self, size: Array, full: int, draw: Draw) -> Array:
        batch, n = size.shape
        keys = words(self.seed, draw.signal, np.arange(batch)[:, None])
        neurons, start = np.arange(draw.first, draw.first + n), draw.step * self.window
        # p in units of a uniform number's last bit; a word fires if it is below
        spare = _WORD_BITS + 1 - full.bit_length()
        limit = (size << spare if spare >= 0 else size >> -spare).astype(np.uint64)
        spikes = np.empty((self.window, batch, n), np.int8)
        block = max(1, _BLOCK // max(1, size.size))
        for first in range(0, self.window, block):
            micro = np.arange(first, min(first + block, self.window))[:, None, None]
            spikes[first : first + block] = words(keys, start + micro, neurons) >> np.uint64(64 - _WORD_BITS) < limit
        return spikes

    def _integrated(self, size: Array, full: int) -> Array:
        membrane = np.full(size.shape, full >> 1, np.int64)
        spikes = np.empty((self.window, *size.shape), np.int8)
        for plane in spikes:
            membrane += size
            plane[...] = membrane >= full
            membrane &= full - 1  # less the threshold, a power of two, where it was reached
        return spikes
