"""A TWAMP session agreed with a server over its control connection (RFC 5357 section 3), unauthenticated mode.

The server's trouble (no answer, a refusal, nonsense, a cut) is a sentence, never an exception. Every step has a
deadline. A session is over when the server says so, also by closing the connection, with which its reflector stops.
Silence is no such word: TCP asks the server on and on whether it is there (TWAMP-Control has no message for that), so
that one that was restarted answers with a reset; an outage of the network, even of many minutes, leaves the session as
it is, and its packets are lost as they should be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Mapping
from typing import Final

import numpy as np

from probes.core.catalog import Declined, FlowTarget
from probes.core.clock import SECOND, Clock
from probes.core.errors import PacketError
from probes.engine.connection import milliseconds_until, open_connection
from probes.engine.control import IP_RECVERR, IPV6_RECVERR
from probes.wire import twamp_control as control
from probes.wire.ntp_time import to_ntp
from probes.wire.twamp_control import AcceptSession, Message, RequestSession, SetUpResponse, StartSessions, StopSessions
from probes.wire.twamp_dialogue import Dialogue, State

STEP_NS: Final = 3 * SECOND
"""for each answer of the server"""
WHOLE_NS: Final = 10 * SECOND
"""for all of it"""

_PORTS: Final = range(18760, 19961)
"""what is asked for first; the server's answer decides"""
_KEEP_ALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 90))
"""Unheard after a quarter of an hour: by then a server's reflector without packets has given up (RFC 5357 section 4.2,
REFWAIT, 900 s)."""
_SILENCE: Final = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
_AT_ONCE: Final = 4096
_REACH: Final = "the TWAMP server must be reachable by TCP on this port"
_RIGHT_PORT: Final = "is this the port of a TWAMP server?"


class _Refused(Exception):  # noqa: N818 # nothing went wrong here
    """The negotiation has come to nothing."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.declined = Declined(f"TWAMP control: {reason}", hint)


class TwampSession:
    """A running session. Implements probes.core.catalog.Session; not thread-safe."""

    def __init__(self, connection: socket.socket, dialogue: Dialogue, port: int) -> None:
        self.port = port
        self.unheard = False
        self._connection, self._dialogue = connection, dialogue
        self._ended: str | None = None

    def ended(self) -> str | None:
        """Why the session is over; None while it lasts. Asks the control connection, never waits."""
        if self._ended is None and not self.unheard:
            self._ended = self._look()
            if self._ended is not None:
                self._connection.close()
        return self._ended

    def close(self) -> None:
        """Say Stop-Sessions and close the connection. Never waits."""
        if self._ended is None:
            self._ended = "closed"
            with contextlib.suppress(OSError, PacketError):  # then it ends with the connection
                self._connection.send(self._dialogue.send(StopSessions()))
            self._connection.close()

    def _look(self) -> str | None:
        try:
            data = self._connection.recv(_AT_ONCE)
            if not data:
                self._dialogue.ended()
            self._dialogue.receive(data)
            if self._dialogue.next_message() is not None:
                return "TWAMP: the server has stopped the session"
        except BlockingIOError:
            return None
        except PacketError as error:
            return f"TWAMP: {error.message}"
        except OSError as error:
            if error.errno not in _SILENCE:
                return f"TWAMP: control connection lost: {os.strerror(error.errno or 0)}"
            self.unheard = True
            self._connection.close()
        return None


def arrange(
    target: FlowTarget, parameters: Mapping[str, object], local_port: int, clock: Clock
) -> TwampSession | Declined:
    """Agree on a session with the server at target.address, parameters["port"] (TCP); or why there is none.

    parameters: port, size (octets of a test packet) and timeout (ns). local_port: where test packets will come from.
    """
    number = {name: value for name, value in parameters.items() if isinstance(value, int)}
    deadline = clock.monotonic() + WHOLE_NS
    attempt = open_connection(target, number["port"], STEP_NS, clock)
    if attempt.socket is None:
        return Declined(f"TWAMP control: {attempt.reason}", _REACH, unheard=not attempt.declined)
    wish = RequestSession(
        family=6 if attempt.socket.family == socket.AF_INET6 else 4,
        sender_port=local_port,
        receiver_port=_PORTS[local_port % len(_PORTS)],
        padding=number["size"] - control.SENDER_HEADER,
        start_time=int(to_ntp(np.array([clock.wall()], np.int64))[0]),
        timeout=(number["timeout"] << 32) // SECOND,
        dscp=target.dscp,
    )
    try:
        _keep_alive(attempt.socket)
        return _negotiate(attempt.socket, wish, deadline, clock)
    except _Refused as refused:
        declined = refused.declined
    except PacketError as error:
        declined = Declined(f"TWAMP control: {error.message}", _RIGHT_PORT)
    except OSError as error:
        declined = Declined(f"TWAMP control: {os.strerror(error.errno or 0)}")
    attempt.socket.close()
    return declined


def _negotiate(connection: socket.socket, wish: RequestSession, deadline_ns: int, clock: Clock) -> TwampSession:
    dialogue = Dialogue()
    talk = _Talk(connection, dialogue, deadline_ns, clock)
    talk.hear()
    talk.say(SetUpResponse(control.Mode.UNAUTHENTICATED))
    talk.hear()
    answer = talk.ask(wish)
    if dialogue.state is State.READY and answer.port not in (0, wish.receiver_port):
        # A server that cannot have the port may name another to ask for (RFC 5357 section 3.5).
        answer = talk.ask(_on_port(wish, answer.port))
    if dialogue.state is State.READY:
        raise _Refused(dialogue.trouble or "", dialogue.hint)
    talk.say(StartSessions())
    talk.hear()
    return TwampSession(connection, dialogue, answer.port)


class _Talk:
    """One step after the other, each with its deadline. Raises _Refused when the server won't go on, PacketError when
    what it says makes no sense, OSError when the connection breaks."""

    def __init__(self, connection: socket.socket, dialogue: Dialogue, deadline_ns: int, clock: Clock) -> None:
        self._connection, self._dialogue, self._deadline_ns, self._clock = connection, dialogue, deadline_ns, clock

    def ask(self, wish: RequestSession) -> AcceptSession:
        self.say(wish)
        answer = self.hear()
        assert isinstance(answer, AcceptSession)  # no other message leads out of REQUESTING
        return answer

    def say(self, message: Message) -> None:
        data, until = self._dialogue.send(message), self._until()
        while data:
            try:
                data = data[self._connection.send(data) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, until)

    def hear(self) -> Message:
        until = self._until()
        while (message := self._dialogue.next_message()) is None:
            self._wait(select.POLLIN, until)
            data = self._connection.recv(_AT_ONCE)
            if not data:
                self._dialogue.ended()
            self._dialogue.receive(data)
        if self._dialogue.state is State.REFUSED:
            raise _Refused(self._dialogue.trouble or "", self._dialogue.hint)
        return message

    def _until(self) -> int:
        return min(self._deadline_ns, self._clock.monotonic() + STEP_NS)

    def _wait(self, event: int, until_ns: int) -> None:
        poll = select.poll()
        poll.register(self._connection, event)
        while not poll.poll(milliseconds_until(until_ns, self._clock)):
            if self._clock.monotonic() >= until_ns:
                raise _Refused(f"no answer in time while {self._dialogue.state.value}", _RIGHT_PORT)


def _on_port(wish: RequestSession, port: int) -> RequestSession:
    return RequestSession(
        wish.family, wish.sender_port, port, wish.padding, wish.start_time, wish.timeout, wish.dscp
    )  # fmt: skip


def _keep_alive(connection: socket.socket) -> None:
    # Without this an ICMP error would end a connection that outlives the outage (ip(7), IP_RECVERR).
    if connection.family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 0)
    else:
        connection.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
