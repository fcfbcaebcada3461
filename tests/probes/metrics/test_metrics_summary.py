"""The whole interval summary against the one-packet-at-a-time implementation, and by hand."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from probes.core.model import Counts, Delay, PacketState, Variation
from probes.metrics import histogram
from probes.metrics.summary import Carry, IntervalPackets, Summaries, summarise
from tests.probes.metrics import naive
from tests.probes.metrics.drawing import START_NS, arrays, stream
from tests.probes.metrics.naive import Packet

A, LOST, LATE, NOT_SENT, REJECTED = PacketState
MS = 1_000_000


def row(found: Summaries, number: int, name: str) -> int | None:
    value = int(getattr(found, name)[number])
    return None if value == ABSENT else value


def test_one_stream_by_hand() -> None:
    """Eight packets a second, 100 ms timeout, one of each fate.

    seq      0   1   2     3     4         5         6   7
    rtt ms   10  14  lost  12    late 150  not sent  20  rejected
    sent = all but 5 = 7; received 0 1 3 6 = 4; lost 2 4 7 = 3, late 4 = 1; one extra copy of 3.
    delay: sum 56; sorted 10 12 14 20: p50 is rank ceil(2) = 12, p95 rank ceil(3.8) = 4 -> 20.
    stddev: mean 14, deviations -4 -2 0 6, sum of squares 56, 56/4 = 14 -> 3.741657 ms.
    ipdv: only 0-1 are neighbours both received: |14 - 10| = 4. pdv p95 = 20 - 10 = 10.
    rfc3550, arrivals 10 14 12 150 20 (sent a second apart, so nobody overtakes): |D| = 4 2 138 130:
    J = 4/16 = 0.25; += (2-0.25)/16 = 0.359375; += (138-0.359375)/16 = 8.9619140625;
    += (130-8.9619140625)/16 = 16.526794433... ms.
    """
    fates = [(A, 10), (A, 14), (LOST, None), (A, 12), (LATE, 150), (NOT_SENT, None), (A, 20), (REJECTED, None)]
    packets = [
        Packet(n, START_NS + n * 1000 * MS, state, None if ms is None else ms * MS, None if state is NOT_SENT else n)
        for n, (state, ms) in enumerate(fates)
    ]
    packets[3].duplicates = 1
    found, _ = summarise(arrays([packets]), 1, Carry.fresh(1))
    assert found.counts(0, corrupt=2) == Counts(7, 4, 3, late=1, duplicate=1, reordered=0, corrupt=2, not_sent=1)
    assert found.delay(0) == Delay(4, 56 * MS, 10 * MS, 20 * MS, 12 * MS, 20 * MS, 20 * MS, 3_741_657)
    assert found.variation(0) == Variation(1, 4 * MS, 4 * MS, 10 * MS, 16_526_794)
    assert (row(found, 0, "lateness_p50_ns"), row(found, 0, "lateness_max_ns")) == (3, 7)
    stored = found.histogram(0)
    assert stored is not None
    assert stored.to_text() == histogram.build(np.array([10, 12, 14, 20]) * MS).to_text()


def test_nothing_received_is_absent_not_zero() -> None:
    found, carry = summarise(arrays([[Packet(0, START_NS, LOST, None, 0)], []]), 2, Carry.fresh(2))
    assert found.counts(0) == Counts(sent=1, lost=1)
    assert found.counts(1) == Counts()
    for number in (0, 1):
        assert found.delay(number) is None
        assert found.variation(number) is None
        assert found.histogram(number) is None
        assert row(found, number, "rtt_sum_ns") is None
        assert row(found, number, "rfc3550_ns") is None
    assert carry.last_sequence.tolist() == [0, ABSENT]


def test_a_single_packet_has_no_jitter_yet() -> None:
    found, _ = summarise(arrays([[Packet(0, START_NS, A, 5, 0)]]), 1, Carry.fresh(1))
    assert found.variation(0) == Variation(0, 0, None, 0, None)


def test_no_streams() -> None:
    found, carry = summarise(arrays([]), 0, Carry.fresh(0))
    assert (len(found.sent), len(carry)) == (0, 0)


def test_pair_across_the_boundary_belongs_to_the_later_interval() -> None:
    """10 ms, then 13 ms in the next interval: its first pair is |13 - 10| = 3 ms. After a loss there is none."""
    first, carry = summarise(arrays([[Packet(0, START_NS, A, 10)], [Packet(0, START_NS, LOST)]]), 2, Carry.fresh(2))
    then = START_NS + 10_000 * MS
    second, _ = summarise(arrays([[Packet(1, then, A, 13)], [Packet(1, then, A, 13)]]), 2, carry)
    assert first.ipdv_pairs.tolist() == [0, 0]
    assert second.ipdv_pairs.tolist() == [1, 0]
    assert second.ipdv_abs_sum_ns.tolist() == [3, 0]


def test_reply_overtaken_across_the_boundary_counts_once() -> None:
    """Packet 1 flies 80 ms and arrives at 170; packet 2, of the next interval, is sent at 100 and arrives at 110.

    Alone, the first interval is in order; with the second, 1 < NextExp = 3 when it comes.
    """
    first = [Packet(0, START_NS, A, 5 * MS), Packet(1, START_NS + 90 * MS, A, 80 * MS)]
    second = [Packet(2, START_NS + 100 * MS, A, 10 * MS), Packet(3, START_NS + 190 * MS, A, 10 * MS)]
    third = [Packet(4, START_NS + 200 * MS, A, 10 * MS)]
    carry, counted = Carry.fresh(1), []
    for packets in (first, second, third):
        found, carry = summarise(arrays([packets]), 1, carry)
        counted.append(int(found.reordered[0]))
    assert counted == [0, 1, 0]


def _check_against_naive(seed: int) -> int:
    """Random streams cut into random intervals; returns how many values were compared."""
    rng = random.Random(seed)
    whole = [stream(rng, rng.randrange(40), rng.choice((0, 7, 2**33))) for _ in range(rng.randrange(1, 6))]
    plain = [naive.Stream() for _ in whole]
    carry, rest, compared = Carry.fresh(len(whole)), [list(packets) for packets in whole], 0
    found_reordered = [0] * len(whole)
    while any(rest):
        cuts = [rng.randrange(len(packets) + 1) for packets in rest]
        parts = [packets[:cut] for packets, cut in zip(rest, cuts, strict=True)]
        rest = [packets[cut:] for packets, cut in zip(rest, cuts, strict=True)]
        found, carry = summarise(arrays(parts), len(whole), carry)
        for number, part in enumerate(parts):
            for name, expected in plain[number].interval(part).items():
                value = row(found, number, name)
                if name in ("rfc3550_ns", "rtt_stddev_ns") and value is not None and expected is not None:
                    assert abs(value - expected) <= 1, (seed, name)
                else:
                    assert value == expected, (seed, name)
                compared += 1
            stored = found.histogram(number)
            delays = np.array([p.rtt_ns for p in part if p.received], np.int64)
            assert ("" if stored is None else stored.to_text()) == histogram.build(delays).to_text(), seed
            found_reordered[number] += int(found.reordered[number])
    assert found_reordered == [len(naive.reordered(packets)) for packets in whole], seed
    return compared


@pytest.mark.parametrize("block", range(10))
def test_agrees_with_the_naive_implementation(block: int) -> None:
    """3000 random cases, each several streams and intervals, every number compared."""
    assert sum(_check_against_naive(seed) for seed in range(300 * block, 300 * block + 300)) > 10_000


def _values(found: Summaries) -> dict[str, list[int]]:
    return {name: getattr(found, name).tolist() for name in Summaries.__slots__ if "bucket" not in name}


def test_a_subset_of_streams_can_be_summarised_and_put_back() -> None:
    """Streams 3 and 1 closed before the others: take, summarise, put gives what summarising them all would."""
    rng = random.Random(5)
    before, after = [stream(rng, 20) for _ in range(4)], [stream(rng, 20, 20) for _ in range(4)]
    for packets in after:
        for packet in packets:
            packet.sent_ns += 1_000 * MS
    _, carry = summarise(arrays(before), 4, Carry.fresh(4))
    expected, all_at_once = summarise(arrays(after), 4, carry)
    mixed = carry
    for chosen in (np.array([3, 1]), np.array([0, 2])):
        part, moved = summarise(arrays([after[n] for n in chosen]), 2, mixed.take(chosen))
        mixed = mixed.put(chosen, moved)
        for name, values in _values(part).items():
            assert values == [getattr(expected, name)[n] for n in chosen], name
    for name in Carry.__slots__:
        if name != "flying":
            assert getattr(mixed, name).tolist() == getattr(all_at_once, name).tolist(), name
    assert mixed.flying.arrival_ns.tolist() == all_at_once.flying.arrival_ns.tolist()
    assert mixed.flying.stream.tolist() == all_at_once.flying.stream.tolist()


def test_take_minus_one_is_a_fresh_stream() -> None:
    _, carry = summarise(arrays([[Packet(4, START_NS, A, 9)]]), 1, Carry.fresh(1))
    grown = carry.take(np.array([-1, 0]))
    assert grown.next_expected.tolist() == [0, 5]
    assert grown.flying.stream.tolist() == [1]
    assert carry.take(np.array([-1])).flying.stream.tolist() == []


@pytest.mark.parametrize("step_ns", [-(10**9), 10**9])
def test_setting_the_clock_reorders_nothing(step_ns: int) -> None:
    """The last reply of the interval is under way when the clock is set; the next interval begins by the new one."""
    first, second = Packet(0, START_NS, A, 50_000), Packet(1, START_NS + step_ns + 10_000, A, 50_000)
    carry = Carry.fresh(1)
    reordered = []
    for packet, set_ns in ((first, 0), (second, step_ns)):
        packets = replace(arrays([[packet]]), set_ns=set_ns)
        summaries, carry = summarise(packets, 1, carry)
        reordered.append(int(summaries.reordered[0]))
    assert reordered == [0, 0]


def test_summarise_leaves_its_arguments_alone() -> None:
    packets = arrays([stream(random.Random(1), 30)])
    given = {name: getattr(packets, name) for name in IntervalPackets.__slots__}
    copies = {name: values.copy() for name, values in given.items() if isinstance(values, np.ndarray)}
    carry = Carry.fresh(1)
    summarise(packets, 1, carry)
    assert carry.next_expected.tolist() == [0]
    for name, values in copies.items():
        assert (getattr(packets, name) == values).all(), name
