"""The histograms of many samples as one column: views into two flat arrays instead of an object for every row. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Histogram, Int64

Flags = NDArray[np.bool_]
AnyInt = NDArray[np.integer[Any]]

_AT_ONCE: Final = 65_536
"""Buckets added up at once: what is worked on stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Histograms(Sequence[Histogram | None]):
    """One entry a row: the buckets bucket[start[k]:end[k]] with so many packets each; none where not there[k].

    bucket, packets: integers of any width (buckets,), never negative; start, end: int64 (rows,); there: bool (rows,).
    """

    bucket: AnyInt
    packets: AnyInt
    start: Int64
    end: Int64
    there: Flags

    @staticmethod
    def of(items: Iterable[Histogram | None]) -> Histograms:
        """From an object for each row."""
        if isinstance(items, Histograms):
            return items
        if isinstance(items, DayHistograms):
            return items.whole()
        rows = list(items)
        sizes = np.array([0 if item is None else len(item.index) for item in rows], np.int64)
        full = [item for item in rows if item is not None]
        nothing = np.zeros(0, np.int64)
        index = np.concatenate([nothing, *(item.index for item in full)])
        count = np.concatenate([nothing, *(item.count for item in full)])
        return Histograms.by_size(index, count, sizes, np.array([item is not None for item in rows], np.bool_))

    @staticmethod
    def by_size(bucket: AnyInt, packets: AnyInt, sizes: Int64, there: Flags) -> Histograms:
        """Rows that follow one another in the flat arrays, `sizes` buckets each."""
        end = np.cumsum(sizes)
        return Histograms(bucket, packets, end - sizes, end, there)

    @staticmethod
    def joined(parts: Iterable[Iterable[Histogram | None]]) -> Histograms:
        """One after the other."""
        all_parts = [part for part in map(Histograms.of, parts) if len(part)]
        if len(all_parts) == 1:
            return all_parts[0]
        before = np.cumsum([0, *(len(part.bucket) for part in all_parts)])
        nothing = np.zeros(0, np.int64)
        return Histograms(
            _together([part.bucket for part in all_parts]),
            _together([part.packets for part in all_parts]),
            np.concatenate([nothing, *(part.start + at for part, at in zip(all_parts, before, strict=False))]),
            np.concatenate([nothing, *(part.end + at for part, at in zip(all_parts, before, strict=False))]),
            np.concatenate([np.zeros(0, np.bool_), *(part.there for part in all_parts)]),
        )

    def __len__(self) -> int:
        return len(self.start)

    @overload
    def __getitem__(self, row: int) -> Histogram | None: ...

    @overload
    def __getitem__(self, row: slice) -> Histograms: ...

    def __getitem__(self, row: int | slice) -> Histogram | Histograms | None:
        if isinstance(row, slice):
            return self.taken(row)
        if not self.there[row]:
            return None
        view = slice(int(self.start[row]), int(self.end[row]))
        return Histogram(self.bucket[view].astype(np.int64), self.packets[view].astype(np.int64))

    def taken(self, rows: slice | Int64 | Flags) -> Histograms:
        """Those rows, in the order given, over the same flat arrays."""
        return Histograms(self.bucket, self.packets, self.start[rows], self.end[rows], self.there[rows])

    def merged(self) -> tuple[Int64, Int64]:
        """(bucket, packets) of all rows together, every bucket once, ascending."""
        index, count = self.buckets()
        if not len(index):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        total = np.zeros(int(index.max()) + 1, np.int64)
        for first in range(0, len(index), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            # float64 sums of integers below 2^53 are exact
            total += np.bincount(index[part], weights=count[part], minlength=len(total)).astype(np.int64)
        unique = np.flatnonzero(total)
        return unique, total[unique]

    def merged_of(self, rows: Flags) -> tuple[Int64, Int64]:
        """The same of those rows."""
        return self.taken(rows).merged()

    def buckets(self) -> tuple[AnyInt, AnyInt]:
        """(bucket, packets) of all rows one after the other, a bucket as often as rows have it."""
        sizes = self.end - self.start
        total = int(sizes.sum())
        if not total:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        some = sizes > 0
        start, end = self.start[some], self.end[some]
        if (start[1:] == end[:-1]).all():
            whole = slice(int(start[0]), int(end[-1]))
            return self.bucket[whole], self.packets[whole]
        sizes = sizes[some]
        at = np.repeat(start - (np.cumsum(sizes) - sizes), sizes) + np.arange(total)
        return self.bucket[at], self.packets[at]


@dataclass(frozen=True, slots=True, eq=False)
class DayHistograms(Sequence[Histogram | None]):
    """The same of blocks of rows of which the sum is known: single histograms are looked up only where one is asked for
    that is not taken with its whole block.

    there: as above. edges: first row of each block and the end of the last, int64 (blocks + 1,). sums: (bucket,
    packets) of each block, None where they must be looked up. load: the histograms of the rows from one to another.
    """

    there: Flags
    edges: Int64
    sums: tuple[tuple[Int64, Int64] | None, ...]
    load: Callable[[int, int], Histograms]
    known: dict[tuple[int, int], Histograms] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.there)

    @overload
    def __getitem__(self, row: int) -> Histogram | None: ...

    @overload
    def __getitem__(self, row: slice) -> DayHistograms: ...

    def __getitem__(self, row: int | slice) -> Histogram | DayHistograms | None:
        if not isinstance(row, slice):
            return self.whole()[row] if self.there[row] else None
        first, last, step = row.indices(len(self))
        if step != 1:
            raise IndexError("every row from one to another, or a single one")
        cut = np.clip(self.edges, first, max(first, last))
        uncut = (cut[:-1] == self.edges[:-1]) & (cut[1:] == self.edges[1:])
        sums = tuple(found if same else None for found, same in zip(self.sums, uncut.tolist(), strict=True))
        return DayHistograms(
            self.there[first:last], cut - first, sums, lambda begin, end: self.load(begin + first, end + first)
        )

    def whole(self) -> Histograms:
        """Every single one."""
        return self._loaded(0, len(self))

    def taken(self, rows: slice | Int64 | Flags) -> Histograms:
        """Those rows, in the order given."""
        return self.whole().taken(rows)

    def merged_of(self, rows: Flags) -> tuple[Int64, Int64]:
        """(bucket, packets) of those rows together, every bucket once, ascending."""
        wanted = rows & self.there
        parts: list[tuple[Int64, Int64]] = []
        lacking: list[tuple[int, int]] = []
        edges = self.edges.tolist()
        for first, last, summed in zip(edges[:-1], edges[1:], self.sums, strict=True):
            some = wanted[first:last]
            if summed is not None and np.array_equal(some, self.there[first:last]):
                parts.append(summed)
            elif some.any() and lacking and lacking[-1][1] == first:  # those side by side are looked up at once
                lacking[-1] = (lacking[-1][0], last)
            elif some.any():
                lacking.append((first, last))
        parts += [self._loaded(first, last).merged_of(wanted[first:last]) for first, last in lacking]
        total = np.zeros(max((int(index[-1]) + 1 for index, _ in parts if len(index)), default=0), np.int64)
        for index, count in parts:
            total[index] += count
        unique = np.flatnonzero(total)
        return unique, total[unique]

    def _loaded(self, first: int, last: int) -> Histograms:
        found = self.known.get((first, last))
        if found is None:
            found = self.known[first, last] = self.load(first, last)
        return found


def _together(parts: Sequence[AnyInt]) -> AnyInt:
    """One after the other, as narrow as they are or as the widest of them must be."""
    if not parts:
        return np.zeros(0, np.int64)
    kinds = sorted({part.dtype for part in parts}, key=lambda kind: kind.itemsize)
    narrow = all(part.dtype == kinds[0] or _fits(part, kinds[0]) for part in parts)
    found: AnyInt = np.concatenate([part.astype(kinds[0 if narrow else -1], copy=False) for part in parts])
    return found


def _fits(values: AnyInt, kind: np.dtype[np.integer[Any]]) -> bool:
    limits = np.iinfo(kind)
    return not len(values) or (int(values.min()) >= limits.min and int(values.max()) <= limits.max)
