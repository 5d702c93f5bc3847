"""Spikes in SONATA's HDF5 layout, which simulators and analysis tools of neuroscience read.

Source: SONATA developer guide, "Spike file" (Dai et al. 2020, "The SONATA data format", PLoS Comput Biol 16: e1007696).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import MissingExtraError
from dyadic_neuro.interchange.outputs import writing

_MAGIC, _VERSION = 0x0A7A, (0, 1)
_SORTING = {"none": 0, "by_id": 1, "by_time": 2}


def write(
    path: str | os.PathLike[str],
    populations: Mapping[str, Mapping[str, Array]],
    attributes: Mapping[str, int | float | str],
    *,
    overwrite: bool,
) -> None:
    """Write the events of each population, whole or not at all.

    A population has "timestamps" in ms and "node_ids", (events,), which are sorted by time here, and may have more columns
    beside them: readers of SONATA pass over what they do not know, as over the `attributes` of the file. One without events gets
    no group. Raises MissingExtraError, and OutputExistsError and FileError as `writing`.
    """
    if find_spec("h5py") is None:
        raise MissingExtraError("sonata", "files are written by h5py, which is absent", "pip install 'dyadic-neuro[interchange]'")
    with writing(path, overwrite=overwrite) as file:
        import h5py

        with h5py.File(os.fspath(file.name), "w") as root:
            root.attrs["magic"] = np.uint32(_MAGIC)
            root.attrs["version"] = np.array(_VERSION, np.uint32)
            root.attrs.update(attributes)
            spikes = root.create_group("spikes")
            for name, columns in populations.items():
                order = np.argsort(columns["timestamps"], kind="stable")
                if not len(order):
                    continue
                group = spikes.create_group(name)
                group.attrs.create("sorting", _SORTING["by_time"], dtype=h5py.enum_dtype(_SORTING, basetype="u1"))
                types = {"timestamps": np.float64, "node_ids": np.uint64}
                for column, values in columns.items():
                    group.create_dataset(column, data=values[order].astype(types.get(column, values.dtype)))
                group["timestamps"].attrs["units"] = "ms"
