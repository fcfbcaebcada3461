"""From the samples of one probe to the findings on a statistic of delay, jitter, loss, MOS or throughput. Pure.

Each yields the same things: findings to decide on, details for the sentence, exact numbers as evidence.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from agent.sla.case import Evaluation, Feed, Moment, portion
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.distribution import Source
from agent.sla.samples.places import placed
from agent.sla.samples.selection import Selection, could_hold, countable, select
from agent.sla.statistic.binned import Missing, Placed
from agent.sla.statistic.budgets import budget_of, share_used
from agent.sla.statistic.direction import both_ways, facing, one_way
from agent.sla.statistic.reductions import reduced
from agent.sla.statistic.scope import aggregate
from agent.sla.statistic.statistics import Estimate, Reduction
from agent.sla.terms.contract import Metric, Objective, StatisticType
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.spans import Flags
from agent.sla.verdict import Budget, EvidenceValue, Findings
from agent.sla.words.wording import plural, spoken
from probes.metrics.voice import CODINGS, JITTER_BUFFER_NS

__all__ = ["countable", "evaluate_statistic"]

_BY_PLACE: Final = frozenset(
    {StatisticType.BIN_MEAN, StatisticType.SUSTAINED, StatisticType.MAX_WINDOW, StatisticType.CAPACITY}
)
_SHARES: Final = (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER)


def evaluate_statistic(
    objective: Objective,
    feed: Feed,
    window: WindowInstants,
    moment: Moment,
    available: tuple[Objective, Feed] | None = None,
) -> Evaluation:
    """The objective's statistic over the window; `available` gives the machine that defines available time.

    Raises UnusableError.
    """
    if both_ways(objective):
        parts = []
        for way in ("forward", "backward"):
            one = replace(objective, statistic=replace(objective.statistic, direction=way))
            parts.append((way, evaluate_statistic(one, feed, window, moment, available)))
        return aggregate(objective, parts, how="worst")
    chosen = select(objective, facing(objective, feed), window, moment, available)
    return _by_place(chosen) if _placed(objective) else _by_count(chosen)


def _placed(objective: Objective) -> bool:
    """It matters when a value was measured."""
    statistic = objective.statistic
    return statistic.type in _BY_PLACE or (statistic.type in _SHARES and _of_bins(objective))


def _of_bins(objective: Objective) -> bool:
    """A share of bins. Loss is a ratio itself, so that there are no other shares of it."""
    return objective.statistic.of == "bins" or objective.metric is Metric.LOSS


def _by_count(chosen: Selection) -> Evaluation:
    """Where only the number of unknown values matters."""
    objective, split = chosen.objective, chosen.split
    reduction, source, lacking = reduced(chosen)
    rest = could_hold(chosen.period.rest(chosen.excluded), chosen.unit)
    unknown = split.unknown + lacking
    findings = _findings(
        chosen,
        reduction.at(unknown),
        reduction.at(unknown + rest),
        reduction.count,
        reduction.at(chosen.loose + lacking) if chosen.loose or lacking else None,
    )
    budget = budget_of(objective, reduction.counts, findings.estimate, split.unknown + rest, _elapsed(chosen))
    return _evaluation(chosen, _budgeted(findings, budget), reduction, source, unknown)


def _by_place(chosen: Selection) -> Evaluation:
    """Where it matters when values are missing."""
    found = placed(chosen)
    missing = chosen.missing()
    loose = chosen.missing_without_record() if chosen.loose else None
    estimate = found.at(missing, 0)
    findings = _findings(
        chosen, estimate, found.at(missing, found.to_come), found.count, found.at(loose, 0) if loose else None
    )
    budget = budget_of(chosen.objective, found.counts, estimate, found.to_come, _elapsed(chosen))
    return _evaluation(chosen, _budgeted(findings, budget), _plain(found, missing), "histograms", chosen.split.unknown)


def _plain(found: Placed, missing: Missing) -> Reduction:
    return Reduction(found.count, found.counts, lambda _: found.at(missing, 0), found.note)


def _findings(
    chosen: Selection, estimate: Estimate, whole: Estimate, count: int, unrecorded: Estimate | None
) -> Findings:
    split = chosen.split
    return Findings(
        estimate,
        whole.best,
        portion(split.measured_ns, split.length_ns),
        count,
        chosen.objective.samples_needed if not _placed(chosen.objective) else 1,
        _nothing(chosen.objective, chosen.feed.columns, chosen.rows),
        unrecorded=unrecorded,
        longest_gap_ns=chosen.longest_gap_ns(),
    )


def _budgeted(findings: Findings, budget: Budget | None) -> Findings:
    if budget is None:
        return findings
    return replace(findings, budget=budget, budget_used=share_used(budget))


def _evaluation(
    chosen: Selection, findings: Findings, reduction: Reduction, source: Source, unknown: int
) -> Evaluation:
    period, split = chosen.period, chosen.split
    evidence: dict[str, EvidenceValue] = {
        **reduction.counts,
        "unknown_at_most": unknown,
        "unknown_without_a_record": chosen.loose,
        "samples": int(np.count_nonzero(chosen.taken)),
        "samples_excluded_unavailable": int(np.count_nonzero(chosen.out)),
        "samples_excluded": int(np.count_nonzero(chosen.every & ~chosen.rows)),
        **_method(chosen.objective, source),
        **_clock_error(chosen),
    }
    return Evaluation(
        period,
        findings,
        split.measured_ns,
        portion(split.measured_ns, split.length_ns + period.rest(chosen.excluded)),
        _details(chosen.objective, reduction),
        evidence,
        chosen.causes() if chosen.split.missing_ns else (),
        chosen.excluded.within(period.start_ns, period.end_ns).length_ns,
    )


def _elapsed(chosen: Selection) -> Fraction:
    """Share of the window that is over."""
    period = chosen.period
    return portion(period.end_ns - period.whole_start_ns, period.whole_end_ns - period.whole_start_ns)


def _method(objective: Objective, source: Source) -> dict[str, EvidenceValue]:
    """How the values came about, beyond the definition."""
    found: dict[str, EvidenceValue] = {"from": source}
    if objective.metric is Metric.MOS:
        codec = objective.statistic.codec
        found |= {
            "codec": codec,
            "owd_estimated": not one_way(objective),
            "delay_beside_the_network_ns": JITTER_BUFFER_NS + CODINGS[codec].delay_ns,
        }
    return found


def _clock_error(chosen: Selection) -> dict[str, EvidenceValue]:
    """How far each one-way delay may be wrong by its clocks: the most of any sample that counts."""
    error, objective = chosen.feed.columns.error_ns, chosen.objective
    if error is None or objective.metric not in (Metric.DELAY, Metric.MOS):
        return {}
    return {"clock_error_at_most_ns": int(error[chosen.taken].max(initial=0))}


def _details(objective: Objective, reduction: Reduction) -> str:
    counts = reduction.counts
    if objective.metric is Metric.LOSS and "lost" in counts and "sent" in counts:
        return f"{counts['lost']} of {plural(counts['sent'], 'packet')} lost"
    text = plural(reduction.count, next(iter(counts)).removesuffix("s"))
    return f"{text}, {reduction.note}" if reduction.note else text


def _nothing(objective: Objective, columns: SampleColumns, rows: Flags) -> str:
    """Why there may be no value."""
    if rows.any():
        span_ns = objective.statistic.span_ns
        if objective.statistic.type is StatisticType.MAX_WINDOW and span_ns:
            return f"of no {spoken(span_ns)} in a row was enough measured"
        answered = objective.metric in (Metric.RTT, Metric.DELAY, Metric.JITTER)
        return "no packet was answered" if answered and not _placed(objective) else ""
    if objective.metric is Metric.THROUGHPUT:
        return "no run has a result" if len(columns) else "no run yet"
    return "no sample can be used" if len(columns) else "nothing was measured"
