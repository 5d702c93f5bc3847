"""The update lock: from which step on a parameter's gradient is exact, and what an update before it costs.

With D the depth of the network, d(v) and h(v) depth and height of a population: the gradient s_v(t) r_k(t - 1) of k -> v is
exact from step D + 1 + h(v) on, because s_v is exact from there, and r_k(t - 1) from d(k) + 1 <= d(v) <= D. That of a bias of v
is exact from there too. When it may be used is another question, that of `release`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import DivergedError, OptionError
from dyadic_neuro.network import Network, in_floats
from dyadic_neuro.oracle import backprop
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.tables import frame
from dyadic_neuro.trace import Trace, relative_error
from dyadic_neuro.training import train

COLD, WARM = "cold", "warm"
WHOLE = "all"
LOCK = {"parameter": "object", "layer": "int64", "predicted": "int64", "measured": "float64"}
EARLY = {"start": "object", "step": "int64", "parameter": "object", "cosine": "float64", "error": "float64"}
WINDOWS = {"window": "int64", "loss": "float64", "accuracy": "float64", "reason": "object"}

_EXACT = {"float64": 1e-9, "float32": 1e-4}  # of relative errors: far above rounding, far below what a step too early leaves
_ROUNDING = 1e-13  # errors that words leave out
_MORE = 2  # steps after 2D in which gradients have to stay exact
_MANY = 8  # rows: more are not all told, or not all measured
_NAME = "lock"
_STATEMENT = "every gradient is exact from step D + 1 + height of its target on"


# When a gradient is exact


def lock(trace: Trace, tolerance: float | None = None) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return for each plastic parameter the step from which its gradient stays exact, predicted and `measured` in the trace.

    `layer` is the depth of the population that it drives, `measured` NaN if the last gradient is wrong. Exact is what differs
    from backpropagation's by less than `tolerance`, relative to its largest entry (None: 1e-9, or 1e-4 in single precision).
    Raises OptionError for a trace that does not hold every step, CycleError, MissingExtraError.
    """
    network = in_floats(trace.network)
    predicted, measured = _predicted(trace), _measured(trace, _tolerance(network) if tolerance is None else tolerance)
    layers = _by_user(trace, {key: network.depths[target_of(network, key)] for key in network.plastic})
    return frame(
        LOCK,
        [
            {"parameter": key, "layer": layers[key], "predicted": due, "measured": measured[key] or np.nan}
            for key, due in predicted.items()
        ],
    )


def claim(subject: Subject) -> Claim:
    """Return whether every gradient is exact from its predicted step on, from a random state, until two steps after 2D.

    A gradient that is exact earlier breaks no law, but is told: it may be zero, or not of a local dynamics. Raises as
    `Subject.relax`, and MissingExtraError.
    """
    return measured(subject)[0]


def measured(subject: Subject) -> tuple[Claim, Any]:
    """Return the claim, and the table of `lock` that it was judged by, without rows where nothing is claimed."""
    why = _unclaimed(subject)
    if why:
        return Claim.nothing(_NAME, _STATEMENT, why), frame(LOCK, [])
    steps, samples = subject.running.relaxation_steps + _MORE, len(subject.inputs)
    trace = subject.relax(steps, initial=subject.state(samples))
    table = lock(trace, max(_tolerance(subject.network), subject.backend.tolerance))
    late, hasty = [], []
    for key, due, step in table[["parameter", "predicted", "measured"]].itertuples(index=False):
        if np.isnan(step):
            late.append(f"the gradient of {key} is wrong after {steps} steps, and was to be exact from {due} on")
        elif step > due:
            late.append(f"the gradient of {key} is exact from step {step:g} on, and was to be from {due}")
        elif step < due:
            hasty.append(f"{key} from step {step:g}, not {due}")
    span = _span(table["predicted"].min(), table["predicted"].max())
    found = f"{len(table) - len(late)} of {len(table)} gradients are, predicted for {span}"
    found += f"; {len(hasty)} are exact even earlier ({hasty[0]})" if hasty else "; none is earlier"
    return Claim.judged(_NAME, _STATEMENT, found, late[0] if late else None), table


def _unclaimed(subject: Subject) -> str | None:
    """Return why nothing is claimed of a subject, or None."""
    backend, substrate = subject.backend, getattr(subject.backend, "substrate", None)
    if subject.running.cycle:
        return f"the network has the cycle {' -> '.join(subject.running.cycle)}, and no step from which anything is exact"
    if backend.alpha != 1.0:
        return f"the backend's dt / tau is {backend.alpha:g}, with which gradients only approach backpropagation's"
    if getattr(backend, "cosine", None) is not None:
        return "the backend approximates, so that no gradient is ever exact"
    if substrate is not None and not substrate.ideal:
        return "the backend's circuit has time constants, delays or noise of its own, and other steps"
    return None if subject.running.plastic else "no parameter of the network learns"


def _predicted(trace: Trace) -> dict[str, int]:
    return _by_user(trace, dues(in_floats(trace.network)))


def dues(network: Network) -> dict[str, int]:
    """Return for each plastic parameter the step from which its gradient is exact: D + 1 + height of its target.

    Raises CycleError.
    """
    return {key: network.depth + 1 + network.heights[target_of(network, key)] for key in network.plastic}


def target_of(network: Network, key: str) -> str:
    """Return the population whose sensitivity the gradient of a parameter reads."""
    return key.removesuffix(".bias") if key.endswith(".bias") else network.projection(key).target


def _by_user(trace: Trace, numbers: Mapping[str, int]) -> dict[str, int]:
    """Return numbers by the parameters that run by those of the user: the largest, where a chip had to divide a fan-in."""
    spread = {key: np.full(trace.network.parameters[key].shape, number) for key, number in numbers.items()}
    return {key: int(values.max()) for key, values in trace.restore(spread).items()}


def _measured(trace: Trace, tolerance: float) -> dict[str, int | None]:
    """Return the step from which each gradient stays exact, None if it is wrong in the end.

    In the last step the gradients that the backend itself read count as well.
    """
    wanted = trace.restore(backprop(in_floats(trace.network), trace.inputs, trace.targets))
    read = [*(trace.gradients_at(t) for t in range(1, trace.steps + 1)), trace.gradients]
    errors = [relative_error(gradients, wanted) for gradients in read]
    found: dict[str, int | None] = {}
    for key in wanted:
        wrong = [t for t, error in enumerate(errors, 1) if not error[key] <= tolerance]  # NaN is wrong
        first = 1 + max(wrong, default=0)
        found[key] = first if first <= trace.steps else None
    return found


def _tolerance(network: Network) -> float:
    return _EXACT[str(np.dtype(network.dtype))]


# What haste costs


def early(
    network: Network,
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    *,
    schedule: str = "free",
    samples: int = 8,
    seed: int = 0,
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return how far the gradients that synapses read in steps 1 .. 2D are from backpropagation's, on the reference backend.

    `cosine` between the two and relative `error` (of norms), for each `parameter` and for all of them as one vector ("all");
    where one of the two is 0 there is no cosine, and no error relative to 0 (NaN). `start` is "cold", from the zero state, or
    "warm", from what the samples before left: each sample of the batch follows the one before it, the first the last. Without
    data the samples are random. Where nothing is plastic the table is empty. Raises as `Subject.of`, OptionError (inputs) for a
    single sample, CycleError and MissingExtraError.
    """
    subject = Subject.of(network, inputs, targets, schedule=schedule, samples=samples, seed=seed)
    x, y, steps = subject.inputs, subject.targets, network.relaxation_steps
    if len(x) < 2:
        raise OptionError("inputs", "hold one sample, and none before it to start from", "give at least two")
    left = subject.relax(steps, inputs=np.roll(x, 1, axis=0), targets=np.roll(y, 1, axis=0)).final
    starts: list[tuple[str, State | None]] = [(COLD, None), (WARM, left)]
    wanted, parts = backprop(network, x, y), []
    for start, initial in starts:
        trace = subject.relax(steps, initial=initial)
        for t in range(1, steps + 1):
            found = trace.gradients_at(t)
            for key in (WHOLE, *wanted) if wanted else ():
                cosine, error = apart(_vector(found, key), _vector(wanted, key))
                parts.append({"start": start, "step": t, "parameter": key, "cosine": cosine, "error": error})
    return frame(EARLY, parts)


def windows(
    network: Network,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    lengths: Sequence[int] | None = None,
    *,
    epochs: int = 1,
    batch_size: int | None = None,
    learning_rate: float = 0.1,
    seed: int = 0,
    backend: str | Backend = "reference",
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Train once for each `window`, the steps that a batch is held before all weights change, and compare.

    None: 1 .. 2D, of more than eight 1, 2D - 1, 2D, and D with its half and one and a half.

    `loss` is the mean over the last epoch, `accuracy` that of the test data where the data has some, otherwise of the last epoch
    (NaN without classes). A training that diverges has its `reason` instead. Raises as `train`, and MissingExtraError.
    """
    parts = []
    for window in _lengths(network.relaxation_steps) if lengths is None else lengths:
        loss = accuracy = np.nan
        reason = ""
        try:
            last = train(
                network,
                data,
                backend=backend,
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                seed=seed,
                window=window,
                progress=False,
            ).history[-1]
        except DivergedError as error:
            reason = str(error)
        else:
            right = last.accuracy if last.validation is None else last.validation
            loss, accuracy = last.loss, np.nan if right is None else right
        parts.append({"window": window, "loss": loss, "accuracy": accuracy, "reason": reason})
    return frame(WINDOWS, parts)


def _lengths(last: int) -> list[int]:
    depth = last // 2
    return list(range(1, last + 1)) if last <= _MANY else [1, depth // 2, depth, depth + depth // 2, last - 1, last]


def _vector(gradients: Mapping[str, Array], key: str) -> Array:
    return np.concatenate([g.ravel() for g in gradients.values()]) if key == WHOLE else gradients[key].ravel()


def apart(found: Array, wanted: Array) -> tuple[float, float]:
    """Return the cosine between two vectors, and their distance relative to the second: NaN where one has no length."""
    one, other = float(np.linalg.norm(found)), float(np.linalg.norm(wanted))
    cosine = float(np.clip(found / one @ (wanted / other), -1.0, 1.0)) if one and other else np.nan
    return cosine, float(np.linalg.norm(found - wanted)) / other if other else np.nan


# In words


def sentences(
    locked: Any = None,  # noqa: ANN401
    released: Any = None,  # noqa: ANN401
    haste: Any = None,  # noqa: ANN401
    trained: Any = None,  # noqa: ANN401
) -> list[str]:
    """Return what the tables of `lock`, `release.release`, `early` and `windows` hold, in words: each only if it is given."""
    parts = [(locked, _locked), (released, _released), (haste, _hasty), (trained, _trained)]
    return [sentence for table, words in parts if table is not None and len(table) for sentence in words(table)]


def _locked(table: Any) -> Iterator[str]:  # noqa: ANN401
    right = table["measured"] == table["predicted"]
    said = f"{right.sum()} of {len(table)} gradients are exact from their predicted step on"
    if right.any():
        ordered = table[right].sort_values("measured", kind="stable")
        ends = [f"{row['parameter']} at step {row['measured']:g}" for _, row in ordered.iloc[[0, -1]].iterrows()]
        said += f", first {ends[0]} and last {ends[1]}" if right.sum() > 1 else f": {ends[0]}"
    others = [
        f"{row['parameter']} {'never' if np.isnan(row['measured']) else format(row['measured'], 'g')} ({row['predicted']})"
        for _, row in table[~right].iterrows()
    ]
    more = f" and {len(others) - _MANY} more" if len(others) > _MANY else ""
    yield said + (f"; the others from step (predicted): {', '.join(others[:_MANY])}{more}." if others else ".")


def _released(table: Any) -> Iterator[str]:  # noqa: ANN401
    right, names = table["usable_from"] == table["usable_predicted"], table["parameter"].nunique()
    which = f" (of {names} parameters out of {table['of'].iloc[0]})" if names < table["of"].iloc[0] else ""
    early, late = ((table["usable_from"] * way > table["usable_predicted"] * way).sum() for way in (-1, 1))
    others = f"; {early} already earlier, {late} only later" if early or late else ""
    yield f"{right.sum()} of {len(table)} copies{which} may take their update from the predicted step on, and not before{others}."
    said: dict[str, dict[str, list[str]]] = {}
    for (schedule, read), rows in table.groupby(["schedule", "read"], sort=False):
        waits = (rows["usable_from"] - rows["exact_from"]).groupby(rows["copy"], sort=False).max()
        spans = rows.groupby("copy", sort=False)["usable_from"].agg(["min", "max"])
        later = {where: f", up to {wait} later" if wait else "" for where, wait in waits.items()}
        listed = "; ".join(f"{where} at {_span(*span)}{later[where]}" for where, *span in spans.itertuples())
        said.setdefault(listed, {}).setdefault(schedule, []).append(read)
    for listed, ways in said.items():
        how = "; under ".join(f"{schedule} with gradients read {' or '.join(reads)}" for schedule, reads in ways.items())
        more = ", or as much later as is said" if "later" in listed else ""
        yield f"Under {how}: copies may change as soon as their update is exact{more}: {listed}."


def _hasty(table: Any) -> Iterator[str]:  # noqa: ANN401
    last = table["step"].max()
    for start, rows in table[table["parameter"] == WHOLE].groupby("start", sort=False):
        pointing = rows.dropna()
        if not len(pointing):
            yield f"From a {start} start there is no direction to compare: the gradient is 0, or backpropagation's is."
            continue
        wrong = pointing[pointing["step"] <= pointing.loc[pointing["error"] > _ROUNDING, "step"].max()]
        told = wrong if len(wrong) <= _MANY else wrong[wrong["step"].isin([*wrong["step"].iloc[[0, -1]], *_lengths(last)])]
        listed = ", ".join(f"{row.cosine:.3f} ({row.error:.2g}) in step {row.step}" for row in told.itertuples())
        right = [step for step in pointing["step"] if step not in set(wrong["step"])]
        said = "the cosine of the gradient that synapses read with backpropagation's (and its relative error) is"
        parts = [f"{said} {listed}"] if listed else []
        parts += [f"from step {right[0]} on the gradient is backpropagation's, but for rounding"] if right else []
        yield f"From a {start} start {'; '.join(parts)}, where 2D is {last}."


def _trained(table: Any) -> Iterator[str]:  # noqa: ANN401
    said = []
    for row in table.itertuples():
        right = "" if np.isnan(row.accuracy) else f", {100 * row.accuracy:.1f} % right"
        said.append(f"{row.window}: {'diverged' if row.reason else format(row.loss, '.3g') + right}")
    yield f"Trained with windows of so many steps, the loss of the last epoch is: {'; '.join(said)}."


def _span(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"steps {first} to {last}"
