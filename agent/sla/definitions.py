"""The definition behind every number of a verdict, with its standard. Pure."""

from __future__ import annotations

from agent.sla.contract import JitterDefinition, Metric, Objective, StatisticType
from probes.core.units import format_duration

_JITTER = {
    JitterDefinition.IPDV: "|D(i) - D(i-1)| of consecutive packets that both arrived (RFC 3393, RFC 5481 4.1)",
    JitterDefinition.RFC3550: "interarrival jitter estimator at the end of each sample (RFC 3550 6.4.1)",
    JitterDefinition.PDV: "D(i) - smallest D of the window (RFC 5481 4.2)",
}
_JITTER_NAMES = {JitterDefinition.IPDV: "|IPDV|", JitterDefinition.RFC3550: "RFC 3550", JitterDefinition.PDV: "PDV"}


def definition(objective: Objective, dt_ns: int | None = None) -> str:
    """What was computed and by which document."""
    statistic = objective.statistic
    if objective.metric is Metric.AVAILABILITY:
        return (
            f"share of intervals available by the state machine of MEF 10.4 8.8.7: dt = "
            f"{format_duration(dt_ns) if dt_ns else 'sample interval'}, n = {statistic.n}, C = {statistic.c}"
        )
    if objective.metric is Metric.LOSS:
        text = "packets without an answer within the probe's timeout / packets sent (RFC 7680, two-way)"
    elif objective.metric is Metric.JITTER:
        text = f"{_how(objective)} of {_JITTER[statistic.definition]}"
    elif objective.metric is Metric.THROUGHPUT:
        direction = statistic.direction if _one_way(objective) else "worst"
        text = f"{_how(objective)} of capacity runs, {direction} direction, layer 4 payload"
    else:
        text = f"{_how(objective)} of round-trip delay (RFC 2681) of packets answered in time"
    return text + (", available time only (MEF 10.4)" if objective.only_available_time else "")


def name(objective: Objective) -> str:
    """Short name of the statistic: `round-trip time p95`, `jitter mean |IPDV|`."""
    statistic = objective.statistic
    if objective.metric in (Metric.AVAILABILITY, Metric.LOSS):
        return objective.metric.value
    if objective.metric is Metric.JITTER:
        return f"jitter {_short(objective)} {_JITTER_NAMES[statistic.definition]}"
    if objective.metric is Metric.THROUGHPUT:
        where = f" {statistic.direction}" if _one_way(objective) else ""
        return f"throughput{where} {_short(objective)}"
    return f"round-trip time {_short(objective)}"


def _one_way(objective: Objective) -> bool:
    return objective.statistic.direction in ("forward", "backward")


def _short(objective: Objective) -> str:
    p = objective.statistic.p
    if p is None:
        return objective.statistic.type.value
    percent = p * 100
    return f"p{percent.numerator if percent.denominator == 1 else float(percent)}"


def _how(objective: Objective) -> str:
    if objective.statistic.type is StatisticType.PERCENTILE:
        return f"{_short(objective)} by nearest rank (RFC 2330 11.3)"
    return {StatisticType.MEAN: "arithmetic mean", StatisticType.MINIMUM: "smallest"}[objective.statistic.type]
