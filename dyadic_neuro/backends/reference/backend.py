"""The reference backend: the unit step in NumPy, each population updated only when its schedule says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation
from dyadic_neuro.backends.reference.circuit import Circuit
from dyadic_neuro.backends.reference.coded import CodedCircuit
from dyadic_neuro.backends.reference.physical import PhysicalCircuit
from dyadic_neuro.backends.reference.stacked import Stacked
from dyadic_neuro.codings import Graded
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.network import Network
from dyadic_neuro.substrate import Substrate
from dyadic_neuro.trace import Trace

_ROUNDING = 1e-12  # of sums in another order
_RUNS_ON = f"NumPy {np.__version__} in this process, on the CPU"
_States = tuple[dict[str, Array], dict[str, Array], dict[str, Array]]  # potentials, sensitivities, gradients


class Reference:
    """The backend that the others are compared with: one process, NumPy, the fastest of them.

    With a `substrate` it is a physical circuit: with time constants, delays and noise of its own. Samples of a batch then run
    in it one after the other, as far as noise is concerned.

    `stacked` computes all populations at once, which is faster for deep and narrow networks (ten times at 32 populations of
    16) and differs by rounding; it holds for relaxations under the schedule "free" and without a substrate.

    Raises OptionError for what is no Substrate, or a substrate that is to be stacked.
    """

    name = "reference"
    alpha = 1.0
    tolerance = 0.0
    unsupported: Mapping[str, str] = {}
    substrate: Substrate | None = None
    _stacked = False

    def __init__(self, substrate: Substrate | None = None, *, stacked: bool = False) -> None:
        if substrate is not None and not isinstance(substrate, Substrate):
            raise OptionError("substrate", f"{type(substrate).__name__} is not a Substrate", "make one: Substrate(noise=0.01)")
        if stacked and substrate is not None:
            raise OptionError("stacked", "is asked for, and a substrate too, which goes unit by unit", "give one of them")
        self.substrate, self.tolerance, self._stacked = substrate, _ROUNDING if stacked else 0.0, stacked

    @property
    def fixed_point(self) -> bool:
        """Whether it runs networks of integers: it does, but not stacked nor on a substrate."""
        return self.substrate is None and not self._stacked

    @property
    def runs_on(self) -> str:
        """What really runs."""
        return _RUNS_ON

    def missing(self) -> str | None:
        """Return None: it needs nothing but NumPy."""
        return None

    def open(self, network: Network) -> ReferenceSession:
        """Return a session for the network."""
        _keep_freed_memory()
        return ReferenceSession(network, self.substrate, stacked=self._stacked)


@cache
def _keep_freed_memory() -> None:
    """Teach glibc to keep what a relaxation frees for the next one, instead of faulting the same pages in again.

    It keeps twice the largest block that was ever freed (up to 32 MB), and starts with very little. The block is never
    touched, so this costs no memory; other allocators do not care.
    """
    np.empty(30 * 2**20, np.uint8)


class ReferenceSession(LocalSession):
    """Relaxes and learns with one network."""

    def __init__(self, network: Network, substrate: Substrate | None = None, *, stacked: bool = False) -> None:
        self._network, self._stacked = network, stacked
        self._substrate = None if substrate is None or substrate.ideal else substrate

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SessionClosedError."""
        self.check_open()
        network, steps = self._network, order.steps
        stacked = self._stacked and order.schedule.kind == "free"
        circuit = None if stacked else self._circuit(order, order.initial, steps)
        run = self._all_at_once(order) if circuit is None else _one_by_one(circuit, order)
        potentials, sensitivities, gradients = run

        def ledger() -> messages.MessageLedger:
            found = messages.expected(
                network, order.schedule, steps, len(order.inputs), by_step=order.by_step, window=steps, learning=False
            )
            return found if circuit is None else circuit.counted(found)

        return Trace(
            network,
            "reference",
            order.schedule.kind,
            order.alpha,
            steps,
            order.inputs,
            order.targets,
            potentials,
            sensitivities,
            gradients,
            ledger,
            delays=self._delays(order.alpha),
            runs_on=_RUNS_ON,
            saturations={} if circuit is None else circuit.saturations(),
        )

    def _all_at_once(self, order: Relaxation) -> _States:
        circuit = Stacked(self._network, order.alpha, order.initial, order.feedback)
        return circuit.run(order.steps, order.inputs, order.targets, by_step=order.by_step)

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn epoch by epoch, both copies of every weight by their own local updates. Raises SessionClosedError."""
        network, window, batch = self._network, order.window, order.order.shape[2]
        circuit = self._circuit(order, State.zero(network, batch), window)
        for windows in order.order:
            self.check_open()
            losses, correct = [], 0
            for samples in windows:
                x, y = order.inputs[samples], order.targets[samples]
                for t in range(1, window + 1):
                    circuit.step(t, x, y)
                circuit.learn(order.learning_rate, order.weight_decay)
                readout = circuit.before[network.output]
                losses.append(float(network.cost.value(readout, y).mean()))
                correct += int((readout.argmax(axis=1) == y.argmax(axis=1)).sum())
                on_window(losses[-1])
            ledger = messages.expected(
                network, order.schedule, window * len(windows), batch, by_step=False, window=window, learning=True
            )
            yield Epoch(
                circuit.parameters(),
                {n: np.array(c.weights) for n, c in circuit.feedback.items()},
                np.array(losses),
                correct,
                circuit.counted(ledger),
                saturations=circuit.saturations(),
            )
            circuit.forget()

    def _delays(self, alpha: float) -> dict[str, int]:
        """Return the steps that rates are delayed, by projection, where they are."""
        delays = {} if self._substrate is None else self._substrate.delay_steps(self._network, alpha)
        return {name: forward for name, (forward, _) in delays.items() if forward}

    def _circuit(self, order: Relaxation | Learning, initial: State, window: int) -> Circuit:
        """Return a circuit in its initial state, which gets other inputs every `window` steps."""
        parts = (self._network, order.schedule, order.alpha, initial, order.feedback)
        if isinstance(self._network, FixedNetwork) and not isinstance(order.coding, Graded):
            return CodedCircuit(*parts, order.coding)
        return Circuit(*parts) if self._substrate is None else PhysicalCircuit(*parts, self._substrate, window)


def _one_by_one(circuit: Circuit, order: Relaxation) -> _States:
    """Step population by population."""
    rows = _Rows(circuit, order.steps) if order.by_step else None
    for t in range(1, order.steps + 1):
        circuit.step(t, order.inputs, order.targets)
        if rows is not None:
            rows.note(circuit, t)
    if rows is not None:
        return rows.potentials, rows.sensitivities, circuit.gradients()
    u, s = ({name: z[None] for name, z in states.items()} for states in (circuit.potentials, circuit.sensitivities))
    return u, s, circuit.gradients()


class _Rows:
    """The recorded states, name -> (steps + 1, batch, n)."""

    def __init__(self, circuit: Circuit, steps: int) -> None:
        self.potentials = {name: np.empty((steps + 1, *u.shape), u.dtype) for name, u in circuit.potentials.items()}
        self.sensitivities = {name: np.empty_like(rows) for name, rows in self.potentials.items()}
        self.note(circuit, 0)

    def note(self, circuit: Circuit, row: int) -> None:
        for rows, state in ((self.potentials, circuit.potentials), (self.sensitivities, circuit.sensitivities)):
            for name, values in state.items():
                rows[name][row] = values
