"""The slow, obvious twin of every backend: repeated `dynamics.step`, and how far others are from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dyadic_neuro import dynamics
from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State
from dyadic_neuro.testing.problems import Problem
from dyadic_neuro.trace import Trace


def follow(
    problem: Problem, steps: int, initial: State, alpha: float = 1.0, backward: Mapping[str, Array] | None = None
) -> list[State]:
    """Return the states 0 .. steps of a unit step after the other, or of steps of alpha."""
    found = [initial]
    for _ in range(steps):
        found.append(dynamics.step(problem[0], found[-1], problem[1], problem[2], alpha, backward))
    return found


def by_step(rows: Mapping[str, Array], wanted: list[Mapping[str, Array]]) -> Array:
    """Return the largest difference at each step (steps + 1,) of recorded rows, name -> (steps + 1, batch, n), to `wanted`.

    It is infinite where shapes or dtypes differ.
    """
    worst = np.zeros(len(wanted))
    for name, found in rows.items():
        due = np.stack([state[name] for state in wanted])
        if found.shape != due.shape or found.dtype != due.dtype:
            return np.full(len(wanted), np.inf)
        gap = np.abs(found - due).max(axis=(1, 2))
        worst = np.maximum(worst, np.where(np.isnan(gap), np.inf, gap))
    return worst


def difference(trace: Trace, wanted: list[State]) -> float:
    """Return the largest difference between a trace and the states that it should have gone through, as `by_step` has it."""
    potentials = by_step(trace.potentials, [state.potentials for state in wanted])
    sensitivities = by_step(trace.sensitivities, [state.sensitivities for state in wanted])
    return float(max(potentials.max(), sensitivities.max()))


def cosine(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """Return the cosine between two gradients of all parameters, by their keys, in [-1, 1]; NaN where one has no length."""
    one, other = (np.concatenate([np.ravel(part[key]).astype(np.float64) for key in wanted]) for part in (found, wanted))
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / lengths, -1.0, 1.0)) if lengths else float("nan")
