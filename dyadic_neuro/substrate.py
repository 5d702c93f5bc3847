"""What a physical circuit adds to the equations: unequal time constants, transmission delays and noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsFloat, cast

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array, frozen
from dyadic_neuro.errors import DataError, OptionError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import settling_steps

Pace = float | Array
_HALVES = ("potential", "sensitivity")
_STABLE_BELOW = 2.0  # (1 - pace) is the eigenvalue of a unit's step, so |1 - pace| < 1
_LARGEST_SEED = 2**31 - 1
_WIDEST = 10.0  # spread of time constants: more is hardly what somebody meant
_LONGEST = 10**9  # steps of a delay: no run gets to see the end of it


@dataclass(frozen=True, eq=False)
class Substrate:
    """What a circuit adds to DESIGN section 2. Times are in units of tau; nothing is set by default.

    Every value is one for both halves of a dyad, or a pair (a tuple of two), and is kept as a pair:

    - `time_constants`: population (not the input) -> tau_v / tau, a number or (n,) array, or a pair (potential, sensitivity).
    - `delays`: projection -> the transmission delay of its messages / tau, or a pair (forward rates, backward sensitivities).
    - `noise`: the standard deviation of additive white noise, or a pair (potential, sensitivity):
      tau du = (F - u) dt + noise sqrt(2 tau) dW. A free unit (F = 0) has it as its stationary deviation as dt -> 0; under
      Euler steps z += a (G - z) + noise sqrt(2 a) xi, with a the unit's own step size, it is noise sqrt(2 / (2 - a)).
    - `seed` of the noise, 0 .. 2^31 - 1.

    Raises OptionError for what is not a number, out of range, or has a physical unit.
    """

    time_constants: Mapping[str, Any] = field(default_factory=dict)
    delays: Mapping[str, Any] = field(default_factory=dict)
    noise: Any = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Put checked pairs in place of the values."""
        put = object.__setattr__
        for what in ("time_constants", "delays"):
            if not isinstance(getattr(self, what), Mapping):
                problem = f"{type(getattr(self, what)).__name__} is no mapping"
                raise OptionError(what, problem, "pass {name: value in units of tau}")
        put(self, "time_constants", {n: _pair(f"time constant of {n}", v, above=True) for n, v in self.time_constants.items()})
        put(self, "delays", {n: _pair(f"delays of {n}", v) for n, v in self.delays.items()})
        put(self, "noise", _pair("noise", self.noise))
        put(self, "seed", _seed(self.seed))

    @classmethod
    def mismatch(
        cls, network: Network, spread: float, seed: int = 0, *, noise: object = 0.0, delays: Mapping[str, Any] | None = None
    ) -> Substrate:
        """Return a substrate of devices that differ.

        Both time constants of every neuron are drawn independently, log-normal with mean 1 and standard deviation `spread`.
        Raises OptionError.
        """
        if not isinstance(network, Network):
            raise OptionError("network", f"{type(network).__name__} is not a Network", "build one with Network.dense(...)")
        if _number("spread", spread) > _WIDEST:
            raise OptionError("spread", f"{spread} is beyond {_WIDEST:g} times the mean", "give it as a part of 1: 0.1 is 10 %")
        sigma = math.sqrt(math.log1p(_number("spread", spread) ** 2))
        rng = np.random.default_rng(_seed(seed))
        drawn = {p.name: tuple(rng.lognormal(-0.5 * sigma**2, sigma, (2, p.size))) for p in network.dynamic}
        return cls(drawn, {} if delays is None else delays, noise, seed)

    @property
    def ideal(self) -> bool:
        """Whether it adds nothing to the equations."""
        ratios = [half for pair in self.time_constants.values() for half in pair]
        others = [half for pair in (*self.delays.values(), self.noise) for half in pair]
        return all(np.all(ratio == 1.0) for ratio in ratios) and not any(others)

    @property
    def timely(self) -> bool:
        """Whether every unit and message is as fast as every other, so that a wave can be timed; noise may be there."""
        return Substrate(self.time_constants, self.delays).ideal

    def check(self, network: Network, alpha: float) -> None:
        """Check everything against a network and a step size.

        Raises UnknownNameError for a name that is none of the network's, DataError for an array of another length, and
        OptionError where a unit's own step is not in (0, 2), or a delay takes more than 10^9 steps.
        """
        sizes = {p.name: p.size for p in network.dynamic}
        for name, ratios in self.time_constants.items():
            if name not in sizes:
                problem = f"no population {name!r} has a potential that relaxes"
                raise UnknownNameError("time_constants", problem, f"use some of {list(sizes)} (the input is clamped)")
            for half, ratio in zip(_HALVES, ratios, strict=True):
                if np.ndim(ratio) and len(ratio) != sizes[name]:
                    problem = f"has {len(ratio)} values for the {half}s of {sizes[name]} neurons"
                    raise DataError(f"time constant of {name}", problem, "give one number, or one for each neuron")
        known = [p.name for p in network.projections]
        for name, delays in self.delays.items():
            if name not in known:
                raise UnknownNameError("delays", f"no projection is called {name!r}", f"use some of {known}")
            if max(delays) / alpha > _LONGEST:
                problem = f"{max(delays)} tau are more than {_LONGEST:.0e} steps of {alpha} tau"
                raise OptionError(f"delays of {name}", problem, "give it in units of tau")
        for name, paces in self.paces(network, alpha).items():
            for half, pace in zip(_HALVES, paces, strict=True):
                if not (np.min(pace) > 0 and np.max(pace) < _STABLE_BELOW):
                    problem = f"dt = {alpha} tau is {np.max(pace):.4g} times what a {half} there has, not in (0, 2): unstable"
                    fix = f"use alpha < {_STABLE_BELOW * alpha / float(np.max(pace)):.4g}, or a longer time constant"
                    raise OptionError(f"time constant of {name}", problem, fix)

    def paces(self, network: Network, alpha: float) -> dict[str, tuple[Pace, Pace]]:
        """Return each dynamic population's own step sizes dt / tau_v of (potential, sensitivity).

        A number, or (n,) in the network's dtype where the time constant is an array; `alpha` itself where there is none.
        """
        dtype = np.dtype(network.dtype)

        def pace(ratio: Pace) -> Pace:
            return np.asarray(alpha / ratio).astype(dtype) if np.ndim(ratio) else alpha / float(ratio)

        ratios = cast("Mapping[str, tuple[Pace, Pace]]", self.time_constants)
        return {p.name: (pace(pair[0]), pace(pair[1])) for p in network.dynamic for pair in [ratios.get(p.name, (1.0, 1.0))]}

    def delay_steps(self, network: Network, alpha: float) -> dict[str, tuple[int, int]]:
        """Return the (forward, backward) delay of every projection in whole steps of alpha tau.

        Rounded to the nearest, halves up, as Brian2 rounds delays. Backward it is 0 from the input, which has no sensitivity.
        """
        found = {}
        for p in network.projections:
            forward, backward = self.delays.get(p.name, (0.0, 0.0))
            back = 0 if p.source == network.input else math.floor(backward / alpha + 0.5)
            found[p.name] = (math.floor(forward / alpha + 0.5), back)
        return found

    def settling_steps(self, network: Network, alpha: float, tolerance: float, *, switched: bool = False) -> int:
        """Return the steps after which a relaxation is expected within `tolerance` (noise aside).

        With unit steps everywhere that is exact: the longest way there and back, each hop one step and its delay. Delays from
        the input count only if it is `switched` in a running circuit. Otherwise it is an estimate: the steps of the law at
        the pace of the slowest unit, which bounds the others, and those that delays add.

        Raises CycleError, and OptionError if the steps are too many to mean.
        """
        finite = self._longest_way(network, alpha, switched=switched)
        paces = {float(edge(pace)) for pair in self.paces(network, alpha).values() for pace in pair for edge in (np.min, np.max)}
        if paces == {1.0}:
            return finite
        slowest = {min(paces), max(1.0, *paces)}  # a step beyond 1 overshoots, the longer the farther
        added = finite - network.relaxation_steps
        return max(settling_steps(network.depth, pace, tolerance) for pace in slowest) + added

    def _longest_way(self, network: Network, alpha: float, *, switched: bool) -> int:
        """Return the steps from which everything is exact if units assign."""
        delays = self.delay_steps(network, alpha)
        known: dict[str, int] = {network.input: 0}
        for name in network.order[1:]:
            ways = [(p, 0 if p.source == network.input and not switched else delays[p.name][0]) for p in network.incoming[name]]
            known[name] = max(known[p.source] + 1 + delay for p, delay in ways)
        sensed: dict[str, int] = {}
        for name in network.order[:0:-1]:
            later = (sensed[p.target] + 1 + delays[p.name][1] for p in network.outgoing[name])
            sensed[name] = max([known[name] + 1, *later])
        return max(sensed.values())


def _pair(name: str, value: object, *, above: bool = False) -> tuple[Pace, Pace]:
    """Return the value of both halves. `above` 0 there may be arrays; others are numbers of at least 0. Raises OptionError."""
    if isinstance(value, tuple) and len(value) != len(_HALVES):
        raise OptionError(name, f"has {len(value)} values", "give one, or a pair (a tuple of two)")
    first, second = value if isinstance(value, tuple) else (value, value)
    return (_ratio(name, first), _ratio(name, second)) if above else (_number(name, first), _number(name, second))


def _ratio(name: str, value: object) -> Pace:
    """Return a time constant as a number or (n,) array above 0. Raises OptionError."""
    _no_unit(name, value)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    if not array.ndim:
        array = np.asarray(_number(name, value))
    if array.dtype.kind not in "iuf":
        raise OptionError(name, f"{value!r} is not of real numbers", "give time constants / tau")
    if array.ndim > 1 or not array.size:
        raise OptionError(name, f"has shape {array.shape}", "give one number, or one for each neuron")
    wrong = ~(np.isfinite(array) & (array > 0))
    if wrong.any():
        raise OptionError(name, f"{float(array[wrong][0])} is not a number above 0", "give time constants / tau: 1 is tau itself")
    return frozen(array.astype(np.float64)) if array.ndim else float(array)


def _number(name: str, value: object) -> float:
    """Return what float() takes, if it is at least 0. Raises OptionError."""
    _no_unit(name, value)
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)) or np.ndim(cast("ArrayLike", value)):
            raise TypeError
        number = float(cast("SupportsFloat", value))
    except (TypeError, ValueError, OverflowError):
        raise OptionError(name, f"{value!r} is not a number", "give one in units of tau, or divide by tau first") from None
    if not 0 <= number < math.inf:
        raise OptionError(name, f"{value!r} is not a number of at least 0", "give a finite one, or 0 for none")
    return number


def _no_unit(name: str, value: object) -> None:
    # float() takes Brian2's quantities and counts seconds, and NumPy takes Pint's without their units
    for item in value if isinstance(value, list) else [value]:
        bare = getattr(getattr(item, "dim", None), "is_dimensionless", getattr(item, "dimensionless", True))
        if not bare:
            raise OptionError(name, f"{item!r} has a physical unit", "divide it by tau: 5*ms/tau")


def _seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= _LARGEST_SEED:
        raise OptionError("seed", f"{seed!r} is not an integer of 0 .. {_LARGEST_SEED}", "use for example 0")
    return int(seed)
