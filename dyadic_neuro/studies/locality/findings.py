"""What the parts of the study found, piece after piece, and what stopped them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dyadic_neuro.errors import CapacityError, DataError, DivergedError, DyadicError, OptionError, SimulatorError
from dyadic_neuro.studies.locality.claim import Claim

_REFUSALS = (CapacityError, DataError, DivergedError, OptionError)
_ASKED = ("alpha", "at", "changes", "perturbation", "schedule", "steps")  # errors of these fields are the caller's


@dataclass(frozen=True, eq=False)
class Findings:
    """A piece of what one part of the study found, with the name of the backend that it ran on (None: nothing had to run).

    `whole` is the Cones or the Stability that figures are drawn of.
    """

    on: str | None = None
    claims: Sequence[Claim] = ()
    tables: Mapping[str, Any] = field(default_factory=dict)
    sentences: Sequence[str] = ()
    whole: Any = None


class Found:
    """All that was found so far on the backend of this name.

    `tables` are by file, with a column `backend`, `sentences` by part and backend, `wholes` and `failed`, the error of each part
    that did not come to its end, by part.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self.claims: list[Claim] = []
        self.contrast: list[Claim] = []
        self.tables: dict[str, Any] = {}
        self.sentences: dict[str, dict[str, list[str]]] = {}
        self.wholes: dict[str, Any] = {}
        self.failed: dict[str, DyadicError] = {}

    def run(self, part: str, pieces: Iterable[Findings]) -> None:
        """Take piece after piece of a part, as far as it goes. Raises the errors that are about what the caller asked for."""
        if any(isinstance(error, SimulatorError) for error in self.failed.values()):
            self._tell(part, self._backend, ["Not examined: the simulator had failed."])
            return
        try:
            for piece in pieces:
                self._add(part, piece)
        except (*_REFUSALS, SimulatorError) as error:
            self._stopped(part, self._backend, error)
            self.failed[part] = error

    def run_contrast(self, part: str, backend: str, claims: Callable[[], Sequence[Claim]]) -> None:
        """Take the claims of a part about another backend, if it can be examined."""
        try:
            self.contrast += claims()
        except _REFUSALS as error:
            self._stopped(part, backend, error)

    def _add(self, part: str, piece: Findings) -> None:
        import pandas as pd

        self.claims += piece.claims
        for name, table in piece.tables.items():
            rows = table.copy()
            if piece.on is not None:
                rows.insert(0, "backend", piece.on)
            self.tables[name] = pd.concat([self.tables[name], rows], ignore_index=True) if name in self.tables else rows
        self._tell(part, piece.on or self._backend, piece.sentences)
        if piece.whole is not None:
            self.wholes[part] = piece.whole

    def _tell(self, part: str, backend: str, sentences: Sequence[str]) -> None:
        if sentences:
            self.sentences.setdefault(part, {}).setdefault(backend, []).extend(sentences)

    def _stopped(self, part: str, backend: str, error: DyadicError) -> None:
        if error.field in _ASKED:
            raise error
        self._tell(part, backend, [f"Not examined to the end: {str(error).splitlines()[0]}."])
