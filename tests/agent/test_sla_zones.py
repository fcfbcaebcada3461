"""Every zone of the tz database, 1970 to 2040: windows tile time and are as long as the law of the place made them.

The oracle is another implementation of the same rules: the C library's local time, asked hour by hour, and second by
second where its offset changed.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfoNotFoundError, available_timezones

import pytest

from agent.sla.terms.contract import CalendarUnit, Window
from agent.sla.time import calendar, zones
from tests.faults.counts import count

SECOND, HOUR, DAY = 10**9, 3600 * 10**9, 86400 * 10**9
FIRST, LAST = date(1970, 1, 3), date(2040, 12, 30)
EPOCH = date(1970, 1, 1)
ODD = (
    "Europe/Berlin",
    "Australia/Lord_Howe",  # moves by half an hour
    "America/St_Johns",  # went back over midnight at 00:01
    "Pacific/Apia",  # left out a day
    "America/Nuuk",  # goes forward over midnight
    "Africa/Casablanca",  # several changes a year
    "Antarctica/Troll",  # moves by two hours
)
UNITS: tuple[CalendarUnit, ...] = ("day", "month", "quarter", "year")


def chosen() -> list[str]:
    """The odd ones and some others; all of them by LINKWITNESS_FAULTS=long. Without `posix/` and what has no rules."""
    known = [name for name in sorted(available_timezones()) if any(Path(place, name).is_file() for place in TZPATH)]
    few = count("ZONES", len(ODD) + 5, len(known))
    rest = [name for name in known if name not in ODD]
    return [*ODD, *random.Random(few).sample(rest, min(len(rest), max(0, few - len(ODD))))]


@pytest.fixture
def c_library() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def offset(second: int) -> int:
    return time.localtime(second).tm_gmtoff


def changes(zone: str) -> list[tuple[int, int]]:
    """(UTC second from which it holds, seconds east of Greenwich), by the C library."""
    os.environ["TZ"] = f":{zone}"
    time.tzset()
    begin, end = -2 * 86400, (LAST - EPOCH).days * 86400 + 3 * 86400
    found = [(begin, offset(begin))]
    step = count("ZONE_STEP", 3 * 3600, 1800)
    for late in range(begin + step, end, step):
        early = late - step
        while offset(late) != found[-1][1]:
            low, high = early, late
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == found[-1][1] else (low, middle)
            found.append((high, offset(high)))
            early = high
    return found


def naive_starts(law: list[tuple[int, int]]) -> dict[date, int]:
    """First second at which the local date is this day or a later one, by going through the laws in order."""
    starts, day = {}, FIRST
    for number, (since, east) in enumerate(law):
        until = law[number + 1][0] if number + 1 < len(law) else None
        while day <= LAST + timedelta(days=1):
            midnight = (day - EPOCH).days * 86400 - east
            if until is not None and midnight >= until:
                break
            starts[day] = max(midnight, since)
            day += timedelta(days=1)
    return starts


@pytest.mark.usefixtures("c_library")
@pytest.mark.parametrize("zone", chosen())
def test_every_window_is_what_the_c_library_makes_of_it(zone: str, tallied: Callable[[str, int], None]) -> None:
    law = changes(zone)
    starts = naive_starts(law)
    info = zones.zone(zone).info
    day, total = FIRST, 0
    while day <= LAST:
        begin, end = starts[day], starts[day + timedelta(days=1)]
        assert calendar.day_start(day, info) == begin * SECOND, (zone, day)
        total += end - begin
        if end - begin != 86400:
            assert calendar.calendar_window("day", day, zone).length_ns == (end - begin) * SECOND, (zone, day)
            _check_edges(zone, day, law)
        day += timedelta(days=1)
    whole = starts[LAST + timedelta(days=1)] - starts[FIRST]
    assert total == whole, "the days add up to the whole time"
    for unit in UNITS[1:]:
        _check_tiling(zone, unit, starts)
    tallied("time zones, days as the C library makes them", (LAST - FIRST).days + 1)


def _check_edges(zone: str, day: date, law: list[tuple[int, int]]) -> None:
    """Around a change, every instant is in one window of each unit, and it is the one that says so."""
    edge = calendar.calendar_window("day", day, zone)
    instants = {edge.start_ns, edge.end_ns - 1, edge.end_ns, edge.start_ns + edge.length_ns // 2}
    instants |= {(since + near) * SECOND for since, _ in law for near in (-3600, -1, 0, 1, 1800)
                 if abs(since * SECOND - edge.start_ns) <= 2 * DAY}  # fmt: skip
    for instant in instants:
        for unit in UNITS:
            window = calendar.window_at(Window(calendar=unit), zone, instant)
            assert window.start_ns <= instant < window.end_ns, (zone, unit, day, instant)


def _check_tiling(zone: str, unit: CalendarUnit, starts: dict[date, int]) -> None:
    window = calendar.calendar_window(unit, date(1971, 1, 1), zone)
    while window.first is not None and window.first.year <= 2039:
        after = calendar.window_at(Window(calendar=unit), zone, window.end_ns)
        assert (window.start_ns, window.end_ns) == (starts[window.first] * SECOND, after.start_ns)
        assert after.first is not None
        assert calendar.previous(after) == window
        days = (after.first - window.first).days
        lengths = (starts[window.first + timedelta(days=k + 1)] - starts[window.first + timedelta(days=k)]
                   for k in range(days))  # fmt: skip
        assert window.length_ns == sum(lengths) * SECOND
        window = after


@pytest.mark.usefixtures("c_library")
def test_the_oracle_sees_days_of_23_24_and_25_hours_and_half_hours() -> None:
    """The harness catches what it must: a day taken for 24 hours would be found in each of these years."""
    for zone, expected in (("Europe/Berlin", {23, 24, 25}), ("Australia/Lord_Howe", {23.5, 24, 24.5}), ("UTC", {24})):
        starts = naive_starts(changes(zone))
        days = [date(2026, 1, 1) + timedelta(days=k) for k in range(365)]
        assert {(starts[day + timedelta(days=1)] - starts[day]) / 3600 for day in days} == expected


@pytest.mark.parametrize("length", [HOUR, 30 * DAY, 366 * DAY])
def test_rolling_windows_are_as_long_as_they_say_whatever_the_clocks_on_the_wall_do(length: int) -> None:
    # 2026-10-25T01:00Z: summer time ends in Berlin, and 02:00 to 03:00 comes twice.
    change = calendar.parse_instant("2026-10-25T01:00:00Z")
    for now in range(change - HOUR, change + HOUR, 600 * SECOND):
        window = calendar.window_at(Window(None, length), "Europe/Berlin", now)
        assert (window.length_ns, window.end_ns) == (length, now)
        assert calendar.previous(window).end_ns == window.start_ns


def _database(place: Path, edition: str, rules: str) -> None:
    """A tz database of one zone, Test/City, that has the rules of another."""
    source = next(Path(path, rules) for path in TZPATH if Path(path, rules).is_file())
    (place / "Test").mkdir(parents=True, exist_ok=True)
    (place / "Test" / "City").write_bytes(source.read_bytes())
    (place / "tzdata.zi").write_text(f"# version {edition}\n# This file is in the public domain.\n")


def test_an_update_of_the_database_in_mid_month_changes_no_window_of_a_running_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _database(tmp_path, "2026a", "Europe/Berlin")
    monkeypatch.setattr(zones, "TZPATH", (str(tmp_path),))
    before = calendar.parse("2026-10", "Test/City")
    law = zones.zone("Test/City").law
    assert law.startswith("2026a ")
    _database(tmp_path, "2026b", "America/New_York")
    assert calendar.parse("2026-10", "Test/City") == before
    assert zones.zone("Test/City").law == law, "what the verdicts name is what the windows were made of"
    zones.zone.cache_clear()  # as in a new process
    calendar.calendar_window.cache_clear()
    assert calendar.parse("2026-10", "Test/City") != before
    assert zones.zone("Test/City").law.startswith("2026b ")
    assert zones.zone("Test/City").law.split()[1] != law.split()[1]
    zones.zone.cache_clear()


@pytest.mark.parametrize("name", ["Europe/Bergen-op-Zoom", "../../etc/passwd", "/etc/localtime", "", "Europe", "a b"])
def test_what_is_no_zone_is_told(name: str) -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        zones.zone(name)


def test_without_the_system_s_database_the_package_s_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    zones.zone.cache_clear()
    monkeypatch.setattr(zones, "TZPATH", ())
    assert zones.zone("Europe/Berlin").edition[:2] == "20"
    zones.zone.cache_clear()
