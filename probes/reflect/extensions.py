"""The TLVs of STAMP requests, answered in place, row by row: what each means is in probes.wire.stamp_tlv. Pure.

Nothing a sender asks for here makes a reply longer, sends it elsewhere or sends more than one: Return Path (RFC 9503)
and Reflected Test Packet Control are returned as unrecognised, as all types are that are not answered.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from probes.reflect.flows import Flow
from probes.reflect.stamp_sessions import Session
from probes.wire import stamp_tlv as tlv
from probes.wire.stamp_answer import word_of
from probes.wire.stamp_auth import DIGEST_SIZE, Key

SEQUENCE_SIZE: Final = 4
_HEADER: Final = struct.Struct(">BBH")
_CLASS: Final = struct.Struct(">HH")
_COUNTERS: Final = struct.Struct(">II")
_FOLLOW_UP: Final = struct.Struct(">IQBxxx")
_LEAST_AND_MOST: Final = {
    tlv.EXTRA_PADDING: (0, 0xFFFF),
    tlv.LOCATION: (4, 0xFFFF),
    tlv.TIMESTAMP_INFORMATION: (4, 0xFFFF),
    tlv.CLASS_OF_SERVICE: (4, 4),
    tlv.DIRECT_MEASUREMENT: (12, 12),
    tlv.ACCESS_REPORT: (4, 4),
    tlv.FOLLOW_UP: (16, 16),
    tlv.HMAC: (16, 16),
}
"""octets of a value that are possible for the type"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the TLVs want of the reply. dscp None: that of the request."""

    dscp: int | None = None
    follow_up: bool = False
    """its true send time is to be told to the session later"""
    sign_at: int = -1
    """offset of the HMAC TLV that the reply is to have; -1: none"""


NOTHING: Final = Asked()


@dataclass(slots=True)
class Tlv:
    """Offsets are of the buffer; `size` octets of value are there."""

    kind: int
    at: int
    size: int
    flags: int = 0


class Extensions:
    """key: for the HMAC TLV; None: it is unrecognised. reply_dscp: code points that a sender may ask for."""

    def __init__(self, key: Key | None, reply_dscp: Set[int]) -> None:
        self._key, self._reply_dscp = key, reply_dscp
        self.synchronised = False
        """what this host's clock is"""

    def answer(
        self, data: memoryview, start: int, first: int, end: int, *, flow: Flow, session: Session | None, ptp: bool
    ) -> Asked:
        """Turn the TLVs between `first` and `end` of the packet that begins at `start` into those of its reply, but for
        the HMAC, which `sign` adds. session: with this request and its reply counted; None where no state is kept.
        """
        found = read(data, first, end)
        if not found:
            return NOTHING
        sound = self._verified(data, start, first, found)
        dscp, follow_up, sign_at = None, False, -1
        for item in found:
            value = item.at + _HEADER.size
            if not sound:
                item.flags |= tlv.INTEGRITY
            if item.kind == tlv.HMAC:
                item.flags |= 0 if self._key else tlv.UNRECOGNISED
                sign_at = item.at if item.flags == 0 else -1
            elif (item.kind == tlv.DIRECT_MEASUREMENT and session is None) or item.kind not in _ANSWERED:
                item.flags |= tlv.UNRECOGNISED
            elif item.flags == 0 and item.kind == tlv.CLASS_OF_SERVICE:
                dscp = self._class_of_service(data, value, flow)
            elif item.flags == 0 and item.kind == tlv.FOLLOW_UP:
                follow_up = session is not None
                _follow_up(data, value, session, ptp)
            elif item.flags == 0 and item.kind == tlv.TIMESTAMP_INFORMATION:
                source = tlv.SYNC_LOCAL if not self.synchronised else 0
                data[value : value + 4] = bytes((source, tlv.STAMP_SOFTWARE, source, tlv.STAMP_SOFTWARE))
            elif item.flags == 0 and item.kind == tlv.DIRECT_MEASUREMENT and session is not None:
                _COUNTERS.pack_into(data, value + 4, session.received & 0xFFFFFFFF, session.sent & 0xFFFFFFFF)
            data[item.at] = item.flags
        return Asked(dscp, follow_up, sign_at)

    def sign(self, data: memoryview, start: int, first: int, sign_at: int) -> None:
        """The HMAC TLV of a reply whose sequence number and other TLVs are written (RFC 8972 section 4.8)."""
        assert self._key is not None
        value = sign_at + _HEADER.size
        data[value : value + DIGEST_SIZE] = self._digest(self._key, data, start, first, sign_at)

    def _verified(self, data: memoryview, start: int, first: int, found: list[Tlv]) -> bool:
        """False where there is an HMAC TLV that is wrong, or not the last but for Extra Padding."""
        places = [number for number, item in enumerate(found) if item.kind == tlv.HMAC]
        if not places or self._key is None:
            return True
        item, after = found[places[0]], found[places[0] + 1 :]
        if item.flags or any(other.kind != tlv.EXTRA_PADDING for other in after):
            return False
        value = item.at + _HEADER.size
        digest = self._digest(self._key, data, start, first, item.at)
        return hmac.compare_digest(digest, data[value : value + DIGEST_SIZE])

    def _digest(self, key: Key, data: memoryview, start: int, first: int, end: int) -> bytes:
        return key.digests((bytes(data[start : start + SEQUENCE_SIZE]) + data[first:end],))[0]

    def _class_of_service(self, data: memoryview, value: int, flow: Flow) -> int | None:
        """What arrived into DSCP2 and ECN; the DSCP for the reply where it may be had, otherwise RP says that not."""
        asked = data[value] >> 2
        allowed = asked == flow.dscp or asked in self._reply_dscp
        path = tlv.PATH_AS_ASKED if allowed else tlv.PATH_REFUSED
        _CLASS.pack_into(data, value, asked << 10 | flow.dscp << 4 | flow.ecn << 2 | path, 0)
        return asked if allowed else None


_ANSWERED: Final = frozenset(
    (tlv.EXTRA_PADDING, tlv.TIMESTAMP_INFORMATION, tlv.CLASS_OF_SERVICE, tlv.DIRECT_MEASUREMENT, tlv.FOLLOW_UP)
)


def read(data: memoryview, first: int, end: int) -> list[Tlv]:
    """The TLVs of a packet, `stamp_tlv.MOST` at most; flags: malformed or nothing."""
    found: list[Tlv] = []
    while first + _HEADER.size <= end and len(found) < tlv.MOST:
        _, kind, size = _HEADER.unpack_from(data, first)
        if kind == 0:
            break
        there = min(size, end - first - _HEADER.size)
        least, most = _LEAST_AND_MOST.get(kind, (0, 0xFFFF))
        item = Tlv(kind, first, there, 0 if least <= size <= most and there == size else tlv.MALFORMED)
        found.append(item)
        if there != size:
            break
        first += _HEADER.size + size
    return found


def _follow_up(data: memoryview, value: int, session: Session | None, ptp: bool) -> None:
    """The oldest send time not yet told; zero where there is none, or no state is kept (RFC 8972 section 4.7)."""
    if session is not None and session.untold:
        number, sent_ns = session.untold.popleft()
        _FOLLOW_UP.pack_into(data, value, number, word_of(sent_ns, ptp), tlv.STAMP_SOFTWARE)
    else:
        _FOLLOW_UP.pack_into(data, value, 0, 0, 0)
