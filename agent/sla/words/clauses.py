"""The form of a contract in plain language, and the words its clauses share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from agent.sla.terms.contract import Contract, Metric, Objective, Unit, Window
from agent.sla.terms.objective import CalendarUnit
from probes.core.clock import MILLISECOND, SECOND
from probes.core.units import plain

MINUTE: Final = 60 * SECOND
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_FIRST: Final = date(2026, 1, 1)
_SMALL: Final = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True, slots=True)
class Table:
    """head: names of the columns; every row has as many cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """What stands below a clause: how its number is made, what counts."""

    label: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clause:
    """One point of the contract. quote: the clause as it was signed. examples: worked, with every step."""

    title: str
    sentences: tuple[str, ...]
    quote: str = ""
    table: Table | None = None
    examples: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Numbered by its place, its clauses by theirs: 4.2 is the second clause of the fourth section."""

    heading: str
    clauses: tuple[Clause, ...]


def length(ns: int) -> str:
    """Exact, in the units people say: `4 h 30 min`, `24 h`, `30 days`, `100 ms`."""
    if ns > DAY and ns % DAY == 0:
        return _counted(ns // DAY, "day")
    if 0 < ns < SECOND:
        return f"{plain(Decimal(ns) / MILLISECOND)} ms"
    parts = [f"{ns // HOUR} h"] if ns >= HOUR else []
    parts += [f"{ns % HOUR // MINUTE} min"] if ns % HOUR >= MINUTE else []
    if ns % MINUTE or not parts:
        parts.append(f"{plain(Decimal(ns % MINUTE) / SECOND)} s")
    return " ".join(parts)


def hours_of(ns: int) -> str:
    """`720 h`: for lengths that contracts give in hours."""
    return f"{decimal(Fraction(ns, HOUR))} h"


def decimal(value: Fraction) -> str:
    """Exact where the decimal ends, else `1/720`."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return str(value)
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    return plain(Decimal(int(value * 10**digits)).scaleb(-digits))


def percent(ratio: Fraction) -> str:
    """`99.95 %`, exact where the decimal ends."""
    text = decimal(ratio * 100)
    return f"{text} %" if "/" not in text else f"{text} of a per cent"


def rate(bps: Fraction | int) -> str:
    """`100 Mbit/s`, exact."""
    for unit, scale in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if bps >= scale:
            return f"{decimal(Fraction(bps) / scale)} {unit}"
    return f"{decimal(Fraction(bps))} bit/s"


def value(unit: Unit, amount: Fraction) -> str:
    """An amount in its base unit, exact, with the unit people write."""
    if unit is Unit.DELAY:
        return f"{decimal(amount / MILLISECOND)} ms"
    if unit is Unit.RATIO:
        return percent(amount)
    if unit is Unit.RATE:
        return rate(amount)
    if unit is Unit.DURATION and amount.denominator == 1:
        return length(int(amount))
    return decimal(amount)


def day(when: date) -> str:
    """`31 December 2028`."""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def number(count: int) -> str:
    """Small ones as words."""
    return _SMALL.get(count, str(count))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def counted(count: int, noun: str) -> str:
    """`1 outage`, `3 outages`."""
    return _counted(count, noun)


def ordinal(count: int) -> str:
    """`1st`, `15th`."""
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"


_CALENDAR: Final[Mapping[CalendarUnit, str]] = {
    "day": "on every calendar day",
    "week": "in every calendar week, Monday to Sunday",
    "month": "in every calendar month",
    "quarter": "in every calendar quarter",
    "year": "in every calendar year",
}
_LENGTHS: Final[Mapping[CalendarUnit, tuple[tuple[str, str, int], ...]]] = {
    "day": (("day", "24 h", DAY),),
    "week": (("week", "7 days", 7 * DAY),),
    "month": (("30-day month", "30 days", 30 * DAY), ("one of 31 days", "31 days", 31 * DAY)),
    "billing_month": (("billing month of 30 days", "30 days", 30 * DAY), ("one of 31 days", "31 days", 31 * DAY)),
    "quarter": (("quarter of 90 days", "90 days", 90 * DAY), ("one of 92 days", "92 days", 92 * DAY)),
    "year": (("year of 365 days", "365 days", 365 * DAY),),
    "contract_year": (("contract year of 365 days", "365 days", 365 * DAY),),
}


def period(window: Window, contract: Contract) -> str:
    """`in every calendar month, Europe/Berlin`: the time a promise is for."""
    if window.rolling_ns is not None:
        return f"in any {length(window.rolling_ns)} up to the moment of judging"
    if window.fixed_ns is not None:
        start = f" from {day(window.anchor)}, {contract.time_zone}" if window.anchor else ""
        return f"in every {hours_of(window.fixed_ns)}, one period after the other{start}"
    if window.calendar == "contract_year":
        first = contract.service_start or contract.valid_from
        begins = f"from {first.day} {MONTHS[first.month - 1]}" if first else "from the start of service"
        return f"in every contract year, {begins}, {contract.time_zone}"
    if window.calendar == "billing_month":
        return f"in every billing month, from the {ordinal(window.billing_day)}, {contract.time_zone}"
    return f"{_CALENDAR[window.calendar or 'month']}, {contract.time_zone}"


def examples_of(window: Window, contract: Contract) -> tuple[tuple[str, str, int], ...]:
    """Names and lengths (ns) of what the window may be: a 30-day month and one of 31 days."""
    if window.rolling_ns is not None:
        text = length(window.rolling_ns)
        return ((f"period of {text}", text, window.rolling_ns),)
    if window.fixed_ns is not None:
        text = hours_of(window.fixed_ns)
        return ((f"period of {text}", text, window.fixed_ns),)
    if window.calendar in ("month", "billing_month") and contract.month_basis == "fixed_720h":
        return (("month, which counts as 720 h", "720 h", 720 * HOUR),)
    return _LENGTHS[window.calendar or "month"]


def first_day(contract: Contract) -> date:
    """From which examples are dated: the first day of contract and service, or a fixed one."""
    begun = [item for item in (contract.valid_from, contract.service_start) if item is not None]
    return max(begun, default=_FIRST)


def noun_of(window: Window) -> str:
    """`month`, `quarter`, `30 days`."""
    if window.rolling_ns is not None:
        return length(window.rolling_ns)
    if window.fixed_ns is not None:
        return f"period of {hours_of(window.fixed_ns)}"
    return (window.calendar or "month").replace("_", " ")


def target_text(objective: Objective) -> str:
    """The bound as people write it; a share of the committed rate as such."""
    if objective.target.of_committed_rate:
        return f"{percent(objective.target.value)} of the committed rate"
    if objective.metric is Metric.MOS and objective.unit is Unit.MOS:
        return f"a MOS of {decimal(objective.target.value)}"
    return value(objective.unit, objective.target.value)


def sentence(text: str) -> str:
    """With a capital at its start and a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":", "?", "!")) else ".")
