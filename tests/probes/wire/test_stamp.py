"""Test packets against scapy's STAMP layer, a second codec and packets written by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scapy.contrib.stamp import (
    ErrorEstimate,
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
)

from probes.core.arrays import ABSENT
from probes.wire import stamp
from tests.fakes import plain_stamp

U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
SCAPY_EPOCH = 2_208_988_800 << 32
"""scapy writes NTP seconds without the years from 1900 to 1970"""

Octets = NDArray[np.uint8]


def rows(*packets: bytes, width: int | None = None, rubbish: int = 0xEE) -> tuple[Octets, NDArray[np.int64]]:
    """Packets in a matrix, with rubbish after their ends as a used buffer has."""
    matrix = np.full((len(packets), width or max(map(len, packets))), rubbish, np.uint8)
    for row, packet in zip(matrix, packets, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    return matrix, np.array([len(packet) for packet in packets], np.int64)


def one(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)


def word(value: int) -> NDArray[np.uint64]:
    return np.array([value], np.uint64)


def request(sequence: int, t1: int, error: int, ssid: int, authenticated: bool) -> bytes:
    out = np.full((1, stamp.base_size(authenticated)), 0xEE, np.uint8)
    stamp.write_requests(
        out, sequence=one(sequence), stamp=word(t1), error=error, ssid=ssid, authenticated=authenticated
    )  # fmt: skip
    return out.tobytes()


def reply(sequence: int, t3: int, error: int, ssid: int, t2: int, asked: bytes, ttl: int, authenticated: bool) -> bytes:
    out = np.full((1, stamp.base_size(authenticated)), 0xEE, np.uint8)
    stamp.write_replies(
        out, sequence=one(sequence), stamp=word(t3), error=error, ssid=ssid, received=word(t2),
        request=stamp.read_requests(*rows(asked), authenticated=authenticated), ttl=ttl, authenticated=authenticated,
    )  # fmt: skip
    return out.tobytes()


def test_request_by_hand() -> None:
    data = request(0x01020304, 0x05060708090A0B0C, 0x8D0E, 0x0F10, False)
    assert data == bytes.fromhex("01020304 05060708090a0b0c 8d0e 0f10") + bytes(28)
    data = request(0x01020304, 0x05060708090A0B0C, 0x8D0E, 0x0F10, True)
    assert data == (
        bytes.fromhex("01020304") + bytes(12) + bytes.fromhex("05060708090a0b0c 8d0e 0f10") + bytes(68) + bytes(16)
    )


def test_reply_by_hand() -> None:
    asked = request(0xA1A2A3A4, 0xB1B2B3B4B5B6B7B8, 0xC1C2, 0xD1D2, False)
    data = reply(0x01020304, 0x05060708090A0B0C, 0x8D0E, 0xD1D2, 0x1112131415161718, asked, 0x40, False)
    assert data == bytes.fromhex(
        "01020304 05060708090a0b0c 8d0e d1d2 1112131415161718 a1a2a3a4 b1b2b3b4b5b6b7b8 c1c2 0000 40 000000"
    )
    asked = request(0xA1A2A3A4, 0xB1B2B3B4B5B6B7B8, 0xC1C2, 0xD1D2, True)
    data = reply(0x01020304, 0x05060708090A0B0C, 0x8D0E, 0xD1D2, 0x1112131415161718, asked, 0x40, True)
    assert data == (
        bytes.fromhex("01020304") + bytes(12) + bytes.fromhex("05060708090a0b0c 8d0e d1d2") + bytes(4)
        + bytes.fromhex("1112131415161718") + bytes(8) + bytes.fromhex("a1a2a3a4") + bytes(12)
        + bytes.fromhex("b1b2b3b4b5b6b7b8 c1c2") + bytes(6) + b"\x40" + bytes(15) + bytes(16)
    )  # fmt: skip


@given(U32, st.integers(0, 2**31 - 1), U16, U8, U8, st.booleans())
def test_request_equals_scapys(sequence: int, seconds: int, ssid: int, scale: int, multiplier: int, s: bool) -> None:
    estimate = ErrorEstimate(S=int(s), Z=0, scale=scale & 63, multiplier=multiplier)
    scapys = bytes(STAMPSessionSenderTestUnauthenticated(seq=sequence, ts=seconds, err_estimate=estimate, ssid=ssid))
    error = s << 15 | (scale & 63) << 8 | multiplier
    assert request(sequence, ((seconds << 32) + SCAPY_EPOCH) % 2**64, error, ssid, False) == shifted(scapys, 4)


@given(U32, U32, U16, U8, st.tuples(*[st.integers(0, 2**31 - 1)] * 3))
def test_reply_equals_scapys(sequence: int, mine: int, ssid: int, ttl: int, seconds: tuple[int, int, int]) -> None:
    t1, t2, t3 = (((time << 32) + SCAPY_EPOCH) % 2**64 for time in seconds)
    scapys = bytes(
        STAMPSessionReflectorTestUnauthenticated(
            seq=mine, ts=seconds[2], err_estimate=ErrorEstimate(S=1, scale=3, multiplier=7), ssid=ssid,
            ts_rx=seconds[1], seq_sender=sequence, ts_sender=seconds[0],
            err_estimate_sender=ErrorEstimate(scale=1, multiplier=2), ttl_sender=ttl,
        )
    )  # fmt: skip
    asked = request(sequence, t1, 0x0102, ssid, False)
    assert reply(mine, t3, 0x8307, ssid, t2, asked, ttl, False) == shifted(scapys, 4, 16, 28)


def shifted(scapys: bytes, *offsets: int) -> bytes:
    """scapy's packet with its timestamps brought to the epoch of NTP."""
    data = bytearray(scapys)
    for at in offsets:
        seconds = int.from_bytes(data[at : at + 4], "big") + 2_208_988_800
        data[at : at + 4] = (seconds % 2**32).to_bytes(4, "big")
    return bytes(data)


@given(U32, U64, U16, U16, st.booleans())
def test_request_round_trip(sequence: int, t1: int, error: int, ssid: int, authenticated: bool) -> None:
    data = request(sequence, t1, error, ssid, authenticated)
    assert data == plain_stamp.request(sequence, t1, error, ssid, authenticated)
    found = stamp.read_requests(*rows(data), authenticated=authenticated)
    assert fields(found, 0) == (True, sequence, t1, error, ssid)


@given(st.tuples(U32, U64, U16, U16), U64, st.tuples(U32, U64, U16), U8, st.booleans())
def test_reply_round_trip(
    own: tuple[int, int, int, int], t2: int, sender: tuple[int, int, int], ttl: int, authenticated: bool
) -> None:
    sequence, t3, error, ssid = own
    asked = request(*sender, ssid, authenticated)
    data = reply(sequence, t3, error, ssid, t2, asked, ttl, authenticated)
    assert data == plain_stamp.reply(sequence, t3, error, ssid, t2, sender, ttl, authenticated)
    found = stamp.read_replies(*rows(data), authenticated=authenticated)
    assert fields(found, 0) == (True, sequence, t3, error, ssid, t2, *sender, ttl)


def fields(found: stamp.Requests | stamp.Replies, row: int) -> tuple[int, ...]:
    return tuple(getattr(found, name)[row].item() for name in found.__dataclass_fields__)


@given(st.lists(st.binary(max_size=130), min_size=1, max_size=9), st.booleans(), st.integers(0, 130))
def test_any_octets_are_read_as_the_plain_one_reads_them(packets: list[bytes], authenticated: bool, width: int) -> None:
    """Shorter and longer than the base packet, in buffers that are too narrow or hold rubbish behind."""
    packets = [packet[:width] for packet in packets]
    data, length = rows(*packets, width=width or None) if width else (np.zeros((len(packets), 0), np.uint8), None)
    length = np.zeros(len(packets), np.int64) if length is None else length
    requests = stamp.read_requests(data, length, authenticated=authenticated)
    replies = stamp.read_replies(data, length, authenticated=authenticated)
    for row, packet in enumerate(packets):
        expected = plain_stamp.parse_request(packet, authenticated)
        assert bool(requests.valid[row]) == (expected is not None)
        assert expected is None or fields(requests, row) == (True, *expected)
        answer = plain_stamp.parse_reply(packet, authenticated)
        assert bool(replies.valid[row]) == (answer is not None)
        if answer is not None:
            assert fields(replies, row) == (True, *answer[:-1], ABSENT if answer[-1] is None else answer[-1])


@pytest.mark.parametrize("size", [13, 14, 16, 37, 38, 41, 44])
def test_packets_of_twamp_end_early(size: int) -> None:
    """A TWAMP sender's packet has 14 octets, a reflector's 41, of some makes 38; all others of the base are zero."""
    whole = plain_stamp.reply(9, 8, 7, 6, 5, (4, 3, 2), 64, False)
    data, length = rows(whole[:size], width=200, rubbish=0xFF)
    requests, replies = (read(data, length, authenticated=False) for read in (stamp.read_requests, stamp.read_replies))
    assert bool(requests.valid[0]) == (size >= 14)
    assert requests.ssid[0] == (6 if size >= 16 else 0)
    assert bool(replies.valid[0]) == (size >= 38)
    assert replies.sender_ttl[0] == (64 if size >= 41 else ABSENT)
    authenticated = stamp.read_requests(data, length, authenticated=True)
    assert not authenticated.valid[0]


def test_rows_of_a_batch_do_not_disturb_each_other() -> None:
    out = np.full((3, 60), 0xEE, np.uint8)
    stamp.write_requests(
        out, sequence=np.array([1, 2, 3]), stamp=np.array([4, 5, 6], np.uint64), error=np.array([7, 8, 9], np.uint16),
        ssid=np.array([10, 11, 12], np.uint16), authenticated=False,
    )  # fmt: skip
    assert (out[:, 44:] == 0xEE).all(), "what follows the base packet is the caller's"
    found = stamp.read_requests(out, np.full(3, 44), authenticated=False)
    assert [fields(found, row) for row in range(3)] == [(True, 1, 4, 7, 10), (True, 2, 5, 8, 11), (True, 3, 6, 9, 12)]


def test_columns_of_a_wider_matrix_can_be_read_and_written() -> None:
    whole = np.zeros((4, 100), np.uint8)
    stamp.write_requests(
        whole[:, 8:], sequence=np.arange(4), stamp=np.arange(4).astype(np.uint64), error=1, ssid=0, authenticated=False
    )
    reading = np.asfortranarray(whole)[:, 8:]
    assert stamp.read_requests(reading, np.full(4, 92), authenticated=False).sequence.tolist() == [0, 1, 2, 3]


def test_no_packets_are_no_trouble() -> None:
    nothing, length = np.zeros((0, 112), np.uint8), np.zeros(0, np.int64)
    assert len(stamp.read_replies(nothing, length, authenticated=True).valid) == 0
