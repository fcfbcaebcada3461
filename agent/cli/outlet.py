"""Output that never makes the writer wait: a thread of its own hands it to the pipe, terminal or file.

A pipe that nobody reads, a terminal stopped by Ctrl-S or a slow console would otherwise hold up whoever prints, and
with it the agent. What finds no room is dropped by whole writes, counted, and told.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from collections import deque
from io import TextIOBase
from typing import Final

CAPACITY: Final = 1 << 20
"""octets that wait"""
CLOSE_S: Final = 1.0
_PIECE: Final = 16_384
_GONE: Final = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET)


class Outlet(TextIOBase):
    """A text stream over a file descriptor. Use as a context manager; leaving waits CLOSE_S for what is left."""

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self._descriptor, self._encoding = descriptor, encoding
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._waiting = self._lost = 0
        self._ending = False
        self._gone: str | None = None
        self._told_gone = False
        self._terminal = False
        with contextlib.suppress(OSError):
            self._terminal = os.isatty(descriptor)
        self._thread = threading.Thread(target=self._work, name=f"output-{descriptor}", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override] # a plain attribute up there
        return self._encoding

    @property
    def gone(self) -> bool:
        """Nobody will ever read this again."""
        return self._gone is not None

    @property
    def busy(self) -> bool:
        """Something waits to be read."""
        return self._waiting > 0

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        """Queue the text as a whole, or drop it as a whole. Never waits."""
        data = text.encode(self._encoding, "replace")
        with self._changed:
            if self._gone is None and data:
                if self._waiting + len(data) > CAPACITY:
                    self._lost += max(1, text.count("\n"))
                else:
                    self._pieces.append(data)
                    self._waiting += len(data)
                    self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: a thread is at it."""

    def news(self) -> str | None:
        """What went wrong and was not told yet, once the reader is back or gone."""
        with self._changed:
            if self._gone is not None and not self._told_gone:
                self._told_gone = True
                return f"nothing is shown any more: {self._gone}"
            if self._lost and self._waiting < CAPACITY // 2:
                lost, self._lost = self._lost, 0
                return f"{lost} lines were not shown: the reader was too slow"
        return None

    def close(self) -> None:
        """Wait CLOSE_S for what is left, then give it up."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting, CLOSE_S)

    def _work(self) -> None:
        while (data := self._next()) is not None:
            try:
                self._put(data)
            except OSError as error:
                self._failed(error, data)
            else:
                self._settle(len(data))

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pieces) or self._ending)
            return self._pieces.popleft() if self._pieces else None

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view[:_PIECE]) :]
            except BlockingIOError:  # somebody made the terminal we share non-blocking
                select.select([], [self._descriptor], [], 1.0)

    def _settle(self, length: int) -> None:
        with self._changed:
            self._waiting -= length
            self._changed.notify_all()

    def _failed(self, error: OSError, data: bytes) -> None:
        """For good where the reader is gone; else, as on a full disk, this text is lost and the next may do."""
        with self._changed:
            self._waiting -= len(data)
            self._lost += max(1, data.count(b"\n"))
            if error.errno in _GONE:
                self._gone = error.strerror or "closed"
                self._pieces.clear()
                self._waiting = 0
            self._changed.notify_all()
