"""When populations update and send, and how long a relaxation with small steps takes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dyadic_neuro.errors import CycleError, OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule, Timing, arrival_weight, missing_weight, settling_steps

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("at", [1, 2, 5, 6])
def test_a_timing_updates_once_a_window_and_sends_right_after(at):
    timing = Timing(6, at)
    assert [t for t in range(1, 19) if timing.updates(t)] == [at, at + 6, at + 12]
    assert [t for t in range(2, 20) if timing.sends(t)] == [at + 1, at + 7, at + 13]
    assert not timing.sends(1) or at == 6  # before its first update it has nothing new to say


def test_the_input_never_updates_and_sends_when_a_window_begins():
    assert not any(Timing(6, 0).updates(t) for t in range(1, 19))
    assert [t for t in range(1, 19) if Timing(6, 0).sends(t)] == [1, 7, 13]


def test_free_populations_update_and_send_in_every_step():
    assert all(Timing(0, None).updates(t) and Timing(0, None).sends(t) for t in range(1, 19))


def table(net, kind, steps):
    """Return the steps up to `steps` at which each potential and each sensitivity updates."""
    active = Schedule.of(net, kind).active
    return [{p.name: [t for t in range(1, steps + 1) if p.name in active(t)[part]] for p in net.dynamic} for part in (0, 1)]


def test_the_wavefront_of_a_chain_goes_up_and_comes_back_once_a_window():
    potentials, sensitivities = table(Network.dense([1, 1, 1, 1]), "wavefront", 12)  # D = 3
    assert potentials == {"hidden1": [1, 7], "hidden2": [2, 8], "output": [3, 9]}
    assert sensitivities == {"output": [4, 10], "hidden2": [5, 11], "hidden1": [6, 12]}


def test_the_wavefront_of_a_skip_network_waits_for_the_longest_path():
    names = {"input": 0, "a": 1, "b": 2, "c": 1, "output": 3}  # depths; c feeds the readout alone
    edges = ["input->a", "a->b", "b->output", "input->c", "c->output", "input->output", "a->output"]
    net = Network([Population(n, 1) for n in names], [Projection(*edge.split("->"), np.ones((1, 1))) for edge in edges])
    potentials, sensitivities = table(net, "wavefront", 6)
    assert potentials == {"a": [1], "b": [2], "c": [1], "output": [3]}
    assert sensitivities == {"output": [4], "b": [5], "c": [5], "a": [6]}


@given(seed=seeds)
def test_schedules_follow_from_depth_and_height(random_network, seed):
    net = random_network(seed)
    window, steps = net.relaxation_steps, 2 * net.relaxation_steps + 3
    potentials, sensitivities = table(net, "wavefront", steps)
    for p in net.dynamic:
        assert potentials[p.name] == [t for t in range(1, steps + 1) if t % window == net.depths[p.name] % window]
        assert sensitivities[p.name] == [
            t for t in range(1, steps + 1) if t % window == (net.depth + 1 + net.heights[p.name]) % window
        ]
    for part in table(net, "free", steps):
        assert all(times == list(range(1, steps + 1)) for times in part.values())


@pytest.mark.parametrize("kind", ["free", "wavefront"])
@given(seed=seeds)
def test_active_agrees_with_the_timings(random_network, kind, seed):
    net = random_network(seed)
    schedule = Schedule.of(net, kind)
    for t in range(1, 3 * net.relaxation_steps):
        potentials, sensitivities = schedule.active(t)
        assert potentials == [p.name for p in net.dynamic if schedule.potentials[p.name].updates(t)]
        assert sensitivities == [p.name for p in net.dynamic if schedule.sensitivities[p.name].updates(t)]


@given(seed=seeds)
def test_under_wavefront_whatever_is_needed_was_sent_for_the_step_that_needs_it(random_network, seed):
    net = random_network(seed)
    schedule = Schedule.of(net, "wavefront")
    for p in net.projections:
        sent = [t for t in range(1, net.relaxation_steps + 1) if schedule.potentials[p.source].sends(t)]
        assert [t <= schedule.potentials[p.target].at for t in sent] == [True]  # once, and not too late
        if p.source != net.input:
            sent = [t for t in range(1, net.relaxation_steps + 1) if schedule.sensitivities[p.target].sends(t)]
            assert [t <= schedule.sensitivities[p.source].at for t in sent] == [True]


def test_a_schedule_is_worked_out_once_for_a_network():
    net = Network.dense([2, 2])
    assert Schedule.of(net, "free") is Schedule.of(net, "free") is not Schedule.of(net, "wavefront")


@pytest.mark.parametrize("kind", ["", "waves", None, ["free"]])
def test_another_schedule_is_refused(kind, refuses):
    with refuses(OptionError, "schedule", repr(kind), "free", "wavefront"):
        Schedule.of(Network.dense([2, 2]), kind)


def test_a_cycle_has_no_wavefront(refuses):
    net = Network(
        [Population("input", 1), Population("a", 1), Population("output", 1)],
        [Projection(*edge.split("->"), np.ones((1, 1))) for edge in ("input->a", "a->a", "a->output")],
    )
    assert Schedule.of(net, "free").active(7) == (["a", "output"], ["a", "output"])
    with refuses(CycleError, "network", "a -> a"):
        Schedule.of(net, "wavefront")


# --- the binomial law ----------------------------------------------------------------------------------------------------

GRID = [
    (n, alpha, k)
    for n in (0, 1, 2, 7, 40, 400, 5000)
    for alpha in (1e-6, 0.01, 0.1, 0.5, 0.9, 0.999)
    for k in (0, 1, 2, 6, 16, 40)
]


def test_the_missing_weight_keeps_its_digits_down_to_the_smallest_tails():
    tails = []
    for n, alpha, k in GRID:
        # cdf(k - 1) is P[X < k]. The logarithms of factorials up to 5000! (4e4) are exact to 1e-16 of themselves.
        wanted = stats.binom.cdf(k - 1, n, alpha) if k else 0.0
        np.testing.assert_allclose(missing_weight(n, alpha, k), wanted, rtol=2e-10, atol=1e-300, err_msg=f"{n} {alpha} {k}")
        tails.append(wanted)
    assert min(tail for tail in tails if tail) < 1e-200


def test_the_arrival_weight_is_the_rest():
    for n, alpha, k in GRID:
        found = arrival_weight(n, alpha, k)
        np.testing.assert_allclose(found, stats.binom.sf(k - 1, n, alpha), rtol=0, atol=1e-11, err_msg=f"{n} {alpha} {k}")


@given(steps=st.integers(0, 60), alpha=st.floats(1e-6, 1.0), hops=st.integers(0, 60))
def test_weights_are_probabilities(steps, alpha, hops):
    assert 0.0 <= arrival_weight(steps, alpha, hops) <= 1.0
    assert 0.0 <= missing_weight(steps, alpha, hops) <= 1.0


@pytest.mark.parametrize("alpha", [0.3, 1.01, 1.25, 1.5, 1.9])
@pytest.mark.parametrize("hops", [0, 1, 2, 6, 16, 40])
def test_the_law_holds_for_steps_beyond_the_target(alpha, hops):
    """The sum, exact in fractions, also where it is no probability."""
    a = Fraction(alpha)
    for n in (0, 1, 2, 7, hops, hops + 1, hops + 2, 60, 61, 200):
        signed = sum((math.comb(n, j) * a**j * (1 - a) ** (n - j) for j in range(min(hops, n + 1))), Fraction(0))
        np.testing.assert_allclose(missing_weight(n, alpha, hops), float(abs(signed)), rtol=1e-11, err_msg=f"{n}")
        np.testing.assert_allclose(arrival_weight(n, alpha, hops), float(1 - signed), rtol=1e-11, atol=1e-14, err_msg=f"{n}")


def test_a_missing_weight_beyond_floats_is_infinite():
    assert missing_weight(2000, 1.5, 1500) == np.inf
    assert settling_steps(750, 1.5, 1e-8) > 1500


@pytest.mark.parametrize("alpha", [1.001, 1.1, 1.5, 1.9])
@pytest.mark.parametrize("tolerance", [0.9, 0.4, 1e-3, 1e-8])
@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_beyond_the_target_settling_is_for_good(depth, alpha, tolerance):
    found = settling_steps(depth, alpha, tolerance)
    assert missing_weight(found - 1, alpha, 2 * depth) > tolerance
    assert max(missing_weight(n, alpha, 2 * depth) for n in range(found, found + 2000)) <= tolerance


@pytest.mark.parametrize("alpha", [1e-8, 2.0 - 1e-8])
def test_steps_that_hardly_settle_are_refused(alpha, refuses):
    with refuses(OptionError, "alpha", str(alpha), "2e+07 steps"):
        settling_steps(3, alpha, 1e-8)


@given(steps=st.integers(0, 30), hops=st.integers(0, 30))
def test_unit_steps_arrive_all_at_once(steps, hops):
    assert arrival_weight(steps, 1.0, hops) == (steps >= hops)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("tolerance", [0.4, 1e-3, 1e-8, 1e-14])
@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_settling_is_the_first_step_within_tolerance(depth, alpha, tolerance):
    n = next(n for n in range(10**5) if stats.binom.cdf(2 * depth - 1, n, alpha) <= tolerance)
    assert settling_steps(depth, alpha, tolerance) == n


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_unit_steps_settle_in_2d_for_any_tolerance(depth):
    assert settling_steps(depth, 1.0, 0.5) == settling_steps(depth, 1.0, 1e-15) == 2 * depth
