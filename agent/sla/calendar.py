"""Windows of a contract as UTC instants: calendar units of an IANA zone, and rolling ones. Pure: `now` is an argument.

A day is what the zone's law makes of it: 23, 24 or 25 hours, or 24.5 on Lord Howe Island.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from agent.sla.contract import SECOND_NS, CalendarUnit, Contract, Window
from agent.sla.zones import zone as zone_named
from probes.core.errors import ValueFormatError
from probes.core.units import format_duration

ROLLING_GRID_NS: Final = 10 * SECOND_NS
"""Rolling windows end on a multiple of this, so that they hold whole samples."""

_FIRST_YEAR: Final = 1971
_LAST_YEAR: Final = 2199
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER: Final = re.compile(r"(\d{4})-?Q([1-4])", re.IGNORECASE)
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")


@dataclass(frozen=True, slots=True)
class WindowInstants:
    """Half-open [start_ns, end_ns) in UTC ns. `first` is the first local date of a calendar window."""

    start_ns: int
    end_ns: int
    label: str
    zone: str
    unit: CalendarUnit | None = None
    first: date | None = None

    def closed(self, now_ns: int) -> bool:
        """True when all of it has passed."""
        return self.end_ns <= now_ns

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns


def from_datetime(moment: datetime) -> int:
    """Aware datetime to UTC ns, exact."""
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def local_time(instant_ns: int, zone: tzinfo) -> datetime:
    """UTC ns to local time, whole microseconds."""
    return (_EPOCH + timedelta(microseconds=instant_ns // 1000)).astimezone(zone)


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


def calendar_window(unit: CalendarUnit, day: date, zone: str) -> WindowInstants:
    """The day, month, quarter or year of `zone` that holds the local date `day`."""
    first = _first_day(unit, day)
    info = zone_named(zone).info
    start, end = day_start(first, info), day_start(_next_first_day(unit, first), info)
    return WindowInstants(start, end, _label(unit, first), zone, unit, first)


def window_at(window: Window, zone: str, now_ns: int) -> WindowInstants:
    """The window that holds `now`; a rolling one ends at the last full grid step before it."""
    if window.calendar is None:
        length = window.rolling_ns or 0
        end = now_ns // ROLLING_GRID_NS * ROLLING_GRID_NS
        return WindowInstants(end - length, end, f"last {format_duration(length)}", zone)
    found = calendar_window(window.calendar, local_time(now_ns, zone_named(zone).info).date(), zone)
    if now_ns >= found.end_ns:  # St John's, until 2011: at 00:01 it became 23:01 of the day before, which was over
        found = calendar_window(window.calendar, _next_first_day(window.calendar, found.first or date.min), zone)
    return found


def previous(instants: WindowInstants) -> WindowInstants:
    """The window just before: the calendar unit before, or the same length for a rolling one."""
    if instants.unit is None or instants.first is None:
        return replace(instants, start_ns=instants.start_ns - instants.length_ns, end_ns=instants.start_ns)
    return calendar_window(instants.unit, instants.first - timedelta(days=1), instants.zone)


def parse(text: str, zone: str) -> WindowInstants:
    """`2026`, `2026-Q4`, `2026-10` or `2026-10-05` as a window of `zone`. Raises ValueFormatError."""
    _check_year(text)
    quarter = _QUARTER.fullmatch(text.strip())
    plain = _DATE.fullmatch(text.strip())
    try:
        if quarter:
            return calendar_window("quarter", date(int(quarter[1]), 3 * int(quarter[2]) - 2, 1), zone)
        if plain:
            unit: CalendarUnit = "day" if plain[3] else "month" if plain[2] else "year"
            return calendar_window(unit, date(int(plain[1]), int(plain[2] or 1), int(plain[3] or 1)), zone)
    except (ValueError, OverflowError):
        pass  # no such month or day: told below
    raise ValueFormatError(f"{text!r} is not a period", hint="write it like 2026-10, 2026-10-05, 2026-Q4 or 2026")


def parse_instant(text: str) -> int:
    """ISO 8601 with a zone (`2026-10-31T23:00:00Z`) to UTC ns. Raises ValueFormatError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueFormatError(f"{text!r} is not an instant", hint="write it like 2026-10-31T23:00:00Z")
    _check_year(text)
    return from_datetime(moment)


def _check_year(text: str) -> None:
    """Times are int64 ns: they end in 2262."""
    year = text.strip()[:4]
    if year.isdecimal() and len(year) == 4 and not _FIRST_YEAR <= int(year) <= _LAST_YEAR:
        raise ValueFormatError(f"{text!r} is out of reach", hint=f"years {_FIRST_YEAR} to {_LAST_YEAR}")


def within_validity(contract: Contract, instants: WindowInstants) -> WindowInstants | None:
    """The part of the window in which the contract is valid; None when there is none."""
    zone = zone_named(contract.time_zone).info
    start, end = instants.start_ns, instants.end_ns
    if contract.valid_from is not None:
        start = max(start, day_start(contract.valid_from, zone))
    if contract.valid_to is not None:
        end = min(end, day_start(contract.valid_to + timedelta(days=1), zone))
    return replace(instants, start_ns=start, end_ns=end) if start < end else None


def _first_day(unit: CalendarUnit, day: date) -> date:
    if unit == "day":
        return day
    month = {"month": day.month, "quarter": day.month - (day.month - 1) % 3, "year": 1}[unit]
    return day.replace(month=month, day=1)


def _next_first_day(unit: CalendarUnit, first: date) -> date:
    if unit == "day":
        return first + timedelta(days=1)
    months = first.year * 12 + first.month - 1 + {"month": 1, "quarter": 3, "year": 12}[unit]
    return date(months // 12, months % 12 + 1, 1)


def _label(unit: CalendarUnit, first: date) -> str:
    return {
        "day": f"{first:%Y-%m-%d}",
        "month": f"{first:%Y-%m}",
        "quarter": f"{first:%Y}-Q{(first.month + 2) // 3}",
        "year": f"{first:%Y}",
    }[unit]
