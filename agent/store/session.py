"""Sessions of the store: one per process that held it. How the last one ended becomes a gap in the record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from agent.store.records import GAP, EventRecord, Owner
from probes.core.clock import SECOND


@dataclass(frozen=True, slots=True)
class PreviousSession:
    """How the session before this one ended. unclean: without a record of its stop."""

    unclean: bool
    last_commit_ns: int
    boot_id: str
    pid: int


def gap_before(previous: PreviousSession, owner: Owner, now_ns: int) -> EventRecord:
    """The time between the last session's last commit and this start. Ends no earlier than it began."""
    begin, end = previous.last_commit_ns, max(now_ns, previous.last_commit_ns)
    if not previous.unclean:
        return EventRecord(GAP, begin, "the agent was stopped", end, "stopped")
    if previous.boot_id != owner.boot_id:
        text = f"the host went down without a clean stop of process {previous.pid}"
    else:
        text = f"process {previous.pid} ended without a clean stop"
    moment = datetime.fromtimestamp(begin // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return EventRecord(GAP, begin, f"{text}; its last commit was at {moment}", end, "crashed")


def gap_after_damage(modified_ns: int, now_ns: int) -> EventRecord:
    """The time between the last write to a database that was found damaged and this start."""
    text = "nothing was kept while the agent was not running; when it stopped is not known"
    return EventRecord(GAP, min(modified_ns, now_ns), text, now_ns, "damaged")
