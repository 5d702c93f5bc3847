"""Files of chips: which file a name means, what it says, and on which line it says so."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from dyadic_neuro.errors import FileError, UnknownNameError
from dyadic_neuro.quantity import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "chips"
Lines = dict[tuple[str, ...], str]
_TABLE = ("barrier", "entries")


def names() -> tuple[str, ...]:
    """Return the names of the chips that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def find(name_or_path: str | os.PathLike[str], folder: Path) -> Path:
    """Return the file of a chip: of the package if it has that name, else a path as seen from `folder`."""
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise UnknownNameError("chip", f"{name_or_path!r} is no name", f"use one of {list(names())}, or a TOML file")
    if name_or_path in names():
        return FOLDER / f"{name_or_path}.toml"
    path = folder / os.fspath(name_or_path)
    if isinstance(name_or_path, str) and path.parent == folder and path.suffix != ".toml" and not os.path.lexists(path):
        raise UnknownNameError(
            "chip", f"no chip is called {name_or_path!r}", f"use one of {list(names())}, or the path of a TOML file"
        )
    return path


def read(path: Path, through: tuple[Path, ...]) -> tuple[dict[str, Any], Lines]:
    """Return what a file says, and what it is based on says where it is silent, with the place of each entry."""
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the parser's own error is a ValueError, and so is a number of 5000 digits
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise FileError(f"{path}:{line}", f"is not TOML: {error}", "mend the line; mappings/chips has examples") from None
    lines = {where: f"{path}:{line}" for where, line in lines_of(text).items()}
    if "name" in data:
        raise FileError(lines.get(("name",), str(path)), "name is no entry", "the file's own name is the chip's name")
    base = data.pop("based_on", None)
    if base is None:
        return data, lines
    place = lines.get(("based_on",), str(path))
    if not isinstance(base, str):
        raise FileError(place, f"based_on is {shown(base)}", "write the name of a chip or the path of a file")
    try:
        parent = find(base, path.parent)
    except UnknownNameError as error:
        raise FileError(place, f"based_on: {error.problem}", error.fix) from None
    if not parent.is_file():
        raise FileError(place, f"based_on: {parent} is not a file", f"name one, or one of {list(names())}")
    chain = (*through, path.resolve())
    if parent.resolve() in chain:
        circle = " -> ".join(p.name for p in (*chain, parent))
        raise FileError(place, f"based_on goes in a circle: {circle}", "base the first file on nothing")
    inherited, places = read(parent, chain)
    for key, entries in data.items():
        old = inherited.get(key)
        inherited[key] = old | entries if isinstance(old, dict) and isinstance(entries, dict) else entries
    return inherited, places | lines


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise FileError(str(path), "does not exist", f"name a TOML file, or one of {list(names())}") from None
    except IsADirectoryError:
        raise FileError(str(path), "is a folder", "name a TOML file in it") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise FileError(f"{path}:{line}", "is not text in UTF-8", "save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise FileError(str(path), f"cannot be read ({error})", "name a TOML file that you may read") from None


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each key of a TOML file, which its parser does not tell; the whole file begins at line 1."""
    found: dict[tuple[str, ...], int] = {(): 1}
    table: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    rows = 0
    text = re.sub(r'"""(\\.|.)*?"""|\'\'\'.*?\'\'\'', lambda quoted: "\n" * quoted[0].count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"""^(\s*)["']([\w\-]+)["'](\s*=)""", r"\1\2\3", text, flags=re.MULTILINE)  # keys that stand in quotes
    for line, content in enumerate(text.split("\n"), start=1):
        bare = re.sub(r'"(\\.|[^"\\])*"|\'[^\']*\'|#.*', "", content)  # what stands in quotes or comments has no keys
        if header := re.match(r"\s*\[{1,2}([^\[\]]+)\]", bare):
            table = here = _parts(header[1])
        elif entry := re.match(r"\s*([\w\-]+(?:\s*\.\s*[\w\-]+)*)\s*=", bare):
            here = (*table, *_parts(entry[1]))
        for depth in range(1, len(here) + 1):
            found.setdefault(here[:depth], line)
        if here[:2] == _TABLE:
            for _ in re.finditer(r"\{|\[\[", bare):
                row = (*_TABLE, str(rows))
                found[row], rows = line, rows + 1
    return found


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in key.split("."))
