"""ONNX files and the tensors in them, taken with checks of every size, and never from outside the file's folder."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import DataError, FileError, MissingExtraError, NetworkError
from dyadic_neuro.interchange import graph
from dyadic_neuro.interchange.limits import MOST_EDGES, MOST_NODES, most_bytes, size_of

MOST_FILE = 2**31 - 1
"""Bytes of one model without its external data: protobuf counts no further."""
_FLOATS = {1: ("<f4", "float_data"), 11: ("<f8", "double_data"), 10: ("<f2", "int32_data")}
_WHOLES = {7: ("<i8", "int64_data"), 6: ("<i4", "int32_data"), 9: ("|b1", "int32_data")}
_BFLOAT16 = 16
_TENSOR = 4  # an attribute that is one


def package() -> Any:  # noqa: ANN401
    """Return the package onnx. Raises MissingExtraError."""
    try:
        import onnx
    except ImportError as error:
        fix = "pip install 'dyadic-neuro[interchange]'"
        raise MissingExtraError("onnx", f"cannot be imported ({error})", fix) from error
    return onnx


def load(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401
    """Return the model in a file. Raises FileError when it is missing, foreign, truncated, corrupt or too large; NetworkError."""
    onnx = package()
    size = size_of(path)
    if size > MOST_FILE:
        raise FileError(str(path), f"has {size} bytes, more than {MOST_FILE}", "keep large weights as external data")
    try:
        with open(path, "rb") as file:
            model = onnx.ModelProto.FromString(file.read())
    except Exception as error:  # noqa: BLE001  (protobuf's own class for what it cannot decode)
        problem = f"cannot be read as ONNX ({type(error).__name__}: {error})"
        raise FileError(str(path), problem, "it is foreign, truncated or corrupt: use another copy") from None
    if not model.HasField("graph") or not model.graph.node:
        raise FileError(str(path), "holds no ONNX graph", "name a model file")
    counts = len(model.graph.node), max(sum(len(node.input) for node in model.graph.node), len(model.graph.initializer))
    if counts[0] > MOST_NODES or counts[1] > MOST_EDGES:
        problem = f"are {counts[0]} with {counts[1]} inputs or constants, more than {MOST_NODES} and {MOST_EDGES}"
        raise NetworkError("nodes", problem, "use a smaller model")
    if model.graph.sparse_initializer or model.graph.quantization_annotation:
        raise NetworkError("model", "has sparse or quantized constants", "export it with plain ones")
    return model


def attributes(node: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the attributes of a node that are numbers or texts; None for any other."""
    fields = {1: "f", 2: "i", 3: "s"}
    found = {one.name: getattr(one, fields[one.type]) if one.type in fields else None for one in node.attribute}
    return {name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in found.items()}


class Tensors:
    """The constants of a graph, by name: initializers and the results of Constant nodes."""

    def __init__(self, path: str | os.PathLike[str], model_graph: Any) -> None:  # noqa: ANN401
        self.path = path
        self.total = 0
        self.files = {os.path.realpath(path): size_of(path)}
        self.names: dict[str, Any] = {}
        self.numbers: dict[str, Any] = {}
        found = [(one.name, one) for one in model_graph.initializer]
        for node in (one for one in model_graph.node if one.op_type == "Constant"):
            if len(node.output) == len(node.attribute) == 1 and (tensor := _tensor_of(node.attribute[0])) is not None:
                found.append((node.output[0], tensor))
                if node.attribute[0].type != _TENSOR:
                    self.numbers[node.output[0]] = node.attribute[0]
        for name, tensor in found:
            if name in self.names:
                raise NetworkError(f"constant {name}", "stands there twice", "give each its own name")
            self.names[name] = tensor

    @property
    def most(self) -> int:
        """The bytes that all constants may take: the model's file, and those beside it that were read, tell it."""
        return most_bytes(sum(self.files.values()))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a constant. Raises DataError if it is none."""
        shape = tuple(int(n) for n in self._tensor(name).dims)
        if any(n < 0 for n in shape):
            raise DataError(f"constant {name}", f"has shape {shape}", "check the file")
        return shape

    def real(self, name: str) -> Array:
        """Return a constant in float32 or float64; halves and bfloat16 are widened, which is exact. Raises DataError."""
        tensor = self._tensor(name)
        if tensor.data_type == _BFLOAT16:
            words = self._values(name, tensor, "<u2", "int32_data")
            return (words.astype(np.uint32) << 16).view(np.float32)
        if tensor.data_type not in _FLOATS:
            raise DataError(f"constant {name}", f"is of the type {tensor.data_type}, no float", "use float, double or float16")
        return graph.real(f"constant {name}", self._values(name, tensor, *_FLOATS[tensor.data_type]))

    def whole(self, name: str) -> list[int]:
        """Return a constant of at most eight whole numbers or truth values. Raises DataError."""
        tensor = self._tensor(name)
        if tensor.data_type not in _WHOLES or math.prod(self.shape(name)) > 8:
            raise DataError(f"constant {name}", "is no short list of whole numbers", "check the file")
        return [int(n) for n in self._values(name, tensor, *_WHOLES[tensor.data_type]).ravel()]

    def replace(self, name: str, values: Array) -> None:
        """Put other values of the same shape in place of a constant, in its own type."""
        tensor = self._tensor(name)
        if tensor.data_type == _BFLOAT16:
            raise DataError(f"constant {name}", "is bfloat16, which numpy cannot round to", "write a new file, without like")
        dtype, field = _FLOATS[tensor.data_type]
        narrowed = graph.narrowed(f"constant {name}", values, np.dtype(dtype))
        if name in self.numbers:
            self.numbers[name].CopyFrom(package().helper.make_attribute(self.numbers[name].name, narrowed.tolist()))
            return
        tensor.ClearField(field)
        tensor.raw_data = narrowed.tobytes()

    def gather(self) -> None:
        """Put what lies in other files into this one, which may be written to another folder."""
        sizes = {kind: np.dtype(dtype).itemsize for kind, (dtype, _) in (_FLOATS | _WHOLES | {_BFLOAT16: ("<u2", "")}).items()}
        for name, tensor in self.names.items():
            if tensor.data_location == 1:
                if tensor.data_type not in sizes:
                    raise DataError(f"constant {name}", f"is of the type {tensor.data_type}", "keep it in the model's own file")
                data = self._external(name, tensor, math.prod(self.shape(name)) * sizes[tensor.data_type])
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = data

    def _tensor(self, name: str) -> Any:  # noqa: ANN401
        if name not in self.names:
            raise NetworkError(f"constant {name}", "is nowhere in the file", "export the model with its weights")
        return self.names[name]

    def _values(self, name: str, tensor: Any, dtype: str, field: str) -> Array:  # noqa: ANN401
        shape = self.shape(name)
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        if tensor.HasField("segment"):
            raise DataError(f"constant {name}", "is a part of a tensor", "export the model with whole ones")
        if tensor.data_location == 1:
            data = self._external(name, tensor, wanted)
        elif tensor.HasField("raw_data"):
            data = tensor.raw_data
        else:
            numbers = np.array(getattr(tensor, field))
            if numbers.dtype.kind == "i" and dtype in ("<f2", "<u2"):  # halves are kept as the numbers of their bits
                data = numbers.astype("<u2").tobytes()
            else:
                data = numbers.astype(dtype).tobytes()
        if len(data) != wanted:
            raise DataError(f"constant {name}", f"of shape {shape} has {len(data)} bytes, not {wanted}", "use another copy")
        return np.frombuffer(data, dtype).reshape(shape)

    def _external(self, name: str, tensor: Any, wanted: int) -> bytes:  # noqa: ANN401
        """Return the bytes of a constant from a file beside the model. Raises FileError."""
        says = {one.key: one.value for one in tensor.external_data}
        folder = os.path.realpath(os.path.dirname(os.path.abspath(self.path)))
        where = says.get("location", "")
        try:
            target = os.path.realpath(os.path.join(folder, where))
            if not where or os.path.isabs(where) or os.path.commonpath([folder, target]) != folder:
                raise FileError(str(self.path), f"keeps {name} outside of its folder, in {where!r}", "put the data beside it")
            if not os.path.isfile(target):
                raise FileError(str(self.path), f"keeps {name} in {where!r}, which is no file", "put the data beside the model")
            start, length = int(says.get("offset", 0)), int(says.get("length", wanted))
            if start < 0 or length != wanted or start + length > os.path.getsize(target):
                raise FileError(str(self.path), f"keeps {name} at {start} in {where!r}, which is too short", "use another copy")
            self.files[target] = os.path.getsize(target)
            self.total += wanted
            if self.total > self.most:
                raise FileError(str(self.path), f"holds constants of more than {self.most} bytes", "use a smaller network")
            with open(target, "rb") as file:
                file.seek(start)
                return file.read(length)
        except FileError:
            raise
        except (OSError, ValueError, OverflowError) as error:
            raise FileError(str(self.path), f"keeps {name} in {where!r}: {error}", "put the data beside the model") from None


def _tensor_of(attribute: Any) -> Any:  # noqa: ANN401
    """Return the tensor that the attribute of a Constant node is, one made of its numbers, or None."""
    make, floats, whole = package().helper.make_tensor, 1, 7
    if (attribute.name, attribute.type) == ("value", _TENSOR):
        return attribute.t
    if (attribute.name, attribute.type) == ("value_float", 1):
        return make("", floats, (), [attribute.f])
    if (attribute.name, attribute.type) == ("value_floats", 6):
        return make("", floats, (len(attribute.floats),), attribute.floats)
    if (attribute.name, attribute.type) == ("value_int", 2):
        return make("", whole, (), [attribute.i])
    if (attribute.name, attribute.type) == ("value_ints", 7):
        return make("", whole, (len(attribute.ints),), attribute.ints)
    return None
