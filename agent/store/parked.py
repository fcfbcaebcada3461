"""Lines that a sink's server refused, in the live database: kept once each, bounded, every loss counted.

Functions run inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from agent.store import rows
from agent.store.records import PARKED_DROPPED, PARKED_ROOM, PARKED_STEP, ParkedLine, Unparked

INSERT: Final = (
    "INSERT INTO parked(sink, seq, at_ns, line, reason) SELECT ?1, ?2, ?3, ?4, ?5 "
    "WHERE NOT EXISTS (SELECT 1 FROM parked WHERE sink = ?1 AND seq = ?2 AND line = ?4)"
)
"""A line is refused again where the agent ended between parking it and moving the sink's cursor: it is kept once."""

COUNT_NS: Final = 86_400 * 10**9
"""Losses of a day are counted in one event."""


def values(line: ParkedLine) -> rows.Row:
    """What INSERT wants."""
    return (line.sink, line.seq, line.at_ns, line.line, line.reason)


def remove(connection: sqlite3.Connection, unparked: Iterable[Unparked]) -> None:
    """Delete the lines; those that are gone already do no harm."""
    connection.executemany("DELETE FROM parked WHERE id = ?", [(id,) for item in unparked for id in item.ids])


def make_room(connection: sqlite3.Connection, sinks: Iterable[str], now_ns: int) -> None:
    """Keep at most PARKED_ROOM lines of each sink: the oldest go, and an event counts them."""
    for sink in sinks:
        kept = connection.execute("SELECT count(*) FROM parked WHERE sink = ?", (sink,)).fetchone()[0]
        if kept <= PARKED_ROOM:
            continue
        gone = connection.execute(
            "DELETE FROM parked WHERE id IN (SELECT id FROM parked WHERE sink = ? ORDER BY id LIMIT ?)",
            (sink, kept - PARKED_ROOM + PARKED_STEP - 1),
        ).rowcount
        _count(connection, dropped_text(sink), gone, now_ns)


def dropped_text(sink: str) -> str:
    """Text of the event that counts a sink's parked lines that went."""
    return f"sink {sink}: parked lines dropped, the oldest first: there is room for {PARKED_ROOM}"


def _count(connection: sqlite3.Connection, text: str, gone: int, now_ns: int) -> None:
    known = connection.execute(
        "UPDATE events SET count = count + ?, end_ns = ? WHERE id = "
        "(SELECT max(id) FROM events WHERE kind = ? AND text = ? AND at_ns > ?)",
        (gone, now_ns, PARKED_DROPPED, text, now_ns - COUNT_NS),
    ).rowcount
    if not known:
        connection.execute(
            "INSERT INTO events(kind, at_ns, text, end_ns, count) VALUES (?, ?, ?, ?, ?)",
            (PARKED_DROPPED, now_ns, text, now_ns, gone),
        )
