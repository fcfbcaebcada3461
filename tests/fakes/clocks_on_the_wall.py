"""Naive calendars and service hours: walks through time step by step, and asks the clock on the wall at each."""

import random
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from agent.sla.time.hours import Daily, Hours

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MOVES = (
    # zone, instant near which its clock moves
    ("Europe/Berlin", "2026-03-29T01:00:00"),  # 02:00 -> 03:00
    ("Europe/Berlin", "2026-10-25T01:00:00"),  # 03:00 -> 02:00
    ("America/New_York", "2026-03-08T07:00:00"),
    ("America/New_York", "2026-11-01T06:00:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00"),  # half an hour
    ("Australia/Lord_Howe", "2026-10-03T15:30:00"),
    ("Pacific/Apia", "2011-12-30T10:00:00"),  # 30 December 2011 was left out
    ("Pacific/Kwajalein", "1993-08-21T12:00:00"),  # 21 August 1993 was left out
    ("America/Sao_Paulo", "2017-10-15T03:00:00"),  # midnight was left out
    ("America/St_Johns", "2010-11-07T02:31:00"),  # 00:01 became 23:01 of the day before
    ("Africa/Cairo", "2026-04-23T22:00:00"),
    ("Antarctica/Troll", "2026-03-29T01:00:00"),  # two hours
    ("Asia/Kathmandu", "1985-12-31T18:30:00"),  # +5:30 became +5:45
    ("UTC", "2026-02-28T23:59:00"),
)


def instant(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def on_the_wall(ns: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(microseconds=ns // 1000)).astimezone(zone)


def near_a_move(dice: random.Random, spread_hours: int) -> tuple[str, int]:
    """A zone, and an instant not far from where its clock moves."""
    zone, text = dice.choice(MOVES)
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    seconds = dice.randrange(-spread_hours * 3600, spread_hours * 3600)
    return zone, instant(moment) + seconds * 10**9 + dice.choice((0, 0, 1, 999_999_999))


def some_hours(dice: random.Random, zone: str, around_ns: int) -> Hours:
    daily = []
    for _ in range(dice.randrange(1, 4)):
        begin = dice.choice((0, 30, 60, 120, 150, 480, dice.randrange(1440)))
        end = dice.choice((1440, dice.randrange(begin + 1, 1441)))
        days = frozenset(dice.sample(range(7), dice.randrange(1, 8)))
        daily.append(Daily(days, begin, end))
    today = on_the_wall(around_ns, ZoneInfo(zone)).date()
    dates = frozenset(today + timedelta(days=dice.randrange(-2, 3)) for _ in range(dice.randrange(3)))
    return Hours(tuple(daily), zone, dice.choice(("include", "exclude", "only")), dates)


def counts(hours: Hours, ns: int) -> bool:
    """Whether the instant is service time: what the clock on the wall shows decides."""
    local = on_the_wall(ns, ZoneInfo(hours.time_zone))
    holiday = local.date() in hours.dates
    if (hours.holidays == "exclude" and holiday) or (hours.holidays == "only" and not holiday):
        return False
    minute = local.hour * 60 + local.minute
    return any(local.weekday() in day.weekdays and day.start_minute <= minute < day.end_minute for day in hours.daily)


def worked(hours: Hours, start_ns: int, end_ns: int) -> int:
    """Minute by minute of UTC: no clock of these zones moves within a minute."""
    total, at = 0, start_ns
    while at < end_ns:
        until = min(at // MINUTE * MINUTE + MINUTE, end_ns)
        total += (until - at) * counts(hours, at)
        at = until
    return total


def begins(unit: str, day: date, anchor: date) -> bool:
    """Whether a calendar unit begins on the date."""
    length = monthrange(day.year, day.month)[1]
    on_its_day = day.day == min(anchor.day, length)
    return {
        "day": True,
        "week": day.weekday() == 0,
        "month": day.day == 1,
        "quarter": day.day == 1 and day.month in (1, 4, 7, 10),
        "year": day.day == 1 and day.month == 1,
        "billing_month": on_its_day,
        "contract_year": on_its_day and day.month == anchor.month,
    }[unit]


def first_instant(day: date, zone: str) -> int:
    """Minute by minute until the wall shows the date or a later one."""
    info = ZoneInfo(zone)
    at = instant(datetime(day.year, day.month, day.day, tzinfo=UTC)) - 15 * HOUR
    while on_the_wall(at, info).date() < day:
        at += MINUTE
    return at


def window(unit: str, now_ns: int, zone: str, anchor: date) -> tuple[int, int]:
    """Day by day back to where the unit begins, and on to where the next one does."""
    first = on_the_wall(now_ns, ZoneInfo(zone)).date()
    while not begins(unit, first, anchor):
        first -= timedelta(days=1)
    following = first + timedelta(days=1)
    while not begins(unit, following, anchor):
        following += timedelta(days=1)
    return first_instant(first, zone), first_instant(following, zone)
