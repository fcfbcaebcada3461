"""Availability by the state machine of MEF 10.4 section 8.8.7, with what is not known kept apart. Pure.

    A(0) = 0 iff H(0..n-1) all true, else 1
    A(k) = 0 if A(k-1) = 1 and H(k..k+n-1) all true;  1 if A(k-1) = 0 and H(k..k+n-1) all false;  else A(k-1)

H(k): lost / sent > C in interval k, strict. Both changes take effect at the first interval of the run, so the last
n-1 intervals may be undecided. The machine is monotone (more H never means more A), so running it once with every
unknown interval low and once with every unknown interval high gives exact bounds for each interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.measured import STREAM, Pace, feeds_verdict, told_twice, unsent
from agent.sla.time.spans import NOWHERE, Flags, Spans
from probes.core.arrays import Int64


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Packets per interval of the availability machine; interval k is [(first + k) * dt_ns, ... + dt_ns) UTC.

    sent, lost, not_sent: int64 (k,); known: True where the whole interval was measured, and once.
    """

    first: int
    dt_ns: int
    sent: Int64
    lost: Int64
    not_sent: Int64
    known: Flags

    def __len__(self) -> int:
        return len(self.known)

    def high(self, c: Fraction) -> Flags:
        """H(k) of the decided intervals: lost / sent > c, in integers. Most have lost nothing, which is never more."""
        some = np.flatnonzero(self.lost > 0)
        found = np.zeros(len(self), np.bool_)
        found[some] = self.lost[some] * c.denominator > self.sent[some] * c.numerator
        return found & self.decided(c)

    def decided(self, c: Fraction) -> Flags:
        """Known intervals whose H(k) would be the same whatever had become of the packets that were not sent."""
        if not self.not_sent.any():
            return self.known
        limit = (self.sent + self.not_sent) * c.numerator
        at_best = self.lost * c.denominator > limit
        at_worst = (self.lost + self.not_sent) * c.denominator > limit
        decided: Flags = self.known & (at_best == at_worst)
        return decided


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch of intervals that are down whatever the unknown ones were. UTC ns.

    start_ns may lie before the window; down_ns is the part inside. ongoing: it lasts to the end of what is known.
    """

    start_ns: int
    end_ns: int
    down_ns: int
    ongoing: bool


@dataclass(frozen=True, slots=True, eq=False)
class Availability:
    """State of every interval of a period: best[k] and worst[k] are A(k) with unknown intervals low and high.

    counts: False where the interval touches excluded time; it is then in none of the sums.
    """

    start_ns: int
    dt_ns: int
    best: Flags
    worst: Flags
    counts: Flags
    outages: tuple[Outage, ...]

    @property
    def total(self) -> int:
        return int(np.count_nonzero(self.counts))

    @property
    def up(self) -> int:
        """intervals certainly available"""
        return int(np.count_nonzero(self.worst & self.counts))

    @property
    def down(self) -> int:
        """intervals certainly unavailable"""
        return int(np.count_nonzero(~self.best & self.counts))

    @property
    def unknown(self) -> int:
        return self.total - self.up - self.down


def bin_samples(columns: SampleColumns, dt_ns: int, start_ns: int, end_ns: int, *, pace: Pace = STREAM) -> Intervals:
    """Sum the samples into intervals of dt_ns over [start_ns, end_ns), widened to whole intervals.

    An interval is known when measured samples cover all of it, and no part of it twice: after the clock was set back,
    one label stands for two stretches of time. A sample that reaches over the edge of an interval cannot be split and
    counts in none. Attempts (one try per sample, dt_ns is longer than their spacing) belong to their start; one
    measured try makes an interval known, and those that are missing beside it count as not sent.
    """
    return columns.once(
        ("intervals", dt_ns, start_ns, end_ns, pace), lambda: _binned(columns, dt_ns, start_ns, end_ns, pace)
    )


def _binned(columns: SampleColumns, dt_ns: int, start_ns: int, end_ns: int, pace: Pace) -> Intervals:
    first, last = start_ns // dt_ns, -(-end_ns // dt_ns)
    size = max(0, last - first)
    rows = feeds_verdict(columns) & (columns.column("sent") > 0) & (columns.column("lost") >= 0)
    lined_up = not pace.attempts and _one_in_each(columns, dt_ns)
    if lined_up:
        slot = np.arange(len(columns), dtype=np.int64) + (int(columns.start_ns[0]) // dt_ns - first)
    else:
        slot = columns.start_ns // dt_ns - first
    twice, lacking = np.zeros(size, np.bool_), np.zeros(size, np.int64)
    if pace.attempts:
        begin = (first + np.arange(size, dtype=np.int64)) * dt_ns
        lacking = _tries_missing(columns.start_ns[rows], pace, begin, dt_ns)
    elif not lined_up:
        told = told_twice(columns, rows)
        if len(told):
            begin = (first + np.arange(size, dtype=np.int64)) * dt_ns
            twice = told.touches(begin, begin + dt_ns)
        rows &= (columns.start_ns + columns.span_ns - 1) // dt_ns - first == slot
    if len(slot) and (int(slot.min()) < 0 or int(slot.max()) >= size):
        rows &= (slot >= 0) & (slot < size)
    every = bool(rows.all())
    where = slot if every else slot[rows]
    each = bool((where[1:] > where[:-1]).all())
    begins = int(where[0]) if each and len(where) and int(where[-1] - where[0]) == len(where) - 1 else None

    def total(values: Int64) -> Int64:
        chosen = values if every else values[rows]
        if each:  # the usual case: an interval of the machine for each sample
            found = np.zeros(size, np.int64)
            if begins is None:
                found[where] = chosen
            else:
                found[begins : begins + len(where)] = chosen
            return found
        # float64 sums of integers below 2^53 are exact
        return np.bincount(where, weights=chosen, minlength=size).astype(np.int64)

    known = total(np.ones_like(slot)) > 0 if pace.attempts else total(columns.span_ns) >= dt_ns
    sent, lost = total(columns.column("sent")), total(columns.column("lost"))
    missing = unsent(columns)
    not_sent = (total(missing) if missing.any() else np.zeros(size, np.int64)) + lacking
    return Intervals(first, dt_ns, sent, lost, not_sent, known & ~twice & (size > 0))


def _one_in_each(columns: SampleColumns, dt_ns: int) -> bool:
    """Every row lies in an interval of its own, the one after that of the row before: the usual case by far."""
    start = columns.start_ns
    if not len(start) or int(columns.span_ns.max()) > dt_ns or int(columns.span_ns.min()) < 1 or int(start[0]) % dt_ns:
        return False
    return bool((np.diff(start) == dt_ns).all())


def _tries_missing(starts: Int64, pace: Pace, begin: Int64, dt_ns: int) -> Int64:
    """Most tries that each interval may lack, where two follow each other at one and a half times their spacing or
    more: a try that is missing lay anywhere between them."""
    every = pace.every_ns
    if every is None or not len(begin):
        return np.zeros(len(begin), np.int64)
    edges = np.concatenate((begin[:1] - every // 2, starts, begin[-1:] + dt_ns + every // 2))
    edges.sort()
    wide = 2 * np.diff(edges) >= 3 * every
    between = Spans.union(edges[:-1][wide] + 1, edges[1:][wide])
    return -(-between.cover(begin, begin + dt_ns) // every)


def states(high: Flags, n: int, *, initially_up: bool = True) -> Flags:
    """A(k) for completely known H, shape (k,). `initially_up` is A(-1); the rule for A(0) is that of a start up.

    Vectorised on runs: a run of n or more equal H decides from its first interval on; shorter ones change nothing.
    """
    if not len(high):
        return high.copy()
    starts = np.concatenate(([0], np.flatnonzero(high[1:] != high[:-1]) + 1))
    lengths = np.diff(np.concatenate((starts, [len(high)])))
    deciding = np.maximum.accumulate(np.where(lengths >= n, np.arange(len(starts)), -1))
    up = np.where(deciding >= 0, ~high[starts][deciding], initially_up)
    return np.repeat(up, lengths)


def bounds(high: Flags, known: Flags, n: int, *, initial: bool | None = True) -> tuple[Flags, Flags]:
    """(best, worst): A(k) with unknown intervals low and high, the n-1 intervals after the last one unknown too.

    initial: A(-1), or None when the state before is not known.
    """
    tail = n - 1
    low = np.concatenate((high & known, np.zeros(tail, np.bool_)))
    raised = np.concatenate((high | ~known, np.ones(tail, np.bool_)))
    size = len(high)
    best = states(low, n, initially_up=initial is not False)[:size]
    worst = states(raised, n, initially_up=initial is True)[:size]
    return best, worst


def assess(
    intervals: Intervals,
    n: int,
    c: Fraction,
    start_ns: int,
    end_ns: int,
    *,
    initial: bool | None = True,
    excluded: Spans = NOWHERE,
    credited: Spans = NOWHERE,
) -> Availability:
    """Run the machine over all intervals, then report those wholly inside [start_ns, end_ns).

    Intervals that touch credited time are up, whatever the machine says; it runs through them as through any other.
    """
    dt = intervals.dt_ns
    best, worst = bounds(intervals.high(c), intervals.decided(c), n, initial=initial)
    if len(credited):
        every = (intervals.first + np.arange(len(intervals), dtype=np.int64)) * dt
        up = credited.touches(every, every + dt)
        best, worst = best | up, worst | up
    first = min(max(-(-start_ns // dt) - intervals.first, 0), len(intervals))
    last = min(max(end_ns // dt - intervals.first, first), len(intervals))
    counts = np.ones(last - first, np.bool_)
    if len(excluded):
        begin = (intervals.first + np.arange(first, last, dtype=np.int64)) * dt
        counts = ~excluded.touches(begin, begin + dt)
    outages = outages_of(best, intervals.first, dt, first, counts)
    return Availability((intervals.first + first) * dt, dt, best[first:last], worst[first:last], counts, outages)


def outages_of(best: Flags, origin: int, dt_ns: int, first: int, counts: Flags) -> tuple[Outage, ...]:
    """Runs of certainly down intervals of which some counts, from `first` on; cut where the period ends."""
    last = first + len(counts)
    down = np.concatenate(([False], ~best[:last], [False]))
    edges = np.flatnonzero(down[1:] != down[:-1])
    if not len(edges):
        return ()
    counted = np.concatenate(([0], np.cumsum(counts)))
    found = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        inside = int(counted[end - first] - counted[max(begin, first) - first]) if end > first else 0
        if inside:
            start_ns, end_ns = (origin + begin) * dt_ns, (origin + end) * dt_ns
            found.append(Outage(start_ns, end_ns, inside * dt_ns, end == last))
    return tuple(found)
