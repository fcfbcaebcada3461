"""Round-trip times from kernel stamps, guarded against a wall clock that was set in between. Pure.

Kernel stamps are wall-clock times. The offset wall - monotonic is known when a packet is sent and when its reply is
read; where it changed, the clock was set and a plain difference of stamps may be hours wrong or negative.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.core.clock import MILLISECOND

KERNEL: Final = 0
"""both ends stamped by the kernel"""
KERNEL_RECEIVE: Final = 1
"""sending stamped in user space"""
USER: Final = 2
"""measured in user space on the monotonic clock, or kernel stamps put right after a step: not first-class"""

STEADY_NS: Final = MILLISECOND
"""Change of the offset that is still the clock discipline's slewing (500 ppm: 1 ms in 2 s)."""
SLACK_NS: Final = MILLISECOND


class Reading(NamedTuple):
    """The clocks read together. offset_ns is wall - monotonic."""

    monotonic_ns: int
    offset_ns: int
    stepped_after_ns: int = 0
    """monotonic time of the last reading before the newest clock step: the step came later than that"""
    stepped_before_ns: int = 0
    """monotonic time of the reading that revealed it"""

    @property
    def wall_ns(self) -> int:
        return self.monotonic_ns + self.offset_ns


def round_trips(
    *, transmitted_ns: Int64, called_ns: Int64, offset_ns: Int64, received_ns: Int64, now: Reading
) -> tuple[Int64, NDArray[np.uint8]]:
    """Round-trip times (never negative) and their stamp sources, arrays (n,).

    transmitted_ns, received_ns: kernel stamps (wall) or ABSENT; called_ns: wall time just before the send call;
    offset_ns: wall - monotonic then. `now` is when the replies were read.
    """
    elapsed = now.monotonic_ns - (called_ns - offset_ns)
    untransmitted, unreceived = transmitted_ns == ABSENT, received_ns == ABSENT
    start = np.where(untransmitted, called_ns, transmitted_ns)
    difference = np.where(unreceived, 0, received_ns) - start
    change = now.offset_ns - offset_ns
    plausible = (difference >= 0) & (difference <= elapsed + SLACK_NS) & ~unreceived
    steady = (np.abs(change) <= STEADY_NS) & plausible
    source = np.where(untransmitted, KERNEL_RECEIVE, KERNEL).astype(np.uint8)
    if steady.all():
        return difference, source
    # The clock was set. Either the reply came before (difference is right) or after (difference - change is): the
    # reading before the step and the one after it often leave only one of the two possible.
    before = plausible & (received_ns - offset_ns <= now.stepped_before_ns)
    after = difference - change
    later = ~unreceived & (after >= 0) & (after <= elapsed + SLACK_NS)
    later &= received_ns - now.offset_ns >= now.stepped_after_ns - SLACK_NS
    moved = np.abs(change) > STEADY_NS
    result = np.where(moved & before & ~later, difference, np.where(moved & later & ~before, after, elapsed))
    return np.where(steady, difference, np.maximum(result, 0)), np.where(steady, source, USER).astype(np.uint8)
