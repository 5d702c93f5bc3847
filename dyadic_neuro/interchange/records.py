"""The record of a network in a file's metadata: what no format of forward networks holds of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from dyadic_neuro.errors import NetworkError
from dyadic_neuro.interchange.limits import MOST_POPULATIONS, MOST_PROJECTIONS

NOT_HELD = "learning rule, sensitivities and the backward copies of the weights; loss and fixed weights stand in the metadata"
"""What a file does not hold even with the record."""
MOST_RECORD = 2**20
"""Characters of a record."""
MARK = "dyadic_neuro"
"""The key of the metadata under which a file carries the record of the network that was written to it."""
BROKEN = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""What following a record raises that does not describe the file it stands in."""


def noted(record: Mapping[str, Any]) -> str:
    """Return the text under which a file carries the record of its network. Raises NetworkError if none could be read back."""
    text = json.dumps(record)
    if len(text) > MOST_RECORD or not _fits(record):
        counts = f"{len(record['populations'])} populations and {len(record['projections'])} projections"
        most = f"{MOST_POPULATIONS} and {MOST_PROJECTIONS}, in {MOST_RECORD} characters"
        raise NetworkError("network", f"has {counts}, and the most that a file of other tools takes are {most}", "use save")
    return text


def record_of(text: object) -> dict[str, Any] | None:
    """Return the record that a text carries, or None; there are no fractions in a record."""
    if not isinstance(text, str) or len(text) > MOST_RECORD:
        return None
    try:
        record = json.loads(text, parse_float=_refused, parse_constant=_refused)
        return record if isinstance(record, dict) and _fits(record) else None
    except (*BROKEN, RecursionError):
        return None


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two records have the same populations, whatever their rate functions, joined alike."""
    return structure(one) == structure(other)


def structure(record: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the populations without their rate functions, and the projections in alphabetical order."""
    populations = [[name, size, bool(biased)] for name, size, _, biased in record["populations"]]
    return populations, sorted([*p[:2], *p[3:]] for p in record["projections"])


def _fits(record: Mapping[str, Any]) -> bool:
    return len(record["populations"]) <= MOST_POPULATIONS and len(record["projections"]) <= MOST_PROJECTIONS


def _refused(text: str) -> NoReturn:
    raise ValueError(text)
