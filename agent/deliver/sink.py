"""One configured database: opens the right writer for the server found, and tells what each write came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from agent.config import Secret, SecretSource, SinkSettings
from agent.deliver.answer import Answer, Reply, classify
from agent.deliver.body import Body, compressed, plain
from agent.deliver.http import NetworkError, Transport
from agent.deliver.server import Server, recognise
from probes.core.errors import LocalError


class Writer(Protocol):
    def write(self, body: Body) -> Reply: ...
    def close(self) -> None: ...


class V1Writer:
    """The /write path of InfluxDB 1.x: plain line protocol, gzip, ns."""

    def __init__(self, transport: Transport, settings: SinkSettings) -> None:
        self._transport = transport
        parameters = {"db": settings.database or "", "precision": "ns"}
        if settings.retention_policy:
            parameters["rp"] = settings.retention_policy
        self._path = f"/write?{urlencode(parameters)}"
        self._headers = {
            "Content-Type": "text/plain; charset=utf-8",
            **authorization(settings),
        }

    def write(self, body: Body) -> Reply:
        headers = self._headers | {"Content-Encoding": body.encoding}
        response = self._transport.request("POST", self._path, body=body.data, headers=headers)
        return classify(response.status, response.headers, response.data)

    def close(self) -> None:
        """Nothing of its own to close."""


def authorization(settings: SinkSettings) -> dict[str, str]:
    """The Authorization header of plain requests: a token, or name and password. Raises LocalError."""
    if settings.token is not None:
        return {"Authorization": f"Token {read_token(settings.token).reveal()}"}
    if settings.username is None:
        return {}
    password = settings.password.read() if settings.password else Secret("")
    from base64 import b64encode

    pair = f"{settings.username}:{password.reveal()}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode('ascii')}"}


def read_token(source: SecretSource) -> Secret:
    """The token as it is now. Raises LocalError, also for one that no header can carry."""
    token = source.read()
    if not token.reveal().isascii():
        raise LocalError(f"the token in {source} has letters beyond ASCII", hint="copy it again from the server")
    return token


class Sink:
    """Opens lazily and anew after trouble that a changed token or a replaced server may end.

    A server that is only busy is asked nothing but what it refused: one request for each wait.
    """

    def __init__(self, settings: SinkSettings) -> None:
        self.settings = settings
        self._transport = Transport(settings.url, timeout_ns=settings.timeout_ns, ca_file=settings.ca_file)
        self.pack: Callable[[Iterable[bytes]], Body] = plain if _is_this_host(settings.url) else compressed
        """How lines become what is sent: to this host as they are, which spares both sides the work."""
        self._writer: Writer | None = None
        self._server: Server | None = None
        self._known = False
        """the server is the one recognised"""

    @property
    def server(self) -> Server | None:
        """What was recognised when the sink was opened."""
        return self._server

    @property
    def certificate_ns(self) -> int | None:
        """UTC end of the server's TLS certificate; None without TLS or before the first connection."""
        return self._transport.certificate_ns

    @property
    def keeps_text(self) -> bool:
        if self.settings.histograms is not None:
            return self.settings.histograms
        return self._server is not None and self._server.keeps_text

    def open(self) -> Reply | None:
        """Recognise the server and log in; None when ready to write, else why not."""
        if self._writer is not None:
            return None
        try:
            if not self._known:
                self._server = recognise(self._transport)
                self._known = True
            assert self._server is not None
            self._writer = self._open_writer(self._server)
        except NetworkError as error:
            return Reply(Answer.RETRY, str(error))
        except LocalError as error:
            return Reply(Answer.HOLD, str(error))
        return None

    def write(self, lines: str | Body) -> Reply:
        """One request. A sink that is not open answers why."""
        obstacle = self.open()
        if obstacle is not None or self._writer is None:
            return obstacle or Reply(Answer.RETRY, "the sink is not open")
        try:
            reply = self._writer.write(lines if isinstance(lines, Body) else self.pack((lines.encode("utf-8"),)))
        except NetworkError as error:
            reply = Reply(Answer.RETRY, str(error))
        if reply.answer is Answer.HOLD or reply.status is None:
            self._forget_writer()
            self._known = self._known and reply.status in (401, 403)
        return reply

    def cut(self) -> None:
        """From any thread: end what is under way; the sink takes nothing more."""
        self._transport.cut()

    def close(self) -> None:
        self._forget_writer()
        self._transport.close()

    def _forget_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open_writer(self, server: Server) -> Writer:
        api = server.api if self.settings.api == "auto" else self.settings.api
        if api == "v1":
            if not self.settings.database:
                raise LocalError(
                    f"sink {self.settings.name}: {server} needs a database", hint="set `database` for api v1"
                )
            return V1Writer(self._transport, self.settings)
        if not self.settings.bucket:
            raise LocalError(f"sink {self.settings.name}: {server} needs a bucket", hint="set `bucket` for api v2")
        from agent.deliver.influx_v2 import V2Writer

        token = read_token(self.settings.token) if self.settings.token else None
        return V2Writer(
            self._transport, self.settings.url, org=self.settings.org, bucket=self.settings.bucket, token=token
        )


def _is_this_host(url: str) -> bool:
    """True for loopback addresses and `localhost`."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
