"""The backend: every state at every step is the reference's, from any state, at any step size, under either schedule."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import Reference
from dyadic_neuro.backends.nengo import Nengo, circuit, on_lowpass
from dyadic_neuro.backends.nengo.model import assembled
from dyadic_neuro.errors import OptionError, SimulatorError, UnknownNameError
from dyadic_neuro.testing import conformance, networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

nengo = pytest.importorskip("nengo", reason="needs pip install 'dyadic-neuro[nengo]'")

EXACT = 1e-12
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example builds a model: shrinking one would take a minute
SOME, FEW = settings(max_examples=20, phases=PHASES), settings(max_examples=8, phases=PHASES)
NETWORKS = st.one_of(chains(4), dags(3), dags(3, parts=True))
ALPHAS = st.one_of(st.just(1.0), st.floats(0.05, 1.9))
STEPS = 9


def of_alpha(alpha):
    judge = Reference()
    judge.alpha = alpha
    return judge


@SOME
@given(NETWORKS, SEEDS, st.integers(1, 3), ALPHAS, st.booleans())
def test_states_are_those_of_the_reference(apart, worst, network, seed, size, alpha, asymmetric):
    x, y = networks.batch(network, seed, size)
    options = {"alpha": alpha, "steps": STEPS, "initial": networks.state(network, seed, size, scale=10.0)}
    if asymmetric:
        rng = np.random.default_rng(seed)
        copies = [p for p in network.projections if p.source != network.input]
        options["backward"] = {p.name: rng.normal(size=p.weights.T.shape) for p in copies}
    found = dn.relax(network, x, y, backend=Nengo(), **options)
    assert apart(found, dn.relax(network, x, y, **options)) <= EXACT
    assert worst(found.gradients_at(STEPS), found.gradients) <= EXACT


@FEW
@given(NETWORKS, SEEDS)
def test_a_wavefront_is_the_reference_s(apart, network, seed):
    x, y = networks.batch(network, seed, 2)
    options = {"schedule": "wavefront", "steps": network.relaxation_steps + 3, "initial": networks.state(network, seed, 2)}
    found = dn.relax(network, x, y, backend=Nengo(), **options)
    assert apart(found, dn.relax(network, x, y, **options)) <= EXACT


@FEW
@given(NETWORKS, SEEDS, st.floats(0.2, 10.0))
def test_a_lowpass_is_the_reference_with_its_alpha(apart, network, seed, ratio):
    backend = Nengo("lowpass", tau=ratio * 0.002, dt=0.002)
    assert backend.alpha == pytest.approx(1 - np.exp(-1 / ratio), rel=EXACT)
    x, y = networks.batch(network, seed, 2)
    options = {"steps": STEPS, "initial": networks.state(network, seed, 2)}
    found = dn.relax(network, x, y, backend=backend, **options)
    assert apart(found, dn.relax(network, x, y, backend=of_alpha(backend.alpha), **options)) <= EXACT


def test_every_hop_of_a_lowpass_is_nengo_s_and_the_states_are_those_of_the_plain_circuit(monkeypatch):
    """Bit for bit, from rest; both when it relaxes and when it learns."""
    network = networks.dag(3, 4, activation="tanh")
    x, y = networks.batch(network, 1, 1)
    models, made = [], nengo.Simulator
    monkeypatch.setattr(nengo, "Simulator", lambda network, *rest, **more: models.append(network) or made(network, *rest, **more))
    backend = Nengo("lowpass", tau=0.05, dt=0.01)
    found = dn.relax(network, x, y, backend=backend, steps=STEPS)
    dn.train(network, (x, y), backend=backend, batch_size=1, learning_rate=0.1)
    for model in models:
        hops = [c.synapse for c in model.all_connections if c.synapse is not None]
        assert len(hops) == 2 * len(network.dynamic)
        assert all(isinstance(hop, nengo.Lowpass) and hop.tau == 0.05 for hop in hops)
    with nengo.Network(seed=1) as model:
        net = circuit(network, tau=0.05)
        for rows, node in ((x, net.input), (y, net.target)):
            nengo.Connection(nengo.Node(rows[0]), node, synapse=None)
        probes = {name: (nengo.Probe(part.potential), nengo.Probe(part.sensitivity)) for name, part in net.populations.items()}
    with made(model, 0.01, progress_bar=False, optimize=False) as sim:
        sim.run_steps(STEPS + 1)
        for name, both in probes.items():
            for probe, states in zip(both, (found.potentials, found.sensitivities), strict=True):
                assert np.abs(sim.data[probe] - states[name][:, 0]).max() <= 1e-15


def test_the_time_of_a_lowpass_is_counted_in_its_steps_and_not_in_alpha():
    pytest.importorskip("xarray", reason="needs pip install 'dyadic-neuro[interchange]'")
    network = networks.chain(1, 2)
    data = networks.batch(network, 1, 1)
    found = dn.relax(network, *data, backend=Nengo("lowpass", tau=0.1, dt=0.01), steps=100).to_xarray()
    assert float(found["time"][-1]) == pytest.approx(10.0, rel=EXACT)
    assert found.attrs["dt_over_tau"] == pytest.approx(0.1, rel=EXACT)
    slow = dn.relax(network, *data, backend=Nengo(), alpha=0.3, steps=10).to_xarray()
    assert float(slow["time"][-1]) == pytest.approx(3.0, rel=EXACT)


def test_the_ledger_is_counted_on_the_circuit_s_own_connections(monkeypatch):
    """Without those that go back it is another one, which the conformance suite finds."""

    def severed(*given):
        net = assembled(*given)
        gates = [part.gate for part in net.populations.values() if "gate" in vars(part)]
        for connection in [c for c in net.connections if c.post_obj in gates]:
            net.connections.remove(connection)
        return net

    assert [result.verdict for result in conformance.check(Nengo(), only=["ledger"])] == ["passed"]
    monkeypatch.setattr("dyadic_neuro.backends.nengo.session.assembled", severed)
    assert [result.verdict for result in conformance.check(Nengo(), only=["ledger"])] == ["failed"]
    network = networks.dag(3, 4)
    sent = dn.relax(network, *networks.batch(network, 1, 1), backend=Nengo()).messages
    assert (sent.total("sensitivity"), sent.total("rate") > 0) == (0, True)


def test_a_lowpass_settles_on_the_gradient():
    network = networks.chain(1, 3, activation="tanh")
    x, y = networks.batch(network, 1, 2)
    found = dn.relax(network, x, y, backend=on_lowpass(), record="last")
    assert all(np.abs(found.gradients[key] - right).max() <= 1e-7 for key, right in dn.backprop(network, x, y).items())


def test_the_last_step_alone_keeps_no_others(monkeypatch):
    """Probes forget on the way, and what comes out is the same."""
    network = networks.chain(1, 2, activation="tanh")
    x, y = networks.batch(network, 1, 3)
    held = []
    run = nengo.Simulator.run_steps

    def watched(sim, steps, **options):
        run(sim, steps, **options)
        held.extend(len(sim.data[probe]) for probe in sim.model.probes)

    monkeypatch.setattr(nengo.Simulator, "run_steps", watched)
    last = dn.relax(network, x, y, backend=Nengo(), steps=1000, record="last")
    assert max(held) <= 256
    whole = dn.relax(network, x, y, backend=Nengo(), steps=1000)
    for name, u in whole.potentials.items():
        assert np.array_equal(last.potentials[name][0], u[-1])


@pytest.mark.parametrize("bits", ["32", "64"])
def test_nengo_s_settings_and_the_global_generator_are_left_alone(bits, tmp_path, monkeypatch):
    monkeypatch.setitem(nengo.rc["precision"], "bits", bits)
    monkeypatch.setitem(nengo.rc["decoder_cache"], "path", str(tmp_path / "cache"))
    np.random.seed(3)  # noqa: NPY002  (the one that Nengo would draw from)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for dtype in ("float64", "float32"):
        network = networks.chain(1, 3, activation="sigmoid", dtype=dtype)
        x, y = networks.batch(network, 1, 2)
        session, other = Nengo().open(network), Nengo().open(network)
        order = dn.relaxation.prepare(network, x, y)
        first = session.relax(order)
        assert {u.dtype for u in first.potentials.values()} == {np.dtype(dtype)}
        assert np.array_equal(first.potentials["output"], other.relax(order).potentials["output"])
        session.close()
        other.close()
    assert nengo.rc["precision"]["bits"] == bits
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert not (tmp_path / "cache").exists()


def test_a_run_that_is_interrupted_leaves_no_simulator_open(monkeypatch):
    """An open simulator would warn when it goes."""
    network = networks.chain(1, 2)
    opened, step = [], nengo.Simulator.step

    def interrupted(sim):
        opened.append(sim)
        if len(opened) == 3:
            raise KeyboardInterrupt
        step(sim)

    monkeypatch.setattr(nengo.Simulator, "step", interrupted)
    with suppress(KeyboardInterrupt):
        dn.relax(network, *networks.batch(network, 1, 2), backend=Nengo())
    assert len(opened) == 3
    assert opened[-1].closed


def test_numbers_that_are_too_large_for_the_circuit_are_an_error():
    square = (lambda u: u * u, lambda u: 2 * u)
    network = dn.Network.dense([1, 1, 1, 1, 1], square)
    with pytest.raises(SimulatorError, match="left the finite numbers"):
        dn.relax(network, [[1e200]], [[0.0]], backend=Nengo())


def test_it_says_what_runs():
    network = networks.chain(1, 2)
    ran = dn.relax(network, *networks.batch(network, 1, 1), backend=Nengo()).runs_on
    assert ran == Nengo().runs_on == f"Nengo {nengo.__version__}, its own simulator on the CPU"
    assert [Nengo().name, on_lowpass().name] == ["nengo", "nengo-lowpass"]


@pytest.mark.parametrize(
    ("mode", "options", "field"),
    [
        ("exact", {"tau": 0.1}, "tau"),
        ("exact", {"dt": 0.1}, "dt"),
        ("exact", {"seed": 0}, "seed"),
        ("lowpass", {"neurons_per_dimension": 100}, "neurons_per_dimension"),
        ("lowpass", {"tau": 0.0}, "tau"),
        ("lowpass", {"dt": -0.1}, "dt"),
        ("lowpass", {"dt": True}, "dt"),
    ],
)
def test_options_out_of_place_are_refused(mode, options, field):
    with pytest.raises(OptionError) as caught:
        Nengo(mode, **options)
    assert caught.value.field == field


def test_an_unknown_mode_is_refused():
    with pytest.raises(UnknownNameError, match="'fast' is not known"):
        Nengo("fast")
