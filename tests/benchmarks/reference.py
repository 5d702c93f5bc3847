"""The reference backend beside backpropagation as one would write it by hand, and beside the memory's bandwidth."""

import tracemalloc

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.relaxation import prepare
from tests.benchmarks.measure import Row, medians

SIZES = (784, 512, 512, 10)


def by_hand(weights, biases, x, one_hot):
    """Backpropagation of a tanh chain with softmax cross-entropy, mean over the batch, written for speed."""
    activity = [x]
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        z = activity[-1] @ w.T
        z += b
        activity.append(np.tanh(z))
    z = activity[-1] @ weights[-1].T
    z += biases[-1]
    delta = np.exp(z - z.max(axis=1, keepdims=True))
    delta /= delta.sum(axis=1, keepdims=True)
    delta -= one_hot
    delta *= np.float32(1.0 / len(x))
    gradients = []
    for layer in range(len(weights) - 1, -1, -1):
        a = activity[layer]
        gradients += [np.outer(delta, a) if len(x) == 1 else delta.T @ a, delta.sum(axis=0)]
        if layer:
            delta = delta @ weights[layer]
            delta *= 1.0 - a * a
    return gradients


def bandwidth():
    """Return the bytes a second that a copy moves (read and written) between arrays far larger than the caches."""
    source, target = np.ones(32 * 2**20), np.empty(32 * 2**20)
    (seconds,) = medians(lambda: np.copyto(target, source), repeats=7)
    return 2 * source.nbytes / seconds


def rows():
    net = dn.Network.dense(SIZES, activation="tanh", loss="cross_entropy", seed=0, dtype="float32")
    weights, biases = [p.weights for p in net.projections], [np.asarray(p.bias) for p in net.dynamic]
    rng = np.random.default_rng(0)
    found = []
    for batch, limit, repeats in ((256, 1.05, 60), (1, 1.1, 1500)):
        x, y = rng.normal(size=(batch, SIZES[0])).astype(np.float32), rng.integers(SIZES[-1], size=batch)
        one_hot = np.eye(SIZES[-1], dtype=np.float32)[y]
        backend = Reference()
        order, session = prepare(net, x, y, schedule="wavefront", record="last"), backend.open(net)
        hand, whole, inner = medians(
            lambda x=x, one_hot=one_hot: by_hand(weights, biases, x, one_hot),
            lambda x=x, y=y, backend=backend: dn.relax(net, x, y, backend=backend, schedule="wavefront", record="last"),
            lambda session=session, order=order: session.relax(order),
            repeats=repeats,
        )
        by = f"{hand * 1e3:.3f} ms by hand"
        found.append(
            Row(
                f"relax(), wavefront, batch {batch}: time / backpropagation by hand",
                whole / hand,
                limit,
                "x",
                f"{whole * 1e3:.3f} ms, {by}",
            )
        )
        found.append(
            Row(f"session.relax(), wavefront, batch {batch}: the same", inner / hand, limit, "x", f"{inner * 1e3:.3f} ms, {by}")
        )
    # batch 1: every weight is read once forward, those above the first layer once backward, every gradient is written once
    moved = 4 * (2 * sum(w.size for w in weights) + sum(w.size for w in weights[1:]))
    speed = bandwidth()
    detail = f"{moved / 1e6:.1f} MB in {whole * 1e3:.3f} ms; a large copy moves {speed / 1e9:.1f} GB/s"
    found.append(
        Row("relax(), wavefront, batch 1: part of the memory's bandwidth", moved / whole / speed, 0.5, "x", detail, at_least=True)
    )
    return [*found, memory(net, rng)]


def memory(net, rng):
    x, y = rng.normal(size=(32, SIZES[0])).astype(np.float32), rng.integers(SIZES[-1], size=32)
    peaks = []
    for steps in (6, 600):
        tracemalloc.start()
        dn.relax(net, x, y, backend=Reference(), record="last", steps=steps)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    detail = f"peaks {peaks[0] / 1e6:.2f} and {peaks[1] / 1e6:.2f} MB"
    return Row('record="last", reference: peak memory of 600 steps / of 6', peaks[1] / peaks[0], 1.05, "x", detail)
