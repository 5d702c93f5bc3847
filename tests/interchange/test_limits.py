"""How large a network a small file can make, and how large a one is written: what is more is refused before it is built."""

import tracemalloc

import numpy as np
import pytest

from dyadic_neuro.errors import FileError, NetworkError
from dyadic_neuro.interchange import limits, records
from dyadic_neuro.interchange import nir as nir_format
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from tests.interchange import damage
from tests.interchange.models import saved

onnx = pytest.importorskip("onnx")


def chained(operator, count, *more):
    """Return nodes, each of which takes the result of the one before and constants of its own."""
    return [(operator, ["x" if i == 0 else f"t{i - 1}", *(f"{one}{i}" for one in more)], f"t{i}") for i in range(count)]


def joined(count):
    """Return nodes that each take a sum of all before."""
    names, nodes = ["x"], []
    for i in range(count):
        nodes += [("Sum", list(names), f"s{i}"), ("Tanh", [f"s{i}"], f"h{i}")]
        names.append(f"h{i}")
    return nodes


@pytest.mark.parametrize(("operator", "count"), [("Add", 40), ("Div", 20)])
def test_numbers_for_many_neurons_take_no_memory(tmp_path, operator, count, refuses):
    constants = {f"c{i}": np.float32(i + 1) for i in range(count)}
    nodes = chained(operator, count, "c")
    path = saved(tmp_path / "a.onnx", *nodes, shape=("batch", 2**19), outputs=(f"t{count - 1}",), **constants)
    tracemalloc.start()
    try:
        with refuses(NetworkError, "the most for a file of its size"):
            Network.from_onnx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        (chained("Tanh", 2_001), "2000 populations"),
        (joined(100), "5000 projections"),
        ([("Sum", ["x"] * 500, f"s{i}") for i in range(81)], "more than 10000 and 40000"),
        (chained("Identity", 10_001), "more than 10000 and 40000"),
    ],
    ids=["populations", "projections", "edges", "nodes"],
)
def test_networks_of_too_many_parts(tmp_path, nodes, says, refuses):
    with refuses(NetworkError, says):
        Network.from_onnx(saved(tmp_path / "a.onnx", *nodes, outputs=(nodes[-1][2],)))


def test_a_range_is_two_numbers_and_nothing_larger_is_read(tmp_path, refuses):
    path = saved(tmp_path / "a.onnx", ("Clip", ["x", "low"], "y"), low=np.zeros(2**20, "f4"))
    with refuses(NetworkError, "a range from -1 to 1"):
        Network.from_onnx(path)


def test_one_place_in_another_file_is_not_many_constants(tmp_path, monkeypatch, refuses):
    nodes = [("Gemm", ["x" if i == 0 else f"t{i - 1}", f"w{i}"], f"t{i}") for i in range(3)]
    path = saved(tmp_path / "a.onnx", *nodes, shape=("batch", 64), outputs=("t2",), **{f"w{i}": np.eye(64) for i in range(3)})
    model = onnx.load(path)
    (tmp_path / "weights.bin").write_bytes(np.eye(64).tobytes())
    for tensor in (one for one in model.graph.initializer if one.name in ("w0", "w1", "w2")):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    path.write_bytes(model.SerializeToString())
    assert Network.from_onnx(path).depth == 3
    monkeypatch.setattr(limits, "BOMB_BYTES", 0)
    monkeypatch.setattr(limits, "BOMB_RATIO", 1)
    with refuses(FileError, "holds constants of more than"):
        Network.from_onnx(path)


def test_nir_graphs_have_the_same_limits(tmp_path, monkeypatch, refuses):
    pytest.importorskip("nir")
    damage.foreign_nir(tmp_path / "a.nir")
    monkeypatch.setattr(nir_format, "most_bytes", lambda _: 100)
    with refuses(NetworkError, "the most for a file of its size"):
        Network.from_nir(tmp_path / "a.nir", activation="tanh")
    monkeypatch.setattr(nir_format, "MOST_EDGES", 7)
    with refuses(NetworkError, "more than 7"):
        Network.from_nir(tmp_path / "a.nir", activation="tanh")


@pytest.mark.parametrize("write", ["to_nir", "to_onnx"])
def test_what_could_not_be_read_is_not_written(tmp_path, monkeypatch, write, refuses):
    populations = [Population("input", 40_000), Population("h", 40_001, "tanh"), Population("output", 1)]
    part = Projection("input", "h", np.ones(40_000), shape=(40_001, 40_000))
    network = Network(populations, [part, Projection("h", "output", np.ones((1, 40_001)))])
    with refuses(NetworkError, "as whole matrices"):
        getattr(network, write)(tmp_path / "a")
    monkeypatch.setattr(records, "MOST_PROJECTIONS", 1)
    with refuses(NetworkError, "3 populations and 2 projections", "use save"):
        getattr(Network.dense([2, 2, 2]), write)(tmp_path / "a")
    assert not list(tmp_path.iterdir())
