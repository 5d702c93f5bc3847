"""Losses C(u, y): the readout carries them on its potential (logits), per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.errors import DataError, OptionError, UnknownNameError

_ROW_SUM_TOLERANCE = 1e-6  # float32 probabilities of a few thousand classes add up to 1 this well


@dataclass(frozen=True)
class Loss:
    """A loss on potentials `u` (batch, n) with targets `y` (batch, n).

    `value(u, y)` is (batch,), one loss per sample; `gradient(u, y)` is dC/du per sample, (batch, n). `check(y)` returns
    what is wrong with a target array, or None. `separable`: dC/du of an output needs no potential but its own, so that the
    readout may lie on several cores.
    """

    name: str
    value: Callable[[Array, Array], Array]
    gradient: Callable[[Array, Array], Array]
    check: Callable[[Array], str | None] = lambda _: None
    separable: bool = False

    def __reduce__(self) -> Any:  # noqa: ANN401
        """Travel to another process by name, if built in."""
        return (loss, (self.name,)) if LOSSES.get(self.name) is self else super().__reduce__()

    def encode(self, targets: object, batch: int, size: int, dtype: np.dtype[Any], field: str = "targets") -> Array:
        """Return `targets` as (batch, size) rows of `dtype`: integers (batch,) are classes and become one-hot rows.

        Raises DataError when shape, class range or values do not fit this loss.
        """
        rows = f"({batch}, {size}) rows"
        try:
            array = np.asarray(targets)
        except ValueError as error:
            raise DataError(field, str(error), f"pass ({batch},) classes or {rows}") from None
        if array.ndim == 1 and array.dtype.kind in "iu":
            if size == 1:
                raise DataError(field, "are classes, of which a readout of one neuron has only one", f"pass {rows}")
            return _one_hot(field, array, batch, size, dtype)
        if array.ndim == 1 and batch != 1 and array.dtype.kind == "f" and size > 1:
            raise DataError(field, "one-dimensional targets must be integer classes", f"cast them to int or pass {rows}")
        found = checked(field, array, dtype, (batch, size))
        problem = self.check(found)
        if problem is not None:
            raise DataError(field, f"{self.name} {problem}", "pass integer classes or rows of that kind")
        return found


def _one_hot(field: str, classes: Array, batch: int, size: int, dtype: np.dtype[Any]) -> Array:
    if classes.shape != (batch,):
        raise DataError(field, f"{classes.shape[0]} classes for {batch} inputs", "pass one target per input")
    if batch and (classes.min() < 0 or classes.max() >= size):
        worst = classes.max() if classes.max() >= size else classes.min()
        raise DataError(field, f"class {worst} is outside 0 .. {size - 1}", "number the classes from 0, or widen the readout")
    rows = np.zeros((batch, size), dtype)
    rows[np.arange(batch), classes] = 1
    return rows


def _cross_entropy(u: Array, y: Array) -> Array:
    below = u - u.max(axis=1, keepdims=True)  # from the largest potential, so that exp cannot overflow
    return np.asarray(((np.log(np.exp(below).sum(axis=1, keepdims=True)) - below) * y).sum(axis=1))


def _cross_entropy_gradient(u: Array, y: Array) -> Array:
    p: Array = np.exp(u - u.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p -= y
    return p


def _binary_cross_entropy(u: Array, y: Array) -> Array:
    return (np.logaddexp(0.0, u) - y * u).sum(axis=1).astype(u.dtype)


def _probability_rows(y: Array) -> str | None:
    if (y < 0).any() or (abs(y.sum(axis=1) - 1) > _ROW_SUM_TOLERANCE * y.shape[1]).any():
        return "wants one-hot or probability rows: not negative, each adding up to 1"
    return None


def _unit_interval(y: Array) -> str | None:
    return "wants targets between 0 and 1" if (y < 0).any() or (y > 1).any() else None


_BUILT_IN = (
    Loss("squared_error", lambda u, y: 0.5 * ((u - y) ** 2).sum(axis=1), lambda u, y: u - y, separable=True),
    Loss("cross_entropy", _cross_entropy, _cross_entropy_gradient, _probability_rows),
    Loss(
        "binary_cross_entropy",
        _binary_cross_entropy,
        lambda u, y: 0.5 * np.tanh(0.5 * u) + 0.5 - y,
        _unit_interval,
        separable=True,
    ),
)
LOSSES: dict[str, Loss] = {loss.name: loss for loss in _BUILT_IN}


def loss(spec: str | Loss | tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]], size: int = 3) -> Loss:
    """Return the loss that `spec` means: a name, a Loss, or a pair (C, dC/du) on potentials and targets (batch, n).

    A pair is tried with n = `size`.

    Raises UnknownNameError for a name that is not built in, and OptionError for a pair whose shapes do not fit or whose
    dC/du is not the gradient of C on a small sample.
    """
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, str):
        if spec not in LOSSES:
            raise UnknownNameError("loss", f"no loss is called {spec!r}", f"use one of {sorted(LOSSES)} or a pair (C, dC/du)")
        return LOSSES[spec]
    if not (isinstance(spec, tuple) and len(spec) == 2 and all(callable(part) for part in spec)):
        raise OptionError("loss", f"{spec!r} is neither a name nor a pair of functions", "pass a name or a pair (C, dC/du)")
    value, gradient = spec
    _check_pair(value, gradient, size)
    return Loss(getattr(value, "__name__", "custom"), value, gradient)


def _check_pair(value: Callable[[Array, Array], Array], gradient: Callable[[Array, Array], Array], size: int) -> None:
    """Compare dC/du with a central difference of C, one coordinate at a time."""
    u, y, h = np.resize([0.31, -0.57, 1.13, -1.21, 0.23, 0.71, -0.17], (2, size)), np.eye(2, size), 1e-6
    u.setflags(write=False)  # as every state is
    y.setflags(write=False)
    try:
        with np.errstate(all="ignore"):  # what is not finite is no slope
            slopes, values = np.asarray(gradient(u, y)), np.asarray(value(u, y))
    except Exception as error:
        problem = f"C or dC/du does not take arrays (batch, {size}) ({error})"
        raise OptionError("loss", problem, "both take potentials and targets of the readout, and do not write to them") from error
    if values.shape != (2,) or slopes.shape != u.shape:
        raise OptionError("loss", "C must be (batch,) and dC/du (batch, n)", "sum C over the outputs, not over the batch")
    for i in range(u.shape[1]):
        up, down = u.copy(), u.copy()
        up[:, i] += h
        down[:, i] -= h
        with np.errstate(all="ignore"):
            difference = (np.asarray(value(up, y)) - np.asarray(value(down, y))) / (2 * h)
        if not np.allclose(slopes[:, i], difference, rtol=1e-4, atol=1e-6):
            raise OptionError(
                "loss", f"dC/du[:, {i}] = {slopes[:, i]}, but C has the slope {difference}", "pass the pair as (C, dC/du)"
            )
