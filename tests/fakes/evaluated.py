"""Evaluate one objective on hand-made samples in a short window, without contract files or a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from agent.sla.case import Evaluation, Feed, Moment
from agent.sla.downtime.uptime import evaluate_availability
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.measured import Pace, pace
from agent.sla.statistic.evaluation import evaluate_statistic
from agent.sla.terms.contract import Metric, Objective
from agent.sla.time.calendar import WindowInstants
from agent.sla.verdict import VerdictState, decide
from probes.core.arrays import ABSENT, Packets
from probes.core.model import PacketState
from probes.metrics import histogram
from tests.fakes.columns import SECOND, SPAN, columns, packets

T0 = 1_800_000_000 * SECOND
"""2027-01-15 08:00 UTC: a multiple of every bin and block used here."""


def ranked(values: Sequence[int], p: Fraction) -> int:
    """Nearest rank, RFC 2330 11.3, by its definition: the smallest x with at least p of all values <= x."""
    ordered = sorted(values)
    return next(x for k, x in enumerate(ordered, 1) if Fraction(k, len(ordered)) >= p)


def row(
    place: int, delays: Sequence[int], lost: int = 0, *, before: int | None = None, **more: object
) -> dict[str, object]:
    """The sample of 10 s number `place`, of packets answered after these ns and some lost ones after them."""
    array = np.array(delays, np.int64)
    found = packets(T0 + place * SPAN, len(delays) + lost, lost, late=0, not_sent=0)
    if len(array):
        steps = np.abs(np.diff(np.concatenate(([before], array)) if before is not None else array))
        found |= {
            "rtt_count": len(array), "rtt_sum_ns": int(array.sum()),
            "rtt_min_ns": int(array.min()), "rtt_max_ns": int(array.max()),
            "rtt_p50_ns": ranked(delays, Fraction(1, 2)), "rtt_p95_ns": ranked(delays, Fraction(19, 20)),
            "rtt_p99_ns": ranked(delays, Fraction(99, 100)),
            "ipdv_pairs": len(steps), "ipdv_abs_sum_ns": int(steps.sum()), "rfc3550_ns": int(array.max() - array.min()),
            "histogram": histogram.build(array),
        }  # fmt: skip
    else:
        found |= {"rtt_count": 0, "ipdv_pairs": 0}
    return found | more


def window(samples: int, *, start: int = 0) -> WindowInstants:
    """So many samples of 10 s from T0 on."""
    return WindowInstants(T0 + start * SPAN, T0 + (start + samples) * SPAN, "window", "UTC", "month")


def kept(rows: Mapping[int, Sequence[int | None]], spacing: int = SECOND):  # a PacketReader
    """Packets by the place of their sample: the delay of each, None for a lost one, sent `spacing` apart."""
    stored = {}
    for place, delays in rows.items():
        answered = np.array([item is not None for item in delays])
        stored[T0 + place * SPAN] = Packets(
            np.arange(len(delays), dtype=np.int64) * spacing,
            np.array([ABSENT if item is None else item for item in delays], np.int64),
            np.where(answered, PacketState.ANSWERED, PacketState.LOST).astype(np.uint8),
        )
    return lambda _probe, starts: [stored.get(int(start)) for start in starts]


def evaluated(
    objective: Objective,
    data: SampleColumns | Sequence[dict[str, object]],
    length: int,
    *,
    start: int = 0,
    every_ns: int | None = SECOND,
    attempts: bool = False,
    timeout_ns: int | None = 3 * SECOND,
    now_ns: int | None = None,
    since_ns: int = T0,
    available: Objective | None = None,
    **more: object,
) -> Evaluation:
    """Over the window of `length` samples from number `start` on, closed unless now_ns says otherwise."""
    samples = data if isinstance(data, SampleColumns) else columns(list(data))
    when = window(length, start=start)
    moment = Moment(when.end_ns + 3600 * SECOND if now_ns is None else now_ns, since_ns, **more)  # type: ignore[arg-type]
    feed = Feed(
        samples, pace(samples, every_ns, attempts=attempts) if not attempts else Pace(every_ns, True), timeout_ns
    )
    if objective.metric is Metric.AVAILABILITY:
        return evaluate_availability(objective, feed, when, objective.target.value, moment)
    return evaluate_statistic(objective, feed, when, moment, (available, feed) if available else None)


def state_of(objective: Objective, found: Evaluation) -> VerdictState:
    return decide(objective, objective.target.value, found.findings, closed=found.period.closed).state
