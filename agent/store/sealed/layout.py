"""Columns of the Parquet files, and the three that are written as a distance from another. Pure.

Of an interval of up to 20 packets p95, p99 and the maximum are the same packet, and the 95th percentile of the
variation is its distance from the minimum. Written as distances they take nothing; the sums restore every value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from agent.sla.samples.columns import INTEGER_COLUMNS
from agent.store.rows import SAMPLE_COLUMNS
from probes.core.arrays import ABSENT, Int64

TEXT_COLUMNS: Final = ("rate_layer", "remote", "reason", "phases")
OTHER_COLUMNS: Final = ("load", *TEXT_COLUMNS)
STORED_INTEGERS: Final = tuple(name for name in SAMPLE_COLUMNS if name not in (*OTHER_COLUMNS, "histogram"))
"""Integer columns of a row of the live database, in its order."""
BUCKETS: Final = "histogram_buckets"
"""Number of the sample's rows in the file of histograms; NULL where it has no histogram."""

_DISTANCES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "rtt_p99_ns": ("rtt_p99_below_max_ns", ("rtt_max_ns",)),
    "rtt_p95_ns": ("rtt_p95_below_max_ns", ("rtt_max_ns",)),
    "pdv_p95_ns": ("pdv_p95_below_range_ns", ("rtt_p95_ns", "rtt_min_ns")),
}
"""column: its name as a distance, and what it is a distance from: the first minus the second"""

NARROW: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("state", "sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent", "rtt_count",
         "ipdv_pairs", BUCKETS), "USMALLINT"),
    **dict.fromkeys(
        ("rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_below_max_ns", "rtt_p99_below_max_ns", "rfc3550_ns"),
        "UINTEGER"),
}  # fmt: skip
"""Columns of the file: the SQL type that their values fit in almost always, a delay up to 4.29 s."""

KEYS: Final = ("circuit", "probe", "kind")
"""Columns of every file, before all others."""


def written_name(column: str) -> str:
    """Name of a column of the store in the Parquet file."""
    return _DISTANCES[column][0] if column in _DISTANCES else column


def needed(columns: Iterable[str]) -> list[str]:
    """The columns and those they are distances from."""
    found = dict.fromkeys(columns)
    for name in ("pdv_p95_ns", "rtt_p95_ns", "rtt_p99_ns"):
        if name in found:
            found |= dict.fromkeys(_DISTANCES[name][1])
    return list(found)


def to_written(values: Mapping[str, Int64]) -> dict[str, Int64]:
    """Columns by their name in the store -> by their name in the file. ABSENT stays ABSENT."""
    return {
        written_name(name): column if name not in _DISTANCES else _apart(column, _reference(name, values.__getitem__))
        for name, column in values.items()
    }


def from_written(names: Iterable[str], written: Callable[[str], Int64]) -> dict[str, Int64]:
    """Inverse of to_written, for the columns named and what they need. written: a column of the file by its name."""
    values: dict[str, Int64] = {}

    def restored(name: str) -> Int64:
        if name not in values:
            column = written(written_name(name))
            values[name] = column if name not in _DISTANCES else _apart(column, _reference(name, restored))
        return values[name]

    return {name: restored(name) for name in names}


def _reference(name: str, column: Callable[[str], Int64]) -> Int64:
    first, *second = (_or_zero(column(base)) for base in _DISTANCES[name][1])
    return first - second[0] if second else first


def _or_zero(values: Int64) -> Int64:
    absent = values == ABSENT
    return np.where(absent, 0, values) if absent.any() else values


def _apart(values: Int64, reference: Int64) -> Int64:
    """reference - values, modulo 2^64: its own inverse. A distance that would read as ABSENT is left as the value."""
    distance = reference - values
    kept = (values == ABSENT) | (distance == ABSENT)
    return np.where(kept, values, distance) if kept.any() else distance


def required_integers(wanted: Iterable[str]) -> tuple[str, ...]:
    """The wanted integer columns in the order of the store, with those a series is never read without."""
    return tuple(name for name in INTEGER_COLUMNS if name in wanted or name in ("start_ns", "span_ns", "state"))
