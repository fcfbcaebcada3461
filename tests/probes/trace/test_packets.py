"""Crafted packets: what routers hash is constant, what tells packets apart is not, checksums are right."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.trace.craft import craft
from probes.trace.flow import MOST, compensation, constants, source_port
from tests.probes.trace.packets import HEADER, checked, hashed, make_flow

FLOWS = [(family, protocol) for family in (4, 6) for protocol in ("udp", "icmp", "tcp")]
NUMBERS = (0, 1, 2, 14, 15, 16, 255, 4096, MOST - 1)


@pytest.mark.parametrize(("family", "protocol"), FLOWS)
def test_packets_of_a_flow_differ_in_nothing_that_is_hashed(family: int, protocol: str) -> None:
    flow = make_flow(family, protocol)
    packets = [craft(flow, n, ttl=ttl, size=60, whole=False) for n, ttl in zip(NUMBERS, range(1, 99), strict=False)]
    assert len({hashed(flow, packet) for packet in packets}) == 1
    assert len(set(packets)) == len(packets)
    if protocol != "tcp":
        at = HEADER[family] + (6 if protocol == "udp" else 2)
        assert {packet[at : at + 2] for packet in packets} == {struct.pack(">H", flow.checksum)}


@pytest.mark.parametrize(("family", "protocol"), FLOWS)
def test_a_changed_port_or_identifier_would_be_noticed(family: int, protocol: str) -> None:
    one, other = make_flow(family, protocol), make_flow(family, protocol, key=54321)
    assert hashed(one, craft(one, 0, ttl=1, size=60, whole=False)) != hashed(
        other, craft(other, 0, ttl=1, size=60, whole=False)
    )


@pytest.mark.parametrize(("family", "protocol"), FLOWS)
@pytest.mark.parametrize("size", [60, 61, 576, 1500, 9000])
def test_checksums_are_right_and_sizes_as_asked(family: int, protocol: str, size: int) -> None:
    flow = make_flow(family, protocol)
    for number in NUMBERS:
        packet = craft(flow, number, ttl=7, size=size, whole=True)
        assert checked(flow, packet) == 0xFFFF
        assert len(packet) == (size if protocol != "tcp" else HEADER[family] + 20)


@pytest.mark.parametrize("family", [4, 6])
def test_the_ip_header_says_what_was_asked(family: int) -> None:
    packet = craft(make_flow(family, "udp"), 3, ttl=9, size=100, whole=True)
    if family == 4:
        assert packet[0] == 0x45
        assert packet[1] == 46 << 2
        assert packet[6] == 0x40
        assert packet[8] == 9
        assert craft(make_flow(4, "udp"), 3, ttl=9, size=100, whole=False)[6] == 0
    else:
        first = int.from_bytes(packet[:4], "big")
        assert (first >> 28, first >> 20 & 0xFF, first & 0xFFFFF) == (6, 46 << 2, constants(12345)[1])
        assert packet[7] == 9


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, MOST - 1))
def test_tags_name_their_packet(base: int, number: int) -> None:
    flow = make_flow(4, "tcp", base=base)
    assert 1 <= flow.tag(number) <= 0xFFFF
    assert flow.number(flow.tag(number)) == number
    assert flow.tcp_number(flow.tcp_sequence(number)) == number
    assert flow.tcp_number((flow.tcp_sequence(number) + 1) & 0xFFFFFFFF) is None


@given(st.integers(0, 0xFFFFFFFF))
def test_constants_are_in_their_fields(key: int) -> None:
    identifier, label, checksum = constants(key)
    assert 1 <= identifier <= 0xFFFF
    assert 1 <= label <= 0xFFFFF
    assert 1 <= checksum <= 0xFFFE
    assert all(16384 <= source_port(key, attempt) < 32768 for attempt in (0, 1, 63))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, MOST - 1), st.sampled_from(FLOWS[:2]))
def test_any_flow_has_its_checksum(key: int, nonce: int, number: int, kind: tuple[int, str]) -> None:
    flow = make_flow(*kind, key=key, nonce=nonce)
    assert checked(flow, craft(flow, number, ttl=1, size=60, whole=False)) == 0xFFFF


@given(st.integers(0, 0xFFFF), st.integers(1, 0xFFFE))
def test_compensation_turns_one_checksum_into_another(found: int, wanted: int) -> None:
    total = 0xFFFF - found + compensation(found, wanted)
    folded = (total & 0xFFFF) + (total >> 16)
    assert (0xFFFF - folded) % 0xFFFF == wanted % 0xFFFF
