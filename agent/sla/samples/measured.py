"""What of a period was measured, and how many packets could hide in the rest. Pure.

A sample feeds a verdict when the network was really asked (SampleState.measured); impaired and invalid samples are
missing data. What is missing is never counted as good or bad: it widens the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.sla.samples.columns import SampleColumns
from agent.sla.time.spans import NOWHERE, Flags, Spans
from probes.core.arrays import Int64
from probes.core.clock import MILLISECOND
from probes.core.model import SampleState

_TOUCHING_NS = MILLISECOND
"""Samples that overlap by no more than this follow one another."""
_FULL = 4
"""Packets in a sample from which its pace can be told."""
_MEASURED = tuple(state.code for state in SampleState if state.measured)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a probe asks. every_ns: between packets or attempts, None when only a timetable is known.

    attempts: one try per sample, so that a sample stands for the time until the next one.
    """

    every_ns: int | None
    attempts: bool


STREAM: Final = Pace(None, attempts=False)
"""A stream of any pace."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A period, split: measured + missing = length; unknown: most packets (or tries) that the missing part holds."""

    length_ns: int
    measured_ns: int
    missing_ns: int
    unknown: int


def feeds_verdict(columns: SampleColumns) -> Flags:
    """True for rows whose state may feed a verdict, shape (rows,)."""
    return columns.once("feeds_verdict", lambda: _are_measured(columns.state))


def _are_measured(states: Int64) -> Flags:
    if not len(states):
        return np.zeros(0, np.bool_)
    lowest, highest = int(states.min()), int(states.max())
    if lowest == highest:
        return np.full(len(states), lowest in _MEASURED)
    return np.isin(states, _MEASURED)


def pace(columns: SampleColumns, every_ns: int | None, *, attempts: bool) -> Pace:
    """Where the configuration does not say how often a stream asks, or said another thing before, its samples tell.

    A stream that once was more than twice as fast may have missed as many packets as it sent then.
    """
    if attempts or columns.sent is None or not len(columns):
        return Pace(every_ns, attempts)
    return columns.once(("pace", every_ns), lambda: _told_pace(columns, every_ns))


def _told_pace(columns: SampleColumns, every_ns: int | None) -> Pace:
    packets, missing = columns.column("sent"), unsent(columns)
    if int(packets.min()) < 0 or missing.any():
        packets = np.maximum(packets, 0) + missing
    if every_ns is None:
        most = int(packets.max())
        return Pace(int(columns.span_ns.max()) // most if most else None, attempts=False)
    fastest = _shortest(columns.span_ns, packets, every_ns)
    return Pace(max(1, fastest) if 2 * fastest < every_ns else every_ns, attempts=False)


def _shortest(span_ns: Int64, packets: Int64, every_ns: int) -> int:
    """Least span for each packet of a row full enough to tell, or every_ns. Most rows have the same span and number."""
    full = packets >= _FULL
    if not full.all():
        span_ns, packets = span_ns[full], packets[full]
    if not len(packets):
        return every_ns
    longest = int(span_ns.max())
    if int(span_ns.min()) == longest:
        return min(every_ns, longest // int(packets.max()))
    return int((span_ns // packets).min(initial=every_ns))


def unsent(columns: SampleColumns) -> Int64:
    """Packets of each row that never left this host, shape (rows,); 0 where the row does not say."""
    return columns.once(
        "unsent",
        lambda: np.zeros(len(columns), np.int64) if columns.not_sent is None else np.maximum(columns.not_sent, 0),
    )


def unsent_ns(columns: SampleColumns) -> Int64:
    """The part of each row's interval that its packets not sent stand for, in ns, rounded up, shape (rows,)."""
    return columns.once("unsent_ns", lambda: _unsent_ns(columns))


def _unsent_ns(columns: SampleColumns) -> Int64:
    missing = unsent(columns)
    if not missing.any():
        return np.zeros(len(columns), np.int64)
    sent = np.maximum(columns.column("sent"), 0)
    stood_for = columns.span_ns * sent // np.maximum(sent + missing, 1)
    return np.where(missing > 0, columns.span_ns - stood_for, 0)


def sample_span(columns: SampleColumns) -> int | None:
    """Longest interval of the samples in ns: a part of one, at start or stop, is shorter. None without samples."""
    return columns.once("sample_span", lambda: int(columns.span_ns.max()) if len(columns) else None)


def told_twice(columns: SampleColumns, rows: Flags) -> Spans:
    """Time in which one of the rows lies over an earlier one. The store moves samples of one instant apart."""
    return columns.once_of("told_twice", rows, lambda: _told_twice(*_where(columns, rows)))


def _told_twice(start: Int64, span_ns: Int64) -> Spans:
    end = start + span_ns
    if (start[1:] >= end[:-1] - _TOUCHING_NS).all() and (end[1:] >= end[:-1]).all():
        return NOWHERE
    covered = np.concatenate((start[:1], np.maximum.accumulate(end)))[: len(start)]
    return Spans.union(start, np.minimum(end, covered) - _TOUCHING_NS)


def stands_for(pace: Pace) -> int:
    """Least time a row is there for, in ns: an attempt until the next one is due."""
    return pace.every_ns or 0 if pace.attempts else 0


def held(columns: SampleColumns, rows: Flags, least_ns: int) -> Spans:
    """The time those rows are there for: their own length, or least_ns where that is more."""
    return columns.once_of(("held", least_ns), rows, lambda: _held(*_where(columns, rows), least_ns))


def _where(columns: SampleColumns, rows: Flags) -> tuple[Int64, Int64]:
    """Start and length of those rows; no copy is made of all of them."""
    if rows.all():
        return columns.start_ns, columns.span_ns
    return columns.start_ns[rows], columns.span_ns[rows]


def _held(start: Int64, span_ns: Int64, least_ns: int) -> Spans:
    return Spans.union(start, start + np.maximum(span_ns, least_ns))


def holes(columns: SampleColumns, rows: Flags, pace: Pace, start_ns: int, end_ns: int) -> Spans:
    """The parts of [start_ns, end_ns) that those rows are not there for. Attempts drift by part of their spacing: only
    half a spacing or more is a hole."""
    found = Spans.of([(start_ns, end_ns)]) - held(columns, rows, stands_for(pace))
    if not pace.attempts:
        return found
    long = 2 * (found.end_ns - found.start_ns) >= stands_for(pace)
    return Spans(found.start_ns[long], found.end_ns[long])


def extent(
    columns: SampleColumns, rows: Flags, pace: Pace, start_ns: int, end_ns: int, aside: Spans = NOWHERE
) -> Extent:
    """Measure [start_ns, end_ns) without `aside` by the rows that count.

    Without a spacing (cron timetable) time says nothing: the rows that failed are what is missing, and each is one
    unknown try.
    """
    length = max(0, end_ns - start_ns) - aside.within(start_ns, end_ns).length_ns
    if pace.every_ns is None:
        inside = (columns.start_ns >= start_ns) & (columns.start_ns < end_ns) & ~aside.holds(columns.start_ns)
        wanted, got = int(np.count_nonzero(inside)), int(np.count_nonzero(inside & rows))
        measured = length * got // wanted if wanted else 0
        return Extent(length, measured, length - measured, wanted - got)
    whole = holes(columns, rows, pace, start_ns, end_ns)
    left = whole - aside
    if pace.attempts:
        unknown = _tries(whole, aside, pace.every_ns)
    else:  # one more in each: pacing may slip a packet over the edge
        unknown = int((-(-(left.end_ns - left.start_ns) // pace.every_ns) + 1).sum())
    missing = min(length, left.length_ns)
    return Extent(length, length - missing, missing, unknown)


def _tries(whole: Spans, aside: Spans, every_ns: int) -> int:
    """Most tries that holes can hold outside of what is set aside. A try may come half a spacing before it is due, so
    that a hole that is cut holds one more at each of its edges."""
    reach = Spans(whole.start_ns - every_ns // 2, whole.end_ns)
    left = reach - aside
    pieces = left.end_ns - left.start_ns
    uncut = np.isin(left.start_ns, reach.start_ns) & np.isin(left.end_ns, reach.end_ns)
    return int(np.where(uncut, pieces // every_ns, -(-pieces // every_ns) + 1).sum())
