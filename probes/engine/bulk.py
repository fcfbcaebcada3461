"""Bulk TCP data for a fixed time, sent or received over several connections, and the rate the receiver saw.

Both ends of the throughput test use it. Data is random octets, so links that compress gain nothing. The receiver lets
the kernel discard what arrives (MSG_TRUNC, tcp(7)): no copy to user space, half the CPU. Sockets are non-blocking, one
thread waits for all of them and for the control connection, and every wait ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from probes.core.clock import MILLISECOND, Clock
from probes.core.errors import LocalError
from probes.engine.connection import milliseconds_until
from probes.wire import throughput

_SENT_AT_ONCE: Final = 256 << 10
"""fits a core's own cache: a sixth faster over loopback than 1 MiB, at four fifths of the CPU"""
_READ_AT_ONCE: Final = 1 << 20
_READS: Final = 8
_SO_MAX_PACING_RATE: Final = 47
_TICK: Final = 200 * MILLISECOND

Progress = Callable[[int, int], None]
"""called about five times a second with (ns since the start, octets so far)"""


class Stop(Enum):
    """Why sending or receiving ended."""

    COMPLETE = "complete"
    """receiving: the window is over; sending: its time is over"""
    EXHAUSTED = "exhausted"
    """every stream was closed in order by its sender, or the limit of octets was reached"""
    SILENT = "silent"
    """no data came"""
    BROKEN = "broken"
    """a stream was reset"""
    CONTROL = "control"
    """the other end spoke on, or closed, the control connection"""


@dataclass(slots=True)
class RateWindow:
    """What a receiver counts: octets that arrive from `omit_ns` to `duration_ns` after the first ones. Pure.

    Its edges are the moments of two readings of the sockets, the first ones at or after the marks, so octets and time
    belong together exactly, however late the process got to run.
    """

    omit_ns: int
    duration_ns: int
    total: int = 0
    first_ns: int | None = None
    _opened: tuple[int, int] | None = None
    _closed: tuple[int, int] | None = None

    def feed(self, now_ns: int, octets: int) -> bool:
        """Account for octets read by now; True when the window is over."""
        self.total += octets
        if self.first_ns is None:
            if not octets:
                return False
            self.first_ns = now_ns
        if self._opened is None and now_ns >= self.first_ns + self.omit_ns:
            self._opened = (now_ns, self.total)
        if now_ns >= self.first_ns + self.duration_ns:
            self.close(now_ns)
        return self._closed is not None

    def close(self, now_ns: int) -> None:
        """End the window before its time. Later calls change nothing."""
        if self._closed is None:
            self._closed = (now_ns, self.total)

    @property
    def ns(self) -> int:
        """Length of the window; 0 when it never opened."""
        return self._closed[0] - self._opened[0] if self._opened and self._closed else 0

    @property
    def octets(self) -> int:
        """Octets that arrived in the window."""
        return self._closed[1] - self._opened[1] if self._opened and self._closed else 0

    def next_mark(self) -> int | None:
        """When the window must be looked at even if nothing arrives."""
        if self.first_ns is None:
            return None
        return self.first_ns + (self.omit_ns if self._opened is None else self.duration_ns)


def receive(
    streams: Sequence[socket.socket],
    control: socket.socket,
    window: RateWindow,
    clock: Clock,
    *,
    first_by_ns: int,
    maximum: int | None = None,
    progress: Progress | None = None,
) -> Stop:
    """Read until the window is over. first_by_ns: monotonic deadline of the first octet; maximum: octets to accept."""
    buffer = bytearray(_READ_AT_ONCE)
    poll, alive = _registered(streams, control, select.POLLIN)
    start = clock.monotonic()
    told = start
    while alive:
        mark = window.next_mark()
        wait_ns = min(first_by_ns if mark is None else mark, clock.monotonic() + _TICK)
        ready = poll.poll(milliseconds_until(wait_ns, clock))
        octets, broken, spoken = 0, False, False
        for descriptor, _ in ready:
            if descriptor not in alive:
                spoken = True
                continue
            count, ended, failed = _drain(alive[descriptor], buffer)
            octets += count
            broken |= failed
            if ended:
                poll.unregister(descriptor)
                del alive[descriptor]
        now = clock.monotonic()
        if window.feed(now, octets):
            return Stop.COMPLETE
        if broken or spoken or (maximum is not None and window.total >= maximum):
            window.close(now)
            return Stop.BROKEN if broken else Stop.CONTROL if spoken else Stop.EXHAUSTED
        if window.first_ns is None and now >= first_by_ns:
            return Stop.SILENT
        if progress is not None and now >= told + _TICK:
            told = now
            progress(now - start, window.total)
    window.close(clock.monotonic())
    return Stop.EXHAUSTED if window.total else Stop.SILENT


def send(
    streams: Sequence[socket.socket],
    control: socket.socket,
    clock: Clock,
    *,
    until_ns: int,
    limit: int = 0,
    progress: Progress | None = None,
) -> tuple[Stop, int]:
    """Send as fast as the streams take it, until the control connection speaks. Returns why it ended, and octets sent.

    until_ns: monotonic end in any case; limit: octets over all streams (0: none), after which they are closed in order.
    """
    payload = memoryview(_noise())
    poll, alive = _registered(streams, control, select.POLLOUT)
    start = clock.monotonic()
    told, sent = start, 0
    while True:
        now = clock.monotonic()
        if now >= until_ns:
            return Stop.COMPLETE, sent
        broken = False
        for descriptor, _ in poll.poll(milliseconds_until(min(until_ns, now + _TICK), clock)):
            if descriptor not in alive:
                return Stop.CONTROL, sent
            try:
                sent += alive[descriptor].send(payload[: min(_SENT_AT_ONCE, limit - sent)] if limit else payload)
            except BlockingIOError:
                continue
            except OSError:
                broken = True
            if limit and sent >= limit:
                for stream in streams:
                    with contextlib.suppress(OSError):
                        stream.shutdown(socket.SHUT_WR)
                return Stop.EXHAUSTED, sent
        if broken:
            return Stop.BROKEN, sent
        if progress is not None and now >= told + _TICK:
            told = now
            progress(now - start, sent)


def pace(stream: socket.socket, rate_bps: int) -> None:
    """Let the kernel pace a TCP stream (works without the fq queue discipline since Linux 4.13). Raises LocalError."""
    try:
        stream.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", max(1, rate_bps // 8)))
    except OSError as error:
        raise LocalError(f"this kernel does not pace TCP: {error.strerror}", hint="leave out the rate limit") from None


def discard(streams: Sequence[socket.socket]) -> None:
    """Close at once and drop what is still queued: a paced stream could go on sending for a minute."""
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        stream.close()


def say(control: socket.socket, message: throughput.Message) -> bool:
    """Write one control message; False when the connection does not take it (64 octets always fit a live one)."""
    try:
        return control.send(throughput.encode(message)) == throughput.SIZE
    except OSError:
        return False


def hear(control: socket.socket, deadline_ns: int, clock: Clock) -> bytes | None:
    """Read one control message: 64 octets, fewer when the other end closed (none: at once), None at the deadline."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    data = b""
    while len(data) < throughput.SIZE:
        if not poll.poll(milliseconds_until(deadline_ns, clock)):
            if clock.monotonic() >= deadline_ns:
                return None
            continue
        try:
            part = control.recv(throughput.SIZE - len(data))
        except BlockingIOError:
            continue
        except OSError:
            break
        if not part:
            break
        data += part
    return data


def _registered(
    streams: Sequence[socket.socket], control: socket.socket, events: int
) -> tuple[select.poll, dict[int, socket.socket]]:
    poll = select.poll()
    for stream in streams:
        poll.register(stream, events)
    poll.register(control, select.POLLIN)
    return poll, {stream.fileno(): stream for stream in streams}


def _drain(stream: socket.socket, buffer: bytearray) -> tuple[int, bool, bool]:
    """Octets read, whether the stream is over, whether it was reset."""
    octets = 0
    for _ in range(_READS):
        try:
            count = stream.recv_into(buffer, _READ_AT_ONCE, socket.MSG_TRUNC)
        except BlockingIOError:
            break
        except OSError:
            return octets, True, True
        if not count:
            return octets, True, False
        octets += count
    return octets, False, False


@functools.cache
def _noise() -> bytes:
    return os.urandom(_SENT_AT_ONCE)
