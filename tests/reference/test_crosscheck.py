"""The chip model against SANA-FE 2.2.9, an independent program: the same counts, and energies and times to 1e-9."""

import importlib.util

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.errors import CapacityError, OptionError
from dyadic_neuro.mappings.raster import Raster
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.crosscheck import crosscheck, machine, scheduled, totals
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
    """Three windows of learning, as `train` runs them: without a reset in between."""
    network = dn.Network.specification([30, 40, 20, 5])
    mapping = dn.map_network(network, CHIP, objective="latency")
    agrees(crosscheck(mapping, scheduled(mapping, schedule, 3 * network.relaxation_steps), tmp_path))


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
