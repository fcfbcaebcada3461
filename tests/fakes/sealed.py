"""Everything a reader says about samples, in a form that == compares; and sealing in this process."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent.sla.samples.columns import (
    HISTOGRAM_COLUMNS,
    INTEGER_COLUMNS,
    READABLE_COLUMNS,
    WITHHELD_COLUMNS,
    SampleColumns,
)
from agent.sla.samples.histograms import DayHistograms, Histograms
from agent.store import Store, StoreReader
from agent.store.sealed import packed
from agent.store.sealed.manifest import Part
from agent.store.sealed.sealing import seal_next
from probes.core.clock import SECOND
from tests.fakes.samples import MAXIMUM, listed_histogram, listed_packets, plain

DAY = 86_400 * SECOND
FAR = 100_000
"""A day in the year 2243: everything is before it."""
Told = dict[str, Any]


def told(reader: StoreReader, start_ns: int = -MAXIMUM, end_ns: int = MAXIMUM, limit: int = 100_000) -> Told:
    """What the reader says about every series."""
    found: Told = {"series": reader.series(), "latest": [plain(sample) for sample in reader.latest()]}
    status = reader.status()
    found["status"] = (status.rows, status.newest_seq, status.first_ns, status.last_ns, status.series)
    for series in found["series"]:
        key = (series.circuit, series.probe)
        columns = reader.read(*key, READABLE_COLUMNS, start_ns, end_ns, series.kind)
        check_summed(reader, columns, start_ns, end_ns)
        samples = reader.samples(*key, start_ns, end_ns, limit)
        found[str((*key, series.kind))] = {
            "kind": (columns.kind, reader.read(*key, ("sent",), start_ns, end_ns).kind),
            "columns": {name: columns.column(name).tolist() for name in INTEGER_COLUMNS},
            **{name: [listed_histogram(item) for item in getattr(columns, name)] for name in HISTOGRAM_COLUMNS},
            **{name: list(getattr(columns, name)) for name in WITHHELD_COLUMNS},
            "samples": [(item.seq, plain(item.sample)) for item in samples],
            "packets": [listed_packets(reader.packets(*key, item.sample.start_ns)) for item in samples],
        }
    return found


def check_summed(reader: StoreReader, columns: SampleColumns, start_ns: int, end_ns: int) -> None:
    """What is read for judging is what is read plainly, sums of histograms and single ones among it."""
    key = (columns.circuit, columns.probe)
    names = [name for name in packed.NAMES if name != packed.THERE]
    for some in (names, [*names, "histogram"], [*names, "rtt_max_ns", "histogram"]):
        found = reader.read(*key, some, start_ns, end_ns, columns.kind, summed=True)
        for name in names:
            assert found.column(name).tolist() == columns.column(name).tolist(), name
    shapes, plainly = found.histogram, Histograms.of(columns.histogram or ())
    first = reader.read(*key, [*names, "histogram"], start_ns, end_ns, columns.kind, summed=True).histogram
    for one in (first, shapes):
        assert isinstance(one, DayHistograms | Histograms)
        assert one.there.tolist() == plainly.there.tolist()
        for rows in (plainly.there, np.arange(len(plainly)) % 3 > 0, np.arange(len(plainly)) == 0):
            wanted = rows & plainly.there
            for mine, theirs in zip(one.merged_of(wanted), plainly.merged_of(wanted), strict=True):
                assert mine.tolist() == theirs.tolist()
        assert [listed_histogram(item) for item in one] == [listed_histogram(item) for item in plainly]


def seal_all(path: Path, before_day: int = FAR) -> list[Part]:
    """Seal every day that is ready, one after the other."""
    found = []
    while (part := seal_next(path, before_day=before_day, now_ns=1)) is not None:
        found.append(part)
    return found


def release_all(store: Store, parts: Iterable[Part]) -> int:
    """Take the parts' rows out of the live database."""
    return sum(store.release(part) for part in parts)
