"""The project's own files: an npz of plain arrays and one JSON record that says what they are."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import FileError
from dyadic_neuro.interchange.limits import MOST_ARRAYS, most_bytes, size_of
from dyadic_neuro.interchange.outputs import writing

MOST_DIRECTORY = 2**21
"""Bytes of the list of arrays at the end of a file."""
MOST_RECORD = 2**23
"""Characters of its record."""
RECORD = "__record__"
"""The name of the array that is its record."""
_FORMAT = "dyadic_neuro"


def write(
    path: str | os.PathLike[str], kind: str, record: Mapping[str, Any], arrays: Mapping[str, Array], *, overwrite: bool
) -> None:
    """Write `record` (JSON values) and `arrays` to `path`: whole or not at all, also when interrupted in the middle."""
    text = json.dumps({"format": _FORMAT, "kind": kind, **record})
    with writing(path, overwrite=overwrite) as file:
        np.savez(file, **{RECORD: np.array(text)}, **arrays)


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the record and the arrays of a file of this `kind`; nothing in the file is executed.

    Raises FileError when the file is missing, foreign, truncated, corrupt, or of another kind.
    """
    found = read_arrays(path, kind)
    if RECORD not in found:
        raise FileError(str(path), "is not a file of dyadic_neuro", f"name a {kind} file")
    try:
        text = found.pop(RECORD)
        if text.nbytes > 4 * MOST_RECORD:
            raise ValueError(f"a record of more than {MOST_RECORD} characters")
        record = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise FileError(str(path), f"cannot be read as a {kind} ({error})", "it is corrupt: use another copy") from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT or record.get("kind") != kind:
        other = record.get("kind") if isinstance(record, dict) else type(record).__name__
        integers = (other, kind) == ("fixed network", "network")
        fix = (
            "use FixedNetwork.load(path).real().save(...), which holds the same in floats" if integers else f"name a {kind} file"
        )
        raise FileError(str(path), f"is a file of kind {other!r}, not {kind!r}", fix)
    return record, found


def read_arrays(path: str | os.PathLike[str], kind: str = "file of arrays") -> dict[str, Array]:
    """Return the arrays of an npz file; nothing in it is executed, and what is packed grows within limits.

    Raises FileError when the file is missing, foreign, truncated, corrupt, or holds more than `limits` allow.
    """
    packed = size_of(path)
    try:
        with _opened(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > most_bytes(packed):
                raise ValueError(f"{packed} bytes that would grow to {unpacked}, and {most_bytes(packed)} are the most")
            if len({member.filename for member in members}) < len(members) or len(members) > MOST_ARRAYS:
                raise ValueError(f"two arrays of one name, or more than {MOST_ARRAYS}")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except Exception as error:  # noqa: BLE001  (zipfile, its unpackers and numpy raise a dozen kinds on damaged files)
        raise FileError(
            str(path), f"cannot be read as a {kind} ({error})", "it is foreign, truncated or corrupt: use another copy"
        ) from None


def names(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the arrays in an npz file, none if it is not there or no such file."""
    try:
        size_of(path)
        with _opened(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception:  # noqa: BLE001  (as above)
        return []


class _Directory(io.FileIO):
    """An npz file of which nothing larger than `most` bytes is read at once: zipfile takes the whole list of arrays so."""

    most = MOST_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        """Return bytes. Raises ValueError for too many."""
        if size is not None and size > self.most:
            raise ValueError(f"a list of arrays of {size} bytes, more than {self.most}")
        return super().read(-1 if size is None else size)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    with _Directory(path) as file, zipfile.ZipFile(file) as archive:
        file.most = sys.maxsize
        yield archive


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Return one array, whose header has to promise as many bytes as there are."""
    with archive.open(member) as stream:
        numpy: Any = np.lib.format  # untyped
        first = numpy.read_magic(stream) == (1, 0)
        shape, _, dtype = numpy.read_array_header_1_0(stream) if first else numpy.read_array_header_2_0(stream)
        promised, start = math.prod(shape) * dtype.itemsize, stream.tell()
        if dtype.hasobject or min(shape, default=1) < 0 or start + promised != member.file_size:
            raise ValueError(f"{member.filename} is {dtype} of shape {shape} in {member.file_size} bytes")
        stream.seek(0)
        array: Array = numpy.read_array(stream, allow_pickle=False)
        stream.read(1)  # past the end, so that zipfile compares the checksum
        return array
