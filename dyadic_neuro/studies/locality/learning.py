"""Whether what is learned, window after window, is what meets at the synapses: in both copies of each weight, and in biases.

`train` learns a few windows from random W^T copies. What every copy and every bias then has to be is worked out beside it, from
relaxations of the same backend, each from the state and with the weights that the one before left. What a backend does only
elsewhere, in larger batches, in later windows or at steeper gradients, is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.datasets import random_batch
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.crossings import approximate, counted, untimely
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.updates import CYCLIC_STEPS, SMALLEST, entry, products, rounding
from dyadic_neuro.trace import Trace
from dyadic_neuro.training import train

_LEARNING = "both copies of a weight, and a bias, learn each by what meets there in a window's last step, and by nothing else"
_BATCH = 2  # the smallest in which a sample is not alone
_DECAYED = 0.125  # the part of a weight that one update takes; a power of 2 adds no rounding
_LEARNED = 0.25  # the part of a parameter's largest entry that one update changes at most, so that no state runs away
_LARGEST_RATE = 0.5
_SHOWS = 100.0  # an update is looked at in earnest if a hundredth of it, done otherwise, would show

_Held = tuple[Mapping[str, Array], Mapping[str, Array]]
"""Parameters by their keys, and W^T copies by projection."""


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What is learned: inputs and targets of (windows * batch) samples, in windows of so many steps, and a part that decays."""

    inputs: Array
    targets: Array
    batch: int
    steps: int
    decayed: float = 0.0

    @property
    def windows(self) -> int:
        return len(self.inputs) // self.batch

    def batches(self) -> Iterator[tuple[Array, Array]]:
        for start in range(0, len(self.inputs), self.batch):
            yield self.inputs[start : start + self.batch], self.targets[start : start + self.batch]

    def __str__(self) -> str:
        each = "a single sample" if self.batch == 1 else f"a batch of {self.batch}"
        decay = " and weight decay" if self.decayed else ""
        return f"{counted(self.windows, 'window')} of {counted(self.steps, 'step')} with {each} each{decay}"


def claim_learning(subject: Subject) -> Claim:
    """Return the claim "learning": after `train` every copy and every bias is what its own factors make it.

    Learned are two windows of 2D steps with batches, and single samples with weight decay, in windows too short for any signal to
    cross the network, as many as 2D steps take. Forward copies and biases have to change by s_i r_j and s_i of a window's last
    step, W^T copies by the s_i that arrived there and their own r_j, and both copies by their own decay. Where states are not
    exact after 2D steps (a cycle, another dt / tau) batches are left out: a simulator may run their samples one after the other.
    Raises as `Subject.relax` and `train`.
    """
    why = approximate(subject.backend) or untimely(subject.backend)
    if why is None and not subject.network.plastic:
        why = "nothing in this network learns"
    if why is not None:
        return Claim.nothing("learning", _LEARNING, why)
    lessons, wrong = _lessons(subject), _wrong(subject)
    x, y = next(lessons[0].batches())
    probe = subject.relax(lessons[0].steps, inputs=x, targets=y, backward=wrong)
    if probe.firing is not None:
        return Claim.nothing("learning", _LEARNING, "its populations send events, and a synapse reads the last of them")
    rate, worst, first = _rate(subject.network, probe), 0.0, None
    visible, reads = _visible(subject.network, probe, rate), len(probe.gradients)
    if not visible:
        return Claim.nothing("learning", _LEARNING, "no update is large enough to show in what it changes")
    done: list[str] = []
    try:
        for lesson in lessons:
            due = list(_due(subject, lesson, wrong, rate, probe if lesson is lessons[0] else None))
            off, first = _off(subject, _learned(subject, lesson, lesson.windows, wrong, rate), due[-1])
            worst, done = max(worst, off), [*done, str(lesson)]
            if first is not None:
                first = f"in {lesson}: {_earliest(subject, lesson, wrong, rate, due) or first}"
                break
    except OptionError as error:
        return Claim.nothing("learning", _LEARNING, f"it does not learn ({error.field} {error.problem})")
    found = f"{', and '.join(done)} were learned from random W^T copies; "
    found += f"all differ from what relaxations and their factors make of them by at most {worst:.1e},"
    found += f" and {visible:,} of {counted(reads, 'parameter')} learned far more than rounding hides"
    if len(lessons) == 1:
        why = "the network has a cycle" if subject.running.cycle else f"it declares dt / tau = {subject.backend.alpha:g}"
        found += f"; batches were not looked at ({why})"
    return Claim.judged("learning", _LEARNING, found, first)


def _lessons(subject: Subject) -> list[_Lesson]:
    """Return what is learned. The batches come first: their states are exact, and tell best what is wrong."""
    running, net, seed = subject.running, subject.network, subject.seed
    if running.cycle:
        return [_Lesson(*random_batch(net, 2, seed + 1), 1, CYCLIC_STEPS, _DECAYED)]
    whole = running.relaxation_steps
    short = whole if subject.schedule == "wavefront" else max(1, running.depth - 1)
    single = _Lesson(*random_batch(net, max(2, -(-whole // short)), seed + 1), 1, short, _DECAYED)
    if subject.backend.alpha != 1.0:
        return [single]
    return [_Lesson(*random_batch(net, 2 * _BATCH, seed), _BATCH, whole), single]


def _wrong(subject: Subject) -> dict[str, Array]:
    """Return random W^T copies of about the size of the weights."""
    rng, dtype = np.random.default_rng([subject.seed, 9]), np.dtype(subject.network.dtype)
    copies = {name: copy.weights for name, copy in feedback_copies(subject.network).items()}
    return {k: (rng.normal(size=v.shape) * (np.abs(v).mean() or 1.0)).astype(dtype) for k, v in copies.items()}


def _rate(network: Network, trace: Trace) -> float:
    """Return the learning rate, a power of 2, at which one update changes no parameter by much."""
    rate = _LARGEST_RATE
    for key, update in products(trace).items():
        held, steepest = (float(np.abs(values).max(initial=0.0)) for values in (network.parameters[key], update))
        held = max(held, 1.0) if key.endswith(".bias") else held or 1.0
        if steepest > 0.0:
            rate = min(rate, 2.0 ** math.floor(math.log2(_LEARNED * held / steepest)))
    return rate


def _visible(network: Network, trace: Trace, rate: float) -> int:
    """Return how many parameters change by so much in one update that a part of it in _SHOWS is more than rounding hides."""
    least, parameters = _SHOWS * rounding(network), network.parameters
    found = {key: rate * float(np.abs(update).max(initial=0.0)) for key, update in products(trace).items()}
    return sum(change > least * float(np.abs(parameters[key]).max(initial=0.0)) for key, change in found.items())


def _learned(subject: Subject, lesson: _Lesson, windows: int, wrong: Mapping[str, Array], rate: float) -> _Held:
    """Return what the backend holds after the first windows of a lesson. Raises OptionError if it does not learn."""
    stop = windows * lesson.batch
    result = train(
        subject.network,
        (lesson.inputs[:stop], lesson.targets[:stop]),
        backend=subject.backend,
        batch_size=lesson.batch,
        learning_rate=rate,
        weight_decay=lesson.decayed / rate,
        shuffle=False,
        schedule=subject.schedule,
        window=lesson.steps,
        backward=wrong,
        progress=False,
    )
    return result.network.parameters, {k: v.backward for k, v in result.copies.items() if v.backward is not None}


def _due(subject: Subject, lesson: _Lesson, wrong: Mapping[str, Array], rate: float, trace: Trace | None) -> Iterator[_Held]:
    """Yield what has to be held after each window, from relaxations and the factors they end with; the first may be known."""
    network, copies, state, keep = subject.network, dict(wrong), None, 1.0 - lesson.decayed
    weights = {p.name for p in network.projections}
    for x, y in lesson.batches():
        if state is not None or trace is None:
            trace = subject.relax(lesson.steps, network=network, inputs=x, targets=y, backward=copies, initial=state)
        state, arrives = trace.final, products(trace, sent=True)
        copies = {k: keep * v - rate * arrives[k].T if k in arrives else v for k, v in copies.items()}
        changed = {
            k: (keep if k in weights else 1.0) * network.parameters[k] - rate * update for k, update in products(trace).items()
        }
        network = network.with_parameters(changed)
        yield network.parameters, copies


def _earliest(subject: Subject, lesson: _Lesson, wrong: Mapping[str, Array], rate: float, due: list[_Held]) -> str | None:
    """Return the first window after which something is not what it has to be, and what, in words."""
    for window in range(1, lesson.windows + 1):
        _, first = _off(subject, _learned(subject, lesson, window, wrong, rate), due[window - 1])
        if first is not None:
            return f"after window {window} {first}"
    return None


def _off(subject: Subject, found: _Held, due: _Held) -> tuple[float, str | None]:
    """Return by how much what is held differs from what it has to be, in parts of its largest entry, and the first that does."""
    limit, worst, first = rounding(subject.network), 0.0, None
    forward = {p.name: "forward copy" for p in subject.network.projections}
    told = [(key, f" of the {forward[key]}" if key in forward else "", found[0][key], value) for key, value in due[0].items()]
    told += [(key, " of the W^T copy", found[1][key], value) for key, value in due[1].items()]
    for key, which, held, wanted in told:
        off, size = np.abs(held - wanted), max(float(np.abs(wanted).max(initial=0.0)), SMALLEST)
        worst = max(worst, float(off.max(initial=0.0)) / size)
        bad = np.argwhere(~(off <= limit * size))
        if len(bad) and first is None:
            at = tuple(int(i) for i in bad[0])
            first = f"{entry(key, at)}{which} is {held[at]:.9g}, and its factors make it {wanted[at]:.9g}"
    return worst, first
