"""Printed numbers stand on the same side of the target as the exact ones."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.terms.contract import Unit
from agent.sla.time.calendar import parse_instant
from agent.sla.words.wording import AVAILABILITY, DELAY, LOSS, RATE, Plain, moment, number, quantity, share, spoken

SECOND = 10**9
COUNT, MOS, TIME = Plain(Unit.COUNT, "max"), Plain(Unit.MOS, "min"), Plain(Unit.DURATION, "max")


@pytest.mark.parametrize(
    ("measure", "value", "target", "text"),
    [
        (AVAILABILITY, "0.999", "0.999", "99.90 %"),
        (AVAILABILITY, "0.9989996", "0.999", "99.89996 %"),
        (AVAILABILITY, "0.99995", "0.99", "99.99 %"),
        (AVAILABILITY, "0.9999999999", "0.99", "99.99 %"),
        (AVAILABILITY, "0.9999999999", "1", "99.99999999 %"),
        (AVAILABILITY, "1", "0.99", "100 %"),
        (AVAILABILITY, "0.99995", "0.99995", "99.995 %"),
        (AVAILABILITY, "0", "0.99", "0 %"),
        (LOSS, "0.000001", "0.01", "0.0001 %"),
        (LOSS, "0.0100001", "0.01", "1.00001 %"),
        (LOSS, "0", "0.01", "0 %"),
        (DELAY, "20000000", "20000000", "20 ms"),
        (DELAY, "20000001", "20000000", "20.000001 ms"),
        (DELAY, "18204321.5", "20000000", "18.204 ms"),
        (DELAY, "1234567", "2000000", "1.235 ms"),
        (RATE, "94999999", "95000000", "94.999999 Mbit/s"),
        (RATE, "123456789", "95000000", "123.45 Mbit/s"),
        (COUNT, "3", "3", "3"),
        (MOS, "3.9949", "4", "3.994"),
        (MOS, "3.999", "4", "3.999"),
        (TIME, "14400000000000", "14400000000000", "4 h"),
        (TIME, "14400000000001", "14400000000000", "4 h 0.000000001 s"),
        (TIME, "14399999999999", "14400000000000", "3 h 59 min 59.999999999 s"),
        (TIME, "90061000000000", "1", "1 d 1 h 1 min 1 s"),
        (TIME, "0", "1", "0 s"),
    ],
)
def test_numbers_have_the_digits_they_need(measure: Plain, value: str, target: str, text: str) -> None:
    assert quantity(measure, Fraction(value), Fraction(target)) == text


def test_what_is_missing_is_a_dash() -> None:
    assert quantity(DELAY, None) == "–"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([LOSS, AVAILABILITY, DELAY, RATE]),
    st.fractions(0, 2, max_denominator=10**6),
    st.fractions(0, 2, max_denominator=10**4).filter(lambda f: 10**6 % f.denominator == 0),
)
def test_the_printed_value_is_on_the_same_side_of_the_target(measure: Plain, value: Fraction, target: Fraction) -> None:
    scale = Fraction(1, 10**6) if measure in (DELAY, RATE) else Fraction(100)
    printed = Fraction(number(measure, value, target))
    assert (printed > target * scale, printed < target * scale) == (value > target, value < target)
    if measure.comparison == "min":
        assert printed <= value * scale
    if measure is LOSS:
        assert printed >= value * scale


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 s"),
        (250_000_000, "250 ms"),
        (18 * SECOND, "18 s"),
        (59 * SECOND + 999_999_999, "59 s"),
        (60 * SECOND, "1 min"),
        (14 * 60 * SECOND + 2 * SECOND, "14 min 2 s"),
        (4 * 3600 * SECOND + 12 * 60 * SECOND + 59 * SECOND, "4 h 12 min"),
        (86400 * SECOND, "1 d"),
        (30 * 86400 * SECOND + 3600 * SECOND, "30 d 1 h"),
    ],
)
def test_durations_are_spoken_in_two_units(ns: int, text: str) -> None:
    assert spoken(ns) == text


def test_moments_and_shares() -> None:
    assert moment(parse_instant("2026-11-01T00:00:00Z")) == "2026-11-01 00:00 UTC"
    assert moment(parse_instant("2026-11-01T00:00:07+01:00")) == "2026-10-31 23:00:07 UTC"
    assert share(Fraction(99_999, 100_000)) == "99.99 %"
    assert share(Fraction(1)) == "100 %"
