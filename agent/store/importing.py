"""Samples brought into a store by hand, while no agent runs: all of them in one transaction, or none.

What is there is never overwritten. Every import leaves an event for each circuit and file that says what came from
where, so that a verdict can tell samples that this agent measured and kept from those that were brought in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from agent.store.identity import fresh_epoch
from agent.store.livefile import LiveFile
from agent.store.reader import StoreReader
from agent.store.records import EventRecord
from agent.store.samples import SampleTable, encode
from agent.store.sealed.manifest import DAY_NS
from probes.core.errors import LocalError
from probes.core.model import Sample

IMPORTED: Final = "imported"
"""Event kind: `count` samples of `circuit` between at_ns and end_ns were brought in by hand; `reason` names the file
and its SHA-256."""
CHUNK: Final = 2_000
"""Samples looked at and placed at once."""
_EVENT: Final = "INSERT INTO events(kind, at_ns, text, end_ns, reason, count, circuit) VALUES (?, ?, ?, ?, ?, ?, ?)"

Difference = Callable[[Sample, Sample], str | None]
"""What a sample that is kept says otherwise than one that is brought; None where they agree."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A sample with the number of its source, and its place there."""

    sample: Sample
    source: int
    line: int


@dataclass(slots=True)
class Arrived:
    """kept: samples that are new; present: that were there already; refused: that contradict what is there."""

    kept: int = 0
    present: int = 0
    refused: int = 0
    events: tuple[EventRecord, ...] = ()


@dataclass(slots=True)
class _Portion:
    count: int
    first_ns: int
    end_ns: int
    first_seq: int
    last_seq: int


class Import:
    """One import into an open database. sources: what each is called in the record, such as its name and SHA-256.

    refuse: told of each sample that contradicts what is kept, with the contradiction.
    """

    def __init__(
        self,
        file: LiveFile,
        reader: StoreReader,
        sources: Sequence[str],
        difference: Difference,
        refuse: Callable[[Brought, str], None],
    ) -> None:
        self._file, self._reader, self._sources = file, reader, sources
        self._difference, self._refuse = difference, refuse
        self._portions: dict[tuple[str, int], _Portion] = {}

    def run(self, samples: Iterable[Brought], now_ns: int, accept: Callable[[], bool]) -> Arrived:
        """Place the samples, which come by circuit, probe, kind and time, each once. accept: asked at the end whether
        all of it is kept or nothing. Raises LocalError, sqlite3.Error; then nothing is kept.
        """
        connection, arrived = self._file.connection, Arrived()
        connection.execute("BEGIN IMMEDIATE")
        try:
            table = SampleTable(connection, self._file.next_seq)
            first_seq = table.next_seq
            for day in _days(samples):
                self._place(table, self._fresh(day, arrived), arrived)
            arrived.events = tuple(self._events())
            if not accept():
                connection.execute("ROLLBACK")
            else:
                if arrived.kept:
                    _sign(connection, first_seq, table.next_seq, now_ns)
                for event in arrived.events:
                    connection.execute(
                        _EVENT,
                        (event.kind, event.at_ns, event.text, event.end_ns, event.reason, event.count, event.circuit),
                    )
                connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return arrived

    def _fresh(self, day: Sequence[Brought], arrived: Arrived) -> list[Brought]:
        """Those of one probe and day that are not there yet."""
        first = day[0].sample
        key = (first.circuit, first.probe)
        begin, end = first.start_ns, day[-1].sample.start_ns + 1
        there = self._reader.read(*key, ("start_ns",), begin, end, first.kind).start_ns
        starts = np.array([item.sample.start_ns for item in day], np.int64)
        taken = np.isin(starts, there)
        if not taken.any():
            return list(day)
        begin, end = int(starts[taken][0]), int(starts[taken][-1]) + 1
        kept = {
            item.sample.start_ns: item.sample
            for item in self._reader.samples(*key, begin, end, 1 << 62)
            if item.sample.kind == first.kind
        }
        fresh = []
        for item in day:
            if item.sample.start_ns not in kept:
                fresh.append(item)
                continue
            contradiction = self._difference(kept[item.sample.start_ns], item.sample)
            if contradiction is None:
                arrived.present += 1
            else:
                arrived.refused += 1
                self._refuse(item, contradiction)
        return fresh

    def _place(self, table: SampleTable, fresh: Sequence[Brought], arrived: Arrived) -> None:
        seq = table.next_seq
        encoded = []
        for item, row in zip(fresh, encode([item.sample for item in fresh]), strict=True):
            if isinstance(row, str):
                raise LocalError(f"a sample cannot be kept: {row}", hint="nothing was imported")
            encoded.append(row)
            self._count(item, seq)
            seq += 1
        placed = table.place(encoded)
        if placed.kept != len(fresh) or placed.moved:
            raise LocalError(
                f"{len(fresh) - placed.kept + placed.moved} samples found their place taken: "
                f"{next(iter(placed.refused), 'two kinds of one probe at one instant')}",
                hint="nothing was imported",
            )
        arrived.kept += placed.kept

    def _count(self, item: Brought, seq: int) -> None:
        sample = item.sample
        end = min(sample.start_ns + max(sample.span_ns, 0), (1 << 63) - 1)
        portion = self._portions.setdefault((sample.circuit, item.source), _Portion(0, sample.start_ns, end, seq, seq))
        portion.count += 1
        portion.first_ns, portion.end_ns = min(portion.first_ns, sample.start_ns), max(portion.end_ns, end)
        portion.last_seq = seq

    def _events(self) -> Iterator[EventRecord]:
        for (circuit, source), portion in sorted(self._portions.items()):
            name = self._sources[source]
            text = (
                f"{portion.count} samples of {circuit} were imported from {name}, as seq {portion.first_seq} to "
                f"{portion.last_seq}; they say nothing of stamps, clock and load of the host that measured, and have "
                "no packets"
            )
            yield EventRecord(IMPORTED, portion.first_ns, text, portion.end_ns, name, portion.count, circuit)


def _days(samples: Iterable[Brought]) -> Iterator[list[Brought]]:
    """Samples of one probe, kind and UTC day, CHUNK at most."""

    def day(item: Brought) -> tuple[str, str, str, int]:
        return item.sample.circuit, item.sample.probe, item.sample.kind, item.sample.start_ns // DAY_NS

    for _, group in groupby(samples, day):
        chunk: list[Brought] = []
        for item in group:
            chunk.append(item)
            if len(chunk) >= CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _sign(connection: sqlite3.Connection, first_seq: int, next_seq: int, now_ns: int) -> None:
    """What is brought in is an epoch of its own: a copy of this store may have gone on under the last one."""
    epoch = fresh_epoch()
    last = connection.execute("SELECT machine, branch FROM epochs ORDER BY first_seq DESC LIMIT 1").fetchone()
    connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?)", (first_seq, epoch, now_ns, *last))
    connection.execute("UPDATE meta SET epoch = ?, next_seq = ?", (epoch, next_seq))
