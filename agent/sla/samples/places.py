"""The statistics for which it matters when a value is missing: of bins, in a row, the worst of any time. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.sla.case import UnusableError
from agent.sla.samples.measured import held, holes, stands_for
from agent.sla.samples.selection import Selection
from agent.sla.statistic.amounts import Amounts
from agent.sla.statistic.binned import (
    Placed,
    Stretches,
    edges,
    in_a_row,
    mean_of_means,
    share,
    stretches,
    worst_bin_of_best,
    worst_of_any,
)
from agent.sla.statistic.measures import amounts, limit_of
from agent.sla.terms.contract import Metric, StatisticType
from agent.sla.time.spans import Flags, Spans
from probes.core.arrays import Int64
from probes.core.units import format_duration


def placed(chosen: Selection) -> Placed:
    """Raises UnusableError."""
    objective, statistic = chosen.objective, chosen.objective.statistic
    kind = statistic.type
    sums = amounts(objective, chosen.feed.columns, chosen.feed.timeout_ns).of(chosen.taken)
    if statistic.lost == "infinite" and kind in (StatisticType.BIN_MEAN, StatisticType.MAX_WINDOW):
        raise UnusableError("a mean of infinite delays says nothing: leave lost packets out, or state a share of bins")
    if kind is StatisticType.MAX_WINDOW:
        return _worst_window(chosen, sums)
    bins, length_ns, to_come = _bins(chosen, sums)
    if kind is StatisticType.BIN_MEAN:
        return mean_of_means(bins, to_come)
    if kind is StatisticType.CAPACITY:
        if objective.metric is not Metric.THROUGHPUT:
            raise UnusableError(f"{objective.metric} has no capacity")
        return worst_bin_of_best(bins, _best_runs(chosen, sums, bins), to_come)
    if kind is StatisticType.SUSTAINED:
        if statistic.run_ns is None:
            raise UnusableError("a sustained excess needs the length of a run")
        return in_a_row(bins, limit_of(objective), statistic.run_ns, length_ns, to_come)
    return share(bins, limit_of(objective), to_come, over=kind is StatisticType.RATIO_OVER)


def _bins(chosen: Selection, sums: Amounts) -> tuple[Stretches, int, int]:
    """(bins of which some time counts, their length, how many are still to come)."""
    statistic, period = chosen.objective.statistic, chosen.period
    length = statistic.bin_ns
    if length is None and statistic.type is StatisticType.CAPACITY:
        length = max(1, period.whole_end_ns - period.whole_start_ns)
    if length is None:
        if chosen.feed.pace.attempts:
            raise UnusableError("bins of single attempts need a length")
        length = chosen.grid_ns
    _on_grid(chosen, length, "bins")
    borders, to_come = edges(period, length)
    columns = chosen.feed.columns
    if statistic.type is StatisticType.CAPACITY and len(borders) == 1 and statistic.bin_ns is None:
        borders = np.array([period.whole_start_ns, max(period.end_ns, period.whole_start_ns + 1)], np.int64)
    bins = stretches(columns.start_ns, sums, borders[:-1], borders[1:], chosen.unit)
    aside = _not_counted(chosen)
    counted = np.minimum(bins.end, period.end_ns) - np.maximum(bins.begin, period.start_ns)
    counted -= aside.cover(np.maximum(bins.begin, period.start_ns), np.minimum(bins.end, period.end_ns))
    return bins.where(counted > 0), length, to_come


def _not_counted(chosen: Selection) -> Spans:
    """Excluded, or certainly unavailable where only available time counts."""
    return chosen.excluded | held(chosen.feed.columns, chosen.out, stands_for(chosen.feed.pace))


def _on_grid(chosen: Selection, length_ns: int, what: str) -> None:
    if chosen.feed.pace.attempts or length_ns % chosen.grid_ns == 0:
        return
    raise UnusableError(
        f"{what} of {format_duration(length_ns)} are not a multiple of the sample interval of "
        f"{format_duration(chosen.grid_ns)}"
    )


def _best_runs(chosen: Selection, sums: Amounts, bins: Stretches) -> Int64:
    """The best rate of each bin, 0 where it has none."""
    start, rates = chosen.feed.columns.start_ns, sums.total
    first, last = np.searchsorted(start, bins.begin, "left"), np.searchsorted(start, bins.end, "left")
    return np.array(
        [int(rates[a:b].max(initial=0)) for a, b in zip(first.tolist(), last.tolist(), strict=True)], np.int64
    )


def _worst_window(chosen: Selection, sums: Amounts) -> Placed:
    span_ns, period, columns = chosen.objective.statistic.span_ns, chosen.period, chosen.feed.columns
    if span_ns is None:
        raise UnusableError("the worst time needs its length")
    _on_grid(chosen, span_ns, "windows")
    last = period.end_ns - span_ns
    if chosen.feed.pace.attempts:
        begin = columns.start_ns[chosen.every & (columns.start_ns <= last)]
    else:
        begin = np.arange(period.start_ns, last + 1, chosen.grid_ns, dtype=np.int64)
    aside = _not_counted(chosen)
    begin = begin[~aside.touches(begin, begin + span_ns)] if len(aside) else begin
    windows = stretches(columns.start_ns, sums, begin, begin + span_ns, chosen.unit)
    found = worst_of_any(windows, _enough(chosen, windows), _hidden_windows(chosen, sums, span_ns))
    return replace(found, counts={**found.counts, "windows_of_ns": span_ns})


def _hidden_windows(chosen: Selection, sums: Amounts, span_ns: int) -> Stretches | None:
    """Windows that an attempt which was not measured would begin: every different one. None where there is no hole."""
    every_ns, period, start = chosen.feed.pace.every_ns, chosen.period, chosen.feed.columns.start_ns
    if not chosen.feed.pace.attempts or every_ns is None:
        return None
    gone = chosen.missing().spans
    if not len(gone):
        return None
    gone = Spans.union(gone.start_ns - every_ns // 2, gone.end_ns)
    edges_ns = np.concatenate((gone.start_ns, gone.end_ns - 1, start - span_ns, start - span_ns + 1))
    begin = np.unique(edges_ns[gone.holds(edges_ns)])
    begin = begin[(begin >= period.start_ns) & (begin <= period.end_ns - span_ns)]
    aside = _not_counted(chosen)
    begin = begin[~aside.touches(begin, begin + span_ns)] if len(aside) else begin
    if not len(begin):
        return None
    return stretches(start, sums, begin, begin + span_ns, chosen.unit)


def _enough(chosen: Selection, windows: Stretches) -> Flags:
    """As much of the window was measured as the contract asks for."""
    columns, pace, period = chosen.feed.columns, chosen.feed.pace, chosen.period
    if pace.every_ns is None:
        return np.ones(len(windows.begin), np.bool_)
    gone = holes(columns, chosen.carried & ~chosen.doubtful, pace, period.start_ns, period.end_ns)
    least = chosen.objective.coverage.minimum
    length = windows.end - windows.begin
    if not len(gone):
        return np.ones(len(windows.begin), np.bool_)
    measured = length - gone.cover(windows.begin, windows.end)
    found: Flags = measured * least.denominator >= length * least.numerator
    return found
