"""When a population updates, when it sends, and how many steps a relaxation takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from dyadic_neuro.errors import OptionError
from dyadic_neuro.graph import Graph

SCHEDULES = ("free", "wavefront")
_SMALLEST_ALPHA = 1e-7  # a settling count of 10^7 steps and more is hardly what somebody meant
_LARGEST_ALPHA = 2.0 - _SMALLEST_ALPHA
_LARGEST_LOG = 700.0  # of a number that a float still holds


@dataclass(frozen=True)
class Timing:
    """The steps at which one population's potential or sensitivity updates; the first step is 1.

    `at` is None for every step (free), else the one step of each window of `period` steps (wavefront).
    """

    period: int
    at: int | None

    def updates(self, step: int) -> bool:
        """Whether the state changes in this step."""
        return self.at is None or (step - 1) % self.period + 1 == self.at

    def sends(self, step: int) -> bool:
        """Whether this step starts with a message: always when free, else right after an update."""
        return self.at is None or (step - 1 - self.at) % self.period == 0


@dataclass(frozen=True)
class Schedule:
    """The timing of every population of a network under "free" or "wavefront" (DESIGN section 2, Schedules)."""

    kind: str
    period: int
    potentials: dict[str, Timing]
    sensitivities: dict[str, Timing]
    dynamic: tuple[str, ...]

    @cached_property
    def _active(self) -> list[tuple[list[str], list[str]]]:
        return [
            (
                [n for n in self.dynamic if self.potentials[n].updates(t)],
                [n for n in self.dynamic if self.sensitivities[n].updates(t)],
            )
            for t in range(1, (self.period or 1) + 1)
        ]

    def active(self, step: int) -> tuple[list[str], list[str]]:
        """Return the populations whose potential, and those whose sensitivity, updates in this step."""
        return self._active[(step - 1) % len(self._active)]

    @classmethod
    def of(cls, network: Graph, kind: str) -> Schedule:
        """Return the schedule of this kind. Raises OptionError for another kind, CycleError for wavefront with a cycle."""
        if kind not in SCHEDULES:
            raise OptionError("schedule", f"{kind!r} is not a schedule", f"use one of {list(SCHEDULES)}")
        known = _KNOWN.setdefault(network, {})
        if kind not in known:
            known[kind] = cls._free(network) if kind == "free" else cls._wavefront(network)
        return known[kind]

    @classmethod
    def _free(cls, network: Graph) -> Schedule:
        every = dict.fromkeys((population.name for population in network.populations), Timing(0, None))
        return cls("free", 0, every, every, tuple(population.name for population in network.dynamic))

    @classmethod
    def _wavefront(cls, network: Graph) -> Schedule:
        names, period = [population.name for population in network.populations], network.relaxation_steps
        potentials = {name: Timing(period, network.depths[name]) for name in names}
        sensitivities = {name: Timing(period, network.depth + 1 + network.heights[name]) for name in names}
        return cls("wavefront", period, potentials, sensitivities, tuple(population.name for population in network.dynamic))


# A schedule follows from the network alone; working it out once keeps a relaxation of one sample as cheap as backpropagation.
_KNOWN: WeakKeyDictionary[Graph, dict[str, Schedule]] = WeakKeyDictionary()


def arrival_weight(steps: int, alpha: float, hops: int) -> float:
    """Return P[Binomial(steps, alpha) >= hops]: the part of a signal of that many hops that has arrived.

    For 1 < alpha < 2 that is no probability but the same sum, and the same law: a unit that steps beyond its target comes
    to it from both sides, and the part is now above 1 and now below.
    """
    if steps < hops:
        return 0.0
    missing = missing_weight(steps, alpha, hops)
    overshot = alpha > 1.0 and (steps - hops) % 2 == 0
    return 1.0 + missing if overshot else 1.0 - missing


def missing_weight(steps: int, alpha: float, hops: int) -> float:
    """Return |sum_(j < hops) C(steps, j) alpha^j (1 - alpha)^(steps - j)|, for alpha <= 1 P[Binomial(steps, alpha) < hops].

    In a form whose terms all have one sign, so that small values keep their digits (0 < alpha < 2):
    |1 - alpha|^(m + 1) sum_(i < hops) C(m + i, i) alpha^i, with m = steps - hops.
    """
    if hops > steps:
        return 1.0
    if alpha == 1.0 or hops == 0:
        return 0.0
    m, left, pace = steps - hops, math.log1p(-alpha) if alpha < 1.0 else math.log(alpha - 1.0), math.log(alpha)
    logs = [(m + 1) * left + math.lgamma(m + i + 1) - math.lgamma(m + 1) - math.lgamma(i + 1) + i * pace for i in range(hops)]
    if max(logs) > _LARGEST_LOG:
        return math.inf
    total = math.fsum(math.exp(value) for value in logs)
    return min(1.0, total) if alpha < 1.0 else total


def settling_steps(depth: int, alpha: float, tolerance: float) -> int:
    """Return the steps after which a relaxation of this depth is expected within `tolerance`, and stays so.

    For alpha = 1 that is 2D exactly; otherwise the first n from which on `missing_weight` of 2D hops is at most `tolerance`,
    the law that linear chains follow exactly and other networks closely.

    Raises OptionError for an alpha so close to 0 or 2 that it takes more than 10^7 steps.
    """
    if alpha == 1.0:
        return 2 * depth
    if not _SMALLEST_ALPHA <= alpha <= _LARGEST_ALPHA:
        raise OptionError(
            "alpha", f"{alpha} takes more than {2 / _SMALLEST_ALPHA:.0e} steps to settle", "give the number of steps"
        )
    hops, over = 2 * depth, alpha - 1.0
    low = hops if over < 0 else hops + math.ceil(over * (hops - 1) / (1.0 - over))  # from here on it only falls
    if missing_weight(low, alpha, hops) <= tolerance:
        while low > hops and missing_weight(low - 1, alpha, hops) <= tolerance:
            low -= 1
        return low
    high = 2 * low
    while missing_weight(high, alpha, hops) > tolerance:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if missing_weight(middle, alpha, hops) > tolerance:
            low = middle + 1
        else:
            high = middle
    return low
