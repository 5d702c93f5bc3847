"""The plain circuit: Nengo's own objects, in Nengo's own simulator, embedded and probed as anybody would."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.dynamics import State, gradients, rates
from dyadic_neuro.errors import CycleError, MissingExtraError, NetworkError, OptionError
from dyadic_neuro.oracle import descend
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

nengo = pytest.importorskip("nengo", reason="needs pip install 'dyadic-neuro[nengo]'")
from dyadic_neuro.backends.nengo import circuit  # noqa: E402

EXACT = 1e-12
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example builds a model: shrinking one would take a minute
SOME, FEW = settings(max_examples=20, phases=PHASES), settings(max_examples=8, phases=PHASES)
NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))


def simulator(model, dt=1.0, **options):
    return nengo.Simulator(model, dt, progress_bar=False, **{"optimize": False, **options})


def embedded(network, inputs, targets, **options):
    """Return a model with the circuit in it, the circuit, and probes of all states. Data are arrays, or functions of time."""
    with nengo.Network(seed=1) as model:
        net = circuit(network, **options)
        nengo.Connection(nengo.Node(inputs), net.input, synapse=None)
        nengo.Connection(nengo.Node(targets), net.target, synapse=None)
        probes = {
            (name, half): nengo.Probe(getattr(part, half))
            for name, part in net.populations.items()
            for half in ("potential", "sensitivity")
        }
    return model, net, probes


def states(sim, probes):
    """Return the probed states: sample k is the state after k hops, k from 0."""
    halves = ({n: sim.data[p][:, None] for (n, h), p in probes.items() if h == half} for half in ("potential", "sensitivity"))
    return State(*halves)


def differ(found, network, x, y, alpha, steps):
    """Return how far the states are from the unit step's, at any step."""
    worst, state = 0.0, State.zero(network, 1)
    for k in range(steps):
        for name in state.potentials:
            worst = max(worst, np.abs(found.potentials[name][k] - state.potentials[name]).max())
            worst = max(worst, np.abs(found.sensitivities[name][k] - state.sensitivities[name]).max())
        state = dn.dynamics.step(network, state, x, y, alpha)
    return worst


@SOME
@given(NETWORKS, SEEDS, st.booleans())
def test_one_hop_takes_one_nengo_step_and_every_state_is_the_unit_step_s(network, seed, optimize):
    x, y = networks.batch(network, seed, 1)
    model, _, probes = embedded(network, x[0], y[0])
    with simulator(model, optimize=optimize) as sim:
        sim.run_steps(network.relaxation_steps + 2)
        found = states(sim, probes)
    assert differ(found, network, x, y, 1.0, network.relaxation_steps + 2) <= EXACT
    last = State(*({n: z[-1] for n, z in half.items()} for half in (found.potentials, found.sensitivities)))
    exact = gradients(network, last.sensitivities, rates(network, last, x))
    assert all(np.abs(exact[key] - right).max() <= EXACT for key, right in dn.backprop(network, x, y).items())


@FEW
@given(NETWORKS, SEEDS, st.floats(0.5, 20.0))
def test_a_lowpass_takes_steps_of_its_own_alpha(network, seed, ratio):
    x, y = networks.batch(network, seed, 1)
    model, _, probes = embedded(network, x[0], y[0], tau=0.01 * ratio)
    with simulator(model, 0.01) as sim:
        sim.run_steps(15)
        assert differ(states(sim, probes), network, x, y, 1 - np.exp(-1 / ratio), 15) <= EXACT


def test_it_lives_in_a_model_beside_others_and_follows_what_is_connected(rng):
    """Two circuits in turn: what the first one's readout shows is the second one's input, and neither knows of it."""
    first = dn.Network.dense([3, 5, 2], "tanh", seed=1)
    second = dn.Network.dense([2, 4, 4, 1], "softplus", seed=2)
    x = rng.normal(size=3)
    with nengo.Network(seed=1) as model:
        nets = circuit(first), circuit(second)
        nengo.Connection(nengo.Node(lambda t: x * np.sin(t)), nets[0].input, synapse=None)
        nengo.Connection(nets[0].populations["output"].potential, nets[1].input, synapse=None)
        probes = nengo.Probe(nets[0].populations["output"].potential), nengo.Probe(nets[1].populations["output"].potential)
    with simulator(model) as sim:
        sim.run_steps(20)
        u, v = (sim.data[probe] for probe in probes)
    for k in range(first.depth, 20):
        assert np.abs(u[k] - dn.predict(first, x[None] * np.sin(k + 1 - first.depth))[0]).max() <= EXACT
        if k >= first.depth + second.depth:
            assert np.abs(v[k] - dn.predict(second, u[None, k - second.depth])[0]).max() <= EXACT


@FEW
@given(st.one_of(chains(3), dags(3, parts=True)), SEEDS, st.integers(1, 3))
def test_it_learns_inside_a_model_of_the_user_s(worst, network, seed, batch):
    x, y = networks.batch(network, seed, 6)
    window, rate = network.relaxation_steps, 0.03

    def shown(rows):
        return lambda t: rows[min((round(t) - 1) // window, 5)]

    model, net, _ = embedded(network, shown(x), shown(y), learning_rate=rate, batch=batch)
    wanted = descend(network, x, y, np.arange(6).reshape(-1, batch), rate).parameters
    with simulator(model) as sim:
        for _ in range(2):  # a reset forgets what was learned
            sim.run_steps(6 * window + 1)
            found = {name: node.output.weights for name, node in (net.weights | net.biases).items()}
            learned = {key: wanted[key] for key in network.plastic}
            assert worst({key if "->" in key else f"{key}.bias": w for key, w in found.items()}, learned) <= EXACT
            for name, node in net.feedback.items():
                assert np.abs(node.output.weights - net.weights[name].output.weights.T).max() <= EXACT
            sim.reset()


def kinds(net):
    """Return the modules that the circuit's synapses, neurons and processes are of."""
    objects = chain(
        (c.synapse for c in net.all_connections),
        (e.neuron_type for e in net.all_ensembles),
        (n.output for n in net.all_nodes if isinstance(n.output, nengo.Process)),
    )
    return {type(thing).__module__.partition(".")[0] for thing in objects if thing is not None}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_nothing_but_nengo_s_own_kinds_where_it_has_the_functions(activation):
    assert kinds(circuit(dn.Network.dense([3, 4, 5, 2], activation))) == {"nengo"}


def test_every_population_is_objects_of_its_own():
    network = networks.dag(3, 4)
    net = circuit(network)
    assert set(net.populations) == {p.name for p in network.dynamic}
    for name, part in net.populations.items():
        sends, reads = bool(network.outgoing[name]), name == network.output
        assert len(part.ensembles) == sends
        assert len(part.nodes) == 3 + sends + reads
        assert {node.size_in for node in (part.drive, part.potential, part.sensitivity)} == {network.population(name).size}
    biases = sum(p.bias is not None for p in network.dynamic)
    assert len(net.nodes) == 2 + biases  # and the data
    backward = sum(p.source != network.input for p in network.projections)
    assert len(net.connections) == len(network.projections) + backward + biases


def test_between_populations_go_the_messages_of_the_ledger_and_no_others():
    network = networks.dag(3, 4)
    net = circuit(network)
    owner = {id(thing): name for name, part in net.populations.items() for thing in (*part.nodes, *part.all_ensembles)}
    owner[id(net.input)] = "input"
    passed = {}
    for connection in net.connections:
        source = getattr(connection.pre_obj, "ensemble", connection.pre_obj)
        if id(source) in owner:  # not a bias
            pair = owner[id(source)], owner[id(connection.post_obj)]
            passed[pair] = passed.get(pair, 0) + connection.size_in
    x, y = networks.batch(network, 0, 1)
    ledger = dn.relax(network, x, y).messages
    assert passed == {(e.source, e.target): e.messages for e in ledger if e.step == 1 and not e.local}


def test_neurons_that_show_other_functions_are_not_merged(rng):
    """Nengo's optimiser puts neurons of equal types together."""
    one = (lambda u: 2 * u, lambda u: np.full_like(u, 2.0))
    other = (lambda u: -u, lambda u: np.full_like(u, -1.0))
    weights = rng.normal(size=(3, 3))
    populations = [
        dn.Population("input", 3),
        dn.Population("a", 3, one),
        dn.Population("b", 3, other),
        dn.Population("output", 3),
    ]
    pairs = [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")]
    network = dn.Network(populations, [dn.Projection(s, t, weights) for s, t in pairs])
    x, y = networks.batch(network, 0, 1)
    model, _, probes = embedded(network, x[0], y[0])
    with simulator(model, optimize=True) as sim:
        sim.run_steps(8)
        assert differ(states(sim, probes), network, x, y, 1.0, 8) <= EXACT


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tau": 0.0}, "tau"),
        ({"tau": "fast"}, "tau"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": 0.1, "weight_decay": -1.0}, "weight_decay"),
        ({"learning_rate": 0.1, "weight_decay": 10.0}, "weight_decay"),
        ({"weight_decay": 0.1}, "learning_rate"),
        ({"learning_rate": 0.1, "window": 0}, "window"),
        ({"learning_rate": 0.1, "batch": True}, "batch"),
        ({"learning_rate": 0.1, "tau": 0.1}, "window"),
        ({"window": 4}, "learning_rate"),
        ({"batch": 2}, "learning_rate"),
    ],
)
def test_what_makes_no_sense_is_refused(options, field):
    with pytest.raises(OptionError) as caught:
        circuit(dn.Network.dense([2, 3, 1]), **options)
    assert caught.value.field == field


def test_what_is_no_network_or_has_no_window_is_refused():
    with pytest.raises(OptionError, match="is not a Network"):
        circuit([2, 3, 1])
    with pytest.raises(NetworkError, match="is a specification"):
        circuit(dn.Network.specification([2, 3, 1]))
    loop = [("input", "a"), ("a", "a"), ("a", "output")]
    sizes = [dn.Population("input", 1), dn.Population("a", 1), dn.Population("output", 1)]
    with pytest.raises(CycleError):
        circuit(dn.Network(sizes, [dn.Projection(s, t, np.ones((1, 1))) for s, t in loop]), learning_rate=0.1)


def test_without_nengo_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("dyadic_neuro.backends.nengo.model.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dyadic-neuro\[nengo\]'"):
        circuit(dn.Network.dense([2, 3, 1]))
