"""Buckets of the drawing against a naive second way, and what is drawn of a period."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.report.statement.buckets import RANKS, gather
from agent.report.statement.drawing import bucket_length, clock_changes, day_edges
from agent.sla.samples.columns import SampleColumns
from agent.sla.time.calendar import parse
from probes.core.model import SampleState
from probes.metrics.histogram import build, merge, percentile
from tests.fakes.assessments import DAY, HOUR, MINUTE, OCTOBER, SECOND
from tests.fakes.columns import SPAN, columns

Row = tuple[int, int, list[int]]
rows = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 5), st.lists(st.integers(0, 3 * 10**9), max_size=6)), max_size=40
)


def sampled(found: Sequence[Row]) -> SampleColumns:
    """Rows as (intervals since the one before, packets lost, delays of those answered)."""
    made, at = [], 0
    for steps, lost, delays in found:
        at += steps * SPAN
        values = np.array(delays, np.int64)
        made.append(
            {
                "start_ns": at, "sent": lost + len(delays), "lost": lost, "rtt_count": len(delays),
                "state": (SampleState.OK if delays else SampleState.NO_REPLY).code,
                **({"rtt_sum_ns": sum(delays), "rtt_min_ns": min(delays), "rtt_max_ns": max(delays)} if delays else {}),
                "histogram": build(values) if delays else None,
            }
        )  # fmt: skip
    return columns(made)


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(1, 7))
def test_buckets_are_those_of_all_their_packets_together(found: list[Row], width: int) -> None:
    edges = np.arange(0, 130 * SPAN, width * SPAN, dtype=np.int64)
    series = sampled(found)
    got = gather(series, edges)
    for place, (start, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        inside = [row for row in range(len(series)) if start <= series.start_ns[row] < end]
        delays = [series.histogram[row] for row in inside if series.histogram and series.histogram[row] is not None]
        assert got.sent[place] == sum(series.column("sent")[row] for row in inside)
        assert got.lost[place] == sum(series.column("lost")[row] for row in inside)
        assert got.answered[place] == sum(series.column("rtt_count")[row] for row in inside)
        whole = merge([item for item in delays if item is not None])
        for rank, p in enumerate(RANKS):
            bounds = percentile(whole, p)
            value = int(got.ranks[rank][place])
            assert (value == -1) if bounds is None else bounds[0] <= value < bounds[1]
        if got.answered[place]:
            assert got.low[place] <= got.ranks[0][place] + 1 + got.ranks[0][place] // 128
            assert got.low[place] == min(series.column("rtt_min_ns")[row] for row in inside
                                         if series.column("rtt_count")[row])  # fmt: skip


def test_a_seeded_mistake_in_the_oracle_is_caught() -> None:
    """The bucket of one packet is not that of its neighbour."""
    series = sampled([(1, 0, [10_000_000]), (1, 0, [20_000_000])])
    got = gather(series, np.array([0, 2 * SPAN, 4 * SPAN], np.int64))
    assert got.ranks[2][0] != got.ranks[2][1]
    assert abs(int(got.ranks[2][0]) - 10_000_000) <= 10_000_000 // 128


def test_samples_that_do_not_count_are_not_drawn() -> None:
    good = {"start_ns": 0, "sent": 10, "lost": 0, "rtt_count": 10}
    bad = {"start_ns": SPAN, "sent": 10, "lost": 10, "rtt_count": 0, "state": SampleState.IMPAIRED.code}
    found = gather(columns([good, bad]), np.array([0, 4 * SPAN], np.int64))
    assert (found.sent.tolist(), found.lost.tolist()) == ([10], [0])


def test_without_histograms_there_are_extremes_and_a_mean() -> None:
    row = {"start_ns": 0, "sent": 2, "lost": 0, "rtt_count": 2, "rtt_sum_ns": 30, "rtt_min_ns": 10, "rtt_max_ns": 20}
    found = gather(columns([row]), np.array([0, SPAN], np.int64))
    assert not found.exact
    assert (found.low.tolist(), found.high.tolist(), found.sum_ns.tolist()) == ([10], [20], [30])


@pytest.mark.parametrize(
    ("length", "bucket"),
    [(MINUTE, 10 * SECOND), (DAY, 2 * MINUTE), (OCTOBER.length_ns, HOUR), (92 * DAY, 3 * HOUR), (366 * DAY, 12 * HOUR),
     (3000 * DAY, 4 * DAY)],
)  # fmt: skip
def test_the_bucket_grows_with_the_period(length: int, bucket: int) -> None:
    assert bucket_length(length) == bucket


def test_october_in_berlin_has_one_clock_change_and_a_day_of_25_hours() -> None:
    (change,) = clock_changes(OCTOBER)
    assert (change.before, change.after) == ("CEST", "CET")
    lengths = np.diff(day_edges(OCTOBER)) // HOUR
    assert lengths.tolist() == [24] * 24 + [25] + [24] * 6
    assert list(clock_changes(parse("2026-10", "UTC"))) == []


def test_a_rank_is_a_fraction() -> None:
    assert all(isinstance(rank, Fraction) for rank in RANKS)
