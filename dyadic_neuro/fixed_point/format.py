"""The format: how many bits a chip gives to weights, messages and states."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral

from dyadic_neuro.errors import OptionError

LIMITS = {
    "weight_bits": (4, 16),
    "message_bits": (4, 24),
    "state_bits": (8, 32),
    "table_bits": (4, 16),
    "headroom_bits": (0, 16),
    "weight_headroom_bits": (0, 8),
}
ROUNDINGS = ("nearest", "stochastic")


@dataclass(frozen=True)
class FixedFormat:
    """Widths of integers in two's complement, and how weights change.

    `weight_bits` (4 to 16) are those of every weight, `message_bits` (4 to 24) those of rates and of sensitivities as they are
    sent, `state_bits` (8 to 32, at least as many as a message's) those of potentials, sensitivities and biases. The functions
    that are no exact integer functions are tables of 2 ** `table_bits` pieces. The widest of all do not hold every network:
    sums must fit into an accumulator of 62 bits. `headroom_bits` are left free above the largest
    value that a calibration met, `weight_headroom_bits` above the largest weight, for what learning makes of it.

    `rounding` is that of weight changes: "nearest", or "stochastic" with the numbers that `seed`, synapse and update draw.
    With `strict` a run in which anything saturated ends with a SaturationError; else saturations are counted.

    Loihi's weights have up to 8 bits (and a sign of its own on Loihi 1), its states 24 (Davies et al. 2018, table 1; Intel
    2021, technology brief; hardware note 1.1 to 1.3). Raises OptionError.
    """

    weight_bits: int = 8
    message_bits: int = 16
    state_bits: int = 24
    table_bits: int = 10
    headroom_bits: int = 1
    weight_headroom_bits: int = 0
    rounding: str = "nearest"
    seed: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
                raise OptionError(name, f"{value!r} is no number of bits from {least} to {most}", "use one of these")
            object.__setattr__(self, name, int(value))
        if self.state_bits < self.message_bits:
            problem = f"{self.state_bits} is less than the {self.message_bits} bits of a message, which shows a state"
            raise OptionError("state_bits", problem, f"use at least {self.message_bits}, or narrower messages")
        if self.rounding not in ROUNDINGS:
            raise OptionError("rounding", f"{self.rounding!r} is no rounding of weights", f"use one of {list(ROUNDINGS)}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or not 0 <= int(self.seed) < 2**63:
            raise OptionError("seed", f"{self.seed!r} is not a seed", "give an integer of at least 0, below 2**63")
        object.__setattr__(self, "seed", int(self.seed))
        if not isinstance(self.strict, bool):
            raise OptionError("strict", f"{self.strict!r} is neither True nor False", "use one of them")

    def record(self) -> dict[str, int | str | bool]:
        """Return the fields as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
