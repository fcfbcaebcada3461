"""Numbers and sentences of a verdict as people read them. Pure.

A printed value never says more than the exact one: it stands on the same side of the target, availability and
throughput are rounded down, loss is rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from fractions import Fraction
from math import ceil, floor
from typing import Final

from agent.sla.calendar import local_time
from agent.sla.contract import Metric
from probes.core.clock import MILLISECOND, SECOND

MOST_DIGITS: Final = 15
_MINUTE, _HOUR, _DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
_SCALE: Final[dict[Metric, tuple[Fraction, str, int]]] = {
    Metric.RTT: (Fraction(1, 10**6), "ms", 3),
    Metric.JITTER: (Fraction(1, 10**6), "ms", 3),
    Metric.LOSS: (Fraction(100), "%", 2),
    Metric.AVAILABILITY: (Fraction(100), "%", 2),
    Metric.THROUGHPUT: (Fraction(1, 10**6), "Mbit/s", 2),
}
_ROUNDING: Final[dict[Metric, Callable[[Fraction], int]]] = {
    Metric.LOSS: ceil,
    Metric.AVAILABILITY: floor,
    Metric.THROUGHPUT: floor,
}


def number(metric: Metric, value: Fraction, target: Fraction | None = None) -> str:
    """The value in the metric's unit, without it: digits enough to tell it from the target, and from zero."""
    scale, _, digits = _SCALE[metric]
    shown = value * scale
    room = [abs(shown - target * scale) / 2] if target is not None else []
    if metric is Metric.LOSS:
        room.append(shown / 20)
    while True:
        whole = _ROUNDING.get(metric, round)(shown * 10**digits)
        error = abs(Fraction(whole, 10**digits) - shown)
        if error <= min(room, default=error) or digits >= MOST_DIGITS:
            return _decimal(whole, digits, exact=error == 0)
        digits += 1


def unit(metric: Metric) -> str:
    return _SCALE[metric][1]


def quantity(metric: Metric, value: Fraction | None, target: Fraction | None = None) -> str:
    """Value with its unit; a dash where there is none."""
    return "–" if value is None else f"{number(metric, value, target)} {unit(metric)}"


def _decimal(whole: int, digits: int, *, exact: bool) -> str:
    sign, whole = "-" if whole < 0 else "", abs(whole)
    text = f"{sign}{whole // 10**digits}.{whole % 10**digits:0{digits}d}"
    return text.removesuffix("." + "0" * digits) if exact else text


def share(value: Fraction) -> str:
    """A coverage as per cent, rounded down: never 100 % unless it is."""
    return f"{number(Metric.AVAILABILITY, value)} %"


def spoken(ns: int) -> str:
    """`4 h 12 min`, `14 min 2 s`, `18 s`: the two largest units, rounded down."""
    for name, scale, below, step in (
        ("d", _DAY, "h", _HOUR),
        ("h", _HOUR, "min", _MINUTE),
        ("min", _MINUTE, "s", SECOND),
    ):
        if ns >= scale:
            rest = ns % scale // step
            return f"{ns // scale} {name}" + (f" {rest} {below}" if rest else "")
    return f"{ns // SECOND} s" if ns >= SECOND or not ns else f"{ns // MILLISECOND} ms"


def moment(instant_ns: int) -> str:
    """`2026-11-01 00:00 UTC`, with seconds where there are any."""
    time = local_time(instant_ns, UTC)
    return f"{time:%Y-%m-%d %H:%M}" + (f":{time:%S}" if time.second else "") + " UTC"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
