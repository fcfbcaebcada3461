"""Axes of the drawings: delay on a linear or logarithmic scale, local time with its days and clock changes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import floor, log10
from typing import Final, Literal

from agent.report.statement.model import Chart
from agent.sla.time.calendar import day_start, local_time
from agent.sla.time.wall_clock import local_date
from agent.sla.time.zones import zone

_HOUR: Final = 3600 * 10**9
_MANY_DAYS: Final = 62
_FEW_HOURS: Final = 50
_MOST_LABELS: Final = 9
_STEPS: Final = (1, 2, 5, 10)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SUNDAY: Final = 6
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class DelayAxis:
    """ns to y. low_ns is at `bottom`, high_ns at `top`; y grows downwards."""

    scale: Literal["log", "linear"]
    low_ns: float
    high_ns: float
    top: float
    bottom: float
    ticks: tuple[int, ...]

    def y(self, ns: float) -> float:
        """Position, cut to the axis."""
        if self.scale == "log":
            ns = max(ns, self.low_ns)
            share = log10(ns / self.low_ns) / log10(self.high_ns / self.low_ns)
        else:
            share = (ns - self.low_ns) / (self.high_ns - self.low_ns)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)


def delay_axis(chart: Chart, top: float, bottom: float, targets: Sequence[int] = ()) -> DelayAxis:
    """Wide enough for nineteen of twenty packets of every bucket, and for the targets; for all where there are no
    percentiles. What lies beyond is marked at the upper edge."""
    exact = chart.based_on == "histograms"
    highs = [(row.p95_ns if exact else row.p100_ns) or 0 for row in chart.buckets]
    lows = [row.p0_ns or row.p50_ns for row in chart.buckets]
    high = max([*highs, *targets], default=0) or 10**7
    low = min([ns for ns in lows if ns], default=10**6)
    if chart.scale == "log":
        ticks = [step * 10**power for power in range(1, 13) for step in (1, 2, 5)]
        first = max((tick for tick in ticks if tick <= low), default=ticks[0])
        last = min((tick for tick in ticks if tick >= high and tick > first), default=ticks[-1])
        return DelayAxis("log", first, last, top, bottom, tuple(tick for tick in ticks if first <= tick <= last))
    step = _nice(high / 5)
    last = -(-high * 21 // 20 // step) * step
    return DelayAxis("linear", 0, last, top, bottom, tuple(range(0, last + 1, step)))


def _nice(width: float) -> int:
    """1, 2 or 5 times a power of ten, at least `width`."""
    power = 10 ** max(floor(log10(max(width, 1.0))), 0)
    return int(next(step * power for step in _STEPS if step * power >= width))


def delay_label(ns: int) -> str:
    """`500 µs`, `20 ms`, `2 s`."""
    for scale, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if ns >= scale:
            return f"{ns / scale:g} {unit}"
    return f"{ns} ns" if ns else "0"


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment on the time axis; label empty for a small tick."""

    at_ns: int
    label: str


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """ticks in time; weekends as [start, end) in ns; caption: what the labels are in."""

    ticks: tuple[Tick, ...]
    weekends: tuple[tuple[int, int], ...]
    caption: str


def time_axis(chart: Chart) -> TimeAxis:
    """Hours of a day or two, days with Mondays named, or months."""
    length = chart.end_ns - chart.start_ns
    if length <= _FEW_HOURS * _HOUR:
        ticks = _hours(chart)
    elif length <= _MANY_DAYS * 24 * _HOUR:
        ticks = _days(chart)
    else:
        ticks = _months(chart)
    weekends = _weekends(chart) if _FEW_HOURS * _HOUR < length <= _MANY_DAYS * 24 * _HOUR else ()
    return TimeAxis(tuple(ticks), tuple(weekends), f"local time, {chart.time_zone}")


def _hours(chart: Chart) -> list[Tick]:
    info, step = zone(chart.time_zone).info, 1
    while (chart.end_ns - chart.start_ns) // (step * _HOUR) > _MOST_LABELS + 4:
        step = {1: 2, 2: 3, 3: 6, 6: 12}.get(step, 24)
    found: list[Tick] = []
    at = -(-chart.start_ns // _HOUR) * _HOUR
    while at <= chart.end_ns:
        local = local_time(at, info)
        found.append(Tick(at, f"{local:%H:%M}" if local.hour % step == 0 else ""))
        at += _HOUR
    return found


def _dates(chart: Chart) -> list[date]:
    first = local_date(chart.start_ns, chart.time_zone)
    count = (local_date(chart.end_ns - 1, chart.time_zone) - first).days + 1
    return [first + timedelta(days=number) for number in range(count)]


def _days(chart: Chart) -> list[Tick]:
    info, found = zone(chart.time_zone).info, []
    for number, day in enumerate(_dates(chart)):
        named = number == 0 or (day.weekday() == 0 and number > 2)
        label = f"{_DAYS[day.weekday()]} {day.day}"
        if named and (number == 0 or day.day <= 7):
            label += f" {_MONTHS[day.month - 1]}"
        found.append(Tick(max(day_start(day, info), chart.start_ns), label if named else ""))
    return found


def _weekends(chart: Chart) -> list[tuple[int, int]]:
    info = zone(chart.time_zone).info
    found = []
    for day in _dates(chart):
        if day.weekday() in (_SATURDAY, _SUNDAY):
            start, end = day_start(day, info), day_start(day + timedelta(days=1), info)
            found.append((max(start, chart.start_ns), min(end, chart.end_ns)))
    return found


def _months(chart: Chart) -> list[Tick]:
    info, first = zone(chart.time_zone).info, local_date(chart.start_ns, chart.time_zone)
    months = [(first.year * 12 + first.month - 1 + number) for number in range(400)]
    found: list[Tick] = []
    for month in months:
        day = datetime(month // 12, month % 12 + 1, 1).date()
        at = day_start(day, info)
        if at >= chart.end_ns:
            break
        if at >= chart.start_ns:
            year = f" {day.year}" if day.month == 1 or not found else ""
            found.append(Tick(at, f"{_MONTHS[day.month - 1]}{year}"))
    return found
