"""Numbers and moments of a statement: exact, and as both parties read them. Pure."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from fractions import Fraction
from typing import Final

from agent.report.statement.rows import Figure, Instant, WindowRow
from agent.sla.terms.contract import Objective, Unit
from agent.sla.terms.money import Money
from agent.sla.time.calendar import WindowInstants, local_time
from agent.sla.time.zones import zone
from agent.sla.words.wording import quantity, share, unit
from probes.core.clock import SECOND

NOTHING: Final = "–"
UNITS: Final = {
    Unit.DELAY: "ns", Unit.RATIO: "ratio", Unit.RATE: "bit/s", Unit.MOS: "mos", Unit.COUNT: "count",
    Unit.DURATION: "ns",
}  # fmt: skip
_MARGINS: Final = {
    Unit.RATIO: (Fraction(100), 2), Unit.DELAY: (Fraction(1, 10**6), 3), Unit.RATE: (Fraction(1, 10**6), 2),
    Unit.MOS: (Fraction(1), 2),
}  # fmt: skip
"""Scale of the printed unit, and digits after the point."""
_SIGNIFICANT: Final = 10
"""A margin has two significant digits at least, unless it ends before."""
_SCALES: Final = ((86400 * SECOND, "d"), (3600 * SECOND, "h"), (60 * SECOND, "min"))
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of text, and with it the order in which numbers are read."""


def clean(text: str) -> str:
    """Text of others as one line: nothing that controls a terminal, a printer or the direction of reading."""
    kept = "".join(
        " " if char in "\t\r\n\v\f\u2028\u2029\x85" else char
        for char in text
        if char in "\t\r\n\v\f\u2028\u2029\x85" or not _unseen(char)
    )
    return " ".join(kept.split())


def _unseen(char: str) -> bool:
    return char in _DIRECTIONS or unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") or char == "\ufeff"


def of(objective: Objective, value: Fraction | None, target: Fraction | None = None) -> Figure:
    """A value of the objective, with digits enough to tell it from the target."""
    return Figure(value, UNITS[objective.unit], quantity(objective, value, target))


def margin(objective: Objective, value: Fraction | None, target: Fraction | None) -> Figure:
    """Distance from the target, positive on the good side, rounded to the nearest; only nothing is printed as zero."""
    kind = UNITS[objective.unit]
    if value is None or target is None:
        return Figure(None, kind, NOTHING)
    distance = value - target if objective.comparison == "min" else target - value
    sign = "+" if distance > 0 else "−" if distance < 0 else "±"
    if objective.unit is Unit.DURATION:
        return Figure(distance, kind, sign + span(abs(distance)))
    scale, digits = _MARGINS.get(objective.unit, (Fraction(1), 0))
    shown = abs(distance) * scale
    while round(shown * 10**digits) < _SIGNIFICANT and (shown * 10**digits).denominator > 1:
        digits += 1
    whole = round(shown * 10**digits)
    text = f"{whole // 10**digits}" + (f".{whole % 10**digits:0{digits}}" if digits and whole else "")
    word = "points" if objective.unit is Unit.RATIO else unit(objective)
    return Figure(distance, kind, f"{sign}{text} {word}".rstrip())


def ratio(value: Fraction | None) -> Figure:
    """A share, rounded down."""
    return Figure(value, "ratio", NOTHING if value is None else share(value))


def duration(ns: int | Fraction | None) -> Figure:
    """All of it, to the second and below: `4 h 12 min 5.5 s`."""
    return Figure(None if ns is None else Fraction(ns), "ns", NOTHING if ns is None else span(ns))


def average(ns: int | None) -> Figure:
    """A mean of durations, printed to the second."""
    return Figure(None if ns is None else Fraction(ns), "ns", NOTHING if ns is None else span(round(ns, -9)))


def signed(ns: int | None) -> Figure:
    """A difference of two durations: `+2 min 10 s`, `−40 s`."""
    if ns is None:
        return Figure(None, "ns", NOTHING)
    return Figure(Fraction(ns), "ns", ("+" if ns > 0 else "−" if ns < 0 else "±") + span(abs(ns)))


def span(ns: int | Fraction) -> str:
    """In days, hours, minutes and seconds to the ms; below a second in ms to the µs, then in ns."""
    sign, left = ("−" if ns < 0 else ""), abs(int(ns))
    if 0 < left < SECOND:
        return sign + (f"{_trimmed(left // 1000, 3)} ms" if left >= 1000 else f"{left} ns")
    parts = []
    for scale, name in _SCALES:
        if left >= scale:
            parts.append(f"{left // scale} {name}")
            left %= scale
    if left or not parts:
        parts.append(f"{_trimmed(left // 10**6, 3)} s")
    return sign + " ".join(parts)


def _trimmed(thousandths: int, digits: int) -> str:
    text = f"{thousandths // 10**digits}.{thousandths % 10**digits:0{digits}}"
    return text.rstrip("0").rstrip(".")


def money(amount: Money | None) -> Figure:
    """A sum as it is paid; its unit is the currency."""
    if amount is None:
        return Figure(None, "", NOTHING)
    return Figure(amount.exact, amount.currency, str(amount))


def instant(at_ns: int, zone_name: str, *, whole: bool = False) -> Instant:
    """UTC and local time with as many digits as it has. whole: local time to the second, cut."""
    utc, local = local_time(at_ns, UTC), local_time(at_ns, zone(zone_name).info)
    rest = at_ns % SECOND
    digits = f".{rest:09}".rstrip("0") if rest else ""
    return Instant(
        at_ns,
        f"{utc:%Y-%m-%dT%H:%M:%S}{digits}Z",
        f"{local:%Y-%m-%d %H:%M:%S}{'' if whole else digits} {local:%Z}",
    )


def perhaps(at_ns: int | None, zone_name: str) -> Instant | None:
    return None if at_ns is None else instant(at_ns, zone_name)


def window(found: WindowInstants, as_of_ns: int) -> WindowRow:
    return WindowRow(
        found.label,
        found.zone,
        instant(found.start_ns, found.zone),
        instant(found.end_ns, found.zone),
        duration(found.length_ns),
        found.closed(as_of_ns),
    )
