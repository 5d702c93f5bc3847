"""A journal of finished work: a line of JSON for each piece, written as it comes, so that an interrupted run can go on.

The first line says what the file is. Each other one is {"key": ..., "outcome": ...}, the key a digest of what was worked on.
A last line that was cut off, as by a kill in the middle of writing, does not count and is written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from hashlib import sha256
from types import TracebackType
from typing import Any, BinaryIO

from dyadic_neuro.errors import CheckpointError, FileError
from dyadic_neuro.interchange.outputs import writable

_FORMAT = "dyadic_neuro journal"


def key_of(record: Mapping[str, Any]) -> str:
    """Return the digest of a record of JSON values."""
    return sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


class Journal:
    """The file of a run: `done` maps the keys of finished work to its outcomes (JSON values), `note` adds one.

    `version` is that of whoever writes the outcomes. A file that is there already is read, or with `overwrite` begun anew.
    Raises FileError for a file that is no journal, is damaged or cannot be written, CheckpointError for one of another
    version, or with keys that are not among those `wanted`; nothing is changed then.
    """

    def __init__(self, path: str | os.PathLike[str], wanted: Collection[str], *, version: int, overwrite: bool = False) -> None:
        self._path, self._version = writable(path, overwrite=True), version
        self.done: dict[str, Any] = {}
        self._file: BinaryIO | None = None
        kept = 0 if overwrite or not self._path.exists() else self._read(wanted)
        self._file = self._open(kept)

    def note(self, key: str, outcome: object) -> None:
        """Add a finished piece of work; it is in the hands of the system when this returns."""
        self.done[key] = outcome
        self._write({"key": key, "outcome": outcome})

    def __enter__(self) -> Journal:
        """Return the journal."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _read(self, wanted: Collection[str]) -> int:
        """Take up what is there, and return how many bytes of it are whole lines."""
        path = str(self._path)
        try:
            whole = self._path.read_bytes()
        except OSError as error:
            raise FileError(path, f"cannot be read ({error})", "name another file") from None
        kept = whole.rfind(b"\n") + 1
        lines = whole[:kept].splitlines()
        if not lines:
            if not _header(self._version).startswith(whole):
                raise FileError(path, "is no journal", "name another file; this one is left as it is")
            return 0
        head = _parsed(lines[0])
        if head is None or head.get("format") != _FORMAT:
            raise FileError(path, "is no journal", "name another file; this one is left as it is")
        if head.get("version") != self._version:
            problem = f"is of version {head.get('version')}, not {self._version}"
            raise CheckpointError(path, problem, "name another file, or begin anew with overwrite=True (--overwrite)")
        for number, line in enumerate(lines[1:], 2):
            entry = _parsed(line)
            if entry is None or not isinstance(entry.get("key"), str) or "outcome" not in entry:
                raise FileError(path, f"is damaged in line {number}", "remove that line, or name another file")
            if entry["key"] not in wanted:
                fix = "name another file, ask for those too, or begin anew with overwrite=True (--overwrite)"
                raise CheckpointError(path, f"holds work of another run (line {number})", fix)
            self.done[entry["key"]] = entry["outcome"]
        return kept

    def _open(self, kept: int) -> BinaryIO:
        try:
            file = self._path.open("r+b" if kept else "wb")
            file.truncate(kept)
            file.seek(kept)
            if not kept:
                file.write(_header(self._version))
                file.flush()
        except OSError as error:
            raise FileError(str(self._path), f"cannot be written ({error})", "name a file in a folder of yours") from None
        return file

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            if self._file is not None:
                self._file.write(json.dumps(record).encode() + b"\n")
                self._file.flush()
        except OSError as error:
            raise FileError(str(self._path), f"cannot be written ({error})", "make room, and run again: it goes on") from None


def _header(version: int) -> bytes:
    return json.dumps({"format": _FORMAT, "version": version}).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
