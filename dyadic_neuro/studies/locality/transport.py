"""Weight transport: what wrong copies of W^T cost, and how a common weight decay puts them right.

A forward copy W and a copy B of W^T read the same two factors, and change by the same rule. Whatever they learn, right or
wrong, B - W^T stays what it was; with a weight decay it shrinks by the factor 1 - learning rate * decay in every update (Kolen
and Pollack 1994; Akrout et al. 2019, arXiv 1904.05391). Without decay learning may go on all the same: W comes to point along
B (feedback alignment: Lillicrap et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import DataError, DivergedError, OptionError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import accuracy, backprop, mean_loss
from dyadic_neuro.relaxation import is_real
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.tables import frame, need_pandas
from dyadic_neuro.training import check_options, train

EXACT, NOISE, SIGN, RANDOM = "exact", "noise", "sign", "random"
KINDS = ((EXACT, 0.0), (NOISE, 0.01), (NOISE, 0.1), (NOISE, 1.0), (SIGN, 0.0), (RANDOM, 0.0))
DECAYS = (0.0, 0.01)
_ROUNDING = 1e-9  # degrees: words call less of them nothing
ALL = "all"
"""The gradient of all parameters as one vector."""

ANGLES = {"kind": "object", "amount": "float64", "parameter": "object", "layer": "int64", "cosine": "float64", "angle": "float64"}
ALIGNMENT = {
    "kind": "object",
    "amount": "float64",
    "decay": "float64",
    "epoch": "int64",
    "updates": "int64",
    "cosine": "float64",
    "angle": "float64",
    "copies": "float64",
    "distance": "float64",
    "gap": "float64",
    "law": "float64",
    "rounding": "float64",
    "loss": "float64",
    "accuracy": "float64",
    "test_accuracy": "float64",
}


def wrong_copies(network: Network, kind: str, seed: int, amount: float = 0.1) -> dict[str, Array]:
    """Return a W^T copy (n_source, n_target) for every plastic projection that has one: what `backward=` takes.

    - "exact": W^T
    - "noise": W^T and normal noise, `amount` times the root mean square of W
    - "sign": the signs of W^T, all of the mean size of W
    - "random": normal weights of their own, of the root mean square of W

    Fixed projections keep W^T: nothing that is learned could put their copies right. Raises UnknownNameError (kind),
    OptionError (amount, seed).
    """
    if kind not in [EXACT, NOISE, SIGN, RANDOM]:
        raise UnknownNameError("kind", f"{kind!r} is no kind of copies", f"use one of {[EXACT, NOISE, SIGN, RANDOM]}")
    if not is_real(amount) or amount < 0:
        raise OptionError("amount", f"{amount!r} is no amount of noise", "use a number of at least 0, the noise relative to W")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError("seed", f"{seed!r} is no seed", "use an integer of at least 0")
    network.need_weights()
    rng, found = np.random.default_rng([seed, 5]), {}
    for name, copy in feedback_copies(network).items():
        if copy.plastic:
            weights = np.asarray(copy.weights, np.float64)
            size = float(np.sqrt(np.mean(weights**2)))
            drawn = rng.normal(0.0, size, weights.shape)  # for every kind: those of one seed share it
            made = {
                EXACT: weights,
                NOISE: weights + amount * drawn,
                SIGN: np.sign(weights) * np.abs(weights).mean(),
                RANDOM: drawn,
            }
            found[name] = made[kind].astype(np.dtype(network.dtype))
    return found


def angles(
    network: Network,
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    *,
    kinds: Sequence[str | tuple[str, float]] = KINDS,
    backend: str | Backend = "reference",
    samples: int = 32,
    seed: int = 0,
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return how far gradients with wrong copies are from backpropagation's: the cosine, and the angle in degrees.

    `kinds` are names, or pairs (name, amount). For each there is a row a parameter, `layer` being the depth of the population
    that it drives, and one for "all" of them as one vector (layer 0). They are NaN where a gradient is zero. Without data
    `samples` random ones are drawn.

    Raises as `Subject.of` and `wrong_copies`, CycleError, OptionError for a network without a plastic W^T copy, and
    MissingExtraError.
    """
    need_pandas()
    subject = Subject.of(network, inputs, targets, backend=backend, samples=samples, seed=seed)
    chosen = _chosen(network, kinds, seed)
    wanted = backprop(network, subject.inputs, subject.targets)
    layers = {key: network.depths[key.removesuffix(".bias").split("->")[-1]] for key in wanted}
    rows = []
    for kind, amount, copies in chosen:
        found = _gradients(subject, network, copies, len(subject.inputs))
        for key, layer in {**layers, ALL: 0}.items():
            cosine, angle = _between(found, wanted, list(wanted) if key == ALL else [key])
            rows.append({"kind": kind, "amount": amount, "parameter": key, "layer": layer, "cosine": cosine, "angle": angle})
    return frame(ANGLES, rows)


def alignment(
    network: Network,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    *,
    kinds: Sequence[str | tuple[str, float]] = KINDS,
    decays: Sequence[float] = DECAYS,
    epochs: int = 10,
    learning_rate: float = 0.2,
    batch_size: int = 20,
    seed: int = 0,
    backend: str | Backend = "reference",
    schedule: str = "free",
    samples: int = 64,
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return how learning goes from wrong copies, with and without weight decay, before the first epoch (0) and after each.

    - `cosine`, `angle`: of the gradient of all parameters to backpropagation's, on the first `samples` of the data
    - `copies`: the cosine of all copies B to all W^T; `distance`: |B - W^T| / |W|; both NaN where W is 0
    - `gap`: |B - W^T|; `law`: that of epoch 0, times (1 - learning rate * decay) ^ updates; `rounding`: what sums in
      floating point may leave between the two
    - `loss`, `accuracy`, `test_accuracy`: of a forward sweep over the data, accuracies NaN without classes, or a test part

    Each epoch is a `train` of its own, which goes on with the copies of the one before, in the order that seed + epoch - 1
    draws. A run that diverges ends with a row of NaN. Under "wavefront" windows end with the same gradients, and cost far less.

    Raises, before anything runs, as `angles`, `train` and `check_options`.
    """
    need_pandas()
    if not isinstance(data, Dataset) and not (isinstance(data, tuple) and len(data) == 2):
        raise DataError("data", f"is {type(data).__name__}", "pass a pair (inputs, targets) or a Dataset")
    inputs, targets = (data.inputs, data.targets) if isinstance(data, Dataset) else data
    subject = Subject.of(network, inputs, targets, backend=backend, schedule=schedule, seed=seed)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise OptionError("samples", f"{samples!r} is no size of a batch", "use an integer of at least 1")
    for decay in decays:
        check_options(len(subject.inputs), epochs, batch_size, learning_rate, seed, decay)
    test = (data.test_inputs, data.test_targets) if isinstance(data, Dataset) else None
    rows: list[dict[str, Any]] = []
    for kind, amount, copies in _chosen(network, kinds, seed):
        for decay in decays:
            settings = {"batch_size": batch_size, "learning_rate": learning_rate, "weight_decay": float(decay)}
            measured = _epochs(subject, copies, epochs, settings, test, samples)
            rows += [{"kind": kind, "amount": amount, "decay": decay, **row} for row in measured]
    return frame(ALIGNMENT, rows)


def answers(angled: Any = None, aligned: Any = None) -> list[str]:  # noqa: ANN401
    """Return sentences about a table of `angles` and one of `alignment`, each only if what it is about was measured.

    Raises OptionError for what is no such table.
    """
    for field, table, columns, maker in (("angled", angled, ANGLES, "angles"), ("aligned", aligned, ALIGNMENT, "alignment")):
        if table is not None and not set(columns) <= set(getattr(table, "columns", ())):
            raise OptionError(field, f"{type(table).__name__} is no table of it", f"pass what transport.{maker} returns")
    return [*([] if angled is None else _angled(angled)), *([] if aligned is None else _aligned(aligned))]


# Measuring


def _chosen(network: Network, kinds: Sequence[str | tuple[str, float]], seed: int) -> list[tuple[str, float, dict[str, Array]]]:
    """Return (kind, amount, copies) of each kind. Raises OptionError, UnknownNameError."""
    found = []
    for chosen in kinds:
        pair = (chosen, 0.1 if chosen == NOISE else 0.0) if isinstance(chosen, str) else chosen
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise OptionError("kinds", f"{chosen!r} is no kind of copies", "use names, or pairs such as ('noise', 0.1)")
        found.append((*pair, wrong_copies(network, pair[0], seed, pair[1])))
    if not found:
        raise OptionError("kinds", "are none", f"use some of {list(KINDS)}")
    if not found[0][2]:
        raise OptionError(
            "network",
            "has no plastic W^T copy, and nothing to measure",
            "use one with plastic projections from hidden populations",
        )
    return found


def _gradients(subject: Subject, network: Network, copies: Mapping[str, Array], samples: int) -> Mapping[str, Array]:
    """Return the gradients that a network reads off with these copies, on the first samples of the subject's data."""
    x, y = subject.inputs[:samples], subject.targets[:samples]
    return subject.relax(None, network=network, inputs=x, targets=y, backward=copies, record="last").gradients


def _epochs(
    subject: Subject,
    copies: Mapping[str, Array],
    epochs: int,
    settings: Mapping[str, Any],
    test: tuple[Array, Array] | None,
    samples: int,
) -> Iterator[dict[str, Any]]:
    """Learn epoch by epoch, and yield what there is to be seen before the first and after each."""
    network, data, first = subject.network, (subject.inputs, subject.targets), None
    windows, eps = len(subject.inputs) // settings["batch_size"], float(np.spacing(np.ones((), network.dtype)))
    shrink = 1.0 - settings["learning_rate"] * settings["weight_decay"]
    for epoch in range(epochs + 1):
        if epoch:
            try:
                order: dict[str, Any] = {"seed": subject.seed + epoch - 1, "backward": copies, "progress": False}
                result = train(network, data, backend=subject.backend, schedule=subject.schedule, **order, **settings)
            except DivergedError:
                yield dict.fromkeys(list(ALIGNMENT)[5:], np.nan) | {"epoch": epoch, "updates": epoch * windows}
                return
            network, copies = result.network, {name: np.asarray(result.copies[name].backward) for name in copies}
        x, y = (part[:samples] for part in data)
        wanted, transposes = backprop(network, x, y), wrong_copies(network, EXACT, 0)
        cosine, angle = _between(_gradients(subject, network, copies, samples), wanted, list(wanted))
        gap, length = _length({name: copies[name] - transposes[name] for name in copies}), _length(transposes)
        first, updates = gap if first is None else first, epoch * windows
        yield {
            "epoch": epoch,
            "updates": updates,
            "cosine": cosine,
            "angle": angle,
            "copies": _between(copies, transposes, list(copies))[0],
            "distance": gap / length if length else np.nan,
            "gap": gap,
            "law": first * shrink**updates,
            "rounding": 4 * max(updates, 1) * eps * (length + _length(copies)),
            "loss": mean_loss(network, *data),
            "accuracy": _accuracy(network, data),
            "test_accuracy": np.nan if test is None else _accuracy(network, test),
        }


def _accuracy(network: Network, data: tuple[Array, Array]) -> float:
    """Return the part of the samples that are classified right, NaN if the targets are no classes."""
    x, y = data
    if y.ndim == 2:
        one_hot = y.shape[1] > 1 and bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
        if not one_hot:
            return float("nan")
        y = y.argmax(axis=1)
    return accuracy(network, x, y)


def _vector(arrays: Mapping[str, Array], keys: Sequence[str]) -> Array:
    return np.concatenate([np.ravel(arrays[key]).astype(np.float64) for key in keys])


def _length(arrays: Mapping[str, Array]) -> float:
    return float(np.linalg.norm(_vector(arrays, list(arrays))))


def _between(found: Mapping[str, Array], wanted: Mapping[str, Array], keys: Sequence[str]) -> tuple[float, float]:
    """Return the cosine between two vectors, and their angle in degrees, NaN if one has no length."""
    one, other = _vector(found, keys), _vector(wanted, keys)
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if not all(lengths):
        return float("nan"), float("nan")
    one, other = one / lengths[0], other / lengths[1]
    # of small angles the cosine has lost what their difference still has
    angle = 2.0 * np.arctan2(np.linalg.norm(one - other), np.linalg.norm(one + other))
    return float(np.clip(one @ other, -1.0, 1.0)), float(np.degrees(angle))


# Words


def _called(kind: str, amount: float) -> str:
    return f"{kind} ({100 * amount:g} %)" if kind == NOISE else kind


def _angled(table: Any) -> Iterator[str]:  # noqa: ANN401
    said = []
    for (kind, amount), rows in table.groupby(["kind", "amount"], sort=False):
        whole, each = rows[rows["parameter"] == ALL].iloc[0], rows[rows["parameter"] != ALL]
        each = each[each["angle"] > _ROUNDING]
        worst = f", {each.loc[each['angle'].idxmax(), 'parameter']} {each['angle'].max():.3g}" if len(each) else ""
        said.append(f"{_called(kind, amount)} {_degrees(whole['angle'])}{worst}")
    yield (
        "Copies of W^T that are wrong turn the gradient away from backpropagation's by so many degrees (all of it, and the"
        f" parameter that is the farthest off): {'; '.join(said)}."
    )


def _aligned(table: Any) -> Iterator[str]:  # noqa: ANN401
    for decay, runs in table.groupby("decay", sort=False):
        ends = {key: (rows.iloc[0], rows.iloc[-1]) for key, rows in runs.groupby(["kind", "amount"], sort=False)}
        exact, said = ends.get((EXACT, 0.0)), []
        for (kind, amount), (start, end) in ends.items():
            if np.isnan(end["loss"]):
                said.append(f"{_called(kind, amount)} diverged in epoch {end['epoch']}")
            else:
                kept = _kept(start, end, exact) if kind != EXACT else ""
                said.append(f"{_called(kind, amount)} {_turned(start['angle'], end['angle'])}{_right(end)}{kept}")
        how = f"a weight decay of {decay:g}" if decay else "no weight decay"
        yield (
            f"The angle between the gradient and backpropagation's before and after {runs['updates'].max()} updates with {how},"
            f" and what was learned: {'; '.join(said)}."
        )
    learned = table[(table["epoch"] > 0) & table["gap"].notna()]
    if len(learned):
        off = (learned["gap"] - learned["law"]).abs()
        held = f"{(off <= learned['rounding']).sum()} of {len(learned)} epochs (farthest off: {off.max():.2g})"
        yield (
            "The difference of two copies is to shrink by 1 - learning rate * decay in every update, and by nothing else: so it"
            f" did, but for rounding, after {held}."
        )


def _degrees(angle: float) -> str:
    return "has no direction" if np.isnan(angle) else f"{angle:.3g}" if angle > _ROUNDING else "0 but for rounding"


def _turned(start: float, end: float) -> str:
    told = dict.fromkeys((_degrees(start), _degrees(end)))
    return " -> ".join(told) + (" degrees" if max(start, end) > _ROUNDING else "")


def _right(end: Any) -> str:  # noqa: ANN401
    parts = [("accuracy", "training"), ("test_accuracy", "test")]
    said = [f"{100 * end[column]:.3g} % of {name}" for column, name in parts if not np.isnan(end[column])]
    return f", {' and '.join(said)} data right" if said else ""


def _kept(start: Any, end: Any, exact: Any) -> str:  # noqa: ANN401
    """Return what part of the gain of exact copies there was: whether learning survives."""
    if exact is None or np.isnan(exact[1]["loss"]) or exact[1]["loss"] >= start["loss"]:
        return ""
    share = (start["loss"] - end["loss"]) / (start["loss"] - exact[1]["loss"])
    return f", {100 * share:.3g} % of the gain of exact copies"
