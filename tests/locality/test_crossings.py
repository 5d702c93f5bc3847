"""Nothing acts across a boundary that was not sent: honest backends pass, and those that cheat are told apart."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Lava, MappedChip, Reference
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import CapacityError
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.studies.locality.crossings import OneStep, channels, claim_messages, packets
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.testing import chips, networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))
SCHEDULES = st.sampled_from(["free", "wavefront"])
FEW = settings(deadline=None, max_examples=min(25, settings().max_examples))
NET = networks.dag(3, 3, activation="tanh", loss="cross_entropy")


def measured(subject):
    """Return what acts on what in one step: a row of one batch for each variable that is changed, and one of none."""
    net, state = subject.running, subject.state(1)
    halves = {"potential": dict(state.potentials), "sensitivity": dict(state.sensitivities)}
    sources = [(kind, name, i) for kind in halves for name in halves[kind] for i in range(net.population(name).size)]
    sources += [("input", net.input, i) for i in range(net.population(net.input).size)]
    sources += [("target", net.output, i) for i in range(net.population(net.output).size)]
    size = len(sources) + 1
    x, y = np.tile(subject.inputs[:1], (size, 1)), np.tile(subject.targets[:1], (size, 1))
    rows = {kind: {name: np.tile(values, (size, 1)) for name, values in half.items()} for kind, half in halves.items()}
    for row, (kind, name, i) in enumerate(sources):
        if kind == "input":
            x[row, i] += 1.0
        elif kind == "target" and net.cost.name == "cross_entropy":
            y[row] = np.roll(y[row], 1)
        elif kind == "target":
            y[row, i] = 0.5 * (y[row, i] < 0.25)
        else:
            rows[kind][name][row, i] += 1.0
    trace = subject.relax(1, inputs=x, targets=y, initial=State(rows["potential"], rows["sensitivity"]))
    found = {"potential": trace.potentials, "sensitivity": trace.sensitivities}
    return OneStep(
        sources, {(kind, name): values[1, :-1] != values[1, -1] for kind, half in found.items() for name, values in half.items()}
    )


def mapped(network, seed):
    """Return a mapping of the network on a random small chip; networks that do not fit are passed over."""
    try:
        return map_network(network, chips.chip(seed), seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise


class Changed(Reference):
    """A backend whose traces are changed before anybody sees them."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def open(self, network):
        return ChangedSession(super().open(network), self.change)


class MappedChanged(MappedChip):
    """The same of a chip, whose packets go where they went."""

    def __init__(self, mapping, change):
        super().__init__(mapping)
        self.change = change

    def open(self, network):
        session = super().open(network)
        run = session.relax
        session.relax = lambda order: self.change(run(order))
        return session


class ChangedSession:
    """Its session."""

    def __init__(self, inner, change):
        self.inner, self.change = inner, change

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.inner.close()

    def relax(self, order):
        return self.change(self.inner.relax(order))


@given(NETWORKS, SCHEDULES, SEEDS)
@FEW
def test_what_acts_in_a_step_was_sent_in_it(network, schedule, seed):
    subject = Subject.of(network, schedule=schedule, samples=2, seed=seed)
    claim = claim_messages(subject, measured(subject))
    assert claim.verdict == "holds", claim
    assert "its ledger, on the backend's word, has" in claim.found


@given(NETWORKS, SCHEDULES, SEEDS)
@FEW
def test_from_core_to_core_nothing_acts_without_a_packet(network, schedule, seed):
    subject = Subject.of(network, backend=MappedChip(mapped(network, seed)), schedule=schedule, seed=seed)
    claim = claim_messages(subject, measured(subject))
    assert claim.verdict == "holds", claim
    assert re.search(r"packets? between", claim.found)


@given(NETWORKS, SCHEDULES, SEEDS)
@FEW
def test_packets_are_the_messages_that_cores_count(network, schedule, seed):
    mapping = mapped(network, seed)
    order = prepare(network, *networks.batch(network, seed, 2), running=mapping.apply(network), schedule=schedule)
    with MappedChip(mapping).open(network) as session:
        session.relax(order)
    cores = {int(core): i for i, core in enumerate(mapping.cores)}
    assert len(session.packets) == len(session.counts) == order.steps
    for step, counts in zip(session.packets, session.counts, strict=True):
        sent, came = np.zeros((2, len(cores)), np.int64)
        for packet in step:
            sent[cores[packet.sender]] += packet.stop - packet.start
            came[cores[packet.receiver]] += packet.stop - packet.start
        assert np.array_equal(sent, counts.messages_out)
        assert np.array_equal(came, counts.messages_in)
    assert {packet for step in session.packets for packet in step} <= set(channels(mapping))


def test_layer_by_layer_a_chip_has_no_packets_and_is_judged_by_its_channels():
    mapping = map_network(NET, chips.chip(15))
    subject = Subject.of(NET, backend=MappedChip(mapping, fast=True))
    assert packets(subject, 1, subject.state(1)) is None
    claim = claim_messages(subject, measured(subject))
    assert claim.verdict == "holds"
    assert "channels between" in claim.found


@pytest.mark.skipif(Lava().missing() is not None, reason="lava-nc is not installed")
@pytest.mark.parametrize("placed", [False, True])
def test_between_the_processes_of_lava_nothing_acts_that_crossed_no_port(placed):
    backend = Lava(mapping=map_network(NET, chips.chip(15))) if placed else Lava()
    subject = Subject.of(NET, backend=backend)
    claim = claim_messages(subject, measured(subject))
    assert claim.verdict == "holds", claim
    assert ("core to core" in claim.found) == placed


def peeking(trace):
    """Let the lowest sensitivity know the readout's potential at once."""
    values = {name: np.array(rows) for name, rows in trace.sensitivities.items()}
    values["hidden1"][1:] += 0.1 * trace.potentials["output"][:-1].sum(axis=2, keepdims=True)
    return replace(trace, sensitivities=values)


def test_a_backend_that_peeks_at_a_distant_layer_is_caught():
    subject = Subject.of(networks.chain(1, 4, activation="tanh"), backend=Changed(peeking))
    claim = claim_messages(subject, measured(subject))
    assert claim.broken
    assert claim.name == "messages"
    assert "potential output[0] acted in one step on sensitivity hidden1[0]" in claim.counterexample


def silent(kind):
    """Leave a kind of message out of the ledger."""

    def change(trace):
        def ledger():
            counts = trace.messages.counts.copy()
            counts[:, [link.kind == kind for link in trace.messages.links]] = 0
            return MessageLedger(trace.messages.links, counts, by_step=True)

        return replace(trace, ledger=ledger)

    return change


@pytest.mark.parametrize("kind", ["rate", "derivative", "potential", "error", "sensitivity"])
def test_a_backend_that_does_not_send_what_acts_is_caught(kind):
    subject = Subject.of(networks.chain(1, 3, activation="tanh"), backend=Changed(silent(kind)))
    claim = claim_messages(subject, measured(subject))
    assert claim.broken
    assert "acted in one step on" in claim.counterexample


def test_on_a_chip_whose_packets_tell_all_the_ledger_still_has_to():
    subject = Subject.of(NET, backend=MappedChanged(map_network(NET, chips.chip(15)), silent("error")))
    claim = claim_messages(subject, measured(subject))
    assert claim.broken
    assert "the messages sent that way were" in claim.counterexample


def fewer(trace):
    """Count one message too few of each kind."""
    counts = trace.messages.counts - 1
    return replace(trace, ledger=lambda: MessageLedger(trace.messages.links, counts, by_step=True))


def test_a_message_is_needed_from_every_neuron_that_acts():
    subject = Subject.of(networks.chain(1, 3, activation="tanh"), backend=Changed(fewer))
    assert claim_messages(subject, measured(subject)).broken


class Tunnelled(MappedChip):
    """A chip on which some packets are seen nowhere."""

    def __init__(self, mapping, hidden):
        super().__init__(mapping)
        self.hidden = hidden

    def open(self, network):
        session, hidden = super().open(network), self.hidden
        run = session.relax

        def relax(order):
            trace = run(order)
            session.packets = [tuple(p for p in step if not hidden(p)) for step in session.packets]
            return trace

        session.relax = relax
        return session


@pytest.mark.parametrize("kind", ["rate", "sensitivity"])
def test_a_chip_whose_cores_act_without_a_packet_is_caught(kind):
    mapping = map_network(NET, chips.chip(15))
    lost = next(p for p in channels(mapping) if p.kind == kind and p.sender != p.receiver)
    subject = Subject.of(NET, backend=Tunnelled(mapping, lost.__eq__))
    claim = claim_messages(subject, measured(subject))
    assert claim.broken
    assert f"from core {lost.sender} to core {lost.receiver}, and nothing went there with it" in claim.counterexample


def test_what_decodes_its_states_from_spikes_shows_no_bits():
    class Rough(Reference):
        cosine = 0.97

    subject = Subject.of(dn.Network.dense([2, 2, 2], seed=0), backend=Rough())
    claim = claim_messages(subject, OneStep([], {}))
    assert claim.verdict == "nothing to measure"
    assert "declares itself approximate (cosine >= 0.97)" in claim.found
