"""Many samples as columns, in the order of delivery: from the live database and from sealed days alike. Pure.

It holds what a database outside is sent: not the packets, the quality of stamps and clock, nor the phases. Columns of
what only a far end knows are there where one of the samples has such a thing: others do not pay for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, Self

import numpy as np

from agent.sla.samples.columns import BASIC_COLUMNS, FAR_COLUMNS
from agent.store.far_end import FAR_HISTOGRAMS, FAR_TEXTS, GROUPS, NOTHING, columns_of
from agent.store.records import StoredSample
from agent.store.rows import OWN_COLUMNS, RATE_COLUMNS, SAMPLE_COLUMNS, Row, decode, encode
from probes.core.arrays import ABSENT, Histogram, Int64
from probes.core.model import Sample

BATCH_INTEGERS: Final = (*BASIC_COLUMNS, RATE_COLUMNS[0])
"""Integer columns of every batch, in the order of the store. `rate_streams` tells a sample with a rate from one
without."""
BATCH_TEXTS: Final = ("remote", "reason")
BATCH_COLUMNS: Final = (*BATCH_INTEGERS, *BATCH_TEXTS, "histogram", *FAR_COLUMNS, *FAR_TEXTS, *FAR_HISTOGRAMS)
"""What of SAMPLE_COLUMNS a batch is made of."""

SeriesKey = tuple[str, str, str]
"""(circuit, probe, kind)"""

_PAIR: Final = 8
"""Octets of one bucket in Histogram.to_bytes."""
_AT: Final = {name: SAMPLE_COLUMNS.index(name) for name in BATCH_COLUMNS}
_NEEDED: Final = {"stamps": 2, "local_drops": 0}
"""What a row of the store cannot be without, and a batch does not have."""


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """The histograms of all samples of a batch, one after the other.

    size: buckets of each sample (n,), ABSENT where it has no histogram; bucket, packets: (sum of sizes,).
    """

    size: Int64
    bucket: Int64
    packets: Int64

    @classmethod
    def none(cls, rows: int) -> Self:
        """Samples without a histogram."""
        return cls(np.full(rows, ABSENT), np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def from_blobs(cls, blobs: Sequence[bytes | None]) -> tuple[Self, list[int]]:
        """Of the live database's blobs, and the rows whose blob is damaged: those read as without a histogram."""
        good = [None if data is None or len(data) % _PAIR else data for data in blobs]
        damaged = {row for row, data in enumerate(blobs) if data is not None and good[row] is None}
        size = np.array([ABSENT if data is None else len(data) // _PAIR for data in good], np.int64)
        pairs = np.frombuffer(b"".join(data for data in good if data), "<u4").reshape(-1, 2).astype(np.int64)
        bucket, packets = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        ends = np.cumsum(np.where(size == ABSENT, 0, size))
        ascends = np.diff(bucket, prepend=-1) > 0
        ascends[ends[:-1][ends[:-1] < len(bucket)]] = True  # the first bucket of a row follows another row
        wrong = np.flatnonzero(~ascends | (packets <= 0))
        if len(wrong):
            damaged |= set(np.searchsorted(ends, wrong, side="right").tolist())
            return cls.from_blobs([None if row in damaged else data for row, data in enumerate(blobs)])[0], sorted(
                damaged
            )
        return cls(size, bucket, packets), sorted(damaged)

    @property
    def ends(self) -> Int64:
        """Where the buckets of each sample end (n,)."""
        ends: Int64 = np.cumsum(np.where(self.size == ABSENT, 0, self.size))
        return ends

    def between(self, first: int, last: int) -> Self:
        """Those of the samples [first, last)."""
        ends = np.concatenate(([0], self.ends))
        begin, end = int(ends[first]), int(ends[last])
        return type(self)(self.size[first:last], self.bucket[begin:end], self.packets[begin:end])

    def chosen(self, rows: Int64) -> Self:
        """Those of the samples of these numbers, in this order."""
        ends = self.ends
        sizes = np.where(self.size == ABSENT, 0, self.size)[rows]
        # Places of the chosen rows' buckets: each row's first, counted up.
        places = np.arange(sizes.sum()) + np.repeat(ends[rows] - np.cumsum(sizes), sizes)
        return type(self)(self.size[rows], self.bucket[places], self.packets[places])

    def histogram(self, row: int) -> Histogram | None:
        """That of one sample."""
        if self.size[row] == ABSENT:
            return None
        one = self.between(row, row + 1)
        return Histogram(one.bucket, one.packets)


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """n samples, in the order in which they are delivered.

    keys: the series that occur; key: index into them (n,); seq: place in the order of keeping (n,); integers: every one
    of BATCH_INTEGERS -> int64 (n,), ABSENT where the sample has no such value, and of FAR_COLUMNS those of groups that
    a sample has; unreadable: row -> why a stored value is not what it should be. Such a row has ABSENT throughout, and
    is not to be sent. texts, shapes: of FAR_TEXTS and FAR_HISTOGRAMS, likewise.
    """

    keys: tuple[SeriesKey, ...]
    key: Int64
    seq: Int64
    integers: Mapping[str, Int64]
    remote: Sequence[str | None]
    reason: Sequence[str | None]
    buckets: Buckets
    unreadable: Mapping[int, str] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    shapes: Mapping[str, Buckets] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def start_ns(self) -> Int64:
        return self.integers["start_ns"]

    def between(self, first: int, last: int) -> SampleBatch:
        """Rows [first, last); the arrays are views."""
        first, last = (min(max(0, place), len(self)) for place in (first, last))
        return SampleBatch(
            self.keys,
            self.key[first:last],
            self.seq[first:last],
            {name: column[first:last] for name, column in self.integers.items()},
            self.remote[first:last],
            self.reason[first:last],
            self.buckets.between(first, last),
            {row - first: why for row, why in self.unreadable.items() if first <= row < last},
            {name: texts[first:last] for name, texts in self.texts.items()},
            {name: buckets.between(first, last) for name, buckets in self.shapes.items()},
        )

    def chosen(self, rows: Int64) -> SampleBatch:
        """The rows of these numbers, in this order."""
        listed = rows.tolist()
        return SampleBatch(
            self.keys,
            self.key[rows],
            self.seq[rows],
            {name: column[rows] for name, column in self.integers.items()},
            [self.remote[row] for row in listed],
            [self.reason[row] for row in listed],
            self.buckets.chosen(rows),
            {at: self.unreadable[row] for at, row in enumerate(listed) if row in self.unreadable},
            {name: [texts[row] for row in listed] for name, texts in self.texts.items()},
            {name: buckets.chosen(rows) for name, buckets in self.shapes.items()},
        )

    def stored(self, row: int) -> StoredSample:
        """One sample, as far as a batch has it. Raises LocalError for what is no sample."""
        values: list[int | str | bytes | None] = [None] * len(SAMPLE_COLUMNS)
        for name, value in _NEEDED.items():
            values[SAMPLE_COLUMNS.index(name)] = value
        for name, column in self.integers.items():
            values[_AT[name]] = None if column[row] == ABSENT else int(column[row])
        if values[_AT["rate_streams"]] is not None:
            values[SAMPLE_COLUMNS.index("rate_layer")] = "tcp payload"
        values[_AT["remote"]], values[_AT["reason"]] = self.remote[row], self.reason[row]
        for name, texts in self.texts.items():
            values[_AT[name]] = texts[row]
        for name, buckets in {"histogram": self.buckets, **self.shapes}.items():
            histogram = buckets.histogram(row)
            values[_AT[name]] = None if histogram is None else histogram.to_bytes()
        return StoredSample(int(self.seq[row]), decode(*self.keys[int(self.key[row])], values))


def empty() -> SampleBatch:
    """No samples."""
    none = np.empty(0, np.int64)
    return SampleBatch((), none, none, dict.fromkeys(BATCH_INTEGERS, none), (), (), Buckets.none(0))


def of_samples(stored: Sequence[StoredSample]) -> SampleBatch:
    """The same samples as columns. What is no 64-bit integer makes its row unreadable."""
    keys: dict[SeriesKey, int] = {}
    unreadable: dict[int, str] = {}
    columns: list[list[int]] = []
    rows = [encode(item.sample) for item in stored]
    more, texts, shapes = columns_of(_groups(rows))
    names = (*BATCH_INTEGERS, *more)
    for number, (item, row) in enumerate(zip(stored, rows, strict=True)):
        sample = item.sample
        keys.setdefault((sample.circuit, sample.probe, sample.kind), len(keys))
        values = [row[_AT[name]] for name in names]
        wrong = [value for value in values if value is not None and not _is_int64(value)]
        if wrong:
            unreadable[number] = f"{sample.circuit}/{sample.probe} has {wrong[0]!r}: no 64-bit integer"
        columns.append([value if isinstance(value, int) and not wrong else int(ABSENT) for value in values])
    table = np.ascontiguousarray(np.array(columns, np.int64).reshape(len(stored), len(names)).T)
    return SampleBatch(
        tuple(keys),
        np.array([keys[item.sample.circuit, item.sample.probe, item.sample.kind] for item in stored], np.int64),
        np.array([item.seq for item in stored], np.int64),
        dict(zip(names, table, strict=True)),
        [item.sample.remote for item in stored],
        [item.sample.reason for item in stored],
        _buckets([item.sample.histogram for item in stored]),
        unreadable,
        {name: [_string(row[_AT[name]]) for row in rows] for name in texts},
        {name: _buckets([_shape(item.sample, name) for item in stored]) for name in shapes},
    )


def _groups(rows: Sequence[Row]) -> list[str]:
    """Of which a row has anything."""
    far = [row for row in rows if row[len(OWN_COLUMNS) :] != NOTHING]
    return [
        group for group, names in GROUPS.items() if any(row[_AT[name]] is not None for row in far for name in names)
    ]


def _shape(sample: Sample, name: str) -> Histogram | None:
    one = sample.forward if name == FAR_HISTOGRAMS[0] else sample.backward
    return None if one is None else one.histogram


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _buckets(histograms: Sequence[Histogram | None]) -> Buckets:
    parts = [histogram for histogram in histograms if histogram is not None]
    return Buckets(
        np.array([ABSENT if item is None else len(item.index) for item in histograms], np.int64),
        _joined(item.index for item in parts),
        _joined(item.count for item in parts),
    )


def join(batches: Sequence[SampleBatch]) -> SampleBatch:
    """One after the other."""
    keys: dict[SeriesKey, int] = {}
    for batch in batches:
        for key in batch.keys:
            keys.setdefault(key, len(keys))
    unreadable: dict[int, str] = {}
    before = 0
    for batch in batches:
        unreadable |= {before + row: why for row, why in batch.unreadable.items()}
        before += len(batch)
    integers = dict.fromkeys((*BATCH_INTEGERS, *(name for batch in batches for name in batch.integers)))
    texts = dict.fromkeys(name for batch in batches for name in batch.texts)
    shapes = dict.fromkeys(name for batch in batches for name in batch.shapes)
    return SampleBatch(
        tuple(keys),
        _joined(np.array([keys[key] for key in batch.keys], np.int64)[batch.key] for batch in batches if len(batch)),
        _joined(batch.seq for batch in batches),
        {name: _joined(_column(batch, name) for batch in batches) for name in integers},
        [text for batch in batches for text in batch.remote],
        [text for batch in batches for text in batch.reason],
        _one(batch.buckets for batch in batches),
        unreadable,
        {name: [text for batch in batches for text in _texts(batch, name)] for name in texts},
        {name: _one(batch.shapes.get(name) or Buckets.none(len(batch)) for batch in batches) for name in shapes},
    )


def _column(batch: SampleBatch, name: str) -> Int64:
    found = batch.integers.get(name)
    return np.full(len(batch), ABSENT) if found is None else found


def _texts(batch: SampleBatch, name: str) -> Sequence[str | None]:
    found = batch.texts.get(name)
    return (None,) * len(batch) if found is None else found


def _one(parts: Iterable[Buckets]) -> Buckets:
    every = list(parts)
    return Buckets(*(_joined(getattr(part, item.name) for part in every) for item in fields(Buckets)))


def _joined(arrays: Iterable[Int64]) -> Int64:
    return np.concatenate([np.empty(0, np.int64), *arrays])


def _is_int64(value: object) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63
