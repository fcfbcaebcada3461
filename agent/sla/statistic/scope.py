"""Promises on several circuits together: the worst of them, their mean, or at least k up at the same instant. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np

from agent.sla.case import Evaluation, Feed, Moment, UnusableError
from agent.sla.downtime.availability import Availability, outages_of
from agent.sla.downtime.timeline import interval_of, timeline, unrecorded
from agent.sla.downtime.uptime import concluded
from agent.sla.samples.causes import Cause
from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Objective
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.period import judged_period
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.verdict import EvidenceValue

Number = Fraction | None


def aggregate(
    objective: Objective,
    parts: Sequence[tuple[str, Evaluation]],
    *,
    how: Literal["worst", "mean"] | None = None,
) -> Evaluation:
    """The worst, or the mean, of what was found for each (circuits, or directions); `how` takes the scope's.

    A part without a value leaves the others as a bound only: the coverage is that of the least measured part. Raises
    UnusableError where there is no part.
    """
    if not parts:
        raise UnusableError("there is no circuit to judge")
    scope = objective.scope
    wanted = how or ("mean" if scope is not None and scope.aggregation == "mean" else "worst")
    ordered = [item for _, item in sorted(parts, key=lambda part: part[0])]
    names = sorted(name for name, _ in parts)
    join = _mean if wanted == "mean" else _worst(objective)
    findings = [item.findings for item in ordered]
    estimates = [item.estimate for item in findings]
    values = [item.value for item in estimates]
    known = [value for value in values if value is not None]
    value = join(values, None) if wanted == "mean" or not known else join(known, None)
    high_is_good = objective.comparison == "min"
    estimate = Estimate(
        value,
        join([item.best for item in estimates], "high" if high_is_good else None),
        join([item.worst for item in estimates], None if high_is_good else "high"),
    )
    loose = [
        item.unrecorded or Estimate(item.estimate.value, item.estimate.value, item.estimate.value) for item in findings
    ]
    unrecorded = None
    if any(item.unrecorded is not None for item in findings):
        unrecorded = Estimate(
            None,
            join([item.best for item in loose], "high" if high_is_good else None),
            join([item.worst for item in loose], None if high_is_good else "high"),
        )
    deciding = next((item for item in ordered if item.findings.estimate.value == value), ordered[0])
    return replace(
        deciding,
        findings=replace(
            deciding.findings,
            estimate=estimate,
            whole_best=join([item.whole_best for item in findings], "high" if high_is_good else None),
            coverage=min(item.coverage for item in findings),
            count=min(item.count for item in findings),
            needed=max(item.needed for item in findings),
            obstacle=next((item.obstacle for item in findings if item.estimate.value is None), ""),
            unrecorded=unrecorded,
            longest_gap_ns=max(item.longest_gap_ns for item in findings),
        ),
        measured_ns=min(item.measured_ns for item in ordered),
        window_coverage=min(item.window_coverage for item in ordered),
        details=f"{wanted} of {len(ordered)}: {deciding.details}",
        evidence={
            **deciding.evidence,
            "aggregation": wanted,
            "parts": tuple(_part(name, item) for name, item in zip(names, ordered, strict=True)),
        },
        missing=_longest(ordered),
        excluded_ns=max(item.excluded_ns for item in ordered),
    )


def _part(name: str, item: Evaluation) -> Mapping[str, EvidenceValue]:
    estimate = item.findings.estimate
    return {
        "of": name,
        "value": estimate.value,
        "best": estimate.best,
        "worst": estimate.worst,
        "coverage": item.findings.coverage,
    }


def _worst(objective: Objective) -> Callable[[Sequence[Number], str | None], Number]:
    """The value on the bad side. open_end `high`: None stands for a value without upper bound."""
    low_is_bad = objective.comparison == "min"

    def join(values: Sequence[Number], open_end: str | None) -> Number:
        there = [value for value in values if value is not None]
        if len(there) < len(values) and not (open_end == "high" and low_is_bad):
            return None
        if not there:
            return None
        return min(there) if low_is_bad else max(there)

    return join


def _mean(values: Sequence[Number], open_end: str | None) -> Number:  # noqa: ARG001 # one signature for both
    there = [value for value in values if value is not None]
    return sum(there, Fraction(0)) / len(there) if len(there) == len(values) and there else None


def _longest(parts: Sequence[Evaluation]) -> tuple[Cause, ...]:
    """Why the least measured part was not measured."""
    return max(parts, key=lambda item: sum(cause.ns for cause in item.missing)).missing


def at_least(
    objective: Objective, feeds: Mapping[str, Feed], window: WindowInstants, target: Fraction, moment: Moment
) -> Evaluation:
    """Availability of a group: up in each interval in which at least k members are, MEF 10.4 section 8.8.11.

    With k of all members it is the composite of section 8.8.10. Raises UnusableError.
    """
    if not feeds:
        raise UnusableError("there is no circuit to judge")
    k = objective.scope.k if objective.scope is not None else len(feeds)
    members = [replace(feed, columns=feed.columns.in_order()) for _, feed in sorted(feeds.items())]
    dt = max(interval_of(objective, feed) for feed in members)
    same = replace(objective, statistic=replace(objective.statistic, dt_ns=dt))
    periods = [
        judged_period(window, feed.columns, feed.pace, dt, now_ns=moment.now_ns, since_ns=moment.since_ns)
        for feed in members
    ]
    period = min(periods, key=lambda item: item.end_ns)
    excluded = moment.excluded.widened(dt)
    # The packets that can be read are those of one circuit, and each member has its own first sample.
    alone = [
        replace(moment, packets=None, since_ns=min([moment.since_ns, *feed.columns.start_ns[:1].tolist()]))
        for feed in members
    ]
    lines = [
        timeline(same, feed, period.start_ns, period.end_ns, when, excluded)
        for feed, when in zip(members, alone, strict=True)
    ]
    states = [line.state for line in lines]
    best = np.sum([state.best for state in states], axis=0) >= k
    worst = np.sum([state.worst for state in states], axis=0) >= k
    first = states[0]
    together = Availability(
        first.start_ns, dt, best, worst, first.counts,
        outages_of(best, first.start_ns // dt, dt, 0, first.counts),
    )  # fmt: skip
    loose = NOWHERE
    for feed, line in zip(members, lines, strict=True):
        loose = loose | unrecorded(same, feed, line, moment)
    unknown = Spans.union(
        first.start_ns + np.flatnonzero(best != worst) * dt, first.start_ns + np.flatnonzero(best != worst) * dt + dt
    )
    found = concluded(same, members[0], period, together, lines[0].n, loose & unknown, target, moment, excluded)
    each = {name: Fraction(state.up, state.total or 1) for name, state in zip(sorted(feeds), states, strict=True)}
    return replace(
        found,
        details=f"at least {k} of {len(members)} circuits: {found.details}",
        evidence={**found.evidence, "at_least": k, "members_up": each},
    )
