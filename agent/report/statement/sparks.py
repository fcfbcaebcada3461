"""Small drawings beside a number: the run of a value over the period, and how much of a budget is used. SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from html import escape
from typing import Final, Literal

from agent.report.statement.model import BudgetRow, Trend

_WIDE, _TALL = 96.0, 20.0
_EDGE: Final = 2.0
_FAR: Final = 4
"""A target further away than so many times the range of the values is not drawn: it would flatten them."""
_BAR_WIDE, _BAR_TALL = 96.0, 8.0


def spark(trend: Trend, comparison: Literal["max", "min"]) -> str:
    """A line over the points, those beyond the target as dots, the target dashed."""
    values = [float(point) for point in trend.points if point is not None]
    if not values:
        return ""
    target = None if trend.target is None else float(trend.target)
    low, high = min(values), max(values)
    near = target is not None and abs(target - (low + high) / 2) <= _FAR * max(high - low, abs(target) / 1000, 1e-12)
    if near and target is not None:
        low, high = min(low, target), max(high, target)
    reach = high - low or 1.0

    def y(value: float) -> float:
        return _TALL - _EDGE - (value - low) / reach * (_TALL - 2 * _EDGE)

    def x(place: int) -> float:
        return _EDGE + (_WIDE - 2 * _EDGE) * (place + 0.5) / len(trend.points)

    missed = [
        (x(place), y(float(point)))
        for place, point in enumerate(trend.points)
        if point is not None and trend.target is not None and _beyond(point, trend.target, comparison)
    ]
    label = _label(trend, len(missed))
    parts = [
        f'<svg class="spark" viewBox="0 0 {_WIDE:g} {_TALL:g}" role="img" aria-label="{escape(label)}">',
        f"<title>{escape(label)}</title>",
    ]
    if near and target is not None:
        parts.append(f'<path class="target" d="M0 {y(target):.1f}H{_WIDE:g}"/>')
    parts.append(f'<path class="run" d="{_line(trend.points, x, y)}"/>')
    parts += [f'<circle class="miss" cx="{left:.1f}" cy="{top:.1f}" r="2"/>' for left, top in missed]
    return "".join([*parts, "</svg>"])


def _beyond(point: Fraction, target: Fraction, comparison: Literal["max", "min"]) -> bool:
    return point < target if comparison == "min" else point > target


def _label(trend: Trend, missed: int) -> str:
    count, noun = len(trend.points), trend.of[:-1]
    beyond = (
        f", {missed} beyond the target" if missed else ", none beyond the target" if trend.target is not None else ""
    )
    return f"Value by {noun}: {count} {trend.of}{beyond}"


def _line(points: Sequence[Fraction | None], x, y) -> str:  # type: ignore[no-untyped-def] # two plain functions
    parts, pen = [], "M"
    for place, point in enumerate(points):
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x(place):.1f} {y(float(point)):.1f}")
        if pen == "M":
            parts.append("h0.01")
        pen = "L"
    return "".join(parts)


def budget_bar(budget: BudgetRow) -> str:
    """Full where all is used; hatched and full where more than all is."""
    share = budget.share if budget.share is not None else Fraction(2 if (budget.used.exact or 0) > 0 else 0)
    label = f"{budget.used.shown} of {budget.allowed.shown} used"
    over = share > 1
    wide = _BAR_WIDE * float(min(share, Fraction(1)))
    name = "over" if over else "used"
    return (
        f'<svg class="budget" viewBox="0 0 {_BAR_WIDE:g} {_BAR_TALL:g}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>"
        f'<rect class="room" x="0.5" y="0.5" width="{_BAR_WIDE - 1:g}" height="{_BAR_TALL - 1:g}"/>'
        f'<rect class="{name}" x="0" y="0" width="{wide:.1f}" height="{_BAR_TALL:g}"/>'
        + ('<path class="beyond" d="M86 0l4 4l-4 4M91 0l4 4l-4 4"/>' if over else "")
        + "</svg>"
    )
