"""The pipe on which the processes of a circuit tell the guard who they are, and why they failed."""

from __future__ import annotations

import os
from collections.abc import Iterator

_ATOMIC = 4096  # POSIX PIPE_BUF on Linux: writes up to this size from several processes do not mix
_END = b"\0"
_HEAD = 200

FOLDER, BORN, ENDED, FAILED = "folder", "born", "ended", "failed"
"""What is told: where sockets are kept, a process's number and name, a number and an exit code, a text."""


def tell(pipe: int, kind: str, text: str) -> None:
    """Write one message to the pipe in one piece, leaving out the middle of a long text."""
    encoded = f"{kind} {text}".encode().replace(_END, b"")
    if len(encoded) >= _ATOMIC:
        mark = b"\n...\n"
        encoded = encoded[:_HEAD] + mark + encoded[-(_ATOMIC - _HEAD - len(mark) - 1) :]
    os.write(pipe, encoded + _END)


def listen(pipe: int) -> Iterator[tuple[str, str]]:
    """Go through the messages as (kind, text), until every process that could tell one is gone."""
    pending = b""
    while chunk := os.read(pipe, _ATOMIC):
        *whole, pending = (pending + chunk).split(_END)
        for message in whole:
            kind, _, text = message.decode(errors="replace").partition(" ")
            yield kind, text
