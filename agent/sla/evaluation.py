"""From the samples of one probe to the findings on one objective. Pure.

Each metric yields the same three things: findings to decide on, details for the sentence, exact numbers as evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from agent.sla.availability import Availability, assess, bin_samples
from agent.sla.calendar import WindowInstants
from agent.sla.columns import SampleColumns, present
from agent.sla.contract import JitterDefinition, Metric, Objective, StatisticType
from agent.sla.measured import Extent, Pace, extent, feeds_verdict, sample_span, unsent, unsent_ns
from agent.sla.period import Period, judged_period, sample_grid
from agent.sla.statistics import (
    Estimate,
    Reduction,
    delay_mean,
    delay_percentile,
    ipdv_mean,
    loss_ratio,
    pdv_percentile,
    rfc3550,
    run_rates,
    throughput,
)
from agent.sla.verdict import EvidenceValue, Findings
from agent.sla.wording import plural, spoken
from probes.core.clock import SECOND
from probes.core.units import format_duration

WARM_UP_NS = 24 * 3600 * SECOND
"""How far before the window the availability machine starts, to inherit its state."""
_CRON_STEP_NS = 60 * SECOND
"""A timetable runs at most once a minute."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Findings, the period they are for, measured time in it, and what there is to say about them."""

    period: Period
    findings: Findings
    measured_ns: int
    window_coverage: Fraction
    details: str
    evidence: Mapping[str, EvidenceValue]


@dataclass(frozen=True, slots=True)
class Feed:
    """Samples of one probe with its pace."""

    columns: SampleColumns
    pace: Pace


@dataclass(frozen=True, slots=True)
class Moment:
    """When the judge looks: now, and since when the circuit has been measured at all."""

    now_ns: int
    since_ns: int


class UnusableError(Exception):
    """The objective cannot be evaluated on this probe; the message says why."""


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
    """The state machine over the window. Raises UnusableError."""
    dt = interval_of(objective, feed)
    period = judged_period(window, feed.columns, feed.pace, dt, now_ns=moment.now_ns, since_ns=moment.since_ns)
    state = machine(objective, feed, dt, period.start_ns, period.end_ns, moment.since_ns)
    known, whole = state.up + state.down, state.total + period.rest_ns // dt
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
        _portion(known, state.total),
        known,
        objective.samples_needed,
        _undecided(period, state),
        Fraction(down_ns, budget_ns) if budget_ns else Fraction(int(down_ns > 0)),
    )
    details = f"{spoken(down_ns)} down in {plural(len(state.outages), 'outage')}" if down_ns else "no outage"
    if period.closed:
        details += f", {spoken(budget_ns)} allowed"
    else:
        left = budget_ns - down_ns
        details += f"; budget left {spoken(left)}" if left >= 0 else f"; budget exceeded by {spoken(-left)}"
    return Evaluation(
        period, findings, known * dt, _portion(known, whole), details, _availability_evidence(state, whole, budget_ns)
    )


def _undecided(period: Period, state: Availability) -> str:
    """Why no interval is certainly up or down, where none is."""
    if period.closed:
        return "no interval was measured whole"
    return "the first intervals are still undecided" if state.total else "no interval is over yet"


def machine(objective: Objective, feed: Feed, dt: int, start_ns: int, end_ns: int, since_ns: int) -> Availability:
    """Run the availability machine so that it knows the state it enters [start_ns, end_ns) with."""
    first_ever = since_ns // dt * dt
    begin = min(max(first_ever, (start_ns - WARM_UP_NS) // dt * dt), start_ns)
    n, c = objective.statistic.n, objective.statistic.c
    intervals = bin_samples(feed.columns, dt, begin, end_ns + (n - 1) * dt, attempts=feed.pace.attempts)
    return assess(intervals, n, c, start_ns, end_ns, initial=True if begin == first_ever else None)


def _availability_evidence(state: Availability, whole: int, budget_ns: int) -> dict[str, EvidenceValue]:
    return {
        "dt_ns": state.dt_ns,
        "intervals": state.total,
        "intervals_of_the_whole_window": whole,
        "intervals_up": state.up,
        "intervals_down": state.down,
        "intervals_unknown": state.unknown,
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


def evaluate_statistic(
    objective: Objective,
    feed: Feed,
    window: WindowInstants,
    moment: Moment,
    available: tuple[Objective, Feed] | None = None,
) -> Evaluation:
    """Mean, percentile, ratio or minimum over the window; `available` gives the machine that defines available time.

    Raises UnusableError.
    """
    columns, pace = feed.columns, feed.pace
    grid = sample_grid(columns, pace)
    period = judged_period(window, columns, pace, grid, now_ns=moment.now_ns, since_ns=moment.since_ns)
    rows = countable(objective, feed, period)
    out, doubtful = np.zeros_like(rows), np.zeros_like(rows)
    if available is not None:
        out, doubtful = _unavailable(*available, columns, period, moment.since_ns)
    taken = rows & ~out & ~doubtful
    split = _without(
        extent(columns, rows, _unit_pace(objective, feed), period.start_ns, period.end_ns),
        feed, rows & out, rows & doubtful & ~out, objective,
    )  # fmt: skip
    split = _less_unsent(split, columns, taken, objective)
    reduction = _reduce(objective, columns, taken)
    whole_unknown = split.unknown + _could_hold(period.rest_ns, _unit_pace(objective, feed))
    findings = Findings(
        reduction.at(split.unknown),
        reduction.at(whole_unknown).best,
        _portion(split.measured_ns, split.length_ns),
        reduction.count,
        objective.samples_needed,
        _nothing(objective, columns, rows),
    )
    evidence: dict[str, EvidenceValue] = {
        **reduction.counts,
        "unknown_at_most": split.unknown,
        "samples": int(np.count_nonzero(taken)),
        "samples_excluded_unavailable": int(np.count_nonzero(rows & out)),
    }
    whole = split.length_ns + period.rest_ns
    details = _details(objective, reduction)
    return Evaluation(period, findings, split.measured_ns, _portion(split.measured_ns, whole), details, evidence)


def countable(objective: Objective, feed: Feed, period: Period) -> Flags:
    """Rows that may feed the statistic and lie wholly inside the judged period (attempts: start inside it)."""
    columns = feed.columns
    rows = feeds_verdict(columns) & (columns.start_ns >= period.start_ns)
    last = columns.start_ns + (1 if feed.pace.attempts else columns.span_ns)
    rows &= last <= period.end_ns
    if objective.metric is Metric.THROUGHPUT:
        return rows & present(run_rates(columns, objective.statistic.direction))
    return rows & (columns.column("sent") > 0)


def _reduce(objective: Objective, columns: SampleColumns, rows: Flags) -> Reduction:
    statistic = objective.statistic
    p = statistic.p if statistic.type is StatisticType.PERCENTILE else None
    if objective.metric is Metric.LOSS:
        return loss_ratio(columns, rows)
    if objective.metric is Metric.THROUGHPUT:
        rates = run_rates(columns, statistic.direction)
        return throughput(rates, rows, p, mean_of=statistic.type is StatisticType.MEAN)
    if objective.metric is Metric.RTT:
        return delay_mean(columns, rows) if p is None else delay_percentile(columns, rows, p)
    if statistic.definition is JitterDefinition.RFC3550:
        return rfc3550(columns, rows, p)
    if statistic.definition is JitterDefinition.PDV and p is not None:
        return pdv_percentile(columns, rows, p)
    if statistic.definition is JitterDefinition.IPDV and p is None:
        return ipdv_mean(columns, rows)
    raise UnusableError(f"jitter as {statistic.type} of {statistic.definition} is not kept by the samples")


def _unit_pace(objective: Objective, feed: Feed) -> Pace:
    """Spacing of what the statistic counts: packets or runs, but whole samples for the RFC 3550 estimator."""
    if objective.metric is Metric.JITTER and _by_sample(objective):
        return replace(feed.pace, every_ns=sample_grid(feed.columns, feed.pace))
    return feed.pace


def _could_hold(length_ns: int, pace: Pace) -> int:
    """Most packets or runs in a time that was not measured."""
    return -(-length_ns // (pace.every_ns or _CRON_STEP_NS)) + 1 if length_ns > 0 else 0


def _unavailable(
    objective: Objective, feed: Feed, columns: SampleColumns, period: Period, since_ns: int
) -> tuple[Flags, Flags]:
    """(certainly unavailable, perhaps unavailable) for each row, by the machine of the availability objective."""
    dt = interval_of(objective, feed)
    start, end = period.start_ns // dt * dt, -(-period.end_ns // dt) * dt
    state = machine(objective, feed, dt, start, end, since_ns)
    size = state.total
    first = np.clip((columns.start_ns - state.start_ns) // dt, 0, size)
    last = np.clip(-(-(columns.start_ns + columns.span_ns - state.start_ns) // dt), first, size)
    down = np.concatenate(([0], np.cumsum(~state.best)))
    unsure = np.concatenate(([0], np.cumsum(state.best != state.worst)))
    return down[last] > down[first], unsure[last] > unsure[first]


def _without(whole: Extent, feed: Feed, out: Flags, doubtful: Flags, objective: Objective) -> Extent:
    """Take excluded rows out of the period; count rows of doubtful availability as not measured."""
    columns, every_ns = feed.columns, feed.pace.every_ns
    stands_for = np.maximum(columns.span_ns, every_ns if feed.pace.attempts and every_ns else 0)
    gone, unsure = int(stands_for[out].sum()), int(stands_for[doubtful].sum())
    sent = columns.column("sent") + unsent(columns) if not _by_sample(objective) else np.ones_like(doubtful, np.int64)
    more = int(sent[doubtful].sum())
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
    lacking_ns = min(int(unsent_ns(columns)[taken].sum()), whole.measured_ns)
    lacking = 0 if _by_sample(objective) else int(unsent(columns)[taken].sum())
    return replace(
        whole,
        measured_ns=whole.measured_ns - lacking_ns,
        missing_ns=whole.missing_ns + lacking_ns,
        unknown=whole.unknown + lacking,
    )


def _by_sample(objective: Objective) -> bool:
    """The statistic counts samples, not packets."""
    return objective.metric is Metric.THROUGHPUT or (
        objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.RFC3550
    )


def _details(objective: Objective, reduction: Reduction) -> str:
    counts = reduction.counts
    if objective.metric is Metric.LOSS:
        return f"{counts['lost']} of {plural(counts['sent'], 'packet')} lost"
    noun = next(iter(counts)).removesuffix("s")
    text = plural(reduction.count, noun)
    return f"{text}, {reduction.note}" if reduction.note else text


def _nothing(objective: Objective, columns: SampleColumns, rows: Flags) -> str:
    """Why there may be no value."""
    if rows.any():
        return "no packet was answered" if objective.metric in (Metric.RTT, Metric.JITTER) else ""
    if objective.metric is Metric.THROUGHPUT:
        return "no run has a result" if len(columns) else "no run yet"
    return "no sample can be used" if len(columns) else "nothing was measured"


def _portion(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)
