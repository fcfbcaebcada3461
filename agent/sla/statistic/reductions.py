"""The statistics for which only the number of unknown values matters: means, percentiles, shares of packets. Pure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Final

from agent.sla.case import UnusableError
from agent.sla.samples.distribution import INFINITE, Distribution, Source, resolved
from agent.sla.samples.selection import Selection
from agent.sla.statistic.amounts import Scale, mean_of
from agent.sla.statistic.measures import Values, amounts, fastest, limit_of, values_of
from agent.sla.statistic.statistics import Estimate, Reduction, less_minimum, loss_ratio, of_runs, percentile, within
from agent.sla.terms.contract import JitterDefinition, Metric, Objective, StatisticType
from agent.sla.words.wording import DELAY, number
from probes.metrics.voice import LEAST_MOS, MOS_SCALE, best_mos

_SHARES: Final = (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER)
_LOWEST: Final = Fraction(1, 10**12)
"""The percentile that is the smallest value."""

Found = tuple[Reduction, Source, int]
"""The reduction, what it is from, and how many values it lacks beside those of time that was not measured."""


def reduced(chosen: Selection) -> Found:
    """Raises UnusableError where the metric has no such statistic."""
    objective = chosen.objective
    kind, metric = objective.statistic.type, objective.metric
    if metric is Metric.LOSS and kind in (StatisticType.RATIO, StatisticType.MEAN):
        return loss_ratio(chosen.feed.columns, chosen.taken), "histograms", 0
    if metric is not Metric.LOSS:
        if kind is StatisticType.MEAN:
            return _mean(chosen)
        if kind is StatisticType.PERCENTILE or (kind is StatisticType.MINIMUM and _low_is_bad(objective)):
            return _percentile(chosen)
        if kind in _SHARES:
            return _share(chosen)
    raise UnusableError(f"{metric} has no statistic {kind}")


def _low_is_bad(objective: Objective) -> bool:
    return objective.metric in (Metric.MOS, Metric.THROUGHPUT)


def _is_pdv(objective: Objective) -> bool:
    return objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.PDV


def _mean(chosen: Selection) -> Found:
    objective, columns, taken = chosen.objective, chosen.feed.columns, chosen.taken
    limit = chosen.feed.timeout_ns
    if objective.statistic.lost == "infinite":
        raise UnusableError("a mean of infinite delays says nothing: leave lost packets out, or state a percentile")
    if objective.metric is Metric.JITTER and objective.statistic.definition is JitterDefinition.IFDV:
        found = values_of(chosen)
        total, count = int(found.spread.low.sum()), found.spread.count
        pairs = mean_of(total, count, Scale("pairs", "variation_sum_ns", most=limit))
        return pairs, found.spread.source, found.lacking
    if _is_pdv(objective):
        delay = replace(objective, metric=Metric.RTT)
        sums = amounts(delay, columns, limit)
        return (
            _pdv_mean(*sums.sums_of(taken), fastest(columns, taken), limit),
            "histograms",
            0,
        )
    sums = amounts(objective, columns, limit)
    return mean_of(*sums.sums_of(taken), sums.scale), "histograms", 0


def _pdv_mean(total: int, count: int, least: int, limit: int | None) -> Reduction:
    """Mean delay less the smallest. An unknown packet may have been the fastest of all, which raises all others."""

    def at(unknown: int) -> Estimate:
        if not count:
            return Estimate(None, Fraction(0), None)
        above = total - count * least
        value = Fraction(above, count)
        if not unknown:
            return Estimate(value, value, value)
        best = Fraction(above, count + unknown)
        if limit is None:
            return Estimate(value, best, None)
        slow = Fraction(total + unknown * limit, count + unknown) - least
        fast = Fraction(total + (unknown - 1) * limit, count + unknown)
        return Estimate(value, best, max(value, slow, fast, Fraction(total, count + 1)))

    return Reduction(count, {"packets": count, "rtt_sum_ns": total, "rtt_minimum_ns": least}, at)


def _percentile(chosen: Selection) -> Found:
    objective = chosen.objective
    p = _LOWEST if objective.statistic.type is StatisticType.MINIMUM else objective.statistic.p
    if p is None:
        raise UnusableError("a percentile needs p")
    found = values_of(chosen)
    if objective.metric is Metric.THROUGHPUT:
        rates = found.spread.low
        smallest = objective.statistic.type is StatisticType.MINIMUM
        return of_runs(rates, None if smallest else p, {"runs": len(rates)}), "histograms", 0
    base = fastest(chosen.feed.columns, chosen.taken) if _is_pdv(objective) else 0
    spread = found.spread
    reduction = _ranked(chosen, replace(found, spread=spread), p, base)
    exact = reduction.at(0)
    target = objective.target.value
    straddles = exact.best is not None and exact.worst is not None and exact.best <= target < exact.worst
    if straddles and not _low_is_bad(objective) and chosen.moment.packets is not None:
        wanted = int(target) + base
        spread = resolved(spread, chosen.feed.columns, chosen.taken, wanted, chosen.moment.packets)
        reduction = _ranked(chosen, replace(found, spread=spread), p, base)
    return _noted(reduction), spread.source, found.lacking


def _ranked(chosen: Selection, found: Values, p: Fraction, base: int) -> Reduction:
    objective, spread = chosen.objective, found.spread
    counts = {found.noun: spread.count}
    if found.noun == "packets":
        counts["samples_without_histogram"] = spread.without
    mos = objective.metric is Metric.MOS
    plain = percentile(
        spread.low,
        spread.high,
        spread.weight,
        p,
        counts,
        best_mos(objective.statistic.codec) if mos else _limit(chosen),
        least=LEAST_MOS if mos else 0,
        low_is_bad=mos,
        per=MOS_SCALE if mos else 1,
    )
    note = f"{spread.without} samples without histogram" if spread.without else ""
    ranked = replace(plain, note=note)
    return less_minimum(ranked, base) if _is_pdv(objective) else ranked


def _limit(chosen: Selection) -> int | None:
    """No unknown value is greater. An unknown packet may be lost, which is infinite where the contract says so."""
    return None if chosen.objective.statistic.lost == "infinite" else chosen.feed.timeout_ns


def _noted(reduction: Reduction) -> Reduction:
    """With the two bounds that the histogram leaves, where they differ."""
    exact = reduction.at(0)
    if exact.value is None or exact.best == exact.worst:
        return reduction
    if exact.best is None or exact.worst is None:
        text = "it falls on lost packets, whose delay is infinite"
        return replace(reduction, note="; ".join(part for part in (text, reduction.note) if part))
    text = f"between {number(DELAY, exact.best)} and {number(DELAY, exact.worst)} ms by histogram"
    counts = {**reduction.counts, "value_at_least_ns": int(exact.best), "value_at_most_ns": int(exact.worst)}
    return replace(reduction, counts=counts, note="; ".join(part for part in (text, reduction.note) if part))


def _share(chosen: Selection) -> Found:
    objective = chosen.objective
    over = objective.statistic.type is StatisticType.RATIO_OVER
    limit, found = limit_of(objective), values_of(chosen)
    spread = found.spread
    if _low_is_bad(objective):
        per = MOS_SCALE if objective.metric is Metric.MOS else 1
        turned = Distribution(-spread.high, -spread.low, spread.weight)
        return within(turned, -limit * per, {found.noun: spread.count}, over=over), "histograms", 0
    base = fastest(chosen.feed.columns, chosen.taken) if _is_pdv(objective) else 0
    reduction = _within(spread, limit, base, found.noun, over=over)
    exact = reduction.at(0)
    target = objective.target.value
    reader, ends = chosen.moment.packets, [end for end in (exact.best, exact.worst) if end is not None]
    if reader is not None and len({objective.meets(end, target) for end in ends}) > 1:
        spread = resolved(spread, chosen.feed.columns, chosen.taken, int(limit) + base, reader)
        reduction = _within(spread, limit, base, found.noun, over=over)
    undecided = reduction.counts["undecided"]
    if undecided:
        reduction = replace(reduction, note=f"{undecided} of them in the bucket that the limit cuts")
    return reduction, spread.source, found.lacking


def _within(spread: Distribution, limit: Fraction, base: int, noun: str, *, over: bool) -> Reduction:
    """Share within the limit above `base`, the smallest delay where that is what is meant (PDV)."""
    plain = within(spread, limit + base, {noun: spread.count}, over=over)
    if not base:
        return plain
    lowest = int(spread.weight[(spread.high <= limit // 1) & (spread.high != INFINITE)].sum())

    def at(unknown: int) -> Estimate:
        """One unknown packet may have been the fastest, with no delay at all."""
        usual = plain.at(unknown)
        if not unknown or not spread.count or usual.worst is None:
            return usual
        lower = Fraction(lowest + 1, spread.count + unknown)
        return replace(usual, worst=max(usual.worst, 1 - lower) if over else min(usual.worst, lower))

    return replace(plain, at=at)
