"""What an objective must be given: columns of its probe's samples, and time beside its window. Pure."""

from __future__ import annotations

from typing import Final

from agent.sla.contract import JitterDefinition, Metric, Objective, StatisticType
from agent.sla.uptime import WARM_UP_NS
from probes.core.clock import SECOND

_PERCENTILES: Final = (
    "rtt_count", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns", "histogram",
)  # fmt: skip
_LONGEST_SPAN_NS: Final = 60 * SECOND
"""Taken for dt where the contract leaves it to the samples: how far to read before and after a window."""


def columns_for(objective: Objective) -> tuple[str, ...]:
    """Names of SampleColumns beside start_ns, span_ns and state."""
    if objective.metric is Metric.THROUGHPUT:
        return ("forward_bps", "backward_bps")
    if objective.metric is Metric.AVAILABILITY:
        return ("sent", "lost", "not_sent")
    if objective.metric is Metric.LOSS:
        return ("sent", "lost", "late", "not_sent")
    if objective.metric is Metric.JITTER and objective.statistic.definition is not JitterDefinition.PDV:
        ipdv = objective.statistic.definition is JitterDefinition.IPDV
        return ("sent", "not_sent", *(("ipdv_pairs", "ipdv_abs_sum_ns") if ipdv else ("rfc3550_ns",)))
    if objective.statistic.type is StatisticType.PERCENTILE:
        return ("sent", "not_sent", *_PERCENTILES)
    return ("sent", "not_sent", "rtt_count", "rtt_sum_ns")


def margins(objective: Objective) -> tuple[int, int]:
    """ns to read before and after the window: the availability machine inherits its state and looks ahead."""
    if objective.metric is not Metric.AVAILABILITY:
        return 0, 0
    run = objective.statistic.n * (objective.statistic.dt_ns or _LONGEST_SPAN_NS)
    return WARM_UP_NS + run, run
