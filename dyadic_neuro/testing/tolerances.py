"""The one table of limits: what a backend may differ by, and why. `conformance` and `agreement` judge by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """A limit with its reason: what is measured is at most `limit`, or with `at_least` no less."""

    name: str
    limit: float
    reason: str
    at_least: bool = False

    @property
    def words(self) -> str:
        """The limit as it is read."""
        if self.limit == 0.0:
            return "none"
        close = self.at_least and 0.0 < 1.0 - self.limit < 1e-3
        return f"{'at least' if self.at_least else 'at most'} {f'1 - {1.0 - self.limit:.0e}' if close else f'{self.limit:g}'}"


COUNTED = Tolerance("counts", 0.0, "steps, hops and messages are whole numbers: none may be too many or too few")
ROUNDED = Tolerance(
    "trajectories",
    1e-12,
    "the difference itself, of states of about 1, or 100 where they start there: float64 keeps 16 digits; sums in another order "
    "lose a few of them in some hundred operations. A backend's own `tolerance` stands in place of it",
)
EXACT = Tolerance("gradients at 2D", 1e-12, "relative to the largest entry of backpropagation's gradient: rounding, as above")
LEARNED = Tolerance(
    "learning", 1e-12, "relative to a parameter's largest entry, after 4 to 16 updates: each rounds, and passes that on"
)
SINGLE = Tolerance("float32", 1e-5, "float32 keeps 7 digits; a dozen products and sums lose about one of them")
SETTLED = Tolerance(
    "settled", 1e-8, "dt < tau comes ever closer and is never there: the step from which this much is left is told"
)
WRONG = Tolerance("one step early", 1e-6, "an error that no rounding explains", at_least=True)
DIRECTION = Tolerance(
    "direction", 1.0 - 1e-12, "the cosine between all gradients and backpropagation's, 1 but for rounding", at_least=True
)
PROMISED = Tolerance(
    "direction of approximations",
    0.97,
    "values decoded from spikes, or held in an emulator's integers, are not exact: the least that a backend may promise by its "
    "`cosine`, and what it promises it has to keep",
    at_least=True,
)
TABLE = (COUNTED, ROUNDED, EXACT, LEARNED, SINGLE, SETTLED, WRONG, DIRECTION, PROMISED)


def direction(promise: float | None) -> float:
    """Return the least cosine of a backend that promises this much (None: one that is exact)."""
    return DIRECTION.limit if promise is None else max(promise, PROMISED.limit)
