"""Random small chips, drawn from a seed: so small that networks of a few neurons are cut, packed and divided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.quantity import Quantity


def chip(seed: int) -> Chip:
    """Return Loihi 1's costs on a random small mesh of one chip or several, with cores of random small limits."""
    rng = np.random.default_rng([seed, 4])

    def drawn(low: int, high: int, unit: str) -> Quantity:
        return Quantity(int(rng.integers(low, high)), unit, "drawn for a test", "derived")

    model = Chip.load("loihi1")
    columns, rows, per_tile = drawn(1, 4, "tile"), drawn(1, 4, "tile"), drawn(1, 4, "core")
    room = int(columns.value or 1) * int(rows.value or 1) * int(per_tile.value or 1)
    mesh = replace(
        model.mesh,
        columns=columns,
        rows=rows,
        cores_per_tile=per_tile,
        cores=drawn(max(1, room - 2), room + 1, "core"),
        chip_columns=drawn(1, 6, "chip"),
        chip_rows=drawn(2, 6, "chip"),
    )
    limits = replace(
        model.limits,
        neurons=drawn(12, 20, "neuron"),
        synaptic_memory=drawn(64 * 8, 64 * 40, "bit"),
        input_axons=drawn(5, 24, "axon"),
        output_axons=drawn(24, 120, "axon"),
    )
    return replace(model, name=f"small{seed}", mesh=mesh, limits=limits)
