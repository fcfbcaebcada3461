"""Ancillary data (cmsg(3)) as octets and arrays: built for what is sent, located in what was received. Pure.

A control message is 16 octets (u64 length with header, i32 level, i32 type) and data, padded to 8: 64-bit Linux.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from probes.core.arrays import Int64
from probes.core.codec import Octets

HEADER: Final = 16

IP_TOS: Final = 1
IP_TTL: Final = 2
IP_PKTINFO: Final = 8
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12
IPV6_RECVERR: Final = 25
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
IPV6_RECVHOPLIMIT: Final = 51
IPV6_HOPLIMIT: Final = 52
IP_RECVTOS: Final = 13
IPV6_RECVTCLASS: Final = 66
IPV6_TCLASS: Final = 67
SO_TIMESTAMPING: Final = 37

_MAXIMUM_MESSAGES: Final = 6


def message(level: int, kind: int, data: bytes) -> bytes:
    """One control message with its padding."""
    return struct.pack("=Qii", HEADER + len(data), level, kind) + data + bytes(-len(data) % 8)


def messages(octets: bytes) -> list[tuple[tuple[int, int], bytes]]:
    """The control messages of one packet: ((level, type), data), in order."""
    found, at = [], 0
    while at + HEADER <= len(octets):
        size, level, kind = struct.unpack_from("=Qii", octets, at)
        if size < HEADER:
            break
        found.append(((level, kind), octets[at + HEADER : at + size]))
        at += (size + 7) & ~7
    return found


def outgoing(family: int, *, source: str | None, interface: int, dscp: int, ttl: int | None) -> bytes:
    """Source address, outgoing interface, DSCP and hop limit of one packet: ip(7), ipv6(7)."""
    parts = b""
    if source is not None or interface:
        packed = ipaddress.ip_address((source or ("0.0.0.0" if family == 4 else "::")).partition("%")[0]).packed
        if family == 4:
            parts += message(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", interface, packed, bytes(4)))
        else:
            parts += message(socket.IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("=16si", packed, interface))
    if dscp:
        tos = struct.pack("=i", dscp << 2)
        parts += (
            message(socket.IPPROTO_IP, IP_TOS, tos) if family == 4 else message(socket.IPPROTO_IPV6, IPV6_TCLASS, tos)
        )
    if ttl is not None:
        hops = struct.pack("=i", ttl)
        parts += (
            message(socket.IPPROTO_IP, IP_TTL, hops)
            if family == 4
            else message(socket.IPPROTO_IPV6, IPV6_HOPLIMIT, hops)
        )
    return parts


def common_layout(control: Octets, length: Int64) -> dict[tuple[int, int], int] | None:
    """Where the data of each (level, type) begins when all rows are laid out alike, as they nearly always are.

    None when they are not, and for no rows: `locate` finds out row by row. Arguments as for `locate`.
    """
    if not len(length) or (length != length[0]).any():
        return None
    words, end = control.view(np.int64), int(length[0])
    at, found = 0, {}
    while at + HEADER <= end:
        column = at >> 3
        size, key = words[0, column : column + 2].tolist()
        if size < HEADER or (words[:, column : column + 2] != words[0, column : column + 2]).any():
            return None
        found[key & 0xFFFFFFFF, key >> 32] = at + HEADER
        at += (size + 7) & ~7
    return found


def locate(control: Octets, length: Int64, wanted: Sequence[tuple[int, int]]) -> list[Int64]:
    """Where the data of each wanted (level, type) begins in every row; -1 where there is none.

    control: shape (n, width), width a multiple of 8; length (n,): octets of a row that are there.
    """
    n, width = control.shape
    words = control.view(np.int64)
    rows = np.arange(n)
    at = np.zeros(n, np.int64)
    found = [np.full(n, -1, np.int64) for _ in wanted]
    keys = [np.int64(kind << 32 | level) for level, kind in wanted]
    for _ in range(_MAXIMUM_MESSAGES):
        live = at + HEADER <= length
        if not live.any():
            break
        column = np.minimum(at, width - HEADER) >> 3
        size = words[rows, column]
        key = words[rows, column + 1]
        live &= size >= HEADER
        for place, wanted_key in zip(found, keys, strict=True):
            hit = live & (key == wanted_key)
            place[hit] = at[hit] + HEADER
        at = np.where(live, at + ((size + 7) & ~7), length)
    return found
