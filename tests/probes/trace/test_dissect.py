"""Answers written by hand are read right; bytes that lie raise PacketError and nothing else."""

from __future__ import annotations

import os
import random
import struct
from dataclasses import replace

import pytest

from probes.core.errors import PacketError
from probes.core.model import Label
from probes.trace.craft import craft
from probes.trace.dissect import labels_of, read_icmp, read_tcp, read_udp
from probes.trace.flow import Flow
from probes.trace.order import Said
from tests.probes.trace.packets import (
    HEADER,
    ROUTER,
    TARGET,
    icmp_error,
    ipv4_header,
    label_stack,
    make_flow,
    ones_sum,
)

FLOWS = [(family, protocol) for family in (4, 6) for protocol in ("udp", "icmp", "tcp")]
EXCEEDED = {4: 11, 6: 3}
UNREACHABLE = {4: 3, 6: 1}
STACK = (Label(100048, 0, False, 1), Label(3, 5, True, 254))
ENTRIES = ((100048, 0, 0, 1), (3, 5, 1, 254))
FUZZED = int(os.environ.get("LINKWITNESS_FUZZ", "3000"))


def sent(flow: Flow, number: int = 7, size: int = 60) -> bytes:
    return craft(flow, number, ttl=3, size=size, whole=False)


@pytest.mark.parametrize(("family", "protocol"), FLOWS)
def test_time_exceeded_names_the_packet_it_quotes(family: int, protocol: str) -> None:
    flow = make_flow(family, protocol)
    for number in (0, 7, 59_999):
        answer = read_icmp(icmp_error(flow, sent(flow, number), kind=EXCEEDED[family]), flow, ROUTER[family])
        assert answer is not None
        assert (answer.number, answer.said, answer.dscp, answer.labels) == (number, Said.EXCEEDED, 46, ())


@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_the_least_a_router_quotes_is_enough(protocol: str) -> None:
    """RFC 792: the IP header and 64 bits of data; and any length beyond."""
    flow = make_flow(4, protocol)
    for octets in range(28, 41):
        answer = read_icmp(icmp_error(flow, sent(flow)[:octets], kind=11), flow, ROUTER[4])
        assert answer is not None
        assert answer.number == 7


@pytest.mark.parametrize(("family", "protocol"), FLOWS)
def test_packets_of_others_are_none_of_ours(family: int, protocol: str) -> None:
    flow = make_flow(family, protocol)
    for other in (
        replace(flow, target=ROUTER[family]),
        replace(flow, source_port=1, identifier=1),
        replace(flow, protocol="tcp" if protocol == "udp" else "udp"),
    ):
        assert read_icmp(icmp_error(flow, sent(other), kind=EXCEEDED[family]), flow, ROUTER[family]) is None
    if protocol == "udp":
        assert read_icmp(icmp_error(flow, sent(replace(flow, nonce=1)), kind=EXCEEDED[family]), flow, "::") is None


@pytest.mark.parametrize("family", [4, 6])
def test_who_says_unreachable_decides_what_it_means(family: int) -> None:
    flow = make_flow(family, "udp")
    code = {4: 3, 6: 4}[family]
    message = icmp_error(flow, sent(flow), kind=UNREACHABLE[family], code=code)
    of_target, of_router = read_icmp(message, flow, TARGET[family]), read_icmp(message, flow, ROUTER[family])
    assert of_target is not None
    assert of_router is not None
    assert (of_target.said, of_router.said) == (Said.TARGET, Said.ERROR)


def test_too_big_tells_the_next_mtu() -> None:
    for family, kind, code in ((4, 3, 4), (6, 2, 0)):
        flow = make_flow(family, "udp")
        answer = read_icmp(icmp_error(flow, sent(flow, size=1500), kind=kind, code=code, mtu=1400), flow, "::")
        assert answer is not None
        assert (answer.said, answer.mtu) == (Said.TOO_BIG, 1400)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("with_length", [True, False])
def test_label_stacks_are_read(family: int, with_length: bool) -> None:
    """Behind 128 octets of our packet, with RFC 4884's length or, as older routers do, without (its section 5.5)."""
    flow = make_flow(family, "udp")
    quoted = sent(flow).ljust(128, b"\0")
    length = 128 // {4: 4, 6: 8}[family] if with_length else 0
    extension = label_stack(*ENTRIES, other=b"\0\x08\x02\x00abcd")
    message = icmp_error(flow, quoted, kind=EXCEEDED[family], extension=extension, length=length)
    answer = read_icmp(message, flow, ROUTER[family])
    assert answer is not None
    assert (answer.labels, answer.number, answer.dscp) == (STACK, 7, 46)


def test_a_label_stack_octet_by_octet() -> None:
    """Version 2; checksum; one object of 12 octets, class 1, type 1; 100048 0 . 1, 3 5 bottom 254."""
    octets = bytes.fromhex("2000 8a86 000c 0101 186d0001 00003bfe".replace(" ", ""))
    assert ones_sum(octets) == 0xFFFF
    assert octets == label_stack(*ENTRIES)
    assert labels_of(octets) == STACK
    assert labels_of(octets[:2] + b"\0\0" + octets[4:]) == STACK, "RFC 4884 section 7: 0 is no checksum"
    assert labels_of(b"\x20\0\xdf\xff") == ()
    for wrong in (b"", b"\x20\0", b"\x10" + octets[1:], octets[:2] + b"\x12\x34" + octets[4:]):
        with pytest.raises(PacketError):
            labels_of(wrong)


def test_an_extension_that_cannot_be_believed_leaves_the_answer() -> None:
    flow = make_flow(4, "udp")
    wrong = b"\x20\0\x11\x11" + label_stack(*ENTRIES)[4:]
    message = icmp_error(flow, sent(flow).ljust(128, b"\0"), kind=11, extension=wrong, length=32)
    answer = read_icmp(message, flow, ROUTER[4])
    assert answer is not None
    assert answer.labels == ()


@pytest.mark.parametrize("family", [4, 6])
def test_a_length_that_lies_is_damage(family: int) -> None:
    flow = make_flow(family, "udp")
    with pytest.raises(PacketError, match="octets quoted in"):
        read_icmp(icmp_error(flow, sent(flow), kind=EXCEEDED[family], length=99), flow, ROUTER[family])


@pytest.mark.parametrize("family", [4, 6])
def test_echo_replies(family: int) -> None:
    flow = make_flow(family, "icmp")
    echoed = bytearray(sent(flow)[HEADER[family] :])
    echoed[0] = {4: 0, 6: 129}[family]
    if family == 4:
        echoed[2:4] = b"\0\0"
        echoed[2:4] = struct.pack(">H", 0xFFFF - ones_sum(bytes(echoed)))
    message = (ipv4_header(TARGET[4], flow.source, 1, len(echoed)) if family == 4 else b"") + bytes(echoed)
    answer = read_icmp(message, flow, TARGET[family])
    assert answer is not None
    assert (answer.number, answer.said) == (7, Said.TARGET)
    assert read_icmp(message, flow, ROUTER[family]) is None
    assert read_icmp(message, replace(flow, nonce=5), TARGET[family]) is None


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("flags", "counts"), [(0x12, True), (0x14, True), (0x04, False), (0x10, False)])
def test_tcp_answers_acknowledge_the_packet(family: int, flags: int, counts: bool) -> None:
    flow = make_flow(family, "tcp")
    acknowledged = (flow.tcp_sequence(7) + 1) & 0xFFFFFFFF
    segment = struct.pack(">HHIIBBHHH", flow.port, flow.source_port, 99, acknowledged, 0x50, flags, 0, 0, 0)
    data = (ipv4_header(TARGET[4], flow.source, 6, len(segment)) if family == 4 else b"") + segment
    answer = read_tcp(data, flow, TARGET[family])
    assert (answer is not None and answer.number == 7) is counts
    assert read_tcp(data, flow, ROUTER[family]) is None


def test_a_datagram_that_repeats_the_payload_is_an_answer() -> None:
    flow = make_flow(4, "udp")
    payload = sent(flow)[28:]
    answer = read_udp(payload, flow)
    assert answer is not None
    assert answer.number == 7
    assert read_udp(b"", flow) is None
    assert read_udp(payload[:4] + b"wxyz", flow) is None


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Octets changed, cut off, put in or doubled; half of the time with a checksum that is right nevertheless."""
    octets = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(octets)) if octets else 0
        match rng.randrange(4):
            case 0 if octets:
                octets[at] = rng.choice((0, 1, 0x45, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 1:
                del octets[at:]
            case 2:
                octets[at:at] = rng.randbytes(rng.randint(1, 9))
            case _:
                octets += octets[at : at + 40]
    if len(octets) >= 28 and octets[0] == 0x45 and rng.random() < 0.5:
        octets[22:24] = b"\0\0"
        octets[22:24] = struct.pack(">H", 0xFFFF - ones_sum(bytes(octets[20:])))
    return bytes(octets)


@pytest.mark.parametrize(("family", "protocol"), FLOWS)
def test_damaged_answers_raise_nothing_but_packet_error(family: int, protocol: str) -> None:
    rng = random.Random(f"{family} {protocol}")
    flow = make_flow(family, protocol)
    quoted = sent(flow).ljust(128, b"\0")
    seeds = [
        icmp_error(flow, quoted, kind=EXCEEDED[family], extension=label_stack(*ENTRIES), length=length)
        for length in (0, 128 // {4: 4, 6: 8}[family])
    ]
    seeds.append(icmp_error(flow, quoted[:28], kind=UNREACHABLE[family], code=4))
    seeds.append(icmp_error(flow, quoted, kind=12 if family == 4 else 4))
    read = 0
    for turn in range(FUZZED // len(FLOWS)):
        data = damaged(rng, seeds[turn % len(seeds)])
        try:
            answer = read_icmp(data, flow, ROUTER[family])
        except PacketError:
            continue
        read += answer is not None
        try:
            read_tcp(data, flow, TARGET[family])
            labels_of(data)
        except PacketError:
            continue
    assert read, "some of the damaged answers should still be readable, or the damage proves nothing"
