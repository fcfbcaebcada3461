"""Intervals with high loss while the circuit is available: MEF 10.4 sections 8.8.8 and 8.8.9. Pure."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from agent.sla.downtime.availability import Availability, Intervals
from agent.sla.statistic.statistics import Estimate
from agent.sla.statistic.streaks import bounds, counted
from agent.sla.terms.contract import Objective, StatisticType
from agent.sla.time.spans import Flags, Spans


def high_loss(
    objective: Objective, intervals: Intervals, state: Availability, credited: Spans, c: Fraction
) -> Estimate:
    """How many such intervals there are, or runs of p_intervals or more of them. An interval that does not count, or
    that is agreed to be up, ends a run. The bounds hold whatever the unknown intervals were."""
    place = state.start_ns // state.dt_ns - intervals.first
    here = slice(place, place + len(state.best))
    begin = state.start_ns + np.arange(len(state.best), dtype=np.int64) * state.dt_ns
    counts = state.counts & ~credited.touches(begin, begin + state.dt_ns)
    high, decided = intervals.high(c)[here], intervals.decided(c)[here]
    certain: Flags = state.worst & high & counts
    possible: Flags = state.best & (high | ~decided) & counts
    if not state.total:
        return Estimate(None, None, None)
    if objective.statistic.type is StatisticType.HIGH_LOSS_INTERVALS:
        ends = (int(np.count_nonzero(certain)), int(np.count_nonzero(possible)))
        value = ends[0]
    else:
        ends = bounds(certain, possible, objective.statistic.p_intervals)
        value = counted(certain, objective.statistic.p_intervals)
    known = bool((state.worst | ~state.best).any())
    return Estimate(Fraction(value) if known else None, Fraction(ends[0]), Fraction(ends[1]))
