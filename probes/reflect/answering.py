"""A batch of STAMP requests: guards in their order, replies written in place, sent in short runs.

A request and its reply share a row: address and padding stay where they are, and nothing is copied but what differs.
"""

from __future__ import annotations

import errno
import hmac
import select
import socket
import struct
from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from probes.core.clock import MICROSECOND, MILLISECOND, SECOND, Clock, clock_quality
from probes.engine import control
from probes.engine.address import NAME_SIZE
from probes.engine.mmsg import TRUNCATED_LENGTH, WAIT_FOR_ONE, MessageRows
from probes.reflect.admission import SourceRate
from probes.reflect.extensions import NOTHING, Extensions
from probes.reflect.flows import Flow, Flows
from probes.reflect.runs import FEWEST, Kind, Runs
from probes.reflect.send_times import SendTimes
from probes.reflect.stamp_sessions import FRESH_NS, Session, SessionTable
from probes.wire.ntp_time import error_estimate
from probes.wire.stamp_answer import (
    AUTHENTICATED,
    PTP,
    SHORTEST,
    SYNCHRONISED,
    UNAUTHENTICATED,
    WORD,
    Form,
    ns_of,
    word_of,
)
from probes.wire.stamp_auth import DIGEST_SIZE, Key

BATCH: Final = 64
RUN: Final = 8
"""Replies that share one T3: each further one leaves some microseconds after it."""
SIGNED_RUN: Final = 2
"""The same where each reply is signed, after T3 was written."""
MAXIMUM_SIZE: Final = 9216
"""Octets of payload: jumbo frames. Larger requests are dropped, never truncated."""
GATHER_NS: Final = 3 * MILLISECOND
GATHERED: Final = 32
SHORTEST_PAUSE_NS: Final = 500 * MICROSECOND
"""Where requests come fast, they are left to gather for at most GATHER_NS, or until there are about GATHERED: a wake-up
costs as much as several replies, and T2 is the kernel's, so the pause is residence, which every sender takes off."""
_MEASURED_NS: Final = 50 * MILLISECOND
_CLOCK_EVERY_NS: Final = SECOND
_UNKNOWN_ERROR_NS: Final = 16 * SECOND
"""what the kernel says of a clock nobody ever set (NTP_PHASE_LIMIT)"""
_STAMP_ERROR_NS: Final = 100 * MICROSECOND
"""how long after T3 the last of a run may leave"""
_NEAR_NS: Final = 3600 * SECOND
_CONTROL: Final = 192
_HEADER: Final = struct.Struct("=40xQI4xI4x")
"""struct mmsghdr: octets of control data, flags, octets of the datagram"""
_HEADER_SIZE: Final = 64
_LENGTH: Final = struct.Struct("=Q")
_CONTROL_LENGTH_AT: Final = 40
_VECTOR_SIZE: Final = 16
_VECTOR_LENGTH_AT: Final = 8
_STAMPED: Final = struct.Struct("=QiiQQ")
"""control message with a receive stamp: octets, level, type, then the first of three struct timespec"""
_STAMPED_SIZE: Final = 64
_STAMP_KIND: Final = (socket.SOL_SOCKET, control.SO_TIMESTAMPING)


@dataclass(slots=True)
class _Reply:
    """What a written reply still lacks."""

    form: Form
    ptp: bool
    session: Session | None
    """to be told when it left; None where nobody asked"""
    number: int


class Answering:
    """Serves one socket from one thread. `turn` waits for requests and answers them."""

    def __init__(
        self, endpoint: socket.socket, flows: Flows, rate: SourceRate, clock: Clock,
        *, key: Key | None, stateful: bool, reply_dscp: Set[int],
        gather_ns: int = GATHER_NS,
    ) -> None:  # fmt: skip
        self._endpoint, self._descriptor = endpoint, endpoint.fileno()
        self._flows, self._rate, self._clock = flows, rate, clock
        self._key, self._stateful = key, stateful
        self.sessions = SessionTable()
        self._extensions = Extensions(key, reply_dscp)
        self._sent_times = SendTimes(endpoint)
        self._rows = MessageRows(BATCH, MAXIMUM_SIZE, _CONTROL)
        self._unfilled = memoryview(bytes(self._rows.headers))
        self._runs = Runs(self._rows)
        self._data = self._rows.data.reshape(-1).data
        self._control = self._rows.control.reshape(-1).data
        self._names = self._rows.names.reshape(-1).data
        self._name_size = 8 if endpoint.family == socket.AF_INET else 28
        self._replies: list[_Reply | None] = [None] * BATCH
        self._errors = (0, 0)
        """our error estimate, NTP and PTP"""
        self._synchronised = False
        self._clock_at_ns = clock.monotonic() - _CLOCK_EVERY_NS
        self._rate_at_ns = clock.monotonic()
        self._since = 0
        self._gather_ns, self._pause_ns = gather_ns, 0

    def turn(self) -> dict[str, int]:
        """Wait for requests, not longer than the socket's deadline, and answer them; what became of them, by counter:
        in = answered + dropped_*. Raises OSError when the socket is broken."""
        count = self._rows.refill(self._descriptor, WAIT_FOR_ONE | TRUNCATED_LENGTH)
        if count <= 0:
            if -count in (errno.EBADF, errno.ENOTSOCK, errno.EFAULT):
                raise OSError(-count, "recvmmsg")
            return {}
        now = self._clock.monotonic()
        if now - self._clock_at_ns >= _CLOCK_EVERY_NS:
            self._look_at_clock(now)
        self._sent_times.collect()
        tally = {"in": count}
        if self._key is None and count >= FEWEST:
            self._in_runs(count, now, tally)
        else:
            self._one_by_one(0, count, now, tally)
        # The rows are as large again as before they were filled.
        self._rows.headers[: count * _HEADER_SIZE] = self._unfilled[: count * _HEADER_SIZE]
        self._gather(count, now)
        return tally

    def _in_runs(self, count: int, now_ns: int, tally: dict[str, int]) -> None:
        """Answer the first `count` rows: runs that look alike as one, others row by row."""
        kind = self._runs.of_all(count)
        if kind is not None:
            self._as_one(kind, 0, count, now_ns, tally)
            return
        done = 0
        for first, end, known in self._runs.split(count):
            kind = known or self._learned(first, end, now_ns)
            if kind is not None:
                self._one_by_one(done, first, now_ns, tally)
                self._as_one(kind, first, end, now_ns, tally)
                done = end
        self._one_by_one(done, count, now_ns, tally)

    def _learned(self, first: int, end: int, now_ns: int) -> Kind | None:
        flow, _, length = self._seen(first, now_ns)
        plain = not flow.refusal and SHORTEST <= length <= MAXIMUM_SIZE
        return self._runs.learned(first, end, flow) if plain else None

    def _one_by_one(self, first: int, end: int, now_ns: int, tally: dict[str, int]) -> None:
        """Answer rows first..end-1, whatever they are."""
        ready = []
        for row in range(first, end):
            refusal = self._answer(row, now_ns)
            if refusal:
                tally[refusal] = tally.get(refusal, 0) + 1
            else:
                ready.append(row)
        if ready:
            _account(tally, self._send(ready), len(ready))
            self._rows.vector_length[first:end] = self._rows.width

    def _as_one(self, kind: Kind, first: int, end: int, now_ns: int, tally: dict[str, int]) -> None:
        """Answer rows first..end-1, all of a kind: the guards that remain are those that count."""
        admitted = self._rate.take_of(end - first, kind.flow.rate_key, now_ns)
        if admitted < end - first:
            tally["dropped_rate"] = tally.get("dropped_rate", 0) + end - first - admitted
            if not admitted:
                return
            end = first + admitted
        number = None
        if self._stateful:
            session = self.sessions.find((kind.flow.identity, kind.ssid))
            number = session.sent & 0xFFFFFFFF
            session.received += admitted
            session.sent += admitted
        self._runs.stretch(first, end).write(kind, number, self._errors[kind.ptp])
        _account(tally, self._send_as_one(kind.ptp, first, end), admitted)

    def _gather(self, count: int, now_ns: int) -> None:
        """Where requests come fast, let some gather."""
        self._since += count
        if now_ns - self._rate_at_ns >= _MEASURED_NS:
            apart_ns = (now_ns - self._rate_at_ns) // self._since
            worth_it = 3 * apart_ns <= 2 * self._gather_ns
            self._pause_ns = min(max(GATHERED * apart_ns, SHORTEST_PAUSE_NS), self._gather_ns) if worth_it else 0
            self._rate_at_ns, self._since = now_ns, 0
        if self._pause_ns and count < BATCH:
            self._clock.sleep_until(now_ns + self._pause_ns)

    def _look_at_clock(self, now_ns: int) -> None:
        quality = clock_quality()
        error = quality.maximum_error_ns
        error = (_UNKNOWN_ERROR_NS if error is None else error) + _STAMP_ERROR_NS
        self._errors = (
            error_estimate(error, synchronised=quality.synchronised, ptp=False),
            error_estimate(error, synchronised=quality.synchronised, ptp=True),
        )
        self._synchronised = self._extensions.synchronised = quality.synchronised
        self._clock_at_ns = now_ns

    def _seen(self, row: int, now_ns: int) -> tuple[Flow, int, int]:
        """What the kernel says of the packet in a row: its flow, when it arrived (UTC ns), its octets of payload."""
        control_length, _, length = _HEADER.unpack_from(self._rows.headers, row * _HEADER_SIZE)
        at = row * _CONTROL
        size, level, kind, seconds, rest = _STAMPED.unpack_from(self._control, at)
        if (level, kind) == _STAMP_KIND and seconds and size <= control_length:
            received_ns = seconds * SECOND + rest
            ancillary = self._control[at + _STAMPED_SIZE : at + control_length]
        else:
            received_ns = self._clock.wall()
            ancillary = self._control[at : at + control_length]
        name = self._names[row * NAME_SIZE : row * NAME_SIZE + self._name_size]
        return self._flows.find(name.tobytes(), ancillary.tobytes(), now_ns), received_ns, length

    def _answer(self, row: int, now_ns: int) -> str:
        """Turn the request of a row into its reply, but for T3 and what depends on it; or name the drop."""
        flow, received_ns, length = self._seen(row, now_ns)
        if flow.refusal:
            return flow.refusal
        if not SHORTEST <= length <= MAXIMUM_SIZE:
            return "dropped_size"
        if not self._rate.take(flow.rate_key, now_ns):
            return "dropped_rate"
        form = UNAUTHENTICATED
        if self._key is not None:
            if self._is_signed(row, length, self._key):
                form = AUTHENTICATED
            elif not flow.plain:
                return "dropped_unauthenticated" if length < AUTHENTICATED.size else "dropped_hmac"
        return self._write(row, length, flow, form, received_ns)

    def _is_signed(self, row: int, length: int, key: Key) -> bool:
        if length < AUTHENTICATED.size:
            return False
        start = row * self._rows.width
        end = start + AUTHENTICATED.size - DIGEST_SIZE
        digest = key.digests((self._data[start:end],))[0]
        return hmac.compare_digest(digest, self._data[end : end + DIGEST_SIZE])

    def _write(self, row: int, length: int, flow: Flow, form: Form, received_ns: int) -> str:
        data, start = self._data, row * self._rows.width
        sequence, stamp, error, ssid, reply_stamp = form.request.unpack_from(data, start)
        ptp = error & PTP != 0
        if reply_stamp and self._is_reply(start, length, form, ptp, reply_stamp, received_ns):
            return "dropped_reply"
        session = None
        if self._stateful or form.authenticated:
            sent_ns = ns_of(stamp, ptp, received_ns) if form.authenticated else 0
            if form.authenticated and self._is_stale(error, sent_ns, received_ns):
                return "dropped_replay"
            session = self.sessions.find((flow.identity, ssid))
            if form.authenticated and not session.replay.admit(sequence, sent_ns):
                return "dropped_replay"
            session.received += 1
            number = session.sent & 0xFFFFFFFF
            session.sent += 1
        counted = session if self._stateful else None
        asked = NOTHING
        if length > form.size:
            asked = self._extensions.answer(
                data, start, start + form.size, start + length, flow=flow, session=counted, ptp=ptp
            )
        if counted is None:
            number = sequence
        form.reply.pack_into(
            data, start, number, 0, self._errors[ptp], ssid, word_of(received_ns, ptp),
            sequence, stamp, error, flow.ttl,
        )  # fmt: skip
        if asked.sign_at >= 0:
            self._extensions.sign(data, start, start + form.size, asked.sign_at)
        usual = asked.dscp is None and not asked.follow_up
        ancillary = flow.usual if usual else flow.ancillary(asked.dscp, asked.follow_up)
        at = row * _CONTROL
        self._control[at : at + len(ancillary)] = ancillary
        _LENGTH.pack_into(self._rows.headers, row * _HEADER_SIZE + _CONTROL_LENGTH_AT, len(ancillary))
        _LENGTH.pack_into(self._rows.vectors, row * _VECTOR_SIZE + _VECTOR_LENGTH_AT, length)
        self._replies[row] = _Reply(form, ptp, counted if asked.follow_up else None, number)
        return ""

    def _is_stale(self, error: int, sent_ns: int, received_ns: int) -> bool:
        """Only two clocks that are both synchronised can tell that a packet is old."""
        known = self._synchronised and error & SYNCHRONISED
        return bool(known) and abs(received_ns - sent_ns) > FRESH_NS

    def _is_reply(
        self, start: int, length: int, form: Form, ptp: bool, reply_stamp: int, received_ns: int
    ) -> bool:  # fmt: skip
        """Whether a packet is what a reflector answers: two reflectors would go on for ever. A request has zeros or
        padding where a reply has T2, the sender's TTL and zeros around it."""
        if form.authenticated:
            return True
        data = self._data[start + 38 : start + min(length, UNAUTHENTICATED.size)]
        if data[0] or data[1] or not data[2] or any(data[3:]):
            return False
        return length >= UNAUTHENTICATED.size or abs(ns_of(reply_stamp, ptp, received_ns) - received_ns) < _NEAR_NS

    def _send(self, ready: list[int]) -> int:
        """Send the replies of these rows; how many the kernel took."""
        answered = index = 0
        longest = RUN if self._key is None else SIGNED_RUN
        while index < len(ready):
            first = ready[index]
            end = first + 1
            index += 1
            while index < len(ready) and ready[index] == end and end - first < longest:
                end += 1
                index += 1
            answered += self._send_run(first, end)
        return answered

    def _send_run(self, first: int, end: int) -> int:
        """One that the kernel refuses does not keep the others back."""
        answered = 0
        while first < end:
            self._stamp(first, end)
            done = self._rows.send(self._descriptor, first, end)
            if done > 0:
                self._tell(first, first + done)
                answered += done
                first += done
            elif self._is_refused(-done):
                first += 1
        return answered

    def _send_as_one(self, ptp: bool, first: int, end: int) -> int:
        """Send the replies of a run; how many the kernel took."""
        answered, left, replies = 0, self._runs.left, self._runs.replies
        while first < end:
            until = min(first + RUN, end)
            left[first:until] = word_of(self._clock.wall(), ptp)
            done = replies.send(self._descriptor, first, until)
            if done > 0:
                answered += done
                first += done
            elif self._is_refused(-done):
                first += 1
        return answered

    def _is_refused(self, error: int) -> bool:
        """Whether the reply that the kernel did not take is given up; otherwise there may be room for it now."""
        if error in (errno.EAGAIN, errno.EINTR) and select.select([], [self._endpoint], [], 0.1)[1]:
            return False
        self._sent_times.restart()
        return True

    def _stamp(self, first: int, end: int) -> None:
        """T3, and the HMAC that covers it."""
        now = self._clock.wall()
        words = (word_of(now, False), word_of(now, True))
        for row in range(first, end):
            reply = self._replies[row]
            assert reply is not None
            start = row * self._rows.width
            WORD.pack_into(self._data, start + reply.form.stamp, words[reply.ptp])
            if reply.form.authenticated:
                assert self._key is not None
                signed = start + AUTHENTICATED.size - DIGEST_SIZE
                self._data[signed : signed + DIGEST_SIZE] = self._key.digests((self._data[start:signed],))[0]

    def _tell(self, first: int, end: int) -> None:
        for row in range(first, end):
            reply = self._replies[row]
            if reply is not None and reply.session is not None:
                self._sent_times.expect(reply.session, reply.number)


def _account(tally: dict[str, int], answered: int, ready: int) -> None:
    """Of `ready` replies the kernel took `answered`."""
    if answered:
        tally["answered"] = tally.get("answered", 0) + answered
    if ready > answered:
        tally["dropped_error"] = tally.get("dropped_error", 0) + ready - answered
