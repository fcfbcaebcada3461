"""One series of a day or slice out of the live database, as columns ready to be written. Reads only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.store.far_end import GROUPS, PRESENT, columns_of
from agent.store.sealed.layout import OTHER_COLUMNS, OWN_INTEGERS
from agent.store.sealed.manifest import DAY_NS
from probes.core.arrays import ABSENT, Int64
from probes.core.errors import LocalError

CHUNK: Final = 50_000
"""Rows read at once."""
_PAIR: Final = 8
"""Octets of one bucket of a stored histogram."""
_ASKED: Final = tuple(name for names in GROUPS.values() for name in names)


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one UTC day or slot in the live database. number: of days or slots since 1970."""

    number: int
    rows: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Histograms of consecutive rows. sizes: buckets of each row, ABSENT without a histogram; buckets: of all of them
    in the order of rows, shape (sum of sizes, 2), uint32."""

    sizes: Int64
    buckets: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of one series; every array and list has one entry per row.

    groups: of agent.store.far_end, those of which a row has something; columns of others are not here. shapes: by the
    name of the histogram. packets: (start_ns, bytes) of the rows that have some.
    """

    integers: dict[str, Int64]
    others: dict[str, list[str | float | None]]
    shapes: dict[str, Shapes]
    packets: list[tuple[int, bytes]]
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.integers["seq"])


def counts(connection: sqlite3.Connection, width_ns: int = DAY_NS) -> list[Count]:
    """Every stretch of width_ns that has rows, in order of time. Reads an index only."""
    found = connection.execute(
        f"SELECT start_ns / {width_ns} - (start_ns % {width_ns} < 0) AS number, count(*), min(seq), max(seq) "
        "FROM samples INDEXED BY samples_seq GROUP BY number ORDER BY number"
    )
    return [Count(*row) for row in found]


def series_of(connection: sqlite3.Connection, start_ns: int, end_ns: int) -> list[tuple[int, tuple[str, str, str]]]:
    """Number and names of the series that may have rows in [start_ns, end_ns), by circuit, probe and kind."""
    found = connection.execute(
        "SELECT id, circuit, probe, kind FROM series WHERE first_ns < ? AND last_ns >= ?", (end_ns, start_ns)
    )
    return sorted(((row[0], (row[1], row[2], row[3])) for row in found), key=lambda item: item[1])


def rows_of(
    connection: sqlite3.Connection, series: int, start_ns: int, end_ns: int, through_seq: int
) -> Iterator[Rows]:
    """Rows of the series that start in [start_ns, end_ns), kept up to through_seq, by start_ns, in chunks."""
    while True:
        chunk = _chunk(connection, (series, start_ns, end_ns, through_seq, CHUNK))
        if len(chunk):
            yield chunk
        if len(chunk) < CHUNK:
            return
        start_ns = int(chunk.integers["start_ns"][-1]) + 1


def _inner(names: Sequence[str]) -> str:
    return (
        f"SELECT {', '.join(names)} FROM samples "
        "WHERE series = ? AND start_ns >= ? AND start_ns < ? AND seq <= ? ORDER BY start_ns LIMIT ?"
    )


def _chunk(connection: sqlite3.Connection, where: tuple[int, ...]) -> Rows:
    present = connection.execute(f"SELECT {PRESENT} FROM ({_inner(_ASKED)})", where).fetchone()
    groups = tuple(group for group, there in zip(GROUPS, present, strict=True) if there)
    integers, texts, histograms = columns_of(groups)
    names, blobs = (*OTHER_COLUMNS, *texts), ("histogram", *histograms)
    others = connection.execute(_inner((*names, *blobs)), where).fetchall()
    columns = list(zip(*others, strict=True)) or [()] * (len(names) + len(blobs))
    packets = connection.execute(
        f"SELECT s.start_ns, p.data FROM ({_inner(('start_ns', 'seq'))}) s JOIN packets p ON p.seq = s.seq "
        "ORDER BY s.start_ns",
        where,
    ).fetchall()
    return Rows(
        _integers(connection, where, len(others), ("seq", *OWN_INTEGERS, *integers)),
        {name: list(values) for name, values in zip(names, columns, strict=False)},
        {name: _shapes(values) for name, values in zip(blobs, columns[len(names) :], strict=True)},
        packets,
        groups,
    )


def _integers(
    connection: sqlite3.Connection, where: tuple[int, ...], total: int, names: Sequence[str]
) -> dict[str, Int64]:
    """Joined by SQLite and parsed by numpy; columns without any value, most of some kinds', cost nothing."""
    wanted = ", ".join(f"count({name}), group_concat({name})" for name in names)
    found = connection.execute(f"SELECT {wanted} FROM ({_inner(names)})", where).fetchone()
    values, mixed = {}, []
    for name, number, text in zip(names, found[::2], found[1::2], strict=True):
        if number == total:
            values[name] = _parsed(name, text, total)
        elif number:
            mixed.append(name)
        else:
            values[name] = np.full(total, ABSENT)
    if mixed:
        wanted = ", ".join(f"group_concat(ifnull({name}, {ABSENT}))" for name in mixed)
        texts = connection.execute(f"SELECT {wanted} FROM ({_inner(mixed)})", where).fetchone()
        values |= {name: _parsed(name, text, total) for name, text in zip(mixed, texts, strict=True)}
    return {name: values[name] for name in names}


def _parsed(name: str, text: str | None, total: int) -> Int64:
    try:
        values = np.fromstring(text or "", np.int64, sep=",")
    except ValueError:
        values = np.empty(0, np.int64)
    if len(values) != total:
        raise LocalError(f"column {name} holds what is no integer", hint="the day stays in the live database")
    return values


def _shapes(blobs: Sequence[bytes | None]) -> Shapes:
    lengths = np.array([ABSENT if blob is None else len(blob) for blob in blobs], np.int64)
    there = lengths != ABSENT
    if (lengths[there] % _PAIR).any():
        raise LocalError("a stored histogram cannot be read", hint="the day stays in the live database")
    joined = np.frombuffer(b"".join(blob or b"" for blob in blobs), "<u4").reshape(-1, 2).astype(np.uint32)
    return Shapes(np.where(there, lengths // _PAIR, ABSENT), joined)
