"""One number from many samples, exact, with the bounds that unmeasured packets leave. Pure; every value a Fraction.

Bounds hold for whatever the `unknown` packets were: `best` if they were all good, `worst` if they were all bad; None
is no finite bound. Delays are ns and cannot be below 0, though a measured one-way delay can, by the error of its
clocks; a lost packet has no delay (RFC 8912 conditional distribution).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from agent.sla.samples.columns import SampleColumns, present
from agent.sla.samples.distribution import INFINITE, Distribution, delays
from agent.sla.terms.contract import Direction
from probes.core.arrays import ABSENT, Int64

Flags = NDArray[np.bool_]
ZERO = Fraction(0)
_HALF = 1 << 63


@dataclass(frozen=True, slots=True)
class Estimate:
    """value: the statistic of what was measured, None if nothing was; best and worst: its bounds, None if unbounded."""

    value: Fraction | None
    best: Fraction | None
    worst: Fraction | None


@dataclass(frozen=True, slots=True)
class Reduction:
    """A statistic ready to be bounded. count: packets, pairs or runs it rests on; counts: exact sums for evidence."""

    count: int
    counts: dict[str, int]
    at: Callable[[int], Estimate]
    """the estimate when so many packets (pairs, runs) are unknown"""
    note: str = ""
    """what limits the statistic, for people"""


def mean(total: int, count: int, counts: dict[str, int], limit: int | None = None) -> Reduction:
    """total / count of values that cannot be negative; unknown ones may be 0, and at most `limit`, if there is one."""

    def at(unknown: int) -> Estimate:
        value = Fraction(total, count) if count else None
        best = ZERO if value is None else min(value, Fraction(total, count + unknown))
        if not unknown or value is None:
            return Estimate(value, best, value)
        worst = None if limit is None else max(value, Fraction(total + unknown * limit, count + unknown))
        return Estimate(value, best, worst)

    return Reduction(count, counts, at)


def ratio(bad: int, asked: int, counts: dict[str, int]) -> Reduction:
    """bad / asked; unknown ones were all good or all bad."""

    def at(unknown: int) -> Estimate:
        if not asked:
            return Estimate(None, ZERO, Fraction(1))
        return Estimate(Fraction(bad, asked), Fraction(bad, asked + unknown), Fraction(bad + unknown, asked + unknown))

    return Reduction(asked, counts, at)


def percentile(
    low: Int64,
    high: Int64,
    weight: Int64,
    p: Fraction,
    counts: dict[str, int],
    limit: int | None = None,
    *,
    least: int = 0,
    low_is_bad: bool = False,
    per: int = 1,
) -> Reduction:
    """Nearest rank: the ceil(p * n)-th smallest of n values known to lie in [low, high], `weight` of each.

    The value is the middle of the two bounds it is known between; unknown values may be `least`, and at most `limit`.
    Values are in 1/per of the base unit. A high of INFINITE is no bound.
    """
    lows = _Ranked(low, weight)
    highs = lows if high is low else _Ranked(high, weight)
    count = lows.total

    def at(unknown: int) -> Estimate:
        if not count:
            return _ends(None, Fraction(least), None if limit is None or not low_is_bad else Fraction(limit))
        rank, widened = -(-p * count // 1), -(-p * (count + unknown) // 1)
        floor, ceiling = lows.value(int(rank)), highs.value(int(rank))
        lowest = Fraction(min(least, lows.value(1)) if widened <= unknown else lows.value(int(widened) - unknown))
        if widened <= count:
            top: int | None = highs.value(int(widened))
        else:
            top = None if limit is None else max(limit, highs.value(count))
        value = Fraction(floor) if ceiling == INFINITE else Fraction(floor + ceiling, 2)
        return _ends(value, lowest, None if top is None or top == INFINITE else Fraction(top))

    def _ends(value: Fraction | None, lowest: Fraction, highest: Fraction | None) -> Estimate:
        found = None if value is None else value / per
        ends = (lowest / per, None if highest is None else highest / per)
        return Estimate(found, *(reversed(ends) if low_is_bad else ends))

    return Reduction(count, counts, at)


def within(spread: Distribution, limit: Fraction, counts: dict[str, int], *, over: bool = False) -> Reduction:
    """Share of the values at or below the limit, or above it. Where a bucket straddles the limit, half of it counts in
    the value, and none or all of it in the bounds."""
    edge = limit // 1
    good = int(spread.weight[spread.high <= edge].sum())
    bad = int(spread.weight[(spread.low > edge) | (spread.high == INFINITE)].sum())
    count = spread.count
    unsure = count - good - bad

    def at(unknown: int) -> Estimate:
        if not count:
            return Estimate(None, Fraction(int(not over)), Fraction(int(over)))
        value = Fraction(2 * good + unsure, 2 * count)
        best = Fraction(good + unsure + unknown, count + unknown)
        worst = Fraction(good, count + unknown)
        return Estimate(1 - value, 1 - best, 1 - worst) if over else Estimate(value, best, worst)

    return Reduction(count, {**counts, "within": good, "beyond": bad, "undecided": unsure}, at)


def less_minimum(distribution: Reduction, minimum_ns: int) -> Reduction:
    """A percentile of PDV, RFC 5481 section 4.2: the percentile of delay less the smallest delay of the period."""

    def at(unknown: int) -> Estimate:
        of = distribution.at(unknown)
        value = None if of.value is None else max(ZERO, of.value - minimum_ns)
        best = None if of.best is None else max(ZERO, of.best - minimum_ns)
        floor = (
            min(0, minimum_ns) if unknown else minimum_ns
        )  # an unmeasured packet may have been faster than all others
        return Estimate(value, best, None if of.worst is None else max(ZERO, of.worst - floor))

    counts = {**distribution.counts, "rtt_minimum_ns": minimum_ns}
    return Reduction(distribution.count, counts, at, distribution.note)


def of_runs(rates: Int64, how: Fraction | None, counts: dict[str, int], *, mean_of: bool = False) -> Reduction:
    """Minimum (how None), mean (mean_of) or percentile `how` of capacity runs; an unknown run may be 0 or any rate."""
    ordered = np.sort(rates)
    count, total = len(ordered), int(ordered.sum())

    def at(unknown: int) -> Estimate:
        if not count:
            return Estimate(None, None, ZERO)
        if mean_of:
            value = Fraction(total, count)
            return Estimate(value, None if unknown else value, Fraction(total, count + unknown))
        rank = 1 if how is None else int(-(-how * count // 1))
        widened = 1 if how is None else int(-(-how * (count + unknown) // 1))
        best = Fraction(int(ordered[widened - 1])) if widened <= count else None
        worst = Fraction(int(ordered[widened - unknown - 1])) if widened > unknown else ZERO
        return Estimate(Fraction(int(ordered[rank - 1])), best, worst)

    return Reduction(count, counts, at)


def loss_ratio(columns: SampleColumns, rows: Flags) -> Reduction:
    sent, lost = _sum(columns.column("sent"), rows), _sum(columns.column("lost"), rows)
    late = _sum(columns.column("late"), rows)
    return ratio(lost, sent, {"sent": sent, "lost": lost, "late": late})


def delay_mean(columns: SampleColumns, rows: Flags, limit: int | None = None) -> Reduction:
    """limit, here and below: no answer in time takes longer, so that no delay and no variation of it is greater."""
    total, count = _sum(columns.column("rtt_sum_ns"), rows), _sum(columns.column("rtt_count"), rows)
    return mean(total, count, {"packets": count, "rtt_sum_ns": total}, limit)


def ipdv_mean(columns: SampleColumns, rows: Flags, limit: int | None = None) -> Reduction:
    total, count = _sum(columns.column("ipdv_abs_sum_ns"), rows), _sum(columns.column("ipdv_pairs"), rows)
    return mean(total, count, {"pairs": count, "ipdv_abs_sum_ns": total}, limit)


def rfc3550(columns: SampleColumns, rows: Flags, p: Fraction | None, limit: int | None = None) -> Reduction:
    """Mean or percentile of the estimator's value at the end of each sample."""
    values = columns.column("rfc3550_ns")
    values = values[rows & present(values)]
    counts = {"samples": len(values), "rfc3550_sum_ns": int(values.sum())}
    if p is None:
        return mean(counts["rfc3550_sum_ns"], len(values), counts, limit)
    return percentile(values, values, np.ones_like(values), p, counts, limit)


def delay_percentile(columns: SampleColumns, rows: Flags, p: Fraction, limit: int | None = None) -> Reduction:
    """From the samples' histograms; where a sample has none, from its own percentiles, which bound it less closely."""
    return of_delays(delays(columns, rows & (columns.column("rtt_count") > 0)), p, limit)


def of_delays(spread: Distribution, p: Fraction, limit: int | None = None) -> Reduction:
    counts = {"packets": spread.count, "samples_without_histogram": spread.without}
    found = percentile(spread.low, spread.high, spread.weight, p, counts, limit)
    note = f"{spread.without} samples without histogram" if spread.without else ""
    return Reduction(found.count, found.counts, found.at, note)


def pdv_percentile(columns: SampleColumns, rows: Flags, p: Fraction, limit: int | None = None) -> Reduction:
    smallest = columns.column("rtt_min_ns")[rows & (columns.column("rtt_count") > 0)]
    return less_minimum(delay_percentile(columns, rows, p, limit), int(smallest.min()) if len(smallest) else 0)


def run_rates(columns: SampleColumns, direction: Direction) -> Int64:
    """bit/s of each row in the direction asked for, ABSENT where the run gave none. Worst is the slower direction."""
    forward, backward = columns.column("forward_bps"), columns.column("backward_bps")
    if direction == "forward":
        return forward
    if direction == "backward":
        return backward
    both = present(forward) & present(backward)
    return np.where(both, np.minimum(forward, backward), ABSENT)


def throughput(rates: Int64, rows: Flags, how: Fraction | None, *, mean_of: bool = False) -> Reduction:
    taken = rates[rows & present(rates)]
    return of_runs(taken, how, {"runs": len(taken)}, mean_of=mean_of)


def _sum(values: Int64, rows: Flags) -> int:
    return total_of(values, rows & present(values))


def total_of(values: Int64, rows: Flags) -> int:
    """Sum of the values of those rows, which fits 64 bits. Of few rows the others are added, of many they are taken
    off again: sums modulo 2^64, so that it does not matter what stands in the other rows."""
    if 2 * int(np.count_nonzero(rows)) < len(rows):
        return int(values[rows].sum())
    left = int(values.sum()) - int(values[~rows].sum())
    return (left + _HALF) % (2 * _HALF) - _HALF


class _Ranked:
    """Values with weights, for the k-th smallest."""

    def __init__(self, values: Int64, weight: Int64) -> None:
        order = np.argsort(values, kind="stable")
        self._values, self._reach = values[order], np.cumsum(weight[order])
        self.total = int(self._reach[-1]) if len(values) else 0

    def value(self, rank: int) -> int:
        return int(self._values[int(np.searchsorted(self._reach, rank, side="left"))])
