"""Stored packets: both formats are read, every value comes back, damage is noticed."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core.arrays import ABSENT, Histogram, Packets, encode_histograms, encode_packets
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from tests.fakes.samples import histograms, packets

DEFLATED, PACKED = 1, 2
EARLIER = bytes.fromhex("010003000000789ce3636060983285c1d494a1bc9c01193035eaea9e313464636464624005009f9104a4")
"""What the first format made of three packets."""


@st.composite
def answered(draw: st.DrawFn) -> Packets:
    """A stream with regular or with random times, in-band and odd delays."""
    count = draw(st.integers(1, 70))
    largest = draw(st.sampled_from([0, 1, 300, 10**6, 10**9, 1 << 43, 1 << 44, (1 << 63) - 1]))
    delays = st.lists(st.integers(-largest, largest), min_size=count, max_size=count)
    period = draw(st.sampled_from([0, 1, 10**7, SECOND, 1 << 42]))
    late = draw(st.lists(st.integers(0, 10**6), min_size=count, max_size=count))
    ways = [np.array(draw(delays), np.int64) if draw(st.booleans()) else None for _ in range(2)]
    sent = np.arange(count) * period + np.array(late, np.int64)
    return Packets(sent, np.array(draw(delays), np.int64), np.zeros(count, np.uint8), ways[0], ways[1])


def plain(one: Packets) -> list[list[int] | None]:
    columns = (one.sent_ns, one.rtt_ns, one.state, one.forward_ns, one.backward_ns)
    return [None if column is None else column.tolist() for column in columns]


def regular(count: int, seed: int = 1) -> Packets:
    chance = np.random.default_rng(seed)
    sent = np.arange(count) * SECOND + chance.integers(0, 400_000, count)
    return Packets(sent, chance.integers(10**7, 3 * 10**7, count), np.zeros(count, np.uint8))


@settings(max_examples=200, deadline=None)
@given(st.lists(answered() | packets(), max_size=8))
def test_every_value_comes_back_however_they_are_mixed(several: Sequence[Packets]) -> None:
    encoded = encode_packets(several)
    assert encoded == [one.encode() for one in several]
    assert [plain(Packets.decode(data)) for data in encoded] == [plain(one) for one in several]


def test_the_layout_is_the_documented_one() -> None:
    """Taken apart octet by octet, without numpy."""
    data = Packets(np.array([5, 12, 25]), np.array([-3, 0, 4]), np.zeros(3, np.uint8)).encode()
    assert data[:3] == bytes((PACKED, 0, 3))
    step, body = int.from_bytes(data[3:9], "little", signed=True), data[9:-4]
    assert step == 10
    found = []
    at = 14
    for head in (body[:7], body[7:14]):
        least, width = int.from_bytes(head[:6], "little", signed=True), head[6]
        size = (3 * width + 7) // 8
        word = int.from_bytes(body[at : at + size], "little")
        found.append([least + (word >> n * width & (1 << width) - 1) for n in range(3)])
        at += size
    assert at == len(body)
    assert [value + n * step for n, value in enumerate(found[0])] == [5, 12, 25]
    assert found[1] == [-3, 0, 4]


def test_the_usual_sample_is_packed_and_all_else_deflated() -> None:
    one = regular(10)
    lost = Packets(one.sent_ns, np.where(np.arange(10) == 4, ABSENT, one.rtt_ns), (np.arange(10) == 4).astype(np.uint8))
    far = Packets(one.sent_ns + (1 << 44), one.rtt_ns, one.state)
    several = [one, lost, regular(64), regular(65), far, regular(0)]
    assert [data[0] for data in encode_packets(several)] == [
        PACKED, DEFLATED, PACKED, DEFLATED, DEFLATED, DEFLATED,
    ]  # fmt: skip
    assert len(one.encode()) < 90


def test_the_first_format_is_still_read() -> None:
    found = Packets.decode(EARLIER)
    assert EARLIER[0] == DEFLATED
    assert plain(found)[:3] == [[7, SECOND + 7, 2 * SECOND + 7], [10**7, 2 * 10**7 + 1, 3 * 10**6], [0, 0, 0]]


def test_every_changed_bit_and_every_cut_is_noticed() -> None:
    data = regular(10).encode()
    assert data[0] == PACKED
    wrong = [data[:size] for size in range(len(data))] + [data + b"\0"]
    for bit in range(8 * len(data)):
        octets = bytearray(data)
        octets[bit // 8] ^= 1 << bit % 8
        wrong.append(bytes(octets))
    for damaged in wrong:
        with pytest.raises(LocalError, match="stored packets cannot be read"):
            Packets.decode(damaged)


@given(st.binary(max_size=80).map(lambda data: bytes((PACKED,)) + data))
def test_hostile_octets_raise_the_typed_error_only(data: bytes) -> None:
    for octets in (data, data + crc32(data).to_bytes(4, "little")):
        try:
            Packets.decode(octets)
        except LocalError:
            continue


@given(st.lists(histograms(), max_size=6))
def test_histograms_are_the_same_alone_and_together(several: list[Histogram]) -> None:
    encoded = encode_histograms(several)
    assert encoded == [one.to_bytes() for one in several]
    assert [Histogram.from_bytes(data).to_text() for data in encoded] == [one.to_text() for one in several]
