"""Every error a user can meet, each of them also the builtin that fits.

DyadicError                      names `field`, `problem` (with the limit) and `fix`
├── NetworkError       ValueError         the description of a network is wrong
│   └── CycleError                        it has a cycle where a depth is needed
├── CapacityError      ValueError         a network does not fit on a chip
├── MappingError       ValueError         a mapping breaks a limit or a law, or is of another network
├── DataError          ValueError         inputs, targets or states of a wrong shape, range or kind
├── OptionError        ValueError         an option outside its limits, or two that contradict
├── UnknownNameError   LookupError        no population, activation, loss, backend ... of this name
├── MissingExtraError  ImportError        a package of an optional extra is not installed
├── FileError          ValueError         a file that is missing, foreign, truncated or corrupt
│   └── CheckpointError                   a checkpoint of another run
├── OutputExistsError  FileExistsError    an output that is already there
├── SessionClosedError RuntimeError       a call to a session that is closed
├── DivergedError      ArithmeticError    training left the finite numbers
├── SaturationError    OverflowError      integers left their range, where a format is strict
└── SimulatorError     RuntimeError       the simulator below a backend failed
    └── SimulatorTimeoutError  TimeoutError   ... by making no progress
"""

from __future__ import annotations


class DyadicError(Exception):
    """Base of all errors of this package.

    `field` is the argument or file at fault, `problem` says what is wrong and which limit it breaks, `fix` what to do.
    """

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(field, problem, fix)
        self.field = field
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}; {self.fix}"


class NetworkError(DyadicError, ValueError):
    """The description of a network is wrong."""


class CycleError(NetworkError):
    """The network has a cycle, so it has no depth; the message names the cycle."""


class CapacityError(DyadicError, ValueError):
    """A network does not fit on a chip; the message names population, resource, need, limit, and the change that would fit."""


class MappingError(DyadicError, ValueError):
    """A mapping breaks a limit or a law, or belongs to another network."""


class DataError(DyadicError, ValueError):
    """Inputs, targets, states or weights have a wrong shape, range or kind."""


class OptionError(DyadicError, ValueError):
    """An option is outside its limits, or contradicts another one."""


class UnknownNameError(DyadicError, LookupError):
    """Nothing has this name; the message lists the names there are."""


class MissingExtraError(DyadicError, ImportError):
    """A package of an optional extra is not installed."""


class FileError(DyadicError, ValueError):
    """A file is missing, foreign, truncated or corrupt."""


class CheckpointError(FileError):
    """A checkpoint belongs to another run."""


class OutputExistsError(DyadicError, FileExistsError):
    """An output is already there and may not be overwritten."""


class SessionClosedError(DyadicError, RuntimeError):
    """A session was used after it was closed."""


class DivergedError(DyadicError, ArithmeticError):
    """Training left the finite numbers."""


class SaturationError(DyadicError, OverflowError):
    """Integers left their range in a network whose format is strict; the message says which, and how often."""


class SimulatorError(DyadicError, RuntimeError):
    """The simulator below a backend failed; the message holds the traceback of the process that did."""


class SimulatorTimeoutError(SimulatorError, TimeoutError):
    """The simulator made no progress for longer than its timeout."""
