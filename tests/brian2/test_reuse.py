"""A circuit is compiled once, runs do not know of each other, and Brian2 is left as the user had it."""

import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.backends.brian2.runtime import Runtime
from dyadic_neuro.backends.brian2.standalone import Standalone
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.testing import networks

brian2 = pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")


def other_orders(network, backend):
    """Ask of a backend all that a circuit serves: other weights, samples, steps, schedules, batches and time constants."""
    rng = np.random.default_rng(5)
    other = network.with_parameters({key: rng.normal(size=values.shape) for key, values in network.parameters.items()})
    for size in (1, 7):
        dn.relax(other, *networks.batch(other, size, size), backend=backend, initial=networks.state(other, 3, size))
    dn.relax(other, *networks.batch(other, 2, 3), backend=backend, steps=2, schedule="wavefront", record="last")
    dn.relax(other, *networks.batch(other, 2, 3), backend=backend, steps=3, alpha=0.3)
    dn.train(other, networks.batch(other, 6, 6), backend=backend, epochs=2, batch_size=3, learning_rate=0.1)


def bits(trace):
    """Return all that a trace holds, as bytes."""
    parts = (trace.potentials, trace.sensitivities, trace.gradients)
    return [values.tobytes() for part in parts for _, values in sorted(part.items())]


def test_what_ran_before_changes_no_bit(backend, problem, target):
    network, x, y = problem
    found = backend(target)
    initial = networks.state(network, 3, len(x))
    first = dn.relax(network, x, y, backend=found, initial=initial)
    other_orders(network, found)
    assert bits(dn.relax(network, x, y, backend=found, initial=initial)) == bits(first)


def test_a_circuit_is_made_once(backend, problem, target, monkeypatch):
    network, x, y = problem
    found = backend(target)
    dn.relax(network, x, y, backend=found)
    dn.relax(network, x[:1], y[:1], backend=found)  # one sample that starts anew, or many: two circuits

    def never(*_):
        pytest.fail("made another circuit")

    monkeypatch.setattr(Standalone, "_compile", never)
    monkeypatch.setattr(Standalone, "__init__", never)
    monkeypatch.setattr(Runtime, "__init__", never)
    other_orders(network, found)
    dn.relax(network, x, y, backend=found)


@pytest.mark.timeout(400)
def test_cython_compiles_one_text_for_all_networks(backend, problem):
    from brian2.codegen.runtime.cython_rt.extension_manager import cython_extension_manager

    found = backend("cython")
    dn.relax(*problem, backend=found)
    known = len(cython_extension_manager._code_cache)
    for network in (networks.chain(1, 5), networks.dag(2, 4, loss="binary_cross_entropy"), networks.chain(3, 1)):
        dn.relax(network, *networks.batch(network, 1, 2), backend=found, steps=2)
    assert len(cython_extension_manager._code_cache) == known > 0


@pytest.mark.timeout(400)
def test_a_directory_keeps_programs_for_other_backends(backend, problem, folder, monkeypatch):
    network, x, y = problem
    first = dn.relax(network, x, y, backend=backend("cpp_standalone"))
    monkeypatch.setattr(Standalone, "_compile", lambda *_: pytest.fail("compiled again"))
    other = Brian2(target="cpp_standalone", directory=folder)
    assert bits(dn.relax(network, x, y, backend=other)) == bits(first)
    other.close()
    assert bits(dn.relax(network, x, y, backend=other)) == bits(first)  # what is closed begins anew
    other.close()
    assert not [path.name for path in folder.iterdir() if not path.name.startswith(("circuit_", ".building_"))]


def test_backends_side_by_side_do_not_meet(backend, problem):
    """Two circuits of the same names, in turns."""
    network, x, y = problem
    quiet, noisy = backend(), backend(substrate=Substrate(noise=0.1, seed=1))
    alone = [bits(dn.relax(network, x, y, backend=one)) for one in (quiet, noisy)]
    for _ in range(2):
        assert [bits(dn.relax(network, x, y, backend=one)) for one in (quiet, noisy)] == alone
    assert alone[0] != alone[1]


def test_more_samples_than_there_was_room_for(backend, problem, worst):
    network, _, _ = problem
    found = backend()
    for size in (3, 40, 3):
        x, y = networks.batch(network, size, size)
        assert worst(dn.relax(network, x, y, backend=found).gradients, dn.backprop(network, x, y)) <= 1e-12


def test_own_functions_are_those_of_the_network_at_hand(backend, worst):
    """Networks that differ in a function of the user's only share no circuit."""
    found = backend()
    network = dn.Network.dense([3, 4, 2], activation="tanh", seed=1)
    x, y = networks.batch(network, 1, 2)
    for power in (2, 3):
        pair = (lambda u, power=power: np.sin(power * u), lambda u, power=power: power * np.cos(power * u))
        populations = [replace(p, activation=pair) if p.name == "hidden1" else p for p in network.populations]
        own = dn.Network(populations, network.projections, network.loss)
        assert worst(dn.relax(own, x, y, backend=found).gradients, dn.backprop(own, x, y)) <= 1e-12


def play(code):
    """Run a script, which has to end well and in silence."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_importing_brian2_for_the_user_changes_nothing_of_python():
    play("""
        import signal, sys, warnings
        before = sys.excepthook, warnings.showwarning, signal.getsignal(signal.SIGINT)
        import numpy as np
        import dyadic_neuro as dn
        assert "brian2" not in sys.modules
        random = np.random.get_state()[1].tolist()
        net = dn.Network.dense([3, 4, 2], seed=0)
        dn.relax(net, np.ones((1, 3)), np.zeros((1, 2)), backend="brian2-numpy")
        assert "brian2" in sys.modules
        after = sys.excepthook, warnings.showwarning, signal.getsignal(signal.SIGINT)
        assert after == before, after
        assert np.random.get_state()[1].tolist() == random
    """)


def test_the_first_use_may_be_in_a_thread():
    play("""
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        import dyadic_neuro as dn
        net = dn.Network.dense([3, 4, 2], seed=0)
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(dn.relax, net, np.ones((1, 3)), np.zeros((1, 2)), backend="brian2-numpy") for _ in range(4)]
            assert len({job.result().gradients["output.bias"].tobytes() for job in jobs}) == 1
    """)


USER = """
    import sys
    import numpy as np
    import brian2
    from brian2 import ms
    import dyadic_neuro as dn
    from dyadic_neuro.backends.brian2 import Brian2
    from dyadic_neuro.substrate import Substrate

    net = dn.Network.dense([3, 4, 2], activation="tanh", loss="cross_entropy", seed=0)
    x, y = np.ones((2, 3)), np.eye(2)

    def ours():
        found = []
        for substrate in (None, Substrate(noise=0.1, delays={"input->hidden1": 1.0})):
            trace = dn.relax(net, x, y, backend=Brian2(target="numpy", substrate=substrate))
            found += [g.tobytes() for g in trace.gradients.values()]
        return found
"""


def test_a_user_s_own_network_and_ours_do_not_meet():
    play(
        USER
        + """
    def users():
        brian2.start_scope()
        brian2.seed(5)
        equation = "dv/dt = (1 - v) / (5*ms) + 0.1 * xi / sqrt(5*ms) : 1"
        group = brian2.NeuronGroup(5, equation, method="euler", name="dyadic_neurons")
        monitor = brian2.StateMonitor(group, "v", record=True)
        brian2.run(1*ms)
        yield
        brian2.run(1*ms)
        yield monitor.v[:].tobytes()

    brian2.prefs.codegen.target = "numpy"
    brian2.defaultclock.dt = 0.05*ms
    alone, = [found for found in users() if found]
    brian2.prefs.core.default_float_dtype = np.float32
    first = ours()
    brian2.prefs.core.default_float_dtype = np.float64
    prefs, random, device = dict(brian2.prefs), np.random.get_state()[1].tolist(), brian2.get_device()
    assert ours() == first
    assert dict(brian2.prefs) == prefs
    assert np.random.get_state()[1].tolist() == random
    assert brian2.get_device() is device
    assert brian2.defaultclock.dt == 0.05*ms
    between = users()
    next(between)
    assert ours() == first
    assert next(between) == alone
    """
    )


def test_a_user_s_standalone_device_stays_theirs(tmp_path):
    play(
        USER
        + f"""
    first = ours()
    brian2.set_device("cpp_standalone", directory={str(tmp_path / "user")!r}, build_on_run=False)
    group = brian2.NeuronGroup(2, "dv/dt = -v / (5*ms) : 1", method="exact")
    brian2.run(1*ms)
    device, queued = brian2.get_device(), list(brian2.get_device().main_queue)
    arrays = len(device.arrays)
    assert ours() == first
    assert brian2.get_device() is device
    assert device.main_queue == queued
    assert len(device.arrays) == arrays
    """
    )
