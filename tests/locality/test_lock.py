"""The update lock: each gradient is exact from the step that the graph foretells, and each copy may change from its own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.errors import CapacityError, CycleError, OptionError
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.studies.locality import lock
from dyadic_neuro.studies.locality.release import BACKWARD, BOTH, END, FORWARD, OWN, release
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.textbook import Textbook
from dyadic_neuro.testing import chips, networks, problems
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

pytest.importorskip("pandas")
FEW = settings(deadline=None, max_examples=min(40, settings().max_examples))
SMOOTH = st.one_of(chains(5, networks.SMOOTH), dags(4, networks.SMOOTH))
SCHEDULES = st.sampled_from(["free", "wavefront"])


def due(net, key):
    """Return D + 1 + height of the population that a parameter drives."""
    return net.depth + 1 + net.heights[key.removesuffix(".bias").split("->")[-1]]


# When a gradient is exact


@FEW
@given(SMOOTH, SEEDS, SCHEDULES)
def test_gradients_are_exact_from_the_predicted_step_and_not_before(network, seed, schedule):
    x, y = networks.batch(network, seed, 2)
    assume(all(np.abs(g).max() > 1e-6 for g in dn.backprop(network, x, y).values()))  # gradients that have not vanished
    subject = Subject.of(network, x, y, schedule=schedule, seed=seed)
    table = lock.lock(subject.relax(network.relaxation_steps, initial=subject.state(2)))
    assert list(table.columns) == list(lock.LOCK)
    assert list(table["parameter"]) == list(network.plastic)
    assert list(table["predicted"]) == [due(network, key) for key in network.plastic]
    assert list(table["measured"]) == list(table["predicted"])
    found = lock.claim(subject)
    assert (found.name, found.verdict) == ("lock", "holds"), found
    assert "none is earlier" in found.found


@FEW
@given(dags(5, parts=True), SEEDS, SCHEDULES, st.sampled_from(["reference", "chip"]))
def test_the_claim_holds_for_every_network_and_in_cores(network, seed, schedule, backend):
    assume(network.plastic)
    subject = Subject.of(network, backend=backend, schedule=schedule, samples=2, seed=seed)
    assert lock.claim(subject).verdict == "holds", lock.claim(subject)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_a_fan_in_was_divided_the_steps_are_those_of_the_network_that_runs(seed):
    net = networks.chain(seed, 3, activation="tanh")
    for drawn in range(40):
        try:
            mapping = map_network(net, chips.chip(drawn), seed=seed)
        except CapacityError:
            continue
        if mapping.division.divided:
            break
    subject = Subject.of(net, backend=dn.backends.MappedChip(mapping), seed=seed)
    assert subject.running.depth > net.depth
    table = lock.lock(subject.relax(subject.running.relaxation_steps, initial=subject.state(1)))
    assert set(table["parameter"]) == set(net.plastic)
    assert (table["measured"] == table["predicted"]).all()
    assert table["predicted"].max() == 2 * subject.running.depth
    assert lock.claim(subject).verdict == "holds"


class Wrapped(Reference):
    """A reference whose traces somebody changes."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def open(self, network):
        session = super().open(network)
        relax = session.relax
        session.relax = lambda order: self.change(relax, order)
        return session


def late(relax, order):
    """Show every state a step late, as a backend does that has a hop too many."""
    trace = relax(order)
    rows = [{n: np.concatenate([z[:1], z[:-1]]) for n, z in states.items()} for states in (trace.potentials, trace.sensitivities)]
    return replace(trace, potentials=rows[0], sensitivities=rows[1])


def scaled(relax, order):
    """Return other gradients than the states have."""
    trace = relax(order)
    return replace(trace, gradients={key: 1.001 * g for key, g in trace.gradients.items()})


@pytest.mark.parametrize(("change", "says"), [(late, "is exact from step"), (scaled, "is wrong after 10 steps")])
def test_a_backend_that_is_late_or_wrong_is_caught(change, says):
    found = lock.claim(Subject.of(networks.chain(2, 4, activation="tanh"), backend=Wrapped(change), samples=2))
    assert found.broken
    assert says in found.counterexample
    assert "input->hidden1" in found.counterexample


def test_textbook_is_exact_from_step_2_on_which_is_told_and_breaks_nothing():
    net = networks.chain(2, 4, activation="tanh")
    subject = Subject.of(net, backend=Textbook(), samples=2)
    found = lock.claim(subject)
    assert found.verdict == "holds"
    assert f"{len(net.plastic)} are exact even earlier" in found.found
    assert "step 2," in found.found
    assert set(lock.lock(subject.relax(8, initial=subject.state(2)))["measured"]) == {2.0}


def test_nothing_is_claimed_where_nothing_is_exact():
    net = networks.chain(2, 3)
    fixed = replace(
        net,
        populations=[replace(p, bias=None) for p in net.populations],
        projections=[replace(p, plastic=False) for p in net.projections],
    )
    approximate, slow = Reference(), Reference()
    approximate.cosine, slow.alpha = 0.97, 0.5
    noisy = Reference(dn.Substrate(noise=0.1))
    cyclic = problems.cyclic()[0]
    for network, backend, says in (
        (cyclic, "reference", "cycle"),
        (fixed, "reference", "learns"),
        (net, approximate, "approximates"),
        (net, slow, "0.5"),
        (net, noisy, "noise"),
    ):
        found = lock.claim(Subject.of(network, backend=backend))
        assert found.verdict == "nothing to measure"
        assert says in found.found
    assert lock.claim(Subject.of(net, backend=Reference(dn.Substrate()))).verdict == "holds"
    with pytest.raises(CycleError):
        release(cyclic)
    with pytest.raises(OptionError):
        release(net, schedules=("backwards",))


def test_the_claim_comes_with_the_table_that_it_was_judged_by():
    subject = Subject.of(networks.chain(2, 4, activation="tanh"), backend=Wrapped(late), samples=2)
    found, table = lock.measured(subject)
    assert found == lock.claim(subject)
    assert list(table["measured"].fillna(np.inf) > table["predicted"]) == [True] * len(subject.network.plastic)
    found, table = lock.measured(Subject.of(problems.cyclic()[0]))
    assert found.verdict == "nothing to measure"
    assert list(table.columns) == list(lock.LOCK)
    assert not len(table)


# When a copy may change


@FEW
@given(SMOOTH, SEEDS)
def test_copies_may_change_from_the_predicted_step_on_and_not_before(network, seed):
    table = release(network, samples=2, seed=seed)
    x, y = networks.batch(network, seed, 2)
    assume(all(np.abs(g).max() > 1e-6 for g in dn.backprop(network, x, y).values()))
    assert (table["exact_from"] == table["exact_predicted"]).all(), table.to_string()
    assert (table["usable_from"] == table["usable_predicted"]).all(), table.to_string()
    for row in table.itertuples():
        ends = row.parameter.split("->")
        exact = due(network, row.parameter) + (row.copy != FORWARD)
        behind = exact if row.copy == FORWARD else network.depth + 1 + network.heights[ends[0]]
        assert row.exact_predicted == exact
        if row.schedule == "wavefront":
            assert row.usable_predicted == behind
        elif row.read == END:
            assert row.usable_predicted == (
                max(network.relaxation_steps - 1, exact) if row.copy == FORWARD else 2 * network.depth
            )
        else:
            chain = len(network.projections) == network.depth
            assert row.usable_predicted == behind if chain else row.usable_predicted >= behind


@pytest.mark.parametrize("seed", range(8))
def test_in_linear_populations_a_change_of_potentials_reaches_rates_alone(seed):
    for net in (networks.chain(seed, 5, activation="identity"), networks.dag(seed, 4, activation="identity")):
        table = release(net, schedules=("free",), seed=seed)
        assert (table["usable_from"] == table["usable_predicted"]).all(), table.to_string()


@FEW
@given(dags(4, parts=True), SEEDS)
def test_with_kinks_blocks_and_fixed_weights_a_copy_is_never_locked_for_longer(network, seed):
    assume(network.plastic)
    table = release(network, samples=2, seed=seed)
    assert (table["exact_from"] <= table["exact_predicted"]).all()
    assert (table["usable_from"] <= table["usable_predicted"]).all()


def test_a_skip_connection_lets_a_change_overtake_the_wave():
    sizes = [4, 4, 4, 4, 4, 3]
    chain = dn.Network.dense(sizes, seed=1)
    skip = dn.Projection("hidden1", "output", np.random.default_rng(0).normal(size=(3, 4)))
    table = release(replace(chain, projections=[*chain.projections, skip]), schedules=("free",))
    own = table[(table["read"] == OWN) & (table["copy"] == BACKWARD)].set_index("parameter")
    assert own.loc["hidden1->output", "usable_from"] == 10
    assert own.loc["hidden4->output", "usable_from"] == 7
    forward = table[(table["read"] == OWN) & (table["copy"] == FORWARD)].set_index("parameter")
    assert forward.loc["output.bias", "exact_from"] == 6
    assert forward.loc["output.bias", "usable_from"] == forward.loc["output.bias", "usable_predicted"] > 6


def test_the_first_weights_have_one_copy():
    table = release(networks.chain(1, 2))
    assert set(table.loc[table["parameter"] == "input->hidden1", "copy"]) == {FORWARD}
    assert set(table.loc[table["parameter"] == "hidden1->output", "copy"]) == {FORWARD, BACKWARD, BOTH}


def test_of_many_parameters_some_are_changed_which_is_told():
    net = dn.Network.dense([2] * 9, activation="tanh", seed=0)
    table, whole = release(net, most=3), release(net, schedules=("free",), most=99)
    assert list(table["parameter"].unique()) == ["input->hidden1", "hidden7->output", "output.bias"]
    assert set(whole["parameter"]) == set(net.plastic)
    assert (table["of"] == len(net.plastic)).all()
    both = table.merge(whole)
    assert len(both) == len(table) // 2  # the same, whatever else is changed
    assert "parameters out of" not in lock.sentences(released=whole)[0]
    assert f"{len(table)} of {len(table)} copies (of 3 parameters out of 16)" in lock.sentences(released=table)[0]
    with pytest.raises(OptionError, match="most"):
        release(net, most=0)


# What haste costs


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_haste_costs_the_angle(schedule):
    net = networks.chain(4, 4, activation="tanh", loss="cross_entropy")
    x, y = networks.batch(net, 4, 6)
    table = lock.early(net, x, y, schedule=schedule)
    assert len(table) == 2 * 8 * (1 + len(net.plastic))
    for start in (lock.COLD, lock.WARM):
        rows = table[(table["start"] == start) & (table["parameter"] == lock.WHOLE)].set_index("step")
        assert rows.loc[8, "cosine"] == pytest.approx(1.0, abs=1e-12)
        assert rows.loc[8, "error"] < 1e-12
        assert rows.loc[7, "error"] > 1e-6
        assert rows.loc[1, "error"] > 0.1
    cold = dn.relax(net, x, y, schedule=schedule).gradients_at(6)["hidden1->hidden2"].ravel()
    right = dn.backprop(net, x, y)["hidden1->hidden2"].ravel()
    row = table[(table["start"] == "cold") & (table["step"] == 6) & (table["parameter"] == "hidden1->hidden2")].iloc[0]
    if np.linalg.norm(cold):
        assert row["cosine"] == pytest.approx(cold @ right / np.linalg.norm(cold) / np.linalg.norm(right))
    else:
        assert np.isnan(row["cosine"])
        assert row["error"] == 1.0
    with pytest.raises(OptionError, match="before it"):
        lock.early(net, x[:1], y[:1])


def test_where_nothing_learns_or_points_anywhere_there_is_nothing_to_tell():
    net = networks.chain(2, 3)
    zero = net.with_parameters({key: 0 * values for key, values in net.parameters.items()})
    x, y = np.ones((2, zero.population("input").size)), np.zeros((2, zero.population("output").size))
    table = lock.early(zero, x, y)
    assert table[["cosine", "error"]].isna().all(axis=None)
    assert "there is no direction" in lock.sentences(haste=table)[0]
    fixed = replace(
        net,
        populations=[replace(p, bias=None) for p in net.populations],
        projections=[replace(p, plastic=False) for p in net.projections],
    )
    assert lock.sentences(haste=lock.early(fixed), released=release(fixed)) == []


def test_of_a_deep_network_a_few_steps_and_windows_are_told():
    net = dn.Network.dense([2] * 11, activation="tanh", seed=0)
    data = networks.batch(net, 0, 4)
    said = lock.sentences(haste=lock.early(net), trained=lock.windows(net, data))
    assert len(said) == 3
    for sentence in said[:2]:
        assert "from step 20 on the gradient is backpropagation's, but for rounding, where 2D is 20." in sentence
        assert sentence.count(" in step ") <= 7
        assert " in step 19;" in sentence
    assert list(lock.windows(net, data)["window"]) == [1, 5, 10, 15, 19, 20]
    assert lock.sentences(lock.lock(dn.relax(net, *data, steps=1)))[0].endswith(" and 12 more.")


def test_windows_below_2d_cost_accuracy_and_the_words_say_so():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    net = dn.Network.dense([4, 16, 16, 2], loss="cross_entropy", seed=0)
    table = lock.windows(net, (x, y), (2, 6), epochs=20, learning_rate=0.3)
    assert list(table["window"]) == [2, 6]
    plain = dn.train(net, (x, y), epochs=20, learning_rate=0.3).history[-1]
    assert table["loss"][1] == plain.loss
    assert table["accuracy"][1] == plain.accuracy
    assert table["loss"][1] < table["loss"][0]
    wild = lock.windows(dn.Network.dense([4, 8, 2], "identity"), (x, y), (4,), learning_rate=1e200)
    assert np.isnan(wild["loss"][0])
    assert "1e+200" in wild["reason"][0]
    subject = Subject.of(net, samples=2)
    said = lock.sentences(lock.lock(subject.relax(6, initial=subject.state(2))), release(net), lock.early(net), table)
    ends = "first hidden2->output at step 4 and last hidden1.bias at step 6"
    assert said[0] == f"6 of 6 gradients are exact from their predicted step on, {ends}."
    assert f"6: {table['loss'][1]:.3g}, {100 * table['accuracy'][1]:.1f} % right" in said[-1]
    assert lock.sentences() == []
    broken = lock.lock(subject.relax(5, initial=subject.state(2)))
    assert "input->hidden1 never (6)" in lock.sentences(broken)[0]
