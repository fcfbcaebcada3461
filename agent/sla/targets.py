"""Targets as contracts write them: `99.9 %`, `30ms`, `95Mbit/s`, `90 % of committed_rate`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from agent.sla.contract import Metric, Target
from probes.core.errors import LocalError
from probes.core.units import parse_duration, parse_percent, parse_rate

_SHARE: Final = re.compile(r"\s*(.+%)\s*of\s+committed_rate\s*")
_NEGATIVE: Final = re.compile(r"\s*-\s*[\d.]")
_UNITS: Final = {
    Metric.RTT: ("20ms", "{0}ms"),
    Metric.JITTER: ("2ms", "{0}ms"),
    Metric.LOSS: ("0.1 %", "{0} %"),
    Metric.AVAILABILITY: ("99.9 %", "{0} %"),
    Metric.THROUGHPUT: ("95Mbit/s or 90 % of committed_rate", "{0}Mbit/s"),
}


def parse_target(metric: Metric, text: str) -> Target:
    """The bound in base units. Raises LocalError."""
    example, with_unit = _UNITS[metric]
    if _NEGATIVE.match(text):
        raise LocalError(f"a target cannot be negative: write it like {example}")
    if re.fullmatch(r"\s*[\d.]+\s*", text):
        raise LocalError(f"{text.strip()} has no unit: write it like {with_unit.format(text.strip())}")
    share = _SHARE.fullmatch(text)
    if share is not None and metric is Metric.THROUGHPUT:
        return Target(_positive(parse_percent(share[1]), text), text.strip(), of_committed_rate=True)
    parsers: dict[Metric, Callable[[str], int | Fraction]] = {
        Metric.RTT: parse_duration,
        Metric.JITTER: parse_duration,
        Metric.THROUGHPUT: parse_rate,
    }
    try:
        value = Fraction(parsers.get(metric, parse_percent)(text))
    except LocalError:
        raise LocalError(f"{text[:60]!r} is not a target for {metric}: write it like {example}") from None
    if metric in (Metric.LOSS, Metric.AVAILABILITY) and value > 1:
        raise LocalError(f"{text.strip()} is more than 100 %: {metric} is a share")
    return Target(value if metric is Metric.LOSS else _positive(value, text), text.strip())


def _positive(value: Fraction, text: str) -> Fraction:
    if not value:
        raise LocalError(f"a target of {text.strip()} promises nothing that can be measured")
    return value
