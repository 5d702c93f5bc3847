"""`dyadic-neuro deploy`: from a network file to exact gradients, or a training run, on any backend."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dyadic_neuro.backends.base import Backend, deployed, resolve, runs_on
from dyadic_neuro.cli import networks
from dyadic_neuro.cli.convert import SUFFIXES, FileLoss, RateFunctions
from dyadic_neuro.cli.shared import FAILED, BackendName, Data, Json, Overwrite, Seed, print_json, reported, stderr, stdout
from dyadic_neuro.datasets import Dataset, load
from dyadic_neuro.errors import CycleError, OptionError
from dyadic_neuro.interchange import netcdf, npz
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop
from dyadic_neuro.relaxation import predicted_steps, relax
from dyadic_neuro.testing.twin import cosine
from dyadic_neuro.trace import Trace, relative_error
from dyadic_neuro.training import TrainingResult
from dyadic_neuro.training import train as train_network

_RUNS = (".nc", ".npz")
_TOLERANCE = 1e-8  # to which a run is expected to settle


@reported
def run(
    *,
    network: Annotated[str, typer.Argument(help=f"A network file: {SUFFIXES}.")],
    backend: BackendName = "reference",
    data: Data = "digits",
    activation: RateFunctions = None,
    loss: FileLoss = None,
    samples: Annotated[int, typer.Option(help="Without --train: size of the batch, the first samples of the data.")] = 1,
    steps: Annotated[int | None, typer.Option(help="Without --train: steps (default: until settled).")] = None,
    train: Annotated[bool, typer.Option("--train", help="Learn on chip instead of reading gradients off.")] = False,
    epochs: Annotated[int, typer.Option(help="With --train: passes over the training data.")] = 1,
    batch_size: Annotated[int | None, typer.Option(help="With --train: samples held for each window.", show_default="20")] = None,
    learning_rate: Annotated[float, typer.Option(help="With --train: step of plain gradient descent.")] = 0.1,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            help=f"Save the run (.nc, .npz), or with --train the learned network ({SUFFIXES}; like NETWORK, if that suffix)."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Deploy a network file on a backend: exact gradients of a batch, beside backpropagation's, or a training run.

    The exit code is 1 if the run has settled and points less along backpropagation's gradients than the backend promises.
    """
    if out is not None:
        writable(out, overwrite=overwrite)
        if train:
            networks.format_of("out", out)
        elif Path(out).suffix.lower() not in _RUNS:
            raise OptionError("out", f"{out!r} holds no run by its suffix", f"end it with {' or '.join(_RUNS)}, or add --train")
        elif Path(out).suffix.lower() == ".nc":
            netcdf.need("xarray", "netCDF4")
    simulator = resolve(backend)
    source = load(data)
    net = networks.read(network, activation=activation, loss=loss)
    networks.check_fits(net, source)
    if train:
        like = _like(network, out)
        if out is not None:
            networks.rehearse(net, out, like)
        _announce(f"{epochs:,} epochs of {len(source.inputs):,} samples", simulator)
        result = train_network(
            net,
            source,
            backend=simulator,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            progress=False if as_json else None,
        )
        if out is not None:
            networks.write(result.network, out, like=like, overwrite=overwrite)
        facts: dict[str, Any] = {"history": [asdict(record) for record in result.history]}
        table = history_table(result, "learning")
    else:
        predicted = _predicted(net, simulator, steps)
        trace = _relaxed(net, source, simulator, samples, steps or predicted, whole=out is not None)
        if out is not None:
            _save(trace, out, overwrite=overwrite)
        facts = _facts(net, trace, simulator, predicted)
        table = _table(facts)
    facts = {
        "network": str(net),
        "fingerprint": net.fingerprint,
        "backend": simulator.name,
        "runs_on": runs_on(simulator),
    } | facts
    if as_json:
        print_json(facts | {"out": out})
    else:
        _print(facts, table, out)
    if facts.get("promise_kept") is False:
        raise typer.Exit(FAILED)


def _print(facts: dict[str, Any], table: Table, out: str | None) -> None:
    for line in (facts["network"], f"on {facts['backend']}: {facts['runs_on']}"):
        stdout.print(line, highlight=False, markup=False, soft_wrap=True)
    stdout.print(table)
    if out is not None:
        stdout.print(f"written: {out}", highlight=False, markup=False, soft_wrap=True)


def history_table(result: TrainingResult[Network], title: str) -> Table:
    """Return the history of a training run."""
    headings = ("epoch", "loss", "accuracy while learning", "test accuracy", "messages", "s")
    table = Table(*headings, title=title, title_justify="left", box=SIMPLE_HEAD)
    for record in result.history:
        percent = [("-" if value is None else f"{value:.2%}") for value in (record.accuracy, record.validation)]
        table.add_row(str(record.epoch), f"{record.loss:.4f}", *percent, f"{record.messages:,}", f"{record.seconds:.2f}")
    return table


def _like(network: str, out: str | None) -> str | None:
    """Return the file that the learned network is written like: the one it comes from, if that is in the same format."""
    same = out is not None and Path(network).suffix.lower() == Path(out).suffix.lower()
    return network if same and networks.described(network) != networks.FORMATS[".npz"] else None


def _announce(work: str, simulator: Backend) -> None:
    """Say what begins, which may take minutes."""
    stderr.print(f"{work} on {simulator.name}: {runs_on(simulator)} ...", highlight=False, markup=False, soft_wrap=True)


def _predicted(net: Network, simulator: Backend, steps: int | None) -> int | None:
    """Return the steps after which the run is expected to have settled, None if nobody knows. Raises as `predicted_steps`."""
    laws = getattr(simulator, "substrate", None), getattr(simulator, "settling_steps", None)
    try:
        return predicted_steps(deployed(simulator, net), simulator.alpha, _TOLERANCE, *laws)
    except (CycleError, OptionError):
        if steps is None:
            raise
        return None


def _relaxed(net: Network, data: Dataset, simulator: Backend, samples: int, steps: int | None, *, whole: bool) -> Trace:
    """Return the run of the first samples, with all its steps or the last one. Raises OptionError, and what `relax` raises."""
    if not 1 <= samples <= len(data.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(data.inputs)}", "ask for as many as the data has")
    x, y = data.inputs[:samples], data.targets[:samples]
    _announce(f"{samples:,} samples x {steps:,} steps", simulator)
    return relax(net, x, y, backend=simulator, steps=steps, record="all" if whole else "last")


def _facts(net: Network, trace: Trace, simulator: Backend, predicted: int | None) -> dict[str, Any]:
    """Return what is to be told of a run; with a cycle there is no textbook to compare its gradients with.

    A promise is kept or not (None: not to be judged) when the run has taken the steps that are predicted.
    """
    wanted = {} if net.cycle else backprop(net, trace.inputs, trace.targets)
    found = _number(cosine(trace.gradients, wanted)) if wanted else None
    promised = getattr(simulator, "cosine", None)
    settled = predicted is not None and trace.steps >= predicted
    return {
        "runs_on": trace.runs_on,
        "samples": len(trace.inputs),
        "steps": trace.steps,
        "predicted_steps": predicted,
        "loss": trace.loss,
        "messages_per_sample": trace.messages.total() / len(trace.inputs),
        "errors": relative_error(trace.gradients, wanted),
        "cosine": found,
        "promised_cosine": promised,
        "promise_kept": found >= promised if settled and found is not None and promised is not None else None,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _table(facts: dict[str, Any]) -> Table:
    """Return the gradients' errors, and under them what the run took."""
    table = Table("gradient of", "relative error to backpropagation", box=SIMPLE_HEAD)
    for key, error in facts["errors"].items():
        table.add_row(escape(key), f"{error:.1e}")
    if not facts["errors"]:
        table.add_row("", "none: the network has a cycle")
    table.add_section()
    predicted, kept = facts["predicted_steps"], facts["promise_kept"]
    if facts["promised_cosine"] is not None and facts["cosine"] is not None:
        judged = {True: "", False: ": missed", None: " of a settled run"}[kept]
        promise = f"(at least {facts['promised_cosine']:g} is promised{judged})"
        table.add_row("cosine to backpropagation", f"{facts['cosine']:.5f} {promise}")
    unsettled = predicted is not None and facts["steps"] < predicted
    note = f" (not settled: {predicted:,} are predicted)" if unsettled else ""
    table.add_row("samples, steps", f"{facts['samples']:,}, {facts['steps']:,}{note}")
    table.add_row("loss", f"{facts['loss']:.4f}")
    table.add_row("messages per sample", f"{facts['messages_per_sample']:,.0f}")
    return table


def _save(trace: Trace, out: str, *, overwrite: bool) -> None:
    """Write a run as NetCDF, or as an npz of its arrays."""
    if Path(out).suffix.lower() == ".nc":
        trace.save(out, overwrite=overwrite)
        return
    parts = {"gradient": trace.gradients, "potential": trace.potentials, "sensitivity": trace.sensitivities}
    arrays = {f"{part}.{key}": values for part, found in parts.items() for key, values in found.items()}
    record = {
        "backend": trace.backend,
        "runs_on": trace.runs_on,
        "schedule": trace.schedule,
        "alpha": trace.alpha,
        "steps": trace.steps,
        "network": trace.network.record(),
        "fingerprint": trace.network.fingerprint,
    }
    npz.write(out, "run", record, {"inputs": trace.inputs, "targets": trace.targets, **arrays}, overwrite=overwrite)
