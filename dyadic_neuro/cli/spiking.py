"""`dyadic-neuro spiking`: how the gradients of spiking populations approach backpropagation's with more neurons."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import numpy as np
import typer

from dyadic_neuro.cli import networks
from dyadic_neuro.cli.shared import Json, NetworkFile, Seed, print_json, reported, sizes_of, stdout
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.studies.spiking import NEURONS, trend


@reported
def run(
    *,
    network: NetworkFile = None,
    layers: Annotated[str | None, typer.Option(help="Sizes of a new tanh chain.", show_default="8,16,16,4")] = None,
    neurons: Annotated[str, typer.Option(help="Neurons per dimension to compare.")] = ",".join(map(str, NEURONS)),
    repeats: Annotated[int, typer.Option(help="Runs of each, with other neurons.")] = 3,
    samples: Annotated[int, typer.Option(help="Size of the batch: normal numbers in, and targets between 0 and 1.")] = 2,
    neuron_type: Annotated[str, typer.Option(help="One of Nengo's: LIF, LIFRate, AdaptiveLIF ...")] = "LIF",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Relax a batch on Nengo's spiking populations of several sizes, and fit how the gradient's error falls."""
    counts = sizes_of(neurons, "neurons")
    if samples < 1:
        raise OptionError("samples", f"{samples} is no size of a batch", "use at least 1")
    if network is not None and layers is not None:
        raise OptionError("network", "and --layers are both given", "give one of them")
    net = Network.dense(sizes_of(layers or "8,16,16,4"), "tanh", seed=seed) if network is None else networks.read(network)
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(samples, net.population(net.input).size))
    outputs = net.population(net.output).size
    classes = net.cost.name == "cross_entropy"
    targets = rng.integers(outputs, size=samples) if classes else rng.uniform(size=(samples, outputs))
    found = trend(net, inputs, targets, counts, seed=seed, repeats=repeats, neuron_type=neuron_type)
    if as_json:
        print_json({"network": str(net), **asdict(found)})
        return
    stdout.print(str(net), highlight=False, markup=False, soft_wrap=True)
    stdout.print(str(found), highlight=False, markup=False, soft_wrap=True)
