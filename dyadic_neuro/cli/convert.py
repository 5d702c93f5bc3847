"""`dyadic-neuro convert`: a network file in another format."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from dyadic_neuro.cli import networks
from dyadic_neuro.cli.shared import Json, Overwrite, print_json, reported, stdout
from dyadic_neuro.interchange.outputs import writable
from dyadic_neuro.losses import LOSSES

SUFFIXES = ", ".join(networks.FORMATS)
RateFunctions = Annotated[
    list[str] | None,
    typer.Option("--activation", help="Rate function of neurons that have none of ours: one NAME, or several TYPE=NAME (NIR)."),
]
FileLoss = Annotated[str | None, typer.Option("--loss", help=f"{', '.join(sorted(LOSSES))} (default: the file's).")]


@reported
def run(
    *,
    source: Annotated[str, typer.Argument(metavar="IN", help=f"A network: {SUFFIXES} (an .npz of ours, or a state dictionary).")],
    out: Annotated[str, typer.Argument(metavar="OUT", help=f"Where to write it: {SUFFIXES}.")],
    activation: RateFunctions = None,
    loss: FileLoss = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32 (default: the file's).")] = None,
    like: Annotated[
        str | None, typer.Option(help="Take graph and names from this file, and only weights and biases from IN.")
    ] = None,
    order: Annotated[
        list[str] | None, typer.Option(help="A layer of a state dictionary, first to last; to be given for each.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert a network file: NIR, ONNX, a state dictionary (safetensors, npz) or ours, in any direction."""
    networks.format_of("out", out)
    writable(out, overwrite=overwrite)
    net = networks.read(source, activation=activation, loss=loss, dtype=dtype, order=order)
    networks.write(net, out, like=like, overwrite=overwrite)
    count = sum(int(np.size(values)) for values in net.parameters.values())
    not_held = networks.NOT_HELD[networks.format_of("out", out)]
    if like is not None:
        not_held = (f"anything of {source} but weights and biases: the rest is as in {like}",)
    if as_json:
        print_json(
            {
                "read": {"file": source, "format": networks.described(source)},
                "written": {"file": out, "format": networks.described(out)},
                "network": net.record() | {"parameters": count, "fingerprint": net.fingerprint},
                "not_held": list(not_held),
            }
        )
        return
    for line in (
        f"read: {source}, {networks.described(source)}",
        f"{net}; {count:,} parameters",
        f"written: {out}, {networks.described(out)}",
        *(f"not held: {what}" for what in not_held),
    ):
        stdout.print(line, highlight=False, markup=False, soft_wrap=True)
