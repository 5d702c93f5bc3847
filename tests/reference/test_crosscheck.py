"""The chip model against SANA-FE 2.2.9, an independent program: the same counts, and energies and times to 1e-9."""

import importlib.util

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import CapacityError, OptionError
from dyadic_neuro.mappings.raster import Raster
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.crosscheck import crosscheck, machine, scheduled, totals, write_files
from dyadic_neuro.studies.sanafe import run
from dyadic_neuro.testing import chips, networks

needs_sanafe = pytest.mark.skipif(
    importlib.util.find_spec("sanafe") is None, reason="sanafe is not installed (pip install 'dyadic-neuro[sanafe]')"
)
COUNTS = ("synaptic_events", "messages", "hops", "fired", "updated")
CHIP = dn.Chip.load("loihi1-sanafe")


def agrees(lines):
    for line in lines:
        assert line.theirs > 0 or line.name == "hops", line  # on one tile there are none
        if line.name in COUNTS:
            assert line.ours == line.theirs, line
        else:
            assert line.difference <= 1e-9, line


@needs_sanafe
@pytest.mark.parametrize("objective", ["cores", "latency"])
@pytest.mark.parametrize(
    ("activity", "updates"), [("free", "all"), ("free", "sent"), ("wavefront", "sent"), ("wavefront", "all")]
)
def test_a_relaxation_on_both(tmp_path, objective, activity, updates):
    """Full activity (free), and partial activity (wavefront)."""
    mapping = dn.map_network(dn.Network.specification([64, 48, 40, 10], loss="cross_entropy"), CHIP, objective=objective)
    agrees(crosscheck(mapping, scheduled(mapping, activity, mapping.network.relaxation_steps), tmp_path, updates=updates))


@needs_sanafe
@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_learning_on_both(tmp_path, schedule):
    """What the cores counted in three windows of learning, and what it cost, are SANA-FE's totals for the same messages."""
    network = dn.Network.dense([30, 40, 20, 5], loss="cross_entropy")
    mapping = dn.map_network(network, CHIP, objective="latency")
    rng = np.random.default_rng(0)
    lesson = Learning(
        rng.normal(size=(3, 30)),
        np.eye(5)[[0, 3, 4]],
        np.arange(3).reshape(1, 3, 1),
        0.1,
        Schedule.of(network, schedule),
        feedback_copies(network),
        1.0,
        network.relaxation_steps,
    )
    with dn.backends.MappedChip(mapping).open(network) as session:
        (epoch,) = session.learn(lesson, lambda _: None)
    write_files(mapping, scheduled(mapping, schedule, len(session.counts)), tmp_path, updates="all")
    theirs = run(tmp_path)
    assert theirs.messages == sum(int(c.messages_out.sum()) for c in session.counts)
    assert theirs.synaptic_events == sum(int(c.synaptic_events.sum()) for c in session.counts)
    assert theirs.hops == sum(sum(c.links.hops) for c in session.counts)
    assert theirs.fired == sum(int(c.fired.sum()) for c in session.counts)
    joules = {part.name: part.total_j for part in epoch.cost.components}
    assert joules["synaptic_operation"] == pytest.approx(theirs.energy_j["synapse"], rel=1e-9)
    network_j = joules["message"] + joules.get("hop_horizontal", 0.0) + joules.get("hop_vertical", 0.0)
    assert network_j == pytest.approx(theirs.energy_j["network"], rel=1e-9)
    assert joules["learning_update"] is None  # SANA-FE has no learning, so nobody has fitted it
    if schedule == "free":  # where all neurons are updated in every step, as in SANA-FE's files
        soma_j = joules["neuron_access"] + joules["neuron_update"] + joules["neuron_fire"]
        assert soma_j == pytest.approx(theirs.energy_j["soma"], rel=1e-9)
        assert 3 * sum(epoch.cost.steps_s) == pytest.approx(theirs.time_s, rel=1e-9)


@needs_sanafe
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("updates", ["sent", "all"])
def test_random_networks_and_rasters_on_both(tmp_path, seed, updates):
    rng = np.random.default_rng(seed)
    network = networks.dag(seed, 4, parts=bool(seed % 2))
    mapping = dn.map_network(network, CHIP, objective="latency", seed=seed)
    sent = rng.random((7, Raster(mapping).neurons)) < rng.choice([0.1, 0.5, 0.9])
    agrees(crosscheck(mapping, sent, tmp_path, updates=updates))


@needs_sanafe
def test_the_network_of_renner_on_both(tmp_path):
    mapping = dn.map_network(dn.Network.specification([400, 400, 10], loss="cross_entropy"), CHIP, objective="latency")
    sent = scheduled(mapping, "free", 4)
    sent[2:] &= np.random.default_rng(0).random(sent[2:].shape) < 0.1
    agrees(crosscheck(mapping, sent, tmp_path))


def fitting(network, seed):
    """Return a mapping on the first random small chip that the network fits on."""
    for more in range(20):
        try:
            return dn.map_network(network, chips.chip(seed + 100 * more), seed=seed)
        except CapacityError:
            continue
    raise AssertionError("fits on none of them")


@pytest.mark.parametrize("seed", range(20))
def test_a_raster_of_a_schedule_counts_what_the_counter_counts(seed):
    mapping = fitting(networks.dag(seed, 4, parts=bool(seed % 2)), seed)
    timing = Schedule.of(mapping.network, "wavefront")
    steps = mapping.network.relaxation_steps
    counts = Raster(mapping).count(scheduled(mapping, "wavefront", steps))
    for t in range(1, steps + 1):
        wanted = mapping.counter.scheduled(timing, t)
        assert np.array_equal(counts.fired[t - 1], wanted.fired)
        assert np.array_equal(counts.messages_out[t - 1], wanted.messages_out)
        assert np.array_equal(counts.messages_in[t - 1], wanted.messages_in)
        assert np.array_equal(counts.synaptic_events[t - 1], wanted.synaptic_events)
        assert (counts.hops_horizontal[t - 1], counts.hops_vertical[t - 1]) == wanted.links.hops


def test_chips_that_sanafe_has_no_model_of():
    for name in ("loihi1", "loihi2", "kapoho-point"):
        with pytest.raises(OptionError, match="loihi1-sanafe"):
            machine(dn.Chip.load(name))


def test_totals_need_no_sanafe():
    mapping = dn.map_network(dn.Network.specification([8, 8, 4]), CHIP)
    found = totals(mapping, scheduled(mapping, "free", 4), updates="all")
    assert found["synaptic_events"] == 4 * (64 + 32 + 32)
    assert found["fired"] == 4 * (8 + 8 + 4)
