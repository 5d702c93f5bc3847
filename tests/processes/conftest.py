"""Scenes: scripts that run in a child process with a deadline, after which nothing of them may be left."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from pathlib import Path

import pytest

import dyadic_neuro
from dyadic_neuro.backends import Lava

HERE = Path(__file__).parent
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Linux keeps it)
HEADER = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
import numpy as np
import dyadic_neuro as dn
from dyadic_neuro.backends import Lava
from dyadic_neuro.errors import SessionClosedError, SimulatorError, SimulatorTimeoutError
from dyadic_neuro.relaxation import prepare
from faults import *
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup without this one
"""
GONE_S = 8.0  # what is killed needs a moment to go


@pytest.fixture(autouse=True, scope="session")
def _lava_is_installed():
    missing = Lava().missing()
    if missing or not Path("/proc/self/environ").exists():
        pytest.skip(missing or "the scenes look for processes in /proc")


class Scene:
    """A script that runs in its own session, and everything that comes of it.

    What is left of it can be told from what other workers run at the same time. Processes carry a mark in the environment
    they were started with, which forks inherit and /proc shows. Shared memory has no owner, but a name: the scene's
    functions rename it when Lava's interpreter unpickles them, so that it carries the mark too (faults.Spoilt), and
    test_scenes.py shows that no other shared memory belongs to a scene. Temporary files go to a folder of the scene's own.
    """

    def __init__(self, folder):
        self.mark = f"t{uuid.uuid4().hex[:12]}"
        self.folder = folder / self.mark
        self.folder.mkdir()
        self.temporary = Path(tempfile.mkdtemp(prefix="dn"))  # with a short name, as sockets have to lie in it
        self.process = None

    def start(self, code, *arguments, terminal=False, cwd=None, flags=("-W", "error")):
        """Start the script; with `terminal` it has a terminal of its own, where `press_ctrl_c` reaches it."""
        script = self.folder / "scene.py"
        script.write_text(HEADER + textwrap.dedent(code))
        paths = [str(HERE), str(Path(dyadic_neuro.__file__).parents[1])]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "PYTHONPATH"))}
        command = [sys.executable, *flags, str(script), *map(str, arguments)]
        self.terminal, stdin = os.openpty() if terminal else (None, subprocess.DEVNULL)
        if terminal:  # the first terminal that the leader of a session opens becomes its own
            command = [
                sys.executable,
                "-c",
                "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.argv[1], sys.argv[1:])",
                *command,
            ]
        self.out = self.folder / "said.txt"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                cwd=cwd or self.folder,
                env=clean | {"PYTHONPATH": os.pathsep.join(paths), "DYADIC_TEST_RUN": self.mark, "TMPDIR": str(self.temporary)},
                stdin=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if terminal:
            os.close(stdin)
        return self

    @property
    def said(self):
        return self.out.read_text()

    def press_ctrl_c(self):
        os.write(self.terminal, b"\x03")

    def interrupt(self):
        """Do what a terminal does on Ctrl-C: SIGINT to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait_for(self, path, deadline=30.0):
        """Wait until the scene has made that file."""
        until = time.monotonic() + deadline
        while not (self.folder / path).exists():
            assert self.process.poll() is None, f"ended before {path} was there:\n{self.said}"
            assert time.monotonic() < until, f"no {path} after {deadline} s:\n{self.said}"
            time.sleep(0.01)

    def ends(self, deadline=40.0, code=0, said=""):
        """Assert that the script ends in time with that exit code and those words, and leaves nothing behind."""
        try:
            found = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {deadline} s:\n{self.said}")
        assert found == code, f"exit code {found}:\n{self.said}"
        self.leaves_nothing()
        if said is not None:
            assert self.said.strip() == said
        return self.said

    def leaves_nothing(self):
        """Assert that processes, shared memory and temporary files of the scene are gone, or go in a moment."""
        until = time.monotonic() + GONE_S
        while (left := [*self.processes().items(), *self.memory(), *os.listdir(self.temporary)]) and time.monotonic() < until:
            time.sleep(0.02)
        assert not left, f"left behind: {left}\n{self.said}"

    def processes(self):
        """The scene's processes, as their numbers and command lines."""
        mark = f"DYADIC_TEST_RUN={self.mark}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):  # gone in the meantime, or another user's
                    if mark in (folder / "environ").read_bytes():
                        found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def memory(self):
        """The names of the scene's shared memory."""
        return [path.name for path in SHARED_MEMORY.iterdir() if path.name.startswith(self.mark)]

    def clear(self):
        """End whatever is left, also after a failed test."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        if self.process is not None and self.terminal is not None:
            os.close(self.terminal)
        shutil.rmtree(self.temporary)
        for name in self.memory():
            (SHARED_MEMORY / name).unlink(missing_ok=True)


@pytest.fixture
def scenes(tmp_path):
    """Return a function that starts a scene; several may run side by side."""
    started = []

    def start(code, *arguments, **options):
        scene = Scene(tmp_path)
        started.append(scene)
        return scene.start(code, *arguments, **options)

    yield start
    for scene in started:
        scene.clear()


@pytest.fixture
def play(scenes):
    """Return a function that plays a scene to its end and asserts that it ended well, silently and without a trace."""

    def run(code, *arguments, deadline=40.0, ends=0, said="", **options):
        return scenes(code, *arguments, **options).ends(deadline, ends, said)

    return run
