"""What has been handed to the store and is not durable yet: bounded, in order, every drop counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, cast

import numpy as np

from agent.store.event_limit import EventLimit
from agent.store.hostseconds import HostSeconds
from agent.store.livefile import Batch, LiveFile
from agent.store.records import DISK_FULL, GAP, OVERFLOW, READ_ONLY, EventRecord, ParkedLine, RunRecord, Unparked
from agent.store.samples import EncodedSample, encode
from probes.core.block import SampleBlock
from probes.core.model import Sample

GROUP_SAMPLES: Final = 500
"""So many samples are committed without waiting for more."""
WAITING_SAMPLES: Final = 20_000
"""Bound of samples in memory: those just handed in and those the disk has refused so far."""
WAITING_OCTETS: Final = 32 << 20
"""Bound of what these take, packets included, as `octets` counts."""
SAMPLE_OCTETS: Final = 1_600
"""A sample without packets and histogram, as it waits (measured with CPython 3.11)."""
_DIRECTION_OCTETS: Final = 900
_HOP_OCTETS: Final = 700
WAITING_NOTES: Final = 10_000
"""Bound of runs, events, minutes of this host and parked lines together."""
TRANSACTION_SAMPLES: Final = 2_000
_WHY: Final = {
    OVERFLOW: "they could not be written in time", DISK_FULL: "the disk was full", READ_ONLY: "the disk was read-only",
}  # fmt: skip


def octets(sample: Sample) -> int:
    """About what a sample that waits takes in memory."""
    arrays = 0 if sample.packets is None else 3 * sample.packets.rtt_ns.nbytes
    shapes = [sample.histogram]
    for one in (sample.forward, sample.backward):
        if one is not None:
            arrays += _DIRECTION_OCTETS
            shapes.append(one.histogram)
    if sample.packets is not None and sample.packets.forward_ns is not None:
        arrays += 2 * sample.packets.forward_ns.nbytes
    if sample.path is not None:
        arrays += _HOP_OCTETS * len(sample.path.hops)
    return SAMPLE_OCTETS + arrays + sum(2 * shape.index.nbytes for shape in shapes if shape is not None)


def block_octets(block: SampleBlock) -> list[int]:
    """The same of each sample of a block."""
    sizes = np.full(len(block), SAMPLE_OCTETS)
    if block.packets is not None:
        sizes += 3 * block.packets.rtt_ns.itemsize * np.diff(block.packet_edges)
    if block.histograms is not None:
        sizes += 2 * block.histograms.index.itemsize * np.diff(block.bucket_edges)
    return cast(list[int], sizes.tolist())


class Waiting:
    """Thread-safe. One thread, the writer, calls next_batch and settle; all others hand in and wait.

    wake: set when there is something for the writer to look at.
    """

    def __init__(self, limit: int = WAITING_SAMPLES) -> None:
        self.wake = threading.Event()
        self.dropped = self.dropped_notes = 0
        self._limit = limit
        self._changed = threading.Condition()
        self._hurried = False
        self._incoming: deque[Sequence[Sample]] = deque()
        self._arrived = 0
        """samples in `_incoming`"""
        self._notes = Batch()
        self._encoded: deque[EncodedSample | str] = deque()
        self._accepted = self._settled = 0
        self._sizes: deque[int] = deque()
        self._octets = 0
        self._accepted_notes = self._settled_notes = 0
        self._events = EventLimit()
        self._lost: tuple[int, int, int, str] | None = None
        """first and last instant, number and reason of what was dropped; counts as a note"""
        self.refusal = ""
        """why the disk refuses just now, as the reason of a gap; meanwhile the record of what that costs grows"""

    def __len__(self) -> int:
        """Samples and notes that are not durable yet."""
        with self._changed:
            return self._accepted - self._settled + self._accepted_notes - self._settled_notes

    @property
    def samples(self) -> int:
        """Samples that are not durable yet."""
        with self._changed:
            return self._accepted - self._settled

    def ripe(self) -> bool:
        """True when a commit should not wait for more to come."""
        with self._changed:
            return self._hurried or self._accepted - self._settled >= GROUP_SAMPLES

    def put_samples(self, samples: Sequence[Sample]) -> int:
        """Queue them; returns how many, the last ones, found no room."""
        with self._changed:
            room = self._room_for(samples)
            whole = room == len(samples)
            taken, dropped = (samples, samples[:0]) if whole else (samples[:room], samples[room:])
            first = not self._arrived
            if room:  # while there is none, nothing may pile up
                self._incoming.append(taken)
            self._arrived += room
            self._accepted += room
            if dropped:
                self.dropped += len(dropped)
                starts = [sample.start_ns for sample in dropped]
                self._lose(min(starts), max(sample.start_ns + sample.span_ns for sample in dropped), len(dropped))
            if first or self._arrived >= GROUP_SAMPLES:
                self.wake.set()
            return len(dropped)

    def _room_for(self, samples: Sequence[Sample]) -> int:
        """How many of them, the first ones, are within both bounds. They count from now on."""
        room = min(len(samples), max(0, self._limit - (self._accepted - self._settled)))
        sizes = block_octets(samples) if isinstance(samples, SampleBlock) else map(octets, samples)
        for number, size in enumerate(islice(sizes, room)):
            if self._octets + size > WAITING_OCTETS:
                return number
            self._sizes.append(size)
            self._octets += size
        return room

    def put_event(self, record: EventRecord, now_ns: int) -> None:
        """Queue an event, or count it where there are too many of its kind. now_ns is monotonic."""
        with self._changed:
            for kept in self._events.admit(record, now_ns):
                self.put_note(kept)

    def sum_up(self, now_ns: int) -> None:
        """Queue the sums of events whose minute is over."""
        with self._changed:
            for kept in self._events.over(now_ns):
                self.put_note(kept)

    def put_note(self, record: RunRecord | EventRecord | HostSeconds | ParkedLine | Unparked) -> bool:
        """Queue a record; beyond the bound it is dropped and counted, and False returned."""
        with self._changed:
            if self._accepted_notes - self._settled_notes >= WAITING_NOTES:
                self.dropped_notes += not isinstance(record, ParkedLine)  # the sink offers it again
                return False
            match record:
                case RunRecord():
                    self._notes.runs.append(record)
                case EventRecord():
                    self._notes.events.append(record)
                case HostSeconds():
                    self._notes.host.append(record)
                case ParkedLine():
                    self._notes.parked.append(record)
                case Unparked():
                    self._notes.unparked.append(record)
            self._accepted_notes += 1
            self.wake.set()
            return True

    def put_cursor(self, sink: str, seq: int | None) -> None:
        """Queue a sink's position; None forgets the sink. Of several positions the last is written."""
        with self._changed:
            self._notes.cursors[sink] = seq
            self._accepted_notes += 1
            self.wake.set()

    def put_settled(self, sink: str, part: str, next_row: int) -> None:
        """Queue how much of what it is owed a sink has. Of several positions the last is written."""
        with self._changed:
            self._notes.settled[sink, part] = next_row
            self._accepted_notes += 1
            self.wake.set()

    def next_batch(self, *, last: bool = False) -> tuple[Batch, int, int]:
        """What one transaction should write, and how many samples and notes it settles. Nothing is forgotten yet.

        What was dropped is recorded once no more is dropped for the same reason; with the `last` batch in any case.
        """
        while len(self._encoded) < TRANSACTION_SAMPLES:  # as columns the others take less
            with self._changed:
                if not self._incoming:
                    break
                samples = self._incoming.popleft()
                self._arrived -= len(samples)
            self._encoded.extend(encode(samples))
        with self._changed:
            self._hurried = False
            count = min(len(self._encoded), TRANSACTION_SAMPLES)
            relieved = not self.refusal and self._accepted - self._settled - count <= self._limit // 2
            if self._lost and (last or relieved):
                self._notes.events.insert(0, _gap(*self._lost))
                self._lost = None
            first = list(islice(self._encoded, count))
            notes = self._notes
            batch = Batch(
                [sample for sample in first if isinstance(sample, EncodedSample)],
                list(notes.runs),
                list(notes.events),
                list(notes.host),
                list(notes.parked),
                list(notes.unparked),
                dict(notes.cursors),
                dict(notes.settled),
                [refusal for refusal in first if isinstance(refusal, str)],
            )
            return batch, count, self._accepted_notes - self._settled_notes - (self._lost is not None)

    def settle(self, batch: Batch, samples: int, notes: int) -> None:
        """The batch is durable."""
        with self._changed:
            for _ in range(samples):
                self._encoded.popleft()
                self._octets -= self._sizes.popleft()
            del self._notes.runs[: len(batch.runs)]
            del self._notes.events[: len(batch.events)]
            del self._notes.host[: len(batch.host)]
            del self._notes.parked[: len(batch.parked)]
            del self._notes.unparked[: len(batch.unparked)]
            for sink, seq in batch.cursors.items():
                if self._notes.cursors.get(sink, seq) == seq:
                    self._notes.cursors.pop(sink, None)
            for key, next_row in batch.settled.items():
                if self._notes.settled.get(key, next_row) == next_row:
                    self._notes.settled.pop(key, None)
            self._settled += samples
            self._settled_notes += notes
            self._changed.notify_all()

    def abandon(self) -> None:
        """Give up the samples that wait: they are dropped, counted, and become part of the gap of the next batch."""
        with self._changed:
            rows = [sample.row for sample in self._encoded if isinstance(sample, EncodedSample)]
            spans = [(row[0], row[1]) for row in rows if isinstance(row[0], int) and isinstance(row[1], int)]
            spans += [(sample.start_ns, sample.span_ns) for samples in self._incoming for sample in samples]
            if spans:
                self.dropped += len(spans)
                self._lose(min(start for start, _ in spans), max(start + span for start, span in spans), len(spans))
            self._encoded.clear()
            self._incoming.clear()
            self._arrived = 0
            self._sizes.clear()
            self._octets = 0
            self._accepted = self._settled

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until everything handed in before this call is durable; False when the time is over first."""
        with self._changed:
            samples, notes = self._accepted, self._accepted_notes
            self._hurried = True
            self.wake.set()
            return self._changed.wait_for(
                lambda: self._settled >= samples and self._settled_notes >= notes, max(0.0, timeout_s)
            )

    def _lose(self, first_ns: int, last_ns: int, count: int) -> None:
        reason = self.refusal or OVERFLOW
        if self._lost is None:
            self._accepted_notes += 1
        else:
            first, last, before, known = self._lost
            first_ns, last_ns, count = min(first, first_ns), max(last, last_ns), before + count
            reason = known if reason == OVERFLOW else reason  # a disk that refuses explains more than a slow one
        self._lost = (first_ns, last_ns, count, reason)


def _gap(first_ns: int, last_ns: int, count: int, reason: str) -> EventRecord:
    why = _WHY.get(reason, "the disk failed")
    return EventRecord(GAP, first_ns, f"{count} samples dropped: {why}", last_ns, reason, count)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A batch whose commit failed, or seemed to: the log may hold it whole when it is opened anew."""

    epoch: str
    at_ns: int
    batch: Batch
    samples: int
    notes: int

    def is_in(self, file: LiveFile) -> bool:
        """What the file says of its last commit is what this batch would have written."""
        return file.epoch == self.epoch and file.previous is not None and file.previous.last_commit_ns == self.at_ns
