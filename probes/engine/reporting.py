"""A thread beside the loop that turns batches into samples and calls back: nothing a receiver does delays a packet."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from probes.core.arrays import Histogram, Int64, Packets
from probes.core.clock import ClockQuality, clock_quality
from probes.core.model import Counts, Delay, PacketState, Quality, Sample, SampleState, StampSource, Variation
from probes.engine.intervals import Batch, Remarks
from probes.engine.oneway import DirectionMemory, Directions, delay_columns
from probes.metrics.groups import Groups
from probes.metrics.summary import Carry, Summaries, optional, summarise

log = logging.getLogger(__name__)

_CAPACITY: Final = 1024
_SOURCES: Final = (StampSource.KERNEL, StampSource.KERNEL_RECEIVE, StampSource.USER)


class Reporter:
    """Works off what the loop hands over, in order. Also the memory of what one interval leaves to the next."""

    def __init__(
        self, report: Callable[[Sequence[Sample]], None], quality: Callable[[], ClockQuality] = clock_quality
    ) -> None:
        self._report, self._quality = report, quality
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_CAPACITY)
        self._thread: threading.Thread | None = None
        self._carry = Carry.fresh(0)
        self._memory = DirectionMemory()
        self.refused = 0
        """hand-overs lost because the receiver was too slow"""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="linkwitness-report", daemon=True)
        self._thread.start()

    def hand_over(self, work: Callable[[], None]) -> None:
        """Queue a call; never waits. What finds the queue full is counted in `refused`."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:
                log.error("%d reports lost: the receiver of samples is too slow", self.refused)

    def hand_over_batch(self, batch: Batch) -> None:
        self.hand_over(lambda: self._report_batch(batch))

    def work_off(self) -> None:
        """Do what is queued, in this thread. For a loop without threads."""
        while True:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return
            if work is not None:
                work()

    def close(self, timeout_s: float) -> bool:
        """Work off the rest; False when that took longer than timeout_s."""
        if self._thread is None:
            self.work_off()
            return True
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:
                log.exception("a receiver of samples or events failed")

    def _report_batch(self, batch: Batch) -> None:
        slots = batch.closing.stream
        if len(slots) and int(slots.max()) >= len(self._carry):
            known = np.arange(len(self._carry))
            self._carry = Carry.fresh(2 * int(slots.max()) + 16).put(known, self._carry)
        before = self._carry.take(np.where(batch.closing.fresh, -1, slots))
        summaries, after = summarise(batch.packets, len(slots), before)
        self._carry = self._carry.put(slots, after)
        samples = samples_of(batch, summaries, self._quality(), self._memory)
        if samples:
            self._report(samples)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a batch says of each of k streams; lists of length k. Read one by one, arrays cost ten times as much."""

    slots: list[int]
    begin_ns: list[int]
    end_ns: list[int]
    skipped: list[int]
    drops: list[int]
    delays: list[Delay | None]
    variations: list[Variation | None]
    histograms: list[Histogram | None]
    lateness_p50_ns: list[int]
    lateness_max_ns: list[int]
    stamps: list[StampSource]
    edges: list[int]
    """where each stream's packets begin, and the end; length k + 1"""
    sent_ns: Int64
    """since the beginning of the packet's interval, shape (n,)"""


def _facts(batch: Batch, summaries: Summaries) -> _Facts:
    closing, stream = batch.closing, batch.packets.stream
    return _Facts(
        closing.stream.tolist(),
        closing.begin_ns.tolist(),
        closing.end_ns.tolist(),
        closing.skipped.tolist(),
        closing.drops.tolist(),
        summaries.all_delays(),
        summaries.all_variations(),
        summaries.all_histograms(),
        summaries.lateness_p50_ns.tolist(),
        summaries.lateness_max_ns.tolist(),
        _worst_stamps(batch),
        np.searchsorted(stream, np.arange(len(batch.specs) + 1)).tolist(),
        batch.packets.sent_ns - closing.begin_ns[stream],
    )


def samples_of(batch: Batch, summaries: Summaries, clock: ClockQuality, memory: DirectionMemory) -> list[Sample]:
    """One sample for each stream that had something to send."""
    facts = _facts(batch, summaries)
    counted = summaries.all_counts(batch.closing.corrupt)
    directions = memory.directions(batch, counted)
    delays = delay_columns(batch.far, len(batch.packets.stream))
    samples: list[Sample] = []
    for number, counts in enumerate(counted):
        if facts.skipped[number]:
            counts = replace(counts, not_sent=counts.not_sent + facts.skipped[number])
        if counts.sent or counts.not_sent or facts.slots[number] in batch.closing.remarks.impaired:
            sample = _sample(batch, facts, number, counts, clock)
            ways = directions.get(number)
            if ways is not None:
                sample = _both_ways(sample, ways, delays, slice(*facts.edges[number : number + 2]))
            samples.append(sample)
    return samples


def _both_ways(sample: Sample, ways: Directions, delays: tuple[Int64 | None, ...], part: slice) -> Sample:
    forward_ns, backward_ns = (None if column is None else column[part] for column in delays)
    packets = sample.packets
    if packets is not None:
        packets = replace(packets, forward_ns=forward_ns, backward_ns=backward_ns)
    return replace(
        sample, forward=ways.forward, backward=ways.backward, residence=ways.residence, packets=packets
    )  # fmt: skip


def _sample(batch: Batch, facts: _Facts, number: int, counts: Counts, clock: ClockQuality) -> Sample:
    spec, packets = batch.specs[number], batch.packets
    part = slice(facts.edges[number], facts.edges[number + 1])
    begin = facts.begin_ns[number]
    state, reason = _judged(facts.slots[number], counts, batch.closing.remarks)
    return Sample(
        circuit=spec.circuit,
        probe=spec.probe,
        kind=spec.kind,
        start_ns=begin,
        span_ns=facts.end_ns[number] - begin,
        state=state,
        counts=counts,
        delay=facts.delays[number],
        variation=facts.variations[number],
        remote=spec.address,
        quality=Quality(
            stamps=facts.stamps[number],
            lateness_p50_ns=optional(facts.lateness_p50_ns[number]) if counts.sent else None,
            lateness_max_ns=optional(facts.lateness_max_ns[number]) if counts.sent else None,
            local_drops=facts.drops[number],
            clock_synchronised=clock.synchronised,
            clock_error_ns=clock.maximum_error_ns,
        ),
        reason=reason,
        packets=Packets(facts.sent_ns[part], packets.rtt_ns[part], packets.state[part]),
        histogram=facts.histograms[number],
    )


def _judged(slot: int, counts: Counts, remarks: Remarks) -> tuple[SampleState, str | None]:
    """State of a sample, and why. Our own trouble first: it may be the cause of all else."""
    unsent = remarks.unsent.get(slot)
    if slot in remarks.impaired:
        return SampleState.IMPAIRED, "; ".join(remarks.impaired[slot])
    if not counts.sent:
        return SampleState.INVALID, unsent or "nothing was sent"
    remark = f"{counts.not_sent} not sent: {unsent}" if counts.not_sent and unsent else None
    if counts.received:
        return SampleState.OK, remark
    if slot in remarks.rejected:
        return SampleState.REJECTED, remarks.rejected[slot]
    return SampleState.NO_REPLY, remarks.silent.get(slot) or remark


def _worst_stamps(batch: Batch) -> list[StampSource]:
    """The least good stamps of each stream's round trips; without any, whether the kernel stamped the sending."""
    packets, groups = batch.packets, Groups.of(batch.packets.stream)
    if not len(groups.start):
        return [_SOURCES[0]] * len(batch.specs)
    measured = np.where(packets.rtt_ns >= 0, batch.stamps.astype(np.int64), -1)
    unstamped = (~batch.transmitted & (packets.state != PacketState.NOT_SENT)).astype(np.int64)
    worst = np.maximum.reduceat(measured, groups.start)
    worst = np.where(worst < 0, np.maximum.reduceat(unstamped, groups.start), worst)
    return [_SOURCES[code] for code in groups.spread(worst, len(batch.specs), 0).tolist()]
