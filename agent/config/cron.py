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
_STEP: Final = re.compile(r"\*(?:/(\d+))?")
_NUMBERS: Final = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
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
        raise LocalError("give the day of month or the day of week, not both: cron programs disagree on both together")
    if words[2] != "*" and all(day > _LONGEST_MONTHS[month - 1] for day in values[2] for month in values[3]):
        raise LocalError(f"{text!r} is never due: no such day in these months")
    plain = [_plain(word, found, *field[1:3]) for word, found, field in zip(words, values, _FIELDS, strict=True)]
    if words[4] != "*":
        plain[4] = ",".join(_DAYS[day] for day in sorted({(day - 1) % 7 for day in values[4]}))
    return " ".join(plain)


def _plain(text: str, found: set[int], low: int, high: int) -> str:
    """The field as written where every cron program takes it, else the list of its values."""
    step = _STEP.fullmatch(text)
    if _NUMBERS.fullmatch(text) or (step is not None and int(step[1] or 1) <= high - low):
        return text
    return ",".join(str(value) for value in sorted(found))


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise LocalError(
                f"the {name} {part!r} is not allowed: write it like {low}, {low}-{low + 2}, {low},{low + 2} or */2"
            )
        star, first, last, step = match.groups()
        start = low if star else _number(first, name, low, high, names)
        stop = high if star or (step and not last) else _number(last or first, name, low, high, names)
        if step is not None and int(step) == 0:
            raise LocalError(f"the {name} {part!r} is not allowed: a step is at least 1")
        if stop < start:
            raise LocalError(f"the {name} {part!r} runs backwards: write it as two ranges")
        found.update(range(start, stop + 1, int(step or 1)))
    return found


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.lower())
    if number is None:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if not low <= number <= high:
        also = f" or {', '.join(names)}" if names else ""
        raise LocalError(f"the {name} {text!r} is not allowed (allowed: {low} to {high}{also})")
    return number
