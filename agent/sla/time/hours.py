"""Service hours: the part of the week that counts, in local time of a zone, with holidays. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from functools import lru_cache
from typing import Final, Literal

import numpy as np

from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.time.wall_clock import DAY_NS, SECOND_NS, day_start, local_time, offsets, year_start
from agent.sla.time.zones import zone as zone_named
from probes.core.errors import ValueFormatError


@dataclass(frozen=True, slots=True)
class Daily:
    """On these weekdays (0 Monday .. 6 Sunday) from start_minute to end_minute of local wall-clock time, half-open.

    end_minute may be 1440. A stretch over midnight is two of these.
    """

    weekdays: frozenset[int]
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Hours:
    """Union of `daily` in time_zone. holidays: `exclude` takes them out, `only` keeps nothing else, `include` ignores
    that they are holidays. dates: the holidays."""

    daily: tuple[Daily, ...]
    time_zone: str
    holidays: Literal["include", "exclude", "only"] = "exclude"
    dates: frozenset[date] = frozenset()
    text: str = ""
    """as written, for people: `Mon-Fri 08:00-18:00 Europe/Berlin`"""


_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday."""
_MINUTE_NS: Final = 60 * SECOND_NS
_FAR_YEARS: Final = 20
"""Further ahead no service time is looked for."""
_SATURDAY: Final = 5


def spans(hours: Hours, start_ns: int, end_ns: int) -> Spans:
    """Service time in [start_ns, end_ns): every instant whose local time lies in the hours.

    An hour that the clock jumps over has no instants; one that it runs through twice counts twice.
    """
    if start_ns >= end_ns:
        return NOWHERE
    years = range(_year(start_ns), _year(end_ns - 1) + 1)
    parts = [_in_year(hours, year) for year in years]
    start = np.concatenate([part.start_ns for part in parts])
    end = np.concatenate([part.end_ns for part in parts])
    return Spans.union(start, end).within(start_ns, end_ns)


def worked(hours: Hours | None, start_ns: int, end_ns: int) -> int:
    """ns of service time in [start_ns, end_ns); all of it where hours is None."""
    if start_ns >= end_ns:
        return 0
    if hours is None:
        return end_ns - start_ns
    begin, end = np.array([start_ns], np.int64), np.array([end_ns], np.int64)
    return sum(
        int(_in_year(hours, year).cover(begin, end)[0]) for year in range(_year(start_ns), _year(end_ns - 1) + 1)
    )


def after(hours: Hours | None, start_ns: int, ns: int) -> int:
    """First instant by which `ns` of service time have passed since start_ns; start_ns itself for none.

    Raises ValueFormatError where the hours hold so little that it takes longer than twenty years.
    """
    if hours is None or ns <= 0:
        return start_ns + max(ns, 0)
    first, left = _year(start_ns), ns
    for year in range(first, first + _FAR_YEARS + 1):
        part = _in_year(hours, year).within(start_ns, year_start(year + 1))
        total = np.cumsum(part.end_ns - part.start_ns)
        if len(part) and int(total[-1]) >= left:
            index = int(np.searchsorted(total, left, "left"))
            return int(part.end_ns[index]) - (int(total[index]) - left)
        left -= part.length_ns
    raise ValueFormatError(
        f"the hours {hours.text or 'of the contract'} hold too little time", hint="check their days and holidays"
    )


def is_business_day(hours: Hours | None, zone: str, day: date, holidays: Collection[date]) -> bool:
    """Neither weekend nor holiday; with hours, a day on which some of them lie. A day the zone skipped is none."""
    info = zone_named(zone).info
    if day_start(day, info) == day_start(day + timedelta(days=1), info):
        return False
    if hours is None:
        return day.weekday() < _SATURDAY and day not in holidays
    if (hours.holidays == "exclude" and (day in hours.dates or day in holidays)) or (
        hours.holidays == "only" and day not in hours.dates
    ):
        return False
    return any(day.weekday() in item.weekdays and item.start_minute < item.end_minute for item in hours.daily)


def business_day_deadline(
    hours: Hours | None, zone: str, after: date, days: int, business: bool, holidays: Collection[date]
) -> date:
    """Last local date of a period of `days` days after the date `after`, which itself does not count.

    business: only business days count, so the last is one. Raises ValueFormatError where there are too few of them.
    """
    if not business:
        return after + timedelta(days=days)
    day, left = after, days
    for _ in range(366 * _FAR_YEARS):
        if left <= 0:
            return day
        day += timedelta(days=1)
        left -= is_business_day(hours, zone, day, holidays)
    raise ValueFormatError("no business day comes for twenty years", hint="check the days and holidays of the hours")


def _year(instant_ns: int) -> int:
    return local_time(instant_ns, UTC).year


@lru_cache(maxsize=512)
def _in_year(hours: Hours, year: int) -> Spans:
    """Service time of one year of UTC."""
    dates = np.array([day.toordinal() - _EPOCH_DAY for day in hours.dates], np.int64)
    starts, ends = [], []
    for first_ns, last_ns, added_ns in offsets(hours.time_zone, year):
        days = np.arange((first_ns + added_ns) // DAY_NS, (last_ns + added_ns - 1) // DAY_NS + 1, dtype=np.int64)
        if hours.holidays != "include":
            days = days[np.isin(days, dates, invert=hours.holidays == "exclude")]
        weekdays = (days + _EPOCH_WEEKDAY) % 7
        for item in hours.daily:
            chosen = days[np.isin(weekdays, sorted(item.weekdays))] * DAY_NS - added_ns
            starts.append(np.maximum(chosen + item.start_minute * _MINUTE_NS, first_ns))
            ends.append(np.minimum(chosen + item.end_minute * _MINUTE_NS, last_ns))
    return Spans.union(np.concatenate(starts), np.concatenate(ends)) if starts else NOWHERE
