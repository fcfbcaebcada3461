"""Packets written ahead of time, so that a tick is little more than one system call. Used by one thread.

At a thousand packets a second the bill is not the packets but what every wake-up does on cold caches
(docs/decisions/0014). So all that is due until the next reading is encoded at once; a tick hands the kernel the rows
whose time has come; and the flight table hears of all of them before replies are matched. A packet that has not left
can be taken back: its stream gets deadline and number again, as if nothing had been planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.codec import Codec, SessionCodec
from probes.engine.clockwatch import ClockWatch
from probes.engine.flight import FlightTable
from probes.engine.nonce import Nonces
from probes.engine.pacing import CATCH_UP_NS, NEVER, due_until
from probes.engine.roundtrip import Reading
from probes.engine.streams import StreamTable
from probes.engine.transport import Channel

Refused = Callable[[Channel, Int64, Int64, Int64, NDArray[np.int32]], None]
"""Told of packets the kernel did not take: streams, sequences, rows of the flight table and errno, arrays (n,)."""


class _Call(NamedTuple):
    """Rows first..end-1 were handed to the kernel at called_ns (monotonic), when wall - monotonic was offset_ns."""

    first: int
    end: int
    called_ns: int
    offset_ns: int


@dataclass(slots=True, eq=False)
class _Batch:
    """Packets of one channel in order of leaving; arrays (n,)."""

    channel: Channel
    stream: Int64
    due_ns: Int64
    sequence: Int64
    nonce: NDArray[np.uint64]
    rows: Int64
    moments: list[int]
    """deadlines, each once, ascending, and NEVER"""
    ends: list[int]
    """where the packets of each deadline end"""
    shortest_ns: int
    """least period of its streams: within it each of them has one deadline at most"""
    at: int = 0
    """deadlines that are done"""
    left: int = 0
    """packets that are done"""
    calls: list[_Call] = field(default_factory=list)
    """not told to the flight table yet"""


class Departures:
    """Packets of the channels whose codec is timeless, planned until the next reading."""

    def __init__(
        self, table: StreamTable, flight: FlightTable, nonces: Nonces, watch: ClockWatch, refused: Refused
    ) -> None:
        self._table, self._flight, self._nonces, self._watch = table, flight, nonces, watch
        self._refused = refused
        self._batches: list[_Batch] = []
        self.earliest_ns = NEVER
        """first deadline that is planned and not done"""
        self.latest_ns = 0
        """how late the latest packet began to leave"""
        self._short = False

    @property
    def spent(self) -> bool:
        """All that was planned is done, and there was more to plan than the transport's rows could hold."""
        return self._short and self.earliest_ns == NEVER

    def plan(self, channels: Sequence[Channel], until_ns: int) -> None:
        """Write what is due before until_ns. Nothing may be planned; what is overdue already is not for here."""
        self._short = False
        ahead = np.array([channel.codec.timeless for channel in channels], np.bool_)
        if not ahead.any():
            return
        used = None if ahead.all() and len(channels) == 1 else self._table.channel
        for number in ahead.nonzero()[0].tolist():
            chosen = self._table.next_due_ns < until_ns
            if self._table.any_random:
                chosen &= ~self._table.random
            if used is not None:
                chosen &= used == number
            stream = chosen.nonzero()[0]
            codec = channels[number].codec
            if len(stream) and not isinstance(codec, SessionCodec):
                self._write(channels[number], codec, stream, until_ns)
        self._look()

    def send(self, now: Reading) -> bool:
        """Hand the kernel what is due, one packet of a stream at a time: a late host catches up without a burst.

        False when some of it is so late that it must be planned anew: see `revoke`.
        """
        if self.earliest_ns > now.monotonic_ns:
            return True
        for batch in self._batches:
            moment = batch.moments[batch.at]
            if now.monotonic_ns - moment > CATCH_UP_NS:
                return False
            if moment <= now.monotonic_ns:
                self._send(batch, now, min(now.monotonic_ns, moment + batch.shortest_ns - 1))
        self._look()
        return True

    def enter(self) -> None:
        """Tell the flight table of what has left. To be called before anything is read."""
        for batch in self._batches:
            if batch.calls:
                self._launch(batch)

    def revoke(self, channel: Channel | None = None) -> None:
        """Take back what has not left, of one channel or of all."""
        if not self._batches:
            return
        self.enter()
        kept = [batch for batch in self._batches if channel is not None and batch.channel is not channel]
        table = self._table
        for batch in self._batches:
            if batch in kept or batch.left == len(batch.stream):
                continue
            stream = batch.stream[batch.left :]
            if table.limited:
                np.add.at(table.remaining, stream, 1)
            # Of several packets of one stream the first one's deadline and number hold: written backwards.
            table.next_due_ns[stream[::-1]] = batch.due_ns[batch.left :][::-1]
            table.next_sequence[stream[::-1]] = batch.sequence[batch.left :][::-1]
        self._batches = kept
        self._look()

    def _write(self, channel: Channel, codec: Codec, stream: Int64, until_ns: int) -> None:
        table = self._table
        due = due_until(
            table.next_due_ns[stream], table.every_ns[stream], table.remaining[stream] if table.limited else None,
            table.length[stream] if table.varied_lengths else None, until_ns=until_ns, limit=channel.transport.rows,
        )  # fmt: skip
        slot = stream[due.which]
        sequence = table.next_sequence[slot] + due.ordinal
        table.next_due_ns[stream] += due.counts * table.every_ns[stream]
        table.next_sequence[stream] += due.counts
        if table.limited:
            table.remaining[stream] -= due.counts
            table.next_due_ns[stream[table.remaining[stream] == 0]] = NEVER
        self._short |= bool((table.next_due_ns[stream] < until_ns).any())
        once = int(due.counts.max()) <= 1
        nonce = self._nonces.take(slot, sequence) if once else self._nonces.compute(slot, sequence)
        rows = self._flight.rows(slot, sequence)
        encode(channel, codec, table, slot, sequence, nonce)
        channel.transport.address(slot)
        moments, ends = _moments(due.due_ns)
        shortest_ns = int(table.every_ns[stream].min())
        self._batches.append(_Batch(channel, slot, due.due_ns, sequence, nonce, rows, moments, ends, shortest_ns))

    def _send(self, batch: _Batch, now: Reading, last_ns: int) -> None:
        """What is due at last_ns or before."""
        moments, at = batch.moments, batch.at
        while moments[at] <= last_ns:
            at += 1
        first, end = batch.left, batch.ends[at - 1]
        called_ns = self._watch.monotonic()
        self.latest_ns = max(self.latest_ns, called_ns - moments[batch.at])
        errors = batch.channel.transport.send(first, batch.rows[first:end])
        batch.at, batch.left = at, end
        batch.calls.append(_Call(first, end, called_ns, now.offset_ns))
        if errors is not None:
            self._launch(batch)
            failed = first + errors.nonzero()[0]
            self._refused(
                batch.channel, batch.stream[failed], batch.sequence[failed], batch.rows[failed], errors[failed - first]
            )

    def _launch(self, batch: _Batch) -> None:
        calls, batch.calls = batch.calls, []
        part = slice(calls[0].first, calls[-1].end)
        times = np.array([(call.called_ns, call.offset_ns) for call in calls], np.int64)
        called_ns, offset_ns = times.repeat([call.end - call.first for call in calls], axis=0).T
        self._flight.launch(
            batch.rows[part], batch.sequence[part], batch.nonce[part], called_ns + offset_ns, offset_ns,
            called_ns - batch.due_ns[part],
        )  # fmt: skip

    def _look(self) -> None:
        self.earliest_ns = min((batch.moments[batch.at] for batch in self._batches), default=NEVER)


def lengths(table: StreamTable, stream: Int64) -> Iterator[tuple[int, int, int]]:
    """Runs of equal lengths in a batch: first, end, octets."""
    length, edges = table.length, [0, len(stream)]
    if table.varied_lengths:
        edges[1:1] = (np.flatnonzero(np.diff(length[stream])) + 1).tolist()
    for first, end in pairwise(edges):
        yield first, end, int(length[stream[first]])


def encode(
    channel: Channel, codec: Codec, table: StreamTable, stream: Int64, sequence: Int64, nonce: NDArray[np.uint64]
) -> None:
    """Write a batch into the transport's rows, from the first on; runs of one length at a time."""
    for first, end, length in lengths(table, stream):
        codec.encode(
            channel.transport.outgoing(first, end, length),
            family=channel.family,
            identifier=channel.transport.identifier,
            stream=stream[first:end],
            sequence=sequence[first:end],
            nonce=nonce[first:end],
        )


def _moments(due_ns: Int64) -> tuple[list[int], list[int]]:
    """Deadlines, ascending, each once, and NEVER behind them; where the packets of each end."""
    last = [*(due_ns[1:] != due_ns[:-1]).nonzero()[0].tolist(), len(due_ns) - 1]
    return [*due_ns[last].tolist(), NEVER], [place + 1 for place in last]
