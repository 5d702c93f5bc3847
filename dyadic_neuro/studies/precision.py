"""What is lost against floats: gradients of integers of many widths, beside those of the network that they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import NetworkError, OptionError
from dyadic_neuro.fixed_point import FixedFormat
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop
from dyadic_neuro.quantization import quantize
from dyadic_neuro.relaxation import relax
from dyadic_neuro.studies.tables import frame, need_pandas

FILE = "precision.csv"
CLOSE = 0.999
"""The cosine from which on a width counts as enough."""

NOTE = "Messages are never wider than states: narrow states narrow messages too, wide messages widen states."
"""What the sweeps of messages and states change beside their own widths."""

WEIGHT_BITS = tuple(range(4, 17))
MESSAGE_BITS = tuple(range(4, 25))
STATE_BITS = tuple(range(8, 33))

_COLUMNS = {
    "sweep": "object",
    "weight_bits": "int64",
    "message_bits": "int64",
    "state_bits": "int64",
    "calibrated": "bool",
    "parameter": "object",
    "cosine": "float64",
    "same_weights": "float64",
    "relative_error": "float64",
    "saturations": "float64",
    "reason": "object",
}
_FIELDS = {"weights": "weight_bits", "messages": "message_bits", "states": "state_bits"}
SWEEPS = tuple(_FIELDS)


class Widths(NamedTuple):
    """The bits of weights, messages and states in a format."""

    weight_bits: int
    message_bits: int
    state_bits: int


@dataclass(frozen=True)
class Finding:
    """From which width of a sweep on the gradients have a cosine of at least `CLOSE` in every parameter.

    `first` are the widths of that format, `uncalibrated` those of the one without calibration; None where
    the widest is not enough.
    """

    sweep: str
    first: Widths | None
    uncalibrated: Widths | None

    def __str__(self) -> str:
        reached = f"a cosine of {CLOSE}"
        if self.first is None:
            found = f"the widest does not reach {reached}"
        else:
            found = f"from {self._bits(self.first)} bits on {reached} is reached in every parameter, {self._others(self.first)}"
        if self.uncalibrated is None:
            return f"{self.sweep}: {found} (without calibration the widest does not)"
        return (
            f"{self.sweep}: {found} (without calibration from {self._bits(self.uncalibrated)}, {self._others(self.uncalibrated)})"
        )

    def _bits(self, widths: Widths) -> int:
        return int(getattr(widths, _FIELDS[self.sweep]))

    def _others(self, widths: Widths) -> str:
        others = [f"{name} of {getattr(widths, field)}" for name, field in _FIELDS.items() if name != self.sweep]
        return f"with {' and '.join(others)}"


def sweep_widths(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    weight_bits: Sequence[int] = WEIGHT_BITS,
    message_bits: Sequence[int] = MESSAGE_BITS,
    state_bits: Sequence[int] = STATE_BITS,
    form: FixedFormat | None = None,
    calibration: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return a DataFrame of how far gradients of integers are from those of floats, a row for each width and parameter.

    Three sweeps change one width of `form` (None: the default format) each: those of weights, messages and states. A message is
    never wider than a state: the sweep of states narrows messages where it must, that of messages widens states. Each format is
    tried with a calibration (on `calibration`, as `quantize` takes it; None: the batch itself) and without one.

    `inputs` (batch, n_input) and `targets` are relaxed on the reference, each state updated once. `cosine` and `relative_error`,
    |g - g*| / |g*|, are of one parameter's gradient g beside the float one g*; `same_weights` is the cosine to the gradient in
    floats of the rounded weights and biases, of which g is: what arithmetic and messages lose. `saturations` count in the whole
    run, and are the same in all rows of it. A format that cannot hold the network has one row with a `reason`, and no parameter.

    Raises OptionError (widths), DataError, CycleError, MissingExtraError, and NetworkError for a network without an integer form.
    """
    need_pandas()
    base = FixedFormat() if form is None else form
    if not isinstance(base, FixedFormat):
        raise OptionError("form", f"{type(base).__name__} is not a FixedFormat", "use FixedFormat(weight_bits=8)")
    forms = list(_forms(base, {"weights": weight_bits, "messages": message_bits, "states": state_bits}))
    wanted = backprop(network, inputs, targets)
    known = (inputs, targets) if calibration is None else calibration
    quantize(network, FixedFormat(), None)  # what has no integer form has none of any width
    parts: list[dict[str, Any]] = []
    for sweep, one in forms:
        for calibrated in (True, False):
            found = _row(network, inputs, targets, wanted, one, known if calibrated else None)
            widths = {field: getattr(one, field) for field in _FIELDS.values()}
            parts.append({"sweep": sweep, **widths, "calibrated": calibrated, **found})
    return frame(_COLUMNS, parts)


def findings(table: Any) -> tuple[Finding, ...]:  # noqa: ANN401
    """Return for each sweep in a table of `sweep_widths` the width from which on all that hold the network are enough."""
    there = [name for name in SWEEPS if (table["sweep"] == name).any()]
    return tuple(Finding(name, *(_enough(table, name, calibrated=known) for known in (True, False))) for name in there)


def shares(table: Any, form: FixedFormat | None = None) -> str | None:  # noqa: ANN401
    """Return in a sentence what the rounding of weights and what the rest loses in the format itself, if it is in the table."""
    base = FixedFormat() if form is None else form
    chosen = table[table["calibrated"] & (table["reason"] == "")]
    for field in _FIELDS.values():
        chosen = chosen[chosen[field] == getattr(base, field)]
    if chosen.empty:
        return None
    widths = f"{base.weight_bits}-bit weights, {base.message_bits}-bit messages and {base.state_bits}-bit states"
    off, rest = (float(1.0 - chosen[column].min()) for column in ("cosine", "same_weights"))
    return f"{widths}: the cosine is {off:.0e} below 1, and {rest:.0e} beside floats of the same rounded weights"


def cosine(found: Array, wanted: Array) -> float:
    """Return the cosine between two arrays as vectors: 1 if they are equal, else 0 if one of them is 0."""
    if np.array_equal(found, wanted):
        return 1.0  # to the last bit, which the quotient below need not be
    sizes = float(np.linalg.norm(found)) * float(np.linalg.norm(wanted))
    return float(np.clip(np.vdot(found, wanted) / sizes, -1.0, 1.0)) if sizes else 0.0


def _forms(base: FixedFormat, widths: dict[str, Sequence[int]]) -> Iterator[tuple[str, FixedFormat]]:
    """Give the formats of each sweep. Raises OptionError."""
    for sweep, listed in widths.items():
        for bits in listed:
            changed: dict[str, Any] = {_FIELDS[sweep]: bits}
            if sweep == "messages" and isinstance(bits, Integral):
                changed["state_bits"] = max(base.state_bits, bits)
            if sweep == "states" and isinstance(bits, Integral):
                changed["message_bits"] = min(base.message_bits, bits)
            yield sweep, replace(base, strict=False, **changed)


def _row(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    wanted: dict[str, Array],
    form: FixedFormat,
    calibration: ArrayLike | tuple[ArrayLike, ArrayLike] | None,
) -> dict[str, Any]:
    """Return the columns of what was measured with one format. Raises DataError."""
    try:
        fixed = quantize(network, form, calibration)
    except NetworkError as error:
        nothing = dict.fromkeys(("cosine", "same_weights", "relative_error", "saturations"), np.nan)
        return {"parameter": "", **nothing, "reason": str(error)}
    trace = relax(fixed, inputs, targets, schedule="wavefront", record="last")
    pairs = [(trace.gradients[key], right) for key, right in wanted.items()]
    alike = backprop(fixed.real(), inputs, targets)
    errors = [float(np.linalg.norm(found - right)) / (float(np.linalg.norm(right)) or 1.0) for found, right in pairs]
    return {
        "parameter": np.array(list(wanted), object),
        "cosine": np.array([cosine(found, right) for found, right in pairs]),
        "same_weights": np.array([cosine(trace.gradients[key], right) for key, right in alike.items()]),
        "relative_error": np.array(errors),
        "saturations": sum(trace.saturations.values()),
        "reason": "",
    }


def _enough(table: Any, sweep: str, *, calibrated: bool) -> Widths | None:  # noqa: ANN401
    rows = table[(table["sweep"] == sweep) & (table["calibrated"] == calibrated) & (table["reason"] == "")]
    found = None
    for bits, worst in rows.groupby(_FIELDS[sweep])["cosine"].min().sort_index(ascending=False).items():
        if not worst >= CLOSE:
            break
        found = bits
    if found is None:
        return None
    row = rows[rows[_FIELDS[sweep]] == found].iloc[0]
    return Widths(*(int(row[field]) for field in Widths._fields))
