"""The stage of a spiking circuit: its clock, and the nodes that present samples to it and read what it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.nengo.model import positive
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import settling_steps

_SETTLED = 1e-3  # closer than neurons come there is nothing to wait for


@dataclass(frozen=True)
class Clock:
    """The times of a circuit, in seconds: `tau` of every hop, `dt` of a step, and `average`, over which gradients are read."""

    tau: float
    dt: float
    average: float

    def __post_init__(self) -> None:
        for field in ("tau", "dt", "average"):
            object.__setattr__(self, field, positive(field, getattr(self, field), "a time in seconds, above 0"))
        if self.dt > self.tau / 2:
            raise OptionError("dt", f"{self.dt} s is over tau / 2 = {self.tau / 2} s", "use a smaller dt, or a longer tau")
        if self.average < self.dt:
            raise OptionError("average", f"{self.average} s is below dt = {self.dt} s", "use at least one step")

    @property
    def alpha(self) -> float:
        """The part of its way that a lowpass goes in a step, 1 - exp(-dt / tau)."""
        return -math.expm1(-self.dt_over_tau)

    @property
    def dt_over_tau(self) -> float:
        """The time of a step, in units of tau."""
        return self.dt / self.tau

    @property
    def window(self) -> int:
        """The steps over which gradients are read."""
        return round(self.average / self.dt)

    def settling_steps(self, network: Network, alpha: float, tolerance: float, *, switched: bool) -> int:  # noqa: ARG002
        """Return the steps of the binomial law for the tolerance, or for 1e-3 if that is less, and of the average.

        Raises CycleError.
        """
        return settling_steps(network.depth, alpha, max(tolerance, _SETTLED)) + self.window


class Factors:
    """Synapses of a projection, or (`projection` None) those of a bias: average what arrives in the window, and multiply."""

    def __init__(self, stage: Stage, projection: Projection | None, post: int, pre: int) -> None:
        self._stage, self._projection, self._post = stage, projection, post
        self._total = np.zeros(post + pre)

    def __call__(self, t: float, values: Array) -> None:
        """Take in s_v and r_k of one step."""
        step = self._stage.step(t)
        if self._stage.steps - self._stage.window < step <= self._stage.steps:
            self._total += values

    def forget(self) -> None:
        """Begin anew."""
        self._total[:] = 0.0

    def read(self) -> Array:
        """Return s_v (outer) r_k, or s_v, of the averages."""
        mean = self._total / self._stage.window
        if self._projection is None:
            return mean
        return self._projection.outer(mean[None, : self._post], mean[None, self._post :])


class Stage:
    """A circuit, and the nodes that present a sample to it and read what it does.

    A step t of the dynamics is seen in the circuit's step t + 1, when its filters show the state that t steps led to.
    """

    def __init__(self, network: Network, circuit: Callable[[], Any], clock: Clock, *, kicked: bool) -> None:
        import nengo

        self.steps, self.window, self._dt, self._before = 0, 1, clock.dt, 0
        self._sample: dict[str, Array] = {}
        self.rows: dict[str, Array] = {}
        self.by_step = False
        with nengo.Network(label="presentation") as self.model:
            self.model.config[nengo.Connection].synapse = None
            self.circuit = circuit()
            self.model.seed = self.circuit.seed
            for field in ("input", "target"):
                node = getattr(self.circuit, field)
                nengo.Connection(self._shown(field, node.size_in), node)
            for name, part in self.circuit.populations.items():
                self._recorded(name, part)
                if kicked:
                    self._kicked(name, part, clock.alpha)
            self.factors = {key: self._read(network, key) for key in network.plastic}

    def step(self, t: float) -> int:
        """Return the step of the dynamics that the circuit shows at time t (s)."""
        return round(t / self._dt) - 1 - self._before

    def present(self, sample: Mapping[str, Array], *, steps: int, window: int, before: int, by_step: bool) -> None:
        """Show another sample, `before` steps after the start of the simulator: "input", "target" and initial states."""
        self._sample, self.steps, self.window, self._before, self.by_step = dict(sample), steps, window, before, by_step
        count, parts = steps + 1 if by_step else 1, self.circuit.populations
        self.rows = {name: np.zeros((count, 2 * part.potential.size_in)) for name, part in parts.items()}
        for factors in self.factors.values():
            factors.forget()

    def _shown(self, field: str, size: int) -> Any:  # noqa: ANN401
        import nengo

        return nengo.Node(lambda _: self._sample[field], size_out=size, label=f"{field} data")

    def _recorded(self, name: str, part: Any) -> None:  # noqa: ANN401
        import nengo

        def record(t: float, values: Array) -> None:
            step = self.step(t)
            if self.by_step and 0 <= step <= self.steps:
                self.rows[name][step] = values
            elif step == self.steps:
                self.rows[name][0] = values

        n = part.potential.size_in
        node = nengo.Node(record, size_in=2 * n, size_out=0, label=f"{name} recorder")
        nengo.Connection(part.potential, node[:n])
        nengo.Connection(part.sensitivity, node[n:])

    def _kicked(self, name: str, part: Any, alpha: float) -> None:  # noqa: ANN401
        """Set the initial state by a pulse of one step: a lowpass at 0 is then where it would be after a step from there."""
        import nengo

        n, scale = part.potential.size_in, (1.0 - alpha) / alpha
        rest = np.zeros(2 * n)
        node = nengo.Node(
            lambda t: self._sample[name] * scale if self.step(t) == 0 else rest, size_out=2 * n, label=f"{name} start"
        )
        nengo.Connection(node[:n], part.drive)
        nengo.Connection(node[n:], part.gated)

    def _read(self, network: Network, key: str) -> Factors:
        import nengo

        projection = None if key.endswith(".bias") else network.projection(key)
        post = self.circuit.populations[key.removesuffix(".bias") if projection is None else projection.target].sensitivity
        pre = None if projection is None else self.circuit.rates[projection.source]
        sizes = (post.size_out, 0 if pre is None else pre.size_out)
        factors = Factors(self, projection, *sizes)
        node = nengo.Node(factors, size_in=sum(sizes), size_out=0, label=f"{key} synapses")
        nengo.Connection(post, node[: sizes[0]])
        if pre is not None:
            nengo.Connection(pre, node[sizes[0] :])
        return factors


def arrays(circuit: Any) -> Iterator[tuple[tuple[str, str], list[Any]]]:  # noqa: ANN401
    """Go through the populations and kinds of message ("rate", "sensitivity"), with the ensembles whose spikes carry it."""
    for name, part in circuit.populations.items():
        for kind, found in (("rate", part.representing), ("sensitivity", part.gating)):
            cells = [ensemble for array in found for ensemble in array.ea_ensembles]
            if cells:
                yield (name, kind), cells
