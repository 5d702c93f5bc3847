"""However a run ends, an error is typed, the next run works, and nothing is left: no process, no temporary folder."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.errors import SessionClosedError, SimulatorError
from dyadic_neuro.relaxation import prepare
from dyadic_neuro.testing import networks

pytest.importorskip("brian2", reason="needs pip install 'dyadic-neuro[brian2]'")
pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None or shutil.which("make") is None, reason="no compiler"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc"),
    pytest.mark.timeout(400),
]

ENDLESS = 10**9
GONE_S = 5.0  # what is killed needs a moment to go, on a busy machine
NETWORK = networks.dag(13, 3, activation="tanh", parts=True)  # the one of all tests here: its program is there already
X, Y = networks.batch(NETWORK, 1, 3)
SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    import dyadic_neuro as dn
    from dyadic_neuro.backends.brian2 import Brian2
    from dyadic_neuro.testing import networks
    net = networks.dag(13, 3, activation="tanh", parts=True)
    x, y = networks.batch(net, 1, 3)
"""


@pytest.fixture
def found(folder):
    """A backend of the test's own, whose program is compiled once for all."""
    with contextlib.closing(Brian2(target="cpp_standalone", directory=folder)) as made:
        dn.relax(NETWORK, X, Y, backend=made)
        yield made


def program(backend):
    """Return the process of the backend's only program."""
    (circuit,) = backend._circuits.values()
    return circuit._program


def assert_exact(backend):
    trace, wanted = dn.relax(NETWORK, X, Y, backend=backend), dn.backprop(NETWORK, X, Y)
    assert all(abs(trace.gradients[key] - right).max() <= 1e-12 for key, right in wanted.items())


# --- the program is killed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waited_for", [False, True])
def test_a_program_killed_between_runs_is_started_again(found, waited_for):
    first = program(found)
    first.kill()
    if waited_for:
        first.wait()
    with contextlib.suppress(SimulatorError):  # it may be hit in the moment of its end
        dn.relax(NETWORK, X, Y, backend=found)
    assert_exact(found)
    assert program(found).pid != first.pid


def test_a_program_killed_in_a_run_is_a_typed_error(found):
    first = program(found)
    killer = threading.Timer(0.5, first.kill)
    killer.start()
    with pytest.raises(SimulatorError, match="-9") as caught:
        dn.relax(NETWORK, X, Y, backend=found, steps=ENDLESS, record="last")
    killer.join()
    assert caught.value.fix
    assert first.poll() == -signal.SIGKILL
    assert_exact(found)


def test_a_session_outlives_the_program(found):
    with found.open(NETWORK) as session:
        order = prepare(NETWORK, X, Y)
        first = session.relax(order)
        program(found).kill()
        with contextlib.suppress(SimulatorError):
            session.relax(order)
        again = session.relax(order)
        assert all(again.gradients[key].tobytes() == values.tobytes() for key, values in first.gradients.items())
    with pytest.raises(SessionClosedError):
        session.relax(order)


def test_closing_twice_ends_the_program_once(found):
    running = program(found)
    found.close()
    assert running.poll() is not None
    found.close()
    assert_exact(found)  # a closed backend begins anew


def test_circuits_that_cannot_be_compiled_are_a_typed_error(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("g++", "make"):
        (tools / name).write_text("#!/bin/sh\necho broken compiler\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    broken = Brian2(target="cpp_standalone", directory=tmp_path / "circuits")
    with pytest.raises(SimulatorError, match="could not be compiled"):
        dn.relax(NETWORK, X, Y, backend=broken)
    assert not list((tmp_path / "circuits").iterdir())
    monkeypatch.undo()
    broken.close()


# --- the script ends -----------------------------------------------------------------------------------------------------


class Script:
    """A script in a process group of its own, all of whose processes carry a mark, and whose temporary files lie apart."""

    def __init__(self, code, arguments):
        self.mark = f"DYADIC_TEST_RUN=b{uuid.uuid4().hex[:12]}"
        self.temporary = Path(tempfile.mkdtemp(prefix="dn"))
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "DYADIC_TEST_RUN"))}
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT) + textwrap.dedent(code), *map(str, arguments)],
            env=clean | {name: value, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self):
        """Return the numbers of the script's processes that live."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.mark.encode() in (path / "environ").read_bytes():
                        found.append(int(path.name))
        return found

    def until(self, condition, deadline=60.0):
        """Wait until something is so, while the script runs."""
        end = time.monotonic() + deadline
        while not condition():
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.01)

    def runs_its_program(self):
        """Wait until the script's program has worked for a moment."""
        self.until(lambda: any(self.spent(pid) > 0.2 for pid in self.processes() if pid != self.process.pid))

    def command(self, pid):
        """Return the name of a process, "" if it has ended."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text().strip()
        return ""

    def spent(self, pid):
        """Return the processor seconds of a compiled program, 0 for any other process."""
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe").endswith("/main"):
                user = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
                return user / os.sysconf("SC_CLK_TCK")
        return 0.0

    def ends(self, code, says="", *, folders=("-",)):
        """Assert that it ends so, and that nothing of it is left but these temporary folders."""
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == code, said
        assert says in said
        until = time.monotonic() + GONE_S
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.02)
        assert not left
        assert [path.name for path in self.temporary.iterdir() if not path.name.startswith(folders)] == []
        return said

    def clear(self):
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.temporary)


@pytest.fixture
def script(found, folder):
    """Return a function that starts a script, which finds its program compiled."""
    started = []

    def start(code, where=folder):
        started.append(Script(code, [where]))
        return started[-1]

    yield start
    for one in started:
        one.clear()


RUN = "dn.relax(net, x, y, backend=Brian2(target='cpp_standalone', directory=sys.argv[1]), steps=10**9, record='last')"


def test_a_killed_script_takes_its_program_with_it(script):
    running = script(RUN)
    running.runs_its_program()
    running.process.kill()
    running.ends(-signal.SIGKILL, folders=("dyadic_brian2_",))  # which nobody is left to remove


def test_a_killed_script_takes_the_compiler_with_it(script):
    running = script("dn.relax(net, x, y, backend=Brian2(target='cpp_standalone'))")
    running.until(lambda: any(running.command(pid) == "make" for pid in running.processes()))
    running.process.kill()
    running.ends(-signal.SIGKILL, folders=("dyadic_brian2_", "cc"))  # g++ does not remove its own either


def test_ctrl_c_in_a_run(script):
    running = script("""
    backend = Brian2(target='cpp_standalone', directory=sys.argv[1])
    try:
        dn.relax(net, x, y, backend=backend, steps=10**9, record='last')
    except KeyboardInterrupt:
        assert dn.relax(net, x, y, backend=backend).steps == net.relaxation_steps  # and on it goes
        print("interrupted")
    backend.close()
    """)
    running.runs_its_program()
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.ends(0) == "interrupted\n"


def test_ctrl_c_that_nobody_catches(script):
    running = script(RUN)
    running.runs_its_program()
    os.killpg(running.process.pid, signal.SIGINT)
    running.ends(-signal.SIGINT, "KeyboardInterrupt")


@pytest.mark.parametrize("moment", ["dyadic_brian2_*/.building_*", "dyadic_brian2_*/.building_*/main.cpp"])
def test_ctrl_c_while_the_program_is_compiled(script, moment):
    running = script("dn.relax(net, x, y, backend=Brian2(target='cpp_standalone'))")
    running.until(lambda: list(running.temporary.glob(moment)))
    os.killpg(running.process.pid, signal.SIGINT)
    running.ends(-signal.SIGINT, "KeyboardInterrupt")


@pytest.mark.parametrize("target", ["numpy", "cpp_standalone"])
def test_ctrl_c_in_a_run_of_this_process(script, target):
    """Brian2 by itself would end the run and say nothing of it, and its handler of SIGINT would stay."""
    running = script(f"""
    import threading, warnings
    warnings.simplefilter("ignore")
    backend = Brian2(target="{target}", directory=sys.argv[1])
    dn.relax(net, x, y, backend=backend)
    threading.Timer(0.7, os.kill, [os.getpid(), signal.SIGINT]).start()
    try:
        dn.relax(net, x, y, backend=backend, steps=10**7, record="last")
    except KeyboardInterrupt:
        wanted = dn.backprop(net, x, y)
        found = dn.relax(net, x, y, backend=backend).gradients
        assert all(abs(found[key] - right).max() < 1e-12 for key, right in wanted.items())
        print("interrupted")
    """)
    assert running.ends(0) == "interrupted\n"


@pytest.mark.parametrize("ending", ["", "del backend", "backend.close()", "os.kill(os.getpid(), signal.SIGTERM)", "1 / 0"])
def test_a_backend_that_nobody_closed_leaves_nothing(script, ending):
    """Nor does it warn, as of resources that are lost."""
    said = script(f"""
    backend = Brian2(target='cpp_standalone', directory=sys.argv[1])
    dn.relax(net, x, y, backend=backend)
    {ending}
    """).ends(
        {"1 / 0": 1}.get(ending, -signal.SIGTERM if "SIGTERM" in ending else 0),
        folders=("dyadic_brian2_",) if "SIGTERM" in ending else ("-",),
    )
    assert "Warning" not in said
    assert said.count("Traceback") == (ending == "1 / 0")
