"""A network on a circuit: which values the circuit is given, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.brian2.circuit import Blueprint
from dyadic_neuro.backends.brian2.equations import Form
from dyadic_neuro.backends.brian2.functions import kind_codes, loss_code
from dyadic_neuro.backends.brian2.layout import Layout
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.spikes import Spikes
from dyadic_neuro.substrate import Substrate

_ALWAYS = 2**31 - 1  # steps: what the input causes changes with its weights
_FEWEST = 16  # samples that a circuit has room for at least; then powers of two, so that few circuits serve all batches


class Engine(Protocol):
    """A circuit that can be run."""

    def run(self, values: Mapping[str, Any], steps: int, wanted: Sequence[str]) -> dict[str, Array]:
        """Set values, run steps of the clock from the start of a sample, return what is wanted and "origin"."""

    def close(self) -> None:
        """Give back what the circuit holds."""


Open = Callable[[Blueprint, Network], Engine]


@dataclass(frozen=True)
class Setting:
    """How a backend was told to run: see `Brian2`. `dt_s` is a step of the dynamics in seconds."""

    name: str
    form: Form
    dt_s: float
    substrate: Substrate
    threshold: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network as a circuit runs it: `schedule` and `alpha` of the order, room for `samples`, of which `states` start anew."""

    network: Network
    setting: Setting
    schedule: Schedule
    alpha: float
    samples: int
    states: int

    def __post_init__(self) -> None:
        form = self.setting.form
        if self.schedule.kind == "wavefront" and (form.coordinates == "dyad" or form.method != "euler" or form.continuous):
            problem = f"'wavefront' with {form.coordinates} coordinates, {form.method} and "
            problem += f"{'continuous' if form.continuous else 'windowed'} plasticity, of which some move all the time"
            raise OptionError("schedule", problem, "use 'free', or coordinates='potential', method='euler' and 'windowed'")

    @cached_property
    def delays(self) -> dict[str, tuple[int, int]]:
        """The (forward, backward) delay of each projection in steps."""
        return self.setting.substrate.delay_steps(self.network, self.alpha)

    @property
    def _longest_input_delay(self) -> int:
        return max(self.delays[p.name][0] for p in self.network.outgoing[self.network.input])

    @cached_property
    def layout(self) -> Layout:
        """Where everything stands."""
        return Layout.of(self.network, self.delays, parted=not self.setting.form.events)

    @cached_property
    def blueprint(self) -> Blueprint:
        """What the circuit is built from."""
        layout, form = self.layout, self.setting.form
        delayed = any(map(any, self.delays.values()))
        form = replace(form, delayed=delayed, noisy=any(self.setting.substrate.noise), softmax=loss_code(self.network) == 3)
        return Blueprint(
            form,
            np.dtype(self.network.dtype).name,
            self.setting.dt_s / form.integrator.stages,
            layout.size,
            _room(self.samples),
            int(layout.clamped.sum() + layout.readout.sum()),
            _room(self.states),
            layout.source,
            layout.before,
            {way: (copies.axon, copies.neuron) for way, copies in layout.copies.items()},
            np.flatnonzero(layout.readout),
        )

    def run(self, start: Open, values: Mapping[str, Any], steps: int, wanted: Sequence[str]) -> dict[str, Array]:
        """Run the circuit with these values for that many steps."""
        blueprint = self.blueprint
        wanted = [*wanted, *(("events.i", "events.t") if blueprint.form.events else ())]
        return start(blueprint, self.network).run(values, steps * blueprint.form.integrator.stages, wanted)

    def values(self, inputs: Array, targets: Array, initial: State, feedback: Mapping[str, Projection]) -> dict[str, Any]:
        """Return the values that every run needs: weights, units, what is clamped, where samples start."""
        layout, network, blueprint, dtype = self.layout, self.network, self.blueprint, np.dtype(self.network.dtype)
        kinds, width, size = kind_codes(network), blueprint.clamps, layout.size
        given_from, given_stride = np.zeros(size, int), np.where(layout.clamped | layout.readout, width, 0)
        given_from[layout.clamped] = np.arange(inputs.shape[1])
        given_from[layout.readout] = inputs.shape[1] + np.arange(targets.shape[1])
        gather, substrate = layout.gather, self.setting.substrate
        sigma_u, sigma_s = substrate.noise
        found: dict[str, Any] = {
            "conductor.feed": _ALWAYS if self.setting.form.continuous else 1 + self._longest_input_delay,
            "conductor.period": max(self.schedule.period, 1),
            "conductor.rate": 0.0,
            "conductor.decay": 0.0,
            "conductor.before": 0,
            "given.value": _padded(np.concatenate([inputs, targets], axis=1), blueprint.samples),
            "starts.u": _padded(gather(initial.potentials), blueprint.states),
            "starts.s": _padded(gather(initial.sensitivities), blueprint.states),
            "neurons.kind": gather(kinds).astype(int),
            "neurons.loss": np.where(layout.readout, loss_code(network), 0),
            "neurons.clamped": layout.clamped.astype(int),
            "neurons.bias": gather({p.name: np.asarray(p.bias) for p in network.dynamic if p.bias is not None}),
            "neurons.biased": gather({p.name: 1.0 for p in network.dynamic if p.bias is not None}),
            "neurons.u_at": gather({n: t.at or 0 for n, t in self.schedule.potentials.items()}).astype(int),
            "neurons.s_at": gather({n: t.at or 0 for n, t in self.schedule.sensitivities.items()}).astype(int),
            "neurons.sigma_u": np.full(size, sigma_u),
            "neurons.sigma_s": np.full(size, sigma_s),
            "neurons.seed": np.full(size, float(substrate.seed)),
            "neurons.given_from": given_from,
            "neurons.given_stride": given_stride,
            "neurons.first_from": np.arange(size),
            "neurons.first_stride": np.full(size, size if self.states > 1 else 0),
            "axons.is_forward": layout.is_forward.astype(int),
            "axons.plastic": layout.plastic.astype(float),
            "axons.from_input": layout.clamped[layout.source].astype(int),
        }
        found["neurons.tau_u"], found["neurons.tau_s"] = self._time_constants()
        forward = {p.name: p for p in network.projections}
        for way, copies in layout.copies.items():
            found[f"{way}.w"] = copies.flat(feedback if way == "backward" else forward, dtype)
        if blueprint.form.delayed:
            found["axons.first"] = layout.first.astype(int)
        if blueprint.form.events:
            found["axons.threshold"] = np.where(layout.is_forward, *self.setting.threshold)
        return found

    def _time_constants(self) -> list[Array]:
        """Return tau of every potential and every sensitivity in seconds; what is clamped has an endless one."""
        own = self.setting.substrate.paces(self.network, self.alpha)
        # dt / tau, which has to be 1 to the last bit where units assign
        paces = [self.layout.gather({name: pair[half] for name, pair in own.items()}) for half in (0, 1)]
        with np.errstate(divide="ignore"):
            return [np.asarray(self.setting.dt_s / pace) for pace in paces]

    def gradients(self, found: Mapping[str, Array]) -> dict[str, Array]:
        """Return what the synapses of the forward copies and the neurons have added up over all samples."""
        parts = self._forward(found, "g")
        weights = {p.name: parts[p.name] for p in self.network.projections if p.plastic}
        biases = {
            f"{p.name}.bias": np.array(found["neurons.gradient"][self.layout.neurons[p.name]])
            for p in self.network.dynamic
            if p.bias is not None
        }
        return weights | biases

    def _forward(self, found: Mapping[str, Array], variable: str) -> dict[str, Array]:
        """Return a variable of the synapses of all forward copies, by projection."""
        ways = [way for way in self.layout.copies if way != "backward"]
        return {name: part for way in ways for name, part in self.layout.copies[way].split(found[f"{way}.{variable}"]).items()}

    def left(self, found: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array], State]:
        """Return the parameters, the W^T copies and the state that a run has left."""
        layout, network = self.layout, self.network
        weights = self._forward(found, "w")
        biases = {f"{p.name}.bias": found["neurons.bias"][layout.neurons[p.name]] for p in network.dynamic if p.bias is not None}
        copies = layout.copies["backward"].split(found["backward.w"]) if "backward" in layout.copies else {}
        state = [{p.name: found[f"neurons.{z}"][layout.neurons[p.name]][None] for p in network.dynamic} for z in ("u", "s")]
        return weights | biases, copies, State(*state)

    def recorded(self, found: Mapping[str, Array], name: str, batch: int) -> dict[str, Array]:
        """Return what was recorded of "u" or "s" by population, (rows, batch, n)."""
        sizes = [p.size for p in self.network.dynamic]
        rows = found[f"recorder.{name}"].reshape(batch, -1, sum(sizes)).swapaxes(0, 1)
        parts = np.split(rows, np.cumsum(sizes)[:-1], axis=2)
        return {p.name: part for p, part in zip(self.network.dynamic, parts, strict=True)}

    def ledger(
        self, found: Mapping[str, Array], steps: int, batch: int, *, by_step: bool, window: int, learning: bool
    ) -> messages.MessageLedger:
        """Return who sent how many messages: as the schedule implies, or, where axons send events, as counted.

        The stages of an integrator are messages each. `steps` are those that the samples of a batch go through side by side.
        """
        form, layout = self.setting.form, self.layout
        due = messages.expected(self.network, self.schedule, steps, batch, by_step=by_step, window=window, learning=learning)
        counts: Array = due.counts * form.integrator.stages
        if form.events:
            step = self._event_steps(found)
            row = step % window if by_step else np.zeros_like(step)
            for i, link in enumerate(due.links):
                if not link.local:
                    forward = link.kind == "rate"
                    name = f"{link.source}->{link.target}" if forward else f"{link.target}->{link.source}"
                    axons = layout.ends[name, forward]
                    own = (found["events.i"] >= axons.start) & (found["events.i"] < axons.stop)
                    counts[:, i] = np.bincount(row[own], minlength=len(counts))
        return messages.MessageLedger(due.links, counts, by_step)

    def _event_steps(self, found: Mapping[str, Array]) -> Array:
        """Return the step of each event, counted from the run's first, 0."""
        return np.asarray(np.rint(found["events.t"] / self.setting.dt_s).astype(np.int64) - int(found["origin"]))

    def spikes(self, found: Mapping[str, Array], steps: int, batch: int) -> Spikes:
        """Return the events of each population: one where a neuron's axons sent one, along however many projections."""
        layout, size = self.layout, self.layout.size
        step, axon = self._event_steps(found), found["events.i"]
        # as one number, of which each neuron has one for each kind and step
        sent = np.unique((2 * step + layout.is_forward[axon]) * size + layout.source[axon])
        step, forward, neuron = sent // (2 * size), sent // size % 2 == 1, sent % size
        events = []
        ways = messages.links(self.network, learning=False)
        for name, kind in dict.fromkeys((link.source, link.kind) for link in ways if not link.local):
            own = layout.neurons[name]
            chosen = (forward == (kind == "rate")) & (own.start <= neuron) & (neuron < own.stop)
            events.append((name, kind, step[chosen] // steps, step[chosen] % steps + 1, neuron[chosen] - own.start))
        return Spikes.of(events, batch=batch, steps=steps, dt_ms=1e3 * self.setting.dt_s)


def _room(samples: int) -> int:
    return max(_FEWEST, 1 << (samples - 1).bit_length())


def _padded(rows: Array, count: int) -> Array:
    """Return the rows, and as many rows of zeros after them as it takes to have `count`, as one flat array."""
    return np.concatenate([rows.ravel(), np.zeros((count - len(rows)) * rows.shape[1])])
