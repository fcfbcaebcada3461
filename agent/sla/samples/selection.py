"""Which samples feed a statistic, what of the window they measured, and what is missing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from agent.sla.case import Feed, Moment
from agent.sla.downtime.availability import Availability
from agent.sla.downtime.timeline import WARM_UP_NS, timeline
from agent.sla.samples.causes import Cause, causes
from agent.sla.samples.columns import SampleColumns, present
from agent.sla.samples.measured import (
    Extent,
    Pace,
    extent,
    feeds_verdict,
    held,
    holes,
    stands_for,
    unsent,
    unsent_ns,
)
from agent.sla.statistic.binned import Missing
from agent.sla.statistic.statistics import run_rates
from agent.sla.terms.contract import JitterDefinition, Metric, Objective
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.period import Period, judged_period, sample_grid
from agent.sla.time.spans import NOWHERE, Flags, Spans
from probes.core.arrays import Int64
from probes.core.clock import SECOND

CRON_STEP_NS: Final = 60 * SECOND
"""A timetable runs at most once a minute."""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Rows by what they are worth: every lies in the period, rows are not excluded, out is certainly and doubtful
    perhaps unavailable time, taken feeds the statistic. split: the period without what does not count.

    unit: spacing of what the statistic counts. loose: most values that time missing without a record could hold.
    """

    objective: Objective
    feed: Feed
    moment: Moment
    period: Period
    excluded: Spans
    grid_ns: int
    unit: Pace
    every: Flags
    rows: Flags
    taken: Flags
    out: Flags
    doubtful: Flags
    split: Extent
    loose: int
    loose_doubt: bool
    """doubtful rows count among what is missing without a record"""

    @property
    def carried(self) -> Flags:
        return carrying(self.objective, self.feed) if self.feed.pace.attempts else self.every

    def missing(self) -> Missing:
        """All that is unknown, placed in time."""
        return self._missing(self.excluded, doubt=True, lacking=True)

    def missing_without_record(self) -> Missing:
        """What nobody recorded why it is missing."""
        return self._missing(_aside(self), doubt=self.loose_doubt, lacking=False)

    def _missing(self, aside: Spans, *, doubt: bool, lacking: bool) -> Missing:
        columns, period = self.feed.columns, self.period
        packets = np.zeros(len(columns), np.int64)
        if doubt:
            packets += np.where(self.doubtful, _asked(self.objective, columns), 0)
        if lacking and not by_sample(self.objective):
            packets += np.where(self.taken, unsent(columns), 0)
        if self.unit.every_ns is None:
            inside = (columns.start_ns >= period.start_ns) & (columns.start_ns < period.end_ns)
            packets += (inside & ~self.carried & ~aside.holds(columns.start_ns)).astype(np.int64)
            gone = Spans.of(())
        else:
            gone = holes(columns, self.carried, self.feed.pace, period.start_ns, period.end_ns) - aside
        return Missing(gone, columns.start_ns, packets)

    def causes(self) -> tuple[Cause, ...]:
        columns, period = self.feed.columns, self.period
        rows = carrying(self.objective, self.feed)
        gone = holes(columns, rows, self.feed.pace, period.start_ns, period.end_ns) - self.excluded
        return causes(gone, columns, self.moment.known, stands_for(self.feed.pace))

    def longest_gap_ns(self) -> int:
        if self.feed.pace.every_ns is None or not self.split.missing_ns:
            return 0
        gone = self._missing(self.excluded, doubt=False, lacking=False).spans
        gone = gone | held(self.feed.columns, self.doubtful, stands_for(self.feed.pace))
        return int((gone.end_ns - gone.start_ns).max(initial=0))


def select(
    objective: Objective,
    feed: Feed,
    window: WindowInstants,
    moment: Moment,
    available: tuple[Objective, Feed] | None = None,
) -> Selection:
    """`available` gives the machine that defines available time. Time agreed to count as up holds nothing that could
    count against the circuit: it is left out. Raises UnusableError."""
    columns, pace = feed.columns, feed.pace
    grid = sample_grid(columns, pace)
    period = judged_period(window, columns, pace, grid, now_ns=moment.now_ns, since_ns=moment.since_ns)
    excluded = (moment.excluded | moment.credited).widened(grid)
    every = countable(objective, feed, period)
    rows = every
    if len(excluded):
        last = columns.start_ns + (1 if pace.attempts else columns.span_ns)
        rows = every & ~excluded.touches(columns.start_ns, last)
    out, doubtful = np.zeros_like(rows), np.zeros_like(rows)
    if available is not None:
        out, doubtful = _unavailable(*available, columns, period, moment)
    if objective.metric is Metric.MOS:
        doubtful = doubtful | (rows & (unsent(columns) > 0))
    unit = _unit_pace(objective, feed, grid)
    there = carrying(objective, feed) if pace.attempts else every
    bare = extent(columns, there, unit, period.start_ns, period.end_ns, excluded)
    out, doubtful = rows & out, rows & doubtful & ~out
    taken = rows & ~(out | doubtful)
    split = _without(bare, feed, out, doubtful, objective)
    loose = _unrecorded(objective, feed, period, moment, excluded) if bare.unknown else 0
    doubted, loose_doubt = split.unknown - bare.unknown, False
    if doubted and available is not None and (loose or _unrecorded(*available, _before(period), moment, excluded)):
        loose, loose_doubt = loose + doubted, True
    split = _less_unsent(split, columns, taken, objective)
    return Selection(
        objective, feed, moment, period, excluded, grid, unit, every, rows, taken, out, doubtful, split, loose,
        loose_doubt,
    )  # fmt: skip


def carrying(objective: Objective, feed: Feed) -> Flags:
    """Rows with something to count, wherever they lie."""
    columns = feed.columns
    rows = feeds_verdict(columns)
    if objective.metric is Metric.THROUGHPUT:
        return rows & present(run_rates(columns, objective.statistic.direction))
    return columns.once("carrying", lambda: rows & (columns.column("sent") > 0))


def countable(objective: Objective, feed: Feed, period: Period) -> Flags:
    """Rows that may feed the statistic and lie wholly inside the judged period (attempts: start inside it)."""
    columns, attempts = feed.columns, feed.pace.attempts

    def inside() -> Flags:
        last = columns.start_ns + (1 if attempts else columns.span_ns)
        found: Flags = (columns.start_ns >= period.start_ns) & (last <= period.end_ns)
        return found

    return carrying(objective, feed) & columns.once(("inside", period.start_ns, period.end_ns, attempts), inside)


def by_sample(objective: Objective) -> bool:
    """The statistic counts samples, not packets."""
    return objective.metric in (Metric.THROUGHPUT, Metric.MOS) or (
        objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.RFC3550
    )


def could_hold(length_ns: int, pace: Pace) -> int:
    """Most packets or runs in a time that was not measured."""
    return -(-length_ns // (pace.every_ns or CRON_STEP_NS)) + 1 if length_ns > 0 else 0


def _aside(chosen: Selection) -> Spans:
    """Time that is excluded, or missing with a record."""
    feed, objective = chosen.feed, chosen.objective
    return _with_record(objective, feed, chosen.moment, chosen.excluded)


def _with_record(objective: Objective, feed: Feed, moment: Moment, excluded: Spans) -> Spans:
    """A row that does not count is a record. A try may have come before it was due."""
    step = stands_for(feed.pace)
    records = moment.known.recorded(step) | held(feed.columns, ~carrying(objective, feed), step)
    return excluded | Spans.union(records.start_ns - step // 2, records.end_ns)


def _unrecorded(objective: Objective, feed: Feed, period: Period, moment: Moment, excluded: Spans) -> int:
    """Most packets or runs that the time missing without a record could hold."""
    if feed.pace.every_ns is None:
        return 0
    aside = _with_record(objective, feed, moment, excluded)
    unit = _unit_pace(objective, feed, sample_grid(feed.columns, feed.pace))
    return extent(feed.columns, carrying(objective, feed), unit, period.start_ns, period.end_ns, aside).unknown


def _before(period: Period) -> Period:
    """The period with the time from which its first intervals inherit their availability."""
    return replace(period, start_ns=max(min(period.since_ns, period.start_ns), period.start_ns - WARM_UP_NS))


def _unit_pace(objective: Objective, feed: Feed, grid_ns: int) -> Pace:
    """Spacing of what the statistic counts: packets or runs, but whole samples where each has one value."""
    if by_sample(objective) and objective.metric is not Metric.THROUGHPUT and not feed.pace.attempts:
        return replace(feed.pace, every_ns=grid_ns)
    return feed.pace


def _asked(objective: Objective, columns: SampleColumns) -> Int64:
    """Values that each row would give at most."""
    if by_sample(objective):
        return np.ones(len(columns), np.int64)
    return np.maximum(columns.column("sent"), 0) + unsent(columns)


def _unavailable(
    objective: Objective, feed: Feed, columns: SampleColumns, period: Period, moment: Moment
) -> tuple[Flags, Flags]:
    """(certainly unavailable, perhaps unavailable) for each row, by the machine of the availability objective."""
    state = _state(objective, feed, period, moment)
    if state.worst.all():
        return np.zeros(len(columns), np.bool_), np.zeros(len(columns), np.bool_)
    key = ("unavailable", id(state), id(columns))
    found = moment.memo.get(key)
    if found is None:  # the memory holds what its key names, so that no other can have that name
        found = moment.memo[key] = (state, columns, _not_up(state, columns))
    flags: tuple[Flags, Flags] = found[2]  # type: ignore[index] # as stored above
    return flags


def _not_up(state: Availability, columns: SampleColumns) -> tuple[Flags, Flags]:
    dt, size = state.dt_ns, len(state.best)
    first, last = columns.once(
        ("touched", dt, state.start_ns, size), lambda: _touched(columns, state.start_ns, dt, size)
    )
    down = np.concatenate(([0], np.cumsum(~state.best)))
    unsure = np.concatenate(([0], np.cumsum(state.best != state.worst)))
    return down[last] > down[first], unsure[last] > unsure[first]


def _touched(columns: SampleColumns, start_ns: int, dt: int, size: int) -> tuple[Int64, Int64]:
    """First interval of the machine that each row touches, and the one after the last."""
    first = np.clip((columns.start_ns - start_ns) // dt, 0, size)
    return first, np.clip(-(-(columns.start_ns + columns.span_ns - start_ns) // dt), first, size)


def _state(objective: Objective, feed: Feed, period: Period, moment: Moment) -> Availability:
    feed = replace(feed, columns=feed.columns.in_order())
    key = (objective.id, feed.columns.probe, 0, period.start_ns, period.end_ns)
    state = moment.machines.get(key)
    if state is None:
        plain = replace(moment, credited=NOWHERE)
        state = timeline(objective, feed, period.start_ns, period.end_ns, plain).state
        moment.machines[key] = state
    return state


def _without(whole: Extent, feed: Feed, out: Flags, doubtful: Flags, objective: Objective) -> Extent:
    """Take excluded rows out of the period; count rows of doubtful availability as not measured."""
    columns, every_ns = feed.columns, feed.pace.every_ns
    if not out.any() and not doubtful.any():
        return Extent(max(0, whole.length_ns), max(0, whole.measured_ns), whole.missing_ns, whole.unknown)
    lasts = np.maximum(columns.span_ns, every_ns if feed.pace.attempts and every_ns else 0)
    gone, unsure = int(lasts[out].sum()), int(lasts[doubtful].sum())
    more = int(_asked(objective, columns)[doubtful].sum())
    return Extent(
        max(0, whole.length_ns - gone),
        max(0, whole.measured_ns - gone - unsure),
        whole.missing_ns + unsure,
        whole.unknown + more,
    )


def _less_unsent(whole: Extent, columns: SampleColumns, taken: Flags, objective: Objective) -> Extent:
    """Packets that never left this host are missing data inside samples that count."""
    if objective.metric is Metric.THROUGHPUT:
        return whole
    if not unsent(columns).any():
        return whole
    lacking_ns = min(int(unsent_ns(columns)[taken].sum()), whole.measured_ns)
    lacking = 0 if by_sample(objective) else int(unsent(columns)[taken].sum())
    return replace(
        whole,
        measured_ns=whole.measured_ns - lacking_ns,
        missing_ns=whole.missing_ns + lacking_ns,
        unknown=whole.unknown + lacking,
    )
