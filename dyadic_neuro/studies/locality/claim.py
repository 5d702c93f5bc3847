"""What is claimed of local credit assignment, and whether a measurement bears it out."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS, BROKEN, NOTHING = "holds", "broken", "nothing to measure"


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict, "holds", "broken" or "nothing to measure".

    `name` is one word, `statement` what is claimed, `found` what was measured, with numbers. A broken claim has its first
    `counterexample` in words.
    """

    name: str
    statement: str
    verdict: str
    found: str
    counterexample: str | None = None

    @classmethod
    def judged(cls, name: str, statement: str, found: str, counterexample: str | None) -> Claim:
        """Return the claim as broken if there is a counterexample, and as holding if there is none."""
        return cls(name, statement, HOLDS if counterexample is None else BROKEN, found, counterexample)

    @classmethod
    def nothing(cls, name: str, statement: str, why: str) -> Claim:
        """Return the claim as one of which this subject has nothing to measure."""
        return cls(name, statement, NOTHING, why)

    @property
    def broken(self) -> bool:
        """Whether a counterexample was found."""
        return self.verdict == BROKEN

    def __str__(self) -> str:
        text = f"{self.name}: {self.verdict}. {self.statement}: {self.found}"
        return text if self.counterexample is None else f"{text}\n    first counterexample: {self.counterexample}"
