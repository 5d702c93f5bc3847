"""The `dyadic-neuro` command. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a simulator failed, 130 interrupted."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dyadic_neuro import demo as main_job
from dyadic_neuro import plotting
from dyadic_neuro.backends.base import available
from dyadic_neuro.cli import check, chips, codings, compare, convert, deploy, locality, networks, precision, spiking
from dyadic_neuro.cli import mapping as maps
from dyadic_neuro.cli.shared import (
    ActivationName,
    BackendName,
    Data,
    Json,
    Layers,
    LossName,
    MappingFile,
    NetworkFile,
    Overwrite,
    Schedule,
    Seed,
    print_json,
    reported,
    simulator_of,
    stderr,
    stdout,
)
from dyadic_neuro.datasets import load
from dyadic_neuro.errors import OptionError
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.quantity import Quantity
from dyadic_neuro.relaxation import relax as relax_network
from dyadic_neuro.studies.convergence import Row, convergence
from dyadic_neuro.studies.onchip import Report
from dyadic_neuro.training import train as train_network

_EXACT = 1e-12

app = typer.Typer(
    help="Exact gradients by relaxation, on neuromorphic simulators.",
    epilog="Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a simulator failed, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    app()


@app.command()
@reported
def demo(
    *,
    data: Data = "digits",
    backend: BackendName = "lava",
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 20,
    seed: Seed = 0,
    out: Annotated[str, typer.Option(help="Folder for the figures.")] = "out",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run the main job: exact gradients step by step, training on real digits by on-chip learning, and what it takes on chips."""
    console = stderr if as_json else stdout
    settings = main_job.Settings(data=data, backend=backend, epochs=epochs, seed=seed)
    report = main_job.run(
        settings, out, overwrite=overwrite, tell=console.print, show=lambda rows: console.print(_steps_table(rows))
    )
    facts = {
        "test_accuracy": report.test_accuracy,
        "difference_to_sgd": report.sgd_difference,
        "difference_of_copies": report.copies_difference,
        "messages_per_sample_free": report.messages_free,
        "messages_per_sample_wavefront": report.messages_wavefront,
        "messages_per_sample_learning": report.messages_learning,
        "seconds_per_epoch": float(np.median([record.seconds for record in report.training.history])),
        "figures": report.figures,
    }
    if as_json:
        print_json(
            facts
            | {"steps": _rows_record(report.rows), "history": [asdict(record) for record in report.training.history]}
            | {"on_chips": [found.record() for found in report.on_chips]}
        )
        return
    table = Table(show_header=False, box=SIMPLE_HEAD)
    table.add_row("test accuracy", f"[bold]{report.test_accuracy:.2%}[/]")
    table.add_row("learned weights, largest difference to plain SGD", f"{report.sgd_difference:.1e}")
    table.add_row("two copies of a weight, largest difference", f"{report.copies_difference:.1e}")
    table.add_row("messages per sample, relaxing: free", f"{report.messages_free:,.0f}")
    table.add_row("messages per sample, relaxing: wavefront", f"{report.messages_wavefront:,.0f}")
    table.add_row("messages per sample, learning: free", f"{report.messages_learning:,.0f}")
    table.add_row("seconds per epoch (median)", f"{facts['seconds_per_epoch']:.2f}")
    table.add_row("figures", "\n".join(report.figures))
    stdout.print(table)
    stdout.print(_chips_table(report.on_chips))


@app.command()
@reported
def relax(
    *,
    network: NetworkFile = None,
    layers: Layers = None,
    activation: ActivationName = None,
    loss: LossName = None,
    seed: Seed = 0,
    data: Data = "digits",
    samples: Annotated[int, typer.Option(help="Size of the batch, the first samples of the data.")] = 32,
    backend: BackendName = "reference",
    schedule: Schedule = "free",
    steps: Annotated[int | None, typer.Option(help="Steps (default: 2D, or until settled for alpha < 1).")] = None,
    alpha: Annotated[float | None, typer.Option(help="Step size dt / tau (default: the backend's own, 1).")] = None,
    mapping: MappingFile = None,
    figure: Annotated[str | None, typer.Option(help="Draw the two waves into this file.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Relax one batch and show how far each layer is from backpropagation at every step."""
    if figure is not None:
        plotting.check(figure, overwrite=overwrite)
    simulator = simulator_of(backend, mapping)
    source = load(data)
    net = networks.network_of(network, layers, activation, loss, seed, source)
    if not 1 <= samples <= len(source.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(source.inputs)}", "ask for as many as the data has")
    trace = relax_network(
        net, source.inputs[:samples], source.targets[:samples], backend=simulator, schedule=schedule, steps=steps, alpha=alpha
    )
    rows = convergence(trace) if net.cycle is None else []  # with a cycle there is no textbook to compare with
    if figure is not None and rows:
        plotting.save(plotting.waves(rows, f"{trace.backend}, {schedule}, alpha = {trace.alpha:g}"), figure, overwrite=overwrite)
    facts = {"steps": trace.steps, "loss": trace.loss, "messages_per_sample": trace.messages.total() / samples}
    if as_json:
        cost = trace.cost and {
            "energy_per_sample_j": trace.cost.energy_per_sample_j,
            "unknown_energies": list(trace.cost.unknown),
            "latency_per_sample_s": trace.cost.latency_per_sample_s,
            "unknown_times": list(trace.cost.unknown_times),
            "assumptions": list(trace.cost.assumptions),
        }
        print_json(facts | {"backend": trace.backend, "rows": _rows_record(rows), "cost": cost})
        return
    stdout.print(f"{net}; backend {trace.backend}; {schedule}; {samples} samples")
    if rows:
        stdout.print(_steps_table(rows))
    stdout.print(f"loss {trace.loss:.4f}; {facts['messages_per_sample']:,.0f} messages per sample")
    if trace.cost is not None:
        stdout.print("\n  ".join([str(trace.cost), *trace.cost.assumptions]), highlight=False)


@app.command()
@reported
def train(
    *,
    network: NetworkFile = None,
    layers: Layers = None,
    activation: ActivationName = None,
    loss: LossName = None,
    data: Data = "digits",
    backend: BackendName = "reference",
    schedule: Schedule = "free",
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Samples held for each window of 2D steps.")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Step of plain gradient descent.")] = 0.5,
    weight_decay: Annotated[
        float, typer.Option(help="Each update shrinks weights by 1 - learning rate * this: copies that differ align.")
    ] = 0.0,
    seed: Seed = 0,
    mapping: MappingFile = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Save the run here after each epoch, and go on from it if it is there.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Save the learned network here (.npz, .nir, .onnx, .safetensors).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train by on-chip learning, with checkpoints that an interrupted run goes on from."""
    if out is not None:
        networks.format_of("out", out)
        writable(out, overwrite=overwrite)
        if checkpoint is not None and Path(out).absolute() == Path(checkpoint).absolute():
            raise OptionError("out", f"{out!r} is the checkpoint too", "give the network and the checkpoint different files")
    simulator = simulator_of(backend, mapping)
    source = load(data)
    net = networks.network_of(network, layers, activation, loss, seed, source)
    if out is not None:
        networks.rehearse(net, out)
    result = train_network(
        net,
        source,
        backend=simulator,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
        schedule=schedule,
        checkpoint=checkpoint,
        progress=False if as_json else None,
    )
    if out is not None:
        networks.write(result.network, out, overwrite=overwrite)
    if as_json:
        print_json({"history": [asdict(record) for record in result.history], "out": out})
        return
    stdout.print(deploy.history_table(result, f"{net}, on {backend}"))


@app.command()
@reported
def backends(*, as_json: Json = False) -> None:
    """List the simulators, and what those that are not ready need."""
    states = available()
    if as_json:
        print_json({name: {"ready": missing is None, "missing": missing} for name, missing in states.items()})
        return
    table = Table("backend", "state")
    for name, missing in states.items():
        table.add_row(name, "[green]ready[/]" if missing is None else f"[yellow]{escape(missing)}[/]")
    stdout.print(table)


app.command("check")(check.run)
app.command("codings")(codings.run)
app.command("compare")(compare.run)
app.command("convert")(convert.run)
app.command("deploy")(deploy.run)
app.command("locality")(locality.run)
app.command("map")(maps.run)
app.command("precision")(precision.run)
app.command("spiking")(spiking.run)
app.add_typer(chips.app, name="chips")


def _chips_table(reports: list[Report]) -> Table:
    table = Table(
        "chip",
        "objective",
        "cores",
        "time",
        "energy",
        title="learning a sample on chips: models, what is not known left out (see dyadic-neuro map);\n"
        "on loihi1, whose messages are binary, graded ones are hypothetical",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for found in reports:
        m, cost = found.mapping, found.cost
        amounts = [
            f"{'at least ' if unknown else ''}{Quantity(value, unit, 'a sum', 'derived').amount}"
            for value, unit, unknown in (
                (cost.latency_per_sample_s, "s", cost.unknown_times),
                (cost.energy_per_sample_j, "J", cost.unknown),
            )
        ]
        table.add_row(m.chip.name, m.objective, f"{found.cores} of {m.chip.cores}", *amounts)
    return table


def _steps_table(rows: list[Row]) -> Table:
    """Return the errors of every layer by step, as many steps as fit; exact ones are green."""
    steps = len(rows[0].errors)
    stride = -(-steps // max(1, (stdout.width - 26) // 7))
    shown = sorted({*range(0, steps, stride), steps - 1})
    table = Table(title="relative error to backpropagation by step", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("layer", "quantity"):
        table.add_column(heading, no_wrap=True)
    for t in shown:
        table.add_column(str(t), no_wrap=True, justify="right")
    for row in rows:
        cells = [f"[green]{_short(row.errors[t])}[/]" if row.errors[t] <= _EXACT else _short(row.errors[t]) for t in shown]
        table.add_row(row.layer, row.quantity, *cells)
    return table


def _short(error: float) -> str:
    """Return an error in at most five characters: 0.3, 7, 4e-16."""
    if np.isnan(error):
        return "-"
    digits, exponent = f"{error:.0e}".split("e")
    return "0" if error == 0 else f"{error:.1g}" if -2 < int(exponent) < 2 else f"{digits}e{int(exponent)}"


def _rows_record(rows: list[Row]) -> list[dict[str, object]]:
    return [
        {"layer": r.layer, "quantity": r.quantity, "due": r.due, "errors": [None if np.isnan(e) else float(e) for e in r.errors]}
        for r in rows
    ]
