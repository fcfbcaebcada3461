"""The way to a server: TLS that fails closed, no proxy from the environment, an end to every exchange."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.config import SecretSource, SinkSettings
from agent.deliver.answer import Answer as Outcome
from agent.deliver.http import MAXIMUM_BODY, NetworkError, Transport
from agent.deliver.sink import Sink
from probes.core.clock import MILLISECOND, SECOND
from tests.fakes.scripted_server import INFLUX_2, Answer, Misbehaviour, ScriptedServer

TLS = Path(__file__).parents[2] / "fakes" / "tls"


@pytest.fixture
def token(tmp_path: Path) -> SecretSource:
    path = tmp_path / "token"
    path.write_text("s3cr3t-token")
    path.chmod(0o600)
    return SecretSource(file=path)


def settings(url: str, api: str, token: SecretSource | None = None, ca: str | None = "ca.pem") -> SinkSettings:
    authority = TLS / ca if ca and url.startswith("https") else None
    return SinkSettings(
        "central", url, api, org="isp", bucket="sla", database="sla", token=token, ca_file=authority,
        timeout_ns=3 * SECOND,
    )  # fmt: skip


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_own_certificate_authority(token: SecretSource, api: str) -> None:
    with ScriptedServer([Answer()], reads=INFLUX_2, certificate=TLS / "good.pem") as server:
        sink = Sink(settings(server.url, api, token))
        assert sink.write("m a=1i 1").answer is Outcome.WRITTEN
        sink.close()
    assert server.stored == ["m a=1i 1"]
    assert server.writes[0].headers["authorization"] == "Token s3cr3t-token"


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("certificate", "ca", "words"),
    [
        ("wrong-name.pem", "ca.pem", "127.0.0.1"), ("expired.pem", "ca.pem", "expired"),
        ("good.pem", "other-ca.pem", "verify failed"), ("good.pem", None, "verify failed"),
    ],
)  # fmt: skip
def test_doubtful_server_is_told_nothing(
    token: SecretSource, api: str, certificate: str, ca: str | None, words: str
) -> None:
    with ScriptedServer([Answer()], reads=INFLUX_2, certificate=TLS / certificate) as server:
        sink = Sink(settings(server.url, api, token, ca))
        reply = sink.write("m a=1i 1")
        sink.close()
        assert reply.answer is Outcome.RETRY
        assert "TLS with 127.0.0.1" in reply.words
        assert words in reply.words
        assert server.asked == []


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, token: SecretSource, api: str
) -> None:
    with ScriptedServer([Answer()]) as trap, ScriptedServer([Answer()], reads=INFLUX_2) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, trap.url)
            monkeypatch.setenv(name.upper(), trap.url)
        sink = Sink(settings(server.url, api, token))
        assert sink.write("m a=1i 1").answer is Outcome.WRITTEN
        sink.close()
        assert trap.asked == []


def transport(url: str, milliseconds: int = 300) -> Transport:
    return Transport(url, timeout_ns=milliseconds * MILLISECOND, ca_file=TLS / "ca.pem" if url[4] == "s" else None)


@pytest.mark.parametrize("kind", ["stall", "drip", "cut", "half"])
def test_unfinished_answer_is_none(kind: str) -> None:
    with ScriptedServer([Misbehaviour(kind)]) as server:
        channel = transport(server.url)
        with pytest.raises(NetworkError, match=f"127.0.0.1:{server.port}"):
            channel.request("POST", "/write", body=b"x")
        assert channel.request("GET", "/ping").status == 204, "the next exchange is not disturbed"
        channel.close()


def test_body_without_end_is_cut_and_says_so() -> None:
    with ScriptedServer([Misbehaviour("endless")]) as server:
        channel = transport(server.url, 10_000)
        response = channel.request("POST", "/write", body=b"x")
        channel.close()
    assert (response.status, len(response.data), response.complete) == (400, MAXIMUM_BODY, False)


@pytest.fixture
def silent() -> Iterator[int]:
    """Takes connections, reads, says nothing; not even what TLS begins with."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            held = []
            while not stop.is_set():
                try:
                    held.append(listener.accept()[0])
                except TimeoutError:
                    continue
            for channel in held:
                channel.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_silent_server(silent: int, scheme: str) -> None:
    channel = transport(f"{scheme}://127.0.0.1:{silent}")
    with pytest.raises(NetworkError, match=f"127.0.0.1:{silent} did not answer within 0.3 s"):
        channel.request("GET", "/ping")
    channel.close()


def test_nobody_there() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(NetworkError, match=f"127.0.0.1:{port} cannot be reached: .*Connection refused"):
            transport(f"http://127.0.0.1:{port}").request("GET", "/ping")


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], str]]:
    """Names a port whose name has so many addresses that drop every packet, then 127.0.0.1; gives the URL."""
    with ExitStack() as stack:

        def choose(port: int, dead: int) -> str:
            hosts = [f"127.0.1.{number + 1}" for number in range(dead)]
            for host in hosts:
                # A queue of connections that is full: Linux drops what comes then, without an answer.
                full = stack.enter_context(socket.create_server((host, port), backlog=0))
                stack.enter_context(socket.create_connection(full.getsockname()))
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in (*hosts, "127.0.0.1")]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            return f"http://two-addresses.example:{port}"

        yield choose


def test_dead_address_before_a_good_one(resolved: Callable[[int, int], str]) -> None:
    with ScriptedServer([Answer()]) as server:
        channel = transport(resolved(server.port, 1), 1000)
        assert channel.request("POST", "/write", body=b"x").status == 204
        channel.close()


def test_answer_that_begins_after_the_deadline_has_no_time_to_drip(resolved: Callable[[int, int], str]) -> None:
    with ScriptedServer([Misbehaviour("drip")]) as server:
        channel = transport(resolved(server.port, 3))
        with pytest.raises(NetworkError, match=r"did not answer within 0.3 s"):
            channel.request("POST", "/write", body=b"x")
        assert server.asked == [], "too late to begin"
        channel.close()


@pytest.mark.parametrize("certificate", [None, TLS / "good.pem"])
@pytest.mark.parametrize("kind", ["stall", "drip"])
def test_cut_from_another_thread_ends_the_request_and_all_to_come(kind: str, certificate: Path | None) -> None:
    with ScriptedServer([Misbehaviour(kind)], certificate=certificate) as server:
        channel = transport(server.url, 300_000)
        words: list[str] = []

        def ask() -> None:
            for _ in range(2):
                try:
                    channel.request("POST", "/write", body=b"x")
                except NetworkError as error:
                    words.append(str(error))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        while not server.asked:
            threading.Event().wait(0.005)
        channel.cut()
        thread.join(30)
        assert not thread.is_alive()
        channel.close()
    where = f"127.0.0.1:{server.port}"
    assert words == [f"{where} had not answered when it was time to stop", f"{where} is not asked any more: stopping"]


def test_dripping_behind_tls_ends_like_any_other() -> None:
    with ScriptedServer([Misbehaviour("drip")], certificate=TLS / "good.pem") as server:
        channel = transport(server.url)
        with pytest.raises(NetworkError, match=r"did not answer within 0.3 s"):
            channel.request("POST", "/write", body=b"x")
        assert channel.request("GET", "/ping").status == 204
        channel.close()


@pytest.mark.parametrize(
    ("url", "encoding"),
    [
        ("http://127.0.0.1:8086", "identity"), ("http://127.8.9.1", "identity"), ("http://[::1]:8086", "identity"),
        ("https://localhost:8086/x", "identity"), ("http://192.0.2.7:8086", "gzip"), ("http://[2001:db8::1]", "gzip"),
        ("https://influx.example.net", "gzip"), ("http://localhost.example.net", "gzip"),
    ],
)  # fmt: skip
def test_only_what_leaves_this_host_is_compressed(url: str, encoding: str) -> None:
    assert Sink(SinkSettings("central", url, "v1", database="sla")).pack((b"m a=1i 1\n",)).encoding == encoding


class Names:
    """A name service that answers once `release` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]) -> None:
        self.release, self.asked, self._addresses, self._real = threading.Event(), 0, addresses, socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: str, *more: object, **named: object) -> list[object]:
        if host != "influx.example.net":
            return list(self._real(host, *more, **named))  # type: ignore[arg-type] # passed on
        self.asked += 1
        assert self.release.wait(60)
        return [item for address in self._addresses for item in self._real(address, more[0], **named)]  # type: ignore[arg-type, call-overload] # passed on


def test_a_name_that_nobody_answers_for_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, ("127.0.0.1",))
    with ScriptedServer([Answer()], reads=INFLUX_2) as server:
        transport = Transport(server.url.replace("127.0.0.1", "influx.example.net"), timeout_ns=100 * MILLISECOND)
        for _ in range(3):
            with pytest.raises(NetworkError, match="no name server has answered in time"):
                transport.request("GET", "/ping")
        assert names.asked == 1, "the look-up left behind is waited for, not made again"
        names.release.set()
        answered = None
        for _ in range(100):  # a busy host may need longer than the deadline
            try:
                answered = transport.request("GET", "/ping")
                break
            except NetworkError:
                continue
        assert answered is not None
        assert answered.status == 204
        transport.close()


def test_a_dead_address_of_a_name_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, ("127.0.0.2", "127.0.0.1"))
    names.release.set()
    with ScriptedServer([Answer()], reads=INFLUX_2) as server:
        transport = Transport(server.url.replace("127.0.0.1", "influx.example.net"), timeout_ns=10 * SECOND)
        assert transport.request("POST", "/write", body=b"m a=1i 1").status == 204
        transport.close()
    assert server.writes[0].headers["host"].startswith("influx.example.net:")
    assert names.asked == 1
