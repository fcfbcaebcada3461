"""Everything a reader says about samples, in a form that == compares; and sealing in this process."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.sla.samples.columns import HISTOGRAM_COLUMNS, INTEGER_COLUMNS, READABLE_COLUMNS, WITHHELD_COLUMNS
from agent.store import Store, StoreReader
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


def seal_all(path: Path, before_day: int = FAR) -> list[Part]:
    """Seal every day that is ready, one after the other."""
    found = []
    while (part := seal_next(path, before_day=before_day, now_ns=1)) is not None:
        found.append(part)
    return found


def release_all(store: Store, parts: Iterable[Part]) -> int:
    """Take the parts' rows out of the live database."""
    return sum(store.release(part) for part in parts)
