"""When each stream sends next: absolute monotonic deadlines, so that a period never drifts. Pure.

A stream with period T that starts at t sends at t + phase + k * T for k = 0, 1, 2, ... Phases are spread over the
period and lie on the tick grid, so that many streams share one wake-up and none of them is late for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.clock import MICROSECOND, MILLISECOND

NEVER: Final = np.iinfo(np.int64).max
CATCH_UP_NS: Final = 250 * MILLISECOND
"""A send later than this is not made up for: what is due since then is skipped, all but one packet."""
SHORTEST_TICK_NS: Final = 500 * MICROSECOND

_PHASES: Final = 8
"""Fast streams are spread over at least so many phases, even if that takes more wake-ups."""
_GOLDEN: Final = (5**0.5 - 1) / 2


class Due(NamedTuple):
    """Streams that send now, each once, arrays (n,)."""

    stream: Int64
    scheduled_ns: Int64
    """monotonic time the packet was meant for"""
    skipped: Int64 | None
    """later packets of the stream given up because the host was late; None where there are none"""


class Deadlines(NamedTuple):
    """Deadlines of k streams in the order they come; arrays (n,), and `counts` (k,)."""

    which: Int64
    """position of the stream in the arguments"""
    ordinal: Int64
    """0 for a stream's first of these deadlines, 1 for its second, ..."""
    due_ns: Int64
    counts: Int64
    """how many each stream has"""


def first_due(now_ns: int, ordinal: int, every_ns: int, tick_ns: int) -> int:
    """First deadline of the stream that is `ordinal`-th to start: on the tick grid, after now_ns, within one period.

    The grid is finer for streams with a period of less than eight ticks.

    Multiples of the golden ratio, modulo 1, keep any number of streams evenly apart (Steinhaus' three gaps).
    """
    tick_ns = _grid(every_ns, tick_ns)
    grid = -(-now_ns // tick_ns) * tick_ns
    phase = int((ordinal * _GOLDEN) % 1.0 * every_ns)
    return grid + phase // tick_ns * tick_ns


def exponential_gaps(words: NDArray[np.uint64], mean_ns: Int64) -> Int64:
    """Gaps of Poisson processes, RFC 2330 section 11.1.1, at least 1 ns; words: uniform, 64 random bits each; (n,)."""
    uniform = ((words >> np.uint64(11)) + np.uint64(1)) * 2.0**-53
    gaps: Int64 = np.maximum(1, np.rint(-np.log(uniform) * mean_ns)).astype(np.int64)
    return gaps


def packets_in(span_ns: int, every_ns: int, *, random: bool) -> int:
    """The most packets a stream sends in a span; of a Poisson process more come with a probability below 1e-11."""
    mean = span_ns // every_ns + 1
    return mean + 7 * int(mean**0.5) + 16 if random else mean


def take_due(
    next_due_ns: Int64, every_ns: Int64, now_ns: int, *, earliest_ns: int,
    gaps: Callable[[Int64], Int64] | None = None,
) -> Due | None:  # fmt: skip
    """Streams whose deadline has come; moves their deadlines in `next_due_ns` on. None when there are none.

    gaps: from a deadline of these streams to the next one; their period where it is not given.

    earliest_ns: no deadline is earlier. A stream that is a little late catches up with one packet a tick. One that is
    later than CATCH_UP_NS sends one packet and skips those whose time has passed too: a frozen host does not wake up
    with a burst.
    """
    stream = (next_due_ns <= now_ns).nonzero()[0]
    if not len(stream):
        return None
    scheduled, period, skipped = next_due_ns[stream], every_ns[stream], None
    gap = period if gaps is None else gaps(stream)
    if now_ns - earliest_ns > CATCH_UP_NS:
        behind = now_ns - scheduled
        skipped = np.where(behind > CATCH_UP_NS, behind // period, 0)
        next_due_ns[stream] = scheduled + skipped * period + gap
        return Due(stream, scheduled, skipped if skipped.any() else None)
    next_due_ns[stream] = scheduled + gap
    return Due(stream, scheduled, None)


def due_until(
    next_due_ns: Int64, every_ns: Int64, remaining: Int64 | None, length: Int64 | None, *, until_ns: int, limit: int
) -> Deadlines:
    """The deadlines of all these streams before until_ns, each of which has one; arguments (k,). At most `limit`.

    remaining: packets a stream may still send, where some have a limit. length: octets of its packets, where they are
    not all of one: among those due together the short ones come first. What is left out is not earlier than the last
    that is in, and is due later unless the limit cannot hold one moment's.
    """
    first_ns = int(next_due_ns.min())
    while (count := np.maximum((until_ns - 1 - next_due_ns) // every_ns + 1, 0)).sum() > 2 * limit > 0:
        shorter_ns = first_ns + (until_ns - first_ns) // 2
        if shorter_ns in (first_ns, until_ns):
            break
        until_ns = shorter_ns
    if remaining is not None:
        count = np.minimum(count, remaining)
    which = np.repeat(np.arange(len(count)), count)
    ordinal = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    due_ns = next_due_ns[which] + ordinal * every_ns[which]
    order = np.argsort(due_ns, kind="stable") if length is None else np.lexsort((length[which], due_ns))
    if len(order) > limit:
        cut_ns = due_ns[order[limit]]
        order = order[: int((due_ns < cut_ns).sum()) or limit]
        count = np.bincount(which[order], minlength=len(count)).astype(np.int64)
    return Deadlines(which[order], ordinal[order], due_ns[order], count)


def shortest_spacing(every_ns: Int64, tick_ns: int) -> int:
    """Least time between two wake-ups for sending: half the grid of the fastest stream.

    Half, because a wake-up that is a little late must not push the next one off the grid.
    """
    return _grid(int(every_ns.min()), tick_ns) // 2 if len(every_ns) else tick_ns // 2


def _grid(every_ns: int, tick_ns: int) -> int:
    """Time between the phases a stream may have."""
    return max(SHORTEST_TICK_NS, min(tick_ns, every_ns // _PHASES))
