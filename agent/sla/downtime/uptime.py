"""The availability of one probe over a window: a state machine run on its samples, and what follows. Pure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from agent.sla.case import Evaluation, Feed, Moment, portion
from agent.sla.downtime.availability import Availability, Outage, outages_of
from agent.sla.downtime.high_loss import high_loss
from agent.sla.downtime.outage_time import by_contract_clock, outage_time
from agent.sla.downtime.plain_outage import counted
from agent.sla.downtime.timeline import WARM_UP_NS, Timeline, interval_of, spans_of, timeline, unrecorded
from agent.sla.samples.causes import causes
from agent.sla.samples.measured import stands_for
from agent.sla.samples.tally import Tally, summed
from agent.sla.statistic.budgets import of_count, share_used
from agent.sla.statistic.statistics import Estimate
from agent.sla.statistic.streaks import runs
from agent.sla.terms.contract import Contract, Metric, Objective, Statistic, StatisticType, Target
from agent.sla.terms.objective import UnknownTime
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.period import Period, judged_period
from agent.sla.time.spans import NOWHERE, Flags, Spans
from agent.sla.verdict import EvidenceValue, Findings
from agent.sla.words.wording import plural

__all__ = ["WARM_UP_NS", "concluded", "down_and_unknown", "evaluate_availability", "interval_of"]

_COUNTS: Final = (StatisticType.HIGH_LOSS_INTERVALS, StatisticType.CONSECUTIVE_HIGH_LOSS)
_USUAL: Final = Objective(
    "availability", Metric.AVAILABILITY, Statistic(StatisticType.AVAILABILITY_MEF), Target(Fraction(1), "100 %")
)
"""What finds outages where the contract promises no availability."""


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
        return outage_time(objective, feed, period, target, moment, excluded)
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
    unknown = spans_of(state, state.best != state.worst) - excluded
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


def _counted(
    objective: Objective, feed: Feed, period: Period, found: Timeline, moment: Moment, excluded: Spans
) -> Evaluation:
    """Intervals with high loss while available, or runs of them."""
    state, dt = found.state, found.state.dt_ns
    estimate = high_loss(objective, found.intervals, state, moment.credited, found.c)
    unknown = spans_of(state, _undecided_flags(found) & state.counts)
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
