"""`train`: on-chip learning on any backend, with history, checkpoints and resume."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro import oracle
from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.base import Backend, Epoch, Learning, deployed, resolve, takes
from dyadic_neuro.codings import Coding, Graded
from dyadic_neuro.codings import coding as coding_of
from dyadic_neuro.datasets import Dataset
from dyadic_neuro.errors import CheckpointError, CycleError, DataError, DivergedError, OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.graph import Graph
from dyadic_neuro.interchange import npz
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.network import Network
from dyadic_neuro.progress import progress_bar
from dyadic_neuro.projection import Projection
from dyadic_neuro.relaxation import (
    check_backward,
    check_circuit,
    check_data,
    check_memory,
    check_network,
    check_saturations,
    check_unfit,
    is_real,
    memory_bytes,
    predicted_steps,
)
from dyadic_neuro.schedule import Schedule

AnyNetwork = TypeVar("AnyNetwork", Network, FixedNetwork)
_LARGEST = float(np.finfo(np.float64).max)
_SETTLED = 1e-4  # the error that a window leaves by default, far below the noise of stochastic gradients
_BATCH = 20  # trains the digits with a learning rate of 0.5, which single samples do not survive


@dataclass(frozen=True)
class Copies:
    """Both copies of a weight matrix as their holders had them in the end.

    `forward` is (n_target, n_source), `backward` (n_source, n_target), None for projections from the input: they have no
    W^T copy.
    """

    forward: Array
    backward: Array | None


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history.

    `loss` is the mean over the epoch's windows, each before its update; `accuracy` the part of the samples classified right
    then, `validation` that of the validation data after the epoch (None without class targets or validation data).
    `messages` went along projections; `seconds` is the wall-clock time of the epoch.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation: float | None
    messages: int
    seconds: float


@dataclass(frozen=True)
class TrainingResult(Generic[AnyNetwork]):
    """What training ended with: the network with the learned parameters, the history, and both copies of each weight.

    Of a network of integers `saturations` say what left its range, and how often: "<population> <what>", and "data" that the
    network's scales do not reach.
    """

    network: AnyNetwork
    history: tuple[EpochRecord, ...]
    copies: Mapping[str, Copies]
    saturations: Mapping[str, int] = field(default_factory=dict)


def train(
    network: AnyNetwork,
    data: Dataset | tuple[ArrayLike, ArrayLike],
    *,
    backend: str | Backend = "reference",
    epochs: int = 1,
    batch_size: int | None = None,
    learning_rate: float = 0.1,
    weight_decay: float = 0.0,
    seed: int = 0,
    shuffle: bool = True,
    schedule: str = "free",
    window: int | None = None,
    backward: Mapping[str, ArrayLike] | None = None,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    coding: str | Coding = "graded",
) -> TrainingResult[AnyNetwork]:
    """Train by plain stochastic gradient descent, each weight updated where it is held, from what arrives there.

    `data` is (inputs (samples, n_input), targets), or a Dataset, whose test part is then the validation data. Every batch
    (None: 20 samples, or all if there are fewer) is held for `window` steps without a reset in between; the last partial batch
    of an epoch is dropped. Epoch e visits the samples in the order that (seed, e) draws. `backward` starts named W^T copies
    from other matrices (n_source, n_target).

    With a `weight_decay` every plastic weight, not a bias, shrinks by the factor 1 - learning_rate * weight_decay in each
    update, in both copies by the same local rule: two copies that are no transposes of each other become so (Kolen and Pollack
    1994; Akrout et al. 2019, arXiv 1904.05391). On brian2 with plasticity="continuous" weights change in every step, and the
    decay of an update is spread over the window * batch_size steps of a batch, each taking its part of what is left.

    `window=None` means 2D, which is exact, or on a backend with another dt / tau or with a substrate the steps after which a
    relative error of 1e-4 is expected, far below the noise of stochastic gradients. Weights change in the last step of a
    window: in a shorter one too early. A network with a cycle wants an explicit window, and no validation.

    A FixedNetwork (`quantize`) learns in integers, its weights as its format rounds them, and its result is a FixedNetwork;
    `coding` says how its messages are sent, as in `relax`. Copies are integers too. A run with an inexact coding that goes on
    from a checkpoint begins to tell anew, and ends with other bits than one that was never interrupted.

    With `checkpoint` the run is saved there after each epoch; if the file is there already, the run goes on from it, from the
    zero state, and where windows are exact it ends with the same bits as one that was never interrupted. `progress` shows a
    bar (None: on a terminal).

    Raises, before anything runs: DataError, OptionError, UnknownNameError, CycleError, MissingExtraError, and
    CheckpointError when the checkpoint is of another run. While running: DivergedError, SimulatorError, and SaturationError
    where a format is strict.
    """
    check_network(network)
    simulator, sending = resolve(backend), coding_of(coding)
    taken = takes(simulator, network, sending)
    if isinstance(data, Dataset):
        validation = (data.test_inputs, data.test_targets) if validation is None else validation
        data = (data.inputs, data.targets)
    x, y = check_data(network, *_pair("data", data))
    unfit = check_unfit(network, x, y)
    held_out = None if validation is None else check_data(network, *_pair("validation", validation), "validation ")
    batch_size = min(_BATCH, len(x)) if batch_size is None else batch_size
    check_options(len(x), epochs, batch_size, learning_rate, seed, weight_decay)
    if held_out is not None and network.cycle:
        raise CycleError("validation", "needs a prediction, which a network with a cycle has none of", "leave it out")
    running, substrate = deployed(simulator, taken), getattr(simulator, "substrate", None)
    check_circuit(running, simulator.alpha, schedule, substrate)
    if window is None:
        settling = getattr(simulator, "settling_steps", None)
        window = predicted_steps(running, simulator.alpha, _SETTLED, substrate, settling, switched=True)
    timing, held = Schedule.of(running, schedule), _window(running, window, schedule)
    clock: dict[str, float | str] = {"alpha": float(simulator.alpha), "window": held}
    if isinstance(running, FixedNetwork):
        running.check_pace(learning_rate, weight_decay, int(batch_size))
        sending = sending.fitted(running.message_bits)
        check_memory(running, 0, int(batch_size), sending)
        clock["coding"], clock["updates"] = str(sending), running.updates
    usual: dict[str, float | str] = {"alpha": 1.0, "weight_decay": 0.0, "coding": str(Graded()), "updates": 0}
    if not running.cycle:
        usual["window"] = running.relaxation_steps
    run = _Run(
        network,
        check_backward(network, backward),
        x,
        y,
        int(batch_size),
        float(learning_rate),
        float(weight_decay),
        int(seed),
        bool(shuffle),
        clock,
        usual,
        unfit,
    )
    path = None if checkpoint is None else writable(checkpoint, overwrite=True)
    done = run.restore(path, epochs) if path is not None and path.exists() else run.beginning()
    classes = _are_classes(y)
    if len(done.history) < epochs:
        feedback = _feedback(done)
        batched = run.order(len(done.history), epochs)
        given = (x, y)
        if isinstance(running, FixedNetwork):
            given = running.encode(x, y)
        order = Learning(
            *given,
            order=batched,
            learning_rate=run.learning_rate,
            schedule=timing,
            feedback=feedback,
            alpha=simulator.alpha,
            window=held,
            weight_decay=run.weight_decay,
            coding=sending,
        )
        with (
            simulator.open(cast(Network, done.network)) as session,
            progress_bar(show=progress, epochs=epochs, done=len(done.history), windows=run.windows) as bar,
            np.errstate(over="ignore", invalid="ignore"),  # a run that diverges says so once, below
        ):
            began = time.perf_counter()
            for epoch in session.learn(order, bar.window):
                seconds = time.perf_counter() - began
                done = _finished(done, epoch, run, classes=classes, held_out=held_out, seconds=seconds)
                bar.epoch(done.history[-1].loss, done.history[-1].validation)
                if isinstance(done.network, FixedNetwork):
                    check_saturations(done.network, epoch.saturations)
                if path is not None:
                    run.save(path, done)
                began = time.perf_counter()
    return TrainingResult(cast(AnyNetwork, done.network), done.history, done.copies, done.saturations)


def batches(samples: int, batch_size: int, epoch: int, *, seed: int, shuffle: bool = True) -> Array:
    """Return the samples that each window of an epoch (the first is 0) is given, (windows, batch_size)."""
    order = np.random.default_rng([seed, epoch]).permutation(samples) if shuffle else np.arange(samples)
    windows = samples // batch_size
    return order[: windows * batch_size].reshape(windows, batch_size)


@dataclass(frozen=True)
class _Progress:
    """How far a run is."""

    network: Network | FixedNetwork
    copies: Mapping[str, Copies]
    history: tuple[EpochRecord, ...]
    saturations: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Run:
    """The settings that decide every bit of a run."""

    network: Network | FixedNetwork
    feedback: Mapping[str, Projection]
    inputs: Array
    targets: Array
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    shuffle: bool
    clock: Mapping[str, float | str]
    usual: Mapping[str, float | str]
    unfit: Mapping[str, int]

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return len(self.inputs) // self.batch_size

    def order(self, first: int, epochs: int) -> Array:
        """Return the samples of every window of the epochs from `first` on: (epochs, windows, batch)."""
        return np.stack(
            [
                batches(len(self.inputs), self.batch_size, epoch, seed=self.seed, shuffle=self.shuffle)
                for epoch in range(first, epochs)
            ]
        )

    def beginning(self) -> _Progress:
        """Return the run before its first epoch."""
        feedback = {name: copy.weights for name, copy in self.feedback.items()}
        return _Progress(self.network, _copies(self.network, feedback), (), dict(self.unfit))

    def learned(self, parameters: Mapping[str, Array], epochs: int) -> Network | FixedNetwork:
        """Return the network with what it has learned after so many epochs."""
        if isinstance(self.network, FixedNetwork):
            updates = self.network.updates + epochs * self.windows
            return self.network.with_parameters({k: np.asarray(v).astype(np.int64) for k, v in parameters.items()}, updates)
        return self.network.with_parameters(parameters)

    def settings(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, in which what is usual need not be said.

        The backend is not in it: a run may move from one to another.
        """
        return {
            "structure": self.network.fingerprint,
            "weights": _digest(self.network.parameters),
            "data": _digest({"inputs": self.inputs, "targets": self.targets}),
            "backward": _digest({name: copy.weights for name, copy in self.feedback.items()}),
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "seed": self.seed,
            "shuffle": self.shuffle,
        } | dict(self.clock)

    def save(self, path: Path, done: _Progress) -> None:
        """Write a checkpoint."""
        settings = {name: value for name, value in self.settings().items() if self.usual.get(name) != value}
        arrays = {f"parameter {key}": value for key, value in done.network.parameters.items()}
        arrays |= {f"backward {name}": copy.backward for name, copy in done.copies.items() if copy.backward is not None}
        npz.write(
            path,
            "checkpoint",
            {"settings": settings, "history": [vars(line) for line in done.history], "saturations": dict(done.saturations)},
            arrays,
            overwrite=True,
        )

    def restore(self, path: Path, epochs: int) -> _Progress:
        """Read a checkpoint. Raises CheckpointError if it is of another run, damaged, or past `epochs`."""
        record, arrays = npz.read(path, "checkpoint")
        saved = dict(self.usual) | (record.get("settings") or {})
        for name, value in self.settings().items():
            if saved.get(name) != value:
                raise CheckpointError(
                    str(path),
                    f"is of a run with another {name} ({saved.get(name)}, not {value})",
                    "name another file, or train as that run did",
                )
        try:
            history = tuple(EpochRecord(**line) for line in record["history"])
            network = self.learned({key: arrays[f"parameter {key}"] for key in self.network.parameters}, len(history))
            copies = _copies(network, {name: arrays[f"backward {name}"] for name in self.feedback})
            _feedback(_Progress(network, copies, history))  # raises DataError
            saturations = {str(what): int(many) for what, many in record.get("saturations", {}).items()}
        except (KeyError, TypeError, DataError) as error:
            raise CheckpointError(str(path), f"is damaged ({error})", "remove it to start again") from None
        if len(history) > epochs:
            raise CheckpointError(
                str(path),
                f"has {len(history)} epochs already, more than the {epochs} asked for",
                "ask for at least as many, or name another file",
            )
        return _Progress(network, copies, history, saturations)


def _feedback(done: _Progress) -> dict[str, Projection]:
    """Return the W^T copies to go on with. Raises DataError for copies that do not fit."""
    return check_backward(done.network, {name: copy.backward for name, copy in done.copies.items() if copy.backward is not None})


def _are_classes(targets: Array) -> bool:
    """Whether the targets are one-hot rows, so that the largest potential is a guess that can be right."""
    return targets.shape[1] > 1 and bool(np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all())


def _finished(
    before: _Progress, epoch: Epoch, run: _Run, *, classes: bool, held_out: tuple[Array, Array] | None, seconds: float
) -> _Progress:
    """Return the run after one more epoch. Raises DivergedError."""
    number = len(before.history) + 1
    if not all(np.isfinite(values).all() for values in (epoch.losses, *epoch.parameters.values())):
        raise DivergedError(
            "learning_rate",
            f"{run.learning_rate} led to infinite or undefined weights in epoch {number}",
            "use a smaller one; the last checkpoint is intact",
        )
    network = run.learned(epoch.parameters, number)
    accuracy = validation = None
    if classes:
        accuracy = epoch.correct / (run.windows * run.batch_size)
        if held_out is not None:
            validation = oracle.accuracy(network, held_out[0], held_out[1].argmax(axis=1))
    record = EpochRecord(number, float(epoch.losses.mean()), accuracy, validation, epoch.messages.total(), seconds)
    saturations = Counter(before.saturations) + Counter(epoch.saturations)
    return _Progress(network, _copies(network, epoch.feedback), (*before.history, record), dict(saturations))


def _copies(network: Graph, feedback: Mapping[str, Array]) -> dict[str, Copies]:
    return {p.name: Copies(p.weights, feedback.get(p.name)) for p in network.projections}


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = sha256()
    for name, values in arrays.items():
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def _pair(field: str, data: object) -> tuple[Any, Any]:
    if not isinstance(data, tuple) or len(data) != 2:
        raise DataError(field, f"is {type(data).__name__}", "pass a pair (inputs, targets) or a Dataset")
    return data


def _window(network: Graph, window: int, schedule: str) -> int:
    """Return the steps that each batch is held. Raises OptionError and CycleError."""
    if isinstance(window, bool) or not isinstance(window, Integral) or window < 1:
        raise OptionError("window", f"{window!r} is not a number of steps", "use an integer of at least 1, or None for 2D")
    if schedule == "wavefront" and window % network.relaxation_steps:
        problem = f"{window} steps are no multiple of the {network.relaxation_steps} that a wave takes"
        raise OptionError("window", problem, "use 2D or a multiple of it, or schedule='free'")
    return int(window)


def check_options(samples: int, epochs: int, batch_size: int, learning_rate: float, seed: int, weight_decay: float = 0.0) -> None:
    """Raise OptionError for settings of a training run that are outside their limits."""
    for name, value, least in (("epochs", epochs, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise OptionError(name, f"{value!r} is not an integer of at least {least}", f"use for example {least}")
    if epochs * samples * 8 > memory_bytes():
        raise OptionError("epochs", f"{epochs} need an order of samples that no memory holds", "train in several runs")
    if batch_size > samples:
        raise OptionError(
            "batch_size",
            f"{batch_size} is more than the {samples} samples",
            "use a smaller batch: the last partial one is dropped",
        )
    if not is_real(learning_rate) or not 0 <= learning_rate <= _LARGEST:
        raise OptionError("learning_rate", f"{learning_rate!r} is not a rate", "use a number of at least 0")
    if not is_real(weight_decay) or not 0 <= weight_decay <= _LARGEST:
        raise OptionError("weight_decay", f"{weight_decay!r} is not a decay", "use a number of at least 0")
    if not learning_rate * weight_decay < 1:
        problem = f"{weight_decay!r} takes all of a weight in one update with a learning rate of {learning_rate!r}"
        raise OptionError("weight_decay", problem, "use less than 1 / learning_rate")
