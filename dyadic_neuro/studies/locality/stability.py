"""Faults and asynchrony of one network, all of it: the tables, and what they say in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.network import Network
from dyadic_neuro.schedule import SCHEDULES
from dyadic_neuro.studies.locality.asynchrony import UNITS, Coins, chain_law
from dyadic_neuro.studies.locality.faults import KINDS, Faults
from dyadic_neuro.studies.locality.recovery import asynchronous, lasting, recover, summary, weights
from dyadic_neuro.studies.tables import frame

_RATE = 0.1  # of every kind of fault
_ROUNDING = 1e-13  # errors that words call nothing
_PROBABILITY = 0.5  # of an update
_QUANTILES = (0.1, 0.5, 0.9)
_SPREAD = {
    "per": "object",
    "probability": "float64",
    "cases": "int64",
    "mean": "float64",
    "predicted_mean": "float64",
    "law_mean": "float64",
    **{f"{kind}q{int(100 * q)}": "float64" for q in _QUANTILES for kind in ("", "law_")},
    "other": "int64",
    "late": "int64",
}


@dataclass(frozen=True, eq=False)
class Stability:
    """What faults did to a network of depth `depth`: DataFrames as `recovery` describes them, one below the other.

    `recovery` has the cases of `recover` for each kind of fault and for all at once ("several"), under both schedules;
    `asynchrony` those of `asynchronous` for a coin a population and a coin a neuron, `spread` their distribution beside the
    closed form where there is one; `lasting` and `weights` are of the functions of these names.
    """

    depth: int
    recovery: Any
    lasting: Any
    asynchrony: Any
    spread: Any
    weights: Any

    @property
    def tables(self) -> dict[str, Any]:
        """The tables by the names of their CSV files."""
        parts = ("recovery", "lasting", "asynchrony", "spread", "weights")
        return {f"{name}.csv": getattr(self, name) for name in parts}

    def sentences(self) -> list[str]:
        """Return what was measured in words; every number is read from the tables."""
        return [*self._recovered(), *self._lasting(), *self._asynchronous(), *self._weights()]

    def _recovered(self) -> Iterator[str]:
        found, due = summary(self.recovery), 2 * self.depth
        for schedule, rows in found.groupby("schedule", sort=False):
            within = rows["cases"].sum() - self._beyond(schedule)
            limit = f"2D = {due} clean steps" if schedule == "free" else "the end of the next whole window"
            listed = ", ".join(f"{row.kind} {row.median:g} (at most {row.max:g})" for row in rows.itertuples())
            yield (
                f"Under {schedule}, every state was exact again, bit for bit, by {limit} after the last fault in {within:,} of"
                f" {rows['cases'].sum():,} cases, and later than the graph foretells in {rows['late'].sum() or 'none'}. Steps"
                f" after the last fault, the median: {listed}."
            )
        off = self.recovery["control"].max()
        close = f"within {off:.1g} (relative)" if off else "bit for bit"
        yield f"The state to which they came back is backpropagation's, {close}."

    def _beyond(self, schedule: str) -> int:
        rows = self.recovery[self.recovery["schedule"] == schedule]
        return int((~(rows["steps"] <= rows["bound"])).sum())

    def _lasting(self) -> Iterator[str]:
        for transport, rows in self.lasting.groupby("transport", sort=False):
            how = "resend every step" if transport == "every step" else "send only changes"
            left = (
                f"{kind} {' and '.join(dict.fromkeys(f'{100 * wrong:.4g} %' for wrong in chosen['wrong']))}"
                for kind, chosen in rows.groupby("kind", sort=False)
            )
            yield (
                f"Where populations {how}, and {100 * rows['rate'].iloc[0]:g} % of the messages go wrong for 2D steps, so many"
                f" cases are still wrong after {' and '.join(map(str, rows['clean'].unique()))} clean steps: {', '.join(left)}."
            )

    def _asynchronous(self) -> Iterator[str]:
        for row in self.spread.itertuples():
            law = f", and by the negative binomial law {row.law_mean:.4g}" if np.isfinite(row.law_mean) else ""
            others = f"{row.other} of {row.cases} cases took another number of steps than their coins foretell, {row.late} more"
            yield (
                f"With updates at random, a coin of p = {row.probability:g} for each {row.per}, all was exact after"
                f" {row.mean:.4g} steps on average (half of the cases within {row.q50:g}, nine of ten within {row.q90:g}): the"
                f" coins alone foretell {row.predicted_mean:.4g}{law}. "
                + (f"{others}." if row.other else "Every case took as many as its coins foretell.")
            )

    def _weights(self) -> Iterator[str]:
        said = []
        for copies, rows in self.weights.dropna(subset="error").groupby("copies", sort=False):
            errors = dict.fromkeys(f"{e:.2g}" if e > _ROUNDING else "0 but for rounding" for e in rows["error"])
            which = "in both copies alike" if copies == "both" else f"in the {copies} copies alone"
            cosine = rows["cosine"].iloc[-1]
            turned = f" (cosine {cosine:.4g})" if cosine < 1 - _ROUNDING else ""
            said.append(f"{which} {' and '.join(errors)}{turned}")
        if said:
            amount, steps = self.weights["amount"].iloc[0], " and ".join(map(str, self.weights["steps"].unique()))
            yield (
                f"With weights corrupted by {100 * amount:g} %, the error of the gradient, relative to that of the forward"
                f" weights, is after {steps} steps: {', '.join(said)}."
            )


def study(network: Network, inputs: ArrayLike, targets: ArrayLike, *, cases: int = 200, seed: int = 0) -> Stability:
    """Return what faults do to the network, `cases` cases of each kind. Raises as `recovery.recover`."""
    steps = network.relaxation_steps
    kinds: list[dict[str, Any]] = [{kind: _RATE} for kind in KINDS] + [dict.fromkeys(KINDS, _RATE)]
    runs = [
        recover(network, inputs, targets, Faults(steps=steps, seed=seed, **rates), cases=cases, schedule=schedule, seed=seed)
        for schedule in SCHEDULES
        for rates in kinds
    ]
    coins = [Coins(_PROBABILITY, per, seed) for per in UNITS]
    flipped = [asynchronous(network, inputs, targets, coin, cases=cases, seed=seed) for coin in coins]
    return Stability(
        network.depth,
        _joined(runs),
        lasting(network, inputs, targets, rate=_RATE, cases=cases, seed=seed),
        _joined(flipped),
        frame(_SPREAD, [_spread(network, coin, table) for coin, table in zip(coins, flipped, strict=True)]),
        weights(network, inputs, targets, seed=seed),
    )


def _spread(network: Network, coins: Coins, table: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the distribution of the steps to exact, and the law's quantiles: the first n at which P(T <= n) is that much."""
    steps, predicted = table["steps"].to_numpy(), table["predicted"].to_numpy()
    law = chain_law(network, coins, np.arange(int(20 * network.relaxation_steps / coins.probability)))
    row = {
        "per": coins.per,
        "probability": coins.probability,
        "cases": len(table),
        "mean": float(steps.mean()),
        "predicted_mean": float(predicted.mean()),
        "law_mean": np.nan if law is None else network.relaxation_steps / coins.probability,
        "other": int((steps != predicted).sum()),
        "late": int((~(steps <= predicted)).sum()),
    }
    for q in _QUANTILES:
        row[f"q{int(100 * q)}"] = float(np.quantile(steps, q, method="inverted_cdf"))
        row[f"law_q{int(100 * q)}"] = np.nan if law is None else float(np.argmax(law >= q))
    return row


def _joined(tables: list[Any]) -> Any:  # noqa: ANN401
    import pandas as pd

    return pd.concat(tables, ignore_index=True)
