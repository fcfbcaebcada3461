"""Reading the store beside its writer, from any number of processes: never writes, never checkpoints, never locks."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from agent.sla.samples.columns import SampleColumns
from agent.store import batches, judged, schema, status
from agent.store.combined import Combined, stored
from agent.store.hostseconds import LONGEST_ROW_NS, HostSeconds, joined
from agent.store.records import (
    GAP_REASONS,
    LIVE_FILE,
    DayStatus,
    EventRecord,
    Owed,
    ParkedLine,
    RunRecord,
    RunState,
    Series,
    StoredSample,
    StoreStatus,
)
from agent.store.samplebatch import SampleBatch
from agent.store.sealed.manifest import DamagedSeal
from agent.store.sealed.owed import OwedFile
from agent.store.sealed.parts import SealedParts
from agent.store.session import unmeasured
from probes.core.arrays import Int64, Packets
from probes.core.errors import LocalError
from probes.core.model import Sample

Answer = TypeVar("Answer")

_FOREVER: Final = (1 << 63) - 1


class StoreReader:
    """One read-only connection. Safe from several threads, which then take turns. Close it, or use it in a `with`.

    All methods raise LocalError where the store cannot be read. Should the writer replace a damaged database, the
    next call reads the new one.
    """

    def __init__(self, path: Path, *, ignore_damaged: bool = False) -> None:
        self._path = path
        self._sealed = SealedParts(path, ignore_damaged=ignore_damaged)
        self._live = path / LIVE_FILE
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._immutable = False
        self._identity = (0, 0)
        self._owed_file = OwedFile()

    @staticmethod
    def open(path: Path, *, ignore_damaged: bool = False) -> StoreReader:
        """Open the store in this directory. Raises LocalError when there is none or it may not be read.

        ignore_damaged: read without the sealed days that are damaged; `left_out` names them.
        """
        reader = StoreReader(path, ignore_damaged=ignore_damaged)
        with reader._reading():
            return reader

    def close(self) -> None:
        """Give the file back; another call opens it again."""
        with self._lock:
            self._drop()

    def __enter__(self) -> StoreReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def series(self) -> list[Series]:
        """Every probe of every circuit that has samples, by circuit and probe."""
        return self._combined(lambda store: store.series())

    def days(self) -> list[DayStatus]:
        """Every UTC day that has samples, oldest first."""
        return self._combined(lambda store: store.days())

    def read(
        self,
        circuit: str,
        probe: str,
        columns: Sequence[str],
        start_ns: int,
        end_ns: int,
        kind: str | None = None,
        *,
        spare: Collection[str] = (),
        summed: bool = False,
    ) -> SampleColumns:
        """Samples that start in [start_ns, end_ns) as columns, in ascending start_ns; no rows where there are none.

        columns: names of agent.sla.samples.columns.READABLE_COLUMNS; start_ns, span_ns and state always come.
        Of several kinds that a probe of this name has had, the one kept last is read unless `kind` says which.
        spare: left out where all samples with answers have histograms. summed: these may come as DayHistograms.
        """
        more = (spare, judged.later(self.read) if summed else None)
        return self._combined(lambda store: store.read(circuit, probe, kind, columns, start_ns, end_ns, *more))

    def left_out(self) -> tuple[DamagedSeal, ...]:
        """What has been damaged and left out so far."""
        return tuple(self._sealed.damaged.values())

    def after(self, seq: int, limit: int) -> list[StoredSample]:
        """The oldest `limit` live samples kept after seq, in the order of keeping, without packets.

        What has been sealed is not among them: a sink is `owed` what it lacks.
        """
        return self._stored("WHERE s.seq > ? ORDER BY s.seq LIMIT ?", (seq, limit))

    def extent_after(self, seq: int) -> tuple[int, int] | None:
        """First and last seq of the live samples kept after seq; None where there are none. Looks at no values."""
        with self._reading() as connection:
            first, last = connection.execute(
                "SELECT (SELECT min(seq) FROM samples INDEXED BY samples_seq WHERE seq > ?), "
                "(SELECT max(seq) FROM samples INDEXED BY samples_seq)",
                (seq,),
            ).fetchone()
        return None if first is None else (first, last)

    def start_after(self, seq: int) -> int | None:
        """UTC start of the live sample kept next after seq; None where there is none."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT start_ns FROM samples INDEXED BY samples_seq WHERE seq > ? ORDER BY seq LIMIT 1", (seq,)
            ).fetchone()
        return None if row is None else row[0]

    def after_batch(self, seq: int, limit: int) -> SampleBatch:
        """As `after`, as columns. A row that cannot be read is in it, and in its `unreadable`."""
        with self._reading() as connection:
            return batches.after(connection, seq, limit)

    def owed(self, sink: str) -> list[Owed]:
        """What the sink lacks of samples that have been sealed and have left the live database, the oldest first.

        Of a part whose manifest is damaged as well: `owed_batch` tells.
        """
        return self._combined(lambda store: store.owed(sink), about="")

    def owed_since(self, sink: str) -> int | None:
        """UTC start of the oldest of these samples, by the manifests; None where there are none."""
        return self._combined(lambda store: store.owed_since(sink), about="")

    def owed_batch(self, owed: Owed, limit: int) -> tuple[SampleBatch, int]:
        """The next `limit` samples of a sealed part in file order, and the next_row after them.

        NOTHING_LEFT follows the last ones; of a part that is gone there are none. Raises DamagedSeal as `read` does.
        One file at a time is held in memory, for the next call.
        """
        return self._combined(lambda store: store.owed_batch(owed, limit, self._owed_file), about=owed.part)

    def newest(self, limit: int, *, above: int = 0, below: int | None = None) -> list[StoredSample]:
        """The newest `limit` live samples with above < seq < below, newest first, without packets."""
        return self._stored(
            "WHERE s.seq > ? AND s.seq < ? ORDER BY s.seq DESC LIMIT ?",
            (above, _FOREVER if below is None else below, limit),
        )

    def samples(self, circuit: str, probe: str, start_ns: int, end_ns: int, limit: int = 10_000) -> list[StoredSample]:
        """Whole samples of one probe that start in [start_ns, end_ns), in ascending start_ns, without packets."""
        return self._combined(lambda store: store.samples(circuit, probe, start_ns, end_ns, limit))

    def latest(self) -> list[Sample]:
        """The sample kept last of every probe, by circuit and probe."""
        return [item.sample for item in self._combined(lambda store: store.latest())]

    def last_paths(self) -> list[Sample]:
        """The newest sample of every path probe that has a path, by circuit and probe; its latest run may have none."""
        return self._combined(lambda store: store.last_paths())

    def _stored(self, where: str, values: tuple[int | str, ...]) -> list[StoredSample]:
        with self._reading() as connection:
            found = connection.execute(schema.SELECT_STORED + where, values).fetchall()
        return [stored(row) for row in found]

    def packets(self, circuit: str, probe: str, start_ns: int) -> Packets | None:
        """Packets of the sample that starts at start_ns; None where there are none or they have been retired.

        Of a sample moved by a stepped clock, sent_ns counts from its own start, some ns before the start it has here.
        """
        return self._combined(lambda store: store.packets(circuit, probe, start_ns))

    def packets_of(self, circuit: str, probe: str, starts_ns: Int64) -> list[Packets | None]:
        """Packets of many samples at once, in the order of starts_ns; None for each that has none any more."""
        return self._combined(lambda store: store.packets_of(circuit, probe, starts_ns))

    def runs(
        self, circuit: str | None = None, probe: str | None = None, *, since_ns: int = 0, limit: int = 1000
    ) -> list[RunRecord]:
        """What became of due runs since since_ns, newest first; of all circuits and probes or of those named."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT circuit, probe, kind, state, scheduled_ns, started_ns, reason FROM runs "
                "WHERE ifnull(circuit = ?1, 1) AND ifnull(probe = ?2, 1) AND scheduled_ns >= ?3 "
                "ORDER BY id DESC LIMIT ?4",
                (circuit, probe, since_ns, limit),
            ).fetchall()
        return [RunRecord(row[0], row[1], row[2], RunState(row[3]), *row[4:]) for row in found]

    def newest_runs(self) -> list[RunRecord]:
        """What became of the last due run of every flow probe, by circuit and probe."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT circuit, probe, kind, state, scheduled_ns, started_ns, reason FROM runs "
                "WHERE id IN (SELECT max(id) FROM runs GROUP BY circuit, probe) ORDER BY circuit, probe"
            ).fetchall()
        return [RunRecord(row[0], row[1], row[2], RunState(row[3]), *row[4:]) for row in found]

    def last_runs(self) -> dict[tuple[str, str], int]:
        """(circuit, probe) -> UTC ns of the start of its last run that took place."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT circuit, probe, ifnull(started_ns, scheduled_ns) FROM runs WHERE id IN "
                "(SELECT max(id) FROM runs WHERE state = 'ran' GROUP BY circuit, probe)"
            ).fetchall()
        return {(circuit, probe): at_ns for circuit, probe, at_ns in found}

    def events(
        self, since_ns: int = 0, until_ns: int = _FOREVER, *, kind: str | None = None, limit: int = 1000
    ) -> list[EventRecord]:
        """Events that touch [since_ns, until_ns), newest first; of all kinds or the one named."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT kind, at_ns, text, end_ns, reason, count, circuit FROM events "
                "WHERE at_ns < ?2 AND max(at_ns, ifnull(end_ns, at_ns)) >= ?1 AND ifnull(kind = ?3, 1) "
                "ORDER BY id DESC LIMIT ?4",
                (since_ns, until_ns, kind, limit),
            ).fetchall()
        return [EventRecord(*row) for row in found]

    def gaps(self, since_ns: int = 0, until_ns: int = _FOREVER, *, limit: int = 10_000) -> list[EventRecord]:
        """Time without measurement that touches [since_ns, until_ns), each with its reason, newest record first.

        As known now: a clock that was found to have been ahead cuts what was recorded by it. A time with the reason
        CLOCK_BACK was measured twice.
        """
        with self._reading() as connection:
            marks = ", ".join("?" * len(GAP_REASONS))
            found = connection.execute(
                "SELECT kind, at_ns, text, end_ns, reason, count, circuit FROM events "
                f"WHERE reason IN ({marks}) AND end_ns IS NOT NULL ORDER BY id DESC LIMIT ?",
                (*GAP_REASONS, limit),
            ).fetchall()
        known = unmeasured(EventRecord(*row) for row in reversed(found))
        return [gap for gap in reversed(known) if gap.at_ns < until_ns and (gap.end_ns or gap.at_ns) >= since_ns]

    def host(self, since_ns: int = 0, until_ns: int = _FOREVER) -> HostSeconds:
        """Seconds of this host that were noted in [since_ns, until_ns), in the order in which they were."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT data FROM host WHERE start_ns >= ? AND start_ns < ? ORDER BY id",
                (since_ns - LONGEST_ROW_NS, until_ns),
            ).fetchall()
        return joined(HostSeconds.decode(data) for (data,) in found).between(since_ns, until_ns)

    def branches(self) -> list[tuple[int, str | None]]:
        """(first seq, branch) ascending: the tag that samples carry in the sinks from that seq on; empty where none do.

        See docs/decisions/0006-identity-of-the-store.md.
        """
        with self._reading() as connection:
            if connection.execute("SELECT 1 FROM epochs WHERE branch IS NOT NULL LIMIT 1").fetchone() is None:
                return []
            found = connection.execute("SELECT first_seq, branch FROM epochs ORDER BY first_seq").fetchall()
        changes: list[tuple[int, str | None]] = [(0, None)]
        for first, branch in found:
            if branch != changes[-1][1]:
                changes.append((first, branch))
        return changes

    def cursors(self) -> dict[str, int]:
        """Position of every sink."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT sink, seq FROM cursors ORDER BY sink"))

    def parked(self, sink: str, limit: int = 1000, *, after: int | None = None) -> list[ParkedLine]:
        """Lines the sink's server refused, newest first; with `after` the oldest first, from beyond that id."""
        order = ("<", "DESC") if after is None else (">", "ASC")
        with self._reading() as connection:
            found = connection.execute(
                "SELECT sink, seq, at_ns, line, reason, id FROM parked "
                f"WHERE sink = ? AND id {order[0]} ? ORDER BY id {order[1]} LIMIT ?",
                (sink, _FOREVER if after is None else after, limit),
            ).fetchall()
        return [ParkedLine(*row) for row in found]

    def status(self) -> StoreStatus:
        """The store at one instant, sinks and series included."""
        with self._reading() as connection:
            live = status.status(connection, self._path)
            parts = self._sealed.current()
        series, owed = self._combined(lambda store: (store.series(), store.owed_rows()))
        return replace(
            live,
            rows=sum(item.rows for item in series),
            first_ns=min((item.first_ns for item in series), default=None),
            last_ns=max((item.last_ns for item in series), default=None),
            series=tuple(series),
            sinks=tuple(replace(sink, lag=sink.lag + owed.get(sink.sink, 0)) for sink in live.sinks),
            sealed_bytes=sum(part.bytes for part in parts),
            sealed_rows=sum(part.rows for part in parts),
        )

    def _combined(self, answer: Callable[[Combined], Answer], about: str | None = None) -> Answer:
        """Live rows and sealed days at one instant. The snapshot comes first: what has left it by then is sealed."""
        with self._reading() as connection:
            connection.execute("SELECT id FROM meta").fetchone()
            return self._sealed.read(lambda sealed: answer(Combined(connection, sealed)), about)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A snapshot: everything read inside belongs to one instant."""
        with self._lock:
            try:
                connection = self._open_current()
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._drop()
                raise LocalError(
                    f"the store {self._path} cannot be read: {error}",
                    hint=_hint(error),
                ) from None

    def _open_current(self) -> sqlite3.Connection:
        try:
            found = self._live.stat()
        except FileNotFoundError:
            raise LocalError(
                f"there is no store at {self._path}", hint="`linkwitness run` creates it; or name another with --store"
            ) from None
        identity = (found.st_dev, found.st_ino)
        if self._connection is not None and identity == self._identity and not (self._immutable and self._has_wal()):
            return self._connection
        self._drop()
        self._connection = self._connect()
        self._identity = identity
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        """mode=ro needs to create the WAL's index; a user who may not can read a store at rest as immutable."""
        schema.check_file(self._live, current=True)
        uri = f"{self._live.absolute().as_uri()}?mode=ro"
        try:
            self._immutable = False
            return _checked(uri, self._live)
        except sqlite3.OperationalError:
            if self._has_wal():
                raise
            self._immutable = True
            return _checked(f"{uri}&immutable=1", self._live)

    def _has_wal(self) -> bool:
        return self._live.with_name(f"{LIVE_FILE}-wal").exists()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _checked(uri: str, path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA query_only = 1")
        if not schema.is_ours(connection):
            raise LocalError(f"{path} is a database of another program", hint=_MENDED)
        version = schema.version_of(connection)
        schema.check_version(path, version)
        if version == 0 or connection.execute("SELECT id FROM meta").fetchone() is None:
            text = f"the store {path.parent} is being created"
            raise LocalError(text, hint="try again in a moment; an agent that is started goes on with it")
    except BaseException:
        connection.close()
        raise
    return connection


_MENDED: Final = "an agent that is started moves it into damaged/, whole, and goes on with a fresh one"


def _hint(error: Exception) -> str:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return _MENDED
    return "may this user read the directory and its files?"
