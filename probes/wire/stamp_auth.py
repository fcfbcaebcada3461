"""Keyed digests of STAMP test packets: HMAC-SHA-256 truncated to 128 bits (RFC 8762 section 4.4). Pure.

     0                            96            112                                at               at + 20
     +----------------------------+-------------+----------------------------------+------------------+---------------+
     |  base packet               |  HMAC (16)  |  TLVs                            |  HMAC TLV (20)   | Extra Padding |
     +----------------------------+-------------+----------------------------------+------------------+---------------+

The base packet's HMAC is over its octets 0 to 95. The HMAC TLV's is over the sequence number (octets 0 to 3) and all
TLVs before it (RFC 8972 section 4.8); it may protect TLVs of unauthenticated packets as well. It is the last TLV but
for Extra Padding: anywhere else it counts as one that does not verify.

A digest costs some Python calls per packet: the two keyed halves of the hash (RFC 2104) are computed once per key and
copied. It proves the key, not that the packet is new: replay is for the caller to see.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.codec import Octets
from probes.core.errors import LocalError
from probes.wire import stamp_tlv
from probes.wire.stamp import AUTHENTICATED_SIZE

DIGEST_SIZE: Final = 16
SHORTEST_KEY: Final = 16

_BLOCK: Final = 64
_SEQUENCE_SIZE: Final = 4
_SIGNED: Final = AUTHENTICATED_SIZE - DIGEST_SIZE
_INNER: Final = bytes(value ^ 0x36 for value in range(256))
_OUTER: Final = bytes(value ^ 0x5C for value in range(256))


class Key:
    """A shared secret, ready for use. Raises LocalError when it is shorter than 16 octets."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SHORTEST_KEY:
            raise LocalError(
                f"a STAMP key of {len(secret)} octets is too short", hint=f"use {SHORTEST_KEY} random octets or more"
            )
        block = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
        self._inner, self._outer = hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))

    def digests(self, messages: Iterable[bytes | memoryview]) -> list[bytes]:
        """HMAC-SHA-256 of each message, its first 128 bits."""
        copy_inner, copy_outer, found = self._inner.copy, self._outer.copy, []
        for message in messages:
            inner, outer = copy_inner(), copy_outer()
            inner.update(message)
            outer.update(inner.digest())
            found.append(outer.digest()[:DIGEST_SIZE])
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Integrity:
    """What the HMAC TLVs of packets say, arrays (n,). good: verified; broken: there is one that does not verify or is
    not where it belongs. Neither: there is none."""

    good: NDArray[np.bool_]
    broken: NDArray[np.bool_]


def sign(out: Octets, key: Key) -> None:
    """Write the HMAC of each base packet, shape (n, width >= 112)."""
    out[:, _SIGNED:AUTHENTICATED_SIZE] = _matrix(key.digests(_slices(out[:, :_SIGNED])))


def verify(data: Octets, length: Int64, key: Key) -> NDArray[np.bool_]:
    """Which rows hold a base packet with its right HMAC; compared in constant time."""
    n, width = data.shape
    if width < AUTHENTICATED_SIZE:
        return np.zeros(n, np.bool_)
    given = _slices(data[:, _SIGNED:AUTHENTICATED_SIZE])
    equal = map(hmac.compare_digest, key.digests(_slices(data[:, :_SIGNED])), given)
    return np.fromiter(equal, np.bool_, n) & (length >= AUTHENTICATED_SIZE)


def sign_tlvs(out: Octets, tlvs: stamp_tlv.Tlvs, key: Key, start: int) -> None:
    """Write the digests of the HMAC TLVs of packets whose TLVs begin at column `start`; rows without one stay as they
    are."""
    at = tlvs.find(stamp_tlv.HMAC)
    rows = np.flatnonzero(at >= 0)
    digests = _matrix(_tlv_digests(out, rows, at, key, start))
    out[rows[:, None], at[rows, None] + np.arange(DIGEST_SIZE)] = digests


def verify_tlvs(data: Octets, tlvs: stamp_tlv.Tlvs, key: Key, start: int) -> Integrity:
    """Check the HMAC TLVs of packets whose TLVs begin at column `start`; compared in constant time."""
    n = len(data)
    at = tlvs.find(stamp_tlv.HMAC)
    present, misplaced = (tlvs.kind == stamp_tlv.HMAC).any(axis=1), _misplaced(tlvs)
    good = np.zeros(n, np.bool_)
    rows = np.flatnonzero((at >= 0) & ~misplaced)
    given = _slices(data[rows[:, None], at[rows, None] + np.arange(DIGEST_SIZE)])
    good[rows] = list(map(hmac.compare_digest, _tlv_digests(data, rows, at, key, start), given))
    return Integrity(good, present & ~good)


def _misplaced(tlvs: stamp_tlv.Tlvs) -> NDArray[np.bool_]:
    """Rows in which something other than Extra Padding follows an HMAC TLV, or the HMAC TLV is malformed."""
    is_hmac = tlvs.kind == stamp_tlv.HMAC
    after = np.cumsum(is_hmac, axis=1) - is_hmac > 0
    other = (tlvs.kind != 0) & (tlvs.kind != stamp_tlv.EXTRA_PADDING)
    return np.asarray(((after & other) | (is_hmac & tlvs.malformed)).any(axis=1))


def _tlv_digests(data: Octets, rows: Int64, at: Int64, key: Key, start: int) -> list[bytes]:
    """Over the sequence number and all TLVs before the HMAC TLV."""
    whole = data[rows].tobytes()
    width, ends = data.shape[1], (at[rows] - stamp_tlv.HEADER).tolist()
    return key.digests(
        whole[row : row + _SEQUENCE_SIZE] + whole[row + start : row + end]
        for row, end in zip(range(0, len(whole), width), ends, strict=True)
    )


def _slices(rows: Octets) -> list[memoryview]:
    width = rows.shape[1]
    whole = memoryview(rows.tobytes())
    return [whole[at : at + width] for at in range(0, len(whole), width)]


def _matrix(digests: list[bytes]) -> Octets:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_SIZE)
