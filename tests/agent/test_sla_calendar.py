"""Windows as UTC instants: worked examples of DST days, and a naive search minute by minute as oracle."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.terms.contract import Contract, Metric, Objective, Party, Statistic, StatisticType, Target, Window
from agent.sla.time import calendar
from probes.core.errors import ValueFormatError
from tests.fakes import clocks_on_the_wall as wall
from tests.faults.counts import count

HOUR = 3600 * 10**9
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Pacific/Apia",
)


def ns(text: str) -> int:
    return calendar.parse_instant(text)


def first_minute(day: date, zone: str) -> int:
    """Oracle: walk minute by minute from two days before until the local date is reached."""
    info = ZoneInfo(zone)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    while moment.astimezone(info).date() < day:
        moment += timedelta(minutes=1)
    return calendar.from_datetime(moment)


@pytest.mark.parametrize(
    ("zone", "text", "start", "hours"),
    [
        # Berlin leaves summer time on 2026-10-25 at 03:00: that day has 25 hours.
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", 25.0),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", 23.0),
        # October 2026: 31 days and one hour more; it starts in summer time, ends in winter time.
        ("Europe/Berlin", "2026-10", "2026-09-30T22:00:00Z", 31 * 24 + 1.0),
        ("Europe/Berlin", "2026-Q1", "2025-12-31T23:00:00Z", 90 * 24 - 1.0),
        ("Europe/Berlin", "2026", "2025-12-31T23:00:00Z", 365 * 24.0),
        # New York: summer time from 2026-03-08 to 2026-11-01.
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00Z", 23.0),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", 25.0),
        ("America/New_York", "2026-11", "2026-11-01T04:00:00Z", 30 * 24 + 1.0),
        # Lord Howe Island moves its clocks by half an hour.
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", 23.5),
        # Leap years: 2028 has a 29 February, 2100 has not.
        ("UTC", "2028-02", "2028-02-01T00:00:00Z", 29 * 24.0),
        ("UTC", "2028-02-29", "2028-02-29T00:00:00Z", 24.0),
        ("UTC", "2100-02", "2100-02-01T00:00:00Z", 28 * 24.0),
        ("UTC", "2028", "2028-01-01T00:00:00Z", 366 * 24.0),
        ("UTC", "2026-Q4", "2026-10-01T00:00:00Z", 92 * 24.0),
        # Sao Paulo skipped midnight on 2018-11-04: the day begins at 01:00 local.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23.0),
        # Samoa skipped 30 December 2011 whole.
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0.0),
        # Toronto, summer time from 2006-04-02 at 02:00.
        ("America/Toronto", "2006-04-02", "2006-04-02T05:00:00Z", 23.0),
    ],
)
def test_windows_have_the_length_the_law_gave_them(zone: str, text: str, start: str, hours: float) -> None:
    window = calendar.parse(text, zone)
    assert window.start_ns == ns(start)
    assert window.length_ns == int(hours * 2) * HOUR // 2
    assert window.label == text


@pytest.mark.parametrize("zone", ZONES)
def test_day_start_agrees_with_a_walk_minute_by_minute(zone: str) -> None:
    days = [date(2026, month, day) for month in (3, 4, 10, 11) for day in (1, 5, 8, 25, 29)]
    days += [date(2018, 11, 4), date(2011, 12, 30), date(2011, 12, 31), date(2010, 4, 30), date(2024, 4, 26)]
    for day in days:
        assert calendar.day_start(day, ZoneInfo(zone)) == first_minute(day, zone), day


def test_a_gap_over_midnight_starts_the_day_at_the_jump() -> None:
    # Amman goes from 00:00 to 01:00, Nuuk from 23:00 to 24:00 of the day before, Toronto in 1919 from 23:30 to 00:30.
    for zone, day in (
        ("Asia/Amman", date(2022, 2, 25)),
        ("America/Nuuk", date(2025, 3, 30)),
        ("America/Toronto", date(1919, 3, 31)),
    ):
        assert calendar.day_start(day, ZoneInfo(zone)) == first_minute(day, zone)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(["day", "month", "quarter", "year"]),
    st.dates(date(1975, 1, 1), date(2040, 12, 31)),
)
def test_windows_tile_time_without_gap_or_overlap(zone: str, unit, day: date) -> None:
    window = calendar.calendar_window(unit, day, zone)
    before = calendar.previous(window)
    assert before.end_ns == window.start_ns
    assert before.unit == unit
    if window.length_ns:
        middle = (window.start_ns + window.end_ns) // 2
        assert calendar.window_at(Window(calendar=unit), zone, middle) == window
        assert calendar.window_at(Window(calendar=unit), zone, window.start_ns) == window


def test_the_days_of_a_year_add_up_to_the_year() -> None:
    for zone in ZONES:
        day, total = date(2026, 1, 1), 0
        while day.year == 2026:
            total += calendar.calendar_window("day", day, zone).length_ns
            day += timedelta(days=1)
        assert total == calendar.parse("2026", zone).length_ns


def test_a_window_is_open_until_its_last_nanosecond_has_passed() -> None:
    october = calendar.parse("2026-10", "UTC")
    assert not october.closed(ns("2026-10-31T23:59:59Z"))
    assert not october.closed(october.end_ns - 1)
    assert october.closed(october.end_ns)


def test_rolling_windows_end_on_the_grid_and_are_closed() -> None:
    now = ns("2026-11-05T12:00:07Z") + 123
    window = calendar.window_at(Window(calendar=None, rolling_ns=HOUR), "UTC", now)
    assert window.end_ns == ns("2026-11-05T12:00:00Z")
    assert window.length_ns == HOUR
    assert window.closed(now)
    assert window.label == "last 1h"
    assert calendar.previous(window).end_ns == window.start_ns


@pytest.mark.parametrize("text", ["2026-13", "2026-02-30", "october", "26-10", "2026-Q5", "", "2026/10"])
def test_a_period_that_is_none_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ValueFormatError, match="is not a period"):
        calendar.parse(text, "UTC")


@pytest.mark.parametrize("text", ["2026-10-31", "2026-10-31T23:00:00", "yesterday"])
def test_an_instant_needs_its_zone(text: str) -> None:
    with pytest.raises(ValueFormatError, match="is not an instant"):
        calendar.parse_instant(text)


def test_validity_cuts_the_window_at_local_midnights() -> None:
    contract = Contract(
        "c", "1", Party("p", "provider"), Party("c", "customer"), "Europe/Berlin", (),
        valid_from=date(2026, 10, 15), valid_to=date(2026, 10, 20),
    )  # fmt: skip
    october = calendar.parse("2026-10", "Europe/Berlin")
    part = calendar.within_validity(contract, october)
    assert part is not None
    assert part.start_ns == ns("2026-10-14T22:00:00Z")
    assert part.end_ns == ns("2026-10-20T22:00:00Z")  # the last day is part of the contract
    assert calendar.within_validity(contract, calendar.parse("2026-09", "Europe/Berlin")) is None


# Windows of every kind against a walk day by day and minute by minute.

UNITS = ("day", "week", "month", "quarter", "year", "contract_year", "billing_month")


def odd_one_out(tries: int, window_at: object = calendar.window_at) -> str:
    """First input on which the two calendars differ, or nothing."""
    for number in range(tries):
        dice = random.Random(f"calendar/{number}")
        zone, now = wall.near_a_move(dice, 24 * dice.choice((1, 1, 40, 400)))
        unit = dice.choice(UNITS)
        anchor = date(2000, 1, 1) + timedelta(days=dice.randrange(12_000))
        if dice.random() < 0.2:
            anchor = date(2024, 2, 29)
        elif dice.random() < 0.3:
            anchor = anchor.replace(month=1, day=31)
        asked = Window(unit, anchor=anchor, billing_day=anchor.day)
        found = window_at(asked, zone, now)  # type: ignore[operator]
        expected = wall.window(unit, now, zone, anchor)
        if now >= expected[1]:  # the clock ran back over midnight: the day before is over, though the wall shows it
            continue
        if (found.start_ns, found.end_ns) != expected:
            return f"{number}: {asked} at {now}: {found} instead of {expected}"
    return ""


@pytest.mark.timeout(3600)
def test_windows_equal_a_walk_by_the_calendar_on_the_wall() -> None:
    assert not odd_one_out(count("CALENDAR", 400, 100_000))


def test_the_walk_catches_a_month_that_rolls_over() -> None:
    def rolling_over(asked: Window, zone: str, now: int) -> calendar.WindowInstants:
        """A billing day that the month lacks becomes the first of the next one."""
        day = 1 if asked.calendar == "billing_month" and asked.billing_day > 28 else asked.billing_day
        return calendar.window_at(replace(asked, billing_day=day), zone, now)

    assert odd_one_out(400, rolling_over)


def test_the_walk_catches_days_of_24_hours() -> None:
    def plain(asked: Window, zone: str, now: int) -> calendar.WindowInstants:
        found = calendar.window_at(asked, zone, now)
        return replace(found, end_ns=found.start_ns + round(found.length_ns / (24 * HOUR)) * 24 * HOUR)

    assert odd_one_out(400, plain)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(UNITS), st.sampled_from(ZONES), st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)),
    st.dates(date(1990, 1, 1), date(2030, 1, 1)),
)  # fmt: skip
def test_windows_of_any_kind_touch_and_hold_their_instant(unit: str, zone: str, moment: datetime, anchor: date) -> None:
    now = calendar.from_datetime(moment.replace(tzinfo=UTC))
    asked = Window(unit, anchor=anchor, billing_day=anchor.day)  # type: ignore[arg-type]
    found = calendar.window_at(asked, zone, now)
    assert found.start_ns <= now < found.end_ns
    before = calendar.previous(found)
    assert before.end_ns == found.start_ns
    assert calendar.window_at(asked, zone, found.end_ns).start_ns == found.end_ns


@given(st.integers(-(10**15), 10**18), st.integers(1, 10**16))
def test_fixed_windows_follow_one_another_from_the_anchor(now: int, length: int) -> None:
    asked = Window(None, fixed_ns=length, anchor=date(2026, 1, 1))
    found = calendar.window_at(asked, "Europe/Berlin", now)
    assert found.start_ns <= now < found.end_ns
    assert found.length_ns == length
    assert (found.start_ns - ns("2025-12-31T23:00:00Z")) % length == 0
    assert calendar.previous(found) == calendar.window_at(asked, "Europe/Berlin", found.start_ns - 1)


def of(window: Window, zone: str = "Europe/Berlin", **more: object) -> Contract:
    party = Party("p", "provider")
    wanted = Objective("o", Metric.LOSS, Statistic(StatisticType.RATIO), Target(Fraction(0), "0 %"), window)
    return Contract("c", "1", party, party, zone, (wanted,), **more)  # type: ignore[arg-type]


def labels(contract: Contract, period: str) -> list[str]:
    within = calendar.parse(period, contract.time_zone)
    return [item.label for item in calendar.windows_ending_in(contract, contract.objectives[0], within)]


def test_windows_that_end_in_a_period() -> None:
    assert labels(of(Window("month")), "2026-10") == ["2026-10"]
    assert labels(of(Window("month")), "2026-Q4") == ["2026-10", "2026-11", "2026-12"]
    assert len(labels(of(Window("day")), "2026-10")) == 31
    # Weeks end with their Sunday: 4, 11, 18 and 25 October 2026; week 44 ends on 1 November.
    assert labels(of(Window("week")), "2026-10") == ["2026-W40", "2026-W41", "2026-W42", "2026-W43"]
    assert labels(of(Window("quarter")), "2026-10") == []
    assert labels(of(Window("quarter")), "2026-12") == ["2026-Q4"]
    assert labels(of(Window("year")), "2026-12") == ["2026"]
    assert labels(of(Window("billing_month", billing_day=15)), "2026-10") == ["month from 2026-09-15"]
    years = of(Window("contract_year"), service_start=date(2024, 10, 10))
    assert labels(years, "2026-10") == ["year from 2025-10-10"]
    assert labels(years, "2026-09") == []
    fixed = of(Window(None, fixed_ns=720 * HOUR, anchor=date(2026, 1, 1)))
    # 30 days each from 1 January: number 9 begins after 270 days, on 28 September, an hour later by summer time.
    assert labels(fixed, "2026-10") == ["30d from 2026-09-28 01:00"]
    assert labels(of(Window(None, rolling_ns=720 * HOUR)), "2026-10") == ["last 30d"]
    skipped = of(Window("day"), "Pacific/Apia")
    assert "2011-12-30" not in labels(skipped, "2011-12")
    assert len(labels(skipped, "2011-12")) == 30


def test_contract_years_need_a_beginning() -> None:
    with pytest.raises(ValueFormatError, match="contract years begin"):
        calendar.resolve(of(Window("contract_year")), Window("contract_year"), 0)
    since = of(Window("contract_year"), valid_from=date(2026, 3, 1))
    assert calendar.resolve(since, Window("contract_year"), ns("2026-06-01T00:00:00Z")).label == "year from 2026-03-01"


@pytest.mark.parametrize("text", ["2026-W00", "2026-W54", "2025-W53", "2026-W1", "1960-W02"])
def test_weeks_that_do_not_exist(text: str) -> None:
    with pytest.raises(ValueFormatError):
        calendar.parse(text, "UTC")


def test_a_week_by_its_iso_name() -> None:
    # 2026 begins on a Thursday: week 1 is that of Thursday, 1 January, and begins on Monday, 29 December 2025.
    assert calendar.parse("2026-W01", "UTC").start_ns == ns("2025-12-29T00:00:00Z")
    assert calendar.parse("2026w40", "UTC").label == "2026-W40"
