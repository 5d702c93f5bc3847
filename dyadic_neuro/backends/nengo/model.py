"""`circuit`: a network as a model of Nengo objects, to embed, to probe and to run in any Nengo simulator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from numbers import Integral, Real
from typing import Any

import numpy as np

from dyadic_neuro.activations import ACTIVATIONS, Activation
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.nengo.synapses import Bias, Copy, Lesson
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import MissingExtraError, OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

INSTALL = "pip install 'dyadic-neuro[nengo]'"

_ALONE = threading.RLock()  # Nengo's settings are those of the process

Hops = Callable[[Population, str], Any]
"""Returns the synapse of a hop of a population: of its "potential", or its "sensitivity"."""


def circuit(
    network: Network,
    *,
    tau: float | None = None,
    learning_rate: float | None = None,
    window: int | None = None,
    batch: int = 1,
    weight_decay: float = 0.0,
) -> Any:  # noqa: ANN401  (a nengo.Network)
    """Return the network as a `nengo.Network`: u, s and their messages are Nengo's own nodes, ensembles and connections.

    - Connect what you like (synapse=None) to `.input` and to `.target`, Nodes that show 0 otherwise.
    - `.populations[name]` is a subnetwork with the Nodes `.drive`, `.potential` and `.sensitivity`, with `.rate` (the neurons
      of an Ensemble) and `.gate` (a Node: phi'(u) times what comes back) where it has somebody to tell, and with `.loss` (a
      Node: dC/du) at the readout.
    - One hop takes one Nengo step (`tau=None`), or is a `nengo.Lowpass(tau)`, `tau` in seconds: alpha = 1 - exp(-dt / tau).
      A Probe's k-th sample shows the state after k - 1 hops: what is exact at 2D is in sample 2D + 1.
    - With a `learning_rate` it learns: `batch` inputs and targets, each held for `window` Nengo steps (None: 2D), change the
      weights by their mean gradient, with `weight_decay` as `dn.train` has it. Each copy of a weight is then a Node:
      `.weights[name].output.weights` and `.feedback[name].output.weights` read it, `.biases[population].output.weights` a bias.

    A float32 network wants nengo.rc["precision"]["bits"] = "32" while it is made and built.

    Raises OptionError, NetworkError (CycleError for a cycle without a window), MissingExtraError.
    """
    if find_spec("nengo") is None:
        raise MissingExtraError("circuit", "needs Nengo", INSTALL)
    if not isinstance(network, Network):
        raise OptionError("network", f"{type(network).__name__} is not a Network", "build one with Network.dense(...)")
    network.need_weights()
    if tau is not None:
        positive("tau", tau, "a time in seconds, above 0")
    lesson = None if learning_rate is None else _lesson(network, tau, learning_rate, window, batch, weight_decay)
    if lesson is None and (window is not None or batch != 1 or weight_decay != 0.0):
        problem = "is missing, and window, batch or weight_decay are given"
        raise OptionError("learning_rate", problem, "give it too, or none of them")

    import nengo

    return assembled(network, lambda *_: nengo.Lowpass(0 if tau is None else tau), feedback_copies(network), lesson)


def assembled(network: Network, hops: Hops, feedback: Mapping[str, Projection], lesson: Lesson | None) -> Any:  # noqa: ANN401
    """Return the circuit with given synapses for its hops and given W^T copies.

    With a lesson weights are Nodes: the forward copies, and where these learn the W^T copies.
    """
    import nengo

    learns = lesson is not None and lesson.learning_rate is not None

    with nengo.Network(label="dyadic network") as net:
        net.input = nengo.Node(size_in=network.population(network.input).size, label=network.input)
        net.target = nengo.Node(size_in=network.population(network.output).size, label="target")
        net.populations = {p.name: _population(network, p, hops, net.target) for p in network.dynamic}
        net.weights, net.feedback, net.biases = {}, {}, {}
        rates = {name: part.rate for name, part in net.populations.items() if network.outgoing[name]} | {network.input: net.input}
        for p in network.projections:
            target = net.populations[p.target]
            ends = (rates[p.source], target.drive, target.sensitivity)
            if lesson is not None and p.plastic:
                net.weights[p.name] = _plastic(p, *ends, lesson, late=False)
            else:
                _fixed(p, *ends[:2])
            if p.name in feedback:
                source, copy = net.populations[p.source], feedback[p.name]
                ends = (target.sensitivity, source.gate, rates[p.source])
                if lesson is not None and learns and p.plastic:
                    net.feedback[p.name] = _plastic(copy, *ends, lesson, late=True)
                else:
                    _fixed(copy, *ends[:2])
        for population in network.dynamic:
            if population.bias is not None:
                net.biases[population.name] = _bias(np.asarray(population.bias), net.populations[population.name], lesson)
    return net


def _population(network: Network, population: Population, hops: Hops, target: Any) -> Any:  # noqa: ANN401
    """Return the subnetwork of one population: what it holds, what it shows, and what gates its sensitivity."""
    import nengo

    n, phi, cost = population.size, population.phi, network.cost
    with nengo.Network(label=population.name) as part:
        part.drive = nengo.Node(size_in=n, label="drive")
        part.potential = nengo.Node(size_in=n, label="potential")
        part.sensitivity = nengo.Node(size_in=n, label="sensitivity")
        nengo.Connection(part.drive, part.potential, synapse=hops(population, "potential"))
        sources = []
        if population.name == network.output:
            part.loss = nengo.Node(lambda _, x: cost.gradient(x[None, :n], x[None, n:])[0], size_in=2 * n, label="loss")
            nengo.Connection(part.potential, part.loss[:n], synapse=None)
            nengo.Connection(target, part.loss[n:], synapse=None)
            sources.append(part.loss)
        if network.outgoing[population.name]:
            part.rate = _neurons(population)
            part.gate = nengo.Node(lambda _, x: _gated(x.reshape(3, 1, n), phi), size_in=3 * n, size_out=n, label="gate")
            nengo.Connection(part.potential, part.rate, synapse=None)
            nengo.Connection(part.potential, part.gate[n : 2 * n], synapse=None)
            nengo.Connection(part.rate, part.gate[2 * n :], synapse=None)
            sources.append(part.gate)
        sense = sources[0]
        if len(sources) > 1:  # a readout in a cycle
            sense = nengo.Node(size_in=n, label="error and gate")
            for source in sources:
                nengo.Connection(source, sense, synapse=None)
        nengo.Connection(sense, part.sensitivity, synapse=hops(population, "sensitivity"))
    return part


def _gated(x: Array, phi: Activation) -> Array:
    """Return what came back times phi'(u), (n,), of (back, u, phi(u)), (3, 1, n)."""
    gated: Array = (x[0] * phi.derivative(x[1], x[2]))[0]
    return gated


def _neurons(population: Population) -> Any:  # noqa: ANN401
    """Return neurons that show phi(u): Nengo's own where it has the function, so that other simulators know them."""
    import nengo

    from dyadic_neuro.backends.nengo.objects import Rates

    kinds = {"tanh": nengo.Tanh(tau_ref=1), "sigmoid": nengo.Sigmoid(tau_ref=1), "relu": nengo.RectifiedLinear()}
    name = population.phi.name
    kind = kinds[name] if name in kinds and ACTIVATIONS[name] is population.phi else Rates(population.phi)
    n, one = population.size, np.ones((1, 1))
    ensemble = nengo.Ensemble(
        n, 1, neuron_type=kind, gain=np.ones(n), bias=np.zeros(n), encoders=np.ones((n, 1)), eval_points=one, label="rate"
    )
    return ensemble.neurons


def _fixed(p: Projection, source: Any, target: Any) -> None:  # noqa: ANN401
    """Connect by weights that stay as they are; a gate's first entries take what comes back."""
    import nengo

    nengo.Connection(source[p.columns], target[p.rows], transform=p.weights, synapse=None)


def _plastic(p: Projection, source: Any, target: Any, own: Any, lesson: Lesson, *, late: bool) -> Any:  # noqa: ANN401
    """Return the Node that holds one copy of the weights, between its source and its target."""
    import nengo

    from dyadic_neuro.backends.nengo.objects import Stepped

    outputs, inputs = p.full_shape
    process = Stepped(lambda: Copy(p, lesson, late=late), inputs + outputs, outputs)
    node = nengo.Node(process, label=f"weights of {p.name}")
    nengo.Connection(source, node[:inputs], synapse=None)
    nengo.Connection(own, node[inputs:], synapse=None)
    nengo.Connection(node, target[:outputs], synapse=None)
    return node


def _bias(values: Array, part: Any, lesson: Lesson | None) -> Any:  # noqa: ANN401
    """Return the Node that holds a bias."""
    import nengo

    from dyadic_neuro.backends.nengo.objects import Stepped

    if lesson is None:
        node = nengo.Node(values, label="bias")
    else:
        node = nengo.Node(Stepped(lambda: Bias(values, lesson), len(values), len(values)), label="bias")
        nengo.Connection(part.sensitivity, node, synapse=None)
    nengo.Connection(node, part.drive, synapse=None)
    return node


def _lesson(
    network: Network, tau: float | None, learning_rate: float, window: int | None, batch: int, weight_decay: float
) -> Lesson:
    positive("learning_rate", learning_rate, "a number above 0")
    if weight_decay != 0.0 and positive("weight_decay", weight_decay, "a number of at least 0") * learning_rate >= 1.0:
        problem = f"{weight_decay!r} takes all of a weight in one update"
        raise OptionError("weight_decay", problem, "use less than 1 / learning_rate")
    for field, value in (("batch", batch), ("window", 1 if window is None else window)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise OptionError(field, f"{value!r} is not a count", "use an integer of at least 1")
    if window is None and tau is not None:
        raise OptionError(
            "window", "is missing, and 2D steps do not settle a lowpass", "give it in Nengo steps, some 20 tau / dt"
        )
    return Lesson(
        network.relaxation_steps if window is None else int(window), int(batch), float(learning_rate), float(weight_decay)
    )


def positive(field: str, value: object, wanted: str) -> float:
    """Return a positive number as a float. Raises OptionError."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < float("inf"):
        raise OptionError(field, f"{value!r} is no positive number", f"give {wanted}")
    return float(value)


@contextmanager
def undisturbed(dtype: np.dtype[Any]) -> Iterator[None]:
    """Let Nengo make and build in this precision, and leave its settings and NumPy's global generator as they were."""
    import nengo

    with _ALONE:
        section, state = nengo.rc["precision"], np.random.get_state()  # noqa: NPY002  (Nengo draws from it, seed or no seed)
        before, section["bits"] = section["bits"], str(8 * dtype.itemsize)
        try:
            yield
        finally:
            section["bits"] = before
            np.random.set_state(state)  # noqa: NPY002
