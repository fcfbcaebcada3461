"""Hostile octets straight into the row that a datagram would fill: no exception, no reply longer than the request.

20,000 of them; 10,000,000 in `make faults`, or as many as LINKWITNESS_FAULTS_STAMP_HOSTILE says.
"""

from __future__ import annotations

import random
import socket
import struct
from collections import Counter

import numpy as np
import pytest

from probes.core.clock import SystemClock
from probes.engine import control
from probes.reflect.admission import AllowList, SourceRate
from probes.reflect.answering import MAXIMUM_SIZE, Answering
from probes.reflect.flows import Flows
from probes.reflect.stamp import DROPPED
from probes.wire.stamp_auth import Key
from tests.faults.counts import count
from tests.probes.reflect.stamp_asking import KEY, plain, signed, tlv

COUNT = count("STAMP_HOSTILE", 20_000, 10_000_000)
NAME = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 5000, bytes((192, 0, 2, 1)))
ANCILLARY = (
    control.message(1, control.SO_TIMESTAMPING, struct.pack("=qq32x", 1_800_000_000, 5))
    + control.message(0, control.IP_PKTINFO, struct.pack("=i4s4s", 2, bytes((192, 0, 2, 2)), bytes((192, 0, 2, 2))))
    + control.message(0, control.IP_TTL, struct.pack("=i", 64))
    + control.message(0, control.IP_TOS, b"\x28")
)  # fmt: skip


class Fed:
    """An answering reflector without packets: rows are filled by hand."""

    def __init__(self, key: bytes | None) -> None:
        self.endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        known = Flows(socket.AF_INET, 862, AllowList(["192.0.2.0/24"]), lambda _: True)
        self.answering = Answering(
            self.endpoint, known, SourceRate(10**9, 10**9), SystemClock(),
            key=None if key is None else Key(key), stateful=True, reply_dscp=frozenset({46}),
        )  # fmt: skip
        self.rows = self.answering._rows
        self.now = 0

    def feed(self, request: bytes) -> tuple[str, int]:
        """The refusal, and the length of the reply."""
        rows = self.rows
        there = request[: rows.width]
        rows.data[0, : len(there)] = np.frombuffer(there, np.uint8)
        rows.names[0, : len(NAME)] = np.frombuffer(NAME, np.uint8)
        rows.control[0, : len(ANCILLARY)] = np.frombuffer(ANCILLARY, np.uint8)
        rows.vector_length[0] = 0
        struct.pack_into("=QI4xI", rows.headers, 40, len(ANCILLARY), 0, len(request))
        self.now += 1_000_000
        refusal = self.answering._answer(0, self.now)
        return refusal, int(rows.vector_length[0])


def hostile(noise: random.Random) -> bytes:
    """Noise, requests with bits turned, lengths that lie, ends cut off, many extensions."""
    make = noise.choice((plain, signed, lambda: noise.randbytes(noise.choice((14, 41, 44, 60, 112, 200)))))
    whole = bytearray(make())
    for _ in range(noise.choice((0, 0, 1, 2, 5, 40))):
        body = noise.randbytes(noise.choice((0, 1, 4, 12, 16, 17)))
        piece = bytearray(tlv(noise.randrange(14), body, noise.getrandbits(8)))
        if noise.random() < 0.2:
            piece[2:4] = noise.randbytes(2)
        whole += piece
    for _ in range(noise.choice((0, 0, 1, 3))):
        whole[noise.randrange(len(whole))] ^= 1 << noise.randrange(8)
    return bytes(whole[: noise.randrange(14, len(whole) + 1)] if noise.random() < 0.3 else whole)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
def test_hostile_octets_raise_nothing_and_gain_nothing(key: bytes | None) -> None:
    noise, fed, outcomes = random.Random(COUNT), Fed(key), Counter[str]()
    for _ in range(COUNT // 2):
        request = hostile(noise)
        refusal, length = fed.feed(request)
        assert length == (0 if refusal else len(request)), request.hex()
        outcomes[refusal] += 1
    fed.endpoint.close()
    assert set(outcomes) <= {"", *DROPPED}
    assert len(outcomes) >= 3, outcomes


def test_giants_are_dropped() -> None:
    fed = Fed(None)
    assert fed.feed(bytes(MAXIMUM_SIZE)) == ("", MAXIMUM_SIZE)
    assert fed.feed(bytes(MAXIMUM_SIZE + 1)) == ("dropped_size", 0)
    fed.endpoint.close()
