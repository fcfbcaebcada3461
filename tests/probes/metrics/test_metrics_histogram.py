"""Log-linear histogram: bucket arithmetic, merging, and percentile bounds that hold the exact value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes.core.arrays import Histogram
from probes.metrics.histogram import bounds, bucket_of, build, merge, percentile, total
from tests.probes.metrics import naive

LARGEST = 2**63 - 1
DELAYS = st.lists(st.integers(0, 10**11) | st.integers(0, 300), max_size=80)
SHARES = st.fractions(Fraction(1, 1000), Fraction(1))


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("ns", "bucket", "lower", "upper"),
    [
        (0, 0, 0, 1),
        (127, 127, 127, 128),
        (128, 128, 128, 129),
        (255, 255, 255, 256),
        (256, 256, 256, 258),  # the second octave's buckets are 2 ns wide
        (257, 256, 256, 258),
        (258, 257, 258, 260),
        (511, 383, 510, 512),
        (512, 384, 512, 516),
        (20_000_000, 2328, 19_922_944, 20_054_016),  # floor(log2) 24, e = 17, ns >> 17 = 152, 128 * 17 + 152
        (LARGEST, 7295, 255 << 55, LARGEST),
        (-1, 0, 0, 1),
    ],
)
def test_known_buckets(ns: int, bucket: int, lower: int, upper: int) -> None:
    """20 ms: bucket 2328 begins at 152 * 2^17 = 19922944 and is 2^17 = 131072 ns wide."""
    found = bucket_of(array([ns]))
    assert found.tolist() == [bucket]
    low, high = bounds(found)
    assert (int(low[0]), int(high[0])) == (lower, upper)


def test_buckets_have_no_gaps_and_no_overlaps() -> None:
    """Each of the first 7295 buckets ends where the next begins, and both its ends fall into it."""
    index = np.arange(7295)
    lower, upper = bounds(index)
    assert (upper[:-1] == lower[1:]).all()
    assert (bucket_of(lower) == index).all()
    assert (bucket_of(upper - 1) == index).all()


def test_width_is_at_most_a_128th() -> None:
    lower, upper = bounds(np.arange(128, 7295))
    assert ((upper - lower) <= lower // 128).all()


@given(st.integers(0, LARGEST))
@example(2**53 - 1)
@example(2**53 + 1)
@example(2**62 - 1)
@example(2**62)
def test_every_delay_lies_in_its_bucket(ns: int) -> None:
    lower, upper = bounds(bucket_of(array([ns])))
    assert lower[0] <= ns <= upper[0] - (upper[0] < LARGEST)


@given(DELAYS, st.integers(0, 80))
def test_merging_is_building_at_once(values: list[int], cut: int) -> None:
    merged, whole = merge([build(array(values[:cut])), build(array(values[cut:]))]), build(array(values))
    assert merged.to_text() == whole.to_text()
    assert total(merged) == len(values)
    assert Histogram.from_bytes(merged.to_bytes()).to_text() == whole.to_text()


@given(DELAYS.filter(bool), SHARES)
def test_percentile_bounds_hold_the_exact_nearest_rank(values: list[int], p: Fraction) -> None:
    found = percentile(build(array(values)), p)
    assert found is not None
    exact = sorted(values)[naive.rank(len(values), p) - 1]
    assert found[0] <= exact < found[1]
    assert (found[1] - found[0]) * 128 <= max(exact, 128)


def test_nothing_to_merge_and_nothing_to_rank() -> None:
    empty = merge([])
    assert (total(empty), percentile(empty, Fraction(1, 2))) == (0, None)
    assert build(array([])).to_text() == ""


def test_percentile_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        percentile(build(array([1])), Fraction(0))
