"""One throughput test at the responder: from the accepted HELLO to the last RESULT, in a thread of its own."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from typing import Final

from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError, PacketError
from probes.engine.bulk import RateWindow, Stop, discard, hear, pace, receive, say, send
from probes.engine.connection import connection_info, set_dscp
from probes.wire import throughput
from probes.wire.throughput import Direction, End, Hello

PATIENCE: Final = 5 * SECOND
"""how long the initiator may take for its next step"""
_GLANCE: Final = 50 * MILLISECOND
"""how often the control connection is looked at while waiting for data connections"""

_ENDS: Final = {Stop.COMPLETE: End.COMPLETE, Stop.EXHAUSTED: End.EXHAUSTED, Stop.SILENT: End.SILENT}


class Session:
    """Owns the control connection. `join` is called by the accepting thread, `run` is the test itself."""

    def __init__(self, control: socket.socket, hello: Hello, *, maximum_bytes: int, clock: Clock) -> None:
        self.token = secrets.token_bytes(throughput.TOKEN_SIZE)
        self.completed = False
        self.received_bytes = 0
        self.sent_bytes = 0
        self._control = control
        self._hello = hello
        self._allowance = maximum_bytes
        self._clock = clock
        self._lock = threading.Condition()
        self._expected: Direction | None = hello.directions.parts[0]
        self._joined: dict[int, socket.socket] = {}

    def join(self, message: throughput.Join, stream: socket.socket) -> bool:
        """Take over a data connection; False when it does not belong here (the caller keeps it)."""
        with self._lock:
            if (
                not secrets.compare_digest(message.token, self.token)
                or message.direction is not self._expected
                or message.stream >= self._hello.streams
                or message.stream in self._joined
            ):
                return False
            self._joined[message.stream] = stream
            self._lock.notify()
            return True

    def abort(self) -> None:
        """Make `run` end soon, from another thread."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Serve every direction asked for."""
        parts = self._hello.directions.parts
        try:
            for direction in parts:
                if not self._serve(direction):
                    return
            self.completed = True
        finally:
            with self._lock:
                self._expected = None
            discard(list(self._joined.values()))

    def close(self) -> None:
        """Close the control connection."""
        self._control.close()

    def _serve(self, direction: Direction) -> bool:
        streams = self._gather(direction)
        if streams is None:
            return False
        try:
            return self._receive(streams) if direction is Direction.FORWARD else self._send(streams)
        finally:
            discard(streams)

    def _gather(self, direction: Direction) -> list[socket.socket] | None:
        """The data connections in order of their number, after READY was said; None when they did not all come."""
        deadline = self._clock.monotonic() + PATIENCE
        with self._lock:
            self._expected = direction
            while len(self._joined) < self._hello.streams:
                remaining = deadline - self._clock.monotonic()
                if remaining <= 0 or self._deserted():
                    return None
                self._lock.wait(min(remaining, _GLANCE) / SECOND)
            self._expected = None
            streams = [self._joined[number] for number in sorted(self._joined)]
            self._joined = {}
        return streams if say(self._control, throughput.Ready(self._hello.nonce, direction)) else None

    def _deserted(self) -> bool:
        try:
            return not self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _receive(self, streams: list[socket.socket]) -> bool:
        window = RateWindow(self._hello.omit_ns, self._hello.duration_ns)
        stop = receive(
            streams,
            self._control,
            window,
            self._clock,
            first_by_ns=self._clock.monotonic() + PATIENCE,
            maximum=self._allowance,
        )
        self.received_bytes += window.total
        capped = window.total >= self._allowance
        self._allowance -= window.total
        if stop is Stop.CONTROL:
            return False
        end = End.CAPPED if capped and stop is Stop.EXHAUSTED else _ENDS.get(stop, End.BROKEN)
        return self._conclude(Direction.FORWARD, end, window.octets, window.ns, window.total, streams)

    def _send(self, streams: list[socket.socket]) -> bool:
        hello = self._hello
        try:
            for stream in streams:
                _mark(stream, hello.dscp)
                if hello.rate_bps:
                    pace(stream, hello.rate_bps // hello.streams)
        except (OSError, LocalError):
            return False
        limit = max(1, min(hello.limit_bytes or self._allowance, self._allowance))
        until = self._clock.monotonic() + hello.duration_ns + PATIENCE
        stop, sent = send(streams, self._control, self._clock, until_ns=until, limit=limit)
        self.sent_bytes += sent
        self._allowance -= sent
        if stop is Stop.BROKEN:
            end = End.BROKEN
        elif stop is Stop.COMPLETE or not self._told_to_stop(until):
            return False
        elif stop is Stop.EXHAUSTED:
            end = End.EXHAUSTED if limit == hello.limit_bytes else End.CAPPED
        else:
            end = End.COMPLETE
        return self._conclude(Direction.BACKWARD, end, 0, 0, sent, streams)

    def _told_to_stop(self, until_ns: int) -> bool:
        data = hear(self._control, until_ns, self._clock)
        try:
            return data is not None and throughput.decode(data) == throughput.Stop(
                self._hello.nonce, Direction.BACKWARD
            )
        except PacketError:
            return False

    def _conclude(
        self, direction: Direction, end: End, octets: int, window_ns: int, total: int, streams: list[socket.socket]
    ) -> bool:
        known = [info for info in map(connection_info, streams) if info is not None]
        result = throughput.Result(
            nonce=self._hello.nonce,
            direction=direction,
            end=end,
            bytes=octets,
            window_ns=window_ns,
            total_bytes=total,
            retransmits=sum(info.retransmits for info in known),
            rtt_ns=max((info.rtt_ns for info in known), default=0),
        )
        # The next direction's connections may come as soon as the initiator has the RESULT.
        with self._lock:
            self._expected = Direction.BACKWARD if direction is not self._hello.directions.parts[-1] else None
        return say(self._control, result)


def _mark(stream: socket.socket, dscp: int) -> None:
    set_dscp(stream, stream.family, dscp)
    if stream.family == socket.AF_INET6:  # and IPv4 behind a dual-stack socket
        set_dscp(stream, socket.AF_INET, dscp)
