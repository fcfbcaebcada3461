"""A TWAMP server that does as it is told, on loopback: answers, refuses, stalls, cuts off, lies."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from types import TracebackType

from probes.wire import twamp_control as tc

Step = bytes | type[tc.Message]
"""octets to say, or the message to wait for"""

CLOSE = b"close"
RESET = b"reset"
GREETING = tc.encode(tc.Greeting(tc.Mode.UNAUTHENTICATED | tc.Mode.ENCRYPTED, 1024))
START = tc.encode(tc.ServerStart(0, 1 << 32))
ACK = tc.encode(tc.StartAck(0))
STOP = tc.encode(tc.StopSessions())


def accept(port: int, answer: int = 0) -> bytes:
    return tc.encode(tc.AcceptSession(answer, port, b"session-of-ours."))


def willing(port: int, *more: Step) -> list[Step]:
    """All that leads to a session on this port, and what comes then."""
    return [
        GREETING, tc.SetUpResponse, START, tc.RequestSession, accept(port), tc.StartSessions, ACK, *more,
    ]  # fmt: skip


class ScriptedServer:
    """Follows one script per connection, in order; after the script it waits for the client to close."""

    def __init__(self, *scripts: Sequence[Step], chunk: int | None = None, host: str = "127.0.0.1") -> None:
        """chunk: say no more octets at once."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port = int(self._listener.getsockname()[1])
        self.host, self._scripts, self._chunk = host, scripts, chunk
        self.heard: list[tc.Message] = []
        self.ends: list[str] = []
        """how each connection ended: by us, or `eof` from the client"""
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self.ends.append(self._follow(connection, script))

    def _follow(self, connection: socket.socket, script: Sequence[Step]) -> str:
        for step in script:
            if step == CLOSE:
                return "closed"
            if step == RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return "reset"
            if isinstance(step, bytes):
                self._say(connection, step)
            elif (message := self._hear(connection, step)) is not None:
                self.heard.append(message)
            else:
                return "eof"
        try:
            while connection.recv(1):
                pass
        except OSError:
            return "held"
        return "eof"

    def _say(self, connection: socket.socket, data: bytes) -> None:
        size = self._chunk or len(data)
        for at in range(0, len(data), size):
            connection.sendall(data[at : at + size])

    def _hear(self, connection: socket.socket, kind: type[tc.Message]) -> tc.Message | None:
        data = b""
        while len(data) < tc.SIZES[kind]:
            try:
                more = connection.recv(tc.SIZES[kind] - len(data))
            except OSError:
                return None
            if not more:
                return None
            data += more
        return tc.decode(kind, data)
