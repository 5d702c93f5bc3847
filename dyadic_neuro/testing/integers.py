"""The laws of networks of integers: bit for bit, so what is measured is how many numbers differ, and the limit is 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dyadic_neuro import arithmetic, integer_oracle
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend
from dyadic_neuro.codings import BitSerial, Coding, Delta, Graded, Rate
from dyadic_neuro.dynamics import State
from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
from dyadic_neuro.oracle import backprop
from dyadic_neuro.quantization import quantize
from dyadic_neuro.relaxation import relax
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.finding import Finding
from dyadic_neuro.training import train

Problem = tuple[FixedNetwork, Array, Array]
_SAMPLES = 6


def _problems() -> list[Problem]:
    """Return a chain in the usual format, and a network with skips and parts in a narrow one, which saturates."""
    chain = networks.chain(2, 3, activation="tanh", loss="cross_entropy")
    skips = networks.dag(5, 4, parts=True)
    x, y = networks.batch(chain, 21, _SAMPLES)
    narrow = FixedFormat(weight_bits=5, message_bits=8, state_bits=10, table_bits=6)
    return [(quantize(chain, calibration=(x, y)), x, y), (quantize(skips, narrow), *networks.batch(skips, 22, 2))]


def steps(backend: Backend) -> Finding:
    """Count the integers that differ from the rules' at any step, and from integer backpropagation's in the end.

    Saturations count too, unless a fan-in was divided: they are then of other populations.
    """
    differing = 0
    for net, x, y in _problems():
        trace = relax(net, x, y, backend=backend)
        state = State.zero(trace.network, len(x))
        for t in range(trace.steps + 1):
            found = trace.state(t)
            for rows, wanted in ((found.potentials, state.potentials), (found.sensitivities, state.sensitivities)):
                differing += _differing(rows, wanted)
            state = arithmetic.step(trace.network, state, trace.inputs, trace.targets)
        wave = relax(net, x, y, backend=backend, schedule="wavefront")
        differing += sum(_differing(run.gradients, backprop(net, x, y)) for run in (trace, wave))
        if trace.network is net:
            differing += int(dict(trace.saturations) != dict(relax(net, x, y).saturations))
    return Finding(differing, 0)


def learning(backend: Backend) -> Finding:
    """Count the integers that differ from integer descent, and between the copies, after learning with random rounding."""
    differing = 0
    other = Graded() if "codings" in backend.unsupported else BitSerial()
    runs: tuple[tuple[str, float, Coding], ...] = (("stochastic", 0.0, Graded()), ("nearest", 0.5, other))
    for rounding, decay, coding in runs:
        chain = networks.chain(2, 3, activation="relu", loss="cross_entropy")
        x, y = networks.batch(chain, 23, _SAMPLES)
        net = quantize(chain, FixedFormat(rounding=rounding, seed=3), calibration=(x, y))
        speed: dict[str, Any] = {"batch_size": 2, "learning_rate": 0.3, "weight_decay": decay}
        result = train(net, (x, y), backend=backend, epochs=2, shuffle=False, coding=coding, **speed)
        batches = [*np.arange(_SAMPLES).reshape(-1, 2)] * 2
        wanted = integer_oracle.descend(net, *net.encode(x, y), batches, 0.3, decay)
        differing += _differing(result.network.parameters, wanted.parameters)
        backward = {name: copies.backward.T for name, copies in result.copies.items() if copies.backward is not None}
        differing += _differing(result.network.parameters, backward)
    return Finding(differing, 0)


def codings(backend: Backend) -> Finding:
    """Count what differs from integer backpropagation with exact codings, and from the reference with the others."""
    net, x, y = _problems()[0]
    right_states = _named(*integer_oracle.settled(net, *net.encode(x, y)))
    wanted, differing = backprop(net, x, y), 0
    exact: tuple[Coding, ...] = (Delta(), BitSerial())
    others: tuple[Coding, ...] = (Delta(300), Rate(16), Rate(16, "lif"))
    for coding, schedule in zip(exact, ("free", "wavefront"), strict=True):
        trace = relax(net, x, y, backend=backend, coding=coding, schedule=schedule)
        final = _named(trace.final.potentials, trace.final.sensitivities)
        differing += _differing(trace.gradients, wanted) + _differing(final, right_states)
    for coding in others:
        found, right = (relax(net, x, y, backend=b, coding=coding) for b in (backend, "reference"))
        if found.network is net:  # where a fan-in was divided, other messages are sent
            states = [_named(trace.potentials, trace.sensitivities) for trace in (found, right)]
            differing += _differing(*states) + int(set(found.messages) != set(right.messages))
    return Finding(differing, 0)


def _named(potentials: Mapping[str, Array], sensitivities: Mapping[str, Array]) -> dict[str, Array]:
    return {f"u {n}": u for n, u in potentials.items()} | {f"s {n}": s for n, s in sensitivities.items()}


def _differing(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> int:
    """Return how many numbers of two sets of arrays differ; all of an array of another shape or dtype do."""
    count = 0
    for key, right in wanted.items():
        given = np.asarray(found[key])
        alike = given.shape == right.shape and given.dtype == right.dtype
        count += int(np.count_nonzero(given != right)) if alike else right.size
    return count
