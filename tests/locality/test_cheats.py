"""Backends that cheat are caught, each by the name of the claim that it breaks; honest ones pass. None of them is looked into."""

from functools import cache
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends import base
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.backends.reference.circuit import Circuit
from dyadic_neuro.dynamics import sensitivity_update
from dyadic_neuro.studies.locality import lock
from dyadic_neuro.studies.locality.cones import measure
from dyadic_neuro.studies.locality.copies import claim_copies
from dyadic_neuro.studies.locality.isolation import populations, samples
from dyadic_neuro.studies.locality.learning import claim_learning
from dyadic_neuro.studies.locality.perturbation import every
from dyadic_neuro.studies.locality.report import CLAIMS, cone_claims, examine
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.textbook import Textbook
from dyadic_neuro.studies.locality.updates import claim_updates
from dyadic_neuro.testing import networks


class PeekingCircuit(Circuit):
    """The first hidden population reads the readout, three hops away."""

    def step(self, t, inputs, targets):
        super().step(t, inputs, targets)
        far = 1e-3 * self.before[self._network.output].sum(axis=1, keepdims=True)
        self.potentials["hidden1"] = self.potentials["hidden1"] + far


class SharingCircuit(Circuit):
    """Sensitivities come back through the forward copy's weights."""

    def _sensitivity(self, name, targets):
        network, u = self._network, self.before[name]
        arrivals = [(self.forward[p.name].transposed(), self._sent[p.target]) for p in network.outgoing[name]]
        slope = network.activations[name].derivative(u, self._rate(name)) if arrivals else None
        error = network.cost.gradient(u, targets) if name == network.output else None
        return sensitivity_update(arrivals, slope, error, self._sent[name], self._alpha)


class CopyingCircuit(Circuit):
    """After each update the W^T copies are taken from the forward copies."""

    def learn(self, rate, *decay):
        super().learn(rate, *decay)
        self.feedback = {name: self.forward[name].transposed() for name in self.feedback}


class JudgingCircuit(Circuit):
    """Every update is scaled by the loss of the whole network."""

    def step(self, t, inputs, targets):
        super().step(t, inputs, targets)
        self._loss = self._network.cost.value(self.before[self._network.output], targets).mean()

    def gradients(self):
        return {key: (1.0 + self._loss) * gradient for key, gradient in super().gradients().items()}


class Cheat(Reference):
    """The reference backend on a circuit of this class, which is told whether it is to learn."""

    def __init__(self, circuit=Circuit, name="cheat"):
        super().__init__()
        self.circuit, self.name = circuit, name

    def open(self, network):
        session = super().open(network)

        def circuit(order, initial, _):
            made = self.circuit(network, order.schedule, order.alpha, initial, order.feedback)
            made.learning, made.steps, made.lessons = isinstance(order, base.Learning), 0, 0
            return made

        session._circuit = circuit
        return session


class Peeking(Cheat):
    """As its entry point makes it."""

    def __init__(self):
        super().__init__(PeekingCircuit, "peeking")


PEEKING = Peeking()
Sharing, Copying, Judging = Cheat(SharingCircuit, "sharing"), Cheat(CopyingCircuit, "copying"), Cheat(JudgingCircuit, "judging")


NETWORK = networks.chain(3, 4, activation="tanh", loss="cross_entropy")


@cache
def verdicts(backend, network=NETWORK, parts=tuple(CLAIMS)):
    """Return the report on a backend, made once for all tests, and the names of the claims that are broken."""
    report = examine(network, backend=backend, parts=parts, contrast=False, progress=False)
    return report, {claim.name for claim in report.broken}


@pytest.mark.parametrize(
    ("backend", "caught", "words"),
    [
        (PEEKING, {"speed", "neighbours", "messages"}, "differs 1 step after"),
        (Sharing, {"copies"}, "hidden"),
        (Judging, {"updates"}, "product of its factors"),
    ],
)
def test_a_cheat_is_caught_by_name(backend, caught, words):
    report, broken = verdicts(backend)
    assert caught <= broken, report
    told = {claim.name: claim.counterexample for claim in report.broken}
    assert words in told[min(caught, key=lambda name: list(told).index(name))]
    assert "samples" not in broken


def test_cheats_are_told_from_each_other():
    found = {backend.name: verdicts(backend)[1] for backend in (PEEKING, Sharing, Copying, Judging)}
    assert "updates" not in found["peeking"] | found["sharing"] | found["copying"]
    assert "copies" not in found["peeking"]
    assert found["copying"] == {"learning"}
    assert not {"neighbours", "messages"} & (found["sharing"] | found["copying"] | found["judging"])


class Learner(Circuit):
    """Honest when it relaxes; `spoil` is called after each step of learning, `told` after each update."""

    def spoil(self, inputs, targets):
        pass

    def told(self, before, rate):
        pass

    def step(self, t, inputs, targets):
        super().step(t, inputs, targets)
        self.steps += 1
        if self.learning:
            self.spoil(inputs, targets)

    def learn(self, rate, *decay):
        before = {"biases": dict(self.biases), "feedback": dict(self.feedback), "decay": decay[0] if decay else 0.0}
        super().learn(rate, *decay)
        self.lessons += 1
        self.told(before, rate)

    @property
    def batch(self):
        return len(self.before["output"])

    def peek(self):
        far = 1e-3 * self.before["output"].sum(axis=1, keepdims=True)
        self.potentials = self.potentials | {"hidden1": self.potentials["hidden1"] + far}

    def copy(self, part=1.0):
        for name, own in self.feedback.items():
            other = self.forward[name].transposed()
            self.feedback[name] = own.with_weights((1.0 - part) * own.weights + part * other.weights)


class PeekingInBatches(Learner):
    def spoil(self, inputs, _):
        if len(inputs) > 1:
            self.peek()


class PeekingLater(Learner):
    def spoil(self, *_):
        if self.steps > self._network.relaxation_steps:
            self.peek()


class CopyingInBatches(Learner):
    def told(self, *_):
        if self.batch > 1:
            self.copy()


class CopyingLater(Learner):
    def told(self, *_):
        if self.lessons > 1:
            self.copy()


class CopyingUnderDecay(Learner):
    def told(self, before, _):
        if before["decay"]:
            self.copy()


class DecayingTowardsTheOther(Learner):
    """The W^T copies decay not to 0 but to the forward copies."""

    def told(self, before, rate):
        self.copy(rate * before["decay"])


class DecayingAlone(Learner):
    """Only the forward copies decay."""

    def told(self, before, rate):
        for name, own in self.feedback.items():
            lost = rate * before["decay"] * before["feedback"][name].weights
            self.feedback[name] = own.with_weights(own.weights + lost)


class AveragingBiases(Learner):
    """Every bias learns from the mean of its population."""

    def told(self, before, rate):
        means = {name: s.mean() for name, s in self.sensitivities.items()}
        self.biases = {name: bias - rate * means[name] for name, bias in before["biases"].items()}


class JudgingLater(Learner):
    """From the second window on updates are scaled by what only the readout knows."""

    def learn(self, rate, *decay):
        scale = 1.0 + np.abs(self.before["output"]).mean() if self.lessons else 1.0
        super().learn(rate * scale, *decay)


class Sweeping(Learner):
    """Works out at once, in the last of 2D steps, what it learns from, and relaxes only when somebody watches."""

    def step(self, t, inputs, targets):
        if not self.learning:
            super().step(t, inputs, targets)
        elif t < self._network.relaxation_steps:
            self._arrived = {self._network.input: inputs}
        else:
            for _ in range(t):
                Circuit.step(self, t, inputs, targets)


@pytest.mark.parametrize(
    ("circuit", "words"),
    [
        (CopyingCircuit, "after window 1 hidden1->hidden2[0, 0] of the W^T copy"),
        (PeekingInBatches, "batch of 2 each: after window 1 input->hidden1[0, 0] of the forward copy"),
        (PeekingLater, "after window 2 input->hidden1[0, 0] of the forward copy"),
        (CopyingInBatches, "batch of 2 each: after window 1 hidden1->hidden2[0, 0] of the W^T copy"),
        (CopyingLater, "after window 2 hidden1->hidden2[0, 0] of the W^T copy"),
        (CopyingUnderDecay, "weight decay: after window 1 hidden1->hidden2[0, 0] of the W^T copy"),
        (DecayingTowardsTheOther, "weight decay: after window 1 hidden1->hidden2[0, 0] of the W^T copy"),
        (DecayingAlone, "weight decay: after window 1 hidden1->hidden2[0, 0] of the W^T copy"),
        (AveragingBiases, "after window 1 hidden1.bias[0] is"),
        (JudgingLater, "after window 2 input->hidden1[0, 0] of the forward copy"),
        (Sweeping, "3 windows of 3 steps with a single sample each and weight decay: after window 1 "),
    ],
)
def test_who_cheats_only_in_learning_is_caught_by_what_it_learned(circuit, words):
    subject = Subject.of(NETWORK, backend=Cheat(circuit))
    claim = claim_learning(subject)
    assert (claim.name, claim.verdict) == ("learning", "broken")
    assert words in claim.counterexample
    assert not claim_copies(subject).broken
    assert not claim_updates(subject).broken


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_who_learns_honestly_passes(schedule):
    assert claim_learning(Subject.of(NETWORK, backend=Cheat(Learner), schedule=schedule)).verdict == "holds"


@pytest.mark.parametrize("backend", [Cheat(), "reference", dn.backends.Reference(stacked=True), "chip", "nengo"])
def test_honest_backends_pass(backend):
    report, broken = verdicts(backend)
    assert not broken, report
    assert {claim.verdict for claim in report.claims} == {"holds"}


def test_lava_is_honest():
    """With few interventions: each run of Lava starts its processes anew."""
    subject = Subject.of(dn.Network.dense([3, 4, 2], activation="tanh", seed=0), backend="lava")
    watched = measure(subject, [*every(subject.network), *every(subject.network, ("weight",), most=1)])
    found = [
        *cone_claims(watched, samples(subject), populations(subject)),
        claim_updates(subject, runs=2),
        claim_copies(subject, most=1),
    ]
    found += [claim_learning(subject), lock.claim(subject)]
    assert {claim.verdict for claim in found} == {"holds"}, found


def test_a_backend_of_ones_own_is_found_by_its_entry_point(monkeypatch):
    own = EntryPoint("peeking", f"{__name__}:Peeking", base.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda point: Peeking if point is own else None)
    monkeypatch.setattr(base, "_points", lambda: {"peeking": own})
    report, broken = verdicts("peeking", parts=("cones",))
    assert {"speed", "neighbours", "messages"} <= broken, report


def test_textbook_backpropagation_is_exact_but_not_local():
    report, broken = verdicts(Textbook())
    assert {"speed", "neighbours", "messages", "copies"} <= broken, report
    held = {claim.name for claim in report.claims if claim.verdict == "holds"}
    assert {"samples", "updates"} <= held
    assert "no way of 1 hops" in next(claim.counterexample for claim in report.claims if claim.name == "speed")


def test_the_contrast_stands_in_the_report():
    report = examine(NETWORK, parts=["cones"], progress=False)
    assert not report.broken
    assert {claim.name for claim in report.contrast if claim.broken} >= {"speed", "neighbours"}
    assert np.all(report.tables["cones.csv"]["early"] == 0)
