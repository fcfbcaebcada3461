"""Samples of a probe gathered into buckets of time: packets, and percentiles from exactly merged histograms. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from agent.sla.samples.columns import SampleColumns, present
from agent.sla.samples.histograms import Histograms
from agent.sla.samples.measured import feeds_verdict
from probes.core.arrays import Int64
from probes.metrics.histogram import bounds

RANKS: Final = (Fraction(1, 20), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(19, 20))
"""p5, p25, p50, p75, p95"""
_NONE: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """One entry a bucket. sent, lost, answered, sum_ns: int64 (buckets,), zero where nothing was asked. low, high:
    smallest and largest round trip, ranks: (ranks, buckets) percentiles in the middle of their histogram bucket; -1
    where there is none. exact: from histograms of all answered packets."""

    sent: Int64
    lost: Int64
    answered: Int64
    sum_ns: Int64
    low: Int64
    high: Int64
    ranks: Int64
    exact: bool


def gather(columns: SampleColumns, edges: Int64, ranks: Sequence[Fraction] = RANKS) -> Gathered:
    """Rows whose state may feed a verdict, by the bucket their start lies in: [edges[k], edges[k + 1]).

    A percentile is the nearest rank among all packets of the bucket, known to the width of its histogram bucket.
    """
    count = len(edges) - 1
    inside = (columns.start_ns >= edges[0]) & (columns.start_ns < edges[-1]) & feeds_verdict(columns)
    rows = np.flatnonzero(inside)
    bucket = np.searchsorted(edges, columns.start_ns[rows], "right") - 1

    def total(values: Int64 | None) -> Int64:
        if values is None:
            return np.zeros(count, np.int64)
        picked = values[rows]
        return _sums(bucket, np.where(present(picked), picked, 0), count)

    low, high = _extremes(columns, rows, bucket, count)
    whole = columns.histogram is not None and len(rows) > 0
    found = np.full((len(ranks), count), _NONE, np.int64)
    if columns.histogram is not None and len(rows):
        histograms = Histograms.of(columns.histogram).taken(rows)
        there = total(columns.rtt_count) if columns.rtt_count is not None else None
        merged = _Merged.of(histograms, bucket, count)
        whole = there is None or bool((merged.total >= there).all())
        for place, rank in enumerate(ranks):
            found[place] = merged.percentile(rank)
        low, high = np.where(low < 0, merged.extreme(0), low), np.where(high < 0, merged.extreme(1), high)
    return Gathered(
        total(columns.sent), total(columns.lost), total(columns.rtt_count), total(columns.rtt_sum_ns),
        low, high, found, whole,
    )  # fmt: skip


def _sums(bucket: Int64, values: Int64, count: int) -> Int64:
    """Sum of the values of each bucket, exact: rows are in order, so that buckets are runs."""
    running = np.concatenate(([0], np.cumsum(values)))
    ends = np.searchsorted(bucket, np.arange(count + 1), "left")
    return np.asarray(running[ends[1:]] - running[ends[:-1]], np.int64)


def _extremes(columns: SampleColumns, rows: Int64, bucket: Int64, count: int) -> tuple[Int64, Int64]:
    low, high = np.full(count, _NONE, np.int64), np.full(count, _NONE, np.int64)
    if columns.rtt_min_ns is None or columns.rtt_max_ns is None:
        return low, high
    smallest, largest = columns.rtt_min_ns[rows], columns.rtt_max_ns[rows]
    some = present(smallest) & present(largest)
    if some.any():
        where, first = np.unique(bucket[some], return_index=True)
        low[where] = np.minimum.reduceat(smallest[some], first)
        high[where] = np.maximum.reduceat(largest[some], first)
    return low, high


@dataclass(frozen=True, slots=True, eq=False)
class _Merged:
    """The histograms of each time bucket as one: packets (time buckets, delays), delays ascending and numbered."""

    number: Int64
    reach: Int64
    """packets at or below each delay, cumulated, (time buckets, delays)"""
    total: Int64

    @staticmethod
    def of(rows: Histograms, bucket: Int64, count: int) -> _Merged:
        delay, packets = rows.buckets()
        if not len(delay):
            return _Merged(np.zeros(0, np.int64), np.zeros((count, 0), np.int64), np.zeros(count, np.int64))
        when = np.repeat(bucket, rows.end - rows.start)
        seen = np.bincount(delay) > 0
        number = np.flatnonzero(seen)
        place = (np.cumsum(seen) - 1)[delay]
        # Sums of whole numbers below 2^53: exact in floats.
        grid = np.bincount(when * len(number) + place, weights=packets, minlength=count * len(number))
        reach = np.cumsum(grid.reshape(count, len(number)), axis=1).astype(np.int64)
        return _Merged(number, reach, reach[:, -1])

    def percentile(self, p: Fraction) -> Int64:
        """Nearest rank of each time bucket, the middle of its delay's bounds; -1 where there are no packets."""
        if not len(self.number):
            return np.full(len(self.total), _NONE, np.int64)
        rank = np.maximum(-(-p.numerator * self.total // p.denominator), 1)
        at = np.argmax(self.reach >= rank[:, None], axis=1)
        lower, upper = bounds(self.number[at])
        return np.where(self.total > 0, (lower + upper - 1) // 2, _NONE)

    def extreme(self, side: int) -> Int64:
        """Lowest (0) or highest (1) edge of the delays of each time bucket; -1 where there are none."""
        if not len(self.number):
            return np.full(len(self.total), _NONE, np.int64)
        rank = np.ones_like(self.total) if side == 0 else np.maximum(self.total, 1)
        at = np.argmax(self.reach >= rank[:, None], axis=1)
        lower, upper = bounds(self.number[at])
        return np.where(self.total > 0, lower if side == 0 else upper - 1, _NONE)
