"""One direction of a probe that measures both, as if it were all there is. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.sla.case import Feed, UnusableError
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import Metric, Objective

_ONE_WAY = (Metric.DELAY, Metric.JITTER, Metric.LOSS, Metric.MOS)


def one_way(objective: Objective) -> bool:
    """True where the objective is about packets of one direction, or of the worse of both."""
    metric, way = objective.metric, objective.statistic.direction
    return metric is Metric.DELAY or (metric in _ONE_WAY and way != "round_trip")


def both_ways(objective: Objective) -> bool:
    """The worse of two directions is promised, each judged by itself."""
    return one_way(objective) and objective.statistic.direction in ("worst", "round_trip")


def facing(objective: Objective, feed: Feed) -> Feed:
    """The feed in the objective's direction, its rows in order. Raises UnusableError where that was not measured."""
    columns = feed.columns.in_order()
    if not one_way(objective):
        return feed if columns is feed.columns else replace(feed, columns=columns)
    return replace(feed, columns=_view(columns, objective.statistic.direction))


def _view(columns: SampleColumns, way: str) -> SampleColumns:
    """The columns of that direction under the names of the round trip."""
    names = ("sent", "lost", "delay_count", "delay_sum_ns", "delay_min_ns", "delay_max_ns")
    values = [getattr(columns, f"{way}_{name}") for name in names]
    if any(not isinstance(item, np.ndarray) for item in values):
        raise UnusableError(
            f"probe {columns.probe} does not measure {way} by itself: it stamps packets at this end only"
        )
    sent, lost, count, total, least, most = values
    return replace(
        columns,
        sent=sent,
        lost=lost,
        late=np.zeros_like(sent),
        rtt_count=count,
        rtt_sum_ns=total,
        rtt_min_ns=least,
        rtt_max_ns=most,
        rtt_p50_ns=None,
        rtt_p95_ns=None,
        rtt_p99_ns=None,
        ipdv_pairs=None,
        ipdv_abs_sum_ns=None,
        rfc3550_ns=None,
        histogram=getattr(columns, f"{way}_histogram"),
    )
