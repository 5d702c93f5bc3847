"""State dictionaries of torch: named tensors of linear layers, in .safetensors or .npz files; never a pickle."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import FileError, NetworkError, OptionError
from dyadic_neuro.interchange import graph, npz, records, safetensors
from dyadic_neuro.interchange.limits import MOST_POPULATIONS, size_of
from dyadic_neuro.interchange.outputs import writing

SUFFIXES = (".safetensors", ".npz")
_Path = str | os.PathLike[str]


def read(path: _Path, activation: object = None, order: Sequence[str] | None = None) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the record and the parameters of the chain in a file, its layers in the order of their names or in `order`."""
    arrays, metadata = _file(path)
    layers = _layers(path, arrays, order)
    record = records.record_of(metadata.get(records.MARK))
    if record is None or (found := _ours(record, arrays, layers)) is None:
        return _record(path, arrays, layers, "tanh" if activation is None else activation)
    if activation is not None:
        ends = (record["input"], record["output"])
        chosen = [[name, n, phi if name in ends else activation, bias] for name, n, phi, bias in record["populations"]]
        record = {**record, "populations": chosen}
    return record, found


def write(
    path: _Path,
    record: Mapping[str, Any],
    parameters: Mapping[str, Array],
    *,
    like: _Path | None,
    overwrite: bool,
    check: Callable[[], None],
    order: Sequence[str] | None = None,
) -> None:
    """Write a chain under the names of a torch.nn.Sequential.

    With `like`, under the names of that file and in its dtypes, bfloat16 as float32. `check` refuses what metadata cannot hold,
    where some are written. Raises OptionError for an `order` without `like`.
    """
    suffix = os.path.splitext(str(path))[1]
    if suffix not in SUFFIXES:
        raise OptionError("path", f"ends in {suffix!r}", f"use one of {SUFFIXES}")
    if order is not None and like is None:
        raise OptionError("order", "is of the layers of a file to write like", "give like=..., or leave it out")
    names = _names(record)
    metadata = {records.MARK: records.noted(record), "not_held": records.NOT_HELD}
    arrays = {name: parameters[key] for key, name in names.items()}
    if like is not None:
        old, metadata = _file(like)
        arrays = _renamed(like, old, order, names, parameters)
        metadata = {key: value for key, value in metadata.items() if isinstance(value, str)}
        if records.MARK in metadata:
            dtype = graph.common_dtype(graph.real(name, array) for name, array in old.items())
            metadata[records.MARK] = records.noted({**record, "dtype": dtype})
    if records.MARK in metadata:
        check()
    with writing(path, overwrite=overwrite) as file:
        if suffix == ".npz":
            np.savez(file, **arrays)
        else:
            safetensors.write(file, arrays, metadata)


def _file(path: _Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays and the metadata of a file of either kind, told by what it begins with."""
    size_of(path)
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except (OSError, ValueError, TypeError) as error:
        raise FileError(str(path), f"cannot be read ({error})", "name a .safetensors or .npz file") from None
    if head[:2] == b"PK":
        return npz.read_arrays(path), {}
    return safetensors.read(path)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts fc2 before fc10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name)]


def _layers(path: _Path, arrays: Mapping[str, Array], order: Sequence[str] | None) -> list[str]:
    """Return the layers, first to last. Raises NetworkError that lists every tensor that is no weight or bias of one."""
    found = sorted((name[: -len("weight")] for name in arrays if name.endswith("weight")), key=_natural)
    known = {f"{layer}weight" for layer in found} | {f"{layer}bias" for layer in found}
    foreign = [f"{name} {array.shape}" for name, array in arrays.items() if name not in known]
    foreign += [f"{one}weight {arrays[f'{one}weight'].shape}" for one in found if arrays[f"{one}weight"].ndim != 2]
    if foreign or not found:
        problem = f"holds what is no linear layer: {', '.join(foreign[:20])}" if foreign else "holds no weights"
        raise NetworkError(str(path), problem, "keep the weights (n_out, n_in) and biases (n_out,) of a chain, and nothing else")
    if len(found) >= MOST_POPULATIONS:
        raise NetworkError(str(path), f"holds {len(found)} layers, as many as {MOST_POPULATIONS} or more", "use fewer")
    if order is None:
        return found
    if isinstance(order, str) or not isinstance(order, Sequence):
        raise OptionError("order", f"{order!r} is no list of layers", 'give names like ["fc1", "fc2"]')
    wanted = [f"{one}." if f"{one}." in found else one for one in order]
    if sorted(wanted) != sorted(found):
        raise OptionError("order", f"{list(order)} are not all layers", f"order {[layer.rstrip('.') for layer in found]}")
    return wanted


def _record(
    path: _Path, arrays: Mapping[str, Array], layers: list[str], activation: object
) -> tuple[dict[str, Any], dict[str, Array]]:
    names = ["input", *(f"hidden{i}" for i in range(1, len(layers))), "output"]
    weights = [graph.real(f"{layer}weight", arrays[f"{layer}weight"]) for layer in layers]
    for (before, a), (after, b) in pairwise(zip(layers, weights, strict=True)):
        if len(a) != b.shape[1]:
            problem = f"{after}weight {b.shape} cannot follow {before}weight {a.shape}"
            raise NetworkError(str(path), problem, "give the layers first to last: order=[...]")
    populations = [["input", weights[0].shape[1], "identity", False]]
    found = {}
    for (source, target), layer, matrix in zip(pairwise(names), layers, weights, strict=True):
        found[f"{source}->{target}"] = matrix
        if f"{layer}bias" in arrays:
            found[f"{target}.bias"] = graph.real(f"{layer}bias", arrays[f"{layer}bias"])
        phi = "identity" if target == "output" else activation
        populations.append([target, len(matrix), phi, f"{layer}bias" in arrays])
    return {
        "populations": populations,
        "projections": [[a, b, True] for a, b in pairwise(names)],
        "loss": "squared_error",
        "input": "input",
        "output": "output",
        "dtype": graph.common_dtype(found.values()),
    }, found


def _names(record: Mapping[str, Any]) -> dict[str, str]:
    """Return for each parameter of a chain its name in a torch.nn.Sequential. Raises NetworkError for what is no chain."""
    biased = {name for name, _, _, bias in record["populations"] if bias}
    links = graph.links(record)
    joined = [(one.source, one.target) for one in links]
    if len(links) != len(record["populations"]) - 1 or any(a[1] != b[0] for a, b in pairwise(joined)):
        raise NetworkError("to_torch_state", "takes chains, and this network has skips", "use to_onnx or to_nir")
    parts = [one.key for one in links if one.held != one.shape or len(one.held) != 2]
    if parts:
        raise NetworkError("to_torch_state", f"takes whole matrices, not the parts {parts}", "use to_onnx or to_nir")
    names = {one.key: f"{2 * i}.weight" for i, one in enumerate(links)}
    return names | {f"{one.target}.bias": f"{2 * i}.bias" for i, one in enumerate(links) if one.target in biased}


def _ours(record: Mapping[str, Any], arrays: Mapping[str, Array], layers: list[str]) -> dict[str, Array] | None:
    """Return the parameters of the chain that the metadata describe, or None if the tensors are not those of one like it."""
    try:
        sizes = {name: int(size) for name, size, *_ in record["populations"]}
        shapes = {one.key: one.shape for one in graph.links(record)}
        found = {key: graph.real(name, arrays[name]) for key, name in _under(_names(record), layers).items()}
    except records.BROKEN:
        return None
    shapes |= {key: (sizes[key.removesuffix(".bias")],) for key in found if key not in shapes}
    return found if len(found) == len(arrays) and {key: one.shape for key, one in found.items()} == shapes else None


def _under(names: Mapping[str, str], layers: Sequence[str]) -> dict[str, str]:
    """Return names in a torch.nn.Sequential as names in a file of these layers."""
    theirs = {f"{2 * i}.{part}": f"{layer}{part}" for i, layer in enumerate(layers) for part in ("weight", "bias")}
    return {key: theirs.get(name, name) for key, name in names.items()}


def _renamed(
    like: _Path, old: Mapping[str, Array], order: Sequence[str] | None, names: Mapping[str, str], parameters: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the parameters under the names of the file `like`, in its dtypes."""
    layers = _layers(like, old, order)
    found = {name: parameters[key] for key, name in _under(names, layers).items()}
    shapes = [{name: array.shape for name, array in one.items()} for one in (old, found)]
    if shapes[0] != shapes[1]:
        raise NetworkError("like", f"{like} holds {shapes[0]}, not {shapes[1]}", "name the file that this one was read from")
    return {
        name: np.where(found[name] == array.astype(found[name].dtype), array, graph.narrowed(name, found[name], array.dtype))
        for name, array in old.items()
    }
