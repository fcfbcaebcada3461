"""Sessions of the store, one per process that held it, and the record of the time in which nothing was kept. Pure.

What is known of the time between two sessions comes from two clocks. The wall clock labels, and may have been set;
CLOCK_BOOTTIME of one boot cannot, so that within one boot the length of a gap is known whatever the wall clock says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.store.records import (
    CLOCK_STEP,
    CRASHED,
    GAP,
    GAP_REASONS,
    HOST_RESTARTED,
    RESTORED,
    STOPPED,
    EventRecord,
    Owner,
)
from probes.core.clock import MICROSECOND, SECOND
from probes.core.units import format_duration
from probes.engine.clockwatch import CLOCK_BACK, Disturbance

SLEWED: Final = 1000
"""A clock that is slewed parts from the other by no more than 1/1000 (adjtimex(2): 500 ppm)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PreviousSession:
    """How the session before this one ended. unclean: without a record of its stop; boot_ns: CLOCK_BOOTTIME then."""

    unclean: bool
    last_commit_ns: int
    boot_id: str
    pid: int
    boot_ns: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """The start of this session: wall clock, CLOCK_BOOTTIME, end of the newest sample that ended by then.

    restored: the database is not the one that was left here.
    """

    wall_ns: int
    boot_ns: int
    newest_ns: int | None = None
    restored: bool = False


def gaps_before(previous: PreviousSession, owner: Owner, start: Start) -> list[EventRecord]:
    """The time between the last session's last commit and this start; before it, where the clock went back meanwhile,
    the record of that."""
    reason, text = _ending(previous, owner, start)
    last, now = previous.last_commit_ns, start.wall_ns
    same_boot = previous.boot_id == owner.boot_id and 0 < previous.boot_ns <= start.boot_ns
    if same_boot:
        lasted = start.boot_ns - previous.boot_ns
        stepped = now - last - lasted
        if stepped > _tolerated(lasted):
            text += f"; the clock was set forward by {_rough(stepped)} meanwhile"
        if stepped >= -_tolerated(lasted):
            return [EventRecord(GAP, last, text, max(last, now), reason)]
        begin = now - lasted
    elif now >= last:
        begin = min(now, max(last, start.newest_ns or last))
        return [EventRecord(GAP, begin, text, now, reason)]
    else:
        begin = now if previous.boot_id == owner.boot_id else now - start.boot_ns
        text += f"; how long before {_moment(begin)} is not known, because the clock was ahead"
    back = f"the clock is {_rough(last - begin)} behind what it was at the last commit, {_moment(last)}"
    return [EventRecord(CLOCK_STEP, begin, back, last, CLOCK_BACK), EventRecord(GAP, begin, text, now, reason)]


def _ending(previous: PreviousSession, owner: Owner, start: Start) -> tuple[str, str]:
    """Reason and text of the gap."""
    moment, restarted = _moment(previous.last_commit_ns), previous.boot_id != owner.boot_id
    if previous.unclean and start.restored:
        return RESTORED, f"what was kept after {moment} is not in this database, which was put here from elsewhere"
    if not previous.unclean:
        return STOPPED, "the agent was stopped" + (", the host restarted meanwhile" if restarted else "")
    if restarted:
        text = f"the host went down without a clean stop of process {previous.pid}; its last commit was at {moment}"
        return HOST_RESTARTED, text
    return CRASHED, f"process {previous.pid} ended without a clean stop; its last commit was at {moment}"


def gap_after_damage(modified_ns: int, now_ns: int) -> EventRecord:
    """The time between the last write to a database that was found damaged and this start."""
    text = "nothing was kept while the agent was not running; when it stopped is not known"
    return EventRecord(GAP, min(modified_ns, now_ns), text, now_ns, "damaged")


def disturbed(one: Disturbance) -> EventRecord:
    """What the engine noticed while it ran."""
    return EventRecord(one.kind, one.begin_ns, one.text, max(one.begin_ns, one.end_ns), one.reason)


def unmeasured(events: Iterable[EventRecord]) -> list[EventRecord]:
    """The gaps among events in the order of their recording: each with begin, end and reason, as known by the end.

    A clock that went back shows that it had been ahead: what was recorded before of the time beyond that instant was
    said by a wrong clock, and is cut off. The record that it went back stays: that time has been measured twice.
    """
    found: list[EventRecord] = []
    for event in events:
        if event.end_ns is None or event.reason not in GAP_REASONS:
            continue
        if event.reason == CLOCK_BACK:
            cut = event.at_ns
            found = [
                replace(gap, end_ns=min(gap.end_ns or cut, cut)) if gap.reason != CLOCK_BACK else gap
                for gap in found
                if gap.at_ns < cut or gap.reason == CLOCK_BACK
            ]
        found.append(event)
    return found


def _tolerated(lasted_ns: int) -> int:
    return max(SECOND, lasted_ns // SLEWED)


def _rough(nanoseconds: int) -> str:
    return format_duration(nanoseconds // SECOND * SECOND)


def _moment(at_ns: int) -> str:
    try:
        return f"{_EPOCH + timedelta(microseconds=at_ns // MICROSECOND):%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        return f"{at_ns} ns"
