"""Targets, limits and edges as contracts write them: `99.9 %`, `30ms`, `95Mbit/s`, `4h`, `0`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from agent.sla.terms.contract import Metric, Target, Unit
from probes.core.errors import LocalError
from probes.core.units import parse_duration, parse_percent, parse_rate

_SHARE: Final = re.compile(r"\s*(.+%)\s*of\s+committed_rate\s*")
_NEGATIVE: Final = re.compile(r"\s*-\s*[\d.]")
_NUMBER: Final = re.compile(r"\s*\d+(\.\d+)?\s*")
_EXAMPLES: Final = {
    Unit.DELAY: ("20ms", "{0}ms"),
    Unit.RATIO: ("99.9 %", "{0} %"),
    Unit.RATE: ("95Mbit/s or 90 % of committed_rate", "{0}Mbit/s"),
    Unit.DURATION: ("4h or 15m", "{0}h"),
    Unit.MOS: ("4.0", "{0}"),
    Unit.COUNT: ("0 or 3", "{0}"),
}
_OF_METRIC: Final = {Metric.LOSS: ("0.1 %", "{0} %"), Metric.JITTER: ("2ms", "{0}ms")}
_BEST_MOS: Final = Fraction(9, 2)
_MAY_BE_NOTHING: Final = (Metric.LOSS,)


def parse_target(unit: Unit, metric: Metric, text: str) -> Target:
    """The bound in base units. Raises LocalError."""
    share = _SHARE.fullmatch(text)
    if share is not None and unit is Unit.RATE:
        return Target(_positive(parse_percent(share[1]), text), text.strip(), of_committed_rate=True)
    value = parse_value(unit, metric, text, what="target")
    nothing_is_something = (
        metric in _MAY_BE_NOTHING or unit is Unit.COUNT or (unit is Unit.RATIO and metric is not Metric.AVAILABILITY)
    )
    return Target(value if nothing_is_something else _positive(value, text), text.strip())


def parse_value(unit: Unit, metric: Metric, text: str, what: str = "value", *, beyond: bool = False) -> Fraction:
    """One value in the unit's base. beyond: a percentage that may be over 100 %. Raises LocalError."""
    example, with_unit = _example(unit, metric)
    if _NEGATIVE.match(text):
        raise LocalError(f"a {what} cannot be negative: write it like {example}")
    plain = _NUMBER.fullmatch(text) is not None
    if unit in (Unit.MOS, Unit.COUNT):
        return _number(unit, metric, text, plain=plain, what=what)
    if plain:
        raise LocalError(f"{text.strip()} has no unit: write it like {with_unit.format(text.strip())}")
    parsers: dict[Unit, Callable[[str], int | Fraction]] = {
        Unit.DELAY: parse_duration,
        Unit.DURATION: parse_duration,
        Unit.RATE: parse_rate,
        Unit.RATIO: parse_percent,
    }
    try:
        value = Fraction(parsers[unit](text))
    except LocalError:
        raise LocalError(f"{text[:60]!r} is not a {what} for {metric}: write it like {example}") from None
    if unit is Unit.RATIO and value > 1 and not beyond:
        raise LocalError(f"{text.strip()} is more than 100 %: {metric} is a share")
    return value


def _example(unit: Unit, metric: Metric) -> tuple[str, str]:
    if unit in (Unit.RATIO, Unit.DELAY) and metric in _OF_METRIC:
        return _OF_METRIC[metric]
    return _EXAMPLES[unit]


def _number(unit: Unit, metric: Metric, text: str, *, plain: bool, what: str) -> Fraction:
    example = _EXAMPLES[unit][0]
    if not plain:
        raise LocalError(f"{text[:60]!r} is not a {what} for {metric}: write it like {example}")
    value = Fraction(Decimal(text.strip()))
    if unit is Unit.COUNT and value.denominator != 1:
        raise LocalError(f"{text.strip()} is not a whole number: write it like {example}")
    if unit is Unit.MOS and not 1 <= value <= _BEST_MOS:
        raise LocalError(f"{text.strip()} is not a MOS (allowed: 1 to 4.5)")
    return value


def _positive(value: Fraction, text: str) -> Fraction:
    if not value:
        raise LocalError(f"a target of {text.strip()} promises nothing that can be measured")
    return value
