"""Putting several slices on one core, where a chip has fewer cores than there are slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.demand import OUTPUT_AXONS, RESOURCES, STATE_PER_NEURON, limit_of
from dyadic_neuro.mappings.partition import Partition
from dyadic_neuro.mappings.slices import Slices

_OPEN = 512  # cores that are looked at for room; more would make the time grow with the square of the slices


def packed(partition: Partition, counts: Mapping[str, int], slices: Slices) -> Slices:
    """Return the slices on fewer cores: each goes to the first of the cores opened last that has room for it.

    What slices on one core could share (axons from the same neurons) is counted for each of them.
    """
    limits = np.array([np.inf if (n := limit_of(partition.demand.chip, r)) is None else n for r in RESOURCES])
    needs: dict[tuple[str, int], Array] = {}
    for name, size in {(slices.names[i], int(n)) for i, n in zip(slices.population, slices.sizes, strict=True)}:
        taken = partition.needs(name, size) | {OUTPUT_AXONS: size * partition.fan_out(name, counts), STATE_PER_NEURON: 0}
        needs[name, size] = np.array([taken[resource] for resource in RESOURCES], np.float64)
    used, core = np.zeros((len(slices), len(RESOURCES))), np.empty(len(slices), np.int64)
    opened = 0
    for i, part in enumerate(slices):
        need = needs[part.population, part.size]
        first = max(0, opened - _OPEN)
        fits = (used[first:opened] + need <= limits).all(axis=1)
        core[i] = first + int(fits.argmax()) if fits.any() else opened
        opened = max(opened, int(core[i]) + 1)
        used[core[i]] += need
    return slices.on(core)
