"""The circuit of the reference backend whose messages are changes, bits or spikes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.reference.circuit import Circuit
from dyadic_neuro.codings import Coding, Sender
from dyadic_neuro.dynamics import State
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.messages import MessageLedger, Signal
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule


class CodedCircuit(Circuit):
    """Synapses hear what the coding lets them hear of a message; a population's own synapses hear what the others do.

    With an exact coding every step, gradient and update is that of graded messages. With another both copies of a weight still
    learn from the same integers: the forward copy, too, reads what was told last of a sensitivity that crosses to others. (There
    a hidden population comes before, so that 2D - 1 steps are enough; one that does not cross is read in its own core.)

    `sent` holds for each signal the messages of every step since `forget`, of all samples and micro-steps.
    """

    def __init__(
        self,
        network: FixedNetwork,
        schedule: Schedule,
        alpha: float,
        initial: State,
        feedback: Mapping[str, Projection],
        coding: Coding,
    ) -> None:
        super().__init__(network, schedule, alpha, initial, feedback)
        self._coding, self._step, self._batch = coding, 0, len(initial.potentials[network.output])
        self.sent: dict[Signal, list[int]] = {}
        self._senders = {signal: self._sender(network, signal, i, initial) for i, signal in messages.signals(network)}
        self.forget()

    def _sender(self, network: FixedNetwork, signal: Signal, number: int, initial: State) -> Sender:
        """Return a sender that has told the initial state; an input has told nothing yet."""
        name, kind = signal
        if name == network.input:
            told = np.zeros((self._batch, network.population(name).size), np.int64)
        elif kind == messages.RATE:
            told = self.rules[name].rate(initial.potentials[name])
        else:
            told = self.rules[name].message(initial.sensitivities[name])
        return Sender(self._coding, network.bits(name, kind), number, 0, told)

    def step(self, t: int, inputs: Array, targets: Array) -> None:
        """Send, and take the state from t - 1 to t."""
        self._step += 1
        for (name, kind), sender in self._senders.items():
            rates = kind == messages.RATE
            timing = (self._schedule.potentials if rates else self._schedule.sensitivities)[name]
            count = 0
            if timing.sends(t):
                planes = sender.send(inputs if name == self._network.input else self._message(name, kind), self._step)
                count = int(np.count_nonzero(self._coding.sent(planes)))
            self.sent[name, kind].append(count)
        super().step(t, inputs, targets)

    def counted(self, ledger: MessageLedger) -> MessageLedger:
        """Return the ledger that the schedule implies with the messages that were really sent."""
        rows = {signal: np.array(counts if ledger.by_step else [sum(counts)]) for signal, counts in self.sent.items()}
        return messages.counted(ledger, rows, self._coding)

    def forget(self) -> None:
        """Begin to count anew."""
        self.sent = {signal: [] for signal in self._senders}

    def _message(self, name: str, kind: str) -> Array:
        if kind == messages.RATE:
            return self.rules[name].rate(self.potentials[name])
        return self.rules[name].message(self.sensitivities[name])

    def _arriving(self, projection: Projection) -> Array:
        return self._senders[projection.source, messages.RATE].told

    def _returning(self, projection: Projection) -> Array:
        return self._senders[projection.target, messages.SENSITIVITY].told

    def _own(self, name: str) -> Array:
        return self._senders[name, messages.RATE].told

    def _handed(self, name: str) -> Array:
        sender = self._senders.get((name, messages.SENSITIVITY))
        return super()._handed(name) if sender is None or self._coding.exact else sender.told
