"""How much a file may make of itself: what is larger is refused before any of it is unpacked or built."""

from __future__ import annotations

import os
import stat

from dyadic_neuro.errors import FileError

MOST_BYTES = 4 * 2**30
"""All arrays of one file together: a network or data set larger than 4 GiB is read by no accident."""
BOMB_RATIO, BOMB_BYTES = 100, 64 * 2**20
"""Packed arrays that grow to more than 100 times their file are refused beyond 64 MiB; so are networks that do."""
MOST_ARRAYS = 10_000
"""Arrays of one file."""
MOST_NODES, MOST_EDGES = 10_000, 40_000
"""Nodes of one graph of another tool, and all their inputs together."""
MOST_POPULATIONS, MOST_PROJECTIONS = 2_000, 5_000
"""What is read from a graph, or from metadata, and written to either: objects cost a file little and a reader much."""


def most_bytes(size: int) -> int:
    """Return how many bytes the arrays of a file of `size` bytes may take."""
    return min(MOST_BYTES, max(BOMB_BYTES, BOMB_RATIO * size))


def size_of(path: str | os.PathLike[str]) -> int:
    """Return the bytes of a file. Raises FileError if it is missing, or no file that ends: a folder, a pipe, a device."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileError(str(path), "does not exist", "check the name") from None
    except (OSError, ValueError, TypeError) as error:
        raise FileError(str(path), f"cannot be read ({error})", "name a file") from None
    if not stat.S_ISREG(status.st_mode):
        raise FileError(str(path), "is no file", "name a file")
    return status.st_size
