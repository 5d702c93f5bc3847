"""What ways to send a number cost, and whether the gradient is still exact: one row a coding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.chip import MappedChip
from dyadic_neuro.codings import BitSerial, Coding, Delta, Graded, Rate
from dyadic_neuro.codings import coding as coding_of
from dyadic_neuro.cost import STATIC, Cost
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop
from dyadic_neuro.quantization import quantize
from dyadic_neuro.relaxation import relax
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.precision import cosine
from dyadic_neuro.trace import Trace
from dyadic_neuro.training import check_options, train

Gradients: TypeAlias = Mapping[str, Array]

CODINGS: Mapping[str, Coding] = MappingProxyType(
    {
        "graded": Graded(),
        "delta, threshold 0": Delta(0),
        "delta, threshold 64": Delta(64),
        "bit_serial": BitSerial(),
        "rate, Poisson, window 64": Rate(64),
        "rate, Poisson, window 256": Rate(256),
        "rate, LIF, window 64": Rate(64, "lif"),
    }
)
"""The codings that are compared, by the names of their rows."""

LEARNING = FixedFormat(weight_headroom_bits=1, headroom_bits=3, rounding="stochastic")
"""A format with room for what learning makes of weights and states."""

_BATCH = 20  # as `train` has it


@dataclass(frozen=True)
class Amount:
    """An energy or a time of a sample in J or s: `value` is what is known of it, `missing` names what is not."""

    value: float
    unit: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What was measured with one coding.

    `exact` tells whether every gradient of the batch is bit for bit that of integer backpropagation. `cosine` is that to it, of
    the parameter that is the furthest off, `float_cosine` that to the float network's gradient. Micro-steps, messages, bits,
    energy and time are of one sample relaxed from the zero state, without learning. `static` is the part of the energy that is
    static power times that time.

    `accuracy` is that of a network which learned with this coding, on the test samples, which are relaxed with it too, both on
    the reference; None where nothing was trained.
    """

    coding: str
    exact: bool
    cosine: float
    float_cosine: float
    micro_steps: int
    messages: float
    bits: float
    energy: Amount
    static: Amount
    time: Amount
    accuracy: float | None


@dataclass(frozen=True)
class Report:
    """The rows, what they are of, and what the costs of the chip take for granted."""

    rows: tuple[Row, ...]
    network: str
    chip: str
    schedule: str
    samples: int
    epochs: int
    assumptions: Mapping[str, tuple[str, ...]]  # to the rows of which each is taken

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as values that JSON can hold."""
        return [asdict(row) for row in self.rows]


def compare_codings(
    network: Network,
    data: Dataset,
    *,
    codings: Mapping[str, str | Coding] = CODINGS,
    form: FixedFormat = LEARNING,
    chip: Chip | str = "loihi1",
    schedule: str = "free",
    samples: int = 64,
    epochs: int = 10,
    batch_size: int | None = None,
    learning_rate: float = 0.5,
    seed: int = 0,
    tell: Callable[[Row], None] | None = None,
) -> Report:
    """Relax a batch and train with each of the codings (name of a row -> coding), all from the same network.

    The network becomes integers of `form`, calibrated on the training data. The batch, the first `samples` of these, is relaxed
    on the model of `chip`: all of a row but its accuracy is of that run, with the populations and the widths of a fan-in that the
    chip divides. With `epochs` 0 nothing is trained; `batch_size` None is that of `train`. `tell` is given each row when it is
    done.

    Raises OptionError, UnknownNameError, DataError, CycleError, NetworkError (what has no integer form), MappingError for a
    network or a format that the chip cannot hold, and as `train`; before anything is trained, but for what training raises.
    """
    if not 1 <= samples <= len(data.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(data.inputs)}", "ask for as many as the data has")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise OptionError("epochs", f"{epochs!r} is no number of passes", "use at least 0")
    batch_size = min(_BATCH, len(data.inputs)) if batch_size is None else batch_size
    check_options(len(data.inputs), max(epochs, 1), batch_size, learning_rate, seed)
    Schedule.of(network, schedule)
    fixed = quantize(network, form, (data.inputs, data.targets))
    sendings = {name: coding_of(spec) for name, spec in codings.items()}
    mapping = map_network(network, Chip.load(chip) if isinstance(chip, str) else chip)
    inputs, targets = data.inputs[:samples], data.targets[:samples]
    right = backprop(fixed, inputs, targets), backprop(network, inputs, targets)
    relaxed = partial(relax, fixed, inputs, targets, backend=MappedChip(mapping), schedule=schedule, record="last")
    found = {name: _measured(name, relaxed(coding=sending), *right) for name, sending in sendings.items()}

    rows = []
    trained = partial(_accuracy, fixed, data, schedule=schedule, epochs=epochs)
    options: dict[str, Any] = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    for name, (row, _) in found.items():
        rows.append(replace(row, accuracy=trained(sendings[name], **options)) if epochs else row)
        if tell is not None:
            tell(rows[-1])
    taken = dict.fromkeys(assumption for _, assumptions in found.values() for assumption in assumptions)
    assumptions = {one: tuple(name for name, (_, all_of) in found.items() if one in all_of) for one in taken}
    widths = f"weights {form.weight_bits} bit, messages {form.message_bits} bit, states {form.state_bits} bit"
    return Report(tuple(rows), f"{network}, {widths}", mapping.chip.name, schedule, samples, epochs, assumptions)


def _measured(name: str, trace: Trace, integer: Gradients, real: Gradients) -> tuple[Row, tuple[str, ...]]:
    """Return the row of a run on a chip, without an accuracy, and what its cost takes for granted.

    `integer` and `real` are the gradients of backpropagation in integers and in floats.
    """
    cost, samples = cast(Cost, trace.cost), len(trace.inputs)  # a chip has a cost
    static = [part.total_j for part in cost.components if part.name == STATIC]
    known = sum(energy for energy in static if energy is not None)
    row = Row(
        coding=name,
        exact=all(np.array_equal(trace.gradients[key], right) for key, right in integer.items()),
        cosine=min(cosine(trace.gradients[key], right) for key, right in integer.items()),
        float_cosine=min(cosine(trace.gradients[key], right) for key, right in real.items()),
        micro_steps=trace.micro_steps,
        messages=trace.messages.total() / samples,
        bits=trace.messages.bits() / samples,
        energy=Amount(cost.energy_per_sample_j, "J", cost.unknown),
        static=Amount(known / samples, "J", (STATIC,) if None in static else cost.unknown_times),
        time=Amount(cost.latency_per_sample_s, "s", cost.unknown_times),
        accuracy=None,
    )
    return row, cost.assumptions


def _accuracy(
    fixed: FixedNetwork,
    data: Dataset,
    coding: Coding,
    *,
    schedule: str,
    epochs: int,
    **options: Any,  # noqa: ANN401
) -> float:
    """Return the accuracy on the test samples after learning, both with this coding."""
    pair = data.inputs, data.targets  # without the test samples, which `train` would predict in graded integers
    found = train(fixed, pair, epochs=epochs, schedule=schedule, coding=coding, progress=False, **options).network
    trace = relax(found, data.test_inputs, data.test_targets, schedule=schedule, coding=coding, record="last")
    return float((trace.final.potentials[found.output].argmax(axis=1) == data.test_targets).mean())
