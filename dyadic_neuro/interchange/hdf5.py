"""HDF5 files as plain trees: numbers, texts and arrays under names; whatever else a file holds is refused, and not followed.

Texts of variable length are taken from the file's bytes, because the library runs in circles on a damaged heap.
Source: HDF5 File Format Specification 3.0, sections II.A (superblock) and III.E (global heap).
"""

from __future__ import annotations

import math
import os
from io import BufferedReader
from typing import Any, BinaryIO

import numpy as np

from dyadic_neuro.arrays import Array, Room, sealed
from dyadic_neuro.errors import DyadicError, FileError, MissingExtraError
from dyadic_neuro.interchange.limits import MOST_BYTES, most_bytes, size_of

Tree = dict[str, Any]
DEEPEST = 16
"""Groups within groups."""
MOST_NODES = 10_000
"""Groups and data sets of one file, and texts of one data set."""
MOST_OBJECTS = 100_000
"""Texts in all heaps of one file."""
MOST_TEXT = 2**20
"""Bytes of one text."""
_MAGIC = b"\x89HDF\r\n\x1a\n"


def read(path: str | os.PathLike[str]) -> Tree:
    """Return the groups of a file as dictionaries, its data sets as arrays, texts and scalars.

    Raises FileError for what is missing, foreign, truncated, corrupt, too large, or linked from elsewhere; MissingExtraError.
    """
    h5py = _h5py()
    size_of(path)
    try:
        with open(path, "rb") as raw, h5py.File(path, "r") as file:
            reader = _Reader(h5py, raw)
            return reader.group(file, "", 0)
    except _Refused as error:
        raise FileError(str(path), str(error), "use a file of plain groups, numbers and texts") from None
    except DyadicError:
        raise
    except Exception as error:  # noqa: BLE001  (h5py raises half a dozen kinds on corrupt files)
        problem = f"cannot be read as HDF5 ({type(error).__name__}: {error})"
        raise FileError(str(path), problem, "it is foreign, truncated or corrupt: use another copy") from None


def write(file: BinaryIO, tree: Tree) -> None:
    """Write a tree that `read` could have returned to an open file, which has a name."""
    h5py = _h5py()

    def fill(group: Any, branch: Tree) -> None:  # noqa: ANN401
        for name, value in branch.items():
            if isinstance(value, dict):
                fill(group.create_group(name), value)
            elif isinstance(value, (str, list)):
                group.create_dataset(name, data=value, dtype=h5py.string_dtype())
            else:
                group.create_dataset(name, data=value)

    with h5py.File(file.name, "w") as root:  # by its name: the library wants to read what it writes
        fill(root, tree)


class _Refused(Exception):  # noqa: N818
    """What a file holds and must not."""


class _Reader:
    """Reads one open file, counting what it takes."""

    def __init__(self, h5py: Any, raw: BufferedReader) -> None:  # noqa: ANN401
        self.h5py, self.raw = h5py, raw
        self.size = os.fstat(raw.fileno()).st_size
        self.nodes = self.bytes = self.objects = 0
        self.heaps: dict[int, dict[int, tuple[int, int]]] = {}
        head = os.pread(raw.fileno(), 16, 0)
        if head[:8] != _MAGIC or head[13 if head[8] < 2 else 9] != 8:
            raise _Refused("does not begin as an HDF5 file with addresses of 8 bytes")

    def group(self, group: Any, where: str, depth: int) -> Tree:  # noqa: ANN401
        """Return the contents of a group."""
        if depth > DEEPEST:
            raise _Refused(f"has groups more than {DEEPEST} deep at {where[:80]}")
        found: Tree = {}
        for name in group:
            self.nodes += 1
            path = f"{where}/{name}"
            if self.nodes > MOST_NODES:
                raise _Refused(f"has more than {MOST_NODES} entries")
            if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
                raise _Refused(f"has a link at {path}")
            entry = group[name]
            if isinstance(entry, self.h5py.Group):
                found[name] = self.group(entry, path, depth + 1)
            elif isinstance(entry, self.h5py.Dataset):
                found[name] = self.values(entry, path)
            else:
                raise _Refused(f"has a type of data at {path}")
        return found

    def values(self, data: Any, where: str) -> Any:  # noqa: ANN401
        """Return the contents of a data set: an array, a scalar, a text, or nested lists of texts."""
        if data.shape is None or data.is_virtual or data.external:
            raise _Refused(f"has no values of its own at {where}")
        dtype, count = data.dtype, math.prod(data.shape)
        if self.h5py.check_string_dtype(dtype) is not None and dtype.kind == "O":
            texts = self.texts(data, count, where)
            return texts[0] if data.shape == () else np.reshape(np.array(texts, object), data.shape).tolist()
        if dtype.kind not in "biufS" or dtype.hasobject:
            raise _Refused(f"has {dtype} at {where}")
        self.bytes += max(count, math.prod(data.chunks or ())) * dtype.itemsize  # a chunk is unpacked as a whole
        if self.bytes > most_bytes(self.size):
            most = most_bytes(self.size)
            raise _Refused(f"promises {self.bytes} bytes by {where}, and {most} are the most for a file of {self.size}")
        values = self.numbers(data) if count else data[()]
        if dtype.kind != "S":
            return values
        return np.char.decode(np.atleast_1d(values), "utf-8").reshape(data.shape).tolist()

    def numbers(self, data: Any) -> Array:  # noqa: ANN401
        """Return an array, straight from the file where its bytes stand there as they are."""
        room, start = Room(data.shape, data.dtype), data.id.get_offset()
        if start is None or data.chunks is not None or data.id.get_storage_size() != room.nbytes:
            data.read_direct(room)
        else:
            self.raw.seek(start)
            if self.raw.readinto(room.reshape(-1).view(np.uint8).data) != room.nbytes:
                raise _Refused("is truncated")
        return sealed(room)

    def texts(self, data: Any, count: int, where: str) -> list[str]:  # noqa: ANN401
        """Return texts of variable length: 16 bytes say how long each is, and which object of which heap."""
        start = data.id.get_offset()
        if start is None or data.chunks is not None:
            raise _Refused(f"has texts in pieces or none at {where}")
        if count > MOST_NODES:
            raise _Refused(f"has {count} texts at {where}, more than {MOST_NODES}")
        table = self.exactly(start, 16 * count)
        references = [table[16 * i : 16 * i + 16] for i in range(count)]
        return [self.text(_number(r[:4]), _number(r[4:12]), _number(r[12:]), where) for r in references]

    def text(self, length: int, heap: int, index: int, where: str) -> str:
        """Return one object of a heap."""
        self.bytes += length
        if length > MOST_TEXT or self.bytes > MOST_BYTES:
            raise _Refused(f"has a text of {length} bytes at {where}, more than {MOST_TEXT}")
        if length == 0:
            return ""
        start, size = self.heap(heap).get(index, (0, 0))
        if length > size:
            raise _Refused(f"has a damaged text at {where}")
        return self.exactly(start, length).decode()

    def heap(self, address: int) -> dict[int, tuple[int, int]]:
        """Return where each object of a heap begins, and its size."""
        if address in self.heaps:
            return self.heaps[address]
        head, found = self.exactly(address, 16), self.heaps.setdefault(address, {})
        at, stop = address + 16, address + _number(head[8:])
        while head[:4] == b"GCOL" and at + 16 <= stop:
            entry = self.exactly(at, 16)
            index, size = _number(entry[:2]), _number(entry[8:])
            if index == 0:  # the free space at the end
                break
            found[index] = (at + 16, size)
            at += 16 + (size + 7) // 8 * 8
            self.objects += 1
            if self.objects > MOST_OBJECTS:
                raise _Refused(f"has more than {MOST_OBJECTS} texts in its heaps")
        return found

    def exactly(self, start: int, size: int) -> bytes:
        """Return that many bytes of the file."""
        if start + size > self.size:
            raise _Refused("is truncated")
        return os.pread(self.raw.fileno(), size, start)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _h5py() -> Any:  # noqa: ANN401
    try:
        import h5py
    except ImportError as error:
        fix = "pip install 'dyadic-neuro[interchange]'"
        raise MissingExtraError("h5py", f"cannot be imported ({error})", fix) from error
    return h5py
