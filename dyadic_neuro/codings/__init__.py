"""Codings: how an integer message becomes what is sent in micro-steps, and how receivers put it together again.

A message is what a neuron tells at a unit step, its rate or its sensitivity, in two's complement of 2 to 62 bits. A sender
turns its messages (batch, n) into planes (K, batch, n), what it sends in each of K micro-steps. A receiver keeps a latch
(batch, n) on the axon: the value it holds, and never a product with a weight, so that weights may change at any time.

Arrays are int64, but for planes of spikes, which are int8. What is returned may share memory with what came in.
"""

from __future__ import annotations

from dyadic_neuro.codings.base import Coding, Draw, replay
from dyadic_neuro.codings.bit_serial import BitSerial
from dyadic_neuro.codings.channel import Receiver, Sender
from dyadic_neuro.codings.delta import Delta
from dyadic_neuro.codings.graded import Graded
from dyadic_neuro.codings.rate import Rate
from dyadic_neuro.errors import OptionError, UnknownNameError

__all__ = ["CODINGS", "BitSerial", "Coding", "Delta", "Draw", "Graded", "Rate", "Receiver", "Sender", "coding", "replay"]

CODINGS: dict[str, type[Coding]] = {kind.name: kind for kind in (Graded, Delta, BitSerial, Rate)}


def coding(spec: str | Coding) -> Coding:
    """Return the coding that `spec` means: a name, with the options that it has by itself, or a coding.

    Raises UnknownNameError for another name, and OptionError for what is neither.
    """
    if isinstance(spec, Coding):
        return spec
    if not isinstance(spec, str):
        raise OptionError("coding", f"{spec!r} is neither a name nor a coding", f"use one of {list(CODINGS)}, or Delta(4)")
    if spec not in CODINGS:
        raise UnknownNameError("coding", f"no coding is called {spec!r}", f"use one of {list(CODINGS)}, or a coding")
    return CODINGS[spec]()
