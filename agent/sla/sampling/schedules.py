"""How often a probe asks, counted: packets and runs in a stretch of time, and round schedules that would do. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from agent.sla.samples.feeds import every_ns
from agent.sla.terms.contract import Contract, Window
from agent.sla.time.hours import Hours
from agent.sla.words.clauses import DAY, HOUR, MINUTE
from probes.core.clock import MILLISECOND, SECOND
from probes.core.model import ProbeSetting

_SHORTEST: Final = {
    "day": DAY,
    "week": 7 * DAY,
    "month": 28 * DAY,
    "billing_month": 28 * DAY,
    "quarter": 90 * DAY,
    "year": 365 * DAY,
    "contract_year": 365 * DAY,
}
_LONGEST: Final = {
    "day": 25 * HOUR,
    "week": 7 * DAY + HOUR,
    "month": 31 * DAY + HOUR,
    "billing_month": 31 * DAY + HOUR,
    "quarter": 92 * DAY + HOUR,
    "year": 366 * DAY,
    "contract_year": 366 * DAY,
}
_ROUND: Final = (
    *(number * MILLISECOND for number in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(number * SECOND for number in (1, 2, 5, 10, 15, 20, 30)),
    *(number * MINUTE for number in (1, 2, 5, 10, 15, 20, 30)),
    *(number * HOUR for number in (1, 2, 3, 4, 6, 8, 12, 24)),
)
_FIELDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_WEEK_MINUTES: Final = 7 * 24 * 60


def shortest(window: Window, contract: Contract) -> int:
    """ns of the shortest the window can be: a month of 28 days. Where the contract takes 720 h, that."""
    fixed = window.rolling_ns or window.fixed_ns
    if fixed is not None:
        return fixed
    if contract.month_basis == "fixed_720h" and window.calendar in ("month", "billing_month"):
        return 720 * HOUR
    return _SHORTEST[window.calendar or "month"]


def longest(window: Window) -> int:
    """ns of the longest that the window can be."""
    fixed = window.rolling_ns or window.fixed_ns
    return fixed if fixed is not None else _LONGEST[window.calendar or "month"]


def counted_share(hours: Hours | None) -> Fraction:
    """Share of a week that the hours hold, holidays aside; 1 where all time counts."""
    if hours is None:
        return Fraction(1)
    minutes = {
        weekday * 1440 + minute
        for part in hours.daily
        for weekday in part.weekdays
        for minute in range(part.start_minute, part.end_minute)
    }
    return Fraction(len(minutes), _WEEK_MINUTES)


def asked(probe: ProbeSetting, length_ns: int) -> int:
    """Packets or runs that the probe makes in length_ns, whole ones."""
    every = every_ns(probe)
    if every is not None:
        return length_ns // every
    return int(_runs_a_day(probe.schedule) * length_ns / DAY) if probe.schedule is not None else 0


def _runs_a_day(schedule: str) -> Fraction:
    """Of a five-field cron expression, on average."""
    minute, hour, day, month, weekday = (
        _times(word, low, high) for word, (low, high) in zip(schedule.split(), _FIELDS, strict=True)
    )
    return minute * hour * Fraction(day, 31) * Fraction(month, 12) * Fraction(weekday, 7)


def _times(word: str, low: int, high: int) -> int:
    """How many values a field has."""
    total = 0
    for part in word.split(","):
        body, _, step = part.partition("/")
        first, _, last = body.partition("-")
        if body == "*":
            count = high - low + 1
        elif first.isdecimal() and (last.isdecimal() or (step and not last)):
            count = int(last or high) - int(first) + 1
        else:
            count = 1
        total += -(-count // int(step or 1))
    return total


def round_down(ns: int) -> int | None:
    """The greatest round duration of at most ns; None below a millisecond."""
    return max((value for value in _ROUND if value <= ns), default=None)


def round_up(ns: int) -> int:
    """The smallest round duration of at least ns."""
    return min((value for value in _ROUND if value >= ns), default=ns)
