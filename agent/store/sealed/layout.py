"""Columns of the Parquet files, and those that are written as a distance from another. Pure.

Of an interval of up to 20 packets p95, p99 and the maximum are the same packet, and the 95th percentile of the
variation is its distance from the minimum. Written as distances they take nothing; the sums restore every value.

A file of samples has the columns of a group that only a far end fills (agent.store.far_end.GROUPS) where one of its
samples has something of it; its manifest says so. Others read as if every sample lacked it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import numpy as np

from agent.sla.samples.columns import DIRECTIONS, HISTOGRAM_COLUMNS, INTEGER_COLUMNS
from agent.store.far_end import FAR_HISTOGRAMS, FAR_TEXTS, GROUP_OF
from agent.store.rows import OWN_COLUMNS, SAMPLE_COLUMNS
from probes.core.arrays import ABSENT, Int64

TEXT_COLUMNS: Final = ("rate_layer", "remote", "reason", "phases")
OTHER_COLUMNS: Final = ("load", *TEXT_COLUMNS)
_OTHERS: Final = frozenset((*OTHER_COLUMNS, *HISTOGRAM_COLUMNS, *FAR_TEXTS))
STORED_INTEGERS: Final = tuple(name for name in SAMPLE_COLUMNS if name not in _OTHERS)
"""Integer columns of a row of the live database, in its order."""
OWN_INTEGERS: Final = tuple(name for name in OWN_COLUMNS if name not in _OTHERS)
"""Those of them that every file has."""
BUCKETS: Final = {name: f"{name}_buckets" for name in HISTOGRAM_COLUMNS}
"""Histogram -> number of the sample's rows in the file of such histograms; NULL where it has none."""

_DISTANCES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "rtt_p99_ns": ("rtt_p99_below_max_ns", ("rtt_max_ns",)),
    "rtt_p95_ns": ("rtt_p95_below_max_ns", ("rtt_max_ns",)),
    "pdv_p95_ns": ("pdv_p95_below_range_ns", ("rtt_p95_ns", "rtt_min_ns")),
    **{
        f"{way}_delay_p{p}_ns": (f"{way}_delay_p{p}_below_max_ns", (f"{way}_delay_max_ns",))
        for way in DIRECTIONS
        for p in (99, 95)
    },
    **{
        f"{way}_pdv_p95_ns": (f"{way}_pdv_p95_below_range_ns", (f"{way}_delay_p95_ns", f"{way}_delay_min_ns"))
        for way in DIRECTIONS
    },
}
"""column: its name as a distance, and what it is a distance from: the first minus the second"""

NARROW: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("state", "sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent", "rtt_count",
         "ipdv_pairs", *BUCKETS.values(), "residence_count",
         *(f"{way}_{name}" for way in DIRECTIONS for name in (
             "sent", "lost", "delay_count", "ipdv_pairs", "dscp", "ttl", "stamped"))),
        "USMALLINT"),
    **dict.fromkeys(
        ("rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_below_max_ns", "rtt_p99_below_max_ns", "rfc3550_ns"),
        "UINTEGER"),
    **dict.fromkeys(
        (f"{way}_{name}" for way in DIRECTIONS for name in (
            "delay_min_ns", "delay_max_ns", "delay_p50_ns", "delay_p95_below_max_ns", "delay_p99_below_max_ns",
            "rfc3550_ns", "error_ns")),
        "INTEGER"),
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
    for name in reversed(tuple(_DISTANCES)):  # what is a distance from another such one comes before it
        if name in found:
            found |= dict.fromkeys(_DISTANCES[name][1])
    return list(found)


_WRITTEN_GROUP: Final = {
    **{written_name(name): group for name, group in GROUP_OF.items()},
    **{BUCKETS[name]: GROUP_OF[name] for name in FAR_HISTOGRAMS},
}


def selected(written: Iterable[str], groups: Collection[str]) -> list[str]:
    """The columns as SQL over a file with these groups: NULL for one that it does not have."""
    return [name if _WRITTEN_GROUP.get(name, "") in ("", *groups) else "NULL" for name in written]


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
