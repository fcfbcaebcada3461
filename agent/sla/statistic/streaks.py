"""How many runs of so many flags in a row there are, and how many there could be. Pure."""

from __future__ import annotations

import numpy as np

from agent.sla.time.spans import Flags
from probes.core.arrays import Int64


def runs(flags: Flags) -> tuple[Int64, Int64]:
    """(first, end) of each stretch of True, half-open, ascending."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return edges[::2].astype(np.int64), edges[1::2].astype(np.int64)


def counted(flags: Flags, length: int) -> int:
    """Maximal runs of True that are `length` or longer."""
    first, end = runs(flags)
    return int(np.count_nonzero(end - first >= length))


def bounds(certain: Flags, possible: Flags, length: int) -> tuple[int, int]:
    """(fewest, most) runs of `length` or longer over every way to decide the flags that are possible and not certain.

    Fewest: joining what is possible makes one run of several, so a stretch of possible flags holds at least one run
    where it holds a certain one, and may hold none otherwise. Most: take each run as short as it may be and cut it at
    the next flag that may be False.
    """
    possible = possible | certain
    begin, end = runs(possible)
    sure_begin, sure_end = runs(certain)
    long = sure_end - sure_begin >= length
    fewest = len(np.unique(np.searchsorted(begin, sure_begin[long], side="right")))
    free = np.flatnonzero(possible & ~certain)
    most = 0
    room = end - begin >= length
    for first, last in zip(begin[room].tolist(), end[room].tolist(), strict=True):
        most += _most(first, last, free, length)
    return fewest, most


def _most(first: int, last: int, free: Int64, length: int) -> int:
    """Runs that [first, last) can be cut into at the free places."""
    found, at = 0, first
    while at + length <= last:
        found += 1
        cut = int(np.searchsorted(free, at + length, side="left"))
        if cut == len(free) or int(free[cut]) >= last:
            break
        at = int(free[cut]) + 1
    return found
