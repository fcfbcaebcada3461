"""What the store keeps beside samples, and what it tells about itself. All times are UTC ns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from probes.core.errors import LocalError
from probes.core.model import Sample
from probes.engine.clockwatch import CLOCK_BACK, CLOCK_FORWARD, FROZEN, SLEPT

LIVE_FILE: Final = "live.sqlite"
"""Name of the database inside the store's directory."""

GAP: Final = "gap"
"""Event kind: this agent kept nothing from at_ns to end_ns; `reason` is one of the GAP_REASONS."""
OVERFLOW: Final = "overflow"
DISK_FULL: Final = "disk full"
READ_ONLY: Final = "read-only"
DISK_ERROR: Final = "disk error"
STOPPED: Final = "stopped"
CRASHED: Final = "crashed"
HOST_RESTARTED: Final = "host restarted"
RESTORED: Final = "restored"
GAP_REASONS: Final = (
    STOPPED, CRASHED, HOST_RESTARTED, FROZEN, SLEPT, CLOCK_FORWARD, CLOCK_BACK, RESTORED, "damaged",
    OVERFLOW, DISK_FULL, READ_ONLY, DISK_ERROR,
)  # fmt: skip
"""CLOCK_BACK is the one reason of a time that was measured twice, not never."""
CLOCK_STEP: Final = "clock_step"
"""Event kind: the clock was set, forward over at_ns to end_ns or back to at_ns from end_ns."""
IDENTITY: Final = "identity"
"""Event kind: the store is not the one that was left here (restored, copied, moved); the epoch is a new one."""
START: Final = "start"
STOP: Final = "stop"
DAMAGED: Final = "damaged"
REFUSED: Final = "refused"
PARKED_DROPPED: Final = "parked_dropped"
"""Event kind: `count` parked lines of a sink went, the oldest first, because there was no more room."""
LOST: Final = "lost"
"""Event kind: `count` samples that a sink did not have yet were removed, because the store may not be larger."""
NOTHING_LEFT: Final = 1 << 62
"""The next_row of a part of which a sink has everything."""
PARKED_ROOM: Final = 10_000
"""Parked lines kept for each sink. Beyond it the oldest go, PARKED_STEP at once."""
PARKED_STEP: Final = 1_000


class StoreOverflow(LocalError):  # noqa: N818 # a state of the queue, named as such in the counters
    """More samples wait to be written than the bound allows: `dropped` of this call are lost, and counted."""

    def __init__(self, dropped: int) -> None:
        super().__init__(
            f"the store cannot keep up: {dropped} samples dropped", hint="see `linkwitness status`: is the disk full?"
        )
        self.dropped = dropped


class RunState(StrEnum):
    """What became of one due run of a flow probe."""

    RAN = "ran"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One due run of a flow probe. `reason` says why it was skipped or failed; a skipped run has no started_ns."""

    circuit: str
    probe: str
    kind: str
    state: RunState
    scheduled_ns: int
    started_ns: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened to the agent itself: start, stop, reload, gap, clock step, freeze, discover...

    end_ns: where it lasted; count: how many samples it concerns; circuit: where it concerns one.
    """

    kind: str
    at_ns: int
    text: str
    end_ns: int | None = None
    reason: str | None = None
    count: int | None = None
    circuit: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample with its place in the order of keeping: seq ascends without reuse within one epoch of the store."""

    seq: int
    sample: Sample


@dataclass(frozen=True, slots=True)
class ParkedLine:
    """A line a sink's server refused for good, with the server's reason. id: its number, once it is kept."""

    sink: str
    seq: int
    at_ns: int
    line: str
    reason: str
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Unparked:
    """Parked lines that are not needed any more: accepted at last, or given up by somebody."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One probe of one circuit. first_ns and last_ns are the smallest and greatest start_ns kept."""

    circuit: str
    probe: str
    kind: str
    first_ns: int
    last_ns: int
    rows: int


@dataclass(frozen=True, slots=True)
class DayStatus:
    """One UTC day. live and sealed: samples that are read from there; bytes: of the sealed files; parts: sealings."""

    date: str
    live: int
    sealed: int
    bytes: int
    parts: int
    packets: bool
    """whether sealed packets are there"""


@dataclass(frozen=True, slots=True)
class Retired:
    """What one retention pass removed. `done` is False where its time ran out first: the rest follows next time."""

    samples: int
    packets: int
    done: bool


@dataclass(frozen=True, slots=True)
class SinkPosition:
    """How far a sink has got. lag: live samples kept after its cursor, and sealed ones that it is owed."""

    sink: str
    seq: int
    lag: int
    parked: int


@dataclass(frozen=True, slots=True)
class Owed:
    """Sealed samples that a sink does not have: those of the part from next_row on, in file order, whose seq is above
    after_seq. rows: how many they are; of a part that the sink has in part, at most."""

    part: str
    after_seq: int
    next_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds, or last held, the store."""

    pid: int
    boot_id: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The store at one instant. Sizes in bytes; `running` is True while a process holds the store."""

    path: Path
    site: str
    epoch: str
    schema_version: int
    running: bool
    owner: Owner | None
    rows: int
    newest_seq: int
    first_ns: int | None
    last_ns: int | None
    last_commit_ns: int | None
    database_bytes: int
    wal_bytes: int
    free_bytes: int
    series: tuple[Series, ...]
    sinks: tuple[SinkPosition, ...]
    damaged: tuple[str, ...] = field(default=())
    """names of the database files that were moved aside"""
    sealed_rows: int = 0
    """of `rows`, those in sealed days"""
    sealed_bytes: int = 0
