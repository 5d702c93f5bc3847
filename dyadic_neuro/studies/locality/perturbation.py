"""What is changed to see who learns of it: one input, one target, one neuron's state, one synapse or one bias."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError, UnknownNameError
from dyadic_neuro.losses import Loss
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import is_real

INPUT, TARGET, POTENTIAL, SENSITIVITY, WEIGHT, COPY, BIAS = (
    "input",
    "target",
    "potential",
    "sensitivity",
    "weight",
    "W^T copy",
    "bias",
)
STATES = (POTENTIAL, SENSITIVITY)
Variable = tuple[str, str]
"""A kind (of a state POTENTIAL or SENSITIVITY) and a population."""

ROWS = (INPUT, TARGET, POTENTIAL, SENSITIVITY)
"""What differs from sample to sample: of these many are changed at once, each in a row of a batch of its own."""
_LEAST = 16  # units in the last place: less may be lost in the first sum
KINDS = (*ROWS, WEIGHT, COPY, BIAS)


@dataclass(frozen=True)
class Perturbation:
    """A change of one variable by `amount`, or by so many times its own size where that is more than 1.

    `kind` is one of KINDS: an input, a target, a neuron's potential or sensitivity, a synapse of a forward copy ("weight") or of
    a backward one ("W^T copy"), or a bias. `name` is the population, of a synapse its projection; `index` the (neuron,), of a
    synapse its (row, column) in W (n_target, n_source), in both copies, or the (neuron,) of a diagonal.
    """

    kind: str
    name: str
    index: tuple[int, ...]
    amount: float = 1.0

    def check(self, network: Network) -> None:
        """Raise UnknownNameError or OptionError for what this network does not have."""
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise UnknownNameError("perturbation", f"{self.kind!r} is nothing that can be changed", f"use one of {list(KINDS)}")
        known = changeable(network)[self.kind]
        if not isinstance(self.name, str) or self.name not in known:
            fix = f"use one of {list(known)}" if known else "leave it out: this network has none"
            raise UnknownNameError("perturbation", f"{self.name!r} has no {self.kind}", fix)
        shape = known[self.name]
        inside = isinstance(self.index, tuple) and len(self.index) == len(shape)
        if not inside or not all(isinstance(i, (int, np.integer)) and 0 <= i < n for i, n in zip(self.index, shape, strict=True)):
            problem = f"{self.index!r} is outside the {self.kind} of {self.name}, of shape {shape}"
            raise OptionError("perturbation", problem, "count from 0, one index an axis")
        least = _LEAST * float(np.finfo(str(np.dtype(network.dtype))).eps)
        if not is_real(self.amount) or abs(self.amount) < least:
            problem = f"{self.amount!r} is no change of a {np.dtype(network.dtype)} number"
            raise OptionError("perturbation", problem, f"use a finite number of at least {least:.0e}, for example 1.0")

    def shifted(self, values: Array) -> Array:
        """Return other values in place of these."""
        found: Array = values + (self.amount * np.maximum(1.0, np.abs(values))).astype(values.dtype)
        return found

    def applied(self, values: Array, index: tuple[int, ...]) -> Array:
        """Return a copy of the values in which the entry there is another."""
        found = np.array(values)
        found[index] = self.shifted(found[index])
        return found

    def __str__(self) -> str:
        return f"{self.kind} {self.name}[{', '.join(map(str, self.index))}]"


def changeable(network: Network) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return all that can be changed: kind -> name -> shape."""
    sizes: dict[str, tuple[int, ...]] = {p.name: (p.size,) for p in network.populations}
    states = {p.name: sizes[p.name] for p in network.dynamic}
    weights = {p.name: p.weights.shape for p in network.projections}
    return {
        INPUT: {network.input: sizes[network.input]},
        TARGET: {network.output: sizes[network.output]},
        POTENTIAL: states,
        SENSITIVITY: states,
        WEIGHT: weights,
        COPY: {p.name: weights[p.name] for p in network.projections if p.source != network.input},
        BIAS: {p.name: (p.size,) for p in network.dynamic if p.bias is not None},
    }


def every(network: Network, kinds: Iterable[str] = ROWS, *, most: int | None = None, seed: int = 0) -> list[Perturbation]:
    """Return a change of every variable of these kinds, or of at most `most` of each population or projection, drawn by seed."""
    rng, found = np.random.default_rng([seed, 5]), []
    for kind in kinds:
        for name, shape in changeable(network)[kind].items():
            size = int(np.prod(shape))
            chosen = np.arange(size) if most is None or most >= size else np.sort(rng.choice(size, most, replace=False))
            places = zip(*np.unravel_index(chosen, shape), strict=True)
            found += [Perturbation(kind, name, tuple(int(i) for i in place)) for place in places]
    return found


def moved(loss: Loss, target: Array, neuron: int, amount: float) -> Array:
    """Return a row of targets (n,) in which one entry is another, and the rest as far as the loss allows.

    Where targets have to be probabilities, those of the other neurons change too. Raises OptionError if the loss takes none.
    """
    shifted, flipped, mixed = target.copy(), target.copy(), 0.5 * target
    shifted[neuron] += amount
    flipped[neuron] += 0.5 if target[neuron] < 0.5 else -0.5
    mixed[neuron if target[neuron] < 0.5 else (neuron + 1) % len(target)] += 0.5
    for candidate in (shifted, flipped, mixed):
        if loss.check(candidate[None]) is None and not np.array_equal(candidate, target):
            return candidate
    raise OptionError("perturbation", f"the loss {loss.name!r} takes no other target", "leave targets out")
