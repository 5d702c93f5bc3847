"""What the processes compute: the unit step at every step, exact gradients at 2D, plain SGD, and nothing from outside."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import messages
from dyadic_neuro.backends import Lava, Reference
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import networks
from dyadic_neuro.trace import relative_error

EXACT = 1e-12
NETWORKS = {
    "chain of 1": networks.chain(1, 1, loss="cross_entropy"),
    "chain of 2": networks.chain(2, 2, loss="binary_cross_entropy"),
    "chain of 3": networks.chain(3, 3),
    "chain of 5": networks.chain(4, 5, loss="cross_entropy"),
    "chain of 7": networks.chain(5, 7, activation="tanh"),
    "dag of 1": networks.dag(6, 1),
    "dag of 2": networks.dag(7, 2, loss="cross_entropy"),
    "dag of 3": networks.dag(8, 3, loss="binary_cross_entropy"),
    "dag of 4": networks.dag(9, 4, activation="sin"),
    "dag of 6": networks.dag(10, 6, loss="cross_entropy"),
}


def assert_equal_traces(found, wanted, tolerance):
    for which in ("potentials", "sensitivities", "gradients"):
        one, other = getattr(found, which), getattr(wanted, which)
        assert set(one) == set(other)
        for name, right in other.items():
            assert one[name].shape == right.shape
            assert one[name].dtype == right.dtype
            assert np.abs(one[name] - right).max() <= tolerance * max(1.0, float(np.abs(right).max())), (which, name)


def assert_equal_ledgers(found, wanted):
    assert list(found) == list(wanted)
    assert found.links == wanted.links
    assert np.array_equal(found.counts, wanted.counts)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_step_every_message_and_the_gradients(name):
    """Chains and networks with skips, batches of 1 and 32, free and wavefront, alpha = 1 and 0.5, from any state."""
    network = NETWORKS[name]
    exact = network.relaxation_steps
    with Lava().open(network) as session:
        for size, schedule, alpha, steps in (
            (1, "free", 1.0, exact + 3),
            (32, "free", 1.0, exact),
            (32, "wavefront", 1.0, exact),
            (32, "free", 0.5, exact + 3),
        ):
            x, y = networks.batch(network, size, size)
            order = prepare(
                network, x, y, schedule=schedule, alpha=alpha, steps=steps, initial=networks.state(network, size, size, scale=3.0)
            )
            trace = session.relax(order)
            assert trace.backend == "lava"
            assert_equal_traces(trace, Reference().open(network).relax(order), EXACT)
            timing = Schedule.of(network, schedule)
            assert_equal_ledgers(
                trace.messages, messages.expected(network, timing, steps, size, by_step=True, window=steps, learning=False)
            )
            if alpha == 1.0:
                wanted = dn.backprop(network, x, y)
                largest = max(1.0, *(float(np.abs(gradient).max()) for gradient in wanted.values()))
                assert set(trace.gradients) == set(wanted)
                assert max(float(np.abs(trace.gradients[key] - right).max()) for key, right in wanted.items()) <= EXACT * largest


@pytest.mark.parametrize(
    "network", [networks.chain(11, 4, activation="tanh"), networks.dag(12, 5, activation="sin")], ids=["chain", "dag"]
)
def test_gradients_are_not_exact_at_2d_minus_1(network):
    """The populations farthest from the readout have not heard yet; all the others have."""
    x, y = networks.batch(network, 4, 8)
    steps = network.relaxation_steps - 1
    trace = dn.relax(network, x, y, steps=steps, initial=networks.state(network, 4, 8), backend=Lava())
    error = relative_error(trace.gradients, dn.backprop(network, x, y))
    for name, height in network.heights.items():
        if name != network.input:
            late = height == network.depth - 1
            assert error[f"{name}.bias"] > 1e-3 if late else error[f"{name}.bias"] <= EXACT


def test_single_precision():
    """float32 keeps 7 digits, and sums of a dozen terms over some dozen steps may lose one or two of them."""
    network = networks.dag(14, 4, activation="tanh", loss="cross_entropy", dtype="float32")
    with Lava().open(network) as session:
        for size in (1, 32):
            order = prepare(network, *networks.batch(network, 5, size), initial=networks.state(network, 5, size))
            trace = session.relax(order)
            assert_equal_traces(trace, Reference().open(network).relax(order), 1e-5)
            arrays = [*trace.potentials.values(), *trace.sensitivities.values(), *trace.gradients.values()]
            assert {array.dtype for array in arrays} == {np.dtype("float32")}


def test_only_the_last_step():
    network = NETWORKS["dag of 4"]
    x, y = networks.batch(network, 6, 5)
    with Lava().open(network) as session:
        for schedule, alpha in (("wavefront", 1.0), ("free", 0.5)):
            every, last = (
                session.relax(prepare(network, x, y, schedule=schedule, alpha=alpha, record=record)) for record in ("all", "last")
            )
            for name in every.potentials:
                assert last.potentials[name].shape == (1, *every.potentials[name].shape[1:])
                assert np.array_equal(last.potentials[name][0], every.potentials[name][-1])
                assert np.array_equal(last.sensitivities[name][0], every.sensitivities[name][-1])
            assert all(np.array_equal(last.gradients[key], every.gradients[key]) for key in network.plastic)
            assert not last.messages.by_step
            assert np.array_equal(last.messages.counts, every.messages.counts.sum(axis=0, keepdims=True))
            assert last.loss == every.loss


def test_a_run_goes_on_from_where_another_one_stopped():
    """One step at a time, from final state to final state; the same bits each time."""
    network = NETWORKS["chain of 3"]
    x, y = networks.batch(network, 7, 4)
    with Lava().open(network) as session:
        whole = session.relax(prepare(network, x, y))
        state = None
        for t in range(1, whole.steps + 1):
            state = session.relax(prepare(network, x, y, steps=1, initial=state)).final
            for name in whole.potentials:
                assert np.array_equal(state.potentials[name], whole.potentials[name][t])
                assert np.array_equal(state.sensitivities[name], whole.sensitivities[name][t])


def test_networks_with_cycles_other_names_fixed_weights_and_no_biases():
    """Names that the backend uses for itself, a loop, a projection to itself, and one from the readout back."""
    rng = np.random.default_rng(8)
    populations = [
        dn.Population("retina", 3),
        dn.Population("loss", 4, "tanh", rng.normal(size=4)),
        dn.Population("recorder", 300, "sigmoid"),
        dn.Population("end", 2),
    ]
    size = {population.name: population.size for population in populations}
    pairs = [
        ("recorder", "end"),
        ("retina", "loss"),
        ("loss", "recorder"),
        ("recorder", "loss"),
        ("loss", "loss"),
        ("end", "recorder"),
        ("retina", "end"),
    ]
    projections = [
        dn.Projection(
            a, b, rng.normal(0.0, 0.3, (size[b], size[a])), plastic=(a, b) not in {("loss", "recorder"), ("retina", "loss")}
        )
        for a, b in pairs
    ]
    network = dn.Network(populations, projections, input="retina", output="end")
    x, y = networks.batch(network, 8, 32)
    order = prepare(network, x, y, steps=7, initial=networks.state(network, 8, 32))
    with Lava().open(network) as session:
        trace = session.relax(order)
    assert_equal_traces(trace, Reference().open(network).relax(order), EXACT)
    expected = messages.expected(network, Schedule.of(network, "free"), 7, 32, by_step=True, window=7, learning=False)
    assert_equal_ledgers(trace.messages, expected)
    assert "loss->recorder" not in trace.gradients


def test_functions_of_the_users_own():
    """A lambda, a closure, a partial and a method, each crossing over to its process."""
    factor = 1.5

    class Shape:
        def __init__(self, k):
            self.k = k

        def phi(self, u):
            return np.tanh(self.k * u)

        def slope(self, u):
            return self.k * (1.0 - np.tanh(self.k * u) ** 2)

    def power(u, p):
        return np.sin(p * u)

    def power_slope(u, p):
        return p * np.cos(p * u)

    def huber(u, y):
        return (np.sqrt(1.0 + factor * (u - y) ** 2) - 1.0).sum(axis=1)

    pairs = [
        (lambda u: factor * np.tanh(u), lambda u: factor * (1.0 - np.tanh(u) ** 2)),
        (partial(power, p=0.7), partial(power_slope, p=0.7)),
        (Shape(0.8).phi, Shape(0.8).slope),
    ]
    rng = np.random.default_rng(9)
    populations = [
        dn.Population("input", 4),
        *(dn.Population(f"hidden{i}", 4, pair, 0.1) for i, pair in enumerate(pairs)),
        dn.Population("output", 4),
    ]
    projections = [dn.Projection(a.name, b.name, rng.normal(0.0, 0.6, (4, 4))) for a, b in pairwise(populations)]
    network = dn.Network(populations, projections, (huber, lambda u, y: factor * (u - y) / np.sqrt(1.0 + factor * (u - y) ** 2)))
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    trace = dn.relax(network, x, y, backend=Lava())
    assert max(relative_error(trace.gradients, dn.backprop(network, x, y)).values()) <= EXACT
    learned = dn.train(network, (x, y), batch_size=5, learning_rate=0.3, backend=Lava()).network
    for key, gradient in dn.backprop(network, x, y).items():
        assert np.abs(learned.parameters[key] - (network.parameters[key] - 0.3 * gradient)).max() <= EXACT


# Learning


def partly_fixed(network):
    """The network with one fixed projection out of three and every other population without a bias."""
    populations = [
        dn.Population(p.name, p.size, p.activation, p.bias if i % 2 else None) for i, p in enumerate(network.populations)
    ]
    projections = [dn.Projection(p.source, p.target, p.weights, plastic=i % 3 != 1) for i, p in enumerate(network.projections)]
    return dn.Network(populations, projections, network.loss)


LEARNERS = {
    "chain": networks.chain(15, 3, activation="tanh", loss="cross_entropy"),
    "single layer": networks.chain(16, 1, loss="cross_entropy"),
    "dag": networks.dag(17, 4, activation="sin", loss="cross_entropy"),
    "partly fixed dag": partly_fixed(networks.dag(18, 4, activation="tanh", loss="cross_entropy")),
}


def learning(network, x, y, order, rate, schedule="free", backward=None, alpha=1.0, window=None):
    timing, copies = Schedule.of(network, schedule), feedback_copies(network, backward)
    return Learning(x, y, order, rate, timing, copies, alpha, network.relaxation_steps if window is None else window)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("chain", "free"), ("chain", "wavefront"), ("single layer", "free"), ("dag", "wavefront"), ("partly fixed dag", "free")],
)
def test_learning_is_plain_sgd(name, schedule):
    """Two epochs in a drawn order, against SGD that is written out here on the oracle's gradients.

    At a rate of 0.3 the dag is chaotic: a bias that is off by 1e-15 ends up off by 5. At 0.1 it is off by 2e-15.
    """
    network, rate = LEARNERS[name], 0.1
    x, y = networks.batch(network, 10, 32)
    with Lava().open(network) as session:
        for size in (1, 16):
            order = np.stack([np.random.default_rng([epoch, size]).permutation(32) for epoch in range(2)]).reshape(2, -1, size)
            weights = {key: value.copy() for key, value in network.parameters.items()}
            seen = []
            for windows, epoch in zip(
                order, session.learn(learning(network, x, y, order, rate, schedule), seen.append), strict=True
            ):
                losses, correct = [], 0
                for rows in windows:
                    net = network.with_parameters(weights)
                    losses.append(dn.mean_loss(net, x[rows], y[rows]))
                    correct += int((dn.predict(net, x[rows]).argmax(axis=1) == y[rows].argmax(axis=1)).sum())
                    for key, gradient in dn.backprop(net, x[rows], y[rows]).items():
                        weights[key] -= rate * gradient
                assert set(epoch.parameters) == set(weights)
                for key, right in weights.items():
                    assert np.abs(epoch.parameters[key] - right).max() <= 1e-10
                    if key not in network.plastic:
                        assert np.array_equal(epoch.parameters[key], network.parameters[key])
                assert np.abs(epoch.losses - losses).max() <= 1e-10
                assert epoch.correct == correct
                assert seen[-len(windows) :] == list(epoch.losses)
                assert set(epoch.feedback) == {p.name for p in network.projections if p.source != "input"}
                for key, copy in epoch.feedback.items():
                    difference = np.abs(epoch.parameters[key] - copy.T).max()
                    assert difference == 0.0 if size == 1 else difference <= 1e-12
                steps, window = network.relaxation_steps * len(windows), network.relaxation_steps
                expected = messages.expected(
                    network, Schedule.of(network, schedule), steps, size, by_step=False, window=window, learning=True
                )
                assert_equal_ledgers(epoch.messages, expected)
            assert len(seen) == 2 * len(order[0])


@pytest.mark.parametrize(("schedule", "alpha", "window"), [("free", 0.5, 5), ("wavefront", 1.0, 12)])
def test_learning_in_any_window_and_at_any_step_size(schedule, alpha, window):
    network = LEARNERS["chain"]
    assert network.relaxation_steps == 6
    x, y = networks.batch(network, 10, 8)
    order = learning(network, x, y, np.arange(8).reshape(1, 4, 2), 0.1, schedule, alpha=alpha, window=window)
    with Lava().open(network) as session, Reference().open(network) as other:
        (found,), (wanted,) = session.learn(order, print), other.learn(order, print)
    for key, right in wanted.parameters.items():
        assert np.abs(found.parameters[key] - right).max() <= 1e-12
    assert np.abs(found.losses - wanted.losses).max() <= 1e-12
    assert_equal_ledgers(found.messages, wanted.messages)


def test_train_returns_what_the_processes_held():
    network = LEARNERS["dag"]
    x, y = networks.batch(network, 11, 40)
    result = dn.train(network, (x, y), backend=Lava(), epochs=2, batch_size=8, learning_rate=0.2, seed=5)
    again = dn.train(network, (x, y), backend=Lava(), epochs=2, batch_size=8, learning_rate=0.2, seed=5)
    other = dn.train(network, (x, y), backend=Reference(), epochs=2, batch_size=8, learning_rate=0.2, seed=5)
    for p in network.projections:
        copies = result.copies[p.name]
        assert np.array_equal(copies.forward, result.network.parameters[p.name])
        assert (copies.backward is None) == (p.source == "input")
        if copies.backward is not None:
            assert not np.shares_memory(copies.forward, copies.backward)
            assert np.abs(copies.forward - copies.backward.T).max() <= 1e-12
    for key, value in result.network.parameters.items():
        assert np.array_equal(value, again.network.parameters[key])
        assert np.abs(value - other.network.parameters[key]).max() <= 1e-12
    assert [line.messages for line in result.history] == [line.messages for line in other.history]


# Proof that each process uses what it holds: one W^T copy is poisoned


def upstream(network, start):
    """The populations from which `start` can be reached, with the fewest hops it takes; the input has no sensitivity."""
    hops, frontier = {start: 0}, [start]
    for name in frontier:
        for p in network.incoming[name]:
            if p.source != network.input and p.source not in hops:
                hops[p.source] = hops[name] + 1
                frontier.append(p.source)
    return hops


def poisonings():
    fork = dn.Network(
        [
            dn.Population("input", 3),
            *(dn.Population(name, 3, "tanh", 0.1) for name in "abcd"),
            dn.Population("output", 3, bias=0.0),
        ],
        [
            dn.Projection(*pair.split("->"), np.random.default_rng([20, i]).normal(size=(3, 3)))
            for i, pair in enumerate(["input->a", "a->b", "a->c", "b->d", "c->d", "d->output", "b->output", "input->d"])
        ],
    )
    cases = [(fork, "b->d"), (fork, "a->c")]
    for seed in (21, 22):
        dag = networks.dag(seed, 5, activation="sin")
        names = [p.name for p in dag.projections if p.source != "input"]
        cases.append((dag, names[seed % len(names)]))
    return cases


@pytest.mark.parametrize(("network", "name"), poisonings(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_poisoned_copy_changes_what_depends_on_it_and_nothing_else(network, name):
    """Everything else bit for bit, and not before the step in which the poison can have arrived."""
    source = name.split("->")[0]
    hops = upstream(network, source)
    x, y = networks.batch(network, 12, 4)
    poison = np.random.default_rng(12).normal(size=network.projection(name).weights.T.shape)
    with Lava().open(network) as session:
        for schedule in ("free", "wavefront"):
            clean, spoilt = (
                session.relax(prepare(network, x, y, schedule=schedule, initial=networks.state(network, 12, 4), backward=copies))
                for copies in (None, {name: poison})
            )
            for population in clean.potentials:
                assert np.array_equal(clean.potentials[population], spoilt.potentials[population])
                differs = (clean.sensitivities[population] != spoilt.sensitivities[population]).any(axis=(1, 2))
                if population in hops:
                    due = 1 + hops[population] if schedule == "free" else network.depth + 1 + network.heights[population]
                    assert not differs[:due].any()
                    assert differs[due:].all()
                else:
                    assert not differs.any()
            for key in network.plastic:
                owner = key.removesuffix(".bias").split("->")[-1]
                assert np.array_equal(clean.gradients[key], spoilt.gradients[key]) == (owner not in hops)

        window = np.arange(4).reshape(1, 1, 4)  # one is enough, and as far as the prediction goes: then all potentials change
        (clean,), (spoilt,) = (
            session.learn(learning(network, x, y, window, 0.1, "free", copies), lambda _: None)
            for copies in (None, {name: poison})
        )
        for key in network.parameters:
            owner = key.removesuffix(".bias").split("->")[-1]
            assert np.array_equal(clean.parameters[key], spoilt.parameters[key]) == (owner not in hops)
        for key in clean.feedback:
            owner = key.split("->")[-1]
            assert np.array_equal(clean.feedback[key], spoilt.feedback[key]) == (owner not in hops and key != name)
        learned = clean.feedback[name] - network.projection(name).weights.T  # the poisoned copy learns the same on top
        assert np.abs(spoilt.feedback[name] - poison - learned).max() <= EXACT


def test_other_copies_learn_like_the_references():
    """Feedback alignment: with all W^T copies random, many windows long, every weight spreads the difference."""
    network = LEARNERS["dag"]
    x, y = networks.batch(network, 13, 24)
    rng = np.random.default_rng(13)
    copies = {p.name: rng.normal(size=p.weights.T.shape) for p in network.projections if p.source != "input"}
    found, wanted = (
        dn.train(network, (x, y), batch_size=4, epochs=2, learning_rate=0.2, backward=copies, backend=backend)
        for backend in (Lava(), Reference())
    )
    for key, value in wanted.network.parameters.items():
        assert np.abs(found.network.parameters[key] - value).max() <= 1e-10
    for key, pair in wanted.copies.items():
        if pair.backward is not None:
            assert np.abs(found.copies[key].backward - pair.backward).max() <= 1e-10


# How Lava is told which models there are

QUIET = ("-W", "error", "-W", "ignore::ImportWarning")
"""networkx remarks that it can do without pandas."""


def test_every_process_has_its_model_and_lava_needs_no_search(play):
    """In a scene, because importing Lava changes the interpreter that does it."""
    play(
        """
        from importlib import import_module
        from pkgutil import walk_packages
        from lava.magma.core.model.model import AbstractProcessModel
        from lava.magma.core.model.py.model import PyLoihiProcessModel
        from lava.magma.core.process.ports.ports import InPort, OutPort
        from lava.magma.core.process.process import AbstractProcess
        from lava.proc.dense.process import Dense
        from dyadic_neuro import processes as package
        from dyadic_neuro.backends.lava_plans import population_plan
        from dyadic_neuro.processes.assembly import assemble
        from dyadic_neuro.processes.local import LocalModel, LocalProcess
        from dyadic_neuro.processes.registry import MODELS
        from dyadic_neuro.processes.run_config import COMPILE_CONFIG, run_config
        from dyadic_neuro.processes.slices import Clock
        from dyadic_neuro.testing import networks

        modules = [import_module(found.name) for found in walk_packages(package.__path__, "dyadic_neuro.processes.")]
        things = [thing for module in modules for thing in vars(module).values()]
        processes = {thing for thing in things if AbstractProcess in getattr(thing, "__mro__", ())}
        models = {thing for thing in things if AbstractProcessModel in getattr(thing, "__mro__", ())}
        assert set(MODELS) == processes - {AbstractProcess, LocalProcess}, processes
        assert set(MODELS.values()) == models - {AbstractProcessModel, PyLoihiProcessModel, LocalModel}, models
        assert all(model.implements_process is process for process, model in MODELS.items())

        network = networks.dag(3, 3)
        o = prepare(network, *networks.batch(network, 1, 2))
        clock = Clock(o.steps, o.steps, True, final_state=True)
        data = (o.initial, o.feedback, o.inputs, o.targets, np.arange(2)[None])
        plan = population_plan(network, clock, o.schedule, 1.0, *data, None)
        config, (_, nobody) = run_config(), os.pipe()
        circuit = list(assemble(plan, nobody, nobody).compile(config, COMPILE_CONFIG).proc_builders)
        registry = config.exception_proc_model_map
        assert registry, "Lava takes an empty one for none"
        assert Dense(weights=np.eye(2)) not in registry
        assert len(circuit) == 2 * 4 + 3
        for process in circuit:
            assert process in registry
            assert issubclass(registry[process], MODELS[type(process)])
            ports = {name for name, value in vars(process).items() if isinstance(value, (InPort, OutPort))}
            assert ports and ports <= set(vars(registry[process]))
        bare = {Path(module.__file__).stem for module in modules} & set(sys.modules)
        assert not bare, f"executed under their bare names: {bare}"
    """,
        flags=QUIET,
    )
