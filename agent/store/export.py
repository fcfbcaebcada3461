"""Samples of a store, live and sealed, written to a file others can read: CSV, Parquet, or lines of any encoder."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from agent.store import rows
from agent.store.reader import StoreReader
from agent.store.sealed.layout import STORED_INTEGERS
from agent.store.sealed.manifest import DAY_NS
from probes.core.arrays import ABSENT
from probes.core.errors import LocalError
from probes.core.model import Sample

COLUMNS: Final = ("circuit", "probe", "kind", "start", *rows.SAMPLE_COLUMNS)
"""`start` in RFC 3339; `histogram` as `bucket:packets` pairs joined by `;`."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVERYTHING: Final = 1 << 62


def samples(reader: StoreReader, circuits: Sequence[str], start_ns: int, end_ns: int) -> Iterator[Sequence[Sample]]:
    """All samples that start in [start_ns, end_ns), a probe and a day at a time; of the circuits named or of all.

    Raises LocalError for a circuit that the store does not know.
    """
    listed = reader.series()
    unknown = set(circuits) - {series.circuit for series in listed}
    if unknown:
        raise LocalError(f"the store has no circuit {min(unknown)!r}", hint="`linkwitness status` lists them")
    bounds: dict[tuple[str, str], tuple[int, int]] = {}
    for series in listed:
        if not circuits or series.circuit in circuits:
            first, last = bounds.get((series.circuit, series.probe), (series.first_ns, series.last_ns))
            bounds[series.circuit, series.probe] = min(first, series.first_ns), max(last, series.last_ns)
    for (circuit, probe), (first, last) in bounds.items():
        at = max(first, start_ns)
        while at <= last and at < end_ns:
            until = min((at // DAY_NS + 1) * DAY_NS, end_ns)
            found = reader.samples(circuit, probe, at, until, _EVERYTHING)
            if found:
                yield [item.sample for item in found]
            at = until


def to_lines(groups: Iterator[Sequence[Sample]], stream: IO[str], encode: Callable[[Sample], str]) -> int:
    """One line for each sample; returns how many."""
    total = 0
    for group in groups:
        stream.writelines(f"{encode(sample)}\n" for sample in group)
        total += len(group)
    return total


def to_csv(groups: Iterator[Sequence[Sample]], stream: IO[str]) -> int:
    """COLUMNS and a row for each sample, nothing where there is no value; returns how many."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    total = 0
    for group in groups:
        writer.writerows(_row(sample) for sample in group)
        total += len(group)
    return total


def to_parquet(groups: Iterator[Sequence[Sample]], path: Path) -> int:
    """One Parquet file with COLUMNS but `start`; returns the number of rows. Raises OSError."""
    from agent.store.sealed import parquet

    names = tuple(name for name in COLUMNS if name != "start")
    types = dict.fromkeys(STORED_INTEGERS, "BIGINT") | {"load": "DOUBLE"}
    select = {name: f"{name}::{types.get(name, 'VARCHAR')}" for name in names}
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as directory:
        parts: list[Path] = []
        total = 0
        for group in groups:
            parts.append(Path(directory) / f"{len(parts):06}.parquet")
            parquet.write(parts[-1], _columns(names, group), select)
            total += len(group)
        if not parts:
            parts.append(Path(directory) / "empty.parquet")
            parquet.write(parts[0], _columns(names, []), select)
        whole = Path(directory) / "whole.parquet"
        parquet.join(parts, whole)
        shutil.move(whole, path)
    return total


def _columns(names: Sequence[str], group: Sequence[Sample]) -> dict[str, np.ndarray[Any, Any]]:
    found: dict[str, np.ndarray[Any, Any]] = {}
    listed = [_row(sample) for sample in group]
    for at, name in enumerate(COLUMNS):
        if name not in names:
            continue
        values = [row[at] for row in listed]
        if name in STORED_INTEGERS:
            absent = np.array([value is None for value in values], bool)
            present = np.array([ABSENT if value is None else value for value in values], np.int64)
            found[name] = np.ma.masked_array(present, absent)
        else:
            found[name] = np.empty(len(values), object)
            found[name][:] = values
    return found


def _row(sample: Sample) -> rows.Row:
    """Values in the order of COLUMNS."""
    *values, _histogram = rows.encode(sample)
    text = None if sample.histogram is None else sample.histogram.to_text()
    return (sample.circuit, sample.probe, sample.kind, _moment(sample.start_ns), *values, text)


def _moment(at_ns: int) -> str:
    whole, rest = divmod(at_ns, 10**9)
    return f"{_EPOCH + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
