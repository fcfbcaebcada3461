"""What a stream's numbers need from the interval before: the pair across the boundary, J, NextExp. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Packets that arrived, sorted by (stream, sequence); arrays (n,). arrival_ns: of the reply, by one clock."""

    stream: Int64
    sequence: Int64
    arrival_ns: Int64

    @staticmethod
    def none() -> Arrivals:
        return Arrivals(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def where(self, chosen: NDArray[np.bool_]) -> Arrivals:
        return Arrivals(self.stream[chosen], self.sequence[chosen], self.arrival_ns[chosen])

    def joined(self, other: Arrivals) -> Arrivals:
        """Both together, sorted."""
        stream = np.concatenate((self.stream, other.stream))
        sequence = np.concatenate((self.sequence, other.sequence))
        order = np.lexsort((sequence, stream))
        return Arrivals(stream[order], sequence[order], np.concatenate((self.arrival_ns, other.arrival_ns))[order])


@dataclass(frozen=True, slots=True, eq=False)
class Carry:
    """State of each stream at the end of an interval; arrays (streams,). A reload or a gap starts a stream afresh."""

    last_sequence: Int64
    """of the last packet of the interval; ABSENT before the first"""
    last_rtt_ns: Int64
    """its delay; ABSENT unless it was received in time"""
    last_transit_ns: Int64
    """of the last arrival, late ones included; ABSENT before the first"""
    rfc3550_ns: NDArray[np.float64]
    """J of RFC 3550 section 6.4.1, not rounded"""
    rfc3550_pairs: Int64
    """differences that J has seen"""
    next_expected: Int64
    """NextExp of RFC 4737 section 3.3"""
    flying: Arrivals
    """replies that came after the interval's last sending: a packet of the next interval may have overtaken them"""

    @staticmethod
    def fresh(streams: int) -> Carry:
        """Streams of which nothing is known yet."""
        absent, zero = np.full(streams, ABSENT, np.int64), np.zeros(streams, np.int64)
        return Carry(
            absent, absent.copy(), absent.copy(), np.zeros(streams, np.float64), zero, zero.copy(), Arrivals.none()
        )

    def __len__(self) -> int:
        return len(self.last_sequence)

    def take(self, streams: Int64) -> Carry:
        """The state of some streams, renumbered 0, 1, ... in the order given; -1 gives a fresh one."""
        known = streams >= 0
        part = Carry.fresh(len(streams))
        for name in _PER_STREAM:
            getattr(part, name)[known] = getattr(self, name)[streams[known]]
        number = np.full(len(self), -1, np.int64)
        number[streams[known]] = np.flatnonzero(known)
        return replace(part, flying=_renumbered(self.flying, number))

    def without_delays(self, streams: NDArray[np.bool_]) -> Carry:
        """These streams' delays so far are by a clock that has been set since: nothing is compared with them."""
        last = (np.where(streams, ABSENT, values) for values in (self.last_rtt_ns, self.last_transit_ns))
        return replace(self, last_rtt_ns=next(last), last_transit_ns=next(last))

    def put(self, streams: Int64, part: Carry) -> Carry:
        """This state with the streams given (not -1) replaced by those of `part`; the inverse of take."""
        whole = {name: getattr(self, name).copy() for name in _PER_STREAM}
        for name, values in whole.items():
            values[streams] = getattr(part, name)
        replaced = np.zeros(len(self), np.bool_)
        replaced[streams] = True
        others = self.flying.where(~replaced[self.flying.stream])
        return Carry(**whole, flying=others.joined(_renumbered(part.flying, streams)))


_PER_STREAM = tuple(item.name for item in fields(Carry) if item.name != "flying")


def _renumbered(arrivals: Arrivals, number: Int64) -> Arrivals:
    stream = number[arrivals.stream]
    chosen = stream >= 0
    kept = Arrivals(stream[chosen], arrivals.sequence[chosen], arrivals.arrival_ns[chosen])
    return Arrivals.none().joined(kept)
