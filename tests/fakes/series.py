"""Plausible samples by the thousand, different in every value, for tests that carry them somewhere and back."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from probes.core.arrays import ABSENT
from probes.core.clock import SECOND
from probes.core.model import Counts, Delay, Quality, Rate, Sample, SampleState, StampSource, Variation
from probes.metrics.histogram import build
from tests.fakes.samples import stamped, traced

BEGIN_NS = 1_793_000_000 * SECOND + 123_456_789
CIRCUITS = ("ACME-AMS-0042", 'röhre, mit=allem\\drin "x"')
"""The second one has every letter that line protocol has to escape."""


def sample_series(count: int, *, seed: int = 1, begin_ns: int = BEGIN_NS) -> Iterator[Sample]:
    """`count` samples in turn of four probes, one interval apart; every seventh without a reply, some invalid."""
    random = np.random.default_rng(seed)
    for number in range(count):
        circuit = CIRCUITS[number % 2]
        start = begin_ns + number // 4 * 10 * SECOND
        kind = ("icmp", "udp", "tcp", "throughput")[number // 2 % 4]
        if kind == "throughput":
            yield Sample(circuit, kind, kind, start, 4 * SECOND, SampleState.OK, rate=_rate(random), remote="192.0.2.9")
        elif number % 7 == 3:
            yield _silent(circuit, kind, start)
        elif number % 31 == 5:
            yield Sample(circuit, kind, kind, start, 10 * SECOND, SampleState.INVALID, reason='no "such" name\\')
        else:
            yield _answered(circuit, kind, start, random)


def _rate(random: np.random.Generator) -> Rate:
    values = [int(value) for value in random.integers(1, 2**40, 6)]
    return Rate(*values)


def _silent(circuit: str, kind: str, start: int) -> Sample:
    return Sample(
        circuit, kind, kind, start, 10 * SECOND, SampleState.NO_REPLY, Counts(sent=10, lost=10), reason="no reply"
    )


def _answered(circuit: str, kind: str, start: int, random: np.random.Generator) -> Sample:
    delays = np.sort(random.integers(50_000, 80_000_000, 10))
    lost = int(random.integers(0, 3))
    big = 2**53 + 2 * int(random.integers(0, 1000)) + 1
    return Sample(
        circuit, kind, kind, start, 10 * SECOND, SampleState.OK,
        Counts(10 + lost, 10, lost, 0, int(random.integers(0, 2)), int(random.integers(0, 2)), 0, 0),
        Delay(10, big, int(delays[0]), int(delays[-1]), int(delays[4]), int(delays[9]), int(delays[9]), 17),
        Variation(9, int(random.integers(1, 10**9)), 5, 6, int(random.integers(1, 10**6))),
        quality=Quality(StampSource.KERNEL, 1000, 2000, 0, True, 500, 0.25),
        remote="192.0.2.1",
        histogram=build(delays),
    )  # fmt: skip


def far_series(count: int, *, seed: int = 1, begin_ns: int = BEGIN_NS) -> Iterator[Sample]:
    """`count` samples in turn of STAMP, TWAMP and path probes: some delays below zero, packets lost each way, a clock
    that is not synchronised at times, a reflector that does not count, intervals without any reply, changing paths."""
    random = np.random.default_rng(seed)
    for number in range(count):
        kind = ("stamp", "twamp", "stamp", "path")[number // 2 % 4]
        own = {"circuit": CIRCUITS[number % 2], "probe": kind, "start_ns": begin_ns + number // 8 * 10 * SECOND}
        if number // 2 % 4 == 2:
            own["probe"] = "stamp far away"
        if kind == "path":
            yield traced(number, "192.0.2.1", None, f"198.51.100.{random.integers(3)}", **own)
            continue
        offset = 0 if number % 2 else -400_000
        ways = [random.integers(100_000, 40_000_000, 10) + offset for _ in range(2)]
        ways[0][0] = -int(random.integers(1, 20_000))
        ways[0][random.random(10) < (1.0 if number % 23 == 7 else 0.05)] = ABSENT
        ways[1][(random.random(10) < 0.05) | (ways[0] == ABSENT)] = ABSENT
        yield _stamped(number, stamped(number, *(way.tolist() for way in ways), kind=kind, **own))


def _stamped(number: int, sample: Sample) -> Sample:
    forward, backward = sample.forward, sample.backward
    assert forward is not None
    assert backward is not None
    if number % 11 == 5:
        why = "the far end's clock is not synchronised"
        forward, backward = (
            replace(one, delay=None, histogram=None, error_ns=None, withheld=why) for one in (forward, backward)
        )
    if number % 13 == 6:
        forward, backward = replace(forward, lost=None), replace(backward, sent=None, lost=None)
    return replace(sample, forward=forward, backward=backward)
