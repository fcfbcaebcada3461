"""Sets of time: sorted, disjoint, half-open intervals in UTC ns, with exact set arithmetic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """start_ns, end_ns: int64 (n,), ascending; start < end, and every start lies beyond the end before it."""

    start_ns: Int64
    end_ns: Int64

    @staticmethod
    def of(pairs: Iterable[tuple[int, int]]) -> Spans:
        """The union of any intervals [start, end); empty ones have no effect."""
        both = np.array(list(pairs), np.int64).reshape(-1, 2)
        return Spans.union(both[:, 0], both[:, 1])

    @staticmethod
    def union(start_ns: Int64, end_ns: Int64) -> Spans:
        """The union of any intervals, in any order, overlapping or not; those that touch become one."""
        if not len(start_ns):
            return NOWHERE
        some = start_ns < end_ns
        start, end = (start_ns, end_ns) if some.all() else (start_ns[some], end_ns[some])
        if not len(start):
            return NOWHERE
        if (start[1:] < start[:-1]).any():
            order = np.argsort(start, kind="stable")
            start, end = start[order], end[order]
        reach = end if (end[1:] >= end[:-1]).all() else np.maximum.accumulate(end)
        gap = start[1:] > reach[:-1]
        if not gap.any():
            return Spans(start[:1].copy(), reach[-1:].copy())
        first = np.concatenate(([True], gap))
        last = np.concatenate((first[1:], [True]))
        return Spans(start[first], reach[last])

    def __len__(self) -> int:
        return len(self.start_ns)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        yield from zip(self.start_ns.tolist(), self.end_ns.tolist(), strict=True)

    def __or__(self, other: Spans) -> Spans:
        return Spans.union(np.concatenate((self.start_ns, other.start_ns)), np.concatenate((self.end_ns, other.end_ns)))

    def __sub__(self, other: Spans) -> Spans:
        """What of this is not in the other."""
        if not len(self) or not len(other):
            return self
        begin = np.concatenate((self.start_ns, other.end_ns))
        begin = np.sort(begin)
        inside = begin[self.holds(begin) & ~other.holds(begin)]
        until = np.minimum(_next(self.end_ns, inside), _next(other.start_ns, inside))
        return Spans.union(inside, until)

    def __and__(self, other: Spans) -> Spans:
        """What is in both."""
        begin = np.sort(np.concatenate((self.start_ns, other.start_ns)))
        inside = begin[self.holds(begin) & other.holds(begin)]
        return Spans.union(inside, np.minimum(_next(self.end_ns, inside), _next(other.end_ns, inside)))

    def within(self, start_ns: int, end_ns: int) -> Spans:
        """The part in [start_ns, end_ns)."""
        return Spans.union(np.maximum(self.start_ns, start_ns), np.minimum(self.end_ns, end_ns))

    def widened(self, grid_ns: int) -> Spans:
        """Outwards to multiples of grid_ns: every interval of that grid that is touched."""
        return Spans.union(self.start_ns // grid_ns * grid_ns, -(-self.end_ns // grid_ns) * grid_ns)

    def grown(self, margin_ns: int) -> Spans:
        """Longer by margin_ns at both ends."""
        return Spans.union(self.start_ns - margin_ns, self.end_ns + margin_ns)

    @property
    def length_ns(self) -> int:
        return int((self.end_ns - self.start_ns).sum())

    def holds(self, instants: Int64) -> Flags:
        """True for each instant that lies inside, shape of `instants`."""
        if not len(self):
            return np.zeros(len(instants), np.bool_)
        found: Flags = np.searchsorted(self.start_ns, instants, "right") > np.searchsorted(
            self.end_ns, instants, "right"
        )
        return found

    def touches(self, start_ns: Int64, end_ns: Int64) -> Flags:
        """True for each interval [start, end) of which some instant lies inside, shape (rows,)."""
        if not len(self):
            return np.zeros(len(start_ns), np.bool_)
        found: Flags = np.searchsorted(self.start_ns, end_ns, "left") > np.searchsorted(self.end_ns, start_ns, "right")
        return found

    def cover(self, start_ns: Int64, end_ns: Int64) -> Int64:
        """ns of each interval [start, end) that lie inside, shape (rows,)."""
        if not len(self):
            return np.zeros(len(start_ns), np.int64)
        inside: Int64 = self._before(end_ns) - self._before(np.minimum(start_ns, end_ns))
        return inside

    def _before(self, instants: Int64) -> Int64:
        """ns inside before each instant."""
        total = np.concatenate(([0], np.cumsum(self.end_ns - self.start_ns)))
        whole = np.searchsorted(self.end_ns, instants, "right")
        partly = np.concatenate((self.start_ns, [np.iinfo(np.int64).max]))[whole]
        before: Int64 = total[whole] + np.where(instants > partly, instants - partly, 0)
        return before


def _next(edges: Int64, instants: Int64) -> Int64:
    """The first of the ascending edges after each instant, or the end of time."""
    return np.concatenate((edges, [np.iinfo(np.int64).max]))[np.searchsorted(edges, instants, "right")]


NOWHERE = Spans(np.zeros(0, np.int64), np.zeros(0, np.int64))
"""No time at all."""
