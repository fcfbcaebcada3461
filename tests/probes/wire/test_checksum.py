"""Internet checksum: the example of RFC 1071, a naive second implementation, scapy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from probes.wire.checksum import internet_checksum


def naive(data: bytes) -> bytes:
    """RFC 1071 section 4.1, in network byte order, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def of(data: bytes, copies: int = 1) -> bytes:
    rows = np.frombuffer(data * copies, np.uint8).reshape(copies, len(data))
    sums = internet_checksum(rows)
    assert len(set(sums.tolist())) == 1
    return sums[:1].tobytes()


def test_example_of_rfc_1071_section_3() -> None:
    assert of(bytes.fromhex("0001f203f4f5f6f7"), copies=3) == (~0xDDF2 & 0xFFFF).to_bytes(2, "big")


@given(st.binary(min_size=1, max_size=1500))
def test_equals_the_naive_sum_and_scapy(data: bytes) -> None:
    assert of(data) == naive(data) == scapy_checksum(data).to_bytes(2, "big")


@given(st.binary(min_size=4, max_size=100).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_gives_zero(data: bytes) -> None:
    packet = bytearray(data)
    packet[2:4] = b"\0\0"
    packet[2:4] = of(bytes(packet))
    assert of(bytes(packet)) == b"\0\0"


def test_columns_of_a_wider_matrix() -> None:
    wide = np.arange(400, dtype=np.uint8).reshape(4, 100)
    for row, value in enumerate(internet_checksum(wide[:, 20:85])):
        assert value.tobytes() == naive(wide[row, 20:85].tobytes())
