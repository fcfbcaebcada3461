"""Windows as UTC instants: worked examples of DST days, and a naive search minute by minute as oracle."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla import calendar
from agent.sla.contract import Contract, Party, Window
from probes.core.errors import ValueFormatError

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
