"""Sessions with a TWAMP server over real sockets: agreed, refused, stalled, cut off, lied to; and the recorded one."""

import errno
import os
import socket
import time
from collections.abc import Callable, Sequence

import pytest

from probes.core.catalog import Declined, FlowTarget
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.engine import twamp_session
from probes.engine.twamp_session import TwampSession, arrange
from probes.wire import twamp_control as tc
from probes.wire.twamp_dialogue import Dialogue
from tests.fakes.twamp_server import (
    ACK,
    CLOSE,
    GREETING,
    RESET,
    START,
    STOP,
    ScriptedServer,
    Step,
    accept,
    willing,
)

SIZE = 100


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine answers loopback within this; a stall costs no more."""
    monkeypatch.setattr(twamp_session, "STEP_NS", SECOND)


def ask(server: ScriptedServer, dscp: int = 0) -> TwampSession | Declined:
    target = FlowTarget("circuit", "twamp", "server.example", server.host, dscp=dscp)
    parameters = {"port": server.port, "size": SIZE, "timeout": 3 * SECOND}
    return arrange(target, parameters, 40_000, SystemClock())


def agreed(server: ScriptedServer, dscp: int = 0) -> TwampSession:
    found = ask(server, dscp)
    assert isinstance(found, TwampSession), found
    return found


def ending(session: TwampSession) -> str:
    """Why it is over, which it soon is."""
    for _ in range(500):
        if (reason := session.ended()) is not None:
            return reason
        time.sleep(0.01)  # what the server says is on its way through the kernel
    raise AssertionError("the session goes on")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_session_is_agreed_used_and_given_back(host: str) -> None:
    with ScriptedServer(willing(19_111, tc.StopSessions), host=host) as server:
        session = agreed(server, dscp=46)
        assert session.port == 19_111
        assert session.ended() is None
        session.close()
        assert session.ended() == "closed"
        session.close()
    assert [type(message) for message in server.heard] == [
        tc.SetUpResponse, tc.RequestSession, tc.StartSessions, tc.StopSessions,
    ]  # fmt: skip
    set_up, request, _, stop = server.heard
    assert set_up == tc.SetUpResponse(1)
    assert stop == tc.StopSessions(0, 1)
    assert isinstance(request, tc.RequestSession)
    assert (request.family, request.sender_port, request.dscp) == (6 if ":" in host else 4, 40_000, 46)
    assert request.padding == SIZE - 14
    assert request.timeout == 3 << 32
    assert server.ends == ["eof"]


def test_octets_may_come_one_by_one() -> None:
    with ScriptedServer(willing(19_111), chunk=1) as server:
        agreed(server).close()


def test_the_port_of_the_answer_counts_not_the_one_that_was_asked_for() -> None:
    with ScriptedServer(willing(50_123)) as server:
        session = agreed(server)
        assert isinstance(server.heard[1], tc.RequestSession)
        assert (session.port, server.heard[1].receiver_port) != (server.heard[1].receiver_port, session.port)
        session.close()


def test_a_port_that_is_offered_with_a_refusal_is_asked_for_once() -> None:
    script: list[Step] = [
        GREETING, tc.SetUpResponse, START, tc.RequestSession, accept(20_001, 1), tc.RequestSession, accept(20_001),
        tc.StartSessions, ACK,
    ]  # fmt: skip
    with ScriptedServer(script) as server:
        session = agreed(server)
        assert session.port == 20_001
        assert isinstance(server.heard[2], tc.RequestSession)
        assert server.heard[2].receiver_port == 20_001
        session.close()


def test_a_server_that_goes_on_refusing_is_asked_twice_at_most() -> None:
    again: list[Step] = [
        GREETING, tc.SetUpResponse, START, tc.RequestSession, accept(20_001, 1), tc.RequestSession, accept(20_002, 4),
        tc.RequestSession,
    ]  # fmt: skip
    with ScriptedServer(again) as server:
        assert ask(server) == Declined("TWAMP control: AcceptSession: permanent resource limitation")
    assert len(server.heard) == 3


@pytest.mark.parametrize(
    ("script", "reason", "hint"),
    [
        ([tc.encode(tc.Greeting(0))], "offers this host no mode", "allow this host"),
        ([tc.encode(tc.Greeting(6))], "only authenticated, encrypted", "permit unauthenticated"),
        ([GREETING, tc.SetUpResponse, tc.encode(tc.ServerStart(3))], "ServerStart: something that was asked", ""),
        (
            [GREETING, tc.SetUpResponse, START, tc.RequestSession, accept(0, 5)],
            "AcceptSession: temporary resource limitation", "",
        ),
        ([GREETING, tc.SetUpResponse, START, tc.RequestSession, accept(0)], "accepted, but on port 0", ""),
        ([*willing(19_111)[:-1], tc.encode(tc.StartAck(77))], "StartAck: unknown answer 77", ""),
    ],
)  # fmt: skip
def test_refusals(script: Sequence[Step], reason: str, hint: str) -> None:
    with ScriptedServer(script) as server:
        found = ask(server)
    assert isinstance(found, Declined)
    assert reason in found.reason
    assert hint in found.hint
    assert server.ends == ["eof"], "the connection is given back"


@pytest.mark.parametrize("said", [0, 2, 4, 6])
def test_a_server_that_stalls_is_given_up_in_time(said: int) -> None:
    waiting = ("the greeting", "Server-Start", "Accept-Session", "Start-Ack")[said // 2]
    began = time.monotonic()
    with ScriptedServer(willing(19_111)[:said]) as server:
        found = ask(server)
        assert isinstance(found, Declined)
        assert f"no answer in time while waiting for {waiting}" in found.reason
        assert "port of a TWAMP server" in found.hint
    assert time.monotonic() - began < 30, "one step, not all of them"


def test_a_server_that_speaks_in_drips_is_given_up_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each octet comes in time, all of it does not."""
    monkeypatch.setattr(twamp_session, "WHOLE_NS", 300 * MILLISECOND)
    with ScriptedServer([GREETING[:20]]) as server:
        found = ask(server)
        assert isinstance(found, Declined)
        assert "no answer in time" in found.reason


@pytest.mark.parametrize("cut", [[CLOSE], [RESET]], ids=["closed", "reset"])
@pytest.mark.parametrize("said", [0, 2, 4, 6])
def test_a_server_that_cuts_the_connection(said: int, cut: Sequence[Step]) -> None:
    script = willing(19_111)
    before = script[:said] if said else []
    with ScriptedServer([*before, *cut]) as server:
        found = ask(server)
    assert isinstance(found, Declined)
    assert any(word in found.reason for word in ("closed the control connection", "reset", "Broken pipe")), found


def test_a_message_that_ends_half_way() -> None:
    with ScriptedServer([GREETING[:63], CLOSE]) as server:
        found = ask(server)
    assert isinstance(found, Declined)
    assert "closed the control connection while waiting for the greeting" in found.reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".ljust(64, b" ")], "TWAMP control"),
        ([b"220 mail.example ESMTP\r\n"], "no answer in time"),
        ([GREETING + b"and more than that", tc.SetUpResponse], "out of turn"),
        ([bytes(12) + b"\0\0\0\1" + bytes(48) + bytes(9000)], "octets"),
    ],
)
def test_something_else_listens_on_the_port(script: Sequence[Step], reason: str) -> None:
    with ScriptedServer(script) as server:
        found = ask(server)
    assert isinstance(found, Declined)
    assert reason in found.reason


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    target = FlowTarget("circuit", "twamp", "server.example", "127.0.0.1")
    found = arrange(target, {"port": port, "size": SIZE, "timeout": SECOND}, 40_000, SystemClock())
    assert found == Declined(
        "TWAMP control: connection refused by 127.0.0.1", "the TWAMP server must be reachable by TCP on this port"
    )


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ([STOP], "the server has stopped the session"),
        ([CLOSE], "closed the control connection while running"),
        ([RESET], "control connection lost: Connection reset by peer"),
        ([b"\x05" + bytes(31)], "command 5 where 3 was due"),
        ([STOP[:9], CLOSE], "closed the control connection while running"),
    ],
)
def test_a_session_ends_with_its_control_connection(more: Sequence[Step], reason: str) -> None:
    with ScriptedServer(willing(19_111, *more)) as server:
        session = agreed(server)
        assert reason in ending(session)
        assert reason in (session.ended() or ""), "it stays so"
        session.close()


def test_tcp_asks_a_silent_server_for_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message keeps the connection alive, TCP does; an outage does not end it, nor does an ICMP error."""
    with ScriptedServer(willing(19_111)) as server:
        kept: list[socket.socket] = []
        negotiate = twamp_session._negotiate
        see: Callable[..., TwampSession] = lambda *of: (kept.append(of[0]), negotiate(*of))[1]  # noqa: E731
        monkeypatch.setattr(twamp_session, "_negotiate", see)
        session = agreed(server)
        assert kept[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, interval, count = (
            kept[0].getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle <= 10, "a restarted server is noticed soon"
        assert idle + interval * count >= 900
        assert kept[0].getsockopt(socket.IPPROTO_IP, 11) == 0
        session.close()


class Silence:
    """A connection that the kernel has given up."""

    def __init__(self, code: int) -> None:
        self.code, self.closed = code, 0

    def recv(self, _: int) -> bytes:
        raise OSError(self.code, os.strerror(self.code))

    def send(self, _: bytes) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_silence_does_not_end_a_session(code: int) -> None:
    connection = Silence(code)
    session = TwampSession(connection, Dialogue(), 19_111)  # type: ignore[arg-type]
    assert not session.unheard
    assert session.ended() is None
    assert session.unheard
    assert session.ended() is None
    assert connection.closed == 1
    session.close()


def test_who_did_not_answer_is_told_from_who_declined() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    parameters = {"port": port, "size": SIZE, "timeout": SECOND}
    refused = arrange(FlowTarget("c", "p", "h", "127.0.0.1"), parameters, 40_000, SystemClock())
    unrouted = arrange(FlowTarget("c", "p", "h", "127.0.0.1", source="192.0.2.77"), parameters, 40_000, SystemClock())
    assert isinstance(refused, Declined)
    assert isinstance(unrouted, Declined)
    assert (refused.unheard, unrouted.unheard) == (False, True)
