"""Live rows as a SampleBatch: what delivery reads, in the order of keeping.

SQLite joins a column's values into one text and numpy parses it (see columnar). A batch in which a value is not what
it should be is read again row by row, so that only the rows concerned are unreadable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from agent.store.samplebatch import BATCH_INTEGERS, Buckets, SampleBatch, empty
from probes.core.arrays import ABSENT, Int64

_TEXTS: Final = ("remote", "reason", "histogram")
_INTEGERS: Final = ("seq", "series", *BATCH_INTEGERS)
_INNER: Final = "FROM samples INDEXED BY samples_seq WHERE seq > ? ORDER BY seq LIMIT ?"
_OTHERS: Final = f"SELECT {', '.join(_TEXTS)} {_INNER}"
_JOINED: Final = (
    f"SELECT {', '.join(f'count({name}), group_concat({name})' for name in _INTEGERS)} "
    f"FROM (SELECT {', '.join(_INTEGERS)} {_INNER})"
)
_INT64: Final = 1 << 63


def after(connection: sqlite3.Connection, seq: int, limit: int) -> SampleBatch:
    """The oldest `limit` live samples kept after seq. Raises sqlite3.Error."""
    unreadable: dict[int, str] = {}
    try:
        others = connection.execute(_OTHERS, (seq, limit)).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        others = _undecoded(connection, seq, limit, unreadable)
    if not others:
        return empty()
    values = _joined(connection, seq, limit, len(others))
    if values is None:
        values, wrong = _one_by_one(connection, seq, limit)
        unreadable |= wrong
    remote, reason, shapes = (list(column) for column in zip(*others, strict=True))
    for row, text in enumerate(zip(remote, reason, strict=True)):
        if any(value is not None and not isinstance(value, str) for value in text):
            unreadable.setdefault(row, "a stored text is none")
            remote[row] = reason[row] = None
    shapes = [_blob(value) for value in shapes]
    buckets, damaged = Buckets.from_blobs(shapes)
    unreadable |= dict.fromkeys(damaged, "stored histogram cannot be read")
    for row in unreadable:
        for name in BATCH_INTEGERS:
            values[name][row] = ABSENT
    numbers, codes = np.unique(values["series"], return_inverse=True)
    keys = tuple(_key(connection, int(number)) for number in numbers)
    integers = {name: values[name] for name in BATCH_INTEGERS}
    return SampleBatch(keys, codes.astype(np.int64), values["seq"], integers, remote, reason, buckets, unreadable)


def _joined(connection: sqlite3.Connection, seq: int, limit: int, rows: int) -> dict[str, Int64] | None:
    """Every integer column; None where one holds what is no integer. A column without any value costs nothing."""
    found = connection.execute(_JOINED, (seq, limit)).fetchone()
    values: dict[str, Int64] = {}
    mixed = []
    for name, number, text in zip(_INTEGERS, found[::2], found[1::2], strict=True):
        if number == 0:
            values[name] = np.full(rows, ABSENT)
        elif number < rows:
            mixed.append(name)
        else:
            values[name] = _parsed(text)
    if mixed:
        wanted = ", ".join(f"group_concat(ifnull({name}, {ABSENT}))" for name in mixed)
        texts = connection.execute(
            f"SELECT {wanted} FROM (SELECT {', '.join(mixed)} {_INNER})", (seq, limit)
        ).fetchone()
        values |= {name: _parsed(text) for name, text in zip(mixed, texts, strict=True)}
    return values if all(len(column) == rows for column in values.values()) else None


def _undecoded(
    connection: sqlite3.Connection, seq: int, limit: int, unreadable: dict[int, str]
) -> list[tuple[Any, ...]]:
    """As _OTHERS reads them, where a text is no UTF-8: that one is then missing, and its row unreadable."""
    octets = ", ".join(f"CAST({name} AS BLOB), typeof({name})" for name in _TEXTS)
    found = []
    for number, row in enumerate(connection.execute(f"SELECT {octets} {_INNER}", (seq, limit))):
        values: list[Any] = []
        for data, kind in zip(row[::2], row[1::2], strict=True):
            try:
                values.append(data.decode("utf-8") if kind == "text" else data)
            except UnicodeDecodeError:
                values.append(None)
                unreadable[number] = "a stored text is none"
        found.append(tuple(values))
    return found


def _parsed(text: str) -> Int64:
    try:
        return np.fromstring(text, np.int64, sep=",")
    except ValueError:
        return np.empty(0, np.int64)


def _one_by_one(connection: sqlite3.Connection, seq: int, limit: int) -> tuple[dict[str, Int64], dict[int, str]]:
    """As _joined, and the rows that hold what is no integer."""
    found = connection.execute(f"SELECT {', '.join(_INTEGERS)} {_INNER}", (seq, limit)).fetchall()
    unreadable: dict[int, str] = {}
    table = np.full((len(found), len(_INTEGERS)), ABSENT)
    for row, values in enumerate(found):
        wrong = [(name, value) for name, value in zip(_INTEGERS, values, strict=True) if not _fits(value)]
        if wrong:
            unreadable[row] = f"column {wrong[0][0]} holds {wrong[0][1]!r}, no integer"
        table[row] = [value if isinstance(value, int) and _fits(value) else ABSENT for value in values]
    return dict(zip(_INTEGERS, np.ascontiguousarray(table.T), strict=True)), unreadable


def _fits(value: object) -> bool:
    return value is None or (type(value) is int and -_INT64 <= value < _INT64)


def _blob(value: Any) -> bytes | None:
    """What is no blob is as long as no histogram can be, and found damaged."""
    return value if value is None or isinstance(value, bytes) else b"?"


def _key(connection: sqlite3.Connection, series: int) -> tuple[str, str, str]:
    found: Sequence[str] | None = connection.execute(
        "SELECT circuit, probe, kind FROM series WHERE id = ?", (series,)
    ).fetchone()
    return ("", "", "") if found is None else (found[0], found[1], found[2])
