"""From the samples of one probe to the findings on a statistic: mean, percentile, ratio or minimum. Pure.

Each metric yields the same things: findings to decide on, details for the sentence, exact numbers as evidence.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.sla.calendar import WindowInstants
from agent.sla.case import Evaluation, Feed, Moment, UnusableError, portion
from agent.sla.causes import Cause, causes
from agent.sla.columns import SampleColumns, present
from agent.sla.contract import JitterDefinition, Metric, Objective, StatisticType
from agent.sla.measured import Extent, Pace, extent, feeds_verdict, held, holes, stands_for, unsent, unsent_ns
from agent.sla.period import Period, judged_period, sample_grid
from agent.sla.spans import Flags, Spans
from agent.sla.statistics import (
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
from agent.sla.uptime import WARM_UP_NS, interval_of, machine
from agent.sla.verdict import EvidenceValue, Findings
from agent.sla.wording import plural
from probes.core.clock import SECOND

_CRON_STEP_NS = 60 * SECOND
"""A timetable runs at most once a minute."""


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
    excluded = moment.excluded.widened(grid)
    every = countable(objective, feed, period)
    rows = every & ~excluded.touches(columns.start_ns, columns.start_ns + (1 if pace.attempts else columns.span_ns))
    out, doubtful = np.zeros_like(rows), np.zeros_like(rows)
    if available is not None:
        out, doubtful = _unavailable(*available, columns, period, moment)
    taken = rows & ~out & ~doubtful
    unit = _unit_pace(objective, feed)
    there = _carrying(objective, feed) if pace.attempts else every
    bare = extent(columns, there, unit, period.start_ns, period.end_ns, excluded)
    split = _without(bare, feed, rows & out, rows & doubtful & ~out, objective)
    loose = _unrecorded(objective, feed, period, moment, excluded) if bare.unknown else 0
    doubted = split.unknown - bare.unknown
    if doubted and available is not None and (loose or _unrecorded(*available, _before(period), moment, excluded)):
        loose += doubted
    split = _less_unsent(split, columns, taken, objective)
    reduction = _reduce(objective, feed, taken)
    rest_ns = period.rest(excluded)
    findings = Findings(
        reduction.at(split.unknown),
        reduction.at(split.unknown + _could_hold(rest_ns, unit)).best,
        portion(split.measured_ns, split.length_ns),
        reduction.count,
        objective.samples_needed,
        _nothing(objective, columns, rows),
        unrecorded=reduction.at(loose) if loose else None,
    )
    evidence: dict[str, EvidenceValue] = {
        **reduction.counts,
        "unknown_at_most": split.unknown,
        "unknown_without_a_record": loose,
        "samples": int(np.count_nonzero(taken)),
        "samples_excluded_unavailable": int(np.count_nonzero(rows & out)),
        "samples_excluded": int(np.count_nonzero(every & ~rows)),
    }
    whole = split.length_ns + rest_ns
    return Evaluation(
        period,
        findings,
        split.measured_ns,
        portion(split.measured_ns, whole),
        _details(objective, reduction),
        evidence,
        _missing(objective, feed, period, moment, excluded) if bare.missing_ns else (),
        excluded.within(period.start_ns, period.end_ns).length_ns,
    )


def _carrying(objective: Objective, feed: Feed) -> Flags:
    """Rows with something to count, wherever they lie."""
    columns = feed.columns
    rows = feeds_verdict(columns)
    if objective.metric is Metric.THROUGHPUT:
        return rows & present(run_rates(columns, objective.statistic.direction))
    return rows & (columns.column("sent") > 0)


def _unrecorded(objective: Objective, feed: Feed, period: Period, moment: Moment, excluded: Spans) -> int:
    """Most packets or runs that the time missing without a record could hold. A row that does not count is a record."""
    if feed.pace.every_ns is None:
        return 0
    rows, step = _carrying(objective, feed), stands_for(feed.pace)
    records = moment.known.recorded(step) | held(feed.columns, ~rows, step)
    aside = excluded | Spans.union(
        records.start_ns - step // 2, records.end_ns
    )  # a try may have come before it was due
    return extent(feed.columns, rows, _unit_pace(objective, feed), period.start_ns, period.end_ns, aside).unknown


def _before(period: Period) -> Period:
    """The period with the time from which its first intervals inherit their availability."""
    return replace(period, start_ns=max(min(period.since_ns, period.start_ns), period.start_ns - WARM_UP_NS))


def _missing(objective: Objective, feed: Feed, period: Period, moment: Moment, excluded: Spans) -> tuple[Cause, ...]:
    gone = holes(feed.columns, _carrying(objective, feed), feed.pace, period.start_ns, period.end_ns) - excluded
    return causes(gone, feed.columns, moment.known, stands_for(feed.pace))


def countable(objective: Objective, feed: Feed, period: Period) -> Flags:
    """Rows that may feed the statistic and lie wholly inside the judged period (attempts: start inside it)."""
    columns = feed.columns
    last = columns.start_ns + (1 if feed.pace.attempts else columns.span_ns)
    return _carrying(objective, feed) & (columns.start_ns >= period.start_ns) & (last <= period.end_ns)


def _reduce(objective: Objective, feed: Feed, rows: Flags) -> Reduction:
    statistic, columns, limit = objective.statistic, feed.columns, feed.timeout_ns
    p = statistic.p if statistic.type is StatisticType.PERCENTILE else None
    if objective.metric is Metric.LOSS:
        return loss_ratio(columns, rows)
    if objective.metric is Metric.THROUGHPUT:
        rates = run_rates(columns, statistic.direction)
        return throughput(rates, rows, p, mean_of=statistic.type is StatisticType.MEAN)
    if objective.metric is Metric.RTT:
        return delay_mean(columns, rows, limit) if p is None else delay_percentile(columns, rows, p, limit)
    if statistic.definition is JitterDefinition.RFC3550:
        return rfc3550(columns, rows, p, limit)
    if statistic.definition is JitterDefinition.PDV and p is not None:
        return pdv_percentile(columns, rows, p, limit)
    if statistic.definition is JitterDefinition.IPDV and p is None:
        return ipdv_mean(columns, rows, limit)
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
    objective: Objective, feed: Feed, columns: SampleColumns, period: Period, moment: Moment
) -> tuple[Flags, Flags]:
    """(certainly unavailable, perhaps unavailable) for each row, by the machine of the availability objective."""
    dt = interval_of(objective, feed)
    start, end = period.start_ns // dt * dt, -(-period.end_ns // dt) * dt
    key = (objective.id, feed.columns.probe, dt, start, end)
    state = moment.machines.get(key)
    if state is None:
        _, state = machine(objective, feed, dt, start, end, moment.since_ns)
        moment.machines[key] = state
    size = len(state.best)
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
