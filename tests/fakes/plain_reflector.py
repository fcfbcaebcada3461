"""What a STAMP reflector must answer, octet by octet, as RFC 8762 and RFC 8972 word it: slow and without numpy.

Knows nothing of the product but the sizes in the RFCs. The oracle of the reflector's replies.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass


@dataclass
class Seen:
    """What the reflector noticed beside the octets, and what it put in that only it can know."""

    number: int
    """its sequence number"""
    error: bytes
    """its error estimate, 2 octets"""
    received: bytes
    """T2, 8 octets"""
    sent: bytes
    """T3, 8 octets"""
    ttl: int
    dscp: int = 0
    ecn: int = 0
    key: bytes | None = None
    counts: tuple[int, int] | None = None
    """requests received and replies sent in the session; None: no state"""
    follow_up: bytes = bytes(13)
    """number, time and method of an earlier reply"""
    sync: int = 0
    reply_dscp: frozenset[int] = frozenset()


def digest(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()[:16]


def reply(request: bytes, seen: Seen, *, authenticated: bool) -> bytes:
    """The reply to a request, of the same length."""
    padded = request + bytes(max(0, 44 - len(request)))
    number = seen.number.to_bytes(4, "big")
    if authenticated:
        base = number + bytes(12) + seen.sent + seen.error + request[26:28] + bytes(4) + seen.received + bytes(8)
        base += request[0:4] + bytes(12) + request[16:24] + request[24:26] + bytes(6) + bytes([seen.ttl]) + bytes(15)
        assert seen.key is not None
        base += digest(seen.key, base)
        size = 112
    else:
        base = number + seen.sent + seen.error + padded[14:16] + seen.received
        base += padded[0:4] + padded[4:12] + padded[12:14] + bytes(2) + bytes([seen.ttl]) + bytes(3)
        size = 44
    assert len(base) == size
    return (base + extensions(request, size, number, seen))[: len(request)]


def extensions(request: bytes, size: int, number: bytes, seen: Seen) -> bytes:
    parts = split(request[size:])
    sound = not broken(request, size, parts, seen.key)
    out = b""
    for kind, value, wrong in parts:
        flags = (0x40 if wrong else 0) | (0 if sound else 0x20)
        known = {1, 3, 4, 7} | ({8} if seen.key else set()) | ({5} if seen.counts else set())
        flags |= 0 if kind in known else 0x80
        if flags == 0:
            value = filled(kind, value, seen, digest(seen.key, number + out) if kind == 8 and seen.key else b"")
        out += bytes([flags, kind]) + request[size + len(out) + 2 : size + len(out) + 4] + value
    return out + request[size + len(out) :]


def filled(kind: int, value: bytes, seen: Seen, signature: bytes) -> bytes:
    if kind == 3:
        return bytes([seen.sync, 2, seen.sync, 2]) + value[4:]
    if kind == 4:
        asked = value[0] >> 2
        refused = 0 if asked == seen.dscp or asked in seen.reply_dscp else 1
        bits = f"{asked:06b}{seen.dscp:06b}{seen.ecn:02b}{refused:02b}" + "0" * 16
        return int(bits, 2).to_bytes(4, "big")
    if kind == 5:
        assert seen.counts is not None
        return value[:4] + seen.counts[0].to_bytes(4, "big") + seen.counts[1].to_bytes(4, "big")
    if kind == 7:
        return seen.follow_up + bytes(3)
    return signature if kind == 8 else value


def split(octets: bytes) -> list[tuple[int, bytes, bool]]:
    """(type, value that is there, malformed) of at most 16 TLVs; type 0 ends them."""
    sizes = {2: range(4, 65536), 3: range(4, 65536), 4: [4], 5: [12], 6: [4], 7: [16], 8: [16]}
    parts = []
    while len(octets) >= 4 and octets[1] and len(parts) < 16:
        length = int.from_bytes(octets[2:4], "big")
        value = octets[4 : 4 + length]
        cut = len(value) < length
        parts.append((octets[1], value, cut or length not in sizes.get(octets[1], range(65536))))
        if cut:
            break
        octets = octets[4 + length :]
    return parts


def broken(request: bytes, size: int, parts: list[tuple[int, bytes, bool]], key: bytes | None) -> bool:
    """Whether there is an HMAC TLV that does not verify, or that something but padding follows."""
    kinds = [kind for kind, _, _ in parts]
    if 8 not in kinds or key is None:
        return False
    at = kinds.index(8)
    before = sum(4 + len(value) for _, value, _ in parts[:at])
    _, value, wrong = parts[at]
    return (
        wrong
        or any(kind != 1 for kind in kinds[at + 1 :])
        or digest(key, request[:4] + request[size : size + before]) != value
    )
