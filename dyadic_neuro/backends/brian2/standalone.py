"""Circuits that are compiled into a program: Brian2's target cpp_standalone.

Another process builds the program, so that no device of Brian2 changes in this one. The program then waits for values and
orders (see `program`): one serves all weights, samples, steps and schedules, and a new sample costs no start of a process.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.brian2.circuit import Blueprint
from dyadic_neuro.errors import FileError, SimulatorError

MANIFEST = "manifest.json"
BLUEPRINT = "blueprint.pickle"
_COMPILE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from dyadic_neuro.backends.brian2.compiler import main; main()"
)
_MOVES = ("axons.arrived", "neurons.drive", "neurons.back")  # what a run changes of what it may have been given
_LEARNED = ("clamped.w", "forward.w", "backward.w", "neurons.bias")  # ... and changes if it learns
_TAIL = 2000  # characters of what a compiler or program said, in an error


class Standalone:
    """A circuit as a program of its own."""

    def __init__(self, blueprint: Blueprint, directory: str | None) -> None:
        self._blueprint, self._directory = blueprint, directory
        self._alone = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._given: dict[str, Array] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Find the program, or let it be built. Raises SimulatorError and FileError."""
        try:
            temporary = tempfile.mkdtemp(prefix="dyadic_brian2_")
        except OSError as error:
            fix = "make room, or name another with the environment variable TMPDIR"
            raise FileError("temporary folder", f"cannot hold a compiled circuit ({error})", fix) from None
        self._removed = weakref.finalize(self, _by_owner, os.getpid(), shutil.rmtree, temporary, ignore_errors=True)
        key = sha256(f"{self._blueprint.key} {_texts()}".encode()).hexdigest()[:16]
        self._folder = Path(temporary if self._directory is None else self._directory) / f"circuit_{key}"
        self._words = Path(temporary) / "stderr"
        if not (self._folder / MANIFEST).exists():
            self._compile(self._blueprint)
        self._types: dict[str, str] = json.loads((self._folder / MANIFEST).read_text())

    def _compile(self, blueprint: Blueprint) -> None:
        """Let another process build the program, and take it over whole or not at all. Raises SimulatorError and FileError."""
        try:
            work = Path(tempfile.mkdtemp(prefix=".building_", dir=self._folder.parent))
        except OSError as error:
            fix = "name a folder of yours, and leave it there"
            raise FileError(str(self._folder.parent), f"cannot hold compiled circuits ({error})", fix) from None
        try:
            (work / BLUEPRINT).write_bytes(pickle.dumps(blueprint))
            path = json.dumps([entry or os.getcwd() for entry in sys.path])
            code, said = _run_to_end([sys.executable, "-I", "-c", _COMPILE, path, str(work), str(os.getpid())], work)
            if code != 0 or not (work / MANIFEST).exists():
                raise SimulatorError("brian2", f"the circuit could not be compiled:\n{said[-_TAIL:]}", "see the compiler's words")
            try:
                work.rename(self._folder)
            except OSError:  # somebody else was faster
                if not (self._folder / MANIFEST).exists():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def run(self, values: Mapping[str, Array | float], steps: int, wanted: Sequence[str]) -> dict[str, Array]:
        """Set the values ("object.variable"), run that many steps of the clock, return what is wanted and "origin".

        Raises SimulatorError if the program ends.
        """
        with self._alone:
            if not ((self._folder / MANIFEST).exists() and self._words.parent.exists()):  # somebody has tidied up
                self._end()
                self._removed()
                self._prepare()
            try:
                return self._ordered({**values, "conductor.origin": 0}, steps, wanted)
            except (OSError, ValueError) as error:
                code = self._end()
                said = self._words.read_text(errors="replace")[-_TAIL:] if self._words.exists() else ""
                raise SimulatorError("brian2", f"the program ended with {code}: {said}", "run again") from error
            except BaseException:
                self._end()
                raise

    def _ordered(self, values: Mapping[str, Array | float], steps: int, wanted: Sequence[str]) -> dict[str, Array]:
        program = self._started()
        assert program.stdin is not None  # noqa: S101  (both are pipes)
        assert program.stdout is not None  # noqa: S101
        for name, value in values.items():
            array = np.ascontiguousarray(value, self._types[name])
            if name not in self._given or not np.array_equal(self._given[name], array):
                program.stdin.write(f"set {name} {array.nbytes}\n".encode())
                program.stdin.write(array.tobytes())
                self._given[name] = array
        program.stdin.write(f"run {steps}\n".encode())
        program.stdin.flush()
        if program.stdout.readline() != b"done\n":
            raise ValueError
        for name in _MOVES + (_LEARNED if np.any(values["conductor.rate"]) else ()):
            self._given.pop(name, None)
        found = {"origin": np.array(0)}
        for name in wanted:
            program.stdin.write(f"get {name}\n".encode())
            program.stdin.flush()
            size = int(program.stdout.readline())
            found[name] = np.frombuffer(program.stdout.read(size), self._types[name]).copy()
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        """Return the running program of this process: after a fork the other one's is left to it."""
        if self._program is None or self._owner != os.getpid() or self._program.poll() is not None:
            self._given, self._owner = {}, os.getpid()
            with self._words.open("wb") as words:
                self._program = subprocess.Popen(
                    ["./main"],
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=words,
                    start_new_session=True,  # a Ctrl-C at the terminal reaches this process only
                )
            weakref.finalize(self, _by_owner, os.getpid(), _kill, self._program)
        return self._program

    def _end(self) -> int | None:
        """End the program and return its exit code."""
        program, self._program = self._program, None
        if program is None or self._owner != os.getpid():
            return None
        return _kill(program)

    def close(self) -> None:
        """End the program, and remove what is temporary."""
        with self._alone:
            self._end()
        self._removed()


@cache
def _texts() -> str:
    """Return a hash of all that a program is made from beside its blueprint: a folder may hold those of other versions."""
    digest = sha256(version("brian2").encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _by_owner(owner: int, end: Callable[..., object], *arguments: object, **options: object) -> None:
    """Give something back, if this is the process that has it: after a fork, the other one goes on with it."""
    if os.getpid() == owner:
        end(*arguments, **options)


def _kill(program: subprocess.Popen[bytes]) -> int:
    """End a program and return its exit code: the one that it had, if it had ended."""
    program.kill()
    for pipe in (program.stdin, program.stdout):
        with suppress(OSError):  # what was still to be written has no reader
            pipe.close()  # type: ignore[union-attr]
    return program.wait()


def _run_to_end(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a program, out of reach of the terminal's Ctrl-C, which ends it here with everything it has started."""
    process = subprocess.Popen(  # noqa: S603  (this very interpreter)
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        out, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, 9)
        process.wait()
        raise
    return process.returncode, out.decode(errors="replace")
