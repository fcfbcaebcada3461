"""The one writer of the store: a thread that commits what waits in groups, retries what the disk refuses, repairs."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.store import records, session
from agent.store.directory import Directory
from agent.store.leaving import Leaving, Release, Retirement
from agent.store.livefile import DamagedFile, LiveFile, is_broken_descriptor, is_damage
from agent.store.records import EventRecord, Owner, ParkedLine, Retired, RunRecord, StoreOverflow, Unparked
from agent.store.sealed.manifest import Part
from agent.store.waiting import WAITING_SAMPLES, Waiting
from probes.core.clock import MILLISECOND, SECOND, Clock, boot_id
from probes.core.errors import LocalError
from probes.core.model import Sample

log = logging.getLogger(__name__)

GROUP_NS: Final = 200 * MILLISECOND
"""A commit waits this long for more samples to share it."""
IDLE_NS: Final = SECOND
RETRY_NS: Final = 500 * MILLISECOND
CHECK_NS: Final = 2 * SECOND
"""Time given to the check of the file at the start."""
CHECKPOINT_NS: Final = 60 * SECOND
CHECKPOINT_SAMPLES: Final = 20_000
LEAVING_ROWS: Final = 2_000


class Store:
    """Keeps samples, runs, events and the sinks' positions. Safe from any thread; only flush, retire and close wait.

    What was appended is durable (WAL, synchronous=FULL) when flush returns True. Rows the disk refuses stay in memory,
    up to a bound, and are tried again; what exceeds the bound is dropped, counted, and recorded as a gap.
    """

    def __init__(self, directory: Directory, owner: Owner, site: str, clock: Clock, waiting: Waiting) -> None:
        self._directory, self._owner, self._site, self._clock, self._waiting = directory, owner, site, clock, waiting
        self._file: LiveFile | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._cursors: dict[str, int] = {}
        self._leaving: list[Leaving] = []
        self._counts = dict.fromkeys(
            ("committed", "commits", "repeated", "moved", "refused", "failures", "checkpoints", "damaged"), 0
        )
        self._failing_since_ns: int | None = None
        self._failure: str | None = None
        self._progress = self._checkpointed = clock.monotonic()
        self._uncheckpointed = 0
        self._newest_seq = 0
        self._stop_by = 0
        self._clean = False
        self.epoch = ""
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    @staticmethod
    def open(path: Path, *, clock: Clock, site: str, waiting_samples: int = WAITING_SAMPLES) -> Store:
        """Claim the directory, open or create the database, start the writer.

        A damaged database is moved into `damaged/` and a fresh one started. How the last session ended becomes a gap.
        Raises LocalError: another process holds the store, the place cannot be written, a newer version wrote it.
        """
        owner = Owner(os.getpid(), boot_id(), clock.wall())
        directory = Directory.claim(path, owner)
        store = Store(directory, owner, site, clock, Waiting(waiting_samples))
        try:
            store._begin()
        except (sqlite3.Error, OSError) as error:
            directory.release()
            raise LocalError(
                f"the store {path} cannot be opened: {error}", hint="is the disk full, or the directory not writable?"
            ) from None
        except BaseException:
            directory.release()
            raise
        store._thread.start()
        store.flush(2.0)
        return store

    def append(self, samples: Sequence[Sample]) -> None:
        """Queue the samples. Raises StoreOverflow with the number of those, the last ones, that found no room."""
        self._check_open()
        dropped = self._waiting.put_samples(samples)
        if dropped:
            raise StoreOverflow(dropped)

    def run(self, record: RunRecord) -> None:
        """Queue what became of a flow probe's run."""
        self._check_open()
        self._waiting.put_note(record)

    def event(self, record: EventRecord) -> None:
        """Queue an event. The store itself records start, stop, the gaps between sessions, overflow and damage."""
        self._check_open()
        self._waiting.put_note(record)

    def park(self, sink: str, seq: int, line: str, reason: str) -> None:
        """Queue a line the sink's server refused: durable no later than a cursor advanced after this call."""
        self._check_open()
        self._waiting.put_note(ParkedLine(sink, seq, self._clock.wall(), line, reason))

    def unpark(self, ids: Sequence[int]) -> None:
        """Queue the removal of parked lines."""
        self._waiting.put_note(Unparked(tuple(ids)))

    def cursor(self, sink: str) -> int:
        """The seq up to which the sink has everything; 0 for a new one. Retention then waits for the sink."""
        with self._lock:
            if sink not in self._cursors:
                self._cursors[sink] = 0
                self._waiting.put_cursor(sink, 0)
            return self._cursors[sink]

    def advance(self, sink: str, seq: int) -> None:
        """The sink has everything up to seq. A cursor never moves back, nor beyond what is durable."""
        self._check_open()
        with self._lock:
            before = self._cursors.get(sink, 0)
            self._cursors[sink] = max(before, min(seq, self._newest_seq))
            if self._cursors[sink] > before:
                self._waiting.put_cursor(sink, self._cursors[sink])

    def keep_sinks(self, names: Sequence[str]) -> None:
        """Forget the positions of all other sinks, so that one no longer configured does not hold samples back."""
        with self._lock:
            for sink in [name for name in self._cursors if name not in names]:
                del self._cursors[sink]
                self._waiting.put_cursor(sink, None)

    def flush(self, timeout_s: float) -> bool:
        """True when everything handed in before the call is durable, False when the time was over first."""
        return self._waiting.wait_settled(timeout_s)

    def retire(self, *, packets_before_ns: int, samples_before_ns: int, timeout_s: float = 60.0) -> Retired:
        """Remove packets and samples that start before these UTC ns, in small steps between the commits.

        Samples that a sink does not have yet stay. Waits; what timeout_s cuts off is left to the next call.
        """
        retirement = Retirement(packets_before_ns, samples_before_ns)
        done = self._leave(retirement, timeout_s)
        return Retired(retirement.samples, retirement.packets, done)

    def release(self, part: Part, still_sealed: Callable[[], bool] = lambda: True, timeout_s: float = 600.0) -> int:
        """Remove the samples of a part whose files and manifest are durable and verified; returns how many went.

        Waits as retire does. Samples that a sink does not have, or that belong to another epoch, stay.
        """
        release = Release(part.epoch, part.start_ns, part.end_ns, part.through_seq, still_sealed)
        self._leave(release, timeout_s)
        return release.samples

    def _leave(self, leaving: Leaving, timeout_s: float) -> bool:
        self._check_open()
        with self._lock:
            self._leaving.append(leaving)
        self._waiting.wake.set()
        done = leaving.finished.wait(timeout_s)
        with self._lock:
            if leaving in self._leaving:
                self._leaving.remove(leaving)
        return done

    def progress(self) -> int:
        """Monotonic ns of the writer's last completed pass: a commit, nothing to do, or a failure it will retry.

        A full disk does not stop it (killing the process would lose what waits in memory); a hung disk does.
        """
        return self._progress

    def failure(self) -> str | None:
        """Why samples cannot be made durable at present; None when all is well."""
        return self._failure

    def counters(self) -> Mapping[str, int]:
        """Totals since the start, and `queued`: samples that are not durable now; `failing_ns`: for how long."""
        since = self._failing_since_ns
        return self._counts | {
            "queued": self._waiting.samples,
            "dropped": self._waiting.dropped,
            "dropped_notes": self._waiting.dropped_notes,
            "failing_ns": 0 if since is None else self._clock.monotonic() - since,
        }

    def close(self, timeout_s: float = 10.0) -> bool:
        """Make everything durable, record the stop, release the directory. False when something could not be kept."""
        if not self._stopping.is_set():
            self._stop_by = self._clock.monotonic() + int(timeout_s * SECOND)
            self._stopping.set()
            self._waiting.wake.set()
        self._thread.join(timeout_s + 2.0)
        return self._clean

    def _check_open(self) -> None:
        if self._stopping.is_set():
            raise LocalError("the store is closed")

    # from here on: the writer's thread, but for _begin

    def _begin(self) -> None:
        try:
            events = self._open_first()
        except sqlite3.OperationalError:  # a full disk has no room for the log's index: give it the reserve
            self._directory.spend_reserve()
            events = self._open_first()
        self._directory.keep_reserve()
        for event in events:
            self._waiting.put_note(event)

    def _open_first(self) -> list[EventRecord]:
        """Open the database, or replace a damaged one; returns what has to be recorded about it."""
        now = self._clock.wall()
        events = [EventRecord(records.START, now, f"linkwitness started as process {self._owner.pid}")]
        modified = self._modified_ns()
        try:
            file = self._open_file()
            if file.previous:
                events.insert(0, session.gap_before(file.previous, self._owner, now))
        except DamagedFile as damage:
            events = [session.gap_after_damage(modified or now, now), self._move_aside(damage), *events]
            file = self._open_file()
        self._file, self.epoch, self._newest_seq, self._cursors = file, file.epoch, file.next_seq - 1, file.cursors()
        return events

    def _modified_ns(self) -> int | None:
        """When the database was last written, by its files."""
        live = self._directory.live
        found = [path.stat().st_mtime_ns for path in (live, Path(f"{live}-wal")) if path.exists()]
        return max(found, default=None)

    def _open_file(self) -> LiveFile:
        """Open it, or create one that goes on with the order of keeping."""
        give_up = self._clock.monotonic() + CHECK_NS
        return LiveFile.open(
            self._directory.live, owner=self._owner, site=self._site, first_seq=self._newest_seq + 1,
            out_of_time=lambda: self._clock.monotonic() >= give_up,
        )  # fmt: skip

    def _move_aside(self, damage: Exception) -> EventRecord:
        now = self._clock.wall()
        name = self._directory.move_aside(now)
        self._counts["damaged"] += 1
        text = f"the database was damaged ({damage}) and is now damaged/{name}; a fresh one was started"
        log.error("%s", text)
        return EventRecord(records.DAMAGED, now, text, reason=str(damage))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._await_work()
            self._pass()
        self._finish()

    def _await_work(self) -> None:
        wake, clock, waiting = self._waiting.wake, self._clock, self._waiting
        if self._failure is not None:
            clock.wait(self._stopping, RETRY_NS)
            return
        if not len(waiting) and not self._leaving:
            clock.wait(wake, IDLE_NS)
        deadline = clock.monotonic() + GROUP_NS
        while len(waiting) and not waiting.ripe() and not self._stopping.is_set():
            remaining = deadline - clock.monotonic()
            if remaining <= 0:
                break
            wake.clear()
            if not waiting.ripe():
                clock.wait(wake, remaining)
        wake.clear()

    def _pass(self) -> bool:
        """Commit what waits, then a step of housekeeping. False after a failure, which is noted for the retry."""
        try:
            if self._file is None:
                self._file = self._open_again()
            self._commit(self._file)
            self._leave_step(self._file)
            self._checkpoint(self._file)
        except Exception as error:
            self._fail(error)
            self._progress = self._clock.monotonic()
            return False
        if self._failure is not None:
            log.warning("the store writes again; it had failed: %s", self._failure)
            self._failure = self._failing_since_ns = None
            self._directory.keep_reserve()
        self._progress = self._clock.monotonic()
        return True

    def _commit(self, file: LiveFile) -> None:
        while len(self._waiting):
            batch, samples, notes = self._waiting.next_batch()
            placed = file.write(batch, self._clock.wall())
            with self._lock:
                self._newest_seq = file.next_seq - 1
            self._waiting.settle(batch, samples, notes)
            for name, number in (
                ("committed", placed.kept), ("repeated", placed.repeated), ("moved", placed.moved),
                ("refused", len(placed.refused)), ("commits", 1),
            ):  # fmt: skip
                self._counts[name] += number
            if placed.refused:
                log.error("%d records cannot be kept, the first: %s", len(placed.refused), placed.refused[0])
            self._uncheckpointed += samples + notes
            self._progress = self._clock.monotonic()

    def _leave_step(self, file: LiveFile) -> None:
        with self._lock:
            leaving = self._leaving[0] if self._leaving else None
            delivered = min(self._cursors.values(), default=self._newest_seq)
        if leaving is None:
            return
        removed = leaving.step(file, delivered, LEAVING_ROWS)
        self._uncheckpointed += removed
        if not removed:
            with self._lock:
                if leaving in self._leaving:
                    self._leaving.remove(leaving)
            leaving.finished.set()

    def _checkpoint(self, file: LiveFile) -> None:
        now = self._clock.monotonic()
        due = self._uncheckpointed >= CHECKPOINT_SAMPLES or now - self._checkpointed >= CHECKPOINT_NS
        if due and self._uncheckpointed:
            file.checkpoint()
            self._counts["checkpoints"] += 1
            self._uncheckpointed = 0
        if due:
            self._checkpointed = now

    def _fail(self, error: Exception) -> None:
        self._counts["failures"] += 1
        if self._failing_since_ns is None:
            self._failing_since_ns = self._clock.monotonic()
        text = str(error) or type(error).__name__
        if text != self._failure:
            expected = isinstance(error, sqlite3.Error | OSError | DamagedFile)
            log.error("the store cannot write, samples wait in memory: %s", text, exc_info=not expected)
        self._failure = text
        damaged = isinstance(error, DamagedFile) or (isinstance(error, sqlite3.Error) and is_damage(error))
        broken = isinstance(error, OSError) or (isinstance(error, sqlite3.Error) and is_broken_descriptor(error))
        if (damaged or broken) and self._file is not None:
            self._file.close()
            self._file = None
        if damaged:
            try:
                self._waiting.put_note(self._move_aside(error))
            except OSError as again:
                log.error("the damaged database cannot be moved aside yet: %s", again)

    def _open_again(self) -> LiveFile:
        file = self._open_file()
        if file.epoch != self.epoch:
            self.epoch = file.epoch
            with self._lock:
                for sink, seq in self._cursors.items():
                    self._waiting.put_cursor(sink, seq)
        return file

    def _finish(self) -> None:
        """Last commits until the deadline of close; then, if the disk still refuses, the record of what that cost."""
        kept = self._pass()
        while not kept and self._clock.monotonic() < self._stop_by:
            self._clock.sleep_until(min(self._clock.monotonic() + RETRY_NS, self._stop_by))
            kept = self._pass()
        if not kept:
            self._waiting.abandon()
            self._directory.spend_reserve()
        self._waiting.put_note(EventRecord(records.STOP, self._clock.wall(), "linkwitness stopped"))
        self._clean = self._end_session() and kept
        if self._file is not None:
            self._file.close()
        self._directory.release()

    def _end_session(self) -> bool:
        if self._file is None:
            return False
        try:
            batch, samples, notes = self._waiting.next_batch()
            self._file.write(batch, self._clock.wall(), ends_session=True)
        except Exception as error:
            log.error("the store could not be closed in order: %s", error)
            return False
        self._waiting.settle(batch, samples, notes)
        return True
