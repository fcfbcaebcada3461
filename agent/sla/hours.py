"""Service hours: the part of the week that counts, in local time of a zone, with holidays. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal


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
