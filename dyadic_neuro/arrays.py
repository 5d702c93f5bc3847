"""The array type, and the checks that every array from outside passes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dyadic_neuro.errors import DataError

Array = NDArray[Any]


def checked(field: str, values: object, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> Array:
    """Return `values` as a C-ordered array of `dtype`, or say what is wrong with them.

    `shape` gives the wanted shape, with None where any length will do. The result may share memory with `values`.

    Raises DataError for what is no numeric array, for another shape, and for NaN or infinity.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"dtype {array.dtype}")
        if array.ndim:  # 0-d fails on its shape below
            with np.errstate(over="ignore"):  # what overflows is not finite, and told so below
                array = np.ascontiguousarray(array, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise DataError(field, f"is not an array of real numbers ({error})", f"pass {_spell(shape)} numbers") from None
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise DataError(field, f"has shape {array.shape}, not {_spell(shape)}", "reshape or transpose it")
    # one pass without a temporary; a sum that overflows only costs the second look
    with np.errstate(all="ignore"):
        suspect = not np.isfinite(array.sum())
    if suspect and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(field, f"is not finite: {array[where]} at {where}", "remove NaN and infinity (or a scale that overflows)")
    return array


def frozen(array: Array) -> Array:
    """Return a private, read-only copy."""
    copy = np.array(array, order="C")
    copy.setflags(write=False)
    return copy


def read_only(record: object) -> None:
    """Put read-only views in place of the arrays of a frozen record."""
    for name, value in vars(record).items():
        if isinstance(value, np.ndarray):
            view = value.view()
            view.setflags(write=False)
            object.__setattr__(record, name, view)


class ReadOnly:
    """A frozen record whose arrays are read-only, in its copies too."""

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        read_only(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up the contents of a copy or a pickle, in which arrays forget that they were read-only."""
        vars(self).update(state)
        read_only(self)


def _spell(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
