"""What an update reads, both copies of a weight, and what is learned: the honest pass, and who cheats is caught by name."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Lava, MappedChip, Reference
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import CapacityError, MappingError, OptionError
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies.locality.copies import claim_copies
from dyadic_neuro.studies.locality.learning import claim_learning
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.updates import claim_updates, costs, products
from dyadic_neuro.testing import chips, networks, problems
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))
SCHEDULES = st.sampled_from(["free", "wavefront"])
FEW = settings(deadline=None, max_examples=min(15, settings().max_examples))
TABLES = pytest.mark.skipif(find_spec("pandas") is None, reason="the extra `study` is not installed")
CHAIN = networks.chain(1, 3, activation="tanh", loss="cross_entropy")


class Cheat(Reference):
    """A backend whose orders are changed before they are carried out, or its answers before anybody sees them."""

    def __init__(self, *, order=None, trace=None, lesson=None, epoch=None):
        super().__init__()
        self.how = {"order": order, "trace": trace, "lesson": lesson, "epoch": epoch}

    def open(self, network):
        return CheatSession(network, super().open, self.how)


class CheatSession:
    """Its session."""

    def __init__(self, network, opened, how):
        self.network, self.opened, self.how = network, opened, how

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def _changed(self, what, value):
        return value if self.how[what] is None else self.how[what](self.network, value)

    def relax(self, order):
        with self.opened(self.network) as session:
            return self._changed("trace", session.relax(self._changed("order", order)))

    def learn(self, order, on_window):
        with self.opened(self.network) as session:
            for epoch in session.learn(self._changed("lesson", order), on_window):
                yield self._changed("epoch", epoch)


@given(NETWORKS, SCHEDULES, SEEDS)
@FEW
def test_an_update_reads_its_own_two_factors(network, schedule, seed):
    claim = claim_updates(Subject.of(network, schedule=schedule, seed=seed))
    assert claim.verdict == "holds", claim
    assert ("couples the readout's neurons" in claim.found) == (not network.cost.separable)
    assert f"the sample clock (2D = {network.relaxation_steps} steps) is global" in claim.found


@given(NETWORKS, SCHEDULES, SEEDS)
@FEW
def test_copies_act_and_learn_where_they_are(network, schedule, seed):
    subject = Subject.of(network, schedule=schedule, seed=seed)
    claim, learning = claim_copies(subject), claim_learning(subject)
    hidden = any(p.source != network.input for p in network.projections)
    assert claim.verdict == ("holds" if hidden else "nothing to measure"), claim
    assert learning.verdict == "holds" or "no update is large enough" in learning.found, learning


@given(NETWORKS, SCHEDULES, SEEDS)
@FEW
def test_on_a_chip_they_hold_on_every_core(network, schedule, seed):
    try:
        backend = MappedChip(map_network(network, chips.chip(seed), seed=seed))
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise
    subject = Subject.of(network, backend=backend, schedule=schedule, seed=seed, samples=2)
    claim = claim_updates(subject, runs=6)
    assert claim.verdict == "holds", claim
    assert "; packets brought " in claim.found
    assert not claim_copies(subject, most=2).broken
    assert not claim_learning(subject).broken


class Slow(Reference):
    """A backend whose dt is half of tau."""

    alpha = 0.5


@pytest.mark.parametrize("backend", [Reference(), Slow(), MappedChip()])
def test_they_hold_in_a_network_with_cycles_and_at_any_step_size(backend):
    subject = Subject.of(problems.cyclic()[0], backend=backend)
    assert claim_updates(subject, runs=3).verdict == "holds"
    assert claim_copies(subject, most=2).verdict == "holds"
    learning = claim_learning(subject)
    assert learning.verdict == "holds"
    assert "batches were not looked at (the network has a cycle)" in learning.found
    slow = claim_learning(Subject.of(CHAIN, backend=backend))
    assert slow.verdict == "holds"
    assert ("declares dt / tau = 0.5" in slow.found) == (backend.alpha != 1.0)


@pytest.mark.skipif(Lava().missing() is not None, reason="lava-nc is not installed")
def test_the_processes_of_lava_hold_each_their_own_copies():
    claim = claim_copies(Subject.of(networks.chain(4, 2, activation="tanh"), backend=Lava()), most=1)
    assert claim.verdict == "holds", claim
    assert "2 copies were changed" in claim.found


def test_single_precision_is_judged_by_its_own_rounding():
    subject = Subject.of(networks.chain(1, 3, dtype="float32"))
    assert claim_updates(subject).verdict == claim_copies(subject).verdict == claim_learning(subject).verdict == "holds"


def by_the_loss(_, trace):
    """Scale every update by what only the whole network knows."""
    return replace(trace, gradients={key: values * trace.loss for key, values in trace.gradients.items()})


def test_a_backend_that_reads_the_global_loss_is_caught():
    claim = claim_updates(Subject.of(CHAIN, backend=Cheat(trace=by_the_loss)))
    assert claim.broken
    assert claim.name == "updates"
    assert "the product of its factors" in claim.counterexample


def by_the_batch(_, trace):
    """Add up a batch instead of taking its mean."""
    return replace(trace, gradients={key: values * len(trace.inputs) for key, values in trace.gradients.items()})


def test_a_backend_whose_samples_do_not_learn_alike_is_caught():
    claim = claim_updates(Subject.of(CHAIN, backend=Cheat(trace=by_the_batch)))
    assert claim.broken
    assert "after a batch of 3 the update of" in claim.counterexample


def test_the_rank_that_is_told_is_that_of_the_updates():
    def of_full_rank(_, trace):
        added = {k: v + np.eye(*v.shape) if v.ndim == 2 else v for k, v in trace.gradients.items()}
        return replace(trace, gradients=added)

    found = [claim_updates(Subject.of(CHAIN, backend=Cheat(trace=how))).found for how in (None, of_full_rank)]
    honest, full = (float(told.split("by one sample is at most ")[1].split()[0]) for told in found)
    assert honest <= 1e-15
    assert full > 0.1


def by_another_neuron(_, trace):
    """Let one update depend a little on a neuron of another layer; far less than rounding explains."""
    gradients = {key: np.array(values) for key, values in trace.gradients.items()}
    gradients["input->hidden1"][0, 0] *= 1.0 + 4e-16 * np.rint(abs(trace.potentials["output"][0, 0, 0]) * 3)
    return replace(trace, gradients=gradients)


def test_a_third_factor_is_caught_by_its_bits_alone():
    claim = claim_updates(Subject.of(CHAIN, backend=Cheat(trace=by_another_neuron)), runs=40)
    assert claim.broken
    assert "changed the update of input->hidden1[0, 0], of which no factor changed" in claim.counterexample


def test_a_chip_that_learns_from_what_no_packet_brought_is_caught():
    class Tunnelled(MappedChip):
        def open(self, network):
            session = super().open(network)
            run = session.relax

            def relax(order):
                trace = run(order)
                session.packets = [tuple(p for p in step if p.population != "hidden1") for step in session.packets]
                return trace

            session.relax = relax
            return session

    claim = claim_updates(Subject.of(CHAIN, backend=Tunnelled()))
    assert claim.broken
    assert claim.counterexample.startswith("no packet brought the rate of hidden1[0] to core")


def transposed(network, order):
    """Replace the W^T copies by the transposes of the forward copies."""
    return replace(order, feedback=feedback_copies(network))


def blended(network, order):
    """Add to the W^T copies a little of the forward copies."""
    transposes = feedback_copies(network)
    mixed = {k: p.with_weights(p.weights + 1e-3 * transposes[k].weights) for k, p in order.feedback.items()}
    return replace(order, feedback=mixed)


def copied(_, epoch):
    """Carry the forward weights over to the W^T copies."""
    return replace(epoch, feedback={name: epoch.parameters[name].T for name in epoch.feedback})


@pytest.mark.parametrize(
    ("claim", "how", "told"),
    [
        (claim_copies, {"order": transposed}, "the copy was not used"),
        (claim_copies, {"order": blended}, "forward copy of hidden1->hidden2 the sensitivity of hidden1[0] changed at step"),
        (claim_learning, {"lesson": transposed}, "after window 1 "),
        (claim_learning, {"epoch": copied}, "of the W^T copy is"),
    ],
)
def test_a_backend_that_transports_weights_is_caught(claim, how, told):
    found = claim(Subject.of(CHAIN, backend=Cheat(**how)))
    assert found.broken
    assert f"claim_{found.name}" == claim.__name__
    assert told in found.counterexample


class Mirrored(Reference):
    """A backend whose forward copies are the transposes of its W^T copies."""

    def open(self, network):
        session, opened = super().open(network), super().open

        def relax(order):
            weights = {name: copy.weights.T for name, copy in order.feedback.items()}
            with opened(network.with_parameters(weights)) as inner:
                return inner.relax(order)

        session.relax = relax
        return session


def test_a_backend_that_uses_the_other_copy_forward_is_caught():
    claim = claim_copies(Subject.of(CHAIN, backend=Mirrored()), most=9)
    assert claim.broken
    assert "with another W^T copy of" in claim.counterexample
    assert "the potential of" in claim.counterexample


def test_a_backend_that_does_not_learn_is_judged_by_how_it_relaxes():
    subject = Subject.of(CHAIN, backend=MappedChip(map_network(CHAIN, "loihi2", learning=False)))
    assert claim_copies(subject).verdict == "holds"
    learning = claim_learning(subject)
    assert learning.verdict == "nothing to measure"
    assert "it does not learn (mapping has no room for learning)" in learning.found


def test_what_there_is_nothing_of_to_measure_is_said():
    class Rough(Reference):
        cosine = 0.97

    rough, flat = Subject.of(CHAIN, backend=Rough()), Subject.of(networks.chain(1, 1))
    late = Subject.of(CHAIN, backend=Reference(dn.Substrate(delays={"input->hidden1": (1.0, 0.0)})))
    for claim in (claim_updates(rough), claim_copies(rough), claim_learning(rough)):
        assert claim.verdict == "nothing to measure"
        assert "declares itself approximate (cosine >= 0.97)" in claim.found
    for claim in (claim_copies(flat), claim_copies(late), claim_learning(late)):
        assert claim.verdict == "nothing to measure"
    assert "declares a substrate" in claim_copies(late).found
    assert claim_updates(late).verdict == "holds"


def test_of_a_network_too_dead_to_learn_no_update_is_judged():
    silent = [Population("input", 2), Population("hidden1", 3, "relu", np.full(3, -1e3)), Population("output", 2)]
    weights = [Projection("input", "hidden1", np.ones((3, 2))), Projection("hidden1", "output", np.ones((2, 3)))]
    claim = claim_learning(Subject.of(dn.Network(silent, weights)))
    assert claim.verdict == "nothing to measure"
    assert "no update is large enough" in claim.found


# What an update costs


@TABLES
@given(NETWORKS)
@FEW
def test_without_a_mapping_an_update_costs_a_message_of_every_neuron_it_reads(network):
    table = costs(network).set_index(["parameter", "copy"])
    plastic = {p.name: p for p in network.projections if p.plastic}
    assert set(table.index.get_level_values(0)) == set(network.plastic)
    for (name, copy), row in table.iterrows():
        p = plastic.get(name)
        reads = {"forward": p and p.weights.shape[-1], "W^T": p and p.weights.shape[0], "bias": 0}[copy]
        assert (row.messages, row.bytes) == (reads, 8 * reads)
        assert np.isnan(row.packets)
    assert (table["local"] != table["arrives"]).all()


@TABLES
@given(SEEDS, st.integers(1, 4), SEEDS)
@FEW
def test_on_a_chip_an_update_of_a_chain_costs_what_the_mesh_carried(network_seed, depth, seed):
    network = networks.chain(network_seed, depth)
    try:
        mapping = map_network(network, chips.chip(seed), seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise
    assume(not mapping.division.divided)  # relays are fixed: what they carry changes nothing
    with MappedChip(mapping).open(network) as session:
        session.relax(prepare(network, *networks.batch(network, seed, 1), steps=1))
    table = costs(network, mapping, bits=16)
    assert table["packets"].sum() == session.counts[0].messages_in.sum()
    assert (table["packets"] * table["hops_mean"]).sum() == pytest.approx(session.counts[0].links.flat().sum())
    assert np.array_equal(table["bytes"], 2 * table["packets"])


@TABLES
def test_costs_refuses_what_is_no_width_and_no_mapping_of_the_network():
    with pytest.raises(OptionError, match="bits"):
        costs(CHAIN, bits=0)
    with pytest.raises(MappingError, match="mapping"):
        costs(CHAIN, map_network(networks.chain(2, 4), "loihi2"))


def test_products_are_the_gradients_that_a_trace_gives():
    trace = dn.relax(CHAIN, *networks.batch(CHAIN, 1, 4))
    for key, values in products(trace).items():
        assert np.allclose(values, trace.gradients[key], rtol=1e-12, atol=1e-15)
