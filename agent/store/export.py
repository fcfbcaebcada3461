"""Samples of a store, live and sealed, written to a file others can read: CSV, Parquet, or lines of any encoder.

Read and written STEP rows at a time: what it takes of memory does not grow with the store.
"""

from __future__ import annotations

import csv
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from agent.sla.samples.columns import HISTOGRAM_COLUMNS
from agent.store import rows
from agent.store.reader import StoreReader
from agent.store.sealed.layout import STORED_INTEGERS
from agent.store.sealed.manifest import DAY_NS
from probes.core.arrays import ABSENT
from probes.core.errors import LocalError
from probes.core.model import Sample

COLUMNS: Final = ("circuit", "probe", "kind", "start", *rows.SAMPLE_COLUMNS)
"""`start` is a time, in CSV in RFC 3339; `state` and `stamps` are words, `clock_synchronised` is a truth value,
`phases` and `path` are JSON, histograms `bucket:packets` pairs joined by `;`. Others are texts, or numbers in the unit
that they name."""
STEP: Final = 2_000
"""Rows read at once."""
PART: Final = 4_000
"""Rows of a part of a Parquet file, kept in memory."""

MANY: Final = 64
"""Parts joined at once."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVERYTHING: Final = 1 << 62
_TYPES: Final = dict.fromkeys(STORED_INTEGERS, "BIGINT") | {
    "start": "TIMESTAMP_NS", "state": "VARCHAR", "stamps": "VARCHAR", "clock_synchronised": "BOOLEAN", "load": "DOUBLE",
}  # fmt: skip
_AT: Final = {name: at for at, name in enumerate(rows.SAMPLE_COLUMNS)}


def samples(reader: StoreReader, circuits: Sequence[str], start_ns: int, end_ns: int) -> Iterator[Sequence[Sample]]:
    """All samples that start in [start_ns, end_ns), by circuit, probe and time; of the circuits named or of all.

    Raises LocalError for a circuit that the store does not know.
    """
    listed = reader.series()
    unknown = set(circuits) - {series.circuit for series in listed}
    if unknown:
        raise LocalError(f"the store has no circuit {min(unknown)!r}", hint="`linkwitness status` lists them")
    probes = dict.fromkeys(
        (series.circuit, series.probe) for series in listed if not circuits or series.circuit in circuits
    )
    for circuit, probe in probes:
        of = [series for series in listed if (series.circuit, series.probe) == (circuit, probe)]
        kinds = [series.kind for series in of]
        at, last = max(start_ns, min(series.first_ns for series in of)), max(series.last_ns for series in of)
        while at <= last and at < end_ns:
            until = min((at // DAY_NS + 1) * DAY_NS, end_ns)
            for begin, end in _steps(reader, (circuit, probe), kinds, at, until):
                found = reader.samples(circuit, probe, begin, end, _EVERYTHING)
                if found:
                    yield [item.sample for item in found]
            at = until


def _steps(
    reader: StoreReader, key: tuple[str, str], kinds: Sequence[str], start_ns: int, end_ns: int
) -> Iterator[tuple[int, int]]:
    """[start_ns, end_ns) in pieces of about STEP rows; nothing where there is no row."""
    starts = np.sort(
        np.concatenate([reader.read(*key, ("start_ns",), start_ns, end_ns, kind).start_ns for kind in kinds])
    )
    cuts = [start_ns, *starts[STEP::STEP].tolist(), end_ns] if len(starts) else []
    yield from itertools.pairwise(cuts)


def to_lines(groups: Iterable[Sequence[Sample]], stream: IO[str], encode: Callable[[Sample], str]) -> Iterator[int]:
    """One line for each sample; yields how many were written with every group."""
    for group in groups:
        stream.writelines(f"{encode(sample)}\n" for sample in group)
        yield len(group)


def to_csv(groups: Iterable[Sequence[Sample]], stream: IO[str]) -> Iterator[int]:
    """COLUMNS and a row for each sample, nothing where there is no value; yields as to_lines."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group in groups:
        writer.writerows(_csv_row(sample) for sample in group)
        yield len(group)


def to_parquet(groups: Iterable[Sequence[Sample]], path: Path) -> Iterator[int]:
    """One Parquet file with COLUMNS; yields as to_lines. Written in parts beside it first. Raises OSError."""
    from agent.store.sealed import parquet

    select = {name: f"{name}::{_TYPES.get(name, 'VARCHAR')}" for name in COLUMNS}
    select["start"] = "make_timestamp_ns(start)"
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as directory:
        heap = _Heap(Path(directory))
        waiting: list[dict[str, np.ndarray[Any, Any]]] = []

        def write() -> None:
            joined = {name: np.concatenate([columns[name] for columns in waiting]) for name in COLUMNS}
            parquet.write(heap.next(), {name: _masked(values) for name, values in joined.items()}, select)
            waiting.clear()

        for group in groups:
            waiting.append(_columns(group))
            if sum(len(columns["start"]) for columns in waiting) >= PART:
                write()
            yield len(group)
        if waiting or not heap.parts:
            waiting.append(_columns([]))
            write()
        heap.join().replace(path)


class _Heap:
    """Parts of a file, in order; MANY of them become one, so that never more are open at once."""

    def __init__(self, directory: Path) -> None:
        self.parts: list[Path] = []
        self._directory, self._number = directory, 0

    def next(self) -> Path:
        """Where the next part goes."""
        small = [part for part in self.parts if part.name.startswith("part")]
        if len(small) >= MANY:
            self.parts = [part for part in self.parts if part not in small] + [self._joined(small)]
        self.parts.append(self._path("part"))
        return self.parts[-1]

    def join(self) -> Path:
        """All of them as one file."""
        return self._joined(self.parts)

    def _joined(self, parts: Sequence[Path]) -> Path:
        from agent.store.sealed import parquet

        whole = self._path("whole")
        parquet.join(parts, whole)
        for part in parts:
            part.unlink()
        return whole

    def _path(self, word: str) -> Path:
        self._number += 1
        return self._directory / f"{word}-{self._number:06}.parquet"


def _columns(group: Sequence[Sample]) -> dict[str, np.ndarray[Any, Any]]:
    """Integers with ABSENT where there is none; `start` as ns, whose day and time DuckDB makes of it."""
    listed = [(sample.circuit, sample.probe, sample.kind, sample.start_ns, *_values(sample)) for sample in group]
    found: dict[str, np.ndarray[Any, Any]] = {}
    for at, name in enumerate(COLUMNS):
        values = [row[at] for row in listed]
        if _TYPES.get(name, "VARCHAR") in ("BIGINT", "TIMESTAMP_NS"):
            found[name] = np.array([ABSENT if value is None else value for value in values], np.int64)
        else:
            found[name] = np.empty(len(values), object)
            found[name][:] = values
    return found


def _masked(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ma.masked_array(values, values == ABSENT) if values.dtype == np.int64 else values


def _csv_row(sample: Sample) -> rows.Row:
    values = (
        str(value).lower() if isinstance(value, bool) else value  # as JSON writes it
        for value in _values(sample)
    )
    return (sample.circuit, sample.probe, sample.kind, _moment(sample.start_ns), *values)


def _values(sample: Sample) -> rows.Row:
    """Values in the order of SAMPLE_COLUMNS, codes as words."""
    values = list(rows.encode(sample))
    values[_AT["state"]] = str(sample.state)
    values[_AT["stamps"]] = str(sample.quality.stamps)
    values[_AT["clock_synchronised"]] = sample.quality.clock_synchronised
    ways = [None if one is None else one.histogram for one in (sample.forward, sample.backward)]
    for name, shape in zip(HISTOGRAM_COLUMNS, [sample.histogram, *ways], strict=True):
        values[_AT[name]] = None if shape is None else shape.to_text()
    return tuple(values)


def _moment(at_ns: int) -> str:
    whole, rest = divmod(at_ns, 10**9)
    return f"{_EPOCH + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
