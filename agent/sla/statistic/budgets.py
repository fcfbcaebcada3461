"""What the target still allows, counted in what it is about: time down, packets lost or slow, bins, runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from agent.sla.statistic.statistics import Estimate
from agent.sla.terms.contract import Metric, Objective, StatisticType
from agent.sla.verdict import DOWNTIME, Budget

_COUNTED: Final[dict[StatisticType, str]] = {
    StatisticType.SUSTAINED: "runs beyond the limit",
    StatisticType.HIGH_LOSS_INTERVALS: "intervals with high loss",
    StatisticType.CONSECUTIVE_HIGH_LOSS: "runs of intervals with high loss",
}


def share_used(budget: Budget) -> Fraction:
    """0..1 and above; 1 where nothing is allowed and something was used."""
    return budget.used / budget.allowed if budget.allowed > 0 else Fraction(int(budget.used > 0))


def of_time(allowed_ns: int, used_ns: int, projection: Fraction | None) -> Budget:
    """Of availability, in ns down. projection: the availability of the whole window if it goes on as it went."""
    return Budget(Fraction(allowed_ns), Fraction(used_ns), DOWNTIME, projection)


def of_count(objective: Objective, used: Fraction, elapsed: Fraction) -> Budget:
    """Of things that happen; elapsed: share of the window that is over, above 0."""
    noun = _COUNTED.get(objective.statistic.type, "events")
    return Budget(objective.target.value, used, noun, used / elapsed if elapsed > 0 else None)


def budget_of(
    objective: Objective, counts: Mapping[str, int], estimate: Estimate, to_come: int, elapsed: Fraction
) -> Budget | None:
    """Of a statistic; None of one that is no count of bad things. to_come: values that the window may still hold."""
    if estimate.value is None:
        return None
    kind, target = objective.statistic.type, objective.target.value
    if kind is StatisticType.SUSTAINED:
        return of_count(objective, estimate.value, elapsed)
    if objective.metric is Metric.LOSS and kind in (StatisticType.RATIO, StatisticType.MEAN):
        whole = counts["sent"] + to_come
        return Budget(Fraction(target * whole // 1), Fraction(counts["lost"]), "packets lost", estimate.value)
    if kind in (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER):
        over = kind is StatisticType.RATIO_OVER
        total = next(iter(counts.values()))
        noun = next(iter(counts))
        bad = (estimate.value if over else 1 - estimate.value) * total
        allowed = (target if over else 1 - target) * (total + to_come)
        return Budget(Fraction(allowed // 1), bad, f"{noun} beyond the limit", estimate.value)
    return None
