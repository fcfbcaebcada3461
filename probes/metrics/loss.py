"""Loss: round-trip loss ratio (RFC 7680, RFC 6673) and loss patterns (RFC 3357), for all streams at once. Pure.

A packet is lost when no uncorrupted reply came within the timeout; a late reply is a loss. A packet that never left
this host belongs to no sample: it is neither sent nor lost, and does not part two losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.model import PacketState
from probes.metrics.groups import Groups


@dataclass(frozen=True, slots=True, eq=False)
class LossPeriods:
    """Maximal runs of lost packets, in order of stream and sending; arrays (p,)."""

    stream: Int64
    sequence: Int64
    """sequence number of the first lost packet"""
    length: Int64
    """packets lost in a row"""


def is_sent(state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True where the packet left this host."""
    return np.asarray(state != PacketState.NOT_SENT)


def is_lost(state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True where the packet left and was not answered in time (RFC 7680 section 2.4: the timeout decides)."""
    return np.asarray(is_sent(state) & (state != PacketState.ANSWERED))


def loss_ratio(lost: int, sent: int) -> Fraction | None:
    """Type-P-One-way-Packet-Loss-Ratio, RFC 7680 section 4.1, applied to round trips (RFC 6673); None if none sent."""
    return Fraction(lost, sent) if sent else None


def loss_periods(stream: Int64, sequence: Int64, state: NDArray[np.uint8]) -> LossPeriods:
    """Loss periods and their lengths, RFC 3357 sections 5.4.2 and 6.3. Arrays (n,) sorted by (stream, sequence)."""
    sent = is_sent(state)
    stream, sequence, lost = stream[sent], sequence[sent], is_lost(state[sent])
    begins = lost.copy()
    begins[1:] &= ~(lost[:-1] & (stream[1:] == stream[:-1]))
    first = np.flatnonzero(begins)
    period = np.cumsum(begins) - 1
    length = np.bincount(period[lost], minlength=len(first)).astype(np.int64)
    return LossPeriods(stream[first], sequence[first], length)


def loss_distances(stream: Int64, sequence: Int64, state: NDArray[np.uint8]) -> Int64:
    """Loss distance of each lost packet, RFC 3357 section 5.4.1: its sequence minus that of the loss before it.

    Shape (lost packets,), in order of stream and sending; ABSENT for the first loss of a stream, which has none
    (the RFC writes 0).
    """
    lost = is_lost(state)
    groups, sequence = Groups.of(stream[lost]), sequence[lost]
    distance = np.diff(sequence, prepend=0).astype(np.int64)
    distance[groups.start] = ABSENT
    return distance


def noticeable_rate(distances: Int64, delta: int) -> Fraction | None:
    """Share of a stream's losses with a loss distance of at most `delta`, RFC 3357 section 6.1; None without loss."""
    if not len(distances):
        return None
    noticeable = (distances != ABSENT) & (distances <= delta)
    return Fraction(int(noticeable.sum()), len(distances))
