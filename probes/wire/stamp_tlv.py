"""Extensions of STAMP test packets, the TLVs after the base packet (RFC 8972 section 4). Pure.

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |U|M|I|R|R|R|R|R|     Type      |      Length of the value      |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |  value ...

U unrecognised: set by the sender, cleared by a reflector that knows the type. M malformed, I integrity (the HMAC did
not verify): zero from the sender, set by the reflector. Values, by type:

     1 Extra Padding           any octets (4.1)
     2 Location                tolerated: counted, never filled in (4.2)
     3 Timestamp Information   Sync Src In (1), Timestamp In (1), Sync Src Out (1), Timestamp Out (1), sub-TLVs (4.3)
     4 Class of Service        DSCP1 (6 bits), DSCP2 (6), ECN (2), RP (2), Reserved (16) (4.4)
     5 Direct Measurement      S_TxC (4), R_RxC (4), R_TxC (4) (4.5)
     6 Access Report           tolerated (4.6)
     7 Follow-Up Telemetry     Sequence Number (4), Follow-Up Timestamp (8), Timestamp M (1), Reserved (3) (4.7)
     8 HMAC                    16 octets (4.8; probes.wire.stamp_auth)

A length that is not possible for its type makes the TLV malformed; one that runs past the packet's end makes it
malformed and ends the list. Type 0 is reserved and ends the list too: so a TWAMP sender's zero padding is no TLV.
Packets are rows of an octet matrix, shape (n, width); their TLVs may be laid out alike or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.codec import Octets
from probes.wire.ntp_time import Words

HEADER: Final = 4

EXTRA_PADDING: Final = 1
LOCATION: Final = 2
TIMESTAMP_INFORMATION: Final = 3
CLASS_OF_SERVICE: Final = 4
DIRECT_MEASUREMENT: Final = 5
ACCESS_REPORT: Final = 6
FOLLOW_UP: Final = 7
HMAC: Final = 8

UNRECOGNISED: Final = 0x80
MALFORMED: Final = 0x40
INTEGRITY: Final = 0x20

TIMESTAMP_INFORMATION_SIZE: Final = 8
CLASS_OF_SERVICE_SIZE: Final = 8
DIRECT_MEASUREMENT_SIZE: Final = 16
FOLLOW_UP_SIZE: Final = 20
HMAC_SIZE: Final = 20
"""whole TLVs, header included"""

MOST: Final = 16
"""TLVs read of one packet; what follows is carried along unread"""

SYNC_NTP, SYNC_PTP, SYNC_SSU, SYNC_GNSS, SYNC_LOCAL = 1, 2, 3, 4, 5
"""sources of synchronisation (RFC 8972 section 5.4); 0 says nothing"""
STAMP_HARDWARE, STAMP_SOFTWARE, STAMP_CONTROL_PLANE = 1, 2, 3
"""methods of timestamping (RFC 8972 section 5.5); 0 says nothing"""
PATH_AS_ASKED, PATH_REFUSED = 0, 1
"""RP of Class of Service: the reply carries DSCP1, or the reflector's policy does not allow it"""

_LEAST: Final = np.zeros(256, np.int64)
_GREATEST: Final = np.full(256, 0xFFFF, np.int64)
for _kind, _least, _greatest in (
    (LOCATION, 4, 0xFFFF), (TIMESTAMP_INFORMATION, 4, 0xFFFF), (CLASS_OF_SERVICE, 4, 4), (DIRECT_MEASUREMENT, 12, 12),
    (ACCESS_REPORT, 4, 4), (FOLLOW_UP, 16, 16), (HMAC, 16, 16),
):  # fmt: skip
    _LEAST[_kind], _GREATEST[_kind] = _least, _greatest
_KNOWN: Final = np.isin(
    np.arange(256),
    (EXTRA_PADDING, TIMESTAMP_INFORMATION, CLASS_OF_SERVICE, DIRECT_MEASUREMENT, FOLLOW_UP, HMAC),
)
"""types our reflector answers for; it returns Location and Access Report as unrecognised"""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tlvs:
    """Where the TLVs of each packet lie, arrays (n, k) with k the largest count of any row; absent ones have kind 0."""

    kind: Int64
    flags: Int64
    """as read"""
    at: Int64
    """offset of the header in the row"""
    size: Int64
    """octets of the value that are there"""
    malformed: Mask
    """the length is not possible for the type, or passes the end of the packet"""

    def find(self, kind: int) -> Int64:
        """Offset of the value of the first well-formed TLV of this kind in each row, (n,); -1 where there is none."""
        hits = (self.kind == kind) & ~self.malformed
        rows = np.arange(len(hits))
        if not hits.shape[1]:
            return np.full(len(hits), -1, np.int64)
        first = hits.argmax(axis=1)
        return np.where(hits[rows, first], self.at[rows, first] + HEADER, -1)


@dataclass(frozen=True, slots=True, eq=False)
class FollowUps:
    """Follow-Up Telemetry, arrays (n,), zero where not present. `stamp` is when the reflector really sent its reply
    number `sequence`, in the format of its timestamps; method 0 means it has nothing to tell."""

    present: Mask
    sequence: Int64
    stamp: Words
    method: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Class of Service, arrays (n,), zero where not present."""

    present: Mask
    asked_dscp: Int64
    """DSCP1: what the reply is to carry"""
    received_dscp: Int64
    """DSCP2: what the request had on arrival at the reflector"""
    received_ecn: Int64
    reverse_path: Int64
    """RP: PATH_AS_ASKED or PATH_REFUSED"""


@dataclass(frozen=True, slots=True, eq=False)
class StampSources:
    """Timestamp Information, arrays (n,), zero where not present: how the reflector's T2 (in) and T3 (out) are made."""

    present: Mask
    sync_in: Int64
    method_in: Int64
    sync_out: Int64
    method_out: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Counters:
    """Direct Measurement, arrays (n,), 32-bit counts of in-profile packets, zero where not present."""

    present: Mask
    sender_sent: Int64
    reflector_received: Int64
    reflector_sent: Int64


def write(out: Octets, kind: int, size: int) -> int:
    """A sender's TLV with a zero value of `size` octets at the start of each row; returns the octets it takes."""
    out[:, :HEADER] = (UNRECOGNISED, kind, size >> 8, size & 255)
    out[:, HEADER : HEADER + size] = 0
    return HEADER + size


def write_extra_padding(out: Octets, size: int) -> int:
    """Extra Padding of `size` octets in all, at least 4, zero (4.1); returns them."""
    return write(out, EXTRA_PADDING, size - HEADER)


def write_timestamp_information(out: Octets) -> int:
    """An empty Timestamp Information for the reflector to fill in; returns its octets."""
    return write(out, TIMESTAMP_INFORMATION, TIMESTAMP_INFORMATION_SIZE - HEADER)


def write_class_of_service(out: Octets, dscp: NDArray[np.integer] | int) -> int:
    """Class of Service that asks for replies with this DSCP, scalar or (n,); returns its octets."""
    taken = write(out, CLASS_OF_SERVICE, CLASS_OF_SERVICE_SIZE - HEADER)
    out[:, HEADER] = np.asarray(dscp) << 2
    return taken


def write_direct_measurement(out: Octets, sent: NDArray[np.integer] | int) -> int:
    """Direct Measurement with the sender's count, scalar or (n,), modulo 2^32; returns its octets."""
    taken = write(out, DIRECT_MEASUREMENT, DIRECT_MEASUREMENT_SIZE - HEADER)
    _field(out, HEADER, ">u4")[:] = np.asarray(sent) & 0xFFFF_FFFF
    return taken


def write_follow_up(out: Octets) -> int:
    """An empty Follow-Up Telemetry for the reflector to fill in; returns its octets."""
    return write(out, FOLLOW_UP, FOLLOW_UP_SIZE - HEADER)


def write_hmac(out: Octets) -> int:
    """An HMAC TLV still to be signed (probes.wire.stamp_auth.sign_tlvs); returns its octets."""
    return write(out, HMAC, HMAC_SIZE - HEADER)


def read(data: Octets, length: Int64, start: int) -> Tlvs:
    """Find the TLVs of each row from column `start` (the base packet's size) to `length`."""
    length = np.minimum(length, data.shape[1])
    alike = _read_alike(data, length, start)
    return _read_each(data, length, start) if alike is None else alike


def _read_alike(data: Octets, length: Int64, start: int) -> Tlvs | None:
    """The usual case, cheaply: all rows are as long and laid out as the first. None where they are not."""
    n = len(data)
    if not n or (length != length[0]).any():
        return None
    first, end, at = data[0].tobytes(), int(length[0]), start
    found: list[tuple[int, int, int, bool]] = []
    while at + HEADER <= end and len(found) < MOST:
        kind, size = first[at + 1], first[at + 2] << 8 | first[at + 3]
        there = min(size, end - at - HEADER)
        found.append((kind, at, there, there != size or not _LEAST[kind] <= size <= _GREATEST[kind]))
        if kind == 0 or there != size:
            break
        at += HEADER + size
    table = np.array(found, np.int64).reshape(-1, 4)
    headers = data[:, table[:, 1, None] + np.arange(1, HEADER)]
    if (headers != headers[0]).any():
        return None
    table = table[table[:, 0] != 0]
    kinds, offsets, sizes, wrong = np.broadcast_to(table.T[:, None], (4, n, len(table)))
    return Tlvs(kinds, data[:, table[:, 1]].astype(np.int64), offsets, sizes, wrong != 0)


def _read_each(data: Octets, length: Int64, start: int) -> Tlvs:
    """Any rows, one step for the TLVs that come next in each."""
    n = len(data)
    rows, at = np.arange(n), np.full(n, start, np.int64)
    found: list[tuple[Int64, ...]] = []
    while len(found) < MOST:
        left = length - at - HEADER
        if left.max(initial=-1) < 0:
            break
        header = data[rows[:, None], np.where(left >= 0, at, 0)[:, None] + np.arange(HEADER)].astype(np.int64)
        kind = np.where(left >= 0, header[:, 1], 0)
        is_one = kind != 0
        if not is_one.any():
            break
        size = header[:, 2] << 8 | header[:, 3]
        there = np.minimum(size, left)
        wrong = (size != there) | (size < _LEAST[kind]) | (size > _GREATEST[kind])
        found.append(tuple(np.where(is_one, column, 0) for column in (kind, header[:, 0], at, there, wrong)))
        at = np.where(is_one & (size == there), at + HEADER + size, length)
    kind, flags, at, there, wrong = np.array(found, np.int64).reshape(len(found), 5, n).transpose(1, 2, 0)
    return Tlvs(kind, flags, at, there, wrong != 0)


def read_follow_ups(data: Octets, tlvs: Tlvs) -> FollowUps:
    """Follow-Up Telemetry of replies."""
    present, value = _values(data, tlvs, FOLLOW_UP, 16)
    sequence, stamp = _field(value, 0, ">u4").astype(np.int64), _field(value, 4, ">u8").astype(np.uint64)
    return FollowUps(present, sequence, stamp, value[:, 12].astype(np.int64))


def read_classes(data: Octets, tlvs: Tlvs) -> Classes:
    """Class of Service of requests or replies."""
    present, value = _values(data, tlvs, CLASS_OF_SERVICE, 4)
    word = _field(value, 0, ">u2").astype(np.int64)
    return Classes(present, word >> 10, word >> 4 & 63, word >> 2 & 3, word & 3)


def read_stamp_sources(data: Octets, tlvs: Tlvs) -> StampSources:
    """Timestamp Information of replies."""
    present, value = _values(data, tlvs, TIMESTAMP_INFORMATION, 4)
    return StampSources(present, *value.T.astype(np.int64))


def read_counters(data: Octets, tlvs: Tlvs) -> Counters:
    """Direct Measurement of requests or replies."""
    present, value = _values(data, tlvs, DIRECT_MEASUREMENT, 12)
    return Counters(present, *value.view(">u4").T.astype(np.int64))


def failed(tlvs: Tlvs) -> Mask:
    """Replies, (n,), whose reflector says that our TLVs did not verify: none of their TLVs counts (section 4.8)."""
    return np.asarray(((tlvs.kind != 0) & (tlvs.flags & INTEGRITY != 0)).any(axis=1))


def answer_flags(data: Octets, tlvs: Tlvs, broken: Mask | None = None) -> None:
    """Set the flags of every TLV in the rows as a reflector must: U for a type it does not answer for, M for one that
    is malformed, I in the rows that `broken`, (n,), says did not verify."""
    flags = np.where(_KNOWN[tlvs.kind], 0, UNRECOGNISED) | np.where(tlvs.malformed, MALFORMED, 0)
    if broken is not None:
        flags |= np.where(broken, INTEGRITY, 0)[:, None]
    row, column = np.nonzero(tlvs.kind)
    data[row, tlvs.at[row, column]] = flags[row, column]


def answer_follow_ups(data: Octets, tlvs: Tlvs, sequence: Int64, stamp: Words, method: Int64 | int) -> None:
    """Fill in Follow-Up Telemetry, arrays (n,): the number and the true time of the last reply of the session that was
    stamped on its way out; method 0 where there is none."""
    value = np.zeros((len(data), 16), np.uint8)
    _field(value, 0, ">u4")[:], _field(value, 4, ">u8")[:], value[:, 12] = sequence, stamp, method
    _put(data, tlvs.find(FOLLOW_UP), value)


def answer_classes(data: Octets, tlvs: Tlvs, dscp: Int64, ecn: Int64, reverse_path: Int64 | int) -> None:
    """Fill in Class of Service, arrays (n,): what the requests arrived with, and whether DSCP1 is followed."""
    asked = read_classes(data, tlvs).asked_dscp
    value = np.zeros((len(data), 4), np.uint8)
    _field(value, 0, ">u2")[:] = asked << 10 | (dscp & 63) << 4 | (ecn & 3) << 2 | reverse_path
    _put(data, tlvs.find(CLASS_OF_SERVICE), value)


def answer_stamp_sources(data: Octets, tlvs: Tlvs, sync: int, method_in: int, method_out: int) -> None:
    """Fill in Timestamp Information: one clock, and how T2 and T3 are taken."""
    value = np.empty((len(data), 4), np.uint8)
    value[:] = (sync, method_in, sync, method_out)
    _put(data, tlvs.find(TIMESTAMP_INFORMATION), value)


def answer_counters(data: Octets, tlvs: Tlvs, received: Int64, sent: Int64) -> None:
    """Fill in Direct Measurement, arrays (n,): what the reflector has received and sent, modulo 2^32."""
    value = np.zeros((len(data), 8), np.uint8)
    _field(value, 0, ">u4")[:], _field(value, 4, ">u4")[:] = received & 0xFFFF_FFFF, sent & 0xFFFF_FFFF
    at = tlvs.find(DIRECT_MEASUREMENT)
    _put(data, np.where(at < 0, at, at + 4), value)


def _field(rows: Octets, at: int, form: str) -> NDArray[np.unsignedinteger]:
    """One field of each row, (n,), a view that can be written."""
    size = int(form[2:])
    column: NDArray[np.unsignedinteger] = rows[:, at : at + size].view(form)[:, 0]
    return column


def _values(data: Octets, tlvs: Tlvs, kind: int, size: int) -> tuple[Mask, Octets]:
    """Which rows hold this kind, and the first `size` octets of its value, zero in the others."""
    at = tlvs.find(kind)
    value = np.zeros((len(data), size), np.uint8)
    row = np.flatnonzero(at >= 0)
    value[row] = data[row[:, None], at[row, None] + np.arange(size)]
    return at >= 0, value


def _put(data: Octets, at: Int64, value: Octets) -> None:
    """Write `value`, (n, size), into the rows at these columns; not where -1."""
    row = np.flatnonzero(at >= 0)
    data[row[:, None], at[row, None] + np.arange(value.shape[1])] = value[row]
