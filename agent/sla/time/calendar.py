"""Windows of a contract as UTC instants: calendar units of an IANA zone, rolling ones and fixed ones. Pure: `now` is an
argument.

A day is what the zone's law makes of it: 23, 24 or 25 hours, or 24.5 on Lord Howe Island. Where a window begins on a
day that its month lacks (a billing day 31 in April, a contract year since 29 February), it begins on the last one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

from agent.sla.terms.contract import SECOND_NS, CalendarUnit, Contract, Objective, Window
from agent.sla.time.wall_clock import DAY_NS, day_start, from_datetime, local_date, local_time
from agent.sla.time.zones import zone as zone_named
from probes.core.errors import ValueFormatError
from probes.core.units import format_duration

__all__ = [
    "ROLLING_GRID_NS",
    "WindowInstants",
    "calendar_window",
    "day_start",
    "from_datetime",
    "local_time",
    "month_unit",
    "parse",
    "parse_instant",
    "previous",
    "resolve",
    "window_at",
    "windows_ending_in",
    "windows_within",
    "within_validity",
]

ROLLING_GRID_NS: Final = 10 * SECOND_NS
"""Rolling windows end on a multiple of this, so that they hold whole samples."""

_FIRST_YEAR: Final = 1971
_LAST_YEAR: Final = 2199
_QUARTER: Final = re.compile(r"(\d{4})-?Q([1-4])", re.IGNORECASE)
_WEEK: Final = re.compile(r"(\d{4})-?W(\d{2})", re.IGNORECASE)
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_NEW_YEAR: Final = date(2000, 1, 1)
_MONTHS: Final[dict[CalendarUnit, int]] = {
    "month": 1,
    "quarter": 3,
    "year": 12,
    "contract_year": 12,
    "billing_month": 1,
}


@dataclass(frozen=True, slots=True)
class WindowInstants:
    """Half-open [start_ns, end_ns) in UTC ns. `first` is the first local date of a calendar window.

    anchor: the date from which contract years and fixed windows are counted, or whose day a billing month begins on.
    """

    start_ns: int
    end_ns: int
    label: str
    zone: str
    unit: CalendarUnit | None = None
    first: date | None = None
    anchor: date | None = None

    def closed(self, now_ns: int) -> bool:
        """True when all of it has passed."""
        return self.end_ns <= now_ns

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns


@lru_cache(maxsize=8192)
def calendar_window(unit: CalendarUnit, day: date, zone: str, anchor: date | None = None) -> WindowInstants:
    """The calendar unit of `zone` that holds the local date `day`.

    anchor: start of the contract years, or any date whose day is the billing day; None is 1 January.
    """
    info = zone_named(zone).info
    if unit in ("day", "week"):
        first = day if unit == "day" else day - timedelta(days=day.weekday())
        following = first + timedelta(days=1 if unit == "day" else 7)
        anchor = None
    else:
        if unit not in ("contract_year", "billing_month"):
            anchor = None
        first, following = _around(_MONTHS[unit], day, anchor or _NEW_YEAR)
    return WindowInstants(
        day_start(first, info), day_start(following, info), _label(unit, first), zone, unit, first, anchor
    )


def window_at(window: Window, zone: str, now_ns: int) -> WindowInstants:
    """The window that holds `now`; a rolling one ends at the last full grid step before it.

    Contract years begin on the window's anchor: resolve() takes it from the contract.
    """
    if window.fixed_ns:
        begin = day_start(window.anchor or _NEW_YEAR, zone_named(zone).info)
        return _fixed(window.anchor or _NEW_YEAR, window.fixed_ns, (now_ns - begin) // window.fixed_ns, zone)
    if window.calendar is None:
        length = window.rolling_ns or 0
        end = now_ns // ROLLING_GRID_NS * ROLLING_GRID_NS
        return WindowInstants(end - length, end, f"last {format_duration(length)}", zone)
    anchor = _NEW_YEAR.replace(day=window.billing_day) if window.calendar == "billing_month" else window.anchor
    found = calendar_window(window.calendar, local_date(now_ns, zone), zone, anchor)
    if now_ns >= found.end_ns:  # St John's, until 2011: at 00:01 it became 23:01 of the day before, which was over
        found = _following(found)
    return found


def resolve(contract: Contract, window: Window, now_ns: int) -> WindowInstants:
    """The contract's window that holds `now`: contract years begin with its service. Raises ValueFormatError."""
    return window_at(_anchored(contract, window), contract.time_zone, now_ns)


def month_unit(contract: Contract) -> Window:
    """What a month of this contract is: its billing month or its month of 720 h where an objective has one."""
    for objective in contract.objectives:
        window = objective.window
        if window.calendar == "billing_month" or 28 * DAY_NS <= (window.fixed_ns or 0) <= 31 * DAY_NS:
            return window
    return Window("month")


def windows_ending_in(contract: Contract, objective: Objective, period: WindowInstants) -> tuple[WindowInstants, ...]:
    """The objective's windows whose last instant lies in the period, in time. Of rolling ones, of which one ends at
    every instant, that which ends with the period. Raises ValueFormatError."""
    return windows_within(contract, objective.window, period)


def windows_within(contract: Contract, window: Window, period: WindowInstants) -> tuple[WindowInstants, ...]:
    """As windows_ending_in, of any window."""
    return _ending_in(_anchored(contract, window), contract.time_zone, period.start_ns, period.end_ns)


@lru_cache(maxsize=1024)
def _ending_in(window: Window, zone: str, start_ns: int, end_ns: int) -> tuple[WindowInstants, ...]:
    if end_ns <= start_ns:
        return ()
    if window.calendar is None and not window.fixed_ns:
        return (window_at(window, zone, end_ns),)
    found, current = [], window_at(window, zone, start_ns)
    while current.end_ns <= end_ns:
        found.append(current)
        current = _following(current)
    return tuple(item for item in found if start_ns < item.end_ns and item.start_ns < item.end_ns)


def _anchored(contract: Contract, window: Window) -> Window:
    if window.calendar != "contract_year" or window.anchor is not None:
        return window
    start = contract.service_start or contract.valid_from
    if start is None:
        raise ValueFormatError(
            f"contract {contract.id}: it is not said when its contract years begin",
            hint="write service_start or valid_from into the contract",
        )
    return replace(window, anchor=start)


def previous(instants: WindowInstants) -> WindowInstants:
    """The window just before: the calendar unit before, or the same length for any other."""
    if instants.unit is not None and instants.first is not None:
        return calendar_window(instants.unit, instants.first - timedelta(days=1), instants.zone, instants.anchor)
    if instants.anchor is not None:
        return _beside(instants, instants.anchor, -1)
    return replace(instants, start_ns=instants.start_ns - instants.length_ns, end_ns=instants.start_ns)


def _following(instants: WindowInstants) -> WindowInstants:
    """The calendar unit or fixed window just after."""
    if instants.unit is None or instants.first is None:
        return _beside(instants, instants.anchor or _NEW_YEAR, 1)
    if instants.unit in ("day", "week"):
        day = instants.first + timedelta(days=1 if instants.unit == "day" else 7)
    else:
        day = _around(_MONTHS[instants.unit], instants.first, instants.anchor or _NEW_YEAR)[1]
    return calendar_window(instants.unit, day, instants.zone, instants.anchor)


def _beside(instants: WindowInstants, anchor: date, step: int) -> WindowInstants:
    begin = day_start(anchor, zone_named(instants.zone).info)
    number = (instants.start_ns - begin) // instants.length_ns + step
    return _fixed(anchor, instants.length_ns, number, instants.zone)


def _fixed(anchor: date, length_ns: int, number: int, zone: str) -> WindowInstants:
    """The fixed window of this number from the anchor on, which is number 0."""
    info = zone_named(zone).info
    start = day_start(anchor, info) + number * length_ns
    label = f"{format_duration(length_ns)} from {local_time(start, info):%Y-%m-%d %H:%M}"
    return WindowInstants(start, start + length_ns, label, zone, anchor=anchor)


def parse(text: str, zone: str) -> WindowInstants:
    """`2026`, `2026-Q4`, `2026-10`, `2026-W40` or `2026-10-05` as a window of `zone`. Raises ValueFormatError."""
    _check_year(text)
    quarter = _QUARTER.fullmatch(text.strip())
    week = _WEEK.fullmatch(text.strip())
    plain = _DATE.fullmatch(text.strip())
    try:
        if quarter:
            return calendar_window("quarter", date(int(quarter[1]), 3 * int(quarter[2]) - 2, 1), zone)
        if week:
            return calendar_window("week", date.fromisocalendar(int(week[1]), int(week[2]), 1), zone)
        if plain:
            unit: CalendarUnit = "day" if plain[3] else "month" if plain[2] else "year"
            return calendar_window(unit, date(int(plain[1]), int(plain[2] or 1), int(plain[3] or 1)), zone)
    except (ValueError, OverflowError):
        pass  # no such month, week or day: told below
    hint = "write it like 2026-10, 2026-W40, 2026-10-05, 2026-Q4 or 2026"
    raise ValueFormatError(f"{text!r} is not a period", hint=hint)


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
    """The part of the window in which the contract is valid and the service delivered; None when there is none."""
    zone = zone_named(contract.time_zone).info
    start, end = instants.start_ns, instants.end_ns
    for begins in (contract.valid_from, contract.service_start):
        if begins is not None:
            start = max(start, day_start(begins, zone))
    if contract.valid_to is not None:
        end = min(end, day_start(contract.valid_to + timedelta(days=1), zone))
    return replace(instants, start_ns=start, end_ns=end) if start < end else None


def _around(months: int, day: date, anchor: date) -> tuple[date, date]:
    """First day of the unit of so many months that holds `day`, and of the next one; one of them begins on anchor."""
    since = (day.year - anchor.year) * 12 + day.month - anchor.month
    since -= since % months
    if _months_after(anchor, since) > day:
        since -= months
    return _months_after(anchor, since), _months_after(anchor, since + months)


def _months_after(anchor: date, months: int) -> date:
    """The anchor's day so many months later, or the last day of a month that lacks it."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    following = date(year + 1, 1, 1) if month == 11 else date(year, month + 2, 1)
    return date(year, month + 1, min(anchor.day, (following - timedelta(days=1)).day))


def _label(unit: CalendarUnit, first: date) -> str:
    if unit == "week":
        year, week, _ = first.isocalendar()
        return f"{year}-W{week:02d}"
    return {
        "day": f"{first:%Y-%m-%d}",
        "month": f"{first:%Y-%m}",
        "quarter": f"{first:%Y}-Q{(first.month + 2) // 3}",
        "year": f"{first:%Y}",
        "contract_year": f"year from {first:%Y-%m-%d}",
        "billing_month": f"month from {first:%Y-%m-%d}",
    }[unit]
