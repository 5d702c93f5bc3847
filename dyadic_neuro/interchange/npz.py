"""The project's own files: an npz of plain arrays and one JSON record that says what they are."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import FileError, OutputExistsError

_RECORD = "__record__"
_FORMAT = "dyadic_neuro"
# what numpy, zipfile and json raise on files that are foreign or damaged
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    RuntimeError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


def writable(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return `path` if a file may be written there. Raises OutputExistsError, or FileError if its folder is missing."""
    try:
        path = Path(path)
        if path.is_dir():
            raise FileError(str(path), "is a folder", "name a file in it")
        if path.exists() and not overwrite:
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


def write(
    path: str | os.PathLike[str], kind: str, record: Mapping[str, Any], arrays: Mapping[str, Array], *, overwrite: bool
) -> None:
    """Write `record` (JSON values) and `arrays` to `path`: whole or not at all, also when interrupted in the middle."""
    path = writable(path, overwrite=overwrite)
    text = json.dumps({"format": _FORMAT, "kind": kind, **record})
    temporary = _partial(path)
    try:
        with temporary.open("wb") as file:
            np.savez(file, **{_RECORD: np.array(text)}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the record and the arrays of a file of this `kind`; nothing in the file is executed.

    Raises FileError when the file is missing, foreign, truncated, corrupt, or of another kind.
    """
    try:
        with open(path, "rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or _RECORD not in file:
                raise FileError(str(path), "is not a file of dyadic_neuro", f"name a {kind} file")
            record = json.loads(str(file[_RECORD]))
            arrays = {name: file[name] for name in file.files if name != _RECORD}
    except FileNotFoundError:
        raise FileError(str(path), "does not exist", "check the name") from None
    except FileError:
        raise
    except _DAMAGE as error:
        raise FileError(
            str(path), f"cannot be read as a {kind} ({error})", "it is foreign, truncated or corrupt: use another copy"
        ) from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT or record.get("kind") != kind:
        found = record.get("kind") if isinstance(record, dict) else type(record).__name__
        raise FileError(str(path), f"is a file of kind {found!r}, not {kind!r}", f"name a {kind} file")
    return record, arrays
