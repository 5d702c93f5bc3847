"""The network of integers: frozen, validated, and proven wide enough for every sum that its dynamics can form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from json import dumps
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array, checked, frozen
from dyadic_neuro.errors import DataError, FileError, NetworkError, SaturationError, UnknownNameError
from dyadic_neuro.fixed_point.format import FixedFormat
from dyadic_neuro.fixed_point.functions import FixedActivation, FixedLoss, fixed_activation, fixed_loss, passing
from dyadic_neuro.fixed_point.population import FixedPopulation, Scales
from dyadic_neuro.fixed_point.rules import FixedRules
from dyadic_neuro.fixed_point.scales import WIDEST, Scale, bits_for
from dyadic_neuro.fixed_point.synapses import FixedProjection, Ways
from dyadic_neuro.graph import Graph
from dyadic_neuro.interchange import npz
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

Signals = tuple[FixedActivation, Scale, Scale]
"""A rate function, and the scales of a sensitivity and of what is sent of it."""

_BIASES, _NEURONS = 1 << 14, 1 << 24
"""Biases are numbered beyond all projections; rows and columns of weights stay below the other."""


@dataclass(frozen=True)
class Exponents:
    """What a calibration decides: the exponents of a network's integers, by the names of populations and projections.

    Value = integer * 2 ** -exponent. The input's potential is its rate.
    """

    potentials: Mapping[str, int]
    sensitivities: Mapping[str, int]
    weights: Mapping[str, int]


@dataclass(frozen=True)
class Piece:
    """Which synapses a projection of a divided network holds: those of projection `number` from `row` and `column` on."""

    number: int
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class FixedNetwork(Graph):
    """A network whose weights, biases, states and messages are integers (int64 arrays, of the widths of `format`).

    `description` is the float network as a specification. `exponents` say what the integers stand for, and all tables
    follow from them. `values` are weights and biases by the keys of the float network. `updates` counts the changes that they
    went through in learning: the random numbers of the next one hang on it.

    Where a chip divided a fan-in, `carried` gives for each population that it added the scales of its potential and of its
    sensitivity, which are as wide as the sums that they are parts of, and are sent whole; `pieces` tells where each
    projection comes from.

    Raises NetworkError (a width that does not hold: it names population, bits needed and the fix; a loss or a rate function
    without an integer form) and DataError for what is no integer of its width.
    """

    description: Network
    format: FixedFormat
    exponents: Exponents
    values: Mapping[str, ArrayLike]
    updates: int = 0
    carried: Mapping[str, tuple[Scale, Scale]] = field(default_factory=dict)
    pieces: Mapping[str, Piece] = field(default_factory=dict)

    def __post_init__(self) -> None:
        net = self.description.structure()
        keys = net.parameters
        _check_parts(net, self.exponents, self.updates, divided=bool(self.pieces))
        values = {key: _integers(key, self.values, keys[key].shape, self._width(key)) for key in keys}
        signals = {p.name: self._signals(p) for p in net.populations}
        populations = tuple(self._population(i, p, signals, values.get(f"{p.name}.bias")) for i, p in enumerate(net.populations))
        scales = {p.name: p.scales for p in populations}
        projections = tuple(self._projection(i, p, scales, values[p.name]) for i, p in enumerate(net.projections))
        output = scales[net.output]
        parts = {
            "description": net,
            "values": MappingProxyType(values),
            "populations": populations,
            "projections": projections,
            "loss": fixed_loss(net.cost, output.potential, output.sensitivity, self.format.table_bits),
            "input": net.input,
            "output": net.output,
            "dtype": np.dtype(np.int64),
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)
        _ = self.drive_bits, self.credit_bits  # proves that every sum has room

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what follows from the rest."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"values": dict(self.values)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what `__getstate__` returned."""
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __repr__(self) -> str:
        f = self.format
        parts = repr(self.description).removeprefix("Specification(").removesuffix(")")
        return f"FixedNetwork({parts}; weights {f.weight_bits} bit, messages {f.message_bits} bit, states {f.state_bits} bit)"

    # What the integers stand for

    def _width(self, key: str) -> Scale:
        """Return the scale of a parameter."""
        name = key.removesuffix(".bias")
        if name != key:
            return Scale(self.exponents.potentials[name], self.format.state_bits)
        if key in self.exponents.weights:
            return Scale(self.exponents.weights[key], self.format.weight_bits)
        return Scale(0, 2)  # of the weight 1 that joins a part of a sum to the whole

    def _signals(self, p: Population) -> Signals:
        """Return the rate function of a population, and the scales of its sensitivity and of what is sent of that."""
        form, name = self.format, p.name
        if name in self.carried:
            potential, sensitivity = self.carried[name]
            return passing(potential), sensitivity, sensitivity
        if name == self.description.input:
            shown = Scale(self.exponents.potentials[name], form.message_bits)
            return passing(shown), shown, shown
        potential = Scale(self.exponents.potentials[name], form.state_bits)
        sensitivity = Scale(self.exponents.sensitivities[name], form.state_bits)
        message = Scale(sensitivity.exponent - form.state_bits + form.message_bits, form.message_bits)
        return fixed_activation(p.phi, potential, form.message_bits, form.table_bits), sensitivity, message

    def _population(self, number: int, p: Population, signals: Mapping[str, Signals], bias: Array | None) -> FixedPopulation:
        net, (phi, sensitivity, message) = self.description, signals[p.name]
        drives = [self._width(q.name).exponent + signals[q.source][0].shown.exponent for q in net.incoming[p.name]]
        returned = [self._width(q.name).exponent + signals[q.target][2].exponent for q in net.outgoing[p.name]]
        drive, credit = max([*drives, phi.potential.exponent]), max([*returned, sensitivity.exponent])
        scales = Scales(phi.potential, phi.shown, sensitivity, message, drive, credit)
        return FixedPopulation(p.name, p.size, phi, bias, scales=scales, number=_BIASES + number)

    def _projection(self, number: int, p: Projection, scales: Mapping[str, Scales], weights: Array) -> FixedProjection:
        piece = self.pieces.get(p.name, Piece(number, 0, 0))
        width, source, target = self._width(p.name), scales[p.source], scales[p.target]
        return FixedProjection(
            p.source,
            p.target,
            weights,
            p.plastic,
            p.corner,
            p.shape,
            scale=width,
            ways=Ways(source.rate, target.message, target.drive - width.exponent - source.rate.exponent),
            back=Ways(target.message, source.rate, source.credit - width.exponent - target.message.exponent),
            number=piece.number,
            origin=(piece.row, piece.column),
            updates=self.updates,
        )

    @cached_property
    def drive_bits(self) -> Mapping[str, int]:
        """The bits of the sum that each potential is rounded from, whatever weights and messages are. Raises NetworkError."""
        found = {}
        for p in self.dynamic:
            scales = self.scales[p.name]
            bound = sum(self.projection(q.name).bound() for q in self.incoming[p.name])
            bound += (-scales.potential.lowest if p.bias is not None else 0) << (scales.drive - scales.potential.exponent)
            found[p.name] = _proven(p.name, "potential", bits_for(bound))
        return found

    @cached_property
    def credit_bits(self) -> Mapping[str, int]:
        """The bits of the sum that each sensitivity is rounded from, before phi'. Raises NetworkError."""
        found = {}
        for p in self.dynamic:
            scales, phi = self.scales[p.name], self.population(p.name).fixed
            bound = sum(self.projection(q.name).transposed().bound() for q in self.outgoing[p.name])
            found[p.name] = bits_for(bound)
            bound *= phi.steepest
            if p.name == self.output:
                error = _proven(p.name, "error", bits_for(cast(FixedLoss, self.loss).bound))
                if bound:
                    bound += (1 << error) << (scales.credit - scales.sensitivity.exponent)
            bound <<= max(0, scales.sensitivity.exponent - scales.credit - phi.slope)
            _proven(p.name, "sensitivity", bits_for(bound))
        return found

    @cached_property
    def scales(self) -> Mapping[str, Scales]:
        """What the integers of each population stand for."""
        return MappingProxyType({p.name: self.population(p.name).scales for p in self.populations})

    @cached_property
    def message_bits(self) -> Mapping[str, int]:
        """The widths of all that is sent, by "<population> rate" and "<population> sensitivity"."""
        rates = {f"{name} rate": scales.rate.bits for name, scales in self.scales.items() if self.outgoing[name]}
        sent = {q.target for q in self.projections if q.source != self.input}
        return rates | {f"{name} sensitivity": scales.message.bits for name, scales in self.scales.items() if name in sent}

    def population(self, name: str) -> FixedPopulation:
        """Return the population of this name. Raises UnknownNameError."""
        return cast(FixedPopulation, super().population(name))

    def projection(self, name: str) -> FixedProjection:
        """Return the projection of this name. Raises UnknownNameError."""
        return cast(FixedProjection, super().projection(name))

    def rules(self, name: str, first: int = 0) -> FixedRules:
        """Return the rules of a population, or of the slice of it that begins with neuron `first`."""
        alone = replace(self.population(name), bias=None)  # biases are where their neurons are
        return FixedRules(alone, self.format, first, self.updates)

    # Data

    def encode(self, inputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return real inputs (samples, n_input) and target rows (samples, n_output) as integers, limited to those there are.

        Raises SaturationError for what is limited, if the format is strict.
        """
        lost = self.unfit(inputs, targets) if self.format.strict else 0
        if lost:
            raise SaturationError("data", f"left its range {lost:,} times", "calibrate with these data, or use no strict format")
        return self.scales[self.input].rate.nearest(inputs), cast(FixedLoss, self.loss).target.nearest(targets)

    def unfit(self, inputs: Array, targets: Array) -> int:
        """Return how many of these real inputs and targets `encode` limits."""
        return self.scales[self.input].rate.beyond(inputs) + cast(FixedLoss, self.loss).target.beyond(targets)

    def check_batch(self, batch: int) -> None:
        """Raise DataError for a batch over which products of messages sum up to more than the accumulator holds."""
        bits = 2 * self.format.message_bits + batch.bit_length()
        if bits > WIDEST:
            problem = f"have {batch:,} samples, over which gradients sum up to {bits} bits, more than {WIDEST}"
            raise DataError("inputs", problem, "use a smaller batch, or narrower messages")

    def check_pace(self, learning_rate: float, weight_decay: float, batch: int) -> None:
        """Raise OptionError if some weight or bias cannot learn at this rate, or with batches of this size."""
        for key in self.plastic:
            if key.endswith(".bias"):
                self.population(key.removesuffix(".bias")).pace(learning_rate, batch, self.format)
            else:
                self.projection(key).pace(learning_rate, weight_decay, batch, self.format)

    def exponent(self, population: str, what: str) -> int:
        """Return the exponent of integers in a trace: "inputs", "targets", or a population's "potential" or "sensitivity"."""
        scales = self.scales[population]
        if what == "targets":
            return cast(FixedLoss, self.loss).target.exponent
        return (scales.sensitivity if what == "sensitivity" else scales.potential).exponent

    def quantised(self, key: str, values: ArrayLike) -> Array:
        """Return real values of a parameter as the nearest integers of its scale. Raises UnknownNameError and DataError."""
        if key not in self.parameters:
            raise UnknownNameError("parameters", f"no parameter is called {key!r}", f"use some of {list(self.parameters)}")
        return fitting(key, checked(key, values, np.dtype(np.float64), self.parameters[key].shape), self._width(key))

    def real(self) -> Network:
        """Return the float network that has the values of these integers."""
        return self.description.with_parameters({key: self._width(key).real(values) for key, values in self.parameters.items()})

    def with_parameters(self, parameters: Mapping[str, ArrayLike], updates: int | None = None) -> FixedNetwork:
        """Return this network with the given integers in place of its own, after so many updates (None: as many as before).

        Raises UnknownNameError for a key that is no parameter, and DataError for what is no integer of its width.
        """
        for key in parameters:
            if key not in self.parameters:
                raise UnknownNameError("parameters", f"no parameter is called {key!r}", f"use some of {list(self.parameters)}")
        return replace(self, values={**self.values, **parameters}, updates=self.updates if updates is None else updates)

    def divided(self, description: Network, values: Mapping[str, ArrayLike], pieces: Mapping[str, Piece]) -> FixedNetwork:
        """Return this network with a fan-in divided as `description` has it: the same sums, in parts that are sent whole.

        `pieces` names the projections that hold weights of this network; those it does not name join one to one, with weight 1.
        What a population was added for shows in what it is joined to: parts of a sum of rates lead to their population, relays
        of its rate, in which sensitivities are summed up, come from it. Raises as the class.
        """
        known, carried = self.scales, dict(self.carried)
        added = [p.name for p in description.populations if p.name not in known]
        home = {name: _home(description, name, pieces, known) for name in added}
        for name, (of, sums) in home.items():
            scales = known[of]
            whole = Scale(scales.drive, self.drive_bits[of]) if sums else Scale(scales.credit, self.credit_bits[of])
            carried[name] = (whole, scales.message) if sums else (scales.rate, whole)
        weights = {q: self.exponents.weights[self.projections[piece.number].name] for q, piece in pieces.items()}
        exponents = replace(self.exponents, weights=weights)
        return replace(self, description=description, exponents=exponents, values=values, carried=carried, pieces=dict(pieces))

    # What Graph asks for, and files

    def bits(self, population: str, kind: str) -> int:
        """Return the width of what a population sends: a "rate" or "sensitivity", or in its dyad also a "derivative" ..."""
        scales = self.scales[population]
        if kind == "derivative":
            return bits_for(self.population(population).fixed.steepest)
        if kind == "error":
            return bits_for(cast(FixedLoss, self.loss).bound)
        return {"potential": scales.potential, "sensitivity": scales.message, "rate": scales.rate}[kind].bits

    def described(self) -> Network:
        """Return the float network's description."""
        return self.description

    def record(self) -> dict[str, Any]:
        """Return everything but the integers as plain JSON values."""
        exponents = {f.name: dict(getattr(self.exponents, f.name)) for f in fields(self.exponents)}
        return {"network": self.description.record(), "widths": self.format.record(), "exponents": exponents}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of structure, format and scales: everything but the values of weights and biases."""
        return sha256((self.description.fingerprint + dumps(self.record(), sort_keys=True)).encode()).hexdigest()[:16]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the network to an npz file.

        Raises OutputExistsError, and NetworkError for functions of the user's own and for what a chip has divided.
        """
        if self.carried:
            raise NetworkError("save", "is of a network whose fan-in a chip divided", "save the network that was mapped")
        self.description.check_names("save")
        record = self.record() | {"updates": self.updates}
        npz.write(path, "fixed network", record, self.parameters, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FixedNetwork:
        """Read a network that `save` wrote. Raises FileError when the file is missing, foreign, truncated or corrupt."""
        record, arrays = npz.read(path, "fixed network")
        try:
            description = Network.from_record(record["network"])
            exponents = Exponents(**{name: dict(values) for name, values in record["exponents"].items()})
            return cls(description, FixedFormat(**record["widths"]), exponents, arrays, record["updates"])
        except (KeyError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FileError(str(path), f"does not describe a network ({error})", "it is corrupt: use another copy") from None


def fitting(field: str, values: Array, scale: Scale) -> Array:
    """Return real values as the nearest integers of a scale. Raises DataError if some lie beyond it."""
    lost = scale.beyond(values)
    if lost:
        problem = (
            f"has {lost} values beyond {float(scale.real(np.array(scale.highest))):g}, the largest of {scale.bits} bits here"
        )
        raise DataError(field, problem, "limit them, or quantise a network that has such values")
    return scale.nearest(values)


def _check_parts(net: Network, exponents: Exponents, updates: object, *, divided: bool) -> None:
    """Raise NetworkError for exponents that are missing, and for more parts than random numbers are told apart by."""
    dynamic = [p.name for p in net.dynamic]
    needed = {
        "potentials": [net.input, *dynamic],
        "sensitivities": dynamic,
        "weights": [p.name for p in net.projections],
    }
    for kind, keys in needed.items():
        missing = [key for key in keys if key not in getattr(exponents, kind)]
        if missing and not divided:
            raise NetworkError(f"exponents.{kind}", f"lack {missing}", "give an integer for each, or use quantize")
    if isinstance(updates, bool) or not isinstance(updates, (int, np.integer)) or not 0 <= updates < 2**62:
        raise NetworkError("updates", f"{updates!r} is no number of updates", "use an integer of at least 0")
    most = max(p.size for p in net.populations)
    if max(len(net.projections), len(net.populations)) >= _BIASES or most >= _NEURONS:
        problem = f"has {len(net.projections):,} projections, and populations of up to {most:,} neurons"
        fix = f"use fewer than {_BIASES:,} populations and projections, and {_NEURONS:,} neurons each"
        raise NetworkError("network", problem, fix)


def _integers(key: str, values: Mapping[str, ArrayLike], shape: tuple[int, ...], width: Scale) -> Array:
    """Return the integers of a parameter, read-only. Raises DataError."""
    if key not in values:
        raise DataError(key, "is missing", f"give {shape} integers")
    array = np.asarray(values[key])
    if array.dtype.kind not in "iu":
        raise DataError(key, f"is of {array.dtype}, no integers", "quantise it: network.quantised(key, values)")
    found = checked(key, array, np.dtype(np.int64), shape)
    if not width.holds(found):
        problem = f"has integers beyond {width.lowest} .. {width.highest}, which {width.bits} bits hold"
        raise DataError(key, problem, "quantise with more bits, or limit them")
    return frozen(found)


def _proven(population: str, state: str, bits: int) -> int:
    if bits > WIDEST:
        problem = f"the {state} of {population} is rounded from sums of {bits} bits, more than the {WIDEST} of the accumulator"
        raise NetworkError(population, problem, "use fewer message_bits or weight_bits, or weights of like sizes")
    return bits


def _home(net: Network, name: str, pieces: Mapping[str, Piece], known: Mapping[str, Scales]) -> tuple[str, bool]:
    """Return the population that one was added for, and whether it is a part of its sum of rates (else a relay)."""
    for joined, end, sums in ((net.outgoing, "target", True), (net.incoming, "source", False)):
        at = name
        while at not in known and len(joined[at]) == 1 and joined[at][0].name not in pieces:
            at = getattr(joined[at][0], end)
        if at in known:
            return at, sums
    raise NetworkError(name, "is neither a part of a sum nor a relay", "divide networks by mapping them")
