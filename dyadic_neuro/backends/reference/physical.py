"""The circuit of the reference backend on a substrate: time constants, delays and noise of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.reference.circuit import Circuit
from dyadic_neuro.dynamics import State, potential_update, sensitivity_update
from dyadic_neuro.network import Network
from dyadic_neuro.noise import gauss
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.substrate import Pace, Substrate


class PhysicalCircuit(Circuit):
    """Takes each step at every unit's own pace, with what delays let arrive, and adds noise.

    What is sent in step t arrives a projection's delay later than without; before the first step the initial state was held
    for ever, and so were the first inputs. `window` is how many steps inputs are held: the clock of the noise counts the
    samples of a batch one after the other.
    """

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        alpha: float,
        initial: State,
        feedback: Mapping[str, Projection],
        substrate: Substrate,
        window: int,
    ) -> None:
        super().__init__(network, schedule, alpha, initial, feedback)
        self._paces, self._delays = substrate.paces(network, alpha), substrate.delay_steps(network, alpha)
        self._rates: dict[str, deque[Array]] = {}  # what each population showed, the latest at the end
        self._signals: dict[str, deque[Array]] = {}  # what each sent backward
        for p in network.populations:
            self._rates[p.name] = deque(maxlen=1 + max((self._delays[q.name][0] for q in network.outgoing[p.name]), default=0))
            self._signals[p.name] = deque(maxlen=1 + max((self._delays[q.name][1] for q in network.incoming[p.name]), default=0))
        self._noise = _Noise(network, self._paces, substrate, window)

    def step(self, t: int, inputs: Array, targets: Array) -> None:
        """Take the state from t - 1 to t."""
        network = self._network
        self.before, self._sent = self.potentials, self.sensitivities
        self._rates[network.input].append(inputs)
        for name, potential in self.before.items():
            self._rates[name].append(network.activations[name].rate(potential))
            self._signals[name].append(self._sent[name])
        self._noise.step(len(inputs))
        changed, sensed = self._schedule.active(t)
        self.potentials, self.sensitivities = dict(self.before), dict(self._sent)
        for name in changed:
            arrivals = [(self.forward[p.name], self._arriving(p)) for p in network.incoming[name]]
            bias, noise = self.biases.get(name), self._noise.of(name, 0)
            self.potentials[name] = potential_update(arrivals, bias, self.before[name], self._paces[name][0], noise)
        for name in sensed:
            self.sensitivities[name] = self._sensitivity(name, targets)

    def _sensitivity(self, name: str, targets: Array) -> Array:
        network, u = self._network, self.before[name]
        arrivals = [(self.feedback[p.name], self._returning(p)) for p in network.outgoing[name]]
        derivative = network.activations[name].derivative(u, self._rate(name)) if arrivals else None
        error = network.cost.gradient(u, targets) if name == network.output else None
        return sensitivity_update(arrivals, derivative, error, self._sent[name], self._paces[name][1], self._noise.of(name, 1))

    def _rate(self, name: str) -> Array:
        return self._rates[name][-1]

    def _arriving(self, projection: Projection) -> Array:
        return _earlier(self._rates[projection.source], self._delays[projection.name][0])

    def _returning(self, projection: Projection) -> Array:
        return _earlier(self._signals[projection.target], self._delays[projection.name][1])


def _earlier(history: deque[Array], delay: int) -> Array:
    """Return what was there `delay` steps ago, or the first thing that ever was."""
    return history[-1 - delay] if delay < len(history) else history[0]


class _Noise:
    """The noise of one step after the other, scaled to what a step of each unit adds.

    Its cells are numbered neuron by neuron in the order of the populations, the potential first, then the sensitivity.
    """

    def __init__(self, network: Network, paces: Mapping[str, tuple[Pace, Pace]], substrate: Substrate, window: int) -> None:
        self._seed, self._deviations, self._window = substrate.seed, substrate.noise, window
        self._dtype, self._step = np.dtype(network.dtype), 0
        self._neurons: dict[str, slice] = {}
        self._drawn = np.empty((0, 0, 2))
        cells, scales, first, held = [], [], 0, 0
        for p in network.populations:
            if p.name in paces:  # the input, which is clamped, is counted only
                self._neurons[p.name] = slice(held, held + p.size)
                cells.append(np.arange(2 * first, 2 * (first + p.size)))
                scales.append(np.empty((p.size, 2)))
                for half, pace in enumerate(paces[p.name]):
                    scales[-1][:, half] = self._deviations[half] * np.sqrt(2.0 * pace)
                held += p.size
            first += p.size
        self._cells, self._scales = np.concatenate(cells), np.concatenate(scales)

    def step(self, batch: int) -> None:
        """Draw what the next step adds to each neuron of each sample."""
        if any(self._deviations):
            windows, step = divmod(self._step, self._window)
            steps = (windows * batch + np.arange(batch)) * self._window + step
            drawn = gauss(self._seed, steps[:, None], self._cells).reshape(batch, -1, 2)
            self._drawn = (drawn * self._scales).astype(self._dtype)
        self._step += 1

    def of(self, name: str, half: int) -> Array | None:
        """Return what the step adds to a population's potentials (0) or sensitivities (1), (batch, n), or None."""
        return self._drawn[:, self._neurons[name], half] if self._deviations[half] else None
