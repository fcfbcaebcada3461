"""Reordering and duplication: by hand from the RFCs' definitions, then at random."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.metrics.order import Duplication, arrival_order, duplication, reordered


def flags(arrivals: list[int], next_expected: int = 0) -> list[int]:
    """Sequence numbers 0..n-1 of one stream arrive in the order given; which are reordered?"""
    at = np.argsort(np.array(arrivals))
    n = len(arrivals)
    found = reordered(np.zeros(n, np.int64), np.arange(n), at, np.full(n, next_expected))
    return np.flatnonzero(found).tolist()


def test_one_late_packet() -> None:
    """Arrivals 0 1 2 4 5 6 3 7; NextExp is 7 when 3 comes, so 3 alone is reordered."""
    assert flags([0, 1, 2, 4, 5, 6, 3, 7]) == [3]


def test_one_early_packet_reorders_all_it_overtook() -> None:
    """Arrivals 0 4 1 2 3 5: NextExp is 5 after 4, so 1, 2 and 3 are reordered, 4 is not."""
    assert flags([0, 4, 1, 2, 3, 5]) == [1, 2, 3]


def test_loss_is_not_reordering() -> None:
    """1 and 3 lost: 0 2 4 arrive ascending."""
    found = reordered(np.zeros(3, np.int64), np.array([0, 2, 4]), np.array([10, 20, 30]), np.zeros(3, np.int64))
    assert found.tolist() == [False, False, False]


def test_streams_do_not_see_each_other() -> None:
    """Stream 0's last packet arrives after all of stream 1; both streams are in order."""
    stream, sequence = np.array([0, 0, 1, 1]), np.array([100, 101, 0, 1])
    assert not reordered(stream, sequence, np.array([1, 99, 2, 3]), np.zeros(4, np.int64)).any()


def test_carried_next_expected() -> None:
    assert flags([0, 1, 2], next_expected=2) == [0, 1]


def test_equal_arrivals_stay_in_order() -> None:
    assert arrival_order(np.zeros(3, np.int64), np.array([5, 5, 5])).tolist() == [0, 1, 2]


def test_duplication_by_hand() -> None:
    """Five packets arrived, 0 2 0 1 0 extra copies: fraction 3/5, replicated 2/5 (RFC 5560 section 5)."""
    assert duplication(np.array([0, 2, 0, 1, 0])) == Duplication(Fraction(3, 5), Fraction(2, 5))
    assert duplication(np.zeros(0, np.int64)) == Duplication(None, None)


@given(st.permutations(range(25)))
def test_next_expected_stepped_by_hand(arrivals: list[int]) -> None:
    next_expected, expected = 0, []
    for sequence in arrivals:
        if sequence < next_expected:
            expected.append(sequence)
        else:
            next_expected = sequence + 1
    assert flags(arrivals) == sorted(expected)


@given(st.permutations(range(25)))
def test_no_reordering_means_sorted(arrivals: list[int]) -> None:
    assert (flags(arrivals) == []) == (arrivals == sorted(arrivals))
