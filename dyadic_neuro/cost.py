"""What a run costs on a chip: named parts, each a count times a number with its source; what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass

from dyadic_neuro.quantity import Quantity

STATIC = "static"
"""The part of an energy that is a power times the time of the run."""


@dataclass(frozen=True)
class Component:
    """One part of an energy: `count` events (or seconds, of a power) at `each`."""

    name: str
    count: float
    each: Quantity

    @property
    def total_j(self) -> float | None:
        """The energy of all of them, or None where that of one is unknown."""
        return None if self.each.value is None else self.count * self.each.value


@dataclass(frozen=True)
class Cost:
    """Energy and time of `samples` samples, one after the other, or `pipelined`.

    `components` are the parts of the energy that are not 0. `steps_s` are the times of the steps of one sample (in a
    pipeline: of all), `learning_s` that of the phase in which its weights change. `unknown_times` names what is missing in them.
    `assumptions` says what the numbers take for granted. A total is a lower bound as soon as a part of it is unknown.
    """

    chip: str
    assumptions: tuple[str, ...]
    samples: int
    components: tuple[Component, ...]
    steps_s: tuple[float, ...]
    learning_s: float
    unknown_times: tuple[str, ...]
    pipelined: bool = False

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parts of the energy that are missing in it, in whole or, where a time is too short, of static power in part."""
        missing = [part.name for part in self.components if part.total_j is None]
        if self.unknown_times and any(part.name == STATIC and part.total_j is not None for part in self.components):
            missing.append(f"{STATIC} during {', '.join(self.unknown_times)}")
        return tuple(missing)

    @property
    def energy_j(self) -> float:
        """The known parts of the energy of all samples, in J: all of it if nothing is `unknown`, else at least that."""
        return sum(part.total_j for part in self.components if part.total_j is not None)

    @property
    def latency_s(self) -> float:
        """The time of all samples, in s; at least that, if there are `unknown_times`."""
        steps = sum(self.steps_s) if self.pipelined else self.samples * sum(self.steps_s)
        return steps + self.samples * self.learning_s

    @property
    def energy_per_sample_j(self) -> float:
        """`energy_j` of one sample."""
        return self.energy_j / self.samples

    @property
    def latency_per_sample_s(self) -> float:
        """`latency_s` of one sample: in a pipeline the time from one sample to the next."""
        return self.latency_s / self.samples

    @property
    def energy_text(self) -> str:
        """The energy of a sample in words: "at least 3.2 uJ, without chip_crossing"."""
        return _bound(Quantity(self.energy_per_sample_j, "J", "sum", "derived"), self.unknown)

    @property
    def latency_text(self) -> str:
        """The time of a sample in words."""
        return _bound(Quantity(self.latency_per_sample_s, "s", "sum", "derived"), self.unknown_times)

    def __str__(self) -> str:
        learning = "learning included" if self.learning_s else "without learning"
        steps = f"{len(self.steps_s)} steps {'in all' if self.pipelined else 'each'}"
        return f"per sample on {self.chip}, {learning}: {self.energy_text}; {self.latency_text} ({steps})"


def _bound(total: Quantity, unknown: tuple[str, ...]) -> str:
    return f"at least {total.amount}, without {', '.join(unknown)}" if unknown else total.amount
