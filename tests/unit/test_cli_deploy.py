"""`dyadic-neuro deploy`: from a network file to gradients or to a learned network, in one line."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import cli
from dyadic_neuro.backends import base
from dyadic_neuro.interchange import npz
from dyadic_neuro.testing.twin import cosine

FORMATS = {".npz": "zipfile", ".nir": "nir", ".onnx": "onnx", ".safetensors": "safetensors"}


@pytest.fixture
def small(tmp_path):
    """A data set of two classes, as a file."""
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    inputs = rng.normal(size=(60, 3)) + 2.0 * classes[:, None]
    path = tmp_path / "small.npz"
    np.savez(path, inputs=inputs[:40], targets=classes[:40], test_inputs=inputs[40:], test_targets=classes[40:])
    return str(path)


@pytest.fixture
def network(tmp_path):
    """A chain as a file of ours."""
    net = dn.Network.dense([3, 5, 2], "tanh", "cross_entropy", seed=1)
    net.save(tmp_path / "net.npz")
    return net


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


def test_gradients_are_exact_and_what_ran_is_told(network, small, tmp_path):
    words = ("deploy", tmp_path / "net.npz", "--data", small, "--samples", 4)
    code, found = record(*words)
    assert code == 0
    assert set(found["errors"]) == set(network.plastic)
    assert max(found["errors"].values()) < 1e-12
    assert found["cosine"] > 1 - 1e-12
    assert (found["backend"], found["steps"], found["samples"]) == ("reference", 4, 4)
    assert found["fingerprint"] == network.fingerprint
    assert found["messages_per_sample"] == 4 * (3 + 5 + 2)
    assert "NumPy" in found["runs_on"]
    said = run(*words).stdout
    for word in ("input->hidden1", "hidden1.bias", "on reference: NumPy", "messages per sample"):
        assert word in said


def test_a_run_is_saved_as_netcdf(network, small, tmp_path):
    xarray = pytest.importorskip("xarray", reason="needs pip install 'dyadic-neuro[interchange]'")
    words = ("deploy", tmp_path / "net.npz", "--data", small, "--samples", 4, "--out", tmp_path / "run.nc")
    assert record(*words)[0] == 0
    data = dn.datasets.load(small)
    trace = dn.relax(network, data.inputs[:4], data.targets[:4])
    with xarray.open_dataset(tmp_path / "run.nc") as found:
        assert "NumPy" in found.attrs["runs_on"]
        assert np.array_equal(found["gradient_input_to_hidden1"], trace.gradients["input->hidden1"])
        assert np.array_equal(found["potential_hidden1"], trace.potentials["hidden1"])


def test_a_run_is_saved_as_npz(network, small, tmp_path):
    assert run("deploy", tmp_path / "net.npz", "--data", small, "--out", tmp_path / "run.npz").exit_code == 0
    about, arrays = npz.read(tmp_path / "run.npz", "run")
    data = dn.datasets.load(small)
    trace = dn.relax(network, data.inputs[:1], data.targets[:1])
    assert about["fingerprint"] == network.fingerprint
    assert np.array_equal(arrays["gradient.input->hidden1"], trace.gradients["input->hidden1"])
    assert np.array_equal(arrays["sensitivity.output"], trace.sensitivities["output"])


@pytest.mark.parametrize("suffix", FORMATS)
def test_training_writes_the_learned_network(network, small, tmp_path, suffix):
    pytest.importorskip(FORMATS[suffix], reason="needs pip install 'dyadic-neuro[interchange]'")
    source, out = tmp_path / f"net{suffix}", tmp_path / f"learned{suffix}"
    if suffix != ".npz":
        assert run("convert", tmp_path / "net.npz", source).exit_code == 0
    words = ("--data", small, "--train", "--epochs", 2, "--batch-size", 4, "--learning-rate", 0.5, "--seed", 3)
    code, found = record("deploy", source, *words, "--out", out)
    assert code == 0
    assert [line["epoch"] for line in found["history"]] == [1, 2]
    data = dn.datasets.load(small)
    wanted = dn.train(network, data, epochs=2, batch_size=4, learning_rate=0.5, seed=3).network
    assert run("convert", out, tmp_path / "back.npz").exit_code == 0
    learned = dn.Network.load(tmp_path / "back.npz")
    assert learned.fingerprint == network.fingerprint
    assert all(np.array_equal(learned.parameters[key], values) for key, values in wanted.parameters.items())
    assert "test accuracy" in run("deploy", source, *words).stdout


def test_a_learned_state_dictionary_keeps_its_names(network, small, tmp_path):
    keys = {
        "fc1.weight": "input->hidden1",
        "fc1.bias": "hidden1.bias",
        "fc2.weight": "hidden1->output",
        "fc2.bias": "output.bias",
    }
    np.savez(tmp_path / "state.npz", **{name: network.parameters[key] for name, key in keys.items()})
    words = ("--data", small, "--train", "--batch-size", 4, "--loss", "cross_entropy", "--activation", "tanh")
    assert run("deploy", tmp_path / "state.npz", *words, "--out", tmp_path / "learned.npz").exit_code == 0
    learned = dn.train(network, dn.datasets.load(small), batch_size=4).network
    with np.load(tmp_path / "learned.npz") as found:
        assert set(found) == set(keys)
        assert all(np.array_equal(found[name], learned.parameters[key]) for name, key in keys.items())


def test_a_file_that_cannot_take_what_is_learned_is_refused_before_the_training(small, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="needs pip install 'dyadic-neuro[interchange]'")
    make, array = onnx.helper, onnx.numpy_helper.from_array
    nodes = [make.make_node("Gemm", ["x", "w", "one"], ["y"], "last")]
    ends = [make.make_tensor_value_info(name, 1, ["batch", n]) for name, n in (("x", 3), ("y", 2))]
    tensors = [array(np.ones((3, 2), "f4"), "w"), array(np.ones(1, "f4"), "one")]
    onnx.save(make.make_model(make.make_graph(nodes, "g", ends[:1], ends[1:], tensors)), tmp_path / "net.onnx")
    monkeypatch.setattr("dyadic_neuro.cli.deploy.train_network", lambda *_, **__: pytest.fail("it trained"))
    done = run("deploy", tmp_path / "net.onnx", "--data", small, "--train", "--out", tmp_path / "out.onnx")
    assert done.exit_code == 2
    assert "one number for 2 neurons" in " ".join(done.stderr.split())
    assert not (tmp_path / "out.onnx").exists()


def test_a_promise_that_is_missed_is_a_failure_of_settled_runs_alone(network, small, tmp_path, monkeypatch):
    monkeypatch.setattr(base.resolve("reference").__class__, "cosine", 2.0, raising=False)  # which nothing can keep
    words = ("deploy", tmp_path / "net.npz", "--data", small)
    assert record(*words)[0] == 1
    assert record(*words)[1]["promise_kept"] is False
    assert "missed" in run(*words).stdout
    code, found = record(*words, "--steps", 3)
    assert (code, found["promise_kept"], found["predicted_steps"]) == (0, None, 4)
    assert "not settled: 4 are predicted" in run(*words, "--steps", 3).stdout


def test_what_begins_is_told_before(network, small, tmp_path):
    words = ("deploy", tmp_path / "net.npz", "--data", small)
    assert "2 samples x 4 steps on reference: NumPy" in run(*words, "--samples", 2).stderr
    assert "2 epochs of 40 samples on reference: NumPy" in run(*words, "--train", "--epochs", 2).stderr


def test_no_cosine_is_larger_than_1():
    vectors = np.random.default_rng(0).normal(size=(200, 5))
    assert max(cosine({"a": one}, {"a": one}) for one in vectors) <= 1


def test_an_approximate_backend_says_what_it_promised(network, small, tmp_path, monkeypatch):
    monkeypatch.setattr(base.resolve("reference").__class__, "cosine", 0.97, raising=False)
    words = ("deploy", tmp_path / "net.npz", "--data", small)
    assert record(*words)[1]["promised_cosine"] == 0.97
    assert "1.00000 (at least 0.97 is promised)" in run(*words).stdout


@pytest.mark.filterwarnings(r"ignore:'\w+' deprecated - use:DeprecationWarning")  # of Brian2's parser
def test_a_network_with_a_cycle_runs_for_the_steps_it_is_given(small, tmp_path):
    ones = np.ones
    net = dn.Network(
        [dn.Population("input", 3), dn.Population("h", 2, "tanh"), dn.Population("output", 2)],
        [
            dn.Projection("input", "h", ones((2, 3))),
            dn.Projection("h", "h", 0.1 * ones((2, 2))),
            dn.Projection("h", "output", ones((2, 2))),
        ],
    )
    net.save(tmp_path / "loop.npz")
    words = ("deploy", tmp_path / "loop.npz", "--data", small)
    assert run(*words).exit_code == 2
    code, found = record(*words, "--steps", 30)
    assert (code, found["errors"], found["cosine"], found["steps"]) == (0, {}, None, 30)
    assert "cycle" in run(*words, "--steps", 30).stdout


BAD = {
    "a suffix that holds no run": (("--out", "{here}/run.h5"), "--train"),
    "a suffix that holds no network": (("--train", "--out", "{here}/net.nc"), ".safetensors"),
    "more samples than there are": (("--samples", "41"), "1 .. 40"),
    "no such backend": (("--backend", "brain"), "installed"),
    "an output that is there": (("--out", "{here}/small.npz"), "--overwrite"),
    "functions that are in the file": (("--activation", "relu"), "leave it out"),
    "data of another size": (("--data", "{here}/wide.npz"), "change the first and last size"),
    "an impossible rate": (("--train", "--learning-rate", "-1"), "learning_rate"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_and_leaves_nothing_behind(what, network, small, tmp_path):
    np.savez(tmp_path / "wide.npz", inputs=np.eye(4), targets=[0, 1, 0, 1], test_inputs=np.eye(4), test_targets=[0, 1, 0, 1])
    words, says = BAD[what]
    before = sorted(tmp_path.iterdir())
    done = run("deploy", tmp_path / "net.npz", "--data", small, *(word.format(here=tmp_path) for word in words))
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert sorted(tmp_path.iterdir()) == before
