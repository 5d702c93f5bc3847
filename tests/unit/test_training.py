"""`train`: plain SGD on exact gradients, both copies of each weight, history, checkpoints, and runs that are cut short."""

import os
import select
import signal
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyadic_neuro import Dataset, accuracy, backends, backprop, mean_loss, train, training
from dyadic_neuro.errors import CheckpointError, CycleError, DataError, DivergedError, FileError, OptionError, UnknownNameError
from dyadic_neuro.interchange import npz
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import settling_steps

seeds = st.integers(0, 2**32 - 1)
NET = Network.dense([3, 4, 4, 2], activation="tanh", loss="cross_entropy", seed=0)
X = np.random.default_rng(1).normal(size=(11, 3))
Y = np.arange(11) % 2
HELD_OUT = X[:5] + 0.1, Y[:5]
SETTINGS = {"epochs": 5, "batch_size": 2, "learning_rate": 0.5, "seed": 7, "validation": HELD_OUT}


def sgd(net, inputs, targets, *, epochs, batch_size, learning_rate, seed, shuffle=True, weight_decay=0.0):
    """Return what plain SGD learns from the oracle's gradients, and the loss of each window before its update."""
    losses = []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(inputs)) if shuffle else np.arange(len(inputs))
        losses.append([])
        for first in range(0, len(inputs) - batch_size + 1, batch_size):
            chosen = order[first : first + batch_size]
            slope = backprop(net, inputs[chosen], targets[chosen])
            losses[-1].append(mean_loss(net, inputs[chosen], targets[chosen]))
            kept = {key: 1.0 if key.endswith(".bias") else 1.0 - learning_rate * weight_decay for key in slope}
            net = net.with_parameters(
                {key: kept[key] * net.parameters[key] - learning_rate * values for key, values in slope.items()}
            )
    return net, losses


def close(first, second, atol=1e-12):
    for key, values in second.parameters.items():
        np.testing.assert_allclose(first.parameters[key], values, rtol=0, atol=atol, err_msg=key)


def same_run(first, second):
    """Bit for bit, except for the clock."""
    for key, values in first.network.parameters.items():
        assert values.tobytes() == second.network.parameters[key].tobytes()
    for key, copy in first.copies.items():
        assert copy.forward.tobytes() == second.copies[key].forward.tobytes()
        assert (copy.backward is None) == (second.copies[key].backward is None)
        assert (
            copy.backward is None
            or np.ascontiguousarray(copy.backward).tobytes() == np.ascontiguousarray(second.copies[key].backward).tobytes()
        )
    assert [vars(line) | {"seconds": 0} for line in first.history] == [vars(line) | {"seconds": 0} for line in second.history]


class Spy(backends.Reference):
    """The reference, which also keeps the order it was given."""

    def open(self, network):
        self.network, session = network, super().open(network)
        learn = session.learn

        def noted(order, on_window):
            self.order = order
            return learn(order, on_window)

        session.learn = noted
        return session


class Watched(backends.Reference):
    """The reference, whose every finished window is told to a function."""

    def __init__(self, tell):
        self.tell = tell

    def open(self, network):
        session = super().open(network)
        learn, seen = session.learn, count(1)

        def told(order, on_window):
            return learn(order, lambda loss: (on_window(loss), self.tell(next(seen))))

        session.learn = told
        return session


class Never(backends.Reference):
    """A backend that no bad input reaches."""

    def open(self, network):
        pytest.fail("work began")


# --- what is learned -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
@settings(max_examples=min(30, settings().max_examples))
@given(seed=seeds, batch=st.sampled_from([1, 3]), decay=st.sampled_from([0.0, 0.7]))
def test_learning_is_plain_sgd_on_the_gradients_of_the_oracle(random_network, random_data, schedule, seed, batch, decay):
    net = random_network(seed, loss="cross_entropy", fixed=0.2)  # chains, skips, fixed projections, no biases
    data = random_data(net, 7, seed)
    options = {"epochs": 2, "batch_size": batch, "learning_rate": 0.1, "weight_decay": decay, "seed": seed % 100}
    result = train(net, data, schedule=schedule, **options)
    wanted, losses = sgd(net, *data, **options)
    close(result.network, wanted, atol=1e-10)  # what the first updates round differently, the later ones of a deep DAG amplify
    np.testing.assert_allclose([line.loss for line in result.history], np.mean(losses, axis=1), rtol=0, atol=1e-10)
    for p in net.projections:
        copy = result.copies[p.name]
        np.testing.assert_array_equal(copy.forward, result.network.parameters[p.name])
        assert (copy.backward is None) == (p.source == "input")
        if not p.plastic:
            np.testing.assert_array_equal(copy.forward, p.weights)
        if copy.backward is not None:
            # bit for bit at batch 1
            np.testing.assert_allclose(copy.backward, copy.forward.T, rtol=0, atol=0 if batch == 1 else 1e-12)
    assert result.network.fingerprint == net.fingerprint


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_a_chain_learns_what_sgd_does_to_the_last_digits(loss, batch):
    net = Network.dense([3, 5, 1], activation="gelu", loss=loss, seed=1)
    options = {"epochs": 3, "batch_size": batch, "learning_rate": 0.1, "seed": 0}
    close(train(net, (X, Y[:, None] * 1.0), **options).network, sgd(net, X, Y[:, None] * 1.0, **options)[0])


@pytest.mark.parametrize("batch", [1, 4])
def test_the_schedules_learn_the_same_bits(batch):
    options = {"epochs": 2, "batch_size": batch, "learning_rate": 0.3}
    free, wave = (train(NET, (X, Y), schedule=schedule, **options) for schedule in ("free", "wavefront"))
    for key, values in free.network.parameters.items():
        assert values.tobytes() == wave.network.parameters[key].tobytes()


def test_float32_stays_float32():
    net = Network.dense([3, 4, 2], dtype="float32", loss="cross_entropy")
    result = train(net, (X, Y), batch_size=3)
    assert {values.dtype for values in result.network.parameters.values()} == {np.dtype("float32")}
    assert {copy.backward.dtype for copy in result.copies.values() if copy.backward is not None} == {np.dtype("float32")}


def test_the_last_partial_batch_is_dropped_and_every_epoch_has_its_own_order():
    spy = Spy()
    train(NET, (X, Y), backend=spy, epochs=3, batch_size=4, seed=9)
    assert spy.order.order.shape == (3, 2, 4)
    for epoch, windows in enumerate(spy.order.order):
        assert windows.ravel().tolist() == np.random.default_rng([9, epoch]).permutation(11)[:8].tolist()
    train(NET, (X, Y), backend=spy, epochs=2, batch_size=4, shuffle=False)
    assert spy.order.order.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]] * 2


@pytest.mark.parametrize(("samples", "batch"), [(7, 7), (20, 20), (50, 20)])
def test_without_a_batch_size_it_is_20_or_all_there_are(samples, batch):
    spy = Spy()
    train(NET, (np.resize(X, (samples, 3)), np.resize(Y, samples)), backend=spy)
    assert spy.order.order.shape == (1, samples // batch, batch)


def test_the_seed_draws_the_order_and_nothing_else():
    runs = [
        train(NET, (X, Y), batch_size=1, seed=seed, shuffle=shuffle)
        for seed, shuffle in ((0, True), (0, True), (1, True), (0, False), (1, False))
    ]
    same_run(runs[0], runs[1])
    same_run(runs[3], runs[4])
    weights = [run.network.parameters["input->hidden1"].tobytes() for run in runs]
    assert len(set(weights)) == 3


def test_a_learning_rate_of_0_learns_nothing():
    close(train(NET, (X, Y), learning_rate=0).network, NET, atol=0)


def test_the_network_and_the_data_are_left_alone():
    inputs, targets = X.copy(), Y.copy()
    before = {key: values.copy() for key, values in NET.parameters.items()}
    train(NET, (inputs, targets), epochs=2)
    np.testing.assert_array_equal(inputs, X)
    np.testing.assert_array_equal(targets, Y)
    for key, values in before.items():
        np.testing.assert_array_equal(NET.parameters[key], values)


# --- other feedback ------------------------------------------------------------------------------------------------------


def test_feedback_that_starts_elsewhere_gets_the_same_updates():
    rng = np.random.default_rng(3)
    net = Network.dense([3, 4, 2], activation="tanh", loss="squared_error", seed=2)
    start, targets = rng.normal(size=(4, 2)), rng.normal(size=(11, 2))
    options = {"batch_size": 1, "epochs": 2, "learning_rate": 0.1, "shuffle": False}
    result = train(net, (X, targets), backward={"hidden1->output": start}, **options)
    w, v, b, c = (net.parameters[key].copy() for key in ("input->hidden1", "hidden1->output", "hidden1.bias", "output.bias"))
    feedback = start.copy()
    for _ in range(2):
        for x, y in zip(X, targets, strict=True):
            h = np.tanh(w @ x + b)
            error = v @ h + c - y
            hidden = (1 - h * h) * (feedback @ error)  # through the other matrix
            change = 0.1 * np.outer(error, h)
            v, feedback, c = v - change, feedback - change.T, c - 0.1 * error
            w, b = w - 0.1 * np.outer(hidden, x), b - 0.1 * hidden
    close(result.network, net.with_parameters({"input->hidden1": w, "hidden1->output": v, "hidden1.bias": b, "output.bias": c}))
    copy = result.copies["hidden1->output"]
    np.testing.assert_allclose(copy.backward, feedback, rtol=0, atol=1e-12)
    assert np.abs(copy.backward - copy.forward.T).max() > 0.1
    np.testing.assert_allclose(copy.backward - start, (copy.forward - net.parameters["hidden1->output"]).T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_fixed_projections_never_change_neither_copy(decay):
    net = Network(
        NET.populations,
        [Projection(p.source, p.target, p.weights, plastic=p.source == "input") for p in NET.projections],
        "cross_entropy",
    )
    start = {"hidden2->output": np.ones((4, 2))}
    result = train(net, (X, Y), batch_size=1, epochs=2, backward=start, weight_decay=decay)
    for name in ("hidden1->hidden2", "hidden2->output"):
        np.testing.assert_array_equal(result.copies[name].forward, net.parameters[name])
    np.testing.assert_array_equal(result.copies["hidden1->hidden2"].backward, net.parameters["hidden1->hidden2"].T)
    np.testing.assert_array_equal(result.copies["hidden2->output"].backward, start["hidden2->output"])
    for key in net.plastic:
        assert not np.array_equal(result.network.parameters[key], net.parameters[key])


# --- history -------------------------------------------------------------------------------------------------------------


def test_history_tells_each_epoch_as_it_was():
    options = {"epochs": 2, "batch_size": 3, "learning_rate": 0.4, "seed": 4}
    result = train(NET, (X, Y), validation=HELD_OUT, **options)
    losses = sgd(NET, X, Y, **options)[1]
    assert [line.epoch for line in result.history] == [1, 2]
    np.testing.assert_allclose([line.loss for line in result.history], np.mean(losses, axis=1), rtol=1e-12)
    right, net = 0, NET
    order = np.random.default_rng([4, 0]).permutation(11)[:9].reshape(3, 3)
    for chosen in order:  # each sample is judged before the update of its window
        right += round(3 * accuracy(net, X[chosen], Y[chosen]))
        slope = backprop(net, X[chosen], Y[chosen])
        net = net.with_parameters({key: net.parameters[key] - 0.4 * values for key, values in slope.items()})
    assert result.history[0].accuracy == right / 9
    assert result.history[0].validation == accuracy(train(NET, (X, Y), **options | {"epochs": 1}).network, *HELD_OUT)
    assert result.history[1].validation == accuracy(result.network, *HELD_OUT)
    assert all(line.seconds >= 0 and line.messages > 0 for line in result.history)


def test_without_classes_there_is_no_accuracy():
    net = Network.dense([3, 2, 2], loss="squared_error")
    rows = np.eye(2)[Y] + 0.5
    (line,) = train(net, (X, rows), validation=(X, rows)).history
    assert (line.accuracy, line.validation) == (None, None)
    (line,) = train(net, (X, Y)).history
    assert line.accuracy is not None
    assert line.validation is None


def test_a_dataset_brings_its_own_validation():
    data = Dataset("small", X, Y, *HELD_OUT, 2)
    same_run(train(NET, data, **{k: v for k, v in SETTINGS.items() if k != "validation"}), train(NET, (X, Y), **SETTINGS))
    other = X[5:], Y[5:]
    same_run(train(NET, data, **SETTINGS | {"validation": other}), train(NET, (X, Y), **SETTINGS | {"validation": other}))


@pytest.mark.parametrize("show", [True, False, None])
def test_a_bar_is_shown_where_it_is_asked_for_and_changes_nothing(show, capsys):
    result = train(NET, (X, Y), progress=show, **SETTINGS)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("epoch 5/5" in err and "25/25" in err) if show else err == ""
    same_run(result, train(NET, (X, Y), progress=False, **SETTINGS))


# --- checkpoints ---------------------------------------------------------------------------------------------------------


def epochs_in(path):
    return len(npz.read(path, "checkpoint")[0]["history"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


@pytest.fixture(scope="module")
def whole():
    return train(NET, (X, Y), **SETTINGS)


def test_a_checkpoint_changes_nothing_and_is_there_after_each_epoch(path, whole):
    same_run(train(NET, (X, Y), checkpoint=path, **SETTINGS), whole)
    assert epochs_in(path) == 5
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("done", [1, 4])
def test_more_epochs_go_on_with_the_same_bits(path, done, batch):
    options = SETTINGS | {"batch_size": batch, "backward": {"hidden1->hidden2": np.ones((4, 4))}}
    train(NET, (X, Y), checkpoint=path, **options | {"epochs": done})
    same_run(train(NET, (X, Y), checkpoint=str(path), **options), train(NET, (X, Y), **options))


def test_a_finished_run_is_read_from_its_checkpoint(path, whole):
    train(NET, (X, Y), checkpoint=path, **SETTINGS)
    same_run(train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS), whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_run_interrupted_in_validation_goes_on_with_the_same_bits(path, whole, monkeypatch, error):
    calls = []

    def judge(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise error
        return accuracy(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(training.oracle, "accuracy", judge)
        with pytest.raises(error):
            train(NET, (X, Y), checkpoint=path, **SETTINGS)
    assert epochs_in(path) == 2
    same_run(train(NET, (X, Y), checkpoint=path, **SETTINGS), whole)


@pytest.mark.parametrize("window", [0, 1, 7, 24])
def test_a_run_interrupted_in_any_window_goes_on_with_the_same_bits(path, whole, window):
    def cut(seen):
        if seen == window + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(NET, (X, Y), checkpoint=path, backend=Watched(cut), **SETTINGS)
    assert epochs_in(path) == window // 5 if window >= 5 else not path.exists()
    same_run(train(NET, (X, Y), checkpoint=path, **SETTINGS), whole)


CHILD = """
import os, sys, time
import numpy as np
import dyadic_neuro as dn

where, nth, calls = sys.argv[1], int(sys.argv[2]), []

def note(at):
    calls.append(at)
    if at == where and calls.count(at) == nth:
        print("in the middle", flush=True)
        time.sleep(600)

class Watched(dn.backends.Reference):
    def open(self, network):
        session = super().open(network)
        learn = session.learn
        session.learn = lambda order, on_window: learn(order, lambda loss: note("in a window"))
        return session

def fsync(file, really=os.fsync):
    note("in a write")
    really(file)

os.fsync = fsync
data = np.load("data.npz")
dn.train(
    dn.Network.load("net.npz"), (data["x"], data["y"]), validation=(data["u"], data["v"]), checkpoint="run.npz",
    backend=Watched(), epochs=5, batch_size=2, learning_rate=0.5, seed=7,
)
"""


@pytest.mark.parametrize(("where", "nth"), [("in a window", 13), ("in a write", 3)])  # both in the third epoch
def test_a_run_that_is_killed_goes_on_with_the_same_bits(path, whole, where, nth):
    NET.save(path.with_name("net.npz"))
    np.savez(path.with_name("data.npz"), x=X, y=Y, u=HELD_OUT[0], v=HELD_OUT[1])
    child = subprocess.Popen([sys.executable, "-c", CHILD, where, str(nth)], cwd=path.parent, stdout=subprocess.PIPE)
    try:
        assert select.select([child.stdout], [], [], 60)[0], "the child did not get to its middle"
        assert child.stdout.readline() == b"in the middle\n"
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
    assert epochs_in(path) == 2
    same_run(train(NET, (X, Y), checkpoint=path, **SETTINGS), whole)


OTHERS = {
    "structure": {"network": Network.dense([3, 4, 4, 2], activation="sin", loss="cross_entropy", seed=0)},
    "weights": {"network": Network.dense([3, 4, 4, 2], activation="tanh", loss="cross_entropy", seed=1)},
    "data": {"data": (X[::-1], Y)},
    "backward": {"backward": {"hidden1->hidden2": np.ones((4, 4))}},
    "batch_size": {"batch_size": 3},
    "learning_rate": {"learning_rate": 0.25},
    "weight_decay": {"weight_decay": 0.1},
    "seed": {"seed": 8},
    "shuffle": {"shuffle": False},
}


@pytest.mark.parametrize("setting", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_by_the_setting(path, setting, refuses):
    train(NET, (X, Y), checkpoint=path, **SETTINGS)
    before = path.read_bytes()
    with refuses(CheckpointError, str(path), f"another {setting} ("):
        train(
            **{"network": NET, "data": (X, Y), "checkpoint": path, "backend": Never()}
            | SETTINGS
            | {"epochs": 6}
            | OTHERS[setting]
        )
    assert path.read_bytes() == before


class Half(backends.Reference):
    """The reference at half the step size."""

    alpha = 0.5


def test_the_clock_of_a_run_is_in_its_checkpoint_where_it_is_unusual(path, refuses):
    def saved():
        return npz.read(path, "checkpoint")[0]["settings"]

    train(NET, (X, Y), checkpoint=path, window=6, **SETTINGS)
    assert not {"alpha", "window", "weight_decay"} & set(saved())  # as in files of before there was a choice
    with refuses(CheckpointError, str(path), "another window (6, not 7)"):
        train(NET, (X, Y), checkpoint=path, backend=Never(), window=7, **SETTINGS)
    with refuses(CheckpointError, str(path), "another alpha (1.0, not 0.5)"):
        train(NET, (X, Y), checkpoint=path, backend=Half(), window=6, **SETTINGS)
    path.unlink()
    settled = train(NET, (X, Y), checkpoint=path, backend=Half(), **SETTINGS | {"epochs": 2})
    assert (saved()["alpha"], saved()["window"]) == (0.5, settling_steps(3, 0.5, 1e-4))
    with refuses(CheckpointError, str(path), "another alpha (0.5, not 1.0)"):
        train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS)
    again = train(NET, (X, Y), checkpoint=path, backend=Half(), **SETTINGS | {"epochs": 2})
    same_run(settled, again)


def test_a_run_with_weight_decay_goes_on_from_its_checkpoint_with_the_same_bits(path, refuses):
    whole = train(NET, (X, Y), weight_decay=0.1, **SETTINGS)
    train(NET, (X, Y), weight_decay=0.1, checkpoint=path, **SETTINGS | {"epochs": 2})
    with refuses(CheckpointError, str(path), "another weight_decay (0.1, not 0.0)"):
        train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS)
    same_run(train(NET, (X, Y), weight_decay=0.1, checkpoint=path, **SETTINGS), whole)


def test_a_longer_window_goes_on_from_its_checkpoint_with_the_same_bits(path):
    whole = train(NET, (X, Y), window=9, **SETTINGS)
    train(NET, (X, Y), window=9, checkpoint=path, **SETTINGS | {"epochs": 2})
    same_run(train(NET, (X, Y), window=9, checkpoint=path, **SETTINGS), whole)


@pytest.mark.parametrize("window", [None, 4, 6, 11])
def test_messages_are_of_every_step_of_the_window(window):
    options = SETTINGS | {"epochs": 1}
    usual, found = train(NET, (X, Y), **options), train(NET, (X, Y), window=window, **options)
    assert found.history[0].messages * 6 == usual.history[0].messages * (window or 6)


def test_a_checkpoint_past_the_epochs_is_refused(path, refuses):
    train(NET, (X, Y), checkpoint=path, **SETTINGS)
    with refuses(CheckpointError, str(path), "5 epochs already, more than the 4"):
        train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS | {"epochs": 4})


def test_a_truncated_checkpoint_is_refused_and_kept(path, refuses):
    train(NET, (X, Y), checkpoint=path, **SETTINGS)
    content = path.read_bytes()
    for length in range(0, len(content), 200):
        path.write_bytes(content[:length])
        with refuses(FileError, str(path), "cannot be read as a checkpoint"):
            train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS)
        assert path.read_bytes() == content[:length]


def test_foreign_and_damaged_checkpoints_are_refused(path, refuses):
    train(NET, (X, Y), checkpoint=path, **SETTINGS | {"epochs": 2})
    record, arrays = npz.read(path, "checkpoint")
    damaged = [
        (record | {"history": [{"epoch": 1}]}, arrays),
        ({k: v for k, v in record.items() if k != "history"}, arrays),
        (record, {k: v for k, v in arrays.items() if k != "parameter output.bias"}),
        (record, {k: v for k, v in arrays.items() if k != "backward hidden2->output"}),
        (record, arrays | {"parameter output.bias": np.array([np.nan, 0])}),
        (record, arrays | {"backward hidden2->output": np.ones((2, 4))}),
    ]
    for changed, kept in damaged:
        npz.write(path, "checkpoint", changed, kept, overwrite=True)
        with refuses(CheckpointError, str(path), "is damaged"):
            train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS)
    for settings_ in (None, {}, []):
        npz.write(path, "checkpoint", record | {"settings": settings_}, arrays, overwrite=True)
        with refuses(CheckpointError, str(path), "another structure"):
            train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS)
    NET.save(path, overwrite=True)
    with refuses(FileError, str(path), "'network', not 'checkpoint'"):
        train(NET, (X, Y), checkpoint=path, backend=Never(), **SETTINGS)


def test_a_run_that_diverges_says_so_and_leaves_the_last_checkpoint(path, refuses):
    # u = w x with x = 2, y = 0: each window multiplies w by 1 - 4 rate = -1e30, and the loss overflows past 1e154
    net = Network([Population("input", 1), Population("output", 1)], [Projection("input", "output", np.ones((1, 1)))])
    options = {"batch_size": 1, "learning_rate": (1e30 + 1) / 4, "checkpoint": path}
    data = np.full((2, 1), 2.0), np.zeros((2, 1))
    with refuses(DivergedError, "learning_rate", "epoch 4", "smaller"):
        train(net, data, epochs=9, **options)
    assert epochs_in(path) == 3
    kept = train(net, data, epochs=3, backend=Never(), **options)
    assert [line.epoch for line in kept.history] == [1, 2, 3]
    np.testing.assert_allclose(kept.network.parameters["input->output"], [[1e180]], rtol=1e-12)


# --- what is refused -----------------------------------------------------------------------------------------------------

LOOP = Network(
    [Population("input", 3), Population("a", 1), Population("output", 2)],
    [
        Projection("input", "a", np.ones((1, 3))),
        Projection("a", "a", np.ones((1, 1))),
        Projection("a", "output", np.ones((2, 1))),
    ],
    "cross_entropy",
)


class Slow(Never):
    """A backend that was built with another dt / tau."""

    name = "slow"
    alpha = 0.5


def wrong(field, says, values, error=OptionError):
    return {f"{field} {value!r:.12}": ({field: value}, error, field, says) for value in values}


REFUSED = {
    **wrong("epochs", "integer of at least 1", (0, -1, 1.5, 2.0, True, "3", None)),
    **wrong("batch_size", "integer of at least 1", (0, -1, 1.5, True, "3")),
    **wrong("batch_size", "11 samples", (12,)),
    **wrong("learning_rate", "at least 0", (-0.1, np.nan, np.inf, -np.inf, "0.1", True, None, 1j, 10**400)),
    **wrong("weight_decay", "at least 0", (-0.1, np.nan, np.inf, "0.1", True, None, 1j)),
    **wrong("weight_decay", "less than 1 / learning_rate", (10.0, 1e300)),
    **wrong("seed", "integer of at least 0", (-1, 1.5, True, "0", None)),
    **wrong("data", "a pair", (None, X, [X, Y], (X,), (X, Y, Y)), error=DataError),
    **wrong("validation", "a pair", (X, [X, Y]), error=DataError),
    **wrong("backend", "is not a backend", ("loihi9",), error=UnknownNameError),
    **wrong("backend", "pass a name", (None, backends.Reference)),
    **wrong("schedule", "['free', 'wavefront']", ("waves", None)),
    **wrong("window", "not a number of steps", (0, -1, 1.5, 6.0, True, "6")),
    "window of a wave": ({"window": 9, "schedule": "wavefront"}, OptionError, "window", "multiple of the 6"),
    "wave at another alpha": ({"backend": Slow(), "schedule": "wavefront"}, OptionError, "alpha", "0.5 with the wavefront"),
    "inputs": ({"data": (X[:, :2], Y)}, DataError, "inputs", "not (any, 3)"),
    "inputs nan": ({"data": (X * np.nan, Y)}, DataError, "inputs", "nan"),
    "no samples": ({"data": (X[:0], Y[:0])}, DataError, "inputs", "no sample"),
    "targets": ({"data": (X, Y + 1)}, DataError, "targets", "class 2 is outside 0 .. 1"),
    "lengths": ({"data": (X, Y[:-1])}, DataError, "targets", "10 classes for 11 inputs"),
    "validation inputs": ({"validation": (X[:, :2], Y)}, DataError, "validation inputs", "not (any, 3)"),
    "validation targets": ({"validation": (X, Y + 1)}, DataError, "validation targets", "class 2"),
    "backward": ({"backward": {"input->hidden1": X}}, UnknownNameError, "backward", "from the input"),
    "backward shape": (
        {"backward": {"hidden2->output": np.ones((2, 4))}},
        DataError,
        "backward of hidden2->output, (n_source, n_target)",
        "not (4, 2)",
    ),
    "network": ({"network": "net.npz"}, OptionError, "network", "str is not a Network"),
    "cycle": ({"network": LOOP}, CycleError, "network", "a -> a"),
    "wave in a cycle": ({"network": LOOP, "window": 8, "schedule": "wavefront"}, CycleError, "network", "a -> a"),
    "validation of a cycle": ({"network": LOOP, "window": 8, "validation": (X, Y)}, CycleError, "validation", "cycle"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options_are_refused_before_anything_is_written(case, path, refuses):
    changes, error, field, says = REFUSED[case]
    with refuses(error, field, says):
        train(**{"network": NET, "data": (X, Y), "backend": Never(), "checkpoint": path} | changes)
    assert not list(path.parent.iterdir())


def test_a_checkpoint_without_a_place_is_refused_before_any_work(tmp_path, refuses):
    for place, says in ((tmp_path, "is a folder"), (tmp_path / "none" / "run.npz", "folder does not exist")):
        with refuses(FileError, str(place), says):
            train(NET, (X, Y), backend=Never(), checkpoint=place)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("targets", [[[0], [1], [0], [1]], [[0.2], [0.4], [0.6], [0.8]]], ids=["labels of one neuron", "values"])
def test_accuracy_is_told_for_classes_only(targets):
    net = Network.dense([2, 3, 1], loss="binary_cross_entropy")
    result = train(net, (np.eye(4, 2), targets), epochs=1, batch_size=2, validation=(np.eye(4, 2), targets))
    assert (result.history[0].accuracy, result.history[0].validation) == (None, None)
