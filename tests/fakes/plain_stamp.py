"""A second codec of STAMP and TWAMP-Test packets, one packet at a time with struct and fractions.

What the first is held against: from RFC 8762, RFC 8972 and RFC 5357; nothing of probes.wire is used here.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

EPOCH_1900 = 25567 * 86400  # 70 years of 365 days and 17 leap days


def ntp(ns: int) -> int:
    seconds, rest = divmod(ns, 10**9)
    return ((seconds + EPOCH_1900) % 2**32) << 32 | int(Fraction(rest * 2**32, 10**9) + Fraction(1, 2))


def ptp(ns: int) -> int:
    seconds, rest = divmod(ns, 10**9)
    return (seconds % 2**32) << 32 | rest


def clock_error_ns(field: int) -> int | None:
    """Rounded up; None for a Multiplier of 0."""
    scale, multiplier = field >> 8 & 63, field & 255
    return ceil(Fraction(multiplier * 2**scale * 10**9, 2**32)) if multiplier else None


def request(sequence: int, stamp: int, error: int, ssid: int, authenticated: bool) -> bytes:
    if authenticated:
        return struct.pack(">I12xQHH68x16x", sequence, stamp, error, ssid)
    return struct.pack(">IQHH28x", sequence, stamp, error, ssid)


def reply(
    sequence: int, stamp: int, error: int, ssid: int, received: int,
    sender: tuple[int, int, int], ttl: int, authenticated: bool,
) -> bytes:  # fmt: skip
    """sender: sequence, T1 and error estimate of the request."""
    sender_sequence, sender_stamp, sender_error = sender
    if authenticated:
        return struct.pack(
            ">I12xQHH4xQ8xI12xQH6xB15x16x",
            sequence, stamp, error, ssid, received, sender_sequence, sender_stamp, sender_error, ttl,
        )  # fmt: skip
    return struct.pack(
        ">IQHHQIQHHB3x", sequence, stamp, error, ssid, received, sender_sequence, sender_stamp, sender_error, 0, ttl
    )


def parse_request(data: bytes, authenticated: bool) -> tuple[int, ...] | None:
    """sequence, T1, error, SSID."""
    if len(data) < (112 if authenticated else 14):
        return None
    if authenticated:
        return struct.unpack_from(">I12xQHH", data)
    return struct.unpack_from(">IQHH", data.ljust(44, b"\0"))


def parse_reply(data: bytes, authenticated: bool) -> tuple[int | None, ...] | None:
    """sequence, T3, error, SSID, T2, sender's sequence, T1 and error, TTL (None where the packet ends before it)."""
    if len(data) < (112 if authenticated else 38):
        return None
    if authenticated:
        return struct.unpack_from(">I12xQHH4xQ8xI12xQH6xB", data)
    fields = struct.unpack_from(">IQHHQIQHxxB", data.ljust(44, b"\0"))
    return (*fields[:-1], fields[-1] if len(data) > 40 else None)


@dataclass(frozen=True)
class Tlv:
    kind: int
    flags: int
    at: int
    value: bytes
    malformed: bool


POSSIBLE = {2: range(4, 65536), 3: range(4, 65536), 4: [4], 5: [12], 6: [4], 7: [16], 8: [16]}
ANSWERED = {1, 3, 4, 5, 7, 8}


def tlvs(data: bytes, start: int, most: int = 16) -> list[Tlv]:
    found: list[Tlv] = []
    while start + 4 <= len(data) and len(found) < most:
        flags, kind, size = struct.unpack_from(">BBH", data, start)
        if kind == 0:
            break
        value = data[start + 4 : start + 4 + size]
        malformed = len(value) < size or size not in POSSIBLE.get(kind, range(65536))
        found.append(Tlv(kind, flags, start, value, malformed))
        if len(value) < size:
            break
        start += 4 + size
    return found


def flags_of_answer(tlv: Tlv, broken: bool) -> int:
    return (0 if tlv.kind in ANSWERED else 0x80) | (0x40 if tlv.malformed else 0) | (0x20 if broken else 0)


def digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, "sha256").digest()[:16]


def hmac_tlv(data: bytes, start: int, key: bytes) -> bool | None:
    """Whether the HMAC TLV verifies; None where there is none."""
    found = tlvs(data, start)
    places = [index for index, tlv in enumerate(found) if tlv.kind == 8]
    if not places:
        return None
    first = found[places[0]]
    if any(tlv.kind != 1 for tlv in found[places[0] + 1 :]) or first.malformed:
        return False
    return first.value == digest(key, data[:4] + data[start : first.at])
