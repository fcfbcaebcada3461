"""Taking what is old out of the live database, a bounded number of rows at a time, inside the caller's transaction."""

from __future__ import annotations

import sqlite3


def drop_packets(connection: sqlite3.Connection, before_ns: int, limit: int) -> int:
    """Delete packets of samples before before_ns, at most `limit`; returns how many."""
    newest = 0
    for number, last in connection.execute(
        "SELECT id, last_ns FROM series WHERE first_ns < ?", (before_ns,)
    ).fetchall():
        row = connection.execute(
            "SELECT seq FROM samples WHERE series = ? AND start_ns < ? ORDER BY start_ns DESC LIMIT 1",
            (number, min(before_ns, last + 1)),
        ).fetchone()
        newest = max(newest, row[0] if row else 0)
    # seq follows time but for steps of the clock: this reads little more than what goes
    return connection.execute(
        "DELETE FROM packets WHERE seq IN "
        "(SELECT seq FROM packets WHERE seq <= ? AND start_ns < ? ORDER BY seq LIMIT ?)",
        (newest, before_ns, limit),
    ).rowcount


def drop_samples(
    connection: sqlite3.Connection, before_ns: int, up_to_seq: int, limit: int, *, from_ns: int = -(1 << 63)
) -> int:
    """Delete samples in [from_ns, before_ns) up to a seq, with their packets, at most `limit`; returns how many."""
    dropped = 0
    for (number,) in connection.execute(
        "SELECT id FROM series WHERE first_ns < ? AND last_ns >= ?", (before_ns, from_ns)
    ).fetchall():
        found = connection.execute(
            "SELECT start_ns, seq FROM samples WHERE series = ? AND start_ns >= ? AND start_ns < ? "
            "AND seq <= ? ORDER BY start_ns LIMIT ?",
            (number, from_ns, before_ns, up_to_seq, limit - dropped),
        ).fetchall()
        if not found:
            continue
        connection.executemany(
            "DELETE FROM samples WHERE series = ? AND start_ns = ?", [(number, start) for start, _seq in found]
        )
        connection.executemany("DELETE FROM packets WHERE seq = ?", [(seq,) for _start, seq in found])
        connection.execute(
            "UPDATE series SET rows = rows - ?1, "
            "first_ns = (SELECT min(start_ns) FROM samples WHERE series = ?2), "
            "last_ns = (SELECT max(start_ns) FROM samples WHERE series = ?2) WHERE id = ?2",
            (len(found), number),
        )
        dropped += len(found)
        if dropped >= limit:
            break
    return dropped


def drop_records(connection: sqlite3.Connection, before_ns: int, limit: int) -> int:
    """Delete runs, events, host seconds and parked lines from before before_ns, at most `limit` of each; how many."""
    dropped = 0
    for table, column in (("runs", "scheduled_ns"), ("events", "at_ns"), ("host", "start_ns"), ("parked", "at_ns")):
        dropped += connection.execute(
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < ? LIMIT ?)", (before_ns, limit)
        ).rowcount
    return dropped
