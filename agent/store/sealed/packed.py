"""Columns that judging needs most, so plain that reading them is a copy, and the histograms of a series added up. Pure.

    8 octets   LWPACK1 and a line feed
    4          length of the head, little-endian
    head       JSON: for each series its names, rows, columns and shape
    body       little-endian arrays, each at a multiple of 8 from the start of the file

A column is [form, base, step, number, offset]. `rest`: base in all rows but `number` of them, whose places (uint32) and
values (int64) are in the body, places first. `line`: base + step * row, and at `number` places it goes on so much
higher. `wide`: base + an unsigned integer of `number` octets in each row, or the value itself in 8 octets; where step
is 1, the highest of them is ABSENT. A shape is [buckets, offset]: their numbers (uint32), ascending, and then the
packets in each (int64), of all rows together; -1 buckets where they would take more room than they are worth. All of
this is in the Parquet files as well: a part without such a file is read there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent.store.sealed.manifest import SeriesKey
from probes.core.arrays import ABSENT, Int64

THERE: Final = "histogram_there"
"""1 where the sample has a histogram, else 0."""
NAMES: Final = (
    "start_ns", "span_ns", "state", "sent", "lost", "late", "not_sent", "rtt_count", "rtt_sum_ns", "rtt_min_ns",
    "ipdv_pairs", "ipdv_abs_sum_ns", THERE,
)  # fmt: skip
"""Columns of the file."""

_MAGIC: Final = b"LWPACK1\n"
_HEAD: Final = len(_MAGIC) + 4
_EXCEPTION: Final = 12
"""Octets of a row that is not like the rest, and of a bucket."""
ROOM: Final = 4
SMALL: Final = 512
"""Octets for each row that a sum of histograms may take, and octets that are no matter: of the few rows of a slice it
may take more than all else."""
_WIDTHS: Final = (1, 2, 3, 4)

_Form = tuple[str, int, int, int, int]
Merged = tuple[Int64, Int64]
"""Numbers of buckets, ascending, and packets in each."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """One series of a file. columns: by name, as they are in the head; shape: its buckets and where they are."""

    rows: int
    columns: Mapping[str, _Form]
    shape: tuple[int, int]
    body: bytes

    def fill(self, name: str, out: Int64) -> None:
        """Write the column into `out`, shape (rows,)."""
        form, base, step, number, offset = self.columns[name]
        if form == "wide":
            self._fill_wide(self.columns[name], out)
            return
        if form == "line":
            np.multiply(np.arange(self.rows, dtype=np.int64), step, out=out)
            out += base
        else:
            out[:] = base
        if number:
            places = np.frombuffer(self.body, "<u4", number, offset)
            values = np.frombuffer(self.body, "<i8", number, _aligned(offset + 4 * number))
            if form == "line":
                for place, more in zip(places.tolist(), values.tolist(), strict=True):
                    out[place:] += more
            else:
                out[places] = values

    def _fill_wide(self, of: _Form, out: Int64) -> None:
        _, base, gaps, width, offset = of
        if width == 8:
            out[:] = np.frombuffer(self.body, "<i8", self.rows, offset)
            return
        if width == 3:  # four octets at every third: the highest is of the next one
            four: np.ndarray[Any, Any] = np.ndarray((self.rows,), "<u4", self.body, offset, (3,))
            stored = four & _highest(3)
        else:
            stored = np.frombuffer(self.body, f"<u{width}", self.rows, offset)
        np.add(stored, np.int64(base), out=out)
        if gaps:
            out[stored == _highest(width)] = ABSENT

    def alike(self, name: str) -> int | None:
        """The value of all rows; None where they differ."""
        form, base, _, number, _ = self.columns[name]
        return base if form == "rest" and not number else None

    def column(self, name: str) -> Int64:
        """The column by itself."""
        out = np.empty(self.rows, np.int64)
        self.fill(name, out)
        return out

    def merged(self) -> Merged | None:
        """The histograms of all rows together, where they are here."""
        number, offset = self.shape
        if number < 0:
            return None
        index = np.frombuffer(self.body, "<u4", number, offset).astype(np.int64)
        return index, np.frombuffer(self.body, "<i8", number, _aligned(offset + 4 * number)).astype(np.int64)


def encode(series: Iterable[tuple[SeriesKey, Mapping[str, Int64], Merged]]) -> bytes:
    """The file. Each series with the columns of NAMES in ascending start_ns, and its histograms added up."""
    body = bytearray()
    heads = []
    for key, columns, (index, packets) in series:
        forms = {name: _append(body, name, columns[name]) for name in NAMES}
        rows, shape = len(columns["start_ns"]), [-1, 0]
        if len(index) * _EXCEPTION <= max(SMALL, ROOM * rows):
            shape = [len(index), _add(body, index.astype("<u4"), packets)]
        heads.append({"key": key, "rows": rows, "columns": forms, "shape": shape})
    head = json.dumps(heads, separators=(",", ":")).encode("ascii")
    head += b" " * (_aligned(_HEAD + len(head)) - _HEAD - len(head))
    return _MAGIC + len(head).to_bytes(4, "little") + head + bytes(body)


def decode(data: bytes) -> dict[SeriesKey, Packed]:
    """Inverse of encode. Raises ValueError for anything else."""
    end = _HEAD + int.from_bytes(data[len(_MAGIC) : _HEAD], "little")
    if not data.startswith(_MAGIC) or end > len(data):
        raise ValueError("it is no file of packed columns")
    body = data[end:]
    try:
        heads: list[dict[str, Any]] = json.loads(data[_HEAD:end])
        found = {}
        for head in heads:
            circuit, probe, kind = head["key"]
            packed = Packed(head["rows"], head["columns"], head["shape"], body)
            found[circuit, probe, kind] = packed
    except (TypeError, KeyError) as error:
        raise ValueError(f"its head cannot be read: {error}") from None
    return found


def rows_of(data: bytes) -> int:
    """Rows of a file, after every value has been decoded once. Raises ValueError."""
    total = 0
    for item in decode(data).values():
        for name in NAMES:
            item.column(name)
        item.merged()
        total += item.rows
    return total


def _append(body: bytearray, name: str, values: Int64) -> _Form:
    if name == "start_ns" and len(values) > 1:
        steps = np.diff(values)
        step, other = _most(steps)
        if _EXCEPTION * len(other) <= len(values):
            return "line", int(values[0]), step, len(other), _add(body, (other + 1).astype("<u4"), steps[other] - step)
    base, other = _most(values)
    if _EXCEPTION * len(other) <= len(values):
        return "rest", base, 0, len(other), _add(body, other.astype("<u4"), values[other])
    there = values[values != ABSENT]
    low, high = int(there.min()), int(there.max())
    for width in _WIDTHS:
        if high - low < _highest(width):
            codes = np.where(values == ABSENT, _highest(width), values - low).astype("<i8")
            octets = codes.view(np.uint8).reshape(-1, 8)[:, :width]
            return "wide", low, int(len(there) < len(values)), width, _add(body, octets, np.zeros(1, np.uint8))
    return "wide", 0, 0, 8, _add(body, values.astype("<i8"))


def _most(values: Int64) -> tuple[int, Int64]:
    """The value that most rows have, and the places of the others."""
    if not len(values):
        return 0, np.zeros(0, np.int64)
    found, counts = np.unique(values, return_counts=True)
    most = int(found[counts.argmax()])
    return most, np.flatnonzero(values != most)


def _add(body: bytearray, *arrays: np.ndarray[Any, Any]) -> int:
    """Where the first begins; each is filled up to a multiple of 8."""
    begin = len(body)
    for array in arrays:
        body += array.tobytes()
        body += bytes(_aligned(len(body)) - len(body))
    return begin


def _aligned(offset: int) -> int:
    return -(-offset // 8) * 8


def _highest(width: int) -> int:
    return (1 << 8 * width) - 1
