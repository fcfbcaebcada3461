"""Delay statistics: by hand and against the standard library."""

from __future__ import annotations

import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.metrics.delay import delay_statistics, standard_deviation
from probes.metrics.groups import Groups, ascending
from tests.probes.metrics import naive

GROUPS = st.lists(st.lists(st.integers(0, 10**10), min_size=1, max_size=60), min_size=1, max_size=5)


def flat(groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    stream = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return stream, np.array([value for group in groups for value in group], np.int64)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(5, 15), (30, 20), (40, 20), (50, 35), (100, 50)],
    ids=lambda value: str(value),
)
def test_nearest_rank_of_five_values(percent: int, expected: int) -> None:
    """15 20 35 40 50: ranks ceil(0.25) = 1, ceil(1.5) = 2, ceil(2.0) = 2, ceil(2.5) = 3, ceil(5) = 5."""
    ordered = np.array([15, 20, 35, 40, 50])
    assert Groups.of(np.zeros(5, np.int64)).nearest_rank(ordered, Fraction(percent, 100)).tolist() == [expected]


def test_percentile_outside_zero_and_one_is_refused() -> None:
    for p in (Fraction(0), Fraction(101, 100)):
        with pytest.raises(ValueError, match="not in"):
            Groups.of(np.zeros(1, np.int64)).nearest_rank(np.zeros(1, np.int64), p)


def test_two_streams_by_hand() -> None:
    """Stream 2: 10 20 30 40 ns: sum 100, p50 rank 2 = 20, p95 rank 4 = 40; stddev sqrt(500/4) = 11.18. Stream 7: 5."""
    groups = Groups.of(np.array([2, 2, 2, 2, 7]))
    found = delay_statistics(groups, np.array([10, 20, 30, 40, 5]))
    assert groups.stream.tolist() == [2, 7]
    assert found.sum_ns.tolist() == [100, 5]
    assert found.minimum_ns.tolist() == [10, 5]
    assert found.maximum_ns.tolist() == [40, 5]
    assert found.p50_ns.tolist() == [20, 5]
    assert found.p95_ns.tolist() == [40, 5]
    assert found.stddev_ns.tolist() == [11, 0]


def test_no_delays() -> None:
    none = np.zeros(0, np.int64)
    assert delay_statistics(Groups.of(none), none).p95_ns.tolist() == []


@given(GROUPS)
def test_percentiles_follow_the_definition(groups: list[list[int]]) -> None:
    stream, values = flat(groups)
    found = delay_statistics(Groups.of(stream), ascending(stream, values))
    for percent, column in ((50, found.p50_ns), (95, found.p95_ns), (99, found.p99_ns)):
        assert column.tolist() == [naive.nearest_rank(group, percent) for group in groups]
    assert found.sum_ns.tolist() == [sum(group) for group in groups]


@given(GROUPS)
def test_standard_deviation_agrees_with_the_standard_library(groups: list[list[int]]) -> None:
    stream, values = flat(groups)
    for found, group in zip(standard_deviation(Groups.of(stream), values).tolist(), groups, strict=True):
        assert abs(found - statistics.pstdev(group)) <= 1


def test_standard_deviation_of_long_delays_does_not_cancel() -> None:
    """Two values 2 ns apart at 10 s: deviations -1 and 1, so exactly 1 ns; mean of squares minus square gives 0."""
    assert standard_deviation(Groups.of(np.zeros(2, np.int64)), np.array([10**10, 10**10 + 2])).tolist() == [1]
