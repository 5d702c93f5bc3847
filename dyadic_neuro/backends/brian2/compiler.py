"""The process that builds a standalone program: Brian2's device, preferences and names are changed here and nowhere else."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from dyadic_neuro.backends.brian2 import program
from dyadic_neuro.backends.brian2.circuit import build
from dyadic_neuro.backends.brian2.standalone import BLUEPRINT, MANIFEST

_GLANCE_S = 0.2


def main() -> None:
    """Build the program that the blueprint in the folder describes, and write down the type of each of its variables."""
    work = Path(sys.argv[1])
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    blueprint = pickle.loads((work / BLUEPRINT).read_bytes())  # noqa: S301  (written by the parent a moment ago)
    tempfile.tempdir = str(work)  # for Brian2's logs, which it leaves behind when something fails
    os.environ["TMPDIR"] = str(work)  # for what compilers leave behind when they are ended
    import brian2

    brian2.set_device("cpp_standalone", build_on_run=False)
    brian2.prefs["devices.cpp_standalone.extra_make_args_unix"] = [f"-j{os.cpu_count() or 1}"]
    brian2.prefs["codegen.cpp.headers"] = list(program.HEADERS)
    brian2.prefs["codegen.cpp.extra_link_args"] = ["-pthread"]
    _prepare_headers(work, brian2)
    net, objects = build(blueprint, None)
    net.run(0 * brian2.second, namespace={})  # puts the objects in their order
    device = brian2.get_device()
    own = {
        f"{owner}.{name}": variable
        for owner, made in objects.items()
        for name, variable in made.variables.items()
        if variable in device.arrays and variable.owner is not None and variable.owner.name == made.name
    }
    grows = {name for name, variable in own.items() if hasattr(variable, "resize")}
    device.insert_code(
        "main",
        program.loop(
            device.get_array_name(own["clock.dt"]).removesuffix("_dt"),
            {n: (device.get_array_name(v), int(v.size)) for n, v in own.items() if n not in grows},
            {n: device.get_array_name(v, access_data=False) for n, v in own.items() if n in grows},
        ),
    )
    device.build(directory=str(work), compile=True, run=False)
    (work / MANIFEST).write_text(json.dumps({name: np.dtype(variable.dtype).str for name, variable in own.items()}))


def _prepare_headers(work: Path, brian2: Any) -> None:  # noqa: ANN401
    """Have the headers read once: each of some forty files has all of them, and reading them takes longer than what is its own.

    Compilers that cannot keep what they have read, or have other options, read them again and nothing is lost.
    """
    from brian2.codegen.cpp_prefs import get_compiler_and_args

    kind, arguments = get_compiler_and_args()
    if kind != "unix":
        return
    header = work / "headers.h"
    header.write_text(
        "".join(f"#include {name}\n" for name in ("<random>", "<vector>", "<cmath>", "<fstream>", *program.HEADERS))
    )
    paths = [f"-I{path}" for path in brian2.prefs["codegen.cpp.include_dirs"]]
    command = [
        *shlex.split(os.environ.get("CXX", "g++")),
        "-x",
        "c++-header",
        "-w",
        *arguments,
        *paths,
        str(header),
        "-o",
        f"{header}.gch",
    ]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  (the compiler that Brian2 uses)
    brian2.prefs["codegen.cpp.extra_compile_args"] = [*arguments, f"--include={header.name}"]


def _end_with(parent: int) -> None:
    """Once nobody waits for the program any more, end this process and the compilers that it has started."""
    while os.getppid() == parent:
        time.sleep(_GLANCE_S)
    os.killpg(0, signal.SIGKILL)  # its own session, with `make` and all below
