"""What each sample adds to a mean: a sum and how many values it is of. Exact, in integers; sums of sums merge. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from agent.sla.statistic.statistics import Estimate, Reduction, total_of
from agent.sla.time.spans import Flags
from probes.core.arrays import Int64

_SAFE: Final = 2**62
"""Products below this are exact in int64."""
_STEP_BITS: Final = 16
_ROOM_BITS: Final = 62
_STEPS: Final = 7
"""Two fractions of denominators below 2^46 that agree in 96 bits are equal."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Of the values: in 1/per of the base unit, an unknown one from least to most (None: any), and which end is bad.

    noun: what is counted. sum_name: what the sum is called in the evidence.
    """

    noun: str
    sum_name: str
    per: int = 1
    least: int = 0
    most: int | None = None
    low_is_bad: bool = False

    @property
    def good(self) -> int | None:
        return self.most if self.low_is_bad else self.least

    @property
    def bad(self) -> int | None:
        return self.least if self.low_is_bad else self.most


@dataclass(frozen=True, slots=True, eq=False)
class Amounts:
    """total, count: int64 (rows,), both 0 where the row has nothing. lost: packets without a delay that count as
    infinite, 0 everywhere where the contract leaves them out."""

    total: Int64
    count: Int64
    scale: Scale
    lost: Int64

    def of(self, rows: Flags) -> Amounts:
        """Those of the rows that are chosen, the others 0."""
        if rows.all():
            return self
        return Amounts(
            np.where(rows, self.total, 0), np.where(rows, self.count, 0), self.scale, np.where(rows, self.lost, 0)
        )

    def sums_of(self, rows: Flags) -> tuple[int, int]:
        """The total of the rows that are chosen, and how many values it is of."""
        return total_of(self.total, rows), total_of(self.count, rows)


def mean_of(total: int, count: int, scale: Scale) -> Reduction:
    """total / count; so many unknown values may each be anything that the scale allows, or may not exist."""

    def at(unknown: int) -> Estimate:
        if not count:
            return Estimate(None, _scaled(scale.good, scale), _scaled(scale.bad, scale))
        value = Fraction(total, count)
        ends = []
        for end in (scale.good, scale.bad):
            moved = None if end is None else Fraction(total + unknown * end, count + unknown)
            ends.append(value if not unknown else moved)
        best, worst = ends
        if best is not None:
            best = max(best, value) if scale.low_is_bad else min(best, value)
        if worst is not None:
            worst = min(worst, value) if scale.low_is_bad else max(worst, value)
        per = scale.per
        return Estimate(value / per, None if best is None else best / per, None if worst is None else worst / per)

    return Reduction(count, {scale.noun: count, scale.sum_name: total}, at)


def _scaled(value: int | None, scale: Scale) -> Fraction | None:
    return None if value is None else Fraction(value, scale.per)


def beyond(total: Int64, count: Int64, limit: Fraction, scale: Scale) -> Flags:
    """total / count lies on the bad side of the limit (in base units), False where count is 0; exact, shape (k,)."""
    wanted = limit * scale.per
    left, right = _product(total, wanted.denominator), _product(count, wanted.numerator)
    found: Flags = np.asarray(left < right if scale.low_is_bad else left > right, np.bool_) & (count > 0)
    return found


def _product(values: Int64, factor: int) -> Int64:
    largest = max(abs(int(values.max(initial=0))), abs(int(values.min(initial=0))))
    if largest * abs(factor) < _SAFE:
        return values * np.int64(factor)
    return values.astype(object) * factor


def extreme(total: Int64, count: Int64, *, smallest: bool) -> Fraction | None:
    """The largest (smallest) total / count over k pairs with count > 0, exact while count < 2^46; None of none.

    Long division of all at once: each step keeps those with the best digits so far.
    """
    place = np.flatnonzero(count > 0)
    if not len(place):
        return None
    rest, below = total[place], count[place]
    first = 0  # digits at once, as many as fit: most are out after the first step
    if int(rest.min()) >= 0:
        first = max(0, _ROOM_BITS - int(rest.max()).bit_length())
    rest = rest << first
    for _ in range(_STEPS):
        digit = rest // below
        kept = digit == (digit.min() if smallest else digit.max())
        rest, below, place = (rest - digit * below)[kept], below[kept], place[kept]
        if len(place) == 1 or not rest.any():
            break
        rest = rest << _STEP_BITS
    return Fraction(int(total[place[0]]), int(count[place[0]]))


def sum_of_means(total: Int64, count: Int64) -> Fraction:
    """The sum of total / count over k pairs with count > 0, exact: pairs of one count are added first."""
    sums: dict[int, int] = {}
    order = np.argsort(count, kind="stable")
    counts, first = np.unique(count[order], return_index=True)
    if len(counts):
        parts = np.add.reduceat(total[order], first)
        sums = dict(zip(counts.tolist(), parts.tolist(), strict=True))
    return added(Fraction(part, number) for number, part in sums.items())


def added(parts: Iterable[Fraction]) -> Fraction:
    """Their sum, halves first: the denominators stay small as long as they can."""
    left = list(parts)
    while len(left) > 1:
        left = [left[k] + left[k + 1] if k + 1 < len(left) else left[k] for k in range(0, len(left), 2)]
    return left[0] if left else Fraction(0)
