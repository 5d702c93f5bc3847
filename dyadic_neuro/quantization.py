"""`quantize`: a network of integers for a float network, with scales that a calibration on data has chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro import oracle
from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.errors import DataError, NetworkError, OptionError
from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
from dyadic_neuro.fixed_point.network import Exponents
from dyadic_neuro.fixed_point.scales import WIDEST, Scale, bits_for, exponent_for
from dyadic_neuro.network import Network

_GUARD = 24
"""Products finer than this many bits below the last one of a state are no use: weights as small as that get a coarser scale."""

_SATURATING = {"tanh": 8.0, "sigmoid": 8.0, "hard_tanh": 2.0}
"""Rate functions that are flat beyond such potentials, which they should be able to reach, whatever the calibration met."""

_LARGEST = 1e100
"""A state beyond that is no state of a circuit, and its square would be no number."""

_UNCALIBRATED = {"input": 8.0, "potential": 8.0, "sensitivity": 1.0, "weight": 1.0}
"""The ranges that are taken without a calibration, and for what is 0 throughout: it may learn."""

_SLOPES = {"identity": 0, "relu": 0, "hard_tanh": 0, "leaky_relu": 14}
"""Bits of the slopes of rate functions that are no tables."""


def quantize(
    network: Network,
    format: FixedFormat | None = None,  # noqa: A002  (the word of the field)
    calibration: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
) -> FixedNetwork:
    """Return the network in integers of the widths of `format` (None: 8-bit weights, 16-bit messages, 24-bit states).

    Every scale is a power of two: for each projection the finest that holds its largest weight, for each population the
    finest that holds the largest potential, and the largest sensitivity, which the samples of `calibration` lead to, with the
    format's headroom. `calibration` is inputs (samples, n_input), or a pair of them with targets as `relax` takes them; without
    targets sensitivities are calibrated for the targets that are the furthest away: the least likely class, the wrong end
    of the unit interval, or for squared_error the negative of the prediction. Without a calibration all inputs and potentials are
    taken to lie between -8 and 8, all sensitivities between -1 and 1; and so are those that the calibration only meets as 0.

    Raises DataError (calibration data), OptionError, CycleError (a network with a cycle can only be quantised without
    calibration), and NetworkError for what the format cannot hold (it names the population and the bits needed).
    """
    if not isinstance(network, Network):
        problem = f"{type(network).__name__} is not a float Network"
        raise OptionError("network", problem, "quantise a Network; of a FixedNetwork take network.real()")
    form = FixedFormat() if format is None else format
    if not isinstance(form, FixedFormat):
        raise OptionError("format", f"{type(form).__name__} is not a FixedFormat", "use FixedFormat(weight_bits=8)")
    network.need_weights()
    largest_u, largest_s = _ranges(network, form, calibration)
    potentials = {
        p.name: exponent_for(largest_u[p.name], form.message_bits if p.name == network.input else form.state_bits)
        for p in network.populations
    }
    for p in network.dynamic:
        if p.phi.name == "hard_tanh":
            potentials[p.name] = max(0, potentials[p.name])  # so that 1 is an integer
    sensitivities = {p.name: exponent_for(largest_s[p.name], form.state_bits) for p in network.dynamic}
    headroom = 2.0**form.weight_headroom_bits
    weights = {
        p.name: exponent_for((_largest(p.weights) or _UNCALIBRATED["weight"]) * headroom, form.weight_bits)
        for p in network.projections
    }
    weights = _coarse_enough(network, form, potentials, sensitivities, weights)
    exponents = Exponents(potentials, _with_room(network, form, sensitivities, weights), weights)
    values = {}
    for q in network.projections:
        values[q.name] = Scale(exponents.weights[q.name], form.weight_bits).nearest(q.weights)
    for population in network.dynamic:
        if population.bias is not None:
            width = Scale(potentials[population.name], form.state_bits)
            values[f"{population.name}.bias"] = width.nearest(np.asarray(population.bias))
    return FixedNetwork(network.structure(), form, exponents, values)


def _ranges(
    network: Network, form: FixedFormat, calibration: ArrayLike | tuple[ArrayLike, ArrayLike] | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the largest potential and the largest sensitivity that each population must be able to hold."""
    names = [p.name for p in network.dynamic]
    bias = {p.name: _largest(np.asarray(p.bias)) for p in network.dynamic if p.bias is not None}
    if calibration is None:
        largest_u = {name: max(_UNCALIBRATED["potential"], bias.get(name, 0.0)) for name in names}
        largest_u[network.input] = _UNCALIBRATED["input"]
        return largest_u, dict.fromkeys(names, _UNCALIBRATED["sensitivity"])
    network.need_depth()
    x, y = _data(network, calibration)
    with np.errstate(all="ignore"):  # what is not finite is told below
        u, s = oracle.settled(network, x, y)
    for name in names:
        if not max(_largest(u[name]), _largest(s[name])) < _LARGEST:
            raise DataError("calibration", f"leads to states of {name} beyond {_LARGEST:.0e}", "pass smaller inputs")
    room = 2.0**form.headroom_bits
    largest_u = {network.input: _largest(x) or _UNCALIBRATED["input"]}
    for name in names:
        least = max(_SATURATING.get(network.activations[name].name, 0.0), bias.get(name, 0.0))
        largest_u[name] = max(room * _largest(u[name]), least) or _UNCALIBRATED["potential"]
    return largest_u, {name: room * _largest(s[name]) or _UNCALIBRATED["sensitivity"] for name in names}


def _data(network: Network, calibration: ArrayLike | tuple[ArrayLike, ArrayLike]) -> tuple[Array, Array]:
    """Return checked inputs and targets, the furthest ones where there are none. Raises DataError."""
    inputs, targets = calibration if isinstance(calibration, tuple) and len(calibration) == 2 else (calibration, None)
    dtype, size = np.dtype(network.dtype), network.population(network.output).size
    x = checked("calibration", inputs, dtype, (None, network.population(network.input).size))
    if not len(x):
        raise DataError("calibration", "holds no sample", "pass at least one row, or None")
    if targets is not None:
        return x, network.cost.encode(targets, len(x), size, dtype, "calibration targets")
    with np.errstate(all="ignore"):
        u = np.nan_to_num(oracle.predict(network, x))  # what is not finite is told later
    furthest = {
        "squared_error": -u,
        "cross_entropy": np.eye(size, dtype=dtype)[u.argmin(axis=1)],
        "binary_cross_entropy": (u < 0).astype(dtype),
    }
    if network.cost.name not in furthest:
        problem = f"of a loss of your own, {network.cost.name!r}, cannot be guessed"
        raise NetworkError("targets", problem, f"only {list(furthest)} have an integer form")
    return x, furthest[network.cost.name]


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def _coarse_enough(
    network: Network, form: FixedFormat, potentials: dict[str, int], sensitivities: dict[str, int], weights: dict[str, int]
) -> dict[str, int]:
    """Return the exponents of the weights, none so fine that its products lie far below the last bits of both states."""
    lost = form.state_bits - form.message_bits
    found = {}
    for p in network.projections:
        rate = potentials[p.source] - (0 if p.source == network.input else lost)
        limits = [potentials[p.target] + _GUARD - rate]
        if p.source != network.input:
            limits.append(sensitivities[p.source] + _GUARD - (sensitivities[p.target] - lost))
        found[p.name] = min(weights[p.name], *limits)
    return found


def _with_room(network: Network, form: FixedFormat, sensitivities: dict[str, int], weights: dict[str, int]) -> dict[str, int]:
    """Return the exponents of the sensitivities, none so fine that the accumulator has no room for the sums they come from.

    Where a rate function is flat for all samples of a calibration, sensitivities are as small as rounding errors.
    """
    found = dict(sensitivities)
    for name in network.order[::-1] if network.cycle is None else ():
        joined = network.outgoing[name]
        if name == network.input or not joined:
            continue
        exponents = [weights[p.name] + found[p.target] - form.state_bits + form.message_bits for p in joined]
        terms = [1 if p.one_to_one else p.weights.shape[0] for p in joined]
        finest = max(exponents)
        slope = _SLOPES.get(network.activations[name].name, form.message_bits - 1)
        bits = form.weight_bits + form.message_bits - 2 + slope
        bound = sum(n << (bits + finest - exponent) for n, exponent in zip(terms, exponents, strict=True))
        found[name] = min(found[name], finest + max(0, WIDEST - bits_for(bound)))
    return found
