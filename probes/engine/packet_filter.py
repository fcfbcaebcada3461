"""Classic BPF programs that run in the kernel before a packet is queued: only what may be ours gets in.

What the program sees first differs: a raw IPv4 socket the IP header, every other socket its own transport header.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final

from probes.wire import icmp, payload

_SO_ATTACH_FILTER: Final = 26
_ICMP_FILTER: Final = 1
_ICMP6_FILTER: Final = 1

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_WORD_X, _LOAD_HALF_X, _LOAD_BYTE_X = 0x40, 0x48, 0x50
_LOAD_LENGTH: Final = 0x80
_LOAD_HEADER_LENGTH: Final = 0xB1
"""X = 4 * (octet & 15): the length of an IPv4 header"""
_JUMP_EQUAL, _JUMP_GREATER_EQUAL = 0x15, 0x35
_RETURN: Final = 0x06
_UDP_HEADER: Final = 8

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, operand"""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def echo_replies(family: int, identifier: int, *, raw: bool) -> list[Instruction]:
    """Echo replies to our identifier with our payload."""
    indexed = raw and family == 4
    byte, half, word = (_LOAD_BYTE_X, _LOAD_HALF_X, _LOAD_WORD_X) if indexed else (_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD)
    return _all_of(
        [(_LOAD_HEADER_LENGTH, 0, 0, 0)] if indexed else [],
        (byte, 0, icmp.ECHO_REPLY[family]),
        (half, 4, identifier),
        (word, icmp.HEADER, payload.REQUEST),
    )


def echo_datagrams() -> list[Instruction]:
    """UDP datagrams with our payload, requests and replies."""
    accept = (_RETURN, 0, 0, 0x40000)
    return [
        (_LOAD_LENGTH, 0, 0, 0),
        (_JUMP_GREATER_EQUAL, 0, 3, _UDP_HEADER + payload.SIZE),
        (_LOAD_WORD, 0, 0, _UDP_HEADER),
        (_JUMP_EQUAL, 2, 0, payload.REQUEST),
        (_JUMP_EQUAL, 1, 0, payload.REPLY),
        (_RETURN, 0, 0, 0),
        accept,
    ]


def echo_requests() -> list[Instruction]:
    """UDP datagrams that ask for an echo: what a reflector answers."""
    return [
        (_LOAD_LENGTH, 0, 0, 0),
        (_JUMP_GREATER_EQUAL, 0, 2, _UDP_HEADER + payload.SIZE),
        (_LOAD_WORD, 0, 0, _UDP_HEADER),
        (_JUMP_EQUAL, 1, 0, payload.REQUEST),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, 0x40000),
    ]


def datagrams(least: int) -> list[Instruction]:
    """UDP datagrams of at least so many octets."""
    return [
        (_LOAD_LENGTH, 0, 0, 0),
        (_JUMP_GREATER_EQUAL, 0, 1, _UDP_HEADER + least),
        (_RETURN, 0, 0, 0x40000),
        (_RETURN, 0, 0, 0),
    ]


def _all_of(start: list[Instruction], *equal: tuple[int, int, int]) -> list[Instruction]:
    program = list(start)
    for number, (load, offset, value) in enumerate(equal):
        steps_to_reject = 2 * (len(equal) - number - 1) + 1
        program += [(load, 0, 0, offset), (_JUMP_EQUAL, 0, steps_to_reject, value)]
    return [*program, (_RETURN, 0, 0, 0x40000), (_RETURN, 0, 0, 0)]


def attach(endpoint: socket.socket, program: Sequence[Instruction]) -> None:
    """Let the kernel drop what the program does not accept. Needs no privilege. Raises OSError."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    argument = _Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    endpoint.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(argument))


def only_echo_replies(endpoint: socket.socket, family: int) -> None:
    """On a raw socket: drop all ICMP types but echo reply, before the packet is even copied for us."""
    if family == 4:
        blocked = ~(1 << icmp.ECHO_REPLY[4]) & 0xFFFFFFFF
        endpoint.setsockopt(255, _ICMP_FILTER, struct.pack("=I", blocked))
    else:
        words = [0xFFFFFFFF] * 8
        words[icmp.ECHO_REPLY[6] >> 5] &= ~(1 << (icmp.ECHO_REPLY[6] & 31))
        endpoint.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
