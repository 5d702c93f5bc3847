"""The suite itself: a backend that breaks one law fails the case of that law. A case that cannot fail would be no case."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.errors import UnknownNameError
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import conformance, problems, tolerances


class Broken(Reference):
    """The reference with a fault: `spoil_order` changes what it is told, `spoil_trace` and `spoil_epoch` what it answers."""

    name = "broken"

    def __init__(self, spoil_order=None, spoil_trace=None, spoil_epoch=None, *, close=True):
        self.faults = (spoil_order, spoil_trace, spoil_epoch, close)

    def open(self, network):
        return BrokenSession(super().open(network), *self.faults)


class BrokenSession:
    def __init__(self, session, spoil_order, spoil_trace, spoil_epoch, close):
        self.session, self.spoil_order, self.spoil_trace, self.spoil_epoch, self.closes = (
            session,
            spoil_order,
            spoil_trace,
            spoil_epoch,
            close,
        )

    def relax(self, order):
        trace = self.session.relax(self.spoil_order(order) if self.spoil_order else order)
        return self.spoil_trace(trace) if self.spoil_trace else trace

    def learn(self, order, on_window):
        for epoch in self.session.learn(order, on_window):
            yield self.spoil_epoch(epoch) if self.spoil_epoch else epoch

    def close(self):
        if self.closes:
            self.session.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()


def shifted(rows, population="hidden1"):
    """A population that is one step late."""
    return {n: np.concatenate([r[:1], r[:-1]]) if n == population and len(r) > 1 else r for n, r in rows.items()}


def one_short(order):
    return replace(order, steps=max(1, order.steps - 1))


def without_first_link(trace):
    ledger = trace.messages
    return replace(trace, ledger=lambda: MessageLedger(ledger.links[1:], ledger.counts[:, 1:], ledger.by_step))


def oracle_in_disguise(trace):
    """A backend that does not relax at all but answers with backpropagation's gradients, whatever the step."""
    return replace(trace, gradients=dn.backprop(trace.network, trace.inputs, trace.targets))


def drifted(epoch):
    return replace(epoch, feedback={name: w + 1e-9 for name, w in epoch.feedback.items()})


def off_by_little(epoch):
    return replace(epoch, parameters={key: value * (1 + 1e-8) for key, value in epoch.parameters.items()})


def one_more(epoch):
    return replace(epoch, parameters={key: value + (key == "output.bias") for key, value in epoch.parameters.items()})


def astray(trace):
    """One bias gradient of the wrong sign, as if the readout subtracted the other way round."""
    return replace(trace, gradients={key: -g if key == "output.bias" else g for key, g in trace.gradients.items()})


def in_double(trace):
    return replace(trace, potentials={n: u.astype("float64") for n, u in trace.potentials.items()})


FAULTS = {
    "trajectory": Broken(spoil_trace=lambda trace: replace(trace, potentials=shifted(trace.potentials))),
    "slow-steps": Broken(spoil_order=lambda order: replace(order, alpha=1.0)),
    "exact-at-2D": Broken(spoil_order=one_short),
    "not-before-2D": Broken(spoil_trace=oracle_in_disguise),
    "arrival": Broken(spoil_trace=lambda trace: replace(trace, sensitivities=shifted(trace.sensitivities))),
    "any-initial-state": Broken(
        spoil_order=lambda order: replace(order, initial=dn.State.zero(order_network(order), len(order.inputs)))
    ),
    "wavefront": Broken(spoil_order=lambda order: replace(order, schedule=free_of(order))),
    "record-last": Broken(spoil_order=lambda order: order if order.by_step else one_short(order)),
    "other-copies": Broken(spoil_order=lambda order: replace(order, feedback=dn.dynamics.feedback_copies(order_network(order)))),
    "cycles": Broken(spoil_trace=lambda trace: replace(trace, potentials=shifted(trace.potentials, "b"))),
    "activations": Broken(spoil_trace=lambda trace: replace(trace, gradients={k: g * 1.001 for k, g in trace.gradients.items()})),
    "single-precision": Broken(spoil_trace=in_double),
    "ledger": Broken(spoil_trace=without_first_link),
    "learning": Broken(spoil_epoch=off_by_little),
    "transposes": Broken(spoil_epoch=drifted),
    "direction": Broken(spoil_trace=astray),
    "integers": Broken(spoil_trace=lambda trace: replace(trace, sensitivities=shifted(trace.sensitivities))),
    "integer-learning": Broken(spoil_epoch=one_more),
    "codings": Broken(spoil_order=lambda order: replace(order, coding=dn.codings.Graded())),
    "closing": Broken(close=False),
}


def order_network(order):
    """The suite's networks are told apart by the widths of their data; good enough to spoil an order."""
    for network, x, _ in problems.problems():
        if x.shape == order.inputs.shape and np.array_equal(x, order.inputs):
            return network
    raise LookupError


def free_of(order):
    return Schedule.of(order_network(order), "free")


@pytest.mark.parametrize("case", FAULTS)
def test_a_backend_that_breaks_the_law_fails_its_case(case):
    (result,) = conformance.check(FAULTS[case], only=[case])
    assert result.verdict == "failed"
    assert "LookupError" not in result.reason


def test_a_backend_that_forgets_weight_decay_fails():
    class Forgetful(Reference):
        def open(self, network):
            session = super().open(network)
            learn = session.learn
            session.learn = lambda order, on_window: learn(replace(order, weight_decay=0.0), on_window)
            return session

    (result,) = conformance.check(Forgetful(), only=["learning"])
    assert result.verdict == "failed"


def test_a_backend_that_opens_a_session_for_a_bad_order_fails():
    class Careless(Reference):
        def missing(self):
            raise RuntimeError("asked too early")

    (result,) = conformance.check(Careless(), only=["typed-errors"])
    assert result.verdict == "failed"


def test_every_case_but_typed_errors_has_a_fault_of_its_own():
    assert {case.name for case in conformance.CASES} == set(FAULTS) | {"typed-errors"}


@pytest.mark.parametrize(
    ("promise", "turned", "verdict"), [(0.99, 0.08, "passed"), (0.999, 0.08, "failed"), (0.5, 0.5, "failed")]
)
def test_an_approximation_keeps_its_promise_of_a_direction_and_may_not_promise_little(promise, turned, verdict):
    def turn(trace):
        rng = np.random.default_rng(0)
        noisy = {key: rng.normal(size=g.shape) for key, g in trace.gradients.items()}
        scale = turned * norm(trace.gradients) / norm(noisy)
        return replace(trace, gradients={key: g + scale * noisy[key] for key, g in trace.gradients.items()})

    backend = Broken(spoil_trace=turn)
    backend.cosine = promise
    (result,) = conformance.check(backend, only=["direction"])
    assert result.verdict == verdict
    assert result.limit == max(promise, tolerances.PROMISED.limit)


def norm(gradients):
    return np.sqrt(sum((g**2).sum() for g in gradients.values()))


@pytest.mark.parametrize("alpha", [0.5, 1.25])
def test_a_backend_with_a_step_of_its_own_is_held_to_the_same_laws(alpha):
    class Slow(Reference):
        pass

    backend = Slow()
    backend.alpha = alpha
    about_unit_steps = {"exact-at-2D", "not-before-2D", "arrival", "wavefront"}
    cases = [case.name for case in conformance.CASES if case.name not in about_unit_steps]
    results = [result for result in conformance.check(backend, only=cases) if result.verdict != "unsupported"]
    assert [(result.case, result.measured) for result in results if result.verdict != "passed"] == []


def test_what_is_unsupported_carries_its_reason_and_is_not_run():
    class Partial(Reference):
        unsupported = MappingProxyType({"cycles": "it unrolls time"})

        def open(self, network):
            raise AssertionError

    (result,) = conformance.check(Partial(), only=["cycles"])
    assert (result.verdict, result.reason) == ("unsupported", "it unrolls time")


def test_an_unknown_case_is_refused_before_any_runs():
    with pytest.raises(UnknownNameError, match="no case is called 'speed'"):
        conformance.check(Reference(), only=["ledger", "speed"])
