"""Timestamps and error estimates against published values, fractions and round trips over eras."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from probes.core.arrays import ABSENT
from probes.wire import ntp_time
from tests.fakes import plain_stamp

SECOND = 10**9
ERA_1 = 2_085_978_496 * SECOND
"""2036-02-07T06:28:16Z, when the seconds of NTP come round to 0"""
NS = st.integers(-(2**61), 2**61)


def array(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def words(*values: int) -> NDArray[np.uint64]:
    return np.array(values, np.uint64)


@pytest.mark.parametrize(
    ("ns", "word"),
    [
        (0, 0x83AA7E80_00000000),  # 1970-01-01: RFC 868's 2208988800
        (-ntp_time.EPOCH_1900_S * SECOND, 0),
        (946_684_800 * SECOND, 0xBC17C200_00000000),  # 2000-01-01: RFC 5905 figure 4, 3155673600
        (63_072_000 * SECOND, 0x876CE580_00000000),  # 1972-01-01: RFC 5905 figure 4, 2272060800
        (ERA_1 - 1, 0xFFFFFFFF_FFFFFFFC),
        (ERA_1, 0),
        (ERA_1 + SECOND // 2, 0x00000000_80000000),
        (1, 0x83AA7E80_00000004),
        (999_999_999, 0x83AA7E80_FFFFFFFC),
    ],
)
def test_ntp_values(ns: int, word: int) -> None:
    assert int(ntp_time.to_ntp(array(ns))[0]) == word
    assert int(ntp_time.from_ntp(words(word), ns)[0]) == ns


@given(st.lists(NS, min_size=1, max_size=20))
def test_ntp_equals_the_plain_one_and_comes_back(times: list[int]) -> None:
    ns = array(*times)
    found = ntp_time.to_ntp(ns)
    assert found.tolist() == [plain_stamp.ntp(time) for time in times]
    assert ntp_time.from_ntp(found, ns).tolist() == times


def test_halves_are_rounded_as_words_are() -> None:
    """Where the fraction comes as near as it can to the middle between two units, and elsewhere."""
    odd = 5**9
    nearest = [pow(2**23, -1, odd) * (odd // 2 + side) % odd for side in (0, 1)]
    rest = np.concatenate([np.arange(first, SECOND, odd) for first in nearest] + [np.arange(0, SECOND, 9973)])
    seconds = np.resize(np.array([0, 1_800_000_000, ERA_1 // SECOND + 3]), len(rest))
    for ptp, words_of in ((False, ntp_time.to_ntp), (True, ntp_time.to_ptp)):
        high, low = (half.astype(np.int64).astype(np.uint64) for half in ntp_time.halves(seconds, rest, ptp=ptp))
        found = (high & np.uint64(0xFFFFFFFF)) << np.uint64(32) | low
        assert (found == words_of(seconds * SECOND + rest)).all()


@given(NS, st.integers(-ntp_time.ERA_NS // 2 + 1, ntp_time.ERA_NS // 2 - 1))
def test_any_time_within_half_an_era_tells_the_era(ns: int, away: int) -> None:
    near = ns + away
    if abs(near) <= ntp_time.NEAR_LIMIT_NS:
        assert ntp_time.from_ntp(ntp_time.to_ntp(array(ns)), near).tolist() == [ns]
        assert ntp_time.from_ptp(ntp_time.to_ptp(array(ns)), near).tolist() == [ns]


@given(st.integers(0, 2**64 - 1), st.integers(-ntp_time.NEAR_LIMIT_NS, ntp_time.NEAR_LIMIT_NS))
def test_every_word_is_a_time_near_the_given_one(word: int, near: int) -> None:
    ns = int(ntp_time.from_ntp(words(word), near)[0])
    assert abs(ns - near) <= ntp_time.ERA_NS // 2 + 1
    back = int(ntp_time.to_ntp(array(ns))[0])
    assert min((back - word) % 2**64, (word - back) % 2**64) <= 3, "half a nanosecond is 2.15 units"


def test_either_side_of_2036_in_one_array() -> None:
    ns = ERA_1 + np.arange(-5, 5) * 250_000_000
    assert ntp_time.from_ntp(ntp_time.to_ntp(ns), int(ERA_1 - 3600 * SECOND)).tolist() == ns.tolist()
    assert (np.diff(ntp_time.to_ntp(ns)).view(np.int64) == 1 << 30).all(), "differences modulo 2^64 do not see the era"


@given(st.lists(NS, min_size=1, max_size=20))
def test_ptp_equals_the_plain_one_and_comes_back(times: list[int]) -> None:
    ns = array(*times)
    assert ntp_time.to_ptp(ns).tolist() == [plain_stamp.ptp(time) for time in times]
    assert ntp_time.from_ptp(ntp_time.to_ptp(ns), ns).tolist() == times


def test_impossible_nanoseconds_are_absent() -> None:
    found = ntp_time.from_ptp(words(7 << 32 | 999_999_999, 7 << 32 | 10**9, 2**64 - 1), 0)
    assert found.tolist() == [7_999_999_999, ABSENT, ABSENT]


@given(st.integers(0, 2**63 - 1), st.booleans(), st.booleans())
def test_error_estimate_is_the_smallest_that_is_not_less(error_ns: int, synchronised: bool, ptp: bool) -> None:
    field = ntp_time.error_estimate(error_ns, synchronised=synchronised, ptp=ptp)
    assert field >> 15 == synchronised
    assert field >> 14 & 1 == ptp
    assert field & 255, "a Multiplier of 0 is to be disbelieved"
    units = (field & 255) << (field >> 8 & 63)
    assert units * SECOND >= error_ns << 32
    smaller = [m << s for s in range(64) for m in range(1, 256) if m << s < units]
    assert all(value * SECOND < error_ns << 32 for value in smaller)


@pytest.mark.parametrize(("error_ns", "field"), [(0, 0x0001), (1, 0x0005), (1000, 0x0587), (SECOND, 0x1980)])
def test_error_estimate_by_hand(error_ns: int, field: int) -> None:
    """1 s is 2^32 units: 128 * 2^25; 1 us is 4294.97 of them, at least 135 * 2^5 = 4320."""
    assert ntp_time.error_estimate(error_ns, synchronised=False, ptp=False) == field


def test_a_negative_error_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 ns"):
        ntp_time.error_estimate(-1, synchronised=True, ptp=False)


def test_every_error_field_equals_the_plain_reading() -> None:
    fields = np.arange(65536)
    found = ntp_time.read_error(fields)
    largest = 2**63 - 1
    expected = [plain_stamp.clock_error_ns(field) for field in range(65536)]
    assert found.error_ns.tolist() == [ABSENT if ns is None else min(ns, largest) for ns in expected]
    assert (found.synchronised == fields >> 15).all()
    assert (found.ptp == (fields >> 14 & 1)).all()
