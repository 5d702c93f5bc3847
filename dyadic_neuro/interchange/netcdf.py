"""Labelled arrays: xarray data sets, and NetCDF files of them."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from numpy.typing import ArrayLike

from dyadic_neuro.errors import MissingExtraError
from dyadic_neuro.interchange.outputs import writing


@dataclass(frozen=True, eq=False)
class Variable:
    """An array with the names of its dimensions, what it is, and its unit ("1" for what has none)."""

    dims: tuple[str, ...]
    values: ArrayLike
    long_name: str
    units: str = "1"
    attrs: Mapping[str, str] = field(default_factory=dict)


def need(*packages: str) -> None:
    """Raise MissingExtraError unless the packages are installed ("xarray", "netCDF4")."""
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        problem = f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} absent"
        raise MissingExtraError("netcdf", problem, "pip install 'dyadic-neuro[interchange]'")


def dataset(
    coordinates: Mapping[str, Variable], variables: Mapping[str, Variable], attrs: Mapping[str, str | int | float]
) -> Any:  # noqa: ANN401
    """Return an xarray.Dataset. Raises MissingExtraError."""
    need("xarray")
    import xarray

    def array(variable: Variable) -> Any:  # noqa: ANN401
        about = {"long_name": variable.long_name, "units": variable.units, **variable.attrs}
        return xarray.Variable(variable.dims, variable.values, about)

    return xarray.Dataset(
        {name: array(variable) for name, variable in variables.items()},
        {name: array(variable) for name, variable in coordinates.items()},
        {**attrs, "dyadic_neuro_version": version("dyadic-neuro")},
    )


def write(path: str | os.PathLike[str], groups: Mapping[str, Callable[[], Any]], *, overwrite: bool) -> None:
    """Write the data sets that functions return to the groups of a NetCDF-4 file ("/" is the root), whole or not at all.

    Raises MissingExtraError, and OutputExistsError and FileError as `writing`.
    """
    need("xarray", "netCDF4")
    with warnings.catch_warnings():
        # a wheel that was built with another NumPy says so; NumPy holds it for harmless, and ignores it too
        warnings.filterwarnings("ignore", "numpy.ndarray size changed", RuntimeWarning)
        import_module("netCDF4")
    with writing(path, overwrite=overwrite) as file:
        for i, (group, make) in enumerate(groups.items()):
            found = make()
            # NaN stays what it is, a number that a run has come to: not a mark of what is missing
            encoding = {name: {"_FillValue": None} for name, array in found.variables.items() if array.dtype.kind == "f"}
            found.to_netcdf(os.fspath(file.name), mode="a" if i else "w", group=group, engine="netcdf4", encoding=encoding)


def names(words: Sequence[str]) -> dict[str, str]:
    """Return for each word a name of its own that NetCDF and its tools take: letters, digits and "_" only.

    Source: CF conventions 1.11, section 2.3.
    """
    found: dict[str, str] = {}
    for word in words:
        name = base = re.sub(r"\W", "_", unicodedata.normalize("NFC", word.replace("->", "_to_")))
        count = 1
        while name in found.values():
            count += 1
            name = f"{base}_{count}"
        found[word] = name
    return found
