"""A mapping as a text file: JSON, one line a slice, with the chip and the structures it is for, and a digest of it all."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dyadic_neuro.errors import DyadicError, FileError
from dyadic_neuro.interchange.outputs import writing
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.fan_in import Division, Piece
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.network import Network

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping

_FORMAT = {"format": "dyadic_neuro", "kind": "mapping", "version": 1}
_SETTINGS = {"objective": str, "learning": bool, "pipeline": bool, "seed": int}
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds: enough to build the mapping again."""

    division: Division
    chip: Chip
    slices: Slices
    objective: str
    learning: bool
    pipeline: bool
    seed: int


def write(path: str | os.PathLike[str], mapping: Mapping, *, overwrite: bool) -> None:
    """Write a mapping, whole or not at all.

    Raises OutputExistsError, FileError, and NetworkError for functions of the user's own.
    """
    division = mapping.division
    division.original.check_names("mapping")
    record: dict[str, Any] = {
        **_FORMAT,
        "fingerprint": mapping.fingerprint,
        "objective": mapping.objective,
        "learning": mapping.learning,
        "pipeline": mapping.pipeline,
        "seed": mapping.seed,
        "network": division.original.record(),
    }
    if division.divided:
        pieces = {name: asdict(piece) for name, piece in division.pieces.items()}
        record |= {"divided": division.network.record(), "pieces": pieces}
    record |= {"chip": mapping.chip.record(), "slices": [[s.population, s.start, s.stop, s.core] for s in mapping.slices]}
    with writing(path, overwrite=overwrite) as file:
        file.write(_spell({**record, "digest": _digest(record)}).encode())


def read(path: str | os.PathLike[str]) -> Contents:
    """Return what a file holds. Raises FileError when it is missing, foreign, edited or truncated."""
    field = str(path)
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(field, "does not exist", "check the name") from None
    except _DAMAGE as error:
        raise FileError(field, f"cannot be read as a mapping ({error})", "it is foreign or truncated: use another copy") from None
    if not isinstance(record, dict) or any(record.get(key) != value for key, value in _FORMAT.items()):
        raise FileError(field, "is not a mapping of dyadic_neuro (version 1)", "name a file that Mapping.save wrote")
    if record.pop("digest", None) != _digest(record):
        problem = "was edited or damaged: its digest does not fit its contents"
        raise FileError(field, problem, "map the network again, or use another copy")
    try:
        return _contents(record)
    except (*_DAMAGE, DyadicError) as error:
        raise FileError(field, f"does not describe a mapping ({error})", "use another copy") from None


def _contents(record: dict[str, Any]) -> Contents:
    original = Network.from_record(record["network"])
    division = Division.none(original)
    if "divided" in record:
        pieces = {name: Piece(**piece) for name, piece in record["pieces"].items()}
        division = Division(original, Network.from_record(record["divided"]), pieces)
    if original.fingerprint != record["fingerprint"]:
        raise ValueError("fingerprint of another network")
    names = [p.name for p in division.network.populations]
    number = {name: i for i, name in enumerate(names)}
    rows = [[number[name], start, stop, core] for name, start, stop, core in record["slices"]]
    settings = {key: record[key] for key in _SETTINGS}
    if not all(type(n) is int for row in rows for n in row) or any(type(settings[k]) is not _SETTINGS[k] for k in settings):
        raise TypeError("numbers and settings of a wrong type")
    slices = Slices(tuple(names), *np.array(rows, np.int64).T)
    return Contents(division, Chip.from_record(record["chip"]), slices, **settings)


def _spell(record: dict[str, Any]) -> str:
    """Return the record as JSON: a line for every entry, and for every entry of an entry."""
    parts = []
    for key, value in record.items():
        if isinstance(value, list) and value:
            inner = ",\n".join(f"    {json.dumps(item)}" for item in value)
            text = f"[\n{inner}\n  ]"
        elif isinstance(value, dict) and value:
            inner = ",\n".join(f"    {json.dumps(name)}: {_lines(item)}" for name, item in value.items())
            text = f"{{\n{inner}\n  }}"
        else:
            text = json.dumps(value)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """Return a value as JSON, a line for every part of it."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"      {json.dumps(item)}" for item in value) + "\n    ]"
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"      {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items()) + "\n    }"
    return json.dumps(value)


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
