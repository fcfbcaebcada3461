"""Samples of many streams as columns: made, shown and stored without an object for each of them. Pure.

A block is a sequence of samples like any other; each is made when somebody looks at it. What works on all of them takes
the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, overload

import numpy as np

from probes.core.arrays import ABSENT, Histogram, Int64, Packets
from probes.core.model import Counts, Delay, Quality, Sample, SampleState, StampSource, Variation

COUNTS: Final = ("sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent")
DELAYS: Final = (
    "rtt_count", "rtt_sum_ns", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns", "rtt_stddev_ns",
)  # fmt: skip
VARIATIONS: Final = ("ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns")
QUALITIES: Final = (
    "stamps", "lateness_p50_ns", "lateness_max_ns", "local_drops", "clock_synchronised", "clock_error_ns",
)  # fmt: skip
COLUMNS: Final = ("start_ns", "span_ns", "state", *COUNTS, *DELAYS, *VARIATIONS, *QUALITIES)
"""Columns of `SampleBlock.values`, by the names of the store. A sample without a round trip has ABSENT in all of DELAYS
and VARIATIONS."""
STAMPS: Final = (StampSource.KERNEL, StampSource.KERNEL_RECEIVE, StampSource.USER)
"""By their code in the column `stamps`."""

Series = tuple[str, str, str]
"""(circuit, probe, kind)"""

_AT: Final = {name: place for place, name in enumerate(COLUMNS)}
_AFTER_COUNTS: Final = 3 + len(COUNTS)
_AFTER_DELAYS: Final = _AFTER_COUNTS + len(DELAYS)
_AFTER_VARIATIONS: Final = _AFTER_DELAYS + len(VARIATIONS)


@dataclass(frozen=True, slots=True, eq=False)
class SampleBlock(Sequence[Sample]):
    """k samples of streams that have nothing but a round trip."""

    series: Sequence[Series]
    remote: Sequence[str]
    values: Int64
    """shape (k, len(COLUMNS))"""
    reasons: dict[int, str]
    """of those samples that have one, by position"""
    packet_edges: Int64
    """where each sample's packets begin in `packets`, and the end; shape (k + 1,)"""
    packets: Packets | None
    """of all samples, one after the other; None where they have been let go"""
    bucket_edges: Int64
    """the same of `histograms`; a sample without buckets has no histogram"""
    histograms: Histogram | None

    def __len__(self) -> int:
        return len(self.series)

    @overload
    def __getitem__(self, key: int) -> Sample: ...
    @overload
    def __getitem__(self, key: slice) -> SampleBlock: ...
    def __getitem__(self, key: int | slice) -> Sample | SampleBlock:
        if isinstance(key, slice):
            return self.chosen(np.arange(len(self))[key])
        number = key + len(self) if key < 0 else key
        if not 0 <= number < len(self):
            raise IndexError(key)
        return self._made(number)

    def __iter__(self) -> Iterator[Sample]:
        return map(self._made, range(len(self)))

    def column(self, name: str) -> Int64:
        """One of COLUMNS, shape (k,)."""
        return self.values[:, _AT[name]]

    def states(self) -> list[SampleState]:
        """Of every sample."""
        return [SampleState.from_code(code) for code in self.column("state").tolist()]

    def light(self) -> SampleBlock:
        """The same samples without packets and histograms."""
        return replace(self, packets=None, histograms=None)

    def chosen(self, rows: Int64) -> SampleBlock:
        """The samples at these positions, in this order."""
        listed = rows.tolist()
        packet_edges, packets = _picked(self.packet_edges, rows)
        bucket_edges, buckets = _picked(self.bucket_edges, rows)
        every, shapes = self.packets, self.histograms
        return SampleBlock(
            [self.series[row] for row in listed],
            [self.remote[row] for row in listed],
            self.values[rows],
            {place: self.reasons[row] for place, row in enumerate(listed) if row in self.reasons},
            packet_edges,
            None if every is None else Packets(every.sent_ns[packets], every.rtt_ns[packets], every.state[packets]),
            bucket_edges,
            None if shapes is None else Histogram(shapes.index[buckets], shapes.count[buckets]),
        )

    def _made(self, number: int) -> Sample:
        circuit, probe, kind = self.series[number]
        values: list[Any] = [None if value == ABSENT else value for value in self.values[number].tolist()]
        start_ns, span_ns, state, *_ = values
        counts, delay = values[3:_AFTER_COUNTS], values[_AFTER_COUNTS:_AFTER_DELAYS]
        variation = values[_AFTER_DELAYS:_AFTER_VARIATIONS]
        stamps, p50_ns, max_ns, drops, synchronised, error_ns = values[_AFTER_VARIATIONS:]
        measured = delay[0] is not None
        return Sample(
            circuit=circuit,
            probe=probe,
            kind=kind,
            start_ns=start_ns,
            span_ns=span_ns,
            state=SampleState.from_code(state),
            counts=Counts(*counts),
            delay=Delay(*delay) if measured else None,
            variation=Variation(*variation) if measured else None,
            remote=self.remote[number],
            quality=Quality(
                stamps=STAMPS[stamps],
                lateness_p50_ns=p50_ns,
                lateness_max_ns=max_ns,
                local_drops=drops,
                clock_synchronised=None if synchronised is None else bool(synchronised),
                clock_error_ns=error_ns,
            ),
            reason=self.reasons.get(number),
            packets=self._packets(number),
            histogram=self._histogram(number),
        )

    def _packets(self, number: int) -> Packets | None:
        if self.packets is None:
            return None
        part = slice(*self.packet_edges[number : number + 2].tolist())
        return Packets(self.packets.sent_ns[part], self.packets.rtt_ns[part], self.packets.state[part])

    def _histogram(self, number: int) -> Histogram | None:
        first, end = self.bucket_edges[number : number + 2].tolist()
        if self.histograms is None or first == end:
            return None
        return Histogram(self.histograms.index[first:end], self.histograms.count[first:end])


def _picked(edges: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """Edges of these runs one after the other, and the positions of their elements."""
    sizes = np.diff(edges)[rows]
    ends = np.cumsum(sizes)
    return np.concatenate(([0], ends)), np.arange(int(sizes.sum())) + np.repeat(edges[rows] - ends + sizes, sizes)
