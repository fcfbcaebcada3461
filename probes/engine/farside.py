"""What far ends with clocks of their own said about each packet: a row beside each row of the flight table. Pure.

T1 and T4 are this host's kernel stamps, T2 and T3 the far end's: forward = T2 - T1, backward = T4 - T3, residence =
T3 - T2. T3 is often taken before the far kernel sends; the follow-up in a later reply (RFC 8972 section 4.7) puts it
right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import MILLISECOND, SECOND
from probes.core.codec import Reflections
from probes.core.model import PacketState
from probes.engine.flight import FlightTable
from probes.engine.roundtrip import USER

OUR_CLOCK: Final = -1
"""Instead of an error bound: this host's clock is not synchronised."""
FAR_CLOCK: Final = -2
"""The far end says that its clock is not."""
NO_ESTIMATE: Final = -3
"""The far end gives no estimate of its error."""

_LONGEST_FOLLOW_UP_NS: Final = SECOND
_ROUGH_NS: Final = MILLISECOND
"""A far end's two stamps of one packet may contradict each other by so much; by more, its clock was set in between."""
_WORD: Final = 1 << 32
_LOOK_AHEAD: Final = 32
"""packets after an interval that are asked about its last losses"""
_COLUMNS: Final = 13


def lag(number: Int64, sequence: Int64) -> Int64:
    """number - sequence modulo 2^32, signed: how far the far end's numbering is ahead of the wire's. Shape (n,)."""
    return np.asarray((number - sequence + _WORD // 2) % _WORD - _WORD // 2, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class OneWayDelays:
    """Signed delays of n packets, ABSENT where unknown."""

    forward_ns: Int64
    backward_ns: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Numbered:
    """Packets as the far end counted its replies to them, sorted by (stream, sequence); arrays (n,)."""

    stream: Int64
    """position of the stream in the batch"""
    sequence: Int64
    lag: Int64
    """ABSENT where no reply has come"""
    number: Int64
    """32 bits, as the far end wrote it; ABSENT likewise"""
    lost: NDArray[np.bool_]
    extra: Int64
    """further replies with numbers of their own: the request arrived more than once"""


@dataclass(frozen=True, slots=True, eq=False)
class Reflected:
    """Packets of a batch's streams that have such a far end; arrays (m,)."""

    at: Int64
    """position in the batch's packets"""
    forward_ns: Int64
    backward_ns: Int64
    residence_ns: Int64
    """ABSENT where there is no reply, or none that can be true"""
    entered_ns: Int64
    """T1, or just before sending where the kernel gave none"""
    departed_ns: Int64
    """T3, UTC by the far clock"""
    error_ns: Int64
    """bound of both clocks' error, or OUR_CLOCK, FAR_CLOCK, NO_ESTIMATE; ABSENT without a reply"""
    correction_ns: Int64
    """what the follow-up moved T3 by; ABSENT where none came"""
    transmitted: NDArray[np.bool_]
    """T1 is the kernel's"""
    forward_ttl: Int64
    backward_ttl: Int64
    forward_dscp: Int64
    backward_dscp: Int64
    numbered: Numbered
    """the interval's, NOT_SENT left out"""
    ahead: Numbered
    """packets sent after the interval, as far as is known"""
    reflecting: NDArray[np.bool_]
    """which streams of the batch have such a far end, shape (k,)"""


def held_of(far: Reflected, packets: int) -> Int64:
    """Residence of each packet of the batch, 0 where none is known; shape (packets,)."""
    held = np.zeros(packets, np.int64)
    held[far.at] = np.maximum(far.residence_ns, 0)
    return held


class FarSide:
    """Columns beside those of a FlightTable. Costs nothing until `reserve` is called."""

    def __init__(self, flight: FlightTable) -> None:
        self._flight = flight
        self._columns: Int64 = np.zeros((0, _COLUMNS), np.int64)
        self._view()

    def _view(self) -> None:
        columns = self._columns
        self._arrived: Int64 = columns[:, 0]
        self._departed: Int64 = columns[:, 1]
        self._followed: Int64 = columns[:, 2]
        self._received: Int64 = columns[:, 3]
        self._held: Int64 = columns[:, 4]
        """residence that the round trip is without; ABSENT where it was not believed"""
        self._number: Int64 = columns[:, 5]
        """32 bits"""
        self._error: Int64 = columns[:, 6]
        self._extra: Int64 = columns[:, 7]
        self._newest: Int64 = columns[:, 8]
        """number of the last reply to the packet, copies included"""
        self._hops: Int64 = columns[:, 9]
        """forward TTL << 32 | backward TTL; 0 is unknown"""
        self._marks: Int64 = columns[:, 10]
        """forward code point + 1 << 32 | backward code point + 1; 0 is unknown"""
        self._by_number: Int64 = columns[:, 11]
        """row that the reply of this number was for: a ring like that of the packets"""
        self._lag: Int64 = columns[:, 12]

    def reserve(self) -> None:
        """A row for every row of the flight table."""
        more = len(self._flight.sequence) - len(self._columns)
        if more > 0:
            self._columns = np.concatenate((self._columns, np.zeros((more, _COLUMNS), np.int64)))
            self._view()

    def answered(
        self, rows: Int64, stream: Int64, found: Reflections, at: Int64, *, received_ns: Int64, error_ns: Int64,
        ttl: Int64, dscp: Int64,
    ) -> None:  # fmt: skip
        """First replies, arrays (n,), `at` their place in `found`; takes their residence out of the round trips."""
        arrived, departed = found.arrived_ns[at], found.departed_ns[at]
        gross, held = self._flight.rtt_ns[rows], departed - arrived
        believed = (held >= 0) & (held <= gross) & (arrived != ABSENT) & (departed != ABSENT)
        self._flight.rtt_ns[rows] = gross - np.where(believed, held, 0)
        columns = np.zeros((len(rows), _COLUMNS), np.int64)
        columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3] = arrived, departed, ABSENT, received_ns
        columns[:, 4] = np.where(believed, held, ABSENT)
        columns[:, 5] = columns[:, 8] = found.number[at]
        columns[:, 6] = error_ns
        columns[:, 9] = np.maximum(found.ttl[at], 0) << 32 | np.maximum(ttl, 0)
        columns[:, 10] = np.maximum(found.dscp[at] + 1, 0) << 32 | np.maximum(dscp + 1, 0)
        columns[:, 11] = self._by_number[rows]
        columns[:, 12] = lag(found.number[at], found.sequence[at])
        self._columns[rows] = columns
        self._by_number[self._flight.rows(stream, found.number[at])] = rows

    def again(self, rows: Int64, number: Int64) -> None:
        """Further replies: one with a number of its own answers a request that arrived twice."""
        pairs = np.unique(np.stack((rows, number), axis=1), axis=0)
        rows, number = pairs[:, 0], pairs[:, 1]
        other = number != self._newest[rows]
        np.add.at(self._extra, rows[other], 1)
        self._newest[rows[other]] = number[other]

    def followed(self, stream: Int64, number: Int64, left_ns: Int64) -> Int64:
        """Replies of these numbers left at left_ns; which of them, shape (n,) True, were of use."""
        flight = self._flight
        rows = self._by_number[flight.rows(stream, number)]
        state = flight.state[rows]
        known = (self._number[rows] == number) & (flight.sequence[rows] >= flight.known_from[stream])
        known &= flight.belongs(rows, stream)
        known &= (state == PacketState.ANSWERED) | (state == PacketState.LATE)
        correction = left_ns - self._departed[rows]
        gross = flight.rtt_ns[rows] + np.maximum(self._held[rows], 0)
        held = left_ns - self._arrived[rows]
        known &= (correction >= 0) & (correction <= _LONGEST_FOLLOW_UP_NS)
        known &= (self._followed[rows] == ABSENT) & (self._held[rows] != ABSENT) & (held <= gross)
        chosen = rows[known]
        self._followed[chosen] = left_ns[known]
        self._held[chosen] = held[known]
        flight.rtt_ns[chosen] = (gross - held)[known]
        return np.asarray(known)

    def delays(self, rows: Int64) -> OneWayDelays:
        """Of answered packets, arrays (n,). None where a clock was set in between, ours or the far one, or a stamp is
        user space's."""
        flight, arrived = self._flight, self._arrived[rows]
        steady = (flight.stamps[rows] != USER) & (self._received[rows] != ABSENT)
        departed = np.where(self._followed[rows] == ABSENT, self._departed[rows], self._followed[rows])
        held, gross = departed - arrived, flight.rtt_ns[rows] + np.maximum(self._held[rows], 0)
        possible = (held >= -_ROUGH_NS) & (held <= gross + _ROUGH_NS)
        steady &= possible | (arrived == ABSENT) | (departed == ABSENT)
        return OneWayDelays(
            np.where(steady & (arrived != ABSENT), arrived - self._entered(rows), ABSENT),
            np.where(steady & (departed != ABSENT), self._received[rows] - departed, ABSENT),
        )

    def told(self, rows: Int64, chosen: NDArray[np.bool_]) -> OneWayDelays:
        """The delays as one packet's line may show them: of those chosen whose two clocks are synchronised."""
        delays, shown = self.delays(rows), chosen & (self._error[rows] >= 0)
        return OneWayDelays(np.where(shown, delays.forward_ns, ABSENT), np.where(shown, delays.backward_ns, ABSENT))

    def collect(
        self, which: Int64, rows: Int64, reflecting: NDArray[np.bool_], stream: Int64, end: Int64, ahead: Int64
    ) -> Reflected:
        """Packets of a batch: `which` (n,) positions of their streams, `rows` (n,); slots `stream` (k,).

        Those of sequences end ... ahead - 1 of each stream have been sent after the interval.
        """
        at = np.flatnonzero(reflecting[which])
        which, rows = which[at], rows[at]
        heard = self._heard(rows)
        delays, departed = self.delays(rows), self._departed[rows]
        followed = heard & (self._followed[rows] != ABSENT)
        forward_ttl, backward_ttl = self._hops[rows] >> 32, self._hops[rows] & (_WORD - 1)
        forward_dscp, backward_dscp = (self._marks[rows] >> 32) - 1, (self._marks[rows] & (_WORD - 1)) - 1
        chosen = np.flatnonzero(reflecting)
        limit = np.minimum(ahead, end + _LOOK_AHEAD)
        later, later_rows = self._flight.gather(stream[chosen], end[chosen], limit[chosen])
        return Reflected(
            at=at,
            forward_ns=np.where(heard, delays.forward_ns, ABSENT),
            backward_ns=np.where(heard, delays.backward_ns, ABSENT),
            residence_ns=np.where(heard, self._held[rows], ABSENT),
            entered_ns=self._entered(rows),
            departed_ns=np.where(followed, self._followed[rows], departed),
            error_ns=np.where(heard, self._error[rows], ABSENT),
            correction_ns=np.where(followed, self._followed[rows] - departed, ABSENT),
            transmitted=self._flight.transmitted_ns[rows] != ABSENT,
            forward_ttl=np.where(heard & (forward_ttl > 0), forward_ttl, ABSENT),
            backward_ttl=np.where(heard & (backward_ttl > 0), backward_ttl, ABSENT),
            forward_dscp=np.where(heard & (forward_dscp >= 0), forward_dscp, ABSENT),
            backward_dscp=np.where(heard & (backward_dscp >= 0), backward_dscp, ABSENT),
            numbered=self._numbered(which, rows),
            ahead=self._numbered(chosen[later], later_rows),
            reflecting=reflecting,
        )

    def _entered(self, rows: Int64) -> Int64:
        transmitted = self._flight.transmitted_ns[rows]
        return np.where(transmitted == ABSENT, self._flight.called_ns[rows], transmitted)

    def _heard(self, rows: Int64) -> NDArray[np.bool_]:
        state = self._flight.state[rows]
        return np.asarray((state == PacketState.ANSWERED) | (state == PacketState.LATE))

    def _numbered(self, which: Int64, rows: Int64) -> Numbered:
        """What has no reply counts as lost: where it matters, a later packet has one."""
        sent = self._flight.state[rows] != PacketState.NOT_SENT
        which, rows = which[sent], rows[sent]
        heard = self._heard(rows)
        return Numbered(
            which, self._flight.sequence[rows], np.where(heard, self._lag[rows], ABSENT),
            np.where(heard, self._number[rows], ABSENT), ~heard, np.where(heard, self._extra[rows], 0),
        )  # fmt: skip
