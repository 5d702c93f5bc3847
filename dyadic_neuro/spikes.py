"""The events of a run: who sent a spike, or a signal that had moved, at which step of which sample."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array, ReadOnly
from dyadic_neuro.errors import DataError, UnknownNameError
from dyadic_neuro.interchange import sonata


@dataclass(frozen=True, eq=False)
class Train(ReadOnly):
    """The events of one kind that a population sent, in order of samples, steps and neurons.

    `kind` is "spike", or of a signal that goes out when it has moved, "rate" or "sensitivity". `samples` count from 0, `steps`
    from 1 in each sample, as in the ledger, and `neurons` from 0; all (events,), int64.
    """

    population: str
    kind: str
    samples: Array
    steps: Array
    neurons: Array

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def name(self) -> str:
        """The population's, for what is no spike with the kind: "hidden1.rate"."""
        return self.population if self.kind == "spike" else f"{self.population}.{self.kind}"


@dataclass(frozen=True, eq=False)
class Spikes:
    """All events of a run of `batch` samples, of `steps` steps each, a step being `dt_ms` milliseconds long.

    Make one with `of` or `of_times`.
    """

    trains: tuple[Train, ...]
    batch: int
    steps: int
    dt_ms: float

    @classmethod
    def of(
        cls,
        events: Iterable[tuple[str, str, ArrayLike, ArrayLike, ArrayLike]],
        *,
        batch: int,
        steps: int,
        dt_ms: float,
    ) -> Spikes:
        """Return the record of events (population, kind, samples, steps, neurons) in any order; see `Train` for the numbers.

        Raises DataError for arrays of unlike lengths, and samples, steps or neurons that are none of the run.
        """
        found: dict[tuple[str, str], list[tuple[Array, ...]]] = {}
        for population, kind, *columns in events:
            fields = [f"{name} of {population}" for name in ("samples", "steps", "neurons")]
            limits = ((0, batch), (1, steps + 1), (0, np.inf))
            numbers = tuple(_counted(f, c, *ends) for f, c, ends in zip(fields, columns, limits, strict=True))
            if len({len(column) for column in numbers}) > 1:
                raise DataError(fields[0], "are not as many as the steps or the neurons", "give one of each for each event")
            found.setdefault((population, kind), []).append(numbers)
        trains = []
        for (population, kind), parts in found.items():
            samples, at, neurons = (np.concatenate(column) for column in zip(*parts, strict=True))
            order = np.lexsort((neurons, at, samples))
            trains.append(Train(population, kind, samples[order], at[order], neurons[order]))
        return cls(tuple(trains), batch, steps, float(dt_ms))

    @classmethod
    def of_times(
        cls, events: Iterable[tuple[str, ArrayLike, ArrayLike, ArrayLike]], *, batch: int, steps: int, dt_s: float
    ) -> Spikes:
        """Return the record of spikes (population, times in s, neurons, samples).

        A time is that of the end of its step since the beginning of the sample: dt_s, 2 dt_s ... Raises DataError, as `of`.
        """
        counted = (
            (population, "spike", samples, np.rint(np.asarray(times, np.float64) / dt_s), neurons)
            for population, times, neurons, samples in events
        )
        return cls.of(counted, batch=batch, steps=steps, dt_ms=1e3 * dt_s)

    def __repr__(self) -> str:
        parts = ", ".join(f"{train.name} {len(train)}" for train in self.trains)
        return f"Spikes({parts}; {self.batch} samples of {self.steps} steps of {self.dt_ms:g} ms)"

    def train(self, population: str, kind: str = "spike") -> Train:
        """Return the events of this kind that a population sent. Raises UnknownNameError."""
        for train in self.trains:
            if (train.population, train.kind) == (population, kind):
                return train
        names = [train.name for train in self.trains]
        raise UnknownNameError("population", f"{population!r} has no events of kind {kind!r}", f"use some of {names}")

    def total(self, kind: str | None = None) -> int:
        """Return the number of events, of one kind or of all."""
        return sum(len(train) for train in self.trains if kind in (None, train.kind))

    def per_step(self, kind: str | None = None) -> Array:
        """Return the events of each step, (steps,), of one kind or of all, over all samples."""
        counts = np.zeros(self.steps, np.int64)
        for train in self.trains:
            if kind in (None, train.kind):
                counts += np.bincount(train.steps - 1, minlength=self.steps)
        return counts

    @cached_property
    def duration_ms(self) -> float:
        """How long a sample is presented."""
        return self.steps * self.dt_ms

    def times_ms(self, train: Train) -> Array:
        """Return the time of each event, (events,), in ms: of the end of its step, the samples presented one after the other."""
        return np.asarray((train.samples * self.steps + train.steps) * self.dt_ms)

    def save_sonata(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the events as a SONATA spike file: /spikes/<name>/timestamps in ms (`times_ms`) and node_ids, sorted by time.

        SONATA knows one time axis and no samples, so they follow each other on it, `duration_ms` apart; beside what the format
        has, each group holds "samples" and "steps", and the file the numbers that turn one into the other. A train without events
        gets no group. Raises MissingExtraError, OutputExistsError and FileError.
        """
        found = {
            train.name: {
                "timestamps": self.times_ms(train),
                "node_ids": train.neurons,
                "samples": train.samples,
                "steps": train.steps,
            }
            for train in self.trains
        }
        about: dict[str, int | float | str] = {
            "samples": self.batch,
            "steps_per_sample": self.steps,
            "dt": self.dt_ms,
            "dt_units": "ms",
        }
        sonata.write(path, found, about, overwrite=overwrite)


def _counted(field: str, values: ArrayLike, start: int, stop: float) -> Array:
    """Return whole numbers (events,) of start .. stop - 1. Raises DataError."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf") or not np.array_equal(array, np.rint(array)):
        raise DataError(field, f"are {array.dtype} {array.shape}, not whole numbers (events,)", "give one number for each event")
    if array.size and not (start <= array.min() and array.max() < stop):
        problem = f"{array.min():g} .. {array.max():g} are not of {start} .. {stop - 1:g}"
        raise DataError(field, problem, "count samples and neurons from 0, the steps of a sample from 1")
    return array.astype(np.int64)
