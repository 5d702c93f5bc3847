"""The network that a command is about: from a file of one of several formats, or a new chain that fits the data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dyadic_neuro.cli.shared import sizes_of
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.errors import DataError, OptionError
from dyadic_neuro.interchange import npz
from dyadic_neuro.network import Network

FORMATS = {
    ".npz": "this project's npz",
    ".nir": "NIR",
    ".onnx": "ONNX",
    ".safetensors": "a state dictionary in safetensors",
}
_STATE = "a state dictionary in npz"
_NOTED = "fixed projections: noted in metadata, which other readers pass over"
_NOWHERE = "the learning rule, and the backward copies of the weights"
NOT_HELD: dict[str, tuple[str, ...]] = {
    ".npz": (),
    ".nir": (f"rate functions, loss, names of populations, {_NOTED}", _NOWHERE),
    ".onnx": (f"loss, names of populations, {_NOTED}", _NOWHERE),
    ".safetensors": (f"rate functions, loss, names of populations, {_NOTED}", _NOWHERE),
}
"""What a format has no place for."""


def network_of(
    path: str | None, layers: str | None, activation: str | None, loss: str | None, seed: int, data: Dataset
) -> Network:
    """Return the network to use, with as many inputs and outputs as the data. Raises what making or loading it raises."""
    if path is not None and layers is not None:
        raise OptionError("network", "and --layers are both given", "give one of them")
    if path is not None:
        net = read(path, activation=None if activation is None else [activation], loss=loss)
    else:
        sizes = [data.features, 64, data.classes] if layers is None else sizes_of(layers)
        net = Network.dense(sizes, activation or "tanh", loss or "cross_entropy", seed)
    check_fits(net, data)
    return net


def check_fits(net: Network, data: Dataset) -> None:
    """Raise DataError unless the network has as many inputs and outputs as the data."""
    ends = (net.population(net.input).size, net.population(net.output).size)
    if ends != (data.features, data.classes):
        raise DataError(
            "network",
            f"has sizes {ends} at its ends, but the data has {data.features} inputs and {data.classes} classes",
            "change the first and last size, or the data",
        )


def format_of(field: str, path: str) -> str:
    """Return the suffix that tells the format of a network file. Raises OptionError."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise OptionError(field, f"{path!r} is no network file by its suffix", f"end it with one of {', '.join(FORMATS)}")
    return suffix


def described(path: str) -> str:
    """Return the name of the format that a network file is in."""
    return _STATE if _is_state(path) else FORMATS[format_of("network", path)]


def read(
    path: str,
    *,
    activation: Sequence[str] | None = None,
    loss: str | None = None,
    dtype: str | None = None,
    order: Sequence[str] | None = None,
) -> Network:
    """Return the network in a file; None leaves an option to the file, or to the reader.

    `activation` is one name, or several TYPE=NAME. Raises OptionError for what this format has no use for, and what the readers
    raise.
    """
    suffix = format_of("network", path)
    phi = None if activation is None else _activations(activation)
    is_state = suffix == ".safetensors" or _is_state(path)
    if phi is not None and not (is_state or suffix == ".nir"):
        raise OptionError("activation", f"is given, but {FORMATS[suffix]} names rate functions", "leave it out")
    if is_state and isinstance(phi, dict):
        raise OptionError("activation", "is given by type, but a state dictionary has no nodes", "give one name for all")
    if order and not is_state:
        raise OptionError("order", f"is given, but {FORMATS[suffix]} has edges", "leave it out")
    options: dict[str, Any] = {"activation": phi, "loss": loss, "dtype": dtype, "order": list(order) if order else None}
    given = {name: value for name, value in options.items() if value is not None}
    if is_state:
        return Network.from_torch_state(path, **given)
    if suffix == ".nir":
        return Network.from_nir(path, **given)
    if suffix == ".onnx":
        return Network.from_onnx(path, **given)
    return replace(Network.load(path), **given)


def write(network: Network, path: str, *, like: str | None = None, overwrite: bool = False) -> None:
    """Write the network in the format of the suffix; `like` gives the graph and the names of another file in this format.

    Raises what the writers raise, and OptionError for a `like` of another format.
    """
    suffix = format_of("out", path)
    if like is not None and (format_of("like", like) != suffix or (suffix == ".npz" and not _is_state(like))):
        raise OptionError(
            "like", f"{like!r} is {described(like)}, from which {path!r} takes nothing", "give a file of the same format"
        )
    if suffix == ".nir":
        network.to_nir(path, like=like, overwrite=overwrite)
    elif suffix == ".onnx":
        network.to_onnx(path, like=like, overwrite=overwrite)
    elif suffix == ".safetensors" or like is not None:
        network.to_torch_state(path, like=like, overwrite=overwrite)
    else:
        network.save(path, overwrite=overwrite)


def rehearse(network: Network, path: str, like: str | None = None) -> None:
    """Write the network somewhere else, every plastic weight a little changed, which fails now and not after the work.

    Raises as `write`.
    """
    rng = np.random.default_rng(0)
    learned = {key: network.parameters[key] + rng.normal(0.0, 1e-3, network.parameters[key].shape) for key in network.plastic}
    network = network.with_parameters(learned)
    with tempfile.TemporaryDirectory() as folder:
        write(network, str(Path(folder) / f"rehearsed{Path(path).suffix}"), like=like)


def _activations(words: Sequence[str]) -> str | dict[str, str]:
    """Return the name that is given, or the names by type. Raises OptionError."""
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    pairs = [word.partition("=") for word in words]
    if not all(kind and mark and name for kind, mark, name in pairs):
        raise OptionError("activation", f"{list(words)} are not one name, nor TYPE=NAME each", "use a form like LIF=relu")
    return {kind: name for kind, _, name in pairs}


def _is_state(path: str) -> bool:
    """Whether this is an npz that holds the weights of layers by their names, without a record of ours."""
    names = npz.names(path) if Path(path).suffix.lower() == ".npz" else []
    return any(name.endswith("weight") for name in names) and npz.RECORD not in names
