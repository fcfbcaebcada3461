"""The three definitions of jitter: by hand, by their own recursion, and how they differ."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.core.arrays import ABSENT
from probes.metrics.groups import Groups
from probes.metrics.variation import ipdv, pdv, rfc3550

ONE = Groups.of(np.zeros(5, np.int64))
NONE = np.array([ABSENT])
DELAYS = st.lists(st.integers(0, 10**10), min_size=1, max_size=200)


def test_ipdv_by_hand() -> None:
    """Delays 10 15 - 12 20 (third lost): only 0-1 and 3-4 are neighbours that both arrived: +5 and +8."""
    received = np.array([True, True, False, True, True])
    found = ipdv(ONE, np.arange(5), np.array([10, 15, ABSENT, 12, 20]), received, NONE, NONE)
    assert found.tolist() == [ABSENT, 5, ABSENT, ABSENT, 8]


def test_ipdv_needs_neighbours_in_sequence() -> None:
    """Sequence 3 was never recorded, so 2 and 4 are no pair."""
    groups = Groups.of(np.zeros(3, np.int64))
    found = ipdv(groups, np.array([1, 2, 4]), np.array([10, 11, 12]), np.ones(3, np.bool_), NONE, NONE)
    assert found.tolist() == [ABSENT, 1, ABSENT]


def test_pdv_by_hand() -> None:
    """Two streams: 10 15 12 less 10, and 7 9 less 7."""
    assert pdv(Groups.of(np.array([0, 0, 0, 4, 4])), np.array([10, 15, 12, 7, 9])).tolist() == [0, 5, 2, 0, 2]


def test_rfc3550_by_hand() -> None:
    """Transits 10 26 26 10 58 ns: |D| = 16 0 16 48, J0 = 0.

    J1 = 0 + (16 - 0)/16 = 1; J2 = 1 + (0 - 1)/16 = 0.9375; J3 = 0.9375 + (16 - 0.9375)/16 = 1.87890625;
    J4 = 1.87890625 + (48 - 1.87890625)/16 = 4.761474609375.
    """
    found = rfc3550(ONE, np.array([10, 26, 26, 10, 58]), np.zeros(1), NONE)
    assert found.tolist() == [4.761474609375]


def test_no_packets() -> None:
    none, groups = np.zeros(0, np.int64), Groups.of(np.zeros(0, np.int64))
    assert ipdv(groups, none, none, np.zeros(0, np.bool_), none, none).tolist() == []
    assert pdv(groups, none).tolist() == []
    assert rfc3550(groups, none, np.zeros(0), none).tolist() == []


@given(DELAYS, st.integers(0, 200))
def test_rfc3550_is_its_own_recursion_and_may_be_cut_anywhere(delays: list[int], cut: int) -> None:
    exact = Fraction(0)
    for before, after in pairwise(delays):
        exact += (abs(after - before) - exact) / 16
    estimate, last = np.zeros(1), NONE
    for part in (delays[:cut], delays[cut:]):
        if part:
            estimate = rfc3550(Groups.of(np.zeros(len(part), np.int64)), np.array(part), estimate, last)
            last = np.array(part[-1:])
    assert abs(Fraction(float(estimate[0])) - exact) < Fraction(1, 1000)


@given(DELAYS)
def test_signed_ipdv_telescopes(delays: list[int]) -> None:
    """Without loss the signed differences add up to last minus first."""
    groups = Groups.of(np.zeros(len(delays), np.int64))
    found = ipdv(groups, np.arange(len(delays)), np.array(delays), np.ones(len(delays), np.bool_), NONE, NONE)
    assert int(found[1:].sum()) == delays[-1] - delays[0]


@given(DELAYS, st.integers(0, 10**9))
def test_a_constant_more_delay_changes_no_variation(delays: list[int], more: int) -> None:
    values, groups = np.array(delays), Groups.of(np.zeros(len(delays), np.int64))
    assert pdv(groups, values).tolist() == pdv(groups, values + more).tolist()
    assert rfc3550(groups, values, np.zeros(1), NONE) == rfc3550(groups, values + more, np.zeros(1), NONE)
