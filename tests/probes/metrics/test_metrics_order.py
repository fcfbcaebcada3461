"""Reordering and duplication: by hand from the RFCs' definitions, then at random."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.metrics.groups import ascending
from probes.metrics.order import Duplication, arrival_order, duplication, extents, n_reordering, reordered
from tests.probes.metrics import naive


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


def values(arrived: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Extent and n of the packets that have one, by sequence number."""
    at, none = np.argsort(np.array(arrived)), np.zeros(len(arrived), np.int64)
    found = extents(none, at), n_reordering(none, at)
    return tuple({n: int(v) for n, v in enumerate(column) if v} for column in found)  # type: ignore[return-value]


def test_extent_and_n_by_hand() -> None:
    """RFC 4737 section 8.2, table 3: 1 2 3 7 8 9 10 4 5 6 11 arrive: 4, 5, 6 are late by 4, 5, 6 places; before 4 there
    are four greater ones in a row, before 5 and 6 none, as 4 and 5 are smaller.
    """
    assert values([0, 1, 2, 6, 7, 8, 9, 3, 4, 5, 10]) == ({3: 4, 4: 5, 5: 6}, {3: 4})


def test_a_stream_in_order_has_no_extent() -> None:
    assert values([0, 1, 2, 3]) == ({}, {})
    assert values([]) == ({}, {})


@given(st.lists(st.permutations(range(9)), min_size=1, max_size=4))
def test_extent_and_n_are_the_rfcs(streams: list[list[int]]) -> None:
    stream = np.repeat(np.arange(len(streams)), 9)
    at = np.concatenate([np.argsort(np.array(arrived)) for arrived in streams])
    expected = {name: np.zeros(9 * len(streams), np.int64) for name in ("extent", "n")}
    for number, arrived in enumerate(streams):
        for place, sequence in enumerate(arrived):
            expected["extent"][9 * number + sequence] = naive.extent(arrived, place)
            expected["n"][9 * number + sequence] = naive.n_reordering(arrived, place)
    assert extents(stream, at).tolist() == expected["extent"].tolist()
    assert n_reordering(stream, at).tolist() == expected["n"].tolist()


@given(st.permutations(range(12)))
def test_a_packet_is_reordered_if_and_only_if_it_has_an_extent(arrived: list[int]) -> None:
    at, none = np.argsort(np.array(arrived)), np.zeros(12, np.int64)
    late = reordered(none, np.arange(12), at, none)
    assert ((extents(none, at) > 0) == late).all()
    assert (n_reordering(none, at) <= extents(none, at)).all()


@given(st.lists(st.lists(st.integers(-3, 3) | st.integers(-(1 << 62), 1 << 62), max_size=30), max_size=40))
def test_both_orders_are_those_of_plain_sorting(streams: list[list[int]]) -> None:
    stream = np.repeat(np.arange(len(streams)), [len(values) for values in streams])
    for several in (streams, [sorted(values) for values in streams]):
        values = np.array([value for values in several for value in values], np.int64)
        assert ascending(stream, values).tolist() == [value for values in several for value in sorted(values)]
        order = sorted(range(len(values)), key=lambda n: (stream[n], values[n]))
        assert arrival_order(stream, values).tolist() == order


def test_ascending_whether_sizes_are_equal_few_or_many() -> None:
    chance = np.random.default_rng(3)
    for sizes in ([10] * 50, [10, 9, 10, 1] * 20, list(range(1, 40)), [], [1]):
        values = [chance.integers(-100, 100, size).tolist() for size in sizes]
        stream = np.repeat(np.arange(len(sizes)), np.array(sizes, np.int64))
        found = ascending(stream, np.array([value for row in values for value in row], np.int64))
        assert found.tolist() == [value for row in values for value in sorted(row)]
