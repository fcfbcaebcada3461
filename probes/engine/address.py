"""Addresses as arrays: three 64-bit words for the upper and lower half of the IPv6 address and the port. Pure.

IPv4 addresses are written as IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.codec import Octets

Peers = NDArray[np.uint64]
"""Shape (n, 3): upper half, lower half, port."""

NAME_SIZE: Final = 32
"""octets a socket address is given in a row; struct sockaddr_in6 has 28"""
MAPPED: Final = 0xFFFF << 32

_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))
_HALF: Final = np.dtype(">u4")
_WORD: Final = np.dtype(">u8")
_SHORT: Final = np.dtype(">u2")


def peer_of(address: str, port: int) -> Peers:
    """One numeric address and port, shape (3,)."""
    value = ipaddress.ip_address(address.partition("%")[0])
    number = int(value) | MAPPED if value.version == 4 else int(value)
    return np.array((number >> 64, number & (2**64 - 1), port), np.uint64)


def fingerprints(peers: Peers) -> NDArray[np.uint64]:
    """64 bits for each row, shape (n,): alike for equal rows, and hardly ever for others."""
    return np.asarray((peers[:, 0] * _MIX[0] ^ peers[:, 1] + peers[:, 2]) * _MIX[1] ^ peers[:, 1] >> np.uint64(29))


def fingerprint(peer: Peers) -> int:
    """The same of one row, shape (3,)."""
    return int(fingerprints(peer.reshape(1, 3))[0])


def text_of(peer: Peers) -> str:
    """The address of one row, shape (3,)."""
    number = int(peer[0]) << 64 | int(peer[1])
    if number >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(number))


def peers_from_names(names: Octets, family: int) -> Peers:
    """Socket addresses as the kernel writes them, shape (n, NAME_SIZE), to (n, 3)."""
    peers = np.empty((len(names), 3), np.uint64)
    peers[:, 2] = names.view(_SHORT)[:, 1]
    if family == 4:
        peers[:, 0] = 0
        peers[:, 1] = names.view(_HALF)[:, 1]
        peers[:, 1] |= np.uint64(MAPPED)
    else:
        peers[:, :2] = names.view(_WORD)[:, 1:3]
    return peers


def name_of(address: str, port: int, scope: int = 0) -> bytes:
    """struct sockaddr_in or sockaddr_in6 for a numeric address."""
    value = ipaddress.ip_address(address.partition("%")[0])
    if value.version == 4:
        return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), value.packed)
    return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0, value.packed, scope)
