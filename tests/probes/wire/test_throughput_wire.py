"""Throughput control messages: exact octets, round trips, strictness, garbage."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes.core.errors import PacketError
from probes.wire.throughput import (
    MAXIMUM_DURATION_NS,
    SIZE,
    Accept,
    Cause,
    Direction,
    End,
    Hello,
    Join,
    Message,
    Ready,
    Refuse,
    Result,
    Stop,
    decode,
    encode,
)

uint63 = st.integers(0, 2**63 - 1)
uint64 = st.integers(0, 2**64 - 1)
token = st.binary(min_size=16, max_size=16)
single = st.sampled_from((Direction.FORWARD, Direction.BACKWARD))


@st.composite
def hellos(draw: st.DrawFn) -> Hello:
    duration = draw(st.integers(1, MAXIMUM_DURATION_NS))
    return Hello(
        draw(uint64), draw(st.sampled_from(Direction)), draw(st.integers(1, 16)), duration,
        draw(st.integers(0, duration - 1)), draw(st.integers(0, 63)), draw(uint63), draw(uint63),
    )  # fmt: skip


messages = st.one_of(
    hellos(),
    st.builds(Accept, uint64, token),
    st.builds(Refuse, uint64, st.sampled_from(Cause), uint63),
    st.builds(Join, token, single, st.integers(0, 15)),
    st.builds(Ready, uint64, single),
    st.builds(Stop, uint64, single),
    st.builds(Result, uint64, single, st.sampled_from(End), uint63, uint63, uint63, uint63, uint63),
)

WORKED = [
    (
        Hello(0x0102030405060708, Direction.BOTH, 4, 5_000_000_000, 500_000_000, 46, 100_000_000, 0),
        "4c57545001010000 0102030405060708 03042e0000000000 000000012a05f200 000000001dcd6500 0000000005f5e100"
        "0000000000000000 0000000000000000",
    ),
    (Accept(9, bytes(range(16))), "4c57545001020000 0000000000000009 0001020304050607 08090a0b0c0d0e0f" + 64 * "0"),
    (Refuse(9, Cause.DURATION, 60), "4c57545001030000 0000000000000009 0200000000000000 000000000000003c" + 64 * "0"),
    (Join(bytes(16), Direction.BACKWARD, 3), "4c57545001040000" + 32 * "0" + "0203000000000000" + 64 * "0"),
    (Ready(9, Direction.FORWARD), "4c57545001050000 0000000000000009 01" + 94 * "0"),
    (Stop(9, Direction.BACKWARD), "4c57545001060000 0000000000000009 02" + 94 * "0"),
    (
        Result(9, Direction.FORWARD, End.COMPLETE, 1, 2, 3, 4, 5),
        "4c57545001070000 0000000000000009 0101000000000000 0000000000000001 0000000000000002 0000000000000003"
        "0000000000000004 0000000000000005",
    ),
]


@pytest.mark.parametrize(("message", "octets"), WORKED)
def test_octets(message: Message, octets: str) -> None:
    assert encode(message) == bytes.fromhex(octets)
    assert decode(bytes.fromhex(octets)) == message


@given(messages)
def test_round_trip(message: Message) -> None:
    data = encode(message)
    assert len(data) == SIZE
    assert decode(data) == message


@given(st.binary(max_size=130))
@example(b"")
@example(b"GET / HTTP/1.1\r\n" * 4)
def test_garbage_raises_nothing_but_packet_error(data: bytes) -> None:
    try:
        message = decode(data)
    except PacketError:
        return
    assert encode(message) == data


@given(st.integers(0, 255), st.binary(min_size=56, max_size=56))
def test_garbage_behind_a_right_header(kind: int, body: bytes) -> None:
    data = b"LWTP\x01" + bytes((kind, 0, 0)) + body
    try:
        message = decode(data)
    except PacketError:
        return
    assert encode(message) == data


@given(messages, st.integers(0, SIZE * 8 - 1))
def test_a_flipped_bit_is_refused_or_is_another_valid_message(message: Message, bit: int) -> None:
    data = bytearray(encode(message))
    data[bit // 8] ^= 1 << (bit % 8)
    try:
        other = decode(bytes(data))
    except PacketError:
        return
    assert other != message
    assert encode(other) == bytes(data)


@given(messages, st.integers(0, SIZE - 1))
def test_truncated_is_refused(message: Message, length: int) -> None:
    with pytest.raises(PacketError):
        decode(encode(message)[:length])


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Hello(1, Direction.BOTH, 0, 10, 0), "0 streams; 1 to 16 are allowed"),
        (Hello(1, Direction.BOTH, 17, 10, 0), "17 streams; 1 to 16 are allowed"),
        (Hello(1, Direction.BOTH, 1, 10, 10), "duration 10 ns with 10 ns omitted is not possible"),
        (Hello(1, Direction.BOTH, 1, MAXIMUM_DURATION_NS + 1, 0), "is not possible"),
        (Hello(1, Direction.BOTH, 1, 10, 0, 64), "DSCP 64 has more than six bits"),
        (Hello(1, Direction.BOTH, 1, 10, 0, 0, 2**63), "rate 9223372036854775808 is over 2^63 - 1"),
        (Hello(2**64, Direction.BOTH, 1, 10, 0), "does not fit its fields"),
        (Accept(1, b"short"), "does not survive its encoding"),
        (Join(bytes(16), Direction.BOTH, 0), "one direction at a time"),
        (Join(bytes(16), Direction.FORWARD, 16), "stream 16 is not below 16"),
    ],
)
def test_what_must_not_be_sent(message: Message, text: str) -> None:
    with pytest.raises(PacketError, match=text.replace("^", r"\^")):
        encode(message)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"LWTQ" + bytes(60), "not a message of the throughput protocol"),
        (b"LWTP\x02" + bytes(59), "throughput protocol version 2, this is version 1"),
        (b"LWTP\x01\x09" + bytes(58), "throughput message type 9 is not defined"),
        (b"LWTP\x01\x05\x00\x01" + bytes(8) + b"\x01" + bytes(47), "octets that must be zero are not"),
        (b"LWTP\x01\x05\x00\x00" + bytes(8) + b"\x01\x01" + bytes(46), "octets that must be zero are not"),
        (b"LWTP\x01\x03\x00\x00" + bytes(8) + b"\x09" + bytes(47), "cause 9 is not defined"),
    ],
)
def test_what_is_refused(octets: bytes, text: str) -> None:
    with pytest.raises(PacketError, match=text):
        decode(octets)
