"""How the benches measure: interleaved, warmed up, medians."""

import random
import statistics
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: a measured number, with the limit that the project set itself."""

    what: str
    measured: float
    limit: float
    unit: str
    detail: str
    at_least: bool = False

    @property
    def holds(self):
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def medians(*calls, repeats):
    """Return the median seconds of each call.

    They take turns, so that a slow moment of the machine hits all alike, in an order that changes: what ran before leaves
    caches and freed memory in a state that is good for one call and bad for another.
    """
    rng, times = random.Random(0), [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(repeats):
        for i in rng.sample(range(len(calls)), len(calls)):
            began = time.perf_counter()
            calls[i]()
            times[i].append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in times]
