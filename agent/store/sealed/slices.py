"""What is sealed next: whole past days, and the oldest slices of a day where the live database is larger than it may.

Slices begin and end at multiples of ten minutes. They are closed, so that hardly a sample comes to them later, and
long enough to bring the live database down to half its bound, whatever the sinks have: what they lack they are owed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from agent.store.identity import epochs_of, shared_through
from agent.store.sealed import extract
from agent.store.sealed.extract import Count
from agent.store.sealed.manifest import DAY_NS, Part, day_start
from probes.core.clock import SECOND

SLOT_NS: Final = 600 * SECOND
CLOSED_NS: Final = 600 * SECOND
"""So long after its end a slot may be sealed early: what is still under way has then been reported."""
MOST_ROWS: Final = 4_000_000
"""Of one slice, but for a single slot with more."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Samples to be sealed: those that start in [start_ns, end_ns) of a day, kept up to last_seq."""

    day: int
    start_ns: int
    end_ns: int
    rows: int
    first_seq: int
    last_seq: int

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Start and end; None for a whole day."""
        whole = self.start_ns == day_start(self.day) and self.end_ns == day_start(self.day + 1)
        return None if whole else (self.start_ns, self.end_ns)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Size of the live database without its free pages, which the next samples fill."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def next_slice(
    connection: sqlite3.Connection,
    parts: Sequence[Part],
    *,
    before_day: int,
    now_ns: int,
    live_bytes: int | None,
    doubtful: Collection[int] = (),
) -> Slice | None:
    """The oldest day before before_day, or what brings the live database back below live_bytes; None for nothing.

    What is sealed and has not left the live database yet is not sealed again. doubtful: days that are left alone,
    because what has been sealed of them cannot be told.
    """
    epochs = epochs_of(connection)
    leaving = [
        (part, through) for part in parts if (through := shared_through(epochs, part.epochs, part.through_seq)) > 0
    ]
    for count in extract.counts(connection, DAY_NS):
        if count.number < before_day and count.number not in doubtful:
            found = _day(connection, count, parts)
            if not _still_there(connection, found, leaving):
                return found
    if live_bytes is None or (used := used_bytes(connection)) <= live_bytes:
        return None
    slots = [slot for slot in extract.counts(connection, SLOT_NS) if _day_of(slot) not in doubtful]
    wanted = sum(slot.rows for slot in slots) * (1 - live_bytes / 2 / used)
    chosen: list[Count] = []
    for slot in slots:
        ends_day = chosen and _day_of(slot) != _day_of(chosen[0])
        if (slot.number + 1) * SLOT_NS + CLOSED_NS > now_ns or ends_day:
            break
        rows = sum(one.rows for one in chosen)
        if chosen and (rows >= wanted or rows + slot.rows > MOST_ROWS):
            break
        if not _still_there(connection, _slice([slot]), leaving):
            chosen.append(slot)
    return _slice(chosen) if chosen else None


def _day(connection: sqlite3.Connection, count: Count, parts: Sequence[Part]) -> Slice:
    """The day, or what is left of one of which slices are sealed."""
    start, end = day_start(count.number), day_start(count.number + 1)
    if any(part.day == count.number for part in parts):
        first, last = connection.execute(
            "SELECT min(start_ns), max(start_ns) FROM samples INDEXED BY samples_seq "
            "WHERE seq >= ? AND seq <= ? AND start_ns >= ? AND start_ns < ?",
            (count.first_seq, count.last_seq, start, end),
        ).fetchone()
        start, end = max(start, first // SLOT_NS * SLOT_NS), min(end, (last // SLOT_NS + 1) * SLOT_NS)
    return Slice(count.number, start, end, count.rows, count.first_seq, count.last_seq)


def _slice(slots: Sequence[Count]) -> Slice:
    return Slice(
        _day_of(slots[0]),
        slots[0].number * SLOT_NS,
        (slots[-1].number + 1) * SLOT_NS,
        sum(slot.rows for slot in slots),
        min(slot.first_seq for slot in slots),
        max(slot.last_seq for slot in slots),
    )


def _day_of(slot: Count) -> int:
    return slot.number * SLOT_NS // DAY_NS


def _still_there(connection: sqlite3.Connection, wanted: Slice, leaving: Sequence[tuple[Part, int]]) -> bool:
    """Whether rows of the slice are sealed already and stand in the live database none the less."""
    return any(
        connection.execute(
            "SELECT 1 FROM samples INDEXED BY samples_seq "
            "WHERE seq >= ? AND seq <= ? AND start_ns >= ? AND start_ns < ? LIMIT 1",
            (
                *(wanted.first_seq, min(through, wanted.last_seq)),
                *(max(part.start_ns, wanted.start_ns), min(part.end_ns, wanted.end_ns)),
            ),
        ).fetchone()
        for part, through in leaving
        if part.start_ns < wanted.end_ns and part.end_ns > wanted.start_ns and wanted.first_seq <= through
    )
