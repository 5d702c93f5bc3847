"""Textbook backpropagation under the same instrument: exact from step 2 on, by sweeps that no local dynamics could make."""

import numpy as np
import pytest
from hypothesis import given, settings

import dyadic_neuro as dn
from dyadic_neuro.errors import CycleError, OptionError, SessionClosedError
from dyadic_neuro.studies.locality.textbook import Textbook
from dyadic_neuro.testing import conformance, networks, problems
from dyadic_neuro.testing.orders import order
from dyadic_neuro.testing.strategies import SEEDS, dags
from dyadic_neuro.trace import relative_error

FEW = settings(deadline=None, max_examples=min(20, settings().max_examples))


@FEW
@given(dags(5, parts=True), SEEDS)
def test_gradients_are_exact_from_step_2_on_from_any_state(network, seed):
    x, y = networks.batch(network, seed, 3)
    wanted = dn.backprop(network, x, y)
    trace = dn.relax(network, x, y, backend=Textbook(), steps=5, initial=networks.state(network, seed, 3))
    for t in range(2, 6):
        assert max(relative_error(trace.gradients_at(t), wanted).values(), default=0.0) <= 1e-11
    assert max(relative_error(trace.gradients, wanted).values(), default=0.0) <= 1e-11
    at_once = dn.relax(network, x, y, backend=Textbook(), steps=2, record="last")
    assert max(relative_error(at_once.gradients, wanted).values(), default=0.0) <= 1e-11


def test_the_input_reaches_the_readout_in_one_step_and_phases_hold_the_other_half():
    net = networks.chain(3, 6, activation="tanh")
    x, y = networks.batch(net, 3, 2)
    start = networks.state(net, 3, 2)
    one, other = (dn.relax(net, shown, y, backend=Textbook(), steps=2, initial=start) for shown in (x, x + 1.0))
    assert (one.potentials["output"][1] != other.potentials["output"][1]).all()
    assert np.allclose(one.potentials["output"][1], dn.predict(net, x), rtol=1e-12)
    local = [dn.relax(net, shown, y, steps=1, initial=start).potentials["output"][1] for shown in (x, x + 1.0)]
    assert np.array_equal(*local)
    for name in one.potentials:
        assert np.array_equal(one.sensitivities[name][1], start.sensitivities[name])
        assert np.array_equal(one.potentials[name][2], one.potentials[name][1])


@pytest.mark.parametrize("case", [case.name for case in conformance.CASES])
def test_it_keeps_every_law_but_those_it_says_it_breaks(case):
    (result,) = conformance.check(Textbook(), only=[case])
    assert result.reason if result.verdict == "unsupported" else result.verdict == "passed", result


@pytest.mark.parametrize("case", ["trajectory", "arrival", "not-before-2D", "ledger", "any-initial-state", "other-copies"])
def test_what_it_says_it_breaks_it_does_break(case):
    backend = Textbook()
    backend.unsupported = {}
    (result,) = conformance.check(backend, only=[case])
    assert result.verdict == "failed"


def test_what_it_cannot_do_is_said():
    net = networks.chain(4, 3)
    x, y = networks.batch(net, 4, 2)
    with pytest.raises(OptionError, match="two phases") as caught:
        dn.relax(net, x, y, backend=Textbook(), schedule="wavefront")
    assert caught.value.field == "schedule"
    with pytest.raises(OptionError, match="two phases"):
        dn.train(net, (x, y), backend=Textbook(), schedule="wavefront")
    with pytest.raises(OptionError) as caught:
        dn.relax(net, x, y, backend=Textbook(), alpha=0.5)
    assert caught.value.field == "alpha"
    with pytest.raises(CycleError, match="->"):
        dn.relax(*problems.cyclic(), backend=Textbook(), steps=4)
    session = Textbook().open(net)
    session.close()
    with pytest.raises(SessionClosedError):
        session.relax(order(Textbook(), net, x, y))


def test_messages_are_rates_in_the_forward_phase_and_the_others_in_the_backward_phase():
    net = dn.Network.dense([4, 3, 2])
    trace = dn.relax(net, *networks.batch(net, 1, 5), backend=Textbook(), steps=4)
    by_step = [{(e.source, e.target, e.kind): e.messages for e in trace.messages if e.step == t} for t in range(1, 5)]
    forward = {("input", "hidden1", "rate"): 20, ("hidden1", "output", "rate"): 15}
    assert by_step[0] == by_step[2] == forward
    assert {kind for _, _, kind in by_step[1]} == {"sensitivity", "derivative", "potential", "error"}
    assert by_step[1]["output", "hidden1", "sensitivity"] == 10
    assert trace.messages.total() == 2 * (35 + 10)
    last = dn.relax(net, *networks.batch(net, 1, 5), backend=Textbook(), steps=4, record="last")
    assert last.messages.total() == trace.messages.total()
