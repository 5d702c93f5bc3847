"""`dyadic-neuro map`: a network on a chip, and what learning one sample takes there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from dyadic_neuro import plotting
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.cli import report_tables
from dyadic_neuro.cli.shared import (
    Json,
    NetworkFile,
    Overwrite,
    Schedule,
    print_json,
    reported,
    sizes_of,
    stdout,
)
from dyadic_neuro.errors import FileError, MissingExtraError, OptionError
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.cost import PIPELINE
from dyadic_neuro.mappings.mapping import OBJECTIVES, Mapping, map_network
from dyadic_neuro.network import Network
from dyadic_neuro.studies.onchip import RENNER_2024, Report, report

FIGURES = ("mesh.png", "load.png", "links.png", "schedule.png")


@reported
def run(
    *,
    network: NetworkFile = None,
    layers: Annotated[str | None, typer.Option(help="Sizes of a chain, like 400,400,10.")] = None,
    activation: Annotated[str | None, typer.Option(help=f"{', '.join(sorted(ACTIVATIONS))} (default: tanh).")] = None,
    loss: Annotated[str | None, typer.Option(help=f"{', '.join(sorted(LOSSES))} (default: cross_entropy).")] = None,
    load: Annotated[str | None, typer.Option(help="Show this mapping (.json), written by --out or Mapping.save.")] = None,
    chip: Annotated[
        str | None, typer.Option(help="A chip of `dyadic-neuro chips`, or a TOML file (default: loihi2).", show_default=False)
    ] = None,
    chips: Annotated[str | None, typer.Option(metavar="COLUMNSxROWS", help="A grid of so many chips, like 4x2.")] = None,
    objective: Annotated[str | None, typer.Option(help=f"{' or '.join(OBJECTIVES)} (default: both, side by side).")] = None,
    schedule: Schedule = "free",
    pipeline: Annotated[bool, typer.Option("--pipeline", help="Show a pipeline too: a new sample every step.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the placement (default: 0).", show_default=False)] = None,
    figures: Annotated[str | None, typer.Option(help=f"Folder for the figures {', '.join(FIGURES)}.")] = None,
    out: Annotated[str | None, typer.Option(help="Save the mapping here (.json).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Map a network onto a chip, and show the time, energy and memory that learning one sample takes there.

    --figures and --out are of one mapping: that of the objective given, or of "cores", and with --pipeline the pipeline's.
    """
    if out is not None:
        writable(out, overwrite=overwrite)
    paths = [] if figures is None else _figure_paths(figures, out, overwrite=overwrite)
    if load is not None:
        given = {"network": network, "layers": layers, "activation": activation, "loss": loss, "chip": chip, "chips": chips}
        for name, value in {**given, "objective": objective, "pipeline": pipeline or None, "seed": seed, "out": out}.items():
            if value is not None:
                raise OptionError("load", f"is given, and --{name} too", "a saved mapping says all of that: leave one out")
        mapping = Mapping.load(load)
        mapping.verify()
        reports = [report(mapping, schedule), *([report(mapping, PIPELINE)] if mapping.pipeline else [])]
    else:
        net = _network(network, layers, activation, loss)
        system = Chip.load("loihi2" if chip is None else chip, None if chips is None else _grid(chips))
        wanted = OBJECTIVES if objective is None else (objective,)
        reports = list(_reports(net, system, wanted, schedule, seed or 0, pipeline=pipeline))
    chosen = reports[1] if len(reports) > 1 and reports[1].schedule == PIPELINE else reports[0]
    if out is not None:
        chosen.mapping.save(out, overwrite=overwrite)
    if paths:
        _draw(chosen, paths, overwrite=overwrite)
    published = RENNER_2024 if RENNER_2024.is_of(chosen.mapping.division.original) else None
    if as_json:
        record = {"reports": [found.record() for found in reports], "published": published and published.record()}
        print_json(record | {"figures": paths, "out": out})
        return
    for part in report_tables.parts(reports, published):
        stdout.print(part, highlight=False)
    for path in (*paths, *([out] if out else [])):
        stdout.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


def _reports(
    network: Network, chip: Chip, objectives: tuple[str, ...], schedule: str, seed: int, *, pipeline: bool
) -> Iterator[Report]:
    """Give a report for each objective, and for each one of a pipeline after it."""
    for objective in objectives:
        for timing in (schedule, PIPELINE) if pipeline else (schedule,):
            mapping = map_network(network, chip, objective=objective, seed=seed, pipeline=timing == PIPELINE)
            mapping.verify()
            yield report(mapping, timing)


def _network(path: str | None, layers: str | None, activation: str | None, loss: str | None) -> Network:
    if path is None and layers is None:
        raise OptionError("layers", "are missing", "give --layers like 400,400,10, or --network FILE")
    if path is not None:
        for name, value in (("layers", layers), ("activation", activation), ("loss", loss)):
            if value is not None:
                raise OptionError("network", f"is given, and --{name} too", "a saved network says all of that: leave one out")
        return Network.load(path)
    return Network.specification(sizes_of(layers or ""), activation=activation or "tanh", loss=loss or "cross_entropy")


def _grid(chips: str) -> tuple[int, int]:
    """Return the columns and rows of --chips. Raises OptionError."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", chips)
    if found is None:
        raise OptionError("chips", f"{chips!r} is no grid of chips", "use a form like 4x2: columns, then rows")
    return int(found[1]), int(found[2])


def _figure_paths(folder: str, out: str | None, *, overwrite: bool) -> list[str]:
    """Return where the figures go, nothing made yet. Raises what writing them would raise, and MissingExtraError."""
    missing = plotting.available()
    if missing is not None:
        raise MissingExtraError("matplotlib", "is not installed, and draws the figures", missing)
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise FileError(folder, "is a file", "name a folder for the figures")
    paths = [path / name for name in FIGURES]
    if out is not None and Path(out).absolute() in [p.absolute() for p in paths]:
        raise OptionError("out", f"{out!r} is a figure too", "give the mapping and the figures different files")
    if path.exists():
        for figure in paths:
            plotting.check(figure, overwrite=overwrite)
    else:  # the folders that are missing would be made in the nearest one that is there
        there = next(parent for parent in path.absolute().parents if parent.exists())
        try:
            writable(there / f"{path.name}.{os.getpid()}", overwrite=True)
        except FileError as error:
            raise FileError(folder, error.problem, "name a folder of yours") from None
    return [str(figure) for figure in paths]


def _draw(found: Report, paths: list[str], *, overwrite: bool) -> None:
    mapping, schedule = found.mapping, found.schedule
    try:
        Path(paths[0]).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(str(Path(paths[0]).parent), f"cannot be made ({error})", "name another folder") from None
    drawn = (
        plotting.mesh(mapping),
        plotting.mesh(mapping, "load", schedule=schedule),
        plotting.link_loads(mapping, schedule=schedule),
        plotting.timetable(mapping, schedule),
    )
    for figure, path in zip(drawn, paths, strict=True):
        plotting.save(figure, path, overwrite=overwrite)
