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
    # one pass without a temporary, the fastest there is; a sum that overflows only costs the second look
    with np.errstate(all="ignore"):
        suspect = not np.isfinite(np.dot(array.reshape(-1), array.reshape(-1)))
    if suspect and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(field, f"is not finite: {array[where]} at {where}", "remove NaN and infinity (or a scale that overflows)")
    return array


class Room(np.ndarray):  # type: ignore[type-arg]
    """Memory to be filled by who made it, Room(shape, dtype), and then shown read-only, through `sealed` alone."""


def sealed(room: Room) -> Array:
    """Return a read-only view of what nobody writes to from now on; `frozen` takes it without a copy."""
    room.setflags(write=False)
    return room.view(np.ndarray)


def frozen(array: Array) -> Array:
    """Return a private, read-only copy; of what nobody can change (a sealed room, or bytes) the array itself."""
    owner: object = array
    while isinstance(owner, np.ndarray) and not isinstance(owner, Room):
        owner = owner.base
    if isinstance(owner, (Room, bytes)) and not array.flags.writeable and array.flags.c_contiguous and array.flags.aligned:
        return array
    room = Room(array.shape, array.dtype)
    room[...] = array
    return sealed(room)


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
