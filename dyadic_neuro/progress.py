"""Progress bars: of a training run, and of anything that counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """What a training run tells about itself."""

    def window(self, loss: float) -> None:
        """Note a finished window."""

    def epoch(self, loss: float, validation: float | None) -> None:
        """Note a finished epoch."""


class _Silent:
    def window(self, loss: float) -> None:
        pass

    def epoch(self, loss: float, validation: float | None) -> None:
        pass


@contextmanager
def progress_bar(*, show: bool | None, epochs: int, done: int, windows: int) -> Iterator[Progress]:
    """Show a bar on standard error while the context lasts; `show=None` shows it on a terminal only."""
    if not _shown(show=show):
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("epoch {task.fields[number]}/{task.fields[epochs]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(
            "", total=epochs * windows, completed=done * windows, number=min(done + 1, epochs), epochs=epochs, note=""
        )

        class Shown:
            number = done

            def window(self, loss: float) -> None:  # noqa: ARG002
                bar.update(task, advance=1)

            def epoch(self, loss: float, validation: float | None) -> None:
                self.number += 1
                note = f"loss {loss:.4f}" + ("" if validation is None else f", held out {validation:.2%}")
                bar.update(task, number=min(self.number + 1, epochs), note=note)

        yield Shown()


@contextmanager
def counting_bar(what: str, *, show: bool | None, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show what is going on, `done` of `total` and the time left, on standard error; calling what it gives counts one more.

    `show=None` shows it on a terminal only.
    """
    if not _shown(show=show):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda: bar.advance(task)


def _shown(*, show: bool | None) -> bool:
    return (sys.stderr is not None and sys.stderr.isatty()) if show is None else show
