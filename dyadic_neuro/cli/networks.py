"""The network that a command is about: from a file, or a new chain that fits the data."""

from __future__ import annotations

from dyadic_neuro.cli.shared import sizes_of
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.errors import DataError, OptionError
from dyadic_neuro.network import Network


def network_of(path: str | None, layers: str | None, activation: str, loss: str, seed: int, data: Dataset) -> Network:
    """Return the network to use, with as many inputs and outputs as the data. Raises what making or loading it raises."""
    if path is not None and layers is not None:
        raise OptionError("network", "and --layers are both given", "give one of them")
    if path is not None:
        net = Network.load(path)
    else:
        sizes = [data.features, 64, data.classes] if layers is None else sizes_of(layers)
        net = Network.dense(sizes, activation, loss, seed)
    ends = (net.population(net.input).size, net.population(net.output).size)
    if ends != (data.features, data.classes):
        raise DataError(
            "layers",
            f"begin and end with {ends}, but the data has {data.features} inputs and {data.classes} classes",
            "change the first and last size",
        )
    return net
