"""A circuit with faults: the local rules between explicit axons, many cases at once, and what goes wrong in them.

A row of the batch is a case of its own. Every projection has an axon in each direction that its signals take, and the axon
holds the last message that came; populations read nothing else of each other. All of it takes unit steps (alpha = 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State, feedback_copies, potential_update, rates, sensitivity_update
from dyadic_neuro.errors import OptionError
from dyadic_neuro.mappings.copies import RATE
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import is_real
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.locality.perturbation import POTENTIAL, SENSITIVITY, Variable

KINDS = ("potentials", "sensitivities", "lost", "duplicated", "delayed", "garbled", "stalled")
TRANSPORTS = ("every step", "changes")
_HUGE = 1 / 8  # of the values that a fault leaves behind


@dataclass(frozen=True)
class Axon:
    """The way of a projection's messages from the population `source` to `target`: rates ahead, or sensitivities back."""

    kind: str
    projection: str
    source: str
    target: str

    @property
    def drives(self) -> Variable:
        """The variable whose update reads it."""
        return (POTENTIAL if self.kind == RATE else SENSITIVITY, self.target)


def axons(network: Network) -> tuple[Axon, ...]:
    """Return all axons: one ahead for every projection, and one back where its source has a sensitivity."""
    ahead = [Axon(RATE, p.name, p.source, p.target) for p in network.projections]
    return (*ahead, *(Axon(SENSITIVITY, a.projection, a.target, a.source) for a in ahead if a.source != network.input))


@dataclass(frozen=True, eq=False)
class Strike:
    """What goes wrong in one step: masks (cases, n) of neurons, by what they belong to; what is not named goes well.

    `states` overwrites variables at the end of the step. Messages, by axon: `garbled` ones carry another value, `lost` ones
    do not come, `delayed` ones come so many steps later (integers, 0: in time) and overwrite what came meanwhile,
    `duplicated` ones drive their synapses twice. A mask that comes with values has them for its True entries, in order.
    `stalled` dyads, by population, neither update nor send.
    """

    states: Mapping[Variable, tuple[Array, Array]] = field(default_factory=dict)
    garbled: Mapping[Axon, tuple[Array, Array]] = field(default_factory=dict)
    lost: Mapping[Axon, Array] = field(default_factory=dict)
    delayed: Mapping[Axon, Array] = field(default_factory=dict)
    duplicated: Mapping[Axon, Array] = field(default_factory=dict)
    stalled: Mapping[str, Array] = field(default_factory=dict)

    @property
    def spares_messages(self) -> bool:
        """Whether every message goes well."""
        return not (self.garbled or self.lost or self.delayed or self.duplicated or self.stalled)


CLEAN = Strike()


@dataclass(frozen=True)
class Faults:
    """Random faults in the first `steps` steps of a run: the probability of each kind, the same from the same seed.

    `potentials` and `sensitivities` (per neuron and step) are overwritten with anything finite; messages (per neuron, axon and
    step) are `lost`, `duplicated`, `delayed` by 1 .. `longest_delay` steps or `garbled`; a core is `stalled` (per core and
    step in which it runs) for 1 .. `longest_stall` steps, not beyond `steps`. Raises OptionError.
    """

    potentials: float = 0.0
    sensitivities: float = 0.0
    lost: float = 0.0
    duplicated: float = 0.0
    delayed: float = 0.0
    garbled: float = 0.0
    stalled: float = 0.0
    steps: int = 5
    longest_delay: int = 3
    longest_stall: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in KINDS:
            rate = getattr(self, kind)
            if not (is_real(rate) and 0 <= rate <= 1):
                raise OptionError(kind, f"{rate!r} is no probability", "use a number from 0 to 1")
        for name, least in (("steps", 0), ("longest_delay", 1), ("longest_stall", 1), ("seed", 0)):
            check_count(name, getattr(self, name), least)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that may happen."""
        return tuple(kind for kind in KINDS if getattr(self, kind) > 0)

    def strikes(self, network: Network, cases: int, cores: Mapping[str, Array] | None = None) -> Iterator[Strike]:
        """Yield what goes wrong in each of the steps; `cores` says which neurons share a core, as `cores_of` does."""
        rng, sizes = np.random.default_rng([self.seed, cases, 5]), {p.name: p.size for p in network.populations}
        ways, dtype = axons(network), np.dtype(network.dtype)
        cores = cores_of(network) if cores is None else cores
        left = np.zeros((cases, 1 + max(int(labels.max()) for labels in cores.values())), np.int64)
        for _ in range(self.steps):

            def masks(rate: float) -> dict[Axon, Array]:
                return {axon: rng.random((cases, sizes[axon.source])) < rate for axon in ways} if rate else {}

            overwritten = [
                ((kind, p.name), rng.random((cases, p.size)) < rate)
                for kind, rate in ((POTENTIAL, self.potentials), (SENSITIVITY, self.sensitivities))
                for p in (network.dynamic if rate else ())
            ]
            begin = (rng.random(left.shape) < self.stalled) & (left == 0)
            left[begin] = rng.integers(1, self.longest_stall + 1, int(begin.sum()))
            idle, left = left > 0, np.maximum(left - 1, 0)
            yield Strike(
                {variable: (mask, anything(rng, mask, dtype)) for variable, mask in overwritten},
                {axon: (mask, anything(rng, mask, dtype)) for axon, mask in masks(self.garbled).items()},
                masks(self.lost),
                {
                    axon: np.where(mask, rng.integers(1, self.longest_delay + 1, mask.shape), 0)
                    for axon, mask in masks(self.delayed).items()
                },
                masks(self.duplicated),
                {name: idle[:, labels] for name, labels in cores.items()} if self.stalled else {},
            )


def anything(rng: np.random.Generator, mask: Array, dtype: np.dtype[Any], exponent: float = 0.97) -> Array:
    """Return a finite value for every True of the mask: of sizes 0.001 .. 1000, and some of the largest float to `exponent`."""
    count = int(mask.sum())
    values = rng.normal(size=count) * 10.0 ** rng.uniform(-3.0, 3.0, count)
    huge = float(np.finfo(dtype).max) ** exponent
    return np.where(rng.random(count) < _HUGE, np.copysign(huge, values), values).astype(dtype)


def cores_of(network: Network, mapping: Placed | None = None) -> dict[str, Array]:
    """Return for each population the core of every neuron (n,): a core for each, or those of a mapping, numbered from 0.

    Raises OptionError for a mapping of another network, or of one that had to be divided.
    """
    if mapping is None:
        return {p.name: np.full(p.size, i) for i, p in enumerate(network.populations)}
    if not isinstance(mapping, Placed) or mapping.network.fingerprint != network.fingerprint:
        fix = "map this network; where the chip divides a fan-in, study mapping.apply(network)"
        raise OptionError("mapping", "does not hold the populations of this network", fix)
    slices = mapping.slices
    numbers = np.searchsorted(slices.cores, slices.core)
    return {name: np.repeat(numbers[slices.of(name)], slices.sizes[slices.of(name)]) for name in slices.names}


def check_count(field: str, value: object, least: int) -> int:
    """Return an integer of at least `least`. Raises OptionError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(field, f"{value!r} is no count", f"use an integer of at least {least}")
    return int(value)


class Circuit:
    """Cases of a network (rows of the batch), joined by axons, that take one step at a time.

    Transport "every step": a sender sends whenever the schedule lets it. "changes": of that only what differs from what it
    sent last, and in its first step everything. Axons begin with the messages of the initial state, and where they come from
    the input, which has none, with 0. The axons of a core that stalls keep taking messages: they belong to the network
    interface, which holds one message a neuron whether its core listens or not. Losing them instead is `lost` on these axons.

    `inputs` (cases, n_input), `targets` (cases, n_output) rows, `backward` other matrices in place of named W^T copies.
    Raises OptionError (schedule, transport), CycleError for wavefront with a cycle.
    """

    def __init__(
        self,
        network: Network,
        inputs: Array,
        targets: Array,
        initial: State,
        *,
        schedule: str = "free",
        transport: str = "every step",
        backward: Mapping[str, Array] | None = None,
    ) -> None:
        if transport not in TRANSPORTS:
            raise OptionError("transport", f"{transport!r} is no transport", f"use one of {list(TRANSPORTS)}")
        self._network, self._inputs, self._targets, self._axons = network, inputs, targets, axons(network)
        self._schedule, self._changes = Schedule.of(network, schedule), transport == "changes"
        self._feedback = feedback_copies(network, backward)
        self._biases = {p.name: np.asarray(p.bias) for p in network.dynamic if p.bias is not None}
        self.state, self.steps = initial, 0
        with np.errstate(all="ignore"):
            shown = self._shown() | {(RATE, network.input): np.zeros_like(inputs)}
        self._held = {axon: shown[axon.kind, axon.source] for axon in self._axons}
        self._sent: dict[tuple[str, str], Array] = {}
        self._flying: dict[tuple[int, Axon], list[tuple[Array, Array]]] = {}  # by step of arrival: which neurons, what

    def step(self, strike: Strike = CLEAN, awake: Mapping[Variable, Array] | None = None) -> dict[Variable, Array]:
        """Take a step, and return what faults reached in it: for each variable in which cases (cases,).

        A fault of a message reaches what the message drives, when it is sent and when it comes late; one of a stalled core
        its dyads and all that they would have sent to. Variables named in `awake` update only where its mask, (cases, n) or
        (cases, 1), says so; they send all the same.
        """
        self.steps += 1
        reached = _Reached(len(self._inputs))
        with np.errstate(all="ignore"):  # what a fault left behind may overflow, and is assigned over
            shown = self._shown()
            sends = {sender: self._sends(*sender, value, strike) for sender, value in shown.items()}
            if strike.spares_messages and not self._flying:
                arrived = self._delivered(shown, sends)
            else:
                arrived = {}
                for axon in self._axons:
                    sender = axon.kind, axon.source
                    arrived[axon.kind, axon.projection] = self._carried(axon, shown[sender], sends[sender], strike, reached)
            old, new = variables(self.state), self._updated(arrived, shown)
        left = {v: _left(v, old[v], new[v], strike, (awake or {}).get(v), reached) for v in old}
        self.state = State(*({n: left[kind, n] for n in self.state.potentials} for kind in (POTENTIAL, SENSITIVITY)))
        return reached.cases

    def differs(self, exact: State) -> Array:
        """Return which cases differ in any bit from a state of the same shape, (cases,)."""
        held, wanted = variables(self.state), variables(exact)
        found = np.concatenate(list(held.values()), axis=1) != np.concatenate([wanted[v] for v in held], axis=1)
        return np.asarray(found.any(axis=1))

    def _shown(self) -> dict[tuple[str, str], Array]:
        """Return what every sender shows, by kind of message and population."""
        ahead = {(RATE, name): rate for name, rate in rates(self._network, self.state, self._inputs).items()}
        return ahead | {(SENSITIVITY, name): s for name, s in self.state.sensitivities.items()}

    def _sends(self, kind: str, name: str, value: Array, strike: Strike) -> Array:
        """Return which neurons of a sender send in this step."""
        timings = self._schedule.potentials if kind == RATE else self._schedule.sensitivities
        sends = np.full(value.shape, timings[name].sends(self.steps))
        if name in strike.stalled:
            sends &= ~strike.stalled[name]
        if self._changes:
            last = self._sent.get((kind, name))
            if last is not None:
                sends &= value != last
            self._sent[kind, name] = np.where(sends, value, np.nan if last is None else last)
        return sends

    def _delivered(
        self, shown: Mapping[tuple[str, str], Array], sends: Mapping[tuple[str, str], Array]
    ) -> dict[tuple[str, str], Array]:
        """Return the signals that all axons bring in a step in which nothing happens to a message."""
        whole, silent = {s for s, mask in sends.items() if mask.all()}, {s for s, mask in sends.items() if not mask.any()}
        for axon in self._axons:
            sender = axon.kind, axon.source
            if sender in whole:
                self._held[axon] = shown[sender]
            elif sender not in silent:
                self._held[axon] = np.where(sends[sender], shown[sender], self._held[axon])
        return {(axon.kind, axon.projection): held for axon, held in self._held.items()}

    def _carried(self, axon: Axon, value: Array, sends: Array, strike: Strike, reached: _Reached) -> Array:
        """Return the signal that an axon brings in this step."""
        arrives = sends
        if axon.source in strike.stalled:
            reached.add(axon.drives, strike.stalled[axon.source])
        if axon in strike.garbled:
            mask, drawn = strike.garbled[axon]
            value = _overwritten(value, mask, drawn)
            reached.add(axon.drives, mask & arrives)
        if axon in strike.lost:
            reached.add(axon.drives, strike.lost[axon] & arrives)
            arrives = arrives & ~strike.lost[axon]
        if axon in strike.delayed:
            delay = np.where(arrives, strike.delayed[axon], 0)
            reached.add(axon.drives, delay > 0)
            for d in np.unique(delay[delay > 0]):
                self._flying.setdefault((self.steps + int(d), axon), []).append((delay == d, value))
            arrives = arrives & (delay == 0)
        held = np.where(arrives, value, self._held[axon])
        for mask, late in self._flying.pop((self.steps, axon), ()):
            held = np.where(mask, late, held)
            reached.add(axon.drives, mask)
        self._held[axon] = held
        if axon in strike.duplicated:
            twice = strike.duplicated[axon] & arrives
            reached.add(axon.drives, twice)
            return np.where(twice, 2 * held, held)
        return held

    def _updated(self, arrived: Mapping[tuple[str, str], Array], shown: Mapping[tuple[str, str], Array]) -> dict[Variable, Array]:
        """Return the next states, those that have no update in this step as they are."""
        network, u, new = self._network, self.state.potentials, variables(self.state)
        changed, sensed = self._schedule.active(self.steps)
        for name in changed:
            arrivals = [(p, arrived[RATE, p.name]) for p in network.incoming[name]]
            new[POTENTIAL, name] = potential_update(arrivals, self._biases.get(name), u[name])
        for name in sensed:
            arrivals = [(self._feedback[p.name], arrived[SENSITIVITY, p.name]) for p in network.outgoing[name]]
            derivative = network.activations[name].derivative(u[name], shown[RATE, name]) if arrivals else None
            error = network.cost.gradient(u[name], self._targets) if name == network.output else None
            new[SENSITIVITY, name] = sensitivity_update(arrivals, derivative, error, new[SENSITIVITY, name])
        return new


def variables(state: State) -> dict[Variable, Array]:
    """Return the arrays of a state, by variable."""
    parts = ((POTENTIAL, state.potentials), (SENSITIVITY, state.sensitivities))
    return {(kind, name): values for kind, part in parts for name, values in part.items()}


class _Reached:
    """In which cases (cases,) a fault reached each variable."""

    def __init__(self, cases: int) -> None:
        self._none = np.zeros(cases, np.bool_)
        self.cases: dict[Variable, Array] = {}

    def add(self, variable: Variable, mask: Array) -> None:
        self.cases[variable] = self.cases.get(variable, self._none) | mask.any(axis=1)


def _left(variable: Variable, old: Array, new: Array, strike: Strike, awake: Array | None, reached: _Reached) -> Array:
    """Return what a variable is at the end of a step that would take it from `old` to `new`."""
    if awake is not None:
        new = np.where(awake, new, old)
    if variable[1] in strike.stalled:
        reached.add(variable, strike.stalled[variable[1]])
        new = np.where(strike.stalled[variable[1]], old, new)
    if variable in strike.states:
        mask, drawn = strike.states[variable]
        reached.add(variable, mask)
        new = _overwritten(new, mask, drawn)
    return new


def _overwritten(values: Array, mask: Array, drawn: Array) -> Array:
    values = np.array(values)
    values[mask] = drawn
    return values
