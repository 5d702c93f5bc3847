"""Updates that come when a coin says so, and what the coins alone foretell: no potential and no sensitivity is in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import is_real
from dyadic_neuro.schedule import arrival_weight
from dyadic_neuro.studies.locality.faults import check_count
from dyadic_neuro.studies.locality.perturbation import POTENTIAL, SENSITIVITY, Variable

UNITS = ("population", "neuron")


@dataclass(frozen=True)
class Coins:
    """Each potential and each sensitivity updates in a step with this probability; one coin a population, or a neuron.

    Potentials and sensitivities of a population have coins of their own. The same seed gives the same coins. Raises OptionError.
    """

    probability: float
    per: str = "population"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (is_real(self.probability) and 0 < self.probability <= 1):
            raise OptionError("probability", f"{self.probability!r} is outside (0, 1]", "use for example 0.5")
        if self.per not in UNITS:
            raise OptionError("per", f"{self.per!r} has no coin", f"use one of {list(UNITS)}")
        check_count("seed", self.seed, 0)

    def flips(self, network: Network, cases: int) -> Iterator[dict[Variable, Array]]:
        """Yield for each step, without end, which neurons update: (cases, n), or (cases, 1) for a coin a population."""
        rng = np.random.default_rng([self.seed, cases, 7])
        sizes = {p.name: p.size if self.per == "neuron" else 1 for p in network.dynamic}
        while True:
            yield {
                (kind, name): rng.random((cases, n)) < self.probability
                for kind in (POTENTIAL, SENSITIVITY)
                for name, n in sizes.items()
            }


class Readiness:
    """Which neurons must be exact by now, whatever the state was: those that updated after all that they read was exact.

    That is the recursion T = (first update after the largest T of all sources) over the doubled graph: potentials read the
    potentials before them, sensitivities the sensitivities after them and the potential of their own neuron, those of the
    readout the potentials that the loss couples. It is a bound, and met where everything wrong shows.
    """

    def __init__(self, network: Network, cases: int) -> None:
        self._network = network
        self._inputs = np.ones((cases, network.population(network.input).size), np.bool_)
        self.exact: dict[Variable, Array] = {
            (kind, p.name): np.zeros((cases, p.size), np.bool_) for kind in (POTENTIAL, SENSITIVITY) for p in network.dynamic
        }

    @property
    def all(self) -> Array:
        """In which cases everything is exact, (cases,)."""
        return np.asarray(np.all([flags.all(axis=1) for flags in self.exact.values()], axis=0))

    def step(self, awake: Mapping[Variable, Array]) -> None:
        """Take a step in which those update that are awake, (cases, n) or (cases, 1)."""
        ready = {(kind, name): self._sources(kind, name) for kind, name in self.exact}
        self.exact = {v: flags | (awake[v] & ready[v]) for v, flags in self.exact.items()}

    def _sources(self, kind: str, name: str) -> Array:
        """Return for which neurons everything is exact that they would read now, (cases, n)."""
        network, exact = self._network, self.exact
        found = np.ones_like(exact[kind, name])
        if kind == POTENTIAL:
            for p in network.incoming[name]:
                found &= _reading(p, self._inputs if p.source == network.input else exact[POTENTIAL, p.source])
            return found
        for p in network.outgoing[name]:
            found &= _reading(p.transposed(), exact[SENSITIVITY, p.target]) & exact[POTENTIAL, name]
        if name == network.output:
            own = exact[POTENTIAL, name]
            found &= own if network.cost.separable else own.all(axis=1, keepdims=True)
        return found


def _reading(p: Projection, exact: Array) -> Array:
    """Return which neurons of the target have exact sources only, (cases, n_target)."""
    found = np.ones((len(exact), p.full_shape[0]), np.bool_)
    sources = exact[:, p.columns]
    found[:, p.rows] = sources if p.one_to_one else sources.all(axis=1, keepdims=True)
    return found


def chain_law(network: Network, coins: Coins, steps: Array) -> Array | None:
    """Return P(everything is exact after n steps), (steps,), or None where no closed form is known.

    A chain with a coin a population is exact when its 2D updates have come one after the other, each by a coin of its own:
    P[Binomial(n, p) >= 2D], whose mean number of steps is 2D / p. Raises CycleError.
    """
    if len(network.projections) != network.depth or coins.per != "population":
        return None
    return np.array([arrival_weight(int(n), coins.probability, network.relaxation_steps) for n in steps])
