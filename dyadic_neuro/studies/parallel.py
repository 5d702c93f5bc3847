"""A pure function applied to many tasks: one by one, or by any executor of concurrent.futures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVar

from dyadic_neuro.errors import OptionError, SimulatorError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def check_executor(executor: object) -> None:
    """Raise OptionError for what is neither an executor nor None."""
    if not (executor is None or isinstance(executor, Executor)):
        raise OptionError("executor", f"{executor!r} is none of concurrent.futures", "use a ProcessPoolExecutor, or None")


def end_with_parent() -> None:
    """Make this process end as soon as the one that started it has, however that ended: an initializer for workers."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_outlive, args=(parent.sentinel,), daemon=True).start()


def _outlive(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # the thread that works may never come back to Python


def outcomes(
    function: Callable[[Task], Outcome], tasks: Sequence[Task], executor: Executor | None
) -> Iterator[tuple[int, Outcome]]:
    """Give the number and the outcome of each task, as they come.

    What `function` raises is raised here, and what has not begun by then does not begin: the same for an interrupt, and
    for a caller that wants no more. Raises SimulatorError when workers died.
    """
    if executor is None:
        yield from ((i, function(task)) for i, task in enumerate(tasks))
        return
    futures: dict[Future[Outcome], int] = {}
    try:
        futures |= {executor.submit(function, task): i for i, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenExecutor as error:
        fix = "give it more memory or fewer workers; a run with a journal goes on from there"
        raise SimulatorError("executor", f"a worker died ({error})", fix) from None
    finally:
        for future in futures:
            future.cancel()
