"""STAMP replies octet by octet with struct, from RFC 8762 and RFC 8972: shares nothing with the code under test."""

from __future__ import annotations

import hashlib
import hmac
import struct

EPOCH = 2_208_988_800
SYNCHRONISED = 0x8000
PTP = 0x4000


def word(utc_ns: int, *, ptp: bool = False) -> int:
    """A timestamp as one number."""
    seconds, rest = divmod(utc_ns, 10**9)
    if ptp:
        return seconds << 32 | rest
    return ((seconds + EPOCH) << 32 | ((rest << 32) + 500_000_000) // 10**9) & (1 << 64) - 1


def digest(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()[:16]


def request(data: bytes, key: bytes | None) -> tuple[int, int, int, int]:
    """Sequence, T1, error estimate and SSID; a wrong digest is an AssertionError."""
    if key is None:
        found: tuple[int, int, int, int] = struct.unpack_from(">IQHH", data)
        return found
    assert hmac.compare_digest(data[96:112], digest(key, data[:96]))
    return struct.unpack_from(">I12xQHH", data)  # type: ignore[return-value]


def reply(
    data: bytes, *, number: int | None, t2: int, t3: int, error: int, ttl: int, dscp: int, count: int,
    before: tuple[int, int] | None, key: bytes | None = None, extensions: bool = True,
) -> bytes:  # fmt: skip
    """The answer to a request. number: None copies the sender's; before: number and true departure of the last reply;
    count: replies so far, this one included.
    """
    sequence, stamp, sender_error, ssid = request(data, key)
    number = sequence if number is None else number
    out = bytearray(len(data))
    if key is None:
        struct.pack_into(
            ">IQHHQIQHHB", out, 0, number, t3, error, ssid, t2, sequence, stamp, sender_error, 0, ttl
        )  # fmt: skip
        base = 44
    else:
        layout = ">I12xQHH4xQ8xI12xQH6xB"
        struct.pack_into(layout, out, 0, number, t3, error, ssid, t2, sequence, stamp, sender_error, ttl)
        out[96:112] = digest(key, bytes(out[:96]))
        base = 112
    if extensions:
        out[base:] = data[base:]
        _extend(out, base, dscp, count, before, key)
    return bytes(out)


def _extend(
    out: bytearray, base: int, dscp: int, count: int, before: tuple[int, int] | None, key: bytes | None
) -> None:
    at = base
    while at + 4 <= len(out) and out[at + 1]:
        kind, size = out[at + 1], int.from_bytes(out[at + 2 : at + 4], "big")
        assert out[at] == 0x80
        out[at] = 0
        if kind == 7 and before is not None:
            struct.pack_into(">IQB", out, at + 4, *before, 2)
        if kind == 4:
            asked = int.from_bytes(out[at + 4 : at + 6], "big")
            struct.pack_into(">H", out, at + 4, asked | dscp << 4)
        if kind == 5:
            struct.pack_into(">II", out, at + 8, count, count)
        if kind == 3:
            out[at + 4 : at + 8] = bytes((1, 2, 1, 2))
        if kind == 8:
            assert key is not None
            out[at + 4 : at + 20] = digest(key, bytes(out[:4]) + bytes(out[base:at]))
        at += 4 + size
