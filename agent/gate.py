"""The self-check gate: was this host fit to measure, second by second? What was not is marked, kept, counted, alarmed.

A second is impaired when it breaks a limit. Its samples then say why and are not judged. The limits are wide, because
round trips are stamped by the kernel and stay true while this process waits for a CPU; and the share of impaired time
is shown and alarmed beyond ALARM, so that the gate never becomes an excuse.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from agent.canary import Seen, Sentinel
from agent.health import HostHealth, HostState, parts_per_million
from agent.store.hostseconds import AT, Breach, HostSeconds, second
from agent.store.records import EventRecord
from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.units import format_duration

STOLEN: Final = 0.5
"""Share of a second's CPU time taken by the hypervisor beyond which this host was not really running."""
MEMORY: Final = 0.02
"""Share of memory available below which the kernel is reclaiming instead of working."""
MEMORY_STALLED: Final = 0.5
"""Share of a second in which everything waited for memory."""
LATE_NS: Final = 500 * MILLISECOND
"""A packet that leaves later than this is not at its place in the series any more."""
STALLED_NS: Final = 3 * SECOND
"""The gate itself, due every second, came so late: nobody knows how the host was meanwhile."""
CANARY_NS: Final = 100 * MILLISECOND
"""Between the stamps of a packet to this host itself lie some hundred instructions of the kernel, about 1 us. Only a
machine that stood still puts more there, as it then does between the stamps of any circuit. So much is more than
turns of a shared CPU take, and more than any promise leaves room for."""
STEP_NS: Final = 50 * MILLISECOND

ALARM: Final = 0.01
"""Share of impaired seconds in the last day beyond which somebody must look at this host."""
DAY: Final = 86_400
ROW: Final = 60
"""Seconds kept in one row."""
IMPAIRED_EVENT: Final = "host_impaired"
ALARM_EVENT: Final = "host_alarm"


class Gate:
    """`observe` is called once a second by one thread; `gate`, `share` and `alarm` by any."""

    def __init__(
        self,
        clock: Clock,
        health: HostHealth,
        *,
        span_ns: int,
        lateness: Callable[[], int],
        counters: Callable[[], Mapping[str, int]],
        carriers_down: Callable[[], int],
        canary: Sentinel,
        keep: Callable[[HostSeconds], None],
        event: Callable[[EventRecord], None],
    ) -> None:
        """span_ns: length of a sample; lateness, counters: of the engine; canary: closed with the gate; keep, event: to
        the store.
        """
        self._clock, self._health, self._span_ns = clock, health, span_ns
        self._lateness, self._counters, self._carriers_down = lateness, counters, carriers_down
        self._canary, self._keep, self._event = canary, keep, event
        self._lock = threading.Lock()
        self._rows: list[list[int]] = []
        self._held: deque[tuple[int, dict[Breach, str]]] = deque()
        """monotonic end and broken limits, each in words, of seconds that the open interval may hold"""
        self._day: deque[tuple[int, int]] = deque()
        """(seconds, impaired ones) of each row of the last day"""
        self._seconds = self._impaired = 0
        self._before: Mapping[str, int] = {}
        self._offset_ns = health.state.clock_offset_ns
        self._open: tuple[str, int, int] | None = None
        """words, begin and end (UTC) of the impaired time in progress"""
        self._alarmed = False

    def remember(self, seconds: HostSeconds) -> None:
        """The last day as an earlier process kept it."""
        for first in range(0, len(seconds), ROW):
            part = HostSeconds(seconds.values[first : first + ROW])
            self._count(len(part), part.impaired)

    def observe(self) -> None:
        """Look at the second that is over."""
        state = self._health.observe()
        row, broken = self._second(state)
        with self._lock:
            now = self._clock.monotonic()
            if broken:
                self._held.append((now, broken))
            while self._held and now - self._held[0][0] > 2 * self._span_ns:
                self._held.popleft()
            self._rows.append(row)
            full = len(self._rows) >= ROW
        self._tell("; ".join(broken.values()), state)
        if full:
            self.flush()
            self._look_at_the_day()
        # Last, so that the thread it wakes need not wait for this one.
        self._canary.send()

    def close(self) -> None:
        """The agent ends: what is open is over now."""
        if self._open is not None:
            self._tell("", self._health.state)
        self.flush()
        self._canary.close()

    def flush(self) -> None:
        """Hand on the seconds that wait for their row to fill."""
        with self._lock:
            rows, self._rows = self._rows, []
        if rows:
            kept = HostSeconds(np.array(rows, np.int64))
            self._count(len(kept), kept.impaired)
            self._keep(kept)

    def gate(self) -> str | None:
        """The engine's question when an interval is over: why this host was unfit during it, or None.

        Replies dropped here concern the streams of one socket only; those the engine marks itself.
        """
        since = self._clock.monotonic() - self._span_ns - SECOND
        words: dict[Breach, str] = {}
        with self._lock:
            for at_ns, broken in self._held:
                words = {**broken, **words} if at_ns >= since else words
        return "; ".join(text for limit, text in words.items() if limit is not Breach.DROPPED) or None

    def share(self) -> tuple[int, int]:
        """Seconds observed in the last day, and how many of them were impaired."""
        with self._lock:
            waiting = sum(row[AT["breach"]] != 0 for row in self._rows)
            return self._seconds + len(self._rows), self._impaired + waiting

    def alarm(self) -> str | None:
        """A sentence while too much of the last day was impaired."""
        seconds, impaired = self.share()
        # Of the first hour nothing can be said: one bad minute would be a share.
        if seconds < DAY // 24 or impaired <= ALARM * seconds:
            return None
        return (
            f"this host was unfit to measure in {impaired / seconds:.2%} of the last day "
            f"({format_duration(impaired * SECOND)}): `linkwitness host` says when and why"
        )

    def _second(self, state: HostState) -> tuple[list[int], dict[Breach, str]]:
        counters = self._counters()
        new = {name: counters.get(name, 0) - self._before.get(name, 0) for name in ("local_drops", "not_sent")}
        self._before = counters
        step, self._offset_ns = state.clock_offset_ns - self._offset_ns, state.clock_offset_ns
        lateness, seen = self._lateness(), self._canary.look()
        broken = judge(state, lateness, new["local_drops"], seen)
        row = second(
            {
                "at_ns": state.at_ns,
                "elapsed_ns": state.elapsed_ns,
                "load_ppm": parts_per_million(state.load),
                "stolen_ppm": parts_per_million(state.stolen),
                "cpu_pressure_ppm": parts_per_million(state.cpu_pressure),
                "memory_pressure_ppm": parts_per_million(state.memory_pressure),
                "io_pressure_ppm": parts_per_million(state.io_pressure),
                "memory_available_ppm": parts_per_million(state.memory_available),
                "lateness_ns": lateness,
                **new,
                "clock_step_ns": step if abs(step) > STEP_NS else 0,
                "clock_error_ns": state.clock_error_ns,
                "carriers_down": self._carriers_down(),
                "breach": sum(broken),
                "canary_ns": seen.stack_ns,
                "canary_user_ns": seen.user_ns,
            }
        )
        return row, broken

    def _tell(self, words: str, state: HostState) -> None:
        """One event for each run of impaired seconds with the same limits, once it is over."""
        if words:
            begin = state.at_ns - state.elapsed_ns if self._open is None else self._open[1]
            self._open = (self._open[0] if self._open else words, begin, state.at_ns)
        elif self._open is not None:
            text, begin, end = self._open
            self._open = None
            self._event(EventRecord(IMPAIRED_EVENT, begin, f"this host was unfit to measure: {text}", end_ns=end))

    def _count(self, seconds: int, impaired: int) -> None:
        with self._lock:
            self._day.append((seconds, impaired))
            self._seconds, self._impaired = self._seconds + seconds, self._impaired + impaired
            while self._seconds - self._day[0][0] >= DAY:
                old, broken = self._day.popleft()
                self._seconds, self._impaired = self._seconds - old, self._impaired - broken

    def _look_at_the_day(self) -> None:
        text = self.alarm()
        if text is not None and not self._alarmed:
            self._event(EventRecord(ALARM_EVENT, self._clock.wall(), text))
        self._alarmed = text is not None


def judge(state: HostState, lateness_ns: int, drops: int, canary: Seen) -> dict[Breach, str]:
    """The limits that a second broke, each in words; empty for a fit one."""
    found: dict[Breach, str] = {}
    if state.stolen > STOLEN:
        found[Breach.STOLEN] = f"the hypervisor stole {state.stolen:.0%} of this host's CPU time"
    if state.memory_available < MEMORY:
        found[Breach.MEMORY] = f"only {state.memory_available:.1%} of this host's memory is available"
    elif state.memory_pressure is not None and state.memory_pressure > MEMORY_STALLED:
        found[Breach.MEMORY] = f"this host stood still {state.memory_pressure:.0%} of the time for want of memory"
    if lateness_ns > LATE_NS:
        found[Breach.LATE] = f"packets left {format_duration(_rounded(lateness_ns))} late"
    if drops > 0:
        found[Breach.DROPPED] = "this host dropped replies for want of receive buffer"
    if state.elapsed_ns > STALLED_NS:
        found[Breach.STALLED] = f"this agent did not run for {format_duration(_rounded(state.elapsed_ns))}"
    if canary.missing is not None:
        found[Breach.CANARY] = canary.missing
    elif canary.stack_ns is not None and canary.stack_ns > CANARY_NS:
        found[Breach.CANARY] = f"a packet from this host to itself took {format_duration(_rounded(canary.stack_ns))}"
    return found


def _rounded(ns: int) -> int:
    return max(MILLISECOND, ns // (100 * MILLISECOND) * 100 * MILLISECOND)
