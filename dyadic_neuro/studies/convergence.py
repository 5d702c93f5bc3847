"""How far each layer's potential, sensitivity and gradient are from backpropagation's, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.network import in_floats
from dyadic_neuro.oracle import backprop, settled
from dyadic_neuro.trace import Trace, relative_error


@dataclass(frozen=True, eq=False)
class Row:
    """One quantity of one layer.

    `errors` (steps + 1,) are relative to the largest exact entry; a gradient has none at step 0 (NaN). `due` is the step
    from which the theorem has it exact.
    """

    layer: str
    quantity: str
    errors: Array
    due: int

    def exact_from(self, tolerance: float) -> int | None:
        """Return the first step from which the error stays at or below `tolerance`, None if there is none."""
        above = np.flatnonzero(~(self.errors <= tolerance))
        first = int(above[-1]) + 1 if len(above) else 0
        return first if first < len(self.errors) else None


def convergence(trace: Trace) -> list[Row]:
    """Return a row for every layer and quantity ("potential", "sensitivity", "gradient"), in the order of the layers.

    The exact values are the oracle's. A layer's gradient is that of all parameters at its population. Raises OptionError
    for a trace that was not fully recorded, CycleError for a network with a cycle.
    """
    network = in_floats(trace.network)
    potentials, deltas = settled(network, trace.inputs, trace.targets)
    wanted = backprop(network, trace.inputs, trace.targets)
    trace = replace(trace, restore=dict)  # layers are those of the network that ran, and so are the keys
    by_step = [relative_error(trace.gradients_at(t), wanted) for t in range(1, trace.steps + 1)]
    rows = []
    for name in network.order:
        if name == network.input:
            continue
        due = network.depth + 1 + network.heights[name]
        rows.append(Row(name, "potential", _errors(trace.potentials[name], potentials[name]), network.depths[name]))
        rows.append(Row(name, "sensitivity", _errors(trace.sensitivities[name], deltas[name]), due))
        own = [key for key in wanted if key == f"{name}.bias" or key.endswith(f"->{name}")]
        if own:
            errors = np.array([np.nan, *(max(step[key] for key in own) for step in by_step)])
            rows.append(Row(name, "gradient", errors, due))
    return rows


def _errors(rows: Array, exact: Array) -> Array:
    scale = float(np.abs(exact).max()) or 1.0
    return np.asarray(np.abs(rows - exact).max(axis=(1, 2)) / scale)
