"""ONNX models (onnx.ai, operator sets 7 to now) of matrices, biases and elementwise rate functions, read and written."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import NetworkError
from dyadic_neuro.interchange import graph
from dyadic_neuro.interchange.graph import Link, Reading, Reduction, Signal, Slot
from dyadic_neuro.interchange.onnx_file import Tensors, attributes, load, package
from dyadic_neuro.interchange.outputs import writing

LEAK = 0.01
"""The slope of LeakyRelu below 0, ours and the operator's default."""
RATES = {
    "Tanh": "tanh",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "LeakyRelu": "leaky_relu",
    "Softplus": "softplus",
    "Clip": "hard_tanh",
    "Gelu": "gelu",
    "Sin": "sin",
}
"""The operators that are rate functions of ours: LeakyRelu with our slope, Clip from -1 to 1, Gelu in its tanh form."""
_LINEAR = ("Gemm", "MatMul", "Add", "Sum", "Mul")
_WIRES = ("Identity", "Flatten", "Reshape")
_ENDS = ("Softmax", "LogSoftmax")
_ATTRIBUTES = {
    "Gemm": {"alpha", "beta", "transA", "transB"},
    "LeakyRelu": {"alpha"},
    "Clip": {"min", "max"},
    "Gelu": {"approximate"},
    "Flatten": {"axis"},
    "Reshape": {"allowzero"},
    "Softmax": {"axis"},
    "LogSoftmax": {"axis"},
}
_OPSET, _IR = 20, 10  # the first with Gelu, and the format version of its time
_FIRST_OPSET = 7  # before it, sums and products had rules of their own


def read(path: str | os.PathLike[str], loss: object = None) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the record and the parameters of the network in a file; `loss` is the name of the loss that takes in its end."""
    reading = _reading(path, load(path), loss)
    return reading.record, reading.arrays


def write(
    path: str | os.PathLike[str],
    record: Mapping[str, Any],
    parameters: Mapping[str, Array],
    *,
    like: str | os.PathLike[str] | None,
    overwrite: bool,
) -> None:
    """Write a network: its parameters are initializers of the same names. With `like`, write that file with these parameters."""
    model = _model(record, parameters) if like is None else _updated(like, record, parameters)
    try:
        data = model.SerializeToString()
    except Exception as error:  # noqa: BLE001  (protobuf's own class, for what is larger than it can count)
        raise NetworkError("to_onnx", f"is too large for the format ({error})", "use NIR, or save") from None
    with writing(path, overwrite=overwrite) as file:
        file.write(data)


def _reading(path: str | os.PathLike[str], model: Any, loss: object) -> Reading:  # noqa: ANN401
    tensors = Tensors(path, model.graph)
    with np.errstate(all="ignore"):  # what overflows is not finite, and refused where the network is built
        return _ours(model, tensors) or _Reader(model, tensors, loss).reading()


# --- models of any tool ---------------------------------------------------------------------------------------------------


class _Reader:
    """Reads one model. `signals` holds for each of its values the signal and the shape of one sample."""

    def __init__(self, model: Any, tensors: Tensors, loss: object) -> None:  # noqa: ANN401
        self.graph, self.tensors, self.loss = model.graph, tensors, loss
        self.reduction = Reduction()
        self.signals: dict[str, tuple[Signal, tuple[int, ...]]] = {}
        for one in model.opset_import:
            if one.domain in ("", "ai.onnx") and one.version < _FIRST_OPSET:
                problem = f"is of operator set {one.version}"
                raise NetworkError("model", problem, f"convert it to {_FIRST_OPSET} or later, with onnx.version_converter")

    def reading(self) -> Reading:
        """Return the network. Raises NetworkError that lists what is none."""
        if len(self.graph.node) > graph.MOST_NODES:
            raise NetworkError("nodes", f"are {len(self.graph.node)}, more than {graph.MOST_NODES}", "use a smaller model")
        named = {_name(node): node for node in self.graph.node if node.op_type != "Constant"}
        self._check(named)
        maker = {tensor: name for name, node in named.items() for tensor in node.output}
        if len(named) + sum(node.op_type == "Constant" for node in self.graph.node) != len(self.graph.node) or len(maker) != len(
            [tensor for node in named.values() for tensor in node.output]
        ):
            raise NetworkError("nodes", "share a name or a result", "give each its own")
        inputs = [one for one in self.graph.input if one.name not in self.tensors.names]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            found = [one.name for one in inputs], [one.name for one in self.graph.output]
            raise NetworkError("model", f"has inputs {found[0]} and outputs {found[1]}", "a network has one of each")
        self._input(inputs[0], named)
        last = self.graph.output[0].name
        edges = [(maker[tensor], name) for name, node in named.items() for tensor in node.input if tensor in maker]
        for name in graph.ordered(named, edges):
            node = named[name]
            self.signals[node.output[0]] = self._absorbed(node, last) or self._signal(name, node)
        if last not in self.signals:
            raise NetworkError("model", f"computes no {last!r}, its output", "check the file")
        return self.reduction.output(self.signals[last][0])

    def _check(self, named: Mapping[str, Any]) -> None:
        """Refuse every node that is neither a projection nor a rate function."""
        known, foreign = {*_LINEAR, *_WIRES, *_ENDS, *RATES}, []
        for name, node in named.items():
            unlike = {one.name for one in node.attribute} - _ATTRIBUTES.get(node.op_type, set())
            if node.op_type not in known or node.domain not in ("", "ai.onnx") or len(node.output) != 1 or unlike:
                foreign.append(f"{name} ({node.op_type}{f' with {sorted(unlike)}' if unlike else ''})")
        if foreign:
            problem = f"that no population or projection can be: {', '.join(foreign)}"
            raise NetworkError("nodes", problem, f"use {sorted(known)}")

    def _input(self, value: Any, named: Mapping[str, Any]) -> None:  # noqa: ANN401
        dims = [int(one.dim_value) for one in value.type.tensor_type.shape.dim]
        shape = tuple(dims[1:])
        if len(dims) == 1 or any(n < 0 for n in dims):
            raise NetworkError(f"input {value.name}", f"has shape {dims}, without a batch", "export the model with a batch axis")
        if not shape or 0 in shape:  # not said: the first matrix tells it
            following, frontier = [], {value.name}
            for node in named.values():
                if node.op_type in _WIRES and node.input and node.input[0] in frontier:
                    frontier.update(node.output)
                elif frontier & set(node.input):
                    following.append(node)
            sizes = {self._inputs_of(node) for node in following}
            if len(sizes) != 1 or None in sizes:
                raise NetworkError(f"input {value.name}", f"has shape {dims}, of no known size", "export the model with its size")
            shape = (sizes.pop() or 0,)
        self.batch = dims[0] if dims else 0
        self.signals[value.name] = self.reduction.input(value.name, math.prod(shape)), shape

    def _inputs_of(self, node: Any) -> int | None:  # noqa: ANN401
        if node.op_type not in ("Gemm", "MatMul") or len(node.input) < 2 or node.input[1] not in self.tensors.names:
            return None
        shape = self.tensors.shape(node.input[1])
        return shape[1 if attributes(node).get("transB") else 0] if len(shape) == 2 else None

    def _absorbed(self, node: Any, last: str) -> tuple[Signal, tuple[int, ...]] | None:  # noqa: ANN401
        """Return what the loss reads where the model's last node is part of the loss."""
        if node.op_type in _ENDS:
            shape = self._of(node, 0)[1]
            if node.output[0] != last or attributes(node).get("axis", -1) not in (-1, len(shape)):
                raise NetworkError(f"node {_name(node)}", "is a softmax, but not over the outputs at the end", "remove it")
            if self.loss != "cross_entropy":
                problem = f"is part of the loss 'cross_entropy', not of {self.loss!r}"
                raise NetworkError(f"node {_name(node)}", problem, "pass loss='cross_entropy', or export the model without it")
            return self._of(node, 0)
        if node.op_type == "Sigmoid" and node.output[0] == last and self.loss == "binary_cross_entropy":
            return self._of(node, 0)
        return None

    def _of(self, node: Any, i: int) -> tuple[Signal, tuple[int, ...]]:  # noqa: ANN401
        if i >= len(node.input) or node.input[i] not in self.signals:
            found = node.input[i] if i < len(node.input) else ""
            problem = f"wants a signal as input {i}, not {found!r}"
            raise NetworkError(f"node {_name(node)}", problem, "only products with constant matrices are projections")
        return self.signals[node.input[i]]

    def _signal(self, name: str, node: Any) -> tuple[Signal, tuple[int, ...]]:  # noqa: ANN401
        kind, options = node.op_type, attributes(node)
        if kind in RATES:
            self._check_rate(name, node, options)
            x, shape = self._of(node, 0)
            return self.reduction.rate(name, x, RATES[kind]), shape
        if kind in _WIRES:
            x, shape = self._of(node, 0)
            return x, shape if kind == "Identity" else self._reshaped(name, node, options, x, shape)
        if kind in ("Gemm", "MatMul"):
            return self._matrix(name, node, options)
        flows = [self.signals[one] for one in node.input if one in self.signals]
        constants = [one for one in node.input if one not in self.signals]
        if kind == "Mul":
            if len(flows) != 1 or len(constants) != 1:
                raise NetworkError(f"node {name}", "multiplies two signals", "only products with constants are projections")
            return self.reduction.affine(name, flows[0][0], self._vector(constants[0], flows[0][0].size)), flows[0][1]
        if not flows or len({math.prod(shape) for _, shape in flows}) != 1:
            raise NetworkError(f"node {name}", f"adds shapes {[shape for _, shape in flows]}", "add signals of one size")
        x, shape = self.reduction.add(name, [one for one, _ in flows]), flows[0][1]
        for constant in constants:
            x = self.reduction.affine(name, x, None, self._vector(constant, x.size))
        return x, shape

    def _matrix(self, name: str, node: Any, options: Mapping[str, Any]) -> tuple[Signal, tuple[int, ...]]:  # noqa: ANN401
        (x, shape), gemm = self._of(node, 0), node.op_type == "Gemm"
        alpha, beta = options.get("alpha", 1.0), options.get("beta", 1.0)
        if options.get("transA"):
            raise NetworkError(f"node {name}", "transposes its signal", "only products with constant matrices are projections")
        if sum(n != 1 for n in shape) > 1:
            raise NetworkError(f"node {name}", f"gets an array of shape {shape}, not a vector", "flatten it first")
        transposed = bool(options.get("transB"))
        values = self.tensors.real(node.input[1] if len(node.input) > 1 else "")
        if values.ndim != 2:
            raise NetworkError(f"node {name}", f"has weights of shape {values.shape}", "use matrices")

        def restore(new: Array) -> Array:
            scaled = new if alpha == 1 else new / alpha
            return scaled if transposed else scaled.T

        matrix = values if transposed else values.T
        weights = Slot(node.input[1], matrix if alpha == 1 else matrix * matrix.dtype.type(alpha), restore)
        biased = gemm and len(node.input) > 2 and node.input[2]
        bias = self._vector(node.input[2], len(matrix), beta) if biased else None
        return self.reduction.affine(name, x, weights, bias), (len(matrix),)

    def _vector(self, name: str, size: int, factor: float = 1.0) -> Slot:
        """Return a constant as a vector of that size, a number as one for all."""
        old = self.tensors.real(name)
        if old.size not in (1, size) or sum(n != 1 for n in old.shape) > 1:
            raise NetworkError(f"constant {name}", f"has shape {old.shape}, where {size} values are added", "check the file")

        def restore(new: Array) -> Array:
            new = new if factor == 1 else new / factor
            if old.size != size and (new != new[0]).any():
                raise NetworkError(f"constant {name}", f"is one number for {size} neurons", "write a new file, without like")
            return new[: old.size].reshape(old.shape)

        flat = old.ravel() if old.size == size else np.full(size, old.ravel()[0])
        return Slot(name, flat if factor == 1 else flat * flat.dtype.type(factor), restore)

    def _check_rate(self, name: str, node: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Refuse the rate functions that are none of ours."""
        kind, wanted = node.op_type, ""
        if kind == "LeakyRelu" and np.float32(options.get("alpha", LEAK)) != np.float32(LEAK):
            wanted = f"alpha = {LEAK}"
        elif kind == "Gelu" and options.get("approximate", "none") != "tanh":
            wanted = 'approximate = "tanh"'
        elif kind == "Clip":
            ends = [options.get(one) for one in ("min", "max")]
            for i, tensor in enumerate(node.input[1:3]):
                values = self.tensors.real(tensor).ravel() if tensor else np.zeros(0)
                ends[i] = values[0] if values.size == 1 else None
            wanted = "" if ends == [-1, 1] else "a range from -1 to 1"
        if wanted:
            raise NetworkError(f"node {name}", f"is a {kind} without {wanted}", "no rate function is like that: replace it")

    def _reshaped(
        self,
        name: str,
        node: Any,  # noqa: ANN401
        options: Mapping[str, Any],
        x: Signal,
        shape: tuple[int, ...],
    ) -> tuple[int, ...]:
        """Return the new shape of a sample, whose values stay in order."""
        if node.op_type == "Flatten":
            if options.get("axis", 1) not in (1, -len(shape)):
                raise NetworkError(f"node {name}", f"flattens from axis {options['axis']}", "samples are flattened from axis 1")
            return (x.size,)
        wanted = self.tensors.whole(node.input[1]) if len(node.input) > 1 else []
        first, rest = wanted[:1], wanted[1:]
        rest = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(rest)]
        if rest.count(-1) == 1 and first != [-1]:
            known = math.prod(n for n in rest if n != -1)
            rest = [x.size // known if n == -1 and known > 0 else n for n in rest]
        if first not in ([-1], [0], [self.batch]) or math.prod(rest) != x.size or min(rest, default=0) < 1:
            raise NetworkError(f"node {name}", f"reshapes to {wanted[:8]}, over samples", "keep the batch axis as it is")
        return tuple(rest)


def _name(node: Any) -> str:  # noqa: ANN401
    """Return the name of a node, that of its result if it has none."""
    return str(node.name or (node.output[0] if node.output else node.op_type))


# --- models of our own ----------------------------------------------------------------------------------------------------


def _nodes(record: Mapping[str, Any], links: Sequence[Link]) -> list[tuple[str, str, list[str], dict[str, Any]]]:
    """Return the nodes (name, operator, inputs, attributes) of a network; each makes the value of its own name."""
    phis = {name: phi for name, _, phi, _ in record["populations"]}
    operators = {phi: operator for operator, phi in RATES.items()} | {"identity": "Identity"}
    options: dict[str, dict[str, Any]] = {"LeakyRelu": {"alpha": LEAK}, "Gelu": {"approximate": "tanh"}}
    nodes: list[tuple[str, str, list[str], dict[str, Any]]] = []
    for target, group in groupby(links, key=lambda link: link.target):
        drives = []
        for link in group:
            held, bias = f"{link.key}.weights", [f"{target}.bias"] if link.biased else []
            matrix = len(link.shape) == 2
            nodes.append((link.key, "Gemm" if matrix else "Mul", [link.source, held, *bias], {"transB": 1} if matrix else {}))
            drives.append(link.key)
        if len(drives) > 1:
            nodes.append((f"{target}.potential", "Sum", drives, {}))
            drives = [f"{target}.potential"]
        operator = operators[phis[target]]
        ends = ["minus_one", "one"] if operator == "Clip" else []
        nodes.append((target, operator, [*drives, *ends], options.get(operator, {})))
    return nodes


def _model(record: Mapping[str, Any], parameters: Mapping[str, Array]) -> Any:  # noqa: ANN401
    onnx = package()
    links = graph.links(record)
    dtype = np.dtype(record["dtype"])
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    sizes = {name: size for name, size, *_ in record["populations"]}
    nodes = [
        onnx.helper.make_node(operator, inputs, [name], name=name, **options)
        for name, operator, inputs, options in _nodes(record, links)
    ]
    ends = [onnx.helper.make_tensor_value_info(record[end], kind, ["batch", sizes[record[end]]]) for end in ("input", "output")]
    arrays = {f"{link.key}.weights": link.spread(parameters[link.key]) for link in links}
    arrays |= {key: value for key, value in parameters.items() if key.endswith(".bias")}
    arrays |= {name: np.array(value, dtype) for name, value in (("minus_one", -1), ("one", 1))}
    used = {name for node in nodes for name in node.input}
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:]),
        producer_name=graph.MARK,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    for name in (one for one in arrays if one in used):
        _fill(model.graph.initializer.add(), name, arrays[name], kind)
    onnx.helper.set_model_props(model, {graph.MARK: graph.noted(record), "not_held": graph.NOT_HELD})
    return model


def _fill(tensor: Any, name: str, values: Array, kind: int) -> None:  # noqa: ANN401
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(values.shape)
    tensor.raw_data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _ours(model: Any, tensors: Tensors) -> Reading | None:  # noqa: ANN401
    """Return what `write` wrote, or None if the nodes are not, or no longer, those that the metadata describe."""
    record = graph.record_of(next((one.value for one in model.metadata_props if one.key == graph.MARK), None))
    if record is None:
        return None
    reading = Reading(record, {}, {})
    try:
        links = graph.links(record)
        sizes = {name: size for name, size, *_ in record["populations"]}
        found = [(node.name, node.op_type, list(node.input), attributes(node)) for node in model.graph.node]
        ends = [[one.name for one in part] for part in (model.graph.input, model.graph.output)]
        wanted = _nodes(record, links)
        for _, operator, _, options in (*wanted, *found):
            if operator == "LeakyRelu":
                options["alpha"] = float(np.float32(options["alpha"]))
        if found != wanted or ends != [[record["input"]], [record["output"]]]:
            return None
        if any(list(node.output) != [node.name] or node.domain for node in model.graph.node):
            return None
        if any(op == "Clip" for _, op, *_ in found) and [tensors.real(one).tolist() for one in ("minus_one", "one")] != [-1, 1]:
            return None
        shape = model.graph.input[0].type.tensor_type.shape.dim
        if [one.dim_value for one in shape] != [0, sizes[record["input"]]]:
            return None
        for link in links:
            held = link.gathered(tensors.real(f"{link.key}.weights"))
            if held is None:
                return None
            reading.arrays[link.key] = held
            reading.slots[link.key] = [Slot(f"{link.key}.weights", held, link.spread)]
            if link.biased:
                key = f"{link.target}.bias"
                reading.arrays[key] = tensors.real(key)
                reading.slots[key] = [Slot(key, reading.arrays[key], lambda new: new)]
    except (KeyError, TypeError, ValueError, LookupError):
        return None
    return reading


def _updated(like: str | os.PathLike[str], record: Mapping[str, Any], parameters: Mapping[str, Array]) -> Any:  # noqa: ANN401
    """Return the model in the file `like` with these parameters. Raises NetworkError if it is of another network."""
    model = load(like)
    reading = _reading(like, model, record["loss"])
    theirs, ours = ([p[2] for p in one["populations"]] for one in (reading.record, record))
    if theirs != ours:
        raise NetworkError("like", f"{like} has the rate functions {theirs}, not {ours}", "name the file that this was read from")
    places = graph.replacements(reading, record, parameters, str(like))
    tensors = Tensors(like, model.graph)
    for name, array in places.items():
        tensors.replace(str(name), array)
    return model
