"""The far end of the throughput probe: guards first, then one test at a time.

Order of the guards: allow-list, rate of the source, room for one more undecided connection, three seconds to say one
valid message. Only then does anything happen, so a plain connect and close costs one accept (the tcp probe may use this
port as its target). One thread decides on connections, one more runs the test, never more.

Every accepted connection is counted under `in` and under exactly one other name, so at any moment
in = answered_* + dropped_* + open.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError, PacketError, PrivilegeError
from probes.engine.bulk import say
from probes.engine.connection import milliseconds_until
from probes.reflect.admission import AllowList, SourceRate, source_of
from probes.reflect.session import Session
from probes.wire import throughput
from probes.wire.throughput import Accept, Cause, Hello, Join, Refuse

_SILENCE: Final = 3 * SECOND
_UNDECIDED: Final = 64
_MAXIMUM_BYTES: Final = 100 * 10**9
_TICK: Final = 500 * MILLISECOND

ANSWERED: Final = ("answered_test", "answered_stream", "answered_busy", "answered_refused", "answered_connect_only")
DROPPED: Final = (
    "dropped_source", "dropped_rate", "dropped_full", "dropped_silent", "dropped_malformed", "dropped_token",
    "dropped_error", "dropped_closing",
)  # fmt: skip
_BESIDE: Final = ("accept_errors", "tests_completed", "tests_cut_short", "received_bytes", "sent_bytes")


@dataclass(slots=True)
class _Undecided:
    connection: socket.socket
    descriptor: int
    until_ns: int
    data: bytes = field(default=b"")


class Responder:
    """Listens on `listen` (numeric; "::" takes IPv4 too) and `port` (0: any) once started."""

    def __init__(
        self,
        listen: str,
        port: int,
        *,
        allow: Sequence[str],
        maximum_duration_s: int = 60,
        maximum_bytes: int = _MAXIMUM_BYTES,
        rate_per_source: int = 50,
        clock: Clock,
    ) -> None:
        self._listen = listen.strip("[]")
        self._port = port
        self._allow = AllowList(allow)
        self._maximum_ns = maximum_duration_s * SECOND
        self._maximum_bytes = maximum_bytes
        self._rate = SourceRate(rate_per_source, 2 * rate_per_source)
        self._clock = clock
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(("in", *ANSWERED, *DROPPED, "open", *_BESIDE), 0)
        self._undecided: dict[int, _Undecided] = {}
        self._listener: socket.socket | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._session: tuple[Session, threading.Thread] | None = None
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        """The port in use; the one asked for until started."""
        return self._port

    def counters(self) -> Mapping[str, int]:
        """A consistent copy. The test in progress is in received_bytes and sent_bytes only when it is over."""
        with self._lock:
            return dict(self._counters)

    def start(self) -> None:
        """Listen and answer. Raises LocalError when the port cannot be had."""
        self._listener = _listening(self._listen, self._port)
        self._port = self._listener.getsockname()[1]
        self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="responder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; a test in progress is cut short."""
        self._closing.set()
        if self._wake is None or self._thread is None:
            return
        with contextlib.suppress(OSError):
            self._wake[1].send(b"\0")
        self._thread.join(5)
        session = self._session
        if session is not None:
            session[0].abort()
            session[1].join(10)
        for end in self._wake:
            end.close()

    def _serve(self) -> None:
        assert self._listener is not None
        assert self._wake is not None
        listener, wake = self._listener, self._wake[0]
        with listener:
            while not self._closing.is_set():
                poll = select.poll()
                for watched in (listener, wake, *(entry.connection for entry in self._undecided.values())):
                    poll.register(watched, select.POLLIN)
                until = min(
                    (entry.until_ns for entry in self._undecided.values()), default=self._clock.monotonic() + _TICK
                )
                for descriptor, _ in poll.poll(milliseconds_until(until, self._clock)):
                    if descriptor == listener.fileno():
                        self._accept(listener)
                    elif descriptor in self._undecided:
                        self._read(self._undecided[descriptor])
                now = self._clock.monotonic()
                for entry in [entry for entry in self._undecided.values() if entry.until_ns <= now]:
                    self._drop(entry, "dropped_silent" if not entry.data else "dropped_malformed")
            for entry in list(self._undecided.values()):
                self._drop(entry, "dropped_closing")

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_UNDECIDED):
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._count(accept_errors=1)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._clock.wait(self._closing, 100 * MILLISECOND)  # the backlog stays readable: do not spin
                    return
                continue
            source = source_of(address)
            now = self._clock.monotonic()
            refusal = None
            if source not in self._allow:
                refusal = "dropped_source"
            elif not self._rate.admit(source, now):
                refusal = "dropped_rate"
            elif len(self._undecided) >= _UNDECIDED:
                refusal = "dropped_full"
            if refusal is not None:
                connection.close()  # in order: a reset would make a connect probe's outcome a matter of luck
                self._count(**{"in": 1, refusal: 1})
                continue
            connection.setblocking(False)
            number = connection.fileno()
            self._undecided[number] = _Undecided(connection, number, now + _SILENCE)
            self._count(**{"in": 1, "open": 1})

    def _read(self, entry: _Undecided) -> None:
        try:
            part = entry.connection.recv(throughput.SIZE - len(entry.data))
        except BlockingIOError:
            return
        except OSError:
            part = b""
        entry.data += part
        if not part:
            if entry.data:
                self._drop(entry, "dropped_malformed")
            else:
                self._decided(entry, "answered_connect_only").close()
        elif len(entry.data) == throughput.SIZE:
            self._decide(entry)

    def _decide(self, entry: _Undecided) -> None:
        try:
            message = throughput.decode(entry.data)
        except PacketError:
            self._drop(entry, "dropped_malformed")
            return
        if isinstance(message, Hello):
            self._hello(entry, message)
        elif isinstance(message, Join):
            session = self._session
            if session is not None and session[0].join(message, entry.connection):
                self._decided(entry, "answered_stream")
            else:
                self._drop(entry, "dropped_token")
        else:
            self._drop(entry, "dropped_malformed")

    def _hello(self, entry: _Undecided, hello: Hello) -> None:
        refuse = None
        if hello.duration_ns > self._maximum_ns:
            refuse = Refuse(hello.nonce, Cause.DURATION, self._maximum_ns)
        elif hello.limit_bytes > self._maximum_bytes:
            refuse = Refuse(hello.nonce, Cause.BYTES, self._maximum_bytes)
        elif self._session is not None:
            refuse = Refuse(hello.nonce, Cause.BUSY)
        if refuse is not None:
            name = "answered_busy" if refuse.cause is Cause.BUSY else "answered_refused"
            said = say(entry.connection, refuse)
            self._decided(entry, name if said else "dropped_error").close()
            return
        session = Session(entry.connection, hello, maximum_bytes=self._maximum_bytes, clock=self._clock)
        if not say(entry.connection, Accept(hello.nonce, session.token)):
            self._drop(entry, "dropped_error")
            return
        thread = threading.Thread(target=self._run, args=(session,), name="responder-test", daemon=True)
        self._session = (session, thread)
        self._decided(entry, "answered_test")
        thread.start()

    def _run(self, session: Session) -> None:
        try:
            session.run()
        finally:
            self._count(
                received_bytes=session.received_bytes,
                sent_bytes=session.sent_bytes,
                **{"tests_completed" if session.completed else "tests_cut_short": 1},
            )
            self._session = None
            # Last of all: the initiator waits for this, so that its next test does not find us busy.
            session.close()

    def _decided(self, entry: _Undecided, counter: str) -> socket.socket:
        del self._undecided[entry.descriptor]
        self._count(**{counter: 1, "open": -1})
        return entry.connection

    def _drop(self, entry: _Undecided, counter: str) -> None:
        self._decided(entry, counter).close()

    def _count(self, **changes: int) -> None:
        with self._lock:
            for name, change in changes.items():
                self._counters[name] += change


def _listening(listen: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            listen, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise LocalError(f"{listen!r} is not an address to listen on", hint="like 0.0.0.0 or ::") from None
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(128)
    except PermissionError:
        listener.close()
        raise PrivilegeError(f"not permitted to listen on port {port}", hint="use a port above 1023") from None
    except OSError as error:
        listener.close()
        raise LocalError(
            f"cannot listen on {listen} port {port}: {error.strerror}", hint="is another responder running?"
        ) from None
    return listener
