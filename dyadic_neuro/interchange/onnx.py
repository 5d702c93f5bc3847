"""ONNX models (onnx.ai, operator sets 7 to now) of matrices, biases and elementwise rate functions, read and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import NetworkError
from dyadic_neuro.interchange import graph, records
from dyadic_neuro.interchange.graph import Link, Reading, Slot
from dyadic_neuro.interchange.onnx_file import Tensors, attributes, load, package
from dyadic_neuro.interchange.onnx_reader import LEAK, RATES, Reader
from dyadic_neuro.interchange.outputs import writing

_OPSET, _IR = 20, 10  # the first with Gelu, and the format version of its time


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
    check: Callable[[], None],
) -> None:
    """Write a network: its parameters are initializers of the same names. With `like`, write that file with these parameters.

    `check` refuses what a record cannot hold, where one is written.
    """
    if like is None:
        check()
    model = _model(record, parameters) if like is None else _updated(like, record, parameters, check)
    try:
        data = model.SerializeToString()
    except Exception as error:  # noqa: BLE001  (protobuf's own class, for what is larger than it can count)
        raise NetworkError("to_onnx", f"is too large for the format ({error})", "use NIR, or save") from None
    with writing(path, overwrite=overwrite) as file:
        file.write(data)


def _reading(path: str | os.PathLike[str], model: Any, loss: object) -> Reading:  # noqa: ANN401
    tensors = Tensors(path, model.graph)
    with np.errstate(all="ignore"):  # what overflows is not finite, and refused where the network is built
        return _ours(model, tensors) or Reader(model, tensors, loss).reading()


def _nodes(record: Mapping[str, Any], links: Sequence[Link]) -> list[tuple[str, str, list[str], dict[str, Any]]]:
    """Return the nodes (name, operator, inputs, attributes) of a network; each makes the value of its own name.

    Whatever is no population has a dot or an arrow in its name, and no population has one.
    """
    phis = {name: phi for name, _, phi, _ in record["populations"]}
    operators = {phi: operator for operator, phi in RATES.items()} | {"identity": "Identity"}
    options: dict[str, dict[str, Any]] = {"LeakyRelu": {"alpha": LEAK}, "Gelu": {"approximate": "tanh"}}
    nodes: list[tuple[str, str, list[str], dict[str, Any]]] = []
    alone = graph.apart(record, links)
    for target, group in groupby(links, key=lambda link: link.target):
        drives = []
        for link in group:
            held, bias = (
                f"{link.key}.weights",
                [f"{target}.bias"] if link.biased else [],
            )
            matrix = len(link.shape) == 2
            nodes.append((link.key, "Gemm" if matrix else "Mul", [link.source, held, *bias], {"transB": 1} if matrix else {}))
            drives.append(link.key)
        drives += [f"{target}.bias"] if target in alone else []
        if len(drives) > 1:
            nodes.append((f"{target}.potential", "Sum", drives, {}))
            drives = [f"{target}.potential"]
        operator = operators[phis[target]]
        ends = ["clip.min", "clip.max"] if operator == "Clip" else []
        nodes.append((target, operator, [*drives, *ends], options.get(operator, {})))
    return nodes


def _model(record: Mapping[str, Any], parameters: Mapping[str, Array]) -> Any:  # noqa: ANN401
    onnx = package()
    links = graph.to_write(record)
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
    arrays |= {name: np.array(value, dtype) for name, value in (("clip.min", -1), ("clip.max", 1))}
    used = {name for node in nodes for name in node.input}
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:]),
        producer_name=records.MARK,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    for name in (one for one in arrays if one in used):
        _fill(model.graph.initializer.add(), name, arrays[name], kind)
    onnx.helper.set_model_props(model, {records.MARK: records.noted(record), "not_held": records.NOT_HELD})
    return model


def _fill(tensor: Any, name: str, values: Array, kind: int) -> None:  # noqa: ANN401
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(values.shape)
    tensor.raw_data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _ours(model: Any, tensors: Tensors) -> Reading | None:  # noqa: ANN401
    """Return what `write` wrote, or None if the nodes are not, or no longer, those that the metadata describe."""
    record = records.record_of(next((one.value for one in model.metadata_props if one.key == records.MARK), None))
    if record is None:
        return None
    reading = Reading(record, {}, {}, {})
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
        limits = {"clip.min": -1, "clip.max": 1} if any(operator == "Clip" for _, operator, *_ in found) else {}
        if any(tensors.shape(name) != () or tensors.real(name) != limit for name, limit in limits.items()):
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
        for key in (f"{name}.bias" for name, _, _, biased in record["populations"] if biased):
            reading.arrays[key] = tensors.real(key)
            reading.slots[key] = [Slot(key, reading.arrays[key], lambda new: new)]
    except records.BROKEN:
        return None
    return reading


def _updated(
    like: str | os.PathLike[str], record: Mapping[str, Any], parameters: Mapping[str, Array], check: Callable[[], None]
) -> Any:  # noqa: ANN401
    """Return the model in the file `like` with these parameters. Raises NetworkError if it is of another network."""
    model = load(like)
    reading = _reading(like, model, record["loss"])
    theirs, ours = ([p[2] for p in one["populations"]] for one in (reading.record, record))
    if theirs != ours:
        raise NetworkError("like", f"{like} has the rate functions {theirs}, not {ours}", "name the file that this was read from")
    places = graph.replacements(reading, record, parameters, str(like))
    tensors = Tensors(like, model.graph)
    tensors.gather()
    for name, array in places.items():
        tensors.replace(str(name), array)
    for entry in (one for one in model.metadata_props if one.key == records.MARK):
        check()
        entry.value = records.noted({**record, "dtype": reading.record["dtype"]})
    return model
