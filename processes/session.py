"""The guard: runs Lava in a child interpreter and makes sure that every call ends, and that nothing stays behind.

It needs no private name of Lava. Four facts carry it: the child's standard input closes when this process ends, however
it ends; the kernel ends the child's own processes with it; what fails says so on a pipe of its own; and standard error,
which every process of the family holds open (the one that cleans up shared memory last), closes when all are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe
from queue import Empty, Queue
from typing import Any, NoReturn

import cloudpickle

from dyadic_neuro.errors import OptionError, SessionClosedError, SimulatorError, SimulatorTimeoutError
from dyadic_neuro.processes.failures import BORN, ENDED, FAILED, FOLDER, listen
from dyadic_neuro.processes.parts import AnyPlan

_ENDING_S = 5.0  # for a family that was told to end; then it is killed
_GATHERING_S = 0.2  # after the first failure, for the others' words
_START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from dyadic_neuro.processes.host import main; main()"
_STANDARD_ERROR = 2
_TAIL = 4000  # bytes of standard error that an error message shows
_ENVIRONMENT = {
    # the processes share the cores: one thread each for linear algebra
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # glibc: keep freed memory, of which the next step needs as much again, instead of asking the kernel for new pages
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**30)),
}


class GuardedSession:
    """Lava behind a guard: `build` a circuit, `run` it any number of times, `stop` it, build the next; `close` ends all.

    `timeout` is the longest silence in seconds; a run may take as long as it likes while its steps go on. Any failure
    closes the session and raises SimulatorError (SimulatorTimeoutError for silence) with what the processes said.
    `pids` are the processes of the present circuit. Usable from any thread; `claim` gives it to one order at a time.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._family = _Family()
        self._finalizer = weakref.finalize(self, self._family.end)  # a forgotten close, or the end of the program
        self._claimed = threading.Lock()
        self._steps, self._micro_steps = 0, 1
        self._names: dict[int, str] = {}
        self.pids: list[int] = []

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        """Keep the session for one order; whatever interrupts the order, also Ctrl-C, closes the session.

        Raises SessionClosedError, and OptionError while another order is not finished.
        """
        self._check_open()
        if not self._claimed.acquire(blocking=False):
            raise OptionError("session", "is in the middle of another order", "finish that one first, or open a second session")
        try:
            yield
        except BaseException:
            self.close()
            raise
        finally:
            self._claimed.release()

    def build(self, plan: AnyPlan) -> None:
        """Build the processes of a plan. Raises OptionError for a function that cannot be sent to them."""
        try:
            content = cloudpickle.dumps(plan)
        except Exception as error:
            raise OptionError(
                "network", f"a function of your own cannot be sent to another process ({error})", "keep locks and files out of it"
            ) from error
        self._steps, self._micro_steps = 0, plan.clock.micro_steps
        for kind, _, answer in self._serve("build", content):
            if kind == "build":
                self.pids = answer

    def run(self, steps: int) -> Iterator[tuple[str, int, Any]]:
        """Run that many steps, the last of which reports; yield what the recorder receives as (kind, step, content)."""
        self._steps += steps
        yield from self._serve("run", steps * self._micro_steps)

    def stop(self) -> None:
        """End the processes of the circuit; the session stays open for another one."""
        for _ in self._serve("stop", 0):
            pass
        self.pids = []

    def close(self) -> None:
        """End everything, and return when it has ended. Closing twice is fine."""
        self._finalizer()
        self.pids = []

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise SessionClosedError("session", "is closed", "open a new one")

    def _serve(self, verb: str, content: bytes | int) -> Iterator[tuple[str, int, Any]]:
        """Give an order and yield what comes back, until it is carried out."""
        self._check_open()
        self._family.send(verb, content)
        waiting = {verb, "last report"} if verb == "run" else {verb}
        while waiting:
            kind, step, answer = self._next(verb)
            if kind == BORN:
                pid, _, name = answer.partition(" ")
                self._names[int(pid)] = name
                continue
            if kind in (ENDED, FAILED):
                self._fail(SimulatorError, f"failed to {verb}", [self._told(kind, answer)])
            if kind == "report" and step == self._steps:
                waiting.discard("last report")
            waiting.discard(kind)
            yield kind, step, answer

    def _next(self, verb: str) -> tuple[str, int, Any]:  # noqa: RET503  (_fail never returns)
        """Return what comes next from the family, or end it after too long a silence."""
        with contextlib.suppress(Empty):
            return self._family.events.get(timeout=self._timeout)
        with contextlib.suppress(Empty):  # a second look, for a program that was suspended itself
            return self._family.events.get(timeout=_GATHERING_S)
        self._family.ask_for_stacks()
        self._fail(SimulatorTimeoutError, f"made no progress for {self._timeout:g} s when it was told to {verb}", [])

    def _told(self, kind: str, text: str) -> str:
        if kind == ENDED:
            pid, code = text.split()
            return f"process {self._names.get(int(pid), 'of Lava')!r} (pid {pid}) ended, exit code {code}"
        return text

    def _fail(self, kind: type[SimulatorError], problem: str, said: list[str]) -> NoReturn:
        until = time.monotonic() + _GATHERING_S
        with contextlib.suppress(Empty):
            while (left := until - time.monotonic()) > 0:
                event, _, text = self._family.events.get(timeout=left)
                if event in (ENDED, FAILED):
                    said.append(self._told(event, text))
        self.close()
        told = "\n".join(said) or self._family.errors()
        fix = (
            "raise Lava(timeout=...) if a window of steps takes that long"
            if kind is SimulatorTimeoutError
            else "mend what the traceback shows; the session is closed"
        )
        raise kind("lava", f"{problem}\n{told}\n", fix)


class _Family:
    """The child interpreter, everything it started, and the pipes to it."""

    def __init__(self) -> None:
        self.events: Queue[tuple[str, int, Any]] = Queue()
        self._home = os.getpid()
        self._folder: str | None = None
        below = _occupy_standard_streams()
        self._control, control = Pipe()
        self._results, results = Pipe(duplex=False)
        self._failures, failures = os.pipe()
        passed = (control.fileno(), results.fileno(), failures)
        self._host = subprocess.Popen(  # noqa: S603  (this very interpreter)
            # isolated, so that no module lying in the working directory is taken for one of Python's; then with our own path
            [sys.executable, "-I", "-c", _START, json.dumps([path or os.getcwd() for path in sys.path]), *map(str, passed)],
            env=os.environ | _ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=passed,
            start_new_session=True,  # a Ctrl-C at the terminal reaches this process only
        )
        control.close()
        results.close()
        os.close(failures)
        for fd in below:
            os.close(fd)
        self._tail = b""
        self._threads = [
            threading.Thread(target=target, args=arguments, daemon=True)
            for target, arguments in (
                (self._read_errors, ()),
                (self._read, (self._control, "the interpreter that runs Lava ended")),
                (self._read, (self._results, None)),
                (self._read_failures, ()),
            )
        ]
        for thread in self._threads:
            thread.start()

    def send(self, verb: str, content: bytes | int) -> None:
        """Send an order, without waiting for somebody to read it."""

        def deliver() -> None:
            with contextlib.suppress(OSError):  # nobody there: the reading thread says so
                self._control.send((verb, content))

        threading.Thread(target=deliver, daemon=True).start()

    def ask_for_stacks(self) -> None:
        """Ask every process to say where it is."""
        with contextlib.suppress(OSError):
            self._stdin.write(b"?")
            self._stdin.flush()

    def errors(self) -> str:
        """Return the end of what the family wrote to standard error."""
        return self._tail.decode(errors="replace")

    def end(self) -> None:
        """End the family, and return when every process of it has ended."""
        if os.getpid() != self._home:  # a fork of the program ends: the family is not its own
            return
        with contextlib.suppress(OSError):
            self._stdin.write(b".")  # a fork of the program may hold the pipe open, and then closing it says nothing
            self._stdin.close()
        self._threads[0].join(_ENDING_S)
        if self._threads[0].is_alive():
            self._host.kill()
            self._threads[0].join(_ENDING_S)
        self._host.wait()
        for thread in self._threads:
            thread.join(_ENDING_S)
        self._control.close()
        self._results.close()
        os.close(self._failures)
        if self._host.stderr is not None:
            self._host.stderr.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _stdin(self) -> Any:  # noqa: ANN401
        return self._host.stdin

    def _read_errors(self) -> None:
        stream = self._host.stderr
        while stream is not None and (chunk := os.read(stream.fileno(), 65536)):
            self._tail = (self._tail + chunk)[-_TAIL:]

    def _read(self, connection: Connection, at_end: str | None) -> None:
        try:
            while True:
                message = connection.recv()
                self.events.put(message if len(message) == 3 else (message[0], 0, message[1]))
        except (EOFError, OSError):
            if at_end is not None:
                self.events.put((FAILED, 0, at_end))

    def _read_failures(self) -> None:
        for kind, text in listen(self._failures):
            if kind == FOLDER:
                self._folder = text
                continue
            self.events.put((kind, 0, text))


def _occupy_standard_streams() -> list[int]:
    """Open the file descriptors 0 to 2 that are closed, as in a daemon: a pipe of such a number would not reach the child."""
    occupied = []
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        occupied.append(fd)
    os.close(fd)
    return occupied
