"""The main job: real digits, exact gradients step by step, training by on-chip learning, and the network on chips.

It is proven on the way that the learning is SGD.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dyadic_neuro import plotting
from dyadic_neuro.backends.base import Backend, resolve
from dyadic_neuro.datasets import Dataset, load
from dyadic_neuro.errors import FileError, MissingExtraError
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.mappings.mapping import OBJECTIVES, map_network
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import accuracy, descend
from dyadic_neuro.relaxation import relax
from dyadic_neuro.studies import onchip
from dyadic_neuro.studies.convergence import Row, convergence
from dyadic_neuro.training import TrainingResult, batches, check_options, train

FIGURES = ("waves.png", "learning_curve.png", "chip.png", "schedule.png")
CHIPS = ("loihi1", "loihi2")
_SHOWN = 32  # samples of the batch that is looked at step by step


@dataclass(frozen=True)
class Settings:
    """How the demo trains; the defaults reach at least 96.5 % on the digits."""

    data: str = "digits"
    backend: str | Backend = "lava"
    hidden: int = 64
    epochs: int = 20
    batch_size: int = 20
    learning_rate: float = 0.5
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Report:
    """What the demo found.

    `sgd_difference` is the largest difference of any learned parameter to plain SGD on the oracle's gradients,
    `copies_difference` that between the two copies of any weight; messages are along projections, per sample. `on_chips`
    says what a training sample takes on each of CHIPS, with as few cores as fit, and with as many as make it faster.
    """

    network: Network
    rows: list[Row]
    training: TrainingResult[Network]
    test_accuracy: float
    sgd_difference: float
    copies_difference: float
    messages_free: float
    messages_wavefront: float
    messages_learning: float
    on_chips: list[onchip.Report]
    figures: list[str]


def run(
    settings: Settings,
    out: str | os.PathLike[str],
    *,
    overwrite: bool,
    tell: Callable[[str], None],
    show: Callable[[list[Row]], None],
) -> Report:
    """Run the main job, writing the figures into the folder `out`; `tell` gets a line for each part, `show` the steps.

    Raises, before anything runs: UnknownNameError, FileError, MissingExtraError, OutputExistsError.
    """
    simulator = resolve(settings.backend)
    missing = plotting.available()
    if missing is not None:
        raise MissingExtraError("matplotlib", "is not installed, and draws the figures", missing)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise FileError(str(folder), "is a file", "name a folder for the figures")
    for name in FIGURES:
        if (folder / name).exists():
            writable(folder / name, overwrite=overwrite)
    data = load(settings.data)
    batch_size = min(settings.batch_size, len(data.inputs))
    check_options(len(data.inputs), settings.epochs, batch_size, settings.learning_rate, settings.seed)
    network = Network.dense(
        [data.features, settings.hidden, data.classes], activation="tanh", loss="cross_entropy", seed=settings.seed
    )
    tell(
        f"{data.name}: {len(data.inputs)} samples to train, {len(data.test_inputs)} to test; {network}; backend {simulator.name}"
    )

    rows, messages = _step_by_step(network, data, simulator)
    show(rows)
    steps = network.relaxation_steps
    tell(f"training {settings.epochs} epochs on {simulator.name}: {steps} steps a batch of {batch_size}, no reset")
    training = train(
        network,
        data,
        backend=simulator,
        epochs=settings.epochs,
        batch_size=batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
    )
    windows = [w for e in range(settings.epochs) for w in batches(len(data.inputs), batch_size, e, seed=settings.seed)]
    sgd = descend(network, data.inputs, data.targets, windows, settings.learning_rate)
    mappings = [map_network(network, chip, objective=objective) for chip in CHIPS for objective in OBJECTIVES]
    for mapping in mappings:
        mapping.verify()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / name) for name in FIGURES]
    title = f"{data.features}-{settings.hidden}-{data.classes} on {simulator.name}: exact at 2D = {steps}"
    plotting.save(plotting.waves(rows, title), paths[0], overwrite=overwrite)
    plotting.save(
        plotting.learning_curve(training.history, f"On-chip learning on {simulator.name}: {data.name}"),
        paths[1],
        overwrite=overwrite,
    )
    spread = mappings[1]
    plotting.save(plotting.mesh(spread), paths[2], overwrite=overwrite)
    plotting.save(plotting.timetable(spread), paths[3], overwrite=overwrite)
    return Report(
        network,
        rows,
        training,
        accuracy(training.network, data.test_inputs, data.test_targets),
        max(float(np.abs(training.network.parameters[key] - sgd.parameters[key]).max()) for key in network.parameters),
        max(
            (float(np.abs(c.forward - c.backward.T).max()) for c in training.copies.values() if c.backward is not None),
            default=0.0,
        ),
        messages["free"],
        messages["wavefront"],
        training.history[-1].messages / (len(windows) // settings.epochs * batch_size),
        [onchip.report(mapping) for mapping in mappings],
        paths,
    )


def _step_by_step(network: Network, data: Dataset, simulator: Backend) -> tuple[list[Row], dict[str, float]]:
    """Relax one batch, from the state that another one left behind."""
    n = min(_SHOWN, len(data.inputs) // 2)
    before, batch = slice(0, n), slice(n, 2 * n)
    left = relax(network, data.inputs[before], data.targets[before], backend=simulator, record="last").final
    rows, messages = [], {}
    for schedule in ("wavefront", "free"):
        trace = relax(
            network,
            data.inputs[batch],
            data.targets[batch],
            backend=simulator,
            initial=left,
            schedule=schedule,
        )
        messages[schedule] = trace.messages.total() / n
        rows = convergence(trace)
    return rows, messages
