"""Files that are written whole or not at all, and never over something that a user has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dyadic_neuro.errors import FileError, OutputExistsError


def writable(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return `path` if a file may be written there. Raises OutputExistsError, or FileError if its folder is missing."""
    try:
        path = Path(path)
        if path.is_dir():
            raise FileError(str(path), "is a folder", "name a file in it")
        if os.path.lexists(path) and not overwrite:
            fix = "choose another name, or pass overwrite=True (--overwrite)"
            raise OutputExistsError(str(path), "is already there and would be lost", fix)
        if not path.absolute().parent.is_dir():
            raise FileError(str(path), "its folder does not exist", f"create {path.absolute().parent} first")
        probe = _partial(path)
        probe.touch()
        probe.unlink()
    except (FileError, OutputExistsError):
        raise
    except (OSError, ValueError, TypeError) as error:
        raise FileError(str(path), f"cannot be written ({error})", "name a file in a folder of yours") from None
    return path


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def writing(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a file that takes its name when the block ends well, and is gone when it does not. Raises as `writable`."""
    path = writable(path, overwrite=overwrite)
    temporary = _partial(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
