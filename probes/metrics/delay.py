"""Round-trip delay, RFC 2681: statistics per stream over the packets received in time. Pure.

A packet without a reply in time has no delay and is in none of these numbers: the conditional distribution of RFC
8912 section 4. Its loss is counted by probes.metrics.loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from probes.core.arrays import Int64
from probes.metrics.groups import Groups

P50: Final = Fraction(50, 100)
P95: Final = Fraction(95, 100)
P99: Final = Fraction(99, 100)


@dataclass(frozen=True, slots=True, eq=False)
class DelayStatistics:
    """Statistics of the k streams that have a delay; arrays (k,) in the order of the groups, ns."""

    sum_ns: Int64
    minimum_ns: Int64
    maximum_ns: Int64
    p50_ns: Int64
    p95_ns: Int64
    p99_ns: Int64
    stddev_ns: Int64


def delay_statistics(groups: Groups, ordered_ns: Int64) -> DelayStatistics:
    """RFC 2681 section 4 statistics with RFC 2330 section 11.3 percentiles.

    `ordered_ns`, shape (n,): delays, ascending within each group. Sum, minimum, maximum and percentiles are exact.
    """
    return DelayStatistics(
        sum_ns=groups.total(ordered_ns),
        minimum_ns=ordered_ns[groups.start],
        maximum_ns=ordered_ns[groups.last],
        p50_ns=groups.nearest_rank(ordered_ns, P50),
        p95_ns=groups.nearest_rank(ordered_ns, P95),
        p99_ns=groups.nearest_rank(ordered_ns, P99),
        stddev_ns=standard_deviation(groups, ordered_ns),
    )


def standard_deviation(groups: Groups, values_ns: Int64) -> Int64:
    """Population standard deviation of each group, to the nearest ns: sqrt(mean((x - mean)^2)), as ping's mdev.

    Deviations are taken from the floor of the mean and corrected, so that large delays do not cancel.
    """
    if not len(groups.start):
        return np.zeros(0, np.int64)
    floor = groups.total(values_ns) // groups.size
    deviation = (values_ns - np.repeat(floor, groups.size)).astype(np.float64)
    square = np.add.reduceat(deviation * deviation, groups.start) / groups.size
    offset = np.add.reduceat(deviation, groups.start) / groups.size
    return np.rint(np.sqrt(np.maximum(square - offset * offset, 0.0))).astype(np.int64)
