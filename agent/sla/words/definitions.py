"""The definition behind every number of a verdict, with its standard. Pure."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from agent.sla.terms.contract import Direction, JitterDefinition, Metric, Objective, Statistic, StatisticType
from agent.sla.words.wording import DELAY, LOSS, QUALITY, RATE, Plain, plural, quantity
from probes.core.units import format_duration

_JITTER: Final = {
    JitterDefinition.IPDV: "|D(i) - D(i-1)| of consecutive packets that both arrived (RFC 3393, RFC 5481 4.1)",
    JitterDefinition.IFDV: "|D(b) - D(a)| of packets sent {tau} apart that both arrived (MEF 10.4 8.8.5)",
    JitterDefinition.RFC3550: "interarrival jitter estimator at the end of each sample (RFC 3550 6.4.1)",
    JitterDefinition.PDV: "D(i) - smallest D of the window (RFC 5481 4.2)",
}
_JITTER_NAMES: Final = {
    JitterDefinition.IPDV: "|IPDV|",
    JitterDefinition.IFDV: "|IFDV|",
    JitterDefinition.RFC3550: "RFC 3550",
    JitterDefinition.PDV: "PDV",
}
_LIMITS: Final[dict[Metric, Plain]] = {Metric.LOSS: LOSS, Metric.THROUGHPUT: RATE, Metric.MOS: QUALITY}
_METRIC_NAMES: Final = {
    Metric.RTT: "round-trip time",
    Metric.DELAY: "one-way delay",
    Metric.JITTER: "jitter",
    Metric.LOSS: "loss",
    Metric.MOS: "MOS",
    Metric.THROUGHPUT: "throughput",
    Metric.AVAILABILITY: "availability",
    Metric.OUTAGE: "outages",
}
_OUTAGES: Final = {
    StatisticType.COUNT: "outages",
    StatisticType.TOTAL: "total outage time",
    StatisticType.LONGEST: "longest outage",
    StatisticType.MTTR: "mean time to repair",
    StatisticType.MTTF: "mean time to failure",
    StatisticType.MTBF: "mean time between failures",
}


def definition(objective: Objective, dt_ns: int | None = None) -> str:
    """What was computed and by which document."""
    text = _METRICS[objective.metric](objective, dt_ns)
    scope = objective.scope
    if scope is not None and scope.aggregation == "at_least":
        text += f", at least {scope.k} of {len(scope.members)} circuits at the same instant (MEF 10.4 8.8.11)"
    elif scope is not None:
        text += f", the {scope.aggregation} of {len(scope.members)} circuits"
    return text + (", available time only (MEF 10.4)" if objective.only_available_time else "")


def name(objective: Objective) -> str:
    """Short name of the statistic: `round-trip time p95`, `jitter mean |IPDV|`."""
    metric, statistic = objective.metric, objective.statistic
    if metric is Metric.OUTAGE:
        return _OUTAGES[statistic.type]
    if metric is Metric.AVAILABILITY and objective.unit.value == "ratio":
        return "availability"
    if metric is Metric.AVAILABILITY:
        return _short(objective)
    if metric is Metric.EVENT:
        return f"{objective.events.kind if objective.events else 'event'} {_short(objective)}"
    if metric is Metric.LOSS and statistic.type is StatisticType.RATIO:
        return f"loss{_where(statistic.direction)}"
    of = f" {_JITTER_NAMES[statistic.definition]}" if metric is Metric.JITTER else ""
    return f"{_METRIC_NAMES[metric]}{_where(statistic.direction)} {_short(objective)}{of}"


def _where(direction: Direction) -> str:
    return f" {direction}" if direction in ("forward", "backward") else ""


def _availability(objective: Objective, dt_ns: int | None) -> str:
    statistic = objective.statistic
    if statistic.type is StatisticType.AVAILABILITY_BLOCKS:
        return (
            f"share of blocks of {_span(statistic.block_ns)} with at most {_limit(LOSS, statistic.c)} of "
            f"{statistic.least_packets} or more packets lost (Y.1540 section 7)"
        )
    if statistic.type is StatisticType.AVAILABILITY_OUTAGE:
        return f"1 - outage time / window, {_outages(statistic)}"
    machine = (
        f"by the state machine of MEF 10.4 8.8.7: dt = {format_duration(dt_ns) if dt_ns else 'sample interval'}, "
        f"n = {statistic.n}, C = {statistic.c}"
    )
    if statistic.type is StatisticType.AVAILABILITY_SECONDS:
        return f"share of seconds available (Y.1563, G.826), {machine}"
    if statistic.type is StatisticType.HIGH_LOSS_INTERVALS:
        return f"number of available intervals with high loss (MEF 10.4 8.8.8), {machine}"
    if statistic.type is StatisticType.CONSECUTIVE_HIGH_LOSS:
        return (
            f"number of runs of {statistic.p_intervals} or more available intervals with high loss (MEF 10.4 8.8.9), "
            f"{machine}"
        )
    return f"share of intervals available {machine}"


def _outages(statistic: Statistic) -> str:
    parts = [
        "outages of any length" if not statistic.minimum_ns else f"outages of {_span(statistic.minimum_ns)} or more"
    ]
    if statistic.join_ns:
        parts.append(f"joined where less than {_span(statistic.join_ns)} apart")
    if statistic.minimum_ns and statistic.count_from == "threshold":
        parts.append(f"counted from the end of their first {_span(statistic.minimum_ns)}")
    parts.append("on the contract's repair clock" if statistic.clock == "contract" else "as measured")
    return ", ".join(parts)


def _outage(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001 # one signature for all metrics
    statistic = objective.statistic
    what = {
        StatisticType.COUNT: "number of outages that start in the window",
        StatisticType.TOTAL: "outage time in the window",
        StatisticType.LONGEST: "longest outage that starts in the window",
        StatisticType.MTTR: "mean duration of the outages that start in the window (MEF 61.1)",
        StatisticType.MTTF: "time up / outages that start in the window",
        StatisticType.MTBF: "MTTF + MTTR of the outages that start in the window",
    }[statistic.type]
    return f"{what}, {_outages(statistic)}"


def _loss(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001
    way = objective.statistic.direction
    of = "packets without an answer within the probe's timeout / packets sent (RFC 7680, two-way)"
    if way != "round_trip":
        of = f"packets lost / packets sent (RFC 7680, {way})"
    return of if objective.statistic.type is StatisticType.RATIO else f"{_how(objective)} of {of}"


def _delay(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001
    if objective.metric is Metric.DELAY:
        of = f"one-way delay (RFC 7679, {objective.statistic.direction})"
    else:
        of = "round-trip delay (RFC 2681) of packets answered in time"
    lost = ", lost packets count as infinite (RFC 7679)" if objective.statistic.lost == "infinite" else ""
    return f"{_how(objective)} of {of}{lost}"


def _jitter(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001
    statistic = objective.statistic
    return f"{_how(objective)} of {_JITTER[statistic.definition].format(tau=_span(statistic.tau_ns))}"


def _throughput(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001
    direction = objective.statistic.direction
    if direction not in ("forward", "backward"):
        direction = "worst"
    return f"{_how(objective)} of capacity runs, {direction} direction, layer 4 payload"


def _mos(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001
    way = objective.statistic.direction
    delay = "half the mean round trip" if way == "round_trip" else f"mean one-way delay {way}"
    coding = 25 if objective.statistic.codec == "g729a" else 20
    return (
        f"{_how(objective)} of the MOS of each sample by the E-model (G.107 simplified, codec "
        f"{objective.statistic.codec}), delay from mouth to ear: {delay} + 40 ms jitter buffer + {coding} ms codec"
    )


def _event(objective: Objective, dt_ns: int | None) -> str:  # noqa: ARG001
    terms = objective.events
    if terms is None:
        return "imported events"
    clock = f", counted in {terms.hours.text or 'service hours'}" if terms.hours else ""
    of = f"time from {terms.start} to {terms.end} of {terms.kind} events"
    if objective.statistic.type is StatisticType.RATIO_WITHIN:
        return f"share of {terms.kind} events with {terms.end} within {_span_of(objective)} of {terms.start}{clock}"
    return f"{_how(objective)} of the {of}{clock}"


_METRICS: Final[dict[Metric, Callable[[Objective, int | None], str]]] = {
    Metric.RTT: _delay,
    Metric.DELAY: _delay,
    Metric.JITTER: _jitter,
    Metric.LOSS: _loss,
    Metric.MOS: _mos,
    Metric.THROUGHPUT: _throughput,
    Metric.AVAILABILITY: _availability,
    Metric.OUTAGE: _outage,
    Metric.EVENT: _event,
}


def _short(objective: Objective) -> str:
    statistic = objective.statistic
    if statistic.p is not None and statistic.type is StatisticType.PERCENTILE:
        percent = statistic.p * 100
        return f"p{percent.numerator if percent.denominator == 1 else float(percent)}"
    return {
        StatisticType.BIN_MEAN: f"mean of {_span(statistic.bin_ns)} means",
        StatisticType.RATIO_WITHIN: f"within {_span_of(objective)}",
        StatisticType.RATIO_OVER: f"over {_span_of(objective)}",
        StatisticType.SUSTAINED: f"over {_span_of(objective)} for {_span(statistic.run_ns)}",
        StatisticType.MAX_WINDOW: f"worst {_span(statistic.span_ns)}",
        StatisticType.HIGH_LOSS_INTERVALS: "high loss intervals",
        StatisticType.CONSECUTIVE_HIGH_LOSS: "consecutive high loss intervals",
    }.get(statistic.type, statistic.type.value)


def _how(objective: Objective) -> str:
    statistic = objective.statistic
    if statistic.type is StatisticType.PERCENTILE:
        return f"{_short(objective)} by nearest rank (RFC 2330 11.3)"
    each = f"{_span(statistic.bin_ns)} bins" if statistic.of == "bins" or statistic.bin_ns else statistic.of
    return {
        StatisticType.MEAN: "arithmetic mean",
        StatisticType.BIN_MEAN: f"mean of the means of {each}",
        StatisticType.MINIMUM: "smallest",
        StatisticType.CAPACITY: f"best in each {_span(statistic.bin_ns)}, the worst of those" if statistic.bin_ns
        else "best (RFC 9097 maximum)",
        StatisticType.LONGEST: "longest",
        StatisticType.RATIO_WITHIN: f"share of {each} at or within {_span_of(objective)}",
        StatisticType.RATIO_OVER: f"share of {each} beyond {_span_of(objective)}",
        StatisticType.SUSTAINED: f"number of runs of {each} beyond {_span_of(objective)} that last "
        f"{_span(statistic.run_ns)} or longer",
        StatisticType.MAX_WINDOW: f"worst mean over any continuous {_span(statistic.span_ns)}",
        StatisticType.RATIO: "ratio",
    }[statistic.type]  # fmt: skip


def _span(ns: int | None) -> str:
    return format_duration(ns) if ns else "one sample"


def _span_of(objective: Objective) -> str:
    limit = objective.statistic.limit
    if objective.statistic.limit_days is not None:
        return plural(objective.statistic.limit_days, "business day")
    if limit is None:
        return "its limit"
    if objective.metric is Metric.EVENT:
        return format_duration(int(limit))
    return _limit(_LIMITS.get(objective.metric, DELAY), limit)


def _limit(measure: Plain, value: Fraction) -> str:
    return quantity(measure, value).replace(".00 %", " %")
