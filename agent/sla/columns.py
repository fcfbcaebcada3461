"""Samples of one probe of one circuit as columns: what the store and the database readers hand to the judge. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from probes.core.arrays import ABSENT, Histogram, Int64

INTEGER_COLUMNS = (
    "start_ns", "span_ns", "state",
    "sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent",
    "rtt_count", "rtt_sum_ns", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns", "rtt_stddev_ns",
    "ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns",
    "forward_bps", "backward_bps", "forward_bytes", "backward_bytes", "forward_ns", "backward_ns",
)  # fmt: skip
"""Numeric columns of a sample, in the order of the store. `state` holds SampleState.code."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleColumns:
    """Rows in ascending start_ns; every array int64 of shape (rows,), ABSENT where the sample has no such value.

    A column that was not asked for is None. `histogram` holds one entry per row, None where there is none.
    """

    circuit: str
    probe: str
    kind: str
    start_ns: Int64
    span_ns: Int64
    state: Int64
    sent: Int64 | None = None
    received: Int64 | None = None
    lost: Int64 | None = None
    late: Int64 | None = None
    duplicate: Int64 | None = None
    reordered: Int64 | None = None
    corrupt: Int64 | None = None
    not_sent: Int64 | None = None
    rtt_count: Int64 | None = None
    rtt_sum_ns: Int64 | None = None
    rtt_min_ns: Int64 | None = None
    rtt_max_ns: Int64 | None = None
    rtt_p50_ns: Int64 | None = None
    rtt_p95_ns: Int64 | None = None
    rtt_p99_ns: Int64 | None = None
    rtt_stddev_ns: Int64 | None = None
    ipdv_pairs: Int64 | None = None
    ipdv_abs_sum_ns: Int64 | None = None
    ipdv_p95_ns: Int64 | None = None
    pdv_p95_ns: Int64 | None = None
    rfc3550_ns: Int64 | None = None
    forward_bps: Int64 | None = None
    backward_bps: Int64 | None = None
    forward_bytes: Int64 | None = None
    backward_bytes: Int64 | None = None
    forward_ns: Int64 | None = None
    backward_ns: Int64 | None = None
    histogram: Sequence[Histogram | None] | None = None

    def __len__(self) -> int:
        return len(self.start_ns)

    def column(self, name: str) -> Int64:
        """The named integer column. Raises KeyError when it was not read."""
        values = getattr(self, name)
        if not isinstance(values, np.ndarray):
            raise KeyError(name)
        return values

    def between(self, start_ns: int, end_ns: int) -> SampleColumns:
        """Rows that start in [start_ns, end_ns)."""
        first, last = np.searchsorted(self.start_ns, (start_ns, end_ns), side="left")
        cut: dict[str, object] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            cut[item.name] = value if value is None or isinstance(value, str) else value[first:last]
        return SampleColumns(**cut)  # type: ignore[arg-type]


def present(values: Int64) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """True where a value is there."""
    there: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = values != ABSENT
    return there
