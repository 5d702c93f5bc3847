"""What a case of the suite measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What a case measured: it holds when `measured` is at most (or, `at_least`, no less than) `limit`."""

    measured: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the law holds."""
        return bool(self.measured >= self.limit if self.at_least else self.measured <= self.limit)
