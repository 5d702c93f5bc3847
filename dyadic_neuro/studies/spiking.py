"""How the gradients of spiking populations approach backpropagation's with more neurons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import resolve, runs_on
from dyadic_neuro.backends.nengo import Nengo
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop
from dyadic_neuro.relaxation import prepare

NEURONS = (25, 50, 100, 200)


@dataclass(frozen=True)
class Row:
    """One run: `error` is |g - g*| / |g*| of the gradients of all parameters as one vector, `cosine` that between g and g*.

    `neurons` are those of one dimension, `messages` what went along projections: spikes, but for the input. `build_seconds`
    made the circuit, `run_seconds` ran it.
    """

    neurons: int
    seed: int
    error: float
    cosine: float
    messages: int
    build_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class Trend:
    """Runs over numbers of neurons, and the fit error = `factor` * neurons ** `exponent`.

    By least squares on logarithms over all runs; `deviation` is the standard error of the exponent (None for two runs). `ran`
    says what really ran.
    """

    rows: tuple[Row, ...]
    factor: float
    exponent: float
    deviation: float | None
    ran: str

    def records(self) -> list[dict[str, Any]]:
        """Return the runs as plain rows, name -> number."""
        return [asdict(row) for row in self.rows]

    def __str__(self) -> str:
        lines = [
            f"{'neurons':>8} {'error':>9} {'cosine':>9} {'messages':>9} {'build s':>8} {'run s':>7}   (medians of the seeds)"
        ]
        for count in dict.fromkeys(row.neurons for row in self.rows):
            chosen = [row for row in self.rows if row.neurons == count]
            fields = ("error", "cosine", "messages", "build_seconds", "run_seconds")
            error, cosine, sent, build, run = (float(np.median([getattr(row, field) for row in chosen])) for field in fields)
            lines.append(f"{count:8} {error:9.2e} {cosine:9.6f} {sent:9.0f} {build:8.2f} {run:7.2f}")
        sure = "" if self.deviation is None else f", the exponent +- {self.deviation:.2f}"
        lines.append(f"error = {self.factor:.3g} N^{self.exponent:.2f}{sure}; {self.ran}")
        return "\n".join(lines)


def trend(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    neurons: Sequence[int] = NEURONS,
    *,
    seed: int = 0,
    repeats: int = 3,
    **options: Any,  # noqa: ANN401
) -> Trend:
    """Relax a batch on spiking populations of each of the numbers of neurons per dimension, and fit the trend of the error.

    Each is run with `repeats` seeds from `seed` on, which draw the neurons. `options` are those of `backends.Nengo("spiking")`
    (neuron_type, tau, dt, average, calibration). Raises OptionError, and as `relax`.
    """
    counts = _numbers(neurons)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise OptionError("repeats", f"{repeats!r} is not a number of runs", "use an integer of at least 1")
    backends = [
        (n, s, Nengo("spiking", neurons_per_dimension=n, seed=s, **options)) for n in counts for s in _seeds(seed, repeats)
    ]
    wanted = backprop(network, inputs, targets)
    rows = [_run(network, inputs, targets, wanted, n, s, backend) for n, s, backend in backends]
    factor, exponent, deviation = _fit([row.neurons for row in rows], [row.error for row in rows])
    return Trend(tuple(rows), factor, exponent, deviation, runs_on(backends[0][2]))


def _numbers(neurons: Sequence[int]) -> list[int]:
    found = sorted(set(neurons)) if isinstance(neurons, Sequence) and not isinstance(neurons, str) else []
    if len(found) < 2:
        raise OptionError("neurons", f"{neurons!r} are not two numbers, which a trend takes", f"use for example {NEURONS}")
    return found


def _seeds(seed: int, repeats: int) -> range:
    return range(seed, seed + repeats)


def _run(
    network: Network, inputs: ArrayLike, targets: ArrayLike, wanted: Mapping[str, Array], neurons: int, seed: int, backend: Nengo
) -> Row:
    simulator = resolve(backend)
    prepared = partial(prepare, network, inputs, targets, backend_alpha=backend.alpha, record="last")
    one, whole = prepared(steps=1), prepared(settling=backend.settling_steps)
    with simulator.open(network) as session:
        began = time.perf_counter()
        session.relax(one)  # builds the circuit, which serves the whole run too
        built = time.perf_counter()
        trace = session.relax(whole)
        ran = time.perf_counter()
    found, right = (np.concatenate([gradients[key].ravel() for key in wanted]) for gradients in (trace.gradients, wanted))
    size = float(np.linalg.norm(right))
    error = float(np.linalg.norm(found - right)) / size
    cosine = float(found @ right) / (float(np.linalg.norm(found)) * size)
    return Row(neurons, seed, error, cosine, trace.messages.total(), built - began, ran - built)


def _fit(neurons: Sequence[int], errors: Sequence[float]) -> tuple[float, float, float | None]:
    """Return factor, exponent and the exponent's standard error of errors = factor * neurons ** exponent."""
    x, y = np.log(neurons), np.log(errors)
    centered = x - x.mean()
    exponent = float(centered @ y / (centered @ centered))
    rest = y - y.mean() - exponent * centered
    freedom = len(x) - 2
    deviation = float(np.sqrt(rest @ rest / freedom / (centered @ centered))) if freedom else None
    return float(np.exp(y.mean() - exponent * x.mean())), exponent, deviation
