"""Numbers and sentences of a verdict as people read them. Pure.

A printed value never says more than the exact one: it stands on the same side of the target, availability and
throughput are rounded down, loss is rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from fractions import Fraction
from math import ceil, floor
from typing import Final, Protocol

from agent.sla.terms.contract import Comparison, Unit
from agent.sla.time.calendar import local_time
from probes.core.clock import MILLISECOND, SECOND

MOST_DIGITS: Final = 15
_MINUTE, _HOUR, _DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
_SCALE: Final[dict[Unit, tuple[Fraction, str, int]]] = {
    Unit.DELAY: (Fraction(1, 10**6), "ms", 3),
    Unit.RATIO: (Fraction(100), "%", 2),
    Unit.RATE: (Fraction(1, 10**6), "Mbit/s", 2),
    Unit.MOS: (Fraction(1), "", 2),
    Unit.COUNT: (Fraction(1), "", 0),
    Unit.DURATION: (Fraction(1, SECOND), "s", 0),
}


class Measure(Protocol):
    """What a value is of: its unit, and on which side of a target it must stay. Every Objective is one."""

    @property
    def unit(self) -> Unit: ...

    @property
    def comparison(self) -> Comparison: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A measure that is no objective."""

    unit: Unit
    comparison: Comparison


LOSS: Final = Plain(Unit.RATIO, "max")
AVAILABILITY: Final = Plain(Unit.RATIO, "min")
DELAY: Final = Plain(Unit.DELAY, "max")
RATE: Final = Plain(Unit.RATE, "min")
QUALITY: Final = Plain(Unit.MOS, "min")


def number(measure: Measure, value: Fraction, target: Fraction | None = None) -> str:
    """The value in the measure's unit, without it: digits enough to tell it from the target, and a share from zero."""
    scale, _, digits = _SCALE[measure.unit]
    shown = value * scale
    room = [abs(shown - target * scale) / 2] if target is not None else []
    if measure.unit is Unit.RATIO and measure.comparison == "max":
        room.append(shown / 20)
    while True:
        whole = _rounding(measure)(shown * 10**digits)
        error = abs(Fraction(whole, 10**digits) - shown)
        if error <= min(room, default=error) or digits >= MOST_DIGITS:
            return _decimal(whole, digits, exact=error == 0)
        digits += 1


def _rounding(measure: Measure) -> Callable[[Fraction], int]:
    if measure.unit in (Unit.RATIO, Unit.RATE, Unit.MOS):
        return floor if measure.comparison == "min" else ceil
    return round


def unit(measure: Measure) -> str:
    """`ms`, `%`, `Mbit/s`, `s`; empty for what has none."""
    return _SCALE[measure.unit][1]


def quantity(measure: Measure, value: Fraction | None, target: Fraction | None = None) -> str:
    """Value with its unit; a dash where there is none."""
    if value is None:
        return "–"
    text = number(measure, value, target)
    if measure.unit is Unit.DURATION:
        return _clock(text)
    return f"{text} {unit(measure)}".rstrip()


def _clock(seconds: str) -> str:
    """`15125.5` as `4 h 12 min 5.5 s`."""
    whole, dot, rest = seconds.partition(".")
    ns = abs(int(whole)) * SECOND
    parts = [f"{ns // _DAY} d"] if ns >= _DAY else []
    parts += [f"{ns % _DAY // _HOUR} h"] if ns % _DAY >= _HOUR else []
    parts += [f"{ns % _HOUR // _MINUTE} min"] if ns % _HOUR >= _MINUTE else []
    if ns % _MINUTE or rest or not parts:
        parts.append(f"{ns % _MINUTE // SECOND}{dot}{rest} s")
    return ("-" if whole.startswith("-") else "") + " ".join(parts)


def _decimal(whole: int, digits: int, *, exact: bool) -> str:
    sign, whole = "-" if whole < 0 else "", abs(whole)
    if not digits:
        return f"{sign}{whole}"
    text = f"{sign}{whole // 10**digits}.{whole % 10**digits:0{digits}d}"
    return text.removesuffix("." + "0" * digits) if exact else text


def share(value: Fraction) -> str:
    """A coverage as per cent, rounded down: never 100 % unless it is."""
    return f"{number(AVAILABILITY, value)} %"


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
