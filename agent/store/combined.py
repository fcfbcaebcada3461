"""Live and sealed rows as one: what StoreReader answers, inside the snapshot of the live database its caller holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from agent.sla.samples.columns import HISTOGRAM_COLUMNS, WITHHELD_COLUMNS, SampleColumns
from agent.sla.samples.histograms import Histograms
from agent.sla.samples.texts import Texts
from agent.store import columnar, judged, owing, paths, rows, schema, status
from agent.store.identity import epochs_of, shared_through
from agent.store.records import NOTHING_LEFT, DayStatus, Owed, Series, StoredSample
from agent.store.samplebatch import SampleBatch, empty
from agent.store.sealed import extract, layout, manifest, overview
from agent.store.sealed.manifest import PACKETS, Part, SealedSeries, SeriesKey, day_text, series_of
from agent.store.sealed.owed import OwedFile
from agent.store.sealed.reading import SealedDays
from probes.core.arrays import Int64, Packets
from probes.core.clock import SECOND
from probes.core.model import Sample

_DAY_NS: Final = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class _Newest:
    """The sample of a series kept last. part: where it is sealed; None: in the live database."""

    key: SeriesKey
    order: tuple[int, int]
    start_ns: int
    part: Part | None


class Combined:
    """One store at one instant."""

    def __init__(self, connection: sqlite3.Connection, sealed: SealedDays) -> None:
        self._connection, self._sealed = connection, sealed
        self._epochs = epochs_of(connection) if sealed.parts else []
        oldest = connection.execute("SELECT min(seq) FROM samples").fetchone()[0] if sealed.parts else None
        self._shared = {part.name: shared_through(self._epochs, part.epochs, part.through_seq) for part in sealed.parts}
        """seq up to which a part's rows and those of the live database are the same"""
        self._leaving = [part for part in sealed.parts if oldest is not None and self._shared[part.name] >= oldest]
        """parts whose rows may still stand in the live database"""

    def read(
        self,
        circuit: str,
        probe: str,
        kind: str | None,
        wanted: Sequence[str],
        start_ns: int,
        end_ns: int,
        spare: Collection[str] = (),
        later: judged.Later | None = None,
    ) -> SampleColumns:
        """As StoreReader.read. later: reads histograms of this series when they are asked for; None reads them now."""
        if spare:
            return self._spared(circuit, probe, kind, wanted, start_ns, end_ns, spare, later)
        columnar.check(wanted)
        if kind is None:
            newest = self._newest(circuit, probe)
            kind = max(newest, key=lambda item: item.order).key[2] if newest else None
        live = columnar.read(
            self._connection, circuit, probe, kind, wanted, start_ns, end_ns, self._taken(start_ns, end_ns)
        )
        if kind is None or not self._sealed.between(start_ns, end_ns):
            return live
        key = (circuit, probe, kind)
        names = layout.required_integers(wanted)
        shapes = [name for name in HISTOGRAM_COLUMNS if name in wanted]
        if (summed := judged.read(self._sealed, key, wanted, live, start_ns, end_ns, later)) is not None:
            return summed
        everything = (*names, *(layout.BUCKETS[name] for name in shapes))
        found = self._sealed.integers(key, everything, start_ns, end_ns, len(live))
        rows = len(found["start_ns"]) - len(live)
        if not rows:
            return replace(live, kind=kind)
        columns: dict[str, Any] = {name: found[name] for name in names}
        for name in names:
            columns[name][rows:] = live.column(name)
        for name in shapes:
            sealed = self._sealed.histograms(key, name, found[layout.BUCKETS[name]][:rows], start_ns, end_ns)
            columns[name] = Histograms.joined((sealed, getattr(live, name)))
        for name in WITHHELD_COLUMNS:
            if name in wanted:
                columns[name] = Texts.joined((self._sealed.texts(key, name, start_ns, end_ns), getattr(live, name)))
        return _ascending(SampleColumns(circuit=circuit, probe=probe, kind=kind, **columns))

    def _spared(
        self,
        circuit: str,
        probe: str,
        kind: str | None,
        wanted: Sequence[str],
        start_ns: int,
        end_ns: int,
        spare: Collection[str],
        later: judged.Later | None,
    ) -> SampleColumns:
        needed = [name for name in wanted if name not in spare]
        found = self.read(circuit, probe, kind, needed, start_ns, end_ns, (), later)
        left = [name for name in wanted if name in spare]
        if not left or (found.histogram is not None and not judged.bare(found)):
            return found
        more = self.read(circuit, probe, found.kind, left, start_ns, end_ns)
        if not np.array_equal(more.start_ns, found.start_ns):  # two parts of one day, put in order by another column
            return self.read(circuit, probe, found.kind, wanted, start_ns, end_ns)
        columns: dict[str, Any] = {name: more.column(name) for name in left}
        return replace(found, **columns)

    def samples(self, circuit: str, probe: str, start_ns: int, end_ns: int, limit: int) -> list[StoredSample]:
        """As StoreReader.samples."""
        found: list[StoredSample] = []
        for part in self._sealed.between(start_ns, end_ns):
            if len(found) >= limit:
                break
            day = self._sealed.only(part)
            for item in series_of(part, circuit, probe):
                found += day.samples(item.key, start_ns, end_ns)
        condition, values = columnar.left(self._taken(start_ns, end_ns), "s.")
        live = self._connection.execute(
            f"{schema.SELECT_STORED}WHERE t.circuit = ? AND t.probe = ? AND s.start_ns >= ? AND s.start_ns < ?"
            f"{condition} ORDER BY s.start_ns LIMIT ?",
            (circuit, probe, start_ns, end_ns, *values, limit),
        )
        found += [stored(row) for row in live]
        found.sort(key=lambda item: item.sample.start_ns)
        return _apart(found)[:limit]

    def latest(self) -> list[StoredSample]:
        """The sample kept last of every series, by circuit, probe and kind."""
        found = self._connection.execute(
            f"{schema.SELECT_STORED}WHERE s.start_ns = t.newest_ns ORDER BY t.circuit, t.probe, t.kind"
        )
        live = {(row[0], row[1], row[2]): stored(row) for row in found}
        best: dict[SeriesKey, _Newest] = {}
        for current in (True, False):
            parts = [part for part in self._sealed.parts if (self._shared[part.name] > 0) == current]
            for of, part in overview.newest(parts, by_seq=current):
                item = self._sealed_newest(part, of)
                if of.key not in best or item.order > best[of.key].order:
                    best[of.key] = item
        for key, item in best.items():
            if item.part is None or (key in live and live[key].seq >= item.order[1] * item.order[0]):
                continue
            day = self._sealed.only(item.part)
            live[key] = day.samples(key, item.start_ns, item.start_ns + 1)[0]
        return [live[key] for key in sorted(live)]

    def last_paths(self) -> list[Sample]:
        """As StoreReader.last_paths."""
        return paths.last_paths(self._connection, self._sealed)

    def packets(self, circuit: str, probe: str, start_ns: int) -> Packets | None:
        """As StoreReader.packets."""
        row = self._connection.execute(
            "SELECT p.data FROM series t JOIN samples s ON s.series = t.id JOIN packets p ON p.seq = s.seq "
            "WHERE t.circuit = ? AND t.probe = ? AND s.start_ns = ?",
            (circuit, probe, start_ns),
        ).fetchone()
        if row is not None:
            return Packets.decode(row[0])
        for part in self._sealed.between(start_ns, start_ns + 1):
            day = self._sealed.only(part)
            for item in series_of(part, circuit, probe):
                data = day.packets(item.key, start_ns)
                if data is not None:
                    return Packets.decode(data)
        return None

    def packets_of(self, circuit: str, probe: str, starts_ns: Int64) -> list[Packets | None]:
        """As StoreReader.packets_of; a day at a time, so that little is held."""
        found: list[Packets | None] = [None] * len(starts_ns)
        days = starts_ns // _DAY_NS
        for day in np.unique(days).tolist():
            places = np.flatnonzero(days == day)
            wanted = starts_ns[places]
            encoded = self._packets_between(circuit, probe, int(wanted.min()), int(wanted.max()) + 1)
            for place, start in zip(places.tolist(), wanted.tolist(), strict=True):
                data = encoded.get(start)
                found[place] = None if data is None else Packets.decode(data)
        return found

    def _packets_between(self, circuit: str, probe: str, start_ns: int, end_ns: int) -> dict[int, bytes]:
        """Encoded packets by start; those of live samples go before sealed ones."""
        found: dict[int, bytes] = {}
        for part in self._sealed.between(start_ns, end_ns):
            day = self._sealed.only(part)
            for item in series_of(part, circuit, probe):
                found = day.packets_between(item.key, start_ns, end_ns) | found
        rows_here = self._connection.execute(
            "SELECT s.start_ns, p.data FROM series t JOIN samples s ON s.series = t.id JOIN packets p ON p.seq = s.seq "
            "WHERE t.circuit = ? AND t.probe = ? AND s.start_ns >= ? AND s.start_ns < ?",
            (circuit, probe, start_ns, end_ns),
        )
        return found | dict(rows_here.fetchall())

    def series(self) -> list[Series]:
        """Every series with rows, by circuit, probe and kind; a row that is sealed and not yet removed counts once."""
        twice: dict[SeriesKey, int] = {}
        for part in self._leaving:
            for key, number in self._twice(part).items():
                twice[key] = twice.get(key, 0) + number
        total: dict[SeriesKey, Series] = {}
        every: list[Series | SealedSeries] = [*status.series(self._connection), *overview.totals(self._sealed.parts)]
        for item in every:
            key = (item.circuit, item.probe, item.kind)
            before = total.get(key)
            total[key] = Series(
                *key,
                min(item.first_ns, before.first_ns) if before else item.first_ns,
                max(item.last_ns, before.last_ns) if before else item.last_ns,
                item.rows + (before.rows if before else -twice.get(key, 0)),
            )
        return [total[key] for key in sorted(total)]

    def days(self) -> list[DayStatus]:
        """Every UTC day that has samples, oldest first."""
        counts = {count.number: count.rows for count in extract.counts(self._connection)}
        for part in self._leaving:
            counts[part.day] = counts.get(part.day, 0) - sum(self._twice(part).values())
        found = []
        for day in sorted({*counts, *(part.day for part in self._sealed.parts)}):
            parts = [part for part in self._sealed.parts if part.day == day]
            found.append(
                DayStatus(
                    day_text(day), counts.get(day, 0), sum(part.rows for part in parts),
                    sum(part.bytes for part in parts), len(parts), any(part.of(PACKETS) for part in parts),
                )
            )  # fmt: skip
        return found

    def owed(self, sink: str) -> list[Owed]:
        """As StoreReader.owed."""
        parts = {part.name: part for part in self._sealed.parts}
        unknown = set(manifest.names(self._sealed.store)) - parts.keys()
        found = []
        for note in owing.notes(self._connection, sink):
            part = parts.get(note.part)
            if part is None:
                left = note.left(note.next_row + note.rows) if note.part in unknown else 0
            else:
                left = 0 if self._is_leaving(part) else note.left(part.rows)
            if left:
                found.append(Owed(note.part, note.after_seq, note.next_row, left))
        return sorted(found, key=lambda item: manifest.place_of(item.part))

    def owed_since(self, sink: str) -> int | None:
        """As StoreReader.owed_since."""
        parts = {part.name: part for part in self._sealed.parts}
        found = []
        for owed in self.owed(sink):
            part, end = parts.get(owed.part), 0
            if part is None:
                found.append(manifest.day_start(manifest.place_of(owed.part)[0]))
                continue
            for item in part.series:
                end += item.rows
                if end > owed.next_row:
                    found.append(item.first_ns)
        return min(found, default=None)

    def owed_rows(self) -> dict[str, int]:
        """Sink -> sealed samples it does not have; of a part still leaving, those that have left."""
        parts = {part.name: part for part in self._sealed.parts}
        unknown = set(manifest.names(self._sealed.store)) - parts.keys()
        total: dict[str, int] = {}
        for note in owing.notes(self._connection):
            part = parts.get(note.part)
            if part is None:
                left = note.rows if note.part in unknown else 0
            else:
                left = note.left(part.rows) - (self._live(part, note.after_seq) if part in self._leaving else 0)
            total[note.sink] = total.get(note.sink, 0) + max(0, left)
        return total

    def owed_batch(self, owed: Owed, limit: int, cache: OwedFile) -> tuple[SampleBatch, int]:
        """As StoreReader.owed_batch."""
        for part in self._sealed.parts:
            if part.name == owed.part:
                return self._sealed.owed_batch(part, owed, limit, cache)
        return empty(), NOTHING_LEFT

    def _is_leaving(self, part: Part) -> bool:
        return part in self._leaving and self._live(part, 0) > 0

    def _live(self, part: Part, after_seq: int) -> int:
        """Rows of a part kept after a seq that are still in the live database."""
        found = self._connection.execute(
            "SELECT count(*) FROM samples INDEXED BY samples_seq "
            "WHERE seq > ? AND seq <= ? AND start_ns >= ? AND start_ns < ?",
            (after_seq, self._shared[part.name], part.start_ns, part.end_ns),
        )
        return int(found.fetchone()[0])

    def _twice(self, part: Part) -> dict[SeriesKey, int]:
        """Rows of a part that are still in the live database."""
        found = self._connection.execute(
            "SELECT t.circuit, t.probe, t.kind, count(*) FROM samples s INDEXED BY samples_seq "
            "JOIN series t ON t.id = s.series WHERE s.seq <= ? AND s.start_ns >= ? AND s.start_ns < ? "
            "GROUP BY t.id",
            (self._shared[part.name], part.start_ns, part.end_ns),
        )
        return {(circuit, probe, kind): rows for circuit, probe, kind, rows in found}

    def _taken(self, start_ns: int, end_ns: int) -> list[tuple[int, int, int]]:
        """(start_ns, end_ns, through_seq) of what a part answers for although it may still be in the database."""
        return [
            (part.start_ns, part.end_ns, self._shared[part.name])
            for part in self._leaving
            if part.start_ns < end_ns and part.end_ns > start_ns
        ]

    def _newest(self, circuit: str, probe: str) -> list[_Newest]:
        live = self._connection.execute(
            "SELECT t.kind, s.seq, s.start_ns FROM series t JOIN samples s ON s.series = t.id AND "
            "s.start_ns = t.newest_ns WHERE t.circuit = ? AND t.probe = ?",
            (circuit, probe),
        )
        found = [_Newest((circuit, probe, kind), (1, seq), start, None) for kind, seq, start in live]
        for part in self._sealed.parts:
            found += [self._sealed_newest(part, item) for item in series_of(part, circuit, probe)]
        return found

    def _sealed_newest(self, part: Part, item: SealedSeries) -> _Newest:
        current = self._shared[part.name] > 0
        order = (1, item.newest_seq) if current else (0, item.newest_ns)
        return _Newest(item.key, order, item.newest_ns, part)


def stored(row: Sequence[rows.Value]) -> StoredSample:
    """A row of SELECT_STORED."""
    circuit, probe, kind, seq = row[:4]
    assert isinstance(circuit, str)
    assert isinstance(probe, str)
    assert isinstance(kind, str)
    assert isinstance(seq, int)
    return StoredSample(seq, rows.decode(circuit, probe, kind, row[4:]))


def _ascending(columns: SampleColumns) -> SampleColumns:
    """In ascending start_ns. Of rows at the same instant the one kept later moves on, as the writer does it."""
    step = np.diff(columns.start_ns)
    if (step > 0).all():
        return columns
    order = np.argsort(columns.start_ns, kind="stable")
    sorted_values: dict[str, object] = {}
    for item in fields(columns):
        if not item.init:
            continue
        value = getattr(columns, item.name)
        if isinstance(value, np.ndarray):
            sorted_values[item.name] = value[order]
        elif isinstance(value, Histograms | Texts):
            sorted_values[item.name] = value.taken(order)
    count = np.arange(len(columns))
    start = columns.start_ns[order]
    sorted_values["start_ns"] = np.maximum.accumulate(start - count) + count
    return replace(columns, **sorted_values)  # type: ignore[arg-type] # names and values of the same dataclass


def _apart(found: list[StoredSample]) -> list[StoredSample]:
    last: int | None = None
    for at, item in enumerate(found):
        if last is not None and item.sample.start_ns <= last:
            found[at] = StoredSample(item.seq, replace(item.sample, start_ns=last + 1))
        last = found[at].sample.start_ns
    return found
