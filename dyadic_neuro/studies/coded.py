"""What ways to send a number cost, and whether the gradient is still exact: one row a coding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from dyadic_neuro.backends.chip import MappedChip
from dyadic_neuro.codings import BitSerial, Coding, Delta, Graded, Rate
from dyadic_neuro.codings import coding as coding_of
from dyadic_neuro.cost import Cost
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
from dyadic_neuro.training import train

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
    energy and time are of one sample relaxed from the zero state, without learning.

    `accuracy` is that of a network which learned with this coding, on the test samples, which are relaxed with it too; None
    where nothing was trained.
    """

    coding: str
    exact: bool
    cosine: float
    float_cosine: float
    micro_steps: int
    messages: float
    bits: float
    energy: Amount
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
    batch_size: int = 20,
    learning_rate: float = 0.5,
    seed: int = 0,
    tell: Callable[[Row], None] | None = None,
) -> Report:
    """Relax a batch and train with each of the codings (name of a row -> coding), all from the same network.

    The network becomes integers of `form`, calibrated on the training data. The batch, the first `samples` of these, is relaxed
    on the reference, and again on the model of `chip`, which tells energy and time. With `epochs` 0 nothing is trained. `tell`
    is given each row when it is done.

    Raises OptionError, UnknownNameError, DataError, CycleError, NetworkError (what has no integer form), MappingError for a
    network or a format that the chip cannot hold, and as `train`; before anything is trained, but for what training raises.
    """
    if not 1 <= samples <= len(data.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(data.inputs)}", "ask for as many as the data has")
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise OptionError("epochs", f"{epochs!r} is no number of passes", "use at least 0")
    Schedule.of(network, schedule)
    fixed = quantize(network, form, (data.inputs, data.targets))
    sendings = {name: coding_of(spec).fitted(fixed.message_bits) for name, spec in codings.items()}
    simulator = MappedChip(map_network(network, Chip.load(chip) if isinstance(chip, str) else chip))
    inputs, targets = data.inputs[:samples], data.targets[:samples]
    integer, real = backprop(fixed, inputs, targets), backprop(network, inputs, targets)

    rows, taken = [], dict[str, list[str]]()
    relaxed = partial(relax, fixed, inputs, targets, schedule=schedule, record="last")
    trained = partial(_accuracy, fixed, data, schedule=schedule, epochs=epochs)
    options: dict[str, Any] = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    for name, sending in sendings.items():
        trace, cost = relaxed(coding=sending), _cost(relaxed(coding=sending, backend=simulator))
        rows.append(
            Row(
                name,
                all(np.array_equal(trace.gradients[key], right) for key, right in integer.items()),
                min(cosine(trace.gradients[key], right) for key, right in integer.items()),
                min(cosine(trace.gradients[key], right) for key, right in real.items()),
                trace.micro_steps,
                trace.messages.total() / samples,
                trace.messages.bits() / samples,
                Amount(cost.energy_per_sample_j, "J", cost.unknown),
                Amount(cost.latency_per_sample_s, "s", cost.unknown_times),
                trained(sending, **options) if epochs else None,
            )
        )
        for assumption in cost.assumptions:
            taken.setdefault(assumption, []).append(name)
        if tell is not None:
            tell(rows[-1])
    widths = f"weights {form.weight_bits} bit, messages {form.message_bits} bit, states {form.state_bits} bit"
    assumptions = {assumption: tuple(names) for assumption, names in taken.items()}
    return Report(tuple(rows), f"{network}, {widths}", cost.chip, schedule, samples, epochs, assumptions)


def _cost(trace: Trace) -> Cost:
    return cast(Cost, trace.cost)  # a chip has one


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
