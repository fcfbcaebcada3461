"""Order of arrival and copies: reordering (RFC 4737) and duplication (RFC 5560), for all streams at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64


def arrival_order(stream: Int64, arrival_ns: Int64) -> Int64:
    """Positions sorted by (stream, arrival); equal arrivals stay in order of sending. Shape (n,)."""
    later, same = stream[1:] > stream[:-1], stream[1:] == stream[:-1]
    if (later | (same & (arrival_ns[1:] >= arrival_ns[:-1]))).all():  # as nearly always
        return np.arange(len(stream), dtype=np.int64)
    return np.lexsort((arrival_ns, stream)).astype(np.int64)


def reordered(stream: Int64, sequence: Int64, arrival_ns: Int64, next_expected: Int64) -> NDArray[np.bool_]:
    """Type-P-Reordered, RFC 4737 section 3.3: s < NextExp on arrival, else NextExp becomes s + 1; shape (n,).

    Distinct packets that arrived, sorted by (stream, sequence). `next_expected`, shape (n,): NextExp of the packet's
    stream before the first of these arrivals. Lost packets and copies are not among them (sections 3.1, 3.5).
    """
    order = arrival_order(stream, arrival_ns)
    flags = np.zeros(len(stream), np.bool_)
    # Positions grow with (stream, sequence), so that a running maximum over all streams never looks back into
    # another stream: every position there is smaller.
    flags[order[1:]] = order[1:] < np.maximum.accumulate(order)[:-1]
    return flags | (sequence < next_expected)


def extents(stream: Int64, arrival_ns: Int64) -> Int64:
    """Reordering extent, RFC 4737 section 4.2.2: e = i - j, j the earliest arrival with a greater sequence than the
    i-th; 0 for packets in order. Shape (n,); distinct packets that arrived, sorted by (stream, sequence).
    """
    # Positions grow with (stream, sequence): what arrives carries its own rank, and no stream reaches into another.
    arrived = arrival_order(stream, arrival_ns)
    earliest = np.searchsorted(np.maximum.accumulate(arrived), arrived, side="right")
    return _by_packet(arrived, np.maximum(np.arange(len(arrived)) - earliest, 0))


def n_reordering(stream: Int64, arrival_ns: Int64) -> Int64:
    """n of each n-reordered packet, RFC 4737 section 5.4: so many arrivals just before it are all of greater sequence.

    0 for packets in order; shapes as for extents. With n = 3 TCP takes a packet for lost.
    """
    arrived = arrival_order(stream, arrival_ns)
    count = np.zeros(len(arrived), np.int64)
    late = np.flatnonzero(arrived < np.maximum.accumulate(arrived))
    while len(late):  # a stream's first arrival is smaller than none before it, so this ends within the stream
        late = late[arrived[late - count[late] - 1] > arrived[late]]
        count[late] += 1
        late = late[late > count[late]]
    return _by_packet(arrived, count)


def _by_packet(arrived: Int64, values: Int64) -> Int64:
    """From the order of arrival to the order of sending."""
    out = np.zeros(len(arrived), np.int64)
    out[arrived] = values
    return out


@dataclass(frozen=True, slots=True)
class Duplication:
    """RFC 5560 section 5 over packets that arrived; None where none did."""

    fraction: Fraction | None
    """Type-P-one-way-Packet-Duplication-Fraction: extra copies per packet"""
    replicated_rate: Fraction | None
    """Type-P-one-way-Replicated-Packet-Rate: share of packets with at least one extra copy"""


def duplication(copies: Int64) -> Duplication:
    """`copies`, shape (n,): extra copies of each packet that arrived (lost packets have no duplication)."""
    if not len(copies):
        return Duplication(None, None)
    return Duplication(Fraction(int(copies.sum()), len(copies)), Fraction(int((copies > 0).sum()), len(copies)))
