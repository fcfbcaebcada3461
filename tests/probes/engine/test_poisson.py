"""Streams paced by a Poisson process (RFC 2330 section 11.1.1): gaps are exponential, unforeseeable, and nobody else's
rhythm changes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.clock import MILLISECOND, SECOND
from probes.engine.loop import MOST_PACKETS, TICK_NS
from probes.engine.nonce import Nonces
from probes.engine.pacing import exponential_gaps, packets_in, take_due
from tests.probes.engine.test_loop import SPEC, Bench

POISSON = replace(SPEC, pacing="poisson", every_ns=200 * MILLISECOND)


def distance(gaps: NDArray[np.float64] | Int64, mean: float) -> float:
    """Kolmogorov and Smirnov: the greatest difference from the exponential distribution, times the root of n."""
    ordered = np.sort(np.asarray(gaps, np.float64))
    expected = 1 - np.exp(-ordered / mean)
    rank = np.arange(len(ordered))
    return (
        float(np.maximum(expected - rank / len(ordered), (rank + 1) / len(ordered) - expected).max())
        * len(ordered) ** 0.5
    )


def test_gaps_by_hand() -> None:
    """-ln u times the mean, u = (word >> 11, plus 1) / 2^53: u = 1, 1/2, and the least there is."""
    words = np.array([2**64 - 1, 2**63 - 1, 0], np.uint64)
    mean = np.full(3, SECOND, np.int64)
    assert exponential_gaps(words, mean).tolist() == [1, round(np.log(2) * SECOND), round(53 * np.log(2) * SECOND)]


def test_gaps_are_exponential_and_independent() -> None:
    """4 in the distance of Kolmogorov and Smirnov has a probability of 2e-14."""
    words = Nonces(bytes(range(16))).compute(np.zeros(100_000, np.int64), np.arange(100_000))
    gaps = exponential_gaps(words, np.full(100_000, SECOND, np.int64))
    assert distance(gaps, SECOND) < 4
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.02
    assert distance(np.full(100_000, SECOND), SECOND) > 4, "a periodic stream is told apart"
    assert distance(gaps * 1.05, SECOND) > 4, "and so is a wrong mean"


@pytest.mark.parametrize("every_ns", [10 * MILLISECOND, SECOND, 100 * SECOND])
def test_no_more_packets_come_than_there_is_room_for(every_ns: int) -> None:
    span = 40 * SECOND
    words = Nonces(bytes(16)).compute(np.repeat(np.arange(20), 10_000), np.tile(np.arange(10_000), 20))
    times = exponential_gaps(words, np.full(200_000, every_ns, np.int64)).reshape(20, 10_000).cumsum(axis=1)
    most = max(int(np.searchsorted(row, row + span).max() - 0) for row in times[:, :1])
    for row in times:
        most = max(most, int((np.searchsorted(row, row[:5000] + span) - np.arange(5000)).max()))
    assert most <= packets_in(span, every_ns, random=True) <= MOST_PACKETS
    assert packets_in(span, every_ns, random=False) == span // every_ns + 1


def test_deadlines_go_on_from_deadlines_not_from_when_the_host_found_time() -> None:
    next_due, every = np.array([1000, 5000], np.int64), np.array([100, 100], np.int64)
    due = take_due(next_due, every, 1040, earliest_ns=1000, gaps=lambda stream: stream * 0 + 37)
    assert due is not None
    assert (due.stream.tolist(), due.scheduled_ns.tolist(), next_due.tolist()) == ([0], [1000], [1037, 5000])


def test_a_stream_is_poisson_and_its_neighbour_keeps_its_grid() -> None:
    bench = Bench()
    bench.add(POISSON, replace(SPEC, circuit="C2", every_ns=100 * MILLISECOND))
    bench.run(420)
    times = defaultdict(list)
    for packet in bench.network.sent:
        times[packet.stream].append(packet.at_ns)
    random, periodic = (np.array(times[stream]) for stream in (0, 1))
    assert abs(len(random) - 2100) < 6 * 2100**0.5
    assert (np.diff(periodic) == 100 * MILLISECOND).all()
    deadlines = np.concatenate([sample.packets.sent_ns + sample.start_ns for sample in bench.of() if sample.packets])
    assert len(np.unique(deadlines)) == len(deadlines)
    assert distance(np.diff(random), 200 * MILLISECOND) < 4
    late = [sample.quality.lateness_max_ns for sample in bench.of()]
    assert max(value for value in late if value is not None) < TICK_NS
    assert bench.total("lost") == bench.total("not_sent") == 0
    assert bench.total("sent") == bench.total("received") > 1900


def test_two_streams_and_two_engines_have_their_own_chance() -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        bench.add(POISSON, replace(POISSON, circuit="C2"))
        bench.run(30)
    series = [
        [packet.at_ns for packet in bench.network.sent if packet.stream == stream]
        for bench in (first, second)
        for stream in (0, 1)
    ]
    assert len({tuple(times[:20]) for times in series}) == 4


def test_a_limit_is_kept_and_a_stream_can_be_removed() -> None:
    bench = Bench()
    bench.add(replace(POISSON, limit=25))
    bench.run(60)
    assert len(bench.network.sent) == 25
    assert bench.engine.done()
    bench.add(replace(POISSON, circuit="C2"))
    bench.run(10)
    bench.engine.remove([("C2", "udp")])
    bench.run(2)
    number = len(bench.network.sent)
    bench.run(20)
    assert len(bench.network.sent) == number
