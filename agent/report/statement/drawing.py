"""What is drawn: the smoke plot's buckets, outages and gaps on one axis, and small trends of the promises. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from agent.report.statement.buckets import Gathered, gather
from agent.report.statement.figures import clean
from agent.report.statement.model import BucketRow, Chart, ClockChange, Trend
from agent.report.statement.rows import Stretch
from agent.sla.assessment import Assessment
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.measured import feeds_verdict, held
from agent.sla.terms.contract import Metric, Objective, StatisticType
from agent.sla.time.calendar import WindowInstants, day_start, local_time
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.time.wall_clock import local_date, offsets
from agent.sla.time.zones import zone
from agent.sla.verdict import Verdict
from probes.core.arrays import Int64
from probes.core.clock import SECOND

COLUMNS: Final = ("sent", "lost", "rtt_count", "rtt_min_ns", "rtt_max_ns", "rtt_sum_ns", "histogram")
"""What a series must have to be drawn whole."""
MOST_BUCKETS: Final = 800
_LENGTHS_S: Final = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_LOG_FROM: Final = 8
"""Logarithmic where the slowest packets but one in twenty take so many times the usual delay."""
_FEWEST_DAYS: Final = 3
_MOST_DAYS: Final = 400


def pick(series: Iterable[SampleColumns], circuit: str) -> SampleColumns | None:
    """The circuit's stream that tells most: with delays and losses, then the one with most samples, then by name."""
    known = [
        item
        for item in series
        if item.circuit == circuit and item.sent is not None and item.rtt_count is not None and len(item)
    ]
    return min(known, key=lambda item: (item.histogram is None, -len(item), item.probe), default=None)


def complete(columns: SampleColumns | None) -> bool:
    """True where nothing is missing for a drawing."""
    return columns is not None and all(getattr(columns, name) is not None for name in COLUMNS)


def chart(assessment: Assessment, columns: SampleColumns | None) -> Chart | None:
    """The smoke plot of the period; None where no stream with delays was read."""
    if columns is None:
        return None
    period, until = assessment.period, max(min(assessment.as_of_ns, assessment.period.end_ns), 0)
    length = bucket_length(period.length_ns)
    edges = np.append(np.arange(period.start_ns, period.end_ns, length, dtype=np.int64), period.end_ns)
    found = gather(columns, edges)
    rows = tuple(_buckets(found, edges))
    return Chart(
        circuit=clean(columns.circuit),
        probe=clean(columns.probe),
        kind=clean(columns.kind),
        time_zone=period.zone,
        start_ns=period.start_ns,
        end_ns=period.end_ns,
        until_ns=max(until, period.start_ns),
        bucket_ns=length,
        based_on="histograms" if found.exact else "extremes",
        scale=_scale(rows),
        buckets=rows,
        down=_stretches(down_spans(assessment).within(period.start_ns, period.end_ns), "down"),
        excluded=_stretches(
            (assessment.ruling.time | assessment.ruling.up).within(period.start_ns, period.end_ns), "does not count"
        ),
        unknown=_stretches(_unknown(columns, period.start_ns, until), "not measured"),
        clock_changes=tuple(clock_changes(period)),
    )


def bucket_length(length_ns: int) -> int:
    """Shortest usual length in ns of which at most MOST_BUCKETS fill the period."""
    for seconds in _LENGTHS_S:
        if length_ns <= seconds * SECOND * MOST_BUCKETS:
            return seconds * SECOND
    day = 86400 * SECOND
    return -(-length_ns // (MOST_BUCKETS * day)) * day


def _buckets(found: Gathered, edges: Int64) -> Iterable[BucketRow]:
    middle = found.ranks[2] if found.exact else np.where(
        found.answered > 0, found.sum_ns // np.maximum(found.answered, 1), -1
    )  # fmt: skip
    nothing = np.full(len(middle), -1, np.int64)
    ranks = found.ranks if found.exact else np.array([nothing, nothing, middle, nothing, nothing])
    table = np.stack((edges[:-1], found.sent, found.lost, found.answered, found.low, *ranks, found.high)).T.tolist()
    for start, sent, lost, answered, *delays in table:
        low, p5, p25, p50, p75, p95, high = (None if value < 0 else value for value in delays)
        yield BucketRow(start, sent, lost, answered, low, p5, p25, p50, p75, p95, high)


def _scale(rows: Sequence[BucketRow]) -> Literal["log", "linear"]:
    usual = sorted(row.p50_ns for row in rows if row.p50_ns)
    largest = max((row.p95_ns or row.p100_ns or 0 for row in rows), default=0)
    return "log" if usual and largest > _LOG_FROM * usual[len(usual) // 2] else "linear"


def down_spans(assessment: Assessment) -> Spans:
    """All time certainly down: of the incidents, and of the outages that availability verdicts name."""
    found = NOWHERE
    for incident in assessment.incidents:
        found = found | incident.down
    pairs: list[tuple[int, int]] = []
    for verdict in assessment.verdicts:
        outages = verdict.evidence.get("outages") if verdict.objective.metric is Metric.AVAILABILITY else None
        for outage in outages if isinstance(outages, tuple) else ():
            if isinstance(outage, Mapping) and isinstance(start := outage.get("start_ns"), int):
                end = outage.get("end_ns")
                pairs.append((start, end if isinstance(end, int) else assessment.as_of_ns))
    return found | Spans.of(pairs)


def _unknown(columns: SampleColumns, start_ns: int, end_ns: int) -> Spans:
    if end_ns <= start_ns:
        return NOWHERE
    return Spans.of([(start_ns, end_ns)]) - held(columns, feeds_verdict(columns), 0)


def _stretches(spans: Spans, label: str) -> tuple[Stretch, ...]:
    return tuple(Stretch(start, end, label) for start, end in spans)


def clock_changes(period: WindowInstants) -> Iterable[ClockChange]:
    """Instants in the period at which the zone moves its clocks, with the names of the time before and after."""
    info = zone(period.zone).info
    first, last = local_time(period.start_ns, info).year, local_time(period.end_ns, info).year
    stretches = [item for year in range(first - 1, last + 2) for item in offsets(period.zone, year)]
    for before, after in pairwise(stretches):
        at = after[0]
        if before[2] != after[2] and period.start_ns < at < period.end_ns:
            yield ClockChange(at, f"{local_time(at - SECOND, info):%Z}", f"{local_time(at, info):%Z}")


def day_edges(period: WindowInstants) -> Int64:
    """Local midnights of the period with its two ends, UTC ns."""
    info, edges = zone(period.zone).info, [period.start_ns]
    day = local_date(period.start_ns, period.zone)
    while len(edges) <= _MOST_DAYS:
        day += timedelta(days=1)
        at = day_start(day, info)
        if at >= period.end_ns:
            break
        if at > edges[-1]:
            edges.append(at)
    return np.array([*edges, period.end_ns], np.int64)


def trends(assessment: Assessment, columns: SampleColumns | None) -> tuple[Trend, ...]:
    """Of a promise with many windows, their values; of one about the whole period, days where the samples tell."""
    by_objective: dict[str, list[Verdict]] = {}
    for verdict in assessment.verdicts:
        by_objective.setdefault(verdict.objective.id, []).append(verdict)
    edges = day_edges(assessment.period)
    found = []
    for identity, verdicts in by_objective.items():
        objective, target = verdicts[0].objective, verdicts[0].target
        if len(verdicts) >= _FEWEST_DAYS:
            found.append(Trend(clean(identity), "windows", tuple(item.value for item in verdicts), target))
        elif len(verdicts) == 1 and _FEWEST_DAYS < len(edges) <= _MOST_DAYS:
            points = _daily(objective, assessment, columns, edges)
            if sum(point is not None for point in points) >= _FEWEST_DAYS:
                found.append(Trend(clean(identity), "days", points, target))
    return tuple(found)


def _daily(
    objective: Objective, assessment: Assessment, columns: SampleColumns | None, edges: Int64
) -> tuple[Fraction | None, ...]:
    """Value of each day; none where this statistic cannot be told by the day from what is there."""
    if objective.metric is Metric.AVAILABILITY:
        return _daily_availability(assessment, edges)
    plain = objective.scope is None and objective.statistic.direction == "round_trip" and objective.hours is None
    if columns is None or not plain:
        return ()
    if objective.metric is Metric.LOSS and objective.statistic.type is StatisticType.RATIO:
        found = gather(columns, edges, ())
        return tuple(_ratio(lost, sent) for lost, sent in zip(found.lost, found.sent, strict=True))
    if objective.metric is not Metric.RTT:
        return ()
    if objective.statistic.type is StatisticType.MEAN and columns.rtt_sum_ns is not None:
        found = gather(columns, edges, ())
        return tuple(_ratio(total, count) for total, count in zip(found.sum_ns, found.answered, strict=True))
    p = objective.statistic.p
    if objective.statistic.type is StatisticType.PERCENTILE and p is not None and columns.histogram is not None:
        return tuple(None if value < 0 else Fraction(int(value)) for value in gather(columns, edges, (p,)).ranks[0])
    return ()


def _daily_availability(assessment: Assessment, edges: Int64) -> tuple[Fraction | None, ...]:
    start, end = edges[:-1], np.minimum(edges[1:], max(assessment.as_of_ns, int(edges[0])))
    out = assessment.ruling.time
    counted = np.maximum(end - start, 0) - out.cover(start, np.maximum(end, start))
    down = (down_spans(assessment) - out).cover(start, np.maximum(end, start))
    return tuple(None if not whole else 1 - Fraction(int(gone), int(whole))
                 for gone, whole in zip(down, counted, strict=True))  # fmt: skip


def _ratio(part: int, whole: int) -> Fraction | None:
    return Fraction(int(part), int(whole)) if whole else None
