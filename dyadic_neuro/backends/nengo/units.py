"""What a session puts into a circuit beside the network: the state of a population's halves, and the data.

Each is called once a Nengo step, with the time and what arrives, and counts the steps itself: Nengo's clock is a float.
"""

from __future__ import annotations

from dyadic_neuro.arrays import Array
from dyadic_neuro.schedule import Timing


class Unit:
    """The potential, or the sensitivity, of a population: what one hop is made of.

    It takes a step of size `alpha` towards what arrives whenever its `timing` says so, and is held else. Its windows are of
    `period` Nengo steps. With `initial` (samples, n) the first of them is no step: there it takes on the state in which its
    next sample starts.
    """

    def __init__(self, alpha: float, timing: Timing, period: int, initial: Array | None) -> None:
        self._alpha, self._timing, self._period, self._initial = alpha, timing, period, initial
        self._value: Array | float = 0.0
        self._done = 0
        self._always = timing.at is None

    def __call__(self, _: float, target: Array) -> Array | float:
        """Return the state (n,) that the next Nengo step shows."""
        window, step = divmod(self._done, self._period)
        self._done += 1
        if self._initial is None:
            step += 1
        elif step == 0:
            if window < len(self._initial):
                self._value = self._initial[window]
            return self._value
        if self._always or self._timing.updates(step):
            # alpha = 1 assigns, as in `dynamics`: nothing is left of a huge old state
            self._value = target if self._alpha == 1.0 else self._value + self._alpha * (target - self._value)
        return self._value


class Presenter:
    """Shows the rows (samples, n) of `rows` that `order` names one after the other, each for `period` Nengo steps."""

    def __init__(self, rows: Array, order: Array, period: int) -> None:
        self._rows, self._order, self._period = rows, order, period
        self._done = 0

    def __call__(self, _: float) -> Array:
        """Return what is shown in this Nengo step, (n,)."""
        sample = min(self._done // self._period, len(self._order) - 1)
        self._done += 1
        return self._rows[self._order[sample]]  # type: ignore[no-any-return]
