"""A population: neurons that share a rate function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.activations import Activation, activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import NetworkError

ActivationSpec = str | Activation | tuple[Callable[[Array], Array], Callable[[Array], Array]]


@dataclass(frozen=True, eq=False)
class Population:
    """`size` neurons that share a rate function.

    `bias` is (size,) or one number for all; None means a population without a bias, which then learns none.
    """

    name: str
    size: int
    activation: ActivationSpec = "identity"
    bias: ArrayLike | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or any(mark in self.name for mark in ("->", ".", "/", " ")):
            raise NetworkError(
                "population name",
                f"{self.name!r} is not usable in parameter keys",
                "use a word without spaces, '.', '/' and '->'",
            )
        if isinstance(self.size, bool) or not isinstance(self.size, (int, np.integer)) or self.size < 1:
            raise NetworkError(
                f"size of {self.name}", f"{self.size!r} is not a number of neurons", "give an integer of at least 1"
            )
        object.__setattr__(self, "size", int(self.size))
        object.__setattr__(self, "activation", activation(self.activation))

    @property
    def phi(self) -> Activation:
        """The rate function with its derivative."""
        return cast(Activation, self.activation)
