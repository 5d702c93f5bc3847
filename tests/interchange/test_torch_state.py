"""State dictionaries: names, order and precision of torch, in safetensors and npz, without a pickle."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyadic_neuro.errors import DataError, FileError, NetworkError, OptionError, UnknownNameError
from dyadic_neuro.interchange import safetensors
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS
from tests.interchange.forward import potentials

LAWS = settings(max_examples=15, deadline=None)
SUFFIXES = pytest.mark.parametrize("suffix", ["safetensors", "npz"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("torch")


def saved(path, **arrays):
    """Write tensors; the names' first underscores are dots."""
    tensors = {name.replace("_", ".", 1): np.asarray(values) for name, values in arrays.items()}
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        with open(path, "wb") as file:
            safetensors.write(file, tensors, {"format": "pt"})
    return path


def layers(*sizes, dtype="f4"):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(m, n)).astype(dtype) for n, m in pairwise(sizes)]


@LAWS
@given(SEEDS, st.integers(1, 5), st.sampled_from(["float64", "float32"]))
def test_a_chain_comes_back_to_the_last_bit(folder, same, seed, depth, dtype):
    network = networks.chain(seed, depth, dtype=dtype, loss="binary_cross_entropy")
    network.to_torch_state(folder / "a.safetensors", overwrite=True)
    same(Network.from_torch_state(folder / "a.safetensors"), network)
    network.to_torch_state(folder / "a.npz", overwrite=True)  # holds no metadata
    found = Network.from_torch_state(folder / "a.npz", activation="relu", loss="cross_entropy")
    assert all(found.parameters[key].tobytes() == network.parameters[key].tobytes() for key in network.parameters)
    assert {p.phi.name for p in found.populations[1:-1]} <= {"relu"}
    assert found.cost.name == "cross_entropy"


def test_what_is_written_opens_in_safetensors_and_the_other_way_round(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    network = Network.dense([4, 6, 5, 3], dtype="float32")
    network.to_torch_state(tmp_path / "a.safetensors")
    found = package.load_file(tmp_path / "a.safetensors")
    assert list(found) == ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"] or len(found) == 6
    np.testing.assert_array_equal(found["2.weight"], network.parameters["hidden1->hidden2"])
    package.save_file(found, tmp_path / "b.safetensors")
    again = Network.from_torch_state(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(again.parameters["hidden2->output"], network.parameters["hidden2->output"])


@SUFFIXES
def test_layers_are_in_natural_order(tmp_path, suffix):
    a, b, c = layers(4, 4, 4, 4)
    path = saved(tmp_path / f"a.{suffix}", fc10_weight=c, fc2_weight=b, fc2_bias=np.ones(4, "f4"), fc1_weight=a)
    network = Network.from_torch_state(path)
    assert [network.parameters[p.name].tobytes() for p in network.projections] == [one.tobytes() for one in (a, b, c)]
    assert network.population("hidden1").bias is None
    assert (network.parameters["hidden2.bias"] == 1).all()
    swapped = Network.from_torch_state(path, order=["fc2", "fc1", "fc10"])
    assert swapped.parameters["input->hidden1"].tobytes() == b.tobytes()
    swapped.to_torch_state(tmp_path / f"b.{suffix}", like=path, order=["fc2", "fc1", "fc10"])
    again = Network.from_torch_state(tmp_path / f"b.{suffix}")
    assert all(again.parameters[key].tobytes() == network.parameters[key].tobytes() for key in network.parameters)


def test_options_override_only_themselves(tmp_path, refuses):
    network = Network.dense([4, 4, 4], activation="sin", loss="cross_entropy", seed=0)
    network.to_torch_state(tmp_path / "a.safetensors")

    def read(**options):
        found = Network.from_torch_state(tmp_path / "a.safetensors", **options)
        return found.population("hidden1").phi.name, found.cost.name

    assert read() == read(order=["0", "2"]) == read(order=["2", "0"]) == ("sin", "cross_entropy")
    assert read(activation="relu") == ("relu", "cross_entropy")
    assert read(loss="squared_error") == ("sin", "squared_error")
    swapped = Network.from_torch_state(tmp_path / "a.safetensors", order=["2", "0"])
    np.testing.assert_array_equal(swapped.parameters["input->hidden1"], network.parameters["hidden1->output"])
    with refuses(UnknownNameError, "nonsense"):
        read(activation="nonsense")
    with refuses(OptionError, "order", "like"):
        network.to_torch_state(tmp_path / "b.safetensors", order=["nonsense"])


def test_a_file_like_one_of_ours_tells_this_network(tmp_path, same):
    Network.dense([3, 4, 2], activation="relu", seed=0).to_torch_state(tmp_path / "a.safetensors")
    new = Network.dense([3, 4, 2], activation="tanh", loss="cross_entropy", seed=1)
    new.to_torch_state(tmp_path / "b.safetensors", like=tmp_path / "a.safetensors")
    same(Network.from_torch_state(tmp_path / "b.safetensors"), new)


def test_the_order_is_checked(tmp_path, refuses):
    a, b = layers(4, 5, 3)
    path = saved(tmp_path / "a.safetensors", z_weight=a, a_weight=b)
    with refuses(NetworkError, "z.weight (5, 4) cannot follow a.weight (3, 5)", "order=[...]"):
        Network.from_torch_state(path)
    for order in (["z"], ["z", "a", "a"], "za", 5, [1, 2]):
        with refuses(OptionError, "order"):
            Network.from_torch_state(path, order=order)
    assert Network.from_torch_state(path, order=["z", "a"]).depth == 2


@SUFFIXES
def test_what_is_no_linear_layer_is_listed(tmp_path, suffix, refuses):
    (a,) = layers(4, 3)
    path = saved(
        tmp_path / f"a.{suffix}",
        fc_weight=a,
        bn_running_mean=np.zeros(3),
        conv_weight=np.zeros((2, 1, 3, 3)),
        norm_weight=np.ones(3),
    )
    with refuses(NetworkError, "bn.running_mean (3,)", "conv.weight (2, 1, 3, 3)", "norm.weight (3,)"):
        Network.from_torch_state(path)


def test_precisions(tmp_path, refuses):
    (a,) = layers(4, 3)
    for kind, found in (("f2", "float32"), ("f4", "float32"), ("f8", "float64")):
        path = saved(tmp_path / f"{kind}.npz", fc_weight=a.astype(kind))
        assert Network.from_torch_state(path).dtype == found
        assert Network.from_torch_state(path, dtype="float64").dtype == np.float64
    with refuses(DataError, "fc.weight", "int32"):
        Network.from_torch_state(saved(tmp_path / "i.npz", fc_weight=a.astype("i4")))


def test_bfloat16_is_widened(tmp_path):
    header = b'{"fc.weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\xc0\x3f\x80\xc0")
    found = Network.from_torch_state(tmp_path / "a.safetensors")
    assert found.parameters["input->output"].tolist() == [[1.5, -4.0]]


@SUFFIXES
def test_trained_weights_go_back_under_their_names(tmp_path, suffix, refuses):
    a, b = layers(4, 5, 3, dtype="f2")
    path = saved(tmp_path / f"a.{suffix}", net1_weight=a, net1_bias=np.ones(5, "f2"), net2_weight=b)
    network = Network.from_torch_state(path, activation="relu")
    trained = network.with_parameters({key: 2 * values for key, values in network.parameters.items()})
    trained.to_torch_state(tmp_path / f"b.{suffix}", like=path)
    again = Network.from_torch_state(tmp_path / f"b.{suffix}", activation="relu")
    np.testing.assert_array_equal(potentials(again, np.ones((1, 4), "f4")), potentials(trained, np.ones((1, 4), "f4")))
    with refuses(NetworkError, "net1.bias"):
        Network.dense([4, 6, 3]).to_torch_state(tmp_path / f"c.{suffix}", like=path)
    with refuses(DataError, "net1.weight", "too large for float16"):
        network.with_parameters({"input->hidden1": np.full((5, 4), 1e6)}).to_torch_state(tmp_path / f"c.{suffix}", like=path)


def test_only_chains_of_whole_matrices_fit(tmp_path, refuses):
    sizes = [Population("input", 3), Population("hidden1", 3, "tanh"), Population("output", 3)]
    eye = np.eye(3)
    skip = [Projection("input", "hidden1", eye), Projection("hidden1", "output", eye), Projection("input", "output", eye)]
    with refuses(NetworkError, "skips", "to_onnx"):
        Network(sizes, skip).to_torch_state(tmp_path / "a.npz")
    with refuses(NetworkError, "parts", "input->hidden1"):
        Network(sizes, [Projection("input", "hidden1", np.ones(3)), skip[1]]).to_torch_state(tmp_path / "a.npz")
    with refuses(OptionError, ".pt"):
        Network.dense([3, 2]).to_torch_state(tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_a_pickle_is_never_opened(tmp_path, refuses):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("something was unpickled",)

    (tmp_path / "a.pt").write_bytes(pickle.dumps({"0.weight": Bomb()}))
    np.savez(tmp_path / "b.npz", **{"0.weight": np.array([[Bomb()]], object)})
    for name in ("a.pt", "b.npz"):
        with refuses(FileError, name):
            Network.from_torch_state(tmp_path / name)
