"""The availability of one probe over a window: a state machine run on its samples, and what follows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np

from agent.sla.availability import Availability, Intervals, Outage, assess, bin_samples, outages_of
from agent.sla.blocks import blocks, seconds
from agent.sla.budgets import of_count, of_time, share_used
from agent.sla.calendar import WindowInstants
from agent.sla.case import Evaluation, Feed, Moment, UnusableError, portion
from agent.sla.causes import causes
from agent.sla.contract import Contract, Metric, Objective, Statistic, StatisticType, Target
from agent.sla.high_loss import high_loss
from agent.sla.measured import feeds_verdict, held, holes, sample_span, stands_for, told_twice
from agent.sla.objective import UnknownTime
from agent.sla.period import Period, judged_period
from agent.sla.plain_outage import bridged, counted
from agent.sla.repair import evaluate_outages
from agent.sla.spans import NOWHERE, Flags, Spans
from agent.sla.statistics import Estimate
from agent.sla.streaks import runs
from agent.sla.tally import Tally, fixed_basis, summed
from agent.sla.verdict import EvidenceValue, Findings
from agent.sla.wording import plural
from probes.core.clock import SECOND
from probes.core.units import format_duration

WARM_UP_NS: Final = 24 * 3600 * SECOND
"""How far before the window the availability machine starts, to inherit its state."""
SECONDS_IN_A_ROW: Final = 10
"""n of Y.1563 and G.826"""
_COUNTS: Final = (StatisticType.HIGH_LOSS_INTERVALS, StatisticType.CONSECUTIVE_HIGH_LOSS)
_USUAL: Final = Objective(
    "availability", Metric.AVAILABILITY, Statistic(StatisticType.AVAILABILITY_MEF), Target(Fraction(1), "100 %")
)
"""What finds outages where the contract promises no availability."""


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
        return _spans(self.state, ~self.state.best)

    @property
    def unknown(self) -> Spans:
        """Nobody knows whether up or down."""
        return _spans(self.state, self.state.best != self.state.worst)


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
    """(n, C) of the machine. Blocks have no hysteresis; seconds are those of Y.1563."""
    if statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        return 1, statistic.c
    if statistic.type is StatisticType.AVAILABILITY_SECONDS:
        return SECONDS_IN_A_ROW, Fraction(1, 2)
    return statistic.n, statistic.c


def reach_ns(statistic: Statistic, dt_ns: int) -> int:
    """ns after a period that decide on its end: the look-ahead, and the least length of an outage."""
    n, _ = machine_of(statistic)
    return (n - 1) * dt_ns + -(-(statistic.minimum_ns + statistic.join_ns) // dt_ns) * dt_ns


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
    until = end + reach_ns(objective.statistic, dt)
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


def down_and_unknown(contract: Contract, feed: Feed, start_ns: int, end_ns: int, moment: Moment) -> tuple[Spans, Spans]:
    """(certainly down, unknown) in [start_ns, end_ns) by the contract's availability, whatever is excluded.

    Raises UnusableError.
    """
    objective = contract.availability() or _USUAL
    feed = replace(feed, columns=feed.columns.in_order())
    found = timeline(objective, feed, start_ns, end_ns, replace(moment, credited=NOWHERE))
    down, unknown = found.down, found.unknown
    if objective.statistic.type is StatisticType.AVAILABILITY_OUTAGE:
        statistic = replace(objective.statistic, count_from="start")
        possible = counted(statistic, down | unknown)
        down = counted(statistic, down)
        unknown = possible - down
    return down.within(start_ns, end_ns), unknown.within(start_ns, end_ns)


def evaluate_availability(
    objective: Objective, feed: Feed, window: WindowInstants, target: Fraction, moment: Moment
) -> Evaluation:
    """The state machine over the window; intervals that touch excluded time count in no sum. Raises UnusableError."""
    statistic = objective.statistic
    if statistic.type is StatisticType.AVAILABILITY_OUTAGE and statistic.clock == "contract":
        return by_contract_clock(objective, window, target, moment)
    feed = replace(feed, columns=feed.columns.in_order())
    dt = interval_of(objective, feed)
    period = judged_period(window, feed.columns, feed.pace, dt, now_ns=moment.now_ns, since_ns=moment.since_ns)
    excluded = moment.excluded.widened(dt)
    if statistic.type is StatisticType.AVAILABILITY_OUTAGE:
        return _plain(objective, feed, period, target, moment, excluded)
    found = timeline(objective, feed, period.start_ns, period.end_ns, moment, excluded)
    if statistic.type in _COUNTS:
        return _counted(objective, feed, period, found, moment, excluded)
    loose = unrecorded(objective, feed, found, moment) if found.state.unknown else NOWHERE
    return concluded(objective, feed, period, found.state, found.n, loose, target, moment, excluded)


def concluded(
    objective: Objective,
    feed: Feed,
    period: Period,
    state: Availability,
    n: int,
    loose: Spans,
    target: Fraction,
    moment: Moment,
    excluded: Spans,
) -> Evaluation:
    """Findings on the states of the period's intervals. loose: what is unknown without a record of why."""
    dt = state.dt_ns
    state = settled(objective.coverage.unknown, state, period, n)
    unknown = _spans(state, state.best != state.worst) - excluded
    aside = (unknown - loose).length_ns if state.unknown else 0
    outages = bridged_outages(state, objective.coverage.bridge_ns)
    up, down, total = state.up * dt, state.down * dt, state.total * dt
    tally = Tally(total, up + down, down, total - up, down, len(outages))
    return summed(
        objective,
        feed,
        period,
        tally,
        target,
        moment,
        excluded=excluded,
        unknown=unknown,
        unrecorded=replace(tally, total=total - aside, possible=total - aside - up)
        if aside < unknown.length_ns
        else None,
        obstacle=_undecided(period, state),
        unit_ns=dt,
        evidence=_evidence(state, outages, (total + period.rest(excluded)) // dt),
    )


def settled(policy: UnknownTime, state: Availability, period: Period, n: int) -> Availability:
    """Where the contract says that unknown time is down, or up. What an open window leaves undecided at its end is
    neither yet."""
    if policy == "bounds":
        return state
    over = np.arange(len(state.best)) < len(state.best) - (0 if period.closed else n - 1)
    if policy == "up":
        worst = np.where(over, state.best, state.worst)
        return replace(state, worst=worst)
    best = np.where(over, state.worst, state.best)
    down = outages_of(best, state.start_ns // state.dt_ns, state.dt_ns, 0, state.counts)
    return replace(state, best=best, outages=down)


def bridged_outages(state: Availability, bridge_ns: int) -> tuple[Outage, ...]:
    """The outages, with unknown time of at most bridge_ns between two of them taken for down. The bounds know nothing
    of this."""
    if not bridge_ns or not state.unknown:
        return state.outages
    first, end = runs(state.best != state.worst)
    found = list(state.outages)
    starts, ends = state.start_ns + first * state.dt_ns, state.start_ns + end * state.dt_ns
    for begin, until in zip(starts.tolist(), ends.tolist(), strict=True):
        before = next((item for item in found if item.end_ns == begin), None)
        after = next((item for item in found if item.start_ns == until), None)
        if before is None or after is None or until - begin > bridge_ns:
            continue
        place = found.index(before)
        length = before.down_ns + (until - begin) + after.down_ns
        found[place : place + 2] = [Outage(before.start_ns, after.end_ns, length, after.ongoing)]
    return tuple(found)


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
    return _spans(state, (state.best != state.worst) & ~aside & state.counts)


def _long_runs(flags: Flags, n: int) -> Flags:
    """True within runs of n or more, shape of flags."""
    begin, end = runs(flags)
    long = end - begin >= n
    inside = np.zeros(len(flags) + 1, np.int64)
    inside[begin[long]], inside[end[long]] = 1, -1
    found: Flags = np.cumsum(inside)[:-1] > 0
    return found


def _plain(
    objective: Objective, feed: Feed, period: Period, target: Fraction, moment: Moment, excluded: Spans
) -> Evaluation:
    """Outage time, each outage whole: what lies beside the period decides whether it is long enough."""
    statistic = objective.statistic
    dt = interval_of(objective, feed)
    beside = -(-(statistic.minimum_ns + statistic.join_ns) // dt) * dt
    since = moment.since_ns // dt * dt
    wide = timeline(
        objective, feed, max(period.start_ns - beside, min(since, period.start_ns)), period.end_ns + beside, moment
    )
    down, unknown = wide.down, wide.unknown
    policy = objective.coverage.unknown
    if policy != "bounds":
        past = unknown if period.closed else unknown.within(unknown_from(unknown), period.end_ns - (wide.n - 1) * dt)
        down, unknown = (down | past if policy == "down" else down), unknown - past
    loose = unrecorded(objective, feed, wide, moment) & unknown if len(unknown) else NOWHERE
    judged = Spans.of([(period.start_ns, period.end_ns)]) - excluded
    told = counted(statistic, bridged(down, unknown, objective.coverage.bridge_ns)) & judged
    certain, possible = counted(statistic, down) & judged, counted(statistic, down | unknown) & judged
    hidden = (unknown & judged) - told
    aside = (hidden - loose).length_ns
    tally = Tally(
        judged.length_ns, judged.length_ns - hidden.length_ns, certain.length_ns, possible.length_ns, told.length_ns,
        len(told),
    )  # fmt: skip
    less = replace(tally, total=tally.total - aside, possible=(counted(statistic, down | loose) & judged).length_ns)
    evidence: dict[str, EvidenceValue] = {
        "dt_ns": dt,
        "judged_ns": tally.total,
        "outage_ns_at_least": tally.down,
        "outage_ns_at_most": tally.possible,
        "outages": tuple({"start_ns": start, "end_ns": end, "counted_ns": end - start} for start, end in told),
    }
    return summed(
        objective,
        feed,
        period,
        tally,
        target,
        moment,
        excluded=excluded,
        unknown=hidden,
        unrecorded=less if len(loose & hidden) else None,
        obstacle="no interval was measured whole" if tally.total else "all of it is excluded",
        unit_ns=dt,
        evidence=evidence,
    )


def unknown_from(spans: Spans) -> int:
    return int(spans.start_ns[0]) if len(spans) else 0


def by_contract_clock(objective: Objective, window: WindowInstants, target: Fraction, moment: Moment) -> Evaluation:
    """1 - outage time on the contract's own clock, from the incidents, over the time that counts."""
    total = replace(objective, metric=Metric.OUTAGE, statistic=replace(objective.statistic, type=StatisticType.TOTAL))
    found = evaluate_outages(total, moment.incidents, window, moment)
    period, outage = found.period, found.findings
    counts = Spans.of([(period.start_ns, period.end_ns)]) - moment.excluded
    whole = counts.length_ns + period.rest(moment.excluded)
    basis = fixed_basis(objective, moment)
    here = (basis if period.closed else None) or counts.length_ns

    def up(estimate: Estimate) -> Estimate:
        return Estimate(*(_up(time, here) for time in (estimate.value, estimate.best, estimate.worst)))

    allowed = int((1 - target) * (basis or whole))
    used = outage.estimate.best or Fraction(0)
    budget = of_time(allowed, int(used), _up(outage.estimate.value, here))
    return replace(
        found,
        findings=replace(
            outage,
            estimate=up(outage.estimate),
            whole_best=_up(outage.whole_best, basis or whole),
            obstacle="" if counts.length_ns else "all of it is excluded",
            unrecorded=None if outage.unrecorded is None else up(outage.unrecorded),
            budget=budget,
            budget_used=share_used(budget),
            remark="",
        ),
        evidence={**found.evidence, "judged_ns": counts.length_ns, "budget_ns": allowed, "month_basis_ns": basis},
    )


def _up(outage_ns: Fraction | None, whole_ns: int) -> Fraction | None:
    if outage_ns is None or not whole_ns:
        return None
    return max(Fraction(0), 1 - outage_ns / whole_ns)


def _counted(
    objective: Objective, feed: Feed, period: Period, found: Timeline, moment: Moment, excluded: Spans
) -> Evaluation:
    """Intervals with high loss while available, or runs of them."""
    state, dt = found.state, found.state.dt_ns
    estimate = high_loss(objective, found.intervals, state, moment.credited, found.c)
    unknown = _spans(state, _undecided_flags(found) & state.counts)
    known = state.total * dt - unknown.length_ns
    whole = state.total * dt + period.rest(excluded)
    loose = len(unrecorded(objective, feed, found, moment)) if state.unknown or len(unknown) else 0
    budget = None
    if estimate.value is not None:
        budget = of_count(
            objective,
            estimate.value,
            portion(period.end_ns - period.whole_start_ns, period.whole_end_ns - period.whole_start_ns),
        )
    findings = Findings(
        estimate,
        estimate.best if estimate.best is not None else Fraction(0),
        portion(known, state.total * dt),
        known // dt,
        objective.samples_needed,
        _undecided(period, state),
        share_used(budget) if budget is not None else None,
        Estimate(None, estimate.best, estimate.worst) if loose else None,
        budget,
        longest_gap_ns=int((unknown.end_ns - unknown.start_ns).max(initial=0)),
    )
    what = "interval" if objective.statistic.type is StatisticType.HIGH_LOSS_INTERVALS else "run"
    return Evaluation(
        period,
        findings,
        known,
        portion(known, whole),
        f"{plural(int(estimate.value or 0), what)} with high loss while available",
        {**_evidence(state, state.outages, whole // dt), "high_loss": estimate.value},
        causes(unknown - excluded, feed.columns, moment.known, stands_for(feed.pace)),
        excluded.within(period.start_ns, period.end_ns).length_ns,
    )


def _undecided_flags(found: Timeline) -> Flags:
    """Intervals of the period of which the loss, or the state, is not known."""
    place = found.state.start_ns // found.state.dt_ns - found.intervals.first
    decided = found.intervals.decided(found.c)[place : place + len(found.state.best)]
    undecided: Flags = ~decided | (found.state.best != found.state.worst)
    return undecided


def _undecided(period: Period, state: Availability) -> str:
    """Why no interval is certainly up or down, where none is."""
    if period.closed:
        return "no interval was measured whole" if state.total else "all of it is excluded"
    return "the first intervals are still undecided" if state.total else "no interval is over yet"


def _spans(state: Availability, flags: Flags) -> Spans:
    """The time of those intervals."""
    first, end = runs(flags)
    return Spans(state.start_ns + first * state.dt_ns, state.start_ns + end * state.dt_ns)


def _evidence(state: Availability, outages: tuple[Outage, ...], whole: int) -> dict[str, EvidenceValue]:
    return {
        "dt_ns": state.dt_ns,
        "intervals": state.total,
        "intervals_of_the_whole_window": whole,
        "intervals_up": state.up,
        "intervals_down": state.down,
        "intervals_unknown": state.unknown,
        "intervals_excluded": len(state.best) - state.total,
        "outages": tuple(
            {
                "start_ns": outage.start_ns,
                "end_ns": None if outage.ongoing else outage.end_ns,
                "duration_ns": outage.end_ns - outage.start_ns,
                "down_in_window_ns": outage.down_ns,
            }
            for outage in outages
        ),
    }
