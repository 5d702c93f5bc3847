"""Numbers that say where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dyadic_neuro.errors import DataError

GRADES = ("published", "measured", "fitted", "derived", "unknown")
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_MOST, _MOST_WHOLE = 1e100, 2**40  # far beyond what anything has; products of whole numbers stay within 64 bits
_PREFIXED = frozenset({"J", "s", "W"})  # counts and bits are read better as they are


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, its source and how far it can be trusted.

    Grades: "published" by the maker, "measured" on the hardware, "fitted" by a model to measurements, "derived" by
    reasoning that `source` states, "unknown". A value of None and the grade "unknown" go together. A value of 0 is a
    statement, which `source` explains, and never stands for an unknown number.

    Raises DataError when they do not go together, or a value is no finite number, or there is no source.
    """

    value: float | int | None
    unit: str
    source: str
    grade: str

    def __post_init__(self) -> None:
        _check_origin(self.source, self.grade)
        if not isinstance(self.unit, str) or not self.unit:
            raise DataError("unit", f"{self.unit!r} is no unit", "write it as a word, like J, s, bit or core")
        if (self.value is None) != (self.grade == "unknown"):
            problem = "has no value" if self.value is None else f"has the value {self.value!r}"
            raise DataError(
                "value", f"{problem}, but the grade {self.grade!r}", "an unknown quantity, and no other, has no value"
            )
        if self.value is not None and (
            isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or not -_MOST < self.value < _MOST
        ):
            raise DataError("value", f"{self.value!r} is not a finite number", "write a number, or leave it out and say unknown")

    def __str__(self) -> str:
        return f"{self.amount} ({self.source})" if self.value is None else f"{self.amount} ({self.grade}: {self.source})"

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def amount(self) -> str:
        """The value with its unit to four digits: "23.6 pJ", "128 core", or "unknown"."""
        if self.value is None:
            return "unknown"
        if self.unit not in _PREFIXED or self.value == 0:
            return f"{self.value:,} {self.unit}" if isinstance(self.value, int) else f"{self.value:.4g} {self.unit}"
        size = float(f"{abs(self.value):.3e}")  # rounded first: 999.96 pJ is 1 nJ
        exponent = min(max(3 * math.floor(math.log10(size) / 3), min(_PREFIXES)), max(_PREFIXES))
        return f"{self.value / 10.0**exponent:.4g} {_PREFIXES[exponent]}{self.unit}"


@dataclass(frozen=True)
class Text:
    """A word that a description has to choose, with its source and grade as in `Quantity`; never unknown. Raises DataError."""

    value: str
    source: str
    grade: str

    def __post_init__(self) -> None:
        _check_origin(self.source, self.grade)
        if not isinstance(self.value, str) or not self.value or self.grade == "unknown":
            raise DataError(
                "value", f"{self.value!r} of grade {self.grade!r} is no choice", "write one of the words, and its grade"
            )

    def __str__(self) -> str:
        return f"{self.value} ({self.grade}: {self.source})"

    @property
    def amount(self) -> str:
        """The word, as `Quantity.amount` is the number."""
        return self.value


def _check_origin(source: object, grade: object) -> None:
    if not isinstance(source, str) or not source.strip():
        raise DataError("source", f"{source!r} is no source", "say where it comes from, or why it is not known")
    if grade not in GRADES:
        raise DataError("grade", f"{grade!r} is no grade", f"use one of {list(GRADES)}")


@dataclass(frozen=True)
class Section:
    """A part of a description, whose fields are quantities and texts declared with the rules of `number` and `word`.

    Raises DataError for an entry that breaks its rule; the error's field is the name of that entry.
    """

    def __post_init__(self) -> None:
        for entry in fields(self):
            rule, content = entry.metadata, getattr(self, entry.name)
            if "unit" in rule:
                check_number(entry.name, content, rule)
            elif "choices" in rule and (not isinstance(content, Text) or content.value not in rule["choices"]):
                raise DataError(entry.name, f"is {shown(content)}", f"use one of {list(rule['choices'])}")


def number(unit: str, *, whole: bool = False, least: int = 0, required: bool = False) -> dict[str, Any]:
    """Return the rule of a field that is a Quantity of this unit, not below `least`; a required one cannot be unknown."""
    return {"unit": unit, "whole": whole, "least": least, "required": required}


def word(*choices: str) -> dict[str, Any]:
    """Return the rule of a field that is a Text, one of the choices."""
    return {"choices": choices}


def check_number(name: str, content: object, rule: Mapping[str, Any]) -> None:
    """Hold an entry to a rule of `number`. Raises DataError."""
    if not isinstance(content, Quantity):
        raise DataError(name, f"is {shown(content)}, not a Quantity", "give it a unit, a source and a grade")
    if content.unit != rule["unit"]:
        raise DataError(name, f"is in {content.unit!r}, not in {rule['unit']!r}", f"convert it to {rule['unit']}")
    if content.value is None:
        if rule["required"]:
            raise DataError(name, "is unknown, but nothing works without it", "give a value, graded 'derived' if it is a choice")
        return
    if rule["whole"] and not isinstance(content.value, int):
        raise DataError(name, f"is {content.value!r}, not a whole number", "write an integer")
    if content.value < rule["least"]:
        raise DataError(name, f"is {content.value!r}, less than {rule['least']}", f"use at least {rule['least']}")
    if rule["whole"] and content.value > _MOST_WHOLE:
        raise DataError(name, f"is {content.value!r}, more than 2**40", "check the unit")


def shown(content: object) -> str:
    """Return what a message shows of a wrong entry: at most 60 characters."""
    text = repr(content.value if isinstance(content, Text) else content)
    return text if len(text) <= 60 else f"{text[:57]}..."
