"""Valid files of every format, and ways to spoil them, drawn from a seed."""

import io
import json
import random
import re
import zipfile
from contextlib import suppress

import numpy as np

from dyadic_neuro.network import Network

FORMATS = ("nir", "nir-foreign", "onnx", "onnx-foreign", "safetensors", "torch-npz", "npz", "npz-deflated", "npz-lzma")


def foreign_nir(path):
    """Write a file that other tools could have written: spiking neurons, a skip, a scale, a nested graph."""
    import nir

    rng = np.random.default_rng(0)

    def lif(n, size="f4"):
        return nir.LIF(*(np.full(n, value, size) for value in (0.02, 1, 0, 1)))

    inner = nir.NIRGraph.from_list(nir.Linear(rng.normal(size=(5, 5)).astype("f4")), lif(5))
    nodes = {
        "in": nir.Input(np.array([4])),
        "fc1": nir.Affine(rng.normal(size=(5, 4)).astype("f4"), rng.normal(size=5).astype("f4")),
        "lif1": lif(5),
        "sub": inner,
        "gain": nir.Scale(rng.normal(size=5).astype("f4")),
        "fc2": nir.Linear(rng.normal(size=(3, 5)).astype("f4")),
        "li": nir.LI(*(np.full(3, value, "f4") for value in (0.1, 2, 0.5))),
        "out": nir.Output(np.array([3])),
    }
    edges = [("in", "fc1"), ("fc1", "lif1"), ("lif1", "sub"), ("lif1", "gain"), ("sub", "fc2"), ("gain", "fc2")]
    nir.write(path, nir.NIRGraph(nodes, [*edges, ("fc2", "li"), ("li", "out")], metadata={"tool": "other", "version": 3}))


def foreign_onnx(path):
    """Write a model as exporters do: constants of every kind, a reshape, a residual sum, a softmax."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    w1, w2, w3 = (rng.normal(size=shape).astype("f4") for shape in ((4, 6), (6, 6), (3, 6)))
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "w1"], ["m1"], "mm1"),
        helper.make_node("Constant", [], ["b1"], value=numpy_helper.from_array(rng.normal(size=(1, 6)).astype("f4"))),
        helper.make_node("Add", ["m1", "b1"], ["a1"], "add1"),
        helper.make_node("Relu", ["a1"], ["h1"], "relu"),
        helper.make_node("Gemm", ["h1", "w2", "b2"], ["g2"], "gemm2", alpha=0.5, beta=2.0),
        helper.make_node("Add", ["g2", "h1"], ["residual"], "skip"),
        helper.make_node("Tanh", ["residual"], ["h2"]),
        helper.make_node("Gemm", ["h2", "w3"], ["logits"], "gemm3", transB=1),
        helper.make_node("Softmax", ["logits"], ["y"], "softmax", axis=-1),
    ]
    half = rng.normal(size=6).astype("f4")
    tensors = {"w1": w1, "w2": w2, "w3": w3, "b2": half, "shape": np.array([-1, 4])}
    ends = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 2, 2]),
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 3]),
    ]
    made = helper.make_graph(nodes, "net", ends[:1], ends[1:], [numpy_helper.from_array(v, k) for k, v in tensors.items()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, doc_string="of another tool")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


class Files:
    """A folder, and the contents of a valid file of each format."""

    def __init__(self, folder):
        self.folder, self.contents = folder, {kind: valid(folder, kind) for kind in FORMATS}


def valid(folder, kind):
    """Return the bytes of a file that can be read."""
    path = folder / f"valid-{kind}"
    net = Network.dense([4, 6, 5, 3], seed=0, dtype="float32")
    if kind == "nir-foreign":
        foreign_nir(path)
    elif kind == "onnx-foreign":
        foreign_onnx(path)
    elif kind in ("safetensors", "torch-npz"):
        path = path.with_suffix({"safetensors": ".safetensors", "torch-npz": ".npz"}[kind])
        net.to_torch_state(path)
    else:
        {"nir": net.to_nir, "onnx": net.to_onnx, "npz": net.save}[kind.split("-")[0]](path)
    return _packed(path.read_bytes(), kind)


def _packed(content, kind):
    """Return an npz file with its members packed as its kind says; any other file as it is."""
    way = {"npz-deflated": zipfile.ZIP_DEFLATED, "npz-lzma": zipfile.ZIP_LZMA}.get(kind)
    if way is None:
        return content
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", way) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return file.getvalue()


def read(path, kind):
    """Return the network in a file of this kind."""
    if kind.startswith("nir"):
        return Network.from_nir(path, activation="tanh" if kind == "nir-foreign" else None)
    if kind.startswith("onnx"):
        return Network.from_onnx(path, loss="cross_entropy")
    return Network.load(path) if kind.startswith("npz") else Network.from_torch_state(path)


def spoiled(content, kind, seed):
    """Return the bytes of a file of this kind, damaged in its bytes, or written anew with other contents."""
    rng = random.Random(seed)
    structured = {"nir": _nir, "onnx": _onnx, "safetensors": _safetensors, "torch-npz": _npz, "npz": _npz}
    special = structured[kind if kind in structured else kind.split("-")[0]]
    change = rng.choice([_flip, _flip, _splice, _cut, special, special, special])
    return change(content, rng)


def _flip(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        i = rng.randrange(len(content))
        content[i] = rng.choice([0, 1, 127, 128, 255, content[i] ^ 1 << rng.randrange(8)])
    return bytes(content)


def _splice(content, rng):
    i, j, n = rng.randrange(len(content)), rng.randrange(len(content)), rng.randrange(1, 300)
    return content[:i] + rng.choice([content[j : j + n], rng.randbytes(n), b"\0" * n]) + content[i + rng.choice([0, n]) :]


def _cut(content, rng):
    return content[: rng.randrange(len(content))]


VALUES = (-1, 0, 1, 2, 7, 2**31, 2**63 - 1, 1e300, float("nan"), float("inf"), "", "x", "input", "NIRGraph", None, True, [], {})


def _nir(content, rng):
    import h5py

    file = io.BytesIO(content)
    with h5py.File(file, "r+") as root:
        noted = root.get("node/metadata/dyadic_neuro")
        told = noted is not None and rng.random() < 0.3
        if told:
            noted[()] = _noted(noted.asstr()[()], rng)
        for _ in range(0 if told else rng.choice([1, 1, 3])):
            with suppress(RuntimeError, OSError, KeyError):  # the library refuses what an earlier change has left
                _change(rng.choice(_groups(root)), rng)
    return file.getvalue()


def _change(group, rng):
    """Change one entry of an HDF5 group."""
    import h5py

    if not group.keys():
        return
    name, way = rng.choice(list(group)), rng.randrange(8)
    values = rng.choice([v for v in VALUES if v is not None and not isinstance(v, dict)])
    others = list(group.keys() - {name})
    if way < 2:
        del group[name]
        group[name] = values if isinstance(values, (int, float, str)) and abs(hash(values)) < 2**62 else np.zeros(3)
    elif way == 2 and others:
        del group[name]
        group.copy(rng.choice(others), name)
    elif way == 3 and others:
        group[rng.choice(["extra", "a->b", "\u20ac"]) + str(rng.random())] = group[rng.choice(others)]
    elif way == 4:
        group[f"soft{rng.random()}"] = rng.choice([h5py.SoftLink("/node"), h5py.ExternalLink("x.h5", "/"), group])
    elif way == 5:
        kind, shape = rng.choice(["f2", "f4", "i8", "c16", "S3", "?"]), rng.choice([(), (3,), (5, 4), (2, 3, 4), (0,)])
        del group[name]
        group.create_dataset(name, shape, kind)
    elif way == 6:
        del group[name]
        group.create_dataset(name, (2 ** rng.randrange(20, 60),), "f4", chunks=(1024,), compression="gzip")
    else:
        del group[name]


def _groups(root):
    import h5py

    found = [root]
    root.visititems(lambda _, one: found.append(one) if isinstance(one, h5py.Group) else None)
    return found


def _onnx(content, rng):
    import onnx

    model = onnx.ModelProto.FromString(content)
    noted = [one for one in model.metadata_props if one.key == "dyadic_neuro"]
    if noted and rng.random() < 0.3:
        noted[0].value = _noted(noted[0].value, rng)
        return model.SerializeToString()
    for _ in range(rng.choice([1, 1, 3])):
        _mutate(model, rng)
    return model.SerializeToString()


def _mutate(message, rng):
    """Change one field somewhere below a protobuf message."""
    fields = [one for one, _ in message.ListFields()] or list(message.DESCRIPTOR.fields)
    field = rng.choice(fields)
    repeated, value = field.is_repeated, getattr(message, field.name)
    if repeated and len(value):
        i = rng.randrange(len(value))
        if field.type == field.TYPE_MESSAGE and rng.random() < 0.8:
            return _mutate(value[i], rng)
        if rng.random() < 0.3:
            del value[i]
        elif field.type == field.TYPE_MESSAGE:
            value.add().CopyFrom(value[i])
        else:
            value[i] = _scalar(field, value[i], rng)
    elif field.type == field.TYPE_MESSAGE:
        if not repeated:
            _mutate(value, rng) if rng.random() < 0.8 else message.ClearField(field.name)
    elif not repeated:
        setattr(message, field.name, _scalar(field, value, rng))
    return None


def _scalar(field, old, rng):
    if field.type == field.TYPE_STRING:
        return rng.choice(["", "x", "w1", "b2", "Relu", "Loop", "../x", "h1", "input", old[:-1]])
    if field.type == field.TYPE_BYTES:
        return rng.choice([b"", old[:-1], old * 2, rng.randbytes(8)])
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice([0.0, 1.0, -1.0, float("nan"), float("inf")])
    return rng.choice(
        [0, 1, 2, 3, 6, 7, 10, 11, 16, 2**31 - 1]
        if field.cpp_type == field.CPPTYPE_ENUM or field.type == 5
        else [-(2**63), -1, 0, 1, 2, 6, 2**31, 2**40, 2**63 - 1]
    )


def _json(value, rng):
    """Return a JSON value with one part changed."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        return {**{k: v for k, v in value.items() if k != key}, rng.choice([key, key, key, "x"]): _json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        i = rng.randrange(len(value))
        return [*value[:i], *rng.choice([[], [_json(value[i], rng)], [_json(value[i], rng)], [value[i]] * 2]), *value[i + 1 :]]
    return rng.choice(VALUES)


def _noted(text, rng):
    """Return the text of a record with one part changed, or one word of it."""
    if rng.random() < 0.5:
        return json.dumps(_json(json.loads(text), rng))
    start, stop = rng.choice([found.span() for found in re.finditer(r'"[^"]*"|\d+|true|false', text)])
    return text[:start] + rng.choice(["1e999", "-1e999", *map(json.dumps, VALUES)]) + text[stop:]


def _safetensors(content, rng):
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if rng.random() < 0.3:
        header["__metadata__"]["dyadic_neuro"] = _noted(header["__metadata__"]["dyadic_neuro"], rng)
    else:
        header = _json(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _npz(content, rng):
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice(list(arrays))
    if name == "__record__":
        arrays[name] = np.array(_noted(str(arrays[name]), rng))
    else:
        kinds = (
            np.zeros(3),
            np.zeros((2, 3, 4)),
            np.full((6, 4), np.nan),
            np.zeros((6, 4), complex),
            np.array("x"),
            np.zeros((6, 4), int),
        )
        arrays[rng.choice([name, name, "running_mean"])] = rng.choice(kinds)
        if rng.random() < 0.2:
            del arrays[name]
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
