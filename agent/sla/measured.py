"""What of a period was measured, and how many packets could hide in the rest. Pure.

A sample feeds a verdict when the network was really asked (SampleState.measured); impaired and invalid samples are
missing data. What is missing is never counted as good or bad: it widens the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.sla.columns import SampleColumns
from probes.core.arrays import Int64
from probes.core.model import SampleState

Flags = NDArray[np.bool_]

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


@dataclass(frozen=True, slots=True)
class Extent:
    """A period, split: measured + missing = length; unknown: most packets (or tries) that the missing part holds."""

    length_ns: int
    measured_ns: int
    missing_ns: int
    unknown: int


def feeds_verdict(columns: SampleColumns) -> Flags:
    """True for rows whose state may feed a verdict, shape (rows,)."""
    return np.isin(columns.state, _MEASURED)


def pace(columns: SampleColumns, every_ns: int | None, *, attempts: bool) -> Pace:
    """Where the configuration does not say how often a stream asks, or said another thing before, its samples tell.

    A stream that once was more than twice as fast may have missed as many packets as it sent then.
    """
    if attempts or columns.sent is None or not len(columns):
        return Pace(every_ns, attempts)
    packets = np.maximum(columns.sent, 0) + unsent(columns)
    if every_ns is None:
        most = int(packets.max())
        return Pace(int(columns.span_ns.max()) // most if most else None, attempts)
    full = packets >= _FULL
    fastest = int((columns.span_ns[full] // packets[full]).min(initial=every_ns))
    return Pace(max(1, fastest) if 2 * fastest < every_ns else every_ns, attempts)


def unsent(columns: SampleColumns) -> Int64:
    """Packets of each row that never left this host, shape (rows,); 0 where the row does not say."""
    return np.zeros(len(columns), np.int64) if columns.not_sent is None else np.maximum(columns.not_sent, 0)


def unsent_ns(columns: SampleColumns) -> Int64:
    """The part of each row's interval that its packets not sent stand for, in ns, rounded up, shape (rows,)."""
    missing, sent = unsent(columns), np.maximum(columns.column("sent"), 0)
    stood_for = columns.span_ns * sent // np.maximum(sent + missing, 1)
    return np.where(missing > 0, columns.span_ns - stood_for, 0)


def sample_span(columns: SampleColumns) -> int | None:
    """Longest interval of the samples in ns: a part of one, at start or stop, is shorter. None without samples."""
    return int(columns.span_ns.max()) if len(columns) else None


def extent(columns: SampleColumns, rows: Flags, pace: Pace, start_ns: int, end_ns: int) -> Extent:
    """Measure [start_ns, end_ns) by the rows that count; rows outside it have no effect.

    Attempts drift by part of their spacing: only a hole of half a spacing or more is one. Without a spacing (cron
    timetable) time says nothing: the rows that failed are what is missing, and each is one unknown try.
    """
    length = max(0, end_ns - start_ns)
    inside = (columns.start_ns >= start_ns) & (columns.start_ns < end_ns)
    if pace.every_ns is None:
        wanted, got = int(np.count_nonzero(inside)), int(np.count_nonzero(inside & rows))
        measured = length * got // wanted if wanted else 0
        return Extent(length, measured, length - measured, wanted - got)
    begin = columns.start_ns[rows & inside]
    stands_for = np.maximum(columns.span_ns[rows & inside], pace.every_ns if pace.attempts else 0)
    end = np.maximum.accumulate(np.minimum(begin + stands_for, end_ns))
    holes = np.concatenate((begin, [end_ns])) - np.concatenate(([start_ns], end))
    if pace.attempts:
        holes = holes[2 * holes >= pace.every_ns]
        unknown = int(((2 * holes + pace.every_ns) // (2 * pace.every_ns)).sum())
    else:
        holes = holes[holes > 0]
        unknown = int((-(-holes // pace.every_ns) + 1).sum())  # one more: pacing may slip a packet over the edge
    missing = min(length, int(holes.sum()))
    return Extent(length, length - missing, missing, unknown)
