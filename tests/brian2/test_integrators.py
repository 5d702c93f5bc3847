"""The order of each integrator, measured against an oracle that shares no code with any of them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dyadic_neuro as dn
from dyadic_neuro.backends.brian2 import Brian2, equations
from dyadic_neuro.errors import OptionError, UnknownNameError
from dyadic_neuro.testing import networks

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")

ORDERS = {"euler": 1, "rk2": 2, "rk4": 4}
END = 2.0  # in units of tau, in the middle of the transient
NETWORK = dn.Network.dense([3, 4, 4, 2], activation="tanh", seed=1)


def exact_end(network, x, y, initial):
    """Return (u, s) of each population at time END, by DOP853 on DESIGN section 2 for a chain of tanh."""
    names, weights = network.order[1:], [network.parameters[f"{a}->{b}"] for a, b in pairwise(network.order)]
    biases = [network.parameters.get(f"{n}.bias", 0.0) for n in names]
    ends = np.cumsum([0] + 2 * [w.shape[0] for w in weights])

    def field(_, z):
        parts = [z[a:b] for a, b in pairwise(ends)]
        u, s = parts[: len(names)], parts[len(names) :]
        rates = [x, *(np.tanh(v) for v in u[:-1])]
        du = [w @ r + b - v for w, r, b, v in zip(weights, rates, biases, u, strict=True)]
        ds = [(1 - np.tanh(u[i]) ** 2) * (weights[i + 1].T @ s[i + 1]) - s[i] for i in range(len(s) - 1)]
        return np.concatenate([*du, *ds, (u[-1] - y) - s[-1]])

    start = np.concatenate([part[n][0] for part in (initial.potentials, initial.sensitivities) for n in names])
    return solve_ivp(field, (0.0, END), start, "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


@pytest.fixture(scope="module")
def errors(folder):
    """Return a function: the errors at time END with dt = h tau for each h."""
    from brian2 import ms

    x, y = networks.batch(NETWORK, 1, 1)
    initial = networks.state(NETWORK, 1, 1)
    wanted = exact_end(NETWORK, x[0], y[0], initial)

    def measure(method, fractions, target="numpy"):
        found = []
        for n in fractions:
            # the clock's dt belongs to the circuit and tau does not: another tau needs no other program
            where = folder if target == "cpp_standalone" else None
            backend = Brian2(n * ms, 1 * ms, target, method=method, directory=where)
            if backend.missing():
                pytest.skip(backend.missing())
            last = dn.relax(NETWORK, x, y, backend=backend, steps=int(END * n), initial=initial, record="last").final
            backend.close()
            parts = [part[p.name][0] for part in (last.potentials, last.sensitivities) for p in NETWORK.dynamic]
            found.append(np.abs(np.concatenate(parts) - wanted).max())
        return np.array(found)

    return measure


@pytest.mark.parametrize("method", ORDERS)
def test_an_integrator_is_of_its_order(errors, method):
    found = errors(method, (10, 20, 40))
    assert abs(np.log2(found[-2] / found[-1]) - ORDERS[method]) <= 0.15
    assert found[0] > found[1] > found[2] > 0


@pytest.mark.timeout(400)
def test_a_compiled_program_takes_the_same_stages(errors):
    fractions = (10, 20)
    found = errors("rk4", fractions, "cpp_standalone")
    assert abs(np.log2(found[0] / found[1]) - 4) <= 0.2
    assert np.allclose(found, errors("rk4", fractions), rtol=1e-6)


@pytest.mark.parametrize("method", ORDERS)
def test_at_dt_equal_tau_only_euler_is_exact_at_2d(backend, worst, method):
    x, y = networks.batch(NETWORK, 1, 2)
    found = dn.relax(NETWORK, x, y, backend=backend(method=method), steps=NETWORK.relaxation_steps).gradients
    error = worst(found, dn.backprop(NETWORK, x, y))
    assert error <= 1e-12 if method == "euler" else error > 1e-3


@pytest.mark.parametrize("method", ["rk2", "rk4"])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_every_integrator_settles_where_the_gradient_is_exact(backend, worst, method, alpha):
    """In the number of steps that it is given where nobody says how many."""
    x, y = networks.batch(NETWORK, 1, 2)
    trace = dn.relax(NETWORK, x, y, backend=backend(alpha=alpha, method=method), record="last")
    assert worst(trace.gradients, dn.backprop(NETWORK, x, y)) <= 1e-6


@pytest.mark.parametrize("method", ["rk2", "rk4"])
@pytest.mark.parametrize("alpha", [1.0, 0.7, 0.2])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_linear_chains_settle_in_exactly_the_steps_of_the_integrator_s_law(backend, method, alpha, tolerance):
    """With targets 0 the first sensitivity is what has come back, all the 2D hops, of one signal."""
    sizes = ("input", "hidden1", "hidden2", "output")
    chain = dn.Network([dn.Population(name, 1) for name in sizes], [dn.Projection(a, b, [[0.7]]) for a, b in pairwise(sizes)])
    circuit = backend(alpha=alpha, method=method)
    trace = dn.relax(chain, [[1.0]], [[0.0]], backend=circuit, tolerance=tolerance)
    missing = np.abs(trace.sensitivities["hidden1"][:, 0, 0] / 0.7**5 - 1.0)
    assert missing[-1] <= tolerance < missing[-2]


@pytest.mark.parametrize("method", ["rk2", "rk4"])
def test_beyond_tau_no_method_of_higher_order_is_offered(backend, method):
    with pytest.raises(OptionError, match="beyond tau") as caught:
        backend(alpha=1.2, method=method)
    assert caught.value.field == "dt"


def test_the_equations_are_those_that_the_integrator_takes_steps_of(worst, apart, monkeypatch):
    """Brian2's own euler reads the text of the equations; ours is written beside it, for its bits at dt = tau."""
    from brian2 import ms

    x, y = networks.batch(NETWORK, 1, 2)
    circuit = dn.Substrate.mismatch(NETWORK, 0.2, seed=1)
    options = {"steps": 12, "initial": networks.state(NETWORK, 1, 2)}
    ours = dn.relax(NETWORK, x, y, backend=Brian2(10 * ms, 3 * ms, "numpy", substrate=circuit), **options)
    monkeypatch.setattr(equations, "update", lambda _: "euler")
    theirs = dn.relax(NETWORK, x, y, backend=Brian2(10 * ms, 3 * ms, "numpy", substrate=circuit), **options)
    assert apart(ours, theirs) <= 1e-12
    assert worst(theirs.gradients, ours.gradients) <= 1e-12


@pytest.mark.parametrize(
    ("method", "says"),
    [
        *((name, "63 %") for name in ("exact", "linear", "independent", "exponential_euler")),
        *((name, "first order") for name in ("gsl", "gsl_rk2", "gsl_rk4", "gsl_rkf45", "gsl_rkck", "gsl_rk8pd")),
        ("heun", "is euler"),
        ("milstein", "is euler"),
    ],
)
def test_an_integrator_that_breaks_its_promise_is_refused_with_the_reason(method, says):
    with pytest.raises(OptionError, match=says) as caught:
        Brian2(method=method)
    assert caught.value.field == "method"
    assert method in caught.value.problem
    assert "rk4" in caught.value.fix


@pytest.mark.parametrize("method", ["rk5", "", None, 4, lambda: "euler"])
def test_no_integrator_of_that_name(method):
    with pytest.raises(UnknownNameError, match="no integrator") as caught:
        Brian2(method=method)
    assert all(name in caught.value.fix for name in ORDERS)
