"""Sealing a day or a slice: its rows of the live database become files, a manifest and, last of all, their name.

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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from agent.store import schema
from agent.store.identity import epochs_of, within
from agent.store.records import LIVE_FILE
from agent.store.sealed import bundle, extract, manifest, slices
from agent.store.sealed.bundle import BUNDLES, Bundle
from agent.store.sealed.manifest import FOLDER, Part, SealedFile, SealedSeries
from agent.store.sealed.slices import Slice
from probes.core.errors import LocalError

AHEAD: Final = 2
"""Bundles that wait to be written, at most."""
_LOCK: Final = "lock"


class SealingBusy(LocalError):  # noqa: N818 # a state, not a mistake
    """Another process is sealing this store."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another process is sealing {path}", hint="wait until it has finished")


def seal_next(store: Path, *, before_day: int, now_ns: int, live_bytes: int | None = None) -> Part | None:
    """Seal the oldest day before before_day (days since 1970), or a slice where more than live_bytes are live.

    None where nothing is due. Raises LocalError where the live database cannot be read or another process seals,
    OSError where the disk refuses.
    """
    folder = store / FOLDER
    folder.mkdir(mode=0o750, exist_ok=True)
    with _sole(store), _live(store) as connection:
        parts, damaged = manifest.load_sound(store)
        sweep(store)
        found = slices.next_slice(
            connection, parts, before_day=before_day, now_ns=now_ns, live_bytes=live_bytes,
            doubtful={manifest.place_of(name)[0] for name in damaged},
        )  # fmt: skip
        return None if found is None else _seal(store, connection, found, parts, now_ns)


def sweep(store: Path) -> None:
    """Remove what a sealing or a retirement that was cut off has left."""
    for ending in (manifest.UNFINISHED, manifest.RETIRED):
        for path in (store / FOLDER).glob(f"*{ending}"):
            shutil.rmtree(path)


def _seal(store: Path, connection: sqlite3.Connection, wanted: Slice, parts: Sequence[Part], now_ns: int) -> Part:
    number = 1 + max((part.number for part in parts if part.day == wanted.day), default=0)
    name = f"{manifest.day_text(wanted.day)}.{number}"
    directory = store / FOLDER / f"{name}{manifest.UNFINISHED}"
    directory.mkdir(mode=0o750)
    try:
        files, series = _write(directory, connection, wanted)
        total = sum(item.rows for item in series)
        if total != wanted.rows:
            raise LocalError(
                f"{name}: {total} rows found by series, {wanted.rows} by order of keeping",
                hint="the day stays in the live database, which may be damaged",
            )
        epochs = within(epochs_of(connection), wanted.first_seq, wanted.last_seq)
        part = Part(
            wanted.day, number, epochs[-1][1], schema.SCHEMA_VERSION, wanted.first_seq, wanted.last_seq, total, now_ns,
            tuple(files), tuple(series), epochs, wanted.bounds,
        )  # fmt: skip
        manifest.write(directory, part)
        directory.rename(store / FOLDER / name)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    manifest.sync_folder(store / FOLDER)
    return part


def _write(
    directory: Path, connection: sqlite3.Connection, wanted: Slice
) -> tuple[list[SealedFile], list[SealedSeries]]:
    start, end = wanted.start_ns, wanted.end_ns
    series: list[SealedSeries] = []
    bundles = [Bundle(sorts, limit) for sorts, limit in BUNDLES]
    with ThreadPoolExecutor(1, "sealing") as writer:  # while the next series are read
        written: list[Future[list[SealedFile]]] = []
        for identity, key in extract.series_of(connection, start, end):
            chunks = list(extract.rows_of(connection, identity, start, end, wanted.last_seq))
            if not chunks:
                continue
            series.append(bundle.describe(key, chunks))
            for gathering in bundles:
                for rows in chunks:
                    gathering.add(key, rows)
                if gathering.full():
                    written.append(writer.submit(gathering.taken().write, directory))
            for done in written[-AHEAD - 1 : -AHEAD]:
                done.result()
        written += [writer.submit(gathering.taken().write, directory) for gathering in bundles]
        files = [file for done in written for file in done.result()]
    order = [what for sorts, _limit in BUNDLES for what in sorts]
    return sorted(files, key=lambda file: order.index(file.what)), series


@contextlib.contextmanager
def _live(store: Path) -> Iterator[sqlite3.Connection]:
    """The live database as of one instant."""
    path = store / LIVE_FILE
    schema.check_file(path, current=True)
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
