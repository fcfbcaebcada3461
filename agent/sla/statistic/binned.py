"""Statistics of bins: means of fixed stretches of a window, shares of them, bad ones in a row, the worst of any place.

Bins lie on the window's start; what is left at its end is a bin of its own from half a bin on, else part of the last
one. Every bin has equal weight, however many packets it holds. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from agent.sla.samples.measured import Pace
from agent.sla.statistic.amounts import Amounts, Scale, added, beyond, extreme, sum_of_means
from agent.sla.statistic.statistics import Estimate
from agent.sla.statistic.streaks import bounds as streak_bounds
from agent.sla.statistic.streaks import counted
from agent.sla.time.period import Period
from agent.sla.time.spans import Flags, Spans
from probes.core.arrays import Int64


@dataclass(frozen=True, slots=True, eq=False)
class Missing:
    """What was not measured. spans: whole stretches. row_start_ns, packets: of rows that lack so many of theirs."""

    spans: Spans
    row_start_ns: Int64
    packets: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Half-open stretches of time [begin, end), int64 (k,), with what was measured in each.

    total, count, lost: sums of the rows that start in it. ends of bins ascend; windows overlap.
    """

    begin: Int64
    end: Int64
    total: Int64
    count: Int64
    lost: Int64
    scale: Scale
    every_ns: int | None
    attempts: bool

    def unknown(self, missing: Missing) -> Int64:
        """Most values that each may lack."""
        lacking = _sums(missing.row_start_ns, missing.packets, self.begin, self.end)
        if self.every_ns is None or not len(missing.spans):
            return lacking
        time = missing.spans.cover(self.begin, self.end)
        pieces = np.searchsorted(missing.spans.start_ns, self.end, "left") - np.searchsorted(
            missing.spans.end_ns, self.begin, "right"
        )
        most = -(-time // self.every_ns)
        return lacking + most + np.where(time > 0, pieces, 0)

    def where(self, chosen: Flags) -> Stretches:
        return Stretches(
            self.begin[chosen], self.end[chosen], self.total[chosen], self.count[chosen], self.lost[chosen],
            self.scale, self.every_ns, self.attempts,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """A statistic that depends on when a value is missing. count: bins or windows it rests on; to_come: bins of the
    window that are not over yet. at: the estimate with that much missing and so many good bins more."""

    count: int
    counts: dict[str, int]
    to_come: int
    at: Callable[[Missing, int], Estimate]
    note: str = ""


def edges(period: Period, bin_ns: int) -> tuple[Int64, int]:
    """(edges of the bins that are over, int64 (k+1,); bins still to come)."""
    start, end = period.whole_start_ns, period.whole_end_ns
    whole = max(1, (end - start + bin_ns // 2) // bin_ns) if end > start else 0
    every = np.append(start + np.arange(whole, dtype=np.int64) * bin_ns, np.int64(end))
    over = int(np.searchsorted(every[1:], period.end_ns, side="right")) if whole else 0
    return every[: over + 1], whole - over


def stretches(start_ns: Int64, amounts: Amounts, begin: Int64, end: Int64, pace: Pace) -> Stretches:
    """Sum the rows, which are in order of start_ns, over each stretch."""
    total, count, lost = (_sums(start_ns, part, begin, end) for part in (amounts.total, amounts.count, amounts.lost))
    return Stretches(begin, end, total, count, lost, amounts.scale, pace.every_ns, pace.attempts)


def _sums(start_ns: Int64, values: Int64, begin: Int64, end: Int64) -> Int64:
    reach = np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))
    found: Int64 = reach[np.searchsorted(start_ns, end, "left")] - reach[np.searchsorted(start_ns, begin, "left")]
    return found


def _moved(bins: Stretches, unknown: Int64, value: int) -> Int64:
    return bins.total + unknown * np.int64(value)


def mean_of_means(bins: Stretches, to_come: int) -> Placed:
    """Each bin's mean counts once; a bin without any value may have one that was not measured."""
    scale, some = bins.scale, bins.count > 0
    known = int(np.count_nonzero(some))

    def end(unknown: Int64, value: int | None, more: int, plain: Fraction) -> Fraction | None:
        """The mean with each unknown value at one end of the scale, and `more` whole bins of it."""
        optional = int(np.count_nonzero(~some & (unknown > 0))) + more
        if value is None:
            return plain / known if known and not optional and not unknown[some].any() else None
        if not known:
            return Fraction(value)
        moved, count = _moved(bins, unknown, value)[some], (bins.count + unknown)[some]
        toward_less = value == scale.least
        total = sum_of_means(moved, count)
        if not _one_sided(bins, some, value, toward_less=toward_less):
            pairs = zip(
                moved.tolist(), count.tolist(), bins.total[some].tolist(), bins.count[some].tolist(), strict=True
            )
            pick = min if toward_less else max
            total = added(pick(Fraction(a, b), Fraction(c, d)) for a, b, c, d in pairs)
        without, with_them = total / known, (total + optional * value) / (known + optional)
        return min(without, with_them) if toward_less else max(without, with_them)

    def at(missing: Missing, more: int) -> Estimate:
        unknown = bins.unknown(missing)
        plain = sum_of_means(bins.total[some], bins.count[some])
        best, worst = (end(unknown, value, more, plain) for value in (scale.good, scale.bad))
        per = scale.per
        return Estimate(
            plain / known / per if known else None,
            None if best is None else best / per,
            None if worst is None else worst / per,
        )

    return Placed(known, {"bins": known, scale.noun: int(bins.count.sum())}, to_come, at)


def _one_sided(bins: Stretches, some: Flags, value: int, *, toward_less: bool) -> bool:
    """No bin's mean lies beyond that end of the scale already."""
    product = bins.count[some] * np.int64(value)
    return bool((product <= bins.total[some]).all() if toward_less else (product >= bins.total[some]).all())


def judged(bins: Stretches, limit: Fraction, unknown: Int64) -> tuple[Flags, Flags, Flags, Flags]:
    """(has a value, is beyond the limit as measured, certainly beyond, possibly beyond) for each bin."""
    scale, infinite = bins.scale, bins.lost > 0
    has = (bins.count > 0) | infinite
    measured = beyond(bins.total, bins.count, limit, scale) | infinite

    def at_end(value: int | None, unbounded: Flags) -> Flags:
        if value is None:
            return unbounded
        return beyond(_moved(bins, unknown, value), bins.count + unknown, limit, scale)

    certain = measured & (infinite | at_end(scale.good, unknown == 0))
    possible = measured | at_end(scale.bad, unknown > 0)
    return has, measured, certain, possible


def share(bins: Stretches, limit: Fraction, to_come: int, *, over: bool) -> Placed:
    """Share of the bins beyond the limit, or of those within it."""
    none = np.zeros(len(bins.begin), np.int64)
    has, measured, _, _ = judged(bins, limit, none)
    known, bad = int(np.count_nonzero(has)), int(np.count_nonzero(measured))

    def at(missing: Missing, more: int) -> Estimate:
        unknown = bins.unknown(missing)
        _, _, certain, possible = judged(bins, limit, unknown)
        there = int(np.count_nonzero(has | (unknown > 0))) + more
        good_end = Fraction(int(np.count_nonzero(certain)), there) if there else Fraction(0)
        bad_end = Fraction(int(np.count_nonzero(possible)) + more, there) if there else Fraction(1)
        value = Fraction(bad, known) if known else None
        if over:
            return Estimate(value, good_end, bad_end)
        return Estimate(None if value is None else 1 - value, 1 - good_end, 1 - bad_end)

    return Placed(known, {"bins": known, "bins_beyond": bad}, to_come, at)


def in_a_row(bins: Stretches, limit: Fraction, run_ns: int, bin_ns: int, to_come: int) -> Placed:
    """Number of runs of bins beyond the limit, each next to the other, that last run_ns or longer."""
    length = max(1, -(-run_ns // bin_ns))
    none = np.zeros(len(bins.begin), np.int64)
    has, measured, _, _ = judged(bins, limit, none)
    value = counted(_apart(bins, measured), length)

    def at(missing: Missing, more: int) -> Estimate:  # noqa: ARG001 # bins to come only add runs
        _, _, certain, possible = judged(bins, limit, bins.unknown(missing))
        fewest, most = streak_bounds(_apart(bins, certain), _apart(bins, possible), length)
        return Estimate(Fraction(value) if has.any() else None, Fraction(fewest), Fraction(most))

    counts = {"bins": int(np.count_nonzero(has)), "bins_beyond": int(np.count_nonzero(measured)), "runs": value}
    return Placed(counts["bins"], counts, to_come, at)


def _apart(bins: Stretches, flags: Flags) -> Flags:
    """The flags with a False wherever two bins do not follow each other: what lies between does not count."""
    gaps = np.flatnonzero(bins.begin[1:] != bins.end[:-1]) + 1
    found: Flags = np.insert(flags, gaps, False)
    return found


def worst_bin_of_best(bins: Stretches, best_run: Int64, to_come: int) -> Placed:
    """Capacity: the best run of each bin, and the worst bin of those. best_run: (k,), meaningless where count is 0."""
    some = bins.count > 0
    known = int(np.count_nonzero(some))

    def at(missing: Missing, more: int) -> Estimate:  # noqa: ARG001 # a bin to come can be no better than unbounded
        unknown = bins.unknown(missing) > 0
        firm = some & ~unknown
        best = Fraction(int(best_run[firm].min())) if firm.any() else None
        rest = best_run[some]
        low = Fraction(int(rest.min())) if known else None
        empty = bool((~some & unknown).any())
        worst = Fraction(0) if empty or low is None else low
        return Estimate(low, best, worst)

    return Placed(known, {"bins": known, "runs": int(bins.count.sum())}, to_come, at)


def worst_of_any(windows: Stretches, enough: Flags, perhaps: Stretches | None = None) -> Placed:
    """The worst mean over the windows; the value is that of the windows of which enough was measured. perhaps: windows
    that there are only if something unknown began them."""
    scale = windows.scale
    smallest = scale.low_is_bad
    pick = min if smallest else max
    plain = extreme(windows.total, windows.count, smallest=smallest)
    good = None if scale.good is None else Fraction(scale.good)
    measured = plain
    if not enough.all():
        measured = extreme(windows.total[enough], windows.count[enough], smallest=smallest)

    def at(missing: Missing, to_come: int) -> Estimate:  # noqa: ARG001 # time to come can only make it worse
        unknown = windows.unknown(missing)
        best = _best_end(windows, unknown, smallest=smallest) if unknown.any() else (good if plain is None else plain)
        worst = plain
        if unknown.any() and scale.bad is None:
            worst = None
        elif unknown.any() and scale.bad is not None:
            moved = extreme(_moved(windows, unknown, scale.bad), windows.count + unknown, smallest=smallest)
            worst = moved if plain is None or moved is None else pick(moved, plain)
        if perhaps is not None and worst is not None:
            more = _worst_perhaps(perhaps, missing)
            worst = None if more is None else pick(worst, more)
        value = measured
        if value is not None and best is not None:
            value = pick(value, best)
        per = scale.per
        return Estimate(
            None if value is None else value / per,
            None if best is None else best / per,
            None if worst is None else worst / per,
        )

    count = int(np.count_nonzero(enough & (windows.count > 0)))
    return Placed(count, {"windows": count}, 0, at)


def _worst_perhaps(windows: Stretches, missing: Missing) -> Fraction | None:
    """The worst of windows that hold something unknown at least, with all of that at its worst; None if unbounded."""
    bad = windows.scale.bad
    if bad is None:
        return None
    unknown = np.maximum(windows.unknown(missing), 1)
    return extreme(_moved(windows, unknown, bad), windows.count + unknown, smallest=windows.scale.low_is_bad)


def _best_end(windows: Stretches, unknown: Int64, *, smallest: bool) -> Fraction | None:
    """The worst window with all that is unknown at its best."""
    scale = windows.scale
    if scale.good is None:
        firm = unknown == 0
        return extreme(windows.total[firm], windows.count[firm], smallest=smallest)
    some = windows.count > 0
    if not some.any():
        return Fraction(scale.good)
    moved = extreme(_moved(windows, unknown, scale.good)[some], (windows.count + unknown)[some], smallest=smallest)
    plain = extreme(windows.total, windows.count, smallest=smallest)
    if moved is None or plain is None:
        return plain
    return max(moved, plain) if smallest else min(moved, plain)
