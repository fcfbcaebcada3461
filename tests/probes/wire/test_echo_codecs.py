"""Payload, ICMP and UDP echo codecs against bytes written by hand and against scapy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest

from probes.wire import payload
from probes.wire.icmp import EchoCodec, error_text
from probes.wire.udp_echo import UdpEchoCodec

U32 = st.integers(0, 2**32 - 1)
SEQUENCE = st.integers(0, 2**63 - 1)
U64 = st.integers(0, 2**64 - 1)


def encoded(codec: EchoCodec | UdpEchoCodec, size: int, stream: int, sequence: int, nonce: int, family: int) -> bytes:
    out = np.zeros((1, size), np.uint8)
    codec.encode(
        out,
        family=family,
        identifier=0xBEEF,
        stream=np.array([stream]),
        sequence=np.array([sequence]),
        nonce=np.array([nonce], np.uint64),
    )
    return out.tobytes()


def decoded(codec: EchoCodec | UdpEchoCodec, data: bytes, family: int, quoted: bool = False, room: int = 128):
    rows = np.zeros((1, max(room, len(data))), np.uint8)
    rows[0, : len(data)] = np.frombuffer(data, np.uint8)
    read = codec.decode_quoted if quoted else codec.decode
    found = read(rows, np.array([len(data)]), family=family, identifier=0xBEEF)
    return bool(found.valid[0]), int(found.stream[0]), int(found.sequence[0]), int(found.nonce[0])


def test_payload_octets() -> None:
    """The diagram of probes.wire.payload, field by field."""
    data = encoded(UdpEchoCodec(), 30, 0x01020304, 0x05060708090A0B0C, 0xF0E0D0C0B0A09080, 4)
    assert data == (
        b"LW\x01\x01" + bytes.fromhex("01020304") + bytes.fromhex("05060708090a0b0c")
        + bytes.fromhex("f0e0d0c0b0a09080") + bytes(6)
    )  # fmt: skip


@given(U32, SEQUENCE, U64, st.integers(24, 80))
def test_udp_round_trip(stream: int, sequence: int, nonce: int, size: int) -> None:
    codec = UdpEchoCodec()
    data = encoded(codec, size, stream, sequence, nonce, 4)
    assert decoded(codec, data, 4) == decoded(codec, data, 4, quoted=True) == (True, stream, sequence, nonce)
    marked = data[:3] + bytes([payload.REPLY_DIRECTION]) + data[4:]
    assert decoded(codec, marked, 4) == (True, stream, sequence, nonce)


@given(U32, SEQUENCE, U64, st.integers(24, 80))
def test_icmp_request_equals_scapys(stream: int, sequence: int, nonce: int, size: int) -> None:
    data = encoded(EchoCodec(), 8 + size, stream, sequence, nonce, 4)
    assert data == bytes(ICMP(type=8, code=0, id=0xBEEF, seq=sequence & 0xFFFF) / data[8:])
    assert data[8:] == encoded(UdpEchoCodec(), size, stream, sequence, nonce, 4)


@given(U32, SEQUENCE, U64, st.integers(24, 80))
def test_icmpv6_request_equals_scapys_but_for_the_checksum(stream: int, sequence: int, nonce: int, size: int) -> None:
    """The kernel fills the ICMPv6 checksum in."""
    data = encoded(EchoCodec(), 8 + size, stream, sequence, nonce, 6)
    expected = bytes(ICMPv6EchoRequest(id=0xBEEF, seq=sequence & 0xFFFF, cksum=0, data=data[8:]))
    assert data == expected


@given(U32, SEQUENCE, U64)
def test_replies_made_by_scapy_are_read(stream: int, sequence: int, nonce: int) -> None:
    codec = EchoCodec()
    body = encoded(UdpEchoCodec(), 56, stream, sequence, nonce, 4)
    reply = bytes(IP(src="192.0.2.1", dst="192.0.2.2") / ICMP(type=0, id=0xBEEF, seq=1) / body)[20:]
    assert decoded(codec, reply, 4) == (True, stream, sequence, nonce)
    assert decoded(codec, bytes(ICMPv6EchoReply(id=0xBEEF, seq=1, data=body)), 6) == (True, stream, sequence, nonce)


@given(U32, SEQUENCE, U64)
def test_requests_are_not_replies_and_are_read_where_quoted(stream: int, sequence: int, nonce: int) -> None:
    codec = EchoCodec()
    for family in (4, 6):
        request = encoded(codec, 64, stream, sequence, nonce, family)
        assert not decoded(codec, request, family)[0]
        assert decoded(codec, request, family, quoted=True) == (True, stream, sequence, nonce)
        assert not decoded(codec, request[:28], family, quoted=True)[0], "a router that quotes 8 octets proves nothing"


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_another_magic_version_or_direction_is_not_ours(at: int) -> None:
    data = bytearray(encoded(UdpEchoCodec(), 56, 1, 2, 3, 4))
    data[at] ^= 0x40
    assert not decoded(UdpEchoCodec(), bytes(data), 4)[0]


def test_foreign_identifier_and_code_are_not_ours() -> None:
    body = encoded(UdpEchoCodec(), 56, 1, 2, 3, 4)
    codec = EchoCodec()
    assert decoded(codec, bytes(ICMP(type=0, id=0xBEEF) / body), 4)[0]
    assert not decoded(codec, bytes(ICMP(type=0, id=0xBEEE) / body), 4)[0]
    assert not decoded(codec, bytes(ICMP(type=0, code=1, id=0xBEEF) / body), 4)[0]


@given(st.binary(max_size=200), st.sampled_from([4, 6]), st.booleans())
def test_any_octets_are_read_without_an_error(data: bytes, family: int, quoted: bool) -> None:
    for codec in (EchoCodec(), UdpEchoCodec()):
        decoded(codec, data, family, quoted)
        decoded(codec, data, family, quoted, room=0 if len(data) >= 8 else 8)


def test_names_of_icmp_errors() -> None:
    assert error_text(4, 3, 3) == "port unreachable"
    assert error_text(4, 3, 4) == "packet too big"
    assert error_text(4, 11, 0) == "time to live exceeded"
    assert error_text(6, 1, 4) == "port unreachable"
    assert error_text(6, 2, 0) == "packet too big"
    assert error_text(6, 3, 0) == "hop limit exceeded"
    assert error_text(4, 3, 99) == "unreachable (code 99)"
    assert error_text(4, 42, 1) == "ICMP type 42 code 1"
