"""Both ends of a channel: a sender that knows what receivers hold, and a receiver."""

from __future__ import annotations

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings.base import Coding, Draw, replay


class Sender:
    """Turns the messages (batch, n) of some neurons into planes, and keeps what receivers hold of them: `told`.

    `bits` is the width of a message, `signal` the number of the signal, `first` that of the first neuron here.
    """

    def __init__(self, coding: Coding, bits: int, signal: int, first: int, told: Array) -> None:
        self._coding, self._bits, self._signal, self._first = coding, bits, signal, first
        self.told = told

    @property
    def exact(self) -> bool:
        """Whether receivers hold the message, bit for bit."""
        return self._coding.exact

    def send(self, message: Array, step: int) -> Array:
        """Return the planes (K, batch, n) that tell the message in unit step `step` (the first is 1)."""
        planes = self._coding.planes(message, self.told, self._bits, Draw(self._signal, self._first, step))
        self.told = replay(self._coding, self.told, planes, self._bits)
        return planes


class Receiver:
    """Puts messages (batch, n) together again, plane by plane: `latch` is the last one that is whole."""

    def __init__(self, coding: Coding, bits: int, latch: Array) -> None:
        self._coding, self._bits = coding, bits
        self.latch = latch
        self._partial: Array = np.zeros_like(latch)

    def hear(self, plane: Array, micro: int) -> None:
        """Take what arrived in micro-step `micro`, of K from 0 on."""
        self._partial = self._coding.hear(self._partial, plane, micro)
        if micro == self._coding.micro_steps - 1:
            self.latch = self._coding.latched(self.latch, self._partial, self._bits)
