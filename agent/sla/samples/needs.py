"""What an objective must be given: columns of its probe's samples, and time beside its window. Pure."""

from __future__ import annotations

from typing import Final

from agent.sla.downtime.timeline import WARM_UP_NS, beside_ns, machine_of
from agent.sla.statistic.direction import by_delay, one_way
from agent.sla.terms.contract import JitterDefinition, Metric, Objective, StatisticType
from probes.core.clock import SECOND

_PERCENTILES: Final = (
    "rtt_count", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns", "histogram",
)  # fmt: skip
_SUMS: Final = ("rtt_count", "rtt_sum_ns")
_SHARES: Final = (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER)
SPARE: Final = ("rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns")
"""Of those, what a verdict rests on only where a sample has no histogram."""
_LONGEST_SPAN_NS: Final = 60 * SECOND
"""Taken for dt where the contract leaves it to the samples: how far to read before and after a window."""


def columns_for(objective: Objective) -> tuple[str, ...]:
    """Names of SampleColumns beside start_ns, span_ns and state."""
    if objective.metric is Metric.THROUGHPUT:
        return ("forward_bps", "backward_bps")
    if objective.metric is Metric.AVAILABILITY:
        return ("sent", "lost", "not_sent")
    if one_way(objective):
        return _one_way(objective)
    if objective.metric is Metric.LOSS:
        return ("sent", "lost", "late", "not_sent")
    lost = ("lost",) if objective.metric is Metric.MOS or objective.statistic.lost == "infinite" else ()
    return ("sent", "not_sent", *lost, *_delays(objective))


def _delays(objective: Objective) -> tuple[str, ...]:
    statistic = objective.statistic
    if objective.metric is Metric.JITTER and statistic.definition is JitterDefinition.RFC3550:
        return ("rfc3550_ns",)
    if objective.metric is Metric.JITTER and statistic.definition is not JitterDefinition.PDV:
        return ("ipdv_pairs", "ipdv_abs_sum_ns")
    if objective.metric is not Metric.MOS and _single_values(objective):
        return _PERCENTILES
    return (*_SUMS, "rtt_min_ns") if objective.metric is Metric.JITTER else _SUMS


def _single_values(objective: Objective) -> bool:
    """The statistic is about packets one by one, not about their mean."""
    statistic = objective.statistic
    return statistic.type is StatisticType.PERCENTILE or (statistic.type in _SHARES and statistic.of != "bins")


def _one_way(objective: Objective) -> tuple[str, ...]:
    """Of the round trip, what tells that packets were asked and answered; the rest of the direction, or of both."""
    way = objective.statistic.direction
    names = {"sent", "lost", "delay_count"}
    if objective.metric is not Metric.LOSS:
        names |= {name.replace("rtt_", "delay_") for name in _delays(objective)}
    if by_delay(objective):
        names |= {"withheld", "error_ns"}
    ways = (way,) if way in ("forward", "backward") else ("forward", "backward")
    return ("sent", "lost", "not_sent", *(f"{each}_{name}" for each in ways for name in sorted(names)))


def margins(objective: Objective) -> tuple[int, int]:
    """ns to read before and after the window: the availability machine inherits its state and looks ahead."""
    if objective.metric is not Metric.AVAILABILITY:
        return 0, 0
    statistic = objective.statistic
    dt = statistic.block_ns or statistic.dt_ns or _LONGEST_SPAN_NS
    run = machine_of(statistic)[0] * dt + beside_ns(statistic, dt)
    return WARM_UP_NS + run, run
