"""What all commands share: consoles, exit codes, options, and how errors are told."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.backends.base import Backend, resolve
from dyadic_neuro.backends.chip import MappedChip
from dyadic_neuro.backends.lava import Lava
from dyadic_neuro.errors import DyadicError, OptionError, SimulatorError
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.mappings.mapping import Mapping

FAILED, BAD_INPUT, SIMULATOR_FAILED, INTERRUPTED = 1, 2, 3, 130

_MAPPED = ("chip", "lava")

stdout = Console()
stderr = Console(stderr=True)

MappingFile = Annotated[
    str | None, typer.Option("--mapping", help="A mapping of `map --out`, for the backends chip and lava (one process a core).")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
Data = Annotated[str, typer.Option(help="'digits', an .npz file, or 'mnist:DIR' with the four IDX files.")]
BackendName = Annotated[str, typer.Option("--backend", help="A simulator; `dyadic-neuro backends` lists them.")]
NetworkFile = Annotated[str | None, typer.Option("--network", help="A network file: .npz, .nir, .onnx, .safetensors.")]
Layers = Annotated[
    str | None, typer.Option(help="Sizes of a new chain, like 64,32,10 (default: fits the data, one hidden layer of 64).")
]
ActivationName = Annotated[
    str | None, typer.Option("--activation", help=f"{', '.join(sorted(ACTIVATIONS))} (default: the file's; of a new chain tanh).")
]
LossName = Annotated[
    str | None, typer.Option("--loss", help=f"{', '.join(sorted(LOSSES))} (default: the file's; of a new chain cross_entropy).")
]
Seed = Annotated[int, typer.Option(help="Seed of new weights and of the order of samples.")]
Schedule = Annotated[str, typer.Option(help="free: every population updates every step; wavefront: once a window.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace output files that are there already.")]

Command = TypeVar("Command", bound=Callable[..., None])


def reported(command: Command) -> Command:
    """Turn an error into its message (JSON where the result would be) and its exit code."""

    @functools.wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401
        try:
            command(**options)
        except KeyboardInterrupt:
            stderr.print("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except DyadicError as error:
            _fail(error, as_json=bool(options.get("as_json")))
        except BrokenPipeError:
            raise  # typer ends quietly
        except OSError as error:  # of files of a user ours are raised: this is the terminal, or what stands for it
            stderr.print(f"[bold red]error[/] output: {escape(str(error))}", highlight=False)
            raise typer.Exit(BAD_INPUT) from None

    return run  # type: ignore[return-value]


def simulator_of(backend: str, mapping: str | None) -> Backend:
    """Return the backend of this name, with the mapping in a file if there is one. Raises what `resolve` and loading raise."""
    if mapping is None:
        return resolve(backend)
    if backend not in _MAPPED:
        raise OptionError("mapping", f"{backend!r} runs no mapping", f"use --backend {' or '.join(_MAPPED)}")
    found = Mapping.load(mapping)
    return resolve(MappedChip(found) if backend == "chip" else Lava(mapping=found))


def sizes_of(listed: str, field: str = "layers") -> list[int]:
    """Return the numbers that --layers, or another option, lists. Raises OptionError."""
    try:
        return [int(size) for size in listed.split(",")]
    except ValueError:
        raise OptionError(field, f"{listed!r} is not a list of numbers", "use a form like 64,32,10") from None


def print_json(record: object) -> None:
    """Print a record as one line of JSON, as it is: rich would break lines."""
    typer.echo(json.dumps(record))


def _fail(error: DyadicError, *, as_json: bool) -> NoReturn:
    if as_json:
        record = {"type": type(error).__name__, "field": error.field, "problem": error.problem, "fix": error.fix}
        print_json({"error": record})
    else:
        shown = "".join(
            c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(error)
        )  # a file is quoted
        stderr.print(f"[bold red]error[/] {escape(shown)}", highlight=False)
    raise typer.Exit(SIMULATOR_FAILED if isinstance(error, SimulatorError) else BAD_INPUT)
