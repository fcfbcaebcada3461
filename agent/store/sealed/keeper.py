"""The agent's housekeeping: retires what is old, seals what is due, takes what is sealed out of the live database.

What is due: whole past days, and the oldest slices while the live database is larger than it may be.

Works in a thread of its own; sealing itself in a process of its own. Every step can be cut off and is found again.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from agent.config.settings import StoreSettings
from agent.store import owing, unreadable
from agent.store.directory import set_aside
from agent.store.identity import epochs_of, shared_through
from agent.store.leaving import Expulsion, Leaving
from agent.store.owing import Note
from agent.store.records import LIVE_FILE, LOST, EventRecord, Retired
from agent.store.sealed import manifest, process, retention, slices, verification
from agent.store.sealed.manifest import DAY_NS, FOLDER, Part
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.units import format_bytes

log = logging.getLogger(__name__)

SEAL_TIMEOUT_S: Final = 1800.0
"""Far beyond what a day of ten thousand probes takes at the lowest priority."""
FLUSH_S: Final = 30.0
EXPEL_S: Final = 60.0
PASS_NS: Final = 3600 * SECOND
SEALED: Final = "sealed"
SEAL_FAILED: Final = "seal_failed"
RETIRED: Final = "retired"


class Releasing(Protocol):
    """What the keeper needs of the store's writer."""

    def release(self, part: Part, still_sealed: Callable[[], bool], timeout_s: float = ...) -> int: ...
    def retire(self, *, packets_before_ns: int, samples_before_ns: int, timeout_s: float = ...) -> Retired: ...
    def leave(self, leaving: Leaving, timeout_s: float) -> bool: ...
    def write_off(self, parts: Sequence[str], losses: Sequence[EventRecord]) -> None: ...
    def flush(self, timeout_s: float) -> bool: ...


class Keeper:
    """`begin` returns at once and starts nothing while a pass is under way; `close` cuts a pass off."""

    def __init__(self, store: Path, writer: Releasing, clock: Clock, event: Callable[[str, str], None]) -> None:
        self._path, self._writer, self._clock, self._event = store, writer, clock, event
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = ""
        self._due = 0
        self._looked: int | None = None
        """monotonic ns of the last look for damaged rows in the hourly pass"""

    def begin(self, policy: StoreSettings) -> None:
        """Start a pass."""
        if self._stop.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._pass, args=(policy,), name="sealing", daemon=True)
        self._thread.start()

    def watch(self, policy: StoreSettings) -> None:
        """Start a pass every hour, and when the live database is larger than it may be. Looking costs nothing."""
        try:
            with _reading(self._path) as connection:
                used = slices.used_bytes(connection)
        except (OSError, sqlite3.Error):
            return  # the store tells what is wrong with it
        now = self._clock.monotonic()
        if now >= self._due or used > policy.live_bytes:
            self._due = now + PASS_NS
            self.begin(policy)

    def close(self, timeout_s: float = 5.0) -> None:
        """End a pass that is under way; what it leaves is taken up by the next one."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _pass(self, policy: StoreSettings) -> None:
        try:
            self.work(policy)
            self._trouble = ""
        except (LocalError, OSError, sqlite3.Error) as error:
            if str(error) != self._trouble and not self._stop.is_set():
                self._trouble = str(error)
                log.error("sealed days: %s", error)
                self._event(SEAL_FAILED, str(error))
        except Exception:
            log.exception("sealed days: a pass failed")

    def work(self, policy: StoreSettings) -> None:
        """One whole pass. Raises LocalError, OSError."""
        now, begin = self._clock.wall(), self._clock.monotonic()
        if self._looked is None or begin - self._looked >= PASS_NS:  # reading what is damaged fails until then
            self._looked = begin
            self.expel()
        before = {"packets_before_ns": now - policy.keep_packets_ns, "samples_before_ns": now - policy.keep_samples_ns}
        self._writer.retire(**before)
        retention.finish(self._path)
        self._forget_missing()
        try:
            self.seal((now - policy.seal_after_ns) // DAY_NS, policy.live_bytes)
        finally:
            if not self._stop.is_set():
                self._retire(policy.keep_bytes, before)

    def seal(self, before_day: int, live_bytes: int | None = None) -> list[Part]:
        """Release what is sealed and still live, then seal every day before before_day; and the oldest slices while
        more than live_bytes are live. Raises as work: of damaged parts when all others are done."""
        damages = self._release_all()
        found: list[Part] = []
        while not self._stop.is_set():
            try:
                name = process.seal_one(
                    self._path, before_day=before_day, now_ns=self._clock.wall(), timeout_s=SEAL_TIMEOUT_S,
                    stop=self._stop, live_bytes=live_bytes,
                )  # fmt: skip
            except LocalError:
                if not self.expel():
                    raise
                continue
            if name is None:
                break
            found.append(manifest.load(self._path, name))
            self._release(found[-1])
            self._event(SEALED, f"{name}: {found[-1].rows} samples sealed in {format_bytes(found[-1].bytes)}")
        if damages:
            raise damages[0]
        return found

    def expel(self) -> int:
        """Take rows that are no samples any more out of the live database: one would keep all others in it for ever."""
        with _reading(self._path) as connection:
            found = unreadable.find(connection)
        if not found:
            return 0
        log.error("%d samples are damaged in the live database, the first: %s", len(found), found[0])
        expulsion = Expulsion(found, self._clock.wall())
        self._writer.leave(expulsion, EXPEL_S)
        return expulsion.samples

    def _release_all(self) -> list[LocalError]:
        """What keeps parts from being released: their days stay as they are until somebody mends it."""
        oldest = oldest_seq(self._path)
        parts, damaged = manifest.load_sound(self._path)
        found: list[LocalError] = list(damaged.values())
        for part in parts:
            if oldest is not None and part.through_seq >= oldest and not self._stop.is_set():
                try:
                    self._release(part)
                except LocalError as damage:
                    found.append(damage)
        return found

    def _release(self, part: Part) -> None:
        """Take the part's rows out of the live database, once the files have been read and found whole."""
        still = still_live(self._path, part)
        if not still:
            return
        if still > part.rows:
            raise LocalError(f"{part.name}: {still} rows are live and {part.rows} sealed; nothing was removed")
        damages = verification.check_part(self._path, part)
        if damages:
            if still == part.rows:
                set_aside(self._path, [self._path / FOLDER / part.name])
            raise damages[0]
        path = manifest.path_of(self._path, part.name)
        self._writer.release(part, lambda: path.exists() and not self._stop.is_set())

    def _retire(self, keep_bytes: int | None, before: Mapping[str, int]) -> None:
        notes = notes_of(self._path)
        parts, _damaged = manifest.load_sound(self._path)
        gone, bare = retention.plan(
            parts, **before, keep_bytes=keep_bytes, live_bytes=live_bytes(self._path),
            owed={note.part for note in notes},
        )  # fmt: skip
        gone = [part for part in gone if not still_live(self._path, part)]
        if not gone and not bare:
            return
        rows = {part.name: part.rows for part in gone}
        self._write_off([note for note in notes if note.part in rows], rows, "the store may not be larger")
        left = retention.retire(self._path, gone, bare)
        self._event(
            RETIRED,
            f"{format_bytes(left.bytes)} freed: {_names(left.parts, 'samples')}, {_names(left.packets, 'packets')}",
        )

    def _forget_missing(self) -> None:
        """What sinks are owed of parts that somebody took away."""
        notes, there = notes_of(self._path), set(manifest.names(self._path))
        missing = [note for note in notes if note.part not in there]
        self._write_off(missing, {note.part: note.next_row + note.rows for note in missing}, "its files are gone")

    def _write_off(self, notes: Sequence[Note], rows: Mapping[str, int], why: str) -> None:
        """Durably, before the files go: no sink ever looks for what is not there. rows: of each part."""
        lost: dict[str, int] = {}
        for note in notes:
            lost[note.sink] = lost.get(note.sink, 0) + note.left(rows[note.part])
        now = self._clock.wall()
        losses = [
            EventRecord(LOST, now, f"sink {sink} never gets {count} sealed samples: {why}", reason=why, count=count)
            for sink, count in sorted(lost.items())
        ]
        if losses:
            self._writer.write_off(sorted({note.part for note in notes}), losses)
            if not self._writer.flush(FLUSH_S):
                raise LocalError("what sinks lose cannot be recorded; nothing was removed")


def notes_of(store: Path) -> list[Note]:
    """What every sink is owed."""
    with _reading(store) as connection:
        return owing.notes(connection)


def still_live(store: Path, part: Part) -> int:
    """Rows of the part that stand in the live database."""
    with _reading(store) as connection:
        through = shared_through(epochs_of(connection), part.epochs, part.through_seq)
        found = connection.execute(
            "SELECT count(*) FROM samples INDEXED BY samples_seq WHERE seq <= ? AND start_ns >= ? AND start_ns < ?",
            (through, part.start_ns, part.end_ns),
        ).fetchone()
    return int(found[0])


def oldest_seq(store: Path) -> int | None:
    """Smallest seq in the live database."""
    with _reading(store) as connection:
        found: int | None = connection.execute("SELECT min(seq) FROM samples").fetchone()[0]
    return found


def live_bytes(store: Path) -> int:
    """Size of the live database and its log."""
    return sum(path.stat().st_size for path in store.glob(f"{LIVE_FILE}*"))


def _reading(store: Path) -> contextlib.closing[sqlite3.Connection]:
    uri = f"{(store / LIVE_FILE).absolute().as_uri()}?mode=ro"
    return contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5.0))


def _names(parts: Sequence[str], what: str) -> str:
    if not parts:
        return f"no {what}"
    return f"{what} of {parts[0]}" if len(parts) == 1 else f"{what} of {len(parts)} days from {parts[0]}"
