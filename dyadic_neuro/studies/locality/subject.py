"""What is examined: a network on a backend, with a batch, through `relax` alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, deployed, resolve
from dyadic_neuro.datasets import random_batch
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import OptionError
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import check_data, relax
from dyadic_neuro.schedule import SCHEDULES
from dyadic_neuro.trace import Trace


@dataclass(frozen=True, eq=False)
class Subject:
    """A network on a backend, and the batch that it is shown: `inputs` (samples, n_input), `targets` (samples, n_output) rows.

    The backend is a black box: whatever is said of it was seen in traces of `relax`.
    """

    network: Network
    backend: Backend
    inputs: Array
    targets: Array
    schedule: str
    seed: int

    @classmethod
    def of(
        cls,
        network: Network,
        inputs: ArrayLike | None = None,
        targets: ArrayLike | None = None,
        *,
        backend: str | Backend = "reference",
        schedule: str = "free",
        samples: int = 1,
        seed: int = 0,
    ) -> Subject:
        """Return the subject, checked; without data it is shown `samples` random ones, drawn from the seed.

        Raises OptionError (network, samples, seed, targets, schedule), DataError, UnknownNameError, MissingExtraError.
        """
        if not isinstance(network, Network):
            raise OptionError("network", f"{type(network).__name__} is not a Network", "build one with Network.dense(...)")
        network.need_weights()
        if not isinstance(schedule, str) or schedule not in SCHEDULES:
            raise OptionError("schedule", f"{schedule!r} is not a schedule", f"use one of {list(SCHEDULES)}")
        if (inputs is None) != (targets is None):
            raise OptionError("targets", "and inputs belong together, but one of them is missing", "give both, or none")
        for field, value, least in (("samples", samples, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise OptionError(field, f"{value!r} is not an integer of at least {least}", f"use for example {least}")
        if inputs is None or targets is None:
            inputs, targets = random_batch(network, int(samples), int(seed))
        return cls(network, resolve(backend), *check_data(network, inputs, targets), schedule, int(seed))

    @cached_property
    def running(self) -> Network:
        """The network that the backend runs: another one where a chip had to divide a fan-in."""
        return deployed(self.backend, self.network)

    def state(self, samples: int) -> State:
        """Return a random state of the network that runs, the same for every call: a generic one, in which nothing cancels."""
        rng, dtype = np.random.default_rng([self.seed, samples, 3]), np.dtype(self.network.dtype)
        drawn: list[dict[str, Array]] = [
            {p.name: rng.normal(size=(samples, p.size)).astype(dtype) for p in self.running.dynamic} for _ in range(2)
        ]
        return State(*drawn)

    def relax(
        self,
        steps: int | None,
        *,
        network: Network | None = None,
        inputs: Array | None = None,
        targets: Array | None = None,
        initial: State | None = None,
        backward: Mapping[str, Array] | None = None,
        schedule: str | None = None,
        record: str = "all",
    ) -> Trace:
        """Relax, with something else in place of the network's weights, the batch or the schedule, and return a whole trace.

        `steps` and `record` are those of `relaxation.relax`. Raises as it does, and OptionError: "backend" for a trace that is
        not of this run, with every state of every population that runs and a gradient for each plastic parameter, all of them
        finite; "network" if its own dynamics leaves the finite numbers.
        """
        network = self.network if network is None else network
        x, y = self.inputs if inputs is None else inputs, self.targets if targets is None else targets
        timing, name = self.schedule if schedule is None else schedule, self.backend.name
        order: dict[str, Any] = {"steps": steps, "initial": initial, "schedule": timing, "record": record}
        with np.errstate(all="ignore"):  # what is not finite is told below
            trace = relax(network, x, y, backend=self.backend, backward=backward, **order)
        problem = self._malformed(trace, trace.steps if steps is None else steps, x, record)
        if problem is not None:
            raise OptionError("backend", f"{name!r} {problem}", "use one whose traces hold the run that was asked for")
        problem = _infinite(trace)
        if problem is None:
            return trace
        running = deployed(self.backend, network)
        with np.errstate(all="ignore"):
            copies = backward if running.fingerprint == network.fingerprint else None
            own = _infinite(relax(running, x, y, alpha=self.backend.alpha, backward=copies, **order | {"steps": trace.steps}))
        if own is not None:
            raise OptionError(
                "network", f"overflows: on {name!r} {problem}, and so it does by its equations", "use smaller weights"
            )
        raise OptionError("backend", f"{name!r} left the finite numbers: {problem}", 'look at the same run on "reference"')

    def _malformed(self, trace: Trace, steps: int, inputs: Array, record: str) -> str | None:
        """Return what a trace lacks of a run, or has beside it, in words."""
        if trace.steps != steps or not np.array_equal(trace.inputs, inputs):
            return f"returned the trace of another run, of {trace.steps} steps with {len(trace.inputs)} samples"
        sizes = {p.name: (steps + 1 if record == "all" else 1, len(inputs), p.size) for p in self.running.dynamic}
        parameters = self.network.parameters
        wanted = {key: parameters[key].shape for key in self.network.plastic}
        held = (("potentials", trace.potentials, sizes), ("sensitivities", trace.sensitivities, sizes))
        for kind, arrays, shapes in (*held, ("gradients", trace.gradients, wanted)):
            if set(arrays) != set(shapes):
                return f"recorded {kind} of {list(arrays)}, and not of {list(shapes)}"
            for name, shape in shapes.items():
                found = np.shape(arrays[name])
                if shapes is sizes and found[:1] != shape[:1]:
                    return f"recorded {found[0] if found else 0} of {shape[0]} states of {name!r}"
                if found != shape:
                    return f"recorded {kind} of {name!r} of shape {found}, and not {shape}"
        return None


def _infinite(trace: Trace) -> str | None:
    """Return the first step at which a state of a trace, or else the first gradient, is not finite, in words."""
    found: tuple[int, str] | None = None
    for kind, states in (("potential", trace.potentials), ("sensitivity", trace.sensitivities)):
        for name, rows in states.items():
            with np.errstate(all="ignore"):
                total = rows.sum()  # far cheaper than a look at each
            if not np.isfinite(total):
                finite = np.isfinite(rows).all(axis=(1, 2))
                step = int(finite.argmin())
                if not finite[step] and (found is None or step < found[0]):
                    found = step, f"the {kind} of {name!r} is not finite at step {step + trace.steps + 1 - len(rows)}"
    if found is not None:
        return found[1]
    bad = (key for key, gradient in trace.gradients.items() if not np.isfinite(gradient).all())
    return next((f"the gradient of {key!r} is not finite" for key in bad), None)
