"""What a physical circuit adds: its values, their checks, and what it predicts."""

import pickle
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import schedule
from dyadic_neuro.backends import Reference
from dyadic_neuro.errors import CycleError, DataError, OptionError, UnknownNameError
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.substrate import Substrate

NET = dn.Network.dense([3, 4, 5, 2], activation="tanh")
X, Y = np.ones((2, 3)), np.zeros((2, 2))
IN, MIDDLE, OUT = "input->hidden1", "hidden1->hidden2", "hidden2->output"
LOOP = dn.Network(
    [dn.Population("input", 1), dn.Population("a", 1), dn.Population("output", 1)],
    [dn.Projection(*edge.split("->"), np.full((1, 1), 0.5)) for edge in ("input->a", "a->a", "a->output")],
)


def test_values_are_kept_as_pairs_of_numbers_or_arrays():
    held = [1.0, 2.0, 3.0, 4.0]
    substrate = Substrate(
        {"hidden1": (held, 2), "hidden2": np.float32(0.5), "output": np.ones(2)},
        {IN: Fraction(3, 2), MIDDLE: (np.array(1.0), 2)},
        noise=(0.25, np.int64(0)),
        seed=np.int64(5),
    )
    held[0] = 9.0
    assert substrate.time_constants["hidden1"][0].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert substrate.time_constants["hidden1"][1] == 2.0
    assert substrate.time_constants["hidden2"] == (0.5, 0.5)
    assert substrate.delays == {IN: (1.5, 1.5), MIDDLE: (1.0, 2.0)}
    assert substrate.noise == (0.25, 0.0)
    assert substrate.seed == 5
    with pytest.raises(ValueError, match="read-only"):
        substrate.time_constants["hidden1"][0][0] = 3.0
    again = pickle.loads(pickle.dumps(substrate))
    assert again.delays == substrate.delays


def test_it_is_ideal_if_it_adds_nothing():
    assert Substrate().ideal
    assert Substrate({"hidden1": (1.0, np.ones(4))}, {IN: 0.0}, noise=(0, 0), seed=9).ideal
    assert not Substrate({"hidden1": (1.0, [1, 1, 1, 1.5])}).ideal
    assert not Substrate(delays={IN: (0.0, 0.1)}).ideal
    assert not Substrate(noise=(0.0, 0.1)).ideal
    assert Substrate(noise=0.1).timely
    assert not Substrate(delays={IN: 1}).timely


def test_own_steps_are_fractions_of_alpha():
    paces = Substrate({"hidden1": 2.0, "hidden2": ([1, 2, 4, 8, 0.5], 0.8)}).paces(NET, 0.4)
    assert paces["hidden1"] == (0.2, 0.2)
    np.testing.assert_array_equal(paces["hidden2"][0], 0.4 / np.array([1, 2, 4, 8, 0.5]))
    assert paces["hidden2"][1] == 0.5
    assert paces["output"] == (0.4, 0.4)
    assert list(paces) == ["hidden1", "hidden2", "output"]
    small = dn.Network.dense([3, 4, 5, 2], dtype="float32")
    assert Substrate({"hidden1": np.full(4, 3.0)}).paces(small, 1.0)["hidden1"][0].dtype == np.float32


def test_delays_are_rounded_to_steps_halves_up():
    substrate = Substrate(delays={IN: (0.3, 5.0), MIDDLE: (0.25, 0.24), OUT: 0.1})
    assert substrate.delay_steps(NET, 0.1) == {IN: (3, 0), MIDDLE: (3, 2), OUT: (1, 1)}
    assert substrate.delay_steps(NET, 1.0) == {IN: (0, 0), MIDDLE: (0, 0), OUT: (0, 0)}
    assert Substrate(delays={MIDDLE: (0.5, 1.5)}).delay_steps(NET, 1.0)[MIDDLE] == (1, 2)


def test_a_mismatch_has_the_mean_and_the_spread_that_were_asked_for():
    wide = dn.Network.dense([2, 20000, 2])
    substrate = Substrate.mismatch(wide, 0.3, seed=4, noise=0.5, delays={IN: 1})
    for ratios in substrate.time_constants["hidden1"]:
        assert ratios.shape == (20000,)
        assert abs(ratios.mean() - 1) < 0.01
        assert abs(ratios.std() - 0.3) < 0.01
        assert abs(np.log(ratios).std() - np.sqrt(np.log(1.09))) < 0.01
    potential, sensitivity = substrate.time_constants["hidden1"]
    assert abs(np.corrcoef(potential, sensitivity)[0, 1]) < 0.03
    assert set(substrate.time_constants) == {"hidden1", "output"}
    assert (substrate.noise, substrate.delays, substrate.seed) == ((0.5, 0.5), {IN: (1.0, 1.0)}, 4)
    same, other = Substrate.mismatch(wide, 0.3, seed=4), Substrate.mismatch(wide, 0.3, seed=5)
    assert np.array_equal(same.time_constants["hidden1"][1], sensitivity)
    assert not np.array_equal(other.time_constants["hidden1"][1], sensitivity)
    assert Substrate.mismatch(wide, 0.0).ideal


def test_unit_steps_with_delays_take_the_longest_way_there_and_back():
    delays = {IN: (3, 7), MIDDLE: (1, 2), OUT: (0, 4)}
    substrate = Substrate(delays=delays)
    assert substrate.settling_steps(NET, 1.0, 1e-8) == 6 + (1 + 0) + (2 + 4)
    assert substrate.settling_steps(NET, 1.0, 1e-8, switched=True) == 6 + (3 + 1 + 0) + (2 + 4)
    assert Substrate().settling_steps(NET, 1.0, 1e-8) == 6
    halved = Substrate(dict.fromkeys(("hidden1", "hidden2", "output"), 0.5), delays)  # units that assign at alpha = 0.5
    assert halved.settling_steps(NET, 0.5, 1e-8) == 6 + 2 * 7


def test_a_skip_counts_by_its_delay():
    names = ["input", "a", "output"]
    net = dn.Network(
        [dn.Population(n, 1) for n in names],
        [dn.Projection(*e.split("->"), np.ones((1, 1))) for e in ("input->a", "a->output", "input->output")],
    )
    assert Substrate(delays={"input->output": 5}).settling_steps(net, 1.0, 1e-8) == 4
    assert Substrate(delays={"input->output": 5}).settling_steps(net, 1.0, 1e-8, switched=True) == 6 + 2
    assert Substrate(delays={"a->output": (0, 5)}).settling_steps(net, 1.0, 1e-8) == 4 + 5


def test_other_circuits_settle_at_the_pace_of_the_slowest_unit():
    law = schedule.settling_steps
    assert Substrate().settling_steps(NET, 0.3, 1e-6) == law(3, 0.3, 1e-6)
    assert Substrate({"hidden1": (1.0, [1, 2, 1, 3])}).settling_steps(NET, 0.3, 1e-6) == law(3, 0.3 / 3, 1e-6)
    assert Substrate({"hidden1": 1 / 1.8}).settling_steps(NET, 1.0, 1e-6) == law(3, 1.8, 1e-6)
    delayed = Substrate({"hidden1": 2.0}, {MIDDLE: 1.0})
    assert delayed.settling_steps(NET, 0.5, 1e-6) == law(3, 0.25, 1e-6) + 4


def test_a_cycle_has_no_settling_time_but_runs(refuses):
    substrate = Substrate(delays={"a->a": 2})
    with refuses(CycleError, "network", "a -> a"):
        substrate.settling_steps(LOOP, 1.0, 1e-8)
    with refuses(CycleError, "network", "a -> a"):
        dn.relax(LOOP, [[1.0]], [[0.0]], backend=Reference(substrate))
    trace = dn.relax(LOOP, [[1.0]], [[0.0]], backend=Reference(substrate), steps=400)
    assert trace.final.potentials["a"][0, 0] == pytest.approx(1.0)  # u = 0.5 + 0.5 u


# --- bad input -----------------------------------------------------------------------------------------------------------


def quantity(dimensionless, **others):
    """Something with a unit in the manner of Brian2."""
    return SimpleNamespace(dim=SimpleNamespace(is_dimensionless=dimensionless), __float__=lambda _: 1.0, **others)


WRONG = {
    "negative delay": ({"delays": {IN: -1}}, f"delays of {IN}", "-1 is not a number of at least 0"),
    "nan delay": ({"delays": {IN: (0, np.nan)}}, f"delays of {IN}", "nan"),
    "endless delay": ({"delays": {IN: np.inf}}, f"delays of {IN}", "inf"),
    "array of delays": ({"delays": {IN: np.ones(3)}}, f"delays of {IN}", "not a number"),
    "three delays": ({"delays": {IN: (1, 2, 3)}}, f"delays of {IN}", "3 values"),
    "text": ({"delays": {IN: "1"}}, f"delays of {IN}", "'1' is not a number"),
    "bool": ({"delays": {IN: True}}, f"delays of {IN}", "True is not a number"),
    "huge integer": ({"delays": {IN: 10**400}}, f"delays of {IN}", "is not a number"),
    "no mapping": ({"delays": [1, 2]}, "delays", "list is no mapping"),
    "seconds": ({"delays": {IN: quantity(dimensionless=False)}}, f"delays of {IN}", "physical unit"),
    "pint seconds": ({"delays": {IN: SimpleNamespace(dimensionless=False)}}, f"delays of {IN}", "divide it by tau"),
    "zero time constant": ({"time_constants": {"a": 0}}, "time constant of a", "above 0"),
    "negative time constant": ({"time_constants": {"a": (1, [1, -2])}}, "time constant of a", "-2.0"),
    "nan time constant": ({"time_constants": {"a": [1, np.nan]}}, "time constant of a", "nan"),
    "matrix": ({"time_constants": {"a": np.ones((2, 2))}}, "time constant of a", "shape (2, 2)"),
    "ragged": ({"time_constants": {"a": [[1], [1, 2]]}}, "time constant of a", "is not a number"),
    "complex": ({"time_constants": {"a": [1j]}}, "time constant of a", "not of real numbers"),
    "none": ({"time_constants": {"a": None}}, "time constant of a", "None"),
    "empty": ({"time_constants": {"a": []}}, "time constant of a", "shape (0,)"),
    "one": ({"time_constants": {"a": (1,)}}, "time constant of a", "1 values"),
    "list of seconds": ({"time_constants": {"a": [quantity(dimensionless=False)]}}, "time constant of a", "5*ms/tau"),
    "time constants": ({"time_constants": 3}, "time_constants", "int is no mapping"),
    "negative noise": ({"noise": -0.1}, "noise", "-0.1"),
    "noise nan": ({"noise": (0.1, np.nan)}, "noise", "nan"),
    "noise of neurons": ({"noise": [0.1, 0.2]}, "noise", "not a number"),
    **{f"seed {seed!r}": ({"seed": seed}, "seed", repr(seed)) for seed in (-1, 2**31, 1.5, "0", True, None)},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_substrate_is_refused_when_it_is_made(case, refuses):
    given, field, says = WRONG[case]
    with refuses(OptionError, field, says):
        Substrate(**given)


@pytest.mark.parametrize("spread", [-0.1, np.nan, "0.3"])
def test_a_spread_is_a_number_of_at_least_0(spread, refuses):
    with refuses(OptionError, "spread", "number"):
        Substrate.mismatch(NET, spread)


UNFIT = {
    "population": (Substrate({"hidden9": 2}), UnknownNameError, "time_constants", "'hidden9'"),
    "input": (Substrate({"input": 2}), UnknownNameError, "time_constants", "clamped"),
    "projection": (Substrate(delays={"input->output": 2}), UnknownNameError, "delays", IN),
    "length": (Substrate({"hidden2": (1, np.ones(4))}), DataError, "time constant of hidden2", "4 values"),
    "pace": (Substrate({"hidden2": 0.5}), OptionError, "time constant of hidden2", "alpha < 1"),
    "pace of one": (Substrate({"hidden1": (1, [1, 1, 0.25, 1])}), OptionError, "time constant of hidden1", "alpha < 0.5"),
    "no pace": (Substrate({"hidden1": 1e308}), OptionError, "alpha", "steps to settle"),
    "long delay": (Substrate(delays={OUT: 1e300}), OptionError, f"delays of {OUT}", "1e+09 steps"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_refused_before_any_work(case, refuses):
    substrate, error, field, says = UNFIT[case]
    with refuses(error, field, says):
        dn.relax(NET, X, Y, backend=Reference(substrate))
    with refuses(error, field, says):
        dn.train(NET, (X, Y), backend=Reference(substrate))


@pytest.mark.parametrize("substrate", [Substrate({"hidden1": 2.0}), Substrate(delays={OUT: 1})])
def test_a_wave_is_timed_for_units_that_are_alike(substrate, refuses):
    with refuses(OptionError, "schedule", "wavefront"):
        prepare(NET, X, Y, schedule="wavefront", substrate=substrate)
    with refuses(OptionError, "schedule", "wavefront"):
        dn.train(NET, (X, Y), schedule="wavefront", backend=Reference(substrate))


@pytest.mark.parametrize("substrate", [0.1, {"noise": 1}, Substrate])
def test_the_reference_takes_a_substrate_only(substrate, refuses):
    with refuses(OptionError, "substrate", "is not a Substrate"):
        Reference(substrate)


# --- on the reference ----------------------------------------------------------------------------------------------------


def test_nothing_set_is_the_plain_reference_bit_for_bit():
    for options in ({}, {"alpha": 0.3}, {"schedule": "wavefront"}):
        plain = dn.relax(NET, X, Y, **options)
        ideal = dn.relax(NET, X, Y, backend=Reference(Substrate({"hidden1": 1}, {IN: 0}, seed=3)), **options)
        assert ideal.delays == {}
        for key, values in plain.gradients.items():
            assert ideal.gradients[key].tobytes() == values.tobytes()


def test_a_noisy_wave_is_a_wave():
    noisy = Reference(Substrate(noise=1e-3, seed=1))
    trace = dn.relax(NET, X, Y, schedule="wavefront", backend=noisy)
    changes = {n: np.flatnonzero((u[1:] != u[:-1]).any(axis=(1, 2))) + 1 for n, u in trace.potentials.items()}
    assert {n: t.tolist() for n, t in changes.items()} == {"hidden1": [1], "hidden2": [2], "output": [3]}


def test_float32_stays_float32():
    net = dn.Network.dense([3, 4, 5, 2], activation="tanh", dtype="float32")
    substrate = Substrate.mismatch(net, 0.2, 1, noise=0.1, delays={MIDDLE: 1})
    trace = dn.relax(net, X, Y, alpha=0.5, backend=Reference(substrate), steps=20)
    assert {a.dtype for part in (trace.potentials, trace.sensitivities, trace.gradients) for a in part.values()} == {
        np.dtype("float32")
    }
    result = dn.train(net, (X, Y), backend=Reference(Substrate(noise=0.1)), epochs=2)
    assert {a.dtype for a in result.network.parameters.values()} == {np.dtype("float32")}
