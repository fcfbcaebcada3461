"""Service hours: against a walk minute by minute of the clock on the wall, and what must hold of any hours."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.time import hours as service
from agent.sla.time.hours import Daily, Hours
from agent.sla.time.wall_clock import local_time, offsets, year_start
from agent.sla.time.zones import zone
from probes.core.errors import ValueFormatError
from tests.fakes import clocks_on_the_wall as wall
from tests.fakes.clocks_on_the_wall import DAY, HOUR, MINUTE
from tests.faults.counts import count

EVERY_DAY = frozenset(range(7))
OFFICE = Hours((Daily(frozenset(range(5)), 480, 1080),), "Europe/Berlin")


def disagreement(tries: int, worked: object = service.worked, seed: int = 0) -> str:
    """First input on which the two implementations differ, or nothing."""
    for number in range(tries):
        dice = random.Random(f"{seed}/{number}")
        name, start = wall.near_a_move(dice, 30)
        hours = wall.some_hours(dice, name, start)
        end = start + dice.choice((HOUR, 6 * HOUR, dice.randrange(36 * HOUR)))
        expected, got = wall.worked(hours, start, end), worked(hours, start, end)  # type: ignore[operator]
        if got != expected:
            return f"{number}: {hours} from {start} to {end}: {got} instead of {expected}"
    return ""


@pytest.mark.timeout(3600)
def test_hours_equal_a_walk_by_the_clock_on_the_wall() -> None:
    assert not disagreement(count("HOURS", 400, 50_000))


def test_the_walk_catches_hours_that_ignore_summer_time() -> None:
    def fixed(hours: Hours, start_ns: int, end_ns: int) -> int:
        """Takes the offset at the start for all of it."""
        added = local_time(start_ns, zone(hours.time_zone).info).utcoffset() or timedelta()
        shift = added // timedelta(microseconds=1) * 1000
        in_utc = Hours(hours.daily, "UTC", hours.holidays, hours.dates)
        return service.worked(in_utc, start_ns + shift, end_ns + shift)

    assert disagreement(400, fixed)


def test_the_walk_catches_holidays_by_the_date_of_utc() -> None:
    def by_utc(hours: Hours, start_ns: int, end_ns: int) -> int:
        whole = service.spans(Hours(hours.daily, hours.time_zone, "include"), start_ns, end_ns)
        dates = Hours((Daily(EVERY_DAY, 0, 1440),), "UTC", "only", hours.dates)
        holidays = service.spans(dates, start_ns, end_ns)
        if hours.holidays == "include":
            return whole.length_ns
        return (whole - holidays if hours.holidays == "exclude" else whole & holidays).length_ns

    assert disagreement(400, by_utc)


def test_no_zone_moves_its_clock_twice_between_two_looks() -> None:
    """A move is found by looking every three hours: none may be hidden between two looks. Some zones a run."""
    names = sorted(available_timezones())
    step = max(1, len(names) // count("ZONES", 6, len(names)))
    year = 2011  # when Samoa left out a day, and St John's moved at a minute past midnight
    for name in names[::step]:
        info = zone(name).info
        seen = offsets(name, year)
        assert seen[0][0] == year_start(year)
        assert seen[-1][1] == year_start(year + 1)
        moment, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        moves = []
        while moment < end - timedelta(minutes=15):
            after = moment + timedelta(minutes=15)
            if moment.astimezone(info).utcoffset() != after.astimezone(info).utcoffset():
                moves.append(wall.instant(after))
            moment = after
        found = [start for start, _, _ in seen[1:]]
        assert len(found) == len(moves), name
        assert all(late - 15 * MINUTE < at <= late for at, late in zip(found, moves, strict=True)), name


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), amount=st.integers(1, 50 * HOUR))
def test_after_is_the_first_instant_by_which_so_much_is_worked(seed: int, amount: int) -> None:
    dice = random.Random(seed)
    name, start = wall.near_a_move(dice, 30)
    hours = wall.some_hours(dice, name, start)
    if hours.holidays == "only":
        hours = Hours(hours.daily, name)
    until = service.after(hours, start, amount)
    assert service.worked(hours, start, until) == amount
    assert service.worked(hours, start, until - 1) == amount - 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), part=st.floats(0, 1))
def test_worked_time_of_two_halves_adds_up(seed: int, part: float) -> None:
    dice = random.Random(seed)
    name, start = wall.near_a_move(dice, 30)
    hours = wall.some_hours(dice, name, start)
    end = start + dice.randrange(400) * DAY
    middle = start + int((end - start) * part)
    whole = service.worked(hours, start, end)
    assert whole == service.worked(hours, start, middle) + service.worked(hours, middle, end)
    assert whole == service.spans(hours, start, end).length_ns
    assert 0 <= whole <= end - start


def test_a_clock_that_moves_by_odd_seconds() -> None:
    """Monrovia was 44 min 30 s behind UTC until 7 January 1972, when its clock went on by as much: second by second."""
    hours = Hours((Daily(EVERY_DAY, 1430, 1440), Daily(EVERY_DAY, 0, 50)), "Africa/Monrovia")
    start = wall.instant(datetime(1972, 1, 7, tzinfo=UTC)) - HOUR // 4
    second = MINUTE // 60
    expected = sum(second * wall.counts(hours, at) for at in range(start, start + 2 * HOUR, second))
    assert service.worked(hours, start, start + 2 * HOUR) == expected
    # 23:50 to 24:00 on the wall are 600 s. Then midnight is 00:44:30 at once, and 330 s are left until 00:50.
    assert expected == 600 * second + 330 * second


def test_without_hours_all_time_counts() -> None:
    assert service.worked(None, 5, 12) == 7
    assert service.worked(None, 12, 5) == 0
    assert service.after(None, 5, 7) == 12
    assert service.worked(OFFICE, 12, 5) == 0
    assert not len(service.spans(OFFICE, 12, 5))


def test_hours_that_never_come_are_told() -> None:
    never = Hours((Daily(EVERY_DAY, 0, 1440),), "UTC", "only", frozenset(), "holidays only")
    with pytest.raises(ValueFormatError, match="holidays only"):
        service.after(never, 0, 1)
    with pytest.raises(ValueFormatError, match="no business day"):
        service.business_day_deadline(never, "UTC", date(2026, 1, 1), 1, True, ())


def test_a_day_that_the_zone_skipped_is_no_business_day() -> None:
    # Samoa left out Friday, 30 December 2011: after Thursday the 29th comes Saturday the 31st.
    assert service.business_day_deadline(None, "Pacific/Apia", date(2011, 12, 29), 1, True, ()) == date(2012, 1, 2)
    assert service.business_day_deadline(None, "UTC", date(2011, 12, 29), 1, True, ()) == date(2011, 12, 30)


def test_business_days_follow_the_hours_where_there_are_any() -> None:
    saturday = Hours((Daily(frozenset({5}), 480, 720),), "UTC", dates=frozenset({date(2026, 10, 10)}))
    assert service.business_day_deadline(saturday, "UTC", date(2026, 10, 1), 2, True, ()) == date(2026, 10, 17)
    only = Hours((Daily(EVERY_DAY, 0, 1440),), "UTC", "only", frozenset({date(2026, 10, 10)}))
    assert service.business_day_deadline(only, "UTC", date(2026, 10, 1), 1, True, ()) == date(2026, 10, 10)
