"""All series of all parts at once: parts with the same series are looked at together, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from agent.store.sealed.manifest import Part, SealedSeries, SeriesKey
from agent.store.sealed.tables import Table
from probes.core.arrays import Int64

_ROWS, _FIRST, _LAST, _NEWEST_NS, _NEWEST_SEQ = range(5)


def totals(parts: Sequence[Part]) -> Iterator[SealedSeries]:
    """Rows and bounds of every series over all parts, once for each group of parts with the same series."""
    for names, group in _groups(parts):
        numbers = _stacked(group)
        rows, first, last = numbers[:, :, _ROWS].sum(0), numbers[:, :, _FIRST].min(0), numbers[:, :, _LAST].max(0)
        for key, number, begin, end in zip(names, rows.tolist(), first.tolist(), last.tolist(), strict=True):
            yield SealedSeries(*key, number, begin, end, 0, 0)


def newest(parts: Sequence[Part], by_seq: bool) -> Iterator[tuple[SealedSeries, Part]]:
    """The sample of every series kept last, by seq or by time, and its part; once for each group of parts."""
    for names, group in _groups(parts):
        numbers = _stacked(group)
        at = numbers[:, :, _NEWEST_SEQ if by_seq else _NEWEST_NS].argmax(0)
        chosen = numbers[at, np.arange(len(names))].tolist()
        for key, place, values in zip(names, at.tolist(), chosen, strict=True):
            yield SealedSeries(*key, *values), group[place]


def _groups(parts: Sequence[Part]) -> Iterator[tuple[tuple[SeriesKey, ...], list[Part]]]:
    groups: dict[tuple[SeriesKey, ...], list[Part]] = {}
    known: dict[int, tuple[SeriesKey, ...]] = {}
    for part in parts:
        if isinstance(part.series, Table):
            names = known.setdefault(id(part.series.names), part.series.names)
        else:
            names = tuple(item.key for item in part.series)
        groups.setdefault(names, []).append(part)
    yield from ((names, group) for names, group in groups.items() if names)


def _stacked(group: Sequence[Part]) -> Int64:
    """Numbers of shape (parts, series, 5)."""
    return np.stack(
        [
            part.series.numbers
            if isinstance(part.series, Table)
            else np.array([(s.rows, s.first_ns, s.last_ns, s.newest_ns, s.newest_seq) for s in part.series], np.int64)
            for part in group
        ]
    )
