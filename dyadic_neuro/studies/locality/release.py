"""The release of the update lock: from which step on a copy of a weight may take its update without harm to other gradients.

A copy that changes at the end of step t acts from step t + 1 on. With D the depth of the network, d(v) and h(v) depth and height
of a population, and e(v) = D + 1 + h(v) the step from which s_v is exact, this follows for k -> v:

* The forward copy and the bias of v have their exact update from e(v) on. The W^T copy reads the s_v that arrived, which is a
  step later: from e(v) + 1 <= e(k) on.
* Under "wavefront" the forward copy works once a window, in step d(v), and the W^T copy in step e(k): they may change as soon
  as their update is exact and their work is done, at e(v) and at e(k) = D + 1 + h(k).
* Under "free" every copy works in every step. What changes at the end of step 2D - 1 reaches s_k(2D) from a W^T copy, but from a
  forward copy or a bias only u_v(2D), which no gradient of this window reads. So gradients that are all read at 2D let a W^T
  copy change at 2D, and a forward copy at max(2D - 1, e(v)).
* Under "free", if every gradient is latched at its own step, a change runs behind the wave that it must not meet. On a chain it
  never catches up, and copies may change as early as under "wavefront"; along a skip connection it may, and they have to wait.

All of it assumes that something plastic hears the change; where nothing does, a copy is free as soon as its update is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.reference.circuit import Circuit
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.network import Network
from dyadic_neuro.schedule import SCHEDULES, Schedule
from dyadic_neuro.studies.locality.faults import check_count
from dyadic_neuro.studies.locality.lock import dues, target_of
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.tables import frame, need_pandas

FORWARD, BACKWARD, BOTH = "forward", "backward", "both"
OWN, END = "at its own step", "at 2D"
RELEASE = {
    "parameter": "object",
    "copy": "object",
    "schedule": "object",
    "read": "object",
    "exact_predicted": "int64",
    "exact_from": "int64",
    "usable_predicted": "int64",
    "usable_from": "int64",
    "of": "int64",
}
"""Columns of `release`: `of` is how many plastic parameters there are; the rest as its docstring says."""
_RATE = 1.0  # large updates, so that no change that arrives is lost in rounding
_Reads = Mapping[str, int]  # parameter -> the step in which its gradient is read


@dataclass(frozen=True)
class _Change:
    """The update of a parameter, in one of its copies or in both."""

    parameter: str
    where: str

    @property
    def forward(self) -> bool:
        return self.where != BACKWARD

    @property
    def backward(self) -> bool:
        return self.where != FORWARD


def release(
    network: Network,
    inputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    *,
    schedules: Sequence[str] = SCHEDULES,
    samples: int = 2,
    seed: int = 0,
    most: int = 12,
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return for each copy of each plastic parameter from which step on it may take its update, predicted and measured.

    Measured on the circuit of the reference backend, from a random state: at the end of a step one `copy` (or both) takes the
    update of that step, and all gradients that are read later have to be those of the old weights, bit for bit. `read` says
    when each of them is read: in step 2D, or latched at its own step, from which on it is exact. `exact_from` is the step from
    which the update itself stays what it is at 2D. Of more than `most` plastic parameters so many take an update, spread evenly
    over the list of them; the gradients of all are looked at. Raises as `Subject.of`, CycleError, OptionError (schedules, most)
    and MissingExtraError.
    """
    need_pandas()
    subject = Subject.of(network, inputs, targets, samples=samples, seed=seed)
    own, last, parts = dues(network), network.relaxation_steps, []
    changes = _changes(network, check_count("most", most, 1))
    reads: dict[str, _Reads] = {OWN: own, END: dict.fromkeys(own, last)}
    for kind, schedule in [(kind, Schedule.of(network, kind)) for kind in schedules]:
        window = _Window(subject, schedule)
        for change in changes:
            due, exact = own[change.parameter] + change.backward, window.exact_from(change)
            usable = window.usable_from(change, exact, reads)
            for read, steps in reads.items():
                foretold = (t + 1 for t in reversed(range(due, last)) if _acts(network, kind, change, t, steps))
                parts.append(
                    {
                        "parameter": change.parameter,
                        "copy": change.where,
                        "schedule": kind,
                        "read": read,
                        "exact_predicted": due,
                        "exact_from": exact,
                        "usable_predicted": next(foretold, due),
                        "usable_from": usable[read],
                        "of": len(own),
                    }
                )
    return frame(RELEASE, parts)


def _changes(network: Network, most: int) -> list[_Change]:
    copied, keys = {p.name for p in network.projections if p.source != network.input}, list(network.plastic)
    if len(keys) > most:
        keys = [keys[i] for i in np.linspace(0, len(keys) - 1, most).astype(int)]
    return [_Change(key, where) for key in keys for where in ((FORWARD, BACKWARD, BOTH) if key in copied else (FORWARD,))]


# Predicted, from the graph alone


def _acts(network: Network, kind: str, change: _Change, t: int, reads: _Reads) -> bool:
    """Foretell whether a change at the end of step `t` acts on a gradient by the time that it is read."""
    source, _, target = change.parameter.removesuffix(".bias").rpartition("->")
    steps = network.relaxation_steps
    potentials, sensitivities = set[str](), set[str]()  # of populations that are not what they would have been
    for step in range(t + 1, steps + 1):
        shown, sent = set(potentials), set(sensitivities)
        for population in network.dynamic:
            name = population.name
            bends = name == network.output or population.phi.name != "identity"
            if kind == "free" or step == network.depths[name]:
                arrives = any(p.source in shown for p in network.incoming[name])
                if arrives or (change.forward and name == target):
                    potentials.add(name)
            if kind == "free" or step == steps // 2 + 1 + network.heights[name]:
                returns = any(p.target in sent for p in network.outgoing[name])
                if returns or (name in shown and bends) or (change.backward and name == source):
                    sensitivities.add(name)
        for key, due in reads.items():
            pre = key.rpartition("->")[0]
            if due == step and (pre in shown or target_of(network, key) in sensitivities):
                return True
    return False


# Measured, on a circuit


class _Window:
    """One window of the reference's circuit, from a random state: undisturbed, and with copies that change on the way."""

    def __init__(self, subject: Subject, schedule: Schedule) -> None:
        network = subject.network
        self._data, self._steps = (subject.inputs, subject.targets), network.relaxation_steps
        circuit = Circuit(network, schedule, 1.0, subject.state(len(subject.inputs)), feedback_copies(network))
        self._after, self._updated, self._read = [circuit], [circuit], [dict[str, Array]()]  # by step, from 0 on
        for t in range(1, self._steps + 1):
            circuit = _twin(circuit)
            circuit.step(t, *self._data)
            updated = _twin(circuit)
            updated.learn(_RATE)
            self._after.append(circuit)
            self._updated.append(updated)
            self._read.append(circuit.gradients())

    def exact_from(self, change: _Change) -> int:
        """Return the step from which the update stays, bit for bit, what it is in the last one."""
        wanted = _held(self._updated[-1], change)
        wrong = [t for t in range(1, self._steps) if not _same(_held(self._updated[t], change), wanted)]
        return 1 + max(wrong, default=0)

    def usable_from(self, change: _Change, exact: int, reads: Mapping[str, _Reads]) -> dict[str, int]:
        """Return for each way to read the gradients the step, not before `exact`, from which on the change spoils none."""
        found: dict[str, int] = {}
        for t in reversed(range(exact, self._steps)):
            left = {read: steps for read, steps in reads.items() if read not in found}
            if not left:
                break
            found |= dict.fromkeys(self._spoilt(change, t, left), t + 1)
        return dict.fromkeys(reads, exact) | found

    def _spoilt(self, change: _Change, t: int, reads: Mapping[str, _Reads]) -> set[str]:
        """Return in which ways to read them some gradient differs when the change has come in step `t`."""
        circuit, updated, key = _twin(self._after[t]), self._updated[t], change.parameter
        name = key.removesuffix(".bias")
        if key.endswith(".bias"):
            circuit.biases[name] = updated.biases[name]
        elif change.forward:
            circuit.forward[key] = updated.forward[key]
        if change.backward:
            circuit.feedback[key] = updated.feedback[key]
        found: set[str] = set()
        for step in range(t + 1, self._steps + 1):
            circuit.step(step, *self._data)
            for read, steps in reads.items():
                gradients = _read(circuit, {key for key, due in steps.items() if due == step})
                if not all(np.array_equal(gradient, self._read[step][name]) for name, gradient in gradients.items()):
                    found.add(read)
            if len(found) == len(reads):
                break
        return found


def _twin(circuit: Circuit) -> Circuit:
    """Return a circuit in the same state, with copies of the weights to change."""
    twin = copy(circuit)
    twin.forward, twin.feedback, twin.biases = dict(circuit.forward), dict(circuit.feedback), dict(circuit.biases)
    return twin


def _read(circuit: Circuit, keys: set[str]) -> dict[str, Array]:
    """Return the gradients of these parameters alone."""
    reader = copy(circuit)
    reader.forward = {name: p for name, p in circuit.forward.items() if name in keys}
    reader.biases = {name: bias for name, bias in circuit.biases.items() if f"{name}.bias" in keys}
    return reader.gradients()


def _held(circuit: Circuit, change: _Change) -> list[Array]:
    """Return the copies that the change is about."""
    key = change.parameter
    if key.endswith(".bias"):
        return [circuit.biases[key.removesuffix(".bias")]]
    sides = [(change.forward, circuit.forward), (change.backward, circuit.feedback)]
    return [side[key].weights for chosen, side in sides if chosen]


def _same(one: list[Array], other: list[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
