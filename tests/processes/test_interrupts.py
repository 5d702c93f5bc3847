"""Ctrl-C, signals, forgotten sessions: however the program ends, it ends, and takes everything with it."""

import signal
import time

import numpy as np
import pytest

from dyadic_neuro.interchange import npz


@pytest.mark.parametrize("terminal", [False, True])
def test_ctrl_c_during_a_relaxation(scenes, terminal):
    """SIGINT to every process of the foreground group, as the terminal sends it, and by a terminal itself."""
    scene = scenes(
        """
        network = chain(tanh(telling("running")))
        session = Lava().open(network)
        try:
            session.relax(endless(network))
        except KeyboardInterrupt:
            assert failure(lambda: session.relax(endless(network))).__class__ is SessionClosedError
            assert session.pids == []
            print("interrupted")
        """,
        terminal=terminal,
    )
    scene.wait_for("running")
    if terminal:
        scene.press_ctrl_c()
    else:
        scene.interrupt()
    scene.ends(10.0, said="interrupted")


def test_ctrl_c_that_nobody_catches(scenes):
    """The usual end: one traceback, of the program itself, and not ninety lines from its processes."""
    scene = scenes("dn.relax(network := chain(tanh(telling('running'))), *data(), steps=10**7, record='last', backend=Lava())")
    scene.wait_for("running")
    scene.interrupt()
    said = scene.ends(10.0, code=-signal.SIGINT, said=None)
    assert said.count("Traceback (most recent call last)") == 1
    assert said.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_at_any_moment(scenes):
    """While the interpreter starts, while the circuit is built, while it runs and while it ends.

    Without warnings: one that hits Popen itself, after its fork, leaves it to Python to wait for what it started.
    """
    code = """
        try:
            Path("running").touch()
            while True:
                dn.relax(chain(tanh()), *data(), backend=Lava())
        except KeyboardInterrupt:
            pass
    """
    for pause in np.linspace(0.0, 0.7, 8):
        scene = scenes(code, flags=())
        scene.wait_for("running")
        time.sleep(pause)
        scene.interrupt()
        scene.ends(10.0)


def test_ctrl_c_during_training_leaves_an_intact_checkpoint(scenes, play):
    train = """
        network, epochs = chain(tanh()), int(sys.argv[1])
        try:
            options = dict(epochs=epochs, batch_size=2, seed=3, checkpoint=sys.argv[2], progress=False)
            result = dn.train(network, data(8), backend=Lava(), **options)
        except KeyboardInterrupt:
            print("interrupted")
        else:
            np.savez(sys.argv[3], **result.network.parameters)
            print(len(result.history))
    """
    scene = scenes(train, 10**5, "run.npz", "never.npz")
    scene.wait_for("run.npz")
    time.sleep(0.3)
    scene.interrupt()
    scene.ends(10.0, said="interrupted")
    assert sorted(path.name for path in scene.folder.iterdir()) == ["run.npz", "said.txt", "scene.py"]
    checkpoint = scene.folder / "run.npz"
    record, _ = npz.read(checkpoint, "checkpoint")
    epochs = len(record["history"]) + 2
    play(train, epochs, checkpoint, scene.folder / "resumed.npz", said=str(epochs))
    play(train, epochs, scene.folder / "other.npz", scene.folder / "straight.npz", said=str(epochs))
    with np.load(scene.folder / "resumed.npz") as resumed, np.load(scene.folder / "straight.npz") as straight:
        for key in straight:
            assert np.array_equal(resumed[key], straight[key])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_program_is_killed_in_the_middle_of_a_run(scenes, number):
    scene = scenes("dn.relax(chain(tanh(telling('running'))), *data(), steps=10**7, record='last', backend=Lava())")
    scene.wait_for("running")
    assert len(scene.processes()) == 12
    scene.process.send_signal(number)
    scene.ends(5.0, code=-number)


def test_the_program_is_killed_at_any_moment(scenes):
    code = """
        Path("running").touch()
        while True:
            dn.relax(chain(tanh()), *data(), backend=Lava())
    """
    for pause in np.linspace(0.0, 0.8, 9):
        scene = scenes(code)
        scene.wait_for("running")
        time.sleep(pause)
        scene.process.kill()
        scene.ends(5.0, code=-signal.SIGKILL)


def test_the_program_is_killed_while_shared_memory_is_made(scenes):
    """Python's resource tracker hears of a piece only after it is there. Here that takes 5 ms, so that we hit it."""
    for pause in (0.01, 0.04, 0.07):
        scene = scenes("""
            os.environ[SLOW] = "0.005"
            dn.relax(chain(tanh()), *data(), backend=Lava())
        """)
        until = time.monotonic() + 20.0
        while not scene.memory() and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(pause)
        scene.process.kill()
        scene.ends(5.0, code=-signal.SIGKILL)


ENDINGS = {
    "the script ends": "",
    "the object is dropped": "del session; import gc; gc.collect(); assert not children()",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise ValueError('before close')",
    "in a run": "threading.Thread(target=session.relax, args=[endless(network)], daemon=True).start(); time.sleep(1)",
    "os._exit": "os._exit(3)",
    "a suspended generator": "epochs = session.learn(order, lambda _: None); next(epochs)",
    "a cycle of references": "loop = [session]; loop.append(loop); del session, loop",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_forgotten_close(scenes, ending):
    code = """
network = chain(tanh())
session = Lava().open(network)
session.relax(prepare(network, *data()))
order = learning(network)
"""
    expected = {"sys.exit": 3, "os._exit": 3, "an exception": 1}.get(ending, 0)
    said = scenes(code + ENDINGS[ending], flags=()).ends(15.0, code=expected, said=None)
    assert said.count("Traceback") == (ending == "an exception"), said
