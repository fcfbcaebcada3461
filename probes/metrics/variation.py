"""Delay variation, three definitions that must not be mixed, each for all streams at once. Pure.

IPDV (RFC 3393) compares neighbours in order of sending, PDV (RFC 5481) compares with the fastest packet, the RFC 3550
estimator smooths neighbours in order of arrival.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.metrics.groups import Groups

RFC3550_GAIN: Final = 1 / 16
Float64 = NDArray[np.float64]


def ipdv(
    groups: Groups,
    sequence: Int64,
    rtt_ns: Int64,
    received: NDArray[np.bool_],
    last_sequence: Int64,
    last_rtt_ns: Int64,
) -> Int64:
    """IPDV(i) = D(i) - D(i-1), RFC 3393 section 2 with the selection of RFC 5481 section 4.1; signed ns, shape (n,).

    ABSENT where packet i or the packet sent just before it (sequence i-1) was not received in time. All packets, in
    order of sending within each group. `last_*`, shape (k,): sequence and delay (ABSENT if none) of the packet before
    each group's first, so that a stream's pairs are the same however it is cut into intervals.
    """
    if not len(sequence):
        return np.zeros(0, np.int64)
    before_sequence, before_ns = _shifted(groups, sequence, last_sequence), _shifted(groups, rtt_ns, last_rtt_ns)
    before_received = _shifted(groups, received.astype(np.int64), (last_rtt_ns != ABSENT).astype(np.int64)) == 1
    pair = received & before_received & (sequence - 1 == before_sequence)
    return np.where(pair, rtt_ns - np.where(pair, before_ns, 0), ABSENT)


def pdv(groups: Groups, rtt_ns: Int64) -> Int64:
    """PDV(i) = D(i) - min D, RFC 5481 section 4.2; ns, shape (n,). Received packets of one interval, any order."""
    if not len(rtt_ns):
        return np.zeros(0, np.int64)
    smallest = np.minimum.reduceat(rtt_ns, groups.start)
    return np.asarray(rtt_ns - np.repeat(smallest, groups.size), np.int64)


def rfc3550(groups: Groups, transit_ns: Int64, estimate: Float64, last_transit_ns: Int64) -> Float64:
    """Interarrival jitter of RFC 3550 section 6.4.1 at the end of each group, shape (k,), ns.

    `transit_ns`, shape (n,): R - S of each packet in order of arrival; D(i-1,i) = (Ri - Ri-1) - (Si - Si-1) is the
    difference of two transits. `estimate`, `last_transit_ns`, shape (k,): J and the transit (ABSENT if none) at the
    end of the interval before. The recursion J += (|D| - J)/16 over m differences unrolls to
    J_m = (15/16)^m J_0 + sum_i (15/16)^(m-i) |D_i| / 16, a sum of positive terms: the same number, without a loop.
    """
    if not len(transit_ns):
        return np.zeros(0, np.float64)
    before = _shifted(groups, transit_ns, last_transit_ns)
    difference = np.where(before == ABSENT, 0, np.abs(transit_ns - np.where(before == ABSENT, 0, before)))
    keep = 1.0 - RFC3550_GAIN
    remaining = np.repeat(groups.size, groups.size) - 1 - groups.rank()
    added = np.add.reduceat(difference * keep**remaining, groups.start) * RFC3550_GAIN
    return np.asarray(estimate * keep**groups.size + added)


def _shifted(groups: Groups, values: Int64, before_first: Int64) -> Int64:
    """Each element's predecessor within its group; `before_first` for the first ones."""
    out = np.empty_like(values)
    out[1:] = values[:-1]
    out[groups.start] = before_first
    return out
