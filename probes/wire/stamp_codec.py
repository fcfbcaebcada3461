"""What a STAMP sender writes and understands, as the engine wants it: RFC 8762 with extensions of RFC 8972. Pure.

     +-------------------+-----------------------------------------------------+----------+-----------------+
     | base, 44 or 112   | Follow-Up Telemetry, Class of Service, Timestamp    | HMAC TLV | Extra Padding   |
     | (authenticated)   | Information, Direct Measurement: those asked for    |          | up to the size  |
     +-------------------+-----------------------------------------------------+----------+-----------------+

The HMAC TLV is there in authenticated packets that have others. A reply without TLVs, or with TLVs that its reflector
did not understand or that do not verify, counts all the same; only what they would have said is missing.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.codec import Octets, Quoted, Reflections, SessionCodec
from probes.wire import stamp, stamp_auth, stamp_tlv
from probes.wire.ntp_time import Words, error_estimate, from_ntp, from_ptp, read_error, to_ntp, to_ptp

Flags = NDArray[np.bool_]

NONCE_BITS: Final = {"ntp": 12, "ptp": 10}
"""lowest bits of T1 that are keyed random: 0.95 us of 2^-32 s, 1.02 us of ns"""
UNKNOWN_ERROR_NS: Final = 16 * 10**9
"""Said of a clock whose error is not known: what the kernel takes for the worst (NTP_PHASE_LIMIT)."""

_LAST_BLOCK: Final = (10**9 - (1 << NONCE_BITS["ptp"])) >> NONCE_BITS["ptp"] << NONCE_BITS["ptp"]
_COUNT_OFFSET: Final = stamp_tlv.HEADER


class StampCodec(SessionCodec):
    """Sessions of one make: the same extensions, key and DSCP."""

    def __init__(
        self, *, ssid: int = 0, key: bytes | None = None, stamps: Literal["ntp", "ptp"] = "ntp", follow_up: bool = True,
        class_of_service: bool = True, timestamp_information: bool = False, direct_measurement: bool = False,
        dscp: int = 0,
    ) -> None:  # fmt: skip
        """Raises LocalError for a key that is too short. dscp: what replies are asked to carry."""
        self._ssid, self._dscp, self._ptp = ssid, dscp, stamps == "ptp"
        self._bits = NONCE_BITS[stamps]
        self._key = None if key is None else stamp_auth.Key(key)
        self._base = stamp.base_size(self._key is not None)
        self._asked = (follow_up, class_of_service, timestamp_information, direct_measurement)
        self._fixed = self._extensions(np.zeros((1, 512), np.uint8), 512)[1]
        self.minimum_size = self._fixed
        self.minimum_reply = self._base if self._key is not None else stamp.SHORTEST_REPLY
        self._written: dict[int, tuple[Octets, int]] = {}
        """of each size: octets from the end of the base packet on, and where the sender's count stands (-1: nowhere)"""

    def stamps(self, wall_ns: int, nonce: Words) -> Words:
        keyed = np.uint64((1 << self._bits) - 1)
        now = np.array([wall_ns], np.int64)
        if not self._ptp:
            return np.asarray(to_ntp(now) & ~keyed | nonce & keyed, np.uint64)
        second = now // 10**9 * 10**9
        block = np.minimum(now - second >> self._bits << self._bits, _LAST_BLOCK)
        return np.asarray(to_ptp(second + block) & ~keyed | nonce & keyed, np.uint64)

    def request(self, out: Octets, *, sequence: Int64, stamp: Words, error_ns: int | None, synchronised: bool) -> None:
        known = UNKNOWN_ERROR_NS if error_ns is None else error_ns
        error = error_estimate(known, synchronised=synchronised and error_ns is not None, ptp=self._ptp)
        authenticated = self._key is not None
        _write_base(out, sequence, stamp, error, self._ssid, authenticated)
        tail, count_at = self._tail(out.shape[1])
        out[:, self._base :] = tail
        if count_at >= 0:
            out[:, count_at : count_at + 4].view(">u4")[:, 0] = sequence + 1 & 0xFFFF_FFFF
        if self._key is not None:
            stamp_auth.sign(out, self._key)
            if any(self._asked):
                length = np.full(len(out), out.shape[1], np.int64)
                stamp_auth.sign_tlvs(out, stamp_tlv.read(out, length, self._base), self._key, self._base)

    def replies(self, data: Octets, length: Int64, *, near_ns: int) -> Reflections:
        read = stamp.read_replies(data, length, authenticated=self._key is not None)
        error = read_error(read.error)
        arrived, departed = (_times(words, error.ptp, near_ns) for words in (read.received, read.stamp))
        genuine = read.valid if self._key is None else read.valid & stamp_auth.verify(data, length, self._key)
        tlvs = stamp_tlv.read(data, length, self._base)
        trusted = self._trusted(data, tlvs)
        follow_up, class_of_service, timestamp_information, _ = self._asked
        absent = np.full(len(length), ABSENT, np.int64)
        followed = _followed(data, tlvs, trusted, error.ptp, near_ns) if follow_up else (absent, absent)
        free = _free_running(data, tlvs, trusted) if timestamp_information else np.zeros(len(length), np.bool_)
        return Reflections(
            valid=genuine,
            forged=read.valid & ~genuine,
            sequence=read.sender_sequence,
            stamp=read.sender_stamp,
            number=self._numbers(data, tlvs, trusted, read),
            arrived_ns=arrived,
            departed_ns=departed,
            error_ns=error.error_ns,
            synchronised=error.synchronised & ~free,
            ttl=read.sender_ttl,
            dscp=_dscp(data, tlvs, trusted) if class_of_service else absent,
            followed=followed[0],
            followed_ns=followed[1],
        )

    def quoted(self, data: Octets, length: Int64) -> Quoted:
        """An error often quotes no more than the start, and 14 octets (32 authenticated) tell all that is needed."""
        least = stamp.SHORTEST_REQUEST if self._key is None else 28
        room = np.zeros((len(data), max(self._base, data.shape[1])), np.uint8)
        room[:, : data.shape[1]] = data
        whole = np.maximum(length, self._base)
        read = stamp.read_requests(room, whole, authenticated=self._key is not None)
        return Quoted(length >= least, read.sequence, read.stamp)

    def _extensions(self, row: Octets, size: int) -> tuple[int, int]:
        """Write TLVs behind the base packet of one row; where the sender's count stands, and the octets without
        padding."""
        follow_up, class_of_service, timestamp_information, direct_measurement = self._asked
        at, count_at = self._base, -1
        if follow_up:
            at += stamp_tlv.write_follow_up(row[:, at:])
        if class_of_service:
            at += stamp_tlv.write_class_of_service(row[:, at:], self._dscp)
        if timestamp_information:
            at += stamp_tlv.write_timestamp_information(row[:, at:])
        if direct_measurement:
            count_at = at + _COUNT_OFFSET
            at += stamp_tlv.write_direct_measurement(row[:, at:], 0)
        if self._key is not None and any(self._asked):
            at += stamp_tlv.write_hmac(row[:, at:])
        if size - at >= stamp_tlv.HEADER:
            stamp_tlv.write_extra_padding(row[:, at:], size - at)
        return count_at, at

    def _tail(self, size: int) -> tuple[Octets, int]:
        if size not in self._written:
            row = np.zeros((1, size), np.uint8)
            count_at, _ = self._extensions(row, size)
            self._written[size] = row[0, self._base :].copy(), count_at
        return self._written[size]

    def _trusted(self, data: Octets, tlvs: stamp_tlv.Tlvs) -> Flags:
        """Replies whose TLVs may be believed: they verify where there is a key, and did verify at the reflector."""
        if not tlvs.kind.shape[1]:
            return np.zeros(len(data), np.bool_)
        trusted = ~stamp_tlv.failed(tlvs)
        if self._key is not None:
            trusted &= stamp_auth.verify_tlvs(data, tlvs, self._key, self._base).good
        return trusted

    def _numbers(self, data: Octets, tlvs: stamp_tlv.Tlvs, trusted: Flags, read: stamp.Replies) -> Int64:
        """The reflector's numbers; one that keeps no state may still count what it sends, this reply included
        (Direct Measurement)."""
        if not self._asked[3]:
            return read.sequence
        counters = stamp_tlv.read_counters(data, tlvs)
        counts = counters.present & trusted & _answered(tlvs, stamp_tlv.DIRECT_MEASUREMENT)
        stateless = read.sequence == read.sender_sequence
        return np.where(counts & stateless, counters.reflector_sent - 1 & 0xFFFF_FFFF, read.sequence)


def _write_base(out: Octets, sequence: Int64, words: Words, error: int, ssid: int, authenticated: bool) -> None:
    stamp.write_requests(out, sequence=sequence, stamp=words, error=error, ssid=ssid, authenticated=authenticated)


def _times(words: Words, ptp: Flags, near_ns: int) -> Int64:
    """UTC ns of stamps; ABSENT where a word is none."""
    if not ptp.any():
        return from_ntp(words, near_ns)
    if ptp.all():
        return from_ptp(words, near_ns)
    return np.where(ptp, from_ptp(words, near_ns), from_ntp(words, near_ns))


def _answered(tlvs: stamp_tlv.Tlvs, kind: int) -> Flags:
    """Rows whose TLV of this kind the reflector has understood: it cleared the flag that says otherwise."""
    wrong = stamp_tlv.UNRECOGNISED | stamp_tlv.MALFORMED
    return np.asarray(((tlvs.kind == kind) & (tlvs.flags & wrong == 0)).any(axis=1))


def _followed(data: Octets, tlvs: stamp_tlv.Tlvs, trusted: Flags, ptp: Flags, near_ns: int) -> tuple[Int64, Int64]:
    """Follow-Up Telemetry: number of the earlier reply and when it left; ABSENT where nothing is told."""
    found = stamp_tlv.read_follow_ups(data, tlvs)
    told = found.present & trusted & (found.stamp != 0) & _answered(tlvs, stamp_tlv.FOLLOW_UP)
    left = _times(found.stamp, ptp, near_ns)
    told &= left != ABSENT
    return np.where(told, found.sequence, ABSENT), np.where(told, left, ABSENT)


def _dscp(data: Octets, tlvs: stamp_tlv.Tlvs, trusted: Flags) -> Int64:
    found = stamp_tlv.read_classes(data, tlvs)
    told = found.present & trusted & _answered(tlvs, stamp_tlv.CLASS_OF_SERVICE)
    return np.where(told, found.received_dscp, ABSENT)


def _free_running(data: Octets, tlvs: stamp_tlv.Tlvs, trusted: Flags) -> Flags:
    """The reflector says that its clock follows nothing (Timestamp Information)."""
    found = stamp_tlv.read_stamp_sources(data, tlvs)
    told = found.present & trusted & _answered(tlvs, stamp_tlv.TIMESTAMP_INFORMATION)
    local = (found.sync_in == stamp_tlv.SYNC_LOCAL) | (found.sync_out == stamp_tlv.SYNC_LOCAL)
    return np.asarray(told & local)
