"""When each stream sends next: absolute monotonic deadlines, so that a period never drifts. Pure.

A stream with period T that starts at t sends at t + phase + k * T for k = 0, 1, 2, ... Phases are spread over the
period and lie on the tick grid, so that many streams share one wake-up and none of them is late for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from probes.core.arrays import Int64
from probes.core.clock import MICROSECOND, MILLISECOND

NEVER: Final = np.iinfo(np.int64).max
CATCH_UP_NS: Final = 250 * MILLISECOND
"""A send later than this is not made up for: what is due since then is skipped, all but one packet."""
SHORTEST_TICK_NS: Final = 500 * MICROSECOND

_GOLDEN: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """Streams that send now, each once, arrays (n,)."""

    stream: Int64
    scheduled_ns: Int64
    """monotonic time the packet was meant for"""
    skipped: Int64
    """later packets of the stream given up because the host was late"""


def first_due(now_ns: int, ordinal: int, every_ns: int, tick_ns: int) -> int:
    """First deadline of the stream that is `ordinal`-th to start: on the tick grid, after now_ns, within one period.

    Multiples of the golden ratio, modulo 1, keep any number of streams evenly apart (Steinhaus' three gaps).
    """
    grid = -(-now_ns // tick_ns) * tick_ns
    phase = int((ordinal * _GOLDEN) % 1.0 * every_ns)
    return grid + phase // tick_ns * tick_ns


def take_due(next_due_ns: Int64, every_ns: Int64, now_ns: int) -> Due | None:
    """Streams whose deadline has come; moves their deadlines in `next_due_ns` on. None when there are none.

    A stream that is a little late catches up with one packet a tick. One that is later than CATCH_UP_NS sends one
    packet and skips those whose time has passed too: a frozen host does not wake up with a burst.
    """
    stream = np.flatnonzero(next_due_ns <= now_ns)
    if not len(stream):
        return None
    scheduled = next_due_ns[stream]
    period = every_ns[stream]
    following = scheduled + period
    if now_ns - int(scheduled.min()) > CATCH_UP_NS:
        behind = now_ns - scheduled
        skipped = np.where(behind > CATCH_UP_NS, behind // period, 0)
        following += skipped * period
    else:
        skipped = np.zeros(len(stream), np.int64)
    next_due_ns[stream] = following
    return Due(stream, scheduled, skipped)


def shortest_spacing(every_ns: Int64, tick_ns: int) -> int:
    """Least time between two wake-ups for sending: the tick, or half the shortest period if that is less."""
    if not len(every_ns):
        return tick_ns
    return max(SHORTEST_TICK_NS, min(tick_ns, int(every_ns.min()) // 2))
