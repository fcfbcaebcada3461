"""The delays of many samples as values known to lie between two bounds, and how packets make them exact. Pure.

A histogram's bucket is at most 0.79 % wide. Where that much decides, the packets of just the samples that have any in
the bucket are read, if they are still kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.from_packets import answered
from agent.sla.samples.histograms import DayHistograms, Histograms
from agent.sla.time.spans import Flags
from probes.core.arrays import ABSENT, Int64, Packets
from probes.metrics.histogram import bounds as bucket_bounds
from probes.metrics.histogram import bucket_of

INFINITE: Final = np.iinfo(np.int64).max
"""Upper bound of a value that has none: the delay of a lost packet, where the contract says so."""
_AT_ONCE: Final = 4096
"""Samples whose packets are held in memory together."""

Source = Literal["histograms", "packets", "both"]
Packed = Callable[[str, Int64], Sequence[Packets | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """weight[k] values lie in [low[k], high[k]]; int64 (k,), in no order. without: samples that had no histogram.

    Two distributions merge by concatenation: the whole is the same however the samples were divided.
    """

    low: Int64
    high: Int64
    weight: Int64
    without: int = 0
    source: Source = "histograms"

    @property
    def count(self) -> int:
        return int(self.weight.sum())

    def __add__(self, other: Distribution) -> Distribution:
        return Distribution(
            np.concatenate((self.low, other.low)),
            np.concatenate((self.high, other.high)),
            np.concatenate((self.weight, other.weight)),
            self.without + other.without,
            self.source if self.source == other.source else "both",
        )

    @staticmethod
    def exact(values: Int64, source: Source = "packets") -> Distribution:
        """Values that are known."""
        return Distribution(values, values, np.ones_like(values), 0, source)

    def with_lost(self, lost: int, at_least_ns: int | None) -> Distribution:
        """And so many packets whose delay is infinite; what is known of it is that it was longer than the time-out."""
        if not lost:
            return self
        longest = int(self.high.max(initial=0)) + 1
        entry = np.array([max(longest, at_least_ns or 0)], np.int64)
        more = Distribution(entry, np.array([INFINITE], np.int64), np.array([lost], np.int64), 0, self.source)
        return self + more


def delays(columns: SampleColumns, rows: Flags) -> Distribution:
    """Of the answered packets of those rows; from its own percentiles where a sample has no histogram."""
    return columns.once_of("delays", rows, lambda: _delays(columns, rows))


def _delays(columns: SampleColumns, rows: Flags) -> Distribution:
    there = np.zeros_like(rows)
    index: Int64 = np.zeros(0, np.int64)
    weight = index
    if columns.histogram is not None:
        given = columns.histogram
        stored = given if isinstance(given, DayHistograms) else Histograms.of(given)
        there = rows & stored.there
        index, weight = stored.merged_of(there)
    bare = np.flatnonzero(rows & ~there)
    lower, upper = _edges(index, columns, there)
    summaries = _from_summaries(columns, bare)
    found = Distribution(lower, upper - 1, weight) + summaries
    return replace(found, without=len(bare))


def _edges(index: Int64, columns: SampleColumns, rows: Flags) -> tuple[Int64, Int64]:
    """Lower and upper bound of buckets of those rows, half-open. In bucket 0 is also what is below zero: a one-way
    delay within the error of its clocks."""
    lower, upper = bucket_bounds(index)
    if len(index) and int(index[0]) == 0 and columns.rtt_min_ns is not None:
        least = columns.rtt_min_ns[rows]
        least = least[least != ABSENT]
        lower = lower.copy()
        lower[0] = min(0, int(least.min(initial=0)))
    return lower, upper


def resolved(found: Distribution, columns: SampleColumns, rows: Flags, value_ns: int, packets: Packed) -> Distribution:
    """The same with the bucket that holds value_ns made exact by packets, as far as they are there and agree."""
    if columns.histogram is None:
        return found
    bucket = int(bucket_of(np.array([value_ns], np.int64))[0])
    stored = Histograms.of(columns.histogram)
    there = np.flatnonzero(rows & stored.there)
    taken = stored.taken(there)
    index, count = taken.buckets()
    inside = index == bucket
    asked = np.repeat(there, taken.end - taken.start)[inside]
    exact, settled = [], 0
    for first in range(0, len(asked), _AT_ONCE):
        some = asked[first : first + _AT_ONCE]
        wanted = count[inside][first : first + _AT_ONCE]
        for item, number in zip(packets(columns.probe, columns.start_ns[some]), wanted.tolist(), strict=True):
            told = None if item is None else answered(item, columns.way)
            if told is None:
                continue
            values = told[1][bucket_of(told[1]) == bucket]
            if len(values) == number:  # else these are not the packets of this histogram
                exact.append(values)
                settled += number
    if not settled:
        return found
    edges = _edges(np.array([bucket], np.int64), columns, rows & stored.there)
    lower, upper = (int(edge[0]) for edge in edges)
    here = (found.low == lower) & (found.high == upper - 1)
    position = int(np.flatnonzero(here & (found.weight >= settled))[0])
    weight = found.weight.copy()
    weight[position] -= settled
    left = replace(found, weight=weight)
    some_left = left.weight > 0
    return Distribution(left.low[some_left], left.high[some_left], left.weight[some_left], found.without) + (
        Distribution.exact(np.concatenate(exact), "packets")
    )


def _from_summaries(columns: SampleColumns, rows: Int64) -> Distribution:
    """Bounds of the delays of samples of which only count, min, p50, p95, p99 and max (nearest rank) are known.

    The values from one known rank to the next lie between the two values; each known rank itself is exact.
    """
    nothing = np.zeros(0, np.int64)
    if not len(rows):
        return Distribution(nothing, nothing, nothing)
    count = columns.column("rtt_count")[rows]
    percents = [p for p in (50, 95, 99) if getattr(columns, f"rtt_p{p}_ns") is not None]
    names = ("rtt_min_ns", *(f"rtt_p{p}_ns" for p in percents), "rtt_max_ns")
    marks = [columns.column(name)[rows] for name in names]
    ranks = [np.ones_like(count), *(-(-count * p // 100) for p in percents), count]
    low, high, weight = [], [], []
    for mark, rank, before in zip(marks, ranks, [np.zeros_like(count), *ranks], strict=False):
        low.append(mark)
        high.append(mark)
        weight.append((rank > before).astype(np.int64))
    for step in range(len(marks) - 1):
        low.append(marks[step])
        high.append(marks[step + 1])
        weight.append(np.maximum(0, ranks[step + 1] - ranks[step] - 1))
    return Distribution(np.concatenate(low), np.concatenate(high), np.concatenate(weight))
