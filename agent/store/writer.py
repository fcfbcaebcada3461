"""The one writer of the store: a thread that commits what waits in groups, retries what the disk refuses, repairs."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.store import records
from agent.store.hostseconds import HostSeconds
from agent.store.leaving import Leaving, Release, Retirement
from agent.store.livefile import DamagedFile, LiveFile, is_damage, is_harmless, trouble
from agent.store.opening import Opening, is_passing
from agent.store.records import EventRecord, Owner, ParkedLine, Retired, RunRecord, StoreOverflow, Unparked
from agent.store.samples import Placed
from agent.store.sealed.manifest import Part
from agent.store.waiting import WAITING_SAMPLES, Attempt, Waiting
from probes.core.clock import MILLISECOND, SECOND, Clock, boot_id
from probes.core.errors import LocalError
from probes.core.model import Sample

log = logging.getLogger(__name__)

GROUP_NS: Final = 200 * MILLISECOND
"""A commit waits this long for more samples to share it."""
IDLE_NS: Final = SECOND
RETRY_NS: Final = 500 * MILLISECOND
OPEN_S: Final = 10.0
"""A start waits so long for the disk, then goes on without it."""
CHECKPOINT_NS: Final = 60 * SECOND
CHECKPOINT_SAMPLES: Final = 20_000
LEAVING_ROWS: Final = 1_000


class Store:
    """Keeps samples, runs, events and the sinks' positions. Safe from any thread; only flush, retire and close wait.

    What was appended is durable (WAL, synchronous=FULL) when flush returns True. Rows the disk refuses stay in memory,
    up to a bound (of number and of octets), and are tried again. Beyond it the newest are dropped, because what was
    accepted stays accepted; they are counted and recorded as one gap with its reason, first and last instant.
    """

    def __init__(self, path: Path, site: str, clock: Clock, waiting: Waiting) -> None:
        self._path, self._clock, self._waiting = path, clock, waiting
        owner = Owner(os.getpid(), boot_id(), clock.wall())
        self._opening = Opening(path, owner, site, clock, self._note_progress)
        self._file: LiveFile | None = None
        self._given_up: LiveFile | None = None
        self._tried = threading.Event()
        self._refusal: LocalError | None = None
        self._attempt: Attempt | None = None
        self._doubts = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._cursors: dict[str, int] = {}
        self._sinks: frozenset[str] | None = None
        self._leaving: list[Leaving] = []
        self._counts = dict.fromkeys(
            ("committed", "commits", "repeated", "moved", "refused", "failures", "checkpoints"), 0
        )
        self._failing_since_ns: int | None = None
        self._failure: str | None = None
        self._progress = self._checkpointed = clock.monotonic()
        self._uncheckpointed = self._newest_seq = self._stop_by = 0
        self._clean, self.epoch = False, ""
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    @staticmethod
    def open(path: Path, *, clock: Clock, site: str, waiting_samples: int = WAITING_SAMPLES) -> Store:
        """Claim the directory, open or create the database, start the writer.

        A damaged database is moved into `damaged/` and a fresh one started. How the last session ended becomes a gap.
        A disk that is full, failing or read-only is no obstacle: `failure` tells, samples wait in memory, and the
        database is opened as soon as it can be. Raises LocalError for what only somebody can change: another process
        holds the store, this user may not write there, a newer version wrote it.
        """
        store = Store(path, site, clock, Waiting(waiting_samples))
        store._thread.start()
        if store._tried.wait(OPEN_S) and store._refusal is not None:
            store._stopping.set()
            store._thread.join()
            raise store._refusal
        if store.failure() is None:
            store.flush(2.0)
        return store

    def append(self, samples: Sequence[Sample]) -> None:
        """Queue the samples. Raises StoreOverflow with the number of those, the last ones, that found no room."""
        self._check_open()
        dropped = self._waiting.put_samples(samples)
        if dropped:
            raise StoreOverflow(dropped)

    def note(self, record: RunRecord | HostSeconds) -> None:
        """Queue what became of a flow probe's run, or what was seen of this host."""
        self._check_open()
        self._waiting.put_note(record)

    def event(self, record: EventRecord) -> None:
        """Queue an event; too many of a kind become one. Start, stop, gaps and damage the store records itself."""
        self._check_open()
        self._waiting.put_event(record, self._clock.monotonic())

    def park(self, sink: str, seq: int, line: str, reason: str) -> bool:
        """Queue a line that a server refused: durable before a cursor advanced after this. False: there is no room."""
        self._check_open()
        return self._waiting.put_note(ParkedLine(sink, seq, self._clock.wall(), line, reason))

    def unpark(self, ids: Sequence[int]) -> None:
        """Queue the removal of parked lines."""
        self._check_open()
        self._waiting.put_note(Unparked(tuple(ids)))

    def cursor(self, sink: str) -> int:
        """The seq up to which the sink has everything; 0 for a new one. Retention then waits for the sink.

        Raises LocalError as long as the database could not be opened.
        """
        self._check_open()
        with self._lock:
            if not self.epoch:
                raise LocalError(f"the store is not open yet: {self.failure()}", hint="see `linkwitness status`")
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

    def settle(self, sink: str, part: str, next_row: int) -> None:
        """The sink has what it is owed of a sealed part up to next_row in file order; NOTHING_LEFT ends the debt."""
        self._waiting.put_settled(sink, part, next_row)

    def write_off(self, parts: Sequence[str], losses: Sequence[EventRecord]) -> None:
        """Sealed parts are about to go: forget that sinks are owed them, record the losses."""
        for loss in losses:
            self.event(loss)
        for part in parts:
            self._waiting.put_settled("", part, records.NOTHING_LEFT)

    def keep_sinks(self, names: Sequence[str]) -> None:
        """Forget the positions of all other sinks and what they are owed: one that is gone holds no samples back."""
        with self._lock:
            self._sinks = frozenset(names)
            self._forget_sinks()

    def _forget_sinks(self) -> None:
        for sink in [name for name in self._cursors if self._sinks is not None and name not in self._sinks]:
            del self._cursors[sink]
            self._waiting.put_cursor(sink, None)

    def flush(self, timeout_s: float) -> bool:
        """True when everything handed in before the call is durable, False when the time was over first."""
        return self._waiting.wait_settled(timeout_s)

    def retire(self, *, packets_before_ns: int, samples_before_ns: int, timeout_s: float = 60.0) -> Retired:
        """Remove packets and samples that start before these UTC ns, in small steps between the commits.

        Samples that a sink does not have yet stay. Waits; what timeout_s cuts off is left to the next call."""
        retirement = Retirement(packets_before_ns, samples_before_ns)
        done = self.leave(retirement, timeout_s)
        return Retired(retirement.samples, retirement.packets, done)

    def release(self, part: Part, still_sealed: Callable[[], bool] = lambda: True, timeout_s: float = 600.0) -> int:
        """Remove, as retire does, a part's samples, sealed and verified. Sinks are owed what they lack."""
        release = Release(part, still_sealed)
        self.leave(release, timeout_s)
        return release.samples

    def leave(self, leaving: Leaving, timeout_s: float) -> bool:
        """Have it done step by step, between the commits; False where timeout_s cuts it off."""
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
        return self._failure or (None if self._tried.is_set() else "the disk does not answer")

    def counters(self) -> Mapping[str, int]:
        """Totals since the start, and `queued`: samples that are not durable now; `failing_ns`: for how long."""
        since = self._failing_since_ns
        return self._counts | {
            "queued": self._waiting.samples,
            "damaged": self._opening.moved,
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

    def _run(self) -> None:
        try:
            self._file = self._open_file()
        except Exception as error:
            if isinstance(error, LocalError) and not is_passing(error):
                self._refusal = error
                self._opening.release()
                self._tried.set()
                return
            self._fail(error)
        self._tried.set()
        while not self._stopping.is_set():
            self._await_work()
            self._pass()
        self._finish()

    def _open_file(self) -> LiveFile:
        if self._given_up is not None:
            self._given_up.close(checkpoint=False)
            self._given_up = None
        file, events = self._opening.open(self._newest_seq + 1, self._doubts)
        for event in events:
            self._waiting.put_note(event)
        with self._lock:
            self._newest_seq = file.next_seq - 1
            if not self.epoch:
                self._cursors = file.cursors()
                self._forget_sinks()
            elif file.epoch != self.epoch:
                for sink, seq in self._cursors.items():
                    self._waiting.put_cursor(sink, seq)
            self.epoch = file.epoch
        attempt, self._attempt = self._attempt, None
        if attempt is not None and attempt.is_in(file):
            self._settle(attempt, Placed(kept=len(attempt.batch.samples)))
        return file

    def _note_progress(self) -> None:
        self._progress = self._clock.monotonic()

    def _await_work(self) -> None:
        wake, clock, waiting = self._waiting.wake, self._clock, self._waiting
        waiting.sum_up(clock.monotonic())
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
            if self._file is None or self._opening.displaced(self._file):
                self._file = None
                self._file = self._open_file()
            self._commit(self._file)
            self._leave_step(self._file)
            self._checkpoint(self._file)
        except Exception as error:
            self._fail(error)
            self._note_progress()
            return False
        if self._failure is not None:
            log.warning("the store writes again; it had failed: %s", self._failure)
            self._failure = self._failing_since_ns = None
            self._opening.keep_reserve()
        self._note_progress()
        return True

    def _commit(self, file: LiveFile) -> None:
        while len(self._waiting):
            attempt = Attempt(file.epoch, self._clock.wall(), *self._waiting.next_batch())
            try:
                placed = file.write(attempt.batch, attempt.at_ns)
            except BaseException:
                self._attempt = attempt
                raise
            with self._lock:
                self._newest_seq = file.next_seq - 1
            self._settle(attempt, placed)

    def _settle(self, attempt: Attempt, placed: Placed) -> None:
        """The batch is durable."""
        self._waiting.refusal = ""
        self._waiting.settle(attempt.batch, attempt.samples, attempt.notes)
        self._doubts = 0
        for name, number in (
            ("committed", placed.kept), ("repeated", placed.repeated), ("moved", placed.moved),
            ("refused", len(placed.refused)), ("commits", 1),
        ):  # fmt: skip
            self._counts[name] += number
        if placed.refused:
            log.error("%d records cannot be kept, the first: %s", len(placed.refused), placed.refused[0])
        self._uncheckpointed += attempt.samples + attempt.notes
        self._note_progress()

    def _leave_step(self, file: LiveFile) -> None:
        with self._lock:
            leaving = next(iter(self._leaving), None)
            delivered = min(self._cursors.values(), default=self._newest_seq)
        if leaving is None:
            return
        begin = self._clock.monotonic()
        removed = leaving.step(file, delivered, LEAVING_ROWS)
        self._uncheckpointed += removed
        if removed:  # for twice as long, processor and disk are there for others
            self._clock.wait(self._stopping, 2 * (self._clock.monotonic() - begin))
            return
        with self._lock:
            self._leaving = [item for item in self._leaving if item is not leaving]
        leaving.finished.set()

    def _checkpoint(self, file: LiveFile) -> None:
        now = self._clock.monotonic()
        due = self._uncheckpointed >= CHECKPOINT_SAMPLES or now - self._checkpointed >= CHECKPOINT_NS
        if due and self._uncheckpointed:
            file.checkpoint()
            self._counts["checkpoints"] += 1
            self._uncheckpointed = 0
        if due:
            self._opening.bear_witness(self._newest_seq)
            self._checkpointed = now

    def _fail(self, error: Exception) -> None:
        self._counts["failures"] += 1
        if self._failing_since_ns is None:
            self._failing_since_ns = self._clock.monotonic()
        text = (error.message if isinstance(error, LocalError) else str(error)) or type(error).__name__
        if text != self._failure:
            expected = isinstance(error, sqlite3.Error | OSError | DamagedFile | LocalError)
            log.error("the store cannot write, samples wait in memory: %s", text, exc_info=not expected)
        self._failure = text
        self._waiting.refusal = trouble(error)
        self._doubts += isinstance(error, DamagedFile) or (isinstance(error, sqlite3.Error) and is_damage(error))
        if self._file is not None and not is_harmless(error):
            self._given_up, self._file = self._file, None

    def _finish(self) -> None:
        """Last commits until the deadline of close; then, if the disk still refuses, the record of what that cost."""
        kept = self._pass()
        while not kept and self._clock.monotonic() < self._stop_by:
            self._clock.sleep_until(min(self._clock.monotonic() + RETRY_NS, self._stop_by))
            kept = self._pass()
        if not kept:
            self._waiting.abandon()
            self._opening.spend_reserve()
        self._waiting.put_event(EventRecord(records.STOP, self._clock.wall(), "linkwitness stopped"), 0)
        self._clean = self._end_session() and kept
        if self._file is not None:
            self._file.close()
        self._opening.bear_witness(self._newest_seq)
        self._opening.release()

    def _end_session(self) -> bool:
        try:
            if self._file is None:
                self._file = self._open_file()
            batch, samples, notes = self._waiting.next_batch(last=True)
            self._file.write(batch, self._clock.wall(), ends_session=True)
        except Exception as error:
            log.error("the store could not be closed in order: %s", error)
            return False
        self._waiting.settle(batch, samples, notes)
        return True
