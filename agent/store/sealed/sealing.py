"""Sealing one day: a past day's rows of the live database become files, a manifest and, last of all, their name.

Runs in a process of its own (agent.store.sealed.child). Reads the live database with mode=ro and writes only below
`sealed/`; the rows leave the live database later, by its one writer. Killed at any instant it leaves an unfinished
directory, which counts for nothing and which the next sealing sweeps away. See docs/decisions/0004-sealed-days.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from agent.store import schema
from agent.store.identity import epochs_of, shared_through, within
from agent.store.records import LIVE_FILE
from agent.store.sealed import bundle, extract, manifest
from agent.store.sealed.bundle import BUNDLES, Bundle
from agent.store.sealed.extract import DayCount
from agent.store.sealed.manifest import FOLDER, Part, SealedFile, SealedSeries
from probes.core.errors import LocalError

_LOCK: Final = "lock"


class SealingBusy(LocalError):  # noqa: N818 # a state, not a mistake
    """Another process is sealing this store."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another process is sealing {path}", hint="wait until it has finished")


def seal_next(store: Path, *, before_day: int, now_ns: int) -> Part | None:
    """Seal the oldest day before before_day (days since 1970) that every sink has; None where there is none.

    Raises LocalError where the live database cannot be read or another process seals, OSError where the disk refuses.
    """
    folder = store / FOLDER
    folder.mkdir(mode=0o750, exist_ok=True)
    with _sole(store), _live(store) as connection:
        parts = manifest.load_all(store)
        sweep(store)
        ready = ready_days(connection, parts, before_day)
        return _seal(store, connection, ready[0], parts, now_ns) if ready else None


def ready_days(connection: sqlite3.Connection, parts: Sequence[Part], before_day: int) -> list[DayCount]:
    """Days that may be sealed now, oldest first: past, whole in every sink, none of it sealed and not yet removed."""
    epochs = epochs_of(connection)
    delivered = connection.execute("SELECT min(seq) FROM cursors").fetchone()[0]
    sealed: dict[int, int] = {}
    for part in parts:
        through = shared_through(epochs, part.epochs, part.through_seq)
        sealed[part.day] = max(through, sealed.get(part.day, 0))
    return [
        count
        for count in extract.days(connection)
        if count.day < before_day
        and (delivered is None or count.last_seq <= delivered)
        and count.first_seq > sealed.get(count.day, 0)
    ]


def sweep(store: Path) -> None:
    """Remove what a sealing or a retirement that was cut off has left."""
    for ending in (manifest.UNFINISHED, manifest.RETIRED):
        for path in (store / FOLDER).glob(f"*{ending}"):
            shutil.rmtree(path)


def _seal(store: Path, connection: sqlite3.Connection, count: DayCount, parts: Sequence[Part], now_ns: int) -> Part:
    number = 1 + max((part.number for part in parts if part.day == count.day), default=0)
    name = f"{manifest.day_text(count.day)}.{number}"
    directory = store / FOLDER / f"{name}{manifest.UNFINISHED}"
    directory.mkdir(mode=0o750)
    try:
        files, series = _write(directory, connection, count)
        total = sum(item.rows for item in series)
        if total != count.rows:
            raise LocalError(
                f"{name}: {total} rows found by series, {count.rows} by order of keeping",
                hint="the day stays in the live database, which may be damaged",
            )
        epochs = within(epochs_of(connection), count.first_seq, count.last_seq)
        part = Part(
            count.day, number, epochs[-1][1], schema.SCHEMA_VERSION, count.first_seq, count.last_seq, total, now_ns,
            tuple(files), tuple(series), epochs,
        )  # fmt: skip
        manifest.write(directory, part)
        directory.rename(store / FOLDER / name)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    manifest.sync_folder(store / FOLDER)
    return part


def _write(
    directory: Path, connection: sqlite3.Connection, count: DayCount
) -> tuple[list[SealedFile], list[SealedSeries]]:
    start, end = manifest.day_start(count.day), manifest.day_start(count.day + 1)
    files: list[SealedFile] = []
    series: list[SealedSeries] = []
    bundles = [Bundle(sorts, limit) for sorts, limit in BUNDLES]
    for identity, key in extract.series_of(connection, start, end):
        chunks = list(extract.rows_of(connection, identity, start, end, count.last_seq))
        if not chunks:
            continue
        series.append(bundle.describe(key, chunks))
        for gathering in bundles:
            for rows in chunks:
                gathering.add(key, rows)
            if gathering.full():
                files += gathering.write(directory)
    for gathering in bundles:
        files += gathering.write(directory)
    return files, series


@contextlib.contextmanager
def _live(store: Path) -> Iterator[sqlite3.Connection]:
    """The live database as of one instant."""
    path = store / LIVE_FILE
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0)
        ) as connection:
            connection.execute("PRAGMA query_only = 1")
            schema.check_version(path, schema.version_of(connection))
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise LocalError(f"the live database {path} cannot be read: {error}") from None


@contextlib.contextmanager
def _sole(store: Path) -> Iterator[None]:
    descriptor = os.open(store / FOLDER / _LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SealingBusy(store) from None
        yield
    finally:
        os.close(descriptor)
