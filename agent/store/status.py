"""The store about itself: series, positions of the sinks, sizes."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from agent.store import directory
from agent.store.records import LIVE_FILE, Series, SinkPosition, StoreStatus


def series(connection: sqlite3.Connection) -> list[Series]:
    """Every series that has samples, by circuit and probe."""
    found = connection.execute(
        "SELECT circuit, probe, kind, first_ns, last_ns, rows FROM series WHERE rows > 0 ORDER BY circuit, probe, kind"
    )
    return [Series(*row) for row in found]


def sinks(connection: sqlite3.Connection) -> list[SinkPosition]:
    """Every sink's position, by name."""
    found = connection.execute(
        "SELECT sink, seq, (SELECT count(*) FROM samples WHERE samples.seq > cursors.seq), "
        "(SELECT count(*) FROM parked WHERE parked.sink = cursors.sink) FROM cursors ORDER BY sink"
    )
    return [SinkPosition(*row) for row in found]


def status(connection: sqlite3.Connection, path: Path) -> StoreStatus:
    """The whole store, inside the snapshot the caller holds."""
    epoch, site, next_seq, last_commit = connection.execute(
        "SELECT epoch, site, next_seq, last_commit_ns FROM meta"
    ).fetchone()
    listed = series(connection)
    return StoreStatus(
        path=path,
        site=site,
        epoch=epoch,
        schema_version=int(connection.execute("PRAGMA user_version").fetchone()[0]),
        running=directory.held(path),
        owner=directory.owner_of(path),
        rows=sum(item.rows for item in listed),
        newest_seq=next_seq - 1,
        first_ns=min((item.first_ns for item in listed), default=None),
        last_ns=max((item.last_ns for item in listed), default=None),
        last_commit_ns=last_commit,
        database_bytes=_size(path / LIVE_FILE),
        wal_bytes=_size(path / f"{LIVE_FILE}-wal"),
        free_bytes=shutil.disk_usage(path).free,
        series=tuple(listed),
        sinks=tuple(sinks(connection)),
        damaged=directory.damaged_files(path),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
