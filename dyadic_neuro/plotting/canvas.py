"""Making figures and writing them to files."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dyadic_neuro.errors import FileError, MissingExtraError
from dyadic_neuro.interchange.outputs import writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise what `save` would raise for this path, and MissingExtraError, before any work is done."""
    writable(path, overwrite=overwrite)
    kinds = new_figure(1.0, 1.0).canvas.get_supported_filetypes()
    ending = os.path.splitext(path)[1].lstrip(".")
    if ending not in kinds:
        raise FileError(str(path), f"{ending!r} is no kind of figure", f"let the name end in one of {sorted(kinds)}")


def save(figure: Figure, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a figure; the ending of the name decides the format. Raises OutputExistsError and FileError."""
    figure.savefig(writable(path, overwrite=overwrite), dpi=150)


def available() -> str | None:
    """Return what must be installed before a figure can be drawn, or None."""
    return None if find_spec("matplotlib") else "pip install 'dyadic-neuro[plot]'"


def plain(text: str) -> str:
    """Return text of a user's own as it is drawn: matplotlib would read what stands between dollar signs as a formula."""
    return text.replace("$", r"\$")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches. Raises MissingExtraError."""
    missing = available()
    if missing is not None:
        raise MissingExtraError("matplotlib", "is not installed, and draws the figures", missing)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
