"""How the writer gets at the live database, at the start and after trouble with the disk.

Two things are never believed. Octets whose sync failed: the kernel then calls pages clean that are not on the disk
(PostgreSQL, 2018), and SQLite takes them for a commit when it opens the log anew. So the log is written over itself and
synced before every opening. And a single word of SQLite about damage: it also says so after one failed read (EIO), so
the file is opened and looked at again, and a file that the disk does not give out is waited for, not moved aside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from agent.store import displaced, entries, header, identity, records, schema, session
from agent.store.directory import PARTS, Directory, DiskTrouble, set_aside
from agent.store.displaced import Hold
from agent.store.identity import Evidence, Left, Origin, Witness
from agent.store.livefile import DamagedFile, LiveFile
from agent.store.records import LIVE_FILE, EventRecord, Owner
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError

log = logging.getLogger(__name__)

CHECK_NS: Final = 2 * SECOND
"""Time given to the check of the file's structure."""
UNREADABLE_NS: Final = 60 * SECOND
"""A database that the disk has not given out for so long is moved aside: a fresh one may well be taken."""
BELIEVED: Final = 3
"""So many times in a row, each after a fresh opening, SQLite must find damage that the check of the file did not."""
TRIES: Final = 2
_CHUNK: Final = 1 << 20


class Opening:
    """Used by the writer's thread alone. moved: how many databases were moved aside.

    alive: called while something takes long.
    """

    def __init__(self, path: Path, owner: Owner, site: str, clock: Clock, alive: Callable[[], None]) -> None:
        self.moved = 0
        self.directory: Directory | None = None
        self._path, self._owner, self._site, self._clock, self._alive = path, owner, site, clock, alive
        self._first = True
        self._written_ns: int | None = None
        self._unreadable_ns: int | None = None
        self._records: list[EventRecord] = []
        self._evidence = Evidence(0, False, False)
        self._machine = identity.this_machine()
        self._epoch, self._next_seq = identity.fresh_epoch(), 0
        self._branch: str | None = None
        self._hold: Hold | None = None
        self._known = Witness()
        self._lost: tuple[LiveFile, str | None] | None = None

    def open(self, first_seq: int, doubts: int = 0) -> tuple[LiveFile, list[EventRecord]]:
        """The live database, or a fresh one in the place of a damaged one, and what has to be recorded about it.

        first_seq: of the first sample of a fresh one. doubts: how often SQLite called the file damaged since the last
        commit. Raises DiskTrouble, OSError, sqlite3.Error where another try may do better, LocalError where it won't:
        another process holds the store, this user may not write it, a newer version wrote it.
        """
        if self._lost is not None:
            first_seq = self._recover(self._lost, first_seq)
        if self.directory is None:
            moved = entries.clear_lock(self._path)
            self.directory = Directory.claim(self._path, self._owner)
            self._note_moved([*moved, *entries.clear(self._path)])
            self._written_ns = _written_ns(self.directory.live)
            self._evidence = identity.gather(self._path, self.directory.live, self.directory.witness)
        directory = self.directory
        first_seq = max(first_seq, self._evidence.newest_seq + 1)
        try:
            file = self._open_file(directory, first_seq, doubts)
        except (sqlite3.OperationalError, OSError):
            # a full disk has no room for the log's index
            if not self._first or not directory.spend_reserve():
                raise
            file = self._open_file(directory, first_seq, doubts)
        directory.sync()
        directory.keep_reserve()
        self._unreadable_ns = None
        found = self._to_record(file, self._continue(directory, file))
        directory.bear_witness(file.next_seq - 1)
        self._drop_hold()
        self._hold = Hold(directory.live)
        return file, found

    def displaced(self, file: LiveFile) -> bool:
        """Whether the store was moved or deleted since it was opened; the next opening then sets it right."""
        if self._hold is None or self.directory is None:
            return False
        what = self._hold.displaced()
        if what is None and self.directory.holds():
            return False
        self._drop_hold()
        self._lost = (file, what)
        return True

    def _drop_hold(self) -> None:
        if self._hold is not None:
            self._hold.close()
        self._hold = None

    def _recover(self, lost: tuple[LiveFile, str | None], first_seq: int) -> int:
        """Claim the place again, save what was deleted, tell it; returns first_seq. Raises as open."""
        (file, what), now = lost, self._clock.wall()
        if self.directory is not None and not self.directory.holds():
            self._known, directory = self.directory.witness, self.directory
            self.directory = None
            directory.release()
        if self.directory is None:
            self.directory = Directory.claim(self._path, self._owner)
            self.directory.witness = self._known
        live = self._path / LIVE_FILE
        text = "the lock of the store was deleted under the running agent; it is held again"
        if what == displaced.DELETED and not live.exists():
            displaced.rescue(file.connection, live, self._alive)
            text = "the database was deleted under the running agent; all it held was written anew"
        elif what is not None:
            self._epoch, self._next_seq = identity.fresh_epoch(), first_seq
            text = f"the database was {what} under the running agent; what stands in its place now goes on"
        if what is not None:
            displaced.abandon(file.connection)
        else:
            file.close(checkpoint=False)
        log.error("%s", text)
        self._records.append(EventRecord(records.IDENTITY, now, text, reason=what or "lock deleted"))
        self._lost = None
        return first_seq

    def keep_reserve(self) -> None:
        """As Directory.keep_reserve."""
        if self.directory is not None:
            self.directory.keep_reserve()

    def spend_reserve(self) -> None:
        """As Directory.spend_reserve."""
        if self.directory is not None:
            self.directory.spend_reserve()

    def release(self) -> None:
        """Let the next process in."""
        self._drop_hold()
        if self.directory is not None:
            self.directory.release()

    def bear_witness(self, newest_seq: int) -> None:
        """As Directory.bear_witness."""
        if self.directory is not None:
            self.directory.bear_witness(newest_seq)

    def _continue(self, directory: Directory, file: LiveFile) -> Origin | None:
        """Begin this session's epoch; at the start with what tells whether the store is the one that was left here."""
        origin, now = None, self._owner.started_ns
        if self._first:
            left, known = file.left(), directory.witness
            if file.created:
                left = Left(file.next_seq - 1, known.machine, known.branch, known.site, 0)
            origin = identity.judge(left, self._evidence, self._machine, self._site, self._epoch)
            self._branch, self._next_seq = origin.branch, origin.next_seq
            directory.witness = dataclasses.replace(known, machine=self._machine, branch=origin.branch, site=self._site)
            if origin.reason is not None:
                log.warning("%s", origin.text)
        if file.created:
            self._epoch = file.epoch
        file.begin_epoch(self._epoch, self._next_seq, self._machine, self._branch, now)
        return origin

    def _to_record(self, file: LiveFile, origin: Origin | None) -> list[EventRecord]:
        found, self._records = self._records, []
        if self._first and origin is not None:
            self._first = False
            started = self._owner.started_ns
            if file.previous is not None:
                newest_ns = file.newest_before(started)
                start = session.Start(started, self._clock.boot(), newest_ns, restored=origin.reason is not None)
                found[:0] = session.gaps_before(file.previous, self._owner, start)
            elif found or self._evidence.missing:
                found.insert(0, session.gap_after_damage(self._written_ns or started, started))
            if origin.reason is not None:
                found.append(EventRecord(records.IDENTITY, started, origin.text, reason=origin.reason))
            found.append(EventRecord(records.START, started, f"linkwitness started as process {self._owner.pid}"))
        return found

    def _open_file(self, directory: Directory, first_seq: int, doubts: int) -> LiveFile:
        if leftover := directory.move_leftovers():
            self._note_damage("its move had been cut off", leftover)
        found = "SQLite finds damage that no check finds"
        for _ in range(TRIES if doubts < BELIEVED else 0):
            try:
                return self._try(directory.live, first_seq, checked=self._first or doubts > 0)
            except DamagedFile as damage:
                found = str(damage)
            self._read_through(directory.live)
        self._note_damage(found, directory.move_aside(self._clock.wall()))
        return self._try(directory.live, first_seq, checked=False)

    def _try(self, live: Path, first_seq: int, *, checked: bool) -> LiveFile:
        give_up = self._clock.monotonic() + CHECK_NS
        schema.check_file(live)
        if live.exists() and live.stat().st_size and header.read(live) is None:
            raise DamagedFile("file is not a database")  # SQLite writes over one that is shorter than its header
        write_over(Path(f"{live}-wal"), self._alive)
        if self._first and not identity.log_fits(live):
            self._set_log_aside(live)
        try:
            return LiveFile.open(
                live, owner=self._owner, site=self._site, first_seq=first_seq,
                out_of_time=lambda: not checked or self._clock.monotonic() >= give_up, boot=self._clock.boot,
            )  # fmt: skip
        except sqlite3.OperationalError:
            if _forbidden(live):
                raise LocalError(
                    f"this user may not write {live}", hint="start as the user who owns it, or correct its owner"
                ) from None
            raise

    def _read_through(self, live: Path) -> None:
        """Read every octet. Raises OSError where the disk does not give them out, unless it has not for long."""
        try:
            for part in PARTS[:2]:
                with contextlib.suppress(FileNotFoundError), _Opened(Path(f"{live}{part}"), os.O_RDONLY) as descriptor:
                    position = 0
                    while found := os.pread(descriptor, _CHUNK, position):
                        position += len(found)
                        self._alive()
        except OSError as error:
            now = self._clock.monotonic()
            if self._unreadable_ns is None:
                self._unreadable_ns = now
            if now - self._unreadable_ns < UNREADABLE_NS:
                raise OSError(error.errno, f"the database cannot be read: {error.strerror}") from None

    def _note_moved(self, names: Sequence[str]) -> None:
        for name in names:
            text = f"what stood in the store under the name of one of its files is now damaged/{name}"
            log.error("%s", text)
            self._records.append(EventRecord(records.DAMAGED, self._clock.wall(), text, reason="another kind of file"))

    def _set_log_aside(self, live: Path) -> None:
        logs = [path for path in (Path(f"{live}{part}") for part in PARTS[1:]) if path.exists()]
        names = set_aside(self._path, logs)
        text = (
            f"the log beside the database belongs to a newer state of it and is now damaged/{names[0]}: the database "
            "was restored without its log"
        )
        log.error("%s", text)
        self._records.append(EventRecord(records.DAMAGED, self._clock.wall(), text, reason="log of another state"))

    def _note_damage(self, why: str, name: str) -> None:
        self.moved += 1
        text = f"the database was damaged ({why}) and is now damaged/{name}; a fresh one was started"
        log.error("%s", text)
        self._records.append(EventRecord(records.DAMAGED, self._clock.wall(), text, reason=why))


class _Opened:
    """A descriptor for a `with`. Closing one of the database drops this process's locks on it, which only another
    writing process would ask for: the lock on the directory keeps those out."""

    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor = os.open(path, flags)

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def write_over(path: Path, alive: Callable[[], None] = lambda: None) -> None:
    """Write a file's own octets over it and sync them, on a descriptor that knows no failure. Raises OSError.

    Readers see no difference. Afterwards what the kernel shows of the file is what the disk holds.
    """
    with contextlib.suppress(FileNotFoundError), _Opened(path, os.O_RDWR) as descriptor:
        position = 0
        while found := os.pread(descriptor, _CHUNK, position):
            alive()
            view = memoryview(found)
            while view:
                written = os.pwrite(descriptor, view, position)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                position += written
                view = view[written:]
        if position:
            os.fsync(descriptor)


def is_passing(error: Exception) -> bool:
    """True where another try may do better."""
    return not isinstance(error, LocalError) or isinstance(error, DiskTrouble)


def _forbidden(path: Path) -> bool:
    """The file's mode keeps this user from writing it; not so on a file system that is read-only just now."""
    try:
        read_only = os.statvfs(path.parent).f_flag & os.ST_RDONLY
        return not read_only and path.exists() and not os.access(path, os.R_OK | os.W_OK)
    except OSError:
        return False


def _written_ns(live: Path) -> int | None:
    """When the database was last written, by its files."""
    found = []
    for part in PARTS[:2]:
        with contextlib.suppress(OSError):
            found.append(Path(f"{live}{part}").stat().st_mtime_ns)
    return max(found, default=None)
