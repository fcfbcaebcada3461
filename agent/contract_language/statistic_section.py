"""Statistics of an objective: which metric takes which, what each needs, and its limits in the metric's unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Final, Literal

from agent.contract_language.readers import as_percent, as_percentile, as_value
from agent.document import Contradiction, Field, Model, as_duration
from agent.sla.terms.contract import Direction, JitterDefinition, LostPackets, Metric, Statistic, StatisticType
from agent.sla.terms.objective import Codec, Unit, unit_of
from agent.sla.terms.targets import parse_value
from probes.core.clock import MILLISECOND, SECOND
from probes.core.errors import LocalError

_T = StatisticType
_BUSINESS_DAYS: Final = re.compile(r"\s*([1-9]\d{0,2})\s*business\s+days?\s*")
_DAY: Final = 86400 * SECOND
_OF_PACKETS: Final = (_T.MEAN, _T.BIN_MEAN, _T.PERCENTILE, _T.RATIO_WITHIN, _T.RATIO_OVER, _T.SUSTAINED, _T.MAX_WINDOW)
_OUTAGES: Final = (_T.COUNT, _T.TOTAL, _T.LONGEST, _T.MTTR, _T.MTTF, _T.MTBF)
STATISTICS: Final[dict[Metric, tuple[StatisticType, ...]]] = {
    Metric.RTT: _OF_PACKETS,
    Metric.DELAY: _OF_PACKETS,
    Metric.JITTER: _OF_PACKETS,
    Metric.LOSS: (_T.RATIO, _T.BIN_MEAN, _T.RATIO_WITHIN, _T.RATIO_OVER, _T.SUSTAINED, _T.MAX_WINDOW),
    Metric.MOS: (_T.MEAN, _T.PERCENTILE, _T.MINIMUM, _T.RATIO_WITHIN, _T.RATIO_OVER),
    Metric.THROUGHPUT: (_T.MINIMUM, _T.MEAN, _T.PERCENTILE, _T.RATIO_WITHIN, _T.RATIO_OVER, _T.CAPACITY),
    Metric.AVAILABILITY: (
        _T.AVAILABILITY_MEF, _T.AVAILABILITY_SECONDS, _T.AVAILABILITY_BLOCKS, _T.AVAILABILITY_OUTAGE,
        _T.HIGH_LOSS_INTERVALS, _T.CONSECUTIVE_HIGH_LOSS,
    ),
    Metric.OUTAGE: _OUTAGES,
    Metric.EVENT: (_T.RATIO_WITHIN, _T.MEAN, _T.PERCENTILE, _T.LONGEST, _T.COUNT),
}  # fmt: skip
USUAL: Final = {
    Metric.JITTER: _T.MEAN,
    Metric.LOSS: _T.RATIO,
    Metric.AVAILABILITY: _T.AVAILABILITY_MEF,
}
"""Statistic of a metric that needs none to be named."""
_JITTER: Final[dict[StatisticType, tuple[str, ...]]] = {
    _T.MEAN: ("ipdv", "ifdv", "rfc3550", "pdv"),
    _T.PERCENTILE: ("ipdv", "ifdv", "pdv", "rfc3550"),
}
_MACHINE: Final = (
    _T.AVAILABILITY_MEF,
    _T.AVAILABILITY_SECONDS,
    _T.AVAILABILITY_OUTAGE,
    _T.HIGH_LOSS_INTERVALS,
    _T.CONSECUTIVE_HIGH_LOSS,
)
_SECONDS_N: Final = 10
"""Seconds in a row that change the state: Y.1563, G.826."""
_LIMITED: Final = (_T.RATIO_WITHIN, _T.RATIO_OVER, _T.SUSTAINED)
_TIMED: Final = (_T.AVAILABILITY_OUTAGE, *_OUTAGES)
_DELAYS: Final = (Metric.RTT, Metric.DELAY)
_ONE_WAY: Final = (Metric.DELAY, Metric.LOSS, Metric.JITTER, Metric.THROUGHPUT)
"""Metrics of which a direction can be asked for."""
_NEEDS: Final[dict[StatisticType, tuple[tuple[str, str], ...]]] = {
    _T.PERCENTILE: (("p", "a percentile needs `p`, such as `p: 95`"),),
    _T.BIN_MEAN: (("bin", "a mean of bins needs the length of a `bin`, such as `bin: 5m`"),),
    _T.RATIO_WITHIN: (("limit", "a share within a limit needs the `limit`, such as `limit: 30ms`"),),
    _T.RATIO_OVER: (("limit", "a share over a limit needs the `limit`, such as `limit: 30ms`"),),
    _T.SUSTAINED: (
        ("limit", "a sustained run needs the `limit` it is beyond, such as `limit: 75ms`"),
        ("bin", "a sustained run needs the length of a `bin`, such as `bin: 1h`"),
        ("run", "a sustained run needs its length, such as `run: 4h`"),
    ),
    _T.MAX_WINDOW: (("span", "a worst window needs its length, such as `span: 15m`"),),
    _T.AVAILABILITY_BLOCKS: (("block", "availability by blocks needs their length, such as `block: 5m`"),),
}


class StatisticSection(Model):
    """How the samples of a window become one number; which keys a type takes, docs/contracts.md says."""

    type: Literal[tuple(item.value for item in StatisticType)]  # type: ignore[valid-type]
    p: Annotated[Fraction | None, as_percentile()] = None
    definition: Literal["ipdv", "ifdv", "rfc3550", "pdv"] | None = None
    direction: Direction | None = None
    dt: Annotated[int | None, as_duration(100 * MILLISECOND, 3600 * SECOND)] = None
    n: Annotated[int | None, Field(ge=1, le=1000)] = None
    c: Annotated[Fraction | None, as_percent(below_100=True)] = None
    limit: Annotated[str | None, as_value(("30ms", "0.1 %", "95Mbit/s"))] = None
    of: Literal["packets", "bins", "runs"] | None = None
    lost: LostPackets | None = None
    bin: Annotated[int | None, as_duration(SECOND, 31 * _DAY)] = None
    run: Annotated[int | None, as_duration(SECOND, 31 * _DAY)] = None
    span: Annotated[int | None, as_duration(SECOND, 31 * _DAY)] = None
    tau: Annotated[int | None, as_duration(MILLISECOND, 3600 * SECOND)] = None
    p_intervals: Annotated[int | None, Field(ge=1, le=1000)] = None
    block: Annotated[int | None, as_duration(SECOND, _DAY)] = None
    least_packets: Annotated[int | None, Field(ge=1, le=10**6)] = None
    minimum_outage: Annotated[int | None, as_duration(SECOND, 31 * _DAY)] = None
    join: Annotated[int | None, as_duration(SECOND, _DAY)] = None
    count_from: Literal["start", "threshold"] | None = None
    clock: Literal["measured", "contract"] | None = None
    codec: Codec | None = None

    def contradictions(self) -> Iterator[Contradiction]:
        if self.p_intervals is not None and self.p_intervals >= (self.n or Statistic(_T.MEAN).n):
            yield ("p_intervals",), "must be below `n`: n high intervals in a row are an outage (MEF 10.4 8.8.9)"
        if self.run is not None and self.bin is not None and self.run < self.bin:
            yield ("run",), "is shorter than one `bin`"
        if self.count_from == "threshold" and self.minimum_outage is None:
            yield ("count_from",), "there is no threshold without `minimum_outage`"

    def built(self, metric: Metric) -> Statistic:
        plain = Statistic(StatisticType(self.type))
        by_seconds = plain.type is _T.AVAILABILITY_SECONDS
        days = business_days(metric, self.limit)
        limit = None
        if self.limit is not None and days is None:
            limit = parse_value(limit_unit(metric), metric, self.limit)
        return Statistic(
            plain.type,
            self.p,
            JitterDefinition(self.definition) if self.definition else plain.definition,
            self.direction or ("worst" if metric is Metric.THROUGHPUT else plain.direction),
            self.dt or (SECOND if by_seconds else None),
            self.n or (_SECONDS_N if by_seconds else plain.n),
            plain.c if self.c is None else self.c,
            limit,
            self.of or usual_of(metric),
            self.lost or plain.lost,
            self.bin,
            self.run,
            self.span,
            self.tau,
            self.p_intervals or plain.p_intervals,
            self.block,
            self.least_packets or plain.least_packets,
            self.minimum_outage or 0,
            self.join or 0,
            self.count_from or plain.count_from,
            self.clock or plain.clock,
            self.codec or plain.codec,
            days,
        )


def usual_of(metric: Metric) -> Literal["packets", "bins", "runs"]:
    if metric is Metric.THROUGHPUT:
        return "runs"
    return "bins" if metric in (Metric.LOSS, Metric.MOS) else "packets"


def business_days(metric: Metric, limit: str | None) -> int | None:
    """Of a limit of events such as `17 business days`; None where it is no such limit."""
    found = _BUSINESS_DAYS.fullmatch(limit) if limit is not None and metric is Metric.EVENT else None
    return int(found[1]) if found else None


def limit_unit(metric: Metric) -> Unit:
    """Unit of a limit: that of the metric itself."""
    return Unit.DURATION if metric is Metric.EVENT else unit_of(metric, _T.MINIMUM)


def unfit(metric: Metric, statistic: StatisticSection | None) -> Iterator[Contradiction]:
    """What is wrong between a metric and its statistic."""
    allowed = STATISTICS[metric]
    names = ", ".join(allowed)
    if statistic is None:
        if metric not in USUAL:
            yield (), f"an objective on {metric} needs its `statistic: {{type: ...}}` (allowed: {names})"
        return
    kind = StatisticType(statistic.type)
    if kind not in allowed:
        yield ("statistic", "type"), f"{metric} has no statistic {kind.value!r} (allowed: {names})"
        return
    for key, message in _NEEDS.get(kind, ()):
        if getattr(statistic, key) is None:
            yield ("statistic",), message
    if metric is Metric.JITTER:
        yield from _unfit_definition(kind, statistic)
    if metric is Metric.DELAY and statistic.direction in (None, "round_trip"):
        yield ("statistic",), "one-way delay needs its `direction` (allowed: forward, backward, worst)"
    yield from _superfluous(metric, kind, statistic)
    yield from _unfit_limit(metric, statistic)


def _unfit_definition(kind: StatisticType, statistic: StatisticSection) -> Iterator[Contradiction]:
    definition, allowed = statistic.definition, _JITTER.get(kind, ("ipdv", "rfc3550", "pdv"))
    if definition is None:
        if kind is _T.PERCENTILE:
            yield ("statistic",), f"a percentile of jitter needs its `definition` (allowed: {', '.join(allowed)})"
    elif definition not in allowed:
        message = f"the {kind.value} of {definition} is not defined (allowed: {', '.join(allowed)})"
        yield ("statistic", "definition"), message
    if definition == "ifdv" and statistic.tau is None:
        yield ("statistic",), "ifdv needs the distance of its pairs, such as `tau: 1s`"
    if definition != "ifdv" and statistic.tau is not None:
        yield ("statistic", "tau"), "only ifdv has a `tau`"


def _superfluous(metric: Metric, kind: StatisticType, statistic: StatisticSection) -> Iterator[Contradiction]:
    """Keys that are set and would be ignored."""
    shares = kind in (_T.RATIO_WITHIN, _T.RATIO_OVER)
    machine = kind in _MACHINE
    fits = {
        "p": kind is _T.PERCENTILE,
        "definition": metric is Metric.JITTER,
        "direction": metric in _ONE_WAY,
        "dt": machine,
        "n": machine,
        "c": machine or kind is _T.AVAILABILITY_BLOCKS,
        "limit": kind in _LIMITED,
        "of": shares and metric is not Metric.EVENT,
        "lost": metric in _DELAYS and kind in (_T.PERCENTILE, _T.RATIO_WITHIN, _T.RATIO_OVER),
        "bin": kind in (_T.BIN_MEAN, _T.SUSTAINED, _T.CAPACITY) or (shares and metric is not Metric.EVENT),
        "run": kind is _T.SUSTAINED,
        "span": kind is _T.MAX_WINDOW,
        "tau": metric is Metric.JITTER,
        "p_intervals": kind is _T.CONSECUTIVE_HIGH_LOSS,
        "block": kind is _T.AVAILABILITY_BLOCKS,
        "least_packets": kind is _T.AVAILABILITY_BLOCKS,
        "minimum_outage": kind in _TIMED and metric is not Metric.EVENT,
        "join": kind in _TIMED and metric is not Metric.EVENT,
        "count_from": kind in _TIMED and metric is not Metric.EVENT,
        "clock": kind in _TIMED and metric is not Metric.EVENT,
        "codec": metric is Metric.MOS,
    }
    for key, fit in fits.items():
        if getattr(statistic, key) is not None and not fit:
            yield ("statistic", key), f"`{key}` has no meaning for {metric} as {kind.value}"


def _unfit_limit(metric: Metric, statistic: StatisticSection) -> Iterator[Contradiction]:
    if statistic.limit is None or business_days(metric, statistic.limit) is not None:
        return
    try:
        parse_value(limit_unit(metric), metric, statistic.limit)
    except LocalError as error:
        yield ("statistic", "limit"), f"{error.message}: {error.hint}" if error.hint else error.message
