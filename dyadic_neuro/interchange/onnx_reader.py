"""ONNX models of any tool, read as populations and projections (onnx.ai, operator sets 7 to now)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import NetworkError
from dyadic_neuro.interchange import graph
from dyadic_neuro.interchange.graph import Reading, Reduction, Signal, Slot
from dyadic_neuro.interchange.onnx_file import Tensors, attributes

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
_LINEAR = ("Gemm", "MatMul", "Add", "Sum", "Sub", "Mul", "Div")
_WIRES = ("Identity", "Dropout", "Flatten", "Reshape")
_ENDS = ("Softmax", "LogSoftmax")
_ATTRIBUTES = {
    "Gemm": {"alpha", "beta", "transA", "transB"},
    "LeakyRelu": {"alpha"},
    "Clip": {"min", "max"},
    "Gelu": {"approximate"},
    "Dropout": {"ratio", "seed"},
    "Flatten": {"axis"},
    "Reshape": {"allowzero"},
    "Softmax": {"axis"},
    "LogSoftmax": {"axis"},
}
_FIRST_OPSET = 7  # before it, sums and products had rules of their own
_LAST_AXIS = 13  # since when a softmax is over one axis, the last by default; before, over all from its axis on


class Reader:
    """Reads one model. `signals` holds for each of its values the signal and the shape of one sample."""

    def __init__(self, model: Any, tensors: Tensors, loss: object) -> None:  # noqa: ANN401
        self.graph, self.tensors, self.loss = model.graph, tensors, loss
        self.reduction = Reduction()
        self.signals: dict[str, tuple[Signal, tuple[int, ...]]] = {}
        self.holders: dict[str, str] = {}  # of the constants that learn
        self.opset = min((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=_LAST_AXIS)
        if self.opset < _FIRST_OPSET:
            problem = f"is of operator set {self.opset}"
            raise NetworkError("model", problem, f"convert it to {_FIRST_OPSET} or later, with onnx.version_converter")

    def reading(self) -> Reading:
        """Return the network. Raises NetworkError that lists what is none."""
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
        takers = Counter(tensor for node in named.values() for tensor in node.input)
        for name in graph.ordered(named, edges):
            node = named[name]
            x, shape = self._absorbed(node, last) or self._signal(name, node)
            self.signals[node.output[0]] = self.reduction.shared(x) if takers[node.output[0]] > 1 else x, shape
        if last not in self.signals:
            raise NetworkError("model", f"computes no {last!r}, its output", "check the file")
        return self.reduction.output(self.signals[last][0], self.tensors.most)

    def _check(self, named: Mapping[str, Any]) -> None:
        """Refuse every node that is neither a projection nor a rate function."""
        known, foreign = {*_LINEAR, *_WIRES, *_ENDS, *RATES}, []
        for name, node in named.items():
            unlike = {one.name for one in node.attribute} - _ATTRIBUTES.get(node.op_type, set())
            if node.op_type not in known or node.domain not in ("", "ai.onnx") or len(node.output) != 1 or unlike:
                foreign.append(f"{name} ({node.op_type}{f' with {sorted(unlike)}' if unlike else ''})")
        if foreign:
            problem = f"that no population or projection can be: {graph.listed(foreign)}"
            fix = f"use {sorted(known)}; onnxsim folds what depends on constants alone, like Shape, Gather, Concat"
            raise NetworkError("nodes", problem, fix)

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
            axis = attributes(node).get("axis", -1 if self.opset >= _LAST_AXIS else 1)
            whole = axis in (-1, len(shape)) or (self.opset < _LAST_AXIS and axis in range(1, len(shape)))
            if node.output[0] != last or not whole or math.prod(shape[:-1]) != 1:
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
            if kind == "Dropout" and len(node.input) > 2 and node.input[2] and any(self.tensors.whole(node.input[2])):
                raise NetworkError(f"node {name}", "drops values, as in training", "export the model for inference")
            return x, self._reshaped(name, node, options, x, shape) if kind in ("Flatten", "Reshape") else shape
        if kind in ("Gemm", "MatMul"):
            return self._matrix(name, node, options)
        flows = [self.signals[one] for one in node.input if one in self.signals]
        constants = [one for one in node.input if one not in self.signals]
        if not flows or len({shape for _, shape in flows}) > 1:
            raise NetworkError(f"node {name}", f"takes shapes {[shape for _, shape in flows]}", "give it signals of one shape")
        shape = flows[0][1]
        if kind in ("Sub", "Mul", "Div") and (len(flows) != 1 or len(constants) != 1):
            problem = {"Sub": "subtracts", "Mul": "multiplies", "Div": "divides"}[kind] + " two signals"
            raise NetworkError(f"node {name}", problem, "only products with constants are projections")
        if kind in ("Sub", "Div") and node.input[0] in constants:
            problem = f"{'subtracts its signal from' if kind == 'Sub' else 'divides by its signal'} a constant"
            raise NetworkError(f"node {name}", problem, "use Mul and Add")
        if kind in ("Mul", "Div"):
            one = math.prod(self.tensors.shape(constants[0])) == 1 != flows[0][0].size  # a number is no weights to learn
            scale = self._vector(name, constants[0], shape, power=-1 if kind == "Div" else 1, plastic=not one)
            return self.reduction.affine(name, flows[0][0], scale, plastic=not one), shape
        x = self.reduction.add(name, [one for one, _ in flows])
        for constant in constants:
            x = self.reduction.affine(name, x, None, self._vector(name, constant, shape, -1.0 if kind == "Sub" else 1.0))
        return x, shape

    def _matrix(self, name: str, node: Any, options: Mapping[str, Any]) -> tuple[Signal, tuple[int, ...]]:  # noqa: ANN401
        (x, shape), gemm = self._of(node, 0), node.op_type == "Gemm"
        alpha, beta = options.get("alpha", 1.0), options.get("beta", 1.0)
        if options.get("transA"):
            raise NetworkError(f"node {name}", "transposes its signal", "only products with constant matrices are projections")
        if alpha == 0:
            raise NetworkError(f"node {name}", "multiplies its weights by alpha = 0", "remove it: nothing passes")
        if shape[-1] != x.size or (gemm and len(shape) != 1):
            raise NetworkError(f"node {name}", f"gets an array of shape {shape}, not a vector", "flatten it first")
        weights = self._weights(name, node.input[1] if len(node.input) > 1 else "", alpha, transposed=bool(options.get("transB")))
        size = len(weights.values)
        biased = gemm and len(node.input) > 2 and node.input[2] and beta != 0
        bias = self._vector(name, node.input[2], (size,), beta) if biased else None
        return self.reduction.affine(name, x, weights, bias), (*shape[:-1], size)

    def _weights(self, node: str, name: str, alpha: float, *, transposed: bool) -> Slot:
        """Return a constant as a matrix (n_out, n_in); it stands so in the file if `transposed`, as operators call it."""
        self._held(name, node)
        values = self.tensors.real(name)
        if values.ndim != 2:
            raise NetworkError(f"node {node}", f"has weights of shape {values.shape}", "use matrices")
        values = values if transposed else graph.transposed(values)
        scaled = _Scaled(values, alpha)
        return Slot(name, scaled.values, scaled.undone if transposed else lambda new: scaled.undone(new).T)

    def _vector(
        self, node: str, name: str, shape: tuple[int, ...], factor: float = 1.0, *, power: int = 1, plastic: bool = True
    ) -> Slot:
        """Return a constant to `power` times `factor`, as a vector for samples of that shape, a number as one for all."""
        if plastic:
            self._held(name, node)
        held, size = self.tensors.shape(name), math.prod(shape)
        if math.prod(held) not in (1, size) or _together((1, *shape), held) != (1, *shape):
            problem = f"takes the constant {name} of shape {held[:8]} for samples of {shape}"
            raise NetworkError(f"node {node}", problem, "use one number, or one for each neuron")
        scaled = _Scaled(self.tensors.real(name).ravel(), factor, power)

        def restore(new: Array) -> Array:
            if scaled.values.size != size and (new != new[0]).any():
                raise NetworkError(f"constant {name}", f"is one number for {size} neurons", "write a new file, without like")
            return scaled.undone(new[: scaled.values.size]).reshape(held)

        return Slot(name, np.broadcast_to(scaled.values, (size,)), restore)

    def _held(self, name: str, node: str) -> None:
        """Refuse tied weights: every parameter learns alone."""
        if name in self.holders:
            problem = f"is held by the nodes {self.holders[name]} and {node}: tied weights would learn apart"
            raise NetworkError(f"constant {name}", problem, "export the model with a copy for each")
        self.holders[name] = node

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
                number = bool(tensor) and math.prod(self.tensors.shape(tensor)) == 1
                ends[i] = self.tensors.real(tensor).item() if number else None
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


class _Scaled:
    """Values to the power of 1 or -1, times a factor, and the way back, on which what did not change stays to the last bit."""

    def __init__(self, values: Array, factor: float, power: int = 1) -> None:
        self.factor, self.power, self.original = factor, power, None if factor == power == 1 else values
        self.values = values if self.original is None else values**power * values.dtype.type(factor)

    def undone(self, new: Array) -> Array:
        """Return values that give `new`, the original ones where that is what they give."""
        if self.original is None:
            return new
        with np.errstate(divide="ignore"):  # what is infinite is refused where it is written
            return np.where(new == self.values, self.original, (new / self.factor) ** self.power)


def _together(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape that arrays of these shapes have together, None if they do not fit."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _name(node: Any) -> str:  # noqa: ANN401
    """Return the name of a node, that of its result if it has none."""
    return str(node.name or (node.output[0] if node.output else node.op_type))
