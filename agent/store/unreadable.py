"""Rows of the live database that are no samples any more, found by the type of each value and taken out with it all.

SQLite keeps no checksums: one flipped bit can make a text of a number, or of a text what is no UTF-8. Such a row would
keep its day from being sealed, and every day after it, so that the database grew for ever. What it held stays in an
event, its time becomes a gap of its circuit. Keys are not looked at: a changed one is damage to the file's structure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.store.records import DAMAGED, GAP

KEYS: Final = ("series", "seq", "start_ns")
LIMIT: Final = 10_000
"""Found at once."""
LONGEST: Final = 20_000
"""Letters of an event's text."""
_TYPES: Final = {"INTEGER": "integer", "TEXT": "text", "REAL": "real", "BLOB": "blob"}
_PAIR: Final = 8
"""Octets of one bucket of a histogram."""
_EVENT: Final = "INSERT INTO events(kind, at_ns, text, end_ns, reason, count, circuit) VALUES (?, ?, ?, ?, ?, 1, ?)"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One row. span_ns: 0 where it cannot be told; held: every value as SQL writes it."""

    series: int
    seq: int
    start_ns: int
    span_ns: int
    circuit: str
    probe: str
    why: str
    held: str

    def __str__(self) -> str:
        return f"{self.circuit}/{self.probe} at {self.start_ns}: {self.why}"


def find(connection: sqlite3.Connection) -> list[Unreadable]:
    """At most LIMIT of them, in the order of series and time. Reads every live row. Raises sqlite3.Error."""
    connection.create_function("no_text", 1, _no_text, deterministic=True)
    columns = [tuple(row[1:4]) for row in connection.execute("PRAGMA table_info(samples)") if row[1] not in KEYS]
    wrong = " || ".join(f"CASE WHEN {_wrong(*column)} THEN '{column[0]} ' ELSE '' END" for column in columns)
    held = " || ', ' || ".join(f"'{name} ' || {_written(name)}" for name, _kind, _required in columns)
    any_wrong = " OR ".join(f"({_wrong(*column)})" for column in columns)
    rows = connection.execute(
        "SELECT s.series, s.seq, s.start_ns, CASE typeof(s.span_ns) WHEN 'integer' THEN s.span_ns ELSE 0 END, "
        f"t.circuit, t.probe, {wrong}, {held}, "
        "ifnull((SELECT quote(p.data) FROM packets p WHERE p.seq = s.seq), 'NULL') "
        f"FROM samples s JOIN series t ON t.id = s.series WHERE {any_wrong} ORDER BY s.series, s.start_ns LIMIT ?",
        (LIMIT,),
    )
    return [
        Unreadable(series, seq, start, span, circuit, probe, _why(names), f"{values}, packets {packets}")
        for series, seq, start, span, circuit, probe, names, values, packets in rows
    ]


def remove(connection: sqlite3.Connection, found: Sequence[Unreadable], now_ns: int) -> int:
    """Take the rows out, inside the caller's transaction; returns how many were there."""
    gone = 0
    for item in found:
        deleted = connection.execute(
            "DELETE FROM samples WHERE series = ? AND start_ns = ? AND seq = ?", (item.series, item.start_ns, item.seq)
        ).rowcount
        if not deleted:
            continue
        gone += 1
        connection.execute("DELETE FROM packets WHERE seq = ?", (item.seq,))
        connection.execute(
            "UPDATE series SET rows = rows - 1, first_ns = (SELECT min(start_ns) FROM samples WHERE series = ?1), "
            "last_ns = (SELECT max(start_ns) FROM samples WHERE series = ?1) WHERE id = ?1",
            (item.series,),
        )
        for event in _events(item, now_ns):
            connection.execute(_EVENT, event)
    return gone


def _events(item: Unreadable, now_ns: int) -> Iterator[tuple[str | int, ...]]:
    """The gap, and all that the row held."""
    end_ns = item.start_ns + max(1, item.span_ns)
    what = f"sample {item.seq} of {item.circuit}/{item.probe} was damaged in the live database ({item.why})"
    yield GAP, item.start_ns, f"{what} and cannot be read", end_ns, "damaged", item.circuit
    yield DAMAGED, now_ns, f"{what} and was taken out; it held: {item.held}"[:LONGEST], now_ns, item.why, item.circuit


def _why(columns: str) -> str:
    names = columns.split()
    return (
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not what {'it' if len(names) == 1 else 'they'} were"
    )


def _wrong(name: str, kind: str, required: int) -> str:
    """Condition on a column: it holds what it never held."""
    expected = _TYPES[kind]
    allowed = f"'{expected}'" if required else f"'{expected}', 'null'"
    condition = f"typeof(s.{name}) NOT IN ({allowed})"
    if kind == "TEXT":  # what is printable ASCII need not be looked at closer
        condition += f" OR (s.{name} GLOB '*[^ -~]*' AND no_text(CAST(s.{name} AS BLOB)))"
    if name.endswith("histogram"):
        condition += f" OR length(s.{name}) % {_PAIR} <> 0"
    return condition


def _written(name: str) -> str:
    """A value as SQL writes it; text as its octets, because it may be none."""
    return f"CASE typeof(s.{name}) WHEN 'text' THEN quote(CAST(s.{name} AS BLOB)) ELSE quote(s.{name}) END"


def _no_text(octets: object) -> bool:
    try:
        return not isinstance(octets, bytes) or octets.decode("utf-8") is None
    except UnicodeDecodeError:
        return True
