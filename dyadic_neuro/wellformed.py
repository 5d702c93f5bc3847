"""What makes a description a network: a graph from input to readout, arrays that fit it, one dtype."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dyadic_neuro import topology
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.arrays import Array, checked, frozen
from dyadic_neuro.errors import DataError, NetworkError, OptionError
from dyadic_neuro.losses import Loss
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

_DTYPES = ("float64", "float32")


def float_type(spec: DTypeLike) -> np.dtype[Any]:
    """Return the dtype that `spec` means, in this machine's byte order. Raises NetworkError if it is no float network's."""
    try:
        dtype = np.dtype(spec)
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.name not in _DTYPES:
        raise NetworkError("dtype", f"{spec!r} is not a float network's type", f"use one of {list(_DTYPES)}")
    return np.dtype(dtype.name)


def check_functions(populations: Sequence[Population], cost: Loss, outputs: int, dtype: np.dtype[Any]) -> None:
    """Refuse functions of the user's own that widen float32. Raises OptionError."""
    u = np.resize(np.array([-0.5, 0.5], dtype), (1, 2))
    o = np.resize(u, (1, outputs))
    with np.errstate(all="ignore"):
        found = [(p.phi.name, f(u)) for p in populations for f in (p.phi.rate, lambda u, p=p: p.phi.derivative(u, p.phi.rate(u)))]
        found.append((cost.name, cost.gradient(o, np.abs(o))))
    for name, values in found:
        if np.asarray(values).dtype != u.dtype:
            raise OptionError(
                "dtype",
                f"{name!r} turns {u.dtype} into {np.asarray(values).dtype}",
                "return arrays of the argument's dtype, or use float64",
            )


def frozen_population(population: Population, dtype: np.dtype[Any], *, weightless: bool) -> Population:
    """Return the population with a private bias (n,), read-only, or without its values. Raises DataError."""
    if population.bias is None:
        return population
    if weightless:
        return replace(population, bias=no_values((population.size,), dtype))
    bias = np.full(population.size, population.bias) if np.ndim(population.bias) == 0 else population.bias
    return replace(population, bias=frozen(checked(f"bias of {population.name}", bias, dtype, (population.size,))))


def frozen_projection(projection: Projection, sizes: Mapping[str, int], dtype: np.dtype[Any], weightless: bool) -> Projection:  # noqa: FBT001
    """Return the projection with private weights, read-only, or without their values. Raises DataError."""
    p, joined = projection, (sizes[projection.target], sizes[projection.source])
    field = f"weights of {p.name}"
    if weightless:
        found = replace(p, weights=no_values(np.shape(p.weights), dtype))
    else:
        one_to_one = np.ndim(p.weights) == 1 and (p.shape is not None or joined == 2 * np.shape(p.weights))
        wanted = joined if p.shape is None and not one_to_one else (None,) * (1 if one_to_one else 2)
        found = replace(p, weights=frozen(checked(field, p.weights, dtype, wanted)))
    if found.weights.ndim not in (1, 2) or found.full_shape != joined or found.rows.start < 0 or found.columns.start < 0:
        raise DataError(
            field, f"are part of {found.full_shape} at {p.corner}, not of {joined}", "give shape=(n_target, n_source)"
        )
    if found.rows.stop > joined[0] or found.columns.stop > joined[1] or 0 in found.weights.shape:
        raise DataError(field, f"{found.weights.shape} at {p.corner} do not lie in {joined}", "give a smaller block or a corner")
    return replace(found, shape=None) if found.weights.shape == joined else found


def no_values(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of this shape that takes no memory: one NaN, seen everywhere."""
    return np.broadcast_to(np.array(np.nan, dtype), shape)


def check_graph(populations: Sequence[Population], projections: Sequence[Projection], first: str, last: str) -> None:
    """Refuse what is no graph from `first` to `last`. Raises NetworkError."""
    names = [population.name for population in populations]
    for name, count in Counter(names).items():
        if count > 1:
            raise NetworkError("populations", f"two are called {name!r}", "give each population its own name")
    for role, name in (("input", first), ("output", last)):
        if name not in names:
            raise NetworkError(role, f"no population is called {name!r}", f"name one of {names}")
    if first == last:
        raise NetworkError("output", "input and readout are the same population", "name two")
    for population in populations:
        if population.name in (first, last) and population.phi is not ACTIVATIONS["identity"]:
            raise NetworkError(
                f"activation of {population.name}",
                f"{population.phi.name!r}: the input shows its input and the readout its potential",
                "use 'identity' there; the loss holds the readout's non-linearity",
            )
        if population.name == first and population.bias is not None:
            raise NetworkError(f"bias of {first}", "the input population is clamped and has no bias", "remove it")
    pairs = [(projection.source, projection.target) for projection in projections]
    counts, known = Counter(pairs), set(names)
    for projection, pair in zip(projections, pairs, strict=True):
        for end in pair:
            if end not in known:
                raise NetworkError(f"projection {projection.name}", f"no population is called {end!r}", f"use names of {names}")
        if counts[pair] > 1:
            raise NetworkError(f"projection {projection.name}", "stands there twice", "add the two weight matrices up")
        if projection.target == first:
            raise NetworkError(f"projection {projection.name}", "ends at the input, which is clamped", "remove it")
    downstream = topology.reachable(pairs, first)
    upstream = topology.reachable([(b, a) for a, b in pairs], last)
    lost = [name for name in names if name not in downstream or name not in upstream]
    if lost:
        raise NetworkError("populations", f"{lost} on no path from {first!r} to {last!r}", "connect or remove them")
