"""The last path that every path probe has found, live or sealed: its newest run may have failed."""

from __future__ import annotations

import sqlite3
from typing import Final

from agent.store import rows, schema
from agent.store.records import StoredSample
from agent.store.sealed import overview
from agent.store.sealed.manifest import SeriesKey, holds
from agent.store.sealed.reading import SealedDays
from probes.core.model import Sample

KIND: Final = "path"


def last_paths(connection: sqlite3.Connection, sealed: SealedDays) -> list[Sample]:
    """One sample with a path for each path probe that has any, by circuit and probe."""
    live = {
        (circuit, probe, KIND): number
        for number, circuit, probe in connection.execute(
            "SELECT id, circuit, probe FROM series WHERE kind = ?", (KIND,)
        )
    }
    keys = {*live, *(item.key for item in overview.totals(sealed.parts) if item.kind == KIND)}
    found = (_live(connection, key, live.get(key)) or _sealed(sealed, key) for key in sorted(keys))
    return [item.sample for item in found if item is not None]


def _live(connection: sqlite3.Connection, key: SeriesKey, series: int | None) -> StoredSample | None:
    if series is None:
        return None
    row = connection.execute(
        schema.SELECT_SAMPLE + "WHERE series = ? AND path IS NOT NULL ORDER BY start_ns DESC LIMIT 1", (series,)
    ).fetchone()
    return None if row is None else StoredSample(row[0], rows.decode(*key, row[1:]))


def _sealed(sealed: SealedDays, key: SeriesKey) -> StoredSample | None:
    """The newest day that has one; a day of a path probe is few rows."""
    for part in sorted(sealed.parts, key=lambda part: part.end_ns, reverse=True):
        if holds(part, key):
            for item in reversed(sealed.only(part).samples(key, part.start_ns, part.end_ns)):
                if item.sample.path is not None:
                    return item
    return None
