"""Extensions against scapy, a second reader and TLVs written by hand; lengths that lie."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated, STAMPTestTLV

from probes.wire import stamp_tlv
from tests.fakes import plain_stamp

START = 44

Octets = NDArray[np.uint8]


def packets(*bodies: bytes, width: int | None = None) -> tuple[Octets, NDArray[np.int64]]:
    """Base packets of zeros with these octets as TLVs; rubbish behind."""
    matrix = np.full((len(bodies), START + (width or max(map(len, bodies)))), 0xEE, np.uint8)
    matrix[:, :START] = 0
    for row, body in zip(matrix, bodies, strict=True):
        row[START : START + len(body)] = np.frombuffer(body, np.uint8)
    return matrix, np.array([START + len(body) for body in bodies], np.int64)


def tlv(kind: int, value: bytes, flags: int = 0x80, size: int | None = None) -> bytes:
    return struct.pack(">BBH", flags, kind, len(value) if size is None else size) + value


def listed(found: stamp_tlv.Tlvs, row: int) -> list[tuple[int, int, int, int, bool]]:
    columns = (found.kind, found.flags, found.at, found.size, found.malformed)
    return [entry for entry in zip(*(column[row].tolist() for column in columns), strict=True) if entry[0]]


def all_of_them() -> Octets:
    """One TLV of each kind that a sender of ours writes, in one row."""
    out = np.full((1, 200), 0xEE, np.uint8)
    at = stamp_tlv.write_timestamp_information(out)
    at += stamp_tlv.write_class_of_service(out[:, at:], 46)
    at += stamp_tlv.write_direct_measurement(out[:, at:], 2**32 + 5)
    at += stamp_tlv.write_follow_up(out[:, at:])
    at += stamp_tlv.write_hmac(out[:, at:])
    at += stamp_tlv.write_extra_padding(out[:, at:], 10)
    return out[:, :at]


def test_what_a_sender_writes_by_hand() -> None:
    assert all_of_them().tobytes() == bytes.fromhex(
        "80030004 00000000  80040004 b8000000  8005000c 00000005 00000000 00000000"
        "80070010 00000000 0000000000000000 00 000000  80080010" + "00" * 16 + "80010006 000000000000"
    )


def test_what_a_sender_writes_equals_scapys() -> None:
    """scapy names the flags from the wrong end: its U is the last bit, where the RFC's is the first."""
    values = [(3, bytes(4)), (4, b"\xb8\0\0\0"), (5, struct.pack(">3I", 5, 0, 0)), (7, bytes(16)), (8, bytes(16))]
    scapys = STAMPSessionSenderTestUnauthenticated(
        tlv_objects=[
            STAMPTestTLV(flags=0x80, type=kind, len=len(value), value=value) for kind, value in [*values, (1, bytes(6))]
        ]
    )
    assert bytes(scapys)[START:] == all_of_them().tobytes()
    back = STAMPSessionSenderTestUnauthenticated(bytes(START) + all_of_them().tobytes())
    assert [(part.type, part.len, part.flags.value) for part in back.tlv_objects] == [
        (kind, size, 0x80) for kind, size in ((3, 4), (4, 4), (5, 12), (7, 16), (8, 16), (1, 6))
    ]


def test_a_reflectors_values_are_read_as_the_rfc_draws_them() -> None:
    body = (
        tlv(3, bytes([1, 2, 4, 1]), 0) + tlv(4, bytes([0b101110_10, 0b1010_11_01, 0, 0]), 0)
        + tlv(5, struct.pack(">3I", 1, 2, 2**32 - 1), 0) + tlv(7, struct.pack(">IQB3x", 9, 2**63 + 1, 2), 0)
    )  # fmt: skip
    data, length = packets(body)
    found = stamp_tlv.read(data, length, START)
    sources, classes = stamp_tlv.read_stamp_sources(data, found), stamp_tlv.read_classes(data, found)
    assert [getattr(sources, name).tolist() for name in sources.__dataclass_fields__] == [[1], [1], [2], [4], [1]]
    assert [getattr(classes, name).tolist() for name in classes.__dataclass_fields__] == [[1], [46], [42], [3], [1]]
    counters, follow = stamp_tlv.read_counters(data, found), stamp_tlv.read_follow_ups(data, found)
    assert [getattr(counters, name).tolist() for name in counters.__dataclass_fields__] == [[1], [1], [2], [2**32 - 1]]
    assert [getattr(follow, name).tolist() for name in follow.__dataclass_fields__] == [[1], [9], [2**63 + 1], [2]]


def test_absent_ones_read_as_zero() -> None:
    data, length = packets(tlv(1, bytes(20)), tlv(7, struct.pack(">IQB3x", 9, 8, 2)), b"")
    follow = stamp_tlv.read_follow_ups(data, stamp_tlv.read(data, length, START))
    assert follow.present.tolist() == [False, True, False]
    assert (follow.sequence.tolist(), follow.stamp.tolist(), follow.method.tolist()) == (
        [0, 9, 0],
        [0, 8, 0],
        [0, 2, 0],
    )


def test_an_answer_carries_what_the_reflector_knows() -> None:
    """Two rows laid out differently, one without Direct Measurement; the rest of the octets stay as they came."""
    first = tlv(4, b"\xb8\xff\xff\xff") + tlv(7, bytes(16)) + tlv(5, struct.pack(">3I", 77, 9, 9)) + tlv(3, bytes(4))
    second = tlv(3, bytes(4)) + tlv(7, bytes(16)) + tlv(200, b"abc") + tlv(4, b"\x28\0\0\0")
    data, length = packets(first, second)
    found = stamp_tlv.read(data, length, START)
    stamp_tlv.answer_follow_ups(data, found, np.array([4, 5]), np.array([6, 2**64 - 1], np.uint64), 2)
    stamp_tlv.answer_classes(data, found, np.array([10, 46]), np.array([0, 3]), np.array([1, 0]))
    stamp_tlv.answer_stamp_sources(data, found, stamp_tlv.SYNC_NTP, 2, 1)
    stamp_tlv.answer_counters(data, found, np.array([2**32 + 1, 0]), np.array([2, 0]))
    stamp_tlv.answer_flags(data, found, np.array([False, True]))
    assert data[0, START : START + len(first)].tobytes() == (
        tlv(4, bytes([0b101110_00, 0b1010_00_01, 0, 0]), 0) + tlv(7, struct.pack(">IQB3x", 4, 6, 2), 0)
        + tlv(5, struct.pack(">3I", 77, 1, 2), 0) + tlv(3, bytes([1, 2, 1, 1]), 0)
    )  # fmt: skip
    assert data[1, START : START + len(second)].tobytes() == (
        tlv(3, bytes([1, 2, 1, 1]), 0x20) + tlv(7, struct.pack(">IQB3x", 5, 2**64 - 1, 2), 0x20)
        + tlv(200, b"abc", 0xA0) + tlv(4, bytes([0b001010_10, 0b1110_11_00, 0, 0]), 0x20)
    )  # fmt: skip
    assert stamp_tlv.failed(stamp_tlv.read(data, length, START)).tolist() == [False, True]


def test_types_that_are_only_tolerated_come_back_unrecognised() -> None:
    body = tlv(2, bytes(4), 0) + tlv(6, bytes(4), 0) + tlv(9, b"", 0) + tlv(240, b"x", 0) + tlv(1, b"zz")
    data, length = packets(body)
    stamp_tlv.answer_flags(data, stamp_tlv.read(data, length, START))
    assert [flags for _, flags, *_ in listed(stamp_tlv.read(data, length, START), 0)] == [0x80] * 4 + [0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (tlv(1, b"abcd", size=5), [(1, 0x80, 44, 4, True)]),  # one octet more than there is
        (tlv(1, b"", size=65535), [(1, 0x80, 44, 0, True)]),
        (tlv(7, bytes(12)) + tlv(1, b""), [(7, 0x80, 44, 12, True), (1, 0x80, 60, 0, False)]),  # too short for its type
        (tlv(4, bytes(5)) + tlv(4, bytes(4)), [(4, 0x80, 44, 5, True), (4, 0x80, 53, 4, False)]),
        (tlv(8, bytes(32)), [(8, 0x80, 44, 32, True)]),
        (tlv(1, b"abc")[:3], []),  # not even a header
        (bytes(40), []),  # the zero padding of a TWAMP sender
        (tlv(3, bytes(4)) + bytes(9), [(3, 0x80, 44, 4, False)]),
        (tlv(99, b"") * 40, [(99, 0x80, 44 + 4 * n, 0, False) for n in range(stamp_tlv.MOST)]),
    ],
)  # fmt: skip
def test_lengths_that_lie(body: bytes, expected: list[tuple[int, int, int, int, bool]]) -> None:
    for others in ([], [tlv(200, b"something else")]):
        data, length = packets(body, *others, width=200)
        found = stamp_tlv.read(data, length, START)
        assert listed(found, 0) == expected
        assert found.find(1).shape == (len(data),)


def test_a_malformed_one_is_never_found() -> None:
    data, length = packets(tlv(7, bytes(12)) + tlv(7, bytes(16)), tlv(7, bytes(15), size=16))
    assert stamp_tlv.read(data, length, START).find(7).tolist() == [44 + 16 + 4, -1]


VALUE = st.sampled_from([bytes(n) for n in (0, 3, 4, 12, 16, 17)])
BODY = st.lists(
    st.one_of(
        st.binary(max_size=9),
        st.builds(tlv, st.integers(0, 9), VALUE, st.integers(0, 255)),
        st.builds(tlv, st.integers(0, 255), st.binary(max_size=6), size=st.integers(0, 40)),
    ),
    max_size=20,
).map(b"".join)


@given(st.lists(BODY, min_size=1, max_size=6), st.booleans(), st.sets(st.integers(0, 5)))
def test_any_octets_are_read_and_answered_as_the_plain_one_does(
    bodies: list[bytes], alike: bool, broken: set[int]
) -> None:
    bodies = [bodies[0]] * len(bodies) if alike else bodies
    data, length = packets(*bodies)
    found = stamp_tlv.read(data, length, START)
    answered = data.copy()
    stamp_tlv.answer_flags(answered, found, np.isin(np.arange(len(bodies)), list(broken)))
    for row, body in enumerate(bodies):
        whole = bytes(START) + body
        expected = plain_stamp.tlvs(whole, START)
        assert listed(found, row) == [(t.kind, t.flags, t.at, len(t.value), t.malformed) for t in expected]
        for entry in expected:
            assert answered[row, entry.at] == plain_stamp.flags_of_answer(entry, row in broken)
        untouched = np.ones(data.shape[1], np.bool_)
        untouched[[entry.at for entry in expected]] = False
        assert (answered[row, untouched] == data[row, untouched]).all()
        for kind in range(1, 9):
            first = next((t.at + 4 for t in expected if t.kind == kind and not t.malformed), -1)
            assert found.find(kind)[row] == first


@given(st.lists(BODY, min_size=1, max_size=6))
def test_values_are_read_of_any_octets(bodies: list[bytes]) -> None:
    data, length = packets(*bodies)
    found = stamp_tlv.read(data, length, START)
    follow, classes = stamp_tlv.read_follow_ups(data, found), stamp_tlv.read_classes(data, found)
    sources, counters = stamp_tlv.read_stamp_sources(data, found), stamp_tlv.read_counters(data, found)
    for row, body in enumerate(bodies):
        values = {t.kind: t.value for t in reversed(plain_stamp.tlvs(bytes(START) + body, START)) if not t.malformed}
        sequence, time, method = struct.unpack(">IQB3x", values.get(7, bytes(16)))
        assert (follow.present[row], follow.sequence[row], follow.stamp[row]) == (7 in values, sequence, time)
        assert follow.method[row] == method
        bits = int.from_bytes(values.get(4, bytes(4)), "big")
        assert (classes.asked_dscp[row], classes.received_dscp[row]) == (bits >> 26, bits >> 20 & 63)
        assert (classes.received_ecn[row], classes.reverse_path[row]) == (bits >> 18 & 3, bits >> 16 & 3)
        assert (
            bytes([sources.sync_in[row], sources.method_in[row], sources.sync_out[row], sources.method_out[row]])
            == (values.get(3, bytes(4))[:4])
        )
        counts = [counters.sender_sent[row], counters.reflector_received[row], counters.reflector_sent[row]]
        assert counts == list(struct.unpack(">3I", values.get(5, bytes(12))))
