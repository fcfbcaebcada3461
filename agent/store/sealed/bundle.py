"""Rows of several series gathered into the Parquet files of one bundle, written, read back and compared."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.sla.samples.histograms import Histograms
from agent.store.far_end import GROUPS, columns_of
from agent.store.sealed import layout, manifest, packed, parquet
from agent.store.sealed.extract import Rows, Shapes
from agent.store.sealed.layout import BUCKETS, OWN_INTEGERS, TEXT_COLUMNS
from agent.store.sealed.manifest import SealedFile, SealedSeries, SeriesKey
from probes.core.arrays import ABSENT, Int64
from probes.core.errors import LocalError

BUNDLES: Final = (
    ((manifest.SAMPLES, *manifest.HISTOGRAMS_OF.values(), manifest.COLUMNS), 8_192),
    ((manifest.PACKETS,), 32_768),
)
"""What is written together, and from how many rows on: a day of a stream at 10 s has a file of samples to itself, so
that nothing beside it is read."""
HISTOGRAM_GROUP: Final = 102_400
"""Rows of a row group of histograms: ten buckets for each row of samples."""
PACKET_GROUP: Final = 2_048
MANY_TEXTS: Final = 500
"""Different texts in a column beyond which they are written one by one."""

_ALL: Final = "true"
_SHAPE_OF: Final = {what: name for name, what in manifest.HISTOGRAMS_OF.items()}
_Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class _Table:
    """A Parquet file to be. select: column -> SQL over `columns`; back: SQL over the file -> what must come back."""

    group: int
    columns: dict[str, _Array] = field(default_factory=dict)
    select: dict[str, str] = field(default_factory=dict)
    back: dict[str, Int64] = field(default_factory=dict)
    objects: list[str] = field(default_factory=list)

    def integer(self, name: str, values: Int64, kind: str = "BIGINT") -> None:
        absent = values == ABSENT
        self.columns[name] = np.ma.masked_array(values, absent) if absent.any() else values
        self.select[name] = f"{name}::{kind}"
        self.back[name] = values

    def texts(self, name: str, values: Sequence[str | None]) -> None:
        known = {
            text: number for number, text in enumerate(dict.fromkeys(text for text in values if text is not None), 1)
        }
        if len(known) > MANY_TEXTS:
            self.object(name, values, "VARCHAR")
            return
        self.coded(name, list(known), np.array([0 if text is None else known[text] for text in values], np.int64))

    def coded(self, name: str, texts: Sequence[str], codes: Int64) -> None:
        self.columns[f"{name}_code"] = codes
        self.select[name] = parquet.coded(texts, f"{name}_code")
        self.back[parquet.code_of(texts, name)] = codes

    def object(self, name: str, values: Sequence[object], kind: str) -> None:
        array = np.empty(len(values), object)
        array[:] = values
        self.columns[name] = array
        self.select[name] = f"{name}::{kind}"
        self.objects.append(name)


class Bundle:
    """Fill with `add`, series in ascending order; `taken` empties it and is what was there, to be written."""

    def __init__(self, sorts: Sequence[str], limit: int) -> None:
        self._sorts, self._limit = sorts, limit
        self._keys: list[SeriesKey] = []
        self._rows: list[Rows] = []
        self._number = 0

    def add(self, key: SeriesKey, rows: Rows) -> None:
        """The next rows, of the same series or a later one."""
        self._keys.append(key)
        self._rows.append(rows)

    def full(self) -> bool:
        """True when it is time to write."""
        return sum(map(len, self._rows)) >= self._limit

    def taken(self) -> Bundle:
        """All that was added since the last time."""
        found = Bundle(self._sorts, self._limit)
        if self._rows:
            self._number += 1
        found._keys, found._rows, found._number = self._keys, self._rows, self._number
        self._keys, self._rows = [], []
        return found

    def write(self, directory: Path) -> list[SealedFile]:
        """Write and sync the files, then read them back. Raises OSError, LocalError."""
        return [file for what in self._sorts if self._rows for file in self._write(directory, what)]

    def _write(self, directory: Path, what: str) -> list[SealedFile]:
        if what == manifest.COLUMNS:
            return [self._write_columns(directory)]
        groups: tuple[str, ...] = ()
        if what == manifest.SAMPLES:
            groups, lengths = self._groups(), [len(rows) for rows in self._rows]
            built = self._samples(groups) if any(lengths) else _Table(0)
        elif what == manifest.PACKETS:
            lengths = [len(rows.packets) for rows in self._rows]
            built = self._packets() if any(lengths) else _Table(0)
        else:
            lengths = [len(self._shapes(rows, _SHAPE_OF[what]).buckets) for rows in self._rows]
            built = self._histograms(_SHAPE_OF[what]) if any(lengths) else _Table(0)
        keys = [key for key, length in zip(self._keys, lengths, strict=True) if length]
        if not keys:
            return []
        path = directory / f"{what}.{self._number:04}.parquet"
        self._name(built, lengths)
        _write_durably(path, built)
        _compare(path, built, sum(lengths))
        size, checksum = path.stat().st_size, manifest.digest(path)
        return [SealedFile(path.name, what, size, checksum, sum(lengths), keys[0], keys[-1], groups)]

    def _write_columns(self, directory: Path) -> SealedFile:
        path = directory / f"{manifest.COLUMNS}.{self._number:04}.packed"
        series = [(key, *self._packed(key)) for key in dict.fromkeys(self._keys)]
        with path.open("wb") as file:
            file.write(packed.encode(series))
            file.flush()
            os.fsync(file.fileno())
        found = packed.decode(path.read_bytes())
        for key, columns, shape in series:
            for name, values in columns.items():
                if not np.array_equal(found[key].column(name), values):
                    raise _differs(path, name)
            summed = found[key].merged()
            if summed is not None and not all(map(np.array_equal, summed, shape)):
                raise _differs(path, "histogram")
        rows = sum(map(len, self._rows))
        return SealedFile(
            path.name, manifest.COLUMNS, path.stat().st_size, manifest.digest(path), rows, self._keys[0], self._keys[-1]
        )

    def _packed(self, key: SeriesKey) -> tuple[dict[str, Int64], packed.Merged]:
        """Columns of one series, and its histograms added up."""
        own = [rows for of, rows in zip(self._keys, self._rows, strict=True) if of == key]
        columns = {
            name: np.concatenate([rows.integers[name] for rows in own]) for name in packed.NAMES if name != packed.THERE
        }
        shapes = [self._shapes(rows, "histogram") for rows in own]
        sizes = np.concatenate([item.sizes for item in shapes])
        columns[packed.THERE] = (sizes != ABSENT).astype(np.int64)
        pairs = np.concatenate([item.buckets for item in shapes])
        whole = np.where(sizes == ABSENT, 0, sizes)
        return columns, Histograms.by_size(pairs[:, 0], pairs[:, 1], whole, sizes != ABSENT).merged()

    def _groups(self) -> tuple[str, ...]:
        """Those of which any row has something."""
        return tuple(group for group in GROUPS if any(group in rows.groups for rows in self._rows))

    def _samples(self, groups: Sequence[str]) -> _Table:
        table = _Table(parquet.ROW_GROUP)
        integers, texts, histograms = columns_of(groups)
        values = {name: self._joined(name) for name in ("seq", *OWN_INTEGERS, *integers)}
        for name, column in layout.to_written(values).items():
            table.integer(name, column)
        for name in (*TEXT_COLUMNS, *texts):
            nothing: list[str | float | None] = [None]
            parts = (rows.others.get(name) or nothing * len(rows) for rows in self._rows)
            table.texts(name, [_text(value) for part in parts for value in part])
        table.object("load", [value for rows in self._rows for value in rows.others["load"]], "DOUBLE")
        for name in ("histogram", *histograms):
            sizes = np.concatenate([self._shapes(rows, name).sizes for rows in self._rows])
            table.integer(BUCKETS[name], sizes, "INTEGER")
        return table

    def _joined(self, name: str) -> Int64:
        parts = [rows.integers.get(name) for rows in self._rows]
        return np.concatenate(
            [np.full(len(rows), ABSENT) if part is None else part for part, rows in zip(parts, self._rows, strict=True)]
        )

    @staticmethod
    def _shapes(rows: Rows, name: str) -> Shapes:
        return rows.shapes.get(name) or Shapes(np.full(len(rows), ABSENT), np.empty((0, 2), np.uint32))

    def _histograms(self, name: str) -> _Table:
        table = _Table(HISTOGRAM_GROUP)
        shapes = [self._shapes(rows, name) for rows in self._rows]
        starts = [
            np.repeat(rows.integers["start_ns"], np.where(one.sizes == ABSENT, 0, one.sizes))
            for rows, one in zip(self._rows, shapes, strict=True)
        ]
        pairs = np.concatenate([one.buckets for one in shapes]).astype(np.int64)
        table.integer("start_ns", np.concatenate(starts))
        table.integer("bucket", pairs[:, 0].copy(), "UINTEGER")
        table.integer("packets", pairs[:, 1].copy(), "UINTEGER")
        return table

    def _packets(self) -> _Table:
        table = _Table(PACKET_GROUP)
        table.integer("start_ns", np.array([start for rows in self._rows for start, _data in rows.packets], np.int64))
        table.object("data", [data for rows in self._rows for _start, data in rows.packets], "BLOB")
        return table

    def _name(self, table: _Table, lengths: Sequence[int]) -> None:
        keys = list(dict.fromkeys(self._keys))
        codes = np.repeat(np.array([keys.index(key) + 1 for key in self._keys], np.int64), lengths)
        own = table.select
        table.select = {}
        for at, name in enumerate(layout.KEYS):
            texts = list(dict.fromkeys(key[at] for key in keys))
            table.coded(name, texts, np.array([0, *(texts.index(key[at]) + 1 for key in keys)])[codes])
        table.select |= own


def describe(key: SeriesKey, chunks: Sequence[Rows]) -> SealedSeries:
    """What the manifest says about a series. chunks: all its rows in order, at least one."""
    newest = max(chunks, key=lambda rows: int(rows.integers["seq"].max())).integers
    at = int(newest["seq"].argmax())
    return SealedSeries(
        *key,
        sum(len(rows) for rows in chunks),
        int(chunks[0].integers["start_ns"][0]),
        int(chunks[-1].integers["start_ns"][-1]),
        int(newest["start_ns"][at]),
        int(newest["seq"][at]),
    )


def _write_durably(path: Path, table: _Table) -> None:
    parquet.write(path, table.columns, table.select, table.group)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compare(path: Path, table: _Table, rows: int) -> None:
    """Raises LocalError unless the file holds exactly these values."""
    for expression, found in zip(table.back, parquet.integers([path], list(table.back), _ALL, ()), strict=True):
        if not np.array_equal(found, table.back[expression]):
            raise _differs(path, expression)
    if not table.objects:
        return
    found_rows = parquet.rows([path], table.objects, _ALL, ())
    given = zip(*(table.columns[name].tolist() for name in table.objects), strict=True)
    if len(found_rows) != rows or any(one != two for one, two in zip(found_rows, given, strict=True)):
        raise _differs(path, " or ".join(table.objects))


def _differs(path: Path, column: str) -> LocalError:
    return LocalError(
        f"{path.name}: column {column} reads back otherwise than it was written",
        hint="the day stays in the live database; please report this",
    )


def _text(value: str | float | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise LocalError(f"a stored text is {value!r}", hint="the day stays in the live database")
    return value
