"""When a contract counts: windows, coverage, service hours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from fractions import Fraction
from typing import Annotated, Final, Literal

from agent.contract_language.readers import as_clock, as_date, as_percent, as_weekdays, clock_text, weekdays_text
from agent.document import Contradiction, Field, Items, Model, as_duration
from agent.sla.terms.contract import CalendarUnit, Coverage, Window
from agent.sla.terms.objective import UnknownTime
from agent.sla.time.hours import Daily, Hours
from probes.core.clock import SECOND

DAY: Final = 86400 * SECOND
_MIDNIGHT: Final = 1440
"""At the end of a day, in minutes."""


class WindowSection(Model):
    """`{calendar: month}` in the contract's time zone, `{rolling: 30d}`, or `{fixed: 720h, anchor: 2026-01-01}`."""

    calendar: CalendarUnit | None = None
    billing_day: Annotated[int | None, Field(ge=1, le=31)] = None
    rolling: Annotated[int | None, as_duration(60 * SECOND, 366 * DAY)] = None
    fixed: Annotated[int | None, as_duration(60 * SECOND, 366 * DAY)] = None
    anchor: Annotated[date | None, as_date()] = None

    def contradictions(self) -> Iterator[Contradiction]:
        if sum(item is not None for item in (self.calendar, self.rolling, self.fixed)) != 1:
            units = "day|week|month|quarter|year|contract_year|billing_month"
            yield (), f"a window is either `calendar: {units}`, `rolling: 30d` or `fixed: 720h`"
        if self.billing_day is not None and self.calendar != "billing_month":
            yield ("billing_day",), "only `calendar: billing_month` has a billing_day"
        if self.calendar == "billing_month" and self.billing_day is None:
            yield (), "a billing_month needs its `billing_day`, such as `billing_day: 15`"
        if self.anchor is not None and self.fixed is None:
            yield ("anchor",), "only a fixed window has an anchor"

    def built(self) -> Window:
        return Window(self.calendar, self.rolling, self.fixed, self.anchor, self.billing_day or 1)


class CoverageSection(Model):
    """How much must be measured before the measured value may decide alone."""

    minimum: Annotated[Fraction | None, as_percent()] = None
    longest_gap: Annotated[int | None, as_duration(SECOND, 366 * DAY)] = None
    bridge: Annotated[int | None, as_duration(0, DAY)] = None
    unknown: UnknownTime | None = None

    def built(self) -> Coverage:
        plain = Coverage()
        return Coverage(
            plain.minimum if self.minimum is None else self.minimum,
            self.longest_gap,
            self.bridge or 0,
            self.unknown or plain.unknown,
        )


class DailySection(Model):
    """These days from one time to another; `to` before `from` goes on after midnight."""

    days: Annotated[frozenset[int], as_weekdays()]
    start: Annotated[int, as_clock()] = Field(alias="from")
    end: Annotated[int, as_clock()] = Field(alias="to")


class HoursSection(Model):
    """Service hours: `{days: Mon-Fri, from: "08:00", to: "18:00"}`, or a list of those under `any`."""

    days: Annotated[frozenset[int] | None, as_weekdays()] = None
    start: Annotated[int | None, as_clock()] = Field(default=None, alias="from")
    end: Annotated[int | None, as_clock()] = Field(default=None, alias="to")
    any: Annotated[Items[DailySection], Field(max_length=21)] = ()
    holidays: Literal["include", "exclude", "only"] = "exclude"

    def contradictions(self) -> Iterator[Contradiction]:
        single = (self.days, self.start, self.end)
        if self.any and any(item is not None for item in single):
            yield ("any",), "give `any`, or `days`, `from` and `to`, not both"
        elif not self.any and any(item is None for item in single):
            yield (), 'hours need `days`, `from` and `to`, such as {days: Mon-Fri, from: "08:00", to: "18:00"}'
        if self.start is not None and self.start == self.end:
            yield ("to",), 'it ends when it begins: a whole day is from "00:00" to "24:00"'
        if self.start == _MIDNIGHT:
            yield ("from",), 'no day begins at "24:00": write "00:00"'
        for index, item in enumerate(self.any):
            if item.start == _MIDNIGHT:
                yield ("any", index, "from"), 'no day begins at "24:00": write "00:00"'
            if item.start == item.end:
                yield ("any", index, "to"), 'it ends when it begins: a whole day is from "00:00" to "24:00"'

    def built(self, time_zone: str, holidays: Iterable[date]) -> Hours:
        parts = self.any or (DailySection.model_construct(days=self.days, start=self.start, end=self.end),)
        daily = tuple(piece for part in parts for piece in _pieces(part))
        words = ", ".join(
            f"{weekdays_text(part.days)} {clock_text(part.start)}-{clock_text(part.end)}" for part in parts
        )
        rest = {"exclude": ", without holidays", "only": ", on holidays only", "include": ""}[self.holidays]
        dates = frozenset(holidays)
        text = f"{words} {time_zone}" + (rest if dates or self.holidays == "only" else "")
        return Hours(daily, time_zone, self.holidays, dates, text)


def _pieces(part: DailySection) -> Iterator[Daily]:
    """A stretch over midnight is two."""
    if part.end > part.start:
        yield Daily(part.days, part.start, part.end)
        return
    yield Daily(part.days, part.start, 1440)
    if part.end:
        yield Daily(frozenset((day + 1) % 7 for day in part.days), 0, part.end)
