"""The child interpreter in which Lava lives; the guard (session.py) starts it with three file descriptors.

Lava forks a process a population, and whatever goes wrong in one of them makes the others wait for ever. Here that does
no harm: the guard (session.py) watches from outside and ends this interpreter, and with it everything Lava started. The
main thread takes orders from the control pipe; a second thread watches the guard, a third the processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import NoReturn

from dyadic_neuro.processes.failures import ENDED, FAILED, FOLDER, tell

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_SHOW_STACKS = b"?"
_MAKING = threading.Lock()  # held while processes, sockets and shared memory are made; an end waits for that
_MAKING_S = 3.0
_FILES = 2**18  # open files: far more than any circuit needs
_LOOK_S = 1.0  # how often to look whether the guard is still there


def main() -> None:
    """Serve the guard until it goes away."""
    control_fd, results, failures = (int(word) for word in sys.argv[1:4])
    os.register_at_fork(after_in_child=_die_with(os.getpid()))
    _allow_files()
    folder = tempfile.tempdir = tempfile.mkdtemp(prefix="dyadic-")  # our own, where multiprocessing keeps its sockets
    host = _Host(failures, results)
    threading.Thread(target=_watch_guard, args=(folder,), daemon=True).start()
    try:
        tell(failures, FOLDER, folder)
        control = Connection(control_fd)
        while True:
            verb, content = control.recv()
            try:
                answer = host.serve(verb, content)
            except BaseException:  # noqa: BLE001  (whatever it is, the guard must hear of it)
                tell(failures, FAILED, f"Lava failed to {verb}\n{traceback.format_exc()}")
            else:
                control.send((verb, answer))
    finally:  # the guard is gone: nobody listens, nobody sends
        _end(folder)


def _allow_files() -> None:
    """Take as many open files as the system allows: every channel costs two, and many systems give 1024 unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):  # not every system lets us
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class _Host:
    """One circuit at a time: build, run (as often as you like), stop."""

    def __init__(self, failures: int, results: int) -> None:
        self._failures, self._results = failures, results
        self._stopping = threading.Event()

    def serve(self, verb: str, content: bytes | int) -> object:
        """Carry out an order and return the answer."""
        from lava.magma.core.run_conditions import RunSteps

        from dyadic_neuro.processes.assembly import assemble
        from dyadic_neuro.processes.run_config import COMPILE_CONFIG, run_config

        if verb == "build":
            self._circuit = assemble(pickle.loads(content), self._failures, self._results)  # type: ignore[arg-type]  # noqa: S301  (from our own guard)
            config = run_config()
            executable = self._circuit.compile(config, COMPILE_CONFIG)
            with _MAKING:
                self._circuit.create_runtime(run_cfg=config, executable=executable)
            self._stopping = threading.Event()
            children = multiprocessing.active_children()
            threading.Thread(target=_watch_processes, args=(children, self._failures, self._stopping), daemon=True).start()
            return sorted(child.pid for child in children if child.pid is not None)
        if verb == "run":
            self._circuit.run(RunSteps(num_steps=int(content)))
        if verb == "stop":
            self._stopping.set()
            self._circuit.stop()
            del self._circuit
        return None


def _die_with(host: int) -> Callable[[], None]:
    """Return what a forked process must do first: ask the kernel to end it when the host ends."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def arm() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until a model shows its stack on it
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != host:  # it ended before the kernel was asked
                os._exit(1)

    return arm


def _watch_guard(folder: str) -> None:
    """Wait on standard input, which the guard holds open as long as it lives; a "?" asks for everybody's stack."""
    guard = os.getppid()
    try:
        while os.getppid() == guard:  # a process that the guard's program forked may hold standard input open too
            if select.select([0], [], [], _LOOK_S)[0]:
                if os.read(0, 1) != _SHOW_STACKS:
                    break
                for child in multiprocessing.active_children():
                    if child.pid is not None:
                        os.kill(child.pid, signal.SIGUSR1)
    finally:
        _end(folder)


def _watch_processes(children: list[multiprocessing.Process], failures: int, stopping: threading.Event) -> None:
    """Report the first process that ends before it was told to."""
    by_sentinel = {child.sentinel: child for child in children}
    ended = wait(list(by_sentinel))
    if not stopping.is_set():
        child = by_sentinel[ended[0]]  # type: ignore[index]
        for _ in range(100):  # its end of the sentinel closes a moment before its exit code is there
            if child.exitcode is not None:
                break
            time.sleep(0.001)
        tell(failures, ENDED, f"{child.pid} {child.exitcode}")


def _end(folder: str) -> NoReturn:
    """End everything at once. Python's resource tracker then sees that all are gone and unlinks the shared memory."""
    try:
        _MAKING.acquire(timeout=_MAKING_S)  # the tracker hears of a piece of shared memory only just after it is there
        for child in multiprocessing.active_children():
            child.kill()
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)
