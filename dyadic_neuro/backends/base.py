"""The smallest interface a simulator needs, and the registry that finds simulators by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from types import TracebackType
from typing import Protocol, TypeVar, cast

from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Coding, Graded
from dyadic_neuro.cost import Cost
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import MissingExtraError, OptionError, SessionClosedError, UnknownNameError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.graph import Graph
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.trace import Trace

GROUP = "dyadic_neuro.backends"
_Local = TypeVar("_Local", bound="LocalSession")
_GRADED = Graded()
_PARTS = ("name", "alpha", "tolerance", "unsupported", "missing", "open")


@dataclass(frozen=True, eq=False)
class Relaxation:
    """A checked order to relax: what `relax` hands to a session.

    `inputs` (batch, n_input), `targets` (batch, n_output) rows, `feedback` the W^T copy of every projection that has one,
    `by_step` whether every step is recorded or the last one only. Of a network of integers all of them are integers, and
    `coding` says how messages are sent.
    """

    inputs: Array
    targets: Array
    steps: int
    alpha: float
    schedule: Schedule
    initial: State
    feedback: Mapping[str, Projection]
    by_step: bool
    coding: Coding = _GRADED


@dataclass(frozen=True, eq=False)
class Learning:
    """A checked order to learn: what `train` hands to a session.

    `inputs` (samples, n_input) and `targets` (samples, n_output) are the whole data; `order` (epochs, windows, batch)
    holds the samples that each window is given, and `window` the steps it is held for; weights change in the last of them.
    `feedback` holds the W^T copies to start from, `alpha` is dt / tau. With a `weight_decay` every copy of a plastic weight
    shrinks by the factor 1 - learning_rate * weight_decay in each update; where plasticity is continuous, that is spread over
    the steps of a batch. Of a network of integers all are integers, and `coding` says how messages are sent.
    """

    inputs: Array
    targets: Array
    order: Array
    learning_rate: float
    schedule: Schedule
    feedback: Mapping[str, Projection]
    alpha: float
    window: int
    weight_decay: float = 0.0
    coding: Coding = _GRADED


@dataclass(frozen=True, eq=False)
class Epoch:
    """What an epoch of learning ended with.

    `parameters` are the forward copies and the biases, `feedback` the W^T copies by projection name, `losses` that of each
    window before its update, `correct` the samples classified right then, `messages` the totals of the epoch. `cost` is
    what the epoch cost on the chip that the backend simulates, if any. `saturations` say what left the range of its integers
    in the epoch, and how often, by "<population> <what>".
    """

    parameters: Mapping[str, Array]
    feedback: Mapping[str, Array]
    losses: Array
    correct: int
    messages: MessageLedger
    cost: Cost | None = None
    saturations: Mapping[str, int] = field(default_factory=dict)


class Session(Protocol):
    """A simulator holding one network. After `close` every call raises SessionClosedError; closing twice is fine."""

    def relax(self, order: Relaxation) -> Trace:
        """Run the dynamics and return what happened."""

    def learn(self, order: Learning, on_window: Callable[[float], None]) -> Iterator[Epoch]:
        """Learn on chip, yielding at the end of each epoch and calling `on_window(loss)` after each window."""

    def close(self) -> None:
        """Give back every process, file and piece of memory."""

    def __enter__(self) -> Session:
        """Return the session."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the session."""


class LocalSession:
    """What sessions share that live in this process: nothing has to be given back, but closed is closed."""

    _closed = False

    def close(self) -> None:
        """End the session; closing twice is fine."""
        self._closed = True

    def __enter__(self: _Local) -> _Local:
        """Return the session."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the session."""
        self.close()

    def check_open(self) -> None:
        """Raise SessionClosedError if the session is closed."""
        if self._closed:
            raise SessionClosedError("session", "is closed", "open a new one")


class Backend(Protocol):
    """A simulator.

    `alpha` is its own dt / tau; `tolerance` the largest difference to the reference's trajectory that float rounding
    explains; `unsupported` maps what it cannot do (names of conformance cases) to the reason. A backend that runs another
    network in place of the user's, which computes the same in more steps, says so by a method `deployed(network)`. One that
    is a circuit with delays, noise or time constants of its own holds them as `substrate` (a Substrate, or None); one that takes
    other steps than Euler's says by `settling_steps(network, alpha, tolerance, *, switched)` how many.

    `runs_on` (a str) says what really runs, with its version: a simulator, an emulator, or which processor. A backend that
    approximates promises by `cosine` (in (0, 1)) how closely its gradients point along backpropagation's, at the least. One
    whose step takes another time than alpha tau, as a lowpass does, has that as `dt_over_tau`. One that runs networks of
    integers (a FixedNetwork in place of the Network), and sends their messages by any coding, says so by `fixed_point` = True.
    """

    name: str
    alpha: float
    tolerance: float
    unsupported: Mapping[str, str]

    def missing(self) -> str | None:
        """Return what must be installed before `open` can work, or None."""

    def open(self, network: Network) -> Session:
        """Return a session for the network."""


def deployed(backend: Backend, network: Network) -> Network:
    """Return the network that the backend will run, which decides on steps and states: `network` unless it says otherwise."""
    found: Network = getattr(backend, "deployed", lambda same: same)(network)
    return found


def takes(backend: Backend, network: Graph, coding: Coding) -> Network:
    """Return the network as what `backend.open` is declared to take.

    Raises OptionError for a network of integers on a backend that has none, and for a coding of floats, which have no bits.
    """
    if isinstance(network, FixedNetwork):
        if not getattr(backend, "fixed_point", False):
            problem = f"{backend.name!r} has no fixed point"
            raise OptionError(
                "backend", problem, "use reference, chip or lava, or network.real(), which holds the same in floats"
            )
    elif not isinstance(coding, Graded):
        problem = f"{coding.name!r} sends the bits of integers, and this network has floats"
        raise OptionError("coding", problem, "quantize(network), or use the coding 'graded'")
    return cast(Network, network)


def runs_on(backend: Backend) -> str:
    """Return what really runs when the backend does, with its version, as the backend says; "unknown" if it does not."""
    return str(getattr(backend, "runs_on", "unknown"))


def dt_over_tau(backend: Backend) -> float:
    """Return the time of a step in units of tau: the backend's `dt_over_tau`, or its alpha, which is Euler's."""
    return float(getattr(backend, "dt_over_tau", backend.alpha))


@cache
def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, or "(not installed)"."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"


@cache  # reading the metadata of every installed package takes longer than a relaxation
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def available() -> dict[str, str | None]:
    """Return every known backend by name, with what must be installed for it (None when it is ready)."""
    return {name: point.load()().missing() for name, point in _points().items()}


def resolve(spec: str | Backend) -> Backend:
    """Return the backend that `spec` means, ready to open.

    Raises UnknownNameError (listing what is installed and what to install), MissingExtraError, and OptionError for what
    is no backend.
    """
    if isinstance(spec, str):
        if spec not in _points():
            states = available()
            ready = ", ".join(name for name, missing in states.items() if missing is None)
            others = "".join(f"; {name} is known, but {missing}" for name, missing in states.items() if missing)
            raise UnknownNameError("backend", f"{spec!r} is not a backend", f"installed: {ready}{others}")
        backend: Backend = _points()[spec].load()()
    elif isinstance(spec, type) or not all(hasattr(spec, part) for part in _PARTS):
        raise OptionError("backend", f"{spec!r} is no backend", f"pass a name, or an object with {', '.join(_PARTS)}")
    else:
        backend = spec
    missing = backend.missing()
    if missing is not None:
        raise MissingExtraError("backend", f"{backend.name!r} cannot run", missing)
    return backend
