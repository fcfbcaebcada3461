"""HTTP to one server: bounded in time and size, no redirects, no proxies, TLS verified. The module of urllib3."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, Final

import urllib3
from urllib3.util import parse_url

from agent.deliver.resolving import Resolver
from probes.core.clock import SECOND

MAXIMUM_BODY: Final = 64 * 1024
MAXIMUM_READ_BACK: Final = 64 * 1024 * 1024


class NetworkError(Exception):
    """The server was not reached, or the exchange did not end as it should. The text is for people."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; `data` is cut at the limit asked for."""

    status: int
    reason: str
    headers: Mapping[str, str]
    data: bytes
    complete: bool = True

    def getheaders(self) -> Mapping[str, str]:
        """As influxdb-client wants to read them."""
        return self.headers


class Transport:
    """One connection, kept alive. `request` ends within timeout_ns whatever the server does. One thread at a time.

    Connecting may take half of that for each address of the server's name, so that one dead address is survived.
    """

    def __init__(self, url: str, *, timeout_ns: int, ca_file: Path | None = None) -> None:
        self._base = parse_url(url)
        self._seconds = timeout_ns / SECOND
        tls: dict[str, Any] = {}
        if self._base.scheme == "https":
            tls = {"cert_reqs": "CERT_REQUIRED", "ca_certs": str(ca_file) if ca_file else None}
        self._pool = urllib3.connection_from_url(url, maxsize=1, retries=False, **tls)
        self._sockets: set[socket.socket] = set()
        self._resolver = Resolver()
        self._expired = threading.Event()
        """of the request under way"""
        self._cut = False
        self.certificate_ns: int | None = None
        """UTC end of the server's TLS certificate, once there was a connection"""
        self._watch_connections()

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = MAXIMUM_BODY,
        **_ignored: object,
    ) -> Response:
        """target: path with query, or a URL of this server. Raises NetworkError."""
        path = target if target.startswith("/") else parse_url(target).request_uri
        expired = self._expired = threading.Event()
        if self._cut:
            raise NetworkError(f"{self._where()} is not asked any more: stopping")
        timer = threading.Timer(self._seconds, self._expire, (expired,))
        timer.daemon = True
        timer.start()
        try:
            response = self._exchange(method, path, body, headers, limit)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NetworkError(self._words(error, expired.is_set())) from None
        finally:
            timer.cancel()
        if expired.is_set():
            # Cut in the middle of its headers, an answer looks whole to http.client: it is none.
            raise NetworkError(self._words(TimeoutError(), True))
        return response

    def cut(self) -> None:
        """From any thread: end the request under way now, and refuse all to come."""
        self._cut = True
        self._expire(self._expired)

    def close(self) -> None:
        self._pool.close()

    def _exchange(
        self, method: str, path: str, body: bytes | str | None, headers: Mapping[str, str] | None, limit: int
    ) -> Response:
        timeout = urllib3.Timeout(connect=self._seconds / 2, read=self._seconds)
        answer = self._pool.urlopen(
            method, path, body=body, headers=dict(headers or {}), retries=False, redirect=False, timeout=timeout,
            preload_content=False,
        )  # fmt: skip
        try:
            data = b""
            while len(data) <= limit:
                chunk = answer.read1(65_536)
                if not chunk:
                    answer.release_conn()
                    return Response(answer.status, answer.reason or "", answer.headers, data)
                data += chunk
            answer.close()
            return Response(answer.status, answer.reason or "", answer.headers, data[:limit], complete=False)
        except BaseException:
            answer.close()
            raise

    def _watch_connections(self) -> None:
        """Remember the open socket, so that the deadline can cut even a server that drips its headers."""
        transport, sockets, plain = self, self._sockets, self._pool.ConnectionCls

        class Watched(plain):  # type: ignore[misc, valid-type] # the class is chosen by scheme at run time
            response_class = _WholeHead
            host: str

            def _new_conn(self) -> socket.socket:
                """As urllib3's, to each address in turn: its own look-up of the name knows no deadline."""
                name: str = getattr(self, "_dns_host", self.host)  # with its last dot, if it has one
                expired = transport._expired
                try:
                    found = transport._resolver.addresses(name.strip("[]"), self.port, expired.is_set)
                except socket.gaierror as error:
                    raise urllib3.exceptions.NameResolutionError(name, self, error) from None
                try:
                    return self._first_of(found, expired)
                finally:
                    self.host = name  # what its certificate must be for

            def _first_of(self, addresses: Sequence[str], expired: threading.Event) -> socket.socket:
                for number, address in enumerate(addresses, 1):
                    self.host = address
                    try:
                        channel: socket.socket = super()._new_conn()
                    except urllib3.exceptions.HTTPError:
                        if number == len(addresses) or expired.is_set():
                            raise
                    else:
                        return channel
                raise TimeoutError

            def connect(self) -> None:
                super().connect()
                self.sock.settimeout(transport._seconds)
                sockets.add(self.sock)
                if isinstance(self.sock, ssl.SSLSocket):
                    transport.certificate_ns = _end_of_certificate(self.sock)
                if transport._expired.is_set():
                    # The deadline passed while connecting: nothing would cut what follows.
                    raise TimeoutError

            def close(self) -> None:
                sockets.discard(self.sock)
                super().close()

        self._pool.ConnectionCls = Watched

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        for channel in list(self._sockets):
            try:
                # Not TLS's own shutdown, which would leave the reading thread on the bare octets.
                socket.socket.shutdown(channel, socket.SHUT_RDWR)
            except OSError:
                continue

    def _words(self, error: Exception, expired: bool) -> str:
        where = self._where()
        if self._cut:
            return f"{where} had not answered when it was time to stop"
        if isinstance(error, urllib3.exceptions.NameResolutionError):
            return f"{where} cannot be reached: {str(error).rpartition(': ')[2]}"
        # urllib3 counts a refused connection among its time-outs.
        refused = isinstance(error, urllib3.exceptions.NewConnectionError)
        if expired or (isinstance(error, urllib3.exceptions.TimeoutError) and not refused):
            return f"{where} did not answer within {self._seconds:g} s"
        if isinstance(error, urllib3.exceptions.SSLError):
            return f"TLS with {where} failed: {error}"
        cause = getattr(error, "reason", None) or error.__cause__ or error
        if refused:
            cause = str(error).rpartition(": ")[2]
        return f"{where} cannot be reached: {cause}"

    def _where(self) -> str:
        return f"{self._base.host}:{self._base.port or (443 if self._base.scheme == 'https' else 80)}"


def _end_of_certificate(channel: ssl.SSLSocket) -> int | None:
    ends = (channel.getpeercert() or {}).get("notAfter")
    try:
        return ssl.cert_time_to_seconds(ends) * SECOND if isinstance(ends, str) else None
    except ValueError:
        return None


class _WholeHead(HTTPResponse):
    """An answer whose head must have come to its end: http.client takes "HTTP/1.1 204 No" before a cut for one."""

    def begin(self) -> None:
        plain = self.fp
        self.fp = _WholeLines(plain)  # type: ignore[assignment] # begin reads lines only
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp = plain


class _WholeLines:
    """Lines of a head; an end in the middle of it is an error, before it http.client's affair."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._begun = stream, False

    def readline(self, limit: int) -> bytes:
        line: bytes = self._stream.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit and (line or self._begun):
            raise IncompleteRead(line)
        self._begun = True
        return line

    def close(self) -> None:
        self._stream.close()
