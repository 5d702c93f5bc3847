"""The study in words: every number is read from the tables, and nothing is said that they do not hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dyadic_neuro.errors import OptionError
from dyadic_neuro.studies.timestep.comparison import Comparison
from dyadic_neuro.studies.timestep.points import COLUMNS
from dyadic_neuro.studies.timestep.settling import poisson_time, rounding_floor

_FINE = 0.1  # alpha, from which down the settling times of the law are within 5 % of those of continuous time

_HEADING = "What follows is of the sweeps: medians over random tanh chains, unless it speaks of the digits."


def answers(table: Any = None, comparison: Comparison | None = None) -> list[str]:  # noqa: ANN401
    """Return sentences about a table of `sweeps.run` and a `timestep.Comparison`, each only if what it is about was measured.

    The comparison may also be given first, or alone. Where several seeds were measured, numbers are medians over them.
    Raises OptionError for what is neither.
    """
    if isinstance(table, Comparison):
        table, comparison = comparison, table
    if not (comparison is None or isinstance(comparison, Comparison)):
        raise OptionError("comparison", f"{type(comparison).__name__} is none", "pass what timestep.compare returns")
    if table is not None and not set(COLUMNS) <= set(getattr(table, "columns", ())):
        raise OptionError("table", f"{type(table).__name__} is no table of sweeps", "pass what sweeps.run returns")
    said = [] if comparison is None else [*_compared(comparison), *_unsettled(comparison)]
    swept = [] if table is None else list(_swept(table))
    return [*said, *([_HEADING] if swept else []), *swept]


def _swept(table: Any) -> Iterator[str]:  # noqa: ANN401
    refused = table["reason"].fillna("") != ""  # a CSV that was read has NaN for an empty reason
    ran = table[~refused]
    circuits = ran[(ran["what"] == "settling") & ran["threshold"].isna()]
    still = circuits["noise"] == 0
    equal = circuits["spread"] == 0
    prompt = circuits["delay"] == 0
    yield from _unit_steps(circuits[still & equal & prompt])
    yield from _analog(circuits[still & equal & prompt])
    yield from _overshoot(circuits[still & equal & prompt])
    yield from _foretold(circuits[still & equal & prompt])
    yield from _mismatch(circuits[still & prompt])
    yield from _refused(table[refused])
    yield from _noise(circuits[equal & prompt & ~still])
    yield from _delays(circuits[still & equal & ~prompt])
    yield from _events(ran[(ran["what"] == "settling") & ran["threshold"].notna()])
    yield from _windows(ran[ran["what"] == "training"])


def _compared(comparison: Comparison) -> Iterator[str]:
    summary = comparison.summary
    for backend, rows in summary[summary["tolerance"] == summary["tolerance"].min()].groupby("backend", sort=False):
        unit, others = rows[rows["alpha"] == 1].dropna(subset=["steps"]), rows[rows["alpha"] != 1].dropna(subset=["steps"])
        if unit.empty or others.empty:
            continue
        euler = comparison.curves.loc[comparison.curves["backend"] == backend, "predicted"].notna().any()
        called = "unit steps" if euler else "steps of dt = tau"
        one, best, slow = unit.iloc[0], others.loc[others["steps"].idxmin()], others.loc[others["alpha"].idxmin()]
        several = best["alpha"] != slow["alpha"]
        last = f"; alpha = {slow['alpha']:g} takes {slow['steps']:g} steps" if several else ""
        yield (
            f"On {backend}, {called} bring the gradient of this network (D = {one['depth']}) within {one['tolerance']:g} of"
            f" backpropagation's in {one['steps']:g} steps, {one['updates']:,.0f} neuron updates and {one['messages']:,.0f}"
            f" messages a sample. The {'best other' if len(others) > 1 else 'other'} step size, alpha = {best['alpha']:g}, takes"
            f" {best['steps']:g} steps, {best['steps'] / one['steps']:.3g} times as many updates and messages{last}, which are"
            f" {slow['time']:.3g} tau where {called} take {one['time']:g}."
        )
    for (backend, alpha), why in comparison.skipped.items():
        yield f"{backend} did not run alpha = {alpha:g}: {why}."


def _unsettled(comparison: Comparison) -> Iterator[str]:
    lost = comparison.summary[(comparison.summary["alpha"] > 1) & comparison.summary["steps"].isna()]
    for (backend, alpha), rows in lost.groupby(["backend", "alpha"], sort=False):
        level, floor = rows["tolerance"].max(), rounding_floor(comparison.depth, alpha)
        if floor > level:
            yield f"On {backend}, alpha = {alpha:g} does not settle to {level:g}: its transient enlarges rounding to {floor:.1g}."


def _unit_steps(rows: Any) -> Iterator[str]:  # noqa: ANN401
    unit, others = rows[rows["alpha"] == 1], rows[rows["alpha"] != 1]
    keys = ["depth", "tolerance"]
    if unit.empty or others.empty:
        return
    best = _medians(others, [*keys, "alpha"], "steps").groupby(keys).min().rename("other")
    least = _medians(others, [*keys, "alpha"], "time").groupby(keys).min().rename("least")
    both = _medians(unit, keys, "steps").to_frame("unit").join([best, least], how="inner").dropna()
    if both.empty:
        return
    ratio = both["other"] / both["unit"]
    fewest, fastest = int((ratio > 1).sum()), int((both["least"] > both["unit"]).sum())
    yield (
        f"Unit steps took the fewest steps, and so updates and messages, in {fewest} of {len(both)} pairs of depth and tolerance,"
        f" and the least time in tau in {fastest}: the best other step size takes {ratio.min():.3g} to {ratio.max():.3g} times as"
        f" many steps (most at depth {ratio.idxmax()[0]} to {ratio.idxmax()[1]:g})."
    )


def _analog(rows: Any) -> Iterator[str]:  # noqa: ANN401
    depths = rows[rows["alpha"] < 1].groupby("alpha")["depth"].nunique()
    if depths.empty:
        return
    alpha = depths[
        depths == depths.max()
    ].index.min()  # of the step sizes that most depths have, that nearest to an analog circuit
    for tolerance, chosen in rows[rows["alpha"] == alpha].groupby("tolerance", sort=False):
        times = _medians(chosen, ["depth"], "time").dropna()
        if times.empty:
            continue
        listed = ", ".join(f"{time:.3g} at depth {depth}" for depth, time in times.items())
        limit = ", ".join(f"{poisson_time(int(depth), tolerance):.3g}" for depth in times.index)
        nearness = ", close to continuous time," if alpha <= _FINE else ""
        text = f"At alpha = {alpha:g}{nearness} a circuit must settle this many tau to {tolerance:g}: {listed}"
        text += f" (the Poisson law of continuous time, alpha -> 0: {limit})"
        if len(times) > 2:
            slope, offset = np.polyfit(times.index.to_numpy(float), times.to_numpy(), 1)
            worst = float(np.abs(times - slope * times.index - offset).max())
            text += f"; a line through them is {offset:.3g} + {slope:.3g} D, at most {worst:.2g} off"
        yield f"{text}."


def _overshoot(rows: Any) -> Iterator[str]:  # noqa: ANN401
    lost = rows[(rows["alpha"] > 1) & rows["steps"].isna()]
    for (alpha, depth), chosen in lost.groupby(["alpha", "depth"]):
        floor = rounding_floor(int(depth), alpha)
        yield (
            f"With alpha = {alpha:g} a circuit of depth {depth} does not settle to {chosen['tolerance'].max():g} at all: its"
            f" transient enlarges rounding to {floor:.1g}, and the error that was left is {chosen['final_error'].median():.1g}."
        )


def _foretold(rows: Any) -> Iterator[str]:  # noqa: ANN401
    rows = rows.dropna(subset=["steps", "mixture_steps"])
    rows = rows[rows["alpha"] != 1]
    if rows.empty:
        return
    law, mixture = ((rows["steps"] - rows[f"{name}_steps"]) / rows[f"{name}_steps"] for name in ("predicted", "mixture"))
    off = (rows["steps"] - rows["mixture_steps"]).abs()
    within = int(((off <= 1) | (mixture.abs() <= 0.1)).sum())
    yield (
        f"Measured steps are {100 * law.min():+.0f} .. {100 * law.max():+.0f} % from those of the binomial law, and"
        f" {100 * mixture.min():+.0f} .. {100 * mixture.max():+.0f} % from those that the network's own unit steps foretell"
        f" (within 10 % or one step in {within} of {len(rows)} cases)."
    )


def _mismatch(rows: Any) -> Iterator[str]:  # noqa: ANN401
    for (alpha, depth), chosen in rows.groupby(["alpha", "depth"], sort=False):
        spreads = sorted(chosen["spread"].unique())
        if len(spreads) < 2 or spreads[0] > 0:
            continue
        level = _middle(chosen["tolerance"])
        at = chosen[chosen["tolerance"] == level]
        errors, times = _medians(at, ["spread"], "error_at_2d"), _medians(at, ["spread"], "time")
        for spread in spreads[1:]:
            said = [f"an error of {errors[spread]:.2g} after 2D steps"] if alpha == 1 else []
            extra = times[spread] - times[0.0]
            if not np.isnan(extra):
                said.append(f"{extra:+.3g} tau ({100 * extra / times[0.0]:+.0f} %) until {level:g}")
            if said:
                yield f"A mismatch of {100 * spread:g} % at alpha = {alpha:g}, depth {depth}, costs {' and '.join(said)}."


def _refused(rows: Any) -> Iterator[str]:  # noqa: ANN401
    driven = rows["threshold"].notna()
    for (spread, alpha, depth), chosen in rows[~driven].groupby(["spread", "alpha", "depth"], sort=False):
        point = f"a mismatch of {100 * spread:g} %, alpha = {alpha:g}, depth {depth}; {_seeds(chosen)}"
        yield f"Not run ({point}): {chosen['reason'].iloc[0]}."
    for reason, chosen in rows[driven].groupby("reason", sort=False):
        yield f"Not run ({len(chosen)} event-driven circuits): {reason}."


def _seeds(rows: Any) -> str:  # noqa: ANN401
    seeds = rows["seed"].nunique()
    return f"{seeds} {'seed' if seeds == 1 else 'seeds'}"


def _noise(rows: Any) -> Iterator[str]:  # noqa: ANN401
    for (alpha, depth), chosen in rows.groupby(["alpha", "depth"]):
        floors = _medians(chosen, ["noise"], "final_error")
        listed = ", ".join(f"{floor:.2g} with {noise:g}" for noise, floor in floors.items())
        yield f"Noise leaves a relative error of the gradient at alpha = {alpha:g}, depth {depth}: {listed} (std of a free unit)."


def _delays(rows: Any) -> Iterator[str]:  # noqa: ANN401
    for alpha, chosen in rows.dropna(subset=["steps"]).groupby("alpha", sort=False):
        off = ((chosen["steps"] - chosen["predicted_steps"]) / chosen["predicted_steps"]).abs()
        if alpha == 1:
            exact = int((off == 0).sum())
            yield (
                f"With delays unit steps stay exact in finite time: {exact} of {len(chosen)} cases settled in exactly the"
                f" predicted number of steps (largest remaining error {chosen['final_error'].max():.1g})."
            )
        else:
            yield f"With delays at alpha = {alpha:g} the predicted steps were at most {100 * off.max():.0f} % off."


def _events(rows: Any) -> Iterator[str]:  # noqa: ANN401
    for (alpha, depth), chosen in rows.groupby(["alpha", "depth"], sort=False):
        errors, shares = (_medians(chosen, ["threshold"], column) for column in ("final_error", "share"))
        listed = ", ".join(f"{errors[t]:.2g} with {100 * shares[t]:.3g} % ({t:g})" for t in errors.index)
        yield (
            f"Axons that send only when their signal has moved by more than a threshold leave a relative error of the gradient at"
            f" alpha = {alpha:g}, depth {depth}, with so many of the messages of a run that always sends (threshold): {listed}."
        )


def _windows(rows: Any) -> Iterator[str]:  # noqa: ANN401
    for (alpha, depth), chosen in rows.groupby(["alpha", "depth"]):
        accuracy = 100 * _medians(chosen, ["window"], "accuracy")
        due = 2 * depth  # tau
        at = accuracy.index * alpha
        early, late = accuracy[at < due], accuracy[at > due]
        parts = [("too early", early), (f"at 2D = {due}", accuracy[at == due]), ("later", late)]
        said = [f"{name} {_listed(part, alpha)}" for name, part in parts if len(part)]
        if said:
            yield f"Learning on the digits at alpha = {alpha:g} after so many tau a batch, accuracy: {'; '.join(said)}."


def _listed(part: Any, alpha: float) -> str:  # noqa: ANN401
    return ", ".join(f"{value:.1f} % ({window * alpha:g})" for window, value in part.items())


def _medians(rows: Any, keys: list[str], column: str) -> Any:  # noqa: ANN401
    return rows.groupby(keys)[column].median()


def _middle(values: Any) -> float:  # noqa: ANN401
    ordered = sorted(values.dropna().unique(), reverse=True)
    return float(ordered[len(ordered) // 2])
