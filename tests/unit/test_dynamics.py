"""The local rules on numbers worked by hand, and what they add up to: a synchronous step, and the saddle flow of an energy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyadic_neuro import backprop
from dyadic_neuro.dynamics import (
    State,
    bias_gradient,
    bias_update,
    energy,
    feedback_copies,
    from_dyad,
    gradients,
    potential_update,
    rates,
    sensitivity_update,
    step,
    to_dyad,
    weight_update,
)
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

seeds = st.integers(0, 2**32 - 1)
every_loss = pytest.mark.parametrize("loss", LOSSES)
W = Projection("k", "v", np.array([[1.0, 2], [3, 4], [5, 6]]))  # 2 neurons to 3
V = Projection("j", "v", np.array([[1.0], [0], [-1]]))
R, Q = np.array([[1.0, -1], [0.5, 2]]), np.array([[3.0], [-2]])  # rates of k and j, for two samples
S = np.array([[1.0, 0, 2], [-1, 1, 0]])  # sensitivities of v
DIRT = np.array([[np.nan, np.inf, -np.inf], [1e300, -1e300, 0]])


# --- one rule at a time --------------------------------------------------------------------------------------------------


def test_potential_is_the_drive_plus_the_bias():
    assert potential_update([(W, R)], None, DIRT).tolist() == [[-1, -1, -1], [4.5, 9.5, 14.5]]
    assert potential_update([(W, R), (V, Q)], np.array([10.0, 20, 30]), DIRT).tolist() == [[12, 19, 26], [12.5, 29.5, 46.5]]


def test_a_smaller_step_goes_part_of_the_way():
    old = np.array([[1.0, 1, 1], [0.5, -0.5, 2.5]])
    assert potential_update([(W, R)], None, old, 0.5).tolist() == [[0, 0, 0], [2.5, 4.5, 8.5]]
    assert potential_update([(W, R)], None, old, 1.5).tolist() == [[-2, -2, -2], [6.5, 14.5, 20.5]]
    assert sensitivity_update([(W.transposed(), S)], R, None, R, 0.5).tolist() == [[6, -7.5], [0.75, 3]]


def test_sensitivity_is_the_backward_drive_gated_by_the_derivative():
    # W^T s = [[11, 14], [2, 2]]
    assert sensitivity_update([(W.transposed(), S)], R, None, DIRT[:, :2]).tolist() == [[11, -14], [1, 4]]
    both = [(W.transposed(), S), (Projection("v", "k", np.array([[1.0], [2]])), Q)]
    assert sensitivity_update(both, np.ones((2, 2)), None, DIRT[:, :2]).tolist() == [[14, 20], [0, -2]]


def test_the_readout_is_driven_by_the_error_alone_and_in_a_cycle_by_both():
    assert sensitivity_update([], None, S, DIRT).tolist() == S.tolist()
    assert sensitivity_update([], None, S, np.ones((2, 3)), 0.5).tolist() == [[1, 0.5, 1.5], [0, 1, 0.5]]
    assert sensitivity_update([(W.transposed(), S)], R, np.array([[0.0, 100], [10, 0]]), DIRT[:, :2]).tolist() == [
        [11, 86],
        [11, 4],
    ]


def test_weights_descend_on_the_mean_outer_product_and_both_copies_agree():
    # the mean of s (outer) r over the two samples is [[0.25, -1.5], [0.25, 1], [1, -1]]
    forward, backward = weight_update(W, S, R, 2.0), weight_update(W.transposed(), R, S, 2.0)
    assert forward.weights.tolist() == [[0.5, 5], [2.5, 2], [3, 8]]
    assert backward.weights.tolist() == forward.weights.T.tolist()
    assert weight_update(W, S[:1], R[:1], 1.0).weights.tolist() == [[0, 3], [3, 4], [3, 8]]
    assert (forward.source, forward.target, backward.source, backward.target) == ("k", "v", "v", "k")
    assert W.weights.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_decay_shrinks_the_weights_before_they_descend_and_both_copies_agree():
    forward, backward = weight_update(W, S, R, 2.0, 0.25), weight_update(W.transposed(), R, S, 2.0, 0.25)
    assert forward.weights.tolist() == [[0, 4], [1, 0], [0.5, 5]]
    assert backward.weights.tolist() == forward.weights.T.tolist()
    assert weight_update(W, S, R, 0.0, 0.25).weights.tolist() == W.weights.tolist()


def test_biases_descend_on_the_mean_sensitivity():
    bias = np.array([1.0, 2, 3])
    assert bias_gradient(S).tolist() == [0, 0.5, 1]
    assert bias_gradient(S[:1]).tolist() == [1, 0, 2]
    assert not np.shares_memory(bias_gradient(S[:1]), S)
    assert bias_update(bias, S, 2.0).tolist() == [1, 1, 1]
    assert bias.tolist() == [1, 2, 3]


def test_rules_write_to_nothing_they_were_given():
    given = [W.weights, V.weights, R, Q, S, np.ones(3), np.full((2, 3), 0.5), np.full((2, 2), 0.5)]
    before = [array.copy() for array in given]
    potential_update([(W, R), (V, Q)], given[5], given[6], 0.5)
    sensitivity_update([(W.transposed(), S)], R, given[7], given[7], 0.5)
    weight_update(W, S, R, 0.1)
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


@given(seed=seeds, cut=st.integers(1, 5), batch=st.sampled_from([1, 4]), alpha=st.sampled_from([1.0, 0.5]))
def test_slices_of_a_population_make_up_the_whole(seed, cut, batch, alpha):
    # Small whole numbers and a batch that divides them, so that no order of summation can show.
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.integers(-8, 9, shape).astype(float)

    w, r, s, u, bias, error, arrived, slope = (
        *(draw(6, 4), draw(batch, 4), draw(batch, 6), draw(batch, 6)),
        *(draw(6), draw(batch, 6), draw(batch, 5), draw(batch, 6)),
    )
    above = draw(5, 6)  # from this population to the one above
    parts = [slice(None, cut), slice(cut, None)]

    def update(part):
        into, back = Projection("k", "v", w[part]), Projection("w", "v", above.T[part])
        return (
            potential_update([(into, r)], bias[part], u[:, part], alpha).T,
            sensitivity_update([(back, arrived)], slope[:, part], error[:, part], s[:, part], alpha).T,
            weight_update(into, s[:, part], r, 0.5).weights,
            weight_update(back, s[:, part], arrived, 0.5).weights,
            bias_update(bias[part], s[:, part], 0.5),
        )

    for whole, first, second in zip(update(slice(None)), *map(update, parts), strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second]), whole)


# --- the whole network ---------------------------------------------------------------------------------------------------


def forces(net, state, x, y):
    """F(u) - u and phi'(u) sum W^T s + dC/du - s, from the equations."""
    u, s = state.potentials, state.sensitivities
    shown = {net.input: x} | {p.name: p.phi.rate(u[p.name]) for p in net.dynamic}
    up, down = {}, {}
    for p in net.dynamic:
        drive = sum(np.einsum("vk,bk->bv", q.weights, shown[q.source]) for q in net.projections if q.target == p.name)
        up[p.name] = drive + net.parameters.get(f"{p.name}.bias", 0.0) - u[p.name]
        back = sum(np.einsum("vk,bv->bk", q.weights, s[q.target]) for q in net.projections if q.source == p.name)
        down[p.name] = p.phi.derivative(u[p.name], shown[p.name]) * back - s[p.name]
        if p.name == net.output:
            down[p.name] = down[p.name] + net.cost.gradient(u[p.name], y)
    return up, down


def close(found, wanted, atol=1e-12):
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=atol, err_msg=name)


@every_loss
@given(seed=seeds, batch=st.sampled_from([1, 3]), alpha=st.sampled_from([1.0, 0.3, 1.7]))
def test_a_step_moves_every_population_along_its_force_at_once(
    random_network, random_data, random_state, loss, seed, batch, alpha
):
    net = random_network(seed, loss=loss)
    (x, y), state = random_data(net, batch, seed), random_state(net, batch, seed)
    up, down = forces(net, state, x, y)
    after = step(net, state, x, y, alpha)
    close(after.potentials, {n: state.potentials[n] + alpha * up[n] for n in up})
    close(after.sensitivities, {n: state.sensitivities[n] + alpha * down[n] for n in down})


@given(seed=seeds)
def test_the_order_in_which_populations_are_listed_does_not_matter(random_network, random_data, random_state, seed):
    net = random_network(seed)
    other = Network(net.populations[::-1], net.projections)
    (x, y), state = random_data(net, 2, seed), random_state(net, 2, seed)
    first, second = step(net, state, x, y), step(other, state, x, y)
    for name in state.potentials:
        np.testing.assert_array_equal(first.potentials[name], second.potentials[name])
        np.testing.assert_array_equal(first.sensitivities[name], second.sensitivities[name])


def test_a_step_reads_neighbours_of_the_step_before_only():
    net = Network.dense([1, 1, 1, 1], "identity").with_parameters(
        {"input->hidden1": [[2]], "hidden1->hidden2": [[3]], "hidden2->output": [[5]]}
    )
    state = State.zero(net, 1)
    x, y = np.array([[1.0]]), np.array([[0.0]])
    seen = []
    for _ in range(6):
        state = step(net, state, x, y)
        seen.append([float(values[0, 0]) for part in (state.potentials, state.sensitivities) for values in part.values()])
    assert seen == [  # u1 u2 u3 s1 s2 s3
        [2, 0, 0, 0, 0, 0],
        [2, 6, 0, 0, 0, 0],
        [2, 6, 30, 0, 0, 0],
        [2, 6, 30, 0, 0, 30],
        [2, 6, 30, 0, 150, 30],
        [2, 6, 30, 450, 150, 30],
    ]


def test_a_unit_step_assigns_whatever_the_old_state_was(random_network, random_data, random_state):
    net = random_network(5)
    (x, y), state = random_data(net, 2, 5), State.zero(net, 2)
    dirty = State(
        {n: np.full_like(u, np.nan) for n, u in state.potentials.items()},
        {n: np.full_like(s, np.inf) for n, s in state.sensitivities.items()},
    )
    with np.errstate(invalid="ignore"):
        for _ in range(net.relaxation_steps):
            state, dirty = step(net, state, x, y), step(net, dirty, x, y)
    for name in state.potentials:
        np.testing.assert_array_equal(dirty.potentials[name], state.potentials[name])
        np.testing.assert_array_equal(dirty.sensitivities[name], state.sensitivities[name])


def test_other_backward_matrices_take_the_place_of_the_transposes():
    net = Network.dense([1, 2, 1], "identity", seed=1)
    state = State(
        {"hidden1": np.zeros((1, 2)), "output": np.zeros((1, 1))}, {"hidden1": np.zeros((1, 2)), "output": np.array([[2.0]])}
    )
    x, y = np.zeros((1, 1)), np.zeros((1, 1))
    after = step(net, state, x, y, backward={"hidden1->output": np.array([[3.0], [-1]])})
    assert after.sensitivities["hidden1"].tolist() == [[6, -2]]
    assert list(feedback_copies(net)) == ["hidden1->output"]  # the input has no sensitivity, hence no copy
    np.testing.assert_array_equal(feedback_copies(net)["hidden1->output"].weights, net.parameters["hidden1->output"].T)


def test_the_zero_state_is_zero_small_and_read_only():
    net = Network.dense([2, 3, 1], dtype="float32")
    state = State.zero(net, 4)
    for part in (state.potentials, state.sensitivities):
        assert {name: (values.shape, values.dtype, values.any()) for name, values in part.items()} == {
            "hidden1": ((4, 3), np.float32, False),
            "output": ((4, 1), np.float32, False),
        }
        with pytest.raises(ValueError, match="read-only"):
            part["output"][0] = 1


def settled(net, x, y):
    state = State.zero(net, len(x))
    for _ in range(net.relaxation_steps):
        state = step(net, state, x, y)
    return state


@every_loss
@given(seed=seeds, batch=st.sampled_from([1, 3]))
def test_the_fixed_point_holds_backpropagation_and_its_energy_is_the_loss(random_network, random_data, loss, seed, batch):
    net = random_network(seed, loss=loss, fixed=0.2)
    x, y = random_data(net, batch, seed)
    state = settled(net, x, y)
    close(step(net, state, x, y).potentials, state.potentials, atol=0)
    close(gradients(net, state.sensitivities, rates(net, state, x)), backprop(net, x, y))
    np.testing.assert_allclose(energy(net, state, x, y), net.cost.value(state.potentials["output"], y), rtol=1e-12, atol=1e-12)


# --- energy --------------------------------------------------------------------------------------------------------------


def slopes(function, parts, h=1e-5):
    """Central differences of function(parts) (batch,), one neuron of all samples at a time; wrong by about h^2 and 1e-15 / h."""
    found = {}
    for name, values in parts.items():
        found[name] = np.empty_like(values)
        for i in range(values.shape[1]):
            shift = np.zeros_like(values)
            shift[:, i] = h
            found[name][:, i] = (function(parts | {name: values + shift}) - function(parts | {name: values - shift})) / (2 * h)
    return found


@every_loss
@settings(max_examples=min(25, settings().max_examples))
@given(seed=seeds)
def test_the_forces_are_the_slopes_of_the_energy(random_network, random_data, random_state, loss, seed):
    net = random_network(seed, loss=loss)
    (x, y), state = random_data(net, 2, seed), random_state(net, 2, seed)
    up, down = forces(net, state, x, y)
    close(slopes(lambda s: energy(net, State(state.potentials, s), x, y), dict(state.sensitivities)), up, atol=1e-7)
    close(slopes(lambda u: energy(net, State(u, state.sensitivities), x, y), dict(state.potentials)), down, atol=1e-7)


@given(seed=seeds)
def test_dyad_coordinates_are_half_a_sensitivity_apart_and_round_trip(random_network, random_state, seed):
    state = random_state(random_network(seed), 2, seed)
    plus, minus = to_dyad(state)
    for name in plus:
        np.testing.assert_array_equal(plus[name], state.potentials[name] + state.sensitivities[name] / 2)
        np.testing.assert_array_equal(minus[name], state.potentials[name] - state.sensitivities[name] / 2)
    close(from_dyad(plus, minus).potentials, state.potentials, atol=1e-15)
    close(from_dyad(plus, minus).sensitivities, state.sensitivities, atol=1e-15)


@settings(max_examples=min(25, settings().max_examples))
@given(seed=seeds, alpha=st.sampled_from([1.0, 0.3]))
def test_a_step_climbs_the_energy_in_one_dyad_coordinate_and_descends_in_the_other(
    random_network, random_data, random_state, seed, alpha
):
    net = random_network(seed, loss="cross_entropy")
    (x, y), state = random_data(net, 2, seed), random_state(net, 2, seed)
    plus, minus = to_dyad(state)
    climb = slopes(lambda z: energy(net, from_dyad(z, minus), x, y), plus)
    descend = slopes(lambda z: energy(net, from_dyad(plus, z), x, y), minus)
    after_plus, after_minus = to_dyad(step(net, state, x, y, alpha))
    close(after_plus, {n: plus[n] + alpha * climb[n] for n in plus}, atol=1e-7)
    close(after_minus, {n: minus[n] - alpha * descend[n] for n in minus}, atol=1e-7)


def test_energy_by_hand():
    # x = 2, u = (1, -1), s = (3, 5); F = (4 + 1, 10), so E = 3 (5 - 1) + 5 (10 - -1) + (-1 - 1)^2 / 2
    net = Network(
        [Population("input", 1), Population("h", 1, bias=1.0), Population("output", 1)],
        [Projection("input", "h", np.array([[2.0]])), Projection("h", "output", np.array([[10.0]]))],
    )
    state = State({"h": np.array([[1.0]]), "output": np.array([[-1.0]])}, {"h": np.array([[3.0]]), "output": np.array([[5.0]])})
    assert energy(net, state, np.array([[2.0]]), np.array([[1.0]])).tolist() == [12 + 55 + 2]
