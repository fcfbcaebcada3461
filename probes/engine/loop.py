"""The engine: paces all streams from one thread of its own and reports one sample per stream and interval."""

from __future__ import annotations

import logging
import secrets
import sys
import threading
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from probes.core.clock import MILLISECOND, SECOND, Clock, ClockQuality, clock_quality
from probes.core.codec import SessionCodec
from probes.core.errors import LocalError
from probes.core.model import Sample
from probes.engine import nonce
from probes.engine.address import peer_of
from probes.engine.clockwatch import ClockWatch, Disturbance
from probes.engine.commands import Add, Mark, Marks, Remove
from probes.engine.flight import FlightTable
from probes.engine.intervals import Intervals
from probes.engine.namespaces import inside
from probes.engine.observing import PacketLog
from probes.engine.opening import open_socket
from probes.engine.pacing import NEVER, first_due, shortest_spacing
from probes.engine.reporting import Reporter
from probes.engine.roundtrip import Reading
from probes.engine.routes import route_of
from probes.engine.sessions import Channels, OpenTransport
from probes.engine.sockets import sharpen_timers
from probes.engine.streams import Key, PacketEvents, StreamSpec, StreamTable, packets_held
from probes.engine.traffic import Traffic

log = logging.getLogger(__name__)

TICK_NS: Final = 50 * MILLISECOND
"""Streams start on multiples of this, so that they share wake-ups (docs/decisions/0014). It makes no packet late: it is
when they are due."""
DRAIN_NS: Final = 950 * MILLISECOND
"""How often replies are read; the kernel has stamped them. So far ahead are packets written."""
LONGEST_SLEEP_NS: Final = 250 * MILLISECOND
"""A command waits no longer than this."""
MOST_COMMANDS: Final = 200
"""Commands carried out in one tick: ten thousand new streams are no gap in the measurement of the others."""
SETTLE_NS: Final = 20 * MILLISECOND
"""Between adding a stream and its first packet: the kernel switches time stamping on in the background."""
CHECK_NS: Final = 250 * MILLISECOND
"""How often intervals that are over are looked through for ones that are settled."""
SHORTEST_PERIOD_NS: Final = MILLISECOND
MOST_PACKETS: Final = 1 << 20
"""packets of one stream that are open or not reported"""
SWITCH_INTERVAL_S: Final = 0.0002
"""The interpreter's default of 5 ms is how late a busy thread of the agent would make a packet."""


class Engine:
    """All stream probes of the agent. Thread-safe; callbacks come from a thread that is not the caller's.

    report: the samples of intervals that ended; gate: asked when an interval ends, a reason makes its samples IMPAIRED;
    observe: outcomes of single packets; event: (kind, text) of engine_error, and of disturbances unless
    `disturbed` takes them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        report: Callable[[Sequence[Sample]], None],
        span_ns: int = 10 * SECOND,
        tick_ns: int = TICK_NS,
        drain_ns: int = DRAIN_NS,
        gate: Callable[[], str | None] | None = None,
        observe: Callable[[PacketEvents], None] | None = None,
        event: Callable[[str, str], None] | None = None,
        disturbed: Callable[[Disturbance], None] | None = None,
        open_transport: OpenTransport | None = None,
        quality: Callable[[], ClockQuality] = clock_quality,
    ) -> None:
        self._clock, self._tick_ns, self._drain_ns, self._span_ns = clock, tick_ns, drain_ns, span_ns
        self._gate, self._observe, self._event, self._disturbed = gate, observe, event, disturbed
        self.reporter = Reporter(report, quality)
        self._watch = ClockWatch(clock)
        self._table, self._flight = StreamTable(), FlightTable()
        self._intervals = Intervals(self._table, self._flight, span_ns)
        self._log = PacketLog() if observe is not None else None
        self._traffic = Traffic(
            self._table, self._flight, self._intervals, self._watch, secrets.token_bytes(nonce.KEY_SIZE), self._log,
            quality,
        )  # fmt: skip
        self._sockets = Channels(
            open_transport or partial(open_socket, hops=observe is not None), self._traffic.channels, self._table
        )
        self._lock = threading.Lock()
        self._keys: set[Key] = set()
        self._commands: deque[Add | Remove | Mark] = deque()
        self._marks = Marks(self._table, self._intervals)
        self._done = False
        self._progress_ns = clock.monotonic()
        self._spacing_ns = tick_ns // 2
        self._earliest_ns = self._sent_at_ns = self._drained_at_ns = self._checked_at_ns = 0
        self._stopping = threading.Event()
        self._linger_until_ns = 0
        self._thread: threading.Thread | None = None
        self._started_streams = 0
        self._failed_ticks = 0

    def add(self, specs: Sequence[StreamSpec]) -> dict[Key, LocalError]:
        """Start streams; those that cannot be started are returned with the reason, the others run."""
        refused: dict[Key, LocalError] = {}
        with self._lock:
            for spec in specs:
                try:
                    with inside(spec.namespace):
                        self._commands.append(self._admit(spec))
                except LocalError as error:
                    refused[spec.key] = error
        return refused

    def local_port(self, spec: StreamSpec, avoid: Container[int]) -> int:
        """UDP port from which a stream of a kind with sessions would be sent, none of `avoid`: for a far end that must
        know it beforehand. Raises LocalError."""
        with self._lock, inside(spec.namespace):
            codec = self._sockets.codec(spec)
            return self._sockets.local_port(spec, codec, route_of(spec, 0).family, avoid)

    def remove(self, keys: Sequence[Key], impaired: str | None = None) -> None:
        """Stop streams. The open interval is reported as soon as the packets in flight are settled; as IMPAIRED, with
        those before it that still wait for packets, where a reason is given."""
        with self._lock:
            for key in keys:
                if key in self._keys:
                    self._keys.discard(key)
                    self._commands.append(Remove(key, impaired))

    def mark(self, circuit: str, reason: str | None) -> None:
        """From now on, until None: samples of this circuit are IMPAIRED for the reason."""
        self._commands.append(Mark(circuit, reason))

    def start(self) -> None:
        """Run in a thread. Raises RuntimeError when called twice."""
        if self._thread is not None:
            raise RuntimeError("the engine runs already")
        self.reporter.start()
        self._progress_ns = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="linkwitness-engine", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop sending, wait at most timeout_s for packets in flight, report the partial intervals, close the sockets.

        An interval with packets still in flight after that is IMPAIRED: they are neither answered nor lost.
        """
        self._linger_until_ns = self._clock.monotonic() + int(timeout_s * SECOND)
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s + 5)
        else:
            self._finish_all()
            while self._intervals.closings and self._clock.monotonic() < self._linger_until_ns:
                self._clock.sleep_until(self.step())
            self._shut()
        if not self.reporter.close(timeout_s + 5):
            log.error("the last samples could not be handed over in time")

    def progress(self) -> int:
        """Monotonic ns of the last tick that did its work."""
        return self._progress_ns

    def done(self) -> bool:
        """All streams with a limit have sent it, and every packet is answered or timed out."""
        return self._done and not self._commands

    def counters(self) -> Mapping[str, int]:
        """Packets that were read and not used, by why; and `reports_lost`."""
        return {**self._traffic.counters, "reports_lost": self.reporter.refused}

    def take_lateness(self) -> int:
        """How late, in ns, the latest packet since the last call began to leave."""
        return self._traffic.take_lateness()

    def step(self) -> int:
        """One tick: monotonic ns of the next. For the engine's thread, and for tests that have no thread."""
        now = None if self._commands else self._watch.beat()
        if now is None or not self._send_planned(now):
            now = self._whole_step()
        self._progress_ns = now.monotonic_ns
        return self._next_wake(now)

    def _send_planned(self, now: Reading) -> bool:
        """A tick with nothing to do but to send. False where there is more."""
        if now.wall_ns >= self._intervals.next_end_ns or self._drain_is_due(now) or not self._depart(now):
            return False
        self._send_due(now)
        return not self._traffic.departures.spent

    def _depart(self, now: Reading) -> bool:
        """Send what is planned and due. False where it must be planned anew."""
        if self._traffic.departures.earliest_ns <= now.monotonic_ns:
            self._sent_at_ns = now.monotonic_ns
        return self._traffic.departures.send(now)

    def _send_due(self, now: Reading) -> None:
        """Send what is due and not planned."""
        if self._earliest_ns <= now.monotonic_ns:
            self._sent_at_ns = now.monotonic_ns
            self._traffic.send_due(now, self._earliest_ns)
            self._earliest_ns = self._table.earliest_ns(self._spacing_ns)

    def _whole_step(self) -> Reading:
        before, now, disturbances = self._watch.tick()
        departures = self._traffic.departures
        unsettled = bool(self._commands or disturbances) or now.wall_ns >= self._intervals.next_end_ns
        if unsettled or not self._depart(now):
            departures.revoke()
            self._earliest_ns = self._table.earliest_ns(self._spacing_ns)
        self._apply_commands(now)
        for disturbance in disturbances:
            self._tell(disturbance.kind, disturbance.text, disturbance)
            if disturbance.impairs:
                self._intervals.impair(list(self._table.specs), disturbance.text, closing=True)
            if disturbance.kind in ("clock_step", "suspend"):
                self._cut(now.monotonic_ns + before.offset_ns, now.wall_ns)
        if now.wall_ns >= self._intervals.next_end_ns and now.monotonic_ns > self._drained_at_ns + 2 * self._spacing_ns:
            self._read(now)  # what came is counted where it belongs
        self._roll(now, [disturbance.text for disturbance in disturbances if disturbance.impairs])
        self._send_due(now)
        if now.reveals_step or self._drain_is_due(now):  # what came before the step must not lie beside what comes
            self._read(now)
        if self._drained_at_ns == now.monotonic_ns:
            self._settle(self._watch.glance())
            self._earliest_ns = self._table.earliest_ns(self._spacing_ns)
        if departures.earliest_ns == NEVER and self._earliest_ns > now.monotonic_ns:
            departures.plan(self._traffic.channels, self._drained_at_ns + self._drain_ns + self._spacing_ns)
            self._earliest_ns = self._table.earliest_ns(self._spacing_ns)
        return now

    def _read(self, now: Reading) -> None:
        self._drained_at_ns = now.monotonic_ns
        self._traffic.departures.revoke()
        self._traffic.drain()
        self._traffic.hold_back_crowded()

    def _drain_is_due(self, now: Reading) -> bool:
        """At the tick nearest to when it is, at the last one of an interval, before a receive buffer may be full, and
        while somebody waits for the end."""
        if now.monotonic_ns + self._spacing_ns >= self._drained_at_ns + self._drain_ns:
            return True
        if self._stopping.is_set() or now.wall_ns + self._spacing_ns >= self._intervals.next_end_ns:
            return True
        return any(channel.transport.crowded() for channel in self._traffic.channels)

    def _admit(self, spec: StreamSpec) -> Add:
        if spec.key in self._keys:
            raise LocalError(f"{spec.circuit}/{spec.probe} is being measured already", hint="give probes unique names")
        if spec.every_ns < SHORTEST_PERIOD_NS or spec.timeout_ns <= 0:
            raise LocalError("a stream needs a period of 1 ms or more and a timeout", hint="like 1s and 3s")
        if packets_held(spec, self._span_ns) > MOST_PACKETS:
            raise LocalError("too many packets would be in flight", hint="probe less often or with a shorter timeout")
        codec = self._sockets.codec(spec)
        if spec.size < codec.minimum_size or spec.size > 65000:
            raise LocalError(f"size {spec.size} B is out of range", hint=f"from {codec.minimum_size} B to 65000 B")
        route = route_of(spec, spec.port if codec.transport == "udp" else 0)
        own = spec.source if codec.transport == "icmp" and route.family == 6 else None
        channel = self._sockets.channel(spec, codec, route.family, own)
        self._keys.add(spec.key)
        self._done = False
        return Add(spec, route, channel)

    def _apply_commands(self, now: Reading) -> None:
        changed = False
        for _ in range(min(MOST_COMMANDS, len(self._commands))):
            self._done = False
            command = self._commands.popleft()
            if isinstance(command, Add):
                self._start_stream(command, now)
            elif isinstance(command, Remove):
                if command.impaired is not None:
                    self._intervals.impair([self._table.numbers[command.key]], command.impaired, closing=True)
                self._intervals.finish(np.array([self._table.numbers[command.key]], np.int64), now)
            else:
                self._marks.apply(command)
            changed = True
        if changed:
            self._spacing_ns = shortest_spacing(self._table.every_ns[self._table.sending()], self._tick_ns)

    def _start_stream(self, command: Add, now: Reading) -> None:
        spec, channel = command.spec, self._traffic.channels[command.channel]
        udp = channel.codec.transport == "udp"
        length = spec.size if udp else spec.size + 8
        peer = peer_of(spec.address, spec.port if udp else 0)
        slot = self._table.add(spec, command.channel, length, peer)
        if isinstance(channel.codec, SessionCodec):
            self._table.start[slot] = secrets.randbits(32)
        self._flight.open(slot, packets_held(spec, self._span_ns), spec.timeout_ns, int(self._table.first[slot]))
        self._traffic.reserve(slot + 1)
        channel.transport.reserve(length)
        channel.transport.assign(slot, command.route)
        self._intervals.begin(slot, now)
        self._marks.opened([slot])
        start = now.monotonic_ns + SETTLE_NS
        if spec.pacing == "poisson":
            self._table.next_due_ns[slot] = start + self._traffic.first_gap(slot)
        else:
            self._table.next_due_ns[slot] = first_due(start, self._started_streams, spec.every_ns, self._tick_ns)
        self._started_streams += 1

    def _roll(self, now: Reading, impaired: Sequence[str]) -> None:
        """Open new intervals where the old are over. What spoilt the last moments spoils the new ones as well."""
        if now.wall_ns < self._intervals.next_end_ns:
            return
        reason = self._gate() if self._gate is not None else None
        if reason is not None:
            self._intervals.impair(self._table.sending().tolist(), reason, closing=False)
        slots = self._intervals.roll(now).tolist()
        for text in impaired:
            self._intervals.impair(slots, text, closing=False)
        self._marks.opened(slots)

    def _cut(self, end_ns: int, begin_ns: int) -> None:
        slots = self._table.sending()
        self._intervals.cut(slots, end_ns, begin_ns)
        self._marks.opened(slots.tolist())

    def _settle(self, now: Reading) -> None:
        """After a drain: tell the observer, hand on what is settled."""
        if self._log is not None and self._observe is not None:
            self._traffic.tell_timeouts(now)
            events = self._log.take({slot: spec.key for slot, spec in self._table.specs.items()})
            if events is not None:
                self.reporter.hand_over(partial(self._observe, events))
            self._done = self._traffic.all_limited_done(now)
        if now.monotonic_ns < self._checked_at_ns + CHECK_NS:
            return
        self._checked_at_ns = now.monotonic_ns
        self._done = self._traffic.all_limited_done(now)
        for batch in self._intervals.take_ready(now):
            self.reporter.hand_over_batch(batch)

    def _next_wake(self, now: Reading) -> int:
        due = min(self._earliest_ns, self._traffic.departures.earliest_ns)
        # The guard counts from the grid: a wake-up for a random deadline makes no regular one late.
        since = self._sent_at_ns % self._spacing_ns if self._table.any_random else 0
        send = max(due, self._sent_at_ns - since + self._spacing_ns)
        drain = self._drained_at_ns + self._drain_ns
        idle = self._spacing_ns if self._commands or self._stopping.is_set() else LONGEST_SLEEP_NS
        return min(send, drain, now.monotonic_ns + idle)

    def _tell(self, kind: str, text: str, disturbance: Disturbance | None = None) -> None:
        log.warning("%s: %s", kind, text)
        if self._disturbed is not None and disturbance is not None:
            self.reporter.hand_over(partial(self._disturbed, disturbance))
        elif self._event is not None:
            self.reporter.hand_over(partial(self._event, kind, text))

    def _run(self) -> None:
        sharpen_timers()
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            self._loop_until(self._stopping.is_set)
            self._finish_all()
            self._loop_until(lambda: not self._intervals.closings or self._clock.monotonic() >= self._linger_until_ns)
        finally:
            self._shut()
            sys.setswitchinterval(switch_interval)

    def _loop_until(self, over: Callable[[], bool]) -> None:
        while not over():
            try:
                wake = self.step()
                self._failed_ticks = 0
            except Exception as error:  # the watchdog sees that progress() stands still
                self._failed_ticks += 1
                if self._failed_ticks & (self._failed_ticks - 1) == 0:
                    log.exception("a tick of the engine failed, %d in a row", self._failed_ticks)
                    self._tell("engine_error", f"a tick of the engine failed: {error}")
                wake = self._clock.monotonic() + SECOND
            self._clock.sleep_until(wake)

    def _finish_all(self) -> None:
        now = self._watch.glance()
        self._traffic.departures.revoke()
        while self._commands:
            self._apply_commands(now)
        slots = self._table.sending()
        if len(slots):
            self._intervals.finish(slots, now)

    def _shut(self) -> None:
        try:
            self._traffic.drain()
            for batch in self._intervals.take_ready(self._watch.glance(), force="stopped with packets in flight"):
                self.reporter.hand_over_batch(batch)
        finally:
            for channel in self._traffic.channels:
                channel.transport.close()
