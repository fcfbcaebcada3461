"""The availability of one probe over a window: the machine of MEF 10.4 run on its samples, and what follows. Pure."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from agent.sla.availability import Availability, Intervals, assess, bin_samples
from agent.sla.calendar import WindowInstants
from agent.sla.case import Evaluation, Feed, Moment, UnusableError, portion
from agent.sla.causes import causes
from agent.sla.contract import Objective
from agent.sla.measured import feeds_verdict, held, sample_span, stands_for, told_twice
from agent.sla.period import Period, judged_period
from agent.sla.spans import NOWHERE, Flags, Spans
from agent.sla.statistics import Estimate
from agent.sla.verdict import EvidenceValue, Findings
from agent.sla.wording import plural, spoken
from probes.core.clock import SECOND
from probes.core.units import format_duration

WARM_UP_NS = 24 * 3600 * SECOND
"""How far before the window the availability machine starts, to inherit its state."""


def interval_of(objective: Objective, feed: Feed) -> int:
    """dt of the availability machine in ns. Raises UnusableError."""
    span_ns, dt_ns = sample_span(feed.columns), objective.statistic.dt_ns
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


def evaluate_availability(
    objective: Objective, feed: Feed, window: WindowInstants, target: Fraction, moment: Moment
) -> Evaluation:
    """The state machine over the window; intervals that touch excluded time count in no sum. Raises UnusableError."""
    dt = interval_of(objective, feed)
    period = judged_period(window, feed.columns, feed.pace, dt, now_ns=moment.now_ns, since_ns=moment.since_ns)
    excluded = moment.excluded.widened(dt)
    intervals, state = machine(objective, feed, dt, period.start_ns, period.end_ns, moment.since_ns, excluded)
    known, whole = state.up + state.down, state.total + period.rest(excluded) // dt
    budget_ns = int((1 - target) * whole * dt)
    down_ns = state.down * dt
    estimate = Estimate(
        Fraction(state.up, known) if known else None,
        Fraction(state.total - state.down, state.total) if state.total else None,
        Fraction(state.up, state.total) if state.total else None,
    )
    findings = Findings(
        estimate,
        Fraction(whole - state.down, whole) if whole else None,
        portion(known, state.total),
        known,
        objective.samples_needed,
        _undecided(period, state),
        Fraction(down_ns, budget_ns) if budget_ns else Fraction(int(down_ns > 0)),
        _unrecorded(objective, feed, intervals, state, moment) if state.unknown else None,
    )
    details = f"{spoken(down_ns)} down in {plural(len(state.outages), 'outage')}" if down_ns else "no outage"
    if period.closed:
        details += f", {spoken(budget_ns)} allowed"
    else:
        left = budget_ns - down_ns
        details += f"; budget left {spoken(left)}" if left >= 0 else f"; budget exceeded by {spoken(-left)}"
    gone = _unknown_time(state, excluded)
    return Evaluation(
        period,
        findings,
        known * dt,
        portion(known, whole),
        details,
        _availability_evidence(state, whole, budget_ns),
        causes(gone, feed.columns, moment.known, stands_for(feed.pace)),
        excluded.within(period.start_ns, period.end_ns).length_ns,
    )


def _undecided(period: Period, state: Availability) -> str:
    """Why no interval is certainly up or down, where none is."""
    if period.closed:
        return "no interval was measured whole" if state.total else "all of it is excluded"
    return "the first intervals are still undecided" if state.total else "no interval is over yet"


def _unknown_time(state: Availability, excluded: Spans) -> Spans:
    """The intervals of which nobody knows whether they were up."""
    unsure = np.flatnonzero(state.best != state.worst) * state.dt_ns + state.start_ns
    return Spans.union(unsure, unsure + state.dt_ns) - excluded


def _unrecorded(
    objective: Objective, feed: Feed, intervals: Intervals, state: Availability, moment: Moment
) -> Estimate | None:
    """Bounds over the intervals that are unknown without a record of why; None where every one has its record.

    n or more recorded ones in a row are unknown whatever the others are: those alone may be left out.
    """
    n = objective.statistic.n
    rows = feeds_verdict(feed.columns)
    recorded = moment.known.recorded(stands_for(feed.pace)) | held(feed.columns, ~rows, stands_for(feed.pace))
    if not feed.pace.attempts:
        recorded = recorded | told_twice(feed.columns, rows)
    start = (intervals.first + np.arange(len(intervals), dtype=np.int64)) * intervals.dt_ns
    end = start + intervals.dt_ns
    if feed.pace.attempts:
        mark = recorded.cover(start, end) == intervals.dt_ns
    else:
        mark = recorded.touches(start, end) | intervals.known  # packets not sent are on record
    mark &= ~intervals.decided(objective.statistic.c)
    place = state.start_ns // intervals.dt_ns - intervals.first
    aside = int(np.count_nonzero(_long_runs(mark, n)[place : place + len(state.best)] & state.counts))
    if state.unknown <= aside:
        return None
    total = state.total - aside
    return Estimate(None, Fraction(total - state.down, total), Fraction(state.up, total))


def _long_runs(flags: Flags, n: int) -> Flags:
    """True within runs of n or more, shape of flags."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    begin, end = edges[::2], edges[1::2]
    long = end - begin >= n
    inside = np.zeros(len(flags) + 1, np.int64)
    inside[begin[long]], inside[end[long]] = 1, -1
    found: Flags = np.cumsum(inside)[:-1] > 0
    return found


def machine(
    objective: Objective,
    feed: Feed,
    dt: int,
    start_ns: int,
    end_ns: int,
    since_ns: int,
    excluded: Spans = NOWHERE,
) -> tuple[Intervals, Availability]:
    """Run the availability machine so that it knows the state it enters [start_ns, end_ns) with.

    It runs through excluded time as through any other (MEF 10.4: maintenance is left out of the ratio only).
    """
    first_ever = since_ns // dt * dt
    begin = min(max(first_ever, (start_ns - WARM_UP_NS) // dt * dt), start_ns)
    n, c = objective.statistic.n, objective.statistic.c
    intervals = bin_samples(feed.columns, dt, begin, end_ns + (n - 1) * dt, pace=feed.pace)
    initial = True if begin == first_ever else None
    return intervals, assess(intervals, n, c, start_ns, end_ns, initial=initial, excluded=excluded)


def _availability_evidence(state: Availability, whole: int, budget_ns: int) -> dict[str, EvidenceValue]:
    return {
        "dt_ns": state.dt_ns,
        "intervals": state.total,
        "intervals_of_the_whole_window": whole,
        "intervals_up": state.up,
        "intervals_down": state.down,
        "intervals_unknown": state.unknown,
        "intervals_excluded": len(state.best) - state.total,
        "budget_ns": budget_ns,
        "outages": tuple(
            {
                "start_ns": outage.start_ns,
                "end_ns": None if outage.ongoing else outage.end_ns,
                "duration_ns": outage.end_ns - outage.start_ns,
                "down_in_window_ns": outage.down_ns,
            }
            for outage in state.outages
        ),
    }
