"""Availability as 1 - plain outage time / window, as measured or on the contract's own clock. Pure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from agent.sla.case import Evaluation, Feed, Moment
from agent.sla.downtime.plain_outage import bridged, counted
from agent.sla.downtime.timeline import Timeline, beside_ns, interval_of, timeline, unrecorded
from agent.sla.faults.repair import evaluate_outages
from agent.sla.samples.tally import Tally, fixed_basis, summed
from agent.sla.statistic.budgets import of_time, share_used
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Metric, Objective, StatisticType
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.period import Period
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.verdict import EvidenceValue


def outage_time(
    objective: Objective, feed: Feed, period: Period, target: Fraction, moment: Moment, excluded: Spans
) -> Evaluation:
    """Outage time, each outage whole: what lies beside the period decides whether it is long enough."""
    statistic = objective.statistic
    dt = interval_of(objective, feed)
    beside = beside_ns(statistic, dt)
    since = moment.since_ns // dt * dt
    wide = timeline(
        objective, feed, max(period.start_ns - beside, min(since, period.start_ns)), period.end_ns + beside, moment
    )
    down, unknown = wide.down, wide.unknown
    policy = objective.coverage.unknown
    if policy != "bounds":
        past = unknown if period.closed else unknown - _still_open(period, wide)
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


def _still_open(period: Period, wide: Timeline) -> Spans:
    """The end of what an open window shows, which the machine has not decided yet."""
    decided = period.end_ns - (wide.n - 1) * wide.state.dt_ns
    return Spans.of([(decided, wide.state.start_ns + len(wide.state.best) * wide.state.dt_ns)])


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
