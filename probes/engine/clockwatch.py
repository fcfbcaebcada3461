"""Reads the clocks together and notices when they part: a step of the wall clock, a suspend, a freeze."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from probes.core.clock import MICROSECOND, MILLISECOND, SECOND, Clock
from probes.core.units import format_duration
from probes.engine.roundtrip import STEADY_NS, Reading

STEP_NS: Final = 50 * MILLISECOND
"""A change of wall - monotonic between two ticks beyond this is a step, not slewing."""
STALL_NS: Final = SECOND
"""A longer pause between two ticks is a gap in the measurement."""

FROZEN: Final = "frozen"
SLEPT: Final = "host slept"
CLOCK_FORWARD: Final = "clock set forward"
CLOCK_BACK: Final = "clock set back"

_CLOSE_ENOUGH_NS: Final = 20 * MICROSECOND
_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that ends or spoils the open intervals. `text` is for people.

    begin_ns to end_ns, UTC: the time for which this host has no measurement, or, of a clock set back, the time that the
    clock tells a second time.
    """

    kind: str
    """clock_step, suspend or gap: the kinds of events"""
    text: str
    impairs: bool
    """what was measured meanwhile does not count"""
    reason: str
    """FROZEN, SLEPT, CLOCK_FORWARD or CLOCK_BACK"""
    begin_ns: int
    end_ns: int


class ClockWatch:
    """One thread's view of the clocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = Reading(*self._together())
        self._asleep_ns = max(self._least_asleep() for _ in range(_ATTEMPTS))

    def monotonic(self) -> int:
        return self._clock.monotonic()

    def glance(self) -> Reading:
        """The clocks now, for replies just read. Does not move the point that `tick` compares with."""
        monotonic, offset = self._together()
        last = self._last
        if abs(offset - last.offset_ns) <= STEADY_NS // 2:
            return Reading(monotonic, offset, last.stepped_after_ns, last.stepped_before_ns)
        return Reading(monotonic, offset, last.monotonic_ns, monotonic)

    def beat(self) -> Reading | None:
        """A tick at little cost: the clocks now, or None where something may have happened and `tick` must look."""
        now, last = self.glance(), self._last
        if now.stepped_after_ns != last.stepped_after_ns or now.monotonic_ns - last.monotonic_ns > STALL_NS:
            return None
        self._last = now
        return now

    def tick(self) -> tuple[Reading, Reading, tuple[Disturbance, ...]]:
        """The reading of the tick before, the clocks now, and what happened in between."""
        before, now = self._last, self.glance()
        asleep_ns = max(self._asleep_ns, self._least_asleep())
        slept_ns, self._asleep_ns, self._last = asleep_ns - self._asleep_ns, asleep_ns, now
        found: list[Disturbance] = []
        unset_ns = now.monotonic_ns + before.offset_ns
        """what the wall clock would say now, had it gone on as before"""
        if slept_ns > STEP_NS:
            text = f"this host slept for {_rough(slept_ns)}"
            found.append(Disturbance("suspend", text, True, SLEPT, before.wall_ns, now.wall_ns))
        elif (step_ns := now.offset_ns - before.offset_ns) > STEP_NS:
            text = f"the clock was set forward by {_rough(step_ns)}"
            found.append(Disturbance("clock_step", text, False, CLOCK_FORWARD, unset_ns, now.wall_ns))
        elif step_ns < -STEP_NS:
            text = f"the clock was set back by {_rough(-step_ns)}"
            found.append(Disturbance("clock_step", text, False, CLOCK_BACK, now.wall_ns, unset_ns))
        paused_ns = now.monotonic_ns - before.monotonic_ns
        if paused_ns > STALL_NS:
            text = f"this process stood still for {_rough(paused_ns)}"
            found.append(Disturbance("gap", text, True, FROZEN, before.wall_ns, unset_ns))
        return before, now, tuple(found)

    def _least_asleep(self) -> int:
        """Boot time - monotonic, never more than it is: a wait between the two readings must not look like sleep."""
        boot = self._clock.boot()
        return boot - self._clock.monotonic()

    def _together(self) -> tuple[int, int]:
        """Monotonic time and wall - monotonic, of the attempt in which the least time passed between the clocks."""
        best, found = -1, (0, 0)
        for _ in range(_ATTEMPTS):
            start = self._clock.monotonic()
            wall = self._clock.wall()
            end = self._clock.monotonic()
            if best < 0 or end - start < best:
                best, found = end - start, (end, wall - (start + end) // 2)
            if best <= _CLOSE_ENOUGH_NS:
                break
        return found


def _rough(nanoseconds: int) -> str:
    unit = MILLISECOND if nanoseconds < 10 * SECOND else SECOND
    return format_duration((nanoseconds + unit // 2) // unit * unit)
