"""Backends beside each other: what agrees is found to agree, every fault is found, and no backend stops the others."""

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyadic_neuro.backends import Reference, base
from dyadic_neuro.errors import MissingExtraError, SimulatorError, UnknownNameError
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.testing import agreement, networks, orders, problems, tolerances, twin
from dyadic_neuro.testing.latency import steps_per_hop
from dyadic_neuro.testing.strategies import SEEDS, dags
from dyadic_neuro.testing.timing import timed

SMOOTH = networks.SMOOTH


class Altered(Reference):
    """The reference with other answers: `spoil` changes a trace, `spoil_epoch` what was learned."""

    name = "altered"

    def __init__(self, spoil=lambda trace: trace, spoil_epoch=lambda epoch: epoch, **attributes):
        super().__init__()
        self.spoil, self.spoil_epoch = spoil, spoil_epoch
        self.__dict__.update(attributes)

    def open(self, network):
        session = super().open(network)
        relax, learn = session.relax, session.learn
        session.relax = lambda order: self.spoil(relax(order))
        session.learn = lambda order, on_window: (self.spoil_epoch(epoch) for epoch in learn(order, on_window))
        return session


def noisy(trace, size=0.05):
    """Gradients and states as spikes would give them."""
    rng = np.random.default_rng(trace.steps)
    parts = {
        part: {name: z + size * np.abs(z).mean() * rng.normal(size=z.shape) for name, z in getattr(trace, part).items()}
        for part in ("potentials", "sensitivities", "gradients")
    }
    return replace(trace, **parts)


def late(rows):
    return {name: np.concatenate([z[:1], z[:-1]]) for name, z in rows.items()}


def off(values, by=1e-6):
    return {key: value * (1.0 + by) for key, value in values.items()}


def lacking(trace):
    ledger = trace.messages
    return replace(trace, ledger=lambda: MessageLedger(ledger.links[1:], ledger.counts[:, 1:], ledger.by_step))


def failed(backend):
    return {name for name, m in agreement.measure(backend).measures.items() if m.verdict == "failed"}


@pytest.fixture
def registered(monkeypatch):
    """Put these backends in place of those that are installed."""

    def register(**made):
        class Point:
            def __init__(self, backend):
                self.load = lambda: lambda: backend

        monkeypatch.setattr(base, "_points", lambda: {name: Point(backend) for name, backend in made.items()})

    return register


def test_the_reference_agrees_with_its_twin_and_with_backpropagation():
    found = agreement.measure(Reference())
    assert found.verdict == "passed"
    assert {m.verdict for m in found.measures.values()} == {"passed"}
    assert list(found.measures) == list(agreement.QUANTITIES)
    assert all(np.nanmax(found.curves[name]) == 0.0 for name in ("potentials", "sensitivities", "gradients"))
    errors = found.curves["backpropagation"]
    assert np.isnan(errors[0])
    assert errors[1 : agreement.DUE].min() > tolerances.WRONG.limit
    assert errors[agreement.DUE :].max() <= tolerances.EXACT.limit
    assert found.measures["first exact"].value == agreement.DUE
    assert found.measures["hop"].value == 1.0
    assert found.measures["messages"].value == agreement.DUE * (4 + 6 + 5 + 5 + 3)  # rates of 4, 6, 5; sensitivities of 5, 3
    assert found.build_s is None or found.build_s > 0.0
    assert found.step_s is None or found.step_s > 0.0
    assert "NumPy" in found.runs_on


FAULTS = {
    "potentials": (lambda t: replace(t, potentials=late(t.potentials)), {"potentials", "gradients", "hop"}),
    "sensitivities": (
        lambda t: replace(t, sensitivities=late(t.sensitivities)),
        {"sensitivities", "gradients", "first exact", "hop"},
    ),
    "what the synapses read": (lambda t: replace(t, gradients=off(t.gradients)), {"backpropagation", "first exact"}),
    "its direction": (
        lambda t: replace(t, gradients={k: g if "bias" in k else -g for k, g in t.gradients.items()}),
        {"backpropagation", "direction", "first exact"},
    ),
    "messages": (lacking, {"messages"}),
}


@pytest.mark.parametrize("what", FAULTS)
def test_every_fault_of_a_relaxation_is_found(what):
    spoil, found = FAULTS[what]
    assert failed(Altered(spoil)) == found


def test_wrong_learning_is_found():
    assert failed(Altered(spoil_epoch=lambda epoch: replace(epoch, parameters=off(epoch.parameters)))) == {"learning"}


def test_learning_that_raises_fails_alone_with_what_was_raised():
    def refuse(_):
        raise SimulatorError("altered", "cannot learn", "relax only")

    found = agreement.measure(Altered(spoil_epoch=refuse))
    assert found.measures["learning"].verdict == "failed"
    assert "SimulatorError: altered: cannot learn" in found.measures["learning"].reason
    assert [m.quantity for m in found.measures.values() if m.verdict == "failed"] == ["learning"]


def test_a_slow_backend_is_held_to_its_own_twin_and_its_settling_is_told():
    found = agreement.measure(Altered(alpha=0.5))
    assert found.verdict == "passed"
    first = found.measures["first exact"]
    assert first.verdict == "told"
    assert agreement.DUE < first.value < len(found.curves["potentials"])
    assert "0.5 tau" in first.reason
    assert found.stride * agreement.DUE == len(found.curves["potentials"]) - 1
    assert found.measures["hop"].value == 1.0


def test_time_is_told_in_what_a_step_takes_where_that_is_not_alpha():
    first = agreement.measure(Altered(alpha=0.5, dt_over_tau=0.7)).measures["first exact"]
    assert "dt is 0.7 tau" in first.reason


@pytest.mark.parametrize(
    ("waits", "built", "step"),
    [([0, 0, 0, 0], 5.0, 1.0), ([0, 9, 0, 0], 5.0, 1.0), ([-6, 0, 0, 0], None, 1.0), ([0, 0, 0, -80], None, None)],
)
def test_building_and_a_step_are_told_apart_and_what_cannot_be_told_is_none(waits, built, step, monkeypatch):
    """By a clock that stands still but for building, 5 s, for a step of a sample, 1 s, and for what a run waits."""
    now, lost = [0.0], iter(waits)
    problem = problems.shown()["chain 4-6-5-3"]
    short, long = (orders.order(Reference(), *problem, steps=steps) for steps in (4, 40))

    class Slow(Reference):
        def open(self, network):
            now[0] += 5.0
            session = super().open(network)
            relax = session.relax

            def slowly(order):
                now[0] += order.steps * len(order.inputs) + next(lost)
                return relax(order)

            session.relax = slowly
            return session

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    found = timed(Slow(), problem[0], short, [long])
    assert (found.build_s, found.step_s) == (built, step)


def test_what_approximates_is_held_to_its_promise_and_the_rest_is_told_with_the_reason():
    found = agreement.measure(Altered(noisy, cosine=0.98, unsupported={"exact-at-2D": "it counts spikes"}))
    assert found.verdict == "approximate"
    assert found.measures["direction"].verdict == "passed"
    assert 0.98 <= found.measures["direction"].value < 1.0
    assert found.measures["backpropagation"].reason == "not exact: it counts spikes"
    assert 1e-3 < found.measures["backpropagation"].value < 1.0
    assert found.measures["hop"].value is None
    assert found.measures["learning"].limit == tolerances.PROMISED.limit
    assert failed(Altered(lambda trace: noisy(trace, 1.0), cosine=0.98)) == {"direction"}


def test_a_backend_that_raises_is_a_row_with_its_error_and_the_others_go_on(registered):
    def fail(_):
        raise SimulatorError("altered", "it broke", "mend it")

    class Absent(Reference):
        def missing(self):
            return "pip install 'dyadic-neuro[absent]'"

    registered(absent=Absent(), broken=Altered(fail), reference=Reference())
    found = {one.backend: one for one in agreement.measure_all()}
    assert list(found) == ["reference", "absent", "broken"]
    assert found["reference"].verdict == "passed"
    assert (found["absent"].verdict, found["absent"].error) == ("missing", "pip install 'dyadic-neuro[absent]'")
    assert found["broken"].verdict == "failed"
    assert found["broken"].error == "SimulatorError: altered: it broke; mend it"
    assert [one.backend for one in agreement.measure_all(["reference"])] == ["reference"]


def test_a_backend_that_hangs_is_ended_and_a_timer_is_left_as_it_was(registered):
    def sleep(trace):
        time.sleep(20)
        return trace

    registered(hangs=Altered(sleep))
    before = signal.getsignal(signal.SIGALRM)
    (found,) = agreement.measure_all(limit_s=0.2)
    assert found.verdict == "failed"
    assert "longer than 0.2 s" in found.error
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_a_backend_is_closed_in_the_end(registered):
    closed = []
    registered(one=Altered(close=lambda: closed.append(1)))
    assert [one.verdict for one in agreement.measure_all()] == ["passed"]
    assert closed == [1]


def test_an_unknown_backend_is_refused_before_any_runs(registered, refuses):
    registered(reference=Altered(lambda _: pytest.fail("work began")))
    with refuses(UnknownNameError, "backend", "'braian2'", "reference"):
        agreement.measure_all(["reference", "braian2"])


@pytest.mark.parametrize("backend", [Reference(), Altered(alpha=0.5), Altered(noisy, cosine=0.98)])
def test_a_record_is_json_with_null_for_what_is_no_number(backend):
    found = agreement.measure(backend)
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["verdict"] == found.verdict
    assert record["by_step"]["backpropagation"][0] is None
    assert set(record["measures"]) == set(agreement.QUANTITIES)


@given(dags(activations=SMOOTH), SEEDS, st.sampled_from([1.0, 0.3]))
def test_a_change_takes_one_step_a_hop_whatever_the_network(network, seed, alpha):
    problem = (network, *networks.batch(network, seed, 2))
    assert set(steps_per_hop(Altered(alpha=alpha), problem)) == {1.0}


def test_a_difference_is_absolute_however_large_the_states():
    rows = {"a": np.full((1, 1, 2), 1000.0)}
    assert twin.by_step(rows, [{"a": np.full((1, 2), 1001.0)}]).tolist() == [1.0]


def test_states_of_another_shape_or_precision_are_infinitely_far():
    network, x, y = next(iter(problems.shown().values()))
    states = twin.follow((network, x, y), 2, networks.state(network, 0, len(x)))
    rows = {name: np.stack([state.potentials[name] for state in states]) for name in states[0].potentials}
    wanted = [state.potentials for state in states]
    assert twin.by_step(rows, wanted).tolist() == [0.0, 0.0, 0.0]
    assert np.isinf(twin.by_step({name: z[:2] for name, z in rows.items()}, wanted)).all()
    assert np.isinf(twin.by_step({name: z.astype("float32") for name, z in rows.items()}, wanted)).all()
    assert np.isinf(twin.by_step({name: np.full_like(z, np.nan) for name, z in rows.items()}, wanted)).all()


def test_limits_are_read_in_words():
    assert tolerances.COUNTED.words == "none"
    assert tolerances.EXACT.words == "at most 1e-12"
    assert tolerances.DIRECTION.words == "at least 1 - 1e-12"
    assert tolerances.PROMISED.words == "at least 0.97"
    assert all(limit.reason for limit in tolerances.TABLE)
    assert len({limit.name for limit in tolerances.TABLE}) == len(tolerances.TABLE)


def test_what_runs_is_what_the_backend_says_or_unknown():
    assert base.runs_on(Reference()) == f"NumPy {np.__version__} in this process, on the CPU"
    assert base.runs_on(object()) == "unknown"
    assert base.version_of("numpy") == np.__version__
    assert base.version_of("no-such-distribution") == "(not installed)"


@pytest.mark.parametrize("name", [name for name, missing in base.available().items() if missing is None])
def test_every_installed_backend_says_what_runs(name):
    try:
        backend = base.resolve(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    said = base.runs_on(backend)
    assert "CPU" in said
    assert any(character.isdigit() for character in said)
    assert "(not installed)" not in said
