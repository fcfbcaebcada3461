"""Five-field cron expressions: minute, hour, day of month, month, day of week; UTC. Pure."""

from __future__ import annotations

import re
from typing import Final

from probes.core.errors import LocalError

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NUMBERS: Final = {"sun": 0, **{day: number for number, day in enumerate(_DAYS[:-1], 1)}}
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {month: number for number, month in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, _DAY_NUMBERS),
)
_PART: Final = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def normalise(text: str) -> str:
    """The expression with days of the week as names (0 and 7 are Sunday everywhere but in some libraries).

    Raises LocalError for what is no expression, can never be due, or where cron programs disagree on the meaning.
    """
    words = text.split()
    if len(words) != 5:
        raise LocalError(
            f"{text!r} is not a schedule: five fields (minute, hour, day of month, month, day of week), "
            "such as '15 3 * * *'"
        )
    values = [_field(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    if words[2] != "*" and words[4] != "*":
        raise LocalError("give the day of month or the day of week, not both: cron programs disagree on both")
    if words[2] != "*" and all(day > _LONGEST_MONTHS[month - 1] for day in values[2] for month in values[3]):
        raise LocalError(f"{text!r} is never due: no such day in these months")
    if words[4] != "*":
        days = sorted({(day - 1) % 7 for day in values[4]})
        words[4] = ",".join(_DAYS[day] for day in days)
    words[3] = words[3] if words[3] == "*" else ",".join(str(month) for month in sorted(values[3]))
    return " ".join(words)


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise LocalError(f"{part!r} is not a {name}: write it like {low}, {low}-{low + 2}, {low},{low + 2} or */2")
        star, first, last, step = match.groups()
        start = low if star else _number(first, name, low, high, names)
        stop = high if star or (step and not last) else _number(last or first, name, low, high, names)
        if step is not None and int(step) == 0:
            raise LocalError(f"{part!r} is not a {name}: a step is at least 1")
        if stop < start:
            raise LocalError(f"{part!r} runs backwards: write it as two ranges")
        found.update(range(start, stop + 1, int(step or 1)))
    return found


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.lower())
    if number is None:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if not low <= number <= high:
        also = f" or {', '.join(names)}" if names else ""
        raise LocalError(f"{text!r} is not a {name} (allowed: {low} to {high}{also})")
    return number
