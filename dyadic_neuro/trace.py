"""What a run did: the states it went through, what the synapses read off, what was sent and what it cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np

from dyadic_neuro.arithmetic import gradients
from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Coding, Graded
from dyadic_neuro.cost import Cost
from dyadic_neuro.dynamics import State, rates
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.graph import Graph
from dyadic_neuro.interchange import netcdf
from dyadic_neuro.interchange.netcdf import Variable
from dyadic_neuro.messages import MessageLedger, source
from dyadic_neuro.projection import Projection
from dyadic_neuro.spikes import Spikes

_GRADED = Graded()


@dataclass(frozen=True, eq=False)
class Trace:
    """A relaxation of `steps` steps.

    `potentials` and `sensitivities` map each population but the input to (steps + 1, batch, n), row 0 being the initial
    state; with record="last" they keep the last row only, (1, batch, n). `gradients` maps each plastic parameter to
    what its synapses read in the last step, s_v(steps) outer r_k(steps - 1), in the shape of the parameter: from 2D steps
    on that is dC/dW exactly. `inputs` and `targets` are private copies, but with record="last" `inputs` is the caller's own
    array. `cost` is None where the backend has no model of time and energy (`pricing` works it out). `network` is the one
    that ran: where a chip had to divide a fan-in, another one than the user's, and `restore` puts its gradients together by
    the keys of the user's. `delays` are the steps that the rates of a projection travel beside the one of every hop, by its
    name: a synapse then reads r_k(steps - 1 - delay), and what was there before step 0 is the initial state, held for ever.
    `firing` gives the events of a run that was event-driven. `runs_on` says what really ran, as the backend tells it.
    `dt_over_tau` is how long a step takes, None where that is `alpha`, as in Euler's step: a lowpass goes 1 - exp(-dt / tau).

    Of a network of integers (a FixedNetwork) inputs, targets and states are integers, whose scales are in `network.scales`;
    gradients are real numbers. `saturations` say what left the range of its integers, and how often: "<population> <what>", and
    "data" that the network's scales do not reach.
    `coding` says how messages were sent.
    """

    network: Graph
    backend: str
    schedule: str
    alpha: float
    steps: int
    inputs: Array
    targets: Array
    potentials: Mapping[str, Array]
    sensitivities: Mapping[str, Array]
    gradients: Mapping[str, Array]
    ledger: Callable[[], MessageLedger]
    pricing: Callable[[], Cost] | None = None
    restore: Callable[[Mapping[str, Array]], Mapping[str, Array]] = lambda gradients: gradients
    delays: Mapping[str, int] = field(default_factory=dict)
    firing: Callable[[], Spikes] | None = None
    runs_on: str = ""
    dt_over_tau: float | None = None
    saturations: Mapping[str, int] = field(default_factory=dict)
    coding: Coding = _GRADED

    def __post_init__(self) -> None:
        """Make the states read-only: `final` and `state` show them as they are."""
        for rows in (*self.potentials.values(), *self.sensitivities.values()):
            rows.setflags(write=False)

    @cached_property
    def messages(self) -> MessageLedger:
        """Who sent how many messages to whom at which step."""
        return replace(self.ledger(), network=self.network)

    @cached_property
    def cost(self) -> Cost | None:
        """What the run cost on the chip that the backend simulates, or None."""
        return None if self.pricing is None else self.pricing()

    @cached_property
    def spikes(self) -> Spikes | None:
        """Who sent an event at which step of which sample, or None where populations send at every step that is theirs."""
        return None if self.firing is None else self.firing()

    @property
    def micro_steps(self) -> int:
        """The micro-steps that messages took, in all steps together."""
        return self.steps * self.coding.micro_steps

    @cached_property
    def loss(self) -> float:
        """C of the last state, the mean over the batch."""
        return float(self.network.cost.value(self.final.potentials[self.network.output], self.targets).mean())

    @property
    def final(self) -> State:
        """The last state; `relax(initial=trace.final)` goes on from it."""
        return self.state(-1)

    def state(self, row: int) -> State:
        """Return the state of one recorded row."""
        return State({n: u[row] for n, u in self.potentials.items()}, {n: s[row] for n, s in self.sensitivities.items()})

    def gradients_at(self, step: int) -> dict[str, Array]:
        """Return what the synapses would have read at the end of `step` (1 .. steps) of a fully recorded run.

        Raises OptionError for a step that was not recorded, and for a coding that tells messages only approximately: what
        synapses would have heard is not recorded.
        """
        if not self.coding.exact:
            fix = "read `gradients`, those of the last step, or use an exact coding"
            raise OptionError("coding", f"{self.coding} does not tell all of a message", fix)
        recorded = len(next(iter(self.potentials.values()))) - 1
        if isinstance(step, bool) or not isinstance(step, Integral) or not 1 <= step <= recorded:
            raise OptionError(
                "step",
                f"{step} is not among the {recorded} recorded steps",
                'relax with record="all" and ask for a step from 1 on',
            )
        shown = rates(self.network, self.state(step - 1), self.inputs)
        late = {p.name: self._late(p, step) for p in self.network.projections if self.delays.get(p.name)}
        return dict(self.restore(gradients(self.network, self.state(step).sensitivities, shown, late)))

    def _late(self, p: Projection, step: int) -> Array:
        """Return the rates that a projection with a delay brings in this step."""
        if p.source == self.network.input:
            return self.inputs
        return self.network.activations[p.source].rate(self.potentials[p.source][max(0, step - 1 - self.delays[p.name])])

    def to_xarray(self) -> Any:  # noqa: ANN401  (an xarray.Dataset)
        """Return the run as an xarray.Dataset, whose arrays are these.

        Its variables are `inputs`, `targets`, and for each population `potential_<name>` and `sensitivity_<name>` with the
        dimensions step, sample and neuron_<name>, for each parameter `gradient_<source>_to_<target>` or `gradient_<name>_bias`;
        integers have the attribute `value`, which says what they stand for. Its coordinates count steps (and `time`, in units of
        tau), samples and neurons, its attributes say what ran where, and of
        what network, as JSON without its weights. In names, "_" stands for what NetCDF's tools do not take. Raises
        MissingExtraError.
        """
        rows, pace = len(next(iter(self.potentials.values()))), self.alpha if self.dt_over_tau is None else self.dt_over_tau
        steps = np.arange(rows) if rows == self.steps + 1 else np.array([self.steps])
        coordinates = {
            "step": Variable(("step",), steps, "steps done"),
            "time": Variable(("step",), steps * pace, "time since the start", "tau"),
            "sample": Variable(("sample",), np.arange(len(self.inputs)), "sample"),
        }
        populations = netcdf.names([p.name for p in self.network.populations])
        for p in self.network.populations:
            dim = f"neuron_{populations[p.name]}"
            coordinates[dim] = Variable((dim,), np.arange(p.size), f"neuron of {p.name}", attrs={"population": p.name})
        ends = {"inputs": self.network.input, "targets": self.network.output}
        variables = {
            field: Variable(
                ("sample", f"neuron_{populations[name]}"), getattr(self, field), field, attrs=self._scale(name, field)
            )
            for field, name in ends.items()
        }
        for kind, states in (("potential", self.potentials), ("sensitivity", self.sensitivities)):
            for name, values in states.items():
                axes = ("step", "sample", f"neuron_{populations[name]}")
                label = f"{kind}_{populations[name]}"
                variables[label] = Variable(axes, values, f"{kind} of {name}", attrs=self._scale(name, kind))
        for key, label in netcdf.names([*self.gradients]).items():
            dims, own = self._dims(key, f"gradient_{label}", populations)
            coordinates |= own
            long_name = f"dC/d({key}), the mean over the samples"
            variables[f"gradient_{label}"] = Variable(dims, self.gradients[key], long_name, attrs={"parameter": key})
        about: dict[str, str | int | float] = {
            "title": "relaxation of a dyadic network",
            "backend": self.backend,
            "runs_on": self.runs_on,
            "schedule": self.schedule,
            "alpha": self.alpha,
            "dt_over_tau": pace,
            "steps": self.steps,
            "coding": str(self.coding),
            "loss": self.network.cost.name,
            "final_loss": self.loss,
        }
        about |= source(self.network)
        return netcdf.dataset(coordinates, variables, about)

    def _scale(self, population: str, what: str) -> dict[str, str]:
        """Return the attribute that tells what integers stand for: none for floats."""
        if not isinstance(self.network, FixedNetwork):
            return {}
        exponent = self.network.exponent(population, what)
        return {"value": f"integer * 2 ** {-exponent}"}

    def _dims(self, key: str, name: str, populations: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, Variable]]:
        """Return the dimensions of a gradient: the neurons of its populations, or of its own for a part of a matrix."""
        shape, of = self.gradients[key].shape, key.removesuffix(".bias").split("->")[::-1]
        sizes = {p.name: p.size for p in self.network.populations}
        if shape == tuple(sizes.get(population) for population in of):
            return tuple(f"neuron_{populations[population]}" for population in of), {}
        dims = tuple(f"{name}_{end}" for end in ("target", "source")[: len(shape)])
        p = next((p for p in self.network.projections if p.name == key and p.weights.shape == shape), None)
        if p is None:  # of a network that a chip had to divide
            return dims, {}
        neurons = zip(dims, (p.rows, p.columns), (p.target, p.source), strict=False)
        return dims, {
            dim: Variable((dim,), np.arange(part.start, part.stop), f"neuron of {population}")
            for dim, part, population in neurons
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the run to a NetCDF file, whole or not at all: `to_xarray` as the root, the ledger's as the group "messages".

        Raises MissingExtraError, OutputExistsError and FileError.
        """
        netcdf.write(path, {"/": self.to_xarray, "messages": self.messages.to_xarray}, overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class Stream:
    """A pipelined run: a new sample every step, weights frozen meanwhile.

    `gradients` (by plastic parameter, means over the samples) are dC/dW exactly; `feedback` are those that the W^T copies
    summed up, by projection name, each the transpose. `potentials` (samples, n_output) are the readout's, `steps` all
    steps: samples - 1 + 2D.
    """

    network: Graph
    backend: str
    steps: int
    targets: Array
    potentials: Array
    gradients: Mapping[str, Array]
    feedback: Mapping[str, Array]
    cost: Cost

    @cached_property
    def loss(self) -> float:
        """C, the mean over the samples."""
        return float(self.network.cost.value(self.potentials, self.targets).mean())


def relative_error(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> dict[str, float]:
    """Return for each key max |found - wanted| / max |wanted| (or the plain maximum where `wanted` is all 0)."""
    errors = {}
    for key, right in wanted.items():
        scale = float(np.abs(right).max())
        errors[key] = float(np.abs(np.asarray(found[key]) - right).max()) / (scale or 1.0)
    return errors
