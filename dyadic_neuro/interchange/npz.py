"""The project's own files: an npz of plain arrays and one JSON record that says what they are."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import FileError
from dyadic_neuro.interchange.outputs import writing

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


def write(
    path: str | os.PathLike[str], kind: str, record: Mapping[str, Any], arrays: Mapping[str, Array], *, overwrite: bool
) -> None:
    """Write `record` (JSON values) and `arrays` to `path`: whole or not at all, also when interrupted in the middle."""
    text = json.dumps({"format": _FORMAT, "kind": kind, **record})
    with writing(path, overwrite=overwrite) as file:
        np.savez(file, **{_RECORD: np.array(text)}, **arrays)


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
