"""The packets themselves: sends what is due, reads what came back, and enters both into the flight table.

Used by one thread. Nothing here waits.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import SECOND, ClockQuality
from probes.core.codec import Decoded, SessionCodec
from probes.core.errors import LocalError
from probes.core.model import PacketState
from probes.engine.address import text_of
from probes.engine.clockwatch import ClockWatch
from probes.engine.departures import Departures, encode, lengths
from probes.engine.farside import FarSide
from probes.engine.flight import Answers, FlightTable
from probes.engine.intervals import Intervals
from probes.engine.namespaces import inside
from probes.engine.nonce import KEY_SIZE, Nonces
from probes.engine.observing import PacketLog
from probes.engine.pacing import NEVER, exponential_gaps, take_due
from probes.engine.refusals import MAY_BE_THE_SOURCE, refusal_text
from probes.engine.roundtrip import Reading
from probes.engine.routes import route_of
from probes.engine.sessions import Sessions
from probes.engine.streams import StreamTable
from probes.engine.transport import Arrivals, Channel, Notices, Refusals
from probes.wire.icmp import error_text

MOST_BATCHES: Final = 64
"""Batches read from one socket at a time; the rest waits for the next time."""

_NO_NEIGHBOUR: Final = {4: (3, 1), 6: (1, 3)}
"""ICMP type and code the kernel itself reports when ARP or neighbour discovery gets no answer"""


class Traffic:
    """Sends and receives for all streams of a StreamTable."""

    def __init__(
        self, table: StreamTable, flight: FlightTable, intervals: Intervals, watch: ClockWatch, secret: bytes,
        log: PacketLog | None, quality: Callable[[], ClockQuality],
    ) -> None:  # fmt: skip
        self._table, self._flight, self._intervals = table, flight, intervals
        self._watch, self._log = watch, log
        self._nonces, self._chance = Nonces(secret), Nonces(hashlib.blake2b(secret, digest_size=KEY_SIZE).digest())
        self._sessions = Sessions(table, flight, quality)
        intervals.far = self._sessions.far
        self.channels: list[Channel] = []
        self.departures = Departures(table, flight, self._nonces, watch, self._not_sent)
        self._latest_ns = 0
        self._emptied_ns: dict[int, int] = {}
        """monotonic, by channel: all that had come to the socket by then has been read"""
        self.counters: Counter[str] = Counter()
        """foreign, corrupt, forged, forgotten, unmatched_errors, local_drops, overrun: what was not used, by why; and
        not_sent"""

    def take_lateness(self) -> int:
        """How late the latest packet since the last call began to leave, ns."""
        latest, self._latest_ns, self.departures.latest_ns = max(self._latest_ns, self.departures.latest_ns), 0, 0
        return latest

    def reserve(self, slots: int) -> None:
        """Make room for streams 0 ... slots - 1: one of them begins."""
        self._nonces.reserve(slots)
        self._sessions.began()

    def send_due(self, now: Reading, earliest_ns: int) -> None:
        """One packet for every stream whose deadline has come; earliest_ns: no deadline is earlier."""
        table = self._table
        gaps = self._gaps if table.any_random else None
        due = take_due(table.next_due_ns, table.every_ns, now.monotonic_ns, earliest_ns=earliest_ns, gaps=gaps)
        if due is None:
            return
        self._latest_ns = max(self._latest_ns, now.monotonic_ns - earliest_ns)
        stream, scheduled = due.stream, due.scheduled_ns
        if due.skipped is not None:
            table.skipped[stream] += due.skipped
            table.next_sequence[stream[due.skipped > 0]] += 1  # neighbours across a gap are no pair
        if table.limited:
            remaining = table.remaining[stream] - 1
            table.remaining[stream] = remaining
            table.next_due_ns[stream[remaining == 0]] = NEVER
        if len(self.channels) == 1:
            self._send(self.channels[0], stream, scheduled, now)
            return
        used = table.channel[stream]
        for channel in np.unique(used).tolist():
            chosen = used == channel
            self._send(self.channels[channel], stream[chosen], scheduled[chosen], now)

    def first_gap(self, slot: int) -> int:
        """From its start to the first packet of a stream that is paced by a Poisson process, ns."""
        at = np.array([slot], np.int64)
        words = self._chance.compute(at, self._table.next_sequence[at] - 1)
        return int(exponential_gaps(words, self._table.every_ns[at])[0])

    def _gaps(self, stream: Int64) -> Int64:
        """From these streams' packets to their next ones, (n,): nobody can tell without the secret."""
        table = self._table
        gaps, random = table.every_ns[stream], table.random[stream]
        chosen = stream[random]
        gaps[random] = exponential_gaps(self._chance.compute(chosen, table.next_sequence[chosen]), gaps[random])
        return gaps

    def hold_back_crowded(self) -> None:
        """Rings are sized so that this finds none; if it does, packets are skipped, and no other one is forgotten."""
        table = self._table
        slots = (table.next_due_ns != NEVER).nonzero()[0]
        crowded = slots[self._flight.crowded(slots, table.next_sequence[slots])]
        if len(crowded):
            self.counters["overrun"] += len(crowded)
            table.skipped[crowded] += SECOND // table.every_ns[crowded]
            table.next_due_ns[crowded] += SECOND

    def drain(self) -> None:
        """Read every socket: replies, transmit stamps, errors."""
        self.departures.enter()
        for number, channel in enumerate(self.channels):
            for _ in range(MOST_BATCHES):
                asked_ns = self._watch.monotonic()
                arrivals = channel.transport.receive()
                notices = channel.transport.notices()
                now = self._watch.glance()._replace(read_after_ns=self._emptied_ns.get(number, 0))
                if notices is not None:
                    self._note(number, channel, notices)
                if arrivals is not None:
                    self._match(number, channel, arrivals, now)
                if arrivals is None or not arrivals.more:
                    self._emptied_ns[number] = asked_ns
                    break
            dropped = channel.transport.drops()
            if dropped:
                self._blame_drops(number, dropped)

    def tell_timeouts(self, now: Reading) -> None:
        """For the observer: packets over their timeout."""
        if self._log is None:
            return
        rows, stream = self._flight.time_out(*self._intervals.waiting(), now)
        if len(rows):
            self._log.add(stream, self._number(stream, rows), np.full(len(rows), PacketState.LOST, np.uint8))

    def all_limited_done(self, now: Reading) -> bool:
        """Every stream with a limit has sent its last packet, and that is answered or timed out."""
        table = self._table
        if not table.limited:
            return False
        limited = np.array([slot for slot, spec in table.specs.items() if spec.limit is not None], np.int64)
        if not len(limited) or (table.remaining[limited] > 0).any():
            return False
        stream, first, end = self._intervals.waiting()
        mine = np.isin(stream, limited)
        return not self._flight.open_packets(stream[mine], first[mine], end[mine], now, patience=1).any()

    def _send(self, channel: Channel, stream: Int64, scheduled: Int64, now: Reading) -> None:
        self.departures.revoke(channel)  # its rows are about to be written anew
        if self._table.varied_lengths:
            order = np.argsort(self._table.length[stream], kind="stable")
            stream, scheduled = stream[order], scheduled[order]
        limit = channel.transport.rows
        if len(stream) <= limit:
            self._send_batch(channel, stream, scheduled, now)
            return
        for first in range(0, len(stream), limit):
            self._send_batch(channel, stream[first : first + limit], scheduled[first : first + limit], now)

    def _send_batch(self, channel: Channel, stream: Int64, scheduled: Int64, now: Reading) -> None:
        table, flight = self._table, self._flight
        sequence = table.next_sequence[stream]
        table.next_sequence[stream] = sequence + 1
        rows = flight.rows(stream, sequence)
        nonce = self._nonces.take(stream, sequence)
        if isinstance(channel.codec, SessionCodec):
            nonce = self._write_requests(channel, channel.codec, stream, sequence, nonce, now)
        else:
            encode(channel, channel.codec, table, stream, sequence, nonce)
        channel.transport.address(stream)
        called = self._watch.monotonic()
        flight.launch(rows, sequence, nonce, called + now.offset_ns, now.offset_ns, called - scheduled)
        errors = channel.transport.send(0, rows)
        if errors is not None:
            failed = np.flatnonzero(errors)
            self._not_sent(channel, stream[failed], sequence[failed], rows[failed], errors[failed])

    def _write_requests(
        self, channel: Channel, codec: SessionCodec, stream: Int64, sequence: Int64, nonce: NDArray[np.uint64],
        now: Reading,
    ) -> NDArray[np.uint64]:  # fmt: skip
        """Write the batch; the stamps in it, which prove what comes back."""
        clock = self._sessions.clock(now.monotonic_ns)
        wire = self._sessions.wire(stream, sequence)
        stamp = codec.stamps(self._watch.monotonic() + now.offset_ns, nonce)
        for first, end, length in lengths(self._table, stream):
            codec.request(
                channel.transport.outgoing(first, end, length),
                sequence=wire[first:end],
                stamp=stamp[first:end],
                error_ns=clock.maximum_error_ns,
                synchronised=clock.synchronised,
            )
        return stamp

    def _not_sent(
        self, channel: Channel, stream: Int64, sequence: Int64, rows: Int64, errors: NDArray[np.int32]
    ) -> None:
        if not len(stream):
            return
        self._flight.not_sent(rows)
        self.counters["not_sent"] += len(rows)
        reasons: list[str] = []
        for slot, number, code in zip(stream.tolist(), sequence.tolist(), errors.tolist(), strict=True):
            reason = self._local_reason(channel, slot, code)
            reasons.append(reason)
            self._intervals.remarks_for(slot, number).unsent[slot] = reason
            if code == errno.ENODEV:
                self._look_up_interface(channel, slot)
        if self._log is not None:
            state = np.full(len(rows), PacketState.NOT_SENT, np.uint8)
            self._log.add(stream, self._number(stream, rows), state, reason=reasons)

    def _local_reason(self, channel: Channel, slot: int, code: int) -> str:
        spec = self._table.specs[slot]
        if spec.source is not None and (
            code == errno.EADDRNOTAVAIL or (code in MAY_BE_THE_SOURCE and not channel.transport.owns(spec.source))
        ):
            return f"source address {spec.source} is not on this host"
        return refusal_text(spec, code)

    def _look_up_interface(self, channel: Channel, slot: int) -> None:
        """An interface that went and came back has a new number."""
        spec = self._table.specs[slot]
        with contextlib.suppress(LocalError), inside(spec.namespace):
            channel.transport.assign(slot, route_of(spec, spec.port if channel.codec.transport == "udp" else 0))
            channel.transport.settle(spec.namespace, spec.interface)

    def _match(self, number: int, channel: Channel, arrivals: Arrivals, now: Reading) -> None:
        if isinstance(channel.codec, SessionCodec):
            self._match_sessions(number, channel.codec, arrivals, now)
            return
        table = self._table
        family, identifier = channel.family, channel.transport.identifier
        decoded = channel.codec.decode(arrivals.data, arrivals.length, family=family, identifier=identifier)
        usable = decoded.valid & self._open(decoded.stream)
        stream = np.where(usable, decoded.stream, 0)
        sincere = (arrivals.source == table.peer[stream]).all(axis=1)
        usable &= sincere
        whole = arrivals.length == table.length[stream]
        if arrivals.damaged is not None:
            whole &= ~arrivals.damaged
        at = (usable & whole).nonzero()[0]
        if len(at) != len(usable):
            self.counters["foreign"] += len(usable) - int(usable.sum())
            self._count_corrupt(stream[usable & ~whole])
        stream = stream[at]
        answers = self._flight.answer(stream, decoded.sequence[at], decoded.nonce[at], arrivals.received_ns[at], now)
        self._account(stream, answers)
        if self._log is not None:
            told = np.flatnonzero(answers.first | answers.duplicate)
            self._tell(self._log, stream[told], answers, told, arrivals, at[told], None)

    def _match_sessions(self, number: int, codec: SessionCodec, arrivals: Arrivals, now: Reading) -> None:
        """Replies of far ends that stamp and number them."""
        sessions, far, received_ns = self._sessions, self._sessions.far, arrivals.received_ns
        found = codec.replies(arrivals.data, arrivals.length, near_ns=now.wall_ns)
        slots = sessions.find(number, arrivals.source)
        usable = slots >= 0
        forged, at = found.forged & usable, (found.valid & usable).nonzero()[0]
        if len(at) != len(usable):
            self.counters["foreign"] += len(usable) - len(at) - int(forged.sum())
            self.counters["forged"] += int(forged.sum())
            self._count_corrupt(slots[forged])
        stream = slots[at]
        sequence = sessions.sequence(stream, found.sequence[at])
        answers = self._flight.answer(stream, sequence, found.stamp[at], received_ns[at], now)
        self._account(stream, answers)
        far.reserve()
        first = answers.first.nonzero()[0]
        rows, chosen = answers.index[first], at[first]
        far.answered(
            rows, stream[first], found, chosen, received_ns=received_ns[chosen], ttl=arrivals.ttl[chosen],
            error_ns=sessions.errors(found, now.monotonic_ns)[chosen], dscp=arrivals.dscp_of(chosen),
        )  # fmt: skip
        if answers.duplicate.any():
            far.again(answers.index[answers.duplicate], found.number[at[answers.duplicate]])
        genuine = answers.first | answers.duplicate
        sessions.note_follow_ups(stream[genuine], found.followed[at[genuine]], found.followed_ns[at[genuine]])
        if self._log is not None:
            told = np.flatnonzero(genuine)
            self._tell(self._log, stream[told], answers, told, arrivals, at[told], far)

    def _account(self, stream: Int64, answers: Answers) -> None:
        """Replies that were not used."""
        if not answers.first.all():
            self._count_corrupt(stream[answers.forged])
            self.counters["forged"] += int(answers.forged.sum())
            self.counters["forgotten"] += int(answers.forgotten.sum())

    def _tell(
        self, log: PacketLog, stream: Int64, answers: Answers, told: Int64, arrivals: Arrivals, at: Int64,
        far: FarSide | None,
    ) -> None:  # fmt: skip
        rows, duplicate = answers.index[told], answers.duplicate[told]
        log.add(
            stream, self._number(stream, rows), self._flight.state[rows].astype(np.uint8),
            rtt_ns=np.where(duplicate, ABSENT, self._flight.rtt_ns[rows]), duplicate=duplicate,
            ttl=arrivals.ttl[at], source=[text_of(peer) for peer in arrivals.source[at]],
            delays=None if far is None else far.told(rows, ~duplicate),
        )  # fmt: skip

    def _note(self, number: int, channel: Channel, notices: Notices) -> None:
        known = notices.token >= 0
        self._flight.transmitted(notices.token[known], notices.transmitted_ns[known])
        if notices.refusals is not None:
            self._refused(number, channel, notices.refusals)

    def _quoted(self, number: int, channel: Channel, refusals: Refusals) -> Decoded:
        """Our requests as errors quote them."""
        if isinstance(channel.codec, SessionCodec):
            quoted = channel.codec.quoted(refusals.data, refusals.length)
            slots = self._sessions.find(number, refusals.peer)
            stream = np.maximum(slots, 0)
            sequence = self._sessions.sequence(stream, quoted.sequence)
            return Decoded(quoted.valid & (slots >= 0), stream, sequence, quoted.stamp)
        return channel.codec.decode_quoted(
            refusals.data, refusals.length, family=channel.family, identifier=channel.transport.identifier
        )

    def _refused(self, number: int, channel: Channel, refusals: Refusals) -> None:
        decoded = self._quoted(number, channel, refusals)
        usable = np.flatnonzero(decoded.valid & self._open(decoded.stream))
        self.counters["unmatched_errors"] += len(decoded.valid) - len(usable)
        for row in usable.tolist():
            slot, sequence = int(decoded.stream[row]), int(decoded.sequence[row])
            offender = text_of(refusals.offender[row])
            state, text = self._meaning(channel, slot, int(refusals.kind[row]), int(refusals.code[row]), offender)
            hit = self._flight.reject(slot, sequence, int(decoded.nonce[row]), state)
            if hit is None:
                self.counters["unmatched_errors"] += 1
                continue
            remarks = self._intervals.remarks_for(slot, sequence)
            by_state = {PacketState.REJECTED: remarks.rejected, PacketState.NOT_SENT: remarks.unsent}
            by_state.get(state, remarks.silent)[slot] = text
            if self._log is not None:
                at = np.array([slot], np.int64)
                self._log.add(
                    at, self._number(at, np.array([hit], np.int64)), np.array([state], np.uint8),
                    source=[offender], reason=[text],
                )  # fmt: skip

    def _meaning(self, channel: Channel, slot: int, kind: int, code: int, offender: str) -> tuple[PacketState, str]:
        """An error that this host itself made is either a silent neighbour, which is an outage, or our own doing."""
        address = self._table.specs[slot].address
        text = error_text(channel.family, kind, code)
        if offender == address.partition("%")[0] or not channel.transport.owns(offender):
            return PacketState.REJECTED, f"{text} from {offender}"
        if (kind, code) == _NO_NEIGHBOUR[channel.family]:
            return PacketState.LOST, f"no neighbour answers ARP or ND on the way to {address}"
        return PacketState.NOT_SENT, f"a firewall rule of this host rejects packets to {address} ({text})"

    def _blame_drops(self, number: int, dropped: int) -> None:
        table = self._table
        self.counters["local_drops"] += dropped
        slots = np.array([slot for slot in table.specs if table.channel[slot] == number], np.int64)
        table.drops[slots] += dropped
        for part in self._intervals.closings:
            part.drops[np.isin(part.stream, slots)] += dropped
        self._intervals.impair(slots.tolist(), "this host dropped replies for want of receive buffer", closing=True)

    def _count_corrupt(self, stream: Int64) -> None:
        if len(stream):
            np.add.at(self._table.corrupt, stream, 1)
            self.counters["corrupt"] += len(stream)

    def _open(self, stream: Int64) -> NDArray[np.bool_]:
        """Streams that exist."""
        known = stream < len(self._flight.mask)
        return known & (self._flight.mask[np.where(known, stream, 0)] > 0) if len(self._flight.mask) else known

    def _number(self, stream: Int64, rows: Int64) -> Int64:
        """Sequences as the observer counts them: from 0."""
        return self._flight.sequence[rows] - self._table.base[stream]
