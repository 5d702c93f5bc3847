"""Traffic: what tables count is what the ledger, the mapping and the chip count, and grows as sizes and paths foretell."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.errors import CapacityError, MappingError, OptionError
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.studies.locality import traffic
from dyadic_neuro.testing import chips, networks
from dyadic_neuro.testing.orders import order
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

pytest.importorskip("pandas")
FEW = settings(deadline=None, max_examples=min(30, settings().max_examples))
NETWORKS = st.one_of(chains(4), dags(4), dags(4, parts=True))
BENT = ("identity", "tanh", "sigmoid", "softplus", "sin")  # without gelu, which is flat from some potential on
SMOOTH = st.one_of(chains(5, BENT), dags(5, BENT))
SCHEDULES = st.sampled_from(["free", "wavefront"])


def warm(net, seed, samples, schedule, backend="reference"):
    """Return a run, and the one before it, from whose state it starts."""
    before = dn.relax(net, *networks.batch(net, seed + 1, samples), schedule=schedule, backend=backend)
    x, y = networks.batch(net, seed, samples)
    return dn.relax(net, x, y, schedule=schedule, backend=backend, initial=before.final), before


@FEW
@given(NETWORKS, SEEDS, SCHEDULES, st.sampled_from([1, 3]), st.integers(1, 12))
def test_the_table_holds_the_ledger_of_one_sample(network, seed, schedule, samples, steps):
    trace = dn.relax(network, *networks.batch(network, seed, samples), schedule=schedule, steps=steps)
    table = traffic.traffic(trace)
    assert list(table.columns) == list(traffic.TRAFFIC)
    assert table["messages"].sum() * samples == pytest.approx(trace.messages.total())
    assert table["bits"].sum() * samples == pytest.approx(trace.messages.bits())
    per_step = table.groupby("step")["messages"].sum().reindex(range(1, steps + 1), fill_value=0.0)
    assert np.allclose(per_step * samples, trace.messages.per_step())
    assert (table["changed"] <= table["messages"]).all()


@FEW
@given(SMOOTH, SEEDS, SCHEDULES)
def test_a_new_sample_changes_what_the_paths_foretell(network, seed, schedule):
    trace, before = warm(network, seed, 2, schedule)
    assume(all(np.abs(g).max() > 1e-6 for g in trace.gradients.values()))
    # what a saturated unit shows may keep its bits
    assume(all(np.abs(u).max() < 6.0 for u in [*trace.potentials.values(), *before.potentials.values()]))
    table = traffic.traffic(trace, previous=before)
    assert table["messages"].sum() == traffic.predicted_messages(network, schedule)
    assert table["changed"].sum() <= traffic.predicted_changed(network, schedule)
    if network.cost.name != "cross_entropy":  # with which the class may stay
        assert table["changed"].sum() == traffic.predicted_changed(network, schedule)


def test_changes_are_told_message_by_message():
    net = networks.chain(3, 3, activation="tanh")
    size = {p.name: p.size for p in net.populations}
    trace, before = warm(net, 3, 1, "free")
    table = traffic.traffic(trace, previous=before).set_index(["kind", "source", "step"])["changed"]
    moves = {name: [1] if name == "input" else [1 + net.depths[name]] for name in size}  # a value goes out a step after it came
    for name, steps in moves.items():
        for t in range(1, 7):
            if name != "output":
                assert table["rate", name, t] == (size[name] if t in steps else 0)
    assert [table["sensitivity", "output", t] for t in range(1, 7)] == [0, size["output"], 0, 0, size["output"], 0]
    assert [table["sensitivity", "hidden2", t] > 0 for t in range(1, 7)] == [False, False, True, True, False, True]
    first = traffic.traffic(trace)
    assert (first.loc[first["step"] == 1, "changed"] == first.loc[first["step"] == 1, "messages"]).all()
    held = dn.relax(net, trace.inputs, trace.targets, initial=trace.final)
    assert traffic.traffic(held, previous=trace)["changed"].sum() == 0


@FEW
@given(NETWORKS, SEEDS, SCHEDULES, st.sampled_from(["cores", "latency"]))
def test_hops_and_packets_are_those_that_the_mapping_and_the_cores_count(network, seed, schedule, objective):
    try:
        mapping = map_network(network, chips.chip(seed), objective=objective, seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise
    x, y = networks.batch(network, seed, 2)
    backend = dn.backends.MappedChip(mapping)
    with backend.open(network) as session:
        trace = session.relax(order(backend, network, x, y, schedule=schedule))
        counted = session.counts
    table = traffic.packets(trace, mapping)
    assert list(table.columns) == list(traffic.PACKETS)
    assert not table.duplicated(["step", "source", "kind"]).any()
    kind = Schedule.of(mapping.network, schedule)
    totals = table.groupby("step")[["packets", "hops", "chip_crossings"]].sum().reindex(range(1, trace.steps + 1), fill_value=0)
    for t, (packets, hops, crossed) in zip(totals.index, totals.to_numpy(), strict=True):
        for counts in (mapping.counter.scheduled(kind, t), counted[t - 1]):
            assert packets == counts.messages_out.sum()
            assert hops == sum(counts.links.hops)
            assert crossed == sum(counts.links.crossing(mapping.chip).hops)


def test_growth_is_what_sizes_and_paths_foretell():
    table = traffic.growth((1, 2, 5), (4, 9), (1, 3), chip="loihi1", seed=3)
    assert list(table.columns) == list(traffic.GROWTH)
    assert len(table) == 3 * 2 * 2 * 2 * 2
    assert (table["messages"] == table["predicted_messages"]).all()
    assert np.allclose(*table.loc[table["start"] == "warm", ["changed", "predicted_changed"]].to_numpy().T)
    assert table.loc[table["start"] == "cold", "predicted_changed"].isna().all()
    for row in table.itertuples():
        once = row.width * (2 * row.depth - 1)
        assert row.messages == once * (2 * row.depth if row.schedule == "free" else 1)
        assert row.bits == 64 * row.messages
        assert row.packets >= row.messages
        assert 0 < row.changed <= row.messages
    said = traffic.sentences(grown=table)
    assert said[0].endswith("in 48 of 48 cases.")
    assert "24 of 24" in said[1]
    assert any("2 at depth 1, 4 at depth 2, 10 at depth 5" in sentence for sentence in said)
    assert all("width^1.00 batch^0.00" in sentence for sentence in said if "messages as" in sentence)


def test_a_chip_that_divides_a_fan_in_is_counted_as_it_runs():
    net = dn.Network.dense([300, 300, 300])
    small = chips.chip(1)
    table = traffic.growth((2,), (12,), (1,), schedules=("free",), chip=small)
    mapping = map_network(dn.Network.dense([12, 12, 12]), small)
    assert mapping.division.divided
    assert (table["messages"] == traffic.predicted_messages(mapping.network, "free")).all()
    trace = dn.relax(net, *networks.batch(net, 0, 1))
    with pytest.raises(MappingError, match="another network"):
        traffic.packets(trace, mapping)


def test_what_cannot_be_counted_is_said():
    net = networks.chain(1, 2)
    x, y = networks.batch(net, 1, 2)
    with pytest.raises(OptionError, match="every step"):
        traffic.traffic(dn.relax(net, x, y, record="last"))
    with pytest.raises(OptionError, match="every step"):
        traffic.packets(dn.relax(net, x, y, record="last"), map_network(net, "loihi2"))
    for options in ({"depths": (0,)}, {"widths": ()}, {"batches": (1.5,)}, {"schedules": ("backwards",)}, {"schedules": ()}):
        with pytest.raises(OptionError) as caught:
            traffic.growth(**options)
        assert caught.value.field == next(iter(options))
    assert traffic.sentences() == []


def test_the_words_hold_the_numbers_of_the_tables():
    net = dn.Network.dense([6, 5, 4], seed=0)
    mapping = map_network(net, dn.Chip.load("loihi1"), objective="latency")
    trace = dn.relax(net, *networks.batch(net, 0, 2), backend=dn.backends.MappedChip(mapping))
    sent, crossed = traffic.traffic(trace), traffic.packets(trace, mapping)
    first, second = traffic.sentences(sent, crossed)
    assert "60 messages (44 of kind rate, 16 of kind sensitivity) and 3,840 bits along projections, in 4 steps" in first
    assert f"On the chip that is {crossed['packets'].sum():,} packets" in second
    assert f"{crossed['hops'].sum():,} hops" in second
    assert f"{crossed['chip_crossings'].sum():,} of them from chip to chip" in second or not crossed["chip_crossings"].any()


def test_the_words_are_short_where_there_is_little_to_say():
    net = dn.Network.dense([4, 3], seed=0)
    mapping = map_network(net, "loihi2")
    trace = dn.relax(net, *networks.batch(net, 0, 2), schedule="wavefront")
    crossed = traffic.packets(trace, mapping)
    first, second = traffic.sentences(traffic.traffic(trace), crossed, chip=mapping.chip.name, ran=False)
    assert "in 1 step;" in first
    assert "All have another value" in first
    assert second == f"On {mapping.chip.name} that would be 4 packets a sample, none of which leaves its tile."
    far = traffic.sentences(crossed=crossed.assign(hops=2, chip_crossings=1))
    assert "and 2 hops, 0.5 a packet, 1 of them from chip to chip; nothing takes more than the rate of input, 2." in far[0]
    grown = traffic.growth((1,), (4,), (1,), chip="loihi1")
    assert "so many have a new value: 100 % from a cold start" in traffic.sentences(grown=grown)[-1]
