"""What of its samples an objective is about: sums for means, values for percentiles and shares. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from agent.sla.case import UnusableError
from agent.sla.samples.columns import SampleColumns, present
from agent.sla.samples.distribution import Distribution, delays
from agent.sla.samples.from_packets import Answers, answers, apart, neighbours
from agent.sla.samples.selection import Selection
from agent.sla.statistic.amounts import Amounts, Scale
from agent.sla.statistic.direction import one_way
from agent.sla.statistic.statistics import run_rates
from agent.sla.terms.contract import JitterDefinition, Metric, Objective
from agent.sla.time.spans import Flags
from agent.sla.words.wording import spoken
from probes.core.arrays import Int64
from probes.metrics.voice import LEAST_MOS, MOS_SCALE, best_mos, sample_mos


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The values of a percentile or a share, and how many more there are that could not be had."""

    spread: Distribution
    noun: str
    lacking: int = 0


def amounts(objective: Objective, columns: SampleColumns, limit: int | None) -> Amounts:
    """Of every row, whether it counts or not. limit: no answer in time takes longer. Raises UnusableError."""
    statistic, none = objective.statistic, np.zeros(len(columns), np.int64)
    if objective.metric is Metric.LOSS:
        return _sums(columns, "lost", "sent", Scale("packets", "lost", most=1))
    if objective.metric is Metric.THROUGHPUT:
        rates = run_rates(columns, statistic.direction)
        there = present(rates)
        scale = Scale("runs", "rate_sum_bps", low_is_bad=True)
        return Amounts(np.where(there, rates, 0), there.astype(np.int64), scale, none)
    if objective.metric is Metric.MOS:
        values, there = mos_of_samples(objective, columns)
        scale = Scale("samples", "mos_sum_millionths", MOS_SCALE, LEAST_MOS, best_mos(statistic.codec), low_is_bad=True)
        return Amounts(np.where(there, values, 0), there.astype(np.int64), scale, none)
    if objective.metric is Metric.JITTER:
        return _jitter(objective, columns, limit)
    infinite = statistic.lost == "infinite"
    scale = Scale("packets", "rtt_sum_ns", most=None if infinite else limit)
    return _sums(columns, "rtt_sum_ns", "rtt_count", scale, lost="lost" if infinite else None)


def _jitter(objective: Objective, columns: SampleColumns, limit: int | None) -> Amounts:
    definition = objective.statistic.definition
    if definition is JitterDefinition.RFC3550 and columns.rfc3550_ns is not None:
        values = columns.rfc3550_ns
        there = present(values)
        scale = Scale("samples", "rfc3550_sum_ns", most=limit)
        return Amounts(np.where(there, values, 0), there.astype(np.int64), scale, np.zeros_like(values))
    if definition is JitterDefinition.IPDV and columns.ipdv_pairs is not None:
        return _sums(columns, "ipdv_abs_sum_ns", "ipdv_pairs", Scale("pairs", "ipdv_abs_sum_ns", most=limit))
    if definition is JitterDefinition.IFDV:
        raise UnusableError("IFDV is not kept by the samples: state a percentile or a share of packets")
    if definition is JitterDefinition.PDV:
        raise UnusableError("PDV is about the fastest packet of the whole window: it has no means of shorter times")
    raise UnusableError(f"probe {columns.probe} keeps no {definition} in this direction")


def _sums(columns: SampleColumns, total: str, count: str, scale: Scale, *, lost: str | None = None) -> Amounts:
    sums, counts = columns.column(total), columns.column(count)
    there = counts > 0  # ABSENT is less
    if there.all():
        return Amounts(sums, counts, scale, np.zeros_like(counts) if lost is None else _gone(columns, lost))
    gone = np.zeros_like(counts) if lost is None else _gone(columns, lost)
    return Amounts(np.where(there, sums, 0), np.where(there, counts, 0), scale, gone)


def _gone(columns: SampleColumns, lost: str) -> Int64:
    return np.maximum(columns.column(lost), 0)


def mos_of_samples(objective: Objective, columns: SampleColumns) -> tuple[Int64, Flags]:
    """(millionths, whether there is a value) of each row, by its mean delay and its loss."""
    sent, lost, count = (columns.column(name) for name in ("sent", "lost", "rtt_count"))
    there = (sent > 0) & (lost >= 0) & ((count > 0) | (lost == sent))
    mean = -(-np.where(count > 0, columns.column("rtt_sum_ns"), 0) // np.maximum(count, 1))
    delay = np.maximum(mean, 0) if one_way(objective) else -(-mean // 2)
    values = sample_mos(delay, np.maximum(lost, 0), np.maximum(sent, 1), objective.statistic.codec)
    return np.where(there, values, 0), there


def values_of(chosen: Selection) -> Values:
    """Delays, MOS, rates or variations of the rows that count. Raises UnusableError."""
    objective, columns, taken = chosen.objective, chosen.feed.columns, chosen.taken
    definition = objective.statistic.definition
    if objective.metric in (Metric.RTT, Metric.DELAY):
        spread = delays(columns, taken & _answered(columns))
        if objective.statistic.lost == "infinite":
            lost = columns.column("lost")
            spread = spread.with_lost(int(lost[taken & (lost > 0)].sum()), chosen.feed.timeout_ns)
        return Values(spread, "packets")
    if objective.metric is Metric.JITTER and definition is JitterDefinition.PDV:
        return Values(delays(columns, taken & _answered(columns)), "packets")
    if objective.metric is Metric.JITTER and definition is not JitterDefinition.RFC3550:
        return _pairs(chosen)
    sums = amounts(objective, columns, chosen.feed.timeout_ns).of(taken)
    return Values(Distribution.exact(sums.total[sums.count > 0], "histograms"), sums.scale.noun)


def _pairs(chosen: Selection) -> Values:
    """|IPDV| or |IFDV| of single packets."""
    objective, feed = chosen.objective, chosen.feed
    what, reader = objective.statistic.definition, chosen.moment.packets
    if reader is None:
        raise UnusableError(f"{what} of single packets needs the packets themselves, and none are kept here")
    found = answers(feed.columns, chosen.taken, reader)
    if len(found.without) and found.without.all():
        raise UnusableError(f"{what} of single packets needs the packets themselves, and none are kept any more")
    gone = np.flatnonzero(chosen.taken)[found.without]
    lacking = int(np.maximum(feed.columns.column("sent"), 0)[gone].sum())
    return Values(Distribution.exact(_variation(chosen, found, what)), "pairs", lacking)


def _variation(chosen: Selection, found: Answers, what: JitterDefinition) -> Int64:
    if what is JitterDefinition.IPDV:
        return neighbours(found)
    tau, every = chosen.objective.statistic.tau_ns, chosen.feed.pace.every_ns
    if tau is None or every is None:
        raise UnusableError("IFDV needs tau, and a probe that says how often it sends")
    if tau < every:
        raise UnusableError(f"no two packets are {spoken(tau)} apart: one is sent every {spoken(every)}")
    return apart(found, tau, every)


def fastest(columns: SampleColumns, rows: Flags) -> int:
    """The smallest delay of the rows, ns; 0 of none."""
    least, there = columns.column("rtt_min_ns"), rows & _answered(columns)
    if not there.all():
        least = least[there]
    return int(least.min()) if len(least) else 0


def _answered(columns: SampleColumns) -> Flags:
    """Rows with answers."""

    def found() -> Flags:
        there: Flags = columns.column("rtt_count") > 0
        return there

    return columns.once("answered", found)


def limit_of(objective: Objective) -> Fraction:
    """Raises UnusableError where the contract states none."""
    if objective.statistic.limit is None:
        raise UnusableError(f"a {objective.statistic.type} needs a limit")
    return objective.statistic.limit
