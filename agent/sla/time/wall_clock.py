"""Local time of a zone and instants in UTC ns, both ways, and when a zone moves its clocks. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from agent.sla.time.zones import zone as zone_named

SECOND_NS: Final = 10**9
DAY_NS: Final = 86400 * SECOND_NS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_S: Final = 3 * 3600
"""No zone of the tz database moves its clocks there and back again within so short a time."""


def from_datetime(moment: datetime) -> int:
    """Aware datetime to UTC ns, exact."""
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def local_time(instant_ns: int, zone: tzinfo) -> datetime:
    """UTC ns to local time, whole microseconds."""
    return (_EPOCH + timedelta(microseconds=instant_ns // 1000)).astimezone(zone)


def local_date(instant_ns: int, zone: str) -> date:
    """Date on the wall of the IANA zone at an instant in UTC ns."""
    return local_time(instant_ns, zone_named(zone).info).date()


def day_start(day: date, zone: tzinfo) -> int:
    """First instant whose local date is `day` or later, even where midnight was skipped."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    instant = from_datetime(midnight.astimezone(UTC))
    if local_time(instant, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    early, late = instant // SECOND_NS - 2 * 86400, instant // SECOND_NS
    while late - early > 1:  # local dates never run back over midnight here: the clock jumped forward
        middle = (early + late) // 2
        early, late = (early, middle) if local_time(middle * SECOND_NS, zone).date() >= day else (middle, late)
    return late * SECOND_NS


def year_start(year: int) -> int:
    """UTC ns at which a year of UTC begins."""
    return from_datetime(datetime(year, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=1024)
def offsets(zone: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """Stretches [start_ns, end_ns) of one year of UTC with what the zone adds to UTC in each, ns, in time."""
    info = zone_named(zone).info
    start, end = year_start(year) // SECOND_NS, year_start(year + 1) // SECOND_NS

    def offset(second: int) -> int:
        added = (_EPOCH + timedelta(seconds=second)).astimezone(info).utcoffset() or timedelta()
        return added.days * 86400 + added.seconds

    found, since, now = [], start, offset(start)
    for look in [*range(start + _LOOK_S, end, _LOOK_S), end - 1]:
        after = offset(look)
        if after == now:
            continue
        early, late = max(look - _LOOK_S, start), look
        while late - early > 1:
            middle = (early + late) // 2
            early, late = (middle, late) if offset(middle) == now else (early, middle)
        found.append((since, late, now))
        since, now = late, after
    found.append((since, end, now))
    return tuple((first * SECOND_NS, last * SECOND_NS, added * SECOND_NS) for first, last, added in found)
