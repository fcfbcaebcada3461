"""One interval of all streams at once: packets in, the numbers of every stream's sample out. Pure.

Order of sending decides counts, delay, IPDV and PDV; order of arrival decides RFC 3550 jitter and reordering. Which
packets count where:

    state      sent  lost  delay, ipdv, pdv, histogram  rfc3550, reordering, duplicates
    ANSWERED   yes   no    yes                          yes
    LATE       yes   yes   no                           yes (it did arrive)
    LOST       yes   yes   no                           no
    REJECTED   yes   yes   no                           no
    NOT_SENT   no    no    no                           no

A stream's IPDV pairs and reordered packets add up to the same, however it is cut into intervals: the pair across a
boundary belongs to the later interval, and so does a packet that the later interval overtook.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Histogram, Int64
from probes.core.model import Counts, Delay, PacketState, Variation
from probes.metrics import histogram as buckets
from probes.metrics.carry import Arrivals, Carry
from probes.metrics.delay import P50, P95, delay_statistics
from probes.metrics.groups import Groups, ascending, count_per_stream
from probes.metrics.loss import is_lost, is_sent
from probes.metrics.order import arrival_order, reordered
from probes.metrics.variation import ipdv, rfc3550

__all__ = ["Carry", "IntervalPackets", "Summaries", "optional", "summarise"]

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class IntervalPackets:
    """Packets of one closed interval, all streams, sorted by (stream, sequence), each once; arrays (n,)."""

    stream: Int64
    """0 .. streams-1"""
    sequence: Int64
    """ascending by one per packet of the stream, sent or not"""
    sent_ns: Int64
    """UTC ns of sending"""
    rtt_ns: Int64
    """ABSENT unless ANSWERED or LATE"""
    state: NDArray[np.uint8]
    """PacketState"""
    lateness_ns: Int64
    """send time minus scheduled time; ABSENT for NOT_SENT"""
    duplicates: Int64
    """extra copies of the reply"""
    held_ns: Int64 | None = None
    """time inside the far end, which the delay is without; None where there is none"""
    set_ns: int = 0
    """by how much the clock of sent_ns has been set forward so far"""

    def departure_ns(self) -> Int64:
        """When each was sent, as if nobody had ever set the clock: that tells the order of packets."""
        return self.sent_ns - self.set_ns if self.set_ns else self.sent_ns

    def arrival_ns(self) -> Int64:
        """When each reply came, by the same clock, whatever it says where none did."""
        arrival_ns = self.departure_ns() + self.rtt_ns
        return arrival_ns if self.held_ns is None else arrival_ns + self.held_ns


@dataclass(frozen=True, slots=True, eq=False)
class Summaries:
    """The numbers of one interval; arrays (streams,), ABSENT where a stream has no such value, counts 0.

    Names are those of the sample columns. Streams without any packet have all counts 0.
    """

    sent: Int64
    received: Int64
    lost: Int64
    late: Int64
    duplicate: Int64
    reordered: Int64
    not_sent: Int64
    rtt_count: Int64
    rtt_sum_ns: Int64
    rtt_min_ns: Int64
    rtt_max_ns: Int64
    rtt_p50_ns: Int64
    rtt_p95_ns: Int64
    rtt_p99_ns: Int64
    rtt_stddev_ns: Int64
    ipdv_pairs: Int64
    ipdv_abs_sum_ns: Int64
    ipdv_p95_ns: Int64
    pdv_p95_ns: Int64
    rfc3550_ns: Int64
    lateness_p50_ns: Int64
    lateness_max_ns: Int64
    first_bucket: Int64
    """where each stream's buckets begin, shape (streams + 1,)"""
    buckets: Histogram
    """of all streams, one after the other"""

    def counts(self, stream: int, corrupt: int = 0) -> Counts:
        """Packets of one stream; `corrupt` replies are counted by who reads them."""
        return Counts(*[*_of(self._counts, stream), corrupt, int(self.not_sent[stream])])

    def delay(self, stream: int) -> Delay | None:
        """None where nothing was received in time."""
        return Delay(*_of(self._delay, stream)) if self.rtt_count[stream] else None

    def variation(self, stream: int) -> Variation | None:
        """None where nothing was received in time."""
        return _variation(*_of(self._variation, stream)) if self.rtt_count[stream] else None

    def histogram(self, stream: int) -> Histogram | None:
        """Delays received in time; None where there is none."""
        first, end = self.first_bucket[stream], self.first_bucket[stream + 1]
        return Histogram(self.buckets.index[first:end], self.buckets.count[first:end]) if end > first else None

    def all_counts(self, corrupt: Int64) -> list[Counts]:
        """Of every stream, as `counts` has it; equal ones are one object. A column at a time costs a tenth."""
        known: dict[tuple[int, ...], Counts] = {}
        found = []
        for row in _rows((*self._counts, corrupt, self.not_sent)):
            counts = known.get(row)
            if counts is None:
                counts = known[row] = Counts(*row)
            found.append(counts)
        return found

    @property
    def _counts(self) -> tuple[Int64, ...]:
        return self.sent, self.received, self.lost, self.late, self.duplicate, self.reordered

    @property
    def _delay(self) -> tuple[Int64, ...]:
        return (
            self.rtt_count, self.rtt_sum_ns, self.rtt_min_ns, self.rtt_max_ns,
            self.rtt_p50_ns, self.rtt_p95_ns, self.rtt_p99_ns, self.rtt_stddev_ns,
        )  # fmt: skip

    @property
    def _variation(self) -> tuple[Int64, ...]:
        return self.ipdv_pairs, self.ipdv_abs_sum_ns, self.ipdv_p95_ns, self.pdv_p95_ns, self.rfc3550_ns


def _of(columns: tuple[Int64, ...], stream: int) -> list[int]:
    return [int(column[stream]) for column in columns]


def _rows(columns: tuple[Int64, ...]) -> Iterator[tuple[int, ...]]:
    return zip(*(column.tolist() for column in columns), strict=True)


def _variation(pairs: int, sum_ns: int, ipdv_p95_ns: int, pdv_p95_ns: int, rfc3550_ns: int) -> Variation:
    return Variation(pairs, sum_ns, optional(ipdv_p95_ns), pdv_p95_ns, optional(rfc3550_ns))


def summarise(packets: IntervalPackets, streams: int, carry: Carry) -> tuple[Summaries, Carry]:
    """Summaries of all streams and the next carry. `carry` has `streams` entries and is not changed."""
    sent, received = is_sent(packets.state), packets.state == PacketState.ANSWERED
    arrived = received | (packets.state == PacketState.LATE)
    values: dict[str, Int64] = {
        "sent": count_per_stream(packets.stream, sent, streams),
        "received": count_per_stream(packets.stream, received, streams),
        "lost": count_per_stream(packets.stream, is_lost(packets.state), streams),
        "late": count_per_stream(packets.stream, packets.state == PacketState.LATE, streams),
        "not_sent": count_per_stream(packets.stream, ~sent, streams),
        "duplicate": _sums(packets.stream, packets.duplicates, streams),
    }
    ordered = ascending(packets.stream[received], packets.rtt_ns[received])
    delays = Groups.of(packets.stream[received])
    values |= _delays(delays, ordered, streams)
    values |= _lateness(packets, streams)
    pairs, carry = _pairs(packets, received, streams, carry)
    jitter, carry = _jitter(packets, arrived, streams, carry)
    order, carry = _order(packets, sent, arrived, streams, carry)
    first, histogram = _histograms(delays, ordered, streams)
    return Summaries(**values, **pairs, **jitter, **order, first_bucket=first, buckets=histogram), carry


def _delays(groups: Groups, ordered_ns: Int64, streams: int) -> dict[str, Int64]:
    found = delay_statistics(groups, ordered_ns)
    return {
        "rtt_count": groups.spread(groups.size, streams, 0),
        "rtt_sum_ns": groups.spread(found.sum_ns, streams),
        "rtt_min_ns": groups.spread(found.minimum_ns, streams),
        "rtt_max_ns": groups.spread(found.maximum_ns, streams),
        "rtt_p50_ns": groups.spread(found.p50_ns, streams),
        "rtt_p95_ns": groups.spread(found.p95_ns, streams),
        "rtt_p99_ns": groups.spread(found.p99_ns, streams),
        "rtt_stddev_ns": groups.spread(found.stddev_ns, streams),
        # The k-th smallest of D - min is the k-th smallest D, less min (RFC 5481 section 4.2).
        "pdv_p95_ns": groups.spread(found.p95_ns - found.minimum_ns, streams),
    }


def _lateness(packets: IntervalPackets, streams: int) -> dict[str, Int64]:
    known = packets.lateness_ns != ABSENT
    groups = Groups.of(packets.stream[known])
    ordered = ascending(packets.stream[known], packets.lateness_ns[known])
    return {
        "lateness_p50_ns": groups.spread(groups.nearest_rank(ordered, P50), streams),
        "lateness_max_ns": groups.spread(ordered[groups.last], streams),
    }


def _pairs(packets: IntervalPackets, received: Flags, streams: int, carry: Carry) -> tuple[dict[str, Int64], Carry]:
    """IPDV, and what the first pair of the next interval needs."""
    groups = Groups.of(packets.stream)
    last_sequence, last_rtt_ns = carry.last_sequence[groups.stream], carry.last_rtt_ns[groups.stream]
    differences = ipdv(groups, packets.sequence, packets.rtt_ns, received, last_sequence, last_rtt_ns)
    pair = differences != ABSENT
    stream, size_ns = packets.stream[pair], np.abs(differences[pair])
    paired = Groups.of(stream)
    values = {
        "ipdv_pairs": paired.spread(paired.size, streams, 0),
        "ipdv_abs_sum_ns": paired.spread(paired.total(size_ns), streams, 0),
        "ipdv_p95_ns": paired.spread(paired.nearest_rank(ascending(stream, size_ns), P95), streams),
    }
    rtt_ns = np.where(received, packets.rtt_ns, ABSENT)[groups.last]
    return values, replace(
        carry,
        last_sequence=_updated(carry.last_sequence, groups, packets.sequence[groups.last]),
        last_rtt_ns=_updated(carry.last_rtt_ns, groups, rtt_ns),
    )


def _jitter(packets: IntervalPackets, arrived: Flags, streams: int, carry: Carry) -> tuple[dict[str, Int64], Carry]:
    """RFC 3550 estimator at the interval's end; ABSENT where nothing arrived, or nothing to compare with."""
    stream, transit_ns = packets.stream[arrived], packets.rtt_ns[arrived]
    order = arrival_order(stream, packets.arrival_ns()[arrived])
    transit_ns, groups = transit_ns[order], Groups.of(stream)
    last_transit_ns = carry.last_transit_ns[groups.stream]
    estimate = rfc3550(groups, transit_ns, carry.rfc3550_ns[groups.stream], last_transit_ns)
    pairs = carry.rfc3550_pairs[groups.stream] + groups.size - (last_transit_ns == ABSENT)
    rounded = np.where(pairs > 0, np.rint(estimate).astype(np.int64), ABSENT)
    smoothed = carry.rfc3550_ns.copy()
    smoothed[groups.stream] = estimate
    return {"rfc3550_ns": groups.spread(rounded, streams)}, replace(
        carry,
        rfc3550_ns=smoothed,
        rfc3550_pairs=_updated(carry.rfc3550_pairs, groups, pairs),
        last_transit_ns=_updated(carry.last_transit_ns, groups, transit_ns[groups.last]),
    )


def _order(
    packets: IntervalPackets, sent: Flags, arrived: Flags, streams: int, carry: Carry
) -> tuple[dict[str, Int64], Carry]:
    """Reordered arrivals, among them those of the interval before that this one overtook."""
    now = Arrivals(packets.stream, packets.sequence, packets.arrival_ns()).where(arrived)
    both = carry.flying.joined(now)
    first_new = np.full(streams, np.iinfo(np.int64).max, np.int64)
    fresh = Groups.of(now.stream)
    first_new[fresh.stream] = now.sequence[fresh.start]
    # What is still flying was held against NextExp in its own interval.
    expected = np.where(both.sequence >= first_new[both.stream], carry.next_expected[both.stream], 0)
    flags = reordered(both.stream, both.sequence, both.arrival_ns, expected)
    following = np.maximum(carry.next_expected[fresh.stream], now.sequence[fresh.last] + 1)
    sending = Groups.of(packets.stream[sent])
    last_sent_ns = np.full(streams, ABSENT, np.int64)
    last_sent_ns[sending.stream] = packets.departure_ns()[sent][sending.last]
    flying = both.where(~flags & (both.arrival_ns > last_sent_ns[both.stream]))
    return {"reordered": count_per_stream(both.stream, flags, streams)}, replace(
        carry, next_expected=_updated(carry.next_expected, fresh, following), flying=flying
    )


def _histograms(groups: Groups, ordered_ns: Int64, streams: int) -> tuple[Int64, Histogram]:
    """Buckets of all streams one after the other, and where each stream's begin."""
    index = buckets.bucket_of(ordered_ns)
    begins = np.ones(len(index), np.bool_)
    begins[1:] = index[1:] != index[:-1]
    begins[groups.start] = True
    start = np.flatnonzero(begins)
    count = np.diff(start, append=len(index)).astype(np.int64)
    stream = np.repeat(groups.stream, groups.size)[start]
    first = np.searchsorted(stream, np.arange(streams + 1)).astype(np.int64)
    return first, Histogram(index[start], count)


def _sums(stream: Int64, values: Int64, streams: int) -> Int64:
    groups = Groups.of(stream)
    return groups.spread(groups.total(values), streams, 0)


def _updated(values: Int64, groups: Groups, new: Int64) -> Int64:
    out = values.copy()
    out[groups.stream] = new
    return out


def optional(value: int) -> int | None:
    """None for ABSENT."""
    return None if value == ABSENT else value
