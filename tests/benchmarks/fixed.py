"""Integers on the reference beside floats, and what codings send and take."""

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.codings import BitSerial, Delta
from dyadic_neuro.relaxation import prepare
from tests.benchmarks.measure import Row, medians

SIZES, BATCH = (784, 512, 512, 10), 256
SPIKING = 16  # samples of the row on bit_serial, whose planes are many


def problem():
    net = dn.Network.dense(SIZES, activation="tanh", loss="cross_entropy", seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(BATCH, SIZES[0])), rng.integers(SIZES[-1], size=BATCH)
    return net, dn.quantize(net, calibration=(x, y)), x, y


def speed(net, fixed, x, y):
    found = []
    for schedule in ("free", "wavefront"):
        calls = []
        for network in (net, fixed):
            order, session = prepare(network, x, y, schedule=schedule, record="last"), Reference().open(network)
            calls.append(lambda session=session, order=order: session.relax(order))
        floats_s, integers_s = medians(*calls, repeats=15)
        what = f"integers, 784-512-512-10, {schedule}, batch {BATCH}: time / floats"
        detail = f"{integers_s * 1e3:.1f} ms, float64 {floats_s * 1e3:.1f} ms; 8-bit weights, 16-bit messages"
        found.append(Row(what, integers_s / floats_s, 3.0, "x", detail))
    return found


def messages(fixed, x, y):
    window = fixed.relaxation_steps
    ledger = dn.relax(fixed, x, y, coding=Delta(0), schedule="wavefront", steps=2 * window).messages
    counts = ledger.counts / BATCH
    between = np.array([not link.local for link in ledger.links])
    dyads = between & np.array([link.source != fixed.input for link in ledger.links])
    size = sum(p.size for p in fixed.dynamic)
    first, again = counts[:window], counts[window:]
    graded = dn.relax(fixed, x, y, schedule="wavefront").messages.counts / BATCH
    what = "delta, threshold 0, 784-512-512-10, wavefront: messages per dyad"
    of_input = first[:, between & ~dyads].sum()
    detail = f"{first[:, dyads].sum():,.0f} of {size:,} dyads, graded {graded[:, dyads].sum():,.0f}; {of_input:,.0f} of the input"
    return [
        Row(f"{what} and sample", first[:, dyads].sum() / size, 2.0, "", detail),
        Row(f"{what}, of a sample that is shown again", again[:, between].sum() / size, 0.0, "", "nothing has changed"),
    ]


def spikes(fixed, x, y):
    x, y = x[:SPIKING], y[:SPIKING]
    calls = [lambda coding=coding: dn.relax(fixed, x, y, coding=coding, record="last") for coding in ("graded", BitSerial())]
    graded_s, serial_s = medians(*calls, repeats=5)
    detail = f"{serial_s * 1e3:.0f} ms, graded {graded_s * 1e3:.0f} ms: planes of single bits in 16 micro-steps a step"
    return Row(f"bit_serial, 784-512-512-10, batch {SPIKING}: time / graded", serial_s / graded_s, 16.0, "x", detail)


def rows():
    net, fixed, x, y = problem()
    return [*speed(net, fixed, x, y), *messages(fixed, x, y), spikes(fixed, x, y)]
