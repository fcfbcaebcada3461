"""Edges of credit bands in base units, and whether bands leave a hole, overlap, or reward a promise that was kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from agent.contract_language.statistic_section import STATISTICS, USUAL
from agent.document import Document, KeyPath, Problem
from agent.sla.terms.contract import Comparison, Metric, StatisticType, Unit
from agent.sla.terms.objective import comparison_of, unit_of
from agent.sla.terms.targets import parse_target, parse_value
from probes.core.errors import LocalError

_DURATION_BASES: Final = ("per_event", "proportional")


@dataclass(frozen=True, slots=True)
class Scale:
    """What the edges of bands and the steps of units are of."""

    unit: Unit
    metric: Metric
    comparison: Comparison | None = "max"
    """None where the objective is wrong itself: nobody knows then which values are the worst"""
    target: Fraction | None = None
    """of the objective, where an edge must not lie on its good side"""
    promised: bool = False
    """of an objective's own value: an open band on its good side is wrong even where the target is not known"""
    beyond: bool = False
    """a share of the target, which may be over 100 %"""


DURATION: Final = Scale(Unit.DURATION, Metric.OUTAGE)


def band_value(scale: Scale, text: str) -> Fraction:
    """One edge. Raises LocalError."""
    return parse_value(scale.unit, scale.metric, text, beyond=scale.beyond)


def step_value(scale: Scale, text: str) -> Fraction:
    """Length of a unit that is counted. Raises LocalError."""
    step = band_value(scale, text)
    if not step:
        raise LocalError("a unit of nothing cannot be counted")
    return step


def scale_of(terms: Mapping[str, object], objectives: Sequence[object]) -> Scale | None:
    """By the raw terms and the raw objectives of a contract; None where these are wrong themselves."""
    basis, name = terms.get("basis"), terms.get("objective")
    if basis in _DURATION_BASES or (basis == "per_unit" and name is None):
        return DURATION
    found = next((item for item in objectives if isinstance(item, dict) and item.get("id") == name), None)
    if found is None or found.get("metric") not in list(Metric):
        return None
    metric = Metric(found["metric"])
    statistic = found.get("statistic")
    kind = statistic.get("type") if isinstance(statistic, dict) else USUAL.get(metric)
    if kind not in list(StatisticType):
        return None
    unit, comparison = unit_of(metric, StatisticType(kind)), comparison_of(metric, StatisticType(kind))
    if basis == "per_unit" and metric is Metric.AVAILABILITY and unit is Unit.RATIO:
        return DURATION
    if basis == "excess_relative":
        return Scale(Unit.RATIO, Metric.LOSS, beyond=True)
    if basis == "excess_absolute":
        return Scale(unit, metric)
    if StatisticType(kind) not in STATISTICS[metric]:
        return Scale(unit, metric, None)
    try:
        target = parse_target(unit, metric, str(found.get("target")))
    except LocalError:
        return Scale(unit, metric, comparison, promised=True)
    return Scale(unit, metric, comparison, None if target.of_committed_rate else target.value, promised=True)


@dataclass(frozen=True, slots=True)
class _Written:
    """A band with its edges in base units and the place it was written."""

    low: Fraction | None
    high: Fraction | None
    path: KeyPath
    text: str


def problems(document: Document) -> Iterator[Problem]:
    """Everything that is wrong with the edges of all bands, units and deductibles, whatever else is wrong."""
    terms = document.at(("credits", "terms"))
    objectives = document.at(("objectives",))
    if not isinstance(terms, list) or not isinstance(objectives, list):
        return
    for index, item in enumerate(terms):
        if not isinstance(item, dict):
            continue
        path: KeyPath = ("credits", "terms", index)
        scale = scale_of(item, objectives)
        if scale is None:
            continue
        yield from _unit_problems(document, path, scale)
        bands = item.get("bands")
        if isinstance(bands, list) and bands:
            place = _target_place(document, objectives, item.get("objective"))
            upper = item.get("edges") == "upper"
            yield from _band_problems(document, (*path, "bands"), scale, bands, upper=upper, target=place)


def _target_place(document: Document, objectives: Sequence[object], name: object) -> str:
    """` (line 9)`, where the objective of this name has its target."""
    for index, item in enumerate(objectives):
        if isinstance(item, dict) and item.get("id") == name and "target" in item:
            return f" (line {document.position(('objectives', index, 'target')).line})"
    return ""


def _unit_problems(document: Document, path: KeyPath, scale: Scale) -> Iterator[Problem]:
    for key, read in (("step", step_value), ("deductible", band_value)):
        at = (*path, "unit", key)
        value = document.at(at)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                read(scale, str(value))
            except LocalError as error:
                yield document.problem(at, _told(error))


def _band_problems(
    document: Document, path: KeyPath, scale: Scale, bands: Sequence[object], *, upper: bool, target: str
) -> Iterator[Problem]:
    found: list[_Written] = []
    wrong = False
    for index, band in enumerate(bands):
        if not isinstance(band, dict):
            return
        edges: dict[str, Fraction | None] = {"from": None, "to": None}
        for key in edges:
            value = band.get(key)
            if value is None:
                continue
            try:
                edges[key] = band_value(scale, str(value))
            except LocalError as error:
                wrong = True
                yield document.problem((*path, index, key), _told(error))
        low, high = edges["from"], edges["to"]
        if band.get("from") is None and band.get("to") is None:
            wrong = True
            yield document.problem((*path, index), "a band needs `from`, `to` or both")
        elif low is not None and high is not None and low >= high:
            wrong = True
            yield document.problem((*path, index, "to"), f"the band ends at or below its start, {band['from']}")
        text = f"{band.get('from', 'below')} to {band.get('to', 'above')}"
        found.append(_Written(low, high, (*path, index), text))
    if not wrong:
        yield from _order_problems(document, scale, found, upper=upper, target=target)


def _order_problems(
    document: Document, scale: Scale, found: list[_Written], *, upper: bool, target: str
) -> Iterator[Problem]:
    ordered = sorted(found, key=lambda item: (item.low is not None, item.low or Fraction(0)))
    for before, after in itertools.pairwise(ordered):
        place = document.position(before.path)
        line = f"line {place.line}"
        if before.high is None or after.low is None or before.high > after.low:
            yield document.problem(after.path, f"overlaps the band {before.text} ({line})")
        elif before.high < after.low:
            yield document.problem(after.path, f"leaves a hole after the band {before.text} ({line})")
    yield from _target_problems(document, scale, ordered, upper=upper, place=target)


def _target_problems(
    document: Document, scale: Scale, ordered: list[_Written], *, upper: bool, place: str
) -> Iterator[Problem]:
    """The target itself never earns; from it on, to the worst, every value has its band."""
    first, last, target = ordered[0], ordered[-1], scale.target
    if scale.comparison is None or (scale.unit is Unit.DURATION and not scale.promised):
        return
    if scale.comparison == "min":
        if first.low is not None and (first.low > 0 or upper):
            yield document.problem(first.path, "the band of the worst values must be open: leave out `from`")
        if last.high is None or (target is not None and last.high > target):
            yield document.problem(last.path, f"reaches to the good side of the target{place}")
        elif target is not None and last.high < target:
            yield document.problem(last.path, f"leaves a hole between this band and the target{place}")
        elif target is not None and upper:
            message = f"holds the target itself{place}, which never earns: leave out `edges: upper`"
            yield document.problem(last.path, message)
        return
    ends = Fraction(1) if scale.unit is Unit.RATIO and upper and not scale.beyond else None  # all of it is in the band
    if last.high is not None and (ends is None or last.high < ends):
        yield document.problem(last.path, "the band of the worst values must be open: leave out `to`")
    if scale.promised and (first.low is None or (target is not None and first.low < target)):
        yield document.problem(first.path, f"reaches to the good side of the target{place}")
    elif target is not None and first.low is not None and first.low > target:
        yield document.problem(first.path, f"leaves a hole between the target{place} and this band")


def _told(error: LocalError) -> str:
    return f"{error.message}: {error.hint}" if error.hint else error.message
