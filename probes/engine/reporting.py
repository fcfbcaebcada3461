"""A thread beside the loop that turns batches into samples and calls back: nothing a receiver does delays a packet."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from probes.core.arrays import ABSENT, Int64, Packets
from probes.core.block import COLUMNS, DELAYS, VARIATIONS, SampleBlock
from probes.core.clock import ClockQuality, clock_quality
from probes.core.model import PacketState, Sample, SampleState
from probes.engine.intervals import Batch, Remarks
from probes.engine.oneway import DirectionMemory, Directions, delay_columns
from probes.metrics.groups import Groups
from probes.metrics.summary import Carry, Summaries, summarise

log = logging.getLogger(__name__)

_CAPACITY: Final = 1024
_STATE: Final = COLUMNS.index("state")
_DELAYS: Final = slice(COLUMNS.index(DELAYS[0]), COLUMNS.index(VARIATIONS[-1]) + 1)
_VERDICT: Final = [COLUMNS.index(name) for name in ("sent", "received", "not_sent")]
_OK, _NO_REPLY, _INVALID = SampleState.OK.code, SampleState.NO_REPLY.code, SampleState.INVALID.code


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
        for samples in samples_of(batch, summaries, self._quality(), self._memory):
            if samples:
                self._report(samples)


def samples_of(
    batch: Batch, summaries: Summaries, clock: ClockQuality, memory: DirectionMemory
) -> tuple[SampleBlock, list[Sample]]:
    """One sample for each stream that had something to send; apart, those of streams whose far end has a clock."""
    block = _block(batch, summaries, clock)
    sent, not_sent = block.column("sent"), block.column("not_sent")
    said = (sent > 0) | (not_sent > 0)
    for slot in batch.closing.remarks.impaired:
        said |= batch.closing.stream == slot
    if batch.far is None:
        return (block if said.all() else block.chosen(said.nonzero()[0])), []
    ways = memory.directions(batch, summaries.all_counts(batch.closing.corrupt))
    delays = delay_columns(batch.far, len(batch.packets.stream))
    edges = block.packet_edges.tolist()
    both = [
        _both_ways(block[number], ways[number], delays, slice(*edges[number : number + 2]))
        for number in said.nonzero()[0].tolist()
        if number in ways
    ]
    said[list(ways)] = False
    return block.chosen(said.nonzero()[0]), both


def _both_ways(sample: Sample, ways: Directions, delays: tuple[Int64 | None, ...], part: slice) -> Sample:
    forward_ns, backward_ns = (None if column is None else column[part] for column in delays)
    packets = sample.packets
    if packets is not None:
        packets = replace(packets, forward_ns=forward_ns, backward_ns=backward_ns)
    return replace(
        sample, forward=ways.forward, backward=ways.backward, residence=ways.residence, packets=packets
    )  # fmt: skip


def _block(batch: Batch, summaries: Summaries, clock: ClockQuality) -> SampleBlock:
    """All streams of the batch, also those that had nothing to send."""
    closing, packets, specs = batch.closing, batch.packets, batch.specs
    edges = np.searchsorted(packets.stream, np.arange(len(specs) + 1)).astype(np.int64)
    values = _values(batch, summaries, clock)
    states, reasons = _judged(closing.remarks, closing.stream, values)
    values[:, _STATE] = states
    return SampleBlock(
        [spec.series for spec in specs],
        [spec.address for spec in specs],
        values,
        reasons,
        edges,
        Packets(packets.sent_ns - closing.begin_ns[packets.stream], packets.rtt_ns, packets.state),
        summaries.first_bucket,
        summaries.buckets,
    )


def _values(batch: Batch, summaries: Summaries, clock: ClockQuality) -> Int64:
    """The columns of a block, all but the state."""
    closing, sent = batch.closing, summaries.sent > 0
    columns: dict[str, Int64 | int] = {
        "start_ns": closing.begin_ns,
        "span_ns": closing.end_ns - closing.begin_ns,
        "state": 0,
        "corrupt": closing.corrupt,
        "not_sent": summaries.not_sent + closing.skipped,
        "stamps": _worst_stamps(batch),
        "lateness_p50_ns": np.where(sent, summaries.lateness_p50_ns, ABSENT),
        "lateness_max_ns": np.where(sent, summaries.lateness_max_ns, ABSENT),
        "local_drops": closing.drops,
        "clock_synchronised": int(clock.synchronised),
        "clock_error_ns": ABSENT if clock.maximum_error_ns is None else clock.maximum_error_ns,
    }
    values = np.empty((len(batch.specs), len(COLUMNS)), np.int64)
    for place, name in enumerate(COLUMNS):
        values[:, place] = columns[name] if name in columns else getattr(summaries, name)
    silent = summaries.rtt_count == 0
    if silent.any():
        values[silent, _DELAYS] = ABSENT
    return values


def _judged(remarks: Remarks, slots: Int64, values: Int64) -> tuple[Int64, dict[int, str]]:
    """State of each sample, and why, by position. Our own trouble first: it may be the cause of all else."""
    sent, received, not_sent = (values[:, COLUMNS.index(name)] for name in ("sent", "received", "not_sent"))
    states = np.where(received > 0, _OK, np.where(sent > 0, _NO_REPLY, _INVALID))
    remarkable = not_sent > 0
    remarkable |= states != _OK
    if remarks.impaired:
        remarkable |= np.isin(slots, list(remarks.impaired))
    reasons: dict[int, str] = {}
    for place in remarkable.nonzero()[0].tolist():
        state, reason = _verdict(remarks, int(slots[place]), *values[place, _VERDICT].tolist())
        states[place] = state.code
        if reason is not None:
            reasons[place] = reason
    return states, reasons


def _verdict(remarks: Remarks, slot: int, sent: int, received: int, not_sent: int) -> tuple[SampleState, str | None]:
    unsent = remarks.unsent.get(slot)
    if slot in remarks.impaired:
        return SampleState.IMPAIRED, "; ".join(remarks.impaired[slot])
    if not sent:
        return SampleState.INVALID, unsent or "nothing was sent"
    remark = f"{not_sent} not sent: {unsent}" if not_sent and unsent else None
    if received:
        return SampleState.OK, remark
    if slot in remarks.rejected:
        return SampleState.REJECTED, remarks.rejected[slot]
    return SampleState.NO_REPLY, remarks.silent.get(slot) or remark


def _worst_stamps(batch: Batch) -> Int64:
    """The least good stamps of each stream's round trips; without any, whether the kernel stamped the sending."""
    packets, groups = batch.packets, Groups.of(batch.packets.stream)
    if not len(groups.start):
        return np.zeros(len(batch.specs), np.int64)
    measured = np.where(packets.rtt_ns >= 0, batch.stamps.astype(np.int64), -1)
    unstamped = (~batch.transmitted & (packets.state != PacketState.NOT_SENT)).astype(np.int64)
    worst = np.maximum.reduceat(measured, groups.start)
    worst = np.where(worst < 0, np.maximum.reduceat(unstamped, groups.start), worst)
    return groups.spread(worst, len(batch.specs), 0)
