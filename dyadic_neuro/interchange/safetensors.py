"""Safetensors files: a length, a JSON header, and the bytes of plain arrays (format of huggingface/safetensors, version 0.4)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import FileError
from dyadic_neuro.interchange.limits import MOST_ARRAYS, MOST_BYTES

MOST_HEADER = 2**22
"""Bytes of one header; the format itself allows 100 million."""
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}
_DTYPES |= {"U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "|b1", "BF16": "<u2"}


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays and the metadata of a file; bfloat16 is widened to float32, which is exact.

    Raises FileError when it is missing, foreign, truncated, corrupt or too large.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except FileError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError, OverflowError) as error:
        problem = f"cannot be read as safetensors ({type(error).__name__}: {error})"
        raise FileError(str(path), problem, "it is foreign, truncated or corrupt: use another copy") from None


def write(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays of float64, float32 or float16 to an open file."""
    names = {dtype: name for name, dtype in _DTYPES.items() if name[0] == "F"}
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": names[f"<f{array.dtype.itemsize}"],
            "shape": list(array.shape),
            "data_offsets": [at, at := at + array.nbytes],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array, dtype=f"<f{array.dtype.itemsize}").tobytes())


def _read(file: BinaryIO) -> tuple[dict[str, Array], dict[str, str]]:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MOST_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {size}, at most {MOST_HEADER}")
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes, more than {MOST_BYTES}")
    header = json.loads(file.read(length).decode())
    metadata = header.pop("__metadata__", {})
    if len(header) > MOST_ARRAYS:
        raise ValueError(f"{len(header)} tensors, more than {MOST_ARRAYS}")
    if not isinstance(metadata, dict):
        raise TypeError("metadata that are no dictionary")
    arrays, expected = {}, 0
    for name, entry in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        if isinstance(entry["dtype"], str) and entry["dtype"] not in _DTYPES:
            raise FileError(str(file.name), f"holds {name[:80]} as {entry['dtype'][:20]}", "save it as F64, F32, F16 or BF16")
        dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if not all(type(n) is int and n >= 0 for n in (start, stop, *shape)) or start != expected:
            raise ValueError(f"{name!r} with the shape {shape} from {start} to {stop}, not from {expected} on")
        if stop - start != math.prod(shape) * dtype.itemsize or 8 + length + stop > size:
            raise ValueError(f"{name!r} of shape {shape} has {stop - start} bytes from {start} on, in a file of {size}")
        expected = stop
        array = np.frombuffer(file.read(stop - start), dtype).reshape(shape)
        arrays[name] = (array.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else array
    if 8 + length + expected != size:
        raise ValueError(f"{size} bytes, of which the header explains {8 + length + expected}")
    return arrays, metadata
