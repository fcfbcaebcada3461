"""Values of a contract as they are written: percentages, dates, days of the week, prices, counts of days."""

from __future__ import annotations

import difflib
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache
from typing import Final
from zoneinfo import available_timezones

from agent.document import Reads, shown
from agent.sla.terms.money import Money
from agent.sla.terms.money import parse as parse_money
from agent.sla.terms.remedies import Price
from agent.sla.time.zones import zone
from probes.core import catalog
from probes.core.errors import LocalError
from probes.core.units import parse_percent

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS: Final = re.compile(r"\s*(\d{1,4})\s*(business\s+|calendar\s+)?days?\s*")
_CLOCK: Final = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_TIMES: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(day|hour)s?\s*")
_PART: Final = re.compile(r"\s*1\s*/\s*(\d{1,5})\s*")


def as_percent(*, below_100: bool = False, above_100: bool = False) -> Reads:
    """`90 %` as 9/10."""

    def take(value: object) -> Fraction:
        if isinstance(value, int | float) and not isinstance(value, bool):
            meant = f"{Fraction(str(value)) * 100} %" if 0 < value < 1 else "90 %"
            raise LocalError(f"{shown(value)} has no unit: write a percentage such as {meant}")
        if not isinstance(value, str):
            raise LocalError(f"must be a percentage such as 90 %, not {shown(value)}")
        ratio = parse_percent(value)
        if (ratio > 1 and not above_100) or (below_100 and ratio == 1) or ratio.denominator > 10**8:
            raise LocalError(f"{shown(value)} is not allowed (allowed: 0 % to {'below ' if below_100 else ''}100 %)")
        return ratio

    return Reads(take, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "examples": ["90 %"]}, percent_text)


def percent_text(ratio: Fraction) -> str:
    return f"{float(ratio * 100):g} %"


def as_percentile() -> Reads:
    """`99.9` as 999/1000."""

    def take(value: object) -> Fraction:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LocalError(f"must be a number above 0 and below 100, such as 95 or 99.9, not {shown(value)}")
        p = Fraction(str(value)) / 100
        if not 0 < p < 1:
            raise LocalError(f"{shown(value)} is not a percentile: it lies above 0 and below 100")
        return p

    bounds = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100, "examples": [95, 99.9]}
    return Reads(take, bounds, lambda p: float(p * 100))


@cache
def _zones() -> frozenset[str]:
    """Names of all time zones there are: a walk over some thousand files."""
    return frozenset(available_timezones())


def as_zone() -> Reads:
    """Name of an IANA time zone."""

    def take(value: object) -> str:
        if isinstance(value, str) and value in _zones():
            return zone(value).name
        near = difflib.get_close_matches(str(value), sorted(_zones()), 1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise LocalError(f"there is no time zone {shown(value)}{guess}: write it like Europe/Berlin or UTC")

    return Reads(take, {"type": "string", "examples": ["Europe/Berlin", "UTC"]})


def as_date() -> Reads:
    """`2026-10-31`."""

    def take(value: object) -> date:
        try:
            if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
                return date.fromisoformat(value)
        except ValueError:
            pass  # no such day: told below
        raise LocalError(f"{shown(value)} is not a date: write it like 2026-10-31")

    return Reads(take, {"type": "string", "format": "date"}, date.isoformat)


def as_kind() -> Reads:
    """Name of a kind of probe."""

    def take(value: object) -> str:
        if value in catalog.names():
            return str(value)
        raise LocalError(f"there is no kind of probe {shown(value)} (allowed: {', '.join(catalog.names())})")

    return Reads(take, {"type": "string"})


def as_value(examples: tuple[str, ...] = ("99.9 %", "30ms", "95Mbit/s", "90 % of committed_rate", "4h", "0")) -> Reads:
    """A value with its unit, as text; what unit it must have depends on the objective."""

    def take(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise LocalError(f"must be a value with its unit, not {shown(value)}")
        return value if isinstance(value, str) else f"{value}"

    return Reads(take, {"type": ["string", "number"], "examples": list(examples)})


def as_weekdays() -> Reads:
    """`Mon-Fri`, `Sat,Sun`, `Mon-Wed,Fri`; 0 is Monday."""

    def take(value: object) -> frozenset[int]:
        if not isinstance(value, str):
            raise LocalError(f"must be days such as Mon-Fri or Sat,Sun, not {shown(value)}")
        found: set[int] = set()
        for part in value.split(","):
            first, dash, last = (item.strip() for item in part.partition("-"))
            if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
                allowed = ", ".join(WEEKDAYS)
                raise LocalError(f"{shown(value)} are no days: write them like Mon-Fri or Sat,Sun (allowed: {allowed})")
            begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
            found |= {day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1)}
        return frozenset(found)

    return Reads(take, {"type": "string", "examples": ["Mon-Fri", "Sat,Sun"]}, weekdays_text)


def weekdays_text(days: frozenset[int]) -> str:
    """`Mon-Fri`, `Mon-Wed,Fri`."""
    parts, ordered = [], sorted(days)
    while ordered:
        run = [ordered.pop(0)]
        while ordered and ordered[0] == run[-1] + 1:
            run.append(ordered.pop(0))
        parts.append(WEEKDAYS[run[0]] if len(run) == 1 else f"{WEEKDAYS[run[0]]}-{WEEKDAYS[run[-1]]}")
    return ",".join(parts)


def as_clock() -> Reads:
    """`08:00` as minutes after midnight; `24:00` ends a day."""

    def take(value: object) -> int:
        found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        minutes = 60 * int(found[1]) + int(found[2]) if found else 1441
        if minutes > 1440:
            raise LocalError(f'{shown(value)} is not a time of day: write it like "08:00", up to "24:00"')
        return minutes

    return Reads(take, {"type": "string", "pattern": r"^\d{2}:\d{2}$", "examples": ["08:00"]}, clock_text)


def clock_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def as_days() -> Reads:
    """`30 days` or `7 business days`, as (number, business)."""

    def take(value: object) -> tuple[int, bool]:
        found = _DAYS.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise LocalError(f"{shown(value)} are no days: write them like `30 days` or `7 business days`")
        return int(found[1]), bool(found[2] and found[2].strip() == "business")

    def text(days: tuple[int, bool]) -> str:
        return f"{days[0]} {'business ' if days[1] else ''}days"

    return Reads(take, {"type": "string", "examples": ["30 days", "7 business days"]}, text)


def as_price() -> Reads:
    """`10 %` of the monthly charge, `1 day`, `2 hours`, `1/720`, `25.00 EUR`."""
    return Reads(
        parse_price,
        {"type": "string", "examples": ["10 %", "1 day", "2 hours", "1/720", "25.00 EUR"]},
        lambda price: price.text,
    )


def parse_price(value: object) -> Price:
    """Raises LocalError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise LocalError(f"{shown(value)} has no unit: write a price like 10 %, 1 day, 1/720 or 25.00 EUR")
    if not isinstance(value, str):
        raise LocalError(f"must be a price such as 10 %, 1 day, 1/720 or 25.00 EUR, not {shown(value)}")
    text = value.strip()
    if text.endswith("%"):
        return Price("percent", parse_percent(text), text=text)
    times, part = _TIMES.fullmatch(text), _PART.fullmatch(text)
    if times is not None:
        return Price("mrc_days" if times[2] == "day" else "mrc_hours", Fraction(times[1]), text=text)
    if part is not None and int(part[1]):
        return Price("fraction", Fraction(1, int(part[1])), text=text)
    try:
        money = parse_money(text)
    except (LocalError, InvalidOperation):
        raise LocalError(
            f"{shown(value)} is not a price: write it like 10 %, 1 day, 2 hours, 1/720 or 25.00 EUR"
        ) from None
    return Price("amount", Fraction(money.amount), money, text)


def as_money() -> Reads:
    """`480.00 EUR`."""

    def take(value: object) -> Money:
        if not isinstance(value, str):
            raise LocalError(f"must be an amount and a currency such as '480.00 EUR', not {shown(value)}")
        try:
            return parse_money(value)
        except LocalError as error:
            raise LocalError(f"{error.message}: {error.hint}") from None

    return Reads(take, {"type": "string", "examples": ["480.00 EUR"]}, str)


def as_currency() -> Reads:
    """ISO 4217 code."""

    def take(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value):
            return value
        raise LocalError(f"{shown(value)} is not a currency: write its ISO 4217 code, such as EUR")

    return Reads(take, {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"]})


def is_amount(price: Price) -> bool:
    return price.kind == "amount" and price.money is not None and price.money.amount > Decimal(0)
