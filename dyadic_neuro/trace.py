"""What a run did: the states it went through, what the synapses read off, what was sent and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.cost import Cost
from dyadic_neuro.dynamics import State, gradients, rates
from dyadic_neuro.errors import OptionError
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection


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
    """

    network: Network
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

    def __post_init__(self) -> None:
        """Make the states read-only: `final` and `state` show them as they are."""
        for rows in (*self.potentials.values(), *self.sensitivities.values()):
            rows.setflags(write=False)

    @cached_property
    def messages(self) -> MessageLedger:
        """Who sent how many messages to whom at which step."""
        return self.ledger()

    @cached_property
    def cost(self) -> Cost | None:
        """What the run cost on the chip that the backend simulates, or None."""
        return None if self.pricing is None else self.pricing()

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

        Raises OptionError for a step that was not recorded.
        """
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


@dataclass(frozen=True, eq=False)
class Stream:
    """A pipelined run: a new sample every step, weights frozen meanwhile.

    `gradients` (by plastic parameter, means over the samples) are dC/dW exactly; `feedback` are those that the W^T copies
    summed up, by projection name, each the transpose. `potentials` (samples, n_output) are the readout's, `steps` all
    steps: samples - 1 + 2D.
    """

    network: Network
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
