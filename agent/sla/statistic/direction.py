"""One direction of a probe that measures both, as if it were all there is. Pure.

A one-way delay is known of packets that were answered: one that was lost on either way has none. Where packets were
answered and their delay is withheld, because a clock is not synchronised, or where nobody counted what was lost, the
row says nothing: it is missing data, with that reason.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from agent.sla.case import Feed, UnusableError
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.feeds import ONE_WAY_KINDS
from agent.sla.samples.measured import feeds_verdict
from agent.sla.samples.texts import Texts
from agent.sla.terms.contract import JitterDefinition, Metric, Objective
from agent.sla.time.spans import Flags
from probes.core.arrays import ABSENT, Int64
from probes.core.model import SampleState

_ONE_WAY: Final = (Metric.DELAY, Metric.JITTER, Metric.LOSS, Metric.MOS)
_VIEWED: Final = {
    "rtt_count": "delay_count", "rtt_sum_ns": "delay_sum_ns", "rtt_min_ns": "delay_min_ns",
    "rtt_max_ns": "delay_max_ns", "rtt_p50_ns": "delay_p50_ns", "rtt_p95_ns": "delay_p95_ns",
    "rtt_p99_ns": "delay_p99_ns", "rtt_stddev_ns": "delay_stddev_ns", "ipdv_pairs": "ipdv_pairs",
    "ipdv_abs_sum_ns": "ipdv_abs_sum_ns", "ipdv_p95_ns": "ipdv_p95_ns", "pdv_p95_ns": "pdv_p95_ns",
    "rfc3550_ns": "rfc3550_ns", "error_ns": "error_ns", "histogram": "histogram",
}  # fmt: skip
"""Column of a view: that of the direction."""
UNTOLD: Final = "one-way delay not known"
UNCOUNTED: Final = "far end does not count packets"
UNANSWERED: Final = "no reply told which way packets were lost"


def one_way(objective: Objective) -> bool:
    """True where the objective is about packets of one direction, or of the worse of both."""
    metric, way = objective.metric, objective.statistic.direction
    return metric is Metric.DELAY or (metric in _ONE_WAY and way != "round_trip")


def both_ways(objective: Objective) -> bool:
    """The worse of two directions is promised, each judged by itself."""
    return one_way(objective) and objective.statistic.direction in ("worst", "round_trip")


def by_delay(objective: Objective) -> bool:
    """It needs both clocks. The difference of two delays does not: their offset cancels."""
    jitter = objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.PDV
    return objective.metric in (Metric.DELAY, Metric.MOS) or jitter


def by_loss(objective: Objective) -> bool:
    """It needs a far end that counts."""
    return objective.metric in (Metric.LOSS, Metric.MOS) or objective.statistic.lost == "infinite"


def facing(objective: Objective, feed: Feed) -> Feed:
    """The feed in the objective's direction, its rows in order. Raises UnusableError where that was not measured."""
    columns = feed.columns.in_order()
    if not one_way(objective):
        return feed if columns is feed.columns else replace(feed, columns=columns)
    way, delay, loss = objective.statistic.direction, by_delay(objective), by_loss(objective)
    return replace(feed, columns=columns.once(("view", way, delay, loss), lambda: _view(columns, way, delay, loss)))


def _view(columns: SampleColumns, way: str, delay: bool, loss: bool) -> SampleColumns:
    """The columns of that direction under the names of the round trip. delay, loss: what a row must tell to count."""
    count, sent, lost = (getattr(columns, f"{way}_{name}") for name in ("delay_count", "sent", "lost"))
    there = all(isinstance(item, np.ndarray) for item in (count, sent, lost))
    if not there or (columns.kind not in ONE_WAY_KINDS and not ((count != ABSENT) | (sent != ABSENT)).any()):
        raise UnusableError(
            f"probe {columns.probe} does not measure {way} by itself: it stamps packets at this end only"
        )
    answered = columns.column("sent") - np.maximum(columns.column("lost"), 0) > 0
    uncounted = (sent == ABSENT) | (lost == ABSENT) if loss else np.zeros(len(columns), np.bool_)
    untold = answered & (count <= 0) if delay else np.zeros(len(columns), np.bool_)
    unknown = (uncounted | untold) & feeds_verdict(columns)
    values = {name: getattr(columns, f"{way}_{own}") for name, own in _VIEWED.items()}
    return replace(
        columns,
        way=way,
        state=np.where(unknown, SampleState.INVALID.code, columns.state),
        sent=sent if loss else columns.sent,
        lost=lost,
        late=np.zeros_like(sent),
        withheld=_reasons(columns, way, unknown, untold, answered) if unknown.any() else None,
        **values,
    )


def _reasons(columns: SampleColumns, way: str, unknown: Flags, untold: Flags, answered: Flags) -> Texts:
    """Why each of the unknown rows says nothing."""
    told = Texts.of(getattr(columns, f"{way}_withheld") or (None,) * len(columns))
    first = len(told.words)
    words = (*told.words, UNTOLD, UNCOUNTED, UNANSWERED)
    code: Int64 = np.where(answered, first + 2, first + 3)
    code = np.where(untold, np.where(told.there, told.code, first + 1), code)
    return Texts(np.where(unknown, code, 0), words)
