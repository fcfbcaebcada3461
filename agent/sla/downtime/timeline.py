"""The availability machine run on the samples of one probe, and what of its time has no record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from agent.sla.case import Feed, Moment, UnusableError
from agent.sla.downtime.availability import Availability, Intervals, assess, bin_samples
from agent.sla.downtime.blocks import blocks, seconds
from agent.sla.samples.measured import feeds_verdict, held, holes, sample_span, stands_for, told_twice
from agent.sla.statistic.streaks import runs
from agent.sla.terms.contract import Objective, Statistic, StatisticType
from agent.sla.time.spans import NOWHERE, Flags, Spans
from probes.core.clock import SECOND
from probes.core.units import format_duration

WARM_UP_NS: Final = 24 * 3600 * SECOND
"""How far before the window the availability machine starts, to inherit its state."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The machine over a period: its intervals, with those before and after, and the state of those inside."""

    intervals: Intervals
    state: Availability
    n: int
    c: Fraction

    @property
    def down(self) -> Spans:
        """Certainly down."""
        return spans_of(self.state, ~self.state.best)

    @property
    def unknown(self) -> Spans:
        """Nobody knows whether up or down."""
        return spans_of(self.state, self.state.best != self.state.worst)


def interval_of(objective: Objective, feed: Feed) -> int:
    """dt of the availability machine in ns. Raises UnusableError."""
    span_ns, dt_ns = sample_span(feed.columns), objective.statistic.dt_ns
    if objective.statistic.type is StatisticType.AVAILABILITY_SECONDS:
        return SECOND
    if objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        dt_ns = objective.statistic.block_ns
    if feed.pace.attempts:
        if dt_ns is None and feed.pace.every_ns is None:
            raise UnusableError("a probe with a timetable gives no availability unless the contract states dt")
        return dt_ns or 2 * (feed.pace.every_ns or 0)
    if span_ns is None:
        raise UnusableError("nothing was measured")
    if dt_ns is not None and dt_ns % span_ns:
        raise UnusableError(
            f"dt of {format_duration(dt_ns)} is not a multiple of the sample interval of {format_duration(span_ns)}"
        )
    return dt_ns or span_ns


def machine_of(statistic: Statistic) -> tuple[int, Fraction]:
    """(n, C) of the machine. Blocks have no hysteresis."""
    if statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        return 1, statistic.c
    return statistic.n, statistic.c


def beside_ns(statistic: Statistic, dt_ns: int) -> int:
    """ns beside a period, in whole intervals, that tell whether an outage at its edge is long enough to count."""
    return -(-(statistic.minimum_ns + statistic.join_ns) // dt_ns) * dt_ns


def timeline(
    objective: Objective, feed: Feed, start_ns: int, end_ns: int, moment: Moment, excluded: Spans = NOWHERE
) -> Timeline:
    """Run the machine so that it knows the state it enters [start_ns, end_ns), widened to whole intervals, with.

    It runs through excluded time as through any other (MEF 10.4: maintenance is left out of the ratio only). Raises
    UnusableError.
    """
    dt = interval_of(objective, feed)
    n, c = machine_of(objective.statistic)
    start, end = start_ns // dt * dt, -(-end_ns // dt) * dt
    first_ever = moment.since_ns // dt * dt
    begin = min(max(first_ever, (start - WARM_UP_NS) // dt * dt), start)
    until = end + (n - 1) * dt
    intervals = _intervals(objective, feed, dt, begin, until, moment)
    initial = True if begin == first_ever else None
    state = assess(intervals, n, c, start, end, initial=initial, excluded=excluded, credited=moment.credited)
    return Timeline(intervals, state, n, c)


def _intervals(objective: Objective, feed: Feed, dt: int, begin: int, until: int, moment: Moment) -> Intervals:
    if objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        return blocks(objective, feed, begin, until)
    if objective.statistic.type is StatisticType.AVAILABILITY_SECONDS:
        return seconds(feed, begin, until, moment)
    return bin_samples(feed.columns, dt, begin, until, pace=feed.pace)


def unrecorded(objective: Objective, feed: Feed, found: Timeline, moment: Moment) -> Spans:
    """The intervals of the period that are unknown without a record of why.

    n or more recorded ones in a row are unknown whatever the others are: those alone may be left out.
    """
    intervals, state = found.intervals, found.state
    rows = feeds_verdict(feed.columns)
    step = stands_for(feed.pace)
    recorded = moment.known.recorded(step) | held(feed.columns, ~rows, step)
    if not feed.pace.attempts:
        recorded = recorded | told_twice(feed.columns, rows)
    start = (intervals.first + np.arange(len(intervals), dtype=np.int64)) * intervals.dt_ns
    end = start + intervals.dt_ns
    if feed.pace.attempts:
        mark = recorded.cover(start, end) == intervals.dt_ns
    elif objective.statistic.type is StatisticType.AVAILABILITY_BLOCKS and len(start):
        gone = holes(feed.columns, rows, feed.pace, int(start[0]), int(end[-1])) - recorded
        mark = ~gone.touches(start, end)
    else:
        mark = recorded.touches(start, end) | intervals.known  # packets not sent are on record
    mark &= ~intervals.decided(found.c)
    place = state.start_ns // intervals.dt_ns - intervals.first
    aside = _long_runs(mark, found.n)[place : place + len(state.best)]
    return spans_of(state, (state.best != state.worst) & ~aside & state.counts)


def _long_runs(flags: Flags, n: int) -> Flags:
    """True within runs of n or more, shape of flags."""
    begin, end = runs(flags)
    long = end - begin >= n
    inside = np.zeros(len(flags) + 1, np.int64)
    inside[begin[long]], inside[end[long]] = 1, -1
    found: Flags = np.cumsum(inside)[:-1] > 0
    return found


def spans_of(state: Availability, flags: Flags) -> Spans:
    """The time of those intervals."""
    first, end = runs(flags)
    return Spans(state.start_ns + first * state.dt_ns, state.start_ns + end * state.dt_ns)
