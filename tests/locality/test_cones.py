"""Light cones: what differs after a change is what the graph foretells, neuron by neuron, step by step, first and last."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Lava, MappedChip, Reference
from dyadic_neuro.backends.reference.circuit import Circuit
from dyadic_neuro.errors import CycleError, OptionError, UnknownNameError
from dyadic_neuro.studies.locality.cones import NEVER, measure
from dyadic_neuro.studies.locality.graph import Graph, bends, has_flat_parts
from dyadic_neuro.studies.locality.isolation import populations, samples
from dyadic_neuro.studies.locality.perturbation import KINDS, Perturbation, changeable, every, moved
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.verdicts import claims
from dyadic_neuro.testing import networks, problems, strategies
from dyadic_neuro.testing.networks import SMOOTH

SCHEDULES = st.sampled_from(["free", "wavefront"])


def as_foretold(cones):
    """All that differs is foretold, and all that is foretold differs, unless differences fade to the last digits."""
    return not cones.outside and cones.stray is None and (cones.equal or cones.faintest < 1e-11)


def judged(subject, **options):
    """The claims that cones and isolation make, by name."""
    return {c.name: c for c in claims(measure(subject, **options), samples(subject), populations(subject))}


@given(strategies.dags(activations=SMOOTH, parts=True), SCHEDULES, strategies.SEEDS)
def test_cones_of_random_graphs_on_the_reference(network, schedule, seed):
    cones = measure(Subject.of(network, schedule=schedule, seed=seed))
    assert as_foretold(cones), cones.outside_first
    assert {change.kind for change in cones.changes} <= set(KINDS)
    assert len(cones.changes) > 2 * sum(p.size for p in network.dynamic)
    assert populations(cones.subject).counterexample is None
    assert samples(cones.subject).counterexample is None


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_nothing_fades_in_these(schedule):
    for seed in range(20):
        network = networks.dag(seed, seed % 6, activation=("tanh", "softplus", "sin")[seed % 3], parts=seed % 2 == 1)
        assert measure(Subject.of(network, schedule=schedule, seed=seed)).equal


@given(strategies.dags(activations=SMOOTH, parts=True), SCHEDULES, strategies.SEEDS)
@settings(max_examples=15)
def test_cones_of_random_graphs_on_the_chip(network, schedule, seed):
    subject = Subject.of(network, backend="chip", schedule=schedule, seed=seed)
    assert as_foretold(measure(subject))
    assert populations(subject).counterexample is None


@pytest.mark.parametrize("seed", [1, 2])
def test_cones_of_random_graphs_on_lava(seed):
    """Two seeds, because each run of Lava starts its processes anew; plain and mapped, free and wavefront."""
    network = networks.dag(seed, 1 + seed, activation=SMOOTH[seed + 1])
    backend = Lava(mapping=dn.map_network(network, "loihi1")) if seed % 2 else Lava()
    changes = [*every(network), every(network, ("weight",))[0], every(network, ("W^T copy",))[-1]]
    schedule = "wavefront" if seed == 1 else "free"
    assert as_foretold(measure(Subject.of(network, backend=backend, schedule=schedule, seed=seed), changes))


@given(strategies.dags(max_hidden=4, activations=("tanh", "softplus")), st.integers(0, 9), strategies.SEEDS)
@settings(max_examples=15)
def test_cones_are_the_same_from_every_state_that_a_relaxation_goes_through(network, at, seed):
    early, late = (measure(Subject.of(network, seed=seed), every(network), at=t) for t in (0, at))
    assert as_foretold(late)
    for variable, first in early.first.items():
        assert np.array_equal(first, late.first[variable])


def test_a_chain_by_hand():
    network = dn.Network.dense([2, 3, 3, 2], activation="tanh", seed=1)
    found = measure(Subject.of(network), [Perturbation("input", "input", (0,)), Perturbation("sensitivity", "hidden2", (1,))])
    firsts = {variable: first.tolist() for variable, first in found.first.items()}
    assert firsts["potential", "hidden1"][0] == [1, 1, 1]
    assert firsts["potential", "output"][0] == [3, 3]
    assert firsts["sensitivity", "output"][0] == [4, 4]
    assert firsts["sensitivity", "hidden1"][0] == [2, 2, 2]  # by phi' of its own potential
    assert firsts["sensitivity", "hidden2"][1] == [NEVER, 0, NEVER]
    assert found.last["sensitivity", "hidden1"][1].tolist() == [1, 1, 1]
    assert firsts["potential", "output"][1] == [NEVER, NEVER]


def test_a_small_memory_gives_the_same_cones(monkeypatch):
    subject = Subject.of(networks.dag(3, 4, activation="tanh"), samples=3)
    whole = measure(subject)
    monkeypatch.setattr("dyadic_neuro.studies.locality.interventions._CHUNK_BYTES", 1e4)
    parts = measure(subject)
    assert parts.runs > whole.runs == 1  # with all in a run, all but one row of it are changed
    for variable in whole.first:
        assert np.array_equal(whole.first[variable], parts.first[variable])
        assert np.array_equal(whole.acts[variable], parts.acts[variable])


@pytest.mark.parametrize(
    "substrate", [dn.Substrate(delays={"hidden1->output": 2.0, "input->hidden1": 1.0}), dn.Substrate(noise=0.1, seed=4)]
)
def test_delays_move_the_cone_and_noise_does_not(substrate):
    network = dn.Network.dense([2, 4, 3], activation="tanh", seed=2)
    late = measure(Subject.of(network, backend=Reference(substrate)), steps=12)
    assert as_foretold(late)
    first = late.first["sensitivity", "output"][0]
    assert set(first.tolist()) == {5 if substrate.delays else 3}  # an input is there before the first step, however late


def test_a_cycle_is_measured_for_given_steps():
    network, inputs, targets = problems.cyclic()
    subject = Subject.of(network, inputs, targets)
    assert as_foretold(measure(subject, steps=7))
    with pytest.raises(CycleError, match="give the number of steps"):
        measure(subject)


def test_flat_rate_functions_are_told_from_broken_laws():
    found = judged(Subject.of(dn.Network.dense([4, 6, 6, 3], activation="relu", seed=0)))
    assert found["speed"].verdict == found["neighbours"].verdict == "holds"
    assert found["arrival"].verdict == "nothing to measure"
    assert "relu has flat parts" in found["arrival"].found
    flat = {name for name, phi in dn.activations.ACTIVATIONS.items() if has_flat_parts(phi)}
    assert flat == {"relu", "leaky_relu", "hard_tanh"}
    assert not bends(dn.activations.ACTIVATIONS["identity"])


def test_the_prediction_can_fail():
    """A graph with a synapse less foretells less than is measured: the comparison is one."""
    network = networks.dag(1, 3, activation="tanh")
    cones = measure(Subject.of(network), every(network))
    gone = network.projections[0]
    fewer = replace(network, projections=[replace(gone, weights=np.zeros_like(gone.weights)), *network.projections[1:]])
    subject = cones.subject
    spread = Graph(fewer, dn.schedule.Schedule.of(fewer, "free")).spread(
        cones.changes, np.zeros((len(cones.changes), subject.targets.shape[1]), bool), 1
    )
    may = [*spread][1]
    assert (cones.acts["potential", gone.target] & ~may["potential", gone.target]).any()


def test_every_table_cell_of_a_chain_is_as_predicted():
    cones = measure(Subject.of(dn.Network.dense([3, 4, 4, 2], activation="tanh", loss="cross_entropy", seed=0)))
    table = cones.table()
    assert (table["as_predicted"] == table["neurons"]).all()
    assert (table["early"] == 0).all()
    assert len(table) == len(cones.groups()) * len(cones.first)


@given(st.sampled_from(["squared_error", "cross_entropy", "binary_cross_entropy"]), st.integers(1, 5), strategies.SEEDS)
@settings(max_examples=25)
def test_a_moved_target_is_one_that_the_loss_takes(loss, size, seed):
    cost = dn.losses.LOSSES[loss]
    target = np.random.default_rng(seed).dirichlet(np.ones(size)) if size > 1 else np.array([1.0])
    if loss == "cross_entropy" and size == 1:
        with pytest.raises(OptionError, match="takes no other target"):
            moved(cost, target, 0, 1.0)
        return
    for neuron in range(size):
        other = moved(cost, target, neuron, 1.0)
        assert cost.check(other[None]) is None
        assert other[neuron] != target[neuron]


# Cheats that light cones alone do not see, and honest backends that they must not accuse


class Peeking(Reference):
    """At every step, or from one on, `peek` takes more from the state before than the law allows."""

    name = "peeking"

    def __init__(self, peek):
        super().__init__()
        self._peek = peek

    def open(self, network):
        session, peek = super().open(network), self._peek

        class Peeks(Circuit):
            def step(self, t, inputs, targets):
                super().step(t, inputs, targets)
                self.potentials, self.sensitivities = dict(self.potentials), dict(self.sensitivities)
                peek(self, t)

        session._circuit = lambda order, initial, _: Peeks(network, order.schedule, order.alpha, initial, order.feedback)
        return session


def far_in_a_wave(circuit, t):
    if t == 3:  # the one update of the window
        circuit.potentials["hidden3"] = circuit.potentials["hidden3"] + 0.1 * circuit.before["hidden1"].sum(axis=1, keepdims=True)


def back_in_a_wave(circuit, t):
    if t == 8:
        circuit.sensitivities["hidden1"] = circuit.sensitivities["hidden1"] + 0.1 * circuit._sent["output"].sum(
            axis=1, keepdims=True
        )


def late(circuit, t):
    if t > 8:
        circuit.potentials["hidden1"] = circuit.potentials["hidden1"] + 0.1 * circuit.before["output"].sum(axis=1, keepdims=True)


def skips_late(circuit, t):
    if t >= 4:
        circuit.potentials["output"] = circuit.potentials["output"] + 0.1 * circuit.before["hidden1"].sum(axis=1, keepdims=True)


def of_the_batch(circuit, t):
    u = circuit.potentials["hidden1"].copy()
    u[0] += 0.1 * circuit.before["hidden1"].mean(axis=0)
    circuit.potentials["hidden1"] = u


def of_the_row_above(circuit, t):
    circuit.potentials["hidden1"] = circuit.potentials["hidden1"] + 0.1 * np.roll(circuit.before["hidden1"], 1, axis=0)


def slow(circuit, t):
    """What is lawful, a step later."""
    circuit.__dict__.setdefault("kept", []).append(circuit.potentials["hidden2"])
    circuit.potentials["hidden2"] = circuit.kept[max(0, len(circuit.kept) - 2)]


CHAIN = networks.chain(3, 4, activation="tanh", loss="cross_entropy")


@pytest.mark.parametrize(
    ("peek", "schedule", "claim"),
    [
        (far_in_a_wave, "wavefront", "speed"),
        (back_in_a_wave, "wavefront", "speed"),
        (late, "free", "speed"),
        (skips_late, "free", "speed"),
        (of_the_batch, "free", "samples"),
        (of_the_row_above, "free", "samples"),
        (slow, "free", "arrival"),
    ],
)
def test_what_cones_alone_do_not_see_is_caught_by_name(peek, schedule, claim):
    found = judged(Subject.of(CHAIN, backend=Peeking(peek), schedule=schedule, samples=2))
    assert found[claim].broken, found
    assert "hidden" in found[claim].counterexample or "output" in found[claim].counterexample
    if claim == "samples":
        assert found["speed"].verdict == "nothing to measure"


def mae():
    return (lambda u, y: np.abs(u - y).sum(axis=1)), (lambda u, y: np.sign(u - y))


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (dn.Network.dense([64, 8, 10], "tanh", "cross_entropy", seed=4), np.eye(2, 64)),  # most inputs are 0
        (dn.Network.dense([6, 5, 3], "tanh", seed=0), np.zeros((2, 6))),
        (dn.Network.dense([6, 5, 3], "tanh", seed=0), np.full((2, 6), 255.0)),
        (dn.Network.dense([8, *[6] * 12, 4], "sigmoid", seed=0), np.ones((1, 8))),
        (dn.Network.dense([6, 5, 5, 3], "tanh", loss=mae(), seed=0), np.ones((2, 6))),
        (dn.Network.dense([3, 3, 1], "tanh", "cross_entropy", seed=0), np.ones((1, 3))),
        (dn.Network.dense([8, *[6] * 7, 4], "sigmoid", dtype="float32", seed=0), np.ones((1, 8))),
    ],
)
def test_honest_networks_are_not_accused(network, inputs):
    targets = np.eye(network.population(network.output).size)[[0] * len(inputs)]
    for factor in (1.0, 30.0, 1e-6):
        scaled = network.with_parameters({p.name: factor * p.weights for p in network.projections})
        found = judged(Subject.of(scaled, inputs, targets))
        assert not [claim for claim in found.values() if claim.broken], found
    assert found["samples"].verdict == found["speed"].verdict == "holds"


# What cannot be


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (Perturbation("voltage", "input", (0,)), UnknownNameError, "nothing that can be changed"),
        (Perturbation("potential", "input", (0,)), UnknownNameError, "'input' has no potential"),
        (Perturbation("potential", "hidden9", (0,)), UnknownNameError, "use one of"),
        (Perturbation("W^T copy", "input->hidden1", (0, 0)), UnknownNameError, "has no W"),
        (Perturbation("input", "input", (2,)), OptionError, "outside the input of input, of shape"),
        (Perturbation("weight", "input->hidden1", (0,)), OptionError, "one index an axis"),
        (Perturbation("target", "output", (-1,)), OptionError, "count from 0"),
        (Perturbation("input", "input", (0,), float("nan")), OptionError, "no change"),
        (Perturbation("input", "input", (0,), 0.0), OptionError, "no change"),
        (Perturbation("input", "input", (0,), 1e-300), OptionError, "no change of a float64"),
        (Perturbation("input", "input", []), OptionError, "one index an axis"),
        (Perturbation("input", [], (0,)), UnknownNameError, "has no input"),
        ("input", OptionError, "no Perturbation"),
    ],
)
def test_changes_of_what_does_not_exist(change, error, words):
    with pytest.raises(error, match=words):
        measure(Subject.of(dn.Network.dense([2, 3, 2], seed=0)), [change])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 40_000}, "to 32,766"),
        ({"changes": []}, "are none"),
        ({"at": -1}, "at"),
        ({"at": 2.5}, "at"),
        ({"steps": True}, "steps"),
    ],
)
def test_steps_that_are_none(options, words):
    with pytest.raises(OptionError, match=words):
        measure(Subject.of(dn.Network.dense([2, 3, 2], seed=0)), **options)


def test_a_wavefront_is_entered_at_its_beginning():
    subject = Subject.of(dn.Network.dense([2, 3, 2], seed=0), schedule="wavefront")
    assert as_foretold(measure(subject, at=4))
    with pytest.raises(OptionError, match="multiple of 4"):
        measure(subject, at=3)


def test_where_a_chip_divides_a_fan_in_its_own_network_is_watched():
    network = dn.Network.dense([5000, 3, 2], activation="tanh", seed=1)
    subject = Subject.of(network, backend=MappedChip(dn.map_network(network, "loihi1")))
    assert subject.running.fingerprint != network.fingerprint
    assert as_foretold(measure(subject, every(subject.running, most=1)))
    with pytest.raises(OptionError, match="divided fan-in"):
        measure(subject, [Perturbation("bias", "output", (0,))])


def test_a_backend_that_records_nothing_is_refused():
    class Forgetful(Reference):
        name = "forgetful"

        def open(self, network):
            session = super().open(network)
            relax = session.relax
            session.relax = lambda order: relax(replace(order, by_step=False))
            return session

    with pytest.raises(OptionError, match="'forgetful' recorded 1 of"):
        measure(Subject.of(dn.Network.dense([2, 3, 2], seed=0), backend=Forgetful()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "tidal"}, "schedule"),
        ({"samples": 0}, "samples"),
        ({"inputs": [[1.0, 2.0]]}, "targets"),
        ({"backend": "abacus"}, "backend"),
    ],
)
def test_subjects_that_are_none(options, words):
    with pytest.raises((OptionError, UnknownNameError), match=words):
        Subject.of(dn.Network.dense([2, 3, 2], seed=0), **options)


def test_all_changeable_are_known_by_kind():
    known = changeable(dn.Network.dense([2, 3, 2], seed=0))
    assert set(known) == set(KINDS)
    assert known["W^T copy"] == {"hidden1->output": (2, 3)}
