"""Both ends of what crosses between populations: whole messages, or the planes that a coding makes of them."""

from __future__ import annotations

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Receiver, Sender
from dyadic_neuro.processes.slices import Axons


class OutputAxons:
    """The sending end: takes a message (batch, n) a step, and gives out what goes along in each micro-step.

    `told` is what receivers hold of the messages so far: the neurons' own synapses learn with that.
    """

    def __init__(self, axons: Axons) -> None:
        self._axons, self.told = axons, axons.told
        self._sender = None if _whole(axons) else Sender(axons.coding, axons.bits, axons.number, axons.first, axons.told)
        self._planes: Array | None = None

    def load(self, message: Array, t: int) -> int:
        """Take the message of step t, and return how many messages it takes to tell each receiver.

        Raises OverflowError for integers that are too wide: a coding would cut them off, bit by bit.
        """
        if self._axons.bits:
            check_width(message, self._axons.bits, "these axons")
        sends = self._axons.timing.sends(t)
        if self._sender is None:  # sent in every step: who does not listen just now gets a token
            self._planes, self.told = message[None], message
            return message.size if sends else 0
        self._planes = self._sender.send(message, t) if sends else None
        self.told = self._sender.told
        return 0 if self._planes is None else int(np.count_nonzero(self._axons.coding.sent(self._planes)))

    def plane(self, micro: int) -> Array:
        """Return what goes along in a micro-step: a token of zeros where nothing is sent."""
        if self._planes is None:
            return np.zeros_like(self.told)
        plane: Array = self._planes[micro]
        return plane if self._sender is None else plane.astype(self.told.dtype)

    def handed(self, message: Array) -> Array:
        """Return what a core keeps for its own synapses: the message or, with an inexact coding, what receivers hold of it."""
        return message if self._sender is None or self._sender.exact else self._sender.told


class InputAxons:
    """The receiving end: `latch` (batch, n) is the last message that arrived whole."""

    def __init__(self, axons: Axons) -> None:
        self._axons, self.latch = axons, axons.told
        self._receiver = None if _whole(axons) else Receiver(axons.coding, axons.bits, axons.told)

    def hear(self, plane: Array, t: int, micro: int) -> None:
        """Take what arrived in a micro-step of step t; with a coding, a token is no part of a message."""
        if self._receiver is None:
            self.latch = plane
        elif self._axons.timing.sends(t):
            self._receiver.hear(plane, micro)
            self.latch = self._receiver.latch


def check_width(message: Array, bits: int, way: str) -> None:
    """Raise OverflowError for a message that these bits do not hold: two's complement, or with one bit a spike and its sign."""
    lowest, highest = (-1, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if message.min() < lowest or message.max() > highest:
        problem = f"a message from {message.min()} to {message.max()} on {way}"
        raise OverflowError(f"{problem}, whose {bits} bits hold {lowest} to {highest}")


def _whole(axons: Axons) -> bool:
    """Whether messages are sent as they are, also those of floats."""
    return axons.coding.name == "graded"
