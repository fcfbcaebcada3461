"""A bounded pool of daemon threads. The standard library's pool is joined when the interpreter ends, so that one
attempt that hangs would keep the whole agent from ending.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

IDLE_S = 60.0
"""A thread that had nothing to do for so long ends."""
WAITING = 4096


class Workers:
    """At most `size` calls at once, the rest wait in order. Threads are made when they are needed. Thread-safe."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._calls: queue.Queue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._threads = self._started = self._free = 0
        self._closed = False

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Raises RuntimeError after shutdown, and queue.Full when WAITING calls wait already."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the threads {self._name} were told to end")
            self._calls.put_nowait((future, call, arguments))
            if self._free < self._calls.qsize() and self._threads < self._size:
                self._threads += 1
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = False) -> None:  # noqa: ARG002 # asked for by the scheduler; nobody waits here
        """Take nothing more; what waits is cancelled, what runs ends by itself."""
        with self._lock:
            self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()[0].cancel()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._free += 1
            try:
                item = self._calls.get(timeout=IDLE_S)
            except queue.Empty:
                item = None
            with self._lock:
                self._free -= 1
                if item is None and (self._closed or self._calls.empty()):
                    self._threads -= 1
                    return
            if item is not None:
                _settle(*item)
            del item


def _settle(future: Future[Any], call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(*arguments)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
