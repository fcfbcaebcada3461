"""Packets in flight and of the intervals not reported yet: one ring per stream, all rings in the same arrays. Pure.

A reply is accepted only for the packet it names, if that is still known, the nonce fits, and it is the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.model import PacketState
from probes.engine.roundtrip import KERNEL, Reading, round_trips

PENDING: Final = 255
"""State of a packet whose fate is open; beside the PacketState codes."""
TIMED_OUT: Final = 254
"""Open still, because a late reply may come, but over its timeout and told to the observer."""

_SMALLEST: Final = 16
_COLUMNS: Final = 10
_MOST_LANES: Final = 512
_MOST_ROWS: Final = 1 << 16
"""What rings are reserved in: no more rings, nor more rows than this unless one ring is longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What became of a batch of replies; arrays of shape (n,), in order of arrival."""

    index: Int64
    """row of the packet in the table; -1 where none was found"""
    first: NDArray[np.bool_]
    """first reply to its packet: ANSWERED or LATE"""
    duplicate: NDArray[np.bool_]
    """a further reply"""
    forged: NDArray[np.bool_]
    """a packet of that number is known, but the nonce is wrong"""
    forgotten: NDArray[np.bool_]
    """no such packet, or its interval has been reported"""


class FlightTable:
    """Rows are packets. `open` reserves a stream's ring of rows, `close` gives it back.

    All columns of a row lie side by side in one matrix, so that sending touches one place per packet; the attributes
    are views of its columns. Rings of one size are interlaced: what streams send at about the same time lies together,
    a few pages where a ring of its own for each stream would be a page per packet (docs/decisions/0014).
    """

    def __init__(self) -> None:
        self._free: dict[int, list[tuple[int, int]]] = {}
        """by size: first row and lane shift of rings that no stream has"""
        self._lanes: dict[int, int] = {}
        """by size: how many rings were reserved together the last time"""
        self._used = 0
        self._rings: Int64 = np.zeros((0, 5), np.int64)
        self._packets: Int64 = np.zeros((0, _COLUMNS), np.int64)
        self._scratch: NDArray[np.int32] = np.zeros(0, np.int32)
        self._fresh: Int64 = np.array((-1, 0, 0, 0, 0, ABSENT, ABSENT, PENDING, KERNEL, 0), np.int64)
        """a packet that has just been sent"""
        self._view()

    def _view(self) -> None:
        rings, packets = self._rings, self._packets
        self.offset: Int64 = rings[:, 0]
        """first row of each stream's ring; arrays (streams,)"""
        self.mask: Int64 = rings[:, 1]
        """rows of the ring - 1; 0 where there is no such stream"""
        self.timeout_ns: Int64 = rings[:, 2]
        self.known_from: Int64 = rings[:, 3]
        """least sequence that has not been reported"""
        self._lane_shift: Int64 = rings[:, 4]
        """rows from one packet of the stream to the next, as a power of two"""
        self.sequence: Int64 = packets[:, 0]
        """-1 where the row is not used; arrays (rows,)"""
        self.nonce: NDArray[np.uint64] = packets[:, 1].view(np.uint64)
        self.called_ns: Int64 = packets[:, 2]
        """wall time just before the packet was handed to the kernel"""
        self.clock_offset_ns: Int64 = packets[:, 3]
        """wall - monotonic then"""
        self.lateness_ns: Int64 = packets[:, 4]
        self.transmitted_ns: Int64 = packets[:, 5]
        """kernel transmit stamp, wall, or ABSENT"""
        self.rtt_ns: Int64 = packets[:, 6]
        self.state: Int64 = packets[:, 7]
        """PacketState, PENDING or TIMED_OUT"""
        self.stamps: Int64 = packets[:, 8]
        """roundtrip.KERNEL ... USER"""
        self.duplicates: Int64 = packets[:, 9]

    def open(self, stream: int, packets: int, timeout_ns: int, first_sequence: int) -> None:
        """Reserve a ring for at least `packets` packets whose outcome is open or not reported."""
        size = max(_SMALLEST, 1 << max(0, packets - 1).bit_length())
        if stream >= len(self._rings):
            more = max(16, stream + 1, 2 * len(self._rings)) - len(self._rings)
            self._rings = np.concatenate((self._rings, np.zeros((more, 5), np.int64)))
        if not self._free.get(size):
            self._reserve(size)
        first, shift = self._free[size].pop()
        self._rings[stream] = (first, size - 1, timeout_ns, first_sequence, shift)
        self._view()
        self._clear(first, size, shift)

    def close(self, stream: int) -> None:
        """The stream is over; its ring may be given to another. Its mask is 0 from now on."""
        first, size, shift = int(self.offset[stream]), int(self.mask[stream]) + 1, int(self._lane_shift[stream])
        self._clear(first, size, shift)
        self._free[size].append((first, shift))
        self.mask[stream] = 0

    def rows(self, stream: Int64, sequence: Int64) -> Int64:
        """Where packets of these streams and sequences live; arrays (n,)."""
        rings = self._rings[stream]
        return np.asarray(rings[:, 0] + ((sequence & rings[:, 1]) << rings[:, 4]), np.int64)

    def belongs(self, rows: Int64, stream: Int64) -> NDArray[np.bool_]:
        """Whether these rows are of these streams' rings; arrays (n,)."""
        rings = self._rings[stream]
        beyond = rows - rings[:, 0]
        packet = beyond >> rings[:, 4]
        return np.asarray((packet << rings[:, 4] == beyond) & (packet >= 0) & (packet <= rings[:, 1]))

    def launch(
        self, rows: Int64, sequence: Int64, nonce: NDArray[np.uint64], called_ns: Int64 | int,
        clock_offset_ns: Int64 | int, lateness_ns: Int64,
    ) -> None:  # fmt: skip
        """Packets are being handed to the kernel, or were since the last reading; arrays (n,)."""
        packets = np.empty((len(rows), _COLUMNS), np.int64)
        packets[:] = self._fresh
        packets[:, 0] = sequence
        packets[:, 1] = nonce.view(np.int64)
        packets[:, 2] = called_ns
        packets[:, 3] = clock_offset_ns
        packets[:, 4] = lateness_ns
        self._packets[rows] = packets

    def not_sent(self, rows: Int64) -> None:
        """The kernel refused these."""
        self.state[rows] = PacketState.NOT_SENT
        self.lateness_ns[rows] = ABSENT

    def transmitted(self, rows: Int64, stamp_ns: Int64) -> None:
        """Kernel transmit stamps. One older than the call that sent the packet belongs to another and is ignored."""
        own = stamp_ns >= self.called_ns[rows]
        self.transmitted_ns[rows[own]] = stamp_ns[own]

    def answer(
        self, stream: Int64, sequence: Int64, nonce: NDArray[np.uint64], received_ns: Int64, now: Reading
    ) -> Answers:
        """Match replies, arrays (n,), streams of open rings; received_ns: kernel stamps (wall) or ABSENT."""
        rows = self.rows(stream, sequence)
        known = (self.sequence[rows] == sequence) & (sequence >= self.known_from[stream])
        known &= self.state[rows] != PacketState.NOT_SENT
        genuine = known & (self.nonce[rows] == nonce)
        state = self.state[rows]
        spent = (state == PacketState.ANSWERED) | (state == PacketState.LATE)
        fresh = genuine & ~spent
        # Of several replies in this batch to one packet the first counts: written backwards, its number stays.
        number = np.arange(len(rows))
        backwards = number[::-1] if fresh.all() else fresh.nonzero()[0][::-1]
        self._scratch[rows[backwards]] = backwards
        fresh &= self._scratch[rows] == number
        if fresh.all():
            self._settle(rows, stream, received_ns, now)
        else:
            self._settle(rows[fresh], stream[fresh], received_ns[fresh], now)
        duplicate = genuine & ~fresh
        if duplicate.any():
            np.add.at(self.duplicates, rows[duplicate], 1)
        return Answers(np.where(genuine, rows, -1), fresh, duplicate, known & ~genuine, ~known)

    def _settle(self, rows: Int64, stream: Int64, received_ns: Int64, now: Reading) -> None:
        rtt, stamps = round_trips(
            transmitted_ns=self.transmitted_ns[rows],
            called_ns=self.called_ns[rows],
            offset_ns=self.clock_offset_ns[rows],
            received_ns=received_ns,
            now=now,
        )
        self.rtt_ns[rows] = rtt
        self.stamps[rows] = stamps
        in_time = rtt <= self.timeout_ns[stream]
        self.state[rows] = np.where(in_time, PacketState.ANSWERED, PacketState.LATE)

    def reject(self, stream: int, sequence: int, nonce: int, state: PacketState) -> int | None:
        """An error came back for this packet: its row, or None where it is not ours or not open any more."""
        row = int(self.offset[stream] + ((sequence & int(self.mask[stream])) << int(self._lane_shift[stream])))
        if self.sequence[row] != sequence or sequence < self.known_from[stream]:
            return None
        if int(self.nonce[row]) != nonce or self.state[row] < TIMED_OUT:
            return None
        self.state[row] = state
        if state == PacketState.NOT_SENT:
            self.lateness_ns[row] = ABSENT
        return row

    def time_out(self, stream: Int64, first: Int64, end: Int64, now: Reading) -> tuple[Int64, Int64]:
        """Mark open packets over their timeout; their rows and streams, each packet once. Arrays (k,) as `gather`."""
        which, rows = self.gather(stream, first, end)
        over = self.state[rows] == PENDING
        over &= self._age_ns(rows, now) > self.timeout_ns[stream[which]]
        self.state[rows[over]] = TIMED_OUT
        return rows[over], stream[which[over]]

    def open_packets(self, stream: Int64, first: Int64, end: Int64, now: Reading, *, patience: int) -> Int64:
        """How many packets of each stream are open and younger than `patience` timeouts; arrays (k,)."""
        which, rows = self.gather(stream, first, end)
        waiting = self.may_be_answered(stream[which], rows, now, patience)
        return np.bincount(which[waiting], minlength=len(stream)).astype(np.int64)

    def may_be_answered(self, stream: Int64, rows: Int64, now: Reading, patience: int = 1) -> NDArray[np.bool_]:
        """True where the packet is open and no older than `patience` timeouts. Arrays (n,)."""
        waiting = self.state[rows] >= TIMED_OUT
        return np.asarray(waiting & (self._age_ns(rows, now) <= patience * self.timeout_ns[stream]))

    def _age_ns(self, rows: Int64, now: Reading) -> Int64:
        return now.monotonic_ns - (self.called_ns[rows] - self.clock_offset_ns[rows])

    def gather(self, stream: Int64, first: Int64, end: Int64) -> tuple[Int64, Int64]:
        """Rows of the packets first <= sequence < end of each stream, sorted by (stream, sequence).

        Arguments (k,); results (n,): position in the arguments, row. Sequences that were never used are left out.
        """
        length = end - first
        which = np.repeat(np.arange(len(stream)), length)
        sequence = np.arange(len(which)) - np.repeat(np.cumsum(length) - length, length) + first[which]
        rows = self.rows(stream[which], sequence)
        present = self.sequence[rows] == sequence
        return (which, rows) if present.all() else (which[present], rows[present])

    def crowded(self, stream: Int64, next_sequence: Int64) -> NDArray[np.bool_]:
        """Streams whose ring is about to be full of packets that have not been reported; arrays (n,)."""
        held = next_sequence - self.known_from[stream]
        return held > self.mask[stream] - self.mask[stream] // 16

    def _clear(self, first: int, size: int, shift: int) -> None:
        ring = slice(first, first + (size << shift), 1 << shift)
        self.sequence[ring] = -1
        self.state[ring] = PacketState.NOT_SENT

    def _reserve(self, size: int) -> None:
        """Rows for more rings of this size: as many as there are already, within bounds."""
        lanes = min(2 * self._lanes.get(size, 0), _MOST_LANES, _MOST_ROWS // size) or 1
        self._lanes[size] = lanes
        shift, first = lanes.bit_length() - 1, self._extend(size * lanes)
        self._free.setdefault(size, []).extend((first + lane, shift) for lane in reversed(range(lanes)))

    def _extend(self, rows: int) -> int:
        """The first of so many new rows."""
        first, held = self._used, len(self._packets)
        if first + rows > held:
            more = max(rows, held // 2, 1024)
            packets = np.zeros((held + more, _COLUMNS), np.int64)  # pages that no ring has yet take no memory
            packets[:held] = self._packets
            self._packets, self._scratch = packets, np.zeros(held + more, np.int32)
        self._used = first + rows
        return first
