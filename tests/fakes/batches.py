"""Random batches of ended intervals, as the engine hands them to its reporter."""

from __future__ import annotations

import random

import numpy as np

from probes.core.block import SampleBlock
from probes.core.clock import ClockQuality
from probes.engine.intervals import Batch, Closing, Remarks
from probes.engine.oneway import DirectionMemory
from probes.engine.reporting import samples_of
from probes.engine.streams import StreamSpec
from probes.metrics.summary import Carry, Summaries, summarise
from tests.probes.metrics.drawing import START_NS, arrays, stream

SPAN_NS = 10_000_000_000
QUALITIES = (ClockQuality(True, 100, 2_000), ClockQuality(False, None, None))


def batch(rng: random.Random, streams: int = 6) -> tuple[Batch, Summaries]:
    """Of streams with and without packets, skipped ones and remarks; slots are not positions."""
    packets = arrays([stream(rng, rng.choice((0, 1, 4, 10, 70))) for _ in range(streams)])
    slots = rng.sample(range(3 * streams), streams)
    remarks = Remarks()
    for slot in slots:
        if rng.random() < 0.2:
            remarks.impair(slot, "frozen")
            remarks.impair(slot, "host slept")
        for held, text in (
            (remarks.rejected, "host unreachable"),
            (remarks.unsent, "no route"),
            (remarks.silent, "no ARP"),
        ):
            if rng.random() < 0.3:
                held[slot] = f"{text} {slot}"

    def column(*choices: int) -> np.ndarray:
        return np.array([rng.choice(choices) for _ in slots], np.int64)

    begin = START_NS + np.arange(streams) * 1000
    closing = Closing(
        np.array(slots, np.int64), np.zeros(streams, np.int64), np.full(streams, 70), begin, begin + SPAN_NS,
        skipped=column(0, 0, 3), corrupt=column(0, 0, 2), drops=column(0, 5), fresh=np.ones(streams, np.bool_),
        remarks=remarks, last=False,
    )  # fmt: skip
    specs = tuple(
        StreamSpec(f"c{slot}", "icmp", "icmp", f"192.0.2.{number}", "host") for number, slot in enumerate(slots)
    )
    size = len(packets.stream)
    stamps = np.array([rng.choice((0, 0, 1, 2)) for _ in range(size)], np.uint8)
    transmitted = np.array([rng.random() < 0.8 for _ in range(size)], np.bool_)
    found, _ = summarise(packets, streams, Carry.fresh(streams))
    return Batch(specs, closing, packets, stamps, transmitted), found


def block(rng: random.Random, streams: int = 6) -> SampleBlock:
    """What the engine makes of such a batch."""
    one, found = batch(rng, streams)
    plain, both_ways = samples_of(one, found, rng.choice(QUALITIES), DirectionMemory())
    assert not both_ways
    return plain
