"""Flows for tests, and answers to their packets written by hand, without scapy."""

from __future__ import annotations

import ipaddress
import struct

from probes.trace.flow import Flow, constants, source_port

SOURCE = {4: "192.0.2.1", 6: "2001:db8::1"}
TARGET = {4: "198.51.100.9", 6: "2001:db8:9::9"}
ROUTER = {4: "203.0.113.5", 6: "2001:db8:5::5"}
HEADER = {4: 20, 6: 40}
PROTOCOL = {"udp": {4: 17, 6: 17}, "tcp": {4: 6, 6: 6}, "icmp": {4: 1, 6: 58}}


def make_flow(family: int, protocol: str, *, key: int = 12345, base: int = 0xFFF0, nonce: int = 0xC0FFEE99) -> Flow:
    identifier, label, checksum = constants(key)
    return Flow(
        family, protocol, SOURCE[family], TARGET[family], source_port(key), 33434, identifier, label, checksum, 46,
        base, nonce,
    )  # fmt: skip


def ones_sum(data: bytes) -> int:
    """RFC 1071, by the book: 0xFFFF over what carries its right checksum."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checked(flow: Flow, packet: bytes) -> int:
    """Sum over pseudo header and segment of a packet, as its receiver computes it."""
    segment = packet[HEADER[flow.family] :]
    if flow.protocol == "icmp" and flow.family == 4:
        return ones_sum(segment)
    ends = ipaddress.ip_address(flow.source).packed + ipaddress.ip_address(flow.target).packed
    number = PROTOCOL[flow.protocol][flow.family]
    form = ">BBH" if flow.family == 4 else ">IHBB"
    rest = (0, number, len(segment)) if flow.family == 4 else (len(segment), 0, 0, number)
    return ones_sum(ends + struct.pack(form, *rest) + segment)


def hashed(flow: Flow, packet: bytes) -> bytes:
    """Everything a load balancer may hash."""
    behind = packet[HEADER[flow.family] :][:4]
    if flow.family == 4:
        return packet[9:10] + packet[12:20] + behind + packet[1:2]
    return packet[:4] + packet[6:7] + packet[8:40] + behind


def icmp_error(
    flow: Flow, quoted: bytes, *, kind: int, code: int = 0, extension: bytes = b"", length: int = 0, mtu: int = 0
) -> bytes:
    """As a raw socket gives it: an ICMP error of ROUTER, whose `length` field counts words of the quoted packet."""
    if flow.family == 6:
        rest = struct.pack(">I", mtu) if kind == 2 else bytes((length, 0, 0, 0))
        return bytes((kind, code, 0, 0)) + rest + quoted + extension
    body = bytes((kind, code, 0, 0, 0, length)) + struct.pack(">H", mtu) + quoted + extension
    body = body[:2] + struct.pack(">H", 0xFFFF - ones_sum(body)) + body[4:]
    return ipv4_header(ROUTER[4], flow.source, 1, len(body)) + body


def ipv4_header(source: str, target: str, protocol: int, size: int) -> bytes:
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 60, protocol, 0) + ends
    return head[:10] + struct.pack(">H", 0xFFFF - ones_sum(head)) + head[12:]


def label_stack(*entries: tuple[int, int, int, int], other: bytes = b"") -> bytes:
    """An extension structure by the figures of RFC 4884 section 7 and RFC 4950 section 5.

    entries: label, traffic class, bottom of stack, ttl; other: an object before the label stack.
    """
    stack = b"".join(
        struct.pack(">I", label << 12 | cos << 9 | bottom << 8 | ttl) for label, cos, bottom, ttl in entries
    )
    whole = b"\x20\0\0\0" + other + struct.pack(">HBB", 4 + len(stack), 1, 1) + stack
    return whole[:2] + struct.pack(">H", 0xFFFF - ones_sum(whole)) + whole[4:]
