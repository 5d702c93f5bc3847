"""`relax`: what it returns, what it goes on from, and what it refuses before any work starts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyadic_neuro import backends, backprop, relax
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.dynamics import State, step
from dyadic_neuro.errors import CycleError, DataError, OptionError, SessionClosedError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.schedule import settling_steps
from dyadic_neuro.trace import relative_error

seeds = st.integers(0, 2**32 - 1)
NET = Network.dense([3, 4, 2], activation="tanh", loss="cross_entropy", seed=0)  # D = 2
X, Y = np.linspace(-1, 1, 6).reshape(2, 3), np.array([0, 1])
LOOP = Network(  # input -> a -> b -> output, and b -> a
    [Population("input", 1), Population("a", 2, "tanh"), Population("b", 2, "sin", bias=0.1), Population("output", 1)],
    [
        Projection("input", "a", np.array([[0.5], [-0.2]])),
        Projection("a", "b", np.array([[0.3, 0.1], [-0.4, 0.2]])),
        Projection("b", "a", np.array([[0.2, 0.5], [0.1, -0.3]])),
        Projection("b", "output", np.array([[1.0, -0.7]])),
    ],
)


def equal(first, second):
    """Bit for bit."""
    assert set(first) == set(second)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def same_state(first, second):
    equal(first.potentials, second.potentials)
    equal(first.sensitivities, second.sensitivities)


# --- what comes out ------------------------------------------------------------------------------------------------------


def test_a_trace_says_what_the_run_did():
    trace = relax(NET, X, Y)
    assert (trace.backend, trace.schedule, trace.alpha, trace.steps, trace.cost) == ("reference", "free", 1.0, 4, None)
    assert trace.network is NET
    assert {name: u.shape for name, u in trace.potentials.items()} == {"hidden1": (5, 2, 4), "output": (5, 2, 2)}
    assert {name: s.shape for name, s in trace.sensitivities.items()} == {"hidden1": (5, 2, 4), "output": (5, 2, 2)}
    assert {key: values.shape for key, values in trace.gradients.items()} == {
        key: values.shape for key, values in NET.parameters.items()
    }
    assert not any(part[0].any() for part in (*trace.potentials.values(), *trace.sensitivities.values()))
    np.testing.assert_array_equal(trace.inputs, X)
    np.testing.assert_array_equal(trace.targets, np.eye(2))
    u = trace.final.potentials["output"]
    np.testing.assert_allclose(trace.loss, np.mean(np.log(np.exp(u).sum(axis=1)) - u[[0, 1], Y]), rtol=1e-14)


@given(
    seed=seeds,
    batch=st.sampled_from([1, 3]),
    alpha=st.sampled_from([1.0, 0.3, 1.6]),
    steps=st.integers(1, 9),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_free_is_the_step_of_the_dynamics_again_and_again(
    random_network, random_data, random_state, seed, batch, alpha, steps, dtype
):
    net = random_network(seed, activations=list(ACTIVATIONS), dtype=dtype)
    (x, y), state = random_data(net, batch, seed), random_state(net, batch, seed)
    trace = relax(net, x, y, steps=steps, alpha=alpha, initial=state)
    same_state(trace.state(0), state)
    for t in range(1, steps + 1):
        state = step(net, state, x, y, alpha)
        same_state(trace.state(t), state)
    equal(trace.gradients, trace.gradients_at(steps))
    assert all(
        part.dtype == dtype for values in (trace.potentials, trace.sensitivities, trace.gradients) for part in values.values()
    )


@given(seed=seeds, batch=st.sampled_from([1, 3]), extra=st.integers(-5, 20))
def test_wavefront_enables_each_potential_at_its_depth_and_each_sensitivity_at_its_height_beyond(
    random_network, random_data, random_state, seed, batch, extra
):
    net = random_network(seed, activations=list(ACTIVATIONS))
    (x, y), state = random_data(net, batch, seed), random_state(net, batch, seed)
    steps, window = max(1, net.relaxation_steps + extra), net.relaxation_steps
    trace = relax(net, x, y, steps=steps, schedule="wavefront", initial=state)
    same_state(trace.state(0), state)
    for t in range(1, steps + 1):
        all_at_once, within = step(net, state, x, y), (t - 1) % window + 1
        state = State(
            {n: all_at_once.potentials[n] if net.depths[n] == within else u for n, u in state.potentials.items()},
            {
                n: all_at_once.sensitivities[n] if net.depth + 1 + net.heights[n] == within else s
                for n, s in state.sensitivities.items()
            },
        )
        same_state(trace.state(t), state)
    equal(trace.gradients, trace.gradients_at(steps))


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
@given(seed=seeds, steps=st.integers(1, 12))
def test_recording_the_last_step_gives_the_last_row_of_all(random_network, random_data, random_state, schedule, seed, steps):
    net = random_network(seed)
    (x, y), state = random_data(net, 2, seed), random_state(net, 2, seed)
    whole, last = (relax(net, x, y, steps=steps, schedule=schedule, initial=state, record=record) for record in ("all", "last"))
    assert {len(u) for u in (*last.potentials.values(), *last.sensitivities.values())} == {1}
    same_state(last.final, whole.final)
    equal(last.gradients, whole.gradients)
    assert (last.steps, last.loss) == (whole.steps, whole.loss)


@given(
    seed=seeds,
    first=st.integers(1, 6),
    then=st.integers(1, 6),
    alpha=st.sampled_from([1.0, 0.4]),
    record=st.sampled_from(["all", "last"]),
)
def test_a_run_goes_on_from_the_final_state_of_another(random_network, random_data, seed, first, then, alpha, record):
    net = random_network(seed)
    data = random_data(net, 2, seed)
    begun = relax(net, *data, steps=first, alpha=alpha, record=record)
    ended = relax(net, *data, steps=then, alpha=alpha, initial=begun.final)
    whole = relax(net, *data, steps=first + then, alpha=alpha)
    same_state(ended.final, whole.final)
    equal(ended.gradients, whole.gradients)


@given(seed=seeds, windows=st.integers(1, 3))
def test_a_wavefront_goes_on_at_the_end_of_a_window(random_network, random_data, random_state, seed, windows):
    net = random_network(seed)
    data, state = random_data(net, 2, seed), random_state(net, 2, seed)
    begun = relax(net, *data, schedule="wavefront", steps=windows * net.relaxation_steps, initial=state)
    ended = relax(net, *data, schedule="wavefront", steps=3, initial=begun.final)
    whole = relax(net, *data, schedule="wavefront", steps=windows * net.relaxation_steps + 3, initial=state)
    same_state(ended.final, whole.final)


@given(seed=seeds)
def test_gradients_can_be_read_at_every_recorded_step(random_network, random_data, seed):
    net = random_network(seed)
    data = random_data(net, 2, seed)
    trace = relax(net, *data, steps=net.relaxation_steps + 1)
    for t in range(1, trace.steps + 1):
        equal(trace.gradients_at(t), relax(net, *data, steps=t).gradients)


@pytest.mark.parametrize("step", [0, -1, 5, 1.5, "1"])
def test_steps_that_were_not_recorded_are_refused(step, refuses):
    with refuses(OptionError, "step", str(step), "4 recorded steps"):
        relax(NET, X, Y).gradients_at(step)
    with refuses(OptionError, "step", "0 recorded steps", 'record="all"'):
        relax(NET, X, Y, record="last").gradients_at(4)


@pytest.mark.parametrize("alpha", [0.2, 0.7, 0.99, 1.01, 1.5])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_without_steps_another_alpha_than_1_takes_the_count_of_the_binomial_law(alpha, tolerance):
    assert relax(NET, X, Y, alpha=alpha, tolerance=tolerance).steps == settling_steps(2, alpha, tolerance)
    assert relax(NET, X, Y, tolerance=tolerance).steps == 4
    assert (
        max(relative_error(relax(NET, X, Y, alpha=alpha, tolerance=tolerance).gradients, backprop(NET, X, Y)).values())
        < 10 * tolerance
    )


def test_other_feedback_matrices_are_used_and_the_network_is_not_changed():
    matrix = np.arange(8.0).reshape(4, 2)
    trace = relax(NET, X, Y, backward={"hidden1->output": matrix})
    u, s = trace.final.potentials, trace.final.sensitivities
    np.testing.assert_allclose(s["hidden1"], (1 - np.tanh(u["hidden1"]) ** 2) * (s["output"] @ matrix.T), rtol=1e-14)
    equal(
        relax(NET, X, Y, backward={"hidden1->output": NET.parameters["hidden1->output"].T}).gradients, relax(NET, X, Y).gradients
    )
    equal(relax(NET, X, Y, backward={}).gradients, relax(NET, X, Y).gradients)


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
def test_nothing_that_was_passed_is_written_to(random_state, schedule):
    inputs, targets, matrix, state = X.copy(), np.eye(2), np.ones((4, 2)), random_state(NET, 2, 0)
    passed = [inputs, targets, matrix, *state.potentials.values(), *state.sensitivities.values()]
    before = [array.copy() for array in passed]
    for array in passed:
        array.setflags(write=False)
    relax(NET, inputs, targets, initial=state, backward={"hidden1->output": matrix}, schedule=schedule, steps=9)
    for array, old in zip(passed, before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("record", ["all", "last"])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_trace_does_not_change_when_the_caller_fills_his_arrays_anew(random_state, record, steps):
    inputs, targets, state = X.copy(), np.eye(2), random_state(NET, 2, 0)
    reused = relax(NET, inputs, targets, initial=state, schedule="wavefront", steps=steps, record=record)
    kept = relax(NET, X, np.eye(2), initial=random_state(NET, 2, 0), schedule="wavefront", steps=steps, record=record)
    for array in (inputs, targets, *state.potentials.values(), *state.sensitivities.values()):
        array[:] = 7
    assert reused.loss == kept.loss
    same_state(reused.final, kept.final)
    if record == "all":
        equal(reused.gradients_at(1), kept.gradients_at(1))


def test_a_cycle_runs_for_the_steps_it_is_given(random_state):
    x, y, state = np.array([[1.0], [-1]]), np.array([[0.5], [0]]), random_state(LOOP, 2, 0)
    trace = relax(LOOP, x, y, steps=300, initial=state)
    for t in range(1, 301):
        state = step(LOOP, state, x, y)
        same_state(trace.state(t), state)
    for name, u in trace.final.potentials.items():  # these weights contract: it has come to rest
        np.testing.assert_allclose(u, trace.potentials[name][-2], rtol=0, atol=1e-15)
    h = 1e-6
    for key, (i, j) in (("b->a", (1, 0)), ("input->a", (0, 0))):  # the fixed point's gradient, by differences of the loss
        losses = []
        for sign in (1, -1):
            shifted = LOOP.parameters[key].copy()
            shifted[i, j] += sign * h
            losses.append(relax(LOOP.with_parameters({key: shifted}), x, y, steps=300, record="last").loss)
        np.testing.assert_allclose(trace.gradients[key][i, j], (losses[0] - losses[1]) / (2 * h), rtol=0, atol=1e-9)


def test_data_may_be_lists_integers_or_other_floats():
    wanted = relax(NET, X, Y)
    for inputs in (X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        for targets in (Y.tolist(), np.eye(2).tolist(), np.eye(2, dtype=np.int8), Y.astype(np.uint8)):
            equal(relax(NET, inputs, targets).gradients, wanted.gradients)
    assert relax(NET, np.ones((1, 3), np.int8), [0]).inputs.dtype == np.float64
    equal(relax(NET, X, Y, steps=np.int64(4), alpha=np.float32(1)).gradients, wanted.gradients)


# --- what is refused -----------------------------------------------------------------------------------------------------


class Never(backends.Reference):
    """A backend that no bad input reaches."""

    def open(self, network):
        pytest.fail("work began")


def bad(array, where, value):
    array = np.array(array, float)
    array[where] = value
    return array


def state(**changes):
    """Return a state of NET for two samples with other arrays, or without some."""
    parts = {part: {"hidden1": np.zeros((2, 4)), "output": np.zeros((2, 2))} for part in ("potentials", "sensitivities")}
    for key, value in changes.items():
        part, name = key.split("_")
        parts[part] = {n: v for n, v in (parts[part] | {name: value}).items() if v is not None}
    return State(**parts)


def matrix(values):
    return {"backward": {"hidden1->output": values}}


def data(inputs=X, targets=Y):
    return {"inputs": inputs, "targets": targets}


H = "hidden1"
REFUSED = {
    # inputs
    "inputs too wide": (data(np.ones((2, 4))), DataError, "inputs", "shape (2, 4), not (any, 3)"),
    "inputs flat": (data(np.ones(3)), DataError, "inputs", "shape (3,)"),
    "inputs deep": (data(np.ones((1, 2, 3))), DataError, "inputs", "shape (1, 2, 3)"),
    "inputs none": (data(np.ones((0, 3)), []), DataError, "inputs", "no sample"),
    "inputs nan": (data(bad(X, (1, 2), np.nan)), DataError, "inputs", "nan at (1, 2)"),
    "inputs inf": (data(bad(X, (0, 1), -np.inf)), DataError, "inputs", "-inf at (0, 1)"),
    "inputs text": (data([["a", "b", "c"]] * 2), DataError, "inputs", "real numbers"),
    "inputs complex": (data(X + 0j), DataError, "inputs", "complex128"),
    "inputs ragged": (data([[1, 2, 3], [1, 2]]), DataError, "inputs", "real numbers"),
    "inputs missing": (data(None), DataError, "inputs", "real numbers"),
    # targets
    "targets out of range": (data(targets=[0, 2]), DataError, "targets", "class 2 is outside 0 .. 1"),
    "targets negative": (data(targets=[0, -1]), DataError, "targets", "class -1 is outside 0 .. 1"),
    "targets too few": (data(targets=[0]), DataError, "targets", "1 classes for 2 inputs"),
    "targets float classes": (data(targets=[0.0, 1.0]), DataError, "targets", "integer classes"),
    "targets too wide": (data(targets=np.eye(3)[:2]), DataError, "targets", "shape (2, 3), not (2, 2)"),
    "targets nan": (data(targets=[[np.nan, 1], [0, 1]]), DataError, "targets", "nan at (0, 0)"),
    "targets inf": (data(targets=[[0, 1], [0, np.inf]]), DataError, "targets", "inf at (1, 1)"),
    "targets no rows of probabilities": (data(targets=[[1, 1], [0, 1]]), DataError, "targets", "cross_entropy"),
    # names
    "backend unknown": ({"backend": "loihi9"}, UnknownNameError, "backend", "'loihi9' is not a backend; installed: "),
    "backend a class": ({"backend": backends.Reference}, OptionError, "backend", "pass a name"),
    "backend a number": ({"backend": 5}, OptionError, "backend", "pass a name"),
    "schedule unknown": ({"schedule": "waves"}, OptionError, "schedule", "['free', 'wavefront']"),
    "schedule none": ({"schedule": None}, OptionError, "schedule", "['free', 'wavefront']"),
    "record unknown": ({"record": "some"}, OptionError, "record", "neither 'all' nor 'last'"),
    "network a name": ({"network": "net.npz"}, OptionError, "network", "str is not a Network"),
    # backward
    "backward unknown": ({"backward": {"a->b": 1}}, UnknownNameError, "backward", "['hidden1->output']"),
    "backward of the input": ({"backward": {"input->hidden1": np.ones((3, 4))}}, UnknownNameError, "backward", "from the input"),
    "backward not transposed": (
        matrix(np.ones((2, 4))),
        DataError,
        "backward of hidden1->output, (n_source, n_target)",
        "not (4, 2)",
    ),
    "backward nan": (
        matrix(bad(np.ones((4, 2)), (3, 1), np.nan)),
        DataError,
        "backward of hidden1->output, (n_source, n_target)",
        "nan at (3, 1)",
    ),
    "backward a list": ({"backward": [np.ones((4, 2))]}, OptionError, "backward", "list"),
    # initial
    "initial no state": ({"initial": {H: 0}}, OptionError, "initial", "trace.final"),
    "initial too few samples": (
        {"initial": state(potentials_hidden1=np.zeros((1, 4)))},
        DataError,
        "initial.potentials['hidden1']",
        "not (2, 4)",
    ),
    "initial nan": (
        {"initial": state(sensitivities_output=bad(np.zeros((2, 2)), (1, 0), np.nan))},
        DataError,
        "initial.sensitivities['output']",
        "(1, 0)",
    ),
    "initial inf": (
        {"initial": state(potentials_output=bad(np.zeros((2, 2)), (0, 0), np.inf))},
        DataError,
        "initial.potentials['output']",
        "inf",
    ),
    "initial missing": (
        {"initial": state(sensitivities_hidden1=None)},
        DataError,
        "initial.sensitivities",
        "each of ['hidden1', 'output']",
    ),
    "initial too many": (
        {"initial": state(potentials_input=np.zeros((2, 3)))},
        DataError,
        "initial.potentials",
        "each of ['hidden1', 'output']",
    ),
    "initial no mapping": ({"initial": State(None, None)}, DataError, "initial.potentials", "each of ['hidden1', 'output']"),
    # numbers
    **{
        f"alpha {a!r:.9}": ({"alpha": a, "steps": 9}, OptionError, "alpha", "outside (0, 2)")
        for a in (0, 0.0, 2, 2.0, -1, np.nan, np.inf, True, "1", 1j, 10**400)
    },
    "alpha with wavefront": ({"alpha": 0.5, "schedule": "wavefront"}, OptionError, "alpha", "wavefront"),
    **{f"alpha {a!r} without steps": ({"alpha": a}, OptionError, "alpha", "steps to settle") for a in (1e-8, 2 - 1e-8)},
    **{
        f"steps {n!r}": ({"steps": n}, OptionError, "steps", "at least 1")
        for n in (0, -1, 1.5, 4.0, True, "4", np.nan, np.ones(1, bool)[0])
    },
    **{
        f"tolerance {t!r:.9}": ({"tolerance": t}, OptionError, "tolerance", "(0, 1)")
        for t in (0, 1, -1e-8, np.nan, np.inf, "1e-8", True, None, 10**400)
    },
    # cycles
    "cycle without steps": ({"network": LOOP, **data([[1]], [[0]])}, CycleError, "network", "has the cycle a -> b -> a"),
    "cycle with alpha below 1": ({"network": LOOP, **data([[1]], [[0]]), "alpha": 0.5}, CycleError, "network", "number of steps"),
    "cycle and wavefront": (
        {"network": LOOP, **data([[1]], [[0]]), "steps": 9, "schedule": "wavefront"},
        CycleError,
        "network",
        "a -> b -> a",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_before_any_work(case, refuses):
    changes, error, field, says = REFUSED[case]
    arguments = {"network": NET, "inputs": X, "targets": Y, "backend": Never()} | changes
    if case.startswith("cycle"):
        says = says.replace("a -> b -> a", " -> ".join(LOOP.cycle))
        assert LOOP.cycle in (["a", "b", "a"], ["b", "a", "b"])
    with refuses(error, field, says):
        relax(**arguments)


def test_numbers_too_large_for_float32_are_refused(refuses):
    # numpy warns of it too, which must not come first
    with refuses(DataError, "inputs", "inf at (0, 0)", "overflows"):
        relax(Network.dense([1, 1], dtype="float32"), [[1e300]], [[0]])


def test_numbers_as_large_as_they_get_are_taken(random_state):
    state = random_state(NET, 2, 0, scale=1e300)
    equal(relax(NET, X, Y, initial=state).gradients, relax(NET, X, Y).gradients)
    assert relax(Network.dense([2, 1]), [[1e308, -1e308]], [[0]], steps=1).inputs.tolist() == [[1e308, -1e308]]


@pytest.mark.parametrize("order", [{"steps": 10**15}, {"alpha": 1e-12}, {"alpha": 5e-324}], ids=str)
def test_more_steps_than_any_memory_holds_are_refused(order):
    with pytest.raises(OptionError):
        relax(NET, X, Y, **order)


def test_functions_that_widen_float32_are_refused_or_narrowed_again():
    half = np.sqrt(0.25)  # a float64 scalar, which numpy 2 lets win over an array of float32
    phi = (lambda u: half * u.astype("float64"), lambda u: np.full(u.shape, half))
    try:
        net = Network.dense([3, 4, 2], activation=phi, dtype="float32", seed=0)
    except OptionError:
        return
    whole, last = (relax(net, X, Y, steps=5, record=record) for record in ("all", "last"))
    assert {u.dtype for u in (*last.final.potentials.values(), *last.final.sensitivities.values())} == {np.dtype("float32")}
    same_state(whole.final, last.final)


def test_everything_after_the_data_is_by_name():
    with pytest.raises(TypeError):
        relax(NET, X, Y, "reference")


# --- backends ------------------------------------------------------------------------------------------------------------


class Slow(backends.Reference):
    """A backend that was built with another dt / tau."""

    name = "slow"
    alpha = 0.5


def test_alpha_is_the_own_one_of_the_backend_unless_both_disagree(refuses):
    assert relax(NET, X, Y, backend=Slow()).alpha == 0.5
    assert relax(NET, X, Y, backend=Slow(), alpha=0.5).steps == settling_steps(2, 0.5, 1e-8)
    assert prepare(NET, X, Y, backend_alpha=0.25).alpha == 0.25
    with refuses(OptionError, "alpha", "1", "dt / tau = 0.5"):
        relax(NET, X, Y, backend=Slow(), alpha=1)
    with refuses(OptionError, "alpha", "0.5", "wavefront"):
        relax(NET, X, Y, backend=Slow(), schedule="wavefront")


def test_a_session_closes_once_and_for_all(refuses):
    order = prepare(NET, X, Y)
    with backends.Reference().open(NET) as session:
        first, second = session.relax(order), session.relax(order)
    equal(first.gradients, second.gradients)
    session.close()
    with refuses(SessionClosedError, "session", "closed"):
        session.relax(order)


def test_relative_error_is_per_key_and_absolute_where_nothing_is_wanted():
    wanted = {"a": np.array([2.0, -4.0]), "b": np.zeros(2)}
    assert relative_error({"a": np.array([2.0, -3.0]), "b": np.array([0, -0.5]), "c": np.ones(1)}, wanted) == {
        "a": 0.25,
        "b": 0.5,
    }
