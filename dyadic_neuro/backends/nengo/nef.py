"""A network as populations of spiking neurons, by the Neural Engineering Framework (Eliasmith and Anderson 2003)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.backends.nengo.calibration import Range, check_batch, ranges
from dyadic_neuro.backends.nengo.model import INSTALL, positive
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import CycleError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection

NEURON_TYPES = ("LIF", "LIFRate", "AdaptiveLIF")
_FEWEST, _MOST = 4, 20_000  # two in each half of a gate, one for either sign; decoders are fitted by matrices of the square
_POINTS = 500


@dataclass(frozen=True)
class Tuning:
    """The neurons of a circuit: `per_dimension` of them represent one scalar.

    Half of them fire for positive values, half for negative ones, from intercepts that lie evenly between -1 and
    `last_intercept` of the range on, with rates at its end drawn evenly from `rates_hz`. Decoders are fitted by least squares
    with the regularisation `damping`, relative to the largest rate.
    """

    per_dimension: int
    neuron_type: Any
    last_intercept: float = 1.0
    rates_hz: tuple[float, float] = (200.0, 400.0)
    damping: float = 0.01
    prune: float = 0.0


def spiking_circuit(
    network: Network,
    calibration: tuple[ArrayLike, ArrayLike],
    *,
    neurons_per_dimension: int = 200,
    neuron_type: Any = "LIF",  # noqa: ANN401  (a name, or an object of Nengo)
    tau: float = 0.02,
    seed: int = 0,
    backward: Mapping[str, Array] | None = None,
) -> Any:  # noqa: ANN401  (a nengo.Network)
    """Return the network as a `nengo.Network` of spiking neurons, to embed, probe and run in any Nengo simulator.

    `calibration` is a pair (inputs (samples, n_input), targets) whose settled states set the range of every population;
    `tau` is the time constant in seconds of every hop, a `nengo.Lowpass`. `backward` gives other matrices in place of W^T copies.
    Of the result, `input` and `target` are nodes to connect to; `populations[name]` is the subnetwork of a population, with
    nodes `potential` and `sensitivity`; `rates[name]` shows what a population with projections sends, decoded from its spikes.

    A potential u is represented by an array of ensembles, one a neuron of the network, which decode phi(u) and phi'(u).
    The product phi'(u) b with what has arrived, b = W^T s + dC/du, is that of two more arrays, of half as many neurons each:
    a b = ((a + b)^2 - (a - b)^2) / 4. All that crosses a projection, but the input, is spikes: weights take what they decode to,
    and the filter of the hop comes behind them, in either direction.

    Raises MissingExtraError, OptionError, UnknownNameError, DataError, and CycleError (a cycle has no settled state).
    """
    if find_spec("nengo") is None:
        raise MissingExtraError("spiking_circuit", "needs Nengo", INSTALL)
    network.need_weights()
    if network.cycle:
        fix = "relax it with backends.Nengo('spiking') and explicit steps"
        raise CycleError("network", f"has the cycle {' -> '.join(network.cycle)}, and no settled state to calibrate with", fix)
    feedback = feedback_copies(network)
    for name, weights in (backward or {}).items():
        if name not in feedback:
            raise UnknownNameError("backward", f"{name!r} has no W^T copy", f"use some of {list(feedback)}")
        shape = feedback[name].weights.shape
        feedback[name] = feedback[name].with_weights(checked(f"backward of {name}", weights, np.dtype(network.dtype), shape))
    found = ranges(network, check_batch(network, calibration), feedback, steps=0, alpha=1.0)
    tuning = Tuning(check_neurons(neurons_per_dimension), check_neuron_type(neuron_type))
    return build(network, found, feedback, tuning, tau=positive("tau", tau, "a time in seconds, above 0"), seed=check_seed(seed))


def check_neurons(count: object) -> int:
    """Return a number of neurons per dimension. Raises OptionError."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not _FEWEST <= count <= _MOST:
        raise OptionError("neurons_per_dimension", f"{count!r} is no number from {_FEWEST} to {_MOST}", "use for example 200")
    return int(count)


def check_seed(seed: object) -> int:
    """Return a seed. Raises OptionError."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**31:
        raise OptionError("seed", f"{seed!r} is not a seed", "give an integer from 0 to 2^31 - 1")
    return int(seed)


def check_neuron_type(given: Any, known: tuple[str, ...] = NEURON_TYPES) -> Any:  # noqa: ANN401
    """Return a neuron type: one of the names `known`, or an object of Nengo. Raises OptionError and UnknownNameError."""
    if isinstance(given, str):
        if given not in known:
            raise UnknownNameError("neuron_type", f"{given!r} is not known", f"use one of {list(known)}, or an object of Nengo")
        return given
    if find_spec("nengo") is not None:
        import nengo

        if isinstance(given, nengo.neurons.NeuronType) and not isinstance(given, nengo.Direct):
            return given
    raise OptionError(
        "neuron_type", f"{given!r} is no type of neurons", f"use one of {list(known)}, or an object like nengo.LIF()"
    )


def build(
    network: Network,
    found: Mapping[str, Range],
    feedback: Mapping[str, Projection],
    tuning: Tuning,
    *,
    tau: float,
    seed: int,
) -> Any:  # noqa: ANN401
    """Return the circuit of `spiking_circuit`, from ranges and W^T copies that are there."""
    import nengo

    with nengo.Network(label="spiking circuit", seed=seed) as model:
        chosen = tuning.neuron_type
        model.config[nengo.Ensemble].neuron_type = getattr(nengo, chosen)() if isinstance(chosen, str) else chosen
        model.config[nengo.Ensemble].max_rates = nengo.dists.Uniform(*tuning.rates_hz)
        model.config[nengo.Connection].solver = nengo.solvers.LstsqL2(reg=tuning.damping)
        model.config[nengo.Connection].synapse = None
        model.input = nengo.Node(size_in=network.population(network.input).size, label=network.input)
        model.target = nengo.Node(size_in=network.population(network.output).size, label="target")
        parts = {p.name: _population(network, p.name, found[p.name], tuning, nengo.Lowpass(tau)) for p in network.dynamic}
        model.populations = parts
        model.rates = {network.input: model.input} | {n: part.rate for n, part in parts.items() if network.outgoing[n]}
        _loss(network, model)
        for p in network.projections:
            _project(p, tuning.prune, model.rates[p.source], parts[p.target].drive, None)
        for name, copy in feedback.items():
            source = parts[network.projection(name).target].gated
            _project(copy, tuning.prune, source, parts[copy.target].arrived, nengo.Lowpass(tau))
    return model


def _project(copy: Projection, prune: float, source: Any, target: Any, synapse: Any) -> None:  # noqa: ANN401
    """Connect two nodes through a copy of the weights, without those that are too small."""
    import nengo

    size = np.abs(copy.weights)
    weights = np.where(size < prune * size.max(), 0.0, copy.weights)
    weights = np.diag(weights) if copy.one_to_one else weights  # NengoLoihi knows no vectors of weights
    nengo.Connection(source[copy.columns], target[copy.rows], transform=weights, synapse=synapse, label=copy.name)


def _loss(network: Network, model: Any) -> None:  # noqa: ANN401
    """Add the loss at the readout: dC/du of its potential arrives at its gate."""
    import nengo

    readout, n = model.populations[network.output], network.population(network.output).size
    gradient, dtype = network.cost.gradient, np.dtype(network.dtype)

    def error(_: float, values: Array) -> Array:
        both = values.astype(dtype).reshape(2, 1, n)
        return np.asarray(gradient(both[0], both[1])[0])

    with readout:
        node = nengo.Node(error, size_in=2 * n, size_out=n, label="loss")
    nengo.Connection(readout.potential, node[:n])
    nengo.Connection(model.target, node[n:])
    nengo.Connection(node, readout.arrived)


def _population(network: Network, name: str, found: Range, tuning: Tuning, synapse: Any) -> Any:  # noqa: ANN401
    """Return the subnetwork of a population: what arrives is filtered into its potential and, gated, into its sensitivity."""
    import nengo

    p, phi, per_half = network.population(name), network.activations[name], tuning.per_dimension // 2
    with nengo.Network(label=name) as part:
        for node in ("drive", "potential", "arrived", "gated", "sensitivity"):
            setattr(part, node, nengo.Node(size_in=p.size, label=node))
        nengo.Connection(part.drive, part.potential, synapse=synapse)
        nengo.Connection(part.gated, part.sensitivity, synapse=synapse)
        if p.bias is not None:
            nengo.Connection(nengo.Node(np.asarray(p.bias), label="bias"), part.drive)
        part.representing, part.gating, part.slope = [], [], None
        if network.outgoing[name]:
            cells = _array(f"{name}.representation", tuning.per_dimension, p.size, found.potential, tuning)
            part.representing.append(cells)
            nengo.Connection(part.potential, cells.input)
            part.rate = _decoded(cells, "rate", phi.rate)
        for sign, label in ((1.0, "sum"), (-1.0, "difference")):
            half = _array(f"{name}.{label}", per_half, p.size, found.joint, tuning)
            part.gating.append(half)
            nengo.Connection(part.arrived, half.input, transform=sign / found.arrival)
            nengo.Connection(_decoded(half, "gated", _quarter(found, sign)), part.gated)
        if found.spread and network.outgoing[name]:
            part.slope = _decoded(cells, "slope", lambda u: (phi.derivative(u, phi.rate(u)) - found.center) / found.spread)
            for half in part.gating:
                nengo.Connection(part.slope, half.input, synapse=synapse)
    return part


def _quarter(found: Range, sign: float) -> Callable[[Array], Array]:
    """Return what one half of a gate contributes to phi' b = (center + spread a) b, of z = a + b or (sign -1) z = a - b."""
    return lambda z: sign * found.arrival * (found.spread * z * z / 4 + found.center * z / 2)


def _array(label: str, per_dimension: int, size: int, radius: float, tuning: Tuning) -> Any:  # noqa: ANN401
    """Return an array of one-dimensional ensembles, one for each neuron of the network."""
    import nengo

    where, points = (np.arange(per_dimension) + 0.5) / per_dimension, max(_POINTS, 2 * per_dimension)
    return nengo.networks.EnsembleArray(
        per_dimension,
        size,
        label=label,
        radius=radius,
        intercepts=-1.0 + (1.0 + tuning.last_intercept) * where,
        encoders=np.where(np.arange(per_dimension) % 2, -1.0, 1.0)[:, None],
        eval_points=np.linspace(-1.0, 1.0, points)[:, None],
        n_eval_points=points,
    )


def _decoded(cells: Any, name: str, function: Callable[[Array], Array]) -> Any:  # noqa: ANN401
    """Return the node that shows an elementwise function of what an array represents."""
    return cells.add_output(name, lambda z: function(np.asarray(z, np.float64)))
