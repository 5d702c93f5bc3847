"""Circuits with time constants, delays and noise of their own: exact where the theory says so, and equal to a slow twin."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Reference
from dyadic_neuro.noise import gauss
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags
from dyadic_neuro.trace import relative_error

EXACT = 1e-12
FEW, FEWER = settings(max_examples=min(50, settings().max_examples)), settings(max_examples=min(25, settings().max_examples))
CHAINS = chains(6, networks.SMOOTH)
NETWORKS = st.one_of(chains(5), dags(5), dags(4, parts=True))
SMALL = st.one_of(chains(3), dags(2))


class Circuit(Reference):
    """The reference with another dt / tau of its own."""

    def __init__(self, substrate=None, alpha=1.0):
        super().__init__(substrate)
        self.alpha = alpha


def random_delays(network, seed, longest=4.0):
    rng = np.random.default_rng([seed, 11])
    return {p.name: tuple(rng.uniform(0, longest, 2)) for p in network.projections if rng.random() < 0.8}


def random_substrate(network, seed, noise=(0.0, 0.0)):
    rng = np.random.default_rng([seed, 12])
    constants = {}
    for p in network.dynamic:
        one, each = float(rng.uniform(0.6, 2.5)), rng.uniform(0.6, 2.5, p.size)
        constants[p.name] = [1.0, one, each, (one, each), (each, one)][rng.integers(5)]
    return Substrate(constants, random_delays(network, seed), noise, seed)


def worst(found, wanted):
    """Return the largest difference, beside the largest number that is right."""
    size = max(1.0, *(float(np.abs(right).max()) for right in wanted.values()))
    return max(float(np.abs(found[key] - right).max()) for key, right in wanted.items()) / size


def sgd(network, x, y, options):
    """Return the parameters that plain SGD on the oracle's gradients ends with."""
    rate = options["learning_rate"]
    for epoch in range(options["epochs"]):
        for rows in dn.training.batches(len(x), options["batch_size"], epoch, seed=options["seed"]):
            slope = dn.backprop(network, x[rows], y[rows])
            network = network.with_parameters({key: network.parameters[key] - rate * values for key, values in slope.items()})
    return network.parameters


def tame(parameters):
    """Whether training has not run away."""
    return all(np.abs(values).max() < 10 for values in parameters.values())


# --- a slow and obvious twin ---------------------------------------------------------------------------------------------


class Twin:
    """DESIGN section 2 on a substrate, neuron by neuron; shares no code with the reference."""

    def __init__(self, network, substrate, alpha, initial, window):
        self.network, self.substrate, self.alpha, self.window = network, substrate, alpha, window
        self.weights = {p.name: np.array(p.weights) for p in network.projections}
        self.copies = {p.name: np.array(p.weights.T) for p in network.projections if p.source != network.input}
        self.biases = {p.name: np.array(p.bias) for p in network.dynamic}
        self.u, self.s, self.r = [dict(initial.potentials)], [dict(initial.sensitivities)], []
        sizes = [p.size for p in network.populations]
        self.first = {p.name: sum(sizes[:i]) for i, p in enumerate(network.populations)}

    def tau(self, name, half, j):
        ratio = self.substrate.time_constants.get(name, (1.0, 1.0))[half]
        return ratio[j] if np.ndim(ratio) else ratio

    def late(self, history, projection, half):
        delay = self.substrate.delays.get(projection.name, (0.0, 0.0))[half]
        return history[max(0, len(history) - 1 - math.floor(delay / self.alpha + 0.5))]

    def relaxed(self, old, target, name, half, i, j):
        a = self.alpha / self.tau(name, half, j)
        k, t = divmod(len(self.u) - 1, self.window)
        moment = (k * self.batch + i) * self.window + t
        xi = float(gauss(self.substrate.seed, moment, 2 * (self.first[name] + j) + half))
        return old + a * (target - old) + self.substrate.noise[half] * math.sqrt(2 * a) * xi

    def step(self, x, y):
        net, u, s = self.network, self.u[-1], self.s[-1]
        self.batch = len(x)
        phis = {p.name: p.phi for p in net.dynamic}
        self.r.append({net.input: x} | {n: phi.rate(u[n]) for n, phi in phis.items()})
        new_u = {n: np.empty_like(values) for n, values in u.items()}
        new_s = {n: np.empty_like(values) for n, values in s.items()}
        for v in u:
            slope = phis[v].derivative(u[v], self.r[-1][v])
            error = net.cost.gradient(u[v], y) if v == net.output else np.zeros_like(u[v])
            for i in range(len(x)):
                for j in range(u[v].shape[1]):
                    drive = self.biases[v][j]
                    for p in net.incoming[v]:
                        rates = self.late(self.r, p, 0)[p.source][i]
                        drive += sum(self.weights[p.name][j, m] * rates[m] for m in range(len(rates)))
                    back = 0.0
                    for p in net.outgoing[v]:
                        sent = self.late(self.s, p, 1)[p.target][i]
                        back += sum(self.copies[p.name][j, m] * sent[m] for m in range(len(sent)))
                    new_u[v][i, j] = self.relaxed(u[v][i, j], drive, v, 0, i, j)
                    new_s[v][i, j] = self.relaxed(s[v][i, j], slope[i, j] * back + error[i, j], v, 1, i, j)
        self.u.append(new_u)
        self.s.append(new_s)

    def gradients(self):
        """What the forward copies and biases read at the end of the last step."""
        found = {f"{n}.bias": s.mean(axis=0) for n, s in self.s[-1].items()}
        for p in self.network.projections:
            found[p.name] = self.s[-1][p.target].T @ self.late(self.r, p, 0)[p.source] / self.batch
        return found

    def learn(self, rate):
        found, sent = self.gradients(), self.s[:-1]
        for p in self.network.projections:
            self.weights[p.name] = self.weights[p.name] - rate * found[p.name]
            if p.name in self.copies:  # its own rate, with the sensitivity that arrived
                change = self.r[-1][p.source].T @ self.late(sent, p, 1)[p.target] / self.batch
                self.copies[p.name] = self.copies[p.name] - rate * change
        for n in self.biases:
            self.biases[n] = self.biases[n] - rate * found[f"{n}.bias"]


@FEW
@given(SMALL, SEEDS, st.sampled_from([1.0, 0.5, 0.3]), st.sampled_from([(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.1, 0.3)]))
def test_the_reference_goes_through_the_states_of_the_twin(network, seed, alpha, noise):
    x, y = networks.batch(network, seed, 2)
    initial, substrate = networks.state(network, seed, 2), random_substrate(network, seed, noise)
    twin = Twin(network, substrate, alpha, initial, 17)
    trace = dn.relax(network, x, y, alpha=alpha, steps=17, initial=initial, backend=Reference(substrate))
    for t in range(1, 18):
        twin.step(x, y)
        assert worst(trace.state(t).potentials, twin.u[t]) <= EXACT
        assert worst(trace.state(t).sensitivities, twin.s[t]) <= EXACT
        assert worst(trace.gradients_at(t), twin.gradients()) <= EXACT
    assert worst(trace.gradients, twin.gradients()) <= EXACT


@FEWER
@given(SMALL, SEEDS, st.sampled_from([1.0, 0.5]), st.integers(2, 6))
def test_learning_changes_the_weights_as_the_twin_does(network, seed, alpha, window):
    """In windows of any length, with inputs that are still on their way when the next come."""
    x, y = networks.batch(network, seed, 6)
    substrate = random_substrate(network, seed, (0.05, 0.05))
    options = {"epochs": 2, "batch_size": 2, "learning_rate": 0.03, "seed": 5}
    result = dn.train(network, (x, y), backend=Circuit(substrate, alpha), window=window, **options)
    twin = Twin(network, substrate, alpha, dn.State.zero(network, 2), window)
    for epoch in range(2):
        for rows in dn.training.batches(6, 2, epoch, seed=5):
            for _ in range(window):
                twin.step(x[rows], y[rows])
            twin.learn(0.03)
    assert worst(result.network.parameters, twin.weights | {f"{n}.bias": b for n, b in twin.biases.items()}) <= EXACT
    assert not twin.copies or worst({n: result.copies[n].backward for n in twin.copies}, twin.copies) <= EXACT


# --- exactness -----------------------------------------------------------------------------------------------------------


@given(NETWORKS, SEEDS, st.sampled_from([0.0, 1.0, 30.0]))
def test_with_delays_unit_steps_are_exact_in_the_predicted_number(network, seed, scale):
    x, y = networks.batch(network, seed, 2)
    substrate = Substrate(delays=random_delays(network, seed))
    initial = networks.state(network, seed, 2, scale)
    trace = dn.relax(network, x, y, initial=initial, backend=Reference(substrate))
    assert trace.steps == substrate.settling_steps(network, 1.0, 1e-8) >= network.relaxation_steps
    assert worst(trace.gradients, dn.backprop(network, x, y)) <= EXACT
    longer = dn.relax(network, x, y, initial=initial, backend=Reference(substrate), steps=trace.steps + 5)
    for name, rows in longer.sensitivities.items():  # the exact state is absorbing
        assert np.array_equal(rows[-1], trace.sensitivities[name][-1])


@given(CHAINS, SEEDS)
def test_with_delays_chains_are_still_wrong_one_step_before(network, seed):
    x, y = networks.batch(network, seed, 2)
    substrate = Substrate(delays=random_delays(network, seed))
    wanted, first = dn.backprop(network, x, y), network.order[1]
    assume(np.abs(wanted[f"{first}.bias"]).max() > 1e-9)
    trace = dn.relax(network, x, y, initial=networks.state(network, seed, 2), backend=Reference(substrate))
    assert relative_error(trace.gradients_at(trace.steps - 1), wanted)[f"{first}.bias"] > 1e-9


@FEW
@given(NETWORKS, SEEDS, st.booleans())
def test_a_mismatch_of_30_percent_leaves_the_steady_gradient_exact(network, seed, delayed):
    x, y = networks.batch(network, seed, 2)
    substrate = Substrate.mismatch(network, 0.3, seed, delays=random_delays(network, seed, 2.0) if delayed else {})
    backend, wanted = Circuit(substrate, 0.3), dn.backprop(network, x, y)
    trace = dn.relax(network, x, y, backend=backend, tolerance=1e-9, record="last")
    assert worst(trace.gradients, wanted) <= 1e-6
    longer = dn.relax(network, x, y, backend=backend, steps=2 * trace.steps, record="last")
    assert worst(longer.gradients, wanted) <= 1e-9


@FEW
@given(NETWORKS, SEEDS, st.sampled_from([0.4, 1.3]))
def test_delays_leave_the_steady_gradient_exact_at_any_step_size(network, seed, alpha):
    x, y = networks.batch(network, seed, 2)
    substrate = Substrate(delays=random_delays(network, seed))
    steps = 2 * substrate.settling_steps(network, alpha, 1e-8)
    trace = dn.relax(network, x, y, alpha=alpha, backend=Reference(substrate), steps=steps, record="last")
    assert worst(trace.gradients, dn.backprop(network, x, y)) <= 1e-9


# --- noise ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "ratio"), [(0.1, 1.0), (0.5, 2.0), (1.0, 1.0), (1.5, 1.2)])
def test_a_free_unit_has_the_stationary_variance_of_its_own_step(alpha, ratio):
    weights = [np.zeros((4000, 1)), np.zeros((1, 4000))]
    names = ["input", "hidden", "output"]
    free = dn.Network(
        [dn.Population(n, size) for n, size in zip(names, (1, 4000, 1), strict=True)],
        [dn.Projection(names[i], names[i + 1], w) for i, w in enumerate(weights)],
    )
    backend = Reference(Substrate({"hidden": ratio}, noise=(0.5, 0.2), seed=3))
    last = dn.relax(free, [[0.0]] * 3, [[0.0]] * 3, alpha=alpha, steps=150, record="last", backend=backend).final
    for values, deviation in ((last.potentials["hidden"], 0.5), (last.sensitivities["hidden"], 0.2)):
        wanted = 2 * deviation**2 / (2 - alpha / ratio)
        assert abs(values.var() / wanted - 1) < 5 * math.sqrt(2 / values.size)
        assert abs(values.mean()) < 5 * math.sqrt(wanted / values.size)


@FEWER
@given(st.one_of(chains(3), dags(3)), SEEDS)
def test_noise_on_sensitivities_leaves_the_gradient_unbiased(network, seed):
    """Sensitivities are linear in their noise; 500 samples that differ in it alone."""
    x, y = (np.repeat(rows, 500, axis=0) for rows in networks.batch(network, seed, 1))
    backend = Reference(Substrate(noise=(0.0, 0.1), seed=seed))
    last = dn.relax(network, x, y, alpha=0.5, steps=120, record="last", backend=backend).final
    wanted = dn.backprop(network, x[:1], y[:1])
    for name, s in last.sensitivities.items():
        assert np.all(np.abs(s.mean(axis=0) - wanted[f"{name}.bias"]) <= 6 * s.std(axis=0) / math.sqrt(500) + 1e-9)


@FEW
@given(chains(3, networks.SMOOTH), SEEDS, SEEDS)
def test_the_same_seed_gives_the_same_bits_and_another_one_others(network, seed, other):
    assume(seed != other)
    x, y = networks.batch(network, seed, 3)

    def noisy(number):
        return dn.relax(network, x, y, alpha=0.5, steps=9, backend=Reference(Substrate(noise=0.1, seed=number)))

    first, again, another = noisy(seed), noisy(seed), noisy(other)
    for name, rows in first.potentials.items():
        assert rows.tobytes() == again.potentials[name].tobytes()
        assert not np.any(rows[1:] == another.potentials[name][1:])
        assert not np.any(rows[1:, 0] == rows[1:, 1])  # samples have noise of their own


@FEW
@given(chains(3, networks.SMOOTH), SEEDS)
def test_errors_are_in_proportion_to_small_noise(network, seed):
    x, y = networks.batch(network, seed, 2)
    exact = dn.relax(network, x, y, alpha=0.5, steps=60).gradients
    errors = []
    for noise in (1e-6, 2e-6):
        found = dn.relax(network, x, y, alpha=0.5, steps=60, backend=Reference(Substrate(noise=noise, seed=seed))).gradients
        errors.append({key: found[key] - exact[key] for key in exact})
    for key in exact:
        size = np.abs(errors[1][key]).max()
        assert size > 0
        assert np.abs(errors[1][key] - 2 * errors[0][key]).max() <= 1e-3 * size + 1e-13


# --- learning ------------------------------------------------------------------------------------------------------------

OPTIONS = {"epochs": 2, "batch_size": 2, "learning_rate": 0.03, "seed": 3}


@FEWER
@given(NETWORKS, SEEDS, st.sampled_from(["free", "wavefront"]), st.integers(1, 5))
def test_windows_of_2d_are_the_default_and_longer_ones_learn_the_same(network, seed, schedule, more):
    x, y = networks.batch(network, seed, 6)
    options = OPTIONS | {"schedule": schedule}
    usual = dn.train(network, (x, y), **options).network.parameters
    assume(tame(usual))
    window = network.relaxation_steps
    same = dn.train(network, (x, y), window=window, **options).network.parameters
    assert all(same[key].tobytes() == values.tobytes() for key, values in usual.items())
    longer = window + more if schedule == "free" else window * (1 + more)
    assert worst(dn.train(network, (x, y), window=longer, **options).network.parameters, usual) <= EXACT


@FEWER
@given(st.one_of(chains(4, networks.SMOOTH), dags(3, networks.SMOOTH)), SEEDS, st.booleans())
def test_in_settled_windows_other_step_sizes_learn_what_sgd_learns(network, seed, mismatched):
    x, y = networks.batch(network, seed, 6)
    wanted = sgd(network, x, y, OPTIONS)
    assume(tame(wanted))
    substrate = Substrate.mismatch(network, 0.1, seed) if mismatched else None
    found = dn.train(network, (x, y), backend=Circuit(substrate, 0.3), **OPTIONS).network.parameters
    assert worst(found, wanted) <= 1e-3


@FEWER
@given(st.one_of(chains(4, networks.SMOOTH), dags(3, networks.SMOOTH)), SEEDS)
def test_with_delays_learning_is_sgd_in_windows_of_the_predicted_length(network, seed):
    x, y = networks.batch(network, seed, 6)
    substrate, wanted = Substrate(delays=random_delays(network, seed)), sgd(network, x, y, OPTIONS)
    assume(tame(wanted))
    assert worst(dn.train(network, (x, y), backend=Reference(substrate), **OPTIONS).network.parameters, wanted) <= EXACT
    window = substrate.settling_steps(network, 1.0, 1e-8, switched=True)
    found = dn.train(network, (x, y), backend=Reference(substrate), window=window, **OPTIONS)
    assert worst(found.network.parameters, wanted) <= EXACT
    for copies in found.copies.values():
        if copies.backward is not None:
            assert np.abs(copies.forward - copies.backward.T).max() <= EXACT


def test_in_windows_that_are_too_short_weights_change_too_early():
    network = dn.Network.dense([4, 5, 5, 3], activation="tanh", seed=0)
    x, y = networks.batch(network, 1, 6)
    wanted = sgd(network, x, y, OPTIONS)
    errors = [worst(dn.train(network, (x, y), window=n, **OPTIONS).network.parameters, wanted) for n in range(1, 7)]
    assert errors[5] <= EXACT
    assert min(errors[:5]) > 1e-4


def test_a_network_with_a_cycle_learns_in_windows_that_are_given():
    names = ["input", "a", "b", "output"]
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    rng = np.random.default_rng(0)
    network = dn.Network(
        [dn.Population(n, 3, "tanh" if n in "ab" else "identity", None if n == "input" else 0.1) for n in names],
        [dn.Projection(a, b, 0.3 * rng.normal(size=(3, 3))) for a, b in edges],
    )
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    result = dn.train(network, (x, y), window=80, epochs=60, batch_size=4, learning_rate=0.2)
    assert result.history[-1].loss < 0.5 * result.history[0].loss
