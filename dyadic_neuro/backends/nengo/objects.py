"""The kinds of Nengo objects that Nengo itself does not have. Only what builds a circuit imports this: it needs Nengo."""

from __future__ import annotations

from collections.abc import Callable
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
