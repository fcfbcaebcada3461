"""Messages of TWAMP-Control in unauthenticated mode, TCP port 862 (RFC 5357 section 3, RFC 4656 section 3). Pure.

Big endian, lengths in octets. What is not named is MBZ: zero when sent, ignored when read; so are challenge, salt, keys
and HMAC, which unauthenticated mode does not use. C client, S server, in the order of a conversation:

     S Greeting        64   12 Modes (4)   16 Challenge (16)   32 Salt (16)   48 Count (4)
     C Set-Up-Response 164  0 Mode (4)   4 KeyID (80)   84 Token (64)   148 Client-IV (16)
     S Server-Start    48   15 Accept (1)   16 Server-IV (16)   32 Start-Time (8)
     C Request-TW-Session 112
      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
   0 |       5       |  MBZ  | IPVN  |  Conf-Sender  | Conf-Receiver |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
   4 |   Number of Schedule Slots (4)   8 Number of Packets (4): 0   |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
  12 |          Sender Port          |         Receiver Port         |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
  16 |   Sender Address (16 octets; zero: as the control connection) |
  32 |   Receiver Address (16), likewise                             |
  48 |   SID (16, zero: the server makes it)                         |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
  64 |   Padding Length (4)   68 Start Time (8)   76 Timeout (8)     |
  84 |   Type-P Descriptor (4)   88 MBZ (8)   96 HMAC (16)           |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     S Accept-Session  48   0 Accept (1)   2 Port (2)   4 SID (16)   32 HMAC (16)
     C Start-Sessions  32   0 2 (1)   16 HMAC (16)
     S Start-Ack       32   0 Accept (1)   16 HMAC (16)
   C,S Stop-Sessions   32   0 3 (1)   1 Accept (1)   4 Number of Sessions (4)   16 HMAC (16)

Type-P: the DSCP of both directions' test packets in its bits 2 to 7 (RFC 4656 section 3.5). Timeout: how long after
Stop-Sessions the server still answers, in units of 2^-32 s. Sessions are told apart by the ports.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from probes.core.errors import PacketError

PORT: Final = 862
SENDER_HEADER: Final = 14
"""octets of a sender's test packet before its padding"""
LEAST_PADDING: Final = 27
"""so much longer are a reflector's fields: with this padding and more, packets of both directions are of one size"""

_GREETING: Final = struct.Struct(">12xI16x16xI12x")
_SET_UP: Final = struct.Struct(">I80x64x16x")
_SERVER_START: Final = struct.Struct(">15xB16xQ8x")
_REQUEST: Final = struct.Struct(">BBBBIIHH16s16s16sIQQI8x16x")
_ACCEPT: Final = struct.Struct(">BxH16s12x16x")
_START: Final = struct.Struct(">B15x16x")
_START_ACK: Final = struct.Struct(">B15x16x")
_STOP: Final = struct.Struct(">BB2xI8x16x")

_COMMAND_START: Final = 2
_COMMAND_STOP: Final = 3
_COMMAND_REQUEST: Final = 5


class Mode(IntFlag):
    """Modes a server offers, as far as they have names (RFC 5357, 5618, 5938, 6038)."""

    UNAUTHENTICATED = 1
    AUTHENTICATED = 2
    ENCRYPTED = 4
    MIXED = 8
    INDIVIDUAL_CONTROL = 16
    REFLECT_OCTETS = 32
    SYMMETRICAL_SIZE = 64


class Accept(IntEnum):
    """Answers of a server (RFC 4656 section 3.3)."""

    OK = 0
    FAILURE = 1
    INTERNAL_ERROR = 2
    NOT_SUPPORTED = 3
    PERMANENT_LIMIT = 4
    TEMPORARY_LIMIT = 5


_WORDS: Final = {
    Accept.OK: "accepted", Accept.FAILURE: "refused without a reason", Accept.INTERNAL_ERROR: "internal error",
    Accept.NOT_SUPPORTED: "something that was asked for is not supported",
    Accept.PERMANENT_LIMIT: "permanent resource limitation", Accept.TEMPORARY_LIMIT: "temporary resource limitation",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Greeting:
    modes: int
    """bits of Mode; 0: the server does not want to talk to us"""
    count: int = 0


@dataclass(frozen=True, slots=True)
class SetUpResponse:
    mode: int


@dataclass(frozen=True, slots=True)
class ServerStart:
    accept: int
    start_time: int = 0
    """NTP word: when the server began"""


@dataclass(frozen=True, slots=True)
class RequestSession:
    """A session whose two ends are those of the control connection."""

    family: int
    """4 or 6"""
    sender_port: int
    receiver_port: int
    padding: int
    """octets after the 14 of the sender's fields"""
    start_time: int
    """NTP word"""
    timeout: int
    """in 2^-32 s"""
    dscp: int = 0


@dataclass(frozen=True, slots=True)
class AcceptSession:
    accept: int
    port: int
    """where the reflector listens, which need not be the port that was asked for"""
    sid: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class StartSessions:
    pass


@dataclass(frozen=True, slots=True)
class StartAck:
    accept: int


@dataclass(frozen=True, slots=True)
class StopSessions:
    accept: int = 0
    sessions: int = 1


Message = (
    Greeting | SetUpResponse | ServerStart | RequestSession | AcceptSession | StartSessions | StartAck | StopSessions
)

SIZES: Final[dict[type[Message], int]] = {
    Greeting: 64, SetUpResponse: 164, ServerStart: 48, RequestSession: 112, AcceptSession: 48, StartSessions: 32,
    StartAck: 32, StopSessions: 32,
}  # fmt: skip


def encode(message: Message) -> bytes:
    """The octets of a message. Raises PacketError when a value does not fit its field."""
    try:
        return _encode(message)
    except struct.error as error:
        raise PacketError(f"{message} does not fit its fields: {error}") from None


def _encode(message: Message) -> bytes:
    match message:
        case Greeting(modes, count):
            return _GREETING.pack(modes, count)
        case SetUpResponse(mode):
            return _SET_UP.pack(mode)
        case ServerStart(accept, start):
            return _SERVER_START.pack(accept, start)
        case RequestSession(family, sender, receiver, padding, start, timeout, dscp):
            nothing = bytes(16)
            return _REQUEST.pack(
                _COMMAND_REQUEST, family, 0, 0, 0, 0, sender, receiver, nothing, nothing, nothing,
                padding, start, timeout, dscp << 24,
            )  # fmt: skip
        case AcceptSession(accept, port, sid):
            return _ACCEPT.pack(accept, port, sid)
        case StartSessions():
            return _START.pack(_COMMAND_START)
        case StartAck(accept):
            return _START_ACK.pack(accept)
        case StopSessions(accept, sessions):
            return _STOP.pack(_COMMAND_STOP, accept, sessions)


def decode(kind: type[Message], data: bytes) -> Message:
    """Read the message that is due now: only the state of a conversation tells which. Raises PacketError."""
    if len(data) != SIZES[kind]:
        raise PacketError(f"{kind.__name__} has {SIZES[kind]} octets, not {len(data)}")
    if kind is Greeting:
        return Greeting(*_GREETING.unpack(data))
    if kind is SetUpResponse:
        return SetUpResponse(*_SET_UP.unpack(data))
    if kind is ServerStart:
        return ServerStart(*_SERVER_START.unpack(data))
    if kind is RequestSession:
        return _request(data)
    if kind is AcceptSession:
        return AcceptSession(*_ACCEPT.unpack(data))
    if kind is StartAck:
        return StartAck(*_START_ACK.unpack(data))
    if kind is StartSessions:
        _command(data, _COMMAND_START)
        return StartSessions()
    _command(data, _COMMAND_STOP)
    _, accept, sessions = _STOP.unpack(data)
    return StopSessions(accept, sessions)


def _request(data: bytes) -> RequestSession:
    _command(data, _COMMAND_REQUEST)
    _, version, *_, sender, receiver, _, _, _, padding, start, timeout, type_p = _REQUEST.unpack(data)
    if version & 15 not in (4, 6):
        raise PacketError(f"a session of IP version {version & 15}")
    return RequestSession(version & 15, sender, receiver, padding, start, timeout, type_p >> 24 & 63)


def _command(data: bytes, expected: int) -> None:
    if data[0] != expected:
        raise PacketError(f"command {data[0]} where {expected} was due")


def accept_text(value: int) -> str:
    """What an Accept value means."""
    return _WORDS.get(Accept(value), "") if value in Accept._value2member_map_ else f"unknown answer {value}"


def modes_text(modes: int) -> str:
    """Names of the modes a server offers."""
    names = [mode.name.lower().replace("_", " ") for mode in Mode if mode & modes and mode.name is not None]
    unknown = modes & ~sum(Mode)
    return ", ".join([*names, *([f"others ({unknown:#x})"] if unknown else [])]) or "none"
