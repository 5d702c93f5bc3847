"""`dyadic-neuro convert`: any format to any other, and back to the same numbers."""

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import cli

pytest.importorskip("nir", reason="needs pip install 'dyadic-neuro[interchange]'")
pytest.importorskip("onnx", reason="needs pip install 'dyadic-neuro[interchange]'")
pytest.importorskip("safetensors", reason="needs pip install 'dyadic-neuro[interchange]'")

SUFFIXES = (".npz", ".nir", ".onnx", ".safetensors")


@pytest.fixture
def network(tmp_path):
    """A chain as a file of ours, with biases that are not 0."""
    net = dn.Network.dense([3, 5, 4, 2], "tanh", "cross_entropy", seed=1)
    rng = np.random.default_rng(0)
    biases = {key: rng.normal(size=value.shape) for key, value in net.parameters.items() if key.endswith("bias")}
    net = net.with_parameters(biases)
    net.save(tmp_path / "net.npz")
    return net


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


def same(found, wanted):
    assert found.fingerprint == wanted.fingerprint
    for key, values in wanted.parameters.items():
        assert np.array_equal(found.parameters[key], values)


@pytest.mark.parametrize("way", SUFFIXES)
def test_there_and_back_is_the_same_network(network, tmp_path, way):
    code, found = record("convert", tmp_path / "net.npz", tmp_path / f"there{way}")
    assert code == 0
    assert found["network"]["parameters"] == 3 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2
    assert found["network"]["fingerprint"] == network.fingerprint
    assert bool(found["not_held"]) == (way != ".npz")
    assert record("convert", tmp_path / f"there{way}", tmp_path / "back.npz")[0] == 0
    same(dn.Network.load(tmp_path / "back.npz"), network)


def test_it_says_what_it_did(network, tmp_path):
    said = run("convert", tmp_path / "net.npz", tmp_path / "net.onnx").stdout
    for word in ("this project's npz", "ONNX", "54 parameters", "Network(", "tanh", "not held: ", "learning rule"):
        assert word in said


def test_a_state_dictionary_takes_its_functions_from_the_options(network, tmp_path):
    layers = {f"{i}.{part}": network.parameters[key] for i, (key, part) in enumerate(_parts(network))}
    named = {f"{int(key.split('.')[0]) // 2}.{key.split('.')[1]}": value for key, value in layers.items()}
    np.savez(tmp_path / "state.npz", **named)
    words = ("convert", tmp_path / "state.npz", tmp_path / "net2.npz")
    code, found = record(*words, "--activation", "relu", "--loss", "cross_entropy", "--dtype", "float32")
    assert code == 0
    assert found["read"]["format"] == "a state dictionary in npz"
    net = dn.Network.load(tmp_path / "net2.npz")
    assert (net.population("hidden2").phi.name, net.cost.name, str(net.dtype)) == ("relu", "cross_entropy", "float32")
    words = ("convert", tmp_path / "state.npz", tmp_path / "net3.npz", "--order", "2", "--order", "1", "--order", "0")
    assert record(*words)[0] == 2  # the sizes do not fit in this order


def _parts(network):
    for projection in network.projections:
        yield projection.name, "weight"
        yield f"{projection.target}.bias", "bias"


def test_like_keeps_another_file_s_names(network, tmp_path):
    named = {}
    for layer, (key, part) in zip(("a", "a", "b", "b", "c", "c"), _parts(network), strict=True):
        named[f"{layer}.{part}"] = np.zeros_like(network.parameters[key])
    np.savez(tmp_path / "zeros.npz", **named)
    code, found = record("convert", tmp_path / "net.npz", tmp_path / "out.npz", "--like", tmp_path / "zeros.npz")
    assert code == 0
    assert found["written"]["format"] == "a state dictionary in npz"
    assert "zeros.npz" in found["not_held"][0]
    with np.load(tmp_path / "out.npz") as file:
        assert np.array_equal(file["b.weight"], network.parameters["hidden1->hidden2"])


def test_the_user_says_what_stands_for_a_neuron_that_spikes(tmp_path):
    nir = pytest.importorskip("nir", reason="needs pip install 'dyadic-neuro[interchange]'")
    four = np.ones(4)
    lif = nir.LIF(tau=four, r=four, v_leak=0 * four, v_threshold=four, v_reset=0 * four)
    nodes = [nir.Affine(np.ones((4, 3)), four), lif, nir.Affine(np.ones((2, 4)), np.ones(2))]
    nir.write(tmp_path / "spiking.nir", nir.NIRGraph.from_list(*nodes))
    words = ("convert", tmp_path / "spiking.nir", tmp_path / "net.npz")
    assert "LIF" in record(*words)[1]["error"]["problem"]
    assert record(*words, "--activation", "LIF=softplus", "--loss", "cross_entropy")[0] == 0
    net = dn.Network.load(tmp_path / "net.npz")
    assert (net.population("hidden1").phi.name, net.cost.name) == ("softplus", "cross_entropy")
    assert record(*words, "--activation", "relu", "--overwrite")[0] == 0
    assert dn.Network.load(tmp_path / "net.npz").population("hidden1").phi.name == "relu"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_has_no_end_is_not_opened(tmp_path, suffix):
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    for name in ("zero", "pipe"):
        done = run("convert", tmp_path / f"{name}{suffix}", tmp_path / "out.npz")
        assert done.exit_code == 2
        assert "is no file" in " ".join(done.stderr.split())


BAD = {
    "no network file": (("convert", "{here}/net.npz", "{here}/net.txt"), ".safetensors"),
    "no network to read": (("convert", "{here}/net.txt", "{here}/out.npz"), ".safetensors"),
    "a file that is not there": (("convert", "{here}/none.npz", "{here}/out.npz"), "does not exist"),
    "an output that is there": (("convert", "{here}/net.npz", "{here}/net.npz"), "--overwrite"),
    "rate functions of ours": (("convert", "{here}/net.npz", "{here}/out.npz", "--activation", "relu"), "leave it out"),
    "rate functions twice": (
        ("convert", "{here}/net.nir", "{here}/out.npz", "--activation", "a", "--activation", "b=c"),
        "LIF=relu",
    ),
    "an order of edges": (("convert", "{here}/net.npz", "{here}/out.npz", "--order", "a"), "leave it out"),
    "no loss": (("convert", "{here}/net.npz", "{here}/out.npz", "--loss", "hope"), "squared_error"),
    "no dtype": (("convert", "{here}/net.npz", "{here}/out.npz", "--dtype", "int8"), "float32"),
    "like another format": (("convert", "{here}/net.npz", "{here}/out.onnx", "--like", "{here}/net.npz"), "same format"),
    "like nothing": (("convert", "{here}/net.npz", "{here}/out.npz", "--like", "{here}/net.npz"), "same format"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_and_leaves_nothing_behind(what, network, tmp_path):
    words, says = BAD[what]
    before = sorted(tmp_path.iterdir())
    done = run(*(word.format(here=tmp_path) for word in words))
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert sorted(tmp_path.iterdir()) == before
