"""Control messages of the linkwitness throughput protocol, version 1 (docs: this page is the definition). Pure.

Every message is 64 octets, big endian; what a type does not use is zero and checked to be zero.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-------------------------------+
  0 |                     magic  "LWTP"                             |
    +---------------+---------------+-------------------------------+
  4 |  version = 1  |     type      |             zero              |
    +---------------+---------------+-------------------------------+
  8 |                     body, 56 octets, by type                  |
    +---------------------------------------------------------------+

    type 1 HELLO   initiator -> responder, control connection
  8 nonce (8)  16 directions (1) | streams (1) | dscp (1) | zero (5)
 24 duration_ns (8)  32 omit_ns (8)  40 rate_bps (8, 0: none)  48 limit_bytes (8, 0: none)  56 zero (8)
    type 2 ACCEPT  responder -> initiator:   8 nonce (8)  16 token (16)  32 zero (32)
    type 3 REFUSE  responder -> initiator:   8 nonce (8)  16 cause (1) | zero (7)  24 maximum (8)  32 zero (32)
    type 4 JOIN    initiator -> responder, first on each data connection
  8 token (16)  24 direction (1) | stream (1) | zero (6)  32 zero (32)
    type 5 READY   responder -> initiator:   8 nonce (8)  16 direction (1) | zero (47)
    type 6 STOP    initiator -> responder, its window of the backward direction is over: as READY
    type 7 RESULT  responder -> initiator, closes a direction
  8 nonce (8)  16 direction (1) | end (1) | zero (6)  24 bytes (8)  32 window_ns (8)  40 total_bytes (8)
 48 retransmits (8)  56 rtt_ns (8)

A session: HELLO, ACCEPT; then for each direction, forward first: `streams` data connections open with JOIN, READY, bulk
data in one direction, RESULT. Forward, the responder receives and its RESULT carries what arrived in its window (bytes,
window_ns). Backward, the initiator receives, says STOP, and the RESULT carries what only the sender knows (retransmits,
rtt_ns). The 128-bit token, told only on the control connection, ties the data connections to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from probes.core.errors import PacketError

SIZE: Final = 64
VERSION: Final = 1
MAXIMUM_STREAMS: Final = 16
MAXIMUM_DURATION_NS: Final = 3600 * 10**9
TOKEN_SIZE: Final = 16
_MAGIC: Final = b"LWTP"
_UINT63: Final = 2**63 - 1

_HEADER: Final = struct.Struct(">4sBBH")
_HELLO: Final = struct.Struct(">QBBB5xQQQQ8x")
_ACCEPT: Final = struct.Struct(">Q16s32x")
_REFUSE: Final = struct.Struct(">QB7xQ32x")
_JOIN: Final = struct.Struct(">16sBB38x")
_SIGNAL: Final = struct.Struct(">QB47x")
_RESULT: Final = struct.Struct(">QBB6xQQQQQ")


class Direction(IntEnum):
    """Forward is away from the initiator. BOTH is forward, then backward; only HELLO may say it."""

    FORWARD = 1
    BACKWARD = 2
    BOTH = 3

    @property
    def parts(self) -> tuple[Direction, ...]:
        return (Direction.FORWARD, Direction.BACKWARD) if self is Direction.BOTH else (self,)


class Cause(IntEnum):
    """Why a responder refuses. REFUSE.maximum is the limit that was passed, 0 for BUSY."""

    BUSY = 1
    DURATION = 2
    STREAMS = 3
    BYTES = 4


class End(IntEnum):
    """How a direction ended, as its receiver (forward) or its sender (backward) saw it."""

    COMPLETE = 1
    """the whole window was measured"""
    EXHAUSTED = 2
    """the sender had sent `limit_bytes` before the window was over"""
    SILENT = 3
    """no data came"""
    CAPPED = 4
    """the responder's own cap on bytes was reached"""
    BROKEN = 5
    """a data connection was reset"""


@dataclass(frozen=True, slots=True)
class Hello:
    nonce: int
    directions: Direction
    streams: int
    duration_ns: int
    """on the wire, per direction, `omit_ns` included"""
    omit_ns: int
    dscp: int = 0
    rate_bps: int = 0
    limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Accept:
    nonce: int
    token: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    nonce: int
    cause: Cause
    maximum: int = 0


@dataclass(frozen=True, slots=True)
class Join:
    token: bytes
    direction: Direction
    stream: int


@dataclass(frozen=True, slots=True)
class Ready:
    nonce: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Stop:
    nonce: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Result:
    nonce: int
    direction: Direction
    end: End
    bytes: int
    window_ns: int
    total_bytes: int
    retransmits: int
    rtt_ns: int


Message = Hello | Accept | Refuse | Join | Ready | Stop | Result
_TYPES: Final[dict[type, int]] = {Hello: 1, Accept: 2, Refuse: 3, Join: 4, Ready: 5, Stop: 6, Result: 7}


def encode(message: Message) -> bytes:
    """64 octets. Raises PacketError for a message that `decode` would not accept."""
    data = _HEADER.pack(_MAGIC, VERSION, _TYPES[type(message)], 0) + _body(message)
    if decode(data) != message:
        raise PacketError(f"{message} does not survive its encoding")
    return data


def _body(message: Message) -> bytes:
    try:
        match message:
            case Hello(nonce, directions, streams, duration, omit, dscp, rate, limit):
                return _HELLO.pack(nonce, directions, streams, dscp, duration, omit, rate, limit)
            case Accept(nonce, token):
                return _ACCEPT.pack(nonce, token)
            case Refuse(nonce, cause, maximum):
                return _REFUSE.pack(nonce, cause, maximum)
            case Join(token, direction, stream):
                return _JOIN.pack(token, direction, stream)
            case Ready(nonce, direction) | Stop(nonce, direction):
                return _SIGNAL.pack(nonce, direction)
            case Result(nonce, direction, end, count, window, total, retransmits, rtt):
                return _RESULT.pack(nonce, direction, end, count, window, total, retransmits, rtt)
    except struct.error as error:
        raise PacketError(f"{message} does not fit its fields: {error}") from None


def decode(data: bytes) -> Message:
    """Read one message. Raises PacketError for anything this version does not define."""
    if len(data) != SIZE:
        raise PacketError(f"a throughput message has {SIZE} octets, not {len(data)}")
    magic, version, kind, zero = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise PacketError("not a message of the throughput protocol")
    if version != VERSION:
        raise PacketError(f"throughput protocol version {version}, this is version {VERSION}")
    message = _parse(kind, data[_HEADER.size :])
    # Unused octets are zero in version 1, so what a later version puts there is never silently dropped.
    if zero or _HEADER.pack(magic, version, kind, zero) + _body(message) != data:
        raise PacketError("octets that must be zero are not")
    return message


def _parse(kind: int, body: bytes) -> Message:
    match kind:
        case 1:
            return _parse_hello(body)
        case 2:
            return Accept(*_ACCEPT.unpack(body))
        case 3:
            nonce, cause, maximum = _REFUSE.unpack(body)
            return Refuse(nonce, _member(Cause, cause), _bounded("maximum", maximum))
        case 4:
            token, direction, stream = _JOIN.unpack(body)
            if stream >= MAXIMUM_STREAMS:
                raise PacketError(f"stream {stream} is not below {MAXIMUM_STREAMS}")
            return Join(token, _single(direction), stream)
        case 5 | 6:
            nonce, direction = _SIGNAL.unpack(body)
            return (Ready if kind == 5 else Stop)(nonce, _single(direction))
        case 7:
            nonce, direction, end, *counts = _RESULT.unpack(body)
            return Result(nonce, _single(direction), _member(End, end), *(_bounded("count", n) for n in counts))
    raise PacketError(f"throughput message type {kind} is not defined")


def _parse_hello(body: bytes) -> Hello:
    nonce, directions, streams, dscp, duration, omit, rate, limit = _HELLO.unpack(body)
    if not 1 <= streams <= MAXIMUM_STREAMS:
        raise PacketError(f"{streams} streams; 1 to {MAXIMUM_STREAMS} are allowed")
    if dscp > 63:
        raise PacketError(f"DSCP {dscp} has more than six bits")
    if not omit < duration <= MAXIMUM_DURATION_NS:
        raise PacketError(f"duration {duration} ns with {omit} ns omitted is not possible")
    return Hello(
        nonce, _member(Direction, directions), streams, duration, omit, dscp,
        _bounded("rate", rate), _bounded("limit", limit),
    )  # fmt: skip


Code = TypeVar("Code", bound=IntEnum)


def _member(kind: type[Code], value: int) -> Code:
    try:
        return kind(value)
    except ValueError:
        raise PacketError(f"{kind.__name__.lower()} {value} is not defined") from None


def _single(value: int) -> Direction:
    direction = _member(Direction, value)
    if direction is Direction.BOTH:
        raise PacketError("one direction at a time")
    return direction


def _bounded(name: str, value: int) -> int:
    if value > _UINT63:
        raise PacketError(f"{name} {value} is over 2^63 - 1")
    return value
