"""Files made to do harm: each is an error of ours at once, nothing is followed, executed or overwritten."""

import gzip
import io
import json
import os
import sys
import zipfile

import numpy as np
import pytest

from dyadic_neuro.errors import DataError, FileError, MissingExtraError, NetworkError
from dyadic_neuro.network import Network
from tests.interchange import damage

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")
onnx = pytest.importorskip("onnx")

READERS = {"nir": Network.from_nir, "onnx": Network.from_onnx, "safetensors": Network.from_torch_state, "npz": Network.load}
HUGE = 2**40


@pytest.fixture
def network():
    return Network.dense([4, 6, 3], seed=0)


@pytest.fixture
def graph(tmp_path, network):
    """A NIR file, to be spoiled through h5py."""
    network.to_nir(tmp_path / "a.nir")
    return tmp_path / "a.nir"


@pytest.mark.parametrize("kind", READERS)
def test_missing_foreign_empty_and_unreadable_files(tmp_path, kind, refuses):
    np.save(tmp_path / "array.npy", np.arange(3))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "words").write_text("hello, this is no file of weights at all")
    (tmp_path / "zeros").write_bytes(bytes(4096))
    (tmp_path / "ones").write_bytes(b"\xff" * 4096)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(bytes(10**6)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "endless").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    h5py.File(tmp_path / "other.h5", "w").close()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for path in (*tmp_path.iterdir(), tmp_path / "none", tmp_path / "nul\0", tmp_path / "words" / "below"):
        with refuses(FileError, str(path)):
            READERS[kind](path)


@pytest.mark.parametrize("kind", damage.FORMATS)
def test_truncated_files(tmp_path, kind):
    whole = damage.valid(tmp_path, kind)
    path = tmp_path / "cut"
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises((FileError, NetworkError, DataError)):
            damage.read(path, kind)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, value, network, refuses):
    network.to_nir(tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir", "r+") as file:
        file["node/nodes/input->hidden1/weight"][0, 0] = value
    network.to_onnx(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    model.graph.initializer[0].raw_data = np.full((6, 4), value).tobytes()
    onnx.save(model, tmp_path / "a.onnx")
    np.savez(tmp_path / "a.npz", **{"0.weight": np.full((2, 2), value)})
    for read, name in ((Network.from_nir, "a.nir"), (Network.from_onnx, "a.onnx"), (Network.from_torch_state, "a.npz")):
        with refuses(DataError, "not finite"):
            read(tmp_path / name)


# --- HDF5 -----------------------------------------------------------------------------------------------------------------


def soft(file):
    file["node/nodes/soft"] = h5py.SoftLink("/node/nodes/hidden1")


def external(file):
    file["node/nodes/external"] = h5py.ExternalLink("/etc/passwd", "/")


def own_group(file):
    file["node/nodes/again"] = file["node"]


def deep(file):
    group = file["node"]
    for _ in range(40):
        group = group.create_group("deeper")


def crowded(file):
    for i in range(10_001):
        file.create_group(f"g{i}")


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("node/nodes/virtual", layout)


def outside(file):
    file.create_dataset("node/nodes/outside", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def reference(file):
    file.create_dataset("node/nodes/reference", data=file["node"].ref, dtype=h5py.ref_dtype)


def empty(file):
    file["node/nodes/empty"] = h5py.Empty("f4")


def named_type(file):
    file["node/nodes/type"] = np.dtype("f4")


def absurd(file):
    file.create_dataset("node/nodes/absurd", (HUGE,), "f4", chunks=(2**20,))


def vast_chunk(file):
    file.create_dataset("node/nodes/chunk", (4,), "f4", maxshape=(None,), chunks=(2**29,), compression="gzip")


def bomb(file):
    file.create_dataset("node/nodes/bomb", data=np.zeros(2**25, "f4"), chunks=(2**22,), compression="gzip")


def texts(file):
    file.create_dataset("node/nodes/texts", (10_001,), h5py.string_dtype())


def long_text(file):
    file.create_dataset("node/nodes/text", data="x" * (2**20 + 1), dtype=h5py.string_dtype())


def crowded_heap(file):
    file.create_dataset("node/nodes/short", data=["x"] * 9_999, dtype=h5py.string_dtype())
    for i in range(12):
        data = file.create_dataset(f"node/{i}", (9_999,), h5py.string_dtype())
        data[...] = np.array(["x"] * 9_999, object)


def ragged(file):
    file.create_dataset("node/nodes/ragged", (2,), h5py.vlen_dtype(np.dtype("f4")))


SPOILED = (
    soft,
    external,
    own_group,
    deep,
    crowded,
    virtual,
    outside,
    reference,
    empty,
    named_type,
    absurd,
    vast_chunk,
    bomb,
    texts,
    long_text,
    crowded_heap,
    ragged,
)


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda one: one.__name__)
def test_what_hdf5_can_do_and_a_graph_may_not(graph, spoil, refuses):
    with h5py.File(graph, "r+") as file:
        spoil(file)
    with refuses(FileError, str(graph)):
        Network.from_nir(graph)


def test_a_heap_that_runs_in_circles_is_left(graph, refuses):
    content = graph.read_bytes()
    at = content.index(b"GCOL")
    for i in range(at + 16, content.index(b"NIRGraph", at)):
        graph.write_bytes(content[:i] + bytes(1) + content[i + 1 :])  # among them the size of an object
        try:
            Network.from_nir(graph)
        except (FileError, NetworkError):
            continue


def test_neurons_that_cost_a_file_nothing_are_limited(tmp_path, refuses):
    path = tmp_path / "a.nir"
    nir.write(path, nir.NIRGraph({"i": nir.Input(np.array([HUGE])), "o": nir.Output(np.array([HUGE]))}, [("i", "o")]))
    with refuses(NetworkError, f"of size {HUGE}"):
        Network.from_nir(path)


@pytest.mark.parametrize("where", ["nodes/hidden1", "nodes/hidden1/type", "edges", "nodes", "nodes/input/shape", "type"])
def test_a_graph_with_a_part_missing(graph, where):
    with h5py.File(graph, "r+") as file:
        del file[f"node/{where}"]
    with pytest.raises((FileError, NetworkError)):
        Network.from_nir(graph)


# --- ONNX -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def external_data(tmp_path, network):
    """A model whose first matrix lies in weights.bin, and a function that says where."""
    network.to_onnx(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    tensor = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(bytes(8) + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL

    def write(**says):
        del tensor.external_data[:]
        for key, value in says.items():
            tensor.external_data.add(key=key, value=str(value))
        (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "a.onnx"

    return write


def test_external_data_beside_the_model_are_read(external_data, network, same):
    same(Network.from_onnx(external_data(location="weights.bin", offset=8)), network)


def test_external_data_become_part_of_a_file_like_it(external_data, network, same, tmp_path):
    path = external_data(location="weights.bin", offset=8)
    network.to_onnx(tmp_path / "b.onnx", like=path)
    (tmp_path / "weights.bin").unlink()
    same(Network.from_onnx(tmp_path / "b.onnx"), network)


SAYS = [
    {},
    {"location": ""},
    {"location": "none.bin"},
    {"location": "."},
    {"location": "../weights.bin"},
    {"location": "sub/../../weights.bin"},
    {"location": "/etc/passwd"},
    {"location": "link.bin"},
    {"location": "linked/weights.bin"},
    {"location": "weights.bin\0"},
    {"location": "weights.bin", "offset": -8},
    {"location": "weights.bin", "offset": HUGE},
    {"location": "weights.bin", "offset": "x"},
    {"location": "weights.bin", "offset": 8, "length": 8},
    {"location": "weights.bin", "offset": 8, "length": HUGE},
    {"location": "weights.bin", "offset": "9" * 5000},
]


@pytest.mark.parametrize("says", SAYS, ids=str)
def test_external_data_from_elsewhere_are_refused(external_data, says, tmp_path_factory, refuses):
    other = tmp_path_factory.mktemp("other")
    (other / "weights.bin").write_bytes(bytes(1000))
    path = external_data(**says)
    os.symlink(other / "weights.bin", path.with_name("link.bin"))
    os.symlink(other, path.with_name("linked"))
    with refuses(FileError, str(path)):
        Network.from_onnx(path)


@pytest.mark.parametrize("dims", [[HUGE, HUGE], [-6, -4], [6, -1], [6, 5], [], [0, 4]])
def test_tensors_whose_shapes_lie(tmp_path, network, dims):
    network.to_onnx(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    model.graph.initializer[0].dims[:] = dims
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises((DataError, NetworkError, FileError)):
        Network.from_onnx(tmp_path / "a.onnx")


def test_sums_that_double_at_every_node_are_populations(tmp_path):
    nodes = [onnx.helper.make_node("Add", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(60)]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 2]) for name in ("x0", "x60")]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])), tmp_path / "a.onnx")
    network = Network.from_onnx(tmp_path / "a.onnx")
    assert all((one.weights == 2).all() and not one.plastic for one in network.projections)
    assert network.depth == 60


def test_graphs_within_graphs_are_not_entered(tmp_path, refuses):
    inner = onnx.helper.make_graph([], "inner", [], [])
    for _ in range(30):
        inner = onnx.helper.make_graph([onnx.helper.make_node("Loop", [], ["y"], "loop", body=inner)], "inner", [], [])
    (tmp_path / "a.onnx").write_bytes(onnx.helper.make_model(inner).SerializeToString())
    with refuses(NetworkError, "loop (Loop"):
        Network.from_onnx(tmp_path / "a.onnx")


def test_protobuf_nested_too_deep(tmp_path, refuses):
    content = b""
    for _ in range(2000):  # GraphProto.node.attribute.g, again and again
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(content), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            content = tag + length + bytes([size]) + content
    (tmp_path / "a.onnx").write_bytes(b"\x3a" + content[1:])
    with refuses(FileError, "a.onnx"):
        Network.from_onnx(tmp_path / "a.onnx")


# --- metadata of our own, and packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        {"populations": 5},
        {"populations": [["input", HUGE, "identity", False]]},
        {"populations": [["input", float("inf"), "identity", False], ["output", 3, "identity", True]], "projections": []},
        "x" * 10**6,
    ],
)
def test_a_record_that_lies_is_not_believed(tmp_path, network, record):
    network.to_onnx(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    model.metadata_props[0].value = json.dumps(record)
    onnx.save(model, tmp_path / "a.onnx")
    assert [p.size for p in Network.from_onnx(tmp_path / "a.onnx").populations] == [4, 6, 3]


@pytest.mark.parametrize(("package", "write", "read"), [("h5py", "to_nir", "from_nir"), ("onnx", "to_onnx", "from_onnx")])
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, network, package, write, read, refuses):
    getattr(network, write)(tmp_path / "a")
    monkeypatch.setitem(sys.modules, package, None)
    with refuses(MissingExtraError, package, "dyadic-neuro[interchange]"):
        getattr(Network, read)(tmp_path / "a")
    with refuses(MissingExtraError, package):
        getattr(network, write)(tmp_path / "b")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("write", ["to_nir", "to_onnx"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, network, write):
    getattr(network, write)(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        getattr(network, write)(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    assert io.BytesIO(before).read()
