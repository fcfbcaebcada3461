"""The live database as its one writer sees it: a single connection for every write and every checkpoint.

SQLite before 3.51.3 can lose a commit when a second connection commits during a checkpoint
(https://www.sqlite.org/wal.html#walresetbug), so nothing else writes and readers open the file with mode=ro.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.store import identity, owing, parked, retention, rows, schema
from agent.store.hostseconds import HostSeconds
from agent.store.records import (
    DISK_ERROR,
    DISK_FULL,
    READ_ONLY,
    REFUSED,
    EventRecord,
    Owner,
    ParkedLine,
    RunRecord,
    Unparked,
)
from agent.store.samples import UNKEPT, EncodedSample, Placed, SampleTable
from agent.store.sealed.manifest import Part
from agent.store.session import PreviousSession

CHECK_STEPS: Final = 100_000
"""Virtual machine steps between two looks at the clock during the check of a file."""

LONG_WAL: Final = 16_384
"""Pages: 64 MiB."""
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24

EPOCHS: Final = 10_000
"""Epochs that are remembered: a start every hour for a year."""
_DROP_EPOCHS: Final = (
    "DELETE FROM epochs WHERE first_seq <= (SELECT first_seq FROM epochs ORDER BY first_seq DESC LIMIT 1 OFFSET ?)"
)
_RUN: Final = (
    "INSERT INTO runs(circuit, probe, kind, state, scheduled_ns, started_ns, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_EVENT: Final = "INSERT INTO events(kind, at_ns, text, end_ns, reason, count, circuit) VALUES (?, ?, ?, ?, ?, ?, ?)"

_HOST: Final = "INSERT INTO host(start_ns, seconds, impaired, data) VALUES (?, ?, ?, ?)"


class DamagedFile(Exception):  # noqa: N818 # a finding, handled inside the store
    """The file is no database, or its structure does not hold."""


@dataclass(slots=True)
class Batch:
    """What one transaction writes, each list in the order it was handed in."""

    samples: list[EncodedSample] = field(default_factory=list)
    runs: list[RunRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    host: list[HostSeconds] = field(default_factory=list)
    parked: list[ParkedLine] = field(default_factory=list)
    unparked: list[Unparked] = field(default_factory=list)
    cursors: dict[str, int | None] = field(default_factory=dict)
    """sink -> new position; None forgets the sink and what it is owed"""
    settled: dict[tuple[str, str], int] = field(default_factory=dict)
    """sink and part -> next_row of what the sink is owed of it; the sink "" is all of them"""
    refused: list[str] = field(default_factory=list)
    """samples that could not be encoded, each with the reason"""


def is_damage(error: sqlite3.Error) -> bool:
    """True where SQLite says that the file itself is broken."""
    return _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
        not hasattr(error, "sqlite_errorcode")
        and isinstance(error, sqlite3.DatabaseError)
        and "malformed" in str(error)
    )


def is_harmless(error: Exception) -> bool:
    """True where the connection is as good as before. After all else the file is opened anew: a failed sync must not
    be tried again on the same descriptor, and a lock that could not be given back stays with its connection.
    """
    codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM)
    return isinstance(error, sqlite3.Error) and _primary_code(error) in codes


def trouble(error: Exception) -> str:
    """Reason of the gap that samples leave which this error keeps from being written."""
    code = _primary_code(error) if isinstance(error, sqlite3.Error) else 0
    number = getattr(error, "errno", None)
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if code == sqlite3.SQLITE_READONLY or number == errno.EROFS:
        return READ_ONLY
    return DISK_ERROR


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class LiveFile:
    """Opened by `open`, used by one thread at a time. Methods raise sqlite3.Error where the disk or the file fails.

    previous: how the last session ended, None in a new file. epoch: the one of the samples kept last; created: there
    was no file.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, owner: Owner, site: str, boot: Callable[[], int]
    ) -> None:
        self.path = path
        self.connection = connection
        self.epoch = ""
        self.created = False
        self.previous: PreviousSession | None = None
        self._owner, self._site, self._boot = owner, site, boot
        self._commits = self._checkpointed = self._unsynced = 0
        self._begins: tuple[int, str, int, str, str | None] | None = None
        self._table: SampleTable

    @property
    def next_seq(self) -> int:
        """The seq that the next sample gets."""
        return self._table.next_seq

    @staticmethod
    def open(
        path: Path, *, owner: Owner, site: str, first_seq: int = 1, out_of_time: Callable[[], bool] = lambda: False,
        boot: Callable[[], int] = lambda: 0,
    ) -> LiveFile:  # fmt: skip
        """Open or create. Raises DamagedFile, LocalError (a newer version's file), sqlite3.Error (disk).

        The structure is checked page by page until out_of_time says so: a start must not take minutes. An existing
        file is not written, so that a full disk does not keep the agent from measuring. boot: reads CLOCK_BOOTTIME.
        """
        log = path.with_name(f"{path.name}-wal")
        alone = not log.exists() or not log.stat().st_size
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
        file = LiveFile(path, connection, owner, site, boot)
        try:
            file._prepare(first_seq, out_of_time)
            if alone:
                file._checkpointed = file._commits
        except sqlite3.Error as error:
            connection.close()
            if is_damage(error) or _primary_code(error) == sqlite3.SQLITE_ERROR:  # the latter: not our tables
                raise DamagedFile(str(error)) from None
            raise
        except BaseException:
            connection.close()
            raise
        return file

    def _prepare(self, first_seq: int, out_of_time: Callable[[], bool]) -> None:
        execute = self.connection.execute
        if not schema.is_ours(self.connection):
            raise DamagedFile("it is a database of another program")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA wal_autocheckpoint = 0")
        execute("PRAGMA journal_size_limit = 67108864")
        self._check(out_of_time)
        schema.bring_up(self.connection, self.path)
        row = execute(
            "SELECT epoch, next_seq, running, last_commit_ns, boot_id, pid, boot_ns, commits, checkpointed FROM meta"
        ).fetchone()
        if row is None:
            self.created = True
            row = (identity.fresh_epoch(), first_seq, 0, 0, "", 0, 0, 0, 0)
            owner = self._owner
            with self.transaction():
                execute(
                    "INSERT INTO meta(id, epoch, site, next_seq, running, pid, boot_id, session_ns, last_commit_ns) "
                    "VALUES (1, ?, ?, ?, 1, ?, ?, ?, ?)",
                    (
                        *(row[0], rows.printable(self._site), first_seq),
                        *(owner.pid, owner.boot_id, owner.started_ns, owner.started_ns),
                    ),
                )
                execute("INSERT INTO epochs VALUES (?, ?, ?, '', NULL)", (first_seq, row[0], owner.started_ns))
        else:
            self.previous = PreviousSession(bool(row[2]), row[3], row[4], row[5], row[6])
        kept = execute("SELECT ifnull(max(seq), 0) FROM samples").fetchone()[0]
        self.epoch, self._commits, self._checkpointed = row[0], row[7], row[8]
        self._table = SampleTable(self.connection, max(row[1], kept + 1))

    def left(self) -> identity.Left:
        """What the database says of the session that wrote it last."""
        last = self.connection.execute("SELECT machine, branch FROM epochs ORDER BY first_seq DESC LIMIT 1").fetchone()
        site = self.connection.execute("SELECT site FROM meta").fetchone()[0]
        cursor = self.connection.execute("SELECT ifnull(max(seq), 0) FROM cursors").fetchone()[0]
        machine, branch = last or ("", None)
        return identity.Left(self.next_seq - 1, machine, branch, site, cursor)

    def newest_before(self, now_ns: int) -> int | None:
        """End of the sample that ends last of those that end by now."""
        found = self.connection.execute(
            "SELECT max((SELECT max(s.start_ns + s.span_ns) FROM (SELECT start_ns, span_ns FROM samples "
            "WHERE series = series.id AND start_ns <= ?1 ORDER BY start_ns DESC LIMIT 4) s "
            "WHERE s.start_ns + s.span_ns <= ?1)) FROM series",
            (now_ns,),
        ).fetchone()[0]
        return None if found is None else int(found)

    def begin_epoch(self, epoch: str, next_seq: int, machine: str, branch: str | None, now_ns: int) -> None:
        """Samples from here on belong to this epoch. Written with the next batch."""
        self._table.next_seq = max(self._table.next_seq, next_seq)
        if epoch == self.epoch and not self.created:
            return
        self._begins = (self._table.next_seq, epoch, now_ns, machine, branch)
        self.epoch = epoch

    def epochs(self) -> list[tuple[int, str]]:
        """First seq and epoch, ascending."""
        return identity.epochs_of(self.connection)

    def _check(self, out_of_time: Callable[[], bool]) -> None:
        if out_of_time():
            return
        self.connection.set_progress_handler(lambda: int(out_of_time()), CHECK_STEPS)
        try:
            findings = [row[0] for row in self.connection.execute("PRAGMA quick_check(1)")]
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            findings = ["ok"]
        finally:
            self.connection.set_progress_handler(None, 0)
        if findings != ["ok"]:
            raise DamagedFile(str(findings[0]).replace("\n", " "))

    def write(self, batch: Batch, now_ns: int, *, ends_session: bool = False, signs: bool = True) -> Placed:
        """Everything in one transaction; synced to the disk when it returns. A failure leaves nothing of it.

        signs: False leaves what is known of the last session, for a change by hand while no agent runs.
        """
        earlier = self._table.snapshot()
        try:
            with self.transaction():
                if self._begins and signs:
                    self.connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?)", self._begins)
                    self.connection.execute(_DROP_EPOCHS, (EPOCHS,))
                placed = self._table.place(batch.samples)
                refused = [*placed.refused, *batch.refused]
                for run in batch.runs:
                    refused += self._note(_RUN, (*dataclasses.astuple(run),))
                for event in batch.events:
                    refused += self._note(_EVENT, (*dataclasses.astuple(event),))
                for seconds in batch.host:
                    refused += self._note(_HOST, (seconds.start_ns, len(seconds), seconds.impaired, seconds.encode()))
                for line in batch.parked:
                    refused += self._note(parked.INSERT, parked.values(line))
                parked.remove(self.connection, batch.unparked)
                parked.make_room(self.connection, {line.sink for line in batch.parked}, now_ns)
                self._write_cursors(batch.cursors)
                owing.settle(self.connection, batch.settled)
                if refused:
                    event = EventRecord(REFUSED, now_ns, refused[0], count=len(refused))
                    self._note(_EVENT, (*dataclasses.astuple(event),))
                if signs:
                    self._sign(now_ns, running=not ends_session)
        except BaseException:
            self._table.restore(earlier)
            raise
        placed.refused = refused
        if signs:
            self._begins = None
            self._commits += 1
        return placed

    def _note(self, statement: str, values: rows.Row) -> list[str]:
        try:
            self.connection.execute(statement, tuple(rows.printable(value) for value in values))
        except UNKEPT as error:
            return [f"{type(error).__name__}: {error}"]
        return []

    def _write_cursors(self, cursors: Mapping[str, int | None]) -> None:
        for sink, seq in cursors.items():
            if seq is None:
                self.connection.execute("DELETE FROM cursors WHERE sink = ?", (sink,))
                self.connection.execute("DELETE FROM owed WHERE sink = ?", (sink,))
            else:
                self.connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (sink, seq))

    def _sign(self, now_ns: int, *, running: bool) -> None:
        owner = self._owner
        self.connection.execute(
            "UPDATE meta SET epoch = ?, next_seq = ?, last_commit_ns = ?, running = ?, pid = ?, boot_id = ?, "
            "session_ns = ?, site = ?, boot_ns = ?, commits = ?, checkpointed = ?",
            (
                *(self.epoch, self._table.next_seq, now_ns, int(running), owner.pid, owner.boot_id, owner.started_ns),
                *(rows.printable(self._site), self._boot(), self._commits + 1, self._checkpointed),
            ),
        )

    def cursors(self) -> dict[str, int]:
        """Position of every sink."""
        return dict(self.connection.execute("SELECT sink, seq FROM cursors"))

    def retire(
        self, packets_before_ns: int, samples_before_ns: int, up_to_seq: int, limit: int
    ) -> tuple[int, int, int]:
        """Remove at most `limit` of what is old, in one transaction: samples, packets, records removed."""
        with self.transaction():
            samples = retention.drop_samples(self.connection, samples_before_ns, up_to_seq, limit)
            packets = retention.drop_packets(self.connection, packets_before_ns, limit)
            records = retention.drop_records(self.connection, samples_before_ns, limit)
        return samples, packets, records

    def release(self, part: Part, through_seq: int, limit: int, *, first: bool = True) -> int:
        """Remove at most `limit` samples of a part, kept up to through_seq, in one transaction.

        first: the step in which every sink that lacks some of the part's samples is noted to be owed them.
        """
        with self.transaction():
            if first:
                owing.note(self.connection, part, through_seq)
            return retention.drop_samples(self.connection, part.end_ns, through_seq, limit, from_ns=part.start_ns)

    def checkpoint(self) -> int:
        """Move committed pages from the WAL into the database; returns the pages that had to stay (readers use them).

        A WAL that long readers kept from restarting is cut once it exceeds LONG_WAL pages.
        """
        _busy, pages, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._unsynced = 0 if moved == pages else moved
        if moved == pages:
            self._checkpointed = self._commits
        if pages > LONG_WAL and moved == pages:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return int(pages - moved)

    def close(self, *, checkpoint: bool = True) -> None:
        """Checkpoint what can be, unless the disk has just failed, and close.

        Raises OSError, and stays open, while that disk does not take again what a checkpoint had begun to move.
        """
        if not checkpoint and self._unsynced:
            put_again(self.path, self._unsynced)
        if checkpoint:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Synced to the disk at its end; a failure leaves nothing of it."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            raise


def put_again(live: Path, frames: int) -> None:
    """Write the pages of the first frames of the log into the database once more, and sync it. Raises OSError.

    A checkpoint that a reader cuts short does not sync the database, and SQLite never moves those frames again. Should
    the sync of the next one fail, the kernel may have dropped their pages; closing the last connection would then
    delete the log, the only place where they are. Layout: https://www.sqlite.org/fileformat2.html section 4.1.
    """
    with open(f"{live}-wal", "rb", buffering=0) as log, live.open("r+b", buffering=0) as database:
        size = int.from_bytes(os.pread(log.fileno(), 4, 8), "big")
        starts = range(_LOG_HEADER, _LOG_HEADER + frames * (_FRAME_HEADER + size), _FRAME_HEADER + size)
        newest = {int.from_bytes(os.pread(log.fileno(), 4, start), "big"): start for start in starts}
        for page, start in newest.items():
            data = os.pread(log.fileno(), size, start + _FRAME_HEADER)
            if os.pwrite(database.fileno(), data, (page - 1) * size) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(database.fileno())
