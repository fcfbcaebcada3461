"""Samples of one probe of one circuit as columns: what the store and the database readers hand to the judge. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from probes.core.arrays import ABSENT, Histogram, Int64

BASIC_COLUMNS = (
    "start_ns", "span_ns", "state",
    "sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent",
    "rtt_count", "rtt_sum_ns", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns", "rtt_stddev_ns",
    "ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns",
    "forward_bps", "backward_bps", "forward_bytes", "backward_bytes", "forward_ns", "backward_ns",
)  # fmt: skip
"""Numeric columns that samples of any kind may have, in the order of the store. `state` holds SampleState.code."""
DIRECTIONS = ("forward", "backward")
ONE_WAY_COLUMNS = (
    "sent", "lost",
    "delay_count", "delay_sum_ns", "delay_min_ns", "delay_max_ns", "delay_p50_ns", "delay_p95_ns", "delay_p99_ns",
    "delay_stddev_ns",
    "ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns",
    "error_ns", "dscp", "ttl", "stamped",
)  # fmt: skip
"""Of one direction, without its name. Delays may be negative, within `error_ns`."""
RESIDENCE_COLUMNS = ("residence_count", "residence_sum_ns", "residence_min_ns", "residence_max_ns")
FAR_COLUMNS = (*(f"{way}_{name}" for way in DIRECTIONS for name in ONE_WAY_COLUMNS), *RESIDENCE_COLUMNS)
"""Numeric columns that only a far end with a clock of its own fills, in the order of the store."""
INTEGER_COLUMNS = (*BASIC_COLUMNS, *FAR_COLUMNS)
"""Every numeric column of a sample."""
WITHHELD_COLUMNS = ("forward_withheld", "backward_withheld")
"""Texts: why there is no one-way delay although packets arrived."""
HISTOGRAM_COLUMNS = ("histogram", "forward_histogram", "backward_histogram")
READABLE_COLUMNS = (*INTEGER_COLUMNS, *HISTOGRAM_COLUMNS, *WITHHELD_COLUMNS)
"""What a reader can be asked for."""

CHOICES = 8
"""Choices of rows remembered, at most, for each thing that is worked out."""

Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class SampleColumns:
    """Rows in ascending start_ns; every array int64 of shape (rows,), ABSENT where the sample has no such value.

    A column that was not asked for is None. Histograms and texts hold one entry per row, None where there is none.
    forward_* and backward_* from sent to histogram are of one direction: only probes with a clock at both ends fill
    them. way: whose packets the columns without such a name are about; `round_trip` unless a view of one direction
    says otherwise, which has error_ns, and withheld: why a row says nothing of it.
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
    forward_sent: Int64 | None = None
    forward_lost: Int64 | None = None
    forward_delay_count: Int64 | None = None
    forward_delay_sum_ns: Int64 | None = None
    forward_delay_min_ns: Int64 | None = None
    forward_delay_max_ns: Int64 | None = None
    forward_delay_p50_ns: Int64 | None = None
    forward_delay_p95_ns: Int64 | None = None
    forward_delay_p99_ns: Int64 | None = None
    forward_delay_stddev_ns: Int64 | None = None
    forward_ipdv_pairs: Int64 | None = None
    forward_ipdv_abs_sum_ns: Int64 | None = None
    forward_ipdv_p95_ns: Int64 | None = None
    forward_pdv_p95_ns: Int64 | None = None
    forward_rfc3550_ns: Int64 | None = None
    forward_error_ns: Int64 | None = None
    forward_dscp: Int64 | None = None
    forward_ttl: Int64 | None = None
    forward_stamped: Int64 | None = None
    forward_withheld: Sequence[str | None] | None = None
    forward_histogram: Sequence[Histogram | None] | None = None
    backward_sent: Int64 | None = None
    backward_lost: Int64 | None = None
    backward_delay_count: Int64 | None = None
    backward_delay_sum_ns: Int64 | None = None
    backward_delay_min_ns: Int64 | None = None
    backward_delay_max_ns: Int64 | None = None
    backward_delay_p50_ns: Int64 | None = None
    backward_delay_p95_ns: Int64 | None = None
    backward_delay_p99_ns: Int64 | None = None
    backward_delay_stddev_ns: Int64 | None = None
    backward_ipdv_pairs: Int64 | None = None
    backward_ipdv_abs_sum_ns: Int64 | None = None
    backward_ipdv_p95_ns: Int64 | None = None
    backward_pdv_p95_ns: Int64 | None = None
    backward_rfc3550_ns: Int64 | None = None
    backward_error_ns: Int64 | None = None
    backward_dscp: Int64 | None = None
    backward_ttl: Int64 | None = None
    backward_stamped: Int64 | None = None
    backward_withheld: Sequence[str | None] | None = None
    backward_histogram: Sequence[Histogram | None] | None = None
    residence_count: Int64 | None = None
    residence_sum_ns: Int64 | None = None
    residence_min_ns: Int64 | None = None
    residence_max_ns: Int64 | None = None
    way: str = "round_trip"
    error_ns: Int64 | None = None
    withheld: Sequence[str | None] | None = None

    derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    """what has been worked out from these rows; a copy with other values begins with nothing"""

    def __len__(self) -> int:
        return len(self.start_ns)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, made the first time only. Nobody changes it."""
        if key not in self.derived:
            self.derived[key] = _kept(make())
        found: Made = self.derived[key]
        return found

    def once_of(self, key: Hashable, rows: Flags, make: Callable[[], Made]) -> Made:
        """The same for a choice of rows: many objectives choose the very same ones."""
        known: list[tuple[Flags, Made]] = self.derived.setdefault(key, [])
        for chosen, made in known:
            if np.array_equal(chosen, rows):
                return made
        made = _kept(make())
        if len(known) < CHOICES:
            known.append((rows.copy(), made))
        return made

    def column(self, name: str) -> Int64:
        """The named integer column. Raises KeyError when it was not read."""
        values = getattr(self, name)
        if not isinstance(values, np.ndarray):
            raise KeyError(name)
        return values

    def in_order(self) -> SampleColumns:
        """The same rows in ascending start_ns, longer ones first where two start together; itself if they are."""
        if self.once("in order", lambda: not (self.start_ns[1:] < self.start_ns[:-1]).any()):
            return self
        order = np.lexsort((-self.span_ns, self.start_ns))
        moved: dict[str, object] = {}
        for item in fields(self):
            if not item.init:
                continue
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                moved[item.name] = value[order]
            elif value is None or isinstance(value, str):
                moved[item.name] = value
            else:
                taken = getattr(value, "taken", None)
                moved[item.name] = taken(order) if taken is not None else [value[k] for k in order.tolist()]
        return SampleColumns(**moved)  # type: ignore[arg-type]

    def between(self, start_ns: int, end_ns: int) -> SampleColumns:
        """Rows that start in [start_ns, end_ns)."""
        first, last = np.searchsorted(self.start_ns, (start_ns, end_ns), side="left")
        cut: dict[str, object] = {}
        for item in fields(self):
            if not item.init:
                continue
            value = getattr(self, item.name)
            cut[item.name] = value if value is None or isinstance(value, str) else value[first:last]
        return SampleColumns(**cut)  # type: ignore[arg-type]

    def cut(self, start_ns: int, end_ns: int) -> SampleColumns:
        """As `between`, remembered for the last CHOICES times that were asked for."""
        known: dict[tuple[int, int], SampleColumns] = self.derived.setdefault("cut", {})
        found = known.pop((start_ns, end_ns), None) or self.between(start_ns, end_ns)
        known[start_ns, end_ns] = found
        if len(known) > CHOICES:
            del known[next(iter(known))]
        return found


def _kept(made: Made) -> Made:
    """An array that several get cannot be written to."""
    if isinstance(made, np.ndarray):
        made.setflags(write=False)
    return made


def present(values: Int64) -> Flags:
    """True where a value is there."""
    there: Flags = values != ABSENT
    return there
