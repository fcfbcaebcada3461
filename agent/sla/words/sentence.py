"""The one line that people read of a verdict. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from agent.sla.case import Evaluation
from agent.sla.samples import causes
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Metric, Objective
from agent.sla.terms.excluded import Exclusion, Ruling, Standing
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.hours import Hours
from agent.sla.verdict import UNRECORDED, Decision, Findings, VerdictState
from agent.sla.words.definitions import name
from agent.sla.words.wording import moment, plural, quantity, share, spoken

_NAMED: Final = 3
"""Exclusions that a sentence names; the evidence has all of them."""
_SILENT: Final = (Standing.APPLIED, Standing.NOT_ENTERED, Standing.OBJECTIVE, Standing.NO_IMPACT)
"""Of these the sentence has nothing to say, or says it elsewhere."""


def period_name(window: WindowInstants) -> str:
    return f"the {window.label}" if window.unit is None else f"{window.label} ({window.zone})"


def sentence(
    objective: Objective,
    evaluation: Evaluation,
    decision: Decision,
    target: Fraction,
    ruling: Ruling,
    hours: Hours | None = None,
) -> str:
    """`availability 99.93 % of 4 h 12 min measured since 2026-11-01 00:00 UTC (target 99.9 %): 18 s down in ...`."""
    period, found = evaluation.period, evaluation.findings
    what = f"{name(objective)} {quantity(objective, found.estimate.value, target)}"
    if objective.metric is Metric.EVENT:
        basis = period_name(period.window)
    elif period.closed:
        basis = f"{spoken(evaluation.measured_ns)} measured in {period_name(period.window)}"
    else:
        basis = f"{spoken(evaluation.measured_ns)} measured since {moment(period.start_ns)}"
    parts = [evaluation.details, *_excluded(evaluation, ruling, hours)]
    if found.coverage < 1:
        parts.append(f"{share(found.coverage)} of the time was measured")
        if evaluation.missing:
            parts.append(causes.told(evaluation.missing))
    if decision.reason:
        parts.append(_reason(objective, decision, found))
    elif decision.estimated and period.closed:
        parts.append(f"estimated, {_between(objective, found.estimate, target)}")
    promised = objective.target.text
    if objective.target.of_committed_rate:
        promised += f" = {quantity(objective, target)}"
    link = {Metric.AVAILABILITY: "of", Metric.EVENT: "in"}.get(objective.metric, "over")
    return f"{what} {link} {basis} (target {promised}): {'; '.join(part for part in parts if part)}"


def _excluded(evaluation: Evaluation, ruling: Ruling, hours: Hours | None) -> list[str]:
    """`2 h excluded: planned maintenance (CHG-1)`, and how many entries are not applied."""
    parts = []
    if evaluation.excluded_ns:
        period = evaluation.period
        names = [f"{item.reason} ({_named(item)})" for item in ruling.named(Standing.APPLIED)
                 if item.start_ns < period.end_ns and item.end_ns > period.start_ns]  # fmt: skip
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        closed = [f"outside the service hours{f' ({hours.text})' if hours.text else ''}"] if hours is not None else []
        parts.append(f"{spoken(evaluation.excluded_ns)} excluded: {', '.join([*closed, *names[:_NAMED]])}{more}")
    refused = [item for item in ruling.entries if item.standing not in _SILENT]
    if refused:
        told = ", ".join(f"{item.exclusion.id} ({item.standing.value.partition(': ')[2]})" for item in refused[:_NAMED])
        parts.append(f"{plural(len(refused), 'exclusion')} not applied: {told}")
    return parts


def _named(item: Exclusion) -> str:
    """Its id, and the mark of one that was entered afterwards."""
    return f"{item.id}, entered after its start" if item.retroactive else item.id


def _reason(objective: Objective, decision: Decision, found: Findings) -> str:
    if decision.reason == UNRECORDED:
        return f"{decision.state}: {decision.reason}, {_between(objective, found.unrecorded or found.estimate, None)}"
    if decision.state in (VerdictState.INCONCLUSIVE, VerdictState.UNMEASURABLE):
        asked = f" (the contract asks for {share(objective.coverage.minimum)})"
        short = found.estimate.value is not None and found.count >= found.needed
        return f"{decision.state}: {decision.reason}{asked if short else ''}"
    return decision.reason


def _between(objective: Objective, estimate: Estimate, target: Fraction | None) -> str:
    low, high = sorted((estimate.best, estimate.worst), key=lambda value: (value is None, value))
    if low is None:
        return "the unmeasured time could change it"
    if high is None:
        known = "at best" if low == estimate.best else "at worst"
        return f"{known} {quantity(objective, low, target)}"
    return f"between {quantity(objective, low, target)} and {quantity(objective, high, target)}"
