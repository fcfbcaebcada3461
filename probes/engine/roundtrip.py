"""Round-trip times from kernel stamps, guarded against a wall clock that was set in between. Pure.

Kernel stamps are wall-clock times. The offset wall - monotonic is known when a packet is sent and when its reply is
read; where it changed, the clock was set and a plain difference of stamps may be hours wrong or negative. Which clock a
reply was stamped by then follows from when it can have come, and from the order in which replies lay in the socket.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import MILLISECOND

Flags = NDArray[np.bool_]

KERNEL: Final = 0
"""both ends stamped by the kernel"""
KERNEL_RECEIVE: Final = 1
"""sending stamped in user space"""
USER: Final = 2
"""measured in user space on the monotonic clock, or kernel stamps with a step of the clock in between, put right: not
first-class"""

STEADY_NS: Final = MILLISECOND
"""Change of the offset that is still the clock discipline's slewing (500 ppm: 1 ms in 2 s)."""
SLACK_NS: Final = MILLISECOND
DELIVERY_NS: Final = 20 * MILLISECOND
"""So long, on a busy host, a packet that the kernel has stamped may be on its way to the socket."""


class Reading(NamedTuple):
    """The clocks read together. offset_ns is wall - monotonic."""

    monotonic_ns: int
    offset_ns: int
    stepped_after_ns: int = 0
    """monotonic time of the last reading before the newest clock step: the step came later than that"""
    stepped_before_ns: int = 0
    """monotonic time of the reading that revealed it"""
    read_after_ns: int = 0
    """monotonic; what is read now had not come to its socket by then"""

    @property
    def wall_ns(self) -> int:
        return self.monotonic_ns + self.offset_ns

    @property
    def reveals_step(self) -> bool:
        return self.stepped_before_ns == self.monotonic_ns


def round_trips(
    *, transmitted_ns: Int64, called_ns: Int64, offset_ns: Int64, received_ns: Int64, now: Reading
) -> tuple[Int64, NDArray[np.uint8]]:
    """Round-trip times (never negative) and their stamp sources, arrays (n,).

    transmitted_ns, received_ns: kernel stamps (wall) or ABSENT; called_ns: wall time just before the send call;
    offset_ns: wall - monotonic then. Replies are in the order in which one socket gave them; `now` is when.
    """
    elapsed = now.monotonic_ns - (called_ns - offset_ns)
    untransmitted, unreceived = transmitted_ns == ABSENT, received_ns == ABSENT
    start = np.where(untransmitted, called_ns, transmitted_ns)
    difference = np.where(unreceived, 0, received_ns) - start
    change = now.offset_ns - offset_ns
    plausible = (difference >= 0) & (difference <= elapsed + SLACK_NS) & ~unreceived
    moved = np.abs(change) > STEADY_NS
    steady = ~moved & plausible
    source = np.where(untransmitted, KERNEL_RECEIVE, KERNEL).astype(np.uint8)
    if steady.all():
        return difference, source
    # The clock was set. Either the reply came before: the stamps are of one clock; or after: they differ by the change.
    # A sending stamp that is off by all of the change is of the new clock, too: it was set during the send call.
    entered = ~untransmitted & (change > 0) & (start - called_ns > change - SLACK_NS)
    after = difference - np.where(entered, 0, change)
    before = moved & plausible & ~entered & _possible(received_ns - offset_ns, 0, now.stepped_before_ns, now)
    later = moved & ~unreceived & (after >= 0) & (after <= elapsed + SLACK_NS)
    later &= _possible(received_ns - now.offset_ns, now.stepped_after_ns, now.monotonic_ns, now)
    first, surely = _before_the_step(before, later, steady, difference <= after)
    result = np.where(first, difference, np.where(later, after, elapsed))
    whole = steady | (first & surely)
    return np.where(steady, difference, np.maximum(result, 0)), np.where(whole, source, USER).astype(np.uint8)


def _possible(came_ns: Int64, first_ns: int, last_ns: int, now: Reading) -> Flags:
    """Whether replies can have come at these monotonic times: from first to last, and not read already."""
    earliest_ns = max(first_ns - SLACK_NS, now.read_after_ns - DELIVERY_NS)
    return np.asarray((came_ns >= earliest_ns) & (came_ns <= last_ns + SLACK_NS))


def _before_the_step(before: Flags, later: Flags, steady: Flags, shorter: Flags) -> tuple[Flags, Flags]:
    """Which replies came before the step, of those that can have come before it, after it, or both; and which surely.

    steady: sent after it. In a socket nothing that came before it lies behind what came after. Where that does not tell
    either, the shorter of the two delays is taken: that this host's clock was set is not the network's failure.
    """
    surely_later = np.logical_or.accumulate(steady | (later & ~before))
    surely_before = np.logical_or.accumulate((before & ~later)[::-1])[::-1]
    told = surely_later != surely_before
    return before & (~later | np.where(told, surely_before, shorter)), ~later | (told & surely_before)
