"""`dyadic-neuro locality`: who knows what, when, and what a weight update reads: verdicts, tables, figures, words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dyadic_neuro import plotting
from dyadic_neuro.backends.base import runs_on
from dyadic_neuro.cli import networks
from dyadic_neuro.cli.shared import (
    BAD_INPUT,
    FAILED,
    SIMULATOR_FAILED,
    ActivationName,
    BackendName,
    Json,
    LossName,
    MappingFile,
    Overwrite,
    Schedule,
    Seed,
    print_json,
    reported,
    simulator_of,
    sizes_of,
    stderr,
    stdout,
)
from dyadic_neuro.datasets import Dataset, load
from dyadic_neuro.errors import OptionError, SimulatorError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.locality.claim import BROKEN, HOLDS, NOTHING, Claim
from dyadic_neuro.studies.locality.report import FILES, PARTS, VERDICTS, Report, examine

_SHORT = {HOLDS: "[green]holds[/]", BROKEN: "[bold red]broken[/]", NOTHING: "-"}
_FIGURES = {"cones": ("cones.png", "dependencies.png"), "traffic": ("traffic.png",), "recovery": ("recovery.png",)}


@reported
def run(
    *,
    network: Annotated[str | None, typer.Argument(help="A network file: .npz, .nir, .onnx, .safetensors.")] = None,
    layers: Annotated[str | None, typer.Option(help="Sizes of a new chain, like 64,32,10.")] = None,
    activation: ActivationName = None,
    loss: LossName = None,
    seed: Seed = 0,
    data: Annotated[
        str | None, typer.Option(help="'digits', an .npz file, or 'mnist:DIR' (default: seeded random data).", show_default=False)
    ] = None,
    samples: Annotated[int, typer.Option(help="Size of the batch that is shown.")] = 2,
    backend: BackendName = "reference",
    mapping: MappingFile = None,
    schedule: Schedule = "free",
    at: Annotated[int, typer.Option(help="The step of a relaxation from a random state in which things are changed.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps to watch after a change (default: 3D).", show_default=False)] = None,
    chip: Annotated[
        str, typer.Option(help="A chip for hops, where the backend has no mapping of its own: a preset or a file.")
    ] = "loihi2",
    part: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(PARTS)}; may be given several times (default: all).", show_default=False),
    ] = None,
    contrast: Annotated[bool, typer.Option(help="Put textbook backpropagation under the same instrument.")] = True,
    out: Annotated[str, typer.Option(help="Folder for the tables (CSV) and the figures.")] = "out/locality",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Examine who knows what, when, and what a weight update reads, on any backend, by changing one thing after another.

    Every claim of locality gets a verdict, and a broken one its first counterexample (exit code 1). A part that cannot be
    examined to its end is told, and the rest is written (exit code 2, or 3 if the simulator failed).
    """
    parts = list(dict.fromkeys(part or PARTS))
    for name in parts:
        if name not in PARTS:
            raise UnknownNameError("part", f"{name!r} is no part of the study", f"use some of {list(PARTS)}")
    source = None if data is None else load(data)
    net = _network(network, layers, activation, loss, seed, source)
    if source is not None and not 1 <= samples <= len(source.inputs):
        raise OptionError("samples", f"{samples} is outside 1 .. {len(source.inputs)}", "ask for as many as the data has")
    shown = (None, None) if source is None else (source.inputs[:samples], source.targets[:samples])
    simulator, drawn = simulator_of(backend, mapping), _drawn(parts)
    tables.check(out, [VERDICTS, *(name for one in parts for name in FILES[one]), *drawn], overwrite=overwrite)
    report = examine(
        net,
        *shown,
        backend=simulator,
        schedule=schedule,
        samples=samples,
        seed=seed,
        at=at,
        steps=steps,
        data=source,
        chip=chip,
        parts=parts,
        contrast=contrast,
        progress=False if as_json else None,
    )
    files = [*report.write(out, overwrite=overwrite), *_draw(report, drawn, out, overwrite=overwrite)]
    if as_json:
        print_json(_record(report) | {"files": [str(path) for path in files]})
    else:
        _tell(report, files)
    if report.failed:
        simulator_failed = any(isinstance(error, SimulatorError) for error in report.failed.values())
        raise typer.Exit(SIMULATOR_FAILED if simulator_failed else BAD_INPUT)
    if report.broken:
        raise typer.Exit(FAILED)


def _network(
    path: str | None, layers: str | None, activation: str | None, loss: str | None, seed: int, data: Dataset | None
) -> Network:
    """Return the network of the file, or a new chain; with data one that fits. Raises OptionError and what reading raises."""
    if data is not None:
        return networks.network_of(path, layers, activation, loss, seed, data)
    if (path is None) == (layers is None):
        problem = "is missing" if path is None else "and --layers are both given"
        raise OptionError("network", problem, "give a file or --layers 64,32,10, and not both")
    if path is not None:
        return networks.read(path, activation=None if activation is None else [activation], loss=loss)
    return Network.dense(sizes_of(layers or ""), activation or "tanh", loss or "cross_entropy", seed)


def _drawn(parts: list[str]) -> list[str]:
    """Return the figures of these parts, none without matplotlib."""
    return [] if plotting.available() else [name for part in parts for name in _FIGURES.get(part, ())]


def _draw(report: Report, names: list[str], folder: str, *, overwrite: bool) -> list[Path]:
    """Draw what there is to draw, and return the paths."""
    subject, cones, stability = report.subject, report.cones, report.stability
    title, sent = f"{_short(subject.network)} on {subject.backend.name}", report.tables.get("traffic.csv")
    drawings: dict[str, Callable[[], Any] | None] = {
        "cones.png": None if cones is None else partial(plotting.light_cones, cones),
        "dependencies.png": None if cones is None else partial(plotting.dependencies, cones),
        "traffic.png": None if sent is None else partial(plotting.traffic_by_step, sent, title),
        "recovery.png": None if stability is None else partial(plotting.recovery_times, stability, _short(subject.network)),
    }
    found = []
    for name in names:
        drawing = drawings[name]
        if drawing is not None:
            found.append(Path(folder) / name)
            plotting.save(drawing(), found[-1], overwrite=overwrite)
    return found


def _short(network: Network) -> str:
    sizes = [network.population(name).size for name in network.order] if network.cycle is None else []
    chain = bool(sizes) and len(network.projections) == network.depth == len(sizes) - 1
    return "-".join(map(str, sizes)) if chain else f"{len(network.populations)} populations"


def _tell(report: Report, files: list[Path]) -> None:
    """Print the verdicts, what was found, the counterexamples, and what the parts found, with the backend they ran on."""
    stdout.print(f"{report.subject.network}", highlight=False, markup=False, soft_wrap=True)
    stdout.print(f"{runs_on(report.subject.backend)}; {report.subject.schedule}", highlight=False, markup=False, soft_wrap=True)
    stdout.print(_verdicts(report.claims, report.contrast))
    if any(claim.verdict == NOTHING for claim in (*report.claims, *report.contrast)):
        stdout.print(f"-: {NOTHING}", highlight=False)
    for claim in report.claims:
        stdout.print(f"\n[bold]{claim.name}[/]\n{escape(_sentence(claim))}", highlight=False)
        if claim.broken:
            stdout.print(f"[bold red]{claim.name} is broken:[/] {escape(claim.counterexample or '')}", highlight=False)
    for part, by_backend in report.sentences.items():
        for backend, sentences in by_backend.items():
            stdout.print(f"\n[bold]{part}[/], on the backend {escape(backend)}", highlight=False)
            for sentence in sentences:
                stdout.print(f"- {sentence}", highlight=False, markup=False)
    stdout.print()
    missing = plotting.available()
    if missing is not None:
        stderr.print(f"no figures were drawn: matplotlib is not installed ({missing})", highlight=False, markup=False)
    for path in files:
        stdout.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
    for part, error in report.failed.items():
        stderr.print(f"[bold red]error[/] in {part}: {escape(str(error))}", highlight=False)


def _verdicts(claims: tuple[Claim, ...], contrast: tuple[Claim, ...]) -> Table:
    """Return the verdicts in columns so short that a narrow terminal has room for them."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("claim", "verdict", *(["textbook"] if contrast else [])):
        table.add_column(heading, no_wrap=True)
    others = {claim.name: claim.verdict for claim in contrast}
    for claim in claims:
        verdicts = [claim.verdict, *([others.get(claim.name, NOTHING)] if contrast else [])]
        table.add_row(claim.name, *(_SHORT[verdict] for verdict in verdicts))
    return table


def _sentence(claim: Claim) -> str:
    return f"{claim.statement[0].upper()}{claim.statement[1:]}: {claim.found}."


def _record(report: Report) -> dict[str, Any]:
    def listed(claims: tuple[Claim, ...]) -> list[Mapping[str, Any]]:
        return [dict(vars(claim)) for claim in claims]

    return {
        "network": str(report.subject.network),
        "backend": report.subject.backend.name,
        "runs_on": runs_on(report.subject.backend),
        "schedule": report.subject.schedule,
        "claims": listed(report.claims),
        "textbook": listed(report.contrast),
        "sentences": {part: {name: list(said) for name, said in told.items()} for part, told in report.sentences.items()},
        "failed": {
            part: {"type": type(error).__name__, "field": error.field, "problem": error.problem, "fix": error.fix}
            for part, error in report.failed.items()
        },
    }
