"""What of a period was measured: by hand for streams, single attempts and timetables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.samples.measured import Extent, Pace, extent, feeds_verdict, pace, sample_span
from probes.core.model import SampleState
from tests.fakes.columns import SECOND, SPAN, columns, packets

STREAM = Pace(SECOND, attempts=False)
HOURLY = Pace(3600 * SECOND, attempts=True)


def stream(*numbers: int) -> tuple[object, np.ndarray]:
    data = columns([packets(number * SPAN, 10, 0) for number in numbers])
    return data, np.ones(len(data), np.bool_)


@pytest.mark.parametrize(
    ("present", "measured", "unknown", "why"),
    [
        (range(6), 60, 0, "all six samples"),
        ((0, 1, 2, 4, 5), 50, 11, "one is missing: 10 packets, and one that pacing may have moved over the edge"),
        ((0, 1, 4, 5), 40, 21, "two in a row are one hole of 20 s"),
        ((0, 2, 4, 5), 40, 22, "two apart are two holes"),
        ((1, 2, 3, 4), 40, 22, "holes at both ends"),
        ((), 0, 61, "nothing at all"),
        ((6, 7), 0, 61, "samples outside do not count"),
    ],
)
def test_holes_of_a_stream(present, measured: int, unknown: int, why: str) -> None:
    data, rows = stream(*present)
    found = extent(data, rows, STREAM, 0, 6 * SPAN)
    assert found == Extent(60 * SECOND, measured * SECOND, (60 - measured) * SECOND, unknown), why


def test_rows_that_do_not_count_are_holes() -> None:
    data, rows = stream(0, 1, 2)
    rows[1] = False
    assert extent(data, rows, STREAM, 0, 3 * SPAN) == Extent(30 * SECOND, 20 * SECOND, 10 * SECOND, 11)


def test_attempts_drift_without_leaving_holes() -> None:
    hour = 3600 * SECOND
    starts = [8 * SECOND, hour + 9 * SECOND, 2 * hour + 7 * SECOND, 5 * hour]
    data = columns([{"start_ns": start, "span_ns": 10 * SECOND} for start in starts])
    found = extent(data, np.ones(4, np.bool_), HOURLY, 0, 6 * hour)
    # Covered: [0:00:08, 3:00:07) but for seconds, and [5:00, 6:00). The hole of 1 h 59 min 53 s held two runs.
    assert found == Extent(6 * hour, 6 * hour - (2 * hour - 7 * SECOND), 2 * hour - 7 * SECOND, 2)


def test_a_timetable_counts_its_runs() -> None:
    data = columns([{"start_ns": k * SPAN} for k in range(4)])
    rows = np.array([True, False, True, True])
    assert extent(data, rows, Pace(None, attempts=True), 0, 100 * SECOND) == Extent(
        100 * SECOND, 75 * SECOND, 25 * SECOND, 1
    )


def test_pace_comes_from_the_configuration_or_the_fullest_sample() -> None:
    data = columns([packets(0, 10, 0), packets(SPAN, 9, 0)])
    assert pace(data, SECOND, attempts=False) == Pace(SECOND, attempts=False)
    assert pace(data, None, attempts=False) == Pace(SECOND, attempts=False)
    assert pace(data, None, attempts=True) == Pace(None, attempts=True)
    assert pace(data, 60 * SECOND, attempts=True) == Pace(60 * SECOND, attempts=True)
    assert sample_span(columns([])) is None


def test_only_what_asked_the_network_feeds_a_verdict() -> None:
    data = columns([{"start_ns": k, "state": state.code} for k, state in enumerate(SampleState)])
    assert dict(zip(SampleState, feeds_verdict(data).tolist(), strict=True)) == {
        SampleState.OK: True,
        SampleState.NO_REPLY: True,
        SampleState.REJECTED: True,
        SampleState.IMPAIRED: False,
        SampleState.INVALID: False,
    }


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 30)), st.integers(0, 30), st.integers(0, 30))
def test_measured_and_missing_make_up_the_period(present: set[int], one: int, other: int) -> None:
    data, rows = stream(*sorted(present))
    start, end = sorted((one, other))
    found = extent(data, rows, STREAM, start * SPAN, end * SPAN)
    assert found.measured_ns + found.missing_ns == found.length_ns == (end - start) * SPAN
    assert found.measured_ns == SPAN * len([k for k in present if start <= k < end])
    assert found.unknown >= found.missing_ns // SECOND
