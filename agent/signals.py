"""Signals as plain facts for a main loop. A handler sets a flag and writes one octet; it never takes a lock.

(`threading.Event.set` in a handler waits for ever when the signal came while the same thread was inside `wait`.)
"""

import contextlib
import select
import signal
import socket
import threading
from types import FrameType


class Signals:
    """What the process was told. A context manager: handlers are installed inside, in the main thread only.

    `stop` and `hang_up` do by hand what the signals do, from any thread.
    """

    def __init__(self) -> None:
        self.stopping = False
        """SIGTERM or SIGINT came"""
        self.hurried = False
        """SIGINT came once more"""
        self._hung_up = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                before = signal.signal(number, self._handle)
                self._restore.callback(signal.signal, number, before if before is not None else signal.SIG_DFL)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def wait(self, timeout_s: float) -> None:
        """Returns at the next signal or call of `wake`, at the latest after timeout_s."""
        select.select([self._reader], [], [], max(0.0, timeout_s))
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(64):
                pass

    def wake(self) -> None:
        """End the wait, from any thread."""
        with contextlib.suppress(OSError):  # full: it will wake anyway
            self._writer.send(b"\0")

    def stop(self) -> None:
        self.stopping = True
        self.wake()

    def hang_up(self) -> None:
        """Read the configuration again."""
        self._hung_up = True
        self.wake()

    def take_hang_up(self) -> bool:
        """True once after each SIGHUP, or several."""
        told, self._hung_up = self._hung_up, False
        return told

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hang_up()
            return
        self.hurried = self.hurried or (self.stopping and number == signal.SIGINT)
        self.stop()
