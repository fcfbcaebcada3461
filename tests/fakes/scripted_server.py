"""An HTTP server that does what a test tells it, well-behaved or not, and remembers what it was asked.

Answers to reads (GET) are fixed; each write (POST) takes the next action of the script, the last one for ever.
"""

from __future__ import annotations

import gzip
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHUNK: Final = b"x" * 4096
NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\n"
BOMB: Final = gzip.compress(bytes(64 << 20), 9)
BEGINNINGS: Final = {
    "stall in status": b"HTTP/1.1 20",
    "stall in headers": NO_CONTENT + b"Date: x\r\n",
    "stall in body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "stall in chunk": b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nhalf",
    "drip": NO_CONTENT + b"X-Drip: ",
    "drip in body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    "drip in chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    "endless": b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n",
    "endless busy": b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n",
    "endless to the end": b"HTTP/1.1 500 Broken\r\n\r\n",
    "endless headers": NO_CONTENT,
    "endless header": NO_CONTENT + b"X-Long: ",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "half in headers": b"HTTP/1.1 204 No Con",
    "lie": b"HTTP/1.1 503 Busy\r\nContent-Length: 999999999999\r\n\r\nbusy",
    "negative": b"HTTP/1.1 503 Busy\r\nContent-Length: -7\r\n\r\nbusy",
    "bomb": b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    "no gzip": b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbusy",
    "two answers": NO_CONTENT + b"\r\n" + NO_CONTENT + b"\r\n",
    "garbage": bytes(range(256)) * 8,
    "other protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "alert of TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "no such version": b"HTTP/9.9 204 No Content\r\n\r\n",
    "no such status": b"HTTP/1.1 99999 What\r\n\r\n",
    "zeros": bytes(70_000),
}
"""What is sent first. Kinds that are not here send nothing before they close: "nothing", "cut", "stall"."""
REPEATED: Final = {
    "endless": b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK),
    "endless busy": b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK),
    "endless to the end": CHUNK,
    "endless headers": b"X-More: and more\r\n",
    "endless header": CHUNK,
    "endless continue": b"HTTP/1.1 100 Continue\r\n\r\n",
}


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
    """An answer that is none. keeps: whether a database would have stored the request; None decides by the kind.

    kind: what is sent before the connection is closed, or for ever; see _misbehave.
    """

    kind: str
    keeps: bool | None = None

    @property
    def stores(self) -> bool:
        return self.kind in ("cut", "half", "endless") if self.keeps is None else self.keeps


Action = Answer | Misbehaviour
Script = Sequence[Action] | Callable[[Request], Action]

INFLUX_1: Final = {"X-Influxdb-Version": "1.6.7", "Date": "Mon, 01 Jan 2024 00:00:00 GMT"}
INFLUX_2: Final = {"X-Influxdb-Version": "v2.7.5"}


class ScriptedServer:
    """Use as a context manager. `stored`: lines of the writes that were accepted; `asked`: all requests."""

    def __init__(
        self,
        script: Script,
        *,
        reads: Mapping[str, str] | None = None,
        certificate: Path | None = None,
        port: int = 0,
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

        self._server = Server(("127.0.0.1", port), Handler)
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
            channel.sendall(_rendered(self.answer_read(request)))
            return True
        action = self._next(request)
        if action.stores:
            self._keep(request)
        if isinstance(action, Answer):
            channel.sendall(_rendered(action))
            self._answered(request, action)
            return True
        self._misbehave(action.kind, channel)
        return False

    def answer_read(self, request: Request) -> Answer:
        """To a GET."""
        return Answer(204 if request.path.startswith("/ping") else 404, self._reads)

    def _answered(self, request: Request, action: Action) -> None:
        """After the answer to a write was sent."""

    def _keep(self, request: Request) -> None:
        with self._lock:
            self.stored.extend(request.lines)

    def _next(self, request: Request) -> Action:
        if callable(self._script):
            return self._script(request)
        with self._lock:
            place, self._turn = min(self._turn, len(self._script) - 1), self._turn + 1
        return self._script[place]

    def _misbehave(self, kind: str, channel: socket.socket) -> None:
        if kind == "reset":
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            channel.close()
            return
        channel.sendall(BEGINNINGS.get(kind, b""))
        if kind.startswith("stall"):
            self.released.wait(30)
        elif kind.startswith("drip"):
            while not self.released.wait(0.05):
                channel.sendall(b"x")
        elif kind in REPEATED:
            while not self.released.is_set():
                channel.sendall(REPEATED[kind])


def _read(reader: Iterator[bytes]) -> Request | None:
    first = reader.readline(65_536).decode("latin-1").split()  # type: ignore[attr-defined]
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline(65_536).decode("latin-1").strip():  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    body = reader.read(length)  # type: ignore[attr-defined]
    if len(body) < length:
        return None  # as every real server does: half a request is none
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Request(first[0], first[1], headers, tuple(body.decode("utf-8").splitlines()))


def _rendered(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    if answer.status == 204:
        del headers["Content-Length"]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Whatever\r\n{head}\r\n".encode("latin-1") + answer.body
