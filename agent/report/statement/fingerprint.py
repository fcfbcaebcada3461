"""SHA-256 of the samples a report rests on, so that the other party can see that both looked at the same data. Pure.

The bytes that are hashed for one series, in this order:

1. a line of UTF-8 text: `linkwitness.columns/1 CIRCUIT PROBE KIND ROWS COLUMN COLUMN ...` and a line feed; names as
   JSON strings, columns in the order of the alphabet, start_ns, span_ns and state among them;
2. each integer column in that order: 8 octets a row, signed, little-endian; absent is -2^63;
3. of a column of histograms, in its place: for each row the number of its buckets, -1 where it has none, 8
   octets each as above; then for each row each bucket in ascending order as two unsigned little-endian
   numbers of 4 octets: number of the bucket, packets in it;
4. of a column of texts, in its place: for each row the number of its octets in UTF-8, -1 where it has none, 8 octets
   each as above; then the texts, one after the other.

The data hash of a report is the SHA-256 of the lines `HEX  CIRCUIT PROBE\n` of its series used for judging, sorted.
Rows are those the judge was given: the windows, and what it reads beside them to know the state at their start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Final

import numpy as np

from agent.sla.samples.columns import HISTOGRAM_COLUMNS, WITHHELD_COLUMNS, SampleColumns
from agent.sla.samples.histograms import Histograms
from probes.core.arrays import Int64

FORMAT: Final = "linkwitness.columns/1"
_LABELS: Final = ("circuit", "probe", "kind", "way")
_WIDE: Final = np.dtype("<i8")
_NARROW: Final = np.dtype("<u4")


def columns_of(columns: SampleColumns) -> tuple[str, ...]:
    """Names of the columns that were read, in the order of the alphabet."""
    names = [item.name for item in fields(columns) if item.init and item.name not in _LABELS]
    return tuple(sorted(name for name in names if getattr(columns, name) is not None))


def series_sha256(columns: SampleColumns) -> str:
    """Hex SHA-256 of one series."""
    names = columns_of(columns)
    head = " ".join(_quoted((columns.circuit, columns.probe, columns.kind)))
    digest = hashlib.sha256(f"{FORMAT} {head} {len(columns)} {' '.join(names)}\n".encode("utf-8", "surrogatepass"))
    for name in names:
        if name in HISTOGRAM_COLUMNS:
            _hash_histograms(digest, Histograms.of(getattr(columns, name)))
        elif name in WITHHELD_COLUMNS:
            _hash_texts(digest, getattr(columns, name))
        else:
            digest.update(_octets(columns.column(name), _WIDE))
    return digest.hexdigest()


def data_sha256(prints: Iterable[tuple[str, str, str]]) -> str:
    """Of (circuit, probe, hex) of every series."""
    lines = sorted(f"{sha}  {' '.join(_quoted((circuit, probe)))}\n" for circuit, probe, sha in prints)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _quoted(names: Sequence[str]) -> list[str]:
    return [json.dumps(name, ensure_ascii=False) for name in names]


def _hash_histograms(digest: hashlib._Hash, rows: Histograms) -> None:
    digest.update(_octets(np.where(rows.there, rows.end - rows.start, -1), _WIDE))
    bucket, packets = rows.buckets()
    pairs = np.empty((len(bucket), 2), _NARROW)
    pairs[:, 0], pairs[:, 1] = bucket, packets
    digest.update(pairs.data.cast("B") if len(bucket) else b"")


def _hash_texts(digest: hashlib._Hash, rows: Sequence[str | None]) -> None:
    octets = [None if text is None else text.encode("utf-8", "surrogatepass") for text in rows]
    digest.update(_octets(np.array([-1 if item is None else len(item) for item in octets], np.int64), _WIDE))
    digest.update(b"".join(item or b"" for item in octets))


def _octets(values: Int64, dtype: np.dtype[np.signedinteger]) -> memoryview | bytes:
    whole = np.ascontiguousarray(values, dtype)
    return whole.data.cast("B") if len(whole) else b""
