"""The verdict on one objective: what was promised, what was delivered, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Objective
from agent.sla.time.calendar import WindowInstants

AT_RISK_BUDGET: Final = Fraction(3, 4)
"""Share of the downtime budget from which an open window is at risk."""


NO_EVENTS: Final = "no_events"
"""Remark where nothing has happened that a promise could have been broken by: it is kept."""
DOWNTIME: Final = "ns down"
"""Noun of a budget of time."""

UNRECORDED: Final = "what is missing without a record of why could change it"


class VerdictState(StrEnum):
    """Closed windows are met, breached or inconclusive; open ones on_track, at_risk, breached or unmeasurable."""

    MET = "met"
    BREACHED = "breached"
    INCONCLUSIVE = "inconclusive"
    ON_TRACK = "on_track"
    AT_RISK = "at_risk"
    UNMEASURABLE = "unmeasurable"


_SEVERITY: Final = {
    VerdictState.BREACHED: 4,
    VerdictState.AT_RISK: 3,
    VerdictState.INCONCLUSIVE: 2,
    VerdictState.UNMEASURABLE: 2,
    VerdictState.ON_TRACK: 1,
    VerdictState.MET: 0,
}

EvidenceValue = int | str | bool | None | Fraction | tuple["EvidenceValue", ...] | Mapping[str, "EvidenceValue"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What the target still allows, in its own unit (ns down, packets lost, outages). projection: the value that the
    whole window will have if it goes on as it went, None where that says nothing. text: for people."""

    allowed: Fraction
    used: Fraction
    noun: str
    projection: Fraction | None = None
    text: str = ""

    @property
    def left(self) -> Fraction:
        return self.allowed - self.used


@dataclass(frozen=True, slots=True)
class Verdict:
    """One objective of one circuit in one window. Values in base units: ns, ratio 0..1, bit/s; None is not known.

    best, worst: bounds over what was not measured (of the time so far, in an open window). coverage: share of the
    judged time that was measured; window_coverage: of the whole window. estimated: the bounds leave it open and
    coverage sufficed, so the measured value decided. sentence: one line for people; evidence: exact numbers.
    """

    contract: str
    circuit: str
    objective: Objective
    window: WindowInstants
    state: VerdictState
    value: Fraction | None
    best: Fraction | None
    worst: Fraction | None
    target: Fraction | None
    coverage: Fraction
    window_coverage: Fraction
    estimated: bool
    sentence: str
    evidence: Mapping[str, EvidenceValue]
    budget: Budget | None = None
    remark: str = ""
    """no_events, disputed, excused, or the empty text"""


@dataclass(frozen=True, slots=True)
class Decision:
    """State with the reason for anything but a plain result."""

    state: VerdictState
    estimated: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the decision rests on. whole_best: the best value the whole window can still reach.

    obstacle: why there is no value at all, or the empty text. count and needed: values there are, and values the
    statistic needs. budget_used: share of the allowed downtime, where there is such a budget. unrecorded: bounds over
    what is missing without a record of why, the rest left out; None where there is no such thing.
    """

    estimate: Estimate
    whole_best: Fraction | None
    coverage: Fraction
    count: int
    needed: int
    obstacle: str = ""
    budget_used: Fraction | None = None
    unrecorded: Estimate | None = None
    budget: Budget | None = None
    """what the target still allows, with the projection where the window is open"""
    remark: str = ""
    """no_events, or the empty text"""
    longest_gap_ns: int = 0
    """longest time in a row of which nothing is known, without what is excluded"""


def decide(objective: Objective, target: Fraction, found: Findings, *, closed: bool) -> Decision:
    """Three values, never a guess: worst case meets, best case fails, else the estimate if enough was measured.

    An estimate may leave out what this agent recorded that it did not measure. What is missing without a record may
    be samples that were taken away: where they could change the estimate there is no verdict.
    """
    if found.remark == NO_EVENTS:
        return Decision(VerdictState.MET if closed else VerdictState.ON_TRACK)
    return _closed(objective, target, found) if closed else _open(objective, target, found)


def _shortfall(objective: Objective, found: Findings) -> str:
    """Why the measured value must not decide; empty when it may."""
    if found.estimate.value is None:
        return found.obstacle or "nothing was measured"
    if found.count < found.needed:
        return f"{found.count} measured values are too few for this statistic, it needs {found.needed}"
    if found.coverage < objective.coverage.minimum:
        return "too little was measured"
    allowed_ns = objective.coverage.longest_gap_ns
    if allowed_ns is not None and found.longest_gap_ns > allowed_ns:
        return "too long a time in a row was not measured"
    return ""


def _closed(objective: Objective, target: Fraction, found: Findings) -> Decision:
    estimate = found.estimate
    if estimate.value is None:
        return Decision(VerdictState.INCONCLUSIVE, reason=_shortfall(objective, found))
    if estimate.worst is not None and objective.meets(estimate.worst, target):
        return Decision(VerdictState.MET)
    if estimate.best is not None and not objective.meets(estimate.best, target):
        return Decision(VerdictState.BREACHED)
    shortfall = _shortfall(objective, found)
    if shortfall:
        return Decision(VerdictState.INCONCLUSIVE, reason=shortfall)
    met = objective.meets(estimate.value, target)
    if found.unrecorded is not None:
        doubt = found.unrecorded.worst if met else found.unrecorded.best
        if doubt is None or objective.meets(doubt, target) is not met:
            return Decision(VerdictState.INCONCLUSIVE, reason=UNRECORDED)
    return Decision(VerdictState.MET if met else VerdictState.BREACHED, estimated=True)


def _open(objective: Objective, target: Fraction, found: Findings) -> Decision:
    """An open window is breached only when nothing that is still to come could repair it."""
    estimate = found.estimate
    if estimate.value is not None and found.whole_best is not None and not objective.meets(found.whole_best, target):
        return Decision(VerdictState.BREACHED)
    shortfall = _shortfall(objective, found)
    if shortfall or estimate.value is None:
        return Decision(VerdictState.UNMEASURABLE, reason=shortfall)
    if not objective.meets(estimate.value, target):
        return Decision(VerdictState.AT_RISK, estimated=True)
    if found.budget_used is not None and found.budget_used >= AT_RISK_BUDGET:
        noun = DOWNTIME if found.budget is None else found.budget.noun
        what = "allowed downtime" if noun == DOWNTIME else f"budget of {noun}"
        return Decision(VerdictState.AT_RISK, estimated=True, reason=f"three quarters of the {what} are used")
    return Decision(
        VerdictState.ON_TRACK, estimated=estimate.worst is None or not objective.meets(estimate.worst, target)
    )


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The one to look at first: breached, at_risk, inconclusive or unmeasurable, on_track, met; first wins a tie."""
    return max(verdicts, key=lambda verdict: _SEVERITY[verdict.state], default=None)


def gravest(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Of the windows of one objective: the worst state, and of those the value furthest on the bad side; first wins."""

    def badness(verdict: Verdict) -> tuple[int, bool, Fraction]:
        value = verdict.value if verdict.value is not None else Fraction(0)
        low_is_bad = verdict.objective.comparison == "min"
        return _SEVERITY[verdict.state], verdict.value is not None, -value if low_is_bad else value

    return max(verdicts, key=badness, default=None)


def by_severity(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Worst first, otherwise in the order given."""
    return sorted(verdicts, key=lambda verdict: -_SEVERITY[verdict.state])
