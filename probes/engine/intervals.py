"""Intervals of all streams: open, over but with packets still out, and handed on as one batch of arrays. Pure.

A packet belongs to the interval in which its sending began, so intervals follow one another without a gap. An interval
is handed on when every packet in it is answered, rejected, or given up (FORGET timeouts).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.model import PacketState
from probes.engine.farside import FarSide, Reflected, held_of
from probes.engine.flight import TIMED_OUT, FlightTable
from probes.engine.roundtrip import Reading
from probes.engine.streams import FORGET, StreamSpec, StreamTable
from probes.metrics.summary import IntervalPackets

Flags = NDArray[np.bool_]

BATCH_STREAMS: Final = 1_000
MOST_BATCHES: Final = 2
"""Intervals summarised at once, and batches handed on at once: what that takes in memory, and the time for which it
keeps the thread from sending, do not grow with the number of streams."""


@dataclass(slots=True)
class Remarks:
    """What must be said about the intervals of some streams, by slot."""

    impaired: dict[int, dict[str, None]] = field(default_factory=dict)
    """reasons why it does not count, each once, in the order they came"""
    rejected: dict[int, str] = field(default_factory=dict)
    """the newest ICMP error"""
    unsent: dict[int, str] = field(default_factory=dict)
    """the newest local error"""
    silent: dict[int, str] = field(default_factory=dict)
    """why there was no answer, where the host knows"""

    def impair(self, slot: int, reason: str) -> None:
        self.impaired.setdefault(slot, {})[reason] = None

    def take(self, slots: Sequence[int]) -> Remarks:
        """Those of some streams; they are gone from here."""
        part, wanted = Remarks(), set[int]()
        for name in ("impaired", "rejected", "unsent", "silent"):
            held = getattr(self, name)
            if held:  # most have none
                wanted = wanted or set(slots)
                getattr(part, name).update({slot: held.pop(slot) for slot in wanted & held.keys()})
        return part


@dataclass(slots=True, eq=False)
class Closing:
    """Intervals that are over; arrays (k,)."""

    stream: Int64
    first: Int64
    end: Int64
    """sequences: first <= sequence < end"""
    begin_ns: Int64
    """UTC"""
    end_ns: Int64
    skipped: Int64
    corrupt: Int64
    drops: Int64
    fresh: Flags
    remarks: Remarks
    last: bool
    """the streams are over, too"""
    set_ns: int = 0
    """by how much the clock had been set forward so far, all steps together"""

    def split(self, chosen: Flags) -> tuple[Closing, Closing]:
        """Those chosen, and the rest."""
        return self._part(chosen), self._part(~chosen)

    def pieces(self, most: int) -> Iterator[Closing]:
        """The same, not more than so many intervals at a time."""
        rest = self
        while len(rest.stream) > most:
            piece, rest = rest.split(np.arange(len(rest.stream)) < most)
            yield piece
        yield rest

    def _part(self, chosen: Flags) -> Closing:
        return Closing(
            self.stream[chosen], self.first[chosen], self.end[chosen], self.begin_ns[chosen], self.end_ns[chosen],
            self.skipped[chosen], self.corrupt[chosen], self.drops[chosen], self.fresh[chosen],
            self.remarks.take(self.stream[chosen].tolist()), self.last, self.set_ns,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Intervals ready to be summarised; arrays (k,), packets (n,)."""

    specs: tuple[StreamSpec, ...]
    closing: Closing
    packets: IntervalPackets
    stamps: NDArray[np.uint8]
    """roundtrip.KERNEL ... USER of every packet"""
    transmitted: Flags
    """the kernel stamped its sending"""
    far: Reflected | None = None
    """what far ends with a clock say; None where the batch has none"""


class Intervals:
    """Cuts streams into intervals. The open interval's numbers live in the StreamTable."""

    def __init__(self, table: StreamTable, flight: FlightTable, span_ns: int) -> None:
        self._table, self._flight, self._span_ns = table, flight, span_ns
        self.far: FarSide | None = None
        self.remarks = Remarks()
        self.closings: list[Closing] = []
        self._set_ns = 0
        self.next_end_ns = np.iinfo(np.int64).max
        """UTC of the first open interval's end"""

    def begin(self, slot: int, now: Reading) -> None:
        """A stream starts."""
        table = self._table
        spans = -(-table.specs[slot].every_ns // self._span_ns)
        table.span_ns[slot] = spans * self._span_ns  # a stream slower than the interval gets intervals of several
        table.begin_ns[slot] = now.wall_ns
        span = int(table.span_ns[slot])
        self.next_end_ns = min(self.next_end_ns, (now.wall_ns // span + 1) * span)

    def roll(self, now: Reading) -> Int64:
        """Close the intervals that are over by the wall clock and open the next; the slots it did so for."""
        if now.wall_ns < self.next_end_ns:
            return np.zeros(0, np.int64)
        slots = self._table.sending()
        span = self._table.span_ns[slots]
        ends = (self._table.begin_ns[slots] // span + 1) * span
        over = ends <= now.wall_ns
        slots, ends, span = slots[over], ends[over], span[over]
        if len(slots):
            self._close(slots, ends, np.maximum(ends, now.wall_ns // span * span), last=False)
        self._find_next_end()
        return slots

    def cut(self, slots: Int64, end_ns: int, begin_ns: int) -> None:
        """Close early: the clock was set. The next interval begins at begin_ns of the new clock."""
        ends = np.full(len(slots), end_ns, np.int64)
        self._close(slots, ends, np.full(len(slots), begin_ns, np.int64), last=False)
        self._set_ns += begin_ns - end_ns
        self._find_next_end()

    def finish(self, slots: Int64, now: Reading) -> None:
        """The streams stop: close their last interval now."""
        ends = np.full(len(slots), now.wall_ns, np.int64)
        self._close(slots, ends, ends, last=True)
        for slot in slots.tolist():
            self._table.stop(slot)
        self._find_next_end()

    def impair(self, slots: Iterable[int], reason: str, *, closing: bool) -> None:
        """The open intervals do not count; closing: nor do those over whose packets are still out."""
        wanted = set(slots)
        for slot in wanted & self._table.specs.keys():
            self.remarks.impair(slot, reason)
        for part in self.closings if closing else ():
            for slot in wanted.intersection(part.stream.tolist()):
                part.remarks.impair(slot, reason)

    def remarks_for(self, slot: int, sequence: int) -> Remarks:
        """Where to write what concerns this packet."""
        if sequence < self._table.first[slot]:
            for part in self.closings:
                at = np.flatnonzero(part.stream == slot)
                if len(at) and part.first[at[0]] <= sequence < part.end[at[0]]:
                    return part.remarks
        return self.remarks

    def waiting(self) -> tuple[Int64, Int64, Int64]:
        """Slots, first and end sequence of everything that is not handed on yet."""
        slots = self._table.sending()
        parts = [(slots, self._table.first[slots], self._table.next_sequence[slots])]
        parts += [(part.stream, part.first, part.end) for part in self.closings]
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
        )

    def take_ready(self, now: Reading, *, force: str | None = None) -> list[Batch]:
        """Intervals whose packets are all settled, MOST_BATCHES of them. force: hand on all, and those that are not
        settled too. Packets in them that are younger than their timeout are left out, and IMPAIRED for this reason;
        older ones are lost, as always."""
        batches: list[Batch] = []
        blocked: set[int] = set()
        held: list[Closing] = []
        for part in self.closings:
            if force is None and len(batches) >= MOST_BATCHES:
                blocked.update(part.stream.tolist())
                held.append(part)
                continue
            ready = self._flight.open_packets(part.stream, part.first, part.end, now, patience=FORGET) == 0
            if force is not None:
                young = self._flight.open_packets(part.stream, part.first, part.end, now, patience=1) > 0
                for slot in part.stream[young].tolist():
                    part.remarks.impair(slot, force)
                ready[:] = True
            else:
                ready &= ~self._awaiting(part, now)
            ready &= ~np.isin(part.stream, np.fromiter(blocked, np.int64, len(blocked)))
            chosen, rest = (part, None) if ready.all() else part.split(ready)
            if len(chosen.stream):
                batches.append(self._hand_on(chosen, now if force is not None else None))
            if rest is not None:
                blocked.update(rest.stream.tolist())
                held.append(rest)
        self.closings = held
        return batches

    def _awaiting(self, part: Closing, now: Reading) -> Flags:
        """Streams whose far end may have more to say about the interval, in the reply to the packet that comes next:
        when its last reply really left, and whose the losses before that are. Only if it comes soon."""
        table = self._table
        waiting = table.start[part.stream] != ABSENT
        if part.last or not waiting.any():
            return np.zeros(len(part.stream), np.bool_)
        soon = table.next_due_ns[part.stream] - now.monotonic_ns <= FORGET * self._flight.timeout_ns[part.stream]
        unsent = (table.next_sequence[part.stream] == part.end) & soon
        sent = (table.next_sequence[part.stream] > part.end).astype(np.int64)
        in_flight = self._flight.open_packets(part.stream, part.end, part.end + sent, now, patience=FORGET) > 0
        return np.asarray(waiting & (unsent | in_flight))

    def _close(self, slots: Int64, ends_ns: Int64, begins_ns: Int64, *, last: bool) -> None:
        table = self._table
        over = Closing(
            slots, table.first[slots], table.next_sequence[slots], table.begin_ns[slots], ends_ns,
            table.skipped[slots], table.corrupt[slots], table.drops[slots], table.fresh[slots],
            self.remarks.take(slots.tolist()), last, self._set_ns,
        )  # fmt: skip
        self.closings.extend(over.pieces(BATCH_STREAMS))
        table.begin_ns[slots] = begins_ns
        table.first[slots] = table.next_sequence[slots]
        table.skipped[slots] = table.corrupt[slots] = table.drops[slots] = 0
        table.fresh[slots] = False

    def _hand_on(self, part: Closing, cut: Reading | None) -> Batch:
        """cut: leave out what may still be answered in time at this moment."""
        flight = self._flight
        which, rows = flight.gather(part.stream, part.first, part.end)
        state = flight.state[rows]
        if cut is not None:
            settled = ~flight.may_be_answered(part.stream[which], rows, cut)
            which, rows, state = which[settled], rows[settled], state[settled]
        fate = np.where(state >= TIMED_OUT, PacketState.LOST, state).astype(np.uint8)
        transmitted_ns = flight.transmitted_ns[rows]
        stamped = transmitted_ns != ABSENT
        # Sending began inside the interval; the microseconds by which the kernel's stamp of the last packet may lie
        # behind its end are cut, so that no packet has a time outside its sample.
        sent_ns = np.where(stamped, transmitted_ns, flight.called_ns[rows])
        sent_ns = np.clip(sent_ns, part.begin_ns[which], np.maximum(part.end_ns, part.begin_ns + 1)[which] - 1)
        far = self._far_side(part, which, rows)
        packets = IntervalPackets(
            which, flight.sequence[rows] - self._table.base[part.stream][which], sent_ns, flight.rtt_ns[rows], fate,
            flight.lateness_ns[rows], flight.duplicates[rows], None if far is None else held_of(far, len(which)),
            part.set_ns,
        )  # fmt: skip
        batch = Batch(
            tuple(self._table.specs[slot] for slot in part.stream.tolist()),
            part,
            packets,
            flight.stamps[rows].astype(np.uint8),
            stamped,
            far,
        )
        flight.known_from[part.stream] = part.end
        if part.last:
            for slot in part.stream.tolist():
                flight.close(slot)
                self._table.release(slot)
        return batch

    def _far_side(self, part: Closing, which: Int64, rows: Int64) -> Reflected | None:
        reflecting = self._table.start[part.stream] != ABSENT
        if self.far is None or not reflecting.any():
            return None
        self.far.reserve()
        ahead = np.maximum(self._table.next_sequence[part.stream], part.end)
        return self.far.collect(which, rows, reflecting, part.stream, part.end, ahead)

    def _find_next_end(self) -> None:
        slots = self._table.sending()
        span = self._table.span_ns[slots]
        ends = (self._table.begin_ns[slots] // span + 1) * span
        self.next_end_ns = int(ends.min()) if len(ends) else np.iinfo(np.int64).max
