"""The exact Nengo circuit beside a model of Nengo's own with as many objects, of the same sizes, that compute next to nothing."""

from contextlib import ExitStack

import nengo
import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.backends.nengo import circuit
from dyadic_neuro.backends.nengo.model import assembled
from dyadic_neuro.backends.nengo.synapses import Lesson
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.testing import networks
from tests.benchmarks.measure import Row, medians

CHAINS = ((8, 16, 16, 4), (64, 64, 64, 10))
FEW, MANY = 200, 1200  # steps of a sample
SOME, MORE = 20, 220  # samples


def rows():
    return [row for sizes in CHAINS for row in chain(sizes)]


def chain(sizes):
    net = dn.Network.dense(sizes, "tanh", "squared_error", seed=0)
    x, y = networks.batch(net, 0, MORE)
    orders = [prepare(net, x[:1], y[:1], steps=steps, record="last") for steps in (FEW, MANY)]
    orders += [prepare(net, x[:n], y[:n], record="last") for n in (SOME, MORE)]
    like, plain = model(net, x[0], y[0], reads=True), model(net, x[0], y[0])
    others = [minimal(like), by_hand(net, x[0], y[0]), plain]
    with dn.backends.Nengo().open(net) as session, ExitStack() as stack:
        idle = [stack.enter_context(nengo.Simulator(found, progress_bar=False, optimize=False)) for found in others]
        few, many, some, more, floor, least, frozen = medians(
            *(lambda order=order: session.relax(order) for order in orders),
            *(lambda sim=sim: run(sim, MANY - FEW) for sim in idle),
            repeats=11,
        )
    step, floor, least, frozen = (seconds / (MANY - FEW) for seconds in (many - few, floor, least, frozen))
    changing = (more - some) / (MORE - SOME) / (net.relaxation_steps + 1)  # one more, in which the last state is seen
    words = "-".join(map(str, sizes))
    objects = {"nodes": like.all_nodes, "ensembles": like.all_ensembles, "connections": like.all_connections}
    count = ", ".join(f"{len(them)} {kind}" for kind, them in objects.items())
    return [
        Row(
            f"Nengo exact, {words}: step / Nengo's own minimal model",
            step / floor,
            2.0,
            "x",
            f"{1e6 * step:.0f} us a step, {1e6 * floor:.0f} us with the same objects doing nothing ({count}); frozen and without "
            f"probes: `circuit(network)` {1e6 * frozen:.0f} us, as few objects as can be {1e6 * least:.0f} us; built in "
            f"{1e3 * (few - FEW * step):.0f} ms",
        ),
        Row(
            f"Nengo exact, {words}, a sample every 2D + 1 steps and its gradient read: the same",
            changing / floor,
            2.0,
            "x",
            f"{1e6 * changing:.0f} us a step, handing samples over included",
        ),
    ]


def model(net, x, y, *, reads=False):
    """Return a model with the circuit and its data; one that `reads` gradients has weights and probes as a session's has."""
    with nengo.Network(seed=0) as found:
        made = assembled(net, lambda *_: nengo.Lowpass(0), feedback_copies(net), Lesson(1)) if reads else circuit(net)
        nengo.Connection(nengo.Node(lambda _: x), made.input, synapse=None)
        nengo.Connection(nengo.Node(lambda _: y), made.target, synapse=None)
        for part in made.populations.values() if reads else ():
            nengo.Probe(part.potential)
            nengo.Probe(part.sensitivity)
    return found


def minimal(like):
    """Return a model with the same objects between the same ends: Nodes that show zeros, rectified neurons, Nengo's synapses.

    Weights that are connections stay so, those that are Nodes multiply nothing.
    """
    twins = {}
    with nengo.Network(seed=0) as found:
        for node in like.all_nodes:
            if node.output is None:
                twins[node] = nengo.Node(size_in=node.size_in)
            elif node.size_in:
                twins[node] = nengo.Node(constant(node.size_out), size_in=node.size_in, size_out=node.size_out)
            else:
                twins[node] = nengo.Node(constant(node.size_out))
        for ensemble in like.all_ensembles:
            n = ensemble.n_neurons
            same = {"gain": np.ones(n), "bias": np.zeros(n), "encoders": np.ones((n, 1)), "eval_points": np.ones((1, 1))}
            twins[ensemble.neurons] = nengo.Ensemble(n, 1, neuron_type=nengo.RectifiedLinear(), **same).neurons
        for c in like.all_connections:
            pre, post = twins[c.pre_obj][c.pre_slice], twins[c.post_obj][c.post_slice]
            nengo.Connection(pre, post, transform=c.transform, synapse=None if c.synapse is None else 0)
        for probe in like.all_probes:
            nengo.Probe(twins[probe.target])
    return found


def constant(size):
    zeros = np.zeros(size)
    return lambda *_: zeros


def by_hand(net, x, y):
    """Return the same two waves in as few objects as can be: no initial states, no learning, tanh chains only."""
    weights = [p.weights for p in net.projections]
    with nengo.Network(seed=0) as found:
        shown = [nengo.Node(x)]
        for w in weights[:-1]:
            n = len(w)
            same = {"gain": np.ones(n), "bias": np.zeros(n), "encoders": np.ones((n, 1)), "eval_points": np.ones((1, 1))}
            neurons = nengo.Ensemble(n, 1, neuron_type=nengo.Tanh(tau_ref=1), **same).neurons
            nengo.Connection(shown[-1], neurons, transform=w, synapse=None)
            shown.append(nengo.Node(size_in=n))
            nengo.Connection(neurons, shown[-1], synapse=0)
        loss = nengo.Node(lambda _, u: u - y, size_in=len(y))
        nengo.Connection(shown[-1], loss, transform=weights[-1], synapse=0)
        back = loss
        for w, rate in zip(weights[:0:-1], shown[:0:-1], strict=True):
            n = rate.size_in
            sensitivity = nengo.Node(size_in=back.size_out)
            nengo.Connection(back, sensitivity, synapse=0)
            back = nengo.Node(lambda _, z, n=n: z[:n] * (1 - z[n:] * z[n:]), size_in=2 * n, size_out=n)
            nengo.Connection(sensitivity, back[:n], transform=w.T, synapse=None)
            nengo.Connection(rate, back[n:], synapse=None)
        nengo.Connection(back, nengo.Node(size_in=back.size_out), synapse=0)
    return found


def run(sim, steps):
    sim.run_steps(steps)
    sim.clear_probes()
