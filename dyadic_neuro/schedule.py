"""When a population updates, when it sends, and how many steps a relaxation takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network

SCHEDULES = ("free", "wavefront")


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
    def of(cls, network: Network, kind: str) -> Schedule:
        """Return the schedule of this kind. Raises OptionError for another kind, CycleError for wavefront with a cycle."""
        if kind not in SCHEDULES:
            raise OptionError("schedule", f"{kind!r} is not a schedule", f"use one of {list(SCHEDULES)}")
        known = _KNOWN.setdefault(network, {})
        if kind not in known:
            known[kind] = cls._free(network) if kind == "free" else cls._wavefront(network)
        return known[kind]

    @classmethod
    def _free(cls, network: Network) -> Schedule:
        every = dict.fromkeys((population.name for population in network.populations), Timing(0, None))
        return cls("free", 0, every, every, tuple(population.name for population in network.dynamic))

    @classmethod
    def _wavefront(cls, network: Network) -> Schedule:
        names, period = [population.name for population in network.populations], network.relaxation_steps
        potentials = {name: Timing(period, network.depths[name]) for name in names}
        sensitivities = {name: Timing(period, network.depth + 1 + network.heights[name]) for name in names}
        return cls("wavefront", period, potentials, sensitivities, tuple(population.name for population in network.dynamic))


# A schedule follows from the network alone; working it out once keeps a relaxation of one sample as cheap as backpropagation.
_KNOWN: WeakKeyDictionary[Network, dict[str, Schedule]] = WeakKeyDictionary()


def arrival_weight(steps: int, alpha: float, hops: int) -> float:
    """Return P[Binomial(steps, alpha) >= hops]: the part of a signal of that many hops that has arrived (0 < alpha <= 1)."""
    if alpha >= 1.0:
        return float(steps >= hops)
    return max(0.0, 1.0 - missing_weight(steps, alpha, hops))


def missing_weight(steps: int, alpha: float, hops: int) -> float:
    """Return P[Binomial(steps, alpha) < hops], summed directly so that small values keep their digits."""
    if hops > steps:
        return 1.0
    if alpha >= 1.0:
        return 0.0
    logs = [
        math.lgamma(steps + 1)
        - math.lgamma(k + 1)
        - math.lgamma(steps - k + 1)
        + k * math.log(alpha)
        + (steps - k) * math.log1p(-alpha)
        for k in range(hops)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def settling_steps(depth: int, alpha: float, tolerance: float) -> int:
    """Return the steps after which a relaxation of this depth is expected within `tolerance`.

    For alpha = 1 that is 2D exactly; for alpha < 1 the first n with P[Binomial(n, alpha) < 2D] <= tolerance, the law that
    linear chains follow exactly and other networks closely.
    """
    if alpha == 1.0:
        return 2 * depth
    low, high = 2 * depth, 4 * depth
    while missing_weight(high, alpha, 2 * depth) > tolerance:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if missing_weight(middle, alpha, 2 * depth) > tolerance:
            low = middle + 1
        else:
            high = middle
    return low
