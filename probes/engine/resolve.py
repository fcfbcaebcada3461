"""Names to addresses in a few threads of their own, each look-up with a deadline: a slow resolver delays no stream."""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from typing import Final

from probes.core.clock import SECOND, Clock, SystemClock
from probes.core.errors import ResolutionError

_WAITING: Final = 1024
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}
Question = tuple[str, int | None, str | None]
"""name, family, the address to keep if the name still has it"""


class Resolver:
    """Asks the host's resolver (getaddrinfo). A question that is being asked already is not asked twice."""

    def __init__(self, workers: int = 4, timeout_s: float = 3.0, clock: Clock | None = None) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._timeout_ns = int(timeout_s * SECOND)
        self._questions: queue.Queue[Question | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._open: dict[Question, Future[str]] = {}
        self._deadlines: deque[tuple[int, Question, Future[str]]] = deque()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._threads = [
            threading.Thread(target=self._answer, name=f"linkwitness-resolve-{number}", daemon=True)
            for number in range(workers)
        ]
        self._threads.append(threading.Thread(target=self._expire, name="linkwitness-resolve-timer", daemon=True))
        for thread in self._threads:
            thread.start()

    def lookup(self, host: str, family: int | None, keep: str | None = None) -> Future[str]:
        """Numeric address of `host`; family 4 or 6, None takes IPv4 first. The future fails with ResolutionError.

        Of several addresses it is `keep` where that is among them: servers give them in turn, a path must not change.
        It is always settled within the timeout, even when the system's resolver hangs.
        """
        numeric = _numeric(host, family)
        if numeric is not None:
            return numeric
        question = (host, family, keep)
        with self._lock:
            if self._closing.is_set():
                return _failed(f"{host} was not looked up: the resolver is closed")
            known = self._open.get(question)
            if known is not None:
                return known
            future: Future[str] = Future()
            try:
                self._questions.put_nowait(question)
            except queue.Full:
                return _failed(f"{host} was not looked up: {_WAITING} names are waiting", "is the resolver down?")
            self._open[question] = future
            self._deadlines.append((self._clock.monotonic() + self._timeout_ns, question, future))
        self._wake.set()
        return future

    def close(self) -> None:
        """Fail what is open. A thread that hangs in the system's resolver is left behind; it is a daemon."""
        with self._lock:
            self._closing.set()
            unanswered = list(self._open.items())
            self._open.clear()
        self._wake.set()
        for (host, *_), future in unanswered:
            _settle(future, None, ResolutionError(f"{host} was not looked up: the resolver is closed"))
        for _ in self._threads:
            with contextlib.suppress(queue.Full):
                self._questions.put_nowait(None)

    def _answer(self) -> None:
        while (question := self._questions.get()) is not None and not self._closing.is_set():
            with self._lock:
                future = self._open.get(question)
            if future is None:
                continue  # it timed out before its turn
            try:
                address, error = resolve(*question), None
            except ResolutionError as failure:
                address, error = None, failure
            with self._lock:
                if self._open.get(question) is future:
                    del self._open[question]
            _settle(future, address, error)

    def _expire(self) -> None:
        """Questions come in the order of their deadlines: only the oldest matters."""
        while not self._closing.is_set():
            self._wake.clear()
            with self._lock:
                oldest = self._deadlines[0] if self._deadlines else None
            now = self._clock.monotonic()
            if oldest is None:
                self._clock.wait(self._wake, 3600 * SECOND)
                continue
            deadline, question, future = oldest
            if not future.done() and now < deadline:
                self._clock.wait(self._wake, deadline - now)
                continue
            with self._lock:
                self._deadlines.popleft()
                if self._open.get(question) is future:
                    del self._open[question]
            reason = f"{question[0]} was not resolved within {self._timeout_ns / SECOND:g} s"
            _settle(future, None, ResolutionError(reason, hint="is the resolver in /etc/resolv.conf reachable?"))


def resolve(host: str, family: int | None, keep: str | None = None) -> str:
    """Ask the system, however long it takes. Raises ResolutionError. Arguments as for `Resolver.lookup`."""
    try:
        found = socket.getaddrinfo(host, None, _FAMILIES[family], socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResolutionError(f"{host} cannot be resolved: {reason}", hint=f"try: getent ahosts {host}") from None
    found.sort(key=lambda entry: (entry[4][0] != keep, entry[0] != socket.AF_INET))
    for entry in found:
        if entry[0] in (socket.AF_INET, socket.AF_INET6):
            return str(entry[4][0])
    raise ResolutionError(f"{host} has no IPv4 or IPv6 address")


def _numeric(host: str, family: int | None) -> Future[str] | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    future: Future[str] = Future()
    if family is not None and version != family:
        future.set_exception(ResolutionError(f"{host} is not an IPv{family} address", hint=f"leave out -{family}"))
    else:
        future.set_result(host)
    return future


def _failed(message: str, hint: str = "") -> Future[str]:
    future: Future[str] = Future()
    future.set_exception(ResolutionError(message, hint=hint))
    return future


def _settle(future: Future[str], address: str | None, error: ResolutionError | None) -> None:
    with contextlib.suppress(InvalidStateError):  # the other of worker and timer was first, or the caller cancelled
        if address is not None:
            future.set_result(address)
        else:
            future.set_exception(error)
