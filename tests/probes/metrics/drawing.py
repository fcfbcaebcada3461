"""Random streams for the metrics' tests, and their arrays."""

from __future__ import annotations

import random

import numpy as np

from probes.core.arrays import ABSENT
from probes.core.model import PacketState
from probes.metrics.summary import IntervalPackets
from tests.probes.metrics.naive import Packet

START_NS = 1_800_000_000_000_000_000


def stream(rng: random.Random, count: int, first: int = 0) -> list[Packet]:
    """One stream: every fate of a packet, delays from alike to wild, so that replies overtake each other."""
    every = rng.choice((1_000_000, 10_000_000, 1_000_000_000))
    weights = rng.choice(((1, 0, 0, 0, 0), (8, 1, 1, 1, 1), (1, 8, 1, 1, 1), (0, 1, 0, 0, 1), (3, 0, 3, 0, 0)))
    spread = rng.choice((1, 3, 1_000, 5_000_000, 3_000_000_000))
    base = rng.choice((0, 100, 20_000_000))
    packets = []
    for number in range(count):
        state = rng.choices(tuple(PacketState), weights)[0]
        packet = Packet(first + number, START_NS + number * every, state)
        if state is not PacketState.NOT_SENT:
            packet.lateness_ns = rng.randrange(-5, 200_000)
        if packet.arrived:
            packet.rtt_ns = base + rng.randrange(spread)
            packet.duplicates = rng.choice((0, 0, 0, 1, 3))
        packets.append(packet)
    return packets


def arrays(streams: list[list[Packet]]) -> IntervalPackets:
    """Packets of one interval by stream, as the engine hands them over."""
    rows = [(number, packet) for number, packets in enumerate(streams) for packet in packets]

    def column(values: list[int | None]) -> np.ndarray:
        return np.array([ABSENT if value is None else value for value in values], np.int64)

    return IntervalPackets(
        stream=column([number for number, _ in rows]),
        sequence=column([packet.sequence for _, packet in rows]),
        sent_ns=column([packet.sent_ns for _, packet in rows]),
        rtt_ns=column([packet.rtt_ns for _, packet in rows]),
        state=np.array([packet.state for _, packet in rows], np.uint8),
        lateness_ns=column([packet.lateness_ns for _, packet in rows]),
        duplicates=column([packet.duplicates for _, packet in rows]),
    )
