"""Builds the packets of a flow with scapy: whole, from the IP header on. Pure, and only ever run in the child.

Payload of udp and icmp:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |         compensation          |              tag              |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                             nonce                             |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |  zeros ...

A TCP SYN carries no data, so `size` is of no account for it.
"""

from __future__ import annotations

import struct
from typing import Final

from probes.trace.flow import Flow, compensation
from probes.trace.layers import ICMP, IP, TCP, UDP, ICMPv6EchoRequest, IPv6, Packet

HEAD: Final = struct.Struct(">HHI")
_IP_HEADER: Final = {4: 20, 6: 40}
_CHECKSUM_AT: Final = {"udp": 6, "icmp": 2}
_SEGMENT_HEADER: Final = 8
"""octets of the UDP and of the ICMP echo header"""


def craft(flow: Flow, number: int, *, ttl: int, size: int, whole: bool) -> bytes:
    """Packet `number` of the flow, `size` octets long. whole: routers must not fragment it (DF)."""
    header = _IP_HEADER[flow.family]
    if flow.protocol == "tcp":
        return bytes(_network(flow, number, ttl, whole) / _syn(flow, number))
    payload = HEAD.pack(0, flow.tag(number), flow.nonce).ljust(size - header - _SEGMENT_HEADER, b"\0")
    packet = bytearray(bytes(_network(flow, number, ttl, whole) / _segment(flow, number) / payload))
    at = header + _CHECKSUM_AT[flow.protocol]
    (found,) = struct.unpack_from(">H", packet, at)
    struct.pack_into(">H", packet, at, flow.checksum)
    struct.pack_into(">H", packet, header + _SEGMENT_HEADER, compensation(found, flow.checksum))
    return bytes(packet)


def _network(flow: Flow, number: int, ttl: int, whole: bool) -> Packet:
    if flow.family == 4:
        flags = "DF" if whole else 0
        return IP(src=flow.source, dst=flow.target, ttl=ttl, tos=flow.dscp << 2, id=flow.tag(number), flags=flags)
    return IPv6(src=flow.source, dst=flow.target, hlim=ttl, tc=flow.dscp << 2, fl=flow.flow_label)


def _segment(flow: Flow, number: int) -> Packet:
    if flow.protocol == "udp":
        return UDP(sport=flow.source_port, dport=flow.port)
    if flow.family == 4:
        return ICMP(type=8, id=flow.identifier, seq=flow.tag(number))
    return ICMPv6EchoRequest(id=flow.identifier, seq=flow.tag(number))


def _syn(flow: Flow, number: int) -> Packet:
    return TCP(sport=flow.source_port, dport=flow.port, seq=flow.tcp_sequence(number), flags="S", window=64240)
