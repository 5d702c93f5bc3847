"""The chip at work with messages that are changes, bits or spikes: each unit step goes through the micro-steps of a coding.

A unit step begins with the message of each population that sends; its packets carry what the coding sends of it, micro-step by
micro-step, and axons are latches that put it together. After the last micro-step the states are updated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arithmetic import Rules
from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Coding, Rate, Receiver, Sender
from dyadic_neuro.dynamics import State
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.losses import Loss
from dyadic_neuro.mappings.copies import KINDS, RATE, SENSITIVITY
from dyadic_neuro.mappings.cores import Core, Packet, Part, Way
from dyadic_neuro.mappings.counts import Signal, StepCounts
from dyadic_neuro.mappings.machine import Machine
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.mappings.timing import busy_s
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.projection import Projection


class CodedPart(Part):
    """A slice of dyads with a sender for each signal that it takes part in, by kind.

    `planes` (K, batch, n) are what it sends in each micro-step of this unit step. Its own synapses hear what others do.
    """

    def __init__(self, name: str, start: int, stop: int, rules: Rules) -> None:
        super().__init__(name, start, stop, rules)
        self.senders: dict[str, Sender] = {}
        self.planes: dict[str, Array] = {}
        self._step = 0

    def tell(self, sending: frozenset[Signal], step: int) -> None:
        """Form the planes of what is sent in a unit step (the first is 1)."""
        self.show()
        self._step, self.planes = step, {}
        for kind, sender in self.senders.items():
            if (self.name, kind) in sending:
                self.planes[kind] = sender.send(self.rate if kind == RATE else self.message, step)

    def handed(self) -> Array:
        """Return what the sensitivity hands its partner: its message, or what others hold of it where that is not the same."""
        sender = self.senders.get(SENSITIVITY)
        return self.message if sender is None or sender.exact else sender.told

    def own(self) -> Array:
        """Return the rate with which the part's own W^T copies learn: what others hold of it."""
        return self.senders[RATE].told


class CodedCore(Core):
    """A core whose axons are latches, and which knows by the clock of micro-steps what an empty one means."""

    def __init__(self, number: int, loss: Loss, readout: str, coding: Coding) -> None:
        self._coding = coding
        self._micro = 0
        self._receivers: dict[Signal, Receiver] = {}
        self._arriving: dict[Signal, Array] = {}
        super().__init__(number, loss, readout)

    def latch(self, bits: Mapping[Signal, int]) -> None:
        """Make latches of the axons, as they are laid out, for messages of these widths."""
        for signal, held in self.axons.items():
            self._receivers[signal] = Receiver(self._coding, bits[signal], held)

    def at(self, micro: int) -> None:
        """Begin micro-step `micro`, the first of which is 0."""
        self._micro = micro
        self._arriving = {signal: np.zeros_like(held) for signal, held in self.axons.items()}  # receivers may keep planes

    def packet(self, way: Way) -> Packet:
        """Return what goes along a way in this micro-step."""
        plane = cast(CodedPart, way.part).planes[way.signal[1]][self._micro][:, way.inside]
        sent = self._coding.sent(plane)
        return Packet(way.signal, way.start, way.stop, plane, np.count_nonzero(sent, axis=1), sent)

    def arriving(self, signal: Signal) -> Array:
        """Return where messages of a signal arrive, (batch, n): before the latches."""
        return self._arriving[signal]

    def work(self, working: frozenset[Signal]) -> None:
        """Count neurons that work in a micro-step without taking a new state."""
        for part in self.parts:
            self.updated += (part.stop - part.start) * sum((part.name, kind) in working for kind in KINDS)

    def hear(self, sending: frozenset[Signal]) -> None:
        """Put together what arrived of the signals that are sent in this unit step; the latches of others hold."""
        for signal, receiver in self._receivers.items():
            if signal in sending:
                receiver.hear(self._arriving[signal], self._micro)
                self.axons[signal] = receiver.latch


class CodedMachine(Machine):
    """A machine of integers that sends by a coding. Unit steps are numbered from its beginning on."""

    def __init__(
        self,
        mapping: Placed,
        network: FixedNetwork,
        feedback: Mapping[str, Projection],
        initial: State,
        batch: int,
        coding: Coding,
    ) -> None:
        self._coding, self._batch, self._step = coding, batch, 0
        self._coded: list[CodedCore] = []
        self._slices: list[CodedPart] = []
        super().__init__(mapping, network, feedback, initial, batch)
        bits = {signal: network.bits(*signal) for _, signal in messages.signals(network)}
        for core in self._coded:
            core.latch(bits)
        for part in self._slices:  # they have told the initial state; an input has told nothing yet
            part.show()
            for number, (name, kind) in messages.signals(network):
                if name == part.name:
                    told = part.rate if kind == RATE else part.message
                    part.senders[kind] = Sender(coding, bits[name, kind], number, part.start, told)
        self._sent: dict[Signal, list[int]] = {signal: [] for signal in bits}

    def core(self, number: int) -> Core:
        """Return an empty core with latches."""
        self._coded.append(CodedCore(number, self._network.cost, self._network.output, self._coding))
        return self._coded[-1]

    def part(self, name: str, start: int, stop: int) -> Part:
        """Return a slice of a population without its arrays."""
        rules = super().part(name, start, stop).rules
        self._slices.append(CodedPart(name, start, stop, rules))
        return self._slices[-1]

    def step(self, sending: frozenset[Signal], updating: frozenset[Signal], alpha: float) -> list[StepCounts]:
        """Go through a unit step. Return what was counted in each of its micro-steps, of all samples together.

        In every micro-step senders of a rate integrate or draw, and with bits those that are due double their sums: these count
        as updates, one for a neuron and micro-step.
        """
        self._step += 1
        self.delivered = []
        sending &= frozenset(self._sent)
        for part in self._slices:
            part.tell(sending, self._step)
        self._note(sending)
        found, last = [], self._coding.micro_steps - 1
        working = sending if self._coding.name == Rate.name else updating
        for micro in range(last + 1):
            for core in self._coded:
                core.at(micro)
            loads = self._carry(sending, (self._batch,))
            for core in self._coded:
                core.hear(sending)
                core.work(working - updating if micro == last else working)
                if micro == last:
                    core.update(updating, alpha)
            each = self._counts(loads)
            busy = busy_s(self._mapping.chip, each, self._mapping.counter.mapped)
            found.append(each.together(float(busy.sum())))
        return found

    def _note(self, sending: frozenset[Signal]) -> None:
        """Note how many messages of each signal the step sends."""
        for signal, counts in self._sent.items():
            planes = [p.planes[signal[1]] for p in self._slices if p.name == signal[0]] if signal in sending else []
            counts.append(sum(int(np.count_nonzero(self._coding.sent(plane))) for plane in planes))

    def counted(self, ledger: MessageLedger) -> MessageLedger:
        """Return the ledger that the schedule implies with the messages that were really sent."""
        rows = {signal: np.array(counts if ledger.by_step else [sum(counts)]) for signal, counts in self._sent.items()}
        return messages.counted(ledger, rows, self._coding)

    def forget(self) -> None:
        """Begin to count messages anew."""
        self._sent = {signal: [] for signal in self._sent}
