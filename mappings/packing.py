"""Putting several slices on one core, where a chip has fewer cores than there are slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.copies import copies
from dyadic_neuro.mappings.demand import INPUT_AXONS, OUTPUT_AXONS, RESOURCES, STATE_PER_NEURON, limit_of, usage
from dyadic_neuro.mappings.partition import Partition
from dyadic_neuro.mappings.routes import Routes
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.mappings.synapses import Synapses

_OPEN = 512  # cores that are looked at for room; more would make the time grow with the square of the slices
_FILLS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # how full cores get: no fuller than there have to be slices on them
_SHARED = ((INPUT_AXONS, OUTPUT_AXONS), (OUTPUT_AXONS,), ())
"""Axons that slices on one core share are counted for each of them. First they are left out, and what comes out is checked."""


def packed(partition: Partition, counts: Mapping[str, int], slices: Slices, cores: int) -> Slices:
    """Return the slices on at most so many cores, or, if none of the ways that are tried leads there, as they are."""
    limits = {r: np.inf if (n := limit_of(partition.demand.chip, r)) is None else n for r in RESOURCES}
    needs: dict[tuple[str, int], Array] = {}
    for name, size in {(slices.names[i], int(n)) for i, n in zip(slices.population, slices.sizes, strict=True)}:
        taken = partition.needs(name, size) | {OUTPUT_AXONS: size * partition.fan_out(name, counts), STATE_PER_NEURON: 0}
        needs[name, size] = np.array([taken[resource] for resource in RESOURCES], np.float64)
    each = [needs[part.population, part.size] for part in slices]
    room = np.array([np.inf if r in _SHARED[0] else limits[r] for r in RESOURCES])
    least = float((np.sum(each, axis=0) / room).max())  # full cores
    for fill in _FILLS:
        if least > fill * cores:
            continue
        for shared in _SHARED:
            room = np.array([np.inf if r in shared else fill * limits[r] for r in RESOURCES])
            found = slices.on(_filled(each, room))
            if len(found.cores) <= cores and (not shared or _holds(partition, found, limits)):
                return found
    return slices


def _filled(needs: list[Array], room: Array) -> Array:
    """Return a core for each slice: the first of those opened last that has room for it, a full one for what needs more."""
    used, core, opened = np.zeros((len(needs), len(room))), np.empty(len(needs), np.int64), 0
    for i, need in enumerate(needs):
        first = max(0, opened - _OPEN)
        fits = (used[first:opened] + need <= room).all(axis=1)
        core[i] = first + int(fits.argmax()) if fits.any() else opened
        opened = max(opened, int(core[i]) + 1)
        used[core[i]] += need
    return core


def _holds(partition: Partition, slices: Slices, limits: Mapping[str, float]) -> bool:
    """Whether no core uses more than it has, what slices share counted once."""
    synapses = Synapses.of(copies(partition.network), slices)
    used = usage(partition.demand, slices, synapses, Routes.of(slices, synapses))
    return all(bool((used[resource] <= limits[resource]).all()) for resource in RESOURCES)
