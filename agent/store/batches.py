"""Live rows as a SampleBatch: what delivery reads, in the order of keeping.

SQLite joins a column's values into one text and numpy parses it (see columnar). A batch in which a value is not what
it should be is read again row by row, so that only the rows concerned are unreadable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from agent.store.far_end import GROUPS, PRESENT, columns_of
from agent.store.samplebatch import BATCH_INTEGERS, BATCH_TEXTS, Buckets, SampleBatch, empty
from probes.core.arrays import ABSENT, Int64

_INNER: Final = "FROM samples INDEXED BY samples_seq WHERE seq > ? ORDER BY seq LIMIT ?"
_ASKED: Final = ", ".join(name for names in GROUPS.values() for name in names)
_INT64: Final = 1 << 63


def after(connection: sqlite3.Connection, seq: int, limit: int) -> SampleBatch:
    """The oldest `limit` live samples kept after seq. Raises sqlite3.Error."""
    unreadable: dict[int, str] = {}
    more, texts, shapes = _far(connection, seq, limit)
    names, strings, blobs = (*BATCH_INTEGERS, *more), (*BATCH_TEXTS, *texts), ("histogram", *shapes)
    try:
        others = connection.execute(f"SELECT {', '.join((*strings, *blobs))} {_INNER}", (seq, limit)).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        others = _undecoded(connection, seq, limit, (*strings, *blobs), unreadable)
    if not others:
        return empty()
    values = _joined(connection, seq, limit, len(others), names)
    if values is None:
        values, wrong = _one_by_one(connection, seq, limit, names)
        unreadable |= wrong
    columns = dict(zip((*strings, *blobs), (list(column) for column in zip(*others, strict=True)), strict=True))
    for row, told in enumerate(zip(*(columns[name] for name in strings), strict=True)):
        if any(value is not None and not isinstance(value, str) for value in told):
            unreadable.setdefault(row, "a stored text is none")
            for name in strings:
                columns[name][row] = None
    buckets: dict[str, Buckets] = {}
    for name in blobs:
        buckets[name], damaged = Buckets.from_blobs([_blob(value) for value in columns[name]])
        unreadable |= dict.fromkeys(damaged, "stored histogram cannot be read")
    for row in unreadable:
        for name in names:
            values[name][row] = ABSENT
    numbers, codes = np.unique(values["series"], return_inverse=True)
    keys = tuple(_key(connection, int(number)) for number in numbers)
    integers = {name: values[name] for name in names}
    return SampleBatch(
        keys, codes.astype(np.int64), values["seq"], integers, columns["remote"], columns["reason"],
        buckets.pop("histogram"), unreadable, {name: columns[name] for name in texts}, buckets,
    )  # fmt: skip


def _far(connection: sqlite3.Connection, seq: int, limit: int) -> tuple[list[str], list[str], list[str]]:
    """Integers, texts and histograms of what only a far end knows, of which a row has any. One look for all of them."""
    found = connection.execute(f"SELECT {PRESENT} FROM (SELECT {_ASKED} {_INNER})", (seq, limit)).fetchone()
    return columns_of([group for there, group in zip(found, GROUPS, strict=True) if there])


def _joined(
    connection: sqlite3.Connection, seq: int, limit: int, rows: int, names: Sequence[str]
) -> dict[str, Int64] | None:
    """`seq`, `series` and these columns; None where one holds what is no integer. An empty column costs nothing."""
    names = ("seq", "series", *names)
    wanted = ", ".join(f"count({name}), group_concat({name})" for name in names)
    found = connection.execute(f"SELECT {wanted} FROM (SELECT {', '.join(names)} {_INNER})", (seq, limit)).fetchone()
    values: dict[str, Int64] = {}
    mixed = []
    for name, number, text in zip(names, found[::2], found[1::2], strict=True):
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
    connection: sqlite3.Connection, seq: int, limit: int, names: Sequence[str], unreadable: dict[int, str]
) -> list[tuple[Any, ...]]:
    """Texts and histograms where a text is no UTF-8: that one is then missing, and its row unreadable."""
    octets = ", ".join(f"CAST({name} AS BLOB), typeof({name})" for name in names)
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


def _one_by_one(
    connection: sqlite3.Connection, seq: int, limit: int, names: Sequence[str]
) -> tuple[dict[str, Int64], dict[int, str]]:
    """As _joined, and the rows that hold what is no integer."""
    names = ("seq", "series", *names)
    found = connection.execute(f"SELECT {', '.join(names)} {_INNER}", (seq, limit)).fetchall()
    unreadable: dict[int, str] = {}
    table = np.full((len(found), len(names)), ABSENT)
    for row, values in enumerate(found):
        wrong = [(name, value) for name, value in zip(names, values, strict=True) if not _fits(value)]
        if wrong:
            unreadable[row] = f"column {wrong[0][0]} holds {wrong[0][1]!r}, no integer"
        table[row] = [value if isinstance(value, int) and _fits(value) else ABSENT for value in values]
    return dict(zip(names, np.ascontiguousarray(table.T), strict=True)), unreadable


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
