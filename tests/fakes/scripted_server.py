"""An HTTP server that does what a test tells it, well-behaved or not, and remembers what it was asked.

Answers to reads (GET) are fixed; each write (POST) takes the next action of the script, the last one for ever.
"""

from __future__ import annotations

import gzip
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHUNK: Final = b"x" * 4096


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request as it came; `lines` is its body as line protocol."""

    method: str
    path: str
    headers: Mapping[str, str]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain answer. keep: what a database would have stored of the request."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def stores(self) -> bool:
        return 200 <= self.status <= 299


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """kind: stall (never answers) | drip (one header octet at a time) | endless (a body without end) | cut (stores,
    then closes before the answer) | half (closes in the middle of the answer)."""

    kind: str

    @property
    def stores(self) -> bool:
        return self.kind in ("cut", "half", "endless")


Action = Answer | Misbehaviour
Script = Sequence[Action] | Callable[[Request], Action]

INFLUX_1: Final = {"X-Influxdb-Version": "1.6.7", "Date": "Mon, 01 Jan 2024 00:00:00 GMT"}
INFLUX_2: Final = {"X-Influxdb-Version": "v2.7.5"}


class ScriptedServer:
    """Use as a context manager. `stored`: lines of the writes that were accepted; `asked`: all requests."""

    def __init__(
        self, script: Script, *, reads: Mapping[str, str] | None = None, certificate: Path | None = None
    ) -> None:
        self.stored: list[str] = []
        self.asked: list[Request] = []
        self._script, self._reads = script, dict(INFLUX_1 if reads is None else reads)
        self._turn = 0
        self._lock = threading.Lock()
        self.released = threading.Event()
        outer = self
        tls = None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)

        class Handler(socketserver.StreamRequestHandler):
            def setup(self) -> None:
                if tls is not None:
                    self.request = tls.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                try:
                    while outer._serve(self.rfile, self.connection):
                        continue
                except OSError:
                    return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A client that refuses our certificate is no error of the server."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> ScriptedServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def writes(self) -> list[Request]:
        with self._lock:
            return [request for request in self.asked if request.method == "POST"]

    def _serve(self, reader: Iterator[bytes], channel: socket.socket) -> bool:
        request = _read(reader)
        if request is None:
            return False
        with self._lock:
            self.asked.append(request)
        if request.method == "GET":
            status = 204 if request.path.startswith("/ping") else 404
            channel.sendall(_rendered(Answer(status, self._reads)))
            return True
        action = self._next(request)
        if action.stores:
            with self._lock:
                self.stored.extend(request.lines)
        if isinstance(action, Answer):
            channel.sendall(_rendered(action))
            return True
        self._misbehave(action.kind, channel)
        return False

    def _next(self, request: Request) -> Action:
        if callable(self._script):
            return self._script(request)
        with self._lock:
            place, self._turn = min(self._turn, len(self._script) - 1), self._turn + 1
        return self._script[place]

    def _misbehave(self, kind: str, channel: socket.socket) -> None:
        if kind == "stall":
            self.released.wait(30)
        elif kind == "drip":
            channel.sendall(b"HTTP/1.1 204 No Content\r\nX-Drip: ")
            while not self.released.wait(0.05):
                channel.sendall(b"x")
        elif kind == "endless":
            channel.sendall(b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not self.released.is_set():
                channel.sendall(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
        elif kind == "half":
            channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def _read(reader: Iterator[bytes]) -> Request | None:
    first = reader.readline(65_536).decode("latin-1").split()  # type: ignore[attr-defined]
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline(65_536).decode("latin-1").strip():  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))  # type: ignore[attr-defined]
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Request(first[0], first[1], headers, tuple(body.decode("utf-8").splitlines()))


def _rendered(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    if answer.status == 204:
        del headers["Content-Length"]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Whatever\r\n{head}\r\n".encode("latin-1") + answer.body
