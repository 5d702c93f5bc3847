"""Tables of the studies: pandas DataFrames with fixed columns, and their CSV files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dyadic_neuro.errors import FileError, MissingExtraError
from dyadic_neuro.interchange.outputs import writable, writing


def need_pandas() -> None:
    """Raise MissingExtraError if pandas, which holds the tables, is not installed."""
    if find_spec("pandas") is None:
        raise MissingExtraError("pandas", "is not installed, and holds the tables", "pip install 'dyadic-neuro[study]'")


def frame(columns: Mapping[str, str], parts: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401
    """Return a DataFrame of these columns (name -> dtype), from parts that map each column to an array or to one value."""
    import pandas as pd

    lengths = [max((len(v) for v in part.values() if isinstance(v, np.ndarray)), default=1) for part in parts]
    merged = {}
    for name, dtype in columns.items():
        values = [np.broadcast_to(np.asarray(part[name], dtype), n) for part, n in zip(parts, lengths, strict=True)]
        merged[name] = np.concatenate(values) if values else np.empty(0, dtype)
    return pd.DataFrame(merged)


def check(folder: str | os.PathLike[str], names: Iterable[str], *, overwrite: bool) -> None:
    """Raise FileError or OutputExistsError if these files could not be written to the folder, which need not be there yet."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise FileError(str(folder), "is a file", "name a folder for the tables")
    if path.exists():
        for name in names:
            writable(path / name, overwrite=overwrite)
    else:  # the folders that are missing would be made in the nearest one that is there
        there = next(parent for parent in path.absolute().parents if parent.exists())
        try:
            writable(there / f"{path.name}.{os.getpid()}", overwrite=True)
        except FileError as error:
            raise FileError(str(folder), error.problem, "name a folder of yours") from None


def write(folder: str | os.PathLike[str], frames: Mapping[str, Any], *, overwrite: bool = False) -> list[Path]:
    """Write each table (file name -> DataFrame) as CSV to `folder`, made if need be, and return the paths. Raises as `check`."""
    check(folder, frames, overwrite=overwrite)
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(str(folder), f"cannot be made ({error})", "name another folder") from None
    for name, table in frames.items():
        with writing(path / name, overwrite=overwrite) as file:
            file.write(table.to_csv(index=False, float_format="%.12g", lineterminator="\n").encode())
    return [path / name for name in frames]
