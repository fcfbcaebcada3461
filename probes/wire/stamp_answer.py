"""One STAMP request turned into its reply, in place: the row-wise twin of probes.wire.stamp, for a reflector. Pure.

Layouts, sizes and sections are those of probes.wire.stamp, which works on whole arrays. A reflector is woken for nearly
every packet up to some thousand a second, and then one `struct` call costs a tenth of what an array operation for each
field does (docs/decisions/0012-a-reflector-answers-row-by-row.md). Tests hold the two to the same octets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from probes.wire.ntp_time import EPOCH_1900_S, ERA_NS
from probes.wire.stamp import AUTHENTICATED_SIZE, UNAUTHENTICATED_SIZE

SHORTEST: Final = 41
"""octets of a TWAMP-Test reply in open mode (RFC 5357 section 4.2.1): the sender's TTL is the last"""
SYNCHRONISED: Final = 0x8000
PTP: Final = 0x4000
_SECOND: Final = 10**9
_HALF: Final = _SECOND // 2
_EPOCH_1900_NS: Final = EPOCH_1900_S * _SECOND


@dataclass(frozen=True, slots=True)
class Form:
    """Where the fields stand in one of the two modes."""

    size: int
    authenticated: bool
    request: struct.Struct
    """sequence, T1, error estimate, SSID, and what a reply holds for T2 (MBZ in a request)"""
    reply: struct.Struct
    """sequence, T3, error estimate, SSID, T2, then of the sender: sequence, T1, error estimate, TTL"""
    stamp: int
    """offset of T3"""


UNAUTHENTICATED: Final = Form(
    UNAUTHENTICATED_SIZE, False, struct.Struct(">IQHHQ"), struct.Struct(">IQHHQIQHxxBxxx"), 4
)  # fmt: skip
AUTHENTICATED: Final = Form(
    AUTHENTICATED_SIZE, True, struct.Struct(">I12xQHH4xQ"),
    struct.Struct(">I12xQHH4xQ8xI12xQH6xB15x"), 16,
)  # fmt: skip
"""the HMAC, octets 96 to 111, is probes.wire.stamp_auth's"""
WORD: Final = struct.Struct(">Q")


def word_of(ns: int, ptp: bool) -> int:
    """UTC ns since 1970 as a timestamp word: NTP, rounded to nearest, or truncated PTPv2."""
    if ptp:
        seconds, rest = divmod(ns, _SECOND)
        return (seconds & 0xFFFFFFFF) << 32 | rest
    return ((ns + _EPOCH_1900_NS << 32) + _HALF) // _SECOND & 0xFFFFFFFFFFFFFFFF


def ns_of(word: int, ptp: bool, near_ns: int) -> int:
    """A timestamp word as ns since 1970, of the era nearest to near_ns."""
    seconds, rest = word >> 32, word & 0xFFFFFFFF
    ns = seconds * _SECOND + rest if ptp else (seconds - EPOCH_1900_S) * _SECOND + (rest * _SECOND + (1 << 31) >> 32)
    return ns + (near_ns - ns + ERA_NS // 2) // ERA_NS * ERA_NS
