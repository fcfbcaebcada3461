"""Placing samples in the live database: ids of series, order of keeping, and samples that claim the same instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from typing import Final, NamedTuple, Self

import numpy as np

from agent.store import far_end, rows, schema
from agent.store.rows import OWN_COLUMNS, SAMPLE_COLUMNS
from probes.core.arrays import ABSENT, encode_histogram_runs, encode_histograms, encode_packet_runs, encode_packets
from probes.core.block import COLUMNS, SampleBlock, Series
from probes.core.model import Sample

UNKEPT: Final = (
    OverflowError, UnicodeError,
    sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
)  # fmt: skip
"""What a value SQLite cannot keep raises; the disk has nothing to do with it."""
_UNENCODED: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

_SELECT_AT: Final = schema.SELECT_SAMPLE + "WHERE series = ? AND start_ns = ?"
_BITS: Final = 1 << np.arange(len(COLUMNS))


class EncodedSample(NamedTuple):
    """A sample as it is written: its series, its row, its packets' bytes."""

    series: Series
    columns: tuple[str, ...]
    """those of SAMPLE_COLUMNS that `row` has; start_ns and span_ns are the first. The others are NULL."""
    row: Sequence[rows.Value]
    packets: bytes | None


_UNWRITTEN: Final = EncodedSample(("", "", ""), (), (), None)


def encode(samples: Sequence[Sample]) -> Iterator[EncodedSample | str]:
    """Each sample as it is written, or a text that says why it cannot be."""
    try:
        yield from encode_block(samples) if isinstance(samples, SampleBlock) else _encoded(samples)
    except _UNENCODED:
        for sample in samples:
            try:
                yield from _encoded([sample])
            except _UNENCODED as error:
                yield f"{sample.circuit}/{sample.probe}: {type(error).__name__}: {error}"


def _encoded(samples: Sequence[Sample]) -> list[EncodedSample]:
    """All of them: arrays cost most one by one. One that cannot be encoded raises for all."""
    for sample in samples:
        if not -(1 << 63) <= sample.start_ns < 1 << 63:
            raise OverflowError(f"start_ns {sample.start_ns} does not fit 64 bits")
    packets = iter(encode_packets([sample.packets for sample in samples if sample.packets is not None]))
    shapes = iter(encode_histograms([sample.histogram for sample in samples if sample.histogram is not None]))
    return [
        _encoded_one(
            sample,
            None if sample.histogram is None else next(shapes),
            None if sample.packets is None else next(packets),
        )
        for sample in samples
    ]


def _encoded_one(sample: Sample, shape: bytes | None, packets: bytes | None) -> EncodedSample:
    series, row = (sample.circuit, sample.probe, sample.kind), rows.own(sample, shape)
    if not far_end.is_known(sample):
        return EncodedSample(series, OWN_COLUMNS, row, packets)
    return EncodedSample(series, SAMPLE_COLUMNS, row + far_end.encode(sample), packets)


def encode_block(block: SampleBlock) -> list[EncodedSample]:
    """The same of samples that are columns already: those that have the same columns at once."""
    packets: Sequence[bytes | None] = [None] * len(block)
    if block.packets is not None:
        packets = encode_packet_runs(block.packets, block.packet_edges)
    shapes: list[bytes] = [b""] * len(block)
    if block.histograms is not None:
        shapes = encode_histogram_runs(block.histograms, block.bucket_edges)
    there = block.values != ABSENT
    patterns = there @ _BITS
    reasons, encoded = block.reasons, [_UNWRITTEN] * len(block)
    for pattern in np.unique(patterns).tolist():
        chosen = (patterns == pattern).nonzero()[0]
        wanted = there[chosen[0]]
        names = tuple(compress(COLUMNS, wanted.tolist()))
        for place, row in zip(chosen.tolist(), block.values[chosen][:, wanted].tolist(), strict=True):
            shape, reason = shapes[place], reasons.get(place)
            row.append(block.remote[place])
            if shape:
                row.append(shape)
            if reason is not None:
                row.append(reason)
            columns = _columns(names, bool(shape), reason is not None)
            encoded[place] = EncodedSample(block.series[place], columns, row, packets[place])
    return encoded


@cache
def _columns(names: tuple[str, ...], histogram: bool, reason: bool) -> tuple[str, ...]:
    more = ("remote", *(("histogram",) if histogram else ()), *(("reason",) if reason else ()))
    return (*names, *more)


@dataclass(slots=True)
class Placed:
    """What became of samples: kept + repeated + refused = handed in. moved: kept at a later start_ns than their own."""

    kept: int = 0
    repeated: int = 0
    moved: int = 0
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Growth:
    rows: int
    first_ns: int
    last_ns: int
    newest_ns: int


class SampleTable:
    """The tables `series`, `samples` and `packets` of one connection, inside the transaction the caller holds.

    next_seq: the place in order that the next sample takes.
    """

    def __init__(self, connection: sqlite3.Connection, next_seq: int) -> None:
        self._connection = connection
        self.next_seq = next_seq
        self._ids: dict[tuple[str, str, str], int] = {}
        self._last: dict[int, int] = {}
        self._growth: dict[int, _Growth] = {}
        for number, circuit, probe, kind, last in connection.execute(
            "SELECT id, circuit, probe, kind, last_ns FROM series"
        ):
            self._ids[circuit, probe, kind] = number
            if last is not None:
                self._last[number] = last

    def snapshot(self) -> Self:
        """What `restore` needs after the transaction failed."""
        copy = object.__new__(type(self))
        copy._connection, copy.next_seq, copy._growth = self._connection, self.next_seq, {}
        copy._ids, copy._last = dict(self._ids), dict(self._last)
        return copy

    def restore(self, earlier: Self) -> None:
        """Forget what a transaction that failed has placed."""
        self.next_seq, self._ids, self._last = earlier.next_seq, earlier._ids, earlier._last
        self._growth = {}

    def place(self, samples: Sequence[EncodedSample]) -> Placed:
        """Keep the samples in their order. The usual case, all later than what is there, is one executemany."""
        placed = Placed()
        fresh: list[tuple[int, EncodedSample]] = []
        for sample in samples:
            try:
                number = self._id(sample.series)
            except UNKEPT as error:
                placed.refused.append(_refusal(sample, error))
                continue
            start = _start(sample)
            if start > self._last.get(number, start - 1):
                self._last[number] = start
                fresh.append((number, sample))
                continue
            self._insert_fresh(fresh, placed)
            fresh = []
            self._insert_one(number, sample, placed)
        self._insert_fresh(fresh, placed)
        self._save_growth()
        return placed

    def _id(self, series: tuple[str, str, str]) -> int:
        number = self._ids.get(series)
        if number is None:
            names = tuple(rows.printable(name) for name in series)
            self._connection.execute("INSERT OR IGNORE INTO series(circuit, probe, kind) VALUES (?, ?, ?)", names)
            found = self._connection.execute(
                "SELECT id FROM series WHERE circuit = ? AND probe = ? AND kind = ?", names
            ).fetchone()
            number = int(found[0])
            self._ids[series] = number
        return number

    def _insert_fresh(self, fresh: list[tuple[int, EncodedSample]], placed: Placed) -> None:
        if not fresh:
            return
        try:
            alike: dict[tuple[str, ...], list[list[rows.Value]]] = {}
            for seq, (number, sample) in enumerate(fresh, self.next_seq):
                alike.setdefault(sample.columns, []).append([number, seq, *sample.row])
            for columns, some in alike.items():
                self._connection.executemany(schema.insert(columns), some)
        except UNKEPT:
            # No savepoint for this rare case: SQLite would copy every page before it changes it.
            self._connection.execute("DELETE FROM samples WHERE seq >= ?", (self.next_seq,))
            for number, sample in fresh:
                self._insert_one(number, sample, placed)
            return
        self._connection.executemany(
            "INSERT INTO packets VALUES (?, ?, ?)",
            [
                (seq, _start(sample), sample.packets)
                for seq, (_number, sample) in enumerate(fresh, self.next_seq)
                if sample.packets is not None
            ],
        )
        self.next_seq += len(fresh)
        placed.kept += len(fresh)
        for number, sample in fresh:
            self._grow(number, _start(sample))

    def _insert_one(self, number: int, sample: EncodedSample, placed: Placed) -> None:
        """Keep one sample whose instant may be taken: the same again is no news, another moves on by 1 ns."""
        known = dict(zip(sample.columns, sample.row, strict=True))
        whole = tuple(rows.printable(known.get(name)) for name in SAMPLE_COLUMNS)
        own, start = _start(sample), _start(sample)
        try:
            while True:
                row = (start, *whole[1:])
                there = self._connection.execute(_SELECT_AT, (number, start)).fetchone()
                if there is None:
                    break
                if tuple(there[2:]) == row[1:]:
                    placed.repeated += 1
                    return
                start += 1
            self._connection.execute(schema.INSERT_SAMPLE, (number, self.next_seq, *row))
        except UNKEPT as error:
            placed.refused.append(_refusal(sample, error))
            return
        if sample.packets is not None:
            self._connection.execute("INSERT INTO packets VALUES (?, ?, ?)", (self.next_seq, start, sample.packets))
        self.next_seq += 1
        placed.kept += 1
        placed.moved += start != own
        self._last[number] = max(start, self._last.get(number, start))
        self._grow(number, start)

    def _grow(self, number: int, start: int) -> None:
        growth = self._growth.get(number)
        if growth is None:
            self._growth[number] = _Growth(1, start, start, start)
            return
        growth.rows += 1
        growth.first_ns, growth.last_ns = min(growth.first_ns, start), max(growth.last_ns, start)
        growth.newest_ns = start

    def _save_growth(self) -> None:
        self._connection.executemany(
            "UPDATE series SET rows = rows + ?1, first_ns = min(ifnull(first_ns, ?2), ?2), "
            "last_ns = max(ifnull(last_ns, ?3), ?3), newest_ns = ?4 WHERE id = ?5",
            [(g.rows, g.first_ns, g.last_ns, g.newest_ns, number) for number, g in self._growth.items()],
        )
        self._growth = {}


def _start(sample: EncodedSample) -> int:
    start = sample.row[0]
    assert isinstance(start, int)
    return start


def _refusal(sample: EncodedSample, error: Exception) -> str:
    return f"{sample.series[0]}/{sample.series[1]}: {type(error).__name__}: {error}"
