"""Columns of one series as numpy arrays.

SQLite joins a column's values into one text and numpy parses it: twice as fast as a Python object for every value
(benchmarks/store.py), and a month of one circuit stays within a few MB.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from agent.sla.samples.columns import (
    HISTOGRAM_COLUMNS,
    INTEGER_COLUMNS,
    READABLE_COLUMNS,
    WITHHELD_COLUMNS,
    SampleColumns,
)
from agent.sla.samples.histograms import Histograms
from agent.sla.samples.texts import Texts
from probes.core.arrays import ABSENT, Int64
from probes.core.errors import LocalError

CHUNK: Final = 50_000
"""Rows joined at once."""
_PAIR: Final = 8
"""Octets of one bucket in Histogram.to_bytes."""
_ALWAYS: Final = ("start_ns", "span_ns", "state")

Taken = tuple[int, int, int]
"""(start_ns, end_ns, through_seq): rows that start in between, kept up to through_seq, are read elsewhere."""


def read(
    connection: sqlite3.Connection,
    circuit: str,
    probe: str,
    kind: str | None,
    wanted: Sequence[str],
    start_ns: int,
    end_ns: int,
    taken: Sequence[Taken] = (),
) -> SampleColumns:
    """Rows of the series that start in [start_ns, end_ns), without those taken."""
    number, found = _series(connection, circuit, probe, kind)
    names = _ALWAYS + tuple(name for name in INTEGER_COLUMNS if name in wanted and name not in _ALWAYS)
    values: dict[str, object] = dict(
        zip(names, _integers(connection, number, names, start_ns, end_ns, taken), strict=True)
    )
    for name in wanted:
        if name in HISTOGRAM_COLUMNS:
            values[name] = _histograms(_values(connection, name, number, start_ns, end_ns, taken))
        elif name in WITHHELD_COLUMNS:
            values[name] = Texts.of(_values(connection, name, number, start_ns, end_ns, taken))
    return SampleColumns(circuit=circuit, probe=probe, kind=found, **values)  # type: ignore[arg-type] # names of READABLE_COLUMNS


def check(wanted: Sequence[str]) -> None:
    """Raises LocalError for a column that is not there."""
    unknown = [name for name in wanted if name not in READABLE_COLUMNS]
    if unknown:
        raise LocalError(f"a sample has no column {unknown[0]!r}", hint=f"columns: {', '.join(READABLE_COLUMNS)}")


def left(taken: Sequence[Taken], table: str = "") -> tuple[str, tuple[int, ...]]:
    """Condition and values that leave out what is taken."""
    one = f" AND NOT ({table}start_ns >= ? AND {table}start_ns < ? AND {table}seq <= ?)"
    return one * len(taken), tuple(value for item in taken for value in item)


def _series(connection: sqlite3.Connection, circuit: str, probe: str, kind: str | None) -> tuple[int, str]:
    row = connection.execute(
        "SELECT t.id, t.kind FROM series t LEFT JOIN samples s ON s.series = t.id AND s.start_ns = t.newest_ns "
        "WHERE t.circuit = ?1 AND t.probe = ?2 AND ifnull(t.kind = ?3, 1) ORDER BY s.seq DESC LIMIT 1",
        (circuit, probe, kind),
    ).fetchone()
    return (row[0], row[1]) if row else (0, kind or "")


def _integers(
    connection: sqlite3.Connection,
    series: int,
    names: Sequence[str],
    start_ns: int,
    end_ns: int,
    taken: Sequence[Taken],
) -> list[Int64]:
    condition, values = left(taken)
    joined = ", ".join(f"group_concat(ifnull({name}, {ABSENT}))" for name in names)
    statement = (
        f"SELECT {joined} FROM (SELECT {', '.join(names)} FROM samples "
        f"WHERE series = ? AND start_ns >= ? AND start_ns < ?{condition} ORDER BY start_ns LIMIT ?)"
    )
    chunks: list[list[Int64]] = []
    while True:
        texts = connection.execute(statement, (series, start_ns, end_ns, *values, CHUNK)).fetchone()
        if texts[0] is None:
            break
        chunk = [np.fromstring(text, np.int64, sep=",") for text in texts]
        chunks.append(chunk)
        if len(chunk[0]) < CHUNK:
            break
        start_ns = int(chunk[0][-1]) + 1
    if not chunks:
        return [np.empty(0, np.int64) for _ in names]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _values(
    connection: sqlite3.Connection, name: str, series: int, start_ns: int, end_ns: int, taken: Sequence[Taken]
) -> list[Any]:
    condition, values = left(taken)
    found = connection.execute(
        f"SELECT {name} FROM samples WHERE series = ? AND start_ns >= ? AND start_ns < ?{condition} ORDER BY start_ns",
        (series, start_ns, end_ns, *values),
    )
    return [value for (value,) in found]


def _histograms(blobs: Sequence[bytes | None]) -> Histograms:
    """Decoded all at once: each blob alone takes many times as long."""
    ends = np.cumsum([len(data or b"") for data in blobs], dtype=np.int64)
    if not len(ends):
        return Histograms.of(())
    starts = np.concatenate(([0], ends[:-1]))
    if (ends % _PAIR).any():
        raise _damaged()
    pairs = np.frombuffer(b"".join(data or b"" for data in blobs), "<u4").reshape(-1, 2).astype(np.int64)
    index, count = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    ascends = np.diff(index, prepend=-1) > 0
    ascends[starts[starts < ends] // _PAIR] = True  # the first bucket of a row follows another row
    if not ascends.all() or (count <= 0).any():
        raise _damaged()
    there = np.array([data is not None for data in blobs], np.bool_)
    return Histograms.by_size(index, count, (ends - starts) // _PAIR, there)


def _damaged() -> LocalError:
    return LocalError("stored histogram cannot be read", hint="the row is damaged")
