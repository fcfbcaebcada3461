"""Time up, down and unknown of a window, as findings on availability. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from agent.sla.case import Evaluation, Feed, Moment, portion
from agent.sla.samples.causes import causes
from agent.sla.samples.measured import stands_for
from agent.sla.statistic.budgets import of_time, share_used
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Objective
from agent.sla.time.period import Period
from agent.sla.time.spans import Spans
from agent.sla.verdict import EvidenceValue, Findings
from agent.sla.words.wording import plural, spoken
from probes.core.clock import SECOND

MONTH_OF_720_HOURS_NS: Final = 720 * 3600 * SECOND
_ZERO: Final = Fraction(0)
_MONTHS: Final = ("month", "billing_month")


@dataclass(frozen=True, slots=True)
class Tally:
    """ns of the judged time that counts. total: all of it; measured: of which the state is known; down: certainly
    down; possible: down if all that is unknown was; told: down in the estimate, among what was measured."""

    total: int
    measured: int
    down: int
    possible: int
    told: int
    outages: int


def summed(
    objective: Objective,
    feed: Feed,
    period: Period,
    tally: Tally,
    target: Fraction,
    moment: Moment,
    *,
    excluded: Spans,
    unknown: Spans,
    unrecorded: Tally | None,
    obstacle: str,
    unit_ns: int,
    evidence: dict[str, EvidenceValue],
) -> Evaluation:
    """unrecorded: the same for what is missing without a record, the rest left out. unit_ns: of one value."""
    rest = period.rest(excluded) // unit_ns * unit_ns
    whole = tally.total + rest
    basis = fixed_basis(objective, moment)
    allowed = int((1 - target) * (basis or whole))
    here = basis if period.closed else None
    estimate = _estimate(tally, here)
    budget = of_time(allowed, tally.down, estimate.value)
    findings = Findings(
        estimate,
        _share_up(tally.down, basis or whole) if whole else None,
        portion(tally.measured, tally.total),
        tally.measured // unit_ns,
        objective.samples_needed,
        obstacle,
        share_used(budget),
        None if unrecorded is None else replace(_estimate(unrecorded, here), value=None),
        budget,
        longest_gap_ns=int((unknown.end_ns - unknown.start_ns).max(initial=0)),
    )
    if basis is not None:
        evidence = {**evidence, "month_basis_ns": basis}
    return Evaluation(
        period,
        findings,
        tally.measured,
        portion(tally.measured, whole),
        _details(period, tally, allowed),
        {**evidence, "budget_ns": allowed},
        causes(unknown, feed.columns, moment.known, stands_for(feed.pace)),
        excluded.within(period.start_ns, period.end_ns).length_ns,
    )


def fixed_basis(objective: Objective, moment: Moment) -> int | None:
    """The length of month that the contract fixes, where this window is a month."""
    contract = moment.contract
    if contract is None or contract.month_basis != "fixed_720h" or objective.window.calendar not in _MONTHS:
        return None
    return MONTH_OF_720_HOURS_NS


def _estimate(tally: Tally, basis: int | None) -> Estimate:
    if not tally.total:
        return Estimate(None, None, None)
    whole = basis or tally.total
    value = None
    if tally.measured:
        value = max(_ZERO, 1 - Fraction(tally.told * tally.total, tally.measured * whole))
    return Estimate(value, _share_up(tally.down, whole), _share_up(tally.possible, whole))


def _share_up(down_ns: int, whole_ns: int) -> Fraction:
    return max(_ZERO, Fraction(whole_ns - down_ns, whole_ns))


def _details(period: Period, tally: Tally, allowed_ns: int) -> str:
    text = f"{spoken(tally.told)} down in {plural(tally.outages, 'outage')}" if tally.told else "no outage"
    if period.closed:
        return f"{text}, {spoken(allowed_ns)} allowed"
    left = allowed_ns - tally.down
    return f"{text}; budget left {spoken(left)}" if left >= 0 else f"{text}; budget exceeded by {spoken(-left)}"
