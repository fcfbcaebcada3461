"""What sinks are owed: sealed samples they do not have, since those left the live database. One row a sink and part.

All of it inside the transaction the caller holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.store.records import NOTHING_LEFT
from agent.store.sealed.manifest import Part

_COUNT: Final = (
    "SELECT count(*) FROM samples INDEXED BY samples_seq WHERE seq > ? AND seq <= ? AND start_ns >= ? AND start_ns < ?"
)


@dataclass(frozen=True, slots=True)
class Note:
    """One row: rows of the part were owed in all; those before next_row in file order have been sent."""

    sink: str
    part: str
    after_seq: int
    next_row: int
    rows: int

    def left(self, part_rows: int) -> int:
        """Samples still owed, at most."""
        return max(0, min(self.rows, part_rows - self.next_row))


def note(connection: sqlite3.Connection, part: Part, through_seq: int) -> None:
    """Every sink that lacks samples of the part kept up to through_seq is owed them from now on."""
    behind = connection.execute("SELECT sink, seq FROM cursors WHERE seq < ?", (through_seq,)).fetchall()
    for sink, seq in behind:
        rows = part.rows
        if seq >= part.first_seq or through_seq < part.through_seq:  # the sink has some of them: count the others
            rows = connection.execute(_COUNT, (seq, through_seq, part.start_ns, part.end_ns)).fetchone()[0]
        if rows:
            connection.execute("INSERT OR IGNORE INTO owed VALUES (?, ?, ?, 0, ?)", (sink, part.name, seq, rows))


def settle(connection: sqlite3.Connection, settled: Mapping[tuple[str, str], int]) -> None:
    """The sink has the part up to this row; NOTHING_LEFT ends the debt, of every sink where none is named."""
    for (sink, part), next_row in settled.items():
        if next_row >= NOTHING_LEFT:
            connection.execute(
                "DELETE FROM owed WHERE part = ? AND sink IN (?, iif(? = '', sink, ?))", (part, sink, sink, sink)
            )
        else:
            connection.execute(
                "UPDATE owed SET next_row = max(next_row, ?) WHERE sink = ? AND part = ?", (next_row, sink, part)
            )


def notes(connection: sqlite3.Connection, sink: str | None = None) -> list[Note]:
    """Of one sink or of all, by sink and part."""
    found = connection.execute(
        "SELECT sink, part, after_seq, next_row, rows FROM owed WHERE ifnull(sink = ?, 1) ORDER BY sink, part", (sink,)
    )
    return [Note(*row) for row in found]
