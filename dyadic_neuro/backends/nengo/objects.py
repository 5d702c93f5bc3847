"""The kinds of Nengo objects that Nengo itself does not have. Only what builds a circuit imports this: it needs Nengo."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import nengo
import numpy as np

from dyadic_neuro.activations import Activation
from dyadic_neuro.arrays import Array


class Stepped(nengo.Process):  # type: ignore[misc]
    """A Node's process that an object of ours computes: `make()` returns a fresh one for each simulator, and each reset.

    It is called once a step with the time and, if there is any, the input, and returns the output. `running` is the one that
    was made last: that of the simulator at work.
    """

    def __init__(self, make: Callable[[], Any], size_in: int, size_out: int) -> None:
        super().__init__(default_size_in=size_in, default_size_out=size_out)
        self._make = make
        self.running = make()

    def make_step(self, *_: object, **__: object) -> Any:  # noqa: ANN401  (a function of ours)
        """Return what is called in each step."""
        self.running = self._make()
        return self.running

    @property
    def weights(self) -> Array:
        """The weights (n_target, n_source), or a bias (n,), as they are now."""
        return np.array(getattr(self.running.weights, "weights", self.running.weights))


class Hop(nengo.synapses.Synapse):  # type: ignore[misc]
    """A synapse of one step that an object of ours computes, as in `Stepped`."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make

    def make_state(self, *_: object, **__: object) -> dict[str, Array]:
        """Return nothing: the object has its state."""
        return {}

    def make_step(self, *_: object, **__: object) -> Any:  # noqa: ANN401  (a function of ours)
        """Return what is called in each step."""
        return self._make()


class Restarted(nengo.Lowpass):  # type: ignore[misc]
    """A nengo.Lowpass that takes on a state of its own now and then: row i of `initial` (samples, n), i `period` steps on."""

    def __init__(self, tau: float, period: int, initial: Array) -> None:
        super().__init__(tau)
        self._period, self._initial = period, initial

    def make_step(self, shape_in: Any, shape_out: Any, dt: float, rng: Any, state: Any) -> Any:  # noqa: ANN401
        """Return what is called in each step: Nengo's own step, but for those in which a sample begins."""
        filtered, done = super().make_step(shape_in, shape_out, dt, rng, state), count()

        def step(t: float, signal: Array) -> Array:
            sample, steps = divmod(next(done), self._period)
            if steps == 0 and sample < len(self._initial):
                state["X"][0] = self._initial[sample]  # a lowpass has one state, which is what it shows
                shown: Array = state["X"][0]
            else:
                shown = filtered(t, signal)
            return shown

        return step


class Rates(nengo.neurons.NeuronType):  # type: ignore[misc]
    """Neurons that show phi of their current, for any activation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self._activation = activation

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rates) and self._activation is other._activation  # Nengo merges neurons that are equal

    def __hash__(self) -> int:
        return hash(id(self._activation))

    def max_rates_intercepts(self, *_: object) -> tuple[None, None]:
        """Return nothing: there is no highest rate."""
        return None, None

    def step(self, _: float, J: Array, output: Array) -> None:  # noqa: N803  (Nengo names it)
        """Write the rates of the currents into `output`, both (n,)."""
        output[...] = self._activation.rate(J[None])[0]
