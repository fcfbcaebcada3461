"""The promises of a statement: one row for each objective and window, where the time went, by which method. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from agent.report.statement import figures
from agent.report.statement.figures import UNITS, clean
from agent.report.statement.model import BudgetRow, Method, Result, Tally
from agent.report.statement.rows import Fact, Figure, MissingRow, TimeAccount
from agent.sla.terms.contract import Metric, Objective, StatisticType, Unit
from agent.sla.verdict import Budget, EvidenceValue, Verdict, VerdictState
from agent.sla.words.definitions import definition, name
from agent.sla.words.wording import Plain, number

STATES: Final = {
    VerdictState.MET: "met",
    VerdictState.BREACHED: "breached",
    VerdictState.INCONCLUSIVE: "inconclusive",
    VerdictState.ON_TRACK: "on track",
    VerdictState.AT_RISK: "at risk",
    VerdictState.UNMEASURABLE: "unmeasurable",
}
_REMARKS: Final = {"no_events": "no events", "disputed": "disputed", "excused": "excused"}
_FORMULAS: Final = {
    StatisticType.MEAN: "value = sum / count",
    StatisticType.BIN_MEAN: "value = sum of the bins' means / number of bins",
    StatisticType.PERCENTILE: "value = the k-th smallest of n, k = ⌈p · n⌉",
    StatisticType.RATIO: "value = lost / sent",
    StatisticType.RATIO_WITHIN: "value = those within the limit / all",
    StatisticType.RATIO_OVER: "value = those beyond the limit / all",
    StatisticType.SUSTAINED: "value = number of such runs",
    StatisticType.MAX_WINDOW: "value = largest over all continuous spans",
    StatisticType.MINIMUM: "value = smallest of the runs",
    StatisticType.CAPACITY: "value = smallest over the bins of the bin's best run",
    StatisticType.AVAILABILITY_MEF: "value = intervals up / (intervals up + intervals down)",
    StatisticType.AVAILABILITY_SECONDS: "value = seconds up / (seconds up + seconds down)",
    StatisticType.AVAILABILITY_BLOCKS: "value = blocks up / (blocks up + blocks down)",
    StatisticType.AVAILABILITY_OUTAGE: "value = 1 − outage time / counted time",
    StatisticType.HIGH_LOSS_INTERVALS: "value = number of such intervals",
    StatisticType.CONSECUTIVE_HIGH_LOSS: "value = number of such runs of intervals",
    StatisticType.COUNT: "value = number of outages",
    StatisticType.TOTAL: "value = sum of the outages' durations",
    StatisticType.LONGEST: "value = longest duration",
    StatisticType.MTTR: "value = sum of the repair times / number of outages",
    StatisticType.MTTF: "value = time up / number of outages",
    StatisticType.MTBF: "value = MTTF + MTTR",
}
_NOT_INPUTS: Final = frozenset(
    {"contract_version", "contract_sha256", "exclusions_sha256", "time_zone_rules", "definition", "exclusions",
     "not_measured", "outages", "target", "reason", "probe", "kind", "judged_from_ns", "judged_to_ns",
     "first_measured_ns", "measured_ns", "excluded_ns", "coverage_minimum"}
)  # fmt: skip
"""Said elsewhere in the statement."""


def result(verdict: Verdict, as_of_ns: int) -> Result:
    """One verdict as a row."""
    objective, target = verdict.objective, verdict.target
    return Result(
        objective=clean(objective.id),
        metric=objective.metric.value,
        name=name(objective),
        clause=clean(objective.text),
        state=verdict.state.value,
        state_text=_state_text(verdict),
        estimated=verdict.estimated,
        remark=_REMARKS.get(verdict.remark, clean(verdict.remark)),
        comparison=objective.comparison,
        target=figures.of(objective, target),
        target_text=_promised(verdict),
        value=figures.of(objective, verdict.value, target),
        best=figures.of(objective, verdict.best, target),
        worst=figures.of(objective, verdict.worst, target),
        margin=figures.margin(objective, verdict.value, target),
        coverage=figures.ratio(verdict.coverage),
        coverage_asked=figures.ratio(objective.coverage.minimum),
        window=figures.window(verdict.window, as_of_ns),
        budget=None if verdict.budget is None else _budget(verdict.budget, objective, verdict.window.closed(as_of_ns)),
        probe=clean(_probe(verdict)),
        sentence=clean(verdict.sentence),
    )


def tally(verdicts: Sequence[Verdict]) -> Tally:
    found = Counter(verdict.state.value for verdict in verdicts)
    return Tally(len(verdicts), *(found[state.value] for state in (
        VerdictState.MET, VerdictState.BREACHED, VerdictState.INCONCLUSIVE, VerdictState.ON_TRACK,
        VerdictState.AT_RISK, VerdictState.UNMEASURABLE,
    )))  # fmt: skip


def _state_text(verdict: Verdict) -> str:
    decided = verdict.estimated and verdict.state in (VerdictState.MET, VerdictState.BREACHED)
    return STATES[verdict.state] + (" (estimated)" if decided else "")


def _promised(verdict: Verdict) -> str:
    objective = verdict.objective
    side = "at least " if objective.comparison == "min" else "at most "
    if verdict.target is None:
        return side + clean(objective.target.text)
    shown = figures.of(objective, verdict.target).shown
    return side + (f"{_share_text(objective)} = {shown}" if objective.target.of_committed_rate else shown)


def _share_text(objective: Objective) -> str:
    return clean(objective.target.text).replace("committed_rate", "the committed rate")


def _probe(verdict: Verdict) -> str:
    probe = verdict.evidence.get("probe")
    return probe if isinstance(probe, str) else ""


def _budget(budget: Budget, objective: Objective, closed: bool) -> BudgetRow:
    in_time = _in_time(objective)

    def figure(value: Fraction) -> Figure:
        if in_time:
            return figures.duration(value)
        return Figure(value, "count", number(Plain(Unit.COUNT, "max"), value).replace("-", "−"))

    return BudgetRow(
        of=clean(budget.noun.replace("ns ", "time ")),
        allowed=figure(budget.allowed),
        used=figure(budget.used),
        left=figure(budget.left),
        projection=None if closed or budget.projection is None else figures.of(objective, budget.projection),
        share=budget.used / budget.allowed if budget.allowed > 0 else None,
        text=clean(budget.text),
    )


def _in_time(objective: Objective) -> bool:
    """True where the budget is one of time: down, or spent on repairs."""
    return objective.unit is Unit.DURATION or (objective.metric is Metric.AVAILABILITY and objective.unit is Unit.RATIO)


def time_account(verdict: Verdict, as_of_ns: int) -> TimeAccount | None:
    """Where the time of the verdict's window went; None where nothing was measured at all."""
    evidence = verdict.evidence
    start, end = _number(evidence, "judged_from_ns"), _number(evidence, "judged_to_ns")
    measured, excluded = _number(evidence, "measured_ns"), _number(evidence, "excluded_ns") or 0
    if start is None or end is None or measured is None:
        return None
    missing = tuple(_missing(evidence.get("not_measured")))
    whole = verdict.window.length_ns
    known = measured + excluded + sum(int(row.duration.exact or 0) for row in missing)
    return TimeAccount(
        objective=clean(verdict.objective.id),
        probe=clean(_probe(verdict)),
        window=figures.window(verdict.window, as_of_ns),
        whole=figures.duration(whole),
        excluded=figures.duration(excluded),
        counted=figures.duration(whole - excluded),
        measured=figures.duration(measured),
        missing=missing,
        edges=figures.duration(whole - known),
        edges_text=_edges_text(verdict, as_of_ns),
    )


def _edges_text(verdict: Verdict, as_of_ns: int) -> str:
    """What the time is that is neither excluded, measured nor missed."""
    parts = ["not available"] if verdict.objective.only_available_time else []
    parts += ["still to come"] if not verdict.window.closed(as_of_ns) else []
    return ", ".join([*parts, "edges of intervals"])


def _missing(found: EvidenceValue) -> Iterable[MissingRow]:
    for item in found if isinstance(found, tuple) else ():
        if isinstance(item, Mapping):
            reason, ns = item.get("reason"), item.get("ns")
            yield MissingRow(clean(str(reason)), figures.duration(ns if isinstance(ns, int) else None))


def _number(evidence: Mapping[str, EvidenceValue], key: str) -> int | None:
    value = evidence.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def method(verdict: Verdict) -> Method:
    """How the value came about."""
    objective = verdict.objective
    given = verdict.evidence.get("definition")
    inputs = [
        Fact(key.removesuffix("_ns").replace("_", " "), text)
        for key, value in sorted(verdict.evidence.items())
        if key not in _NOT_INPUTS and (text := _plain(key, value))
    ]
    exact = []
    if verdict.value is not None:
        exact = [
            Fact("value", figures.of(objective, verdict.value, verdict.target).shown),
            Fact("exactly", f"{verdict.value} {UNITS[objective.unit]}"),
        ]
    return Method(
        objective=clean(objective.id),
        window=clean(verdict.window.label),
        name=name(objective),
        definition=given if isinstance(given, str) else definition(objective),
        formula=_FORMULAS[objective.statistic.type],
        inputs=(*exact, *inputs),
    )


def _plain(key: str, value: EvidenceValue) -> str:
    if value is None or isinstance(value, (tuple, Mapping)):
        return ""
    if isinstance(value, int) and key.endswith("_ns"):
        return figures.span(value)
    return clean(str(value))
