"""Test packets of STAMP (RFC 8762; SSID: RFC 8972 section 3), TWAMP Light and TWAMP-Test open mode (RFC 5357). Pure.

Unauthenticated, 44 octets, then TLVs (probes.wire.stamp_tlv). A sender's packet:

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                        Sequence Number                        |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                    Timestamp, T1 (8 octets)                   |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |         Error Estimate        |              SSID             |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                        MBZ (28 octets)                        |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

and a reflector's:

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                        Sequence Number                        |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                    Timestamp, T3 (8 octets)                   |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |         Error Estimate        |              SSID             |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                Receive Timestamp, T2 (8 octets)               |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |                 Session-Sender Sequence Number                |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |            Session-Sender Timestamp, T1 (8 octets)            |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     | Session-Sender Error Estimate |              MBZ              |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     | Ses-Sender TTL|                      MBZ                      |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Authenticated, 112 octets, then TLVs. All that is not named is MBZ:

     sender       0 Sequence Number (4)   16 Timestamp (8)   24 Error Estimate (2)   26 SSID (2)   96 HMAC (16)
     reflector    as the sender, and 32 Receive Timestamp (8)   48 Session-Sender Sequence Number (4)
                  64 Session-Sender Timestamp (8)   72 Session-Sender Error Estimate (2)   80 Session-Sender TTL (1)

TWAMP Light and TWAMP-Test in open mode (RFC 5357 sections 4.1.2, 4.2.1) lay the same fields out the same way, but a
sender's packet ends after 14 octets and a reflector's after 41, or goes on with padding of any content: what is there
of the 44 octets is read, what is missing reads as zero (RFC 8762 section 4.6). MBZ is ignored when read.

A timestamp is a word of probes.wire.ntp_time. Packets are rows of an octet matrix, shape (n, width).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.codec import Octets
from probes.wire.ntp_time import Words

PORT: Final = 862
"""UDP port of a reflector"""
UNAUTHENTICATED_SIZE: Final = 44
AUTHENTICATED_SIZE: Final = 112
SHORTEST_REQUEST: Final = 14
"""octets of a TWAMP sender's packet without padding"""
SHORTEST_REPLY: Final = 38
"""octets of a reflector's packet up to the sender's error estimate; some reflectors stop there"""

Fields = NDArray[np.uint16]

_TTL_OFFSET: Final = 40


def _layout(size: int, **fields: tuple[int, str]) -> np.dtype[np.void]:
    """A record of `size` octets; each field by its offset and type, in network byte order."""
    return np.dtype(
        {
            "names": list(fields),
            "offsets": [offset for offset, _ in fields.values()],
            "formats": [f">{form}" for _, form in fields.values()],
            "itemsize": size,
        }
    )


_SENDER: Final = {
    False: _layout(
        UNAUTHENTICATED_SIZE, sequence=(0, "u4"), stamp=(4, "u8"), error=(12, "u2"), ssid=(14, "u2")
    ),
    True: _layout(
        AUTHENTICATED_SIZE, sequence=(0, "u4"), stamp=(16, "u8"), error=(24, "u2"), ssid=(26, "u2")
    ),
}  # fmt: skip
_REFLECTOR: Final = {
    False: _layout(
        UNAUTHENTICATED_SIZE, sequence=(0, "u4"), stamp=(4, "u8"), error=(12, "u2"), ssid=(14, "u2"),
        received=(16, "u8"), sender_sequence=(24, "u4"), sender_stamp=(28, "u8"),
        sender_error=(36, "u2"), sender_ttl=(40, "u1"),
    ),
    True: _layout(
        AUTHENTICATED_SIZE, sequence=(0, "u4"), stamp=(16, "u8"), error=(24, "u2"), ssid=(26, "u2"),
        received=(32, "u8"), sender_sequence=(48, "u4"), sender_stamp=(64, "u8"),
        sender_error=(72, "u2"), sender_ttl=(80, "u1"),
    ),
}  # fmt: skip
"""by whether the packet is authenticated"""


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Senders' packets, arrays (n,). `valid` is False where there are too few octets to be one."""

    valid: NDArray[np.bool_]
    sequence: Int64
    """32 bits"""
    stamp: Words
    """T1 by the sender's clock"""
    error: Fields
    ssid: Fields


@dataclass(frozen=True, slots=True, eq=False)
class Replies:
    """Reflectors' packets, arrays (n,). `valid` is False where there are too few octets to be one."""

    valid: NDArray[np.bool_]
    sequence: Int64
    """the reflector's own count, or the sender's sequence again from a reflector that keeps no state; 32 bits"""
    stamp: Words
    """T3 by the reflector's clock"""
    error: Fields
    """of T3 and T2"""
    ssid: Fields
    received: Words
    """T2 by the reflector's clock"""
    sender_sequence: Int64
    sender_stamp: Words
    """T1 as the reflector echoes it"""
    sender_error: Fields
    sender_ttl: Int64
    """TTL or hop limit with which the request arrived; ABSENT where the packet ends before it"""


def base_size(authenticated: bool) -> int:
    """Octets before the first TLV."""
    return AUTHENTICATED_SIZE if authenticated else UNAUTHENTICATED_SIZE


def write_requests(
    out: Octets, *, sequence: Int64, stamp: Words, error: Fields | int, ssid: Fields | int, authenticated: bool
) -> None:
    """Senders' packets into the first octets of `out`, shape (n, width >= base_size); MBZ and HMAC become zero.

    TLVs (probes.wire.stamp_tlv) and then the HMAC (probes.wire.stamp_auth) are for the caller to add.
    """
    record = _blank(out, _SENDER[authenticated])
    record["sequence"] = sequence
    record["stamp"] = stamp
    record["error"] = error
    record["ssid"] = ssid


def read_requests(data: Octets, length: Int64, *, authenticated: bool) -> Requests:
    """Senders' packets from rows of which `length` octets are there, 14 at least, or 112 where authenticated."""
    record = _records(data, length, _SENDER[authenticated])
    valid = length >= (AUTHENTICATED_SIZE if authenticated else SHORTEST_REQUEST)
    return Requests(valid, *_common(record))


def write_replies(
    out: Octets, *, sequence: Int64, stamp: Words, error: Fields | int, ssid: Fields | int, received: Words,
    request: Requests, ttl: Int64 | int, authenticated: bool,
) -> None:  # fmt: skip
    """Reflectors' packets into the first octets of `out`, shape (n, width >= base_size); MBZ and HMAC become zero.

    ttl: the TTL or hop limit of the requests; 255 where it is not known (RFC 8762 section 4.3.1).
    """
    record = _blank(out, _REFLECTOR[authenticated])
    record["sequence"] = sequence
    record["stamp"] = stamp
    record["error"] = error
    record["ssid"] = ssid
    record["received"] = received
    record["sender_sequence"] = request.sequence
    record["sender_stamp"] = request.stamp
    record["sender_error"] = request.error
    record["sender_ttl"] = ttl


def read_replies(data: Octets, length: Int64, *, authenticated: bool) -> Replies:
    """Reflectors' packets from rows of which `length` octets are there, 38 at least, or 112 where authenticated."""
    record = _records(data, length, _REFLECTOR[authenticated])
    valid = length >= (AUTHENTICATED_SIZE if authenticated else SHORTEST_REPLY)
    ttl = record["sender_ttl"].astype(np.int64)
    if not authenticated:
        ttl[length <= _TTL_OFFSET] = ABSENT
    return Replies(
        valid, *_common(record),
        received=record["received"].astype(np.uint64),
        sender_sequence=record["sender_sequence"].astype(np.int64),
        sender_stamp=record["sender_stamp"].astype(np.uint64),
        sender_error=record["sender_error"].astype(np.uint16),
        sender_ttl=ttl,
    )  # fmt: skip


def _blank(out: Octets, layout: np.dtype[np.void]) -> NDArray[np.void]:
    """The first octets of each row as a record (n,), zeroed."""
    base = out[:, : layout.itemsize]
    base[:] = 0
    return base.view(layout)[:, 0]


def _records(data: Octets, length: Int64, layout: np.dtype[np.void]) -> NDArray[np.void]:
    """The first octets of each row as a record (n,); octets from `length` on read as zero."""
    size = layout.itemsize
    base = data[:, :size]
    if base.shape[1] < size or (length < size).any():
        whole = np.zeros((len(data), size), np.uint8)
        whole[:, : base.shape[1]] = base
        whole[np.arange(size) >= length[:, None]] = 0
        base = whole
    elif base.strides[1] != 1:
        base = np.ascontiguousarray(base)
    return base.view(layout)[:, 0]


def _common(record: NDArray[np.void]) -> tuple[Int64, Words, Fields, Fields]:
    return (
        record["sequence"].astype(np.int64),
        record["stamp"].astype(np.uint64),
        record["error"].astype(np.uint16),
        record["ssid"].astype(np.uint16),
    )
