"""A session: orders become runs of a circuit, and what it has recorded becomes traces and epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from dyadic_neuro import messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Epoch, Learning, LocalSession, Relaxation
from dyadic_neuro.backends.brian2.deployment import Deployment, Open, Setting
from dyadic_neuro.dynamics import State
from dyadic_neuro.network import Network
from dyadic_neuro.trace import Trace

_UNDER_WAY = ("axons.arrived", "neurons.drive", "neurons.back")


class Brian2Session(LocalSession):
    """Relaxes and learns with one network. A circuit has one state: samples are presented to it one after the other."""

    def __init__(self, network: Network, setting: Setting, start: Open) -> None:
        self._network, self._setting, self._start = network, setting, start

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened. Raises SessionClosedError, OptionError and SimulatorError."""
        self.check_open()
        network, batch, steps = self._network, len(order.inputs), order.steps
        circuit = Deployment(network, self._setting, order.schedule, order.alpha, batch, batch)
        values = circuit.values(order.inputs, order.targets, order.initial, order.feedback) | {
            "conductor.span": steps,
            "conductor.batch": batch,
            "conductor.renew": 1,
            "conductor.by_step": int(order.by_step),
            "neurons.watched": (~circuit.layout.clamped).astype(int),
        }
        wanted = ["recorder.u", "recorder.s", "neurons.gradient", *(f"{way}.g" for way in circuit.layout.copies)]
        found = circuit.run(self._start, values, batch * steps, wanted)
        potentials, sensitivities = (circuit.recorded(found, name, batch) for name in ("u", "s"))
        if order.by_step:
            potentials = _after(order.initial.potentials, potentials)
            sensitivities = _after(order.initial.sensitivities, sensitivities)
        sums = circuit.gradients(found)

        def ledger() -> messages.MessageLedger:
            return circuit.ledger(found, steps, batch, by_step=order.by_step, window=steps, learning=False)

        return Trace(
            network,
            self._setting.name,
            order.schedule.kind,
            order.alpha,
            steps,
            order.inputs,
            order.targets,
            potentials,
            sensitivities,
            {key: np.asarray(total * (1.0 / batch), total.dtype) for key, total in sums.items()},
            ledger,
            delays={name: forward for name, (forward, _) in circuit.delays.items() if forward},
            firing=partial(circuit.spikes, found, steps, batch) if self._setting.form.events else None,
        )

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn in the circuit, an epoch in one go. Raises SessionClosedError, OptionError and SimulatorError."""
        network, (_, windows, batch) = self._network, order.order.shape
        samples = windows * batch
        circuit = Deployment(network, self._setting, order.schedule, order.alpha, samples, 1)
        feedback, state, done = dict(order.feedback), State.zero(network, 1), 0
        under_way: dict[str, Array] = {}  # in the axons, and what has arrived
        wanted = ["recorder.u_before", "neurons.bias", "neurons.u", "neurons.s", *_UNDER_WAY]
        wanted += [f"{way}.w" for way in circuit.layout.copies]
        for chosen in order.order:
            self.check_open()
            x, y = order.inputs[chosen.ravel()], order.targets[chosen.ravel()]
            values = circuit.values(x, y, state, feedback) | under_way
            values |= {
                "conductor.span": order.window,
                "conductor.batch": batch,
                "conductor.renew": 0,
                "conductor.by_step": 0,
                "conductor.rate": order.learning_rate,
                "conductor.decay": order.weight_decay,
                "conductor.before": done * order.window,
                "neurons.watched": circuit.layout.readout.astype(int),
            }
            found = circuit.run(self._start, values, samples * order.window, wanted)
            done += samples
            under_way = {name: found[name] for name in _UNDER_WAY}
            readout: Array = found["recorder.u_before"].reshape(samples, -1)
            losses = network.cost.value(readout, y).reshape(windows, batch).mean(axis=1)
            for loss in losses.tolist():
                on_window(loss)
            ledger = circuit.ledger(found, windows * order.window, batch, by_step=False, window=order.window, learning=True)
            parameters, copies, state = circuit.left(found)
            correct = int((readout.argmax(axis=1) == y.argmax(axis=1)).sum())
            yield Epoch(parameters, copies, losses, correct, ledger)
            circuit = replace(circuit, network=network.with_parameters(parameters))
            feedback = {name: copy.with_weights(copies[name]) for name, copy in feedback.items()}


def _after(first: Mapping[str, Array], rows: Mapping[str, Array]) -> dict[str, Array]:
    """Return the rows of each population with its initial state before them."""
    return {name: np.concatenate([first[name][None], part]) for name, part in rows.items()}
