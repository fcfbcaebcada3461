"""Reads answers with scapy: ICMP errors with what they quote and their extensions, echo replies, TCP segments. Pure.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     type      |     code      |           checksum            |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |    unused (ICMPv6: length)    |       next-hop MTU (3/4)      |
    |  unused       |  length (v4)  |                               |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |  our packet, as far as it is quoted ...
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |  extension structure: header, objects (MPLS label stack) ...

RFC 792, RFC 4443; RFC 1191 (next-hop MTU); RFC 4884: `length` counts 32-bit words of the quoted packet in ICMP and
64-bit words in ICMPv6, and where it is 0 an extension may follow after 128 octets nevertheless (section 5.5).
RFC 4950: class 1, type 1 is the label stack the packet arrived with.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from probes.core.errors import PacketError
from probes.core.model import Label
from probes.trace import craft
from probes.trace.flow import Flow
from probes.trace.layers import (
    ICMP,
    MPLS,
    TCP,
    ICMPerror,
    ICMPExtension_Header,
    ICMPExtension_MPLS,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPerror,
    IPerror6,
    TCPerror,
    UDPerror,
)
from probes.trace.order import Said

T = TypeVar("T")

_ICMP_HEADER: Final = 8
_QUOTED_WITHOUT_LENGTH: Final = 128
_ERRORS_4: Final = (3, 11, 12)
_ERRORS_6: Final = {1: ICMPv6DestUnreach, 2: ICMPv6PacketTooBig, 3: ICMPv6TimeExceeded, 4: ICMPv6ParamProblem}
_LENGTH_UNIT: Final = {4: 4, 6: 8}
_MOST_LABELS: Final = 16
_IPV6_HEADER: Final = 40
_SEGMENT_QUOTED: Final = 8
"""octets behind the IP header that every router quotes, RFC 792"""
_PROTOCOL: Final = {"icmp": {4: 1, 6: 58}, "tcp": {4: 6, 6: 6}, "udp": {4: 17, 6: 17}}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one received packet says about packet `number` of the flow. type and code: of ICMP, else -1 and 0."""

    number: int
    said: Said
    type: int
    code: int
    labels: tuple[Label, ...] = ()
    dscp: int | None = None
    mtu: int | None = None


def read_icmp(data: bytes, flow: Flow, sender: str) -> Answer | None:
    """An ICMP message, IPv4 with the IP header before it (as raw sockets give it), IPv6 without.

    None for one that does not concern the flow. Raises PacketError for bytes that are no such message.
    """
    message = data if flow.family == 6 else _behind_header(data)
    if len(message) < _ICMP_HEADER:
        raise PacketError(f"an ICMP message of {len(message)} octets")
    if flow.family == 4 and _sum(message) != 0xFFFF:
        raise PacketError("the ICMP checksum is wrong")
    kind = message[0]
    if kind == (0 if flow.family == 4 else 129):
        return _dissected(lambda: _echo(message, flow, sender))
    if kind in (_ERRORS_4 if flow.family == 4 else _ERRORS_6):
        return _dissected(lambda: _error(message, flow, sender))
    return None


def read_tcp(data: bytes, flow: Flow, sender: str) -> Answer | None:
    """SYN-ACK or reset of the target: IPv4 with the IP header before it, IPv6 without. Otherwise as read_icmp."""
    segment = data if flow.family == 6 else _behind_header(data)
    if len(segment) < 20:
        raise PacketError(f"a TCP segment of {len(segment)} octets")

    def read() -> Answer | None:
        found = TCP(segment)
        if sender != flow.target or (found.sport, found.dport) != (flow.port, flow.source_port):
            return None
        number = flow.tcp_number((found.ack - 1) & 0xFFFFFFFF)
        wanted = found.flags.A and (found.flags.S or found.flags.R)
        return Answer(number, Said.TARGET, -1, 0) if wanted and number is not None else None

    return _dissected(read)


def read_udp(data: bytes, flow: Flow) -> Answer | None:
    """A datagram of the target's port to ours: an answer where it repeats the payload of one of our packets."""
    number = _tagged(data, flow)
    return None if number is None else Answer(number, Said.TARGET, -1, 0)


def labels_of(extension: bytes) -> tuple[Label, ...]:
    """The MPLS label stacks of an ICMP extension structure. Raises PacketError for one that is none."""
    if len(extension) < 4 or extension[0] >> 4 != 2:
        raise PacketError("no extension structure of version 2")
    if extension[2:4] != b"\0\0" and _sum(extension) != 0xFFFF:
        raise PacketError("the checksum of the extension structure is wrong")
    return _dissected(lambda: tuple(_labels(extension)))


def _dissected(read: Callable[[], T]) -> T:
    """Scapy raises whatever comes when bytes lie."""
    try:
        return read()
    except PacketError:
        raise
    except Exception as error:
        raise PacketError(f"cannot be dissected: {type(error).__name__}") from None


def _behind_header(data: bytes) -> bytes:
    size = (data[0] & 15) * 4 if data else 0
    if len(data) < 20 or data[0] >> 4 != 4 or size < 20:
        raise PacketError("no IPv4 header")
    return data[size:]


def _sum(data: bytes) -> int:
    """One's complement sum (RFC 1071); 0xFFFF over data that carries its right checksum."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (
        data[-1] << 8 if len(data) & 1 else 0
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _echo(message: bytes, flow: Flow, sender: str) -> Answer | None:
    reply = ICMP(message) if flow.family == 4 else ICMPv6EchoReply(message)
    if flow.protocol != "icmp" or sender != flow.target or reply.id != flow.identifier:
        return None
    number = _tagged(message[_ICMP_HEADER:], flow)
    if number is None or flow.tag(number) != reply.seq:
        return None
    return Answer(number, Said.TARGET, reply.type, reply.code)


def _error(message: bytes, flow: Flow, sender: str) -> Answer | None:
    head: Any = ICMP(message[:_ICMP_HEADER]) if flow.family == 4 else _ERRORS_6[message[0]](message[:_ICMP_HEADER])
    length = message[5] if flow.family == 4 else message[4]
    if head.type == 2:  # packet too big has its MTU there
        length = 0
    quoted, extension = _cut(message[_ICMP_HEADER:], length * _LENGTH_UNIT[flow.family])
    packet: Any = IPerror(quoted) if flow.family == 4 else IPerror6(quoted)
    number = _number(packet, quoted, flow)
    if number is None:
        return None
    labels: tuple[Label, ...] = ()
    if extension:
        try:
            labels = labels_of(extension)
        except PacketError:
            labels = ()  # padding, or an extension that cannot be believed; the answer stands
    traffic_class = packet.tos if flow.family == 4 else packet.tc
    mtu = _mtu(head, flow.family)
    said = _meaning(flow.family, head.type, head.code, sender == flow.target)
    return Answer(number, said, head.type, head.code, labels, traffic_class >> 2, mtu)


def _cut(body: bytes, length: int) -> tuple[bytes, bytes]:
    """Our packet as quoted, and the extension structure behind it."""
    if length:
        if length > len(body):
            raise PacketError(f"{length} octets quoted in {len(body)}")
        return body[:length], body[length:]
    behind = body[_QUOTED_WITHOUT_LENGTH:]
    if len(behind) >= 8 and behind[0] == 0x20 and _sum(behind) == 0xFFFF:
        return body[:_QUOTED_WITHOUT_LENGTH], behind
    return body, b""


def _mtu(head: Any, family: int) -> int | None:
    if family == 6:
        return int(head.mtu) if head.type == 2 else None
    return int(head.nexthopmtu) if (head.type, head.code) == (3, 4) else None


def _meaning(family: int, kind: int, code: int, of_target: bool) -> Said:
    if (kind, code) == ((11, 0) if family == 4 else (3, 0)):
        return Said.EXCEEDED
    if (kind, code) == (3, 4) if family == 4 else kind == 2:
        return Said.TOO_BIG
    return Said.TARGET if of_target else Said.ERROR


def _number(packet: Any, quoted: bytes, flow: Flow) -> int | None:
    """Which packet of the flow is quoted; None for somebody else's."""
    if packet.dst != flow.target:
        return None
    protocol = packet.proto if flow.family == 4 else packet.nh
    if protocol != _PROTOCOL[flow.protocol][flow.family]:
        return None
    behind = quoted[packet.ihl * 4 if flow.family == 4 else _IPV6_HEADER :]
    if len(behind) < _SEGMENT_QUOTED:
        raise PacketError(f"{len(behind)} octets quoted behind the IP header")
    head, payload = behind[:_SEGMENT_QUOTED], behind[_SEGMENT_QUOTED:]
    if flow.protocol == "icmp":
        return _echo_number(head, flow)
    inner: Any = TCPerror(head) if flow.protocol == "tcp" else UDPerror(head)
    if (inner.sport, inner.dport) != (flow.source_port, flow.port):
        return None
    if flow.protocol == "tcp":
        return flow.tcp_number(inner.seq)
    if len(payload) >= craft.HEAD.size:
        return _tagged(payload, flow)
    return flow.number(packet.id) if flow.family == 4 and packet.id else None


def _echo_number(head: bytes, flow: Flow) -> int | None:
    inner: Any = ICMPerror(head) if flow.family == 4 else ICMPv6EchoRequest(head)
    ours = inner.type in (8, 128) and inner.id == flow.identifier and inner.seq
    return flow.number(inner.seq) if ours else None


def _tagged(payload: bytes, flow: Flow) -> int | None:
    """The packet whose payload this is."""
    if len(payload) < craft.HEAD.size:
        return None
    _, tag, nonce = craft.HEAD.unpack_from(payload)
    return flow.number(tag) if tag and nonce == flow.nonce else None


def _labels(extension: bytes) -> list[Label]:
    found: list[Label] = []
    at = len(ICMPExtension_Header(extension[:4]))
    while at + 4 <= len(extension):
        size = int.from_bytes(extension[at : at + 2], "big")
        if size < 4 or at + size > len(extension):
            raise PacketError("an extension object that is longer than its structure")
        item = ICMPExtension_MPLS(extension[at : at + size])
        if (item.classnum, item.classtype) == (1, 1):
            for place in range(at + 4, at + size - 3, 4):
                entry = MPLS(extension[place : place + 4])
                found.append(Label(entry.label, entry.cos, bool(entry.s), entry.ttl))
        at += size
    return found[:_MOST_LABELS]
