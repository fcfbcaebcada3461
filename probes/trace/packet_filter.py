"""Classic BPF programs for the child's raw sockets, so that only answers to its own packets are queued.

Every raw socket is offered a copy of everything that comes to the host. What a program sees first differs: on IPv4 the
IP header, on IPv6 the header behind it.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from typing import Final

from probes.trace.flow import Flow

_SO_ATTACH_FILTER: Final = 26
_BYTE, _HALF, _WORD = 0x30, 0x28, 0x20
_BYTE_X, _HALF_X, _WORD_X = 0x50, 0x48, 0x40
_HEADER_LENGTH: Final = 0xB1
"""X = 4 * (octet & 15): the length of an IPv4 header"""
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_WHOLE: Final = 0xFFFFFFFF

_Test = tuple[int, int, tuple[int, ...]]
"""load code, offset, accepted values"""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def icmp_answers(flow: Flow) -> bytes:
    """Errors that quote a packet to our target, and echo replies to our identifier."""
    if flow.family == 4:
        quoted: list[_Test] = [(_BYTE_X, 0, (3, 11, 12)), (_WORD_X, 8 + 16, _words(flow.target))]
        replies: list[_Test] = [(_BYTE_X, 0, (0,)), (_HALF_X, 4, (flow.identifier,))]
    else:
        destination = [(_WORD, 8 + 24 + 4 * place, (word,)) for place, word in enumerate(_words(flow.target))]
        quoted = [(_BYTE, 0, (1, 2, 3, 4)), *destination]
        replies = [(_BYTE, 0, (129,)), (_HALF, 4, (flow.identifier,))]
    return _program(flow.family, quoted, replies)


def tcp_answers(flow: Flow) -> bytes:
    """Segments from the target's port to ours."""
    half = _HALF_X if flow.family == 4 else _HALF
    ports: list[_Test] = [(half, 0, (flow.port,)), (half, 2, (flow.source_port,))]
    source: list[_Test] = [(_WORD, 12, _words(flow.target))] if flow.family == 4 else []
    return _program(flow.family, [*source, *ports])


def attach(opened: socket.socket, program: bytes) -> None:
    """Raises OSError."""
    kept = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // 8, ctypes.addressof(kept))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(described))


def _words(address: str) -> tuple[int, ...]:
    packed = ipaddress.ip_address(address.partition("%")[0]).packed
    return struct.unpack(f">{len(packed) // 4}I", packed)


def _program(family: int, *alternatives: list[_Test]) -> bytes:
    """Accepts a packet that passes all tests of one of the alternatives."""
    code: list[tuple[int, int, int, int]] = [(_HEADER_LENGTH, 0, 0, 0)] if family == 4 else []
    for tests in alternatives:
        part: list[tuple[int, int, int, int]] = []
        rest = sum(1 + len(values) for _, _, values in tests)
        for load, offset, values in tests:
            part.append((load, 0, 0, offset))
            for left, value in zip(range(len(values) - 1, -1, -1), values, strict=True):
                beyond = rest - len(part)  # from the next instruction to just behind this alternative's `accept`
                part.append((_JUMP_EQUAL, left, 0 if left else beyond, value))
        code += [*part, (_RETURN, 0, 0, _WHOLE)]
    code.append((_RETURN, 0, 0, 0))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
