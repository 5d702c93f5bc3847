"""Self-stabilisation: after the last fault everything is exact again within 2D clean steps, and what is not promised is not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.errors import CycleError, OptionError, UnknownNameError
from dyadic_neuro.studies.locality.asynchrony import Coins, Readiness, chain_law
from dyadic_neuro.studies.locality.faults import (
    CLEAN,
    KINDS,
    POTENTIAL,
    SENSITIVITY,
    Circuit,
    Faults,
    Strike,
)
from dyadic_neuro.studies.locality.recovery import asynchronous, claim, lasting, lifetimes, recover, summary, weights
from dyadic_neuro.studies.locality.stability import study
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.testing import networks, problems
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

pytest.importorskip("pandas")
NETWORKS = st.one_of(chains(6), dags(5), dags(4, parts=True))
SMOOTH = st.one_of(chains(5, ("tanh", "sigmoid")), dags(4, ("tanh", "sigmoid")))


def random_networks(count):
    """Chains, networks with skips, and such with parts of matrices, in turn; every activation and loss."""
    losses = ("squared_error", "cross_entropy", "binary_cross_entropy")
    for i in range(count):
        kind, size, loss = i % 3, 1 + i // 3 % 6, losses[i // 2 % 3]
        yield networks.chain(i, size, loss=loss) if kind == 0 else networks.dag(i, size, loss=loss, parts=kind == 2)


def some_faults(rng, seed):
    """Any mixture of kinds, rare or often, over a few steps or many."""
    rates = {kind: float(10 ** rng.uniform(-2, -0.3)) for kind in KINDS if rng.random() < 0.5}
    rates["potentials"] = max(rates.get("potentials", 0.0), 0.05)
    return Faults(**rates, steps=int(rng.integers(1, 15)), longest_delay=int(rng.integers(1, 6)), seed=seed)


# "Must show" 3 of the study


def test_ten_thousand_random_corruptions_and_not_one_that_lasts_longer_than_2d():
    """Schedule free, alpha 1, messages resent every step, intact weights: the law, whatever the profile of hypothesis."""
    rng, corruptions, seen, tight = np.random.default_rng(2024), 0, Counter(), 0
    for i, network in enumerate(random_networks(63)):
        x, y = networks.batch(network, i, 5)
        table = recover(network, x, y, some_faults(rng, i), cases=200, seed=i)
        corruptions += int((table["last"] > 0).sum())  # cases that really were hit
        seen[network.depth] += 1
        tight += int((table["steps"] == table["bound"]).sum())
        assert (table["bound"] == network.relaxation_steps).all()
        assert (table["steps"] <= table["predicted"]).all(), f"network {i}: {summary(table)}"
        assert (table["predicted"] <= table["bound"]).all()
        assert table["control"].max() <= 1e-9
    assert corruptions >= 10_000
    assert sum(seen.values()) >= 50
    assert len(seen) >= 5
    assert tight > 100  # and many a case takes all of the 2D steps


def test_under_wavefront_all_is_exact_by_the_end_of_the_next_whole_window():
    rng = np.random.default_rng(7)
    for i, network in enumerate(random_networks(18)):
        x, y = networks.batch(network, i, 5)
        table = recover(network, x, y, some_faults(rng, i), cases=60, schedule="wavefront", seed=i)
        window = network.relaxation_steps
        assert (((table["last"] + table["bound"]) % window) == 0).all()
        assert (table["bound"] >= window).all()
        assert (table["bound"] < 2 * window).all()
        assert (table["steps"] <= table["bound"]).all()


def test_one_step_less_than_2d_is_not_enough():
    for i in range(8):
        network = networks.chain(i, 1 + i % 4, activation="tanh")
        x, y = networks.batch(network, i, 3)
        table = recover(network, x, y, Faults(potentials=0.5, steps=3, seed=i), cases=50, seed=i)
        assert (table["steps"] > network.relaxation_steps - 1).any()
        short = recover(network, x, y, Faults(potentials=0.5, steps=3, seed=i), cases=50, clean=1, seed=i)
        assert short["steps"].isna().any()


def test_what_is_lost_stays_wrong_where_only_changes_are_sent():
    network = networks.dag(3, 4, activation="tanh")
    table = lasting(network, *networks.batch(network, 1, 4), kinds=("lost", "duplicated"), cases=60)
    wrong = table.set_index(["kind", "transport", "clean"])["wrong"]
    window = network.relaxation_steps
    for clean in (window, 10 * window):
        assert wrong["lost", "every step", clean] == 0
        assert wrong["lost", "changes", clean] > 0.5
        assert wrong["duplicated", "changes", clean] == 0
    assert wrong["lost", "changes", window] == wrong["lost", "changes", 10 * window]


@pytest.mark.parametrize("transport", ["every step", "changes"])
@given(st.one_of(chains(4), dags(4)), SEEDS)
def test_a_circuit_that_stands_still_need_not_be_stepped_to_the_end(transport, network, seed):
    x, y = networks.batch(network, seed, 2)
    clean = 3 * network.relaxation_steps
    faults = Faults(lost=0.2, delayed=0.3, garbled=0.1, steps=4, longest_delay=5, seed=seed)
    table = recover(network, x, y, faults, cases=4, transport=transport, clean=clean, seed=seed)
    x, y = x[[0, 1, 0, 1]], y[[0, 1, 0, 1]]
    exact = dn.relax(network, x, y).final
    circuit = Circuit(network, x, y, Subject.of(network, x, y, seed=seed).state(4), transport=transport)
    for strike in faults.strikes(network, 4):
        circuit.step(strike)
    for _ in range(5 + clean):
        circuit.step()
    assert list(table["steps"].isna()) == list(circuit.differs(exact))


# What the graph foretells


def longest_walks(network):
    """The longest walk from each variable in the doubled graph, by trying all."""
    after = {}
    for p in network.dynamic:
        after[POTENTIAL, p.name] = [(POTENTIAL, q.target) for q in network.outgoing[p.name]] + [(SENSITIVITY, p.name)]
        after[SENSITIVITY, p.name] = [(SENSITIVITY, q.source) for q in network.incoming[p.name] if q.source != network.input]

    def walk(variable):
        return max((1 + walk(other) for other in after[variable]), default=0)

    return {variable: walk(variable) for variable in after}


@given(NETWORKS)
def test_lifetimes_are_the_longest_walks_in_the_doubled_graph(network):
    assert lifetimes(network) == longest_walks(network)
    assert max(lifetimes(network).values()) == network.relaxation_steps - 1


@given(SMOOTH, SEEDS)
def test_one_corrupted_variable_is_forgotten_one_step_after_its_longest_walk(network, seed):
    """Exactly then, where whatever is wrong shows."""
    x, y = networks.batch(network, seed, 3)
    exact = dn.relax(network, x, y).final
    rng = np.random.default_rng(seed)
    for (kind, name), life in lifetimes(network).items():
        circuit = Circuit(network, x, y, exact)
        mask = np.ones_like(exact.potentials[name], bool)
        circuit.step(Strike(states={(kind, name): (mask, rng.normal(size=mask.size))}))
        for _ in range(life):
            assert circuit.differs(exact).all()
            circuit.step(CLEAN)
        assert circuit.differs(exact).any()
        circuit.step()
        assert not circuit.differs(exact).any()


@given(NETWORKS, SEEDS, st.sampled_from(["potentials", "sensitivities"]))
def test_from_the_settled_state_only_what_was_corrupted_counts(network, seed, kind):
    x, y = networks.batch(network, seed, 2)
    table = recover(network, x, y, Faults(**{kind: 0.2}, steps=1, seed=seed), cases=20, start="settled")
    assert (table["steps"] <= table["predicted"]).all()
    assert (table["predicted"][table["last"] == 0] == 0).all()
    if kind == "sensitivities":  # these go back only, never ahead
        assert table["predicted"].max() <= network.depth


def test_stalled_cores_of_a_mapping():
    network = dn.Network.dense([8, 40, 30, 4], seed=0)
    mapping = dn.map_network(network, dn.Chip.load("loihi1"))
    x, y = networks.batch(network, 1, 3)
    table = recover(network, x, y, Faults(stalled=0.3, steps=8), cases=40, mapping=mapping)
    assert (table["steps"] <= 6).all()
    assert list(table["kind"].unique()) == ["stalled"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_says_what_it_is_of(dtype):
    network = networks.chain(2, 2, activation="relu", dtype=dtype)
    x, y = networks.batch(network, 1, 3)
    tables = [recover(network, x, y, faults, cases=7) for faults in (Faults(), Faults(**dict.fromkeys(KINDS, 0.1)))]
    assert list(tables[0]["kind"].unique()) == ["random state"]
    assert list(tables[1]["kind"].unique()) == ["several"]
    row = summary(tables[1]).iloc[0]
    assert (row["cases"], row["late"], row["lasting"], row["bound"]) == (7, 0, 0, 4)
    assert row["min"] <= row["median"] <= row["max"] <= 4
    again = recover(network, x, y, Faults(**dict.fromkeys(KINDS, 0.1)), cases=7)
    assert again.equals(tables[1])


# Asynchrony


@given(SMOOTH, SEEDS, st.sampled_from([0.2, 0.5, 0.9]), st.sampled_from(["population", "neuron"]))
def test_coins_alone_foretell_when_all_is_exact(network, seed, p, per):
    x, y = networks.batch(network, seed, 2)
    table = asynchronous(network, x, y, Coins(p, per, seed), cases=6, seed=seed)
    assert (table["steps"] == table["predicted"]).all()
    assert (table["steps"] >= network.relaxation_steps).all()


@given(NETWORKS, SEEDS, st.sampled_from(["population", "neuron"]))
def test_nothing_takes_longer_than_the_coins_foretell(network, seed, per):
    x, y = networks.batch(network, seed, 2)
    table = asynchronous(network, x, y, Coins(0.5, per, seed), cases=6, seed=seed)
    assert (table["steps"] <= table["predicted"]).all()


@given(st.one_of(chains(6), dags(5)))
def test_updates_that_always_come_are_unit_steps(network):
    ready, awake = Readiness(network, 2), next(Coins(1.0).flips(network, 2))
    for _ in range(network.relaxation_steps):
        assert not ready.all.any()
        ready.step(awake)
    assert ready.all.all()


def test_a_sensitivity_waits_for_its_own_potential():
    network = networks.chain(3, 3, activation="tanh")
    ready = Readiness(network, 1)
    ready.exact = {variable: np.full_like(flags, variable[1] != "hidden2") for variable, flags in ready.exact.items()}
    awake = {variable: np.array([[variable == (SENSITIVITY, "hidden2")]]) for variable in ready.exact}
    ready.step(awake)
    assert not ready.exact[SENSITIVITY, "hidden2"].any()
    ready.exact[POTENTIAL, "hidden2"][0, 0] = True
    ready.step(awake)
    assert list(ready.exact[SENSITIVITY, "hidden2"][0]) == [True, *[False] * (network.population("hidden2").size - 1)]


@pytest.mark.parametrize(("depth", "p"), [(2, 0.3), (4, 0.6)])
def test_chains_with_a_coin_a_population_follow_the_negative_binomial_law(depth, p):
    stats = pytest.importorskip("scipy.stats")
    network, cases = networks.chain(depth, depth, activation="tanh"), 3000
    steps = asynchronous(network, *networks.batch(network, 1, 3), Coins(p, seed=3), cases=cases)["steps"].to_numpy()
    edges = np.arange(int(steps.max()) + 2)
    law = chain_law(network, Coins(p), edges)
    assert np.allclose(law, stats.nbinom.cdf(edges - 2 * depth, 2 * depth, p), atol=1e-12)
    cuts = np.unique(np.searchsorted(law, np.linspace(0.0, 1.0, 11)[1:-1]))  # about tenths
    expected = np.diff(np.concatenate([[0.0], law[cuts], [1.0]])) * cases
    observed = np.diff(np.concatenate([[0], [(steps <= n).sum() for n in cuts], [cases]]))
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert abs(steps.mean() - 2 * depth / p) < 5 * np.sqrt(2 * depth * (1 - p) / p**2 / cases)


def test_other_networks_and_other_coins_have_no_closed_form():
    assert chain_law(networks.dag(3, 4), Coins(0.5), np.arange(3)) is None
    assert chain_law(networks.chain(3, 4), Coins(0.5, "neuron"), np.arange(3)) is None


# Weights are another matter


@given(st.one_of(chains(5, ("tanh",)), dags(4, ("tanh",))), SEEDS)
def test_corrupted_weights_are_exact_in_2d_if_both_copies_are_alike(network, seed):
    table = weights(network, *networks.batch(network, seed, 3), seed=seed).set_index(["copies", "steps"])
    assert table.loc["both", "error"].max() < 1e-12
    assert table.loc["both", "cosine"].min() > 1 - 1e-12
    if network.depth > 1:
        for copies in ("forward", "backward"):
            error = table.loc[copies, "error"]
            assert error.min() > 1e-9
            assert error.iloc[0] == error.iloc[1]  # for ever
    else:
        assert set(table.index.get_level_values(0)) >= {"both"}


def test_of_a_gradient_that_is_0_there_is_no_error_and_the_words_are_silent():
    network = networks.chain(3, 3, activation="tanh")
    zero = network.with_parameters({key: 0 * values for key, values in network.parameters.items()})
    x, y = np.ones((2, zero.population("input").size)), np.zeros((2, zero.population("output").size))
    table = weights(zero, x, y)
    assert table[["error", "cosine"]].isna().all(axis=None)
    fixed = replace(
        network,
        populations=[replace(p, bias=None) for p in network.populations],
        projections=[replace(p, plastic=False) for p in network.projections],
    )
    assert len(weights(fixed, x, y)) == 0
    for case in (zero, fixed):
        said = "\n".join(study(case, x, y, cases=3).sentences())
        assert "nan" not in said
        assert "corrupted by" not in said
    assert "backpropagation's, bit for bit" in "\n".join(study(zero, x, y, cases=3).sentences())


# On any backend


@pytest.mark.parametrize("backend", ["reference", "chip"])
@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_honest_backends_forget(backend, schedule):
    for network, x, y in problems.problems():
        verdict = claim(Subject.of(network, x[:4], y[:4], backend=backend, schedule=schedule), cases=20)
        assert verdict.verdict == "holds", str(verdict)
        assert "20 states with" in verdict.found


def test_lava_forgets():
    pytest.importorskip("lava")
    network, x, y = problems.shown()["3-5-4-2 with skips"]
    assert claim(Subject.of(network, x, y, backend="lava"), cases=16).verdict == "holds"


class Sticky(dn.backends.Reference):
    """Adds a little of what it started from to what it comes to: its initial state is never quite forgotten."""

    name = "sticky"

    def open(self, network):
        session = super().open(network)
        run = session.relax

        def relax(order):
            trace = run(order)
            u = {n: rows.copy() for n, rows in trace.potentials.items()}
            first = min(u)
            u[first][1:] += 1e-9 * np.tanh(u[first][0])
            return dn.Trace(**{**vars(trace), "potentials": u})

        session.relax = relax
        return session


class Wavering(dn.backends.Reference):
    """Forgets in time, and is off again in the step after."""

    name = "wavering"

    def open(self, network):
        session = super().open(network)
        run = session.relax

        def relax(order):
            trace = run(order)
            s = {n: rows.copy() for n, rows in trace.sensitivities.items()}
            s[max(s)][network.relaxation_steps + 1 :] += 1e-9
            return dn.Trace(**{**vars(trace), "sensitivities": s})

        session.relax = relax
        return session


class Wrong(dn.backends.Reference):
    """Forgets, but ends elsewhere: it halves the targets."""

    name = "wrong"

    def open(self, network):
        session = super().open(network)
        run = session.relax
        session.relax = lambda order: run(type(order)(**{**vars(order), "targets": 0.5 * order.targets}))
        return session


def test_a_backend_that_does_not_forget_is_caught():
    network, x, y = problems.shown()["chain 4-6-5-3"]
    verdict = claim(Subject.of(network, x, y, backend=Sticky()), cases=8)
    assert verdict.broken
    assert "values overwritten: after 6 steps the potential of neuron" in verdict.counterexample
    verdict = claim(Subject.of(network, x, y, backend=Wavering()), cases=8)
    assert verdict.broken
    assert "after 7 steps the sensitivity of neuron" in verdict.counterexample
    verdict = claim(Subject.of(network, x, y, backend=Wrong()), cases=8)
    assert verdict.broken
    assert "away from backpropagation's" in verdict.counterexample


def test_where_nothing_is_claimed_the_reason_is_said():
    network, x, y = problems.cyclic()
    assert "cycle" in claim(Subject.of(network, x, y)).found
    network, x, y = problems.shown()["chain 4-6-5-3"]
    noisy = dn.backends.Reference(dn.Substrate(noise=0.01))
    assert "substrate" in claim(Subject.of(network, x, y, backend=noisy)).found
    slow = dn.backends.Reference()
    slow.alpha = 0.5
    assert "0.5" in claim(Subject.of(network, x, y, backend=slow)).found
    rough = dn.backends.Reference()
    rough.cosine = 0.97
    verdict = claim(Subject.of(network, x, y, backend=rough))
    assert verdict.verdict == "nothing to measure"
    assert "approximates" in verdict.found


# All of it


def test_the_study_says_in_words_what_its_tables_hold():
    network = networks.chain(3, 3, activation="tanh")
    found = study(network, *networks.batch(network, 1, 4), cases=40)
    said = "\n".join(found.sentences())
    assert (
        "Under free, every state was exact again, bit for bit, by 2D = 6 clean steps after the last fault in 320 of 320" in said
    )
    assert "Under wavefront" in said
    assert "by the negative binomial law 12" in said
    assert "lost 0 %, delayed 0 %" in said
    assert "in both copies alike 0 but for rounding" in said
    assert set(found.tables) == {"recovery.csv", "lasting.csv", "asynchrony.csv", "spread.csv", "weights.csv"}
    assert set(found.recovery["kind"]) == {*KINDS, "several"}
    assert len(found.recovery) == 2 * 8 * 40
    assert list(found.spread["per"]) == ["population", "neuron"]
    assert np.isfinite(found.spread["law_q90"]).tolist() == [True, False]
    one = networks.chain(1, 1)
    assert len(study(one, *networks.batch(one, 1, 2), cases=5).weights) == 2


def test_what_cannot_be_is_refused():
    network, x, y = problems.shown()["chain 4-6-5-3"]
    for wrong, field in (
        ({"cases": 0}, "cases"),
        ({"clean": 0}, "clean"),
        ({"seed": -1}, "seed"),
        ({"start": "here"}, "start"),
        ({"transport": "pigeon"}, "transport"),
        ({"schedule": "sometimes"}, "schedule"),
    ):
        with pytest.raises(OptionError) as error:
            recover(network, x, y, Faults(), **wrong)
        assert error.value.field == field
    with pytest.raises(OptionError, match="faults"):
        recover(network, x, y, {"lost": 0.1})
    with pytest.raises(OptionError, match="network"):
        recover("net", x, y, Faults())
    with pytest.raises(OptionError, match="probability"):
        Coins(0.0)
    with pytest.raises(OptionError, match="per"):
        Coins(0.5, "core")
    with pytest.raises(OptionError, match="amount"):
        weights(network, x, y, amount=0)
    with pytest.raises(OptionError, match="cases"):
        claim(Subject.of(network, x, y), cases=0)
    with pytest.raises(UnknownNameError, match="kinds"):
        lasting(network, x, y, kinds=("forgotten",))
    with pytest.raises(CycleError):
        recover(*problems.cyclic(), Faults())
