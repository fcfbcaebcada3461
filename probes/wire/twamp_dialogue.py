"""The client's side of a TWAMP-Control conversation as a table of states: octets in, messages out. Pure.

     CONNECTED --Greeting--> GREETED ..Set-Up-Response..> SETTING_UP --Server-Start--> READY
     READY ..Request-TW-Session..> REQUESTING --Accept-Session--> AGREED (accepted) or READY (refused)
     AGREED ..Start-Sessions..> STARTING --Start-Ack--> RUNNING
     RUNNING ..Stop-Sessions..> OVER      RUNNING --Stop-Sessions--> OVER

`--` is what the server says, `..` what we say (RFC 5357 section 3; RFC 4656 section 3.1). A server that declines to go
on (no common mode, an Accept other than 0) leads to REFUSED, one that speaks out of turn or nonsense to BROKEN.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from probes.core.errors import PacketError
from probes.wire.twamp_control import (
    SIZES,
    AcceptSession,
    Greeting,
    Message,
    Mode,
    RequestSession,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
    accept_text,
    decode,
    encode,
    modes_text,
)

MOST_UNREAD: Final = 4096
"""octets of the server held at once; a server that says more than it is asked is BROKEN"""

_ALLOW: Final = "allow this host's address on the server"
_PERMIT: Final = "permit unauthenticated (open) mode for this host on the server"


class State(Enum):
    """Where the conversation stands."""

    CONNECTED = "waiting for the greeting"
    GREETED = "greeted"
    SETTING_UP = "waiting for Server-Start"
    READY = "ready"
    REQUESTING = "waiting for Accept-Session"
    AGREED = "session agreed"
    STARTING = "waiting for Start-Ack"
    RUNNING = "running"
    OVER = "over"
    REFUSED = "refused"
    BROKEN = "broken"


class OutOfTurn(PacketError):  # noqa: N818 (it says what went wrong)
    """A message that the state of the conversation does not allow."""


_RECEIVES: Final[dict[State, tuple[type[Message], State]]] = {
    State.CONNECTED: (Greeting, State.GREETED),
    State.SETTING_UP: (ServerStart, State.READY),
    State.REQUESTING: (AcceptSession, State.AGREED),
    State.STARTING: (StartAck, State.RUNNING),
    State.RUNNING: (StopSessions, State.OVER),
}
_SENDS: Final[dict[tuple[State, type[Message]], State]] = {
    (State.GREETED, SetUpResponse): State.SETTING_UP,
    (State.READY, RequestSession): State.REQUESTING,
    (State.AGREED, StartSessions): State.STARTING,
    (State.RUNNING, StopSessions): State.OVER,
}


class Dialogue:
    """One conversation; of no more use after REFUSED, BROKEN or OVER."""

    def __init__(self) -> None:
        self.state = State.CONNECTED
        self.trouble: str | None = None
        """why the server declined: in REFUSED, and in READY after a request for a session was refused"""
        self.hint = ""
        """what to do about it"""
        self._unread = b""

    def send(self, message: Message) -> bytes:
        """Octets to write. Raises OutOfTurn where the state does not allow the message; also when the server has said
        more than it was asked, and the conversation is BROKEN.
        """
        following = _SENDS.get((self.state, type(message)))
        if following is None:
            raise OutOfTurn(f"{type(message).__name__} cannot be sent while {self.state.value}")
        if self._unread:
            self._break(f"{len(self._unread)} octets out of turn while {self.state.value}", OutOfTurn)
        data = encode(message)
        self.state = following
        return data

    def receive(self, data: bytes) -> None:
        """Octets of the server. Raises PacketError when they pile up, and the conversation is BROKEN."""
        self._unread += data
        if len(self._unread) > MOST_UNREAD:
            self._break(f"{len(self._unread)} octets that nobody asked for")

    def next_message(self) -> Message | None:
        """The next message of the server; None while it has not come whole.

        Raises PacketError, and the conversation is BROKEN, when these are not octets of the message that is due, and
        OutOfTurn when none is due.
        """
        due = _RECEIVES.get(self.state)
        if due is None:
            if self._unread and self.state not in (State.OVER, State.REFUSED):
                self._break(f"{len(self._unread)} octets out of turn while {self.state.value}", OutOfTurn)
            return None
        kind, following = due
        if len(self._unread) < SIZES[kind]:
            return None
        data, self._unread = self._unread[: SIZES[kind]], self._unread[SIZES[kind] :]
        try:
            message = decode(kind, data)
        except PacketError as error:
            self.state = State.BROKEN
            raise error from None
        self.state = self._judged(message, following)
        return message

    def ended(self) -> None:
        """The server has closed the connection. Raises PacketError unless the conversation was over."""
        if self.state not in (State.OVER, State.REFUSED):
            self._break(f"the server closed the control connection while {self.state.value}")

    def _judged(self, message: Message, following: State) -> State:
        match message:
            case Greeting(modes) if not modes:
                return self._refused("the server offers this host no mode", State.REFUSED, _ALLOW)
            case Greeting(modes) if not modes & Mode.UNAUTHENTICATED:
                offer = f"the server offers no unauthenticated mode, only {modes_text(modes)}"
                return self._refused(offer, State.REFUSED, _PERMIT)
            case ServerStart(accept) | StartAck(accept) if accept:
                return self._refused(f"{type(message).__name__}: {accept_text(accept)}", State.REFUSED)
            case AcceptSession(accept) if accept:
                return self._refused(f"AcceptSession: {accept_text(accept)}", State.READY)
            case AcceptSession(_, port) if not port:
                return self._refused("AcceptSession: accepted, but on port 0", State.REFUSED)
        return following

    def _refused(self, trouble: str, following: State, hint: str = "") -> State:
        self.trouble, self.hint = trouble, hint
        return following

    def _break(self, what: str, kind: type[PacketError] = PacketError) -> None:
        self.state = State.BROKEN
        raise kind(what)
