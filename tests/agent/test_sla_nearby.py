"""A day is judged by the rows near it exactly as by all that were read, whatever lies at its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from agent.sla import hearing
from agent.sla.case import Feed
from agent.sla.judge import judge
from agent.sla.samples.causes import Circumstances, Gap
from agent.sla.samples.columns import CHOICES, SampleColumns
from agent.sla.samples.histograms import Histograms
from agent.sla.samples.measured import Pace
from agent.sla.samples.nearby import nearby
from agent.sla.terms.contract import Metric, Objective, Statistic, StatisticType
from agent.sla.time.calendar import WindowInstants, parse
from agent.sla.verdict import Verdict
from probes.core.arrays import ABSENT
from probes.core.model import SampleState
from probes.metrics.histogram import build
from tests.fakes.contracts import CIRCUIT, HOUR, MS, contract, objective

SPAN = 60 * 10**9
DAYS = 9
START = parse("2026-09-20", "UTC").start_ns
ROWS = DAYS * 1440
OBJECTIVES = (
    objective(Metric.AVAILABILITY, "0.999"),
    objective(Metric.AVAILABILITY, "0.999", Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=5 * SPAN, n=10), id="long"),
    objective(
        Metric.AVAILABILITY, "0.999",
        Statistic(StatisticType.AVAILABILITY_OUTAGE, minimum_ns=HOUR, join_ns=HOUR // 2), id="outages",
    ),
    objective(Metric.AVAILABILITY, 3, Statistic(StatisticType.HIGH_LOSS_INTERVALS), id="hli"),
    objective(Metric.RTT, 25 * MS, id="mean", only_available_time=True),
    objective(Metric.RTT, 25 * MS, Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100)), id="p95"),
    objective(Metric.RTT, 25 * MS, Statistic(StatisticType.MAX_WINDOW, span_ns=HOUR), id="worst"),
    objective(
        Metric.RTT, 3, Statistic(StatisticType.SUSTAINED, limit=Fraction(18 * MS), bin_ns=5 * SPAN, run_ns=15 * SPAN),
        id="long-excess",
    ),
    objective(Metric.LOSS, "0.01", only_available_time=True),
    objective(Metric.MOS, "4.0"),
)  # fmt: skip


def measured(seed: int) -> SampleColumns:
    """Nine days of samples of a minute with outages, gaps, impaired ones and packets not sent, many around midnight."""
    chance = np.random.default_rng(seed)
    start = START + np.arange(ROWS) * SPAN
    lost, state, unsent = (np.zeros(ROWS, np.int64) for _ in range(3))
    there = np.ones(ROWS, np.bool_)
    for _ in range(3 * DAYS):
        midnight = 1440 * int(chance.integers(0, DAYS))
        begin = max(0, midnight + int(chance.integers(-90, 90)))
        some = slice(begin, begin + int(chance.integers(1, 120)))
        match chance.integers(0, 5):
            case 0:
                there[some] = False
            case 1:
                state[some] = SampleState.IMPAIRED.code
            case 2:
                unsent[some] = 1
            case _:
                lost[some] = 10
    lost = np.where(chance.random(ROWS) < 0.01, 1, lost)
    got = 10 - lost
    delay = 10 * MS + chance.integers(0, 10 * MS, ROWS)
    value = np.where(got > 0, delay, ABSENT)
    shapes = [build(np.full(n, one)) if n else None for n, one in zip(got.tolist(), delay.tolist(), strict=True)]
    found = SampleColumns(
        "c1", "icmp", "icmp", start, np.full(ROWS, SPAN), state, sent=np.full(ROWS, 10), received=got, lost=lost,
        late=np.zeros(ROWS, np.int64), not_sent=unsent, rtt_count=got,
        rtt_sum_ns=np.where(got > 0, got * delay, ABSENT),
        rtt_min_ns=value, rtt_max_ns=value, rtt_p50_ns=value, rtt_p95_ns=value, rtt_p99_ns=value,
        ipdv_pairs=np.maximum(got - 1, 0), ipdv_abs_sum_ns=np.where(got > 1, got * MS, 0),
        histogram=Histograms.of(shapes),
    )  # fmt: skip
    kept = {
        name: getattr(found, name)[there] for name in found.__slots__ if isinstance(getattr(found, name), np.ndarray)
    }
    assert found.histogram is not None
    return replace(found, **kept, histogram=Histograms.of(found.histogram).taken(there))


def day(number: int) -> WindowInstants:
    return parse(f"2026-09-{20 + number}", "UTC")


def told(columns: SampleColumns, number: int) -> list[Verdict]:
    """now: in the middle of the last day, which is open."""
    known = Circumstances((Gap(START + 2 * 24 * HOUR, START + 49 * HOUR, "restart"),))
    now_ns = START + DAYS * 24 * HOUR - 12 * HOUR
    terms = contract(*OBJECTIVES)
    found = judge(terms, CIRCUIT, {"icmp": columns}, now_ns=now_ns, window=day(number), known=known)
    return [replace(item) for item in found]


def everything(feed: Feed, *_: object) -> Feed:
    return feed


def carelessly(feed: Feed, window: WindowInstants, *_: object) -> Feed:
    return replace(feed, columns=feed.columns.between(window.start_ns, window.end_ns))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_verdicts_as_by_all_rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    near = [told(measured(seed), number) for number in range(DAYS)]
    monkeypatch.setattr(hearing, "nearby", everything)
    columns = measured(seed)
    assert near == [told(columns, number) for number in range(DAYS)]


def test_the_rows_of_the_window_alone_would_tell_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    right = [told(measured(0), number) for number in range(DAYS)]
    monkeypatch.setattr(hearing, "nearby", carelessly)
    assert right != [told(measured(0), number) for number in range(DAYS)]


def near(columns: SampleColumns, number: int, now_ns: int, promises: Sequence[Objective] = OBJECTIVES[:1]) -> Feed:
    return nearby(Feed(columns, paced()), day(number), now_ns, promises)


def paced() -> Pace:
    return Pace(10**9, attempts=False)


def test_what_is_cut_and_what_is_left_whole() -> None:
    columns, late = measured(1), START + DAYS * 24 * HOUR
    cut = near(columns, 5, late + HOUR).columns
    assert 1440 < len(cut) < 4 * 1440
    assert cut is near(columns, 5, late + HOUR).columns  # of several objectives of one day
    assert near(columns, 2, START + 60 * HOUR).columns is columns  # it is open: whatever came later counts
    assert near(columns.between(0, START), 5, late).columns.start_ns.size == 0
    gone = columns.between(START, START + 24 * HOUR)
    assert near(gone, 7, late).columns is gone  # nothing is near: the whole tells that something was measured once
    for number in range(DAYS):
        near(columns, number, late + HOUR)
    assert len(columns.derived["cut"]) <= CHOICES
