"""Ancillary data: what the kernel would read, and what is found in what it writes."""

import socket
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.engine import control


def rows_of(*messages: bytes, width: int = 192) -> tuple[np.ndarray, np.ndarray]:
    rows = np.zeros((len(messages), width), np.uint8)
    for row, message in enumerate(messages):
        rows[row, : len(message)] = np.frombuffer(message, np.uint8)
    return rows, np.array([len(message) for message in messages])


def test_a_message_is_laid_out_as_cmsg_says() -> None:
    assert control.message(0, 2, struct.pack("=i", 64)) == bytes.fromhex(
        "140000000000000000000000020000004000000000000000"
    )


def test_outgoing_ipv4() -> None:
    data = control.outgoing(4, source="192.0.2.9", interface=7, dscp=46, ttl=3)
    rows, length = rows_of(data)
    info, tos, ttl = control.locate(rows, length, [(0, control.IP_PKTINFO), (0, control.IP_TOS), (0, control.IP_TTL)])
    assert data[info[0] : info[0] + 12] == struct.pack("=i", 7) + bytes([192, 0, 2, 9]) + bytes(4)
    assert data[tos[0] : tos[0] + 4] == struct.pack("=i", 46 << 2)
    assert data[ttl[0] : ttl[0] + 4] == struct.pack("=i", 3)


def test_outgoing_ipv6() -> None:
    data = control.outgoing(6, source="2001:db8::9", interface=0, dscp=8, ttl=255)
    rows, length = rows_of(data)
    level = socket.IPPROTO_IPV6
    wanted = [(level, control.IPV6_PKTINFO), (level, control.IPV6_TCLASS), (level, control.IPV6_HOPLIMIT)]
    info, traffic_class, hops = control.locate(rows, length, wanted)
    assert data[info[0] : info[0] + 20] == socket.inet_pton(socket.AF_INET6, "2001:db8::9") + bytes(4)
    assert data[traffic_class[0] : traffic_class[0] + 4] == struct.pack("=i", 32)
    assert data[hops[0] : hops[0] + 4] == struct.pack("=i", 255)
    assert len(data) <= 96


def test_nothing_asked_for_is_nothing_said() -> None:
    assert control.outgoing(4, source=None, interface=0, dscp=0, ttl=None) == b""


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 3), st.binary(max_size=20)),
            max_size=4,
            unique_by=lambda item: item[:2],
        ),
        min_size=1,
        max_size=5,
    )
)
def test_messages_are_found_wherever_they_stand(packets: list[list[tuple[int, int, bytes]]]) -> None:
    rows, length = rows_of(*(b"".join(control.message(*item) for item in packet) for packet in packets))
    wanted = [(level, kind) for level in range(4) for kind in range(4)]
    found = control.locate(rows, length, wanted)
    for row, packet in enumerate(packets):
        data = {item[:2]: item[2] for item in packet}
        for key, places in zip(wanted, found, strict=True):
            if key in data:
                assert rows[row, places[row] : places[row] + len(data[key])].tobytes() == data[key]
            else:
                assert places[row] == -1


@given(st.binary(min_size=64, max_size=64), st.integers(0, 64))
def test_any_octets_are_walked_without_an_error(data: bytes, length: int) -> None:
    rows, _ = rows_of(data, width=64)
    (place,) = control.locate(rows, np.array([length]), [(1, 37)])
    assert -1 <= place[0] <= 64


def test_a_layout_common_to_all_rows_is_found_at_once_and_one_that_is_not_is_not() -> None:
    stamp, hops = control.message(1, 37, bytes(48)), control.message(0, 2, b"@\0\0\0")
    rows, length = rows_of(stamp + hops, stamp + hops, stamp + hops)
    assert control.common_layout(rows, length) == {(1, 37): 16, (0, 2): 80}
    located = control.locate(rows, length, [(1, 37), (0, 2)])
    assert [place.tolist() for place in located] == [[16] * 3, [80] * 3]
    assert control.common_layout(*rows_of(stamp + hops, stamp)) is None
    assert control.common_layout(*rows_of(stamp + hops, hops + stamp)) is None
    assert control.common_layout(*rows_of(b"", b"")) == {}
    assert control.common_layout(rows[:0], length[:0]) is None
    assert control.common_layout(*rows_of(bytes(24), bytes(24))) is None
