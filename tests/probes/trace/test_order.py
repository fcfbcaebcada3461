"""Orders and findings survive their JSON, and nothing else passes for one."""

from __future__ import annotations

import json
import random

import pytest

from probes.core.errors import PacketError
from probes.core.model import Label
from probes.trace.order import LARGEST, Findings, Order, Purpose, Reply, Said, Shot, decode, encode

ORDER = Order(4, "192.0.2.1", "udp", 33434, 7, source="192.0.2.9", dscp=46)
REPLY = Reply("192.0.2.1", Said.EXCEEDED, 123, 11, 0, labels=(Label(3, 1, True, 9),), dscp=46)
FINDINGS = Findings("192.0.2.9", (Shot(1, 60, Purpose.HOP, 100, reply=REPLY), Shot(2, 60, Purpose.SIZE, 1)), mtu=1500)


def test_round_trip() -> None:
    assert decode(Order, encode(ORDER)) == ORDER
    assert decode(Findings, encode(FINDINGS)) == FINDINGS


@pytest.mark.parametrize(
    ("field", "value"),
    [("family", "4"), ("family", True), ("port", 1.5), ("target", None), ("surprise", 1), ("mtu", 1), ("dscp", [1])],
)
def test_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    written = json.loads(encode(ORDER)) | {field: value}
    with pytest.raises(PacketError):
        decode(Order, json.dumps(written).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"{", b"\xff", b"[" * 100_000, b" " * (LARGEST + 1)])
def test_what_is_no_order_is_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        decode(Order, data)


def test_damaged_findings_raise_nothing_but_packet_error() -> None:
    rng, read = random.Random(5), 0
    written = encode(FINDINGS)
    for _ in range(3000):
        data = bytearray(written)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.choice((b"", b"0", b'"', b"[", b"}", b"null", b"-1", b"x"))
        try:
            decode(Findings, bytes(data))
            read += 1
        except PacketError:
            continue
    assert read
